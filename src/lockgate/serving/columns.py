"""Columns of a file or query as the model is given them: the same answer, or the same refusal, as the service gives.

The service reads JSON, which has text, numbers, true and false. A file has types of its own. What a column's type can
say without doubt is taken; everything else is refused, as the service would refuse it. NaN is how tables of numbers
mark a missing value, so it counts as one.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal

from lockgate.serving.contract import Column

if TYPE_CHECKING:
    import pyarrow as pa

Reading = Literal["typed", "text", "sqlite"]
"""How an input writes values: with types of its own (Parquet, PostgreSQL), all of them as text (CSV), or as SQLite
does, which has neither times nor true and false."""

_NUMBER = r"^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?$"
_NAN = r"^[+-]?[nN][aA][nN]$"
_SHORT = r"^-?[0-9]{1,18}$"
_MOMENT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?$"
_LOOSE_MOMENT = _MOMENT.replace("T", "[T ]", 1)
_TRUE, _FALSE = ("true", "True", "TRUE", "1", "1.0"), ("false", "False", "FALSE", "0", "0.0")


class Unfit(Exception):  # noqa: N818  an answer to the caller, who knows the file
    """A value that the service would refuse. ``row`` is its place in the column, where there is one."""

    def __init__(self, finding: str, row: int | None = None) -> None:
        super().__init__(finding)
        self.row = row


def convert(values: "pa.ChunkedArray", column: Column, reading: Reading, missing: Collection[str] = ()) -> "pa.Array":
    """Return a column in the type that the model is given. Raises :class:`Unfit`.

    ``missing`` is the text that stands for a missing value, beside nothing at all; it is asked for in CSV alone.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found: Any = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(found, pa.ChunkedArray):
        found = pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], found.type)
    if pa.types.is_dictionary(found.type):
        found = found.dictionary_decode()
    if reading == "text" and column.type != "string" and _is_text(found.type):
        found = pc.if_else(pc.is_in(found, pa.array(["", *missing], found.type)), pa.scalar(None, found.type), found)
    if column.type in ("string", "timestamp") and pa.types.is_floating(found.type):  # pandas writes missing as NaN
        real = found.cast(pa.float64())
        found = pc.if_else(pc.is_nan(real), pa.scalar(None, pa.float64()), real)
    if found.null_count == len(found):
        found = pa.nulls(len(found), _arrow(column))
    else:
        found = _CONVERTERS[column.type](found, column, reading)
    if found.null_count and not column.optional:
        raise Unfit("is missing", _first(pc.is_null(found)))
    return found


def _string(found: Any, column: Column, _reading: Reading) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _is_text(found.type):
        raise Unfit(f"is {found.type}, not text")
    found = found.cast(pa.string())
    if (pc.max(pc.binary_length(found)).as_py() or 0) > column.max_length:  # in bytes, which are never fewer
        _refuse(pc.greater(pc.utf8_length(found), column.max_length), f"is longer than {column.max_length} characters")
    return found


def _number(found: Any, column: Column, reading: Reading) -> Any:
    return _within(_float(found, reading), column.minimum, column.maximum)


def _integer(found: Any, column: Column, reading: Reading) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    low, high = column.whole_bounds
    if pa.types.is_integer(found.type):
        if pa.types.is_uint64(found.type):
            _refuse(pc.greater(found, pa.scalar(high, pa.uint64())), f"is above {high}")
        return _within(found.cast(pa.int64()), low, high)
    if (
        reading == "text"
        and _is_text(found.type)
        and pc.all(pc.match_substring_regex(found, _SHORT)).as_py() is not False
    ):
        return _within(found.cast(pa.int64()), low, high)
    exact = _float(found, reading)
    _refuse(pc.not_equal(pc.floor(exact), exact), "is not a whole number")
    return _within(exact, low, high).cast(pa.int64())


def _boolean(found: Any, _column: Column, reading: Reading) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = found.type
    if pa.types.is_boolean(kind):
        return found
    if reading == "text" and _is_text(kind):
        nan = pc.match_substring_regex(found, _NAN)
        found = pc.if_else(nan, pa.scalar(None, kind), found)
        true, false = (pc.is_in(found, pa.array(words, kind)) for words in (_TRUE, _FALSE))
    elif pa.types.is_floating(kind) or (reading == "sqlite" and pa.types.is_integer(kind)):
        found = _float(found, reading)  # as pandas keeps a column of them with a missing one
        true, false = pc.equal(found, 1.0), pc.equal(found, 0.0)
    else:
        raise Unfit(f"is {kind}, not true or false")
    _refuse(pc.and_not(pc.is_valid(found), pc.or_kleene(true, false)), "is neither true nor false")
    return pc.if_else(pc.is_valid(found), true, pa.scalar(None, pa.bool_()))


def _timestamp(found: Any, _column: Column, reading: Reading) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(found.type):
        if found.type.tz is not None:
            raise Unfit(f"has the time zone {found.type.tz}: a time is given without one")
        found = _cast(found, pa.timestamp("us"), "has more than six digits of a second, or is out of range")
    elif _is_text(found.type):
        form = _MOMENT if reading == "typed" else _LOOSE_MOMENT
        _refuse(
            pc.invert(pc.match_substring_regex(found, form)), "is not a time as 2013-10-01T05:17:00, without an offset"
        )
        found = _cast(found, pa.timestamp("us"), "is not a time that exists")
    else:
        raise Unfit(f"is {found.type}, not a time")
    years = pc.year(found)
    _refuse(pc.or_(pc.less(years, 1), pc.greater(years, 9999)), "is before the year 1 or after 9999")
    return found


_CONVERTERS = {
    "string": _string,
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "timestamp": _timestamp,
}


def _float(found: Any, reading: Reading) -> Any:
    """Return numbers as float64, NaN as missing. Refuses what is not a number, and infinity."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = found.type
    if reading == "text" and _is_text(kind):
        good = pc.match_substring_regex(found, _NUMBER)
        if pc.all(good).as_py() is False:
            _refuse(pc.invert(pc.or_(good, pc.match_substring_regex(found, _NAN))), "is not a number")
            found = pc.if_else(good, found, pa.scalar(None, kind))
        if pc.any(pc.starts_with(found, "+")).as_py():
            found = pc.utf8_ltrim(found, "+")
        found = found.cast(pa.float64())
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        found = found.cast(pa.float64(), safe=False)
        if pa.types.is_floating(kind) and pc.any(pc.is_nan(found)).as_py():
            found = pc.if_else(pc.is_nan(found), pa.scalar(None, pa.float64()), found)
    else:
        raise Unfit(f"is {kind}, not a number")
    _refuse(pc.is_inf(found), "is infinite")
    return found


def _within(found: Any, low: float | None, high: float | None) -> Any:
    """Return numbers that are not below ``low`` or above ``high``."""
    import pyarrow.compute as pc

    if low is None and high is None:
        return found
    ends = pc.min_max(found).as_py()
    if low is not None and ends["min"] is not None and ends["min"] < low:
        _refuse(pc.less(found, low), f"is below {low:g}" if isinstance(low, float) else f"is below {low}")
    if high is not None and ends["max"] is not None and ends["max"] > high:
        _refuse(pc.greater(found, high), f"is above {high:g}" if isinstance(high, float) else f"is above {high}")
    return found


def _cast(found: Any, kind: "pa.DataType", finding: str) -> Any:
    import pyarrow as pa

    try:
        return found.cast(kind)
    except pa.ArrowInvalid:
        for row in range(len(found)):
            try:
                found.slice(row, 1).cast(kind)
            except pa.ArrowInvalid:
                raise Unfit(finding, row) from None
        raise


def _refuse(wrong: Any, finding: str) -> None:
    """Raise :class:`Unfit` with the first row that is ``wrong``, if there is one; a missing value is not."""
    import pyarrow.compute as pc

    if pc.any(wrong).as_py():
        raise Unfit(finding, _first(wrong))


def _first(wrong: Any) -> int:
    import pyarrow.compute as pc

    return int(pc.index(wrong, True).as_py())


def _is_text(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _arrow(column: Column) -> "pa.DataType":
    import pyarrow as pa

    types = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
    return types.get(column.type, pa.timestamp("us"))
