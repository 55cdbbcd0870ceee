"""Where requests to be scored in one go come from: Parquet, CSV, or a SQL query; in pieces, the same ones every time.

A piece has a name and a digest of what it was made from. That is what makes a job resumable: the same input gives the
same pieces again, and an input that changed in between is noticed.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lockgate.errors import LockgateError, UsageError
from lockgate.serving.columns import Reading, Unfit, convert
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
class Csv:
    """How CSV files are read. ``missing`` is text that stands for a missing value, beside an empty field. ``keys`` are
    the types of key columns that say the same in another type than text; ``None``: each file is asked for itself."""

    missing: tuple[str, ...] = ()
    keys: Mapping[str, "pa.DataType"] | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of the input: key columns and what else it has, unchecked."""

    name: str
    digest: str
    place: str
    table: "pa.Table"
    reading: Reading = "typed"
    csv: Csv = Csv()

    def keys(self, names: Sequence[str]) -> "pa.Table":
        """Return the key columns. Raises :class:`InputRefused` naming one that is missing."""
        import pyarrow as pa

        missing = [name for name in names if name not in self.table.column_names]
        if missing:
            raise InputRefused(self.place, f"has no column {missing[0]} for the key")
        types = self.csv.keys or {}
        columns = [self.table.column(name) for name in names]
        return pa.table(
            [one.cast(types[name]) if name in types else one for name, one in zip(names, columns, strict=True)],
            names=list(names),
        )


@dataclass(frozen=True, slots=True)
class File:
    """One file of the input. ``number`` is its place among all, sorted by name."""

    number: int
    url: str
    csv: Csv = field(default_factory=Csv)

    @property
    def is_csv(self) -> bool:
        """Whether the file is CSV, by its ending."""
        return self.url.endswith((".csv", ".csv.gz"))

    def pieces(self, columns: Sequence[str], schema: RequestSchema, rows: int) -> Iterator[Piece]:
        """Yield the file's rows, at most ``rows`` at a time; of Parquet no more ``columns`` than those are read.

        Without key columns of its own a row has ``file`` and ``row``, counted from 0. Raises :class:`InputRefused`.
        """
        import pyarrow as pa

        system, path = filesystem(self.url)
        digest = " ".join([_digest(system, path), *self.csv.missing])
        name = path.rsplit("/", 1)[-1]
        first = 0
        reading: Reading = "text" if self.is_csv else "typed"
        try:
            how = self.csv
            if self.is_csv and how.keys is None:
                how = replace(how, keys=key_types([self], [name for name in columns if name not in schema.arrow.names]))
            for number, table in enumerate(self._tables(system, path, columns, rows)):
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
                yield Piece(f"{self.number:05d}-{number:05d}", piece, name, numbered, reading, how)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError) as error:
            raise InputRefused(self.url, str(error).splitlines()[0]) from None

    def _tables(self, system: "fs.FileSystem", path: str, columns: Sequence[str], rows: int) -> "Iterator[pa.Table]":
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self.is_csv:
            yield from _csv(system, path, columns, self.csv, rows)
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
        from sqlalchemy import create_engine
        from sqlalchemy.exc import SQLAlchemyError

        engine = create_engine(self.url)
        # the query goes to the database as it is: in `text()` every `:x` would be a parameter, also inside a string
        order = ", ".join(engine.dialect.identifier_preparer.quote(name) for name in self.key)
        query = f"SELECT * FROM (\n{self.query.rstrip().rstrip(';')}\n) AS input ORDER BY {order}"  # noqa: S608 - the user's own
        reading: Reading = "sqlite" if engine.dialect.name == "sqlite" else "typed"
        options = {"stream_results": True, "yield_per": rows, "no_parameters": True}
        try:
            with engine.connect() as connection:
                answer = connection.execution_options(**options).exec_driver_sql(query)
                names = list(answer.keys())
                for number, part in enumerate(answer.partitions(rows)):
                    digest = hashlib.sha256(repr([tuple(row) for row in part]).encode()).hexdigest()
                    yield Piece(f"00000-{number:05d}", digest, "the query", _table(names, part), reading)
        except SQLAlchemyError as error:
            raise InputRefused("the query", str(getattr(error, "orig", error)).splitlines()[0]) from None
        finally:
            engine.dispose()


def _table(names: Sequence[str], rows: Sequence[Any]) -> "pa.Table":
    """Return rows of a database as a table. Raises :class:`InputRefused` for a column of values of several kinds."""
    import pyarrow as pa

    columns = {}
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise InputRefused("the query", f"{name}: {str(error).splitlines()[0]}") from None
    return pa.table(columns)


Input = File | Query


def inputs_of(where: str, query: str | None, key: Sequence[str], missing: Sequence[str] = ()) -> list[Input]:
    """Return the parts of an input: one for each file of a folder. ``missing`` is :attr:`Csv.missing`.

    What the key of CSV files is, text or numbers, is settled here for all of them: they are read once for it.

    Raises :class:`UsageError` for options that do not fit together, :class:`InputRefused` where nothing is.
    """
    if where.partition(":")[0].partition("+")[0] in DATABASES:
        if not query or not key:
            raise UsageError("a database is read with --query SQL and --key COLUMN,COLUMN", "The key has to be unique.")
        if missing:
            raise UsageError("--null is for CSV files; a database says itself what is missing")
        return [Query(where, query, tuple(key))]
    if query:
        raise UsageError("--query is for a database; the input is a file or folder")
    from pyarrow import fs

    system, path = filesystem(where)
    [info] = system.get_file_info([path])
    if info.type == fs.FileType.File:
        return _read_alike([File(0, where)], key, missing)
    found = system.get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    names = sorted(one.path for one in found if one.is_file and one.base_name[0] not in "._")
    if not names:
        raise InputRefused(where, "there is no file")
    root = where.rstrip("/")
    files = [File(number, f"{root}/{name[len(path) :].lstrip('/')}") for number, name in enumerate(names)]
    return _read_alike(files, key, missing)


def _read_alike(files: Sequence[File], key: Sequence[str], missing: Sequence[str]) -> list[Input]:
    tables = [file for file in files if file.is_csv]
    if not tables:
        if missing:
            raise UsageError("--null is for CSV files; here is none")
        return [*files]
    csv = Csv(tuple(missing), key_types(tables, key) if key else {})
    return [replace(file, csv=csv) for file in files]


def key_types(files: Iterable[File], key: Sequence[str]) -> dict[str, "pa.DataType"]:
    """Return the key columns of CSV files that need not stay text, with their type.

    Only where every value is written in the one way in which that type writes it: ``07`` and ``7`` are two keys, so a
    column with ``07`` in it is text.
    """
    import pyarrow as pa

    forms = [
        (pa.int64(), r"^(0|-?[1-9][0-9]{0,17})$"),
        (pa.date32(), r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"),
        (pa.timestamp("s"), r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$"),
        (pa.timestamp("s"), r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}$"),
    ]
    left: dict[str, list[tuple[pa.DataType, str]]] = dict.fromkeys(key, forms)
    for file in files:
        system, path = filesystem(file.url)
        for table in _csv_batches(system, path, [name for name in key if left[name]], file.csv):
            for name in left.keys() & set(table.column_names):
                left[name] = [one for one in left[name] if _is_written(table.column(name), *one)]
            if not any(left.values()):
                return {}
    return {name: one[0][0] for name, one in left.items() if one}


def _is_written(values: "pa.ChunkedArray", kind: "pa.DataType", form: str) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pc.all(pc.match_substring_regex(values, form)).as_py() is False:
        return False
    try:
        values.cast(kind)
    except pa.ArrowInvalid:  # a day that is in no calendar
        return False
    return True


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
    """Return the piece's rows as the model is given them, by the rules of :mod:`lockgate.serving.columns`.

    Raises :class:`InputRefused` naming the column that is missing, or a row that the service would refuse.
    """
    import pyarrow as pa

    arrays = []
    for column, wanted in zip(schema.columns, schema.arrow, strict=True):
        if column.name not in piece.table.column_names:
            if not column.optional:
                raise InputRefused(piece.place, f"has no column {column.name}")
            arrays.append(pa.nulls(len(piece.table), wanted.type))
            continue
        try:
            arrays.append(convert(piece.table.column(column.name), column, piece.reading, piece.csv.missing))
        except Unfit as reason:
            row = "" if reason.row is None else f" in row {reason.row} of piece {piece.name}"
            raise InputRefused(piece.place, f"{column.name}: {reason}{row}") from None
        except pa.ArrowException as error:
            raise InputRefused(piece.place, f"{column.name}: {str(error).splitlines()[0]}") from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema.arrow)


def _csv(system: "fs.FileSystem", path: str, columns: Sequence[str], how: Csv, rows: int) -> "Iterator[pa.Table]":
    """Yield a CSV file's ``columns`` as text, so many rows at a time."""
    import pyarrow as pa

    held: list[pa.Table] = []
    for table in _csv_batches(system, path, columns, how):
        held.append(table)
        while sum(map(len, held)) >= rows:
            whole = pa.concat_tables(held)
            yield whole.slice(0, rows)
            held = [whole.slice(rows)]
    if sum(map(len, held)):
        yield pa.concat_tables(held)


def _csv_batches(system: "fs.FileSystem", path: str, columns: Sequence[str], how: Csv) -> "Iterator[pa.Table]":
    """Yield the ``columns`` of a CSV file that it has, as text; an empty field that is not in quotes is missing."""
    import pyarrow as pa
    from pyarrow import csv

    compression = "gzip" if path.endswith(".gz") else None
    parse = csv.ParseOptions(newlines_in_values=True)
    with system.open_input_stream(path, compression=compression) as source:
        names = csv.open_csv(source, parse_options=parse).schema.names
    there = [name for name in columns if name in names]
    options = csv.ConvertOptions(
        include_columns=there or names[:1],  # of none all would be read
        column_types=dict.fromkeys(names, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=["", *how.missing],
    )
    with system.open_input_stream(path, compression=compression) as source:
        for batch in csv.open_csv(source, parse_options=parse, convert_options=options):
            yield pa.Table.from_batches([batch])


def _digest(system: "fs.FileSystem", path: str) -> str:
    """Return what identifies a file's content: its SHA-256; of an object in a bucket its size and time."""
    from pyarrow import fs

    if isinstance(system, fs.LocalFileSystem):
        with open(path, "rb") as file:  # noqa: PTH123
            return hashlib.file_digest(file, "sha256").hexdigest()
    [info] = system.get_file_info([path])
    return f"{info.size} {info.mtime_ns}"
