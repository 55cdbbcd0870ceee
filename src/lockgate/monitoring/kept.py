"""Findings are kept: one signed, create-only document a window, so that "was it known?" can be answered years later.

::

    NAME/monitors/production/week-2026-11-16/00000001.json    what was found when it was first asked
    NAME/monitors/production/week-2026-11-16/00000002.json    and again, when later outcomes gave another answer

The same answer is not written twice. Each document is signed under its own path and names the digest of the one before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockgate.errors import LockgateError
from lockgate.releasing.manifest import canonical, sha256, spell
from lockgate.releasing.registry import Actor, Refused, Registry
from lockgate.store import ObjectDiffers

if TYPE_CHECKING:
    from lockgate.monitoring.finding import Finding
    from lockgate.releasing.signing import Signer

SCHEMA = "lockgate.finding/1"
TRIES = 10  # against others that write a finding of the same window


@dataclass(frozen=True, slots=True)
class Kept:
    """A finding of the store: the ``number``-th of its window, by whom and when. Fractions of ``finding`` are text."""

    number: int
    previous: str
    actor: str
    time: str
    finding: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """What the next finding of the window names."""
        return sha256(spell(_payload(self)))


def keep(registry: Registry, finding: "Finding", signer: "Signer", actor: Actor) -> tuple[Kept, bool]:
    """Write a finding unless the newest one of its window says the same; return what stands, and whether it is new.

    Raises :class:`~lockgate.releasing.registry.Refused` where a finding of the store cannot be believed, and what
    signing raises.
    """
    said = _as_text(finding.told())
    for _ in range(TRIES):
        before = newest(registry, finding.environment, finding.name)
        if before is not None and before.finding == said:
            return before, False
        number = before.number + 1 if before else 1
        made = Kept(number, before.digest if before else "", actor.name, actor.time, said)
        try:
            path = _path(registry, finding.environment, finding.name, number)
            registry.write_signed(path, _payload(made), signer)
        except ObjectDiffers:  # somebody else asked at the same time
            continue
        return made, True
    raise LockgateError(
        f"{TRIES} other findings of {finding.window} came first", "Run the same command again: one job is enough."
    )


def newest(registry: Registry, environment: str, window: str) -> Kept | None:
    """Return the newest finding of a window. Raises as :func:`keep`."""
    found = [stored.path for stored in registry.store.objects(f"{_root(registry, environment)}/{window}")]
    return _read(registry, environment, max(found)) if found else None


def kept(registry: Registry, environment: str) -> list[Kept]:
    """Return the newest finding of each window, oldest window first. Raises as :func:`keep`."""
    by_window: dict[str, str] = {}
    for stored in registry.store.objects(_root(registry, environment)):
        window = stored.path.rpartition("/")[0]
        by_window[window] = max(stored.path, by_window.get(window, ""))
    found = [_read(registry, environment, path) for path in by_window.values()]
    return sorted(found, key=lambda one: (str(one.finding["start"]), str(one.finding["kind"])))


def _read(registry: Registry, environment: str, path: str) -> Kept:
    place = registry.store.place(path)
    payload = registry.read_signed(path)
    try:
        if payload["schema"] != SCHEMA:
            raise Refused(place, f"is not a {SCHEMA} document")
        made = Kept(payload["number"], payload["previous"], payload["actor"], payload["time"], payload["finding"])
        good = path == _path(registry, environment, str(made.finding["name"]), made.number)
        good = good and (made.finding["model"], made.finding["environment"]) == (registry.name, environment)
    except (KeyError, TypeError, ValueError):
        good = False
    if not good:
        raise Refused(place, f"is not a {SCHEMA} document of '{environment}'")
    return made


def _payload(made: Kept) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "number": made.number,
        "previous": made.previous,
        "actor": made.actor,
        "time": made.time,
        "finding": made.finding,
    }


def _as_text(value: Any) -> Any:
    """Return what signed documents may hold: a fraction as the text that reads back as it."""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        return {key: _as_text(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_as_text(inner) for inner in value]
    canonical(value)
    return value


def _root(registry: Registry, environment: str) -> str:
    return f"{registry.name}/monitors/{environment}"


def _path(registry: Registry, environment: str, window: str, number: int) -> str:
    return f"{_root(registry, environment)}/{window}/{number:08d}.json"
