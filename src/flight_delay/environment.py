"""The environment is an input: say so once when it is not the one the lock describes.

The lock's hash is a dependency of every stage; this compares the running interpreter and the installed packages with
it, because DVC cannot know that somebody's virtual environment is older than the lock beside it.
"""

import platform
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LOCK = Path("requirements/pipeline.lock")
MADE_FOR = ("3.11", "Linux", "x86_64")  # what `make lock` resolves for


def running() -> tuple[str, str, str]:
    """Return the interpreter's minor version, the operating system and the processor."""
    return f"{sys.version_info.major}.{sys.version_info.minor}", platform.system(), platform.machine()


def difference(lock: str, here: tuple[str, str, str]) -> str:
    """Return in one line how this environment differs from the one the lock describes; empty if it does not."""
    if here != MADE_FOR:
        return f"this is Python {here[0]} on {here[1]} {here[2]}, the lock was made for {' '.join(MADE_FOR)}"
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", lock, flags=re.MULTILINE)
    other = [f"{name} {found} (the lock says {pin})" for name, pin in pins if (found := _installed(name)) != pin]
    return f"installed: {', '.join(other[:3])}{' and others' if len(other) > 3 else ''}" if other else ""


def warn() -> None:
    """Write one warning to stderr if the environment differs from the lock."""
    lock = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
    if text := difference(lock, running()):
        sys.stderr.write(f"warning: {LOCK}: {text}. Hashes may differ from dvc.lock; `make run` installs the lock.\n")


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
