"""Where outcomes are kept: every addition for good, in the order in which it came. The last one counts.

In a folder or bucket an addition is a Parquet file, ``outcomes/MODEL/TIME-DIGEST.parquet``; in a database its rows are
in ``lockgate_outcomes``, and ``lockgate_additions`` lists the additions.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

from lockgate.errors import LockgateError
from lockgate.monitoring.locations import without_password
from lockgate.monitoring.matching import last_places, numbered
from lockgate.serving.inputs import filesystem
from lockgate.serving.sinks import is_database, sql_type, write_parquet

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA: Final = "lockgate.outcomes/1"
METADATA: Final = b"lockgate.outcomes"
TABLE, ADDITIONS = "lockgate_outcomes", "lockgate_additions"
BY_ID: Final = ("id", "row")
LABEL: Final = "label"
GROUP: Final = 65_536  # rows of a row group, which can be passed over by its bounds

Bounds = Mapping[str, tuple[Any, Any]]
"""column of a key → the least and the greatest value that is asked for"""


class OutcomesRefused(LockgateError):  # noqa: N818 - named for what the user reads
    """What is there are no outcomes of Lockgate."""

    def __init__(self, place: str, finding: str) -> None:
        """Name the file or table and what is wrong."""
        super().__init__(f"{without_password(place)} {finding}", "Outcomes are what `lockgate outcomes add` writes.")


@dataclass(frozen=True, slots=True)
class Addition:
    """One addition: when it came (``name`` sorts by that), of which ``model``, named by which columns of a ``key``
    (:data:`BY_ID`: by the answer), with how many ``rows``, and the ``digest`` of the input that it was made from."""

    name: str
    model: str
    key: tuple[str, ...]
    rows: int
    digest: str
    source: str = ""

    @property
    def time(self) -> datetime:
        """When it came."""
        return datetime.fromtimestamp(int(self.name.split("-")[0]) / 1e6, UTC)

    def to_json(self) -> dict[str, Any]:
        """Return what the metadata of a file says."""
        more = {"digest": self.digest, "source": self.source}
        return {"schema": SCHEMA, "model": self.model, "key": list(self.key), "rows": self.rows, **more}


class OutcomeStore(Protocol):
    """The outcomes beside one record."""

    def additions(self, model: str) -> list[Addition]:
        """Return the additions of a model, in the order in which they came."""

    def read(self, addition: Addition, bounds: Bounds) -> "Iterator[pa.Table]":
        """Yield the rows of an addition: the columns of its key and :data:`LABEL`, in their order. What lies outside
        ``bounds`` may be left out."""

    def append(self, addition: Addition, table: "pa.Table") -> None:
        """Keep an addition. Nothing that is there is changed."""

    def forget(self, model: str, names: "Sequence[pa.Table]") -> int:
        """Remove the outcomes of these requests from all additions, and return how many that was. ``names`` are tables
        that each name requests in another way."""

    def expire(self, model: str, before: datetime, *, dry_run: bool = False) -> int:
        """Remove the additions of before that time, and return how many that was (with ``dry_run``: would be)."""


def store_at(location: str) -> OutcomeStore:
    """Return the store in a folder, a bucket or a database."""
    return SqlOutcomes(location) if is_database(location) else FolderOutcomes(location)


def new_addition(store: OutcomeStore, model: str, key: Sequence[str], digest: str, source: str) -> Addition:
    """Return a new addition, which comes after all that are there, whatever the clock says."""
    now = round(datetime.now(UTC).timestamp() * 1e6)
    last = max((int(one.name.split("-")[0]) for one in store.additions(model)), default=0)
    return Addition(f"{max(now, last + 1):016d}-{digest[:12]}", model, tuple(key), 0, digest, source)


@dataclass(frozen=True)
class FolderOutcomes:
    """Parquet files in a folder or bucket."""

    url: str

    def additions(self, model: str) -> list[Addition]:
        """See :meth:`OutcomeStore.additions`."""
        return [addition for addition, _ in self._listed(model)]

    def _listed(self, model: str) -> "list[tuple[Addition, str]]":
        from pyarrow import fs

        system, path = filesystem(self.url)
        found = system.get_file_info(fs.FileSelector(f"{path}/{model}", allow_not_found=True))
        files = sorted(one.path for one in found if one.is_file and one.base_name[0] not in "._")
        for file in files:
            if file not in self._known:
                self._known[file] = _addition(system, file, model)
        return [(self._known[file], file) for file in files]

    @cached_property
    def _known(self) -> dict[str, Addition]:
        return {}

    def read(self, addition: Addition, bounds: Bounds) -> "Iterator[pa.Table]":
        """See :meth:`OutcomeStore.read`."""
        import pyarrow.parquet as pq

        system, path = filesystem(self.url)
        columns = [*addition.key, LABEL]
        with system.open_input_file(f"{path}/{addition.model}/{addition.name}.parquet") as file:
            parquet = pq.ParquetFile(file)
            groups = [
                number
                for number in range(parquet.num_row_groups)
                if overlaps(parquet.metadata.row_group(number), bounds)
            ]
            if groups:
                yield parquet.read_row_groups(groups, columns=columns)

    def append(self, addition: Addition, table: "pa.Table") -> None:
        """See :meth:`OutcomeStore.append`."""
        system, path = filesystem(self.url)
        folder = f"{path}/{addition.model}"
        system.create_dir(folder, recursive=True)
        told = replace(addition, rows=table.num_rows).to_json()
        marked = table.replace_schema_metadata({METADATA: json.dumps(told)})
        write_parquet(system, f"{folder}/{addition.name}.parquet", marked, row_group_size=GROUP)

    def forget(self, model: str, names: "Sequence[pa.Table]") -> int:
        """See :meth:`OutcomeStore.forget`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        system, _ = filesystem(self.url)
        removed = 0
        for addition, path in self._listed(model):
            for named in names:
                if tuple(named.column_names) != addition.key or not named.num_rows:
                    continue
                with system.open_input_file(path) as file:
                    table = pq.read_table(file)
                ours, theirs, numbers = numbered(table.select(addition.key), named)
                kept = last_places(ours, theirs, numbers) < 0
                if not kept.all():
                    removed += int((~kept).sum())
                    write_parquet(system, path, table.filter(pa.array(kept)), row_group_size=GROUP)
        return removed

    def expire(self, model: str, before: datetime, *, dry_run: bool = False) -> int:
        """See :meth:`OutcomeStore.expire`."""
        system, _ = filesystem(self.url)
        old = [path for addition, path in self._listed(model) if addition.time < before]
        for path in old if not dry_run else ():
            system.delete_file(path)
        return len(old)


def _addition(system: Any, path: str, model: str) -> Addition:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with system.open_input_file(path) as file:
            told = json.loads((pq.read_schema(file).metadata or {})[METADATA])
        if told["schema"] != SCHEMA:
            raise OutcomesRefused(path, f"is not a {SCHEMA} file")
        if told["model"] != model:
            raise OutcomesRefused(path, f"holds outcomes of {told['model']}, not of {model}")
        name = path.rpartition("/")[2].removesuffix(".parquet")
        return Addition(name, model, tuple(told["key"]), told["rows"], told["digest"], told["source"])
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise OutcomesRefused(path, f"is not a {SCHEMA} file ({type(error).__name__})") from None


def overlaps(group: Any, bounds: Bounds) -> bool:
    """Say whether a row group may hold a row within ``bounds``, by the least and greatest value of its columns."""
    for number in range(group.num_columns):
        column = group.column(number)
        wanted = bounds.get(column.path_in_schema)
        there = column.statistics
        if wanted is None or there is None or not there.has_min_max:
            continue
        low, high = there.min, there.max
        if type(low) is type(wanted[0]) and (high < wanted[0] or low > wanted[1]):
            return False
    return True


# --- SQL


@dataclass(frozen=True)
class SqlOutcomes:
    """The tables ``lockgate_outcomes`` and ``lockgate_additions`` of a database."""

    url: str

    @cached_property
    def _engine(self) -> Any:
        from sqlalchemy import create_engine

        return create_engine(self.url)

    def _tables(self) -> Any:
        from sqlalchemy import Column, Float, Integer, MetaData, Table, Text

        metadata = MetaData()
        additions = Table(
            ADDITIONS,
            metadata,
            Column("model", Text, primary_key=True),
            Column("name", Text, primary_key=True),
            *(Column(name, Text) for name in ("key", "digest", "source")),
            Column("rows", Integer),
        )
        outcomes = Table(
            TABLE,
            metadata,
            Column("model", Text, primary_key=True),
            Column("addition", Text, primary_key=True),
            Column("number", Integer, primary_key=True),
            Column(LABEL, Float),
            Column("label_text", Text),
        )
        return metadata, additions, outcomes

    def additions(self, model: str) -> list[Addition]:
        """See :meth:`OutcomeStore.additions`."""
        from sqlalchemy import inspect, select

        _, additions, _ = self._tables()
        with self._engine.connect() as connection:
            if not inspect(connection).has_table(ADDITIONS):
                return []
            rows = connection.execute(select(additions).where(additions.c.model == model).order_by(additions.c.name))
            return [
                Addition(row.name, row.model, tuple(json.loads(row.key)), row.rows, row.digest, row.source)
                for row in rows
            ]

    def read(self, addition: Addition, bounds: Bounds) -> "Iterator[pa.Table]":
        """See :meth:`OutcomeStore.read`."""
        import pyarrow as pa
        from sqlalchemy import MetaData, Table, select

        table = Table(TABLE, MetaData(), autoload_with=self._engine)
        stored = [stored_column(name) for name in addition.key]
        query = select(*(table.c[name] for name in stored), table.c[LABEL], table.c.label_text)
        query = query.where(table.c.model == addition.model, table.c.addition == addition.name)
        for name, (low, high) in bounds.items():
            if name in addition.key and not isinstance(low, str):  # how text is ordered is the database's own business
                query = query.where(table.c[stored_column(name)].between(low, high))
        with self._engine.connect() as connection:
            answer = connection.execution_options(stream_results=True, yield_per=GROUP).execute(
                query.order_by(table.c.number)
            )
            for part in answer.partitions(GROUP):
                *keys, labels, texts = zip(*part, strict=True)
                columns = [pa.array(values) for values in keys]
                label = pa.array(texts, pa.string()) if any(texts) else pa.array(labels, pa.float64())
                yield pa.table([*columns, label], names=[*addition.key, LABEL])

    def append(self, addition: Addition, table: "pa.Table") -> None:
        """See :meth:`OutcomeStore.append`."""
        import pyarrow as pa
        from sqlalchemy import MetaData, Table, insert, inspect

        from lockgate.serving.sql import add_column

        metadata, additions, outcomes = self._tables()
        with self._engine.begin() as connection:
            metadata.create_all(connection)
        with self._engine.begin() as connection:
            there = {one["name"] for one in inspect(connection).get_columns(TABLE)}
            for name in addition.key:
                if stored_column(name) not in there:
                    add_column(connection, TABLE, stored_column(name), sql_type(table.schema.field(name).type)())
        outcomes = Table(TABLE, MetaData(), autoload_with=self._engine)
        for name in addition.key:
            kind = sql_type(table.schema.field(name).type)
            if not isinstance(outcomes.c[stored_column(name)].type, kind):
                raise OutcomesRefused(
                    self.url, f"has outcomes of another model whose {name} is {outcomes.c[stored_column(name)].type}"
                )
        text = pa.types.is_string(table.schema.field(LABEL).type)
        told = addition.to_json()
        row = {"model": addition.model, "name": addition.name, "key": json.dumps(told["key"])}
        row |= {"digest": addition.digest, "source": addition.source}
        renamed = table.rename_columns([*map(stored_column, addition.key), "label_text" if text else LABEL])
        with self._engine.begin() as connection:
            connection.execute(insert(additions), {**row, "rows": table.num_rows})
            first = 0
            for batch in renamed.to_batches(GROUP):
                whom = {"model": addition.model, "addition": addition.name}
                rows = [{**whom, "number": first + place, **one} for place, one in enumerate(batch.to_pylist())]
                first += len(rows)
                connection.execute(insert(outcomes), rows)

    def forget(self, model: str, names: "Sequence[pa.Table]") -> int:
        """See :meth:`OutcomeStore.forget`."""
        from sqlalchemy import MetaData, Table, delete, inspect

        with self._engine.begin() as connection:
            if not inspect(connection).has_table(TABLE):
                return 0
            table = Table(TABLE, MetaData(), autoload_with=connection)
            removed = 0
            for named in names:
                if not all(stored_column(name) in table.c for name in named.column_names):
                    continue
                for row in named.to_pylist():
                    query = delete(table).where(table.c.model == model)
                    for name, value in row.items():
                        query = query.where(table.c[stored_column(name)] == value)
                    removed += max(0, connection.execute(query).rowcount)
            return removed

    def expire(self, model: str, before: datetime, *, dry_run: bool = False) -> int:
        """See :meth:`OutcomeStore.expire`."""
        from sqlalchemy import delete

        old = [one.name for one in self.additions(model) if one.time < before]
        if old and not dry_run:
            _, additions, outcomes = self._tables()
            with self._engine.begin() as connection:
                connection.execute(delete(outcomes).where(outcomes.c.model == model, outcomes.c.addition.in_(old)))
                connection.execute(delete(additions).where(additions.c.model == model, additions.c.name.in_(old)))
        return len(old)


def stored_column(name: str) -> str:
    """Return how a key's column is called in the table: its own name, but for the table's own columns."""
    return f"key_{name}" if name in ("model", "addition", "number", LABEL, "label_text") else name
