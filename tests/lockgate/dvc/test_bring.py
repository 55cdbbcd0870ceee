"""After ``git switch`` and ``git merge``: what was run is brought and not run again, and no two commits are mixed."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lockgate.factory import Project

from lockgate.dvc.bring import REPLACED, Brought, bring
from lockgate.dvc.objects import WorkspaceFiles
from lockgate.dvc.pipeline import read_state
from lockgate.git import Workspace

Lockgate = Callable[..., tuple[int, str, str]]
POLICY = """\
model: m
metrics: {n: {file: metrics.json, key: n, better: higher}}
gates: [{kind: floor, metric: n, value: 1}]
"""


@pytest.fixture
def two(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project on the branch ``main``; on ``other`` it was trained with another parameter and other data.

    The cache has both, the remote nothing."""
    monkeypatch.chdir(project.root)
    project.write("lockgate.yaml", POLICY)
    project.write("data/a", "1")
    project.add("data")
    project.write("evaluate.sh", "# counts\n")
    project.write_params({"lr": 0.1})
    project.stage("train", cmd="mkdir -p model && cat params.yaml data/a > model/weights", params=["lr"], deps=["data"],
                  outs=["model"])  # fmt: skip
    project.stage(
        "evaluate",
        cmd="""printf '{"n": %d}' $(cat model/weights evaluate.sh | wc -c) > metrics.json""",
        deps=["model", "evaluate.sh"],
        metrics=[{"metrics.json": {"cache": False}}],
    )
    assert project.repro()[1] is None
    project.commit("main")
    project.git("switch", "-q", "-c", "other")
    project.write_params({"lr": 0.25})
    project.write("data/a", "22")
    project.add("data")
    assert project.repro()[1] is None
    project.commit("other")
    return project


def brought(project: Project) -> Brought:
    state = read_state(Workspace(project.root))
    return bring(project.root, state.pipeline, state.lock, WorkspaceFiles(project.root))


def contents(project: Project) -> tuple[str, str]:
    return project.read("model/weights"), project.read("data/a")


def move(project: Project, place: str) -> None:
    """Have the cache's objects in a remote alone."""
    target = project.remote if place == "remote" else project.root.parent / "quarantine"
    if place == "quarantine":
        with (project.root / ".dvc/config").open("a") as config:
            config.write("['remote \"quarantine\"']\n    url = ../../quarantine\n")
    shutil.copytree(project.root / ".dvc/cache/files", target / "files", dirs_exist_ok=True)
    shutil.rmtree(project.root / ".dvc/cache")


@pytest.mark.parametrize("place", ["cache", "remote", "quarantine"])
def test_after_a_switch_what_the_lock_names_is_brought_and_nothing_runs(
    two: Project, lockgate: Lockgate, place: str
) -> None:
    before = contents(two)
    two.git("switch", "-q", "main")
    assert set(brought(two).paths) == {"model", "data"}
    assert contents(two) == ("lr: 0.1\n1", "1")
    if place != "cache":
        move(two, place)
        shutil.rmtree(two.root / "data")  # what the cache does not keep could have been changed by hand
    two.git("switch", "-q", "other")

    code, out, said = lockgate("run")

    assert code == 0, said
    assert "2 up to date" in out
    assert "model" in said
    assert two.read("model/weights") == before[0]
    assert "metrics.json" not in two.git("status", "--porcelain")
    assert "dvc.lock" not in two.git("status", "--porcelain")


def test_what_is_nowhere_is_not_taken_for_this_commits_and_what_lay_there_is_kept(two: Project) -> None:
    shutil.rmtree(two.root / ".dvc/cache")
    shutil.rmtree(two.root / "data")
    two.git("switch", "-q", "main")

    found = brought(two)

    assert found.nowhere == ("model",)
    assert not (two.root / "model").exists()
    assert (two.root / REPLACED / "model/weights").read_text() == "lr: 0.25\n22"


def test_an_object_of_the_quarantine_that_was_altered_is_not_laid_out(two: Project) -> None:
    two.git("switch", "-q", "main")
    move(two, "quarantine")
    shutil.rmtree(two.root / "data")
    for file in (two.root.parent / "quarantine/files").rglob("*"):
        if file.is_file() and not file.name.endswith(".dir"):
            file.chmod(0o644)
            file.write_text("altered")

    assert brought(two).paths == ()
    assert not (two.root / "model").exists()
    assert not [
        file for file in (two.root / ".dvc/cache").rglob("*") if file.is_file() and file.read_text() == "altered"
    ]


def test_where_everything_is_this_commits_nothing_is_asked_and_what_has_to_run_is_left_to_run(two: Project) -> None:
    assert brought(two) == Brought()

    two.write("data/a", "by hand")
    two.write("model/weights", "by hand")
    two.write_params({"lr": 0.5})

    assert brought(two) == Brought()
    assert contents(two) == ("by hand", "by hand")


def test_a_merge_goes_through_to_the_end_as_docs_conflicts_says(
    two: Project, lockgate: Lockgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / "src"))
    two.git("switch", "-q", "main")
    brought(two)
    assert lockgate("setup-git")[0] == 0
    two.commit("attributes")
    two.git("switch", "-q", "-c", "mine")
    two.write("evaluate.sh", "# counts, and says more\n")
    assert two.repro()[1] is None
    two.commit("mine")

    merged = subprocess.run(
        ["git", "merge", "--no-edit", "other"], cwd=two.root, capture_output=True, text=True, check=False
    )
    assert merged.returncode == 0, merged.stdout
    assert "stage 'evaluate' will run again" in merged.stderr
    code, _, said = lockgate("check")
    assert code == 3
    assert "evaluate" in said
    code, _, said = lockgate("run", "--json")
    assert code == 0, said
    assert "train: ran" not in said
    assert contents(two) == ("lr: 0.25\n22", "22")
    two.git("commit", "-qam", "merged, and run")
    assert two.git("status", "--porcelain") == ""
    assert lockgate("check")[0] == 0
    assert lockgate("run")[1].startswith("2 stages: 2 up to date")
