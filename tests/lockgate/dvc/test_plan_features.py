"""Every row of docs/dvc-features.md, made: what is supported is planned as DVC runs it, what is refused says why."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from tests.lockgate.factory import Project
from tests.lockgate.generated import FEATURES, Drawn, Repository, make, plans_of

from lockgate.dvc.objects import CommitFiles, WorkspaceFiles
from lockgate.dvc.pipeline import read_state
from lockgate.dvc.plan import describe
from lockgate.dvc.rebuild import rebuild
from lockgate.dvc.remotes import open_remotes
from lockgate.errors import LockgateError
from lockgate.git import Commit, Workspace, resolve

PAGE = Path(__file__).parents[3] / "docs/dvc-features.md"


def rows(heading: str) -> dict[str, str]:
    """Return the rows of the table under a heading, second cell by first."""
    section = PAGE.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    cells = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in section.splitlines() if line.startswith("| ")]
    return dict(cells[1:])


# --- supported: with everything in one repository, an edit makes this stage run, and none of the others named here

SUPPORTED = {
    "stages with `cmd`, `deps`, `outs`": ("code", "first"),
    "`params` in YAML, JSON, TOML and Python": ("toml", "formats"),
    "`metrics` and `plots`": ("before outputs", "metric"),
    "`foreach`": ("an item", "made/dvc.yaml:each@z"),
    "`matrix`": ("a variable", "made/dvc.yaml:grid@1-u"),
    "`vars` and templates": ("a variable", "made/dvc.yaml:grid@2-u"),
    "`[parsing]` of the configuration": ("an option", "made/dvc.yaml:options"),
    "`wdir`": ("in the subfolder", "placed"),
    "several `dvc.yaml` files": ("in the subfolder", "team/dvc.yaml:inner"),
    "folders as dependencies and outputs": ("a new file of a folder", "pack"),
    "a folder that holds outputs of other stages": ("beside outputs", "book"),
    "a folder of which `.dvc` files track a part": ("tracked data", "mixed"),
    "`.dvc` files of `dvc add`": ("pictures", "whole-folder"),
    "links to files and folders": ("behind a link", "by-folder"),
    "`.dvcignore` in every folder": ("what is not ignored", "kept"),
    "nested DVC projects": ("what is ignored", None),
    "`frozen`": ("freeze and change", None),
    "`persist`": ("what a frozen stage reads", "persistent"),
    "`always_changed`": ("freeze", "always"),
    "`cache: false`": ("before outputs", "metric"),
    "dependencies at absolute paths": ("outside", "external"),
}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """One repository with every feature, run and committed."""
    here, before = Path.cwd(), dict(os.environ)
    os.environ.update(GIT_CONFIG_NOSYSTEM="1", DVC_NO_ANALYTICS="1")
    for who in ("AUTHOR", "COMMITTER"):
        os.environ.update({f"GIT_{who}_NAME": "a", f"GIT_{who}_EMAIL": "a@example.org"})
    yield make(tmp_path_factory.mktemp("all"), Drawn(tuple(feature.__name__ for feature in FEATURES), ()))
    os.chdir(here)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def edited(everything: Repository, tmp_path: Path) -> Repository:
    """A copy of it that may be edited."""
    shutil.copytree(everything.root.parent, tmp_path / "all", symlinks=True)
    root = tmp_path / "all/project"
    (root.parent / "outside.txt").write_text("outside\n")
    pipelines = yaml.safe_load(yaml.safe_dump(everything.pipelines))
    return Repository(Project(root), pipelines, dict(everything.edits), dict(everything.params))


def will(repository: Repository) -> set[str]:
    plans = plans_of(Workspace(repository.root), WorkspaceFiles(repository.root))
    return {name for name, item in plans.items() if item.verdict == "will"} - {"always", "external"}


@pytest.mark.parametrize(("edit", "stage"), sorted(set(SUPPORTED.values()), key=str))
def test_a_supported_feature_is_planned_as_dvc_runs_it(edited: Repository, edit: str, stage: str | None) -> None:
    assert will(edited) == set()
    edited.edits[edit](edited)
    edited.save()
    plans = plans_of(Workspace(edited.root), WorkspaceFiles(edited.root))
    if stage is None:
        assert not will(edited) & {"kept", "frozen"}
    else:
        assert plans[stage].verdict == "will"


def test_dvc_2_hashes_and_parts_of_folders_and_odd_locks_are_read(edited: Repository) -> None:
    tracked = edited.root / "data/x.csv.dvc"
    tracked.write_text(tracked.read_text().replace("  hash: md5\n", ""))
    lock = edited.root / "dvc.lock"
    lock.write_text(lock.read_text().rstrip("\n"))
    plans = plans_of(Workspace(edited.root), WorkspaceFiles(edited.root))
    assert plans["one-file"].verdict == plans["part"].verdict == "same"
    edited.edits["a new file of a folder"](edited)
    assert plans_of(Workspace(edited.root), WorkspaceFiles(edited.root))["part"].verdict == "may"


def test_a_stage_that_names_nothing_runs_each_time(tmp_path: Path) -> None:
    root = written(tmp_path, stages={"say": {"cmd": "echo"}})
    assert [describe(r) for r in plans_of(Workspace(root), WorkspaceFiles(root))["say"].reasons] == ["new stage"]


ELSEWHERE = {
    "a file inside an output folder as a dependency",
    "`.dvc` files of DVC 2",
    "locks without a last newline, entries without hashes",
    "stages without dependencies and outputs",
}
"""Rows that the two tests above make."""


def test_the_page_has_a_row_for_each_feature_that_is_made_and_no_other() -> None:
    assert set(rows("Supported")) == {*SUPPORTED, *ELSEWHERE}
    assert set(rows('Cannot be known, so the stage "may" run')) == set(UNKNOWN)
    assert set(rows("Refused")) == set(REFUSED)


# --- not known, or refused


def written(root: Path, stages: dict[str, object], lock: str | None = None, **files: str) -> Path:
    """Return a small repository of a project, committed."""
    subprocess.run(["git", "init", "-q", "-b", "main", str(root)], check=True)
    contents = {".dvc/config": "", "dvc.yaml": yaml.safe_dump({"stages": stages}), **files}
    for path, text in {**contents, **({"dvc.lock": lock} if lock is not None else {})}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    subprocess.run(["git", "add", "-A", "-f"], cwd=root, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "all"], cwd=root, check=True)
    return root


def planned(root: Path) -> str:
    """Return the reasons that the plan of the commit gives, in words."""
    commit = Commit(root, "main", resolve(root, "main"))
    plans = plans_of(commit, CommitFiles(commit)).values()
    return "; ".join(describe(reason) for item in plans for reason in item.reasons)


def an_address(root: Path) -> None:
    address = "s3://bucket/x.csv"
    lock = "schema: '2.0'\nstages:\n  t:\n    cmd: c\n    deps:\n"
    lock += f"    - path: {address}\n      etag: abcdef\n      size: 1\n"
    raise LockgateError(planned(written(root, {"t": {"cmd": "c", "deps": [address]}}, lock)))


def a_submodule(root: Path) -> None:
    other = written(root.parent / "other", {}, **{"a.py": "a\n"})
    lock = "schema: '2.0'\nstages:\n  t:\n    cmd: c\n    deps:\n    - path: sub/a.py\n      hash: md5\n      md5: " + (
        "a" * 32 + "\n      size: 1\n"
    )
    written(root, {"t": {"cmd": "c", "deps": ["sub/a.py"]}}, lock)
    add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "sub"]
    subprocess.run(["git", *add], cwd=root, check=True)
    subprocess.run(["git", "commit", "-q", "-m", "sub"], cwd=root, check=True)
    raise LockgateError(planned(root))


def overlapping(root: Path) -> None:
    read_state(Workspace(written(root, {"a": {"cmd": "c", "outs": ["d"]}, "b": {"cmd": "c", "outs": ["d/e"]}})))


def one_output_twice(root: Path) -> None:
    read_state(Workspace(written(root, {"a": {"cmd": "c", "outs": ["d"]}, "b": {"cmd": "c", "outs": ["d"]}})))


def a_cycle(root: Path) -> None:
    stages = {"a": {"cmd": "c", "deps": ["y"], "outs": ["x"]}, "b": {"cmd": "c", "deps": ["x"], "outs": ["y"]}}
    read_state(Workspace(written(root, stages)))


def an_ignore_file_inside(root: Path) -> None:
    planned(written(root, {"a": {"cmd": "c", "deps": ["d"]}}, **{"d/.dvcignore": "x\n", "d/a": "a\n"}))


def an_old_lock(root: Path) -> None:
    read_state(Workspace(written(root, {"a": {"cmd": "c", "outs": ["d"]}}, "a:\n  cmd: c\n")))


def a_cut_lock(root: Path) -> None:
    read_state(
        Workspace(written(root, {"a": {"cmd": "c", "outs": ["d"]}}, "schema: '2.0'\nstages:\n  a:\n    cmd: c\n    ou"))
    )


def an_output_outside(root: Path) -> None:
    lock = "schema: '2.0'\nstages:\n  a:\n    cmd: c\n    outs:\n    - path: ../out\n      hash: md5\n      md5: " + (
        "a" * 32 + "\n      size: 1\n"
    )
    rebuild(written(root, {"a": {"cmd": "c", "outs": [{"../out": {"cache": False}}]}}, lock), "main", "full")


def a_versioned_remote(root: Path) -> None:
    config = "[core]\n    remote = r\n['remote \"r\"']\n    url = s3://bucket/x\n    version_aware = true\n"
    written(root, {}, **{".dvc/config": config})
    with open_remotes(root, None, "quarantine"):
        pass


UNKNOWN: dict[str, Callable[[Path], None]] = {
    "dependencies at addresses (`s3://`, `https://`)": an_address,
    "files of submodules, of a commit": a_submodule,
}
REFUSED: dict[str, Callable[[Path], None]] = {
    "outputs inside one another": overlapping,
    "two stages with one output": one_output_twice,
    "a cycle of stages": a_cycle,
    "a `.dvcignore` inside a folder that a stage names": an_ignore_file_inside,
    "a lock of DVC 1": an_old_lock,
    "a lock that was cut short": a_cut_lock,
    "outputs outside the repository, in a rebuild": an_output_outside,
    "cloud-versioned remotes, in `admit` and `quarantine`": a_versioned_remote,
}


@pytest.mark.parametrize("feature", [*UNKNOWN, *REFUSED])
def test_what_is_not_known_or_refused_is_told_in_the_words_of_the_page(feature: str, tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    with pytest.raises(LockgateError) as caught:
        {**UNKNOWN, **REFUSED}[feature](root)
    page = {**rows('Cannot be known, so the stage "may" run'), **rows("Refused")}
    message = page[feature].strip("`")
    assert message in f"{caught.value} {caught.value.advice}"
