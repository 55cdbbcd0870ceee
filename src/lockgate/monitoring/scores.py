"""Reading the record of scores, a day at a time: partitions of Parquet, the flat files of before, or a SQL table."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from lockgate.monitoring.locations import RecordMissing, RecordRefused
from lockgate.monitoring.outcome_store import Bounds, overlaps
from lockgate.serving.described import Described, request_column
from lockgate.serving.inputs import filesystem
from lockgate.serving.sinks import BUILDS, COLUMNS, DAY, METADATA, SCHEMA, TABLE, is_database

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

BASE: Final = ("id", "row", "time", "release", "build", "probability", "latency_ms")
ANSWER: Final = "answer"  # of a model that answers something else than a probability, as JSON
ROWS: Final = 65_536  # that a database is asked for at once
PARALLEL: Final = 8  # files that are read at the same time


@dataclass(frozen=True, slots=True)
class Scores:
    """Some scores of one build on one day: the columns :data:`BASE` and those of the request, with what is known of
    the build (``None``: the record has its requests as JSON alone, and the types are what that shows)."""

    table: "pa.Table"
    described: Described | None


class ScoreRecord(Protocol):
    """A record of scores."""

    def days(self) -> list[date]:
        """Return the days (of UTC) that may have scores, in their order."""

    def read(
        self,
        day: date,
        columns: Collection[str] | None = None,
        schema: "pa.Schema | None" = None,
        bounds: Bounds = MappingProxyType({}),
    ) -> Iterator[Scores]:
        """Yield the scores of a day. ``columns`` are the ones of the request that are wanted, beside the key's
        (``None``: all); ``schema`` types the requests of builds that nothing describes. What lies outside ``bounds``
        may be left out."""


def record_at(location: str) -> ScoreRecord:
    """Return the record at a folder, ``s3://…`` or a database's URL. Raises :class:`RecordMissing`."""
    return SqlRecord(location) if is_database(location) else FolderRecord(location)


# --- a folder


@dataclass(frozen=True)
class FolderRecord:
    """Parquet files in folders of their days, and those of before, which lie beside these folders."""

    url: str

    @cached_property
    def _place(self) -> "tuple[fs.FileSystem, str]":
        from pyarrow import fs

        system, path = filesystem(self.url)
        [info] = system.get_file_info([path])
        there = info.type == fs.FileType.Directory
        if not there and (isinstance(system, fs.LocalFileSystem) or not self._list(system, path)):
            raise RecordMissing(self.url)
        return system, path

    @staticmethod
    def _list(system: "fs.FileSystem", path: str) -> "list[fs.FileInfo]":
        from pyarrow import fs

        return list(system.get_file_info(fs.FileSelector(path, allow_not_found=True)))

    @cached_property
    def _listed(self) -> "tuple[dict[date, str], list[_Flat]]":
        """Return the folders by day, and the flat files."""
        system, path = self._place
        days, flat = {}, []
        for one in self._list(system, path):
            if not one.is_file and one.base_name.startswith(DAY):
                try:
                    days[date.fromisoformat(one.base_name.removeprefix(DAY))] = one.path
                except ValueError:
                    raise RecordRefused(one.path, "is not the folder of a day") from None
            elif one.is_file and one.base_name.endswith(".parquet") and one.base_name[0] not in "._":
                flat.append(one.path)
        with ThreadPoolExecutor(PARALLEL) as pool:
            return days, list(pool.map(lambda name: _flat(system, name), sorted(flat)))

    def days(self) -> list[date]:
        """See :meth:`ScoreRecord.days`."""
        folders, flat = self._listed
        found = set(folders)
        for one in flat:
            found |= {one.first + timedelta(days=number) for number in range((one.last - one.first).days + 1)}
        return sorted(found)

    def read(
        self,
        day: date,
        columns: Collection[str] | None = None,
        schema: "pa.Schema | None" = None,
        bounds: Bounds = MappingProxyType({}),
    ) -> Iterator[Scores]:
        """See :meth:`ScoreRecord.read`."""
        folders, flat = self._listed
        system, _ = self._place
        files = day_files(system, folders[day]) if day in folders else []
        with ThreadPoolExecutor(PARALLEL) as pool:
            read = pool.map(lambda path: _read_file(system, path, columns, schema, bounds), files)
            yield from (scores for scores in read if scores is not None)
        begin, end = day.isoformat(), (day + timedelta(days=1)).isoformat()
        for one in flat:
            if one.first <= day <= one.last:
                yield from self._read_flat(one.path, begin, end, columns, schema)

    def _read_flat(
        self, path: str, begin: str, end: str, columns: Collection[str] | None, schema: "pa.Schema | None"
    ) -> Iterator[Scores]:
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        system, _ = self._place
        with system.open_input_file(path) as file:
            table = pq.read_table(file)
        table = table.filter(pc.and_(pc.greater_equal(table.column("time"), begin), pc.less(table.column("time"), end)))
        known = self._described
        for build in pc.unique(table.column("build")).to_pylist():
            part = table.filter(pc.equal(table.column("build"), build))
            yield _of_text(part, known.get(build), columns, schema)

    @cached_property
    def _described(self) -> dict[str, Described]:
        """What newer files say of the builds that wrote flat ones, too."""
        system, _ = self._place
        found: dict[str, Described] = {}
        for folder in self._listed[0].values():
            for path in day_files(system, folder)[:PARALLEL]:
                told = _metadata(system, path)
                if told.get("columns") and told["build"] not in found:
                    found[told["build"]] = Described.from_json(told)
        return found


@dataclass(frozen=True, slots=True)
class _Flat:
    path: str
    first: date
    last: date


def _flat(system: "fs.FileSystem", path: str) -> _Flat:
    """Return a flat file with its days. Raises :class:`RecordRefused`."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with system.open_input_file(path) as file:
            parquet = pq.ParquetFile(file)
            if not set(COLUMNS) <= set(parquet.schema_arrow.names):
                raise RecordRefused(path, f"lacks columns of a record: it has {', '.join(parquet.schema_arrow.names)}")
            bounds = pc.min_max(parquet.read(columns=["time"]).column("time")).as_py()
    except (pa.ArrowException, OSError) as error:
        raise RecordRefused(path, f"cannot be read: {str(error).splitlines()[0]}") from None
    if bounds["min"] is None:
        return _Flat(path, date.max, date.min)
    return _Flat(path, *(date.fromisoformat(bounds[side][:10]) for side in ("min", "max")))


def day_files(system: "fs.FileSystem", folder: str) -> list[str]:
    """Return the Parquet files of a day, sorted; without those whose rows were put together in another one."""
    from pyarrow import fs

    found = system.get_file_info(fs.FileSelector(folder, allow_not_found=True))
    files = sorted(
        one.path for one in found if one.is_file and one.base_name.endswith(".parquet") and one.base_name[0] not in "._"
    )
    together = [path for path in files if stem(path).startswith(TOGETHER)]
    inside = {name for path in together for name in _metadata(system, path).get("parts", ())}
    return [path for path in files if stem(path) not in inside]


TOGETHER: Final = "day-"
"""How the name of a file begins in which the rows of several were put together."""


def stem(path: str) -> str:
    """Return the name of a file without folder and ending."""
    return path.rpartition("/")[2].removesuffix(".parquet")


def _metadata(system: "fs.FileSystem", path: str) -> dict[str, Any]:
    """Return what a file of a record says of itself. Raises :class:`RecordRefused`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with system.open_input_file(path) as file:
            return _told(pq.read_schema(file), path)
    except (pa.ArrowException, OSError) as error:
        raise RecordRefused(path, f"cannot be read: {str(error).splitlines()[0]}") from None


def _told(schema: "pa.Schema", path: str) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads((schema.metadata or {})[METADATA])
        if told["schema"] == SCHEMA:
            return told
    except (KeyError, ValueError, TypeError):
        pass
    raise RecordRefused(path, f"is not a {SCHEMA} file")


def _read_file(
    system: "fs.FileSystem", path: str, columns: Collection[str] | None, schema: "pa.Schema | None", bounds: Bounds
) -> Scores | None:
    """Return the scores of one file of a day, ``None`` where all of them lie outside ``bounds``. Raises
    :class:`RecordRefused`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with system.open_input_file(path) as file:
            parquet = pq.ParquetFile(file, pre_buffer=True)
            told = _told(parquet.schema_arrow, path)
            if not told.get("columns"):
                return _of_text(parquet.read(), None, columns, schema)
            described = Described.from_json(told)
            groups = (parquet.metadata.row_group(number) for number in range(parquet.num_row_groups))
            if bounds and not any(overlaps(group, bounds) for group in groups):
                return None
            typed = described.typed([]).schema.names
            other = [ANSWER] if ANSWER in parquet.schema_arrow.names else []
            table = parquet.read(columns=[*BASE, *other, *_wanted(described, typed, columns)])
    except (pa.ArrowException, OSError, KeyError) as error:
        raise RecordRefused(path, f"cannot be read: {str(error).splitlines()[0]}") from None
    return Scores(_based(table), described)


def _wanted(described: Described | None, names: Sequence[str], columns: Collection[str] | None) -> list[str]:
    """Return which of a file's columns of the request are wanted: those that are asked for, and the key's."""
    if columns is None:
        return list(names)
    key = {request_column(part.column) if part.part is None else part.name for part in (described or _NONE).key}
    return [name for name in names if name in key or name in columns]


_NONE = Described(())


def _of_text(
    table: "pa.Table", described: Described | None, columns: Collection[str] | None, schema: "pa.Schema | None"
) -> Scores:
    """Return scores whose requests are JSON alone, these as columns: as they are described, else as ``schema`` or the
    text itself shows them."""
    import pyarrow as pa

    requests = table.column("request").to_pylist()
    typed = described.typed(requests) if described is not None else _shown(requests, schema)
    if "latency_ms" not in table.column_names:
        table = table.append_column("latency_ms", pa.nulls(len(table), pa.float64()))
    table = table.select([*BASE, *([ANSWER] if ANSWER in table.column_names else [])])
    for name in _wanted(described, typed.column_names, columns):
        table = table.append_column(name, typed.column(name))
    return Scores(_based(table), described)


def _shown(requests: Sequence[str], schema: "pa.Schema | None") -> "pa.Table":
    """Return JSON objects as a table of ``schema``, or of the types that they show."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    text = "\n".join(requests).encode()
    if not text:
        return pa.table({})
    ignore = "infer" if schema is None else "ignore"
    parse = arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=ignore)
    try:
        table = arrow_json.read_json(
            pa.BufferReader(text), read_options=arrow_json.ReadOptions(block_size=len(text) + 1), parse_options=parse
        )
    except pa.ArrowException as error:
        raise RecordRefused("the record", f"holds requests of no one form: {str(error).splitlines()[0]}") from None
    fields = [
        pa.field(request_column(one.name), pa.timestamp("us") if pa.types.is_timestamp(one.type) else one.type)
        for one in table.schema
        if not pa.types.is_null(one.type)
    ]
    kept = [one.name for one in table.schema if not pa.types.is_null(one.type)]
    return table.select(kept).rename_columns([one.name for one in fields]).cast(pa.schema(fields))


def _based(table: "pa.Table") -> "pa.Table":
    """Return a table whose time is a timestamp of UTC without a zone."""
    import pyarrow as pa

    place = table.column_names.index("time")
    time = table.column("time")
    if pa.types.is_timestamp(time.type):
        time = time.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    else:
        time = pa.chunked_array([_moments(chunk) for chunk in time.chunks], pa.timestamp("us"))
    return table.set_column(place, "time", time).replace_schema_metadata(None)


def _moments(texts: "pa.Array") -> "pa.Array":
    import pyarrow as pa

    return texts.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))


# --- SQL


@dataclass(frozen=True)
class SqlRecord:
    """The table ``lockgate_scores`` of a database."""

    url: str

    @cached_property
    def _engine(self) -> Any:
        from sqlalchemy import create_engine, inspect
        from sqlalchemy.exc import SQLAlchemyError

        engine = create_engine(self.url)
        try:
            with engine.connect() as connection:
                there = inspect(connection).has_table(TABLE)
        except SQLAlchemyError as error:
            said = str(getattr(error, "orig", error)).splitlines()[0]
            raise RecordRefused(self.url, f"cannot be read: {said}") from None
        if not there:
            raise RecordMissing(self.url)
        return engine

    def days(self) -> list[date]:
        """See :meth:`ScoreRecord.days`."""
        from sqlalchemy import text

        with self._engine.connect() as connection:
            found = connection.execute(text(f"SELECT DISTINCT substr(time, 1, 10) FROM {TABLE}"))  # noqa: S608
            return sorted(date.fromisoformat(row[0]) for row in found)

    @cached_property
    def _described(self) -> Mapping[str, Described]:
        from sqlalchemy import inspect, text

        with self._engine.connect() as connection:
            if not inspect(connection).has_table(BUILDS):
                return {}
            rows = connection.execute(text(f"SELECT build, described FROM {BUILDS}"))  # noqa: S608
            return {build: Described.from_json(json.loads(told)) for build, told in rows}

    def read(
        self,
        day: date,
        columns: Collection[str] | None = None,
        schema: "pa.Schema | None" = None,
        bounds: Bounds = MappingProxyType({}),  # noqa: ARG002 - the table has an index of time alone
    ) -> Iterator[Scores]:
        """See :meth:`ScoreRecord.read`."""
        import pyarrow as pa
        import pyarrow.compute as pc
        from sqlalchemy import inspect, text

        names = [*COLUMNS]
        with self._engine.connect() as connection:
            there = {one["name"] for one in inspect(connection).get_columns(TABLE)}
            names += [name for name in ("latency_ms", ANSWER) if name in there]
        quote = self._engine.dialect.identifier_preparer.quote
        asked = ", ".join(map(quote, names))
        query = f"SELECT {asked} FROM {TABLE} WHERE time >= :begin AND time < :end ORDER BY time, id, {quote('row')}"  # noqa: S608
        asked_for = {"begin": day.isoformat(), "end": (day + timedelta(days=1)).isoformat()}
        types = {"row": pa.int32(), "probability": pa.float64(), "latency_ms": pa.float64()}
        with self._engine.connect() as connection:
            answer = connection.execution_options(stream_results=True, yield_per=ROWS).execute(text(query), asked_for)
            for part in answer.partitions(ROWS):
                values = zip(*part, strict=True)
                arrays = [pa.array(v, types.get(n, pa.string())) for n, v in zip(names, values, strict=True)]
                table = pa.table(arrays, names=names)
                for build in pc.unique(table.column("build")).to_pylist():
                    chosen = table.filter(pc.equal(table.column("build"), build))
                    yield _of_text(chosen, self._described.get(build), columns, schema)


def bounds_of_stored(keys: "pa.Table", described: Described) -> Bounds:
    """Return the least and the greatest value of each column of a key, by the names that the record has."""
    from lockgate.monitoring.joined import bounds_of

    stored = {part.name: part.name if part.part else request_column(part.column) for part in described.key}
    return {stored.get(name, name): both for name, both in bounds_of(keys).items()}
