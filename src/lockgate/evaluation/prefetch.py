"""What a report needs beside what the stages make, brought while they run: base's predictions, the libraries that read
them, and the locks of past runs. A run seldom uses every core, and the reviewer waits for what comes after it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from lockgate.dvc.objects import Cache, local_file
from lockgate.dvc.pipeline import Recorded, State, read_state
from lockgate.errors import LockgateError
from lockgate.evaluation.history import past_runs
from lockgate.evaluation.predictions import File, read_scored
from lockgate.evaluation.seeded import Place
from lockgate.git import Commit, Snapshot
from lockgate.policy import FILE as POLICY
from lockgate.policy import Policy, Predictions, read_policy


@dataclass
class Brought:
    """What is fetched into the cache beside the stages: the digests, and once that is over the bytes."""

    digests: tuple[str, ...] = ()
    pulled: int = 0


@contextmanager
def bringing(root: Path, base: Snapshot | None) -> Iterator[Brought]:
    """Bring what a report on ``base`` will read, in a thread. Leaving waits for it, unless by an exception.

    What cannot be had is no error here: the report will say so.
    """
    brought = Brought()
    wanted = _wanted(root, base) if isinstance(base, Commit) else None
    if wanted is None:
        yield brought
        return
    state, record, policy, predictions = wanted
    cache = Cache.of(root)
    if not cache.holds(record):
        brought.digests = (record.digest,)
    helper = Thread(target=_bring, args=(root, state, policy, predictions), daemon=True)
    helper.start()
    yield brought
    helper.join()
    if brought.digests and cache.holds(record):
        brought.pulled = cache.path(record.digest, legacy=record.legacy).stat().st_size


def _wanted(root: Path, base: Commit) -> tuple[State, Recorded, Policy, Predictions] | None:
    """Return base, to be read by another thread, and what it records of its predictions; ``None`` if it has none."""
    with suppress(LockgateError):
        text = base.read(POLICY)
        policy = read_policy(text) if text else None
        predictions = policy.predictions if policy else None
        state = read_state(base)
        record = state.pipeline.recorded(state.lock, predictions.file) if predictions else None
        if policy and predictions and record and record.path == predictions.file and not record.is_folder:
            return State(Commit(root, base.label, base.commit), state.pipeline, state.lock), record, policy, predictions
    return None


def _bring(root: Path, base: State, policy: Policy, predictions: Predictions) -> None:
    with suppress(Exception):  # whatever it is, the report meets it again, and tells
        if file := local_file(root, base, predictions.file):
            read_scored(predictions, File("base", predictions.file, file))  # imports what reads it
    with suppress(Exception):
        if policy.train is not None:
            past_runs(base.snapshot, Place.of(policy.train.seed), policy)  # whose locks stay parsed
