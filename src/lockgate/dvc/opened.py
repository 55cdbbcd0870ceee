"""Which of some files are opened while stages run: asked of the kernel (Linux's inotify), without rights and strace.

The kernel tells of a file, whoever opens it in whatever language and however isolated, but not who it was. So it says
"something opened this file in that time", and on another system, or past the kernel's bound on watches, nothing.
"""

import ctypes
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_OPEN, _ONCE = 0x20, 0x80000000  # of inotify(7)
_HEAD = struct.Struct("=iIII")


@contextmanager
def watching(root: Path, paths: Iterable[str]) -> Iterator[Callable[[], tuple[str, ...]]]:
    """Watch files below ``root``; what is given returns those of ``paths``, sorted, that were opened since."""
    descriptor = -1
    watched: dict[int, list[str]] = {}
    libc = ctypes.CDLL(None)
    start, add = (getattr(libc, name, None) for name in ("inotify_init1", "inotify_add_watch"))
    if start is not None and add is not None:
        descriptor = start(os.O_NONBLOCK | os.O_CLOEXEC)
    seen: set[str] = set()

    def opened() -> tuple[str, ...]:
        for number in _events(descriptor):
            seen.update(watched.get(number, ()))
        return tuple(sorted(seen))

    try:
        for path in paths:
            if descriptor < 0 or add is None:
                break
            number = add(descriptor, os.fsencode(root / path), ctypes.c_uint32(_OPEN | _ONCE))
            if number >= 0:  # two names of one file are one watch
                watched.setdefault(number, []).append(path)
        yield opened
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _events(descriptor: int) -> Iterator[int]:
    """Yield the number of each watch that something was opened of, as far as the kernel has told."""
    while descriptor >= 0:
        try:
            content = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return
        place = 0
        while place < len(content):
            number, mask, _, length = _HEAD.unpack_from(content, place)
            place += _HEAD.size + length
            if mask & _OPEN:
                yield number
