"""Writing to another's branch without checking it out: exact, repeatable, and never over something newer."""

import subprocess
from pathlib import Path

import pytest
from tests.lockgate.factory import Project

from lockgate import git
from lockgate.git import GitError

BOT = ("bot", "bot@example.org")


@pytest.fixture
def clone(project: Project, tmp_path: Path) -> Path:
    """A clone of a bare origin that has one commit on ``change``."""
    project.write("dvc.lock", "old\n")
    project.commit()
    origin = tmp_path / "origin.git"
    project.git("clone", "-q", "--bare", str(project.root), str(origin))
    subprocess.run(["git", "branch", "change", "main"], cwd=origin, check=True)
    subprocess.run(["git", "clone", "-q", str(origin), str(tmp_path / "clone")], check=True)
    return tmp_path / "clone"


def tip(clone: Path) -> str:
    return git.git(clone, "ls-remote", "origin", "refs/heads/change").split()[0]


def test_the_same_files_on_the_same_commit_are_the_same_commit(clone: Path) -> None:
    head = tip(clone)

    made = [git.commit_on(clone, head, {"dvc.lock": b"new\n", "reports/m.json": b"{}"}, "lock", BOT) for _ in range(2)]

    assert made[0] == made[1]
    assert git.git(clone, "show", "--format=%an %P", "--name-only", made[0]).split() == [
        "bot", head, "dvc.lock", "reports/m.json"
    ]  # fmt: skip
    assert git.git(clone, "status", "--porcelain") == ""


def test_a_link_is_not_written_through(clone: Path) -> None:
    (clone / "dvc.lock").unlink()
    (clone / "dvc.lock").symlink_to(".git/config")
    git.git(clone, "commit", "-q", "-a", "-m", "link")

    with pytest.raises(GitError, match="not a plain file"):
        git.commit_on(clone, git.resolve(clone, "HEAD"), {"dvc.lock": b"new\n"}, "lock", BOT)


def test_a_branch_that_stands_where_it_should_is_moved(clone: Path) -> None:
    head = tip(clone)
    made = git.commit_on(clone, head, {"dvc.lock": b"new\n"}, "lock", BOT)

    assert git.push(clone, made, "change", head, {})
    assert tip(clone) == made
    assert git.push(clone, made, "change", head, {})  # again: it is there


@pytest.mark.parametrize("way", ["forward", "back"])
def test_a_branch_that_moved_forward_or_back_is_left_alone(clone: Path, way: str) -> None:
    first = tip(clone)
    later = git.commit_on(clone, first, {"README.md": b"later\n"}, "later", BOT)
    start, now = (first, later) if way == "forward" else (later, first)
    git.git(clone, "push", "-q", "origin", f"{later}:refs/heads/change")
    made = git.commit_on(clone, start, {"dvc.lock": b"new\n"}, "lock", BOT)
    git.git(clone, "push", "-q", "-f", "origin", f"{now}:refs/heads/change")

    assert not git.push(clone, made, "change", start, {})
    assert tip(clone) == now


def test_a_push_that_is_not_allowed_is_an_error(clone: Path, tmp_path: Path) -> None:
    hook = tmp_path / "origin.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    head = tip(clone)
    made = git.commit_on(clone, head, {"dvc.lock": b"new\n"}, "lock", BOT)

    with pytest.raises(GitError, match="push failed"):
        git.push(clone, made, "change", head, {})


def test_a_token_is_on_no_command_line() -> None:
    access = git.authorization("https://github.com", "ghs_secret")

    assert access["GIT_CONFIG_KEY_0"] == "http.https://github.com/.extraheader"
    assert not any("ghs_secret" in value for value in access.values())
