"""The record of scores: every score that was answered, with its request, its release and its time.

Before an answer is sent, its line is in a journal, a file that a killed process leaves behind whole. From there scores
are delivered, some seconds' worth at a time, to a folder of Parquet files or to a SQL table; what a crash left is
delivered by the next start. A score is delivered once: a Parquet file has the name of its journal, a table the key
``(id, row)``. A power cut may cost the lines of the last second, which the disk had not yet been told to keep.
:mod:`lockgate.serving.sinks` says what is stored.

What waits for delivery is bounded. When the bound is reached because the table cannot be reached, new requests are shed
(refused at once) or wait for room: a score that is not on record is never given away.
"""

import asyncio
import json
import logging
import os
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from lockgate.errors import LockgateError, NotAskedError
from lockgate.files import locked
from lockgate.serving.answers import one_of, rows_in
from lockgate.serving.described import Described
from lockgate.serving.sinks import Row, Sink, filtered

LOG = logging.getLogger("lockgate.serve")
WAITING = 5.0  # seconds a request waits for room in the record, where it may wait
EXPIRING = 3600.0  # seconds between two looks for what is kept no longer
BUILDS = "builds"  # the folder beside the journals that describes each build

Policy = Literal["shed", "wait"]


class RecordFull(NotAskedError):  # noqa: N818 - named for what the user reads
    """There is no room in the record of scores."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("the record of scores is full", "Its table or folder cannot be reached: see /readyz.")


class Recorder:
    """Writes the journal and has it delivered. :meth:`add` belongs to the event loop, delivery to a thread."""

    def __init__(
        self,
        sink: Sink,
        journals: Path,
        *,
        limit: int = 2**28,
        policy: Policy = "shed",
        every: float = 5.0,
        secret: bytes | None = None,
    ) -> None:
        """Deliver what ``journals`` holds from before, then what is added, each ``every`` seconds.

        ``limit`` is in bytes of journals that wait. With the ``secret`` of
        :mod:`~lockgate.serving.forgotten` nothing of a forgotten request is delivered any more. Raises
        :class:`LockgateError` if another service uses the folder.
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
        self._secret = secret
        self._retention: timedelta | None = None
        self._expired = -EXPIRING
        self._known = _read_builds(journals / BUILDS)
        self._number = 0
        self._begun = time.time_ns()
        self._waiting = sorted(journals.glob("*.jsonl"))
        self.size = sum(path.stat().st_size for path in self._waiting)
        self._open()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def know(self, build: str, described: Described) -> None:
        """Take note of what the requests of a build are, before it answers any. It outlives this process, as its
        journals do; from now on what is older than its ``retention`` is removed from the record."""
        self._retention = described.retention
        if self._known.get(build) == described:
            return
        folder = self._folder / BUILDS
        folder.mkdir(exist_ok=True)
        part = folder / f".{build}.part"
        part.write_text(json.dumps(described.to_json()), encoding="utf-8")
        part.rename(folder / f"{build}.json")
        self._known = {**self._known, build: described}

    async def add(self, answer: Mapping[str, Any], requests: bytes, milliseconds: float | None = None) -> None:
        """Have an answer on record, in the journal when this returns. Raises :class:`RecordFull`.

        ``answer`` has ``id``, ``release``, ``build`` and what the model answered; ``requests`` is JSON text on one
        line; ``milliseconds`` is how long the answer took.
        """
        took = b"" if milliseconds is None else b'"ms":%.3f,' % milliseconds
        told = (json.dumps(answer).encode(), time.time(), took, requests)
        line = b'{"answer":%b,"time":%.6f,%b"requests":%b}\n' % told
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
            self._expire_due()

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
                rows = read_journal(path)
                if rows and self._secret is not None:
                    rows = filtered(rows, self._known, self._sink.notes(), self._secret)
                if rows:
                    self._sink.deliver(path.stem, rows, self._known)
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

    def _expire_due(self) -> None:
        """Remove what is older than the policy has it kept, once an hour."""
        if self._retention is None or time.monotonic() - self._expired < EXPIRING:
            return
        self._expired = time.monotonic()
        try:
            self._sink.expire(datetime.now(UTC) - self._retention)
        except Exception as error:  # noqa: BLE001 - as above; the next hour tries again
            LOG.error("scores that are too old cannot be removed: %s", type(error).__name__)

    def _open(self) -> None:
        self._number += 1
        self._path = self._folder / f"{self._begun}-{self._number:06d}.jsonl"
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
        self._opened = time.time()


def read_journal(path: Path) -> list[Row]:
    """Return the rows of a journal. A last line that a crash cut off was never answered, and is left out."""
    rows: list[Row] = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        with suppress(ValueError):
            told = json.loads(line)
            answer = told["answer"]
            when = datetime.fromtimestamp(told["time"], UTC).isoformat(timespec="microseconds")
            if rows_in(answer) != len(told["requests"]):
                continue
            for number, request in enumerate(told["requests"]):
                text = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
                whom = (answer["id"], number, when, answer["release"], answer["build"])
                rows.append((*whom, one_of(answer, number), text, told.get("ms")))
    return rows


def _read_builds(folder: Path) -> dict[str, Described]:
    """Return the builds that a service has described here. A file that cannot be read describes none."""
    found = {}
    for file in folder.glob("*.json"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found[file.stem] = Described.from_json(json.loads(file.read_text(encoding="utf-8")))
    return found
