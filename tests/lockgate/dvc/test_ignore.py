"""A commit is read as its checkout would be: the same names and digests as in a clone, and as DVC gives them."""

import subprocess
from pathlib import Path

import pytest

from lockgate.dvc.ignore import Ignores
from lockgate.dvc.objects import CommitFiles, IgnoreFileInside, WorkspaceFiles
from lockgate.git import Commit, Overlay, Workspace, resolve


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def write(root: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def link(root: Path, path: str, target: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).symlink_to(target)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    return root


def committed(root: Path) -> Commit:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "all")
    return Commit(root, "main", resolve(root, "main"))


def clone(root: Path, project: str = "", *settings: str) -> Workspace:
    target = root.parent / "clone"
    git(root.parent, "clone", "-q", *(part for one in settings for part in ("-c", one)), str(root), str(target))
    return Workspace(target / project)


def assert_the_same(commit: Commit, checkout: Workspace, *paths: str) -> None:
    here, there = CommitFiles(commit), WorkspaceFiles(checkout.root)
    for path in paths:
        assert commit.read(path) == checkout.read(path), path
        assert here.digest(path) == there.digest(path), path
        assert here.entries(path) == there.entries(path), path


def test_line_endings_ident_encodings_and_filters_are_those_of_a_checkout(repository: Path) -> None:
    upper = "filter.upper.smudge=tr a-z A-Z"
    git(repository, "config", *upper.split("=", 1))
    write(
        repository,
        {
            ".gitattributes": b"*.bat text eol=crlf\n*.id ident\n*.utf text working-tree-encoding=UTF-16\n"
            b"*.up filter=upper\n",
            "src/run.bat": b"one\ntwo\n",
            "src/code.id": b"$Id$\n",
            "src/text.utf": "größe\n".encode("utf-16"),
            "src/loud.up": b"quiet\n",
            "src/plain.txt": b"plain\r\n",
            "src/empty.bat": b"",
            "inner/.gitattributes": b"*.bat -text\n",
            "inner/kept.bat": b"one\n",
            "odd name/with\nline.bat": b"a\n",
        },
    )
    commit = committed(repository)
    checkout = clone(repository, "", upper)
    assert checkout.read("src/run.bat") == b"one\r\ntwo\r\n"
    assert checkout.read("src/loud.up") == b"QUIET\n"
    assert_the_same(commit, checkout, "src", "inner", "odd name", "src/text.utf", "src/code.id", "")


def test_a_filter_that_no_configuration_of_this_clone_names_is_not_run(repository: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    write(
        repository,
        {
            ".gitattributes": b"* filter=evil\n",
            ".gitconfig": f'[filter "evil"]\nsmudge = touch {marker}\n'.encode(),
            "a": b"a\n",
        },
    )
    commit = committed(repository)
    assert commit.read("a") == b"a\n"
    assert not marker.exists()


def test_attributes_are_the_commits_and_not_the_working_trees(repository: Path) -> None:
    write(repository, {".gitattributes": b"* text eol=crlf\n", "a.txt": b"a\n"})
    commit = committed(repository)
    write(repository, {".gitattributes": b"* -text\n"})
    assert commit.read("a.txt") == b"a\r\n"


def test_links_lead_where_a_checkout_has_them_lead(repository: Path) -> None:
    write(repository, {"shared/train.py": b"x = 1\n", "shared/deep/b.py": b"y = 2\n", "params/real.yaml": b"lr: 1\n"})
    for path, target in {
        "train.py": "shared/train.py",
        "src": "shared",
        "code/linked.py": "../shared/train.py",
        "code/folder": "../shared/deep",
        "code/dangling": "nowhere",
        "twice": "train.py",
        "loop": "loop",
        "params.yaml": "params/real.yaml",
    }.items():
        link(repository, path, target)
    commit = committed(repository)
    paths = ("train.py", "src", "src/deep/b.py", "code", "code/folder", "code/folder/b.py", "twice", "params.yaml")
    assert_the_same(commit, clone(repository), *paths)
    assert commit.read("loop") is None
    assert set(commit.list()) == {
        "shared/train.py", "shared/deep/b.py", "params/real.yaml", "train.py", "code/linked.py", "twice", "params.yaml"
    }  # fmt: skip


def test_a_link_that_leads_out_of_the_repository_leads_nowhere(repository: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    link(repository, "absolute", str(secret))
    link(repository, "relative", "../secret")
    link(repository, "inner/folder", "../..")
    commit = committed(repository)
    assert [
        commit.read(path) for path in ("absolute", "relative", "inner/folder/secret", "../secret", str(secret))
    ] == [None] * 5
    assert "outside" in commit.unknown("absolute")
    assert not commit.unknown("missing")


def test_files_above_a_project_in_a_subfolder_are_read(repository: Path) -> None:
    write(repository, {"lib/a.py": b"a\n", "lib/sub/b.py": b"b\n", "project/.dvc/config": b"", "project/c.py": b"c\n"})
    committed(repository)
    commit = Commit(repository / "project", "main", resolve(repository, "main"))
    assert_the_same(commit, clone(repository, "project"), "../lib", "../lib/a.py", "c.py", "../lib/../project/c.py")
    assert commit.list() == (".dvc/config", "c.py")


def test_files_of_a_submodule_are_absent_and_that_is_said(repository: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q", "-b", "main")
    write(other, {"a.py": b"a\n"})
    committed(other)
    write(repository, {"b.py": b"b\n"})
    git(repository, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "vendor/sub")
    commit = committed(repository)
    assert commit.read("vendor/sub/a.py") is None
    assert "submodule 'vendor/sub'" in commit.unknown("vendor/sub/a.py")
    assert_the_same(commit, clone(repository), "vendor")


def test_dvcignore_of_every_folder_counts_as_it_does_for_dvc(repository: Path) -> None:
    files = {
        ".dvc/config": b"",
        ".dvcignore": b"# nothing here\n*.tmp\n",
        "old/.dvcignore": b"exp\n!keep.tmp\n/*.log\n",
        "old/data/a.tmp": b"",
        "old/data/keep.tmp": b"k",
        "old/data/exp": b"",
        "old/data/x.log": b"l",
        "old/deep/exp/a.csv": b"",
        "old/deep/b.csv": b"b",
        "other/exp": b"e",
        "other/nested/.dvc/config": b"",
        "other/nested/c.csv": b"c",
        "other/nested.csv": b"c",
    }
    write(repository, files)
    commit = committed(repository)
    checkout = clone(repository)
    assert_the_same(commit, checkout, "old/data", "old/deep", "other")
    assert set(CommitFiles(commit).entries("old/data") or ()) == {"keep.tmp", "x.log"}
    assert set(CommitFiles(commit).entries("other") or ()) == {"exp", "nested.csv"}

    from dvc.fs import localfs
    from dvc.ignore import DvcIgnoreFilter

    rules = DvcIgnoreFilter(localfs, str(checkout.root))
    seen = {
        str(Path(folder, name).relative_to(checkout.root))
        for folder, _, names in rules.walk(localfs, str(checkout.root))
        for name in names
    }
    ours = Ignores(commit)
    assert set(ours.visible(commit.list())) == seen
    assert {f"{folder}/{name}".lstrip("/") for folder, names in ours.walk("") for name in names} == seen


def test_a_dvcignore_inside_a_folder_that_is_hashed_is_refused_as_dvc_refuses_it(repository: Path) -> None:
    write(repository, {"data/sub/.dvcignore": b"x\n", "data/a": b"a"})
    with pytest.raises(IgnoreFileInside):
        CommitFiles(committed(repository)).digest("data")


def test_files_laid_over_a_commit_are_walked_with_it(repository: Path) -> None:
    write(repository, {"reports/a.json": b"1", "reports/b.json": b"2"})
    commit = committed(repository)
    over = Overlay(commit, {"reports/a.json": b"3", "reports/new/c.json": b"4", "reports/b.json": None})
    assert sorted(f"{folder}/{name}" for folder, _, names in over.walk("reports") for name in names) == [
        "reports/a.json",
        "reports/new/c.json",
    ]
    assert over.list() == ("reports/a.json", "reports/new/c.json")
    assert CommitFiles(over).digest("reports") != CommitFiles(commit).digest("reports")


def test_what_git_lfs_keeps_may_be_its_pointer_or_its_content(repository: Path, tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 8\n"
    tool = tmp_path / "lfs"  # as git-lfs: without GIT_LFS_SKIP_SMUDGE it puts the content in the pointer's place
    tool.write_text(
        '#!/bin/sh\nif [ "$GIT_LFS_SKIP_SMUDGE" = 1 ]; then cat; else cat > /dev/null; printf content; fi\n'
    )
    tool.chmod(0o755)
    write(repository, {"data/big.bin": pointer, "data/a.txt": b"a\n"})
    committed(repository)
    write(repository, {".gitattributes": b"*.bin filter=lfs\n"})
    commit = committed(repository)
    git(repository, "config", "filter.lfs.smudge", str(tool))
    assert commit.read("data/big.bin") == b"content"
    assert not CommitFiles(commit).has_pointer("data")
    without = Commit(commit.root, commit.label, commit.commit, lfs=False)
    assert without.read("data/big.bin") == pointer
    assert CommitFiles(without).has_pointer("data")
    assert CommitFiles(without).has_pointer("data/big.bin")
    assert not CommitFiles(without).has_pointer("data/a.txt")
