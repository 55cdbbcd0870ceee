"""Base and head: the metrics of both, the change on the rows they share, and which of it is more than chance.

Values come from the metrics files, intervals from the per-row predictions. What a file lacks or hides is told in the
note of the metric concerned; nothing here fails on what a pipeline wrote.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lockgate.evaluation import predictions, statistics
from lockgate.evaluation.metric_files import Absent, Unreadable, document, number
from lockgate.evaluation.predictions import File, Refused, Scored, Shared
from lockgate.evaluation.statistics import Undefined, reported
from lockgate.formatting import fixed
from lockgate.policy import Metric, Policy, Predictions, SlicesNoWorse
from lockgate.result import Comparison, MetricChange, SliceChange

NOT_ASKED = "intervals were left out (--no-intervals)"
DISAGREEMENT = 0.001  # a metrics file may round; further from what its own predictions give, it is said


@dataclass(frozen=True, slots=True)
class Side:
    """What one revision offers: the bytes of each metrics file (``None``: no such file; or why it cannot be had) and
    its predictions, or why there are none in words; ``absent`` if there simply is no such file."""

    metrics: Mapping[str, bytes | Unreadable | None]
    predictions: Path | bytes | None = None
    no_predictions: str = ""
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """What the comparison found. ``doubts`` are the notes that a reviewer has to look at before trusting the rest."""

    comparison: Comparison
    metrics: tuple[MetricChange, ...]
    slices: tuple[SliceChange, ...]
    doubts: tuple[str, ...]
    notes: tuple[str, ...]


def compare(policy: Policy, base: Side | None, head: Side, *, intervals: bool = True) -> Judged:
    """Compare two sides by ``policy``. ``base`` is ``None`` for a first commit; without ``intervals`` no predictions
    are read and changes stay unjudged."""
    metrics = tuple(_recorded(metric, base, head) for metric in policy.metrics)
    nothing = Judged(Comparison(None, None, None), metrics, (), (), ())
    if policy.predictions is None:
        return replace(nothing, notes=("No intervals: the policy names no predictions.",))
    if not intervals:
        return nothing if base is None else replace(nothing, comparison=Comparison(None, None, None, NOT_ASKED))
    if base is None:
        return nothing
    if base.predictions is None and base.absent and head.predictions is not None:
        return replace(nothing, notes=("No intervals: base has no predictions.",))
    return _with_intervals(policy, policy.predictions, base, head, nothing)


def _with_intervals(policy: Policy, what: Predictions, base: Side, head: Side, nothing: Judged) -> Judged:
    sides: list[Scored] = []
    try:
        files = [_file(what, "base", base), _file(what, "head", head)]
        sides.extend(predictions.read_scored(what, file) for file in files)
        shared = predictions.join(what, files[0], files[1], (sides[0], sides[1]))
    except Refused as reason:
        rows = [len(side.label) for side in sides] + [None, None]
        return replace(nothing, comparison=Comparison(rows[0], rows[1], None, str(reason)))
    counts = Comparison(len(shared.base.label), len(shared.head.label), len(shared.label))
    metrics: list[MetricChange] = []
    doubts: list[str] = []
    for change in nothing.metrics:
        told, doubt = (change, "") if change.change is None else _estimated(policy.metric(change.name), change, shared)
        metrics.append(told)
        doubts += [doubt] if doubt else []
    if counts.rows_shared != counts.rows_base or counts.rows_shared != counts.rows_head:
        doubts.insert(0, _rows_differ(counts))
    return Judged(counts, tuple(metrics), _sliced(policy, what, shared), tuple(doubts), shared.notes)


def _file(what: Predictions, side: str, offered: Side) -> File:
    if offered.predictions is None:
        raise Refused(offered.no_predictions or f"there is no {what.file} of {side}")
    return File(side, what.file, offered.predictions)


def _rows_differ(counts: Comparison) -> str:
    return (
        f"The test rows differ: base has {counts.rows_base:,}, head {counts.rows_head:,}; intervals and slices rest on "
        f"the {counts.rows_shared:,} they share."
    )


# --- metrics


def _recorded(metric: Metric, base: Side | None, head: Side) -> MetricChange:
    """Return the change as the metrics files have it, unjudged."""
    values: list[float | None] = []
    notes: list[str] = []
    absent: list[bool] = []
    for name, side in (("base", base), ("head", head)):
        try:
            values.append(None if side is None else recorded_value(metric, side))
            absent.append(side is None)
        except Unreadable as reason:
            values.append(None)
            absent.append(isinstance(reason, Absent))
            notes.append(f"{name}: {reason}")
    before, after = values
    change = None if before is None or after is None else reported(after - before)
    if before is None and after is not None and absent[0]:
        return MetricChange(metric.name, metric.better, None, after, None, None, None, "new")
    if before is not None and after is None and absent[1]:
        return MetricChange(metric.name, metric.better, before, None, None, None, None, "removed", note=notes[0])
    return MetricChange(
        metric.name, metric.better, before, after, change, None, None, "unjudged", note="; ".join(notes)
    )


def recorded_value(metric: Metric, side: Side) -> float:
    """Return the metric as the side's file has it. Raises :class:`Unreadable`, with the reason."""
    data = side.metrics.get(metric.file)
    if data is None:
        raise Absent(f"there is no {metric.file}")
    if isinstance(data, Unreadable):
        raise data
    return number(document(data, metric.file), metric.key, metric.file)


def _estimated(metric: Metric, recorded: MetricChange, shared: Shared) -> tuple[MetricChange, str]:
    """Return the change with its interval where the metric has a statistic that is defined on the shared rows, and
    the doubt that comes with it: a head whose metrics file disagrees with its predictions where base's does not."""
    if metric.statistic is None:
        return recorded, ""
    try:
        estimate = statistics.compare(metric.statistic, shared.label, shared.score_base, shared.score_head)
        anew = [statistics.value(metric.statistic, side.label, side.score) for side in (shared.base, shared.head)]
    except Undefined as reason:
        return replace(recorded, note=f"no interval: {reason}"), ""
    low, high = reported(estimate.low), reported(estimate.high)
    disagree = [
        f"{name}'s {metric.file} says {fixed(told, 4)}, its predictions give {fixed(computed, 4)}"
        for name, told, computed in zip(("base", "head"), (recorded.base, recorded.head), anew, strict=True)
        if told is not None and abs(told - computed) > DISAGREEMENT
    ]
    judged = replace(
        recorded,
        change=reported(estimate.change),
        low=low,
        high=high,
        judgement=statistics.judge(low, high, metric.better),
        method=estimate.method,
        note="; ".join(disagree),
    )
    only_head = len(disagree) == 1 and disagree[0].startswith("head")  # both: it is defined otherwise
    return judged, f"{metric.name}: {disagree[0]}" if only_head else ""


# --- slices


def _sliced(policy: Policy, what: Predictions, shared: Shared) -> tuple[SliceChange, ...]:
    """Return every metric that is asked for on every slice, the worst significant regressions first."""
    gated = [gate.metric for gate in policy.gates if isinstance(gate, SlicesNoWorse)]
    asked = dict.fromkeys([name for name in (what.slice_metric, *gated) if name and policy.metric(name).statistic])
    changes: list[SliceChange] = []
    p_values: list[float | None] = []
    for name in asked:
        metric = policy.metric(name)
        for one in shared.slices:
            change, p = _slice(metric, one, shared)
            changes.append(change)
            p_values.append(p)
    adjusted = iter(statistics.benjamini_hochberg([p for p in p_values if p is not None]))
    judged = [
        change if p is None else _judged(policy.metric(change.metric), change, reported(next(adjusted)))
        for change, p in zip(changes, p_values, strict=True)
    ]
    return tuple(sorted(judged, key=lambda change: _urgency(policy.metric(change.metric), change)))


def _slice(metric: Metric, one: predictions.Slice, shared: Shared) -> tuple[SliceChange, float | None]:
    label, base, head = shared.label[one.rows], shared.score_base[one.rows], shared.score_head[one.rows]
    empty = SliceChange(
        one.column, one.value, metric.name, len(one.rows), None, None, None, None, None, None, "unjudged"
    )
    assert metric.statistic is not None  # noqa: S101  the policy was checked for it
    try:
        estimate = statistics.compare(metric.statistic, label, base, head)
    except Undefined as reason:
        try:
            before = statistics.value(metric.statistic, label, base)
            after = statistics.value(metric.statistic, label, head)
        except Undefined:
            return replace(empty, note=str(reason)), None
        change = reported(after - before)
        return replace(empty, base=reported(before), head=reported(after), change=change, note=str(reason)), None
    found = replace(
        empty,
        base=reported(estimate.base),
        head=reported(estimate.head),
        change=reported(estimate.change),
        low=reported(estimate.low),
        high=reported(estimate.high),
    )
    return found, estimate.p


def _judged(metric: Metric, change: SliceChange, adjusted: float) -> SliceChange:
    if adjusted > 1 - statistics.CONFIDENCE or change.low is None or change.high is None:
        return replace(change, adjusted_p=adjusted, judgement="noise")
    return replace(change, adjusted_p=adjusted, judgement=statistics.judge(change.low, change.high, metric.better))


def harm(metric: Metric, change: float) -> float:
    """Return by how much ``change`` makes the metric worse (negative: better)."""
    return -change if metric.better == "higher" else change


def _urgency(metric: Metric, change: SliceChange) -> tuple[bool, bool, float, str, str, str]:
    worsening = harm(metric, change.change) if change.change is not None else float("-inf")
    judged = change.judgement
    return (judged != "worse", judged == "unjudged", -worsening, change.metric, change.column, change.value)
