"""What the two models do at the threshold at which one of them will be used: how many rows of each class they call
true, and what their mistakes cost. Every difference has its interval, by the same clusters as everything else."""

from dataclasses import replace
from typing import TYPE_CHECKING

from lockgate.evaluation import statistics
from lockgate.evaluation.statistics import Definition, Undefined, reported
from lockgate.policy import OperatingAt, Predictions
from lockgate.result import Better, Confusion, Difference, OperatingPoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockgate.evaluation.predictions import Shared
    from lockgate.evaluation.statistics import Floats, Labels

    Loss = Callable[[Labels, Floats, Definition], Floats]


def measure(at: OperatingAt, what: Predictions, shared: "Shared") -> OperatingPoint:
    """Return what base and head do at the threshold, on the rows that both have. A score of exactly the threshold
    counts as true."""
    import numpy as np

    rows = len(shared.label)

    def found(label: "Labels", score: "Floats", _definition: Definition) -> "Floats":
        return np.asarray((score >= at.threshold) & label, dtype=np.float64)

    def alarms(label: "Labels", score: "Floats", _definition: Definition) -> "Floats":
        return np.asarray((score >= at.threshold) & ~label, dtype=np.float64)

    base, head = (_confusion(shared.label, score >= at.threshold) for score in (shared.score_base, shared.score_head))
    told = OperatingPoint(
        at.threshold,
        at.positives or f"rows with {what.label}",
        base,
        head,
        replace(_difference(found, shared, "higher", rows), change=float(head.true_positives - base.true_positives)),
        replace(_difference(alarms, shared, "lower", rows), change=float(head.false_positives - base.false_positives)),
    )
    if at.missed is None or at.false_alarm is None:
        return told
    missed, false_alarm = at.missed, at.false_alarm

    def cost(label: "Labels", score: "Floats", _definition: Definition) -> "Floats":
        wrong = (score >= at.threshold) != label
        return np.asarray(wrong * np.where(label, missed, false_alarm), dtype=np.float64)

    of_base, of_head = (
        float(cost(shared.label, score, Definition()).mean()) for score in (shared.score_base, shared.score_head)
    )
    return replace(
        told,
        cost_missed=missed,
        cost_false_alarm=false_alarm,
        cost_base=reported(of_base),
        cost_head=reported(of_head),
        cost=_difference(cost, shared, "lower", 1),
    )


def _confusion(label: "Labels", called: "Labels") -> Confusion:
    true = int((called & label).sum())
    false = int(called.sum()) - true
    positives = int(label.sum())
    return Confusion(true, false, positives - true, len(label) - positives - false)


def _difference(loss: "Loss", shared: "Shared", better: Better, times: int) -> Difference:
    """Return the change of the mean of ``loss``, ``times`` so much; unjudged where there is no interval."""
    rows = (shared.label, shared.score_base, shared.score_head)
    try:
        estimate = statistics.compare_rows(loss, *rows, shared.cluster)
    except Undefined:
        of_base, of_head = (float(loss(shared.label, score, Definition()).mean()) for score in rows[1:])
        return Difference(reported((of_head - of_base) * times), None, None, "unjudged")
    change, low, high = (reported(figure * times) for figure in (estimate.change, estimate.low, estimate.high))
    return Difference(change, low, high, statistics.judge(low, high, better))
