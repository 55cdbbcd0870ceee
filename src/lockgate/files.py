"""Writing what a command makes: to the terminal, or to a file that is whole at every moment; one lock for all."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lockgate.errors import LockgateError, NotAskedError


def hand_over(text: str, output: Path | None) -> None:
    """Write ``text`` to the file that the user named, or else to stdout. Raises as :func:`write_whole` does."""
    if output is None:
        sys.stdout.write(text)
    else:
        write_whole(output, text)
        progress(f"wrote {output}")


def progress(line: str) -> None:
    """Write a line of progress to stderr, at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that at every moment it is the old one or the new one. Text is written as UTF-8.

    Raises :class:`LockgateError` where the file cannot be written; the old one is left as it was then.
    """
    data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    if path.exists() and not path.is_file():  # a device or a pipe is not replaced
        partial = path
    try:
        partial.write_bytes(data)
        if partial != path:
            partial.replace(path)
    except OSError as error:
        if partial != path:
            partial.unlink(missing_ok=True)
        raise NotAskedError(f"cannot write {path}: {error.strerror}", "Name a file in a folder that exists.") from error


@contextmanager
def locked(path: Path, busy: LockgateError | None = None) -> Iterator[None]:
    """Hold the lock file ``path`` against every other process that asks for it; it ends with this process.

    Raises ``busy`` at once if another process holds it; without ``busy``, waits for it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=-1 if busy is None else 0, is_singleton=False)
    try:
        lock.acquire()
    except Timeout as taken:
        raise busy or NotAskedError(f"{path} is held by another process") from taken
    try:
        yield
    finally:
        lock.release()
