import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.length import length
from tests.lockgate.edits import EDITS, random_project
from tests.lockgate.factory import Project

from lockgate.dvc.objects import CommitFiles, WorkspaceFiles
from lockgate.dvc.pipeline import BrokenLock, Pipeline, PipelineError, read_lock, read_pipeline, read_state
from lockgate.dvc.plan import StagePlan, as_text, plan, value_changes
from lockgate.evaluation.changes import file_changes, param_changes, stage_changes
from lockgate.git import Workspace, snapshot
from lockgate.result import FileChange, ParamChange, Reason, StageChange

Lockgate = Callable[..., tuple[int, str, str]]


def plan_of(project: Project, base: str = "workspace") -> dict[str, StagePlan]:
    current = Workspace(project.root)
    pipeline = read_pipeline(current)
    lock = read_lock(snapshot(project.root, base), pipeline)
    return {item.name: item for item in plan(pipeline, lock, WorkspaceFiles(project.root), current)}


def verdicts(project: Project, base: str = "workspace") -> dict[str, str]:
    return {name: item.verdict for name, item in plan_of(project, base).items()}


ALL_SAME = {"ingest": "same", "prepare": "same", "train": "same", "evaluate": "same"}


def test_nothing_runs_when_nothing_changed(ran: Project) -> None:
    assert verdicts(ran) == ALL_SAME


def test_nothing_runs_in_a_fresh_clone_with_an_empty_cache(ran: Project, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(ran.root), str(clone)], check=True)

    assert verdicts(Project(clone)) == ALL_SAME
    assert not (clone / ".dvc/cache").exists()
    assert not (clone / "data/table").exists()


def test_a_parameter_is_told_with_its_values_and_what_depends_on_it_may_run(ran: Project) -> None:
    ran.write_params({"prepare": {"share": 0.2}, "train": {"lr": 0.05, "depth": 3}})

    plans = plan_of(ran)

    assert plans["train"] == StagePlan("train", "will", (Reason("parameter", "train.lr", "0.1", "0.05"),))
    assert plans["evaluate"] == StagePlan("evaluate", "may", (Reason("upstream", "train"),))
    assert plans["ingest"].verdict == plans["prepare"].verdict == "same"


def test_a_section_of_parameters_is_told_leaf_by_leaf(ran: Project) -> None:
    ran.write_params({"prepare": {"share": 0.3, "new": [1]}, "train": {"lr": 0.1, "depth": 3}})

    reasons = plan_of(ran)["prepare"].reasons

    assert reasons == (
        Reason("parameter", "prepare.share", "0.2", "0.3"),
        Reason("parameter", "prepare.new", None, "[1]"),
    )


@pytest.mark.parametrize(
    ("path", "kind", "stage"),
    [
        ("src/train.py", "code", "train"),
        ("requirements/pipeline.lock", "environment", "train"),
        ("data/raw.csv", "data", "ingest"),
    ],
)
def test_a_changed_file_is_told_by_its_role(ran: Project, path: str, kind: str, stage: str) -> None:
    ran.write(path, "changed\n")

    item = plan_of(ran)[stage]

    assert (item.verdict, item.reasons[0].kind, item.reasons[0].subject) == ("will", kind, path)


def test_a_comment_in_the_params_file_and_an_unread_file_are_no_cause(ran: Project) -> None:
    ran.write("params.yaml", "# note\n" + ran.read("params.yaml") + "unread: 1\n")
    ran.write("README.md", "words\n")

    assert verdicts(ran) == ALL_SAME


def test_a_changed_command_is_told_before_and_after(ran: Project) -> None:
    ran.stages["train"]["cmd"] = "sh stage.sh train --fast"
    ran.save()

    assert plan_of(ran)["train"].reasons == (
        Reason("command", "train", "sh stage.sh train", "sh stage.sh train --fast"),
    )


def test_new_data_known_only_by_its_dvc_file_is_a_cause(ran: Project) -> None:
    ran.write("data/raw.csv", "a,b\n3,4\n")
    ran.add("data/raw.csv")
    ran.push()
    ran.forget()

    plans = plan_of(ran)

    assert plans["ingest"].verdict == "will"
    assert plans["ingest"].reasons[0].kind == "data"
    assert plans["evaluate"].verdict == "may"


def test_stages_that_are_new_removed_or_renamed(ran: Project) -> None:
    ran.stage("extra", deps=["models/model.bin"], outs=["extra"])
    ran.stages["fit"] = ran.stages.pop("train")
    ran.save()

    plans = plan_of(ran)

    assert "train" not in plans
    assert plans["fit"] == StagePlan("fit", "will", (Reason("new", "fit"),))
    assert plans["extra"] == StagePlan("extra", "will", (Reason("new", "extra"), Reason("upstream", "fit")))


def test_with_a_base_the_authors_lock_is_not_looked_at(ran: Project) -> None:
    ran.git("checkout", "-q", "-b", "feature")
    ran.write_params({"prepare": {"share": 0.2}, "train": {"lr": 0.05, "depth": 3}})
    assert ran.repro()[0] == ["train"]
    ran.commit()

    assert verdicts(ran) == ALL_SAME
    assert verdicts(ran, "main") == {"ingest": "same", "prepare": "same", "train": "will", "evaluate": "may"}


def test_an_edited_output_that_the_cache_can_restore_is_a_cause(ran: Project) -> None:
    (ran.root / "models/model.bin").unlink()
    ran.write("models/model.bin", "edited")

    assert plan_of(ran)["train"].reasons[0].kind == "output"
    shutil.rmtree(ran.root / ".dvc/cache")
    assert verdicts(ran)["train"] == "same"
    assert verdicts(ran)["evaluate"] == "will"


def test_a_plan_changes_no_file(ran: Project, lockgate: Lockgate) -> None:
    ran.write_params({"prepare": {"share": 0.9}, "train": {"lr": 0.05, "depth": 3}})
    ran.forget()

    def everything() -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in ran.root.rglob("*") if path.is_file()}

    before = everything()
    assert lockgate("plan", "--base", "HEAD")[0] == 0
    assert everything() == before


@pytest.mark.slow
def test_ten_thousand_changed_parameters_are_planned_in_seconds(project: Project) -> None:
    project.write_params({"many": {f"p{number}": 0 for number in range(10_000)}})
    project.stage("s", params=[f"many.p{number}" for number in range(10_000)], outs=["o"])
    project.write_lock(
        {
            "s": {
                "cmd": "sh stage.sh s",
                "params": {"params.yaml": {f"many.p{number}": 0 for number in range(10_000)}},
                "outs": [{"path": "o", "hash": "md5", "md5": "0" * 32, "size": 1}],
            }
        }
    )
    assert verdicts(project) == {"s": "same"}
    project.write_params({"many": {f"p{number}": 1 for number in range(10_000)}})

    started = time.monotonic()
    plans = plan_of(project)

    assert len(plans["s"].reasons) == 10_000
    assert len(as_text(tuple(plans.values())).splitlines()) == 2
    assert time.monotonic() - started < 20


def test_values_are_compared_as_dvc_compares_them() -> None:
    nan = float("nan")
    assert list(value_changes("k", 1, 1.0)) == []
    assert list(value_changes("k", [1, 2], (1, 2))) == []
    assert list(value_changes("k", nan, float("nan"))) == [("k", "NaN", "NaN")]
    assert list(value_changes("k", {"a": {"b": 1}}, {"a": {"b": 2}})) == [("k.a.b", "1", "2")]
    assert list(value_changes("k", {"a": 1}, [1])) == [("k", '{"a": 1}', "[1]")]


# --- against the truth


def check_against_dvc(project: Project, trail: list[str]) -> bool:
    """Plan, then let DVC reproduce; return False where the pipeline is one that both refuse."""
    current = Workspace(project.root)
    try:
        pipeline = read_pipeline(current)
    except PipelineError:
        assert project.repro()[1] is not None, f"lockgate refuses what DVC runs, after {trail}"
        return False
    plans = plan(pipeline, sound_lock(project, pipeline), WorkspaceFiles(project.root), current)
    told = as_text(plans)
    ran, failure = project.repro()
    verdict = {item.name: item.verdict for item in plans}
    surprising = [name for name in ran if verdict[name] == "same"]
    missing = [name for name, word in verdict.items() if word == "will" and name not in ran and failure is None]
    assert not surprising, f"ran, but was not in the plan: {surprising}\n{told}\nafter {trail}"
    assert not missing, f"did not run, but was to: {missing}\n{told}\nafter {trail}"
    return True


def sound_lock(project: Project, pipeline: Pipeline) -> Any:
    """Read the lock; where bare DVC recorded an output without a hash, do first as the refusal advises."""
    try:
        return read_lock(Workspace(project.root), pipeline)
    except BrokenLock:
        entries = project.lock().items()
        parts = ("deps", "outs")
        project.write_lock(
            {name: e for name, e in entries if all("md5" in item for part in parts for item in e.get(part, []))}
        )
        return read_lock(Workspace(project.root), pipeline)


def random_walk(project: Project, seed: int, steps: int) -> int:
    rng = Random(seed)
    random_project(project, rng)
    trail: list[str] = []
    for done in range(steps):
        if not check_against_dvc(project, trail):
            return done
        for _ in range(rng.randint(1, 2)):
            edit = rng.choice(EDITS)
            trail.append(edit.__name__)
            edit(project, rng)
            project.save()
    return steps


def test_dvc_runs_what_was_planned_after_random_edits(project: Project) -> None:
    assert random_walk(project, seed=0, steps=12) == 12


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, length(4, 41)))
def test_dvc_runs_what_was_planned_after_many_random_edits(project: Project, seed: int) -> None:
    assert random_walk(project, seed, steps=20) > 0


def test_dvc_runs_what_was_planned_when_part_of_a_folder_is_pulled_first(project: Project) -> None:
    project.write("raw/f", "1")
    project.write("raw/g", "2")
    project.add("raw")
    project.write("code.py", "1")
    project.stage("one", deps=["raw/f", "code.py"], outs=["out/one"])
    project.stage("all", deps=["raw"], outs=["out/all"])
    assert project.repro()[1] is None
    project.push()
    project.forget()
    project.write("code.py", "2")

    assert verdicts(project) == {"one": "will", "all": "may"}
    assert check_against_dvc(project, ["a file of the folder is needed"])


# --- between two revisions


def test_stage_changes_tell_changed_pending_added_removed_and_same(ran: Project) -> None:
    base = read_state(snapshot(ran.root, "HEAD"))
    ran.write_params({"prepare": {"share": 0.2}, "train": {"lr": 0.05, "depth": 3}})
    assert ran.repro()[1] is None
    ran.write("src/evaluate.py", "changed\n")
    ran.stage("extra", deps=["src/ingest.py"], outs=["extra"])
    del ran.stages["ingest"]
    ran.save()

    changes = {c.name: c for c in stage_changes(base, read_state(Workspace(ran.root)), WorkspaceFiles(ran.root))}

    assert {name: change.status for name, change in changes.items()} == {
        "prepare": "same",
        "train": "changed",
        "evaluate": "pending",
        "extra": "added",
        "ingest": "removed",
    }
    assert changes["train"].reasons == (Reason("parameter", "train.lr", "0.1", "0.05"),)
    assert changes["evaluate"].reasons[0].subject == "src/evaluate.py"
    assert list(changes)[-1] == "ingest"


def test_stage_changes_of_commits_need_no_file_that_dvc_holds(ran: Project) -> None:
    base = read_state(snapshot(ran.root, "HEAD"))
    ran.write_params({"prepare": {"share": 0.2}, "train": {"lr": 0.05, "depth": 3}})
    assert ran.repro()[1] is None
    ran.commit()
    ran.forget()
    head = snapshot(ran.root, "HEAD")

    changes = stage_changes(base, read_state(head), CommitFiles(head))

    assert [change.status for change in changes] == ["same", "same", "changed", "same"]
    assert stage_changes(None, read_state(head), CommitFiles(head))[0] == StageChange(
        "ingest", "added", (Reason("new", "ingest"),)
    )


def test_param_changes_are_those_that_a_stage_reads(ran: Project) -> None:
    base = read_state(snapshot(ran.root, "HEAD"))
    ran.write_params({"prepare": {"other": "a"}, "train": {"lr": 0.1, "depth": 4}, "unread": 1})

    assert param_changes(base, read_state(Workspace(ran.root))) == (
        ParamChange("params.yaml", "prepare.other", None, '"a"'),
        ParamChange("params.yaml", "prepare.share", "0.2", None),
        ParamChange("params.yaml", "train.depth", "3", "4"),
    )


def test_file_changes_have_roles_kinds_and_sizes(ran: Project) -> None:
    base = read_state(snapshot(ran.root, "HEAD"))
    ran.write("src/train.py", "longer than before\n")
    ran.write("requirements/pipeline.lock", "numpy==2.1\n")
    ran.write("data/raw.csv", "a,b\n1,2\n3,4\n")
    ran.add("data/raw.csv")
    ran.write("src/extra.py", "new\n")
    ran.stages["evaluate"]["deps"] = ["models/model.bin", "data/ready/", "src/extra.py"]
    ran.save()
    assert ran.repro()[1] is None
    head = Workspace(ran.root)

    found = file_changes(base, CommitFiles(base.snapshot), read_state(head), WorkspaceFiles(ran.root))

    changes = {change.path: change for change in found}
    assert [(c.path, c.role, c.kind) for c in found if c.role != "output"] == [
        ("data/raw.csv", "data", "changed"),
        ("requirements/pipeline.lock", "environment", "changed"),
        ("src/evaluate.py", "code", "removed"),
        ("src/extra.py", "code", "added"),
        ("src/train.py", "code", "changed"),
    ]
    assert (changes["data/raw.csv"].size_before, changes["data/raw.csv"].size_after) == (8, 12)
    assert changes["src/train.py"].size_after == 19
    assert isinstance(changes["src/extra.py"], FileChange)
    assert changes["src/extra.py"].digest_before is None


def test_a_folder_of_code_is_told_file_by_file(project: Project) -> None:
    project.write("src/a.py", "1")
    project.write("src/b.py", "2")
    project.stage("s", deps=["src"], outs=["o"])
    assert project.repro()[1] is None
    project.commit()
    base = read_state(snapshot(project.root, "HEAD"))
    project.write("src/b.py", "3")

    found = file_changes(
        base, CommitFiles(base.snapshot), read_state(Workspace(project.root)), WorkspaceFiles(project.root)
    )

    assert [(change.path, change.role, change.kind) for change in found] == [("src/b.py", "code", "changed")]


# --- the command


def test_the_command_shows_verdicts_and_reasons(ran: Project, lockgate: Lockgate) -> None:
    ran.write_params({"prepare": {"share": 0.2}, "train": {"lr": 0.05, "depth": 3}})

    code, out, err = lockgate("plan")

    assert (code, err) == (0, "")
    assert out == (
        "1 of 4 stages will run, 1 more may.\n"
        "  will  train     train.lr 0.1 → 0.05\n"
        "  may   evaluate  depends on train\n"
        "  same  ingest, prepare\n"
    )


def test_the_command_says_when_there_is_nothing_to_do(ran: Project, lockgate: Lockgate) -> None:
    assert lockgate("plan")[:2] == (0, "Nothing to run: all 4 stages are as dvc.lock has them.\n")


def test_json_has_a_schema_the_base_and_every_stage(ran: Project, lockgate: Lockgate) -> None:
    code, out, _ = lockgate("plan", "--json", "--base", "main")

    content = json.loads(out)
    assert code == 0
    assert content["schema"] == "lockgate.plan/1"
    assert content["base"] == {"label": "main", "commit": ran.git("rev-parse", "HEAD").strip()}
    assert content["stages"][0] == {"name": "ingest", "verdict": "same", "reasons": []}


@pytest.mark.parametrize(
    ("arguments", "damage", "said"),
    [
        (["plan"], {"dvc.yaml": "stages: [\n"}, "dvc.yaml, line 2, column 1"),
        (["plan"], {"dvc.lock": "<<<<<<< ours\n"}, "dvc.lock: it has conflict markers"),
        (["plan"], {"dvc.lock": "schema: '2.0'\nstages:\n  train:\n    cmd: x\n    de"}, "dvc.lock (stage 'train')"),
        (["plan"], {"params.yaml": "a: [\n"}, "params.yaml, line 2, column 1"),
        (["plan"], {"dvc.yaml": "stages: {}\n"}, "there is no stage here"),
        (["plan", "--base", "mian"], {}, "unknown revision 'mian'"),
        (["run", "--dry-run", "--base", "mian"], {}, "unknown revision 'mian'"),
        (["run"], {"dvc.lock": "<<<<<<< ours\n"}, "dvc.lock: it has conflict markers"),
    ],
)
def test_bad_input_is_an_error_that_names_the_place(
    ran: Project, lockgate: Lockgate, arguments: list[str], damage: dict[str, str], said: str
) -> None:
    for path, text in damage.items():
        ran.write(path, text)

    code, out, err = lockgate(*arguments)

    assert (code, out) == (3 if "mian" in arguments else 1, "")
    assert said in err
    assert len(err.splitlines()) == 2, "the fact, and what to do"
