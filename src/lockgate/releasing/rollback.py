"""``lockgate rollback ENVIRONMENT``: return to the release that ran before, verified again, as a new entry."""

from collections.abc import Callable

from lockgate.errors import LockgateError
from lockgate.releasing.environments import Entry, Environment, NeverPromoted, Retired, before, environments
from lockgate.releasing.registry import Actor, Build, Progress, Registry, silent
from lockgate.releasing.signing import Signer
from lockgate.releasing.withdrawal import ReleaseWithdrawn, withdrawal_of


class NothingBefore(LockgateError):  # noqa: N818 - named for what the user reads
    """There is no earlier release to go back to."""


class RolledBackAlready(LockgateError):  # noqa: N818
    """The newest entry is a rollback: another one without a version would go back twice."""

    def __init__(self, name: str, newest: Entry, further: str | None) -> None:
        """Name the rollback that stands, and the version that going further back would take."""
        super().__init__(
            f"{name}'s environment '{newest.environment}' was rolled back to {newest.version} already: "
            f"entry {newest.number} by {newest.actor}, {newest.time}",
            f"To go back further: `lockgate rollback {newest.environment} --to {further}`."
            if further
            else "There is no earlier release to go back to; `lockgate history` shows what ran.",
        )
        self.further = further


def rollback(  # noqa: PLR0913 - what an entry says
    registry: Registry,
    environment: str,
    signer: Signer | None,
    actor: Actor,
    *,
    to: str | None = None,
    reason: str = "",
    tag: Callable[[Build], str] = lambda _: "",
    dry_run: bool = False,
    progress: Progress = silent,
) -> tuple[Entry | None, bool, str]:
    """Append an entry that goes back to the release before the one that runs, or to the version ``to``.

    ``tag`` is asked for the name of git's tag that will say the same, where one is to be made.
    Return the entry, whether it was appended, and the version. With ``to``, running it again does nothing; without,
    running it again goes back no further. Raises :class:`NothingBefore` where the environment never ran another
    release (or never ran ``to``), :class:`RolledBackAlready`, and :class:`LockgateError` if somebody else's entry came
    in between: what to go back from is then no longer what was seen.
    """
    log = Environment(registry, environment)
    seen = log.history()
    if not seen:
        raise NeverPromoted(registry.name, environment, environments(registry))
    if seen[-1].action == "retire":
        raise Retired(seen[-1])
    if to == seen[-1].version:
        return seen[-1], False, to
    build = registry.release(_target(registry, environment, seen, to))
    registry.verify_files(build, progress)
    if dry_run or signer is None:
        return None, False, build.release.version

    def as_seen(entries: list[Entry]) -> Entry | None:
        if entries != seen:
            raise LockgateError(
                f"'{environment}' got entry {len(entries)} ({entries[-1].version}) meanwhile",
                "Look at `lockgate history`, then decide again.",
            )
        return None

    entry, appended = log.append(build, signer, actor, "rollback", reason=reason, tag=tag(build), done_already=as_seen)
    return entry, appended, build.release.version


def _target(registry: Registry, environment: str, seen: list[Entry], to: str | None) -> str:
    """Return the version to go back to."""
    if to is None:
        found = before(seen, lambda version: withdrawal_of(registry, version) is not None)
        if seen[-1].action == "rollback":
            raise RolledBackAlready(registry.name, seen[-1], found.version if found else None)
    else:
        ran = [entry for entry in seen if entry.action in {"promote", "rollback"}]
        found = next((entry for entry in ran if entry.version == to), None)
    if found is None:
        what = "an earlier release" if to is None else to
        advice = f"`lockgate history {environment}` lists what it ran."
        raise NothingBefore(f"the environment '{environment}' of {registry.name} never ran {what}", advice)
    if to is not None and (withdrawal := withdrawal_of(registry, to)) is not None:
        raise ReleaseWithdrawn(withdrawal)
    return found.version
