"""A result is shown only if it is equal to what git and the recorded files say, in every field."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.length import length
from tests.lockgate import modelled
from tests.lockgate.publishing.conftest import Scene, zipped

from lockgate.git import Commit
from lockgate.publishing import apart, artifact, bound
from lockgate.publishing.apart import Sides
from lockgate.publishing.artifact import Unfit
from lockgate.result import MetricChange, Result, read_result

WORD = ("execution",)
"""What rests on the run: how long it took, what it pulled, the log of what failed."""


@pytest.fixture(scope="session")
def told(scene_made: Scene) -> Result:
    return read_result(scene_made.honest["result.json"])


@pytest.fixture(scope="session")
def computed(scene_made: Scene) -> Result:
    left = artifact.unpack(zipped(scene_made.honest))
    sides = Sides(scene_made.hub, *commits(scene_made))
    found = apart.compute(sides, left)
    assert found.unverified == ()
    assert found.result is not None
    return found.result


def commits(scene: Scene) -> tuple[Commit, Commit]:
    return Commit(scene.hub, "main", scene.main), Commit(scene.hub, "change", scene.head)


def test_the_two_halves_come_to_the_same_result(told: Result, computed: Result) -> None:
    bound.check(told, computed)
    assert "better" in {one.judgement for one in computed.metrics}
    assert computed.slices
    assert computed.curves
    assert computed.checks


# --- every field


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every value inside a result's JSON."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def mutated(value: Any, path: tuple[Any, ...], change: Any) -> Any:
    copy = json.loads(json.dumps(value))
    node = copy
    for key in path[:-1]:
        node = node[key]
    change(node, path[-1])
    return copy


def is_rounding(one: Any, other: Any, path: tuple[Any, ...]) -> bool:
    """Say whether all that differs is a figure, by less than two machines may differ (a p-value of 1e-17 and 0)."""
    for key in path:
        if type(one) is not type(other) or len(one) != len(other):
            return False
        one, other = one[key], other[key]
    return isinstance(one, float) and isinstance(other, int | float) and abs(one - other) <= bound.SMALLEST


CHANGES = {
    "other": lambda node, key: node.__setitem__(key, other(node[key])),
    "gone": lambda node, key: node.pop(key),
    "doubled": lambda node, key: node.insert(key, node[key]) if isinstance(node, list) else node.pop(key),
    "empty": lambda node, key: node.__setitem__(key, type(node[key])() if node[key] is not None else 0),
}


def other(value: Any) -> Any:
    """Return a value of the same kind that is not this one."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) else value * 0.9 + 0.05
    words = {"passed": "failed", "failed": "passed", "better": "noise", "worse": "noise", "noise": "better"}
    if isinstance(value, str):
        return words.get(value, f"{value}x")
    return [] if value else None if isinstance(value, dict) else ["x"]


@settings(max_examples=length(120, 3000), deadline=None)
@given(data=st.data())
def test_a_result_that_differs_in_any_field_is_not_shown(told: Result, computed: Result, data: Any) -> None:
    whole = json.loads(told.to_json())
    able = [path for path in places(whole) if path[0] not in (*WORD, "schema", "head", "base")]
    path = data.draw(st.sampled_from(able))
    altered = mutated(whole, path, CHANGES[data.draw(st.sampled_from(sorted(CHANGES)))])
    if altered == whole or is_rounding(whole, altered, path):
        return
    try:
        forged = read_result(json.dumps(altered))
    except Exception:  # noqa: BLE001 - no result at all
        return
    if forged == told:
        return  # a default was left out

    with pytest.raises(Unfit):
        bound.check(forged, computed)


def test_every_field_of_a_result_is_compared_or_named_as_the_runs_word() -> None:
    ours = {"base", "head", "looks", "schema"}  # set by the half that publishes

    assert {one.name for one in dataclasses.fields(Result)} == {*bound.SAID, *WORD, *ours}


@pytest.mark.parametrize(
    "forge",
    [
        lambda r: replace(r, files=tuple(one for one in r.files if one.path != "evaluate.py")),
        lambda r: replace(r, metrics=(*r.metrics, replace(r.metrics[0], head=0.987))),
        lambda r: replace(r, metrics=(r.metrics[0], r.metrics[0])),
        lambda r: replace(r, metrics=(*r.metrics, MetricChange("f1", "higher", 0.5, 0.99, 0.49, 0.4, 0.5, "better"))),
        lambda r: replace(r, gates=tuple(replace(gate, measured="0.99") for gate in r.gates)),
        lambda r: replace(r, execution=None),
        lambda r: replace(r, execution=replace(r.execution, failed_stage="nothing")),
        lambda r: replace(r, execution=replace(r.execution, stages=r.execution.stages * 2)),
        lambda r: replace(r, lock=replace(r.lock, status="claimed")),
        lambda r: replace(r, lock=replace(r.lock, status="reproduced")),
    ],
    ids=["hidden file", "second row", "row twice", "row of its own", "measured", "no run", "stage", "twice", "claimed",
         "reproduced"],
)  # fmt: skip
def test_what_is_left_over_or_left_out_is_named(told: Result, computed: Result, forge: Any) -> None:
    with pytest.raises(Unfit, match=r"\w"):
        bound.check(forge(told), computed)


# --- the recorded files


def lock_with(honest: Mapping[str, bytes], path: str, content: bytes) -> bytes:
    lock = yaml.safe_load(honest["dvc.lock"])
    for out in (out for stage in lock["stages"].values() for out in stage["outs"]):
        if out["path"] == path:
            out.update(md5=hashlib.md5(content, usedforsecurity=False).hexdigest(), size=len(content))
    return yaml.safe_dump(lock, sort_keys=False).encode()


def test_predictions_that_say_otherwise_than_the_result_are_not_shown(scene: Scene, told: Result) -> None:
    path, bad = "reports/predictions.parquet", modelled.predictions(rows=400)
    digest = hashlib.md5(bad, usedforsecurity=False).hexdigest()
    files = tuple(
        replace(one, digest_after=digest, size_after=len(bad)) if one.path == path else one for one in told.files
    )
    result = replace(told, files=files).to_json().encode()  # it admits which file it is, and keeps the better figures

    status, comment = scene.answer(
        {**scene.honest, "result.json": result, "dvc.lock": lock_with(scene.honest, path, bad), digest: bad}
    )

    assert status == "error"
    assert "are not those of the committed files and the predictions" in comment


@pytest.mark.parametrize("content", [b"PAR1 nothing PAR1", b"", b"\0" * 5_000], ids=["hurt", "empty", "zeros"])
def test_predictions_that_cannot_be_parsed_are_an_answer(scene: Scene, content: bytes) -> None:
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    lock = lock_with(scene.honest, "reports/predictions.parquet", content)

    status, _ = scene.answer({**scene.honest, "dvc.lock": lock, digest: content})

    assert status == "error"


def test_an_object_that_is_not_what_its_name_says_is_refused(scene: Scene) -> None:
    altered = {name: b"x" if len(name) == 32 else content for name, content in scene.honest.items()}
    assert altered != scene.honest

    status, comment = scene.answer(altered)

    assert status == "error"
    assert "is not the file whose hash is" in comment


def test_a_size_in_the_lock_that_is_not_the_models_is_refused(scene: Scene) -> None:
    lock = yaml.safe_load(scene.honest["dvc.lock"])
    lock["stages"]["train"]["outs"][0]["size"] += 1
    lock["stages"]["evaluate"]["deps"][1]["size"] += 1

    status, comment = scene.answer({**scene.honest, "dvc.lock": yaml.safe_dump(lock, sort_keys=False).encode()})

    assert status == "error", comment


def test_a_result_whose_files_did_not_travel_is_marked_and_not_green(scene: Scene) -> None:
    bare = {name: content for name, content in scene.honest.items() if len(name) != 32}

    status, comment = scene.answer(bare)

    assert status == "failure"
    assert "rest on the word of the run" in comment


def test_what_did_not_travel_is_taken_from_the_quarantine_if_it_has_the_hash_of_the_lock(scene: Scene) -> None:
    bare = {name: content for name, content in scene.honest.items() if len(name) != 32}
    quarantine, local = scene.folder / "quarantine", scene.hub / ".dvc/config.local"
    for name in scene.honest.keys() - bare.keys():
        place = quarantine / "files/md5" / name[:2] / name[2:]
        place.parent.mkdir(parents=True)
        place.write_bytes(scene.honest[name])
    local.write_text(f"['remote \"quarantine\"']\n    url = {quarantine}\n")
    try:
        status, comment = scene.answer(bare)
        assert status == "success", comment
        assert "rest on the word of the run" not in comment

        for place in (quarantine / "files/md5").glob("*/*"):
            place.chmod(0o644)
            place.write_bytes(b"PAR1 altered PAR1")
        assert scene.answer(bare)[0] == "failure"
    finally:
        local.unlink()
        shutil.rmtree(quarantine)
