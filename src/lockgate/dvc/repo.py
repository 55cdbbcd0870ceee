"""DVC's ``Repo`` of a project, opened in one way: ready to be used while other processes open the same project."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 20.0
"""Seconds that the index is waited for."""


@contextmanager
def open_repo(root: Path | None = None) -> Iterator[Any]:
    """Give the project in the folder ``root``, by default the one that this process is in.

    All processes of a project share the SQLite database that is DVC's index. Who opens it first turns on its
    write-ahead log, and for that SQLite does not wait (``PRAGMA journal_mode``, https://sqlite.org/wal.html, "Sometimes
    Queries Return SQLITE_BUSY In WAL Mode"): of two processes that begin at one moment, one would fail. So it is opened
    here, and tried again.
    """
    from dvc.repo import Repo

    with Repo(None if root is None else str(root)) as repo:
        make_ready(repo)
        yield repo


def make_ready(repo: Any) -> None:
    """Open the index of a ``Repo``. Raises ``sqlite3.OperationalError`` if that cannot be done in :data:`PATIENCE`."""
    import sqlite3

    from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random

    def opened() -> None:
        try:
            repo.data_index.commit()
        except sqlite3.OperationalError:
            repo.data_index.close()  # or the connection, half ready, would be taken for a good one
            raise

    locked = retry_if_exception_type(sqlite3.OperationalError)
    Retrying(retry=locked, wait=wait_random(0.02, 0.2), stop=stop_after_delay(PATIENCE), reraise=True)(opened)
