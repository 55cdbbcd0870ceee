"""Where requests to be scored in one go come from: Parquet, CSV, or a SQL query; in pieces, the same ones every time.

A piece has a name and a digest of what it was made from. That is what makes a job resumable: the same input gives the
same pieces again, and an input that changed in between is noticed.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockgate.errors import LockgateError, UsageError
from lockgate.serving.contract import RequestSchema

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

DATABASES = ("sqlite", "postgresql")


class InputRefused(LockgateError):  # noqa: N818 - named for what the user reads
    """The input is not what the model can be given."""

    def __init__(self, place: str, finding: str) -> None:
        """Name the file or query and what is wrong with it."""
        super().__init__(f"{place}: {finding}", "`lockgate serve` shows the fields of a request at /v1/model.")


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of the input: key columns and what else it has, unchecked."""

    name: str
    digest: str
    place: str
    table: "pa.Table"


@dataclass(frozen=True, slots=True)
class File:
    """One file of the input. ``number`` is its place among all, sorted by name."""

    number: int
    url: str

    def pieces(self, columns: Sequence[str], schema: RequestSchema, rows: int) -> Iterator[Piece]:
        """Yield the file's rows, at most ``rows`` at a time; of Parquet no more ``columns`` than those are read.

        Without key columns of its own a row has ``file`` and ``row``, counted from 0. Raises :class:`InputRefused`.
        """
        import pyarrow as pa

        system, path = filesystem(self.url)
        digest = _digest(system, path)
        name = path.rsplit("/", 1)[-1]
        first = 0
        try:
            for number, table in enumerate(self._tables(system, path, columns, schema, rows)):
                counted = pa.array(range(first, first + len(table)), pa.int64())
                numbered = (
                    table.append_column("file", pa.repeat(pa.scalar(name), len(table)))
                    if ("file" not in table.column_names)
                    else table
                )
                if "row" not in table.column_names:
                    numbered = numbered.append_column("row", counted)
                first += len(table)
                piece = hashlib.sha256(f"{digest} {rows} {number}".encode()).hexdigest()
                yield Piece(f"{self.number:05d}-{number:05d}", piece, name, numbered)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError) as error:
            raise InputRefused(self.url, str(error).splitlines()[0]) from None

    def _tables(
        self, system: "fs.FileSystem", path: str, columns: Sequence[str], schema: RequestSchema, rows: int
    ) -> "Iterator[pa.Table]":
        import pyarrow as pa
        import pyarrow.parquet as pq

        if path.endswith((".csv", ".csv.gz")):
            yield from _csv(system, path, schema, rows)
            return
        with system.open_input_file(path) as source:
            parquet = pq.ParquetFile(source, pre_buffer=True)
            there = [name for name in columns if name in parquet.schema_arrow.names]
            for batch in parquet.iter_batches(batch_size=rows, columns=there):
                yield pa.Table.from_batches([batch])


@dataclass(frozen=True, slots=True)
class Query:
    """The rows of a SQL query, in the order of the key, which has to be unique."""

    url: str
    query: str
    key: tuple[str, ...]

    def pieces(self, columns: Sequence[str], schema: RequestSchema, rows: int) -> Iterator[Piece]:  # noqa: ARG002
        """Yield the answer, at most ``rows`` rows at a time. Raises :class:`InputRefused`."""
        import pyarrow as pa
        from sqlalchemy import column, create_engine, select, text
        from sqlalchemy.exc import SQLAlchemyError

        engine = create_engine(self.url)
        inner = text(self.query.rstrip().rstrip(";")).columns().subquery("input")
        ordered = select(text("*")).select_from(inner).order_by(*[column(name) for name in self.key])
        try:
            with engine.connect().execution_options(stream_results=True, yield_per=rows) as connection:
                answer = connection.execute(ordered)
                names = list(answer.keys())
                for number, part in enumerate(answer.partitions(rows)):
                    table = pa.table(
                        {name: list(values) for name, values in zip(names, zip(*part, strict=True), strict=True)}
                    )
                    digest = hashlib.sha256(repr([tuple(row) for row in part]).encode()).hexdigest()
                    yield Piece(f"00000-{number:05d}", digest, "the query", table)
        except SQLAlchemyError as error:
            raise InputRefused("the query", str(getattr(error, "orig", error)).splitlines()[0]) from None
        finally:
            engine.dispose()


Input = File | Query


def inputs_of(where: str, query: str | None, key: Sequence[str]) -> list[Input]:
    """Return the parts of an input: one for each file of a folder.

    Raises :class:`UsageError` for options that do not fit together, :class:`InputRefused` where nothing is.
    """
    if where.partition(":")[0].partition("+")[0] in DATABASES:
        if not query or not key:
            raise UsageError("a database is read with --query SQL and --key COLUMN,COLUMN", "The key has to be unique.")
        return [Query(where, query, tuple(key))]
    if query:
        raise UsageError("--query is for a database; the input is a file or folder")
    from pyarrow import fs

    system, path = filesystem(where)
    [info] = system.get_file_info([path])
    if info.type == fs.FileType.File:
        return [File(0, where)]
    found = system.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    names = sorted(one.path for one in found if one.is_file and one.base_name[0] not in "._")
    if not names:
        raise InputRefused(where, "there is no file")
    root = where.rstrip("/")
    return [File(number, f"{root}/{name[len(path) :].lstrip('/')}") for number, name in enumerate(names)]


def filesystem(url: str) -> "tuple[fs.FileSystem, str]":
    """Return where a path or ``s3://`` URL points. A bucket is reached through the standard AWS environment."""
    from pyarrow import fs

    if not url.startswith("s3://"):
        return fs.LocalFileSystem(), os.path.abspath(url)  # noqa: PTH100 - the library takes text
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    scheme, _, host = endpoint.rpartition("://")
    options: dict[str, Any] = {"endpoint_override": host, "scheme": scheme or "https"} if endpoint else {}
    return fs.S3FileSystem(region=os.environ.get("AWS_REGION"), **options), url.removeprefix("s3://").rstrip("/")


def requests_of(piece: Piece, schema: RequestSchema) -> "pa.RecordBatch":
    """Return the piece's rows as the model is given them; NaN in a column of numbers counts as missing.

    Raises :class:`InputRefused` naming the column that is missing, has another type, or lacks a value it must have.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table, arrays = piece.table, []
    for field in schema.arrow:
        if field.name not in table.column_names:
            if not field.nullable:
                raise InputRefused(piece.place, f"has no column {field.name}")
            arrays.append(pa.nulls(len(table), field.type))
            continue
        try:
            values = table.column(field.name).cast(field.type).combine_chunks()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputRefused(piece.place, f"{field.name}: {str(error).splitlines()[0]}") from None
        if pa.types.is_floating(field.type):
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, field.type), values)
        if values.null_count and not field.nullable:
            row = pc.index(pc.is_null(values), True).as_py()
            raise InputRefused(piece.place, f"{field.name} is missing in row {row} of piece {piece.name}")
        arrays.append(values)
    return pa.RecordBatch.from_arrays(arrays, schema=schema.arrow)


def _csv(system: "fs.FileSystem", path: str, schema: RequestSchema, rows: int) -> "Iterator[pa.Table]":
    import pyarrow as pa
    from pyarrow import csv

    types = {field.name: field.type for field in schema.arrow}
    options = csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=["", "NA", "null"])
    with system.open_input_stream(path, compression="gzip" if path.endswith(".gz") else None) as source:
        held: list[pa.Table] = []
        for batch in csv.open_csv(source, convert_options=options):
            held.append(pa.Table.from_batches([batch]))
            while sum(map(len, held)) >= rows:
                whole = pa.concat_tables(held)
                yield whole.slice(0, rows)
                held = [whole.slice(rows)]
        if rest := sum(map(len, held)):
            yield pa.concat_tables(held).slice(0, rest)


def _digest(system: "fs.FileSystem", path: str) -> str:
    """Return what identifies a file's content: its SHA-256; of an object in a bucket its size and time."""
    from pyarrow import fs

    if isinstance(system, fs.LocalFileSystem):
        with open(path, "rb") as file:  # noqa: PTH123
            return hashlib.file_digest(file, "sha256").hexdigest()
    [info] = system.get_file_info([path])
    return f"{info.size} {info.mtime_ns}"
