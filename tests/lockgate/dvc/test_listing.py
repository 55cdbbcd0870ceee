"""Lists of folders' files: what is read, and what neither we nor DVC lay out."""

import json
import shutil
import tracemalloc
from pathlib import Path

import pytest
from tests.lockgate.factory import Project

from lockgate.dvc.checkout import fetch_sources, temporary_clone
from lockgate.dvc.listing import BrokenList, read, read_strictly
from lockgate.dvc.objects import Cache, ObjectAltered, check_arrived, content_digest, fetch_tracked, folder_digest
from lockgate.dvc.pipeline import Recorded, read_state
from lockgate.dvc.quarantine import check_lists
from lockgate.errors import LockgateError
from lockgate.git import Commit, Workspace

DIGEST = "0123456789abcdef0123456789abcdef"
CONFIG = '[core]\n\tfsmonitor = "touch owned"\n'


def listed(*paths: str) -> bytes:
    return json.dumps([{"md5": DIGEST, "relpath": path} for path in paths], sort_keys=True).encode()


def test_what_dvc_writes_is_read_both_ways() -> None:
    paths = sorted(["a", "b/c d.csv", "b/Zoë", "日本/語", "x'y", "z\u0301"])

    for content in (listed(*paths), listed()):
        assert read_strictly(content) == read(content) == dict.fromkeys(paths[: len(json.loads(content))], DIGEST)


DEEP = 100_000
NO_LISTS = {
    "nested": b"[" * DEEP + b"]" * DEEP,
    "nested in an entry": b'[{"md5": ' + b"[" * DEEP + b"]" * DEEP + b', "relpath": "a"}]',
    "no list": b'{"md5": "x"}',
    "a number": b"1",
    "nothing": b"",
    "not UTF-8": b"[\xff]",
    "texts": b'["x"]',
    "no digest": b'[{"relpath": "x"}]',
    "a path for a digest": b'[{"md5": "../../../x", "relpath": "x"}]',
    "a number for a digest": b'[{"md5": 1, "relpath": "x"}]',
    "a number for a path": b'[{"md5": "' + DIGEST.encode() + b'", "relpath": 1}]',
    "cut short": listed("a", "b")[:-10],
    "two lists": listed("a") + listed("a"),
}
NOT_AS_DVC_WRITES = {
    "not sorted": listed("b", "a"),
    "twice": listed("a", "a"),
    "more keys": b'[{"isexec": true, "md5": "' + DIGEST.encode() + b'", "relpath": "a"}]',
    "a key twice": b'[{"md5": "' + DIGEST.encode() + b'", "relpath": "a", "relpath": ".git/config"}]',
    "other spelling": b'[{"md5": "' + DIGEST.encode() + b'", "relpath": "\\u0061"}]',
    "no space": listed("a", "b").replace(b", {", b",{"),
    "a comma at the end": listed("a")[:-1] + b", ]",
    "case twins": listed("A", "a"),
    "a file and a folder": listed("a", "a/b"),
    "direction": listed("a\u202eb"),
    "deep": listed("/".join("a" * 500)),
    "git": listed(".git/config"),
    "dots": listed("../x"),
}


@pytest.mark.parametrize("content", NO_LISTS.values(), ids=NO_LISTS)
def test_what_is_no_list_is_refused_by_both(content: bytes) -> None:
    for reading in (read_strictly, read):
        with pytest.raises(BrokenList):
            reading(content)


@pytest.mark.parametrize("content", NOT_AS_DVC_WRITES.values(), ids=NOT_AS_DVC_WRITES)
def test_from_outside_nothing_is_taken_but_what_dvc_writes_with_names_that_are_allowed(content: bytes) -> None:
    with pytest.raises(BrokenList):
        read_strictly(content)


def test_a_huge_list_of_nothing_takes_no_memory() -> None:
    content = b"[" + b"{}, " * 2_000_000 + b"{}]"
    tracemalloc.start()
    with pytest.raises(BrokenList):
        read_strictly(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 1 << 20


# --- in a project


@pytest.fixture
def poisoned(project: Project) -> tuple[Project, Recorded]:
    """A project with tracked data whose list of files, with the right hash, names git's configuration."""
    project.write("data/one", "1")
    project.add("data")
    config = content_digest(CONFIG.encode())
    entries = {".git/config": config, "one": content_digest(b"1")}
    digest = folder_digest(entries)
    text = json.dumps([{"md5": entries[path], "relpath": path} for path in sorted(entries)], sort_keys=True).encode()
    for name, content in ((config, CONFIG.encode()), (digest, text), (entries["one"], b"1")):
        for remote in (project.remote, project.root.parent / "quarantine"):
            place = remote / "files/md5" / name[:2] / name[2:]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    with (project.root / ".dvc/config").open("a") as written:
        written.write("['remote \"quarantine\"']\n    url = ../../quarantine\n")
    project.write("data.dvc", f"outs:\n- md5: {digest}\n  size: 40\n  nfiles: 2\n  hash: md5\n  path: data\n")
    project.stage("count", deps=["data"], outs=["count.json"])
    project.commit("data")
    shutil.rmtree(project.root / ".dvc/cache")
    shutil.rmtree(project.root / "data")
    return project, Recorded("data", digest)


def test_data_of_a_pull_request_with_gits_configuration_in_it_is_not_taken(poisoned: tuple[Project, Recorded]) -> None:
    project, record = poisoned

    with pytest.raises(BrokenList, match="data"):
        fetch_tracked(project.root, {"data.dvc": (record,)}, "quarantine")
    assert not Cache.of(project.root).path(record.digest).exists()


def test_what_has_arrived_is_hashed_and_what_was_altered_is_removed(tmp_path: Path) -> None:
    cache, digest = Cache(tmp_path), content_digest(b"1")
    for name, content in (
        (digest, b"2"),
        (folder_digest({"one": digest}), listed("one").replace(DIGEST.encode(), digest.encode())),
    ):
        place = cache.path(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)

    with pytest.raises(ObjectAltered, match="data/one"):
        check_arrived(cache, Recorded("data", folder_digest({"one": digest})))
    assert not cache.path(digest).exists()


def test_a_run_and_a_rebuild_lay_out_no_configuration_of_git(
    poisoned: tuple[Project, Recorded], lockgate: object, tmp_path: Path
) -> None:
    project, _ = poisoned
    code, _, said = lockgate("run")  # type: ignore[operator]

    assert code == 1, said
    assert ".git/config" in said
    assert not (project.root / "data/.git").exists()
    commit = project.git("rev-parse", "HEAD").strip()
    state = read_state(Commit(project.root, "HEAD", commit))
    with temporary_clone(project.root, commit, keep=False, tell=print) as copy:
        with pytest.raises(LockgateError, match="git/config"):
            fetch_sources(project.root, copy, state, state.pipeline.stages)
        assert not (copy / "data/.git").exists()


def test_a_folder_that_would_not_be_admitted_is_named_before_the_merge(project: Project) -> None:
    project.write("data/a", "1")
    project.write("data/A", "2")
    project.add("data")

    with pytest.raises(BrokenList, match="'data'"):
        check_lists(project.root, None)
    check_lists(project.root, read_state(Workspace(project.root)))  # base has it: it was admitted
