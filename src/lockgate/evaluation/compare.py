"""Base and head: the metrics of both, the change on the rows they share, and which of it is more than chance.

Values come from the metrics files, intervals from the per-row predictions. What a file lacks or hides is told in the
note of the metric concerned; nothing here fails on what a pipeline wrote.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lockgate.evaluation import drawn, operating_point, predictions, statistics
from lockgate.evaluation.metric_files import Absent, Unreadable, document, number
from lockgate.evaluation.predictions import File, Refused, Scored, Shared
from lockgate.evaluation.scored import Answers
from lockgate.evaluation.statistics import Definition, Estimate, Undefined, reported
from lockgate.formatting import count, fixed
from lockgate.gates.gate import harm
from lockgate.policy import OF_A_CLASS, Metric, Policy, Predictions
from lockgate.result import ClassChange, Comparison, Confused, Curve, MetricChange, OperatingPoint, SliceChange

NO_PREDICTIONS = "No intervals: the policy names no predictions."
NOT_ASKED = "intervals were left out (--no-intervals)"
DISAGREEMENT = 0.001  # a metrics file may round; further from what its own predictions give, nothing is judged
MOST_CLASSES_NAMED = 3  # of those that head alone predicts
DESIGN_EFFECT = 2.0  # of a column that the policy does not declare as a cluster: from here on the report warns


@dataclass(frozen=True, slots=True)
class Side:
    """What one revision offers: the bytes of each metrics file (``None``: no such file; or why it cannot be had) and
    its predictions, or why there are none in words; ``absent`` if there simply is no such file. ``labels`` is the file
    that has the labels, where the policy names one."""

    metrics: Mapping[str, bytes | Unreadable | None]
    predictions: Path | bytes | None = None
    no_predictions: str = ""
    absent: bool = False
    labels: Path | bytes | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """What the comparison found. ``warnings`` are the notes that a reviewer has to read before trusting the rest.

    ``disagree`` says of each metric of which head's file and head's predictions say something else that they do.
    ``of_base`` are those of warnings and notes that say the same of base: of its file, or of what its policy declares.
    ``slices_of_head`` is what gates ask of head's own slices where there is no base. ``curves``, ``classes`` and
    ``confused`` are drawn and counted from the predictions themselves.
    """

    comparison: Comparison
    metrics: tuple[MetricChange, ...]
    slices: tuple[SliceChange, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    operating_point: OperatingPoint | None = None
    disagree: Mapping[str, str] = field(default_factory=dict)
    of_base: tuple[str, ...] = ()
    slices_of_head: tuple[SliceChange, ...] = ()
    curves: tuple[Curve, ...] = ()
    classes: tuple[ClassChange, ...] = ()
    confused: tuple[Confused, ...] = ()


def compare(policy: Policy, base: Side | None, head: Side, *, intervals: bool = True) -> Judged:
    """Compare two sides by ``policy``. ``base`` is ``None`` for a first commit; without ``intervals`` no predictions
    are read and changes stay unjudged."""
    metrics = tuple(_recorded(metric, base, head) for metric in policy.metrics)
    nothing = Judged(Comparison(None, None, None), metrics, (), (), ())
    if policy.predictions is None:
        return replace(nothing, notes=(NO_PREDICTIONS,), of_base=(NO_PREDICTIONS,))
    if not intervals:
        return nothing if base is None else replace(nothing, comparison=Comparison(None, None, None, NOT_ASKED))
    if base is None:
        return _alone(policy, policy.predictions, head, nothing)
    if base.predictions is None and base.absent and head.predictions is not None:
        found = _alone(policy, policy.predictions, head, nothing)
        return replace(found, notes=("No intervals: base has no predictions.", *found.notes))
    with statistics.sorted_once():
        return _with_intervals(policy, policy.predictions, base, head, nothing)


def _alone(policy: Policy, what: Predictions, head: Side, nothing: Judged) -> Judged:
    """Hold head's metrics files against its predictions where there are none of base to compare with."""
    if head.predictions is None:
        return nothing
    try:
        file = _file(what, "head", head)
        scored = read_side(policy, what, file, head)
    except Refused as reason:
        return replace(nothing, notes=(f"The metrics are not checked against predictions: {reason}.",))
    disagree: dict[str, dict[str, str]] = {}
    for change in nothing.metrics:
        metric = policy.metric(change.name)
        with suppress(Undefined):
            if told := _disagreement(metric, {"head": (change.head, scored)}):
                disagree[metric.name] = told
    warnings = tuple(_not_judged(name, told) for name, told in disagree.items())
    slices = _slices_of_head(policy, what, file, scored)
    curves = drawn.curves(policy, scored.label, (None, scored.answers), what.kind)
    return replace(nothing, warnings=warnings, disagree=_of_head(disagree), slices_of_head=slices, curves=curves)


def _slices_of_head(policy: Policy, what: Predictions, file: File, scored: Scored) -> tuple[SliceChange, ...]:
    """Return the value of each metric that a gate asks of slices: a limit needs no base."""
    asked = _asked_by_gates(policy, what)
    if not asked:
        return ()
    try:
        rows = predictions.join(what, file, file, (scored, scored))
    except Refused:  # a key that is missing or duplicated: the gates say that no slice could be had
        return ()
    found = []
    for name, columns in asked.items():
        metric = policy.metric(name)
        for one in (one for one in rows.slices if one.column in columns):
            empty = _empty_slice(metric, one, rows)
            try:
                definition = definition_on(metric, rows, one.rows)
                answers = answers_on(metric, rows.answers[1], one.rows)
                value = statistics.value(str(metric.statistic), rows.label[one.rows], answers, definition)
            except Undefined as reason:
                found.append(replace(empty, note=str(reason)))
                continue
            found.append(replace(empty, head=reported(value)))
    return tuple(found)


def _of_head(disagree: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {name: told["head"] for name, told in disagree.items() if "head" in told}


def read_side(policy: Policy, what: Predictions, file: File, of: Side) -> Scored:
    """Return the rows of one side, with the weights and columns that metrics name. Raises :class:`Refused`."""
    columns = tuple(dict.fromkeys(metric.column for metric in policy.metrics if metric.column))
    labels = None if what.labels is None or of.labels is None else File(file.side, what.labels, of.labels)
    return predictions.read_scored(what, file, policy.weights, columns, labels)


def _with_intervals(policy: Policy, what: Predictions, base: Side, head: Side, nothing: Judged) -> Judged:
    sides: list[Scored] = []
    metrics: list[MetricChange] = list(nothing.metrics)
    try:
        files = [_file(what, "base", base), _file(what, "head", head)]
        sides.extend(read_side(policy, what, file, of) for file, of in zip(files, (base, head), strict=True))
        shared = predictions.join(what, files[0], files[1], (sides[0], sides[1]))
    except Refused as reason:
        rows = [len(side.label) for side in sides] + [None, None]
        refused = Comparison(rows[0], rows[1], None, str(reason))
        if len(sides) < 2:
            return replace(nothing, comparison=refused)
        # Both have rows that do not match: figures of the two files are of different rows, and are not compared.
        bare = (one if not policy.metric(one.name).is_computed else replace(one, change=None) for one in metrics)
        return replace(nothing, comparison=refused, metrics=tuple(bare))
    counts = Comparison(
        len(shared.base.label),
        len(shared.head.label),
        len(shared.label),
        incomplete=_incomplete(what, shared),
        cluster=", ".join(what.cluster) + (f" by {what.period}" if what.period else ""),
        clusters=None if shared.cluster is None else int(shared.cluster.max()) + 1,
        positives_base=int(shared.base.label.sum()) if what.kind == "binary" else None,
        positives_head=int(shared.head.label.sum()) if what.kind == "binary" else None,
        kind=what.kind,
        target_base=reported(float(shared.base.label.mean())) if what.kind == "regression" else None,
        target_head=reported(float(shared.head.label.mean())) if what.kind == "regression" else None,
    )
    if counts.incomplete:
        warning = f"{counts.incomplete[0].upper()}{counts.incomplete[1:]}, so the two are not compared. "
        warning += "If this is intended, allow the share with `predictions.missing` in the policy."
        unjudged = tuple(
            one if not policy.metric(one.name).is_computed else replace(one, change=None, note=counts.incomplete)
            for one in nothing.metrics
        )
        return Judged(counts, unjudged, (), (warning,), ())
    differ = counts.rows_shared != counts.rows_base or counts.rows_shared != counts.rows_head
    metrics = []
    disagree: dict[str, dict[str, str]] = {}
    for change in nothing.metrics:
        if change.head is None:
            metrics.append(change)
            continue
        told, disagreement = _estimated(policy.metric(change.name), change, shared, differ=differ)
        metrics.append(told)
        if disagreement:
            disagree[change.name] = disagreement
    warnings = [_not_judged(name, told) for name, told in disagree.items()]
    of_base = [_not_judged(name, told) for name, told in disagree.items() if "base" in told]
    if differ:
        warnings.insert(0, _rows_differ(counts))
    warnings += _unknown_classes(shared)
    undeclared = _undeclared_cluster(policy, what, shared)
    warnings += undeclared
    of_base += [*undeclared, *shared.notes]
    at = operating_point.measure(policy.operating_point, what, shared) if policy.operating_point else None
    slices = _sliced(policy, what, shared)
    return Judged(
        counts,
        tuple(metrics),
        slices,
        tuple(warnings),
        shared.notes,
        at,
        _of_head(disagree),
        tuple(of_base),
        curves=drawn.curves(policy, shared.label, shared.answers, what.kind),
        classes=drawn.classes(shared),
        confused=drawn.confused(shared),
    )


def _incomplete(what: Predictions, shared: Shared) -> str:
    """Say which of base's rows head lacks, if they are more than the policy allows; empty if not."""
    rows, missing = len(shared.base.label), len(shared.base.label) - len(shared.label)
    return f"head lacks {missing:,} of the {rows:,} test rows of base" if missing > what.missing * rows else ""


def _unknown_classes(shared: Shared) -> list[str]:
    """Warn of classes that head predicts, and that neither a label nor base has: often a label is written otherwise."""
    import numpy as np

    if shared.kind != "multiclass":
        return []
    of_head = shared.score_head[:, 0].astype(np.int64)
    known = {*np.unique(shared.base.label).tolist(), *np.unique(shared.base.score[:, 0]).astype(int).tolist()}
    news = [int(one) for one in np.unique(of_head) if int(one) not in known]
    return [
        f"Head predicts the class '{shared.classes[one]}' in {count(int((of_head == one).sum()), 'row')}. No row has "
        "it and base never predicts it, so these count as wrong."
        for one in news[:MOST_CLASSES_NAMED]
    ]


def _undeclared_cluster(policy: Policy, what: Predictions, shared: Shared) -> list[str]:
    """Warn of the column whose rows belong together most, where the policy declares no cluster: its design effect is
    the factor by which it widens the variance of a change."""
    slow = (None, "average_precision", "calibration_error")
    quick = [metric for metric in policy.metrics if metric.statistic not in slow]
    worst = (DESIGN_EFFECT, "", "")
    for column, groups in () if what.cluster or not quick else predictions.groupings(what, shared):
        for metric in quick[:2]:
            with suppress(Undefined):
                base, head = (answers_on(metric, side) for side in shared.answers)
                definition = definition_on(metric, shared)
                effect = statistics.design_effect(str(metric.statistic), shared.label, base, head, groups, definition)
                worst = max(worst, (effect, metric.name, column))
    effect, name, column = worst
    if not name:
        return []
    return [
        f"Rows of one {column} go together: the interval of {name} would be {effect**0.5:.1f} times as wide if the "
        f"policy declared `cluster: [{column}]`. Until then better and worse are called too often."
    ]


def definition_on(metric: Metric, of: Scored | Shared, rows: Any = None) -> Definition:
    """Return how a metric is computed on these rows (``None``: all of them). Raises :class:`Undefined` where the policy
    weights rows and the weights cannot be had."""
    found = Definition(metric.threshold, metric.bins, metric.average, kind=of.kind, quantile=metric.quantile or 0.5)
    if of.kind == "multiclass":
        if metric.of_class is not None and metric.of_class not in of.classes:
            raise Undefined(f"there is no class '{metric.of_class}'")
        if metric.of_class is None and metric.statistic in OF_A_CLASS:
            raise Undefined(f"{metric.statistic} is of one class, and the policy names none")
        chosen = of.classes.index(metric.of_class) if metric.of_class is not None else 0
        found = replace(found, classes=len(of.classes), chosen=chosen)
    if of.covered is not None:
        found = replace(found, covered=of.covered)
    if metric.weights is None:
        return found
    weights = of.weights.get(metric.weights, f"there are no weights '{metric.weights}'")
    if isinstance(weights, str):
        raise Undefined(weights)
    return replace(found, weights=weights if rows is None else weights[rows])


def answers_on(metric: Metric, answers: Answers, rows: Any = None) -> Any:
    """Return what a metric is computed of on these rows (``None``: all of them). Raises :class:`Undefined` where it is
    a column that cannot be had."""
    found = answers.of(metric)
    if isinstance(found, str):
        raise Undefined(found)
    return found if rows is None else found[rows]


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


def value_in(content: bytes | None, metric: Metric) -> float | None:
    """Return the metric as the content of its file has it, ``None`` where that has none that can be read."""
    with suppress(Unreadable):
        return recorded_value(metric, Side({metric.file: content}))
    return None


def _disagreement(
    metric: Metric, sides: Mapping[str, tuple[float | None, Scored]], known: Mapping[str, float] | None = None
) -> dict[str, str]:
    """Say of each side whose metrics file says something else than its own predictions that it does. ``known`` are the
    values that have been computed already. Raises :class:`Undefined` where the statistic is not defined on a side's
    rows."""
    found: dict[str, str] = {}
    if metric.statistic is None:
        return found
    for name, (told, side) in sides.items():
        computed = (known or {}).get(name)
        if computed is None:
            answers = answers_on(metric, side.answers)
            computed = statistics.value(metric.statistic, side.label, answers, definition_on(metric, side))
        if told is not None and abs(told - computed) > DISAGREEMENT * max(1.0, abs(computed)):
            said = f"{name}'s {metric.file} says {fixed(told, 4)}, its predictions give {fixed(computed, 4)}"
            found[name] = said
    return found


def _not_judged(name: str, disagreement: Mapping[str, str]) -> str:
    return (
        f"{name} is not judged, because {next(iter(disagreement.values()))}. If it is defined otherwise, say so in the "
        "policy (`threshold`, `weights`, `bins`, `average`, or `statistic: null`)."
    )


def _estimated(
    metric: Metric, recorded: MetricChange, shared: Shared, *, differ: bool
) -> tuple[MetricChange, dict[str, str]]:
    """Return the change with its interval where the metric has a statistic that is defined on the shared rows, and on
    which side the metrics file disagrees with its own predictions: then nothing is judged.

    If the rows of the two sides ``differ``, figures of the two files are not compared with each other.
    """
    if metric.statistic is None:
        return recorded, {}
    bare = replace(recorded, change=None) if differ else recorded
    estimate: Estimate | None = None
    missing = ""
    if recorded.change is not None:
        try:
            base, head = (answers_on(metric, side) for side in shared.answers)
            definition = definition_on(metric, shared)
            estimate = statistics.compare(metric.statistic, shared.label, base, head, shared.cluster, definition)
        except Undefined as reason:
            missing = str(reason)
    sides = {"base": (recorded.base, shared.base), "head": (recorded.head, shared.head)}
    # on the same rows the estimate has computed both values already
    known = {"base": estimate.base, "head": estimate.head} if estimate is not None and not differ else {}
    try:
        disagreement = _disagreement(metric, sides, known)
    except Undefined as reason:
        disagreement, missing, estimate = {}, missing or str(reason), None
    if disagreement:
        note = f"not judged: {'; '.join(disagreement.values())}"
        return replace(bare, note=f"{recorded.note}; {note}" if recorded.note else note), disagreement
    if recorded.change is None:
        return recorded, {}
    if estimate is None:
        return replace(bare, note=f"no interval: {missing}"), {}
    return with_estimate(recorded, estimate, metric, differ=differ), {}


def with_estimate(recorded: MetricChange, estimate: Estimate, metric: Metric, *, differ: bool) -> MetricChange:
    """Return the change with its interval and judgement, and where the rows of the two sides ``differ`` with the values
    on those that they share."""
    low, high = reported(estimate.low), reported(estimate.high)
    return replace(
        recorded,
        change=reported(estimate.change),
        low=low,
        high=high,
        judgement=statistics.judge(low, high, metric.better),
        method=estimate.method,
        p=reported(estimate.p),
        shared_base=reported(estimate.base) if differ else None,
        shared_head=reported(estimate.head) if differ else None,
    )


# --- slices


def _sliced(policy: Policy, what: Predictions, shared: Shared) -> tuple[SliceChange, ...]:
    """Return every metric that is asked for on every slice, the worst significant regressions first."""
    asked: dict[str, set[str]] = {what.slice_metric: set(what.slices)} if what.slice_metric else {}
    for wanted, columns in _asked_by_gates(policy, what).items():
        asked.setdefault(wanted, set()).update(columns)
    changes: list[SliceChange] = []
    p_values: list[float | None] = []
    for name, columns in asked.items():
        metric = policy.metric(name)
        for one in (one for one in shared.slices if one.column in columns):
            change, p = _slice(metric, one, shared)
            changes.append(change)
            p_values.append(p)
    adjusted = iter(statistics.benjamini_hochberg([p for p in p_values if p is not None]))
    judged = [
        change if p is None else _judged(policy.metric(change.metric), change, reported(next(adjusted)))
        for change, p in zip(changes, p_values, strict=True)
    ]
    return tuple(sorted(judged, key=lambda change: _urgency(policy.metric(change.metric), change)))


def _asked_by_gates(policy: Policy, what: Predictions) -> dict[str, set[str]]:
    """Return the columns whose slices gates ask for, by metric."""
    asked: dict[str, set[str]] = {}
    for gate in policy.gates:
        if (wanted := gate.sliced_metric()) and policy.metric(wanted).statistic:
            columns = getattr(gate, "slices", ()) or getattr(gate, "columns", ()) or what.slices
            asked.setdefault(wanted, set()).update(columns)
    return asked


def _empty_slice(metric: Metric, one: predictions.Slice, shared: Shared) -> SliceChange:
    positives = int(shared.label[one.rows].sum()) if shared.kind == "binary" else None
    nothing = (None, None, None, None, None, None)
    return SliceChange(one.column, one.value, metric.name, len(one.rows), *nothing, "unjudged", positives=positives)


def _slice(metric: Metric, one: predictions.Slice, shared: Shared) -> tuple[SliceChange, float | None]:
    label, empty = shared.label[one.rows], _empty_slice(metric, one, shared)
    assert metric.statistic is not None  # noqa: S101  the policy was checked for it
    cluster = None if shared.cluster is None else shared.cluster[one.rows]
    try:
        definition = definition_on(metric, shared, one.rows)
        base, head = (answers_on(metric, side, one.rows) for side in shared.answers)
    except Undefined as reason:
        return replace(empty, note=str(reason)), None
    try:
        estimate = statistics.compare(metric.statistic, label, base, head, cluster, definition)
    except Undefined as reason:
        try:
            before = statistics.value(metric.statistic, label, base, definition)
            after = statistics.value(metric.statistic, label, head, definition)
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
    if adjusted > 1 - statistics.confidence() or change.low is None or change.high is None:
        return replace(change, adjusted_p=adjusted, judgement="noise")
    return replace(change, adjusted_p=adjusted, judgement=statistics.judge(change.low, change.high, metric.better))


def _urgency(metric: Metric, change: SliceChange) -> tuple[bool, bool, float, str, str, str]:
    worsening = harm(metric, change.change) if change.change is not None else float("-inf")
    judged = change.judgement
    return (judged != "worse", judged == "unjudged", -worsening, change.metric, change.column, change.value)
