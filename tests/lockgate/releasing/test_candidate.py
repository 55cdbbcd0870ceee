"""Models of a ``dvc.yaml`` in a subfolder, and inside an output folder: released, promoted, and seen alike by GTO."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from gto.api import show
from tests.lockgate.factory import Project
from tests.lockgate.servable import tag

from lockgate.dvc.pipeline import PipelineError, read_pipeline
from lockgate.git import Workspace
from lockgate.releasing.signing import create_key_pair

Run = Callable[..., tuple[int, str, str]]
POLICY = """\
model: MODEL
metrics: {rows: {file: one/metrics.json, key: rows, better: higher}}
gates: [{kind: model-size, at_most: 1 MB}]
environments: {staging: {}, production: {}}
"""
STAGE = """\
stages:
  train:
    cmd: mkdir -p out && echo FOLDER > out/model.txt && echo more > out/notes.txt && echo '{"rows":1}' > metrics.json
    outs: [out]
    metrics: [{metrics.json: {cache: false}}]
artifacts:
  m: {path: out/model.txt, type: model}
"""


@pytest.fixture
def two(project: Project, lockgate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two folders with a model of one name each, each inside an output folder, run and committed."""
    for folder in ("one", "two"):
        project.write(f"{folder}/dvc.yaml", STAGE.replace("FOLDER", folder))
    project.write("lockgate.yaml", POLICY.replace("MODEL", "one:m"))
    project.write(".gitignore", "*.key\n.lockgate\n*.pub\n")
    assert lockgate("run")[0] == 0
    project.commit("two models")
    create_key_pair(tmp_path / "lockgate.key", tmp_path / "lockgate.pub")
    monkeypatch.setenv("LOCKGATE_PRIVATE_KEY", str(tmp_path / "lockgate.key"))
    monkeypatch.setenv("LOCKGATE_PUBLIC_KEY", str(tmp_path / "lockgate.pub"))
    monkeypatch.setenv("LOCKGATE_STORE", str(tmp_path / "store"))
    return project


def test_a_model_of_a_subfolder_inside_an_output_is_released_and_gto_sees_the_same(
    two: Project, lockgate: Run, tmp_path: Path
) -> None:
    tag(two, "one=m@v1.0.0")
    code, _, errors = lockgate("release", "one=m@v1.0.0", "--rebuild", "none")
    assert code == 0, errors
    assert lockgate("fetch", "one:m@v1.0.0", str(tmp_path / "fetched"))[0] == 0
    assert (tmp_path / "fetched/model.txt").read_text() == "one\n"
    code, said, errors = lockgate("promote", "one:m@v1.0.0", "staging", "--tag", "--reason", "try it")
    assert code == 0, errors
    assert "one=m#staging#1" in said
    two.write("more", "")
    two.commit("the next")
    tag(two, "one=m@v1.1.0")
    assert lockgate("release", "one=m@v1.1.0", "--rebuild", "none")[0] == 0
    code, said, _ = lockgate("promote", "v1.1.0", "staging")
    assert (code, "git tag -a 'one=m#staging#2'" in said) == (0, True)
    code, said, _ = lockgate("history")
    assert "staging runs v1.1.0; git's tags ask for v1.0.0" in said
    assert lockgate("rollback", "staging", "--tag")[0] == 0

    assert show(str(two.root))["one:m"]["stage"] == {"staging": "v1.0.0"}
    entries = json.loads(lockgate("history", "--json")[1])["entries"]
    assert [one["asked_by_tag"] for one in entries] == [True, False, True]
    assert "git's tags ask" not in lockgate("history")[1]


def test_a_name_that_two_folders_have_has_to_be_written_with_its_folder(two: Project, lockgate: Run) -> None:
    pipeline = read_pipeline(Workspace(two.root))
    found = pipeline.artifact("two:m")
    assert found is not None
    assert found[1]["path"] == "two/out/model.txt"
    with pytest.raises(PipelineError, match="one:m, two:m"):
        pipeline.artifact("m")
    two.write("lockgate.yaml", POLICY.replace("MODEL", "m"))
    two.commit("which?")
    tag(two, "m@v1.0.0")
    code, _, errors = lockgate("release", "m@v1.0.0", "--rebuild", "none")
    assert code != 0
    assert "one:m, two:m" in errors


def test_two_versions_at_one_commit_are_refused_as_gto_refuses_them(two: Project, lockgate: Run) -> None:
    tag(two, "one=m@v1.0.0")
    tag(two, "one=m@v1.0.1")

    code, _, errors = lockgate("release", "one=m@v1.0.1", "--rebuild", "none")

    assert code == 1
    assert "v1.0.0 and v1.0.1" in errors


def test_a_pickle_is_told_before_a_stage_is_run(two: Project, lockgate: Run, tmp_path: Path) -> None:
    stage = (
        "stages:\n  train:\n    cmd: touch ran && python -c \"import pickle; pickle.dump([], open('m.dat', 'wb'))\"\n"
    )
    two.write("one/dvc.yaml", stage + "    outs: [m.dat]\nartifacts:\n  m: {path: m.dat}\n")
    two.write("one/metrics.json", '{"rows": 1}')
    assert lockgate("run")[0] == 0
    two.commit("a pickle")
    tag(two, "one=m@v1.0.0")
    code, _, errors = lockgate("release", "one=m@v1.0.0")

    assert code == 1
    assert "is a pickle" in errors
    assert "runs" not in errors
