"""Champion and challenger: the release that serves and the new model, on rows that neither was trained on.

The champion is the released build itself, verified, its own code run in a process of its own with its own
dependencies. It scores the requests of the challenger's test rows; both are then compared row by row as base and head
of a pull request are, with intervals that respect the policy's clusters (docs/statistics.md).
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate import git
from lockgate.dvc.pipeline import MISSING, param, read_params
from lockgate.errors import LockgateError
from lockgate.evaluation.predictions import File, Refused
from lockgate.evaluation.rescored import judge_files
from lockgate.evaluation.row_keys import matching_rows
from lockgate.monitoring.reference import read_reference
from lockgate.policy import Policy
from lockgate.result import Comparison, MetricChange, OperatingPoint, SliceChange
from lockgate.retraining.parameters import Moved
from lockgate.serving.batch import columns_of
from lockgate.serving.inputs import inputs_of, requests_of
from lockgate.serving.locked import Interpreters
from lockgate.serving.outputs import Job
from lockgate.serving.process import Loadable, start, unpack
from lockgate.serving.source import Found, Source

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ROWS = 65_536


class NoDuel(LockgateError):  # noqa: N818 - an answer
    """Champion and challenger cannot be compared. ``str()`` is the reason in words."""


@dataclass(frozen=True, slots=True)
class Duel:
    """What came of it: ``champion`` is the release that serves (``NAME@vX.Y.Z``), base of every change; the challenger
    is head. ``weeks`` is how much time the rows span, where their cluster is a date. ``made_with`` are the parameters
    that move on as the champion's commit has them, beside the challenger's, where this clone has that commit.
    ``against_baseline`` are the changes from the fixed baseline that the champion's release keeps to the challenger.
    """

    champion: str
    build: str
    comparison: Comparison
    metrics: tuple[MetricChange, ...]
    slices: tuple[SliceChange, ...] = ()
    operating_point: OperatingPoint | None = None
    weeks: float | None = None
    made_with: tuple[Moved, ...] = ()
    against_baseline: tuple[MetricChange, ...] = ()

    def change(self, metric: str) -> MetricChange:
        """Return the change of one metric. Raises ``KeyError``."""
        return {one.name: one for one in self.metrics}[metric]


@dataclass(frozen=True)
class Champion:
    """A released model at work: ``found`` says which, ``score`` answers requests."""

    found: Found
    loadable: Loadable
    score: Callable[["pa.RecordBatch"], "np.ndarray[Any, np.dtype[np.float64]]"]


@contextmanager
def serving(source: Source, interpreters: Interpreters) -> Iterator[Champion]:
    """Give the newest release of ``source``, verified and tried on its samples.

    Raises what :meth:`Source.newest` and :func:`lockgate.serving.process.start` raise.
    """
    found = source.newest()
    folder = source.bring(found)
    own = interpreters.of(found.build, folder)
    loadable = unpack(found.release, folder, own.executable if own is not None else None)
    try:
        process = start(loadable)
        try:
            yield Champion(found, loadable, process.predict)
        finally:
            process.close()
    finally:
        loadable.discard()


def made_with(root: Path, champion: Champion, moves: tuple[Moved, ...]) -> tuple[Moved, ...]:
    """Return the parameters that move on as the champion's commit has them (``before``) and the challenger (``after``);
    nothing where this clone does not have that commit.

    Raises :class:`NoDuel` where the champion's are not before the challenger's: it may have been trained on the very
    rows that the challenger is tested on.
    """
    try:
        commit = git.resolve(root, str(champion.found.build.manifest.facts.get("commit")))
    except LockgateError:
        return ()
    snapshot = git.Commit(root, champion.found.release, commit)
    found = []
    for one in moves:
        value = param(read_params(snapshot, one.file) or {}, one.key)
        if value is not MISSING:
            found.append(replace(one, before=str(value)))
    late = [one for one in found if _rank(one.before) >= _rank(one.after)]
    if late:
        raise NoDuel(
            f"{champion.found.release} was made with {late[0].key} = {late[0].before}, so it may have been trained on "
            f"these rows, which go to {late[0].after}"
        )
    return tuple(found)


def _rank(value: str) -> tuple[int, str]:
    """Order numbers by their size, days and months by time."""
    return (len(value), value) if value.isdecimal() else (0, value)


def duel(policy: Policy, champion: Champion, requests: Path, challenger: Path, known: tuple[Moved, ...] = ()) -> Duel:
    """Compare the champion with the model whose predictions are in the file ``challenger``.

    ``requests`` is a table with the requests of the predictions' rows and the columns of their key. Raises
    :class:`NoDuel` where the two do not fit each other, or where the champion does not take such requests. ``known`` is
    what :func:`made_with` says.
    """
    what = policy.predictions
    if what is None:
        raise NoDuel("the policy names no predictions, so there are no rows to compare on")
    if what.kind != "binary":
        raise NoDuel(f"a release is scored again where its model is binary; the policy says `kind: {what.kind}`")
    try:
        rescored = _rescored(policy, champion, requests, challenger)
        judged = judge_files(policy, rescored.champion, challenger)
        against: tuple[MetricChange, ...] = ()
        if rescored.baseline is not None:
            against = judge_files(policy, rescored.baseline, challenger).metrics
    except Refused as reason:
        raise NoDuel(str(reason)) from None
    found = champion.found
    return Duel(
        found.release,
        found.digest,
        judged.comparison,
        judged.metrics,
        tuple(one for one in judged.slices if one.judgement in ("better", "worse")),
        judged.operating_point,
        _weeks(policy, challenger),
        known,
        against,
    )


@dataclass(frozen=True)
class _Rescored:
    """The challenger's test rows, with what others say of them in place of its own scores: two predictions files.
    ``baseline`` is the fixed forecast that the champion's release keeps, ``None`` where it keeps none."""

    champion: bytes
    baseline: bytes | None


def _rescored(policy: Policy, champion: Champion, requests: Path, challenger: Path) -> _Rescored:
    """Ask the champion for the score of each row that is in both files. Raises :class:`NoDuel`, and
    :class:`~lockgate.evaluation.predictions.Refused` where keys are missing or not unique."""
    import numpy as np

    what = policy.predictions
    assert what is not None  # noqa: S101 - said before
    job = Job(champion.found.release, champion.found.digest, what.key, ROWS)
    schema = champion.loadable.contract.request
    reference = read_reference(champion.loadable.folder)
    scores, forecasts = [], []
    for source in inputs_of(str(requests), None, what.key):
        for piece in source.pieces(columns_of(champion.loadable, job), schema, ROWS):
            batch = requests_of(piece, schema)
            scores.append(champion.score(batch))
            if reference is not None:
                forecasts.append(reference.baseline.forecast(pa_table(batch)))
    if not scores:
        raise NoDuel(f"{requests.name} has no rows")
    theirs = File("head", what.file, challenger)
    ours, asked = matching_rows(what, theirs, File("requests", requests.name, requests))
    if len(ours) == 0:
        raise NoDuel(f"no row of {requests.name} has the key of a row of {what.file}")
    other = tuple(dict.fromkeys([*what.key, what.label, *what.slices, *what.cluster, *policy.weights]))
    rows = theirs.columns(other, text=theirs.is_csv).take(ours)

    def written(parts: "list[np.ndarray[Any, np.dtype[np.float64]]]") -> bytes:
        return _as_file(rows.append_column(what.score, [np.concatenate(parts)[asked]]), csv=theirs.is_csv)

    return _Rescored(written(scores), written(forecasts) if forecasts else None)


def pa_table(batch: "pa.RecordBatch") -> "pa.Table":
    """Return a batch as a table."""
    import pyarrow as pa

    return pa.Table.from_batches([batch])


def _as_file(table: "pa.Table", *, csv: bool) -> bytes:
    """Return the bytes of a predictions file: CSV where the policy's is, for both are read alike."""
    buffer = BytesIO()
    if csv:
        from pyarrow import csv as writer

        writer.write_csv(table, buffer)
    else:
        import pyarrow.parquet as pq

        pq.write_table(table, buffer)
    return buffer.getvalue()


def _weeks(policy: Policy, challenger: Path) -> float | None:
    """Return how many weeks the rows span, by the first cluster column, if that holds dates; ``None`` if not."""
    import pyarrow.compute as pc

    what = policy.predictions
    if what is None or not what.cluster:
        return None
    column = File("head", what.file, challenger).column(what.cluster[0])
    first, last = (_day(found(column).as_py()) for found in (pc.min, pc.max))
    return None if first is None or last is None else ((last - first).days + 1) / 7


def _day(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None


def as_facts(duel: Duel) -> Mapping[str, Any]:
    """Return what a script wants to know of a duel, as JSON takes it."""
    return {
        "champion": duel.champion,
        "build": duel.build,
        "rows": duel.comparison.rows_shared,
        "metrics": [
            {
                "name": one.name,
                "champion": one.base,
                "challenger": one.head,
                "change": one.change,
                "low": one.low,
                "high": one.high,
                "judgement": one.judgement,
            }
            for one in duel.metrics
        ],
    }
