"""Which series of days alarms are judged by, and what a release promised of each: pure functions of sums by day.

Every series grows when things get worse. The *relative* ones are the model less the fixed baseline of the release on
the same rows: a day that is hard for everybody is in both and cancels. The *absolute* ones are the model's alone.

Of an AUC the relative series is ``ratio * (baseline - 1/2) - (model - 1/2)``, where ``ratio`` is by how much more than
the baseline the model told the classes apart on the reference (:func:`ratio_of`): where outcomes become harder to
foresee, all models come nearer to 1/2, and so does the difference of two.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import TYPE_CHECKING, Literal

from lockgate.monitoring.reference import Clusters, Ranks, Reference
from lockgate.monitoring.series import Day, SliceName, Sums

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Form = Literal["relative", "absolute"]
WEEKS = 8  # before a day, whose same weekdays say how many requests it should have
FEWEST_WEEKS = 3
RATIOS = (1.0, 2.0)  # a baseline that hardly tells anything is not blown up to be one that does


@dataclass(frozen=True, slots=True)
class DailyValues:
    """A value and a weight a day, 0 where nothing is known. ``name`` tells the series of one kind apart: a slice, or
    the side to which scores are off."""

    name: str
    values: "Floats"
    weights: "Floats"


def live(
    kind: str, form: Form, days: Sequence[Day], ratio: float = 1.0, slices: Sequence[SliceName] = ()
) -> list[DailyValues]:
    """Return the series of one kind and form, as they were lived. ``ratio`` is that of the reference."""
    if kind == "slices":
        return [_daily(": ".join(one), [_slice_value(day, one, ratio) for day in days]) for one in slices]
    if kind == "roc_auc":
        return [_daily("", [_ranked_day(day, form, ratio) for day in days])]
    if kind == "calibration_error":
        gaps = [_gap(day) for day in days]
        return [_daily("too low", gaps), _daily("too high", [(-gap, weight) for gap, weight in gaps])]
    return [_daily("", [_VALUES[kind, form](day) for day in days])]


def promised(kind: str, form: Form, reference: Reference) -> list[DailyValues]:
    """Return the same series over the days of a reference; none where it does not have them by day."""
    clusters = reference.clusters
    if not days_of(reference):
        return []
    ranks = clusters.ranks
    if kind == "slices":
        found = clusters.slice_ranks
        return [_daily(": ".join(one), _of_ranks(found[one], "relative", ratio_of(reference))) for one in sorted(found)]
    if kind == "roc_auc":
        return [_daily("", _of_ranks(ranks, form, ratio_of(reference)))] if ranks else []
    if kind == "calibration_error":
        gaps = [
            _over(label - score, rows)
            for label, score, rows in zip(clusters.labels, clusters.scores, clusters.rows, strict=True)
        ]
        return [_daily("too low", gaps), _daily("too high", [(-gap, weight) for gap, weight in gaps])]
    losses = clusters.losses.get(kind)
    against = clusters.baseline_losses.get(kind) if form == "relative" else (0.0,) * len(clusters.rows)
    if losses is None or against is None:
        return []
    return [_daily("", [_over(a - b, rows) for a, b, rows in zip(losses, against, clusters.rows, strict=True)])]


def clusters_of(days: Sequence[Day]) -> Clusters:
    """Return days as a reference has them, for histories that no release has promised anything of."""
    slices = sorted({one for day in days for one in day.slices})
    return Clusters(
        columns=("day",),
        number=len(days),
        names=tuple(day.day.isoformat() for day in days),
        rows=tuple(day.labelled for day in days),
        labels=tuple(float(day.label_sum) for day in days),
        scores=tuple(day.score_sum for day in days),
        losses={
            "log_loss": tuple(day.loss_model_sum for day in days),
            "brier": tuple(day.brier_model_sum for day in days),
        },
        baseline_losses={
            "log_loss": tuple(day.loss_baseline_sum for day in days),
            "brier": tuple(day.brier_baseline_sum for day in days),
        },
        baseline_scores=tuple(day.score_baseline_sum for day in days),
        ranks=_ranks_of(days),
        slice_ranks={one: _ranks_of([day.slices.get(one) for day in days]) for one in slices},
    )


def _ranks_of(days: "Sequence[Sums | None]") -> Ranks:
    return Ranks(
        tuple(int(day.pairs) if day else 0 for day in days),
        tuple(day.pairs_model_sum if day else 0.0 for day in days),
        tuple(day.pairs_baseline_sum if day else 0.0 for day in days),
    )


def days_of(reference: Reference) -> tuple[date, ...]:
    """Return the days of a reference whose rows belong together by day, none where they belong together otherwise."""
    try:
        return tuple(date.fromisoformat(name[:10]) for name in reference.clusters.names)
    except ValueError:
        return ()


def ratio_of(reference: Reference) -> float:
    """Return how much better than by chance the model told the classes apart within days, over the same of the
    baseline, within :data:`RATIOS`."""
    ranks = reference.clusters.ranks
    if ranks is None or not sum(ranks.pairs):
        return 1.0
    model, baseline = (sum(part) / sum(ranks.pairs) - 0.5 for part in (ranks.model, ranks.baseline))
    return min(max(model / baseline, RATIOS[0]), RATIOS[1]) if baseline > 0 else RATIOS[0]


def slice_names(reference: Reference) -> tuple[SliceName, ...]:
    """Return the slices of which a reference knows the days, in the order of :func:`promised`."""
    return tuple(sorted(reference.clusters.slice_ranks))


def baseline_worse(kind: str, side: str, days: Sequence[Day], reference: Reference) -> float:
    """Return by how much the baseline is worse than on the reference, in the unit of the absolute series of this kind
    (and side); NaN where there is none."""
    before, now = _baseline(kind, _reference_sums(reference)), _baseline(kind, _baseline_sums(days))
    return (now - before) * (-1.0 if side == "too high" else 1.0)


def _baseline(kind: str, sums: Mapping[str, float]) -> float:
    rows, pairs = sums["rows"], sums["pairs"]
    if kind == "roc_auc":
        return 1.0 - sums["in_order"] / pairs if pairs else math.nan
    if not rows:
        return math.nan
    return (sums["labels"] - sums["scores"] if kind == "calibration_error" else sums[kind]) / rows


def _baseline_sums(days: Sequence[Day]) -> dict[str, float]:
    return {
        "rows": sum(day.labelled for day in days),
        "pairs": sum(day.pairs for day in days),
        "in_order": sum(day.pairs_baseline_sum for day in days),
        "labels": sum(day.label_sum for day in days),
        "scores": sum(day.score_baseline_sum for day in days),
        "log_loss": sum(day.loss_baseline_sum for day in days),
        "brier": sum(day.brier_baseline_sum for day in days),
    }


def _reference_sums(reference: Reference) -> dict[str, float]:
    clusters, ranks = reference.clusters, reference.clusters.ranks
    losses = clusters.baseline_losses
    return {
        "rows": sum(clusters.rows),
        "pairs": sum(ranks.pairs) if ranks else 0,
        "in_order": sum(ranks.baseline) if ranks else math.nan,
        "labels": sum(clusters.labels),
        "scores": sum(clusters.baseline_scores) if clusters.baseline_scores else math.nan,
        "log_loss": sum(losses["log_loss"]) if "log_loss" in losses else math.nan,
        "brier": sum(losses["brier"]) if "brier" in losses else math.nan,
    }


def shares_of_columns(
    days: Sequence[Day], reference: Reference, margin: float
) -> tuple[list[DailyValues], list[float]]:
    """Return, for each column of the request, the share of its values that are missing, and the share that the model
    does not know, with the bound of each: what the reference had, and ``margin`` or three standard errors more."""
    found, bounds = [], []
    for column in reference.columns:
        expected = column.missing / column.rows if column.rows else 0.0
        bound = expected + max(margin, 3.0 * column.missing_error)
        if bound < 1.0:
            absent = [column.name in day.absent for day in days]
            missing = [
                (1.0 if gone else day.missing.get(column.name, 0) / day.rows if day.rows else math.nan, float(day.rows))
                for day, gone in zip(days, absent, strict=True)
            ]
            found.append(_daily(f"{column.name} missing", missing))
            bounds.append(bound)
        if any(column.name in day.unknown for day in days):
            unknown = [
                (day.unknown.get(column.name, 0) / day.rows if day.rows else math.nan, float(day.rows)) for day in days
            ]
            found.append(_daily(f"{column.name} unknown", unknown))
            bounds.append(margin)
    return found, bounds


def shares_of_requests(traffic: Mapping[date, int]) -> tuple[list[date], list[DailyValues]]:
    """Return, for each day from the first to the last, the share of the expected requests that did not come, and the
    share of those that came that were not expected.

    Expected is the median of the same weekday in the :data:`WEEKS` weeks before; before :data:`FEWEST_WEEKS` of them
    nothing is. A day that is not in ``traffic`` had no request.
    """
    if not traffic:
        return [], []
    first, last = min(traffic), max(traffic)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    fewer, more = [], []
    for number, day in enumerate(days):
        before = [traffic.get(days[number - 7 * week], 0) for week in range(1, WEEKS + 1) if number >= 7 * week]
        expected = median(before) if len(before) >= FEWEST_WEEKS else 0.0
        came = traffic.get(day, 0)
        known = 1.0 if expected else 0.0
        fewer.append((max(0.0, 1.0 - came / expected) if expected else math.nan, known))
        more.append((max(0.0, 1.0 - expected / came) if expected and came else 0.0 if expected else math.nan, known))
    return days, [_daily("fewer", fewer), _daily("more", more)]


def _daily(name: str, pairs: "Sequence[tuple[float, float]]") -> DailyValues:
    import numpy as np

    values = np.array([value for value, _ in pairs], dtype=np.float64)
    weights = np.array([weight for _, weight in pairs], dtype=np.float64)
    return DailyValues(name, values, np.where(np.isfinite(values), weights, 0.0))


def _over(value: float, rows: float) -> tuple[float, float]:
    return (value / rows if rows else math.nan, float(rows))


def _gap(day: Sums) -> tuple[float, float]:
    return _over(day.label_sum - day.score_sum, day.labelled)


def _ranked(pairs: float, model: float, baseline: float, form: Form, ratio: float) -> tuple[float, float]:
    """Return what the AUC lacks, and the weight of a day: the geometric mean of the numbers of its classes."""
    if not pairs:
        return math.nan, 0.0
    better = model / pairs - 0.5
    lacks = ratio * (baseline / pairs - 0.5) - better if form == "relative" else 0.5 - better
    return lacks, math.sqrt(pairs)


def _slice_value(day: Day, one: SliceName, ratio: float) -> tuple[float, float]:
    part = day.slices.get(one)
    return (math.nan, 0.0) if part is None else _ranked_day(part, "relative", ratio)


def _ranked_day(day: Sums, form: Form, ratio: float) -> tuple[float, float]:
    return _ranked(day.pairs, day.pairs_model_sum, day.pairs_baseline_sum, form, ratio)


def _of_ranks(ranks: Ranks, form: Form, ratio: float) -> list[tuple[float, float]]:
    return [_ranked(*one, form, ratio) for one in zip(ranks.pairs, ranks.model, ranks.baseline, strict=True)]


_VALUES: "dict[tuple[str, Form], Callable[[Sums], tuple[float, float]]]" = {
    ("log_loss", "relative"): lambda day: _over(day.loss_model_sum - day.loss_baseline_sum, day.labelled),
    ("log_loss", "absolute"): lambda day: _over(day.loss_model_sum, day.labelled),
    ("brier", "relative"): lambda day: _over(day.brier_model_sum - day.brier_baseline_sum, day.labelled),
    ("brier", "absolute"): lambda day: _over(day.brier_model_sum, day.labelled),
}
