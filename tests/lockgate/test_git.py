import os
import subprocess
import time
from pathlib import Path

import pytest
from tests.lockgate.factory import Project

from lockgate import git
from lockgate.errors import LockgateError


def test_a_commit_is_read_as_it_was_and_the_workspace_as_it_is(project: Project) -> None:
    project.write("a.txt", "old")
    sha = project.commit()
    project.write("a.txt", "new")

    with git.snapshot(project.root, "HEAD") as commit:  # type: ignore[attr-defined]
        assert commit.read("a.txt") == b"old"
        assert commit.read("absent") is None
        assert commit.read("spec") is None, "a folder is not a file"
        assert commit.read("a.txt") == b"old", "the reader survives what it did not find"
        assert commit.commit == sha
    assert git.Workspace(project.root).read("a.txt") == b"new"


def test_a_forked_copy_leaves_the_processes_that_read_a_commit_to_its_parent(project: Project) -> None:
    """It waited for ever for them to end, because the parent holds their other end."""
    project.write(".gitattributes", "*.txt text\n")
    project.write("a.txt", "one")
    project.write("b.txt", "two")
    project.commit()
    commit = git.snapshot(project.root, "HEAD")
    assert commit.read("a.txt") == b"one"
    copy = os.fork()
    if copy == 0:
        try:
            commit.close()  # type: ignore[attr-defined]
        finally:
            os._exit(0)
    end = time.monotonic() + 20
    while (ended := os.waitpid(copy, os.WNOHANG))[0] == 0 and time.monotonic() < end:
        time.sleep(0.01)
    if ended[0] == 0:
        os.kill(copy, 9)
        os.waitpid(copy, 0)
    assert ended == (copy, 0)
    assert commit.read("b.txt") == b"two"
    commit.close()  # type: ignore[attr-defined]


def test_names_that_are_odd_are_listed_and_read(project: Project) -> None:
    names = [
        "with space.txt",
        "ünï.txt",
        "$(id).txt",
        "-rf",
        "q'uote\".txt",
        b"latin-\xe9.txt".decode(errors="surrogateescape"),
    ]
    for name in names:
        project.write(name, name.encode(errors="surrogateescape"))
    project.commit()

    for snapshot in (git.snapshot(project.root, "HEAD"), git.Workspace(project.root)):
        assert set(names) <= set(snapshot.list())
        assert [snapshot.read(name) for name in names] == [name.encode(errors="surrogateescape") for name in names]


def test_the_workspace_lists_new_files_but_neither_ignored_nor_deleted_ones(project: Project) -> None:
    project.write("kept.txt", "")
    project.write("gone.txt", "")
    project.commit()
    (project.root / "gone.txt").unlink()
    project.write(".gitignore", "ignored.txt\n")
    project.write("ignored.txt", "")
    project.write("new.txt", "")

    assert git.Workspace(project.root).list(".txt") == ("kept.txt", "new.txt")
    assert git.snapshot(project.root, "HEAD").list(".txt") == ("gone.txt", "kept.txt")


def test_endings_in_subfolders_are_listed(project: Project) -> None:
    project.write("deep/er/dvc.yaml", "")
    project.commit()

    assert git.Workspace(project.root).list("dvc.yaml", ".dvc") == ("deep/er/dvc.yaml",)
    assert git.snapshot(project.root, "HEAD").list("dvc.yaml", ".dvc") == ("deep/er/dvc.yaml",)


def test_an_unknown_revision_is_named_with_the_nearest_known(project: Project) -> None:
    project.commit()
    project.git("branch", "feature/better-model")

    with pytest.raises(git.UnknownRevision, match="unknown revision 'feature/beter-model'") as caught:
        git.resolve(project.root, "feature/beter-model")
    assert caught.value.advice == "Did you mean 'feature/better-model'?"


@pytest.mark.parametrize("revision", ["$(touch owned)", "`touch owned`", "--help", "-x", "a b; touch owned", ""])
def test_a_revision_is_only_ever_a_name(project: Project, revision: str) -> None:
    project.commit()

    with pytest.raises(git.UnknownRevision):
        git.resolve(project.root, revision)
    assert not (project.root / "owned").exists()


def test_a_branch_with_a_hostile_name_is_an_ordinary_branch(project: Project) -> None:
    sha = project.commit()
    project.git("branch", "$(id)")

    assert git.resolve(project.root, "$(id)") == sha


def test_the_merge_base_is_where_the_branches_parted(project: Project) -> None:
    fork = project.commit()
    project.git("checkout", "-q", "-b", "feature")
    project.commit("feature")
    project.git("checkout", "-q", "main")
    project.commit("main")

    assert git.merge_base(project.root, "feature", "main") == fork


def test_unrelated_histories_have_no_merge_base(project: Project) -> None:
    project.commit()
    project.git("checkout", "-q", "--orphan", "other")
    project.commit("other")

    with pytest.raises(git.NoMergeBase, match="'other' and 'main' have no commit in common") as caught:
        git.merge_base(project.root, "other", "main")
    assert "--base REV" in caught.value.advice


def test_a_shallow_clone_says_how_to_get_the_rest(project: Project, tmp_path: Path) -> None:
    project.commit()
    project.git("checkout", "-q", "-b", "feature")
    project.commit("feature")
    project.git("checkout", "-q", "main")
    project.commit("main")
    clone = tmp_path / "clone"
    source = f"file://{project.root}"
    subprocess.run(["git", "clone", "-q", "--depth", "1", "--no-single-branch", source, str(clone)], check=True)

    with pytest.raises(git.NoMergeBase) as missing:
        git.merge_base(clone, "origin/main", "origin/feature")
    assert "git fetch --unshallow" in missing.value.advice
    assert "fetch-depth: 0" in missing.value.advice
    with pytest.raises(git.UnknownRevision) as unknown:
        git.resolve(clone, "HEAD~1")
    assert "git fetch --unshallow" in unknown.value.advice


def test_the_default_branch_is_the_origins_head_else_main_else_master(project: Project, tmp_path: Path) -> None:
    project.commit()
    assert git.default_branch(project.root) == "main"

    project.git("branch", "-m", "master")
    assert git.default_branch(project.root) == "master"

    project.git("branch", "-m", "trunk")
    with pytest.raises(git.GitError, match="no default branch"):
        git.default_branch(project.root)

    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(project.root), str(clone)], check=True)
    assert git.default_branch(clone) == "origin/trunk"


def test_there_is_no_head_before_the_first_commit(project: Project) -> None:
    assert git.head(project.root) is None
    sha = project.commit()
    assert git.head(project.root) == sha


def test_outside_of_git_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(git.NotARepository, match="is not inside a git repository"):
        git.project_root(tmp_path)


def test_a_git_repository_without_dvc_is_refused(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)

    with pytest.raises(LockgateError, match=r"has no \.dvc folder") as caught:
        git.project_root(tmp_path)
    assert "dvc init" in caught.value.advice


def test_a_project_may_be_a_folder_of_a_bigger_repository(tmp_path: Path) -> None:
    project = Project.create(tmp_path / "mono" / "ml", repository=tmp_path / "mono")
    project.write("a/b.txt", "inside")
    (tmp_path / "mono" / "b.txt").write_text("outside")
    subprocess.run(["git", "add", "-A"], cwd=tmp_path / "mono", check=True)
    project.git("commit", "-q", "-m", "all")

    assert git.project_root(project.root / "a") == project.root.resolve()
    for snapshot in (git.snapshot(project.root, "HEAD"), git.Workspace(project.root)):
        assert snapshot.list("b.txt") == ("a/b.txt",)
        assert snapshot.read("a/b.txt") == b"inside"
        assert snapshot.read("b.txt") is None


def experiment(project: Project, name: str, content: str) -> str:
    """Keep a commit on top of HEAD where DVC keeps experiments, and return its sha."""
    base = project.git("rev-parse", "HEAD").strip()
    project.write("params.yaml", content)
    sha = project.commit(name)
    project.git("update-ref", f"refs/exps/{base[:2]}/{base[2:]}/{name}", sha)
    project.git("reset", "-q", "--hard", base)
    return sha


def test_the_name_of_an_experiment_is_a_revision(project: Project) -> None:
    project.commit()
    sha = experiment(project, "bolder", "rate: 0.1\n")

    assert git.resolve(project.root, "bolder") == sha
    assert git.snapshot(project.root, "bolder").read("params.yaml") == b"rate: 0.1\n"
    with pytest.raises(git.UnknownRevision) as unknown:
        git.resolve(project.root, "boldr")
    assert "bolder" in unknown.value.advice


def test_of_several_experiments_of_one_name_the_one_of_head_is_meant_and_without_one_none(project: Project) -> None:
    project.commit()
    first = experiment(project, "bolder", "rate: 0.1\n")
    project.commit("second")
    second = experiment(project, "bolder", "rate: 0.2\n")

    assert git.resolve(project.root, "bolder") == second
    project.git("checkout", "-q", "HEAD~1")
    assert git.resolve(project.root, "bolder") == first
    project.git("checkout", "-q", "--orphan", "elsewhere")
    project.commit("another")
    with pytest.raises(git.GitError, match="several commits"):
        git.resolve(project.root, "bolder")


def test_a_branch_goes_before_an_experiment_of_its_name(project: Project) -> None:
    project.commit()
    experiment(project, "bolder", "rate: 0.1\n")
    project.git("branch", "bolder")

    assert git.resolve(project.root, "bolder") == project.git("rev-parse", "HEAD").strip()
