"""Scoring a whole input: pieces of it, each read, scored and stored by itself, here or on the workers of a cluster.

What a piece becomes depends on the piece and the release alone, so it does not matter who scores it, or whether a run
was interrupted and who went on. Memory holds a few pieces, however long the input is.
"""

import atexit
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from lockgate.dependencies.commit import Choice
from lockgate.errors import LockgateError
from lockgate.releasing.options import Ref
from lockgate.releasing.signing import KeyVerifier, Verifier
from lockgate.releasing.trusted_keys import write_keys
from lockgate.serving.cluster import connect
from lockgate.serving.inputs import File, Input, Piece, requests_of
from lockgate.serving.locked import Interpreters
from lockgate.serving.outputs import Job, Output, scores_of
from lockgate.serving.process import Loadable, ModelProcess, start, unpack
from lockgate.serving.source import PATIENCE, Source
from lockgate.store import open_store

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Count:
    """What was done: rows scored, rows that were there before, pieces."""

    scored: int = 0
    there: int = 0
    pieces: int = 0

    def __add__(self, other: "Count") -> "Count":
        """Add up."""
        return Count(self.scored + other.scored, self.there + other.there, self.pieces + other.pieces)


Progress = Callable[[Count], None]


def columns_of(loadable: Loadable, job: Job) -> list[str]:
    """Return the columns of an input that are of any use."""
    return list(dict.fromkeys([*job.key, *loadable.contract.request.arrow.names]))


def score_piece(
    piece: Piece, model: Callable[["pa.RecordBatch"], Any], loadable: Loadable, job: Job, output: Output, when: str
) -> Count:
    """Score one piece and store it, unless it is there. Raises what the input and ``output`` may."""
    rows = len(piece.table)
    if output.has(piece.name, piece.digest):
        return Count(0, rows, 1)
    keys = piece.keys(job.key)
    requests = requests_of(piece, loadable.contract.request)
    scores = scores_of(keys, loadable.contract.request.answer.table(model(requests)), job, when)
    new = output.write(piece.name, piece.digest, scores)
    return Count(new, rows - new, 1)


def score_here(
    inputs: Sequence[Input],
    loadable: Loadable,
    job: Job,
    output: Output,
    when: str,
    *,
    processes: int,
    progress: Progress,
) -> Count:
    """Score on this machine, with so many processes of the model. Returns what was done; raises as
    :func:`score_piece` for the first piece that fails, the others before it being stored."""
    total = Count()
    free: SimpleQueue[ModelProcess] = SimpleQueue()

    def work(piece: Piece) -> Count:
        model = free.get()
        try:
            return score_piece(piece, model.predict, loadable, job, output, when)
        finally:
            free.put(model)

    waiting: set[Future[Count]] = set()
    none = loadable.contract.request.answer.none
    with _Models(loadable, processes, free) as models, ThreadPoolExecutor(processes) as pool:
        try:
            for piece in _prepared(_all(inputs, loadable, job), job, output, none):
                if output.has(piece.name, piece.digest):
                    total += Count(0, len(piece.table), 1)
                    progress(total)
                    continue
                models.begin()
                waiting.add(pool.submit(work, piece))
                if len(waiting) > processes:  # one piece is read ahead
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    total = sum((one.result() for one in done), total)
                    progress(total)
            total = sum((one.result() for one in waiting), total)
            progress(total)
        finally:
            for one in waiting:
                one.cancel()
    return total


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to trust, in a form that travels: the content of a public key, or an identity's verifier."""

    key: bytes
    identity: Verifier | None

    @classmethod
    def of(cls, verifier: Verifier) -> "Trust":
        """Pack a verifier."""
        if isinstance(verifier, KeyVerifier):
            return cls(write_keys(verifier.trusted_keys()).encode(), None)
        return cls(b"", verifier)

    def verifier(self, folder: Path) -> Verifier:
        """Unpack it; a key becomes a file in ``folder``."""
        if self.identity is not None:
            return self.identity
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{threading.get_ident()}.pub"
        file.write_bytes(self.key)
        return KeyVerifier(file)


@dataclass(frozen=True, slots=True)
class ClusterJob:
    """What a worker of a cluster is sent: everything, and no secret. It verifies the release for itself."""

    store: str
    name: str
    version: str
    trust: Trust
    cache: str
    job: Job
    output: Output
    when: str
    dependencies: Choice | None = None


def score_there(address: str, inputs: Sequence[File], cluster_job: ClusterJob, progress: Progress) -> Count:
    """Score on the workers of the Dask cluster at ``address``, a file a task. A file whose worker dies is given to
    another one. Raises :class:`LockgateError` if the cluster is not there, or if a task fails."""
    import distributed

    completed: Any = distributed.as_completed
    client = connect(address)
    total = Count()
    with client:
        tasks = [client.submit(score_file, file, cluster_job, pure=False) for file in inputs]
        for task in completed(tasks, loop=client.loop):
            total += task.result()
            progress(total)
    return total


def score_file(file: File, cluster_job: ClusterJob) -> Count:
    """Score one file, on a worker of a cluster. Its model is loaded once for each worker process."""
    total = Count()
    with _LOADING:
        loadable, model = _loaded(cluster_job)
        for piece in file.pieces(
            columns_of(loadable, cluster_job.job), loadable.contract.request, cluster_job.job.rows
        ):
            total += score_piece(piece, model.predict, loadable, cluster_job.job, cluster_job.output, cluster_job.when)
    return total


_LOADING = threading.Lock()
_LOADED: dict[tuple[str, str, str], tuple[Loadable, ModelProcess]] = {}


def _loaded(cluster_job: ClusterJob) -> tuple[Loadable, ModelProcess]:
    known = _LOADED.get((cluster_job.store, cluster_job.name, cluster_job.version))
    if known is not None and known[1].process.poll() is None:
        return known
    cache = Path(cluster_job.cache)
    source = Source(
        cluster_job.store,
        Ref(cluster_job.name, cluster_job.version, None),
        cluster_job.name,
        cluster_job.trust.verifier(cache),
        cache,
    )
    found = source.newest()
    if found.digest != cluster_job.job.build:
        raise LockgateError(f"{found.release} is another build here than where the job began")
    folder = source.bring(found)
    interpreters = Interpreters(
        cluster_job.dependencies, cache.parent, lambda: open_store(cluster_job.store, patience=PATIENCE)
    )
    own = interpreters.of(found.build, folder)
    loadable = unpack(found.release, folder, own.executable if own is not None else None)
    atexit.register(loadable.discard)
    loaded = loadable, start(loadable)
    _LOADED[(cluster_job.store, cluster_job.name, cluster_job.version)] = loaded
    return loaded


def _all(inputs: Sequence[Input], loadable: Loadable, job: Job) -> Iterator[Piece]:
    for one in inputs:
        yield from one.pieces(columns_of(loadable, job), loadable.contract.request, job.rows)


def _prepared(pieces: Iterator[Piece], job: Job, output: Output, answers: "pa.Table") -> Iterator[Piece]:
    """Make the output ready when the first piece shows the types of the key. ``answers`` is a table of none."""
    for number, piece in enumerate(pieces):
        if number == 0:
            output.prepare(job, scores_of(piece.keys(job.key).slice(0, 0), answers, job, "").schema)
        yield piece


class _Models:
    """So many processes of one model, once there is work for them."""

    def __init__(self, loadable: Loadable, count: int, free: "SimpleQueue[ModelProcess]") -> None:
        self.loadable, self.count, self.free = loadable, count, free
        self.models: list[ModelProcess] = []

    def begin(self) -> None:
        """Start them, the first time. Raises :class:`~lockgate.serving.process.ModelFailed`."""
        if self.models:
            return
        with ThreadPoolExecutor(self.count) as pool:
            self.models.extend(one.result() for one in [pool.submit(start, self.loadable) for _ in range(self.count)])
        for model in self.models:
            self.free.put(model)

    def __enter__(self) -> "_Models":
        return self

    def __exit__(self, *_: object) -> None:
        for model in self.models:
            model.process.kill()  # it has answered all that it was asked; its own way out takes most of a second
        for model in self.models:
            model.close()
