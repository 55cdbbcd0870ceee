"""A commit is rebuilt with the packages of its own lock: real uv, tiny packages, an index on this machine."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lockgate import locked_project
from tests.lockgate.factory import Project

from lockgate.dependencies.lock import LockRefused
from lockgate.dependencies.uv import UvMissing
from lockgate.dvc.rebuild import RebuildError, as_text, rebuild
from lockgate.dvc.stages import Sandbox

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
        code, out, err = lockgate("rebuild", asked, "--json")
        assert code == 0, err
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


def test_a_program_of_lockgates_own_environment_is_none_of_the_locked_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", os.pathsep.join([own, "/usr/bin"]))
    assert Sandbox(dependencies=tmp_path).variables()["PATH"].split(os.pathsep) == [str(tmp_path / "bin"), "/usr/bin"]
    assert Sandbox().variables()["PATH"].split(os.pathsep)[0] == own


def test_a_stage_that_reaches_for_the_network_has_none_and_is_named(project: Project, packages: Path) -> None:
    locked_project.make(project)
    asks = "import socket\ntry: socket.create_connection(('192.0.2.1', 81), 0.2)\nexcept OSError: pass\n"
    project.write("train.py", asks + locked_project.TRAIN)
    locked_project.lock(project, locked_project.publish(packages, "1.0"))
    done = rebuild(project.root, "HEAD", "full")
    assert done.ok
    assert done.ran_with is not None
    assert "Dependencies: those of requirements/pipeline.lock, Python 3.11." in as_text(done)
    if done.ran_with.isolation == "none":
        pytest.skip("no namespaces here")
    assert not done.ran_with.network
    assert [one for one in done.ran_with.contacts if one.startswith("train: 192.0.2.1")]
    assert "train: 192.0.2.1" in as_text(done)


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
