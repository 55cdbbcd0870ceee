"""The tables that the policy names, base beside head: how many rows, of which days, and which columns moved.

A table is read only if the two locks record different ones, and if all of them together are not too large: what both
halves of a pull request decide alike. Nothing here judges; it tells a reviewer why figures may have changed.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lockgate.dvc.pipeline import State
from lockgate.evaluation.predictions import File, Refused
from lockgate.evaluation.statistics import reported
from lockgate.formatting import fixed, size
from lockgate.policy import Policy, Table
from lockgate.result import ColumnShift, DataDiff, Importance

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST = 32 << 20
"""Bytes of all tables that are read, of both sides together: they travel with a pull request's figures, which may have
twice as much in all."""
BINS = 10
FEW = 20  # distinct numbers, which are then compared one by one
MOST_VALUES = 50  # of a column of text that are told apart
MOST_COLUMNS = 10  # whose shift is told

Read = Callable[[State, str], bytes | None]
"""Returns the bytes of a state's file; raises :class:`Refused` where they cannot be had."""


def differing(policy: Policy, base: State | None, head: State) -> Iterator[tuple[Table, str]]:
    """Yield the tables that differ between the two locks, and why one cannot be compared (empty if it can)."""
    left = LARGEST
    for table in policy.data if base else ():
        assert base is not None  # noqa: S101 - said a line above
        records = [state.pipeline.recorded(state.lock, table.file) for state in (base, head)]
        digests = [record.digest if record else state.snapshot.read(table.file) for record, state in
                   zip(records, (base, head), strict=True)]  # fmt: skip
        if digests[0] == digests[1]:
            continue
        if any(record and record.path == table.file and record.is_folder for record in records):
            yield table, "a folder, not a table"
            continue
        both = sum(record.size or 0 for record in records if record)
        if both > left:
            yield table, f"{size(both)} on both sides: all tables together may have {size(LARGEST)}"
            continue
        left -= both
        yield table, ""


def data_diff(
    policy: Policy, base: State | None, head: State, read: Read, importance: Sequence[Importance]
) -> tuple[DataDiff, ...]:
    """Return what differs, a table at a time."""
    return tuple(_table(table, why, base, head, read, importance) for table, why in differing(policy, base, head))


def _table(
    table: Table, why: str, base: State | None, head: State, read: Read, importance: Sequence[Importance]
) -> DataDiff:
    import pyarrow as pa

    if why:
        return DataDiff(table.file, None, None, note=why)
    try:
        files = []
        for side, state in (("base", base), ("head", head)):
            content = read(state, table.file) if state else None
            if content is None:
                raise Refused(f"there is no {table.file} of {side}")
            files.append(File(side, table.file, content))
        names = [file.names() for file in files]
        first = [
            file.columns((columns[0],)).num_rows if columns else 0 for file, columns in zip(files, names, strict=True)
        ]
        days = [_days(file, table.date) for file in files] if table.date else [("", "")] * 2
        shared = [name for name in names[0] if name in names[1] and name != table.date]
        asked = [name for name in table.columns or _by_importance(shared, importance) if name in shared]
        shifts = list(_shifts(asked, files)) if min(first) else []
    except (Refused, pa.ArrowException) as reason:
        return DataDiff(table.file, None, None, note=str(reason))
    moved = sorted(shifts, key=lambda shift: (-shift.stability, shift.column))[:MOST_COLUMNS]
    gone = [f"{name} is only in {side}" for side, mine, other in (("base", *names), ("head", *reversed(names)))
            for name in mine if name not in other]  # fmt: skip
    return DataDiff(table.file, first[0], first[1], *days[0], *days[1], tuple(moved), "; ".join(gone[:5]))


def _shifts(names: list[str], files: list[File]) -> Iterator[ColumnShift]:
    for name in names:
        columns = [_plain(file.column(name)) for file in files]
        if all(_is_comparable(column.type) for column in columns):
            yield _shift(name, columns)


def _by_importance(names: list[str], importance: Sequence[Importance]) -> list[str]:
    """Return the columns that the model needs most; all of them where nothing says which."""
    known = [one.column for one in importance if one.column in names]
    return known[:MOST_COLUMNS] if known else names


def _days(file: File, name: str) -> tuple[str, str]:
    """Return the first and the last day of a column of dates, times, or text that begins with the day."""
    import pyarrow as pa
    from pyarrow import compute

    column = _plain(file.column(name))
    if len(column) == column.null_count:
        return "", ""
    ends = compute.min_max(column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column)
    return str(ends["min"].as_py())[:10], str(ends["max"].as_py())[:10]


def _shift(name: str, sides: list[Any]) -> ColumnShift:
    """Return how far one column moved."""
    import pyarrow as pa

    numeric = all(_is_number(column.type) for column in sides)
    if numeric:
        values = [_as_figures(column) for column in sides]
        counts, distinct = _counted(*values)
        medians = [_median(one) for one in values]
        if not distinct:
            if any(pa.types.is_timestamp(column.type) for column in sides):
                medians = [_clock(one) for one in values]
            return ColumnShift(name, _stability(*counts), f"median {medians[0]}", f"median {medians[1]}")
    tallies = [_tally(column) for column in sides]
    shares = [{word: number / len(column) for word, number in tally.items()}
              for tally, column in zip(tallies, sides, strict=True)]  # fmt: skip
    named = sorted({*shares[0], *shares[1]}, key=lambda word: (-max(side.get(word, 0.0) for side in shares), word))
    kept = named[:MOST_VALUES]
    whole = [[float(tally.get(word, 0)) for word in kept] for tally in tallies]
    rest = [len(column) - sum(told) for column, told in zip(sides, whole, strict=True)]
    if max(rest) > 0:
        whole = [[*told, left] for told, left in zip(whole, rest, strict=True)]
    most = max(kept, key=lambda word: (abs(shares[1].get(word, 0.0) - shares[0].get(word, 0.0)), word))
    told = [f"{most}: {fixed(100 * side.get(most, 0.0), 1)} %" for side in shares]
    return ColumnShift(name, _stability(*whole), *told)


def _stability(base: Sequence[float], head: Sequence[float]) -> float:
    """Return the population stability index (Siddiqi 2006, Credit Risk Scorecards, chapter 11). Half a row is added to
    each bin, so that an empty one stays finite."""
    rows = [sum(side) + 0.5 * len(side) for side in (base, head)]
    shares = [((a + 0.5) / rows[0], (b + 0.5) / rows[1]) for a, b in zip(base, head, strict=True)]
    return reported(sum((after - before) * math.log(after / before) for before, after in shares))


def _counted(base: "NDArray[Any]", head: "NDArray[Any]") -> tuple[tuple[list[float], list[float]], bool]:
    """Count the values of both sides in base's deciles, what is missing in a bin of its own; say whether the column has
    so few values that they are better told one by one."""
    import numpy as np

    there = [side[~np.isnan(side)] for side in (base, head)]
    if not len(there[0]) or len(np.unique(np.concatenate(there))) <= FEW:
        return ([], []), True
    edges = np.unique(np.quantile(there[0], np.arange(1, BINS) / BINS))
    counts = [np.bincount(np.searchsorted(edges, side, side="right"), minlength=len(edges) + 1) for side in there]
    whole = [
        [float(n) for n in (*tally, len(side) - tally.sum())] for tally, side in zip(counts, (base, head), strict=True)
    ]
    return (whole[0], whole[1]), False


def _tally(column: Any) -> dict[str, int]:
    from pyarrow import compute

    found: dict[str, int] = {}
    for one in compute.value_counts(column).to_pylist():
        word = "(missing)" if one["values"] is None else str(one["values"])
        found[word] = found.get(word, 0) + one["counts"]
    return found


def _is_comparable(kind: Any) -> bool:
    import pyarrow as pa

    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind)
    return bool(text or _is_number(kind))


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_timestamp(kind))


def _as_figures(column: Any) -> "NDArray[Any]":
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_timestamp(column.type):  # the day is told by the table; a model takes the hour of it
        hours, minutes = (part(column).cast(pa.float64()) for part in (compute.hour, compute.minute))
        column = compute.add(hours, compute.divide(minutes, 60.0))
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _median(values: "NDArray[Any]") -> str:
    import numpy as np

    there = values[~np.isnan(values)]
    return f"{float(np.median(there)):.4g}" if len(there) else "(missing)"


def _clock(hours: "NDArray[Any]") -> str:
    import numpy as np

    there = hours[~np.isnan(hours)]
    minutes = round(60 * float(np.median(there))) if len(there) else 0
    return f"{minutes // 60:02}:{minutes % 60:02}" if len(there) else "(missing)"


def _plain(column: Any) -> Any:
    import pyarrow as pa

    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
