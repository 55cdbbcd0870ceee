"""Do recorded requests say what the training table says of the same rows? Column by column, row by row.

A service that is asked with other values than those that the model was trained on (another unit, a column filled in
late, a time zone) is wrong however good the model is. Where the key of a request is in the table too, both can be laid
side by side.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate.errors import NotAskedError
from lockgate.monitoring.arrays import chunked
from lockgate.monitoring.finding import Skew
from lockgate.monitoring.joined import RECORDED, request_column
from lockgate.serving.request_parts import part_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from lockgate.policy import RequestPart

CLOSE = 1e-9  # relative: numbers nearer to each other are the same


class NothingToCompare(NotAskedError):  # noqa: N818 - named for what the user reads
    """The table cannot be laid beside the record."""


def comparer(path: Path, key: "Sequence[RequestPart]") -> "Callable[[pa.Table], list[Skew]]":
    """Return what compares recorded requests with the rows of the Parquet file ``path`` that have the same key.

    Raises :class:`NothingToCompare` where the table lacks the key or has one twice.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise NothingToCompare(f"cannot read {path}: {error}", "Name a Parquet file with --training.") from None
    names = [part.name for part in key]
    if not names or not set(names) <= set(table.column_names):
        lacking = ", ".join(name for name in names if name not in table.column_names) or "`serving: key:`"
        raise NothingToCompare(
            f"{path} cannot be laid beside the record: there is no {lacking}",
            "The policy's `serving: {key: …}` names what a request is known by; the table needs these columns.",
        )
    keys = pa.table({f"key {name}": _text(table[name]) for name in names})
    held = table.rename_columns([f"train {name}" for name in table.column_names])
    for name in keys.column_names:
        held = held.append_column(name, keys[name])
    if keys.group_by(keys.column_names).aggregate([]).num_rows != held.num_rows:
        raise NothingToCompare(f"{path} has a key twice", "Name a table with one row for each request.")

    def compare(rows: "pa.Table") -> list[Skew]:
        columns = [name for name in table.column_names if request_column(name) in rows.column_names]
        columns = [name for name in columns if name not in RECORDED]
        mine = rows.select([request_column(name) for name in columns])
        for part in key:
            mine = mine.append_column(f"key {part.name}", _text(part_of(part, chunked(rows[part.column]))))
        both = mine.join(held, keys.column_names, join_type="inner")
        return [_of_column(name, both) for name in columns]

    return compare


def _of_column(name: str, both: "pa.Table") -> Skew:
    import pyarrow.compute as pc

    live, train = (both[column] for column in (request_column(name), f"train {name}"))
    differ: Any = pc.fill_null(_differ(live, train), pc.xor(pc.is_null(live), pc.is_null(train)))
    number = int(pc.sum(differ).as_py() or 0)
    example = ""
    if number:
        place = pc.index(differ, True).as_py()
        example = f"{live[place].as_py()} recorded, {train[place].as_py()} in the table"
    return Skew(name, both.num_rows, number, example)


def _differ(live: Any, train: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = all(pa.types.is_integer(one.type) or pa.types.is_floating(one.type) for one in (live, train))
    if numbers:
        a, b = (_without_nan(one.cast(pa.float64())) for one in (live, train))
        return pc.greater(pc.abs(pc.subtract(a, b)), pc.multiply(pc.add(pc.abs(a), pc.abs(b)), pa.scalar(CLOSE)))
    if all(pa.types.is_timestamp(one.type) for one in (live, train)):
        return pc.not_equal(*(one.cast(pa.timestamp("us")) for one in (live, train)))
    return pc.not_equal(_text(live), _text(train))


def _without_nan(numbers: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)


def _text(column: Any) -> Any:
    """Return a column as text, times at midnight as their date."""
    import pyarrow as pa

    plain = chunked(column)
    if pa.types.is_timestamp(plain.type):
        try:
            plain = plain.cast(pa.date32())
        except pa.ArrowInvalid:
            plain = plain.cast(pa.timestamp("us"))
    return plain.cast(pa.string())
