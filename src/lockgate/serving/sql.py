"""What the dialects of SQL do not agree on: an insert that leaves alone what is there, and a column that is added."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lockgate.errors import LockgateError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table


def insert_new(connection: "Connection", table: "Table", rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose primary key is not in the table yet.

    Raises :class:`LockgateError` for another database than SQLite or PostgreSQL.
    """
    from sqlalchemy.dialects import postgresql, sqlite

    insert: Any = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}.get(connection.dialect.name)
    if insert is None:
        raise LockgateError(f"{connection.dialect.name} is not supported", "Use SQLite or PostgreSQL.")
    if rows:
        connection.execute(insert(table).on_conflict_do_nothing(), rows)


def add_column(connection: "Connection", table: str, name: str, kind: Any) -> None:
    """Add a column, empty in every row, unless somebody else has just added it."""
    from sqlalchemy import inspect, text
    from sqlalchemy.exc import DBAPIError

    quote = connection.dialect.identifier_preparer.quote
    spelled = kind.compile(dialect=connection.dialect)
    try:
        with connection.begin_nested():
            connection.execute(text(f"ALTER TABLE {quote(table)} ADD COLUMN {quote(name)} {spelled}"))
    except DBAPIError:
        if name not in {column["name"] for column in inspect(connection).get_columns(table)}:
            raise
