"""A commit is rebuilt with the packages of its own lock: real uv, tiny packages, an index on this machine."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lockgate import locked_project
from tests.lockgate.factory import Project

from lockgate.dependencies.lock import LockRefused
from lockgate.dependencies.uv import UvMissing
from lockgate.dvc.rebuild import RebuildError, rebuild

pytest_plugins = ("tests.lockgate.package_index",)
pytestmark = pytest.mark.slow
Lockgate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def commits(project: Project, packages: Path) -> tuple[str, str]:
    """Two commits whose locks pin two versions of a package that changes what the stage writes."""
    locked_project.make(project)
    first = locked_project.lock(project, locked_project.publish(packages, "1.0"))
    second = locked_project.lock(project, locked_project.publish(packages, "2.0"))
    return first, second


def test_each_commit_is_rebuilt_to_its_own_bytes_from_the_checkout_of_the_other(
    project: Project, commits: tuple[str, str], lockgate: Lockgate
) -> None:
    shown = {}
    for here, asked in ((commits[1], commits[0]), (commits[0], commits[1])):
        project.git("checkout", "-q", here)
        code, out, err = lockgate("rebuild", asked)
        assert code == 0, err
        assert "2 of 2 outputs are the same, byte for byte" in out
        assert "Dependencies: those of requirements/pipeline.lock, Python 3.11." in out
        code, out, _ = lockgate("rebuild", asked, "--json")
        assert code == 0
        shown[asked] = json.loads(out)
    ran = [shown[commit]["ran_with"] for commit in commits]
    assert [one["dependencies"] for one in ran] == ["locked", "locked"]
    assert ran[0]["lock_digest"] != ran[1]["lock_digest"]
    models = [next(out["rebuilt"] for out in shown[c]["outputs"] if out["stage"] == "train") for c in commits]
    assert models[0] != models[1]


def test_with_the_current_packages_the_same_commit_fails_or_differs_and_the_result_says_so(
    project: Project, commits: tuple[str, str], packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RebuildError, match="stage 'train' failed"):  # the package is installed nowhere
        rebuild(project.root, commits[0], "full", dependencies="current")
    other = project.read("lockgate.yaml").split("dependencies:")[0]
    project.write("lockgate.yaml", other)
    third = project.commit("no dependencies in the policy")
    with pytest.raises(RebuildError, match="names no lock under `dependencies:`"):
        rebuild(project.root, third, "full", dependencies="locked")


def test_a_commit_whose_policy_names_no_lock_runs_with_what_is_installed_and_says_so(ran: Project) -> None:
    done = rebuild(ran.root, "HEAD", "full")
    assert done.ran_with is not None
    assert (done.ran_with.dependencies, done.ran_with.lock) == ("current", None)
    assert rebuild(ran.root, "HEAD", "none").ran_with is None


def test_a_section_that_names_no_file_and_a_machine_without_uv_are_told_before_anything_runs(
    project: Project, commits: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("lockgate.yaml", locked_project.POLICY.replace("pipeline.lock", "absent.lock"))
    commit = project.commit("no such lock")
    with pytest.raises(LockRefused, match=r"dependencies.lock names 'requirements/absent.lock', and .* no such file"):
        rebuild(project.root, commit, "full")
    monkeypatch.setattr("lockgate.dependencies.uv.find_uv", lambda: None)
    with pytest.raises(UvMissing) as caught:
        rebuild(project.root, commits[0], "full")
    assert "--dependencies current" in caught.value.advice
