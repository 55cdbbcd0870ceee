"""The luck of training: what follows from trainings under other seeds, or from past runs, for base against head.

The seeds of the repeats follow from what a training goes by (:func:`lockgate.evaluation.seeded.content_key`), so that
nobody chooses them, base and head have different ones, and a training that was repeated is not repeated again. The
committed models are not among the repeats: their seeds may have been chosen for what they gave.

What trains anew is :mod:`lockgate.evaluation.seeds`; the statistics are those of :mod:`lockgate.evaluation.procedure`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lockgate.dvc.objects import Cache
from lockgate.dvc.pipeline import State
from lockgate.evaluation import predictions, procedure, statistics
from lockgate.evaluation.compare import Side, answers_on, definition_on, read_side
from lockgate.evaluation.history import PastRuns, past_runs
from lockgate.evaluation.predictions import File, Refused, Scored, Shared
from lockgate.evaluation.procedure import Estimate, Models, Spread
from lockgate.evaluation.scored import Answers
from lockgate.evaluation.seeded import Place, SeedError, content_key, seeds
from lockgate.evaluation.statistics import Undefined, reported
from lockgate.formatting import count
from lockgate.policy import FILE, Metric, Policy, Predictions
from lockgate.result import MetricChange, ProcedureChange, Training


@dataclass(frozen=True, slots=True)
class Repeat:
    """One training under another seed: the metrics as its files have them, and the digest of its predictions, whose
    content is in the project's cache (``None``: there are none)."""

    seed: int
    values: Mapping[str, float]
    predictions: str | None = None


@dataclass(frozen=True, slots=True)
class Repeats:
    """The repeats of both sides. ``failure`` says in words why they are not complete, if so."""

    base: tuple[Repeat, ...] = ()
    head: tuple[Repeat, ...] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """What is compared: the states (``before`` is ``None`` for a first commit), what they offer, and the changes of the
    committed models."""

    before: State | None
    after: State
    sides: tuple[Side | None, Side]
    metrics: tuple[MetricChange, ...]


def wanted(policy: Policy, before: State | None, after: State, number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the seeds that ``number`` repeats of base and of head have. Raises :class:`SeedError`."""
    if policy.train is None:
        raise SeedError(
            "the policy names no seed", f"Say in {FILE} which parameter it is: `train: {{seed: train.seed}}`."
        )
    place = Place.of(policy.train.seed)
    found: list[tuple[int, ...]] = []
    for state in (before, after):
        if state is None:
            found.append(())
            continue
        own = place.value(state)
        key = content_key(state.lock, place)
        if key is None:
            raise SeedError(
                f"no stage of dvc.lock in {state.snapshot.label} has '{place.key}' of {place.file} as a parameter",
                "Name it under `params:` of the stage that trains, and run `lockgate run`.",
            )
        found.append(seeds(key, number, own))
    return found[0], found[1]


def judge(root: Path, policy: Policy, of: Compared, repeats: Repeats | None = None) -> Training | None:
    """Return what is known of the luck of training: from ``repeats``, else from past runs; ``None`` if the policy names
    no seed, or if there is no base to compare with and nothing was repeated."""
    if policy.train is None or (of.before is None and repeats is None):
        return None
    place = Place.of(policy.train.seed)
    told = Training(place.key, "none")
    try:
        wanted(policy, of.before, of.after, 0)
    except SeedError as error:
        return replace(told, note=f"{error}.")
    if repeats is not None:
        return _from_repeats(root, policy, of, repeats, told)
    if of.before and content_key(of.before.lock, place) == content_key(of.after.lock, place):
        return replace(told, source="same")
    pending = policy.train.repeats > 0 and policy.lock != "claimed"
    assert of.before is not None  # noqa: S101  said above
    if policy.predictions is not None and any(change.low is not None for change in of.metrics):
        past = past_runs(of.before.snapshot, place, policy)
        told = _from_history(policy, policy.predictions, of, past, told)
    return replace(told, pending=pending)


def with_training(
    metrics: tuple[MetricChange, ...], training: Training | None, *, gates: bool
) -> tuple[MetricChange, ...]:
    """Return the changes with the interval of the procedure where it is known, which is what is to be judged.

    The values of base and head stay those of the committed models. For ``gates``, each of which names its metric in
    advance, the judgement is not corrected for looking at several.
    """
    if training is None:
        return metrics
    known = {one.metric: one for one in training.changes if one.low is not None}

    def judged(change: MetricChange) -> MetricChange:
        one = known.get(change.name)
        if one is None or one.low is None or one.high is None:
            return change
        judgement = statistics.judge(one.low, one.high, change.better) if gates else one.judgement
        return replace(change, change=one.change, low=one.low, high=one.high, judgement=judgement)

    return tuple(map(judged, metrics))


# --- from repeats


def _from_repeats(root: Path, policy: Policy, of: Compared, repeats: Repeats, told: Training) -> Training:
    told = replace(
        told,
        source="repeats",
        base_seeds=tuple(one.seed for one in repeats.base),
        head_seeds=tuple(one.seed for one in repeats.head),
        trainings=len(repeats.base) + len(repeats.head),
    )
    if repeats.failure:
        return replace(told, source="none", note=f"The training was not repeated: {repeats.failure}.")
    values = tuple(_bare(metric, repeats) for metric in policy.metrics)
    if same := _identical(repeats):
        return replace(
            told,
            source="none",
            changes=values,
            note=f"{same}, whatever '{told.parameter}' is: the training does not use it, or nothing in it is random. "
            "So it is not known how much luck is in the change.",
        )
    if of.before is None:
        return replace(told, changes=values)
    try:
        if policy.predictions is None:
            raise Refused("the policy names no predictions")
        shared = _shared(policy, policy.predictions, of)
        scores = [
            [_answers(root, policy, policy.predictions, shared, _Training(name, side, one)) for one in trainings]
            for name, side, trainings in (("base", of.sides[0], repeats.base), ("head", of.sides[1], repeats.head))
        ]
    except Refused as reason:
        return replace(told, changes=values, note=f"The repeats cannot be compared: {reason}.")
    estimates = {
        change.name: _estimate(policy.metric(change.name), change, shared, scores[0], scores[1])
        for change in of.metrics
    }
    return replace(told, changes=_changes(of.metrics, estimates, {one.metric: one for one in values}))


def _identical(repeats: Repeats) -> str:
    """Say on which side every repeat gave the same; empty if on none."""
    for side, trainings in (("base", repeats.base), ("head", repeats.head)):
        results = {(one.predictions, tuple(sorted(one.values.items()))) for one in trainings}
        if len(trainings) > 1 and len(results) == 1:
            return f"All {len(trainings):,} repeats of {side} gave the same model"
    return ""


def _bare(metric: Metric, repeats: Repeats) -> ProcedureChange:
    """Return the values over the repeats, as the metrics files have them, unjudged."""
    found = [
        [one.values[metric.name] for one in side if metric.name in one.values] for side in (repeats.base, repeats.head)
    ]
    means = [reported(sum(values) / len(values)) if values else None for values in found]
    change = None if means[0] is None or means[1] is None else reported(means[1] - means[0])
    return ProcedureChange(
        metric.name, metric.better, means[0], means[1], change, None, None, "unjudged",
        base_values=tuple(found[0]), head_values=tuple(found[1]),
    )  # fmt: skip


def _shared(policy: Policy, what: Predictions, of: Compared) -> Shared:
    files, scored = [], []
    for name, side in zip(("base", "head"), of.sides, strict=True):
        if side is None or side.predictions is None:
            raise Refused((side.no_predictions if side else "") or f"there is no {what.file} of {name}")
        files.append(File(name, what.file, side.predictions))
        scored.append(read_side(policy, what, files[-1], side))
    return predictions.join(what, files[0], files[1], (scored[0], scored[1]))


@dataclass(frozen=True, slots=True)
class _Training:
    """A repeat of the training of the side ``name``, and what that side offers."""

    name: str
    side: Side | None
    repeat: Repeat

    def __str__(self) -> str:
        return f"{self.name} with seed {self.repeat.seed}"


def _answers(root: Path, policy: Policy, what: Predictions, shared: Shared, one: _Training) -> Answers:
    """Return what a repeat says of the shared rows. Raises :class:`Refused` where it has not all of them."""
    import numpy as np

    path = Cache.of(root).path(one.repeat.predictions) if one.repeat.predictions else None
    if path is None or not path.is_file():
        raise Refused(f"there is no {what.file} of {one}")
    file = File(str(one), what.file, path)
    own: Scored = read_side(policy, what, file, one.side or Side({}))
    joined = predictions.join(replace(what, slices=()), shared.file, file, (shared.base, own))
    if joined.classes != shared.classes:
        raise Refused(f"{one} knows the class '{joined.classes[-1]}', which neither base nor head does")
    place = np.full(len(shared.base.label), -1, dtype=np.int64)
    place[joined.rows_base] = np.arange(len(joined.rows_base))
    place = place[shared.rows_base]
    if missing := int((place < 0).sum()):
        raise Refused(f"{missing:,} of the {len(place):,} test rows are missing in {one}")
    columns = {name: of if isinstance(of, str) else of[place] for name, of in joined.columns_head.items()}
    return Answers(joined.score_head[place], columns)


def _estimate(
    metric: Metric,
    change: MetricChange,
    shared: Shared,
    base: Sequence[Answers],
    head: Sequence[Answers],
    known: Spread | None = None,
) -> "tuple[Models, Models, Estimate] | str":
    """Return the estimate of one metric, or in words why there is none."""
    if metric.function is not None:
        return "a metric that a function computes has no interval over rows and seeds together"
    if metric.statistic is None or change.low is None:
        return change.note or "it has no interval for the committed models"
    try:
        definition = definition_on(metric, shared)
        before, after = (
            procedure.models(
                metric.statistic,
                shared.label,
                [answers_on(metric, one) for one in answers],
                shared.cluster,
                definition,
            )
            for answers in (base, head)
        )
        return before, after, procedure.estimate(before, after, shared.cluster, known)
    except Undefined as reason:
        return str(reason)


def _changes(
    metrics: tuple[MetricChange, ...],
    estimates: "Mapping[str, tuple[Models, Models, Estimate] | str]",
    otherwise: Mapping[str, ProcedureChange],
) -> tuple[ProcedureChange, ...]:
    """Return one change a metric, judged together."""
    found = {name: one for name, one in estimates.items() if not isinstance(one, str)}
    adjusted = dict(zip(found, procedure.holm([one.p for _, _, one in found.values()]), strict=True))
    changes = []
    for metric in metrics:
        told = estimates[metric.name]
        if isinstance(told, str):
            bare = otherwise.get(metric.name)
            empty = ProcedureChange(metric.name, metric.better, None, None, None, None, None, "unjudged")
            changes.append(replace(bare or empty, note=told))
            continue
        before, after, one = told
        low, high = reported(one.low), reported(one.high)
        called = adjusted[metric.name] <= 1 - statistics.confidence()
        changes.append(
            ProcedureChange(
                metric.name,
                metric.better,
                reported(one.base),
                reported(one.head),
                reported(one.change),
                low,
                high,
                statistics.judge(low, high, metric.better) if called else "noise",
                reported(one.rows**0.5),
                reported(one.base_seeds**0.5),
                reported(one.head_seeds**0.5),
                None if one.freedom == float("inf") else reported(one.freedom),
                tuple(map(reported, before.values)),
                tuple(map(reported, after.values)),
            )
        )
    return tuple(changes)


# --- from past runs

FEWEST = 3
"""Degrees of freedom that past runs have to give: with fewer, they say next to nothing of the spread."""


def _from_history(policy: Policy, what: Predictions, of: Compared, past: PastRuns, told: Training) -> Training:
    """Return the committed models' change, with the spread that the seed had in past runs."""
    spreads = {
        name: spread
        for name, groups in past.groups.items()
        if (spread := Spread.pooled(groups)) and spread.freedom >= FEWEST
    }
    if not spreads:
        return told
    try:
        shared = _shared(policy, what, of)
    except Refused:
        return told
    estimates = {}
    for change in of.metrics:
        metric, spread = policy.metric(change.name), spreads.get(change.name)
        estimates[change.name] = (
            _estimate(metric, change, shared, [shared.answers[0]], [shared.answers[1]], spread)
            if spread
            else "too few past runs differ in their seed alone"
        )
    changes = _changes(of.metrics, estimates, {})
    if not any(one.low is not None for one in changes):
        return told
    note = f"The luck of the seed is that of {count(past.runs, 'past run')} that differ in their seed alone."
    return replace(told, source="history", changes=changes, trainings=past.runs, note=note)
