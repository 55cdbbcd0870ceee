"""Is head better than base, or is it chance? Paired estimates of one change, from labels and two sets of scores.

Here are the statistics of binary models, and what those of every kind share; those of the other kinds are in
:mod:`lockgate.evaluation.multiclass` and :mod:`lockgate.evaluation.regression`. A label is true or false, the number of
a class, or a target; scores are one number a row or several (a column each), as the module of the kind says.

Every estimate is of ``head - base`` on the *same* test rows, with a 95 % interval and the two-sided p-value of "no
change". They cover the drawing of the test rows and nothing else: see docs/statistics.md.

Each estimate rests on the *influence* of the rows: how much the change would move if a row counted a little more. The
sum of their squares is the variance. Rows that belong together (``cluster``: the flights of one day, the visits of one
patient) are summed first, which is the cluster-robust variance (Liang and Zeger 1986, Biometrika 73:13-22; for the
AUC Obuchowski 1997, Biometrics 53:567-578), and the interval takes its width from Student's t. Interval and p-value
always agree.

Nothing here rounds. :func:`reported` is applied once, where a figure leaves for a result: processors with other SIMD
widths differ in the last bits of sums and logarithms, and a result has to have the same bytes everywhere.
"""

import math
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Labels = NDArray[Any]
    Indices = NDArray[np.int64]

Kind = Literal["binary", "multiclass", "regression", "other"]
CONFIDENCE = 0.95
FEWEST_ROWS = 30  # below, no interval: the normal approximation has nothing to stand on
FEWEST_OF_A_CLASS = 10
FEWEST_CLUSTERS = 10
FEWEST_EFFECTIVE = 10.0  # rows that a change rests on: (sum of squared influence)^2 / sum of fourth powers
FEWEST_EFFECTIVE_CLUSTERS = 2.5  # the same of clusters, each of which sums over many rows
EXTREME = 1e-6  # a score nearer to 0 or 1: a single wrong row decides the mean log loss
CALIBRATION_BINS = 10
DRAWS = 2400  # of the bins' gaps
SIGNIFICANT_DIGITS = 6
SMALLEST = 1e-12  # a reported figure nearer to zero is zero: it is what rounding errors leave


_confidence: ContextVar[float] = ContextVar("confidence", default=CONFIDENCE)


@contextmanager
def at_confidence(level: float) -> "Iterator[None]":
    """Give every interval inside this confidence, and call a change by it: see :mod:`lockgate.evaluation.looks`."""
    token = _confidence.set(level)
    try:
        yield
    finally:
        _confidence.reset(token)


def confidence() -> float:
    """Return the confidence of the intervals: 95 % unless :func:`at_confidence` says otherwise."""
    return _confidence.get()


class Undefined(Exception):  # noqa: N818  not an error of the program: an answer
    """The statistic, or its interval, does not exist on these rows. ``str()`` is the reason in words."""


@dataclass(frozen=True, slots=True)
class Definition:
    """How a metric is computed where there is a choice: the ``threshold`` from which a score counts as true
    (accuracy), the number of equal ``bins`` (calibration error), whether every row counts alike (``micro``) or every
    class does (``macro``: the mean of the classes' means), and how much each row counts (``weights``, none below 0).

    ``kind`` is the model's. A multiclass one has so many ``classes``; ``chosen`` is the number of the class that a
    figure of one class is about. ``quantile`` is the one that a regression predicts (quantile loss), ``covered`` the
    share of targets that its intervals are to hold (interval score).

    The words are those of scikit-learn: ``average``, and ``sample_weight``.
    """

    threshold: float = 0.5
    bins: int = CALIBRATION_BINS
    average: Literal["micro", "macro"] = "micro"
    weights: "Floats | None" = field(default=None, compare=False)
    kind: Kind = "binary"
    classes: int = 2
    chosen: int = 1
    quantile: float = 0.5
    covered: float = 0.9


@dataclass(frozen=True, slots=True)
class Estimate:
    """``change = head - base`` with its 95 % interval; ``p`` is two-sided; ``method`` names the way for a reader.

    ``error`` is the standard error of the change, ``freedom`` the degrees of freedom of its t distribution (infinite
    where rows are independent), ``effective`` how many rows or clusters carry it: n where all do alike.
    """

    base: float
    head: float
    change: float
    low: float
    high: float
    p: float
    method: str
    error: float = 0.0
    freedom: float = math.inf
    effective: float = math.inf


@dataclass(frozen=True, slots=True)
class Statistic:
    """One way of computing a metric from labels and scores. ``probability``: scores must lie in [0, 1].
    ``both_classes``: it is undefined where only one class occurs. ``rare``: few rows of one class leave it without an
    interval. ``reach``: by how much a single row can change it at most, times the number of rows. ``influence`` is
    :func:`influence` of it."""

    compare: "Callable[[Labels, Floats, Floats, Indices | None, Definition], Estimate]"
    value: "Callable[[Labels, Floats, Definition], float]"
    probability: bool
    both_classes: bool
    rare: bool = False
    reach: "float | Callable[[Labels, Floats, Definition], float] | None" = None
    influence: "Callable[[Labels, Floats, Definition], tuple[float, Floats]] | None" = None


def value(name: str, label: "Labels", score: "Floats", definition: Definition | None = None) -> float:
    """Return the statistic ``name`` of one model, no interval. Raises :class:`Undefined` with the reason."""
    definition = definition or Definition()
    statistic = _statistic(name, definition)
    (label, score), definition = _weighted((label, score), definition)
    _check(statistic, definition, label, score)
    return statistic.value(label, score, definition)


def compare(
    name: str,
    label: "Labels",
    base: "Floats",
    head: "Floats",
    cluster: "Indices | None" = None,
    definition: Definition | None = None,
) -> Estimate:
    """Return the estimate of ``head - base`` for the statistic ``name``, on rows that have the same ``label``.

    Rows of one number in ``cluster`` were drawn together; without it each row was drawn by itself. Raises
    :class:`Undefined` with the reason, also where there are too few rows or clusters for an interval.
    """
    definition = definition or Definition()
    return _compared(_statistic(name, definition), label, base, head, cluster, definition)


def compare_rows(
    loss: "Callable[[Labels, Floats, Definition], Floats]",
    label: "Labels",
    base: "Floats",
    head: "Floats",
    cluster: "Indices | None" = None,
) -> Estimate:
    """Return the estimate of the change of the mean of any per-row ``loss``. Raises as :func:`compare`."""
    return _compared(rows_statistic(loss), label, base, head, cluster, Definition())


def _compared(
    statistic: Statistic,
    label: "Labels",
    base: "Floats",
    head: "Floats",
    cluster: "Indices | None",
    definition: Definition,
) -> Estimate:
    import numpy as np

    if definition.weights is not None:
        counting = definition.weights > 0
        cluster = None if cluster is None else cluster[counting]
    (label, base, head), definition = _weighted((label, base, head), definition)
    _check(statistic, definition, label, base, head)
    if len(label) < FEWEST_ROWS:
        raise Undefined(f"{_rows(len(label))}: too few for an interval (it takes {FEWEST_ROWS})")
    if (_both_classes(statistic, definition) or statistic.rare) and definition.kind in ("binary", "multiclass"):
        rarer, word = _rarest(statistic, label, definition)
        if rarer < FEWEST_OF_A_CLASS:
            raise Undefined(f"{_rows(rarer)} of {word}: too few for an interval (it takes {FEWEST_OF_A_CLASS})")
    if cluster is not None:
        cluster = dense(cluster)
        if (clusters := int(cluster.max()) + 1) < FEWEST_CLUSTERS:
            raise Undefined(f"{clusters} clusters of rows: too few for an interval (it takes {FEWEST_CLUSTERS})")
    if np.array_equal(base, head):
        same = statistic.value(label, base, definition)
        return Estimate(same, same, 0.0, 0.0, 0.0, 1.0, "identical scores")
    found = statistic.compare(label, base, head, cluster, definition)
    if found.error < SMALLEST and statistic.reach is not None:
        reach = statistic.reach if isinstance(statistic.reach, float) else statistic.reach(label, base, definition)
        return _nothing_seen(found, reach, label, cluster, definition)
    what, fewest = ("row", FEWEST_EFFECTIVE) if cluster is None else ("cluster", FEWEST_EFFECTIVE_CLUSTERS)
    if found.effective < fewest:
        carried = round(found.effective)
        raise Undefined(f"the change rests on about {carried} {what}{'s'[: carried != 1]}: too few for an interval")
    return found


def _rarest(statistic: Statistic, label: "Labels", definition: Definition) -> tuple[int, str]:
    """Return the rows of the class that has fewest of those that a statistic rests on, and what to call it."""
    import numpy as np

    if definition.kind == "binary":
        return min(int(label.sum()), int((~label).sum())), "the rarer class"
    rows = np.bincount(label, minlength=definition.classes)
    if statistic.both_classes:  # a figure of one class
        own = int(rows[definition.chosen])
        return min(own, len(label) - own), "the class" if own < len(label) - own else "the other classes"
    return int(rows[rows > 0].min()), "the rarest class"


def dense(numbers: "Indices") -> "Indices":
    """Number the values that occur from 0 on, in their order."""
    import numpy as np

    if len(numbers) == 0 or int(numbers.min()) < 0 or int(numbers.max()) > 4 * len(numbers) + 1000:
        return np.unique(numbers, return_inverse=True)[1].astype(np.int64)
    there = np.bincount(numbers) > 0  # without sorting
    return (np.cumsum(there) - 1)[numbers]


_orders: "ContextVar[list[tuple[Floats, Indices]] | None]" = ContextVar("orders", default=None)


@contextmanager
def sorted_once() -> "Iterator[None]":
    """Remember the order of scores inside: several metrics need it. The arrays must not be changed meanwhile."""
    token = _orders.set([])
    try:
        yield
    finally:
        _orders.reset(token)


def _order(score: "Floats") -> "Indices":
    """Return the rows by rising score. The order of equal scores is any; no figure may depend on it."""
    import numpy as np

    known = _orders.get()
    found = next((order for array, order in known or () if array is score), None)
    if found is None:
        found = np.argsort(score)
        if known is not None:
            known[:] = [*known[-1:], (score, found)]
    return found


def _nothing_seen(
    found: Estimate, reach: float, label: "Labels", cluster: "Indices | None", definition: Definition
) -> Estimate:
    """Return the estimate where no row tells base and head apart although their scores differ.

    None of ``n`` is no proof that there is none: the share of such rows (or clusters) is below
    ``1 - 0.025 ** (1 / n)`` with 97.5 % (Clopper and Pearson 1934), which bounds the change.
    """
    drawn = len(label) if cluster is None else int(cluster.max()) + 1
    share = 1 - ((1 - confidence()) / 2) ** (1 / drawn)
    heaviest = 1.0
    if definition.weights is not None or definition.average == "macro":
        heaviest = float(_shares(label, definition).max()) * len(label)
    half = min(1.0, share * heaviest) * reach
    error = half / t_quantile((1 + confidence()) / 2, math.inf)
    return replace(found, low=found.change - half, high=found.change + half, error=error, method="no row differs")


def influence(
    name: str, label: "Labels", score: "Floats", definition: Definition | None = None
) -> "tuple[float, Floats]":
    """Return the statistic ``name`` of one model and the influence of each row on it, which sums to zero.

    Of the calibration error it is the derivative where no bin's gap is 0, which makes the variance too large rather
    than too small where gaps are near it. Raises :class:`Undefined`.
    """
    import numpy as np

    definition = definition or Definition()
    statistic = _statistic(name, definition)
    _check(statistic, definition, label, score)
    if statistic.influence is not None:
        return statistic.influence(label, score, definition)
    if name == "roc_auc":
        weights = np.ones(len(label)) if definition.weights is None else definition.weights
        of_positives, of_negatives = _placements(label, score, definition.weights)
        share, share_false = weights[label] / weights[label].sum(), weights[~label] / weights[~label].sum()
        auc = float(share @ of_positives)
        found = np.empty(len(label))
        found[label] = share * (of_positives - auc)
        found[~label] = share_false * (of_negatives - auc)
        return auc, found
    if name == "average_precision":
        return _average_precision(label, score, definition.weights)
    if name == "calibration_error":
        places, residuals, gaps = _gaps(label, score, definition)
        error = float(np.abs(gaps).sum())
        weights = np.ones(len(label)) if definition.weights is None else definition.weights
        return error, _floats((np.sign(gaps)[places] * residuals - weights * error) / weights.sum())
    raise NotImplementedError(name)


def design_effect(
    name: str, label: "Labels", base: "Floats", head: "Floats", cluster: "Indices", definition: Definition | None = None
) -> float:
    """Return by which factor the variance of the change is larger than it would be if rows were independent (Kish
    1965). Raises :class:`Undefined` where one of the two has no interval."""
    alone = compare(name, label, base, head, None, definition).error
    together = compare(name, label, base, head, cluster, definition).error
    if alone < SMALLEST:
        raise Undefined("nothing changes")
    return (together / alone) ** 2


def reported(figure: float) -> float:
    """Return ``figure`` as results carry it: 6 significant digits, and 0 for anything nearer to 0 than 1e-12.

    Two computations that agree to 1e-13 agree after it, unless a figure falls within 1e-13 of a rounding edge.
    """
    return 0.0 if abs(figure) < SMALLEST else float(f"{figure:.{SIGNIFICANT_DIGITS - 1}e}")


def judge(low: float, high: float, better: Literal["higher", "lower"]) -> Literal["better", "worse", "noise"]:
    """Say what an interval of the change means: noise if it holds 0, else the side on which it lies."""
    if low <= 0 <= high:
        return "noise"
    return "better" if (low > 0) == (better == "higher") else "worse"


def benjamini_hochberg(p: list[float]) -> list[float]:
    """Return the p-values adjusted for looking at all of them (Benjamini and Hochberg 1995, step-up).

    Calling every adjusted p of at most 0.05 a change keeps the expected share of false ones among them below 5 %.
    """
    order = sorted(range(len(p)), key=lambda index: p[index], reverse=True)
    adjusted = [0.0] * len(p)
    smallest = 1.0
    for rank, index in zip(range(len(p), 0, -1), order, strict=True):
        smallest = min(smallest, p[index] * (len(p) / rank))
        adjusted[index] = smallest
    return adjusted


# --- the estimates


def delong(
    label: "Labels",
    base: "Floats",
    head: "Floats",
    cluster: "Indices | None" = None,
    definition: Definition | None = None,
) -> Estimate:
    """Compare two correlated ROC AUCs (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837-845).

    A row's placement is the share of the other class it is ranked right against, ties counting half; AUC is the mean
    placement and its variance comes from theirs. Found by sorting, O(n log n), as Sun and Xu do (2014, IEEE Signal
    Processing Letters 21:1389-1393). Takes ``label`` true for the class that should score higher.
    """
    import numpy as np

    weights = None if definition is None else definition.weights
    positives, negatives = int(label.sum()), int((~label).sum())
    of_positives_base, of_negatives_base = _placements(label, base, weights)
    of_positives_head, of_negatives_head = _placements(label, head, weights)
    influence = np.empty(len(label))
    if weights is None:
        auc_base, auc_head = float(of_positives_base.mean()), float(of_positives_head.mean())
        influence[label] = (of_positives_head - of_positives_base - (auc_head - auc_base)) / positives
        influence[~label] = (of_negatives_head - of_negatives_base - (auc_head - auc_base)) / negatives
    else:
        share, share_false = weights[label] / weights[label].sum(), weights[~label] / weights[~label].sum()
        auc_base, auc_head = float(share @ of_positives_base), float(share @ of_positives_head)
        influence[label] = share * (of_positives_head - of_positives_base - (auc_head - auc_base))
        influence[~label] = share_false * (of_negatives_head - of_negatives_base - (auc_head - auc_base))
    if cluster is not None:
        return _estimate(auc_base, auc_head, influence, cluster, "DeLong")
    variance = (influence[label] ** 2).sum() * positives / (positives - 1)
    variance += (influence[~label] ** 2).sum() * negatives / (negatives - 1)
    return _interval(auc_base, auc_head, float(variance) ** 0.5, "DeLong", effective=_effective(influence))


def paired_rows(
    loss: "Callable[[Labels, Floats, Definition], Floats]",
    *,
    extreme: "Callable[[Labels, Floats], int] | None" = None,
) -> "Callable[[Labels, Floats, Floats, Indices | None, Definition], Estimate]":
    """Return the comparison of a metric that is the mean of a per-row ``loss``: the paired differences are its sample,
    and their mean is normal by the central limit theorem. ``extreme`` counts the rows with a score so near to 0 or 1
    that a wrong one costs more than all others together: then these rows say nothing of the mean to expect."""

    def compared(
        label: "Labels", base: "Floats", head: "Floats", cluster: "Indices | None", definition: Definition
    ) -> Estimate:
        for scores in (base, head) if extreme is not None else ():
            assert extreme is not None  # noqa: S101  said a line above
            if certain := extreme(label, scores):
                raise Undefined(
                    f"{_rows(certain)} with a score of 0 or 1, or within {EXTREME:g} of it: one that is wrong would "
                    "outweigh all others"
                )
        loss_base, loss_head = loss(label, base, definition), loss(label, head, definition)
        of_base, of_head = _mean(label, loss_base, definition), _mean(label, loss_head, definition)
        influence = _influence_on_mean(label, loss_head - loss_base, of_head - of_base, definition)
        return _estimate(of_base, of_head, influence, cluster, "paired rows")

    return compared


def _certain(_label: "Labels", scores: "Floats") -> int:
    return int((scores < EXTREME).sum() + (scores > 1 - EXTREME).sum())


def _shares(label: "Labels", definition: Definition) -> "Floats":
    """Return how much each row counts in a mean: shares that add up to 1, or to 1/2 in each class (``macro``)."""
    import numpy as np

    weights = np.ones(len(label)) if definition.weights is None else definition.weights
    if definition.average == "micro":
        return _floats(weights / weights.sum())
    if definition.kind == "multiclass":
        each = np.bincount(label, weights, definition.classes)
        return _floats(weights / (int((each > 0).sum()) * each[label]))
    of_class = np.where(label, weights[label].sum(), weights[~label].sum())
    return _floats(weights / (2 * of_class))


def _mean(label: "Labels", loss: "Floats", definition: Definition) -> float:
    """Return the mean of a per-row loss, over rows or over classes."""
    if definition.weights is None and definition.average == "micro":
        return float(loss.mean())
    return float(_shares(label, definition) @ loss)


def _influence_on_mean(label: "Labels", loss: "Floats", mean: float, definition: Definition) -> "Floats":
    """Return the influence of each row on :func:`_mean`: its share of the distance from the mean of its rows, which are
    all of them or those of its class."""
    import numpy as np

    if definition.weights is None and definition.average == "micro":
        return (loss - mean) / len(label)
    shares = _shares(label, definition)
    if definition.average == "micro":
        return _floats(shares * (loss - mean))
    if definition.kind == "multiclass":
        each = np.bincount(label, shares, definition.classes)
        means = np.bincount(label, shares * loss, definition.classes) / np.where(each > 0, each, 1.0)
        return _floats(shares * (loss - means[label]))
    of_class = [float(shares[rows] @ loss[rows]) / float(shares[rows].sum()) for rows in (~label, label)]
    return _floats(shares * (loss - np.where(label, of_class[1], of_class[0])))


def _compare_average_precision(
    label: "Labels", base: "Floats", head: "Floats", cluster: "Indices | None", definition: Definition
) -> Estimate:
    """Compare two average precisions by the influence of each row on them, found by sorting, O(n log n)."""
    of_base, influence_base = _average_precision(label, base, definition.weights)
    of_head, influence_head = _average_precision(label, head, definition.weights)
    influence = influence_head - influence_base
    if cluster is not None:
        return _estimate(of_base, of_head, influence, cluster, "influence of rows")
    rows, effective = len(influence), _effective(influence)
    error = float((influence**2).sum() * (rows / (rows - 1))) ** 0.5
    # few rows decide it: t with as many degrees of freedom as rows carry it, by which 200 rows cover 95 %
    return _interval(of_base, of_head, error, "influence of rows", max(1.0, effective - 1), effective)


def _estimate(base: float, head: float, influence: "Floats", cluster: "Indices | None", method: str) -> Estimate:
    """Return the estimate whose change reacts to each row as ``influence`` says (it sums to zero)."""
    import numpy as np

    if cluster is None:
        rows = len(influence)
        error = float((influence**2).sum() * (rows / (rows - 1))) ** 0.5
        effective = _effective(influence)
        # where few rows carry the change, the spread is known as badly as from that many: t, not the normal
        return _interval(base, head, error, method, max(1.0, effective - 1), effective)
    together = _floats(np.bincount(cluster, influence))
    error = float((together**2).sum() * (len(together) / (len(together) - 1))) ** 0.5
    return _interval(base, head, error, method, cluster_freedom(cluster), _effective(together))


def cluster_freedom(cluster: "Indices") -> float:
    """Return the degrees of freedom of a cluster-robust variance: one less than the number of clusters, and fewer where
    a few of them hold most rows (Satterthwaite's, for cluster sums that spread as the clusters' sizes)."""
    import numpy as np

    squares = np.bincount(cluster).astype(np.float64) ** 2
    return max(1.0, float(squares.sum() ** 2 / (squares**2).sum()) - 1.0)


def _effective(influence: "Floats") -> float:
    """Return how many rows, or clusters, carry the change: n where all do alike, 1 where a single one does."""
    squares = influence**2
    total = float(squares.sum())
    return total**2 / float((squares**2).sum()) if total > SMALLEST**2 else math.inf


def _interval(
    base: float, head: float, error: float, method: str, freedom: float = math.inf, effective: float = math.inf
) -> Estimate:
    change = head - base
    if error < SMALLEST:
        if abs(change) >= SMALLEST:  # perfect separation and the like: no spread is no certainty
            raise Undefined("the rows show no spread of the change: too few, or all alike")
        return Estimate(base, head, change, change, change, 1.0, method, 0.0, freedom, effective)
    reach = t_quantile((1 + confidence()) / 2, freedom) * error
    p = two_sided_p(abs(change) / error, freedom)
    return Estimate(base, head, change, change - reach, change + reach, p, method, error, freedom, effective)


def two_sided_p(t: float, freedom: float) -> float:
    """Return the probability that Student's t is further from 0 than ``t``: the regularised incomplete beta function at
    ``freedom / (freedom + t²)``, by its continued fraction (Press et al., Numerical Recipes, section 6.4)."""
    if math.isinf(freedom):
        return 2 * NormalDist().cdf(-abs(t))
    a, b, x = freedom / 2, 0.5, freedom / (freedom + t * t)
    if x >= 1.0:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta_tail(b, a, 1 - x)
    return _beta_tail(a, b, x)


def _beta_tail(a: float, b: float, x: float) -> float:
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / (1 + term * d), 1 + term / c
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * fraction / a


@cache
def t_quantile(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t for a ``probability`` of 0.5 or more, by bisection."""
    if math.isinf(freedom):
        return NormalDist().inv_cdf(probability)
    low, high = 0.0, 1e6
    while high - low > 1e-14 * (1 + low):
        middle = (low + high) / 2
        if 1 - two_sided_p(middle, freedom) / 2 < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _placements(label: "Labels", score: "Floats", weights: "Floats | None" = None) -> "tuple[Floats, Floats]":
    """Return for each true row the share of false rows that score below it, and for each false row the share of true
    rows that score above it; ties count half."""
    import numpy as np

    order = _order(score)
    ranked, true = score[order], label[order]
    first = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))  # of each group of equal scores
    group = np.cumsum(np.append(False, ranked[1:] != ranked[:-1]))
    past = np.append(first[1:], len(score))
    # the true rows before each place, and all rows
    true_to = np.append(0, np.cumsum(true if weights is None else true * weights[order]))
    rows_to = np.arange(len(score) + 1) if weights is None else np.append(0, np.cumsum(weights[order]))
    true_below, true_with = true_to[first], true_to[past] - true_to[first]
    false_below, false_with = rows_to[first] - true_below, (rows_to[past] - rows_to[first]) - true_with
    positives, negatives = true_to[-1], rows_to[-1] - true_to[-1]
    share_below = (2 * false_below + false_with) / (2.0 * negatives)
    share_above = (2 * (positives - true_below - true_with) + true_with) / (2.0 * positives)
    placement = np.empty(len(score))
    placement[order] = np.where(true, share_below[group], share_above[group])
    return placement[label], placement[~label]


# --- the metrics


def roc_auc(label: "Labels", score: "Floats", definition: Definition | None = None) -> float:
    """Return the area under the ROC curve: how often a true row scores above a false one, ties counting half."""
    if definition is None or definition.weights is None:
        return float(_placements(label, score)[0].mean())
    weights = definition.weights[label]
    return float(weights @ _placements(label, score, definition.weights)[0] / weights.sum())


def _log_loss(label: "Labels", score: "Floats", _definition: Definition) -> "Floats":
    import numpy as np

    edge = np.finfo(np.float64).eps  # as scikit-learn clips, so that a certain and wrong score stays finite
    right = np.clip(np.where(label, score, 1.0 - score), edge, 1.0)
    return _floats(-np.log(right))


def _brier(label: "Labels", score: "Floats", _definition: Definition) -> "Floats":
    return _floats((score - label) ** 2)


def _accuracy(label: "Labels", score: "Floats", definition: Definition) -> "Floats":
    import numpy as np

    return np.asarray((score >= definition.threshold) == label, dtype=np.float64)


def average_precision(label: "Labels", score: "Floats", definition: Definition | None = None) -> float:
    """Return the average precision: the sum over thresholds of recall gained times precision there."""
    return _average_precision(label, score, None if definition is None else definition.weights)[0]


def _average_precision(label: "Labels", score: "Floats", weights: "Floats | None" = None) -> "tuple[float, Floats]":
    """Return the average precision and each row's influence on it: its derivative by the weight of the row.

    With weights ``w`` it is the sum over true rows of ``w · precision``, over the sum of their ``w``; the precision at
    a score is the weight of the true rows that score as high over the weight of all that do.
    """
    import numpy as np

    order = _order(score)[::-1]
    ranked, true = score[order], label[order].astype(np.float64)
    last = np.append(ranked[1:] != ranked[:-1], True)  # of each group of equal scores
    group = np.cumsum(np.append(False, last[:-1]))
    if weights is None:
        taken = np.flatnonzero(last) + 1.0
    else:
        weights = weights[order]
        true, taken = true * weights, np.cumsum(weights)[last]
    found = np.cumsum(true)[last]
    precision = found / taken
    positives = found[-1]
    true_here = np.diff(np.append(0.0, found))
    average = float((true_here * precision).sum() / positives)
    # over all true rows that score no higher: 1 / taken, and precision / taken
    below = np.cumsum((true_here / taken)[::-1])[::-1]
    below_precision = np.cumsum((true_here * precision / taken)[::-1])[::-1]
    influence = np.empty(len(score))
    counted = below_precision[group] if weights is None else weights * below_precision[group]
    influence[order] = (true * (precision[group] - average + below[group]) - counted) / positives
    return average, influence


def calibration_error(label: "Labels", score: "Floats", definition: Definition | None = None) -> float:
    """Return the expected calibration error: the mean over rows of |mean score - share of true rows| of the row's bin,
    in bins of equal width over [0, 1], ten by default (Naeini, Cooper and Hauskrecht 2015)."""
    import numpy as np

    return float(np.abs(_gaps(label, score, definition or Definition())[2]).sum())


def calibration(
    label: "Labels", base: "Floats", head: "Floats", cluster: "Indices | None", definition: Definition
) -> Estimate:
    """Compare two calibration errors by bootstrapping the gaps of their bins together.

    Resampling rows, or clusters, makes the gaps of both sides jointly normal around the observed ones, so they are
    drawn from that normal distribution. The absolute value bends at 0, which makes the plain bootstrap's variance too
    large where gaps are small; a second bootstrap from each draw of the first measures by how much and takes it out
    (iterated bootstrap, Hall 1992, The Bootstrap and Edgeworth Expansion, section 1.4).
    """
    import numpy as np

    bins = definition.bins
    gaps, covariance = _joint_gaps(label, base, head, cluster, definition)
    spread, axes = np.linalg.eigh(covariance)
    # the symmetric root: unlike the axes it is unique, so that every processor draws the same noise
    root = (axes * np.sqrt(np.where(spread > spread[-1] * 1e-12, spread, 0.0))) @ axes.T
    noise = np.random.default_rng(0).standard_normal((DRAWS, len(gaps))) @ root

    def variance_around(centre: "Floats", noise: "Floats") -> "Floats":
        drawn = np.abs(centre[..., None, :] + noise)
        change = drawn[..., bins:].sum(axis=-1) - drawn[..., :bins].sum(axis=-1)
        return _floats(np.var(change, axis=-1, ddof=1))

    first = float(variance_around(gaps, noise))
    again = float(variance_around(gaps + noise[: DRAWS // 8], noise[DRAWS // 8 : DRAWS // 4]).mean())
    error = first / again**0.5 if again > 0 else 0.0
    of_base, of_head = np.abs(gaps).reshape(2, bins).sum(axis=1)
    if cluster is None:
        return _interval(float(of_base), float(of_head), error, "paired bootstrap")
    return _interval(float(of_base), float(of_head), error, "paired bootstrap", cluster_freedom(cluster))


def _gaps(label: "Labels", score: "Floats", definition: Definition) -> "tuple[NDArray[np.int64], Floats, Floats]":
    """Return each row's bin and its ``score - label`` (times its weight), and for each bin their sum over the number
    (the weight) of all rows."""
    import numpy as np

    bins, weights = definition.bins, definition.weights
    places = np.minimum((score * bins).astype(np.int64), bins - 1)
    residuals = score - label if weights is None else weights * (score - label)
    return places, residuals, np.bincount(places, residuals, bins) / _weight_of_all(label, definition)


def _weight_of_all(label: "Labels", definition: Definition) -> float:
    return float(len(label)) if definition.weights is None else float(definition.weights.sum())


def _joint_gaps(
    label: "Labels", base: "Floats", head: "Floats", cluster: "Indices | None", definition: Definition
) -> "tuple[Floats, Floats]":
    """Return base's and head's gaps in one vector and the covariance of that vector of means."""
    import numpy as np

    bins, weights = definition.bins, definition.weights
    of_base, residual_base, gaps_base = _gaps(label, base, definition)
    of_head, residual_head, gaps_head = _gaps(label, head, definition)
    gaps, whole = np.concatenate([gaps_base, gaps_head]), _weight_of_all(label, definition)
    rows = len(label)
    if cluster is not None:
        sizes = np.bincount(cluster, weights)
        sums = np.concatenate(
            [
                np.bincount(cluster * bins + place, residual, len(sizes) * bins).reshape(-1, bins)
                for place, residual in ((of_base, residual_base), (of_head, residual_head))
            ],
            axis=1,
        )
        apart = (sums - np.outer(sizes, gaps)) / whole
        return gaps, _floats(apart.T @ apart * (len(sizes) / (len(sizes) - 1)))
    cells = of_base * bins + of_head
    across = np.bincount(cells, residual_base * residual_head, bins**2).reshape(bins, -1)
    within_base = np.diag(np.bincount(of_base, residual_base**2, bins))
    within_head = np.diag(np.bincount(of_head, residual_head**2, bins))
    moments = np.block([[within_base, across], [across.T, within_head]])
    if weights is None:
        return gaps, _floats((moments / rows - np.outer(gaps, gaps)) / (rows - 1))
    once = np.concatenate(
        [np.bincount(of_base, weights * residual_base, bins), np.bincount(of_head, weights * residual_head, bins)]
    )
    apart = moments - np.outer(gaps, once) - np.outer(once, gaps) + np.outer(gaps, gaps) * float((weights**2).sum())
    return gaps, _floats(apart / whole**2 * (rows / (rows - 1)))


def _floats(values: Any) -> "Floats":
    import numpy as np

    return np.asarray(values, dtype=np.float64)


def rows_statistic(
    loss: "Callable[[Labels, Floats, Definition], Floats]",
    *,
    extreme: "Callable[[Labels, Floats], int] | None" = None,
    probability: bool = False,
    reach: float | None = None,
) -> Statistic:
    """Return the statistic that is the mean of a per-row ``loss``; see :func:`paired_rows`."""

    def on_mean(label: "Labels", score: "Floats", definition: Definition) -> "tuple[float, Floats]":
        each = loss(label, score, definition)
        mean = _mean(label, each, definition)
        return mean, _influence_on_mean(label, each, mean, definition)

    return Statistic(
        paired_rows(loss, extreme=extreme),
        lambda label, score, definition: _mean(label, loss(label, score, definition), definition),
        probability=probability,
        both_classes=False,
        reach=reach,
        influence=on_mean,
    )


def by_influence(
    find: "Callable[[Labels, Floats, Definition], tuple[float, Floats]]",
    *,
    both_classes: bool = False,
    rare: bool = False,
    reach: "Callable[[Labels, Floats, Definition], float] | None" = None,
) -> Statistic:
    """Return the statistic of which ``find`` gives value and influence: a smooth function of means, whose change is
    normal by the delta method (van der Vaart 1998, Asymptotic Statistics, sections 3.1 and 20.1)."""

    def compared(
        label: "Labels", base: "Floats", head: "Floats", cluster: "Indices | None", definition: Definition
    ) -> Estimate:
        of_base, influence_base = find(label, base, definition)
        of_head, influence_head = find(label, head, definition)
        return _estimate(of_base, of_head, influence_head - influence_base, cluster, "influence of rows")

    return Statistic(
        compared,
        lambda label, score, definition: find(label, score, definition)[0],
        probability=False,
        both_classes=both_classes,
        rare=rare,
        reach=reach,
        influence=find,
    )


def _statistic(name: str, definition: Definition) -> Statistic:
    """Return a statistic of the kind of model. Raises :class:`Undefined`: head's policy may name one that is none of
    the kind of base's, which judges."""
    found = _statistics(definition.kind).get(name)
    if found is None:
        raise Undefined(f"{name} is no statistic of the kind `{definition.kind}`, by which base's policy judges")
    return found


@cache
def _statistics(kind: Kind) -> dict[str, Statistic]:
    mean = {"mean": rows_statistic(lambda _label, column, _definition: column)}
    if kind == "multiclass":
        from lockgate.evaluation import multiclass

        return {**multiclass.statistics(), **mean}
    if kind == "regression":
        from lockgate.evaluation import regression

        return {**regression.statistics(), **mean}
    if kind == "other":
        return mean
    from lockgate.evaluation import multiclass

    return {
        "roc_auc": Statistic(delong, roc_auc, probability=False, both_classes=True),
        "average_precision": Statistic(
            _compare_average_precision, average_precision, probability=False, both_classes=True
        ),
        "log_loss": rows_statistic(_log_loss, extreme=_certain, probability=True),
        "brier": rows_statistic(_brier, probability=True),
        "accuracy": rows_statistic(_accuracy, probability=True, reach=1.0),
        "calibration_error": Statistic(calibration, calibration_error, probability=True, both_classes=False, rare=True),
        **multiclass.of_a_threshold(),
        **mean,
    }


def _weighted(columns: "tuple[Any, ...]", definition: Definition) -> "tuple[tuple[Any, ...], Definition]":
    """Return only the rows that count at all."""
    if definition.weights is None or bool((definition.weights > 0).all()):
        return columns, definition
    counting = definition.weights > 0
    return tuple(one[counting] for one in columns), replace(definition, weights=definition.weights[counting])


def _both_classes(statistic: Statistic, definition: Definition) -> bool:
    return statistic.both_classes or definition.average == "macro"


def _check(statistic: Statistic, definition: Definition, label: "Labels", *scores: "Floats") -> None:
    if len(label) == 0:
        raise Undefined("no rows")
    if definition.kind == "binary" and _both_classes(statistic, definition) and (label.all() or not label.any()):
        raise Undefined(f"{_rows(len(label))}, all of one class: the metric is not defined")
    for score in scores:
        if statistic.probability and (float(score.min()) < 0 or float(score.max()) > 1):
            raise Undefined("the scores are not probabilities: some lie outside 0 to 1")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
