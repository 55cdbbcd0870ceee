import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.length import length
from tests.lockgate.factory import Project, chain

from lockgate.dvc.objects import WorkspaceFiles
from lockgate.dvc.pipeline import (
    MISSING,
    BrokenFile,
    BrokenLock,
    Cycle,
    Output,
    Params,
    PipelineError,
    Recorded,
    param,
    read_lock,
    read_params,
    read_pipeline,
    read_state,
)
from lockgate.dvc.plan import plan
from lockgate.git import Commit, Workspace, snapshot
from lockgate.result import Reason

LOCK = """\
schema: '2.0'
stages:
  ingest:
    cmd: sh stage.sh ingest
    deps:
    - path: data/raw.csv
      hash: md5
      md5: 764efa883dda1e11db47671c4a3bbd9e
      size: 3
    outs:
    - path: data/table
      hash: md5
      md5: 764efa883dda1e11db47671c4a3bbd9e
      size: 3
  train:
    cmd: sh stage.sh train
    params:
      params.yaml:
        train.lr: 0.1
    outs:
    - path: model
      hash: md5
      md5: 764efa883dda1e11db47671c4a3bbd9e.dir
      size: 30
      nfiles: 2
"""


def lock_of(project: Project, text: str | bytes) -> Any:
    project.write("dvc.lock", text)
    workspace = Workspace(project.root)
    return read_lock(workspace, read_pipeline(workspace))


def test_stages_come_in_an_order_in_which_they_can_run(project: Project) -> None:
    project.stage("last", deps=["b"], outs=["c"])
    project.stage("alone", outs=["z"])
    project.stage("middle", deps=["a"], outs=["b"])
    project.stage("first", outs=["a"])

    pipeline = read_pipeline(Workspace(project.root))

    assert [stage.name for stage in pipeline.stages] == ["alone", "first", "middle", "last"]
    assert pipeline.upstream == {"last": ("middle",), "alone": (), "middle": ("first",), "first": ()}


def test_every_part_of_a_stage_is_read(project: Project) -> None:
    project.stage(
        "train",
        cmd="python train.py",
        deps=["train.py"],
        params=["lr", "a.b", {"other.json": ["x"]}, {"whole.toml": []}],
        outs=["model", {"kept": {"persist": True, "cache": False}}],
        metrics=[{"m.json": {"cache": False}}],
        plots=[{"roc.csv": {"x": "fpr", "y": "tpr"}}],
        frozen=True,
        always_changed=True,
    )

    stage = read_pipeline(Workspace(project.root)).by_name["train"]

    assert stage.params == (Params("params.yaml", ("lr", "a.b")), Params("other.json", ("x",)), Params("whole.toml"))
    assert stage.outs == (
        Output("model"),
        Output("kept", cached=False, persist=True),
        Output("m.json", cached=False, kind="metric"),
        Output("roc.csv", kind="plot"),
    )
    assert (stage.frozen, stage.always_changed, stage.command) == (True, True, "python train.py")


def test_templates_loops_and_matrices_are_resolved_as_dvc_does(project: Project) -> None:
    project.write("params.yaml", "models: [tree, forest]\nseed: 7\n")
    project.write("more.yaml", "where: out\n")
    project.write(
        "dvc.yaml",
        """\
vars: [more.yaml, {extra: x}]
stages:
  each:
    foreach: ${models}
    do:
      cmd: train ${item} --seed ${seed} ${extra}
      outs: ['${where}/${item}']
  grid:
    matrix: {a: [1, 2], b: [p]}
    cmd: go ${item.a} ${item.b}
    outs: ['${where}/${key}']
""",
    )
    project.git("add", "-A")
    project.git("commit", "-qm", "x")
    project.write("params.yaml", "models: [tree]\nseed: 8\n")

    committed = read_pipeline(snapshot(project.root, "HEAD"))
    here = read_pipeline(Workspace(project.root))

    assert [(stage.name, stage.cmd) for stage in committed.stages] == [
        ("each@tree", "train tree --seed 7 x"),
        ("each@forest", "train forest --seed 7 x"),
        ("grid@1-p", "go 1 p"),
        ("grid@2-p", "go 2 p"),
    ]
    assert committed.by_name["each@forest"].outs == (Output("out/forest"),)
    assert [stage.name for stage in here.stages] == ["each@tree", "grid@1-p", "grid@2-p"]


def test_a_pipeline_in_a_subfolder_has_dvcs_names_and_paths_of_the_project(project: Project) -> None:
    project.stage("top", outs=["a"])
    project.write(
        "sub/dvc.yaml",
        yaml.safe_dump({"stages": {"s": {"cmd": "x", "wdir": "inner", "deps": ["../../a"], "outs": ["b"]}}}),
    )
    project.write(
        "sub/dvc.lock", LOCK.replace("ingest", "s").replace("data/table", "b").replace("data/raw.csv", "../../a")
    )
    state = read_state(Workspace(project.root))

    stage = state.pipeline.by_name["sub/dvc.yaml:s"]
    assert (stage.deps, stage.outs) == (("a",), (Output("sub/inner/b"),))
    assert state.pipeline.upstream["sub/dvc.yaml:s"] == ("top",)
    assert list(state.lock.stages["sub/dvc.yaml:s"].deps) == ["a"]
    assert list(state.lock.stages["sub/dvc.yaml:s"].outs) == ["sub/inner/b"]


def test_top_level_metrics_plots_and_artifacts_are_read(project: Project) -> None:
    project.write(
        "dvc.yaml",
        """\
stages:
  s: {cmd: x, metrics: [m.json], plots: [p.csv]}
metrics: [other.json]
plots: [q.csv, {r.csv: {x: a, y: b}}]
artifacts: {flight: {path: model.bin, type: model}}
""",
    )
    pipeline = read_pipeline(Workspace(project.root))

    assert pipeline.metrics == ("other.json", "m.json")
    assert pipeline.plots == ("q.csv", "r.csv", "p.csv")
    assert pipeline.artifacts == {"flight": {"path": "model.bin", "type": "model"}}


def test_what_dvc_add_tracks_is_data_with_its_size(project: Project) -> None:
    project.write("data/folder/a", "1")
    project.write("data/folder/b", "22")
    project.add("data/folder")

    pipeline = read_pipeline(Workspace(project.root))

    record = pipeline.data["data/folder"]
    assert (record.size, record.files, record.is_folder, record.legacy) == (3, 2, True, False)
    assert pipeline.role("data/folder/a") == "data"


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("src/train.py", "code"),
        ("src", "code"),
        ("expectations/flights.yaml", "code"),
        ("requirements/pipeline.lock", "environment"),
        ("uv.lock", "environment"),
        ("requirements.txt", "environment"),
        ("dev-requirements.txt", "environment"),
        ("pyproject.toml", "environment"),
        ("environment.yml", "environment"),
        ("airports.csv", "data"),
        ("data/table", "data"),
        ("data/ready/part", "data"),
    ],
)
def test_a_dependencys_role_follows_from_who_makes_it_then_from_its_name(
    project: Project, path: str, role: str
) -> None:
    chain(project)

    assert read_pipeline(Workspace(project.root)).role(path) == role


def test_a_repository_without_a_pipeline_has_an_empty_one(project: Project) -> None:
    state = read_state(Workspace(project.root))

    assert (state.pipeline.stages, dict(state.lock.stages)) == ((), {})


def test_a_cycle_is_named_stage_by_stage(project: Project) -> None:
    project.stage("a", deps=["z"], outs=["x"])
    project.stage("b", deps=["x"], outs=["y"])
    project.stage("c", deps=["y"], outs=["z"])

    with pytest.raises(Cycle, match="the pipeline has a cycle: ") as caught:
        read_pipeline(Workspace(project.root))
    named = str(caught.value).removeprefix("the pipeline has a cycle: ").split(" → ")
    assert named[0] == named[-1]
    assert set(named) == {"a", "b", "c"}


def test_a_stage_that_reads_what_it_writes_is_a_cycle(project: Project) -> None:
    project.stage("a", deps=["x"], outs=["x"])

    with pytest.raises(Cycle, match="a → a"):
        read_pipeline(Workspace(project.root))


@pytest.mark.parametrize("second", ["out", "out/inner"])
def test_outputs_that_overlap_are_refused_with_both_stages(project: Project, second: str) -> None:
    project.stage("a", outs=["out"])
    project.stage("b", outs=[second])

    with pytest.raises(PipelineError) as caught:
        read_pipeline(Workspace(project.root))
    assert {"a", "b", "'out'"} <= set(re.split(r"[ ():,]+", str(caught.value)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("stages:\n  a:\n    cmd: [x\n", r"dvc\.yaml, line \d+, column \d+: "),
        ("stages:\n  a:\n\tcmd: x\n", r"dvc\.yaml, line 3, column 1: "),
        ("stages:\n  a: {cmd: x}\n  a: {cmd: y}\n", r"dvc\.yaml, line 3, column 3: .*duplicate"),
        ("stages:\n  a: {outs: [b]}\n", r"dvc\.yaml, line 2, column 3: stages\.a\.cmd: "),
        ("stages:\n  a: {cmd: x, deps: b}\n", r"dvc\.yaml, line 2, column 15: stages\.a\.deps: "),
        ("stages: [a]\n", r"dvc\.yaml, line 1, column 1: stages: "),
        ("stages:\n  a: b\n", r"dvc\.yaml, line 2, column 3: stages\.a: "),
        ("[1, 2]\n", r"dvc\.yaml: a mapping was expected, this is a list"),
        ("stages:\n  a: {cmd: '${nowhere}'}\n", r"dvc\.yaml: .*nowhere"),
        ("<<<<<<< ours\nstages: {}\n", r"dvc\.yaml, line 1: a conflict marker of git"),
        (b"stages:\n  a: {cmd: \xff}\n", r"dvc\.yaml, line 2: .*UTF-8"),
        ("a: " * 3 + "b", r"dvc\.yaml, line 1"),
        ("[" * 5000, r"dvc\.yaml"),
    ],
)
def test_a_broken_dvc_yaml_names_the_file_and_the_place(project: Project, text: str | bytes, problem: str) -> None:
    project.write("dvc.yaml", text)

    with pytest.raises(PipelineError, match=problem):
        read_pipeline(Workspace(project.root))


def test_a_lock_is_read_with_hashes_sizes_and_params(project: Project) -> None:
    lock = lock_of(project, LOCK)

    assert lock.stages["ingest"].outs == {"data/table": Recorded("data/table", "764efa883dda1e11db47671c4a3bbd9e", 3)}
    assert lock.stages["train"].params == {"params.yaml": {"train.lr": 0.1}}
    assert lock.stages["train"].outs["model"].files == 2
    assert lock.tracked_bytes() == 33


def test_a_lock_of_dvc_2_has_legacy_hashes(project: Project) -> None:
    lock = lock_of(project, LOCK.replace("      hash: md5\n", ""))

    assert lock.stages["ingest"].outs["data/table"].legacy


@pytest.mark.parametrize(
    ("text", "stage", "problem"),
    [
        (LOCK.replace("  train:", "<<<<<<< HEAD\n  train:"), "ingest", "conflict markers"),
        (
            LOCK.replace("    cmd: sh stage.sh train\n", "    cmd: sh stage.sh train\n>>>>>>> theirs\n"),
            "train",
            "conflict",
        ),
        (LOCK[: LOCK.rindex("      size:")], "train", "has no 'nfiles'"),
        (LOCK[:61], "ingest", "cut short"),
        (LOCK[:-4], "train", "cut short"),
        (LOCK[: LOCK.index("    - path: model")], "train", "line 20: stages.train.outs: "),
        (LOCK.replace("    cmd: sh stage.sh ingest\n", ""), "ingest", "stages.ingest.cmd: "),
        (
            LOCK.replace("      params.yaml:\n        train.lr: 0.1\n", "      params.yaml: 3\n"),
            "train",
            "stages.train.params.params.yaml: ",
        ),
        (LOCK.replace("    - path: model", "    - nopath: model"), "train", "stages.train.outs[0].nopath: "),
        (LOCK.replace("train.lr: 0.1", "train.lr: [0.1"), "train", "line"),
    ],
)
def test_a_damaged_lock_is_refused_with_the_stage_and_what_to_do(
    project: Project, text: str, stage: str, problem: str
) -> None:
    project.stage("ingest", deps=["data/raw.csv"], outs=["data/table"])
    with pytest.raises(BrokenLock) as caught:
        lock_of(project, text)
    assert f"dvc.lock (stage '{stage}')" in str(caught.value)
    assert problem in str(caught.value)
    assert "git checkout HEAD -- dvc.lock" in caught.value.advice


@pytest.mark.parametrize("text", ["schema: '3.0'\nstages: {}\n", "stages: {}\n", "- a\n", "train:\n  cmd: x\n"])
def test_a_lock_of_an_unknown_schema_is_refused(project: Project, text: str) -> None:
    with pytest.raises(BrokenLock, match="its schema is"):
        lock_of(project, text)


def test_every_cut_of_a_lock_is_refused_or_leaves_something_to_run(project: Project) -> None:
    project.write("data/raw.csv", "a\n")
    project.write("params.yaml", "train:\n  lr: 0.1\n")
    project.stage("ingest", deps=["data/raw.csv"], outs=["data/table"])
    project.stage("train", deps=["data/table"], params=["train.lr"], outs=["model/"])
    whole = lock_of(project, LOCK)
    for end in range(1, len(LOCK) - 1, length(3, 1)):
        try:
            part = lock_of(project, LOCK[:end])
        except BrokenLock:
            continue
        known = {name: (*entry.deps.values(), *entry.outs.values()) for name, entry in part.stages.items()}
        lost = sum(bool(record.digest) for records in known.values() for record in records) < 3
        assert lost or LOCK[end:].strip().isdigit(), f"at {end}: {LOCK[:end][-30:]!r}"
        for name, entry in part.stages.items():
            for path, record in entry.outs.items():
                assert record.digest in ("", whole.stages[name].outs[path].digest)


def test_a_lock_whose_last_line_has_no_end_is_read_as_dvc_reads_it(project: Project) -> None:
    assert lock_of(project, LOCK.rstrip("\n")) == lock_of(project, LOCK)


@pytest.mark.parametrize("text", ["train:\n  cmd: x\n", "schema: '1.0'\nstages: {}\n"])
def test_a_lock_of_dvc_1_is_told_which_dvc_writes_it_anew(project: Project, text: str) -> None:
    with pytest.raises(BrokenLock) as caught:
        lock_of(project, text)
    assert "'1.0'" in str(caught.value)
    assert "`dvc repro` of DVC 2" in caught.value.advice


def test_an_entry_without_a_hash_is_told_for_its_stage_alone(ran: Project) -> None:
    lock = ran.lock()
    del lock["train"]["outs"][0]["md5"]
    lock["evaluate"] = {"cmd": lock["evaluate"]["cmd"]}
    ran.write_lock(lock)
    state = read_state(Workspace(ran.root))
    plans = plan(state.pipeline, state.lock, WorkspaceFiles(ran.root), state.snapshot)
    assert {item.name: item.verdict for item in plans} == {
        "ingest": "same", "prepare": "same", "train": "will", "evaluate": "will"
    }  # fmt: skip
    assert Reason("lock", "models/model.bin") in plans[2].reasons


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("p.yaml", "lr: 1e-3\nflag: yes\noctal: 010\nwhen: 2020-01-01\n"),
        ("p.json", '{"lr": 0.001, "deep": {"a": [1, {"b": null}]}}'),
        ("p.toml", "lr = 1e-3\n[deep]\na = [1, 2]\n"),
        ("p.py", "lr = 1e-3\nclass Deep:\n    a = (1, 2)\n"),
    ],
)
def test_params_have_the_values_that_dvc_sees(project: Project, file: str, text: str) -> None:
    from dvc.fs import localfs
    from dvc.utils.serialize import load_path

    project.write(file, text)

    assert read_params(Workspace(project.root), file) == load_path(str(project.root / file), localfs)


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("p.yaml", "a: [1\n", r"p\.yaml, line \d+, column \d+"),
        ("p.yaml", "a: 1\na: 2\n", r"p\.yaml, line 2, column 1"),
        ("p.json", '{"a": }', r"p\.json: .*line 1 column 7"),
        ("p.toml", "a = ", r"p\.toml: "),
        ("p.yaml", "- 1\n", r"p\.yaml: a mapping was expected, this is a list"),
    ],
)
def test_a_params_file_that_does_not_parse_is_named(project: Project, file: str, text: str, problem: str) -> None:
    project.write(file, text)

    with pytest.raises(BrokenFile, match=problem):
        read_params(Workspace(project.root), file)


def test_a_parameter_is_found_by_its_path() -> None:
    values = json.loads('{"a": {"b": [10, {"c": 1}], "": 2}, "x": null}')

    assert param(values, "a.b") == [10, {"c": 1}]
    assert param(values, "a.b.1.c") == 1
    assert param(values, "x") is None
    assert param(values, "a.z") is MISSING
    assert param(values, "x.y") is MISSING


def test_what_dvcignore_names_is_no_part_of_the_pipeline(ran: Project) -> None:
    ran.write("examples/dvc.yaml", "stages: {other: {cmd: 'true'}}\n")
    ran.write("examples/dvc.lock", "not a lock\n")
    ran.write(".dvcignore", "# what is not ours\n/examples\n")

    state = read_state(Workspace(ran.root))

    assert [stage.name for stage in state.pipeline.stages] == ["ingest", "prepare", "train", "evaluate"]
    assert set(state.lock.stages) == {"ingest", "prepare", "train", "evaluate"}


@pytest.mark.parametrize("target", [".git", ".git/hooks", "inner/.DVC", "/etc", "../elsewhere", "a/../../x", "other"])
def test_no_output_lies_in_a_folder_of_gits_or_dvcs_nor_does_a_link_in_git_lead_there(
    project: Project, target: str
) -> None:
    (project.root / "other").symlink_to(".git")
    (project.root / "way").symlink_to(target)
    project.write("data.dvc", f"outs:\n- md5: {'a' * 32}\n  size: 1\n  hash: md5\n  path: way/config\n")
    commit = project.commit("a link")

    for side in (Workspace(project.root), Commit(project.root, "HEAD", commit)):
        with pytest.raises(BrokenFile, match="a link leads there"):
            read_pipeline(side)


def test_an_output_may_lie_behind_a_link_that_stays_inside_or_that_only_this_machine_has(
    project: Project, tmp_path: Path
) -> None:
    (project.root / "real").mkdir()
    (project.root / "way").symlink_to("real")
    project.stage("a", cmd="true", outs=["way/model", "disk/model"])
    project.write(".gitignore", "/disk\n")
    project.commit("a link")
    (project.root / "disk").symlink_to(tmp_path)

    assert [out.path for out in read_pipeline(Workspace(project.root)).stages[0].outs] == ["way/model", "disk/model"]
