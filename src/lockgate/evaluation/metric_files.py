"""Numbers out of files that a pipeline wrote: metrics by their key, curves by their columns.

The files may hold anything. What cannot be read is :class:`Unreadable`, whose text is the reason in words; the caller
decides what that means. Nothing here raises anything else.
"""

import csv
import json
import math
from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from lockgate.errors import LockgateError
from lockgate.evaluation.statistics import reported
from lockgate.policy import ImportanceFile, Plot
from lockgate.result import Curve, Importance

POINTS = 101  # of a curve in a result: enough to draw, few enough to read
MOST_COLUMNS = 50  # whose importance is told
LARGEST = 20_000_000  # bytes of a metrics or plots file that are still read
FORMATS = "JSON, YAML and TOML files are read"
_TABLES = {".csv", ".tsv", ".parquet", ".feather", ".arrow", ".orc", ".xls", ".xlsx", ".jsonl", ".ndjson"}
_PICTURES = {".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".pdf"}


class Unreadable(Exception):  # noqa: N818  an answer, not an error of the program
    """The file holds no such number or curve. ``str()`` is the reason in words."""


class Absent(Unreadable):
    """The file is whole, but what was asked for is not in it; or there is no such file."""


def document(data: bytes, file: str) -> Any:
    """Return what a JSON, YAML or TOML file says (by its ending; JSON for any other).

    Raises :class:`Unreadable` if it is a table, corrupt, not UTF-8, has a duplicate key, or is nested too deeply or too
    large.
    """
    if len(data) > LARGEST:
        raise Unreadable(f"{file} has {len(data):,} bytes: more than the {LARGEST:,} that are read")
    suffix = PurePosixPath(file).suffix.lower()
    if suffix in _TABLES:
        raise Unreadable(f"{file} is a table, not a file of named values: {FORMATS}")
    try:
        text = data.decode("utf-8-sig")
        if suffix in (".yaml", ".yml"):
            from lockgate.strict_yaml import load

            return load(text, file)
        if suffix == ".toml":
            import tomllib

            return tomllib.loads(text)
        return json.loads(text, object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise Unreadable(f"{file} cannot be read: byte {error.start} is not UTF-8; {FORMATS}") from error
    except RecursionError as error:
        raise Unreadable(f"{file} cannot be read: it is nested too deeply") from error
    except LockgateError as error:
        raise Unreadable(f"{file} cannot be read: {str(error).removeprefix(file + ': ')}") from error
    except ValueError as error:
        raise Unreadable(f"{file} cannot be read: {error}") from error


def number(document: Any, key: str, file: str) -> float:
    """Return the finite number at the dotted ``key``. Names that hold dots themselves are found too.

    Raises :class:`Absent` if nothing is there, :class:`Unreadable` if it is no finite number.
    """
    found = list(_at(document, key))
    if not found:
        raise Absent(f"{file} has no '{key}'")
    value = found[0]
    if isinstance(value, bool) or not isinstance(value, int | float):
        kind = {dict: "a section", list: "a list", str: "text", bool: "true or false", type(None): "empty"}
        raise Unreadable(f"'{key}' in {file} is {kind.get(type(value), 'something else')}, not a number")
    try:
        figure = float(value)
    except OverflowError:
        figure = math.inf
    if not math.isfinite(figure):
        raise Unreadable(f"'{key}' in {file} is {'NaN' if math.isnan(figure) else 'infinite'}")
    return figure


def curve(plot: Plot, base: bytes | None, head: bytes | None, *, has_base: bool) -> Curve:
    """Return the plot's points of both sides; a side that cannot be drawn is empty and the note says why."""
    sides: list[tuple[tuple[float, float], ...]] = []
    rows: list[tuple[float, ...]] = []
    notes: list[str] = []
    for side, data in (("base", base), ("head", head)):
        try:
            found, counts = points(plot, data)
            sides.append(found)
            rows.append(counts)
        except Unreadable as reason:
            sides.append(())
            rows.append(())
            if side == "head" or has_base:
                notes.append(f"{side}: {reason}")
    return Curve(plot.title, plot.x, plot.y, sides[0], sides[1], "; ".join(notes), plot.diagonal, rows[0], rows[1])


def importance(what: ImportanceFile, base: bytes | None, head: bytes | None) -> tuple[Importance, ...]:
    """Return what the models of both sides lose without each column, the largest loss of head first. A side whose file
    has no such figures has none."""
    sides = [_losses(what, data) for data in (base, head)]
    names = sorted({*sides[0], *sides[1]}, key=lambda name: (-_largest(name, sides), name))
    nothing: _Loss = (None, None)
    told = []
    for name in names[:MOST_COLUMNS]:
        (base_loss, base_error), (head_loss, head_error) = (side.get(name, nothing) for side in sides)
        told.append(Importance(name, what.value, base_loss, head_loss, base_error, head_error))
    return tuple(told)


_Loss = tuple[float | None, float | None]


def _largest(name: str, sides: list[dict[str, _Loss]]) -> float:
    """Return head's loss, or base's for a column that head does not have."""
    return next((loss for side in reversed(sides) if (loss := side.get(name, (None, None))[0]) is not None), 0.0)


def _losses(what: ImportanceFile, data: bytes | None) -> dict[str, _Loss]:
    if data is None:
        return {}
    found: dict[str, _Loss] = {}
    with suppress(Unreadable):
        for record in _table_of(data, what.file):
            value = _finite(record.get(what.value))
            if value is not None and isinstance(record.get(what.column), str):
                found[record[what.column]] = (value, _finite(record.get(what.error)) if what.error else None)
    return found


def _finite(value: Any) -> float | None:
    try:
        figure = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return reported(figure) if math.isfinite(figure) and not isinstance(value, bool) else None


def _table_of(data: bytes | None, file: str) -> list[dict[str, Any]]:
    """Return the records of a file of points: JSON, YAML or TOML with a list of records (at the top or under any one
    key), CSV and TSV. Raises :class:`Unreadable`."""
    if data is None:
        raise Absent(f"there is no {file}")
    suffix = PurePosixPath(file).suffix.lower()
    if suffix in _PICTURES:
        raise Unreadable(f"{file} is a picture, it has no points to draw")
    return _table(data, file, suffix) if suffix in (".csv", ".tsv") else _records(document(data, file))


def points(plot: Plot, data: bytes | None) -> tuple[tuple[tuple[float, float], ...], tuple[float, ...]]:
    """Return the points of one side, in the file's order, evenly thinned to :data:`POINTS`, and how many rows stand
    behind each: empty where the file does not say so of all. Raises :class:`Unreadable`."""
    records = [record for record in _table_of(data, plot.file) if plot.x in record and plot.y in record]
    if not records:
        raise Absent(f"{plot.file} has no records with '{plot.x}' and '{plot.y}'")
    try:
        pairs = [(float(record[plot.x]), float(record[plot.y])) for record in records]
    except (TypeError, ValueError, OverflowError) as error:
        raise Unreadable(f"'{plot.x}' or '{plot.y}' in {plot.file} is not a number everywhere") from error
    counts = [_finite(record.get(plot.rows)) if plot.rows else None for record in records]
    drawn = [
        ((reported(x), reported(y)), count)
        for (x, y), count in zip(pairs, counts, strict=True)
        if math.isfinite(x) and math.isfinite(y)
    ]
    if not drawn:
        raise Unreadable(f"no point of {plot.file} is finite")
    last = len(drawn) - 1
    if last >= POINTS:
        drawn = [drawn[round(index * last / (POINTS - 1))] for index in range(POINTS)]
    rows = tuple(count for _, count in drawn if count is not None)
    return tuple(point for point, _ in drawn), rows if len(rows) == len(drawn) else ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    section = dict(pairs)
    if len(section) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"duplicate key '{next(key for key in keys if keys.count(key) > 1)}' in one object")
    return section


def _at(value: Any, key: str) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    if key in value:
        yield value[key]
    parts = key.split(".")
    for taken in range(len(parts) - 1, 0, -1):
        yield from _at(value.get(".".join(parts[:taken])), ".".join(parts[taken:]))


def _records(value: Any) -> list[dict[str, Any]]:
    lists = [value] if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    for candidate in lists:
        if isinstance(candidate, list) and candidate and all(isinstance(record, dict) for record in candidate):
            return candidate
    return []


def _table(data: bytes, file: str, suffix: str) -> list[dict[str, Any]]:
    if len(data) > LARGEST:
        raise Unreadable(f"{file} has {len(data):,} bytes: more than the {LARGEST:,} that are read")
    try:
        lines = data.decode("utf-8-sig").splitlines()
        return list(csv.DictReader(lines, delimiter="\t" if suffix == ".tsv" else ","))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Unreadable(f"{file} cannot be read: {error}") from error
