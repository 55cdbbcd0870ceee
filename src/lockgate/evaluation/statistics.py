"""Is head better than base, or is it chance? Paired estimates of one change, from labels and two sets of scores.

Every estimate is of ``head - base`` on the *same* test rows, with a 95 % interval and the two-sided p-value of "no
change". They cover the drawing of the test rows and nothing else: see docs/statistics.md. The intervals are normal
ones, ``change`` ± 1.96 standard errors, so interval and p-value always agree.

Nothing here rounds. :func:`reported` is applied once, where a figure leaves for a result: processors with other SIMD
widths differ in the last bits of sums and logarithms, and a result has to have the same bytes everywhere.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Labels = NDArray[np.bool_]
    Weights = NDArray[np.int32]

CONFIDENCE = 0.95
FOLDS = 800  # bootstrap resamples: the standard error is then itself known to 2.5 %
RESAMPLED = 16_000  # rows in a resample at most: beyond, the error is scaled from a random part of the rows
FEWEST_ROWS = 30  # below, no interval: the normal approximation has nothing to stand on
FEWEST_OF_A_CLASS = 10
CALIBRATION_BINS = 10
DRAWS = 2400  # of the bins' gaps
SIGNIFICANT_DIGITS = 6
SMALLEST = 1e-12  # a reported figure nearer to zero is zero: it is what rounding errors leave

_CELLS = 400_000  # weights held at once while resampling: 1.6 MB, which a processor keeps near


class Undefined(Exception):  # noqa: N818  not an error of the program: an answer
    """The statistic, or its interval, does not exist on these rows. ``str()`` is the reason in words."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """``change = head - base`` with its 95 % interval; ``p`` is two-sided; ``method`` names the way for a reader."""

    base: float
    head: float
    change: float
    low: float
    high: float
    p: float
    method: str


@dataclass(frozen=True, slots=True)
class Statistic:
    """One way of computing a metric from labels and scores. ``probability``: scores must lie in [0, 1].
    ``both_classes``: it is undefined where only one class occurs."""

    compare: "Callable[[Labels, Floats, Floats], Estimate]"
    value: "Callable[[Labels, Floats], float]"
    probability: bool
    both_classes: bool


def value(name: str, label: "Labels", score: "Floats") -> float:
    """Return the statistic ``name`` of one model, no interval. Raises :class:`Undefined` with the reason."""
    statistic = _statistics()[name]
    _check(statistic, label, score)
    return statistic.value(label, score)


def compare(name: str, label: "Labels", base: "Floats", head: "Floats") -> Estimate:
    """Return the estimate of ``head - base`` for the statistic ``name``, on rows that have the same ``label``.

    Raises :class:`Undefined` with the reason, also where there are too few rows for an interval.
    """
    import numpy as np

    statistic = _statistics()[name]
    _check(statistic, label, base, head)
    if len(label) < FEWEST_ROWS:
        raise Undefined(f"{_rows(len(label))}: too few for an interval (it takes {FEWEST_ROWS})")
    rarer = min(int(label.sum()), int((~label).sum()))
    if statistic.both_classes and rarer < FEWEST_OF_A_CLASS:
        raise Undefined(f"{_rows(rarer)} of the rarer class: too few for an interval (it takes {FEWEST_OF_A_CLASS})")
    if np.array_equal(base, head):
        same = statistic.value(label, base)
        return _normal(same, same, 0.0, "identical scores")
    return statistic.compare(label, base, head)


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


def delong(label: "Labels", base: "Floats", head: "Floats") -> Estimate:
    """Compare two correlated ROC AUCs (DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44:837-845).

    A row's placement is the share of the other class it is ranked right against, ties counting half; AUC is the mean
    placement and its variance comes from theirs. Found by sorting, O(n log n), as Sun and Xu do (2014, IEEE Signal
    Processing Letters 21:1389-1393). Takes ``label`` true for the class that should score higher.
    """
    import numpy as np

    positives, negatives = int(label.sum()), int((~label).sum())
    of_positives_base, of_negatives_base = _placements(label, base)
    of_positives_head, of_negatives_head = _placements(label, head)
    auc_base, auc_head = float(of_positives_base.mean()), float(of_positives_head.mean())
    variance = (
        np.var(of_positives_head - of_positives_base, ddof=1) / positives
        + np.var(of_negatives_head - of_negatives_base, ddof=1) / negatives
    )
    return _normal(auc_base, auc_head, float(variance) ** 0.5, "DeLong")


def paired_rows(loss: "Callable[[Labels, Floats], Floats]") -> "Callable[[Labels, Floats, Floats], Estimate]":
    """Return the comparison of a metric that is the mean of a per-row ``loss``: the paired differences are its sample,
    and their mean is normal by the central limit theorem."""

    def compared(label: "Labels", base: "Floats", head: "Floats") -> Estimate:
        import numpy as np

        loss_base, loss_head = loss(label, base), loss(label, head)
        error = float(np.std(loss_head - loss_base, ddof=1)) / len(label) ** 0.5
        return _normal(float(loss_base.mean()), float(loss_head.mean()), error, "paired rows")

    return compared


def bootstrap(
    prepare: "Callable[[Labels, Floats], Callable[[Weights], Floats]]",
    folds: int = FOLDS,
    seed: int = 0,
) -> "Callable[[Labels, Floats, Floats], Estimate]":
    """Return the comparison of any metric by resampling whole rows, base and head together.

    Each resample takes a row twice or not at all, with even odds (the double-or-nothing bootstrap of Owen and Eckles
    2012, Annals of Applied Statistics 6:895-927). Drawing with replacement would tie rows with their own copies, which
    makes ranked metrics look steadier than they are: for average precision on 400 rows its error is 4 % too small.

    ``prepare(label, score)`` gives a function from weights of shape (rows, resamples), whole numbers, to one value a
    resample: a row's weights lie side by side, so that taking rows in another order moves blocks. The interval is the
    normal one with the bootstrap's standard error. With more than :data:`RESAMPLED` rows the error is found on that
    many, drawn once, and scaled by the root of the ratio. Seeded: the same rows give the same figures.
    """

    def compared(label: "Labels", base: "Floats", head: "Floats") -> Estimate:
        import numpy as np

        everything = np.ones((len(label), 1), dtype=np.int32)
        value_base = float(prepare(label, base)(everything)[0])
        value_head = float(prepare(label, head)(everything)[0])
        generator = np.random.default_rng(seed)
        scale = 1.0
        if len(label) > RESAMPLED:
            scale = (RESAMPLED / len(label)) ** 0.5
            part = np.sort(generator.choice(len(label), RESAMPLED, replace=False))
            label, base, head = label[part], base[part], head[part]
        of_base, of_head = prepare(label, base), prepare(label, head)
        changes: list[Floats] = []
        step = max(1, _CELLS // len(label))
        for start in range(0, folds, step):
            weights = _resampled(generator, len(label), min(step, folds - start))
            changes.append(of_head(weights) - of_base(weights))
        # a resample without one of the classes has no value; with FEWEST_OF_A_CLASS rows that is one in 1,024
        error = float(np.nanstd(np.concatenate(changes), ddof=1)) * scale
        return _normal(value_base, value_head, error, "paired bootstrap")

    return compared


def _normal(base: float, head: float, error: float, method: str) -> Estimate:
    change = head - base
    reach = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error
    certain = 1.0 if abs(change) < SMALLEST else 0.0
    p = certain if error < SMALLEST else 2 * NormalDist().cdf(-abs(change) / error)
    return Estimate(base, head, change, change - reach, change + reach, p, method)


def _placements(label: "Labels", score: "Floats") -> "tuple[Floats, Floats]":
    """Return for each true row the share of false rows that score below it, and for each false row the share of true
    rows that score above it; ties count half."""
    import numpy as np

    order = np.argsort(score, kind="stable")
    ranked, true = score[order], label[order]
    first = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))  # of each group of equal scores
    group = np.cumsum(np.append(False, ranked[1:] != ranked[:-1]))
    true_to = np.append(0, np.cumsum(true))  # true rows before each place
    past = np.append(first[1:], len(score))
    true_below, true_with = true_to[first], true_to[past] - true_to[first]
    false_below, false_with = first - true_below, (past - first) - true_with
    positives, negatives = true_to[-1], len(score) - true_to[-1]
    share_below = (2 * false_below + false_with) / (2.0 * negatives)
    share_above = (2 * (positives - true_below - true_with) + true_with) / (2.0 * positives)
    placement = np.empty(len(score))
    placement[order] = np.where(true, share_below[group], share_above[group])
    return placement[label], placement[~label]


def _resampled(generator: "np.random.Generator", rows: int, resamples: int) -> "Weights":
    """Return weights of 0 or 2 with even odds: mean and variance are 1, as of counts when drawing with replacement."""
    import numpy as np

    drawn = generator.integers(0, 2, size=(resamples, rows), dtype=np.uint8)
    return (2 * drawn.T).astype(np.int32, order="C")


# --- the metrics


def roc_auc(label: "Labels", score: "Floats") -> float:
    """Return the area under the ROC curve: how often a true row scores above a false one, ties counting half."""
    return float(_placements(label, score)[0].mean())


def _log_loss(label: "Labels", score: "Floats") -> "Floats":
    import numpy as np

    edge = np.finfo(np.float64).eps  # as scikit-learn clips, so that a certain and wrong score stays finite
    right = np.clip(np.where(label, score, 1.0 - score), edge, 1.0)
    return _floats(-np.log(right))


def _brier(label: "Labels", score: "Floats") -> "Floats":
    return _floats((score - label) ** 2)


def _accuracy(label: "Labels", score: "Floats") -> "Floats":
    import numpy as np

    return np.asarray((score >= 0.5) == label, dtype=np.float64)


def average_precision(label: "Labels", score: "Floats") -> float:
    """Return the average precision: the sum over thresholds of recall gained times precision there."""
    import numpy as np

    return float(_average_precision(label, score)(np.ones((len(label), 1), dtype=np.int32))[0])


def _average_precision(label: "Labels", score: "Floats") -> "Callable[[Weights], Floats]":
    """Prepare average precision for any weights of the rows; rows of equal score share a threshold."""
    import numpy as np

    order = np.argsort(-score, kind="stable")
    true_order = order[label[order]]
    # how many rows, and how many true rows, stand at or above each true row's score
    rows_to = np.searchsorted(-score[order], -score[true_order], "right") - 1
    true_to = np.searchsorted(-score[true_order], -score[true_order], "right") - 1

    def values(weights: "Weights") -> "Floats":
        true = weights[true_order]
        found = np.cumsum(true, axis=0, dtype=np.int32)
        taken = np.cumsum(weights[order], axis=0, dtype=np.int32)[rows_to]
        precision = found[true_to] / np.maximum(taken, 1)
        with np.errstate(invalid="ignore"):
            return _floats((true * precision).sum(axis=0) / found[-1])

    return values


def calibration_error(label: "Labels", score: "Floats") -> float:
    """Return the expected calibration error: the mean over rows of |mean score - share of true rows| of the row's bin,
    in ten bins of equal width over [0, 1] (Naeini, Cooper and Hauskrecht 2015)."""
    import numpy as np

    return float(np.abs(_gaps(label, score)[2]).sum())


def calibration(label: "Labels", base: "Floats", head: "Floats") -> Estimate:
    """Compare two calibration errors by bootstrapping the gaps of their bins together.

    Resampling rows makes the twenty gaps jointly normal around the observed ones, so they are drawn from that normal
    distribution. The absolute value bends at 0, which makes the plain bootstrap's variance too large where gaps are
    small; a second bootstrap from each draw of the first measures by how much and takes it out (iterated bootstrap,
    Hall 1992, The Bootstrap and Edgeworth Expansion, section 1.4).
    """
    import numpy as np

    gaps, covariance = _joint_gaps(label, base, head)
    spread, axes = np.linalg.eigh(covariance)
    # the symmetric root: unlike the axes it is unique, so that every processor draws the same noise
    root = (axes * np.sqrt(np.where(spread > spread[-1] * 1e-12, spread, 0.0))) @ axes.T
    noise = np.random.default_rng(0).standard_normal((DRAWS, len(gaps))) @ root

    def variance_around(centre: "Floats", noise: "Floats") -> "Floats":
        drawn = np.abs(centre[..., None, :] + noise)
        change = drawn[..., CALIBRATION_BINS:].sum(axis=-1) - drawn[..., :CALIBRATION_BINS].sum(axis=-1)
        return _floats(np.var(change, axis=-1, ddof=1))

    first = float(variance_around(gaps, noise))
    again = float(variance_around(gaps + noise[: DRAWS // 8], noise[DRAWS // 8 : DRAWS // 4]).mean())
    error = first / again**0.5 if again > 0 else 0.0
    of_base, of_head = np.abs(gaps).reshape(2, CALIBRATION_BINS).sum(axis=1)
    return _normal(float(of_base), float(of_head), error, "paired bootstrap")


def _gaps(label: "Labels", score: "Floats") -> "tuple[NDArray[np.int64], Floats, Floats]":
    """Return each row's bin and its ``score - label``, and for each bin their sum over the number of all rows."""
    import numpy as np

    bins = np.minimum((score * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    residuals = score - label
    return bins, residuals, np.bincount(bins, residuals, CALIBRATION_BINS) / len(score)


def _joint_gaps(label: "Labels", base: "Floats", head: "Floats") -> "tuple[Floats, Floats]":
    """Return base's and head's gaps in one vector and the covariance of that vector of means."""
    import numpy as np

    of_base, residual_base, gaps_base = _gaps(label, base)
    of_head, residual_head, gaps_head = _gaps(label, head)
    gaps = np.concatenate([gaps_base, gaps_head])
    cells = of_base * CALIBRATION_BINS + of_head
    across = np.bincount(cells, residual_base * residual_head, CALIBRATION_BINS**2).reshape(CALIBRATION_BINS, -1)
    within_base = np.diag(np.bincount(of_base, residual_base**2, CALIBRATION_BINS))
    within_head = np.diag(np.bincount(of_head, residual_head**2, CALIBRATION_BINS))
    moments = np.block([[within_base, across], [across.T, within_head]]) / len(label)
    return gaps, _floats((moments - np.outer(gaps, gaps)) / (len(label) - 1))


def _floats(values: Any) -> "Floats":
    import numpy as np

    return np.asarray(values, dtype=np.float64)


def _statistics() -> dict[str, Statistic]:
    def rows(loss: "Callable[[Labels, Floats], Floats]") -> Statistic:
        return Statistic(
            paired_rows(loss),
            lambda label, score: float(loss(label, score).mean()),
            probability=True,
            both_classes=False,
        )

    return {
        "roc_auc": Statistic(delong, roc_auc, probability=False, both_classes=True),
        "average_precision": Statistic(
            bootstrap(_average_precision), average_precision, probability=False, both_classes=True
        ),
        "log_loss": rows(_log_loss),
        "brier": rows(_brier),
        "accuracy": rows(_accuracy),
        "calibration_error": Statistic(calibration, calibration_error, probability=True, both_classes=False),
    }


def _check(statistic: Statistic, label: "Labels", *scores: "Floats") -> None:
    if len(label) == 0:
        raise Undefined("no rows")
    if statistic.both_classes and (label.all() or not label.any()):
        raise Undefined(f"{_rows(len(label))}, all of one class: the metric is not defined")
    for score in scores:
        if statistic.probability and (float(score.min()) < 0 or float(score.max()) > 1):
            raise Undefined("the scores are not probabilities: some lie outside 0 to 1")


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
