"""Numbers out of files that a pipeline wrote: metrics by their key, curves by their columns.

The files may hold anything. What cannot be read is :class:`Unreadable`, whose text is the reason in words; the caller
decides what that means. Nothing here raises anything else.
"""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from lockgate.errors import LockgateError
from lockgate.evaluation.statistics import reported
from lockgate.policy import Plot
from lockgate.result import Curve

POINTS = 101  # of a curve in a result: enough to draw, few enough to read
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
    notes: list[str] = []
    for side, data in (("base", base), ("head", head)):
        try:
            sides.append(points(plot, data))
        except Unreadable as reason:
            sides.append(())
            if side == "head" or has_base:
                notes.append(f"{side}: {reason}")
    return Curve(plot.title, plot.x, plot.y, sides[0], sides[1], "; ".join(notes))


def points(plot: Plot, data: bytes | None) -> tuple[tuple[float, float], ...]:
    """Return the points of one side, in the file's order, evenly thinned to :data:`POINTS`.

    Reads what DVC plots: JSON, YAML or TOML with a list of records (at the top or under any one key), CSV and TSV.
    Raises :class:`Unreadable`.
    """
    if data is None:
        raise Absent(f"there is no {plot.file}")
    suffix = PurePosixPath(plot.file).suffix.lower()
    if suffix in _PICTURES:
        raise Unreadable(f"{plot.file} is a picture, it has no points to draw")
    records = _table(data, plot.file, suffix) if suffix in (".csv", ".tsv") else _records(document(data, plot.file))
    found = [(record[plot.x], record[plot.y]) for record in records if plot.x in record and plot.y in record]
    if not found:
        raise Absent(f"{plot.file} has no records with '{plot.x}' and '{plot.y}'")
    try:
        pairs = [(float(x), float(y)) for x, y in found]
    except (TypeError, ValueError, OverflowError) as error:
        raise Unreadable(f"'{plot.x}' or '{plot.y}' in {plot.file} is not a number everywhere") from error
    drawn = [(reported(x), reported(y)) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]
    if not drawn:
        raise Unreadable(f"no point of {plot.file} is finite")
    last = len(drawn) - 1
    if last < POINTS:
        return tuple(drawn)
    return tuple(drawn[round(index * last / (POINTS - 1))] for index in range(POINTS))


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
