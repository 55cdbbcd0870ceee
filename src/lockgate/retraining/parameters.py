"""Parameters that move on: ``2013-12`` becomes ``2014-01``, and nothing else of the file changes by a byte."""

import calendar
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import PurePosixPath
from typing import Any

from lockgate import strict_yaml
from lockgate.dvc.copy import set_parameter
from lockgate.dvc.pipeline import MISSING, param, read_params
from lockgate.errors import NotAskedError, nearest
from lockgate.git import Overlay, Snapshot
from lockgate.policy import FILE
from lockgate.temporary import temporary_folder

PARAMS = "params.yaml"
"""Where a key stands that names no file, as DVC has it."""
_MONTH = re.compile(r"\d{4}-\d{2}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class ParameterError(NotAskedError):
    """A parameter that cannot move on."""


@dataclass(frozen=True, slots=True)
class Moved:
    """One parameter before and after, as text that a reader knows from the file."""

    file: str
    key: str
    before: str
    after: str


def moved(snapshot: Snapshot, moves: Mapping[str, str]) -> tuple[dict[str, bytes], tuple[Moved, ...]]:
    """Return the parameter files with each parameter moved on by its rule, and what moved.

    A rule is one of :data:`lockgate.policy.RULES`; any other text is taken as the new value itself, read as YAML.
    Raises :class:`ParameterError` naming the parameter that does not exist, or that the rule does not fit.
    """
    files: dict[str, bytes] = {}
    told: list[Moved] = []
    for named, rule in moves.items():
        file, _, key = named.rpartition(":")
        file = file or PARAMS
        current = Overlay(snapshot, {**files})
        before = _value(current, file, key)
        after = following(before, rule, f"'{key}' of {file}")
        files[file] = replaced(current.read(file) or b"", file, key, after)
        if _value(Overlay(snapshot, {**files}), file, key) != after:
            raise ParameterError(
                f"'{key}' of {file} cannot be replaced where it stands",
                "Write it as a plain value of its own, without an anchor or alias.",
            )
        told.append(Moved(file, key, str(before), str(after)))
    return files, tuple(told)


def _value(snapshot: Snapshot, file: str, key: str) -> Any:
    params = read_params(snapshot, file)
    if params is None:
        raise ParameterError(f"there is no {file} in {snapshot.label}", f"Correct `retrain: {{set: …}}` in {FILE}.")
    value = param(params, key)
    if value is MISSING:
        hint = nearest(key, list(_keys("", params)))
        raise ParameterError(
            f"{file} has no parameter '{key}'", f"{hint} Correct `retrain: {{set: …}}` in {FILE}.".lstrip()
        )
    return value


def _keys(prefix: str, params: Mapping[str, Any]) -> list[str]:
    found = []
    for name, value in params.items():
        found.append(f"{prefix}{name}")
        if isinstance(value, Mapping):
            found += _keys(f"{prefix}{name}.", value)
    return found


# --- rules


def following(value: Any, rule: str, what: str) -> Any:
    """Return the value that follows ``value`` by ``rule``, of the same kind. Raises :class:`ParameterError`.

    ``next month`` takes ``2013-12`` and days; the last day of a month is followed by the last day of the next.
    """
    if rule == "next number" and isinstance(value, int) and not isinstance(value, bool):
        return value + 1
    step = _STEPS.get(rule)
    if rule == "next number" or (step is not None and _as_date(value) is None):
        wanted = "a whole number" if rule == "next number" else "a month (2013-12) or a day (2013-12-31)"
        raise ParameterError(f"{what} is {value!r}, and '{rule}' follows {wanted} alone")
    if step is None:
        return strict_yaml.load(rule, "the new value")
    day = _as_date(value)
    assert day is not None  # noqa: S101 - said above
    try:
        after = step(day)
    except (ValueError, OverflowError):
        raise ParameterError(f"{what} is {value}, and no day of the calendar follows it") from None
    if isinstance(value, date):
        return after
    if _MONTH.fullmatch(value):
        if rule not in ("next month", "next year"):
            raise ParameterError(f"{what} is the month {value}, and '{rule}' needs a day, such as {value}-01")
        return f"{after:%Y-%m}"
    return after.isoformat()


def _as_date(value: Any) -> date | None:
    if type(value) is date:
        return value
    if isinstance(value, str):
        text = f"{value}-01" if _MONTH.fullmatch(value) else value if _DAY.fullmatch(value) else ""
        try:
            return date.fromisoformat(text)
        except ValueError:
            return None
    return None


def _months(number: int) -> Callable[[date], date]:
    def step(day: date) -> date:
        years, month = divmod(day.month - 1 + number, 12)
        year, month = day.year + years, month + 1
        last = calendar.monthrange(year, month)[1]
        is_last = day.day == calendar.monthrange(day.year, day.month)[1]
        return date(year, month, last if is_last else min(day.day, last))

    return step


_STEPS: dict[str, Callable[[date], date]] = {
    "next day": lambda day: day + timedelta(days=1),
    "next week": lambda day: day + timedelta(days=7),
    "next month": _months(1),
    "next year": _months(12),
}


# --- files


def replaced(content: bytes, file: str, key: str, value: Any) -> bytes:
    """Return the parameter file with ``value`` at the dotted ``key``; every other byte stays.

    YAML and JSON are spliced at the place of the value. TOML is written by DVC's own writer, which keeps comments.
    Raises :class:`ParameterError` for a file of another kind.
    """
    suffix = PurePosixPath(file).suffix.lower()
    if suffix in (".yaml", ".yml", ".json"):
        return _spliced(content, file, key, value)
    if suffix == ".toml":
        with temporary_folder("parameters") as folder:
            copy = folder / "params.toml"
            copy.write_bytes(content)
            set_parameter(copy, key, value)
            return copy.read_bytes()
    raise ParameterError(
        f"{file} is neither YAML, JSON nor TOML, so a parameter in it cannot be moved on",
        "Keep the parameter in params.yaml, and let the code read it from there.",
    )


def _spliced(content: bytes, file: str, key: str, value: Any) -> bytes:
    text = content.decode()
    found = strict_yaml.span(text, key.split("."), file)
    if found is None:
        raise ParameterError(f"'{key}' of {file} cannot be replaced where it stands")
    start, end = found
    there = text[start:end]
    return f"{text[:start]}{_scalar(value, there)}{text[end:]}".encode()


def _scalar(value: Any, before: str) -> str:
    """Return a value as it is written in YAML, in the quotes that the one before had."""
    if isinstance(value, str):
        if before.startswith('"'):
            return json.dumps(value, ensure_ascii=False)
        if before.startswith("'"):
            return "'" + value.replace("'", "''") + "'"
        plain = strict_yaml.load(value, "the new value") == value
        return value if plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value)
