"""Temporary folders, and what is left of them when a process is killed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lockgate import temporary
from lockgate.temporary import remove_leftovers, temporary_folder

SOURCE = str(Path(temporary.__file__).parents[1])
HOLD = """
import sys
from lockgate.temporary import temporary_folder
with temporary_folder("trial") as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def holding() -> "tuple[subprocess.Popen[str], Path]":
    """Start a process that holds a temporary folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_empty_and_gone_afterwards_also_after_an_error(place: Path) -> None:
    def used() -> None:
        with temporary_folder("trial") as folder:
            assert list(folder.iterdir()) == []
            (folder / "closed").mkdir()
            (folder / "closed/file").write_text("x")
            (folder / "closed").chmod(0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        used()

    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_removed_by_the_next(place: Path) -> None:
    process, left = holding()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (left / "file").exists()

    with temporary_folder("trial") as folder:
        assert list(place.iterdir()) == [folder]


def test_what_another_process_has_in_use_is_left_alone() -> None:
    process, used = holding()
    try:
        remove_leftovers()
        assert (used / "file").exists()
    finally:
        process.communicate("")
    assert not used.exists()


def test_what_is_to_be_kept_and_what_others_made_is_left_alone(place: Path) -> None:
    with temporary_folder("trial", keep=True) as kept:
        pass
    other = place / "somebody-else"
    other.mkdir()
    (place / "lockgate.link").symlink_to(other)

    remove_leftovers()

    assert kept.is_dir()
    assert other.is_dir()
