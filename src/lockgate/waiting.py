"""A line on the terminal while a command is silent: what it is doing, and for how long.

Commands that take longer than two seconds say so on a terminal; in a pipe or a log there is nothing of it. The line is
removed before anything else is written, so that it never stands in what a command prints.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

AFTER = 2.0
"""Seconds of silence after which the line appears."""
EVERY = 0.5
"""Seconds after which it is drawn again."""
_CLEAR = "\r\x1b[K"
_now: list[str] = []


def doing(what: str) -> None:
    """Say what the command is doing from here on, for the line that a user sees if it takes long."""
    _now[:] = [what]


@contextmanager
def waiting(command: str, after: float = AFTER, every: float = EVERY) -> Iterator[None]:
    """Show the line on stderr while ``command`` is silent, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    doing("")
    line = _Line(command, sys.stderr, after)
    before = sys.stdout, sys.stderr
    sys.stderr = _Watched(before[1], line)
    if sys.stdout.isatty():
        sys.stdout = _Watched(before[0], line)
    over = threading.Event()
    thread = threading.Thread(target=_draw, args=(line, over, every), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        line.clear()
        sys.stdout, sys.stderr = before


def _draw(line: "_Line", over: threading.Event, every: float) -> None:
    while not over.wait(every):
        line.draw()


class _Line:
    """The line: drawn only where nothing stands before it, and gone before anything else is written."""

    def __init__(self, command: str, stream: Any, after: float) -> None:
        self.command, self.stream, self.after = command, stream, after
        self.started = self.written = time.monotonic()
        self.drawn, self.at_start, self.lock = False, True, threading.RLock()

    def draw(self) -> None:
        """Draw the line anew, if nothing was written for long enough."""
        with self.lock:
            now = time.monotonic()
            if now - self.written < self.after or not self.at_start:
                return
            what = f", {_now[0]}" if _now and _now[0] else ""
            with suppress(OSError, ValueError):  # the terminal is gone
                self.stream.write(f"{_CLEAR}… {self.command}{what}: {now - self.started:.0f} s")
                self.stream.flush()
            self.drawn = True

    def clear(self) -> None:
        """Remove the line."""
        with self.lock:
            if self.drawn:
                with suppress(OSError, ValueError):
                    self.stream.write(_CLEAR)
                    self.stream.flush()
                self.drawn = False


class _Watched:
    """A stream that removes the line before it writes."""

    def __init__(self, stream: Any, line: _Line) -> None:
        self._stream, self._line = stream, line

    def write(self, text: str) -> int:
        """Write as the stream does."""
        with self._line.lock:
            self._line.clear()
            if text:
                self._line.at_start = text.endswith(("\n", _CLEAR))
                self._line.written = time.monotonic()
            return int(self._stream.write(text))

    def __getattr__(self, name: str) -> Any:
        """Be the stream in everything else."""
        return getattr(self._stream, name)
