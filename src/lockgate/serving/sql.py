"""The one thing about SQL that its dialects do not agree on: an insert that leaves alone what is there."""

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
