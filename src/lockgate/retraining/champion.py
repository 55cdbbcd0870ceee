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
    """

    champion: str
    build: str
    comparison: Comparison
    metrics: tuple[MetricChange, ...]
    slices: tuple[SliceChange, ...] = ()
    operating_point: OperatingPoint | None = None
    weeks: float | None = None
    made_with: tuple[Moved, ...] = ()

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
        judged = judge_files(policy, _as_predictions(policy, champion, requests, challenger), challenger)
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
    )


def _as_predictions(policy: Policy, champion: Champion, requests: Path, challenger: Path) -> bytes:
    """Return the challenger's predictions with the champion's scores in their place, for the rows that it scored."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import csv

    what = policy.predictions
    assert what is not None  # noqa: S101 - said before
    keys, scores = [], []
    job = Job(champion.found.release, champion.found.digest, what.key, ROWS)
    schema = champion.loadable.contract.request
    for source in inputs_of(str(requests), None, what.key):
        for piece in source.pieces(columns_of(champion.loadable, job), schema, ROWS):
            keys.append(piece.keys(what.key))
            scores.append(pa.array(champion.score(requests_of(piece, schema)), pa.float64()))
    if not keys:
        raise NoDuel(f"{requests.name} has no rows")
    scored = pa.concat_tables(keys).append_column("__score", pa.chunked_array(scores))
    other = list(dict.fromkeys([*what.key, what.label, *what.slices, *what.cluster, *_weights(policy)]))
    rows = File("head", what.file, challenger).columns(tuple(other))
    for number, name in enumerate(what.key):
        try:
            scored = scored.set_column(number, name, scored.column(name).cast(rows.schema.field(name).type))
        except pa.ArrowException:
            raise NoDuel(
                f"the key '{name}' is {scored.schema.field(name).type} in {requests.name} and "
                f"{rows.schema.field(name).type} in {what.file}"
            ) from None
    if scored.group_by(list(what.key)).aggregate([]).num_rows != scored.num_rows:
        raise NoDuel(f"{requests.name} has several rows of one key ({', '.join(what.key)})")
    joined = rows.join(scored, keys=list(what.key), join_type="inner")
    if joined.num_rows == 0:
        raise NoDuel(f"no row of {requests.name} has the key of a row of {what.file}")
    joined = joined.rename_columns([what.score if name == "__score" else name for name in joined.column_names])
    buffer = BytesIO()
    if File("head", what.file, challenger).is_csv:  # both are read as the policy's file is
        csv.write_csv(joined, buffer)
    else:
        pq.write_table(joined, buffer)
    return buffer.getvalue()


def _weights(policy: Policy) -> tuple[str, ...]:
    return tuple(dict.fromkeys(metric.weights for metric in policy.metrics if metric.weights))


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
