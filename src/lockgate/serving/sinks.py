"""Where recorded scores go: a folder of Parquet files, here or in a bucket, with a folder a day; or a SQL database.

Both hold the columns that the record always had (:data:`COLUMNS`, the request as JSON) and, beside them, how long the
answer took and the request's columns in their types (:mod:`lockgate.serving.described`).
"""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from lockgate.serving import forgotten
from lockgate.serving.described import Described, key_text
from lockgate.serving.forgotten import Notes
from lockgate.serving.inputs import filesystem

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs
    from sqlalchemy import Connection

TABLE, BUILDS = "lockgate_scores", "lockgate_builds"
COLUMNS = ("id", "row", "time", "release", "build", "probability", "request")
SCHEMA: Final = "lockgate.record/2"  # of a Parquet file; the first ones had none
METADATA: Final = b"lockgate.record"
DAY: Final = "day="  # a folder's name begins so, the date follows
LONGEST_NAME: Final = 63  # bytes of a column's name in PostgreSQL

Row = tuple[str, int, str, str, str, float | str, str, float | None]
"""A score in the order of :data:`COLUMNS` (time and request are text), and the milliseconds that the answer took. In
place of the probability stands, of a model that answers something else, what it answered, as JSON."""


class Sink(Protocol):
    """Where scores are delivered."""

    def deliver(self, name: str, rows: Sequence[Row], known: Mapping[str, Described]) -> None:
        """Store the rows of the journal ``name``, for good and once. May raise anything: it is tried again.

        ``known`` describes builds by their digest; the requests of one that is not there are stored as JSON alone.
        """

    def notes(self) -> Notes:
        """Return the notes of requests that were forgotten here."""

    def write_note(self, mark: str, time: str) -> None:
        """Keep the note that a request was forgotten."""

    def expire(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove what was scored before that time, and return how many rows, or folders and files, that was (with
        ``dry_run``: would be)."""


@dataclass(frozen=True, slots=True)
class ParquetFolder:
    """A folder, or ``s3://bucket/prefix``, that gets a Parquet file for each journal, day and build:
    ``day=2026-11-25/JOURNAL-BUILD.parquet``. Days are those of UTC."""

    url: str

    def deliver(self, name: str, rows: Sequence[Row], known: Mapping[str, Described]) -> None:
        """See :meth:`Sink.deliver`. A file is there whole or not at all."""
        parts: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            parts.setdefault((row[2][:10], row[4]), []).append(row)
        system, path = filesystem(self.url)
        for (day, build), part in parts.items():
            folder = f"{path}/{DAY}{day}"
            system.create_dir(folder, recursive=True)
            write_parquet(system, f"{folder}/{name}-{build[:12]}.parquet", as_table(part, known.get(build)))

    def notes(self) -> Notes:
        """See :meth:`Sink.notes`."""
        from pyarrow import fs

        system, path = filesystem(self.url)
        found = system.get_file_info(fs.FileSelector(f"{path}/{forgotten.FOLDER}", allow_not_found=True))
        told: dict[str, str] = {}
        for one in found:
            if one.is_file and one.base_name.endswith(".json"):
                mark = one.base_name.split(".")[0]
                told[mark] = max(told.get(mark, ""), _read_note(system, one.path))
        return told

    def write_note(self, mark: str, time: str) -> None:
        """Keep the note that a request was forgotten."""
        system, path = filesystem(self.url)
        system.create_dir(f"{path}/{forgotten.FOLDER}", recursive=True)
        stamp = "".join(filter(str.isdigit, time))[:20]
        with system.open_output_stream(f"{path}/{forgotten.FOLDER}/{mark}.{stamp}.json") as file:
            file.write(forgotten.note(mark, time))

    def expire(self, before: datetime, *, dry_run: bool = False) -> int:
        """Remove the folders of days that ended before that time, and flat files of before with nothing later."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq
        from pyarrow import fs

        system, path = filesystem(self.url)
        last = before.date().isoformat()
        found = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
        old = [one for one in found if one.base_name.startswith(DAY) and one.base_name.removeprefix(DAY) < last]
        for one in old if not dry_run else ():
            system.delete_dir(one.path)
        flat = [one for one in found if one.is_file and one.base_name.endswith(".parquet")]
        for one in flat:
            with system.open_input_file(one.path) as file:
                newest = pc.max(pq.read_table(file, columns=["time"]).column("time")).as_py() or ""
            if newest < before.isoformat(timespec="microseconds"):
                old.append(one)
                if not dry_run:
                    system.delete_file(one.path)
        return len(old)


def _read_note(system: "fs.FileSystem", path: str) -> str:
    with suppress(OSError, ValueError, KeyError), system.open_input_stream(path) as file:
        return str(json.loads(file.read())["time"])
    return datetime.now(UTC).isoformat()


def as_table(rows: Sequence[Row], described: Described | None) -> "pa.Table":
    """Return rows of one build as a table of the record, with the description of the build in its metadata."""
    import pyarrow as pa

    ids, numbers, times, releases, builds, probabilities, requests, latencies = zip(*rows, strict=True)
    others = [one if isinstance(one, str) else None for one in probabilities]
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "row": pa.array(numbers, pa.int32()),
            "time": pa.array([datetime.fromisoformat(one) for one in times], pa.timestamp("us", "UTC")),
            "release": pa.array(releases, pa.string()),
            "build": pa.array(builds, pa.string()),
            "probability": pa.array([None if isinstance(one, str) else one for one in probabilities], pa.float64()),
            "latency_ms": pa.array(latencies, pa.float64()),
            "request": pa.array(requests, pa.string()),
        }
    )
    if any(others):
        table = table.append_column("answer", pa.array(others, pa.string()))
    told: dict[str, Any] = {"schema": SCHEMA, "build": builds[0]}
    if described is not None:
        typed = described.typed(requests)
        for name in typed.column_names:
            table = table.append_column(name, typed.column(name))
        told |= described.to_json()
    return table.replace_schema_metadata({METADATA: json.dumps(told)})


def write_parquet(system: "fs.FileSystem", target: str, table: "pa.Table", **options: Any) -> None:
    """Write a file, whole or not at all, in place of what may be there; on a disk it has arrived when this returns."""
    import pyarrow.parquet as pq
    from pyarrow import fs

    if not isinstance(system, fs.LocalFileSystem):  # an object of a bucket appears whole by itself
        with system.open_output_stream(target) as file:
            pq.write_table(table, file, compression="zstd", **options)
        return
    folder, _, name = target.rpartition("/")
    part = f"{folder}/.{name}.{threading.get_ident()}.part"
    pq.write_table(table, part, compression="zstd", **options)
    with open(part, "rb") as written:  # noqa: PTH123 - the library's paths are text
        os.fsync(written.fileno())
    os.replace(part, target)  # noqa: PTH105


# --- SQL


@dataclass(eq=False)
class SqlTable:
    """A table ``lockgate_scores`` of a SQLite or PostgreSQL database, made if it is not there.

    A table of before gets the columns that it lacks; no row is touched. ``lockgate_builds`` beside it describes each
    build. Where a column has another type than a later release's request wants, or a name that the database cannot
    hold, the value is in the JSON of ``request`` alone.
    """

    url: str
    _ready: set[str] = field(default_factory=set)  # builds whose columns are there

    def __post_init__(self) -> None:
        """Take SQLAlchemy's URL of a database. Nothing is connected yet."""
        from sqlalchemy import create_engine

        self.engine = create_engine(self.url, pool_pre_ping=True)
        self.table: Any = None

    def deliver(self, name: str, rows: Sequence[Row], known: Mapping[str, Described]) -> None:  # noqa: ARG002
        """See :meth:`Sink.deliver`. Rows that are there are left as they are; all others come in one transaction."""
        from lockgate.serving.sql import insert_new

        parts: dict[str, list[Row]] = {}
        for row in rows:
            parts.setdefault(row[4], []).append(row)
        try:
            for build in parts:
                if build not in self._ready:
                    self._prepare(build, known.get(build), other=isinstance(parts[build][0][5], str))
            with self.engine.begin() as connection:
                for build, part in parts.items():
                    insert_new(connection, self.table, self._values(part, known.get(build)))
        except Exception:
            self._ready.clear()  # somebody may have taken the table away
            raise

    def _values(self, rows: Sequence[Row], described: Described | None) -> list[dict[str, Any]]:
        names = (*COLUMNS, "latency_ms")
        found: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in rows]
        for row in found:
            if isinstance(row["probability"], str):
                row |= {"answer": row["probability"], "probability": None}
        if described is not None:
            typed = described.typed([row[6] for row in rows])
            fitting = [one for one in typed.schema if self._fits(one.name, one.type)]
            for row, more in zip(found, typed.select([one.name for one in fitting]).to_pylist(), strict=True):
                row.update(more)
        return found

    def _fits(self, name: str, kind: "pa.DataType") -> bool:
        return name in self.table.c and isinstance(self.table.c[name].type, sql_type(kind))

    def _prepare(self, build: str, described: Described | None, *, other: bool) -> None:
        """Have the tables and all columns there. Another service may do the same at the same time."""
        from sqlalchemy import Column, Float, Index, Integer, MetaData, Table, Text, inspect

        from lockgate.serving.sql import add_column, insert_new

        keys = {"id", "row"}
        types: dict[str, Any] = {"row": Integer, "probability": Float}
        base: list[Any] = [Column(name, types.get(name, Text), primary_key=name in keys) for name in COLUMNS]
        metadata = MetaData()
        builds = Table(BUILDS, metadata, Column("build", Text, primary_key=True), Column("described", Text))
        scores = Table(TABLE, metadata, *base)
        with self.engine.begin() as connection:
            metadata.create_all(connection)
        with self.engine.begin() as connection:
            if f"{TABLE}_time" not in {one["name"] for one in inspect(connection).get_indexes(TABLE)}:
                with suppress(Exception), connection.begin_nested():
                    Index(f"{TABLE}_time", scores.c.time).create(connection)
            wanted: list[tuple[str, Any]] = [("latency_ms", Float), *([("answer", Text)] if other else [])]
            wanted += [(one.name, sql_type(one.type)) for one in described.typed([]).schema] if described else []
            there = self._names(connection)
            for name, kind in wanted:
                if self._spelled(name) not in there and len(name.encode()) <= LONGEST_NAME:
                    add_column(connection, TABLE, name, kind())
                    there.add(self._spelled(name))
            if described is not None:
                told = {"build": build, "described": json.dumps(described.to_json())}
                insert_new(connection, builds, [told])
        self.table = Table(TABLE, MetaData(), autoload_with=self.engine)
        self._ready.add(build)

    def _names(self, connection: "Connection") -> set[str]:
        from sqlalchemy import inspect

        return {self._spelled(one["name"]) for one in inspect(connection).get_columns(TABLE)}

    def _spelled(self, name: str) -> str:
        return name.lower() if self.engine.dialect.name == "sqlite" else name  # which takes X and x for one

    def notes(self) -> Notes:
        """See :meth:`Sink.notes`."""
        from sqlalchemy import inspect, text

        with self.engine.connect() as connection:
            if not inspect(connection).has_table(forgotten.TABLE):
                return {}
            query = f"SELECT hmac_sha256, max(time) FROM {forgotten.TABLE} GROUP BY hmac_sha256"  # noqa: S608
            return {str(mark): str(time) for mark, time in connection.execute(text(query))}

    def write_note(self, mark: str, time: str) -> None:
        """Keep the note that a request was forgotten."""
        from sqlalchemy import Column, MetaData, Table, Text, insert

        metadata = MetaData()
        table = Table(forgotten.TABLE, metadata, Column("hmac_sha256", Text), Column("time", Text))
        with self.engine.begin() as connection:
            metadata.create_all(connection)
            connection.execute(insert(table), {"hmac_sha256": mark, "time": time})

    def expire(self, before: datetime, *, dry_run: bool = False) -> int:
        """Delete the rows of before that time."""
        from sqlalchemy import inspect, text

        with self.engine.begin() as connection:
            if not inspect(connection).has_table(TABLE):
                return 0
            older = {"before": before.isoformat(timespec="microseconds")}
            if dry_run:
                query = f"SELECT count(*) FROM {TABLE} WHERE time < :before"  # noqa: S608
                return int(connection.execute(text(query), older).scalar() or 0)
            done = connection.execute(text(f"DELETE FROM {TABLE} WHERE time < :before"), older)  # noqa: S608
            return max(0, done.rowcount)


def sql_type(kind: "pa.DataType") -> Any:
    """Return the type of a column of SQL for one of Arrow's."""
    import pyarrow as pa
    from sqlalchemy import BigInteger, Boolean, Date, DateTime, Float, Integer, Text

    if pa.types.is_integer(kind):
        return BigInteger if kind == pa.int64() else Integer
    if pa.types.is_floating(kind):
        return Float
    if pa.types.is_boolean(kind):
        return Boolean
    if pa.types.is_timestamp(kind):
        return DateTime
    return Date if pa.types.is_date(kind) else Text


def is_database(where: str) -> bool:
    """Say whether a record is in a database, and not in a folder or bucket."""
    return "://" in where and not where.startswith(("s3://", "file://"))


def sink_of(where: str) -> Sink:
    """Return the sink at a SQLAlchemy URL (``postgresql+psycopg://…``, ``sqlite:///…``), else in a folder, which may
    be in a bucket (``s3://…``)."""
    return SqlTable(where) if is_database(where) else ParquetFolder(where)


def filtered(rows: Sequence[Row], known: Mapping[str, Described], notes: Notes, secret: bytes) -> list[Row]:
    """Return the rows without those of forgotten requests that were scored before they were forgotten."""
    gone: set[tuple[str, int]] = set()
    for build in {row[4] for row in rows} & known.keys() if notes else ():
        described = known[build]
        those = [row for row in rows if row[4] == build]
        if not described.key:
            continue
        keys = described.keys(described.typed([row[6] for row in those])).to_pylist()
        for row, key in zip(those, keys, strict=True):
            model = row[3].partition("@")[0]
            until = notes.get(forgotten.fingerprint(secret, model, key_text(list(key.values()))))
            if until is not None and row[2] <= until:
                gone.add(row[:2])
    return [row for row in rows if row[:2] not in gone]
