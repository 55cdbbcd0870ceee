"""Heartbeats: signed statements of how long a log was at a time, so that entries taken off its end are missed.

::

    NAME/heartbeats/production/70180213.json    of one minute; names count down, so that the newest sorts first

A store that only creates cannot show that the newest entries of a log were taken away, or that it is a copy of
yesterday. A heartbeat says: at this minute the newest entry was number N, with this digest. A job on a schedule makes
one (``lockgate heartbeat production``); whoever verifies or serves with ``--max-age`` refuses a log without a heartbeat
that is young enough, or with one that knows more entries than the log has.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from lockgate.errors import LockgateError
from lockgate.releasing.environments import Entry, Environment, NeverPromoted, environments
from lockgate.releasing.registry import Actor, Refused, Registry
from lockgate.releasing.signing import Signer, check_signer
from lockgate.store import ObjectDiffers, ObjectMissing

HEARTBEAT_SCHEMA = "lockgate.heartbeat/1"
LAST_MINUTE = 10**8  # minute n since 1970 is named LAST_MINUTE - n
SKEW = timedelta(minutes=5)  # by which the clocks of two machines may differ


class Stale(LockgateError):  # noqa: N818 - named for what the user reads
    """What the store shows of a log may be old: no heartbeat is young enough."""

    def __init__(self, name: str, environment: str, newest: str | None, max_age: timedelta) -> None:
        """Name the environment, the newest heartbeat and the age that was asked for."""
        found = f"its newest heartbeat is of {newest}" if newest else "it has no heartbeat"
        super().__init__(
            f"the log of {name}'s environment '{environment}' may be old: {found}, at most {max_age} ago is asked for",
            f"Either the job that runs `lockgate heartbeat {environment}` stopped, or the store shows an old state. "
            "Look at the job's last run; then compare with git: `lockgate verify`.",
        )


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """At ``time`` (ISO 8601, UTC) the newest entry of the log was ``number``, with the digest ``entry``."""

    name: str
    environment: str
    number: int
    entry: str
    actor: str
    time: str


def beat(registry: Registry, environment: str, signer: Signer, actor: Actor) -> tuple[Heartbeat, bool]:
    """Write a heartbeat of this minute; return it and whether this call did.

    The whole log is verified first: what is stated is true. Raises as :meth:`Environment.verify`.
    """
    check_signer(signer, registry.trusted, "heartbeats")
    entries = Environment(registry, environment).verify()
    if not entries:
        raise NeverPromoted(registry.name, environment, environments(registry))
    newest = entries[-1]
    made = Heartbeat(registry.name, environment, newest.number, newest.digest, actor.name, actor.time)
    minute = int(datetime.fromisoformat(actor.time).timestamp()) // 60
    try:
        registry.write_signed(
            _path(registry, environment, minute), {"schema": HEARTBEAT_SCHEMA, **asdict(made)}, signer
        )
    except ObjectDiffers:  # there is one of this minute
        return made, False
    return made, True


def check_fresh(
    registry: Registry, environment: str, newest: Entry | None, max_age: timedelta, now: datetime | None = None
) -> Heartbeat:
    """Return the newest heartbeat. Raises :class:`Stale` if it is too old or there is none, and :class:`Refused` if it
    knows entries that the log does not have.

    One from the future (a machine's clock was off) counts for nothing, and the one before it is looked at.
    """
    now = now or datetime.now(UTC)
    root = f"{registry.name}/heartbeats/{environment}"
    first = registry.store.first(root)
    found = _read(registry, environment, first) if first else None
    if found is not None and datetime.fromisoformat(found.time) > now + SKEW:
        names = sorted(stored.path for stored in registry.store.objects(root))
        latest = LAST_MINUTE - int((now + SKEW).timestamp()) // 60
        past = [path for path in names if int(path.rpartition("/")[2].removesuffix(".json")) >= latest]
        found = _read(registry, environment, past[0]) if past else None
    if found is None or datetime.fromisoformat(found.time) < now - max_age:
        raise Stale(registry.name, environment, found.time if found else None, max_age)
    if (
        newest is None
        or newest.number < found.number
        or (newest.number == found.number and newest.digest != found.entry)
    ):
        place = registry.store.place(f"{registry.name}/environments/{environment}")
        raise Refused(place, f"ends before entry {found.number}, which a heartbeat of {found.time} knows")
    return found


def _read(registry: Registry, environment: str, path: str) -> Heartbeat:
    place = registry.store.place(path)
    try:
        payload = registry.read_signed(path)
        schema = payload.pop("schema")
        found = Heartbeat(**payload)
        minute = int(datetime.fromisoformat(found.time).timestamp()) // 60
        good = schema == HEARTBEAT_SCHEMA and path == _path(registry, found.environment, minute)
    except (TypeError, AttributeError, KeyError, ValueError, ObjectMissing):
        good = False
    if not good or (found.name, found.environment) != (registry.name, environment):
        raise Refused(place, f"is not a {HEARTBEAT_SCHEMA} document of '{environment}'")
    return found


def _path(registry: Registry, environment: str, minute: int) -> str:
    return f"{registry.name}/heartbeats/{environment}/{LAST_MINUTE - minute:08d}.json"


def parse_age(text: str) -> timedelta:
    """Return a length of time such as ``26h``, ``90m`` or ``7d``. Raises ``ValueError``, for argparse."""
    units = {"m": "minutes", "h": "hours", "d": "days"}
    if not text[:-1].isascii() or not text[:-1].isdecimal() or text[-1:] not in units or int(text[:-1]) == 0:
        raise ValueError(f"'{text}' is no length of time such as 26h, 90m or 7d")
    return timedelta(**{units[text[-1]]: int(text[:-1])})
