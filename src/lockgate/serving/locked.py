"""Which dependencies a release is served with: those of the lock in its build, installed, or those of this Python.

A build says in its manifest (``facts.dependencies``) which of its files is the lock, for which Python, and whether its
sample answers were given with it. The environment is made before the release takes over; the one before serves on.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate.dependencies.commit import Choice, Locked
from lockgate.dependencies.install import Installed, Wheels
from lockgate.dependencies.kept import Kept
from lockgate.dependencies.lock import LockRefused, read_lock
from lockgate.dependencies.uv import find_uv
from lockgate.errors import LockgateError
from lockgate.policy import Dependencies
from lockgate.releasing.registry import Build
from lockgate.store import Store, StoreError

LOG = logging.getLogger("lockgate.serve")


class NoLockInBuild(LockgateError):  # noqa: N818 - named for what the user reads
    """The build does not say what it is to be served with."""

    def __init__(self, release: str) -> None:
        """Name the release and the way on."""
        super().__init__(
            f"{release} names no lock of its dependencies: its policy had no `dependencies:` when it was released",
            "Serve it with the packages that are installed here: --dependencies current.",
        )


@dataclass(frozen=True, slots=True)
class Interpreters:
    """Gives each release its interpreter. ``choice`` is ``None`` for: locked, where the build was released that way and
    uv is here. ``cache`` is the folder in which environments are kept, ``store`` opens where files may be kept."""

    choice: Choice | None
    cache: Path
    store: Callable[[], Store]

    def of(self, build: Build, folder: Path) -> Installed | None:
        """Return the environment for a build, whose verified files are in ``folder``, made if need be; ``None`` for
        that of this process.

        Raises :class:`NoLockInBuild`, and what :mod:`lockgate.dependencies.install` raises.
        """
        if self.choice == "current":
            return None
        release = f"{build.release.name}@{build.release.version}"
        told = build.manifest.facts.get("dependencies")
        if not isinstance(told, dict):
            if self.choice == "locked":
                raise NoLockInBuild(release)
            return None
        if self.choice is None and (told.get("samples") != "locked" or find_uv() is None):
            LOG.info("%s is served with the packages that are installed here", release)
            return None
        locked = _read(build.release.name, told, folder)
        if not locked.lock.pins_package("pyarrow"):
            raise LockRefused(
                f"{release}: {locked.lock.place}",
                "it does not pin pyarrow, by which the service and the model's process exchange requests and answers",
                "Add pyarrow to the lock, or serve with the packages that are installed here: --dependencies current.",
            )

        def kept(into: Path) -> Wheels | None:
            try:
                store = self.store()
            except StoreError:  # it is down, and what is served was remembered
                return None
            return Kept(store, build.release.name).wheels(locked.lock, locked.build, into, LOG.warning)

        return locked.install(cache=self.cache, wheels=kept, tell=LOG.info)


def _read(model: str, told: dict[str, Any], folder: Path) -> Locked:
    lock, build = (str(told[key]) if told.get(key) else None for key in ("lock", "build"))
    texts = {name: (folder / name).read_text(encoding="utf-8") for name in (lock, build) if name is not None}
    return Locked(
        model,
        Dependencies(str(lock), str(told.get("python")), build),
        read_lock(texts[str(lock)], str(lock)),
        read_lock(texts[build], build) if build is not None else None,
    )
