"""Temporary folders that do not outlive their use, not even when the program is killed: the next run removes them.

A folder is locked for as long as the process that made it lives; the kernel lets go of the lock, however the process
ends. One that nobody holds is a leftover.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PREFIX = "lockgate."
KEPT = "kept-lockgate."
"""How the name of a folder begins that its user wants to keep. It is never removed."""


@contextmanager
def temporary_folder(purpose: str, *, keep: bool = False) -> Iterator[Path]:
    """Give an empty folder, which is removed at the end, unless ``keep``; ``purpose`` is a part of its name.

    Before that, what killed runs left is removed.
    """
    remove_leftovers()
    path = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))  # under a name that nobody removes, until it is locked
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = path.rename(path.with_name(f"{KEPT if keep else PREFIX}{purpose}{path.name.removeprefix(f'.{PREFIX}')}"))
        yield path
    finally:
        if not keep:
            remove(path)
        os.close(lock)


def remove_leftovers() -> None:
    """Remove the temporary folders of runs of this user that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # somebody else's, in use, or removed meanwhile
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(path)
            finally:
                os.close(lock)


def remove(folder: Path) -> None:
    """Remove a folder as far as its user can: a folder in it that may not be written to is no obstacle."""

    def again(do: Callable[..., Any], path: str, _: Any) -> None:
        with suppress(OSError):
            for place in (Path(path).parent, Path(path)):
                if place.is_dir() and not place.is_symlink():
                    place.chmod(0o700)
            do(path)
            shutil.rmtree(path, ignore_errors=True)

    shutil.rmtree(folder, onerror=again)
