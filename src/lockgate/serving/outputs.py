"""Where scores of a batch go: a folder of Parquet files, or a SQL table. A piece is there whole or not at all, once."""

import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lockgate.errors import LockgateError, UsageError
from lockgate.serving.inputs import DATABASES, filesystem

if TYPE_CHECKING:
    import pyarrow as pa

JOB = "_scores.json"
SCHEMA = "lockgate.scores/1"
ADDED = ("release", "build", "scored_at")
"""The columns beside the key and what the model answers."""


class OutputTaken(LockgateError):  # noqa: N818 - named for what the user reads
    """The output holds something else than what this command would write."""

    def __init__(self, place: str, finding: str) -> None:
        """Name the place and what is there."""
        super().__init__(f"{place} {finding}", "Nothing in it was touched. Name another output.")


@dataclass(frozen=True, slots=True)
class Job:
    """What makes two runs the same job: release, digest of its build, key, rows of a piece."""

    release: str
    build: str
    key: tuple[str, ...]
    rows: int

    def to_json(self) -> str:
        """Return the text of ``_scores.json``."""
        said = {"schema": SCHEMA, "release": self.release, "build": self.build, "key": self.key, "rows": self.rows}
        return json.dumps(said, indent=1) + "\n"


class Output(Protocol):
    """A place for the scores of one job."""

    def prepare(self, job: Job, sample: "pa.Schema | None" = None) -> None:
        """Make the place ready. Raises :class:`OutputTaken` if another job's scores are there."""

    def has(self, name: str, digest: str) -> bool:
        """Say whether a piece is there. Raises :class:`OutputTaken` if it is there, made from other input."""

    def write(self, name: str, digest: str, scores: "pa.Table") -> int:
        """Store a piece; return how many rows were new."""


@dataclass(frozen=True, slots=True)
class ParquetOutput:
    """A folder, here or in a bucket: ``part-NAME.parquet`` for each piece, and :data:`JOB`."""

    url: str

    def prepare(self, job: Job, sample: "pa.Schema | None" = None) -> None:  # noqa: ARG002
        """See :meth:`Output.prepare`."""
        system, path = filesystem(self.url)
        system.create_dir(path, recursive=True)
        try:
            with system.open_input_stream(f"{path}/{JOB}") as file:
                there = file.read().decode()
        except FileNotFoundError:
            with system.open_output_stream(f"{path}/{JOB}") as file:
                file.write(job.to_json().encode())
            return
        if there != job.to_json():
            with suppress(ValueError):
                there = json.loads(there).get("release", "something else")
            raise OutputTaken(self.url, f"holds scores of another job ({there[:100]})")

    def has(self, name: str, digest: str) -> bool:
        """See :meth:`Output.has`."""
        import pyarrow.parquet as pq

        system, path = filesystem(self.url)
        try:
            with system.open_input_file(f"{path}/part-{name}.parquet") as file:
                known = (pq.read_schema(file).metadata or {}).get(b"lockgate.input", b"").decode()
        except FileNotFoundError:
            return False
        if known != digest:
            raise OutputTaken(self.url, f"has part {name} of another input: the input changed since it was scored")
        return True

    def write(self, name: str, digest: str, scores: "pa.Table") -> int:
        """See :meth:`Output.write`."""
        import pyarrow.parquet as pq
        from pyarrow import fs

        system, path = filesystem(self.url)
        marked = scores.replace_schema_metadata({"lockgate.input": digest})
        target = f"{path}/part-{name}.parquet"
        local = isinstance(system, fs.LocalFileSystem)  # an object of a bucket appears whole by itself
        written = f"{path}/.part-{name}.{threading.get_ident()}" if local else target
        with system.open_output_stream(written) as file:
            pq.write_table(marked, file, compression="zstd")
        if local:
            system.move(written, target)
        return len(scores)


class SqlOutput:
    """A table with the key columns and the scores, and beside it ``TABLE_parts``: which pieces are in it.

    Rows and the note that their piece is there are one transaction.
    """

    def __init__(self, url: str, table: str) -> None:
        """Take SQLAlchemy's URL. The tables are made if they are not there."""
        from sqlalchemy import Column, MetaData, Table, Text, create_engine

        self.name = table
        self.engine = create_engine(url)
        if (
            self.engine.dialect.name == "sqlite"
        ):  # else a query of the same file would bar us from writing while it is read
            with self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        self.metadata = MetaData()
        self.parts = Table(
            f"{table}_parts",
            self.metadata,
            Column("build", Text, primary_key=True),
            Column("part", Text, primary_key=True),
            Column("input", Text),
        )
        self.table: Any = None
        self.build = ""
        self._one = threading.Lock()  # SQLite has one writer

    def prepare(self, job: Job, sample: "pa.Schema | None" = None) -> None:
        """See :meth:`Output.prepare`."""
        from sqlalchemy import Column, Table, Text, inspect

        if sample is None:
            raise ValueError("the types of the key are needed")
        keys = [Column(name, _sql_type(sample.field(name).type), primary_key=True) for name in job.key]
        own = [field for field in sample if field.name not in (*job.key, *ADDED)]
        more: list[Any] = [Column(field.name, _sql_type(field.type)) for field in own] + [Column("release", Text)]
        more += [Column("build", Text, primary_key=True), Column("scored_at", Text)]
        self.table = Table(self.name, self.metadata, *keys, *more)
        self.build = job.build
        self.metadata.create_all(self.engine)
        there = {column["name"] for column in inspect(self.engine).get_columns(self.name)}
        if there != {*job.key, *(field.name for field in own), *ADDED}:
            raise OutputTaken(f"the table {self.name}", f"has other columns: {', '.join(sorted(there))}")

    def has(self, name: str, digest: str) -> bool:
        """See :meth:`Output.has`."""
        from sqlalchemy import select

        query = select(self.parts.c.input).where(self.parts.c.build == self.build, self.parts.c.part == name)
        with self.engine.connect() as connection:
            known = connection.execute(query).scalar()
        if known not in {None, digest}:
            raise OutputTaken(
                f"the table {self.name}", f"has part {name} of another input: the input changed since it was scored"
            )
        return known is not None

    def write(self, name: str, digest: str, scores: "pa.Table") -> int:
        """See :meth:`Output.write`."""
        from sqlalchemy import func, insert, select

        from lockgate.serving.sql import insert_new

        count = select(func.count()).select_from(self.table)
        with self._one, self.engine.begin() as connection:
            before = connection.execute(count).scalar() or 0
            insert_new(connection, self.table, scores.to_pylist())
            connection.execute(insert(self.parts), {"build": self.build, "part": name, "input": digest})
            return (connection.execute(count).scalar() or 0) - before


def output_of(where: str, table: str | None) -> Output:
    """Return the output that a path or URL names. Raises :class:`UsageError` for options that do not fit together."""
    if where.partition(":")[0].partition("+")[0] in DATABASES:
        if not table:
            raise UsageError("scores go to a table of the database: name it with --table")
        return SqlOutput(where, table)
    if table:
        raise UsageError("--table is for a database; the output is a folder")
    return ParquetOutput(where)


def scores_of(keys: "pa.Table", answers: "pa.Table", job: Job, scored_at: str) -> "pa.Table":
    """Return the rows to be stored: the key columns, the columns of the answer, and what gave it when.

    Raises :class:`~lockgate.errors.UsageError` where a column of the key has the name of one of the others.
    """
    import pyarrow as pa

    count = len(keys)
    if double := set(keys.column_names) & {*answers.column_names, *ADDED}:
        raise UsageError(f"the key has a column '{min(double)}', which scores have themselves", "Name another key.")
    added = [
        pa.repeat(pa.scalar(job.release), count),
        pa.repeat(pa.scalar(job.build), count),
        pa.repeat(pa.scalar(scored_at), count),
    ]
    names = [*keys.column_names, *answers.column_names, *ADDED]
    return pa.table([*keys.columns, *answers.columns, *added], names=names)


def _sql_type(kind: "pa.DataType") -> Any:
    import pyarrow as pa
    from sqlalchemy import BigInteger, Date, DateTime, Float, Text

    if pa.types.is_integer(kind):
        return BigInteger
    if pa.types.is_floating(kind):
        return Float
    if pa.types.is_timestamp(kind):
        return DateTime
    return Date if pa.types.is_date(kind) else Text
