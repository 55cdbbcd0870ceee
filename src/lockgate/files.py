"""Writing what a command makes: to the terminal, or to a file that is whole at every moment."""

import os
import sys
from pathlib import Path

from lockgate.errors import LockgateError


def hand_over(text: str, output: Path | None) -> None:
    """Write ``text`` to the file that the user named, or else to stdout. Raises as :func:`write_whole` does."""
    if output is None:
        sys.stdout.write(text)
    else:
        write_whole(output, text)


def progress(line: str) -> None:
    """Write a line of progress to stderr, at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def write_whole(path: Path, text: str) -> None:
    """Write a file so that at every moment it is the old one or the new one. Raises :class:`LockgateError`."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    if path.exists() and not path.is_file():  # a device or a pipe is not replaced
        partial = path
    try:
        partial.write_text(text, encoding="utf-8", newline="\n")
        if partial != path:
            partial.replace(path)
    except OSError as error:
        if partial != path:
            partial.unlink(missing_ok=True)
        raise LockgateError(f"cannot write {path}: {error.strerror}", "Name a file in a folder that exists.") from error
