"""The suites of ``expectations/``: what raw and prepared tables must look like, read strictly and said in words.

A suite is a YAML file named after its table (docs/data.md has the rules and what each severity means):

    key: [origin, time_hour]        # the columns that name a row in a message
    first_month: 2013-01            # monthly tables: the months expected are these to ingest.through
    table:                          # what holds of the table as a whole
      - {unique: [origin, time_hour], severity: critical}
    columns:                        # what holds of each column, where it has a value
      humid:
        - {between: [0, 100], severity: warning}

An expectation has one rule, a severity and, where the rule knows them, ``share`` (the least share of rows that must
hold, 1 if not given), ``except`` (values let through) and ``on`` (the columns that tie two tables).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from flight_delay.errors import StageError, nearest
from flight_delay.params import read_yaml
from flight_delay.request import ROW_TYPES
from flight_delay.tables import MONTHLY_TABLES, RAW_TABLES

Severity = Literal["critical", "warning"]
SEVERITIES = ["critical", "warning"]
SHAPE_RULES = ("rows_at_least", "type", "no_other_columns")  # looked at first: the other rules take them for granted
REQUESTS = "requests"  # what `prepare` makes: the rows of both windows
# Parquet has no seconds: what is written as seconds is read back as milliseconds.
TYPES: dict[str, dict[str, str]] = {
    table: {field.name: str(field.type).replace("timestamp[s", "timestamp[ms") for field in schema}
    for table, schema in RAW_TABLES.items()
} | {REQUESTS: ROW_TYPES}
MONTHLY = (*MONTHLY_TABLES, REQUESTS)


@dataclass(frozen=True)
class Expectation:
    """One rule on a table, or on one ``column`` of it (empty: the table as a whole)."""

    table: str
    column: str
    rule: str
    argument: Any
    severity: Severity
    share: float = 1.0
    exceptions: tuple[str, ...] = ()
    on: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The rule in words, for a message or a report that names table and column beside it."""
        text = RULES[self.rule].words(self.argument)
        text += f" by {' and '.join(self.on)}" if self.on else ""
        text += f", or one of {', '.join(self.exceptions)}" if self.exceptions else ""
        return text + (f", in at least {self.share:.4g} of the rows" if self.share < 1 else "")


@dataclass(frozen=True)
class Suite:
    """What one table must look like. ``key`` names a row; ``first_month`` is empty for a table that is looked up."""

    table: str
    key: tuple[str, ...]
    first_month: str
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True)
class Rule:
    """A word of the suites: where it stands, what its argument may be, how it reads, which modifiers it knows.

    ``fits`` says of an argument for a given table whether it makes sense; ``wanted`` says in words what would.
    """

    place: Literal["table", "columns"]
    wanted: str
    fits: Callable[[Any, str], bool]
    words: Callable[[Any], str]
    modifiers: tuple[str, ...] = ()
    of: str = ""  # the only kind of column it is for, if so
    choices: Callable[[str], list[str]] = lambda _table: []  # the words an argument is chosen from, for a table


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_range(value: Any, _table: str) -> bool:
    if not isinstance(value, list) or len(value) != 2 or value == [None, None]:
        return False
    low, high = value
    return all(end is None or _is_number(end) for end in value) and (low is None or high is None or low <= high)


def _is_share(value: Any, _table: str = "") -> bool:
    return _is_number(value) and 0 < value <= 1


def _is_regex(value: Any, _table: str) -> bool:
    try:
        re.compile(value)
    except (re.error, TypeError):
        return False
    return True


def _are_columns(value: Any, table: str) -> bool:
    return isinstance(value, list) and bool(value) and all(column in TYPES[table] for column in value)


def _is_column_of_a_table(value: Any, _table: str) -> bool:
    table, _, column = value.partition(".") if isinstance(value, str) else ("", "", "")
    return table in TYPES and column in TYPES[table]


def _is_true(value: Any, _table: str) -> bool:
    return value is True


def _types() -> list[str]:
    return sorted({kind for kinds in TYPES.values() for kind in kinds.values()})


def _from_to(ends: Any) -> str:
    low, high = ends
    if high is None:
        return f"at least {low:,}"
    return f"at most {high:,}" if low is None else f"between {low:,} and {high:,}"


RULES: dict[str, Rule] = {
    "rows_at_least": Rule(
        "table",
        "a number of rows",
        lambda value, _: type(value) is int and value > 0,
        lambda n: f"has at least {n:,} row{'s' * (n > 1)}",
    ),
    "no_other_columns": Rule("table", "true", _is_true, lambda _: "has no column that the suite does not name"),
    "unique": Rule(
        "table",
        "a list of its columns",
        _are_columns,
        lambda columns: f"has each {', '.join(columns)} only once",
        choices=lambda table: list(TYPES[table]),
    ),
    "rows_each_month": Rule(
        "table", "[least, most] rows", _is_range, lambda ends: f"has {_from_to(ends)} rows in each month"
    ),
    "no_other_months": Rule(
        "table", "true", _is_true, lambda _: "has no row before first_month or after ingest.through"
    ),
    "found_in": Rule(
        "table",
        "a table",
        lambda value, _: isinstance(value, str) and value in TYPES,
        lambda table: f"each row has its match in {table}",
        ("on", "share"),
        choices=lambda _: list(TYPES),
    ),
    "type": Rule(
        "columns",
        "a type",
        lambda value, _: value in _types(),
        lambda kind: f"is of type {kind}",
        choices=lambda _: _types(),
    ),
    "present": Rule("columns", "true", _is_true, lambda _: "is not missing", ("share",)),
    "present_each_month": Rule(
        "columns",
        "a share above 0, up to 1",
        _is_share,
        lambda share: f"is present in at least {share:.4g} of each month's rows",
    ),
    "between": Rule(
        "columns",
        "[least, most], null where there is no end",
        _is_range,
        lambda ends: f"is {_from_to(ends)}",
        ("share",),
        of="number",
    ),
    "in": Rule(
        "columns",
        "a list of values",
        lambda value, _: isinstance(value, list) and bool(value) and all(isinstance(v, str | int) for v in value),
        lambda values: f"is one of {', '.join(map(str, values))}",
        ("share",),
    ),
    "in_column": Rule(
        "columns",
        "a column of a table, like airlines.carrier",
        _is_column_of_a_table,
        lambda other: f"is in {other}",
        ("share", "except"),
        choices=lambda _: [f"{table}.{column}" for table, types in TYPES.items() for column in types],
    ),
    "at_most_column": Rule(
        "columns",
        "another of its columns",
        lambda value, table: isinstance(value, str) and value in TYPES[table],
        lambda other: f"is at most {other}",
        choices=lambda table: list(TYPES[table]),
    ),
    "matches": Rule(
        "columns", "a regular expression", _is_regex, lambda regex: f"matches {regex}", ("share",), of="string"
    ),
    "clock": Rule("columns", "true", _is_true, lambda _: "is a clock time hhmm with minutes 00 to 59", of="number"),
    "hour_in": Rule(
        "columns",
        "a time zone, like America/New_York",
        lambda value, _: isinstance(value, str) and "/" in value,
        lambda zone: f"is the hour that year, month, day and hour name in {zone}",
        of="timestamp",
    ),
}
MODIFIERS = ("share", "except", "on")


def read_suites(folder: Path) -> dict[str, Suite]:
    """Read the suite of every table, in their order: the raw ones, and :data:`REQUESTS`.

    Raises :class:`StageError` with one line that names file, line, what is wrong and the nearest valid word.
    """
    for path in sorted(folder.glob("*.yaml")):
        if path.stem not in TYPES:
            raise StageError(f"{path}: there is no table '{path.stem}'; {nearest(path.stem, list(TYPES))}")
    return {table: read_suite(folder / f"{table}.yaml", table) for table in TYPES}


def read_suite(path: Path, table: str) -> Suite:
    """Read the suite of one table. Raises :class:`StageError` (see :func:`read_suites`)."""
    return _Reader(path, table).suite()


class _Reader:
    """Reads one file; every complaint is raised by :meth:`refuse`, which adds file and line."""

    def __init__(self, path: Path, table: str) -> None:
        self.path, self.table, self.columns = path, table, list(TYPES[table])

    def suite(self) -> Suite:
        content = self.content()
        expectations = [self.expectation("", entry) for entry in self.entries(content["table"], "table")]
        for column, entries in content["columns"].items():
            expectations += [self.expectation(column, entry) for entry in self.entries(entries, column)]
        for column in self.columns:
            if not any(e.column == column and e.rule == "type" for e in expectations):
                self.refuse(f"columns: '{column}' is missing or has no type", column, "columns")
        for n, expectation in enumerate(expectations):
            if expectation in expectations[:n]:
                where = expectation.column or "table"
                self.refuse(f"{where}: the rule '{expectation.words}' stands twice", where)
        return Suite(self.table, tuple(content["key"]), str(content.get("first_month", "")), tuple(expectations))

    def content(self) -> dict[str, Any]:
        content = read_yaml(self.path)
        if not isinstance(content, dict):
            self.refuse("expected key, table and columns")
        known = ["key", *(["first_month"] if self.table in MONTHLY else []), "table", "columns"]
        self.known(content, known, "key")
        for name in known:
            if name not in content:
                self.refuse(f"'{name}' is missing")
        if not _are_columns(content["key"], self.table):
            self.refuse(f"key: expected a list of columns of {self.table}, found {content['key']!r}", "key")
        first_month = content.get("first_month", "2013-01")
        if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", str(first_month)):
            self.refuse(f"first_month: expected a month, like 2013-01, found {first_month!r}", "first_month")
        if not isinstance(content["columns"], dict):
            self.refuse("columns: expected a list of expectations under each column", "columns")
        self.known(content["columns"], self.columns, "column")
        return content

    def entries(self, entries: Any, where: str) -> list[dict[str, Any]]:
        if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
            self.refuse(f"{where}: expected a list like - {{between: [0, 100], severity: warning}}", where)
        checked: list[dict[str, Any]] = entries
        return checked

    def expectation(self, column: str, entry: dict[str, Any]) -> Expectation:
        where = column or "table"
        place = "columns" if column else "table"
        rules = [name for name, rule in RULES.items() if rule.place == place]
        self.known(entry, [*rules, "severity", *MODIFIERS], "rule")
        used = [name for name in entry if name in RULES]
        if len(used) != 1:
            self.refuse(f"{where}: an expectation has one rule, found {' and '.join(used) or 'none'}", where)
        name, rule = used[0], RULES[used[0]]
        argument = entry[name]
        if not rule.fits(argument, self.table):
            choices = rule.choices(self.table)
            wrong = [word for word in _words(argument) if word not in choices]
            hint = f"; {nearest(wrong[0], choices)}" if wrong and choices else ""
            self.refuse(f"{where}: {name}: expected {rule.wanted}, found {argument!r}{hint}", *wrong, name)
        severity = entry.get("severity")
        if severity is None:
            self.refuse(f"{where}: {name} lacks its severity, critical or warning", where)
        if severity not in SEVERITIES:
            self.refuse(f"{where}: unknown severity '{severity}'; {nearest(str(severity), SEVERITIES)}", str(severity))
        if severity == "warning" and name in ("type", "rows_at_least"):
            self.refuse(f"{where}: {name} is always critical: the other rules take it for granted", where)
        if "month" in name and self.table not in MONTHLY:
            self.refuse(f"{where}: {name} is for tables that grow by a month: {', '.join(MONTHLY)}", name)
        if rule.of and rule.of != _kind(TYPES[self.table][column]):
            self.refuse(f"{where}: {name} is for a {rule.of} column, not for {TYPES[self.table][column]}", where)
        for modifier in MODIFIERS:
            if modifier in entry and modifier not in rule.modifiers:
                self.refuse(f"{where}: {name} knows no '{modifier}'", modifier)
        return Expectation(
            self.table,
            column,
            name,
            tuple(argument) if isinstance(argument, list) else argument,
            severity,
            **self.modifiers(where, name, entry),
        )

    def modifiers(self, where: str, name: str, entry: dict[str, Any]) -> dict[str, Any]:
        share, exceptions, on = entry.get("share", 1.0), entry.get("except", []), entry.get("on", [])
        if not _is_share(share):
            self.refuse(f"{where}: share: expected a number above 0, up to 1, found {share!r}", "share")
        if not isinstance(exceptions, list) or not all(isinstance(value, str) for value in exceptions):
            self.refuse(f"{where}: except: expected a list of values, found {exceptions!r}", "except")
        other = entry.get("found_in")
        if name == "found_in" and not (_are_columns(on, self.table) and _are_columns(on, str(other))):
            self.refuse(f"{where}: on: expected a list of columns of both {self.table} and {other}, found {on!r}", "on")
        return {"share": float(share), "exceptions": tuple(exceptions), "on": tuple(on)}

    def known(self, content: dict[str, Any], known: list[str], what: str) -> None:
        for word in content:
            if word not in known:
                self.refuse(f"unknown {what} '{word}'; {nearest(str(word), known)}", str(word))

    def refuse(self, complaint: str, *words: str) -> NoReturn:
        """Raise :class:`StageError`; its line is the first with one of ``words``, as a key or else anywhere."""
        lines = [line.split("#")[0] for line in self.path.read_text(encoding="utf-8").splitlines()]
        patterns = [rf"(?<![\w.]){re.escape(word)}{end}" for word in words for end in (r"\s*:", r"(?![\w.])")]
        line = next((n for pattern in patterns for n, text in enumerate(lines, 1) if re.search(pattern, text)), None)
        place = f"{self.path}, line {line}" if line else f"{self.path}"
        raise StageError(f"{place}: {complaint}{'' if complaint.endswith('?') else '.'}")


def _kind(kind: str) -> str:
    return "string" if kind.endswith("string") else "timestamp" if kind.startswith("timestamp") else "number"


def _words(argument: Any) -> list[str]:
    values = argument if isinstance(argument, list) else [argument]
    return [value for value in values if isinstance(value, str)]
