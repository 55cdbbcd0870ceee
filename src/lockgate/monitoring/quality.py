"""Does the model still do what its release promised? Live metrics with intervals, beside the promise, by slice.

The interval of a live metric rests on the sums of each cluster (:mod:`lockgate.monitoring.served`), as those of a
report do (:mod:`lockgate.evaluation.statistics`). A window of few clusters, such as a week of seven days, says little
of how days differ: there the spread between clusters is taken from the release's reference, scaled to their number.
Days that follow each other are alike, so both are widened by the correlation of the reference's days (lag 1, Kish's
design effect of a mean of an AR(1) series).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from lockgate.evaluation.statistics import (
    CONFIDENCE,
    FEWEST_CLUSTERS,
    FEWEST_OF_A_CLASS,
    FEWEST_ROWS,
    Definition,
    Undefined,
    benjamini_hochberg,
    influence,
    judge,
    reported,
    t_quantile,
    two_sided_p,
)
from lockgate.monitoring.series import BINS, REACH, SliceName, Sums, auc, total
from lockgate.result import Better

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lockgate.monitoring.reference import Clusters, MetricReference, Reference
    from lockgate.monitoring.served import Served

    Floats = NDArray[np.float64]

Found = Literal["better", "worse", "noise", "unknown"]
EXCESS = "log_loss_over_baseline"
BETTER: dict[str, Better] = {
    "roc_auc": "higher",
    "average_precision": "higher",
    "log_loss": "lower",
    EXCESS: "lower",
    "brier": "lower",
    "calibration_error": "lower",
}

RANGES = {name: (0.0, 1.0) for name in BETTER if name not in ("log_loss", EXCESS)} | {"log_loss": (0.0, math.inf)}


@dataclass(frozen=True, slots=True)
class Live:
    """A metric of one window, and what the release promised of it.

    ``low`` to ``high`` is the 95 % interval; ``change`` is live less promised, with its interval. ``found`` says what
    the change means: ``worse`` and ``better`` lie outside the luck of the rows (corrected for looking at all metrics,
    or at all slices), ``noise`` does not, ``unknown`` has no interval or no promise; ``why`` says the reason.
    """

    metric: str
    rows: int
    figure: float | None
    low: float | None = None
    high: float | None = None
    promised: float | None = None
    promised_low: float | None = None
    promised_high: float | None = None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    found: Found = "unknown"
    method: str = ""
    why: str = ""
    column: str | None = None
    value: str | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure with its standard error (``None``: not known, for ``why``), degrees of freedom, and how it was found."""

    figure: float
    error: float | None
    freedom: float = math.inf
    method: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Labelled rows whose score is in one of ten equal bins, with the mean score and the share of true ones."""

    low: float
    high: float
    rows: int
    mean_score: float
    share: float


@dataclass(frozen=True, slots=True)
class Estimated:
    """A metric as the scores alone make one expect it, were they as well calibrated as in the reference (CBPE). Where
    outcomes came, ``off`` is the estimate less what turned out, on the same rows."""

    metric: str
    figure: float
    off: float | None = None


def live_quality(served: "Served") -> tuple[list[Live], list[Live]]:
    """Return the live metrics of all rows and those of the slices, the worst slices first."""
    reference = served.reference
    if not served.labelled:
        return [], []
    names = [name for name in BETTER if name != EXCESS]
    if reference is not None:
        own = [one.statistic for one in reference.metrics if one.column is None and one.statistic in BETTER]
        names = [*dict.fromkeys(own), EXCESS] if own else [*names, EXCESS]
    whole = _corrected([_live(served, name, None) for name in names])
    metric = _slice_metric(reference)
    sliced = _corrected([_live(served, metric, name) for name in sorted(one for one in served.sums if one is not None)])
    order = {"worse": 0, "better": 1, "noise": 2, "unknown": 3}
    sliced.sort(key=lambda one: (order[one.found], one.p if one.p is not None else 2.0, one.column, one.value))
    return whole, sliced


def _corrected(lives: list[Live]) -> list[Live]:
    """Return the same with the words corrected for looking at all of them (Benjamini and Hochberg)."""
    found = list(lives)
    known = [number for number, one in enumerate(found) if one.p is not None]
    for number, p in zip(known, benjamini_hochberg([cast("float", found[n].p) for n in known]), strict=True):
        if p > 1 - CONFIDENCE and found[number].found in ("better", "worse"):
            found[number] = replace(found[number], found="noise")
    return found


def calibration(served: "Served") -> list[CalibrationBin]:
    """Return the calibration of the labelled rows; bins without one are left out."""
    if not served.labelled:
        return []
    whole, width = served.whole, len(served.whole.bin_rows)
    return [
        CalibrationBin(
            place / width,
            (place + 1) / width,
            int(rows),
            reported(float(whole.bin_scores[place] / rows)),
            reported(float(whole.bin_labels[place] / rows)),
        )
        for place, rows in enumerate(whole.bin_rows)
        if rows
    ]


def estimated(served: "Served") -> list[Estimated]:
    """Return AUC, log loss, Brier score and share of true rows as the scores alone make one expect them.

    Of each row a share is taken to be true that is its score, moved by what the reference's bin of that score was off
    (confidence-based performance estimation, NannyML's; Gneiting and Raftery 2007 for expected scores). The estimate
    knows nothing of what changed between scores and outcomes.
    """
    import numpy as np

    if served.reference is None or not served.rows:
        return []
    centre = 1 / (1 + np.exp(-(((np.arange(BINS) + 0.5) / BINS) * 2 * REACH - REACH)))
    bins = [one for one in served.reference.calibration if one.rows]
    share = centre
    if bins:
        off = np.interp(centre, [one.mean_score for one in bins], [one.share - one.mean_score for one in bins])
        share = np.clip(centre + off, 1e-6, 1 - 1e-6)

    def figures(counts: Any) -> dict[str, float]:
        rows = float(counts.sum())
        true, false = counts * share, counts * (1 - share)
        loss = -(true * np.log(centre) + false * np.log1p(-centre)).sum() / rows
        squared = (true * (1 - centre) ** 2 + false * centre**2).sum() / rows
        return {
            "roc_auc": auc(true, false),
            "log_loss": float(loss),
            "brier": float(squared),
            "share of true rows": float(true.sum() / rows),
        }

    found = figures(served.all_scores)
    off_by: dict[str, float] = {}
    if served.labelled:
        whole = served.whole
        real = {
            "roc_auc": whole.roc_auc,
            "log_loss": whole.log_loss,
            "brier": whole.brier,
            "share of true rows": whole.label_sum / whole.labelled,
        }
        on_labelled = figures(served.labelled_scores)
        off_by = {name: on_labelled[name] - real[name] for name in real if math.isfinite(real[name])}
    return [
        Estimated(name, reported(figure), reported(off_by[name]) if name in off_by else None)
        for name, figure in found.items()
        if math.isfinite(figure)
    ]


def spread(metric: str, whole: Sums, parts: Sequence[Sums]) -> Spread:
    """Return a metric of labelled rows with its standard error from the sums of their clusters.

    ``whole`` are all the rows; its AUC has the finer bins. Raises :class:`Undefined` where the metric does not exist.
    """
    import numpy as np

    parts = [part for part in parts if part.labelled]
    if not whole.labelled:
        raise Undefined("no labelled row")
    rows = np.array([part.labelled for part in parts], dtype=np.float64)
    if metric in ("log_loss", "brier", EXCESS):
        sums = np.array([_loss_sum(metric, part) for part in parts])
        figure = float(sums.sum() / rows.sum())
        moved = (sums - figure * rows) / rows.sum()
    elif metric == "calibration_error":
        return _calibration(whole, parts)
    else:
        figure, moved = _by_ranks(metric, whole, parts)
    if not math.isfinite(figure):
        raise Undefined("the figure is not finite")
    number = len(parts)
    if number < 2:
        return Spread(figure, None, why=f"{number} cluster of rows")
    error = math.sqrt(float((moved**2).sum()) * number / (number - 1))
    return Spread(figure, error, _freedom(rows), "clusters")


def _by_ranks(metric: str, whole: Sums, parts: Sequence[Sums]) -> "tuple[float, Floats]":
    """Return a metric of ranks and how much each cluster moves it: from counts by bin, by which a row of a class moves
    it as the statistic's influence says."""
    import numpy as np

    true = np.array([part.positives for part in parts], dtype=np.float64)
    false = np.array([part.negatives for part in parts], dtype=np.float64)
    positives, negatives = true.sum(axis=0), false.sum(axis=0)
    if not positives.sum() or not negatives.sum():
        raise Undefined(f"{whole.labelled:,} labelled rows, all of one class")
    bins = len(positives)
    weights = np.concatenate([positives, negatives])
    there = weights > 0
    label = np.repeat([True, False], bins)[there]
    place = np.tile(np.arange(bins, dtype=np.float64), 2)[there]
    figure, moved = influence(metric, label, place, Definition(weights=weights[there]))
    each = np.zeros(2 * bins)
    each[there] = moved / weights[there]
    if metric == "roc_auc":
        figure = whole.roc_auc
    return figure, true @ each[:bins] + false @ each[bins:]


def _calibration(whole: Sums, parts: Sequence[Sums]) -> Spread:
    """Return the calibration error; its standard error is that of the gaps' joint normal distribution, drawn."""
    import numpy as np

    rows = np.array([part.labelled for part in parts], dtype=np.float64)
    sums = np.array([part.bin_scores - part.bin_labels for part in parts])
    gaps = sums.sum(axis=0) / rows.sum()
    figure = float(np.abs(gaps).sum())
    number = len(parts)
    if number < 2:
        return Spread(figure, None, why=f"{number} cluster of rows")
    apart = (sums - np.outer(rows, gaps)) / rows.sum()
    values, axes = np.linalg.eigh(apart.T @ apart * (number / (number - 1)))
    root = (axes * np.sqrt(np.maximum(values, 0.0))) @ axes.T
    drawn = np.abs(gaps + np.random.default_rng(0).standard_normal((1200, len(gaps))) @ root).sum(axis=1)
    del whole
    return Spread(figure, float(drawn.std(ddof=1)), _freedom(rows), "clusters, drawn")


def _live(served: "Served", metric: str, name: SliceName | None) -> Live:
    parts = served.parts(name)
    whole = served.whole if name is None else total(parts)
    column, value = name or (None, None)
    promise = _promise(served.reference, metric, name)
    said: dict[str, Any] = {"metric": metric, "rows": whole.labelled, "column": column, "value": value}
    said |= _promised(metric, promise)
    rarer = min(whole.label_sum, whole.labelled - whole.label_sum)
    try:
        found = spread(metric, whole, parts)
    except Undefined as undefined:
        return Live(**said, figure=None, why=str(undefined))
    if whole.labelled < FEWEST_ROWS or (metric in ("roc_auc", "average_precision") and rarer < FEWEST_OF_A_CLASS):
        found = replace(found, error=None, why=f"{whole.labelled:,} labelled rows, {rarer:,} of the rarer class")
    else:
        found = widened(found, sum(1 for part in parts if part.labelled), promise, served)
    basic = Live(**said, figure=_told(found.figure), method=found.method, why=found.why)
    if found.error is None:
        return basic
    reach = t_quantile((1 + CONFIDENCE) / 2, found.freedom) * found.error
    least, most = RANGES.get(metric, (-math.inf, math.inf))
    ends = max(least, found.figure - reach), min(most, found.figure + reach)
    basic = replace(basic, low=_told(ends[0]), high=_told(ends[1]))
    if promise is None or promise.error is None:
        return replace(basic, why="" if promise else "the release promised nothing of it")
    change = found.figure - (_expected(served, parts) if metric == "calibration_error" else promise.figure)
    error = math.hypot(found.error, promise.error)
    freedom = min(found.freedom, promise.freedom)
    reach = t_quantile((1 + CONFIDENCE) / 2, freedom) * error
    judged = judge(change - reach, change + reach, BETTER[metric])
    return replace(
        basic,
        change=_told(change),
        change_low=_told(change - reach),
        change_high=_told(change + reach),
        found=judged,
        p=_told(two_sided_p(abs(change) / error, freedom)) if error > 0 else None,
    )


def _expected(served: "Served", parts: Sequence[Sums]) -> float:
    """Return the calibration error to expect of these rows were the model as well calibrated as in the reference.

    Few rows show an error even of a perfect model: the gaps of the bins are those of the reference, with the noise of
    these rows, and their absolute values are added up.
    """
    import numpy as np

    whole = total(parts)
    rows = np.array([part.labelled for part in parts if part.labelled], dtype=np.float64)
    sums = np.array([part.bin_scores - part.bin_labels for part in parts if part.labelled])
    number, width = len(rows), len(whole.bin_rows)
    share = np.divide(whole.bin_labels, whole.bin_rows, out=np.zeros(width), where=whole.bin_rows > 0)
    error = np.sqrt(whole.bin_rows * share * (1 - share)) / rows.sum()
    if number > 1:
        apart = (sums - np.outer(rows, sums.sum(axis=0) / rows.sum())) / rows.sum()
        error = np.maximum(error, np.sqrt((apart**2).sum(axis=0) * number / (number - 1)))
    gaps = np.zeros(width)
    if served.reference is not None:
        for one in served.reference.calibration:
            place = min(int((one.low + one.high) / 2 * width), width - 1)
            gaps[place] += one.mean_score - one.share if one.rows else 0.0
    gaps *= whole.bin_rows / rows.sum()
    noise = np.random.default_rng(0).standard_normal((1200, width)) * error
    return float(np.abs(gaps + noise).sum(axis=1).mean())


def _promised(metric: str, promise: Spread | None) -> dict[str, float | None]:
    if promise is None:
        return {}
    if promise.error is None:
        return {"promised": _told(promise.figure)}
    reach = t_quantile((1 + CONFIDENCE) / 2, promise.freedom) * promise.error
    least, most = RANGES.get(metric, (-math.inf, math.inf))
    low, high = max(least, promise.figure - reach), min(most, promise.figure + reach)
    return {"promised": _told(promise.figure), "promised_low": _told(low), "promised_high": _told(high)}


def widened(found: Spread, clusters: int, promise: Spread | None, served: "Served") -> Spread:
    """Return a live figure with the standard error that this many clusters support.

    Ten clusters or more speak for themselves. With fewer, the promise's spread between clusters counts, and the rows'
    own where it is larger.
    """
    factor = alike(served.reference.clusters, clusters) if served.reference is not None and not served.alone else 1.0
    if clusters >= FEWEST_CLUSTERS:
        return replace(found, error=None if found.error is None else found.error * factor)
    of_reference = 0 if served.reference is None else served.reference.clusters.number
    if promise is None or promise.error is None or of_reference < FEWEST_CLUSTERS:
        few = f"{clusters} cluster{'s'[: clusters != 1]} of rows, too few for an interval"
        return replace(found, error=None, why=f"{few}, and the release says nothing of how clusters differ")
    scaled = promise.error * math.sqrt(of_reference / clusters)
    return replace(found, error=scaled * factor, freedom=promise.freedom, method="the release's clusters", why="")


def alike(clusters: "Clusters", number: int) -> float:
    """Return by which factor the standard error of a mean over ``number`` clusters that follow each other is larger
    than if they were independent, from the lag 1 correlation of the reference's log loss by cluster.

    1 where the clusters are not days: their names say whether they are.
    """
    import numpy as np

    losses = (clusters.losses or {}).get("log_loss", ())
    if len(losses) < FEWEST_CLUSTERS or not all(_is_day(name) for name in clusters.names):
        return 1.0
    rows, sums = np.array(clusters.rows, dtype=np.float64), np.array(losses, dtype=np.float64)
    moved = sums - rows * (sums.sum() / rows.sum())
    square = float((moved**2).sum())
    lag = max(0.0, float((moved[1:] * moved[:-1]).sum()) / square) if square > 0 else 0.0
    return math.sqrt(1 + 2 * sum((1 - one / number) * lag**one for one in range(1, number)))


def _promise(reference: "Reference | None", metric: str, name: SliceName | None) -> Spread | None:
    """Return what the release promised of a metric."""
    if reference is None:
        return None
    if metric == EXCESS:
        return None if name is not None else _promised_excess(reference)
    column, value = name or (None, None)
    found = [one for one in reference.metrics if one.statistic == metric and (one.column, one.value) == (column, value)]
    stated = next((one for one in found if one.figure is not None), None)
    return None if stated is None else _stated(stated, reference.clusters.number)


def _stated(metric: "MetricReference", clusters: int) -> Spread:
    freedom = float(clusters - 1) if clusters > 1 else math.inf
    assert metric.figure is not None  # noqa: S101 - asked for by the caller
    if metric.low is None or metric.high is None:
        return Spread(metric.figure, None, why=metric.why)
    half = (metric.high - metric.low) / 2
    return Spread(metric.figure, half / t_quantile((1 + CONFIDENCE) / 2, freedom), freedom, "reference")


def _promised_excess(reference: "Reference") -> Spread | None:
    """Return the model's mean log loss less the baseline's on the reference rows, from the sums of their clusters."""
    import numpy as np

    clusters = reference.clusters
    model, base = (clusters.losses or {}).get("log_loss"), (clusters.baseline_losses or {}).get("log_loss")
    if not model or not base or len(model) < 2:
        return None
    rows, sums = np.array(clusters.rows, dtype=np.float64), np.array(model) - np.array(base)
    figure = float(sums.sum() / rows.sum())
    number = len(rows)
    error = math.sqrt(float((((sums - figure * rows) / rows.sum()) ** 2).sum()) * number / (number - 1))
    return Spread(figure, error, _freedom(rows), "reference")


def _slice_metric(reference: "Reference | None") -> str:
    sliced = [one.statistic for one in reference.metrics if one.column is not None] if reference is not None else []
    return next((name for name in sliced if name in BETTER), "roc_auc")


def _loss_sum(metric: str, part: Sums) -> float:
    if metric == EXCESS:
        return part.loss_model_sum - part.loss_baseline_sum
    return part.loss_model_sum if metric == "log_loss" else part.brier_model_sum


def _freedom(rows: "Floats") -> float:
    squares = rows**2
    return max(1.0, float(squares.sum() ** 2 / (squares**2).sum()) - 1.0)


def _is_day(name: str) -> bool:
    return len(name) >= 10 and name[4] == name[7] == "-" and name[:4].isdigit()


def _told(figure: float | None) -> float | None:
    return None if figure is None or not math.isfinite(figure) else reported(figure)
