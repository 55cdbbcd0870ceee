import os
import shutil
from pathlib import Path

import pytest
from tests.lockgate.factory import Project

from lockgate.dvc import objects as dvc
from lockgate.dvc.pipeline import Recorded, read_state
from lockgate.git import Workspace, snapshot


def dvcs_digest(project: Project, path: str, name: str = "md5") -> str:
    from dvc.repo import Repo
    from dvc_data.hashfile.build import build

    with Repo(str(project.root)) as repo:
        odb = repo.cache.local if name == "md5" else repo.cache.legacy
        target = str(project.root / path)
        _, _, found = build(odb, target, repo.fs, name, ignore=repo.dvcignore, dry_run=True)
        return str(found.hash_info.value)


def test_files_and_folders_have_the_digests_that_dvc_computes(project: Project) -> None:
    project.write("file.bin", bytes(range(256)) * 10)
    project.write("folder/b", "2")
    project.write("folder/a b/ü", "1")
    project.write("folder/a", "")
    project.write("folder/.git/config", "never")
    (project.root / "folder/empty").mkdir()
    (project.root / "folder/link").symlink_to("b")
    (project.root / "folder/linked").symlink_to("a b", target_is_directory=True)
    (project.root / "nothing").mkdir()

    files = dvc.WorkspaceFiles(project.root)

    for path in ("file.bin", "folder", "folder/a b", "nothing"):
        assert files.digest(path) == dvcs_digest(project, path), path
    assert files.digest("absent") is None


def test_ignored_files_are_left_out_as_dvc_does(project: Project) -> None:
    project.write(".dvcignore", "*.tmp\n/folder/skip/\n!folder/keep.tmp\n")
    for name in ("a", "b.tmp", "keep.tmp", "skip/c", "deep/d.tmp", "deep/e"):
        project.write(f"folder/{name}", name)

    assert dvc.WorkspaceFiles(project.root).digest("folder") == dvcs_digest(project, "folder")


def test_legacy_digests_ignore_the_sort_of_line_ends(project: Project) -> None:
    project.write("dos.txt", "a\r\nb\r\n")
    project.write("unix.txt", "a\nb\n")
    files = dvc.WorkspaceFiles(project.root)

    assert files.digest("dos.txt", legacy=True) == files.digest("unix.txt") == files.digest("unix.txt", legacy=True)
    assert files.digest("dos.txt", legacy=True) == dvcs_digest(project, "dos.txt", "md5-dos2unix")
    assert files.digest("dos.txt") != files.digest("unix.txt")
    assert dvc.content_digest(b"a\r\nb\r\n", legacy=True) == files.digest("unix.txt")


def test_a_commits_files_have_the_digests_of_the_same_files_here(project: Project) -> None:
    project.write("code/a.py", "1")
    project.write("code/b/c.py", "2")
    project.commit()
    commit, here = dvc.CommitFiles(snapshot(project.root, "HEAD")), dvc.WorkspaceFiles(project.root)

    for path in ("code", "code/a.py", "code/b"):
        assert commit.digest(path) == here.digest(path), path
    assert commit.digest("absent") is None


def test_a_big_files_digest_is_remembered_until_the_file_changes(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dvc, "REMEMBERED_FROM", 10)
    project.write("big", "x" * 100)
    os.utime(project.root / "big", (1, 1))
    first = dvc.WorkspaceFiles(project.root)
    digest = first.digest("big")
    first.remember()

    monkeypatch.setattr(dvc, "file_digest", lambda *_, **__: pytest.fail("it was read again"))
    assert dvc.WorkspaceFiles(project.root).digest("big") == digest

    monkeypatch.undo()
    monkeypatch.setattr(dvc, "REMEMBERED_FROM", 10)
    project.write("big", "y" * 100)
    assert dvc.WorkspaceFiles(project.root).digest("big") == dvcs_digest(project, "big") != digest


def test_a_file_written_this_moment_is_not_remembered(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvc, "REMEMBERED_FROM", 10)
    project.write("big", "x" * 100)
    files = dvc.WorkspaceFiles(project.root)
    files.digest("big")
    files.remember()

    assert not (project.root / ".dvc/tmp/lockgate/digests.json").exists()


def test_damaged_notes_are_no_obstacle(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvc, "REMEMBERED_FROM", 1)
    project.write(".dvc/tmp/lockgate/digests.json", "{")
    project.write("big", "x")

    assert dvc.WorkspaceFiles(project.root).digest("big") == dvcs_digest(project, "big")


def test_one_output_is_fetched_and_nothing_else(ran: Project) -> None:
    ran.forget()
    state = read_state(snapshot(ran.root, "HEAD"))

    found = dvc.read_file(ran.root, state, "models/model.bin")

    assert found is not None
    assert found.startswith(b"{}")
    objects = [path for path in (ran.root / ".dvc/cache/files").rglob("*") if path.is_file()]
    assert len(objects) == 1


def test_one_file_of_a_folder_costs_its_list_and_itself(ran: Project) -> None:
    ran.forget()
    state = read_state(snapshot(ran.root, "HEAD"))

    assert dvc.read_file(ran.root, state, "data/ready/two") == b"prepare\n"
    assert dvc.read_file(ran.root, state, "data/ready/three") is None
    objects = [path for path in (ran.root / ".dvc/cache/files").rglob("*") if path.is_file()]
    assert len(objects) == 2


def test_the_working_tree_is_read_before_the_cache_and_git_before_both(ran: Project) -> None:
    ran.write("reports/metrics.json", '{"changed": 1}')
    (ran.root / "models/model.bin").unlink()
    ran.write("models/model.bin", "local")

    here, committed = read_state(Workspace(ran.root)), read_state(snapshot(ran.root, "HEAD"))

    assert dvc.read_file(ran.root, here, "models/model.bin") == b"local"
    assert dvc.read_file(ran.root, committed, "models/model.bin") != b"local"
    assert dvc.read_file(ran.root, here, "reports/metrics.json") == b'{"changed": 1}'
    assert (dvc.read_file(ran.root, committed, "reports/metrics.json") or b"").startswith(b'{"n": ')
    assert dvc.read_file(ran.root, committed, "absent") is None


def test_an_object_that_the_remote_lost_is_named_with_the_cure(ran: Project) -> None:
    ran.forget()
    shutil.rmtree(ran.remote)
    ran.remote.mkdir()

    with pytest.raises(dvc.ObjectMissing, match=r"models/model\.bin") as caught:
        dvc.read_file(ran.root, read_state(Workspace(ran.root)), "models/model.bin")
    assert "dvc push" in caught.value.advice


def test_an_object_that_was_altered_in_the_remote_is_refused_and_not_kept(ran: Project) -> None:
    ran.forget()
    state = read_state(Workspace(ran.root))
    record = state.lock.stages["train"].outs["models/model.bin"]
    stored = ran.remote / "files/md5" / record.digest[:2] / record.digest[2:]
    stored.chmod(0o644)
    stored.write_bytes(b"forged")

    with pytest.raises(dvc.DvcError, match=r"models/model\.bin"):
        dvc.read_file(ran.root, state, "models/model.bin")
    assert not dvc.Cache.of(ran.root).path(record.digest).exists()


def test_a_project_without_a_remote_says_so(ran: Project) -> None:
    ran.forget()
    ran.write(".dvc/config", "")

    with pytest.raises(dvc.ObjectMissing, match="no remote"):
        dvc.read_file(ran.root, read_state(Workspace(ran.root)), "models/model.bin")


def test_the_cache_is_found_where_the_configuration_puts_it(project: Project, tmp_path: Path) -> None:
    assert dvc.Cache.of(project.root).folder == project.root / ".dvc/cache"

    project.write(".dvc/config.local", "[cache]\n    dir = ../../elsewhere\n")
    assert dvc.Cache.of(project.root).folder.resolve() == tmp_path / "elsewhere"


def test_a_folder_is_in_the_cache_only_with_all_its_files(ran: Project) -> None:
    record = read_state(Workspace(ran.root)).lock.stages["prepare"].outs["data/ready"]
    cache = dvc.Cache.of(ran.root)
    assert cache.holds(record)

    inner = cache.entries(record)["two"]
    cache.path(inner).unlink()
    assert not cache.holds(record)
    assert not cache.holds(Recorded("x", "0" * 32))
