"""Taking a request out of the record and the outcomes for good, and keeping the record in order.

A service may be writing at the same time: it only ever adds files, or rows, and never changes one, so a file is
rewritten here without it. A request that its journal still holds would come back with the next delivery; with the
same secret it drops it.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lockgate.errors import UsageError, nearest
from lockgate.monitoring.locations import RecordMissing
from lockgate.monitoring.matching import last_places, numbered
from lockgate.monitoring.outcome_store import BY_ID, GROUP, overlaps, store_at
from lockgate.monitoring.scores import TOGETHER, bounds_of_stored, day_files, stem
from lockgate.serving.described import Described, key_text
from lockgate.serving.forgotten import fingerprint
from lockgate.serving.inputs import filesystem
from lockgate.serving.sinks import DAY, METADATA, TABLE, is_database, sink_of, write_parquet

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import fs

    from lockgate.monitoring.environment import Places


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was taken out, or would be: so many scores and outcomes. ``marks`` are the fingerprints in the notes."""

    scores: int
    outcomes: int
    marks: tuple[str, ...]


def parse_key(text: str, described: Described) -> dict[str, Any]:
    """Return the key that ``date=2013-10-01,carrier=UA`` names, its values typed. Raises :class:`UsageError`."""
    import pyarrow as pa

    schema = described.key_schema()
    said: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or name not in schema.names:
            hint = nearest(name, list(schema.names))
            raise UsageError(
                f"'{part}' names no column of the key; {hint}".rstrip("; "),
                f"Write all of {', '.join(f'{name}=…' for name in schema.names)}.",
            )
        said[name] = value
    missing = [name for name in schema.names if name not in said]
    if missing:
        raise UsageError(f"the key lacks {', '.join(missing)}", "A request is named by its whole key.")
    try:
        return {one.name: pa.scalar(said[one.name]).cast(one.type).as_py() for one in schema}
    except pa.ArrowException as error:
        raise UsageError(f"'{text}' is no key of this model: {str(error).splitlines()[0]}") from None


def forget(
    places: "Places",
    model: str,
    described: Described,
    keys: Sequence[Mapping[str, Any]],
    secret: bytes,
    *,
    dry_run: bool,
) -> Forgotten:
    """Take requests out of record and outcomes, after a note was written of each. Safe to run again."""
    import pyarrow as pa

    named = pa.Table.from_pylist(list(keys), schema=described.key_schema())
    marks = tuple(fingerprint(secret, model, key_text(list(key.values()))) for key in named.to_pylist())
    if not dry_run:
        sink = sink_of(places.record)
        for mark in marks:
            sink.write_note(mark, datetime.now(UTC).isoformat(timespec="microseconds"))
    take = _forget_rows if is_database(places.record) else _forget_in_files
    answers = take(places.record, model, described, named, dry_run=dry_run)
    ids = pa.Table.from_pylist(answers, schema=pa.schema([("id", pa.string()), ("row", pa.int32())]))
    if dry_run:
        return Forgotten(len(answers), 0, marks)
    return Forgotten(len(answers), store_at(places.outcomes).forget(model, [named, ids]), marks)


# --- files


def _forget_in_files(
    record: str, model: str, described: Described, named: "pa.Table", *, dry_run: bool
) -> list[dict[str, Any]]:
    """Rewrite each file that holds one of the requests without it; return which answers these were."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    system, _ = filesystem(record)
    bounds = bounds_of_stored(named, described)
    found: list[dict[str, Any]] = []
    for path in _all_files(record):
        with system.open_input_file(path) as file:
            parquet = pq.ParquetFile(file)
            told = json.loads((parquet.schema_arrow.metadata or {}).get(METADATA, b"{}"))
            own = Described.from_json(told) if told.get("columns") else None
            groups = (parquet.metadata.row_group(number) for number in range(parquet.num_row_groups))
            if own is not None and own.key == described.key and not any(overlaps(group, bounds) for group in groups):
                continue
            table = parquet.read()
        kept = _kept(table, model, described, own, named)
        if kept.all():
            continue
        found += table.filter(pa.array(~kept)).select(BY_ID).to_pylist()
        if dry_run:
            continue
        if kept.any():
            write_parquet(system, path, table.filter(pa.array(kept)))
        else:
            system.delete_file(path)
    return found


def _kept(table: "pa.Table", model: str, described: Described, own: Described | None, named: "pa.Table") -> Any:
    """Say of each row whether it stays."""
    import numpy as np
    import pyarrow.compute as pc

    if own is not None and own.key == described.key:
        keys = own.keys(table)
    else:  # an older file, or an older key: the request itself says it
        keys = described.keys(described.typed(table.column("request").to_pylist()))
    ours, theirs, numbers = numbered(named, keys.cast(named.schema))
    hit = last_places(theirs, ours, numbers) >= 0
    mine = np.asarray(pc.starts_with(table.column("release"), f"{model}@").to_pylist(), dtype=np.bool_)
    return ~(hit & mine)


def _all_files(record: str) -> list[str]:
    """Return every Parquet file of a record, those included whose rows are in another one, too."""
    from pyarrow import fs

    system, path = filesystem(record)
    listed = system.get_file_info(fs.FileSelector(path, allow_not_found=True))
    if not listed:
        raise RecordMissing(record)
    flat = [one.path for one in listed if one.is_file]
    for one in listed:
        if not one.is_file and one.base_name.startswith(DAY):
            flat += [file.path for file in system.get_file_info(fs.FileSelector(one.path)) if file.is_file]
    return sorted(path for path in flat if path.endswith(".parquet") and stem(path)[0] not in "._")


# --- SQL


def _forget_rows(
    record: str, model: str, described: Described, named: "pa.Table", *, dry_run: bool
) -> list[dict[str, Any]]:
    """Delete the rows of the requests; return which answers these were."""
    from sqlalchemy import MetaData, Table, create_engine, delete, inspect, or_, select

    engine = create_engine(record)
    found: list[dict[str, Any]] = []
    with engine.begin() as connection:
        if not inspect(connection).has_table(TABLE):
            raise RecordMissing(record)
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete = ON")  # what is deleted is not left in the file's pages
        table = Table(TABLE, MetaData(), autoload_with=connection)
        query = select(table.c.id, table.c.row, table.c.request).where(table.c.release.startswith(f"{model}@"))
        first = next(iter(bounds_of_stored(named, described)), None)
        if first is not None and first in table.c:
            values = named.column(0).to_pylist()
            query = query.where(or_(table.c[first].is_(None), table.c[first].in_(values)))
        for part in connection.execute(query).partitions(GROUP):
            keys = described.keys(described.typed([row.request for row in part]))
            ours, theirs, numbers = numbered(named, keys.cast(named.schema))
            hit = last_places(theirs, ours, numbers) >= 0
            found += [{"id": row.id, "row": row.row} for row, gone in zip(part, hit, strict=True) if gone]
        for one in found if not dry_run else ():
            connection.execute(delete(table).where(table.c.id == one["id"], table.c.row == one["row"]))
    engine.dispose()
    return found


# --- keeping a record in order


@dataclass(frozen=True, slots=True)
class Tidied:
    """What was done, or would be: days (or rows) and additions of outcomes that were too old are removed; files of a
    day that is over are put together, so many into so many."""

    expired: int
    outcomes: int
    files: int
    into: int


FEWEST: Final = 2  # files that are put together


def tidy(places: "Places", model: str, retention: timedelta | None, *, now: datetime, dry_run: bool) -> Tidied:
    """Remove what is older than the policy keeps it, and put the small files of each past day together."""
    expired = outcomes = 0
    if retention is not None:
        expired = sink_of(places.record).expire(now - retention, dry_run=dry_run)
        outcomes = store_at(places.outcomes).expire(model, now - retention, dry_run=dry_run)
    files = into = 0
    if not is_database(places.record):
        for taken, folder in _groups(places.record, now.date()):
            files += len(taken)
            into += 1
            if not dry_run:
                _put_together(filesystem(places.record)[0], folder, taken)
    return Tidied(expired, outcomes, files, into)


def _groups(record: str, today: date) -> Iterator[tuple[list[str], str]]:
    """Yield the files of a past day that describe one build in the same way, and the folder that they are in."""
    import pyarrow.parquet as pq
    from pyarrow import fs

    system, path = filesystem(record)
    for one in system.get_file_info(fs.FileSelector(path, allow_not_found=True)):
        if one.is_file or not one.base_name.startswith(DAY) or one.base_name.removeprefix(DAY) >= today.isoformat():
            continue
        alike: dict[str, list[str]] = {}
        for file in day_files(system, one.path):
            with system.open_input_file(file) as opened:
                told = json.loads((pq.read_schema(opened).metadata or {})[METADATA])
            alike.setdefault(json.dumps({**told, "parts": None}, sort_keys=True), []).append(file)
        for taken in alike.values():
            if len(taken) >= FEWEST:
                yield taken, one.path


def _put_together(system: "fs.FileSystem", folder: str, files: Sequence[str]) -> None:
    """Write one file with the rows of several, whose names it holds, then remove these. A file of them that comes back,
    because a journal is delivered again, is known by its name."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import fs

    with system.open_input_file(files[0]) as file:
        schema = pq.read_schema(file)
    told = json.loads((schema.metadata or {})[METADATA])
    parts = [stem(file) for file in files]
    for path in files:
        with system.open_input_file(path) as file:
            parts += json.loads((pq.read_schema(file).metadata or {})[METADATA]).get("parts", [])
    told["parts"] = sorted(set(parts))
    target = f"{folder}/{TOGETHER}{told['build'][:12]}-{len(told['parts']):06d}.parquet"
    local = isinstance(system, fs.LocalFileSystem)
    written = f"{folder}/.{stem(target)}.part" if local else target
    with (
        system.open_output_stream(written) as out,
        pq.ParquetWriter(out, schema.with_metadata({METADATA: json.dumps(told)}), compression="zstd") as writer,
    ):
        held: list[pa.Table] = []
        for path in files:
            with system.open_input_file(path) as file:
                held.append(pq.read_table(file).cast(schema))
            if sum(map(len, held)) >= GROUP:
                writer.write_table(pa.concat_tables(held).combine_chunks())
                held = []
        if held:
            writer.write_table(pa.concat_tables(held).combine_chunks())
    if local:
        with open(written, "rb") as there:  # noqa: PTH123 - the library's paths are text
            os.fsync(there.fileno())
        os.replace(written, target)  # noqa: PTH105
    for path in files:
        system.delete_file(path)
