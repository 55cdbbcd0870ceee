"""The record of scores: every score that was answered, with its request, its release and its time.

Before an answer is sent, its line is in a journal, a file that a killed process leaves behind whole. From there scores
are delivered, some seconds' worth at a time, to a folder of Parquet files or to a SQL table; what a crash left is
delivered by the next start. A score is delivered once: a Parquet file has the name of its journal, a table the key
``(id, row)``. A power cut may cost the lines of the last second, which the disk had not yet been told to keep.

What waits for delivery is bounded. When the bound is reached because the table cannot be reached, new requests are shed
(refused at once) or wait for room: a score that is not on record is never given away.
"""

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from lockgate.errors import LockgateError, NotAskedError
from lockgate.files import locked

LOG = logging.getLogger("lockgate.serve")
WAITING = 5.0  # seconds a request waits for room in the record, where it may wait
TABLE = "lockgate_scores"
COLUMNS = ("id", "row", "time", "release", "build", "probability", "request")

Policy = Literal["shed", "wait"]
Row = tuple[str, int, str, str, str, float, str]  # in the order of COLUMNS; the request is JSON


class RecordFull(NotAskedError):  # noqa: N818 - named for what the user reads
    """There is no room in the record of scores."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("the record of scores is full", "Its table or folder cannot be reached: see /readyz.")


class Sink(Protocol):
    """Where scores are delivered."""

    def deliver(self, name: str, rows: Sequence[Row]) -> None:
        """Store the rows of the journal ``name``, for good and once. May raise anything: it is tried again."""


@dataclass(frozen=True, slots=True)
class ParquetFolder:
    """A folder that gets one Parquet file a journal."""

    folder: Path

    def deliver(self, name: str, rows: Sequence[Row]) -> None:
        """Write ``name.parquet``, whole or not at all."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.folder.mkdir(parents=True, exist_ok=True)
        types = (pa.string(), pa.int32(), pa.string(), pa.string(), pa.string(), pa.float64(), pa.string())
        values: list[Any] = list(zip(*rows, strict=True))
        columns = [pa.array(column, kind) for column, kind in zip(values, types, strict=True)]
        part = self.folder / f".{name}.part"
        pq.write_table(pa.table(columns, names=COLUMNS), part, compression="zstd")
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.rename(self.folder / f"{name}.parquet")


class SqlTable:
    """A table ``lockgate_scores`` of a SQLite or PostgreSQL database, made if it is not there."""

    def __init__(self, url: str) -> None:
        """Take SQLAlchemy's URL of a database. Nothing is connected yet."""
        from sqlalchemy import Column, Float, Integer, MetaData, Table, Text, create_engine

        self.engine = create_engine(url, pool_pre_ping=True)
        keys = {"id", "row"}
        types: dict[str, Any] = {"row": Integer, "probability": Float}
        columns: list[Any] = [Column(name, types.get(name, Text), primary_key=name in keys) for name in COLUMNS]
        self.table = Table(TABLE, MetaData(), *columns)

    def deliver(self, name: str, rows: Sequence[Row]) -> None:  # noqa: ARG002 - the key of a row is enough
        """Insert the rows that are not there yet, all in one transaction."""
        from lockgate.serving.sql import insert_new

        with self.engine.begin() as connection:
            self.table.create(connection, checkfirst=True)
            insert_new(connection, self.table, [dict(zip(COLUMNS, row, strict=True)) for row in rows])


def sink_of(where: str) -> Sink:
    """Return the sink at a SQLAlchemy URL (``postgresql+psycopg://…``, ``sqlite:///…``), else in a folder."""
    return SqlTable(where) if "://" in where else ParquetFolder(Path(where))


class Recorder:
    """Writes the journal and has it delivered. :meth:`add` belongs to the event loop, delivery to a thread."""

    def __init__(
        self, sink: Sink, journals: Path, *, limit: int = 2**28, policy: Policy = "shed", every: float = 5.0
    ) -> None:
        """Deliver what ``journals`` holds from before, then what is added, each ``every`` seconds.

        ``limit`` is in bytes of journals that wait. Raises :class:`LockgateError` if another service uses the folder.
        """
        self.size = 0
        self.refused = 0
        self.problem = ""
        self._sink, self._folder, self._limit, self._policy, self._every = sink, journals, limit, policy, every
        journals.mkdir(parents=True, exist_ok=True)
        self._held = ExitStack()
        busy = LockgateError(f"{journals} is used by another running service", "Give each its own: --cache FOLDER.")
        self._held.enter_context(locked(journals / "lock", busy))
        self._turn = threading.Lock()  # held while the journal is written to or changed for a new one
        self._number = 0
        self._begun = time.time_ns()
        self._waiting = sorted(journals.glob("*.jsonl"))
        self.size = sum(path.stat().st_size for path in self._waiting)
        self._open()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def add(self, answer: Mapping[str, Any], requests: bytes) -> None:
        """Have an answer on record, in the journal when this returns. Raises :class:`RecordFull`.

        ``answer`` has ``id``, ``release``, ``build`` and ``probabilities``; ``requests`` is JSON text on one line.
        """
        line = b'{"answer":%b,"time":%.6f,"requests":%b}\n' % (json.dumps(answer).encode(), time.time(), requests)
        if self.size + len(line) > self._limit:
            await self._room(len(line))
        with self._turn:
            self._append(line)
            self.size += len(line)

    def close(self) -> None:
        """Deliver what can be delivered, and leave the rest to the next start."""
        self._stop.set()
        self._thread.join()
        os.close(self._file)
        self._held.close()

    def _append(self, line: bytes) -> None:
        before = os.fstat(self._file).st_size
        try:
            if os.write(self._file, line) == len(line):
                return
        except OSError as error:
            LOG.error("the journal of scores cannot be written: %s", error.strerror)
        os.ftruncate(self._file, before)  # half a line would spoil the next one
        self.refused += 1
        raise RecordFull

    async def _room(self, needed: int) -> None:
        patience = time.monotonic() + (WAITING if self._policy == "wait" else 0)
        while time.monotonic() < patience and self.size + needed > self._limit:
            await asyncio.sleep(0.01)
        if self.size + needed > self._limit:
            self.refused += 1
            raise RecordFull

    def _run(self) -> None:
        while True:
            stopping = self._stop.wait(min(self._every, 1.0))
            os.fsync(self._file)
            self._deliver_due(force=stopping)
            if stopping:
                return

    def _deliver_due(self, *, force: bool) -> None:
        """Close the journal if it is old enough, and deliver all that are closed."""
        with self._turn:
            age = time.time() - self._opened
            if os.fstat(self._file).st_size and (force or age >= self._every):
                self._waiting.append(self._path)
                os.close(self._file)
                self._open()
        while self._waiting:
            path = self._waiting[0]
            try:
                if rows := read_journal(path):
                    self._sink.deliver(path.stem, rows)
            except Exception as error:  # noqa: BLE001 - a database may raise anything; the journal stays
                said = type(error).__name__  # its text may hold the address and the password
                if said != self.problem:
                    LOG.error("scores cannot be delivered: %s", said)
                self.problem = said
                return
            self.problem = ""
            with self._turn:
                self.size -= path.stat().st_size
            path.unlink()
            self._waiting.pop(0)

    def _open(self) -> None:
        self._number += 1
        self._path = self._folder / f"{self._begun}-{self._number:06d}.jsonl"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
        self._opened = time.time()


def read_journal(path: Path) -> list[Row]:
    """Return the rows of a journal. A last line that a crash cut off was never answered, and is left out."""
    from datetime import UTC, datetime

    rows: list[Row] = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        with suppress(ValueError):
            told = json.loads(line)
            answer = told["answer"]
            when = datetime.fromtimestamp(told["time"], UTC).isoformat(timespec="microseconds")
            for number, (probability, request) in enumerate(
                zip(answer["probabilities"], told["requests"], strict=True)
            ):
                text = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
                rows.append((answer["id"], number, when, answer["release"], answer["build"], probability, text))
    return rows
