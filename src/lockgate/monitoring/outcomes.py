"""What ``lockgate outcomes`` does: adding what really happened to what is known, and saying how much that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from lockgate.errors import LockgateError
from lockgate.monitoring.arrays import floats
from lockgate.monitoring.joined import Known, join_day
from lockgate.monitoring.locations import RecordMissing
from lockgate.monitoring.matching import numbered
from lockgate.monitoring.outcome_input import Read
from lockgate.monitoring.outcome_store import BY_ID, LABEL, new_addition, store_at
from lockgate.monitoring.scores import bounds_of_stored, record_at
from lockgate.serving.cluster import each
from lockgate.serving.described import Described
from lockgate.serving.inputs import filesystem
from lockgate.serving.sinks import DAY, write_parquet

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from lockgate.monitoring.environment import Places


class NothingKnown(LockgateError):  # noqa: N818 - named for what the user reads
    """Not one of the outcomes is of a request that was scored."""

    def __init__(self, model: str, rows: int, source: str) -> None:
        """Name the model, and how many outcomes there were."""
        super().__init__(
            f"none of the {rows:,} requests in {source} was scored by {model}, as far as its record says",
            "Nothing was added. Are they of another model or environment? If they come before their scores: --early.",
        )


@dataclass(frozen=True, slots=True)
class Added:
    """What came of an addition: how many outcomes are ``new``, how many say something else than before
    (``corrected``), how many were known as they are (``known``); how many are of requests that are not on record
    (``unscored``), and that name requests which are. ``before`` is when the very same outcomes were added."""

    new: int
    corrected: int
    known: int
    unscored: int
    scored: int
    addition: str | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True)
class DayCount:
    """How many scores a day has, how many of them have an outcome, and whether outcomes are due by now."""

    day: date
    scores: int
    known: int
    mature: bool


def add(
    places: "Places", model: str, read: Read, described: Described, source: str, *, early: bool, dry_run: bool
) -> Added:
    """Add outcomes, those that are new or differ from what is known. Raises :class:`NothingKnown` where no request of
    them was scored, unless they are ``early``. What is there is never changed."""
    import numpy as np
    import pyarrow as pa

    store = store_at(places.outcomes)
    before = next((one for one in store.additions(model) if one.digest == read.digest), None)
    keys = read.table.select(read.table.column_names[:-1])
    scored = scored_keys(places, model, keys, described)
    unscored = keys.num_rows - int(scored.sum())
    if before is not None:
        return Added(0, 0, keys.num_rows, unscored, int(scored.sum()), None, before.time)
    if keys.num_rows and unscored == keys.num_rows and not early:
        raise NothingKnown(model, keys.num_rows, source)
    labels, text = Known(store).labels(model, [keys])
    told = read.table.column(LABEL)
    said = np.array(told.to_pylist(), dtype=object) if pa.types.is_string(told.type) else floats(told)
    there = np.array([one is not None for one in labels], dtype=np.bool_) if text else ~np.isnan(labels)
    same = there & (labels == said)
    changed = ~same
    name = None
    if changed.any() and not dry_run:
        addition = new_addition(store, model, keys.column_names, read.digest, source)
        store.append(addition, read.table.filter(pa.array(changed)))
        name = addition.name
    new, corrected = int((~there).sum()), int((changed & there).sum())
    return Added(new, corrected, int(same.sum()), unscored, int(scored.sum()), name)


def scored_keys(places: "Places", model: str, keys: "pa.Table", described: Described) -> "NDArray[np.bool_]":
    """Return for each key whether a request of that name was scored by the model."""
    import numpy as np

    found = np.zeros(keys.num_rows, dtype=np.bool_)
    if not keys.num_rows:
        return found
    try:
        days = record_at(places.record).days()
    except RecordMissing:
        return found
    work = [(places.record, day, model, keys, described) for day in days]
    for part in each(scored_in_day, work, places.scheduler):
        found[part] = True
    return found


def scored_in_day(record: str, day: date, model: str, keys: "pa.Table", described: Described) -> "NDArray[np.int64]":
    """Return the places of those keys that were scored by the model on one day."""
    import numpy as np
    import pyarrow.compute as pc

    by_id = tuple(keys.column_names) == BY_ID
    bounds = {} if by_id else bounds_of_stored(keys, described)
    found = np.zeros(keys.num_rows, dtype=np.bool_)
    for scores in record_at(record).read(day, (), described.schema, bounds):
        mine = scores.table.filter(pc.starts_with(scores.table.column("release"), f"{model}@"))
        if by_id:
            named = mine.select(BY_ID)
        else:
            known = scores.described
            if known is None or [part.name for part in known.key] != keys.column_names:
                continue
            named = known.keys(mine)
        ours, theirs, numbers = numbered(keys, named.select(keys.column_names))
        there = np.zeros(numbers + 1, dtype=np.bool_)
        there[theirs] = True
        there[-1] = False
        found |= there[ours]
    return np.flatnonzero(found)


# --- how much is known


def coverage(places: "Places", model: str, days: Sequence[date], after: timedelta) -> list[DayCount]:
    """Return how much is known of each day that has scores, in their order."""
    now = datetime.now(UTC)
    work = [(places.record, places.outcomes, day, model) for day in days]
    counts = each(count_day, work, places.scheduler)
    return [
        DayCount(day, scores, known, is_mature(day, after, now))
        for day, (scores, known) in zip(days, counts, strict=True)
        if scores
    ]


def count_day(record: str, outcomes: str, day: date, model: str) -> tuple[int, int]:
    """Return how many scores of a model a day has, and how many of them have an outcome."""
    table = join_day(record_at(record), Known(store_at(outcomes)), day, model=model, columns=())
    return (0, 0) if table is None else (table.num_rows, table.num_rows - table.column(LABEL).null_count)


def is_mature(day: date, after: timedelta, now: datetime) -> bool:
    """Say whether the outcomes of a day (UTC) are known by now: ``after`` so long from its last score on."""
    return datetime.combine(day, time(), UTC) + timedelta(days=1) + after <= now


def days_between(record: str, start: date | None, end: date | None) -> list[date]:
    """Return the days of a record from ``start`` up to, and without, ``end``."""
    found = record_at(record).days()
    return [day for day in found if (start is None or day >= start) and (end is None or day < end)]


# --- the joined rows as files


def write_days(places: "Places", model: str, days: Sequence[date], target: str) -> tuple[int, int]:
    """Write the scores of each day with their outcomes to ``target``, ``day=2026-11-25/joined.parquet`` each, and
    return how many rows there are and how many have an outcome. What was written before is written anew: outcomes come
    late. The bytes do not depend on who writes them."""
    work = [(places.record, places.outcomes, day, model, target) for day in days]
    counts = each(write_day, work, places.scheduler)
    return sum(rows for rows, _ in counts), sum(known for _, known in counts)


def write_day(record: str, outcomes: str, day: date, model: str, target: str) -> tuple[int, int]:
    """Write one day of them."""
    table: Any = join_day(record_at(record), Known(store_at(outcomes)), day, model=model)
    if table is None:
        return 0, 0
    system, path = filesystem(target)
    folder = f"{path}/{DAY}{day.isoformat()}"
    system.create_dir(folder, recursive=True)
    write_parquet(system, f"{folder}/joined.parquet", table.combine_chunks())
    return table.num_rows, table.num_rows - table.column(LABEL).null_count
