"""What a stage reads is there before it starts, is what the lock says, and what cannot be had is named."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.lockgate.factory import Project

from lockgate.dvc.objects import WorkspaceFiles
from lockgate.dvc.pipeline import read_state
from lockgate.dvc.plan import plan
from lockgate.dvc.stages import Progress, run_stages
from lockgate.git import Workspace

COUNT = "find data -type f ! -name '*.dvc' ! -name .gitignore | sort | xargs cat > out"


def dvc(root: Path, *arguments: str) -> None:
    subprocess.run(["dvc", *arguments], cwd=root, check=True, capture_output=True)


def clone_of(project: Project, name: str = "clone") -> Path:
    target = project.root.parent / name
    subprocess.run(["git", "clone", "-q", str(project.root), str(target)], check=True)
    return target


def run(root: Path) -> tuple[bool, dict[str, str], str]:
    """Return whether it went well, what became of each stage, and what was said of a failure."""
    steps: list[Progress] = []
    done = run_stages(root, on_progress=steps.append)
    return done.ok, {s.stage: str(s.status or s.event) for s in steps if s.stage and s.event != "began"}, _error(steps)


def _error(steps: list[Progress]) -> str:
    return next((step.error for step in steps if step.event == "failed"), "")


def verdicts(root: Path) -> dict[str, str]:
    state = read_state(Workspace(root))
    return {p.name: p.verdict for p in plan(state.pipeline, state.lock, WorkspaceFiles(root), state.snapshot)}


@pytest.fixture
def mixed(tmp_path: Path) -> Project:
    """A stage that reads data/: git holds a file of it, DVC tracks another and a folder, and a stage writes one."""
    project = Project.create(tmp_path / "project")
    project.write("data/note.txt", "note\n")
    project.write("data/x.csv", "rows\n")
    project.write("data/more/y.csv", "more rows\n")
    project.add("data/x.csv")
    project.add("data/more")
    project.write_params({"lr": 1})
    project.write(
        "dvc.yaml",
        yaml.safe_dump(
            {
                "stages": {
                    "ingest": {"cmd": "echo made > data/made.csv", "params": ["lr"], "outs": ["data/made.csv"]},
                    "train": {"cmd": COUNT, "deps": ["data"], "outs": ["out"]},
                }
            }
        ),
    )
    assert run(project.root)[0]
    project.commit()
    project.push()
    return project


def test_a_clone_in_which_nothing_changed_runs_and_pulls_nothing_of_a_folder_that_dvc_tracks_in_part(
    mixed: Project,
) -> None:
    clone = clone_of(mixed)
    shutil.copytree(mixed.root / ".dvc/cache", clone / ".dvc/cache")  # the list of a folder's files decides
    assert verdicts(clone) == {"ingest": "same", "train": "same"}
    ok, status, _ = run(clone)
    assert ok
    assert status == {"ingest": "untouched", "train": "untouched"}
    assert not (clone / "data/x.csv").exists()


def test_all_that_dvc_tracks_inside_a_dependency_is_there_before_the_stage_starts(mixed: Project) -> None:
    clone = clone_of(mixed)
    (clone / "data/note.txt").write_text("another note\n")
    assert verdicts(clone)["train"] in ("may", "will")
    ok, status, said = run(clone)
    assert ok, said
    assert status == {"ingest": "untouched", "train": "ran"}
    assert (clone / "out").read_text() == "made\nmore rows\nanother note\nrows\n"


def test_a_change_of_what_is_tracked_inside_a_folder_is_planned_and_run_without_the_data_here(mixed: Project) -> None:
    mixed.write("data/x.csv", "new rows\n")
    mixed.add("data/x.csv")
    mixed.commit()
    mixed.push()
    clone = clone_of(mixed)
    shutil.copytree(mixed.root / ".dvc/cache", clone / ".dvc/cache")
    assert verdicts(clone) == {"ingest": "same", "train": "will"}
    ok, _, said = run(clone)
    assert ok, said
    assert "new rows" in (clone / "out").read_text()


def altered(remote: Path, content: bytes) -> Path:
    """Write other bytes over the object that has ``content``."""
    file = next(path for path in remote.rglob("*") if path.is_file() and path.read_bytes() == content)
    mode = file.stat().st_mode
    file.chmod(0o644)
    file.write_bytes(content.swapcase())
    file.chmod(mode)
    return file


@pytest.mark.parametrize(("content", "verify"), [(b"rows\n", True), (b"more rows\n", False), (b"made\n", False)])
def test_bytes_altered_in_the_remote_stop_the_run_and_are_named(mixed: Project, content: bytes, verify: bool) -> None:
    file = altered(mixed.remote, content)
    clone = clone_of(mixed)
    (clone / "data/note.txt").write_text("another note\n")
    if verify:
        dvc(clone, "remote", "modify", "--local", "local", "verify", "true")
    ok, status, said = run(clone)
    assert not ok
    assert status["train"] == "failed"
    assert f"{file.parent.name}{file.name}" in said
    assert "data/" in said
    assert "dvc push" in said
    assert not (clone / "out").exists()
    assert content.swapcase() not in [path.read_bytes() for path in clone.rglob("*.csv")]
    assert file.exists(), "the remote is not ours to clean"


@pytest.mark.parametrize("content", [b"rows\n", b"more rows\n"])
def test_an_object_that_the_remote_has_lost_is_named_with_the_command_that_restores_it(
    mixed: Project, content: bytes
) -> None:
    file = next(path for path in mixed.remote.rglob("*") if path.is_file() and path.read_bytes() == content)
    file.unlink()
    clone = clone_of(mixed)
    (clone / "data/note.txt").write_text("another note\n")
    ok, _, said = run(clone)
    assert not ok
    assert f"{file.parent.name}{file.name}" in said
    assert "`dvc push data/" in said


def test_a_dependency_that_is_nowhere_is_named_before_the_stage_starts(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "project")
    train = {"cmd": "touch out", "deps": ["no.csv"], "outs": ["out"]}
    project.write("dvc.yaml", yaml.safe_dump({"stages": {"train": train}}))
    project.commit()
    assert verdicts(project.root) == {"train": "will"}
    ok, _, said = run(project.root)
    assert not ok
    assert "'no.csv', which stage 'train' reads" in said
    assert not (project.root / "out").exists()
