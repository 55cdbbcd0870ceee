"""The record of scores joined with the outcomes that are known, one table a day.

A day is a day of UTC, by the time of the answer. Memory holds one day, however long the record is.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from lockgate.monitoring.arrays import floats, integers
from lockgate.monitoring.matching import last_places, numbered
from lockgate.monitoring.outcome_store import BY_ID, LABEL, Bounds, OutcomeStore
from lockgate.serving.described import request_column

__all__ = ["RECORDED", "joined", "request_column"]

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from lockgate.monitoring.scores import ScoreRecord, Scores

RECORDED: Final = ("id", "row", "time", "release", "build", "probability", "latency_ms", "label")
"""The columns that every table has. The others are those of the request."""
TOGETHER: Final = 2_000_000  # outcomes that are matched at once


def joined(
    record_location: str,
    outcomes: str | None,
    start: date,
    end: date,
    *,
    model: str | None = None,
    schema: "pa.Schema | None" = None,
    columns: Collection[str] | None = None,
) -> "Iterator[pa.Table]":
    """Yield the scores of each day from ``start`` up to, and without, ``end``, with the outcomes that are known now.

    ``record_location`` is what ``lockgate serve --record`` takes: a folder, ``s3://…`` or a database's URL.
    ``outcomes`` is where ``lockgate outcomes add`` keeps them; ``None``: beside the record, as it does by default.
    A day without a score gives no table. Of the rows of a day the order is that of ``(time, id, row)``.

    The columns of each table, in this order:

    - ``id`` (string) and ``row`` (int32) name a score: the answer, and the place of the request in its call, from 0;
    - ``time`` (timestamp[us], of UTC, without a zone), ``release`` (``NAME@vX.Y.Z``), ``build`` (the digest);
    - ``probability`` (float64), null where the model gives another kind of answer;
    - ``latency_ms`` (float64), null where the record does not know it, because an older Lockgate wrote it;
    - ``label`` (float64; string for a model of several classes), null where no outcome is known;
    - ``answer`` (string), where a model of the day answers something else than a probability: that, as JSON;
    - the columns of the request, and the parts of its timestamps that belong to the key, typed as
      :attr:`~lockgate.serving.contract.RequestSchema.arrow` says for the release that answered. Where the releases of a
      day differ in their columns, the table has all of them, null where a release has none. A request's column of one
      of the names above is called ``request_NAME`` (:func:`~lockgate.serving.described.request_column`).

    ``model`` keeps the scores of the releases of that name; ``None``: all of them. ``schema`` is the request's Arrow
    schema for records of before, which hold the request as JSON alone; without it the types of newer files are taken,
    else those that the JSON shows. ``columns`` keeps these columns of the request only, to read less.

    Raises :class:`~lockgate.monitoring.locations.RecordMissing` where nothing is at ``record_location``, and
    :class:`~lockgate.monitoring.locations.RecordRefused` for a file or table that is no record.
    """
    from lockgate.monitoring.locations import outcomes_beside
    from lockgate.monitoring.outcome_store import store_at
    from lockgate.monitoring.scores import record_at

    record = record_at(record_location)
    known = Known(store_at(outcomes if outcomes is not None else outcomes_beside(record_location)))
    for day in record.days():
        if start <= day < end:
            table = join_day(record, known, day, model=model, schema=schema, columns=columns)
            if table is not None:
                yield table
            del table  # or two days would be in memory while the next one is read


class Known:
    """The outcomes that are known, asked for by the keys of some scores."""

    def __init__(self, store: OutcomeStore) -> None:
        """Ask ``store``."""
        self.store = store
        self._additions: dict[str, Any] = {}

    def labels(self, model: str, ways: "Sequence[pa.Table]") -> "tuple[NDArray[Any], bool]":
        """Return the label of each row, ``None`` or NaN where none is known, and whether labels are text.

        ``ways`` are tables that name the same rows, each by other columns: by their key, by their answer. Whichever
        outcome came last counts.
        """
        import numpy as np
        import pyarrow as pa

        if model not in self._additions:
            self._additions[model] = self.store.additions(model)
        rows = ways[0].num_rows
        labels: NDArray[Any] = np.full(rows, np.nan)
        text = False
        held: list[tuple[int, pa.Table]] = []

        def match() -> None:
            nonlocal labels, text
            for way, several in _runs(held):
                table = pa.concat_tables(several, promote_options="permissive")
                wanted, offered, numbers = numbered(ways[way], table.select(ways[way].column_names))
                places = last_places(wanted, offered, numbers)
                found = places >= 0
                values = table.column(LABEL)
                if pa.types.is_string(values.type) and not text:
                    labels, text = _as_text(labels), True
                taken = values.take(pa.array(places[found]))
                labels[found] = taken.to_pylist() if text else floats(taken)
            held.clear()

        limits = [bounds_of(way) for way in ways]
        for addition in self._additions[model]:
            for way, table in enumerate(ways):
                if tuple(table.column_names) == addition.key and table.num_rows:
                    for part in self.store.read(addition, limits[way]):
                        held.append((way, part))
                        if sum(one.num_rows for _, one in held) > TOGETHER:
                            match()
        match()
        return labels, text


def _runs(held: "Sequence[tuple[int, pa.Table]]") -> "Iterator[tuple[int, list[pa.Table]]]":
    """Yield tables that name rows in the same way and come one after the other, as one."""
    several: list[Any] = []
    for place, (way, table) in enumerate(held):
        several.append(table)
        if place + 1 == len(held) or held[place + 1][0] != way:
            yield way, several
            several = []


def _as_text(labels: "NDArray[Any]") -> "NDArray[Any]":
    import numpy as np

    return np.array([None if np.isnan(one) else f"{one:g}" for one in labels], dtype=object)


def bounds_of(keys: "pa.Table") -> Bounds:
    """Return the least and the greatest value of each column, where there is one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = {}
    for name in keys.column_names:
        if keys.num_rows and not pa.types.is_boolean(keys.schema.field(name).type):
            both = pc.min_max(keys.column(name)).as_py()
            if both["min"] is not None:
                found[name] = (both["min"], both["max"])
    return found


def join_day(
    record: "ScoreRecord",
    known: Known,
    day: date,
    *,
    model: str | None = None,
    schema: "pa.Schema | None" = None,
    columns: Collection[str] | None = None,
) -> "pa.Table | None":
    """Return the table of one day, see :func:`joined`; ``None`` where nothing was scored."""
    import pyarrow.compute as pc

    parts: dict[tuple[str, str], list[Scores]] = {}
    for scores in record.read(day, columns, schema):
        releases = pc.unique(scores.table.column("release")).to_pylist()
        for release in releases:
            name = release.partition("@")[0]
            if model in (None, name):
                chosen = scores.table
                if len(releases) > 1:  # a copy of millions of rows is worth avoiding
                    chosen = chosen.filter(pc.equal(chosen.column("release"), release))
                described = scores.described
                key = repr(described.key_schema()) if described is not None else ""
                parts.setdefault((name, key), []).append(type(scores)(chosen, described))
    if not parts:
        return None
    tables = [_labelled(name, several, known) for (name, _), several in parts.items()]
    return _sorted(_together(tables))


def _sorted(table: "pa.Table") -> "pa.Table":
    """Return the rows by time, then by answer and row. Files are written in the order of time, so that mostly they are,
    and a second copy of a day is not made."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    steps = np.diff(integers(table.column("time")))
    ties = np.flatnonzero(steps == 0)
    if not (steps < 0).any():
        first, second = (table.select(BY_ID).take(pa.array(places)) for places in (ties, ties + 1))
        less = pc.less(first.column("id"), second.column("id"))
        same = pc.equal(first.column("id"), second.column("id"))
        follow = pc.less_equal(first.column("row"), second.column("row"))
        if pc.all(pc.or_(less, pc.and_(same, follow))).as_py() is not False:
            return table
    return table.sort_by([("time", "ascending"), ("id", "ascending"), ("row", "ascending")])


def _labelled(model: str, several: "Sequence[Scores]", known: Known) -> "pa.Table":
    """Return scores of one model with the same columns of a key as one table, with the labels that are known."""
    import pyarrow as pa

    table = _together([one.table for one in several])
    ways = [table.select(BY_ID)]
    described = several[0].described
    if described is not None and described.key:
        ways.append(described.keys(table))
    labels, text = known.labels(model, ways)
    label = pa.array(labels, pa.string()) if text else pa.array(labels, pa.float64(), from_pandas=True)
    return table.add_column(7, LABEL, label)


def _together(tables: "Sequence[pa.Table]") -> "pa.Table":
    """Return tables one below the other. A column that one of them lacks is empty there; one that is text in one and
    not in another is text."""
    import pyarrow as pa

    if len(tables) == 1:
        return tables[0]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException:
        types: dict[str, set[Any]] = {}
        for table in tables:
            for one in table.schema:
                types.setdefault(one.name, set()).add(one.type)
        apart = {name for name, kinds in types.items() if len(kinds) > 1}
        same = [
            table.cast(pa.schema([pa.field(f.name, pa.string() if f.name in apart else f.type) for f in table.schema]))
            for table in tables
        ]
        return pa.concat_tables(same, promote_options="permissive")
