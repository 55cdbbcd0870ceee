"""Reading outcomes that somebody has: Parquet, CSV, a query of SQLite or PostgreSQL, here or in a bucket.

A row names a request by its key or by its answer, and says what happened. Whatever could be read in two ways is
refused: labels that are no labels, times with a zone, two different outcomes of one request.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lockgate.errors import LockgateError, UsageError
from lockgate.formatting import count
from lockgate.monitoring.arrays import coded, floats, is_midnight
from lockgate.monitoring.locations import without_password
from lockgate.monitoring.matching import numbered
from lockgate.monitoring.outcome_store import BY_ID, LABEL
from lockgate.policy import Predictions, RequestPart
from lockgate.serving.columns import Reading, Unfit, convert
from lockgate.serving.contract import Column, RequestSchema
from lockgate.serving.described import Described
from lockgate.serving.inputs import DATABASES, inputs_of
from lockgate.serving.request_parts import part_of

if TYPE_CHECKING:
    import pyarrow as pa

ROWS: Final = 1_000_000
DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
TRUE, FALSE = ("true", "1", "1.0"), ("false", "0", "0.0")


class OutcomeInputRefused(LockgateError):  # noqa: N818 - named for what the user reads
    """What was given are no outcomes of this model."""

    def __init__(self, place: str, finding: str, advice: str = "") -> None:
        """Name the file or query and what is wrong with it."""
        super().__init__(
            f"{without_password(place)}: {finding}", advice or "Nothing was added. docs/outcomes.md says what is read."
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be read: outcomes of the model ``name``, whose requests are ``described``, under the column ``label``,
    of the kind that ``predictions`` say. Of several outcomes of one request the ``last`` counts, if that is wished."""

    name: str
    described: Described
    label: str
    predictions: Predictions
    last: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """What was read: ``table`` has the columns that name a request and the label, sorted by them, each request once.

    ``rows`` is how many rows there were, ``unlabelled`` how many had no label yet, ``repeated`` how many said again
    what another one says, ``conflicting`` how many said something else than a later one. ``digest`` identifies it.
    """

    table: "pa.Table"
    rows: int
    unlabelled: int
    repeated: int
    conflicting: int
    digest: str


def read_outcomes(where: str, query: str | None, wanted: Wanted) -> Read:
    """Return the outcomes in a file, a folder of files, or the answer to a query. Raises :class:`OutcomeInputRefused`,
    and what reading it may raise."""
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = _query(where, query) if query is not None or _is_database(where) else _files(where, wanted)
    tables = [_checked(where, table, reading, wanted) for table, reading in parts]
    if not tables:
        raise OutcomeInputRefused(where, "it has no rows")
    if len({tuple(table.column_names) for table in tables}) > 1:
        raise OutcomeInputRefused(where, "its files name requests by different columns")
    table = pa.concat_tables(tables)
    rows = table.num_rows
    table = table.filter(pc.is_valid(table.column(LABEL)))
    keys = table.column_names[:-1]
    for name in keys:
        if table.column(name).null_count:
            raise OutcomeInputRefused(where, f"{name}, part of the key, is missing in some rows")
    once, repeated, conflicting = _once(where, table, keys, last=wanted.last)
    once = once.sort_by([(name, "ascending") for name in keys]).combine_chunks()
    return Read(once, rows, rows - table.num_rows, repeated, conflicting, _digest(once))


def _is_database(where: str) -> bool:
    return where.partition(":")[0].partition("+")[0] in DATABASES


def _files(where: str, wanted: Wanted) -> "list[tuple[pa.Table, Reading]]":
    """Return the tables of a file or folder, with those columns that can be of use."""
    names = [*(part.name for part in wanted.described.key), *(part.column for part in wanted.described.key)]
    names = list(dict.fromkeys([*names, *BY_ID, wanted.label, "model", "release"]))
    schema = RequestSchema(tuple(Column(name, "string") for name in names), {})
    return [
        (_own(piece.table), piece.reading)
        for one in inputs_of(where, None, ())
        for piece in one.pieces(names, schema, ROWS)
    ]


def _own(table: "pa.Table") -> "pa.Table":
    """Return the columns of the file itself: reading it adds ``file`` and, where it has none, ``row`` behind them."""
    return table.select(table.column_names[: table.column_names.index("file")])


def _query(where: str, query: str | None) -> "list[tuple[pa.Table, Reading]]":
    """Return the answer to a query. Raises :class:`OutcomeInputRefused`."""
    import pyarrow as pa
    from sqlalchemy import create_engine
    from sqlalchemy.exc import SQLAlchemyError

    if not query or not _is_database(where):
        raise UsageError("a database is read with --query SQL", "Name the URL of SQLite or PostgreSQL, and the query.")
    engine = create_engine(where)
    reading: Reading = "sqlite" if engine.dialect.name == "sqlite" else "typed"
    found: list[tuple[pa.Table, Reading]] = []
    try:
        with engine.connect() as connection:
            options = {"stream_results": True, "yield_per": ROWS, "no_parameters": True}
            answer = connection.execution_options(**options).exec_driver_sql(query)
            names = list(answer.keys())
            for part in answer.partitions(ROWS):
                columns = {name: pa.array(values) for name, values in zip(names, zip(*part, strict=True), strict=True)}
                found.append((pa.table(columns), reading))
    except SQLAlchemyError as error:
        raise OutcomeInputRefused(where, str(getattr(error, "orig", error)).splitlines()[0]) from None
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise OutcomeInputRefused(where, str(error).splitlines()[0]) from None
    finally:
        engine.dispose()
    return found


# --- columns


def _checked(where: str, table: "pa.Table", reading: Reading, wanted: Wanted) -> "pa.Table":
    """Return the columns that name a request, typed, and the label. Raises :class:`OutcomeInputRefused`."""
    import pyarrow as pa

    _check_model(where, table, wanted)
    if wanted.label not in table.column_names:
        there = ", ".join(name for name in table.column_names if name != "row") or "none of those that are known"
        raise OutcomeInputRefused(
            where, f"it has no column {wanted.label} for the outcome; it has {there}", "Name it: --label COLUMN."
        )
    names = _named_by(where, table, wanted)
    found: dict[str, Any] = {}
    for name, column in names.items():
        try:
            found[name] = _key_column(table, column, name, reading)
        except Unfit as reason:
            row = "" if reason.row is None else f" in row {reason.row}"
            raise OutcomeInputRefused(where, f"{name} {reason}{row}") from None
    try:
        found[LABEL] = labels_of(table.column(wanted.label), wanted.predictions, reading)
    except Unfit as reason:
        row = "" if reason.row is None else f" in row {reason.row}"
        raise OutcomeInputRefused(where, f"{wanted.label} {reason}{row}: it is no label of {wanted.name}") from None
    return pa.table(found)


def _check_model(where: str, table: "pa.Table", wanted: Wanted) -> None:
    import pyarrow.compute as pc

    own = {part.name for part in wanted.described.key} | {wanted.label}
    for name in ("model", "release"):
        if name not in table.column_names or name in own:
            continue
        named = {str(one).partition("@")[0] for one in pc.unique(table.column(name)).to_pylist() if one is not None}
        if others := sorted(named - {wanted.name}):
            raise OutcomeInputRefused(where, f"it has outcomes of {others[0]}, and these are to be of {wanted.name}")


def _named_by(where: str, table: "pa.Table", wanted: Wanted) -> dict[str, RequestPart | Column]:
    """Return by which columns the rows name a request: the key's, or the answer's ``id`` and ``row``."""
    there = set(table.column_names)
    key = wanted.described.key
    if key and all(part.name in there or part.column in there for part in key):
        columns = {one.name: one for one in wanted.described.columns}
        return {
            part.name: part if part.part is not None else Column(part.name, columns[part.column].type, optional=True)
            for part in key
        }
    if "id" in there:
        return {"id": Column("id", "string", optional=True), "row": Column("row", "integer", optional=True)}
    names = ", ".join(part.name for part in key)
    said = f"the columns of the key ({names}), nor " if key else ""
    missing = [part.name for part in key if part.name not in there and part.column not in there]
    lacks = f"; it lacks {', '.join(missing)}" if missing and len(missing) < len(key) else ""
    raise OutcomeInputRefused(where, f"it has neither {said}the `id` of answers{lacks}")


def _key_column(table: "pa.Table", part: RequestPart | Column, name: str, reading: Reading) -> Any:
    import pyarrow as pa

    if isinstance(part, Column):
        if name not in table.column_names:  # `row`: an answer to a single request
            return pa.array([0] * table.num_rows, pa.int32())
        column = convert(table.column(name), part, reading)
        return column.cast(pa.int32()) if name == BY_ID[1] and part.type == "integer" else column
    if name in table.column_names:
        if part.part == "date":
            return _dates(table.column(name))
        return convert(table.column(name), Column(name, "integer", optional=True), reading)
    moments = convert(table.column(part.column), Column(part.column, "timestamp", optional=True), reading)
    return part_of(part, moments)


def _dates(column: Any) -> Any:
    """Return dates: of their own type, as text like 2013-10-01, or as timestamps of midnight. Raises :class:`Unfit`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        raise Unfit(f"has the time zone {kind.tz}: a date is given without one")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        wrong = pc.fill_null(pc.invert(pc.match_substring_regex(column, DATE)), False)
        if pc.any(wrong).as_py():
            raise Unfit("is not a date such as 2013-10-01", pc.index(wrong, True).as_py())
    elif pa.types.is_timestamp(kind) and not is_midnight(column):
        raise Unfit("holds times of day, where a date is asked for")
    elif not (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
        raise Unfit(f"is {kind}, not a date")
    try:
        return column.cast(pa.date32())
    except pa.ArrowInvalid:
        raise Unfit("holds a date that does not exist") from None


def labels_of(column: Any, predictions: Predictions, reading: Reading) -> Any:
    """Return what happened, null where it is not known yet: 0 and 1 of a binary model, text of one of several classes,
    a finite number of a regression. Raises :class:`Unfit` for a value that is none of these."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if predictions.kind == "multiclass" or predictions.positive is not None:
        texts = column.cast(pa.string())
        if reading == "text":
            texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
        if predictions.positive is None:
            return texts
        return pc.equal(texts, predictions.positive).cast(pa.float64())
    if predictions.kind == "binary":
        return _binary(column, reading)
    return convert(column, Column("label", "number", optional=True), reading)


def _binary(column: Any, reading: Reading) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_boolean(column.type):
        return column.cast(pa.float64())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        if reading != "text":
            raise Unfit("is text, not 0 or 1")
        small = pc.utf8_lower(column)
        known = [pc.is_in(small, pa.array(words, small.type)) for words in (TRUE, FALSE)]
        wrong = pc.and_(pc.is_valid(small), pc.and_(pc.not_equal(small, ""), pc.invert(pc.or_(*known))))
        if pc.any(wrong).as_py():
            raise Unfit("is neither 0 nor 1, true nor false", pc.index(wrong, True).as_py())
        return pc.if_else(known[0], 1.0, pc.if_else(known[1], 0.0, pa.scalar(None, pa.float64())))
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)):
        raise Unfit(f"is {column.type}, not 0 or 1")
    numbers = column.cast(pa.float64())
    numbers = pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    wrong = pc.fill_null(pc.and_(pc.not_equal(numbers, 0.0), pc.not_equal(numbers, 1.0)), False)
    if pc.any(wrong).as_py():
        raise Unfit("is neither 0 nor 1", pc.index(wrong, True).as_py())
    return numbers


# --- each request once


def _once(where: str, table: "pa.Table", keys: Sequence[str], *, last: bool) -> "tuple[pa.Table, int, int]":
    """Return each request once, and how many rows said the same again, or something else. Raises
    :class:`OutcomeInputRefused` for the latter, unless the ``last`` row of a request is to count."""
    import numpy as np
    import pyarrow as pa

    named = table.select(keys)
    numbers, _, several = numbered(named, named.slice(0, 0))
    rows = np.arange(table.num_rows)
    newest = np.full(several, -1, dtype=np.int64)
    newest[numbers] = rows
    label = table.column(LABEL)
    values = coded(label)[0] if pa.types.is_string(label.type) else floats(label)
    other = values != values[newest[numbers]] if table.num_rows else np.zeros(0, dtype=np.bool_)
    conflicting = int(other.sum())
    if conflicting and not last:
        place = int(np.flatnonzero(other)[0])
        example = ", ".join(f"{name} {value}" for name, value in named.slice(place, 1).to_pylist()[0].items())
        raise OutcomeInputRefused(
            where,
            f"{count(conflicting, 'row')} says something else of a request than a later one, for example {example}",
            "Nothing was added. If the last row of a request is right: --last-counts.",
        )
    kept = np.sort(newest[newest >= 0])
    return table.take(pa.array(kept)), table.num_rows - len(kept) - conflicting, conflicting


def _digest(table: "pa.Table") -> str:
    """Return what identifies the outcomes, in whichever order and form they came."""
    import pyarrow as pa
    from pyarrow import csv

    sink = pa.BufferOutputStream()
    csv.write_csv(table, sink)
    return hashlib.sha256(sink.getvalue()).hexdigest()
