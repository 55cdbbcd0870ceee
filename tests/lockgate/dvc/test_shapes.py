from collections.abc import Callable
from typing import Any

import pytest
from dvc import schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.length import length
from tests.lockgate.factory import Project
from voluptuous import Invalid

from lockgate.dvc import shapes
from lockgate.dvc.documents import BrokenFile, PipelineError
from lockgate.dvc.objects import WorkspaceFiles
from lockgate.dvc.pipeline import read_pipeline, read_state
from lockgate.dvc.plan import plan
from lockgate.git import Workspace

SCHEMAS: dict[shapes.Kind, Callable[[Any], Any]] = {
    "dvc.yaml": schema.COMPILED_MULTI_STAGE_SCHEMA,
    "dvc.lock": schema.COMPILED_LOCKFILE_SCHEMA,
    ".dvc": schema.COMPILED_SINGLE_STAGE_SCHEMA,
}
USUAL: dict[shapes.Kind, Any] = {
    "dvc.yaml": {
        "vars": ["other.yaml", {"a": 1}],
        "stages": {
            "one": {
                "cmd": "python one.py",
                "deps": ["one.py"],
                "params": ["lr", {"p.toml": ["x"]}],
                "outs": ["model", {"cached": {"cache": False}}],
                "metrics": [{"m.json": {"cache": False}}],
                "frozen": False,
            },
            "each": {"foreach": ["a", "b"], "do": {"cmd": "echo ${item}"}},
            "grid": {"matrix": {"a": [1, 2]}, "cmd": "echo ${item.a}"},
        },
        "plots": ["x.json", {"roc": {"x": "a", "y": "b"}}],
        "artifacts": {"model": {"path": "model", "type": "model"}},
    },
    "dvc.lock": {
        "schema": "2.0",
        "stages": {
            "one": {
                "cmd": "python one.py",
                "deps": [{"path": "one.py", "hash": "md5", "md5": "0" * 32, "size": 3}],
                "params": {"params.yaml": {"lr": 0.1}},
                "outs": [{"path": "model", "hash": "md5", "md5": f"{'0' * 32}.dir", "size": 3, "nfiles": 2}],
            }
        },
    },
    ".dvc": {"outs": [{"path": "data.csv", "hash": "md5", "md5": "0" * 32, "size": 3}]},
}
ODD = st.sampled_from(
    [None, 3, 2024, 1.5, True, "", "x", "2.0", [], [1], ["a"], {}, {"a": 1}, {"path": "x"}, [{"path": "x"}], {3: "a"}]
)


def altered(draw: st.DrawFn, value: Any) -> Any:
    """Return ``value`` with something in it replaced, removed or added."""
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 4)) == 0:
        return draw(ODD)
    if isinstance(value, list):
        index = draw(st.integers(0, len(value) - 1))
        return [altered(draw, item) if place == index else item for place, item in enumerate(value)]
    key = draw(st.sampled_from(list(value)))
    how = draw(st.sampled_from(["inside", "inside", "remove", "rename", "add"]))
    if how == "inside":
        return {**value, key: altered(draw, value[key])}
    rest = {name: item for name, item in value.items() if name != key}
    if how == "remove":
        return rest
    return {
        **(rest if how == "rename" else value),
        draw(st.sampled_from(["cmd", "path", "desc", "deps", "zz"])): value[key],
    }


@st.composite
def contents(draw: st.DrawFn) -> tuple[shapes.Kind, Any]:
    kind: shapes.Kind = draw(st.sampled_from(list(USUAL)))
    content = USUAL[kind]
    for _ in range(draw(st.integers(0, 2))):
        content = altered(draw, content)
    return kind, content


@pytest.mark.parametrize("kind", USUAL)
def test_a_usual_file_is_accepted_without_importing_dvcs_schema(kind: shapes.Kind) -> None:
    assert shapes._usual(USUAL[kind], shapes._USUAL[kind])


@settings(max_examples=length(150, 5000), deadline=None)
@given(contents())
def test_a_file_is_refused_exactly_if_dvcs_schema_refuses_it(drawn: tuple[shapes.Kind, Any]) -> None:
    kind, content = drawn
    try:
        SCHEMAS[kind](content)
        accepted = True
    except Invalid:
        accepted = False

    assert (shapes.problem(kind, content) is None) == accepted


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project.create(tmp_path_factory.mktemp("shapes") / "project")


@st.composite
def files(draw: st.DrawFn) -> dict[str, str]:
    """Draw the files of a project, some of them misshapen: as YAML text, or cut, or with a template that fits badly."""
    import yaml

    found = {}
    names: dict[str, shapes.Kind] = {"dvc.yaml": "dvc.yaml", "dvc.lock": "dvc.lock", "data.csv.dvc": ".dvc"}
    for name, kind in names.items():
        content = USUAL[kind]
        for _ in range(draw(st.integers(0, 2))):
            content = altered(draw, content)
        found[name] = yaml.safe_dump(content, sort_keys=False)
    params = draw(
        st.sampled_from(["lr: 0.1\n", "lr: [1, {a: 2}]\n", "lr: 2024-01-01\n", "{}", "[1]", "lr: &a [*a]", "x\n y: z"])
    )
    found["params.yaml"] = params
    found["other.yaml"] = draw(st.sampled_from(["z: 1\n", "lr: 1\n", "z: 2024-01-01\n", "", "3\n", "z: !!set {a}\n"]))
    template = draw(st.sampled_from(["", "${lr}", "${lr[0]}", "${z}", "${", "${a.b}", "${item}"]))
    if template:
        found["dvc.yaml"] = found["dvc.yaml"].replace(
            draw(st.sampled_from(["one.py", "model", "${item}", "m.json"])), template
        )
    broken = draw(st.sampled_from(["", *found]))
    if broken:
        found[broken] = found[broken][: draw(st.integers(0, max(0, len(found[broken]) - 1)))]
    return found


@settings(max_examples=length(40, 1000), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files())
def test_malformed_files_are_refused_in_words_or_read_and_never_end_in_another_error(
    project: Project, drawn: dict[str, str]
) -> None:
    for name, text in drawn.items():
        project.write(name, text)
    current = Workspace(project.root)
    try:
        state = read_state(current)
        plan(state.pipeline, state.lock, WorkspaceFiles(project.root), current)
    except PipelineError:
        pass
    finally:
        for name in drawn:
            (project.root / name).unlink()


@pytest.mark.parametrize(
    ("file", "text", "place"),
    [
        (
            "dvc.yaml",
            "stages:\n  a:\n    cmd: x\n    outs:\n      - model.bin:\n",
            "line 5, column 9: stages.a.outs[0].model.bin",
        ),
        ("dvc.yaml", "stages:\n  a: {cmd: x, wdir: 2024}\n", "line 2, column 15: stages.a.wdir"),
        ("dvc.yaml", "stages:\n  a: {matrix: {a: 3}, cmd: x}\n", "line 2, column 16: stages.a.matrix.a"),
        ("dvc.yaml", "stages: {}\nartifacts: [m]\n", "line 2, column 1: artifacts"),
        ("dvc.yaml", "stages: {}\nartifacts:\n  m: model.bin\n", "line 3, column 3: artifacts.m"),
        ("dvc.yaml", "vars: [{n: 3}]\nstages:\n  a: {cmd: x, wdir: '${n}'}\n", "line 3, column 15: stage 'a': wdir"),
        (
            "dvc.yaml",
            "vars: [{n: 3}]\nstages:\n  a: {foreach: [b], do: {cmd: x, deps: ['${n}']}}\n",
            "line 3, column 41: stage 'a@b': deps[0]",
        ),
        ("dvc.yaml", "vars: [{n: 3}]\nstages:\n  a: {matrix: {a: '${n}'}, cmd: x}\n", "dvc.yaml: "),
        ("dvc.yaml", "vars: [{n: 2024-01-01}]\nstages: {}\n", "line 1, column 9: vars[0].n"),
        ("params.yaml", "a:\n  - lr: 1\n    since: 2024-01-01\n", "line 3, column 5: a[0].since"),
        ("data.csv.dvc", "outs:\n- path: 3\n  md5: abc\n", "line 2, column 3: outs[0].path"),
        ("data.csv.dvc", "outs:\n- md5: abcd\n", "has no 'path'"),
    ],
)
def test_a_misshapen_file_is_named_with_line_column_and_key(project: Project, file: str, text: str, place: str) -> None:
    others = {"dvc.yaml": "stages: {}\n"} if file != "dvc.yaml" else {}
    for name, content in {**others, file: text}.items():
        project.write(name, content)
    try:
        with pytest.raises(BrokenFile) as caught:
            read_pipeline(Workspace(project.root))
    finally:
        for name in (*others, file):
            (project.root / name).unlink()

    assert str(caught.value).startswith(file)
    assert place in str(caught.value)
