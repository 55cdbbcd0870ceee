"""A clock that a test sets, by libfaketime; what measures how long something takes keeps the real one."""

from pathlib import Path

import libfaketime  # type: ignore[import-untyped]


def faked_clock(time: str) -> dict[str, str]:
    """Return the environment in which a program's clock is moved: ``+400d``, or ``@1999-12-31 23:58:00``.

    The monotonic clock is left alone: waiting for a thread or a process can last for ever where it is moved.
    """
    (library,) = Path(libfaketime.__file__).parent.rglob("libfaketime.so.1")
    return {"LD_PRELOAD": str(library), "FAKETIME": time, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
