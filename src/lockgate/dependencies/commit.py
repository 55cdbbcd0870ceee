"""The dependencies of one commit: the lock that its own policy names, installed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lockgate.dependencies.install import Installed, Wheels, install
from lockgate.dependencies.lock import Lock, LockRefused, read_lock
from lockgate.git import Snapshot
from lockgate.policy import FILE as POLICY
from lockgate.policy import Dependencies, read_models

Choice = Literal["locked", "current"]
CHOICES: tuple[Choice, ...] = ("locked", "current")


@dataclass(frozen=True, slots=True)
class Locked:
    """What a commit locks for its ``model``: the section of its policy, the lock, and the lock of what source
    distributions are built with."""

    model: str
    told: Dependencies
    lock: Lock
    build: Lock | None

    def install(
        self,
        *,
        cache: Path | None = None,
        wheels: Callable[[Path], Wheels | None] = lambda _: None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Installed:
        """Return an environment that holds it. Raises what :func:`~lockgate.dependencies.install.install` raises."""
        return install(self.lock, self.told.python, build=self.build, cache=cache, wheels=wheels, tell=tell)


def locked_by(snapshot: Snapshot, model: str | None = None) -> Locked | None:
    """Return what the policy of ``snapshot`` says that its stages run with; ``None`` where it says nothing. ``model``
    is whose release is made or used, where the repository has several.

    Raises :class:`~lockgate.dependencies.lock.LockRefused` where it names a file that is not there, and what reading
    the policy may raise.
    """
    text = snapshot.read(POLICY)
    models = read_models(text) if text is not None else None
    if models is None or (told := models.dependencies) is None:
        return None
    return Locked(
        models.names[0] if model is None else models.of(model).model,
        told,
        _read(snapshot, "lock", told.lock),
        _read(snapshot, "build", told.build) if told.build is not None else None,
    )


def _read(snapshot: Snapshot, key: str, path: str) -> Lock:
    content = snapshot.read(path)
    if content is None:
        raise LockRefused(
            POLICY,
            f"dependencies.{key} names '{path}', and {snapshot.label} holds no such file",
            f"Commit the lock, or correct dependencies.{key}.",
        )
    return read_lock(content.decode("utf-8", "replace"), path)
