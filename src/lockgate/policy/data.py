"""``data``: tables of the pipeline that are compared between base and head."""

from dataclasses import dataclass

from lockgate import policy_values as values
from lockgate.policy_values import Key


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the pipeline to compare between base and head: its column of dates, and the ``columns`` to compare
    (none named: all of them)."""

    file: str
    date: str | None = None
    columns: tuple[str, ...] = ()


KEYS = {
    "file": Key(values.path, help="a table of the pipeline"),
    "date": Key(values.text, False, "its column of dates"),
    "columns": Key(values.list_of(values.text), False, "the columns to compare (default: all of them)"),
}

SECTION = Key(values.list_of(values.noun(Table, KEYS)), False, "tables to compare between base and head")
