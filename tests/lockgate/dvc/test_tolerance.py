import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lockgate.factory import Project

from lockgate.dvc.rebuild import RebuildError, rebuild
from lockgate.dvc.tolerance import beyond
from lockgate.policy import PolicyError, Tolerance, read_policy

LEAVES = st.one_of(st.none(), st.booleans(), st.floats(allow_nan=True, allow_infinity=True), st.text(max_size=3))
VALUES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner))
)
POLICY = """\
model: m
metrics: {rows: {file: metrics.json, key: rows, better: higher}}
predictions: {file: preds.csv, key: [id], label: y, score: p}
gates: [{kind: metrics-complete}]
"""


@given(VALUES)
def test_what_is_the_same_is_within_every_tolerance(value: object) -> None:
    content = json.dumps(value).encode()

    assert beyond(content, content, Tolerance("a.json", 1e-9)) == ""


@pytest.mark.parametrize(
    ("file", "one", "other", "place"),
    [
        ("a.json", '{"a": [1.0, 2.0]}', '{"a": [1.0, 2.0000001]}', ""),
        ("a.json", '{"a": [1.0, 2.0]}', '{"a": [1.0, 2.1]}', "a[1]"),
        ("a.json", '{"a": 0}', '{"a": 1e-300}', "a"),
        ("a.json", '{"a": 1}', '{"b": 1}', "keys"),
        ("a.json", "[1]", "[1, 1]", "entries"),
        ("a.json", '{"a": true}', '{"a": 1}', "a"),
        ("a.json", '{"a": "x"}', '{"a": "y"}', "a"),
        ("a.json", "{}", "{", "cannot be read"),
        ("a.yaml", "a: 1.0", "a: 1.0000000001", ""),
        ("a.toml", "a = 1.0", "a = 1.5", "a"),
        ("a.csv", "x,y\n1.0,b\n", "x,y\n1.0000000001,b\n", ""),
        ("a.csv", "x,y\n1.0,b\n", "x,y\n1.0,c\n", "[1][1]"),
    ],
)
def test_numbers_may_be_apart_and_nothing_else(file: str, one: str, other: str, place: str) -> None:
    found = beyond(one.encode(), other.encode(), Tolerance(file, 1e-6))

    assert (place in found) if place else found == ""


@pytest.mark.parametrize(
    "rebuilding",
    [
        "tolerate: {metrics.json: {relative: 1e-6}}",
        "leave_out: [preds.csv]",
        "tolerate: {curve.png: {relative: 1e-6}}",
        "tolerate: {a.json: {}}",
        "tolerate: {a.json: {relative: 1e-6}}, leave_out: [a.json]",
        "tolerate: {a.json: {relativ: 1e-6}}",
    ],
)
def test_what_gates_read_and_what_has_no_values_cannot_be_named(rebuilding: str) -> None:
    with pytest.raises(PolicyError, match="rebuild"):
        read_policy(POLICY + f"rebuild: {{{rebuilding}}}\n")


NOISY = """\
import json, random, time
open("model", "w").write("m")
json.dump({"rows": 1}, open("metrics.json", "w"))
json.dump([0.5 + time.time_ns() % 1000 * 1e-12], open("near.json", "w"))
json.dump([time.time_ns()], open("log.json", "w"))
"""


@pytest.fixture
def noisy(project: Project) -> Project:
    """A project whose stage leaves two files that differ from run to run, one of them a little."""
    project.write("noisy.py", NOISY)
    outs = ["model", {"near.json": {"cache": False}}, "log.json"]
    project.stage(
        "train", deps=["noisy.py"], outs=outs, metrics=[{"metrics.json": {"cache": False}}], cmd="python noisy.py"
    )
    project.write("dvc.yaml", project.read("dvc.yaml") + "artifacts:\n  m: {path: model}\n")
    project.repro()
    return project


@pytest.mark.parametrize(
    ("rebuilding", "differing"),
    [
        ("tolerate: {near.json: {relative: 1e-6}}, leave_out: [log.json]", []),
        ("leave_out: [log.json]", ["near.json"]),
        ("tolerate: {near.json: {relative: 1e-6}, log.json: {relative: 1e-18}}", ["log.json"]),
    ],
)
def test_a_rebuild_takes_what_the_policy_names_and_nothing_else(
    noisy: Project, rebuilding: str, differing: list[str]
) -> None:
    noisy.write("lockgate.yaml", POLICY.replace("predictions", "#") + f"rebuild: {{{rebuilding}}}\n")
    noisy.commit()

    done = rebuild(noisy.root, "HEAD", "full", dependencies="current")

    assert [out.path for out in done.differing] == differing
    assert done.ok == (not differing)


@pytest.mark.parametrize("path", ["model", "nothing.json"])
def test_the_model_and_what_no_stage_writes_cannot_be_named(noisy: Project, path: str) -> None:
    noisy.write("lockgate.yaml", POLICY.replace("predictions", "#") + f"rebuild: {{leave_out: [{path}]}}\n")
    noisy.commit()

    with pytest.raises((PolicyError, RebuildError), match=path):
        rebuild(noisy.root, "HEAD", "full", dependencies="current")
