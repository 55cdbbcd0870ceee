"""What a test set can show: the smallest change that is told from chance four times in five, and how many rows another
would take.

A change is shown if the 95 % interval of it does not hold 0. With the standard error ``e`` of the change, a true change
of ``(1.96 + 0.84) · e`` is shown with a probability of 80 % (Cohen 1988, Statistical Power Analysis, chapter 2); the
same margin of ``no-regression`` is shown with 80 % by a head that is exactly as good as its base.
"""

from dataclasses import dataclass
from statistics import NormalDist

from lockgate.result import MetricChange, Result

CONFIDENCE, POWER = 0.95, 0.8

_quantile = NormalDist().inv_cdf


@dataclass(frozen=True, slots=True)
class Power:
    """What the shared rows show of one metric. ``smallest`` is also the smallest margin of ``no-regression`` that an
    equally good head is shown to keep. ``rows`` and ``clusters`` are those at hand; ``needed`` are the rows, and
    ``needed_clusters`` the groups of them, that a wanted change would take, if one was asked for."""

    metric: str
    smallest: float
    rows: int
    clusters: int | None
    needed: int | None = None
    needed_clusters: int | None = None


def smallest_shown(change: MetricChange, confidence: float = CONFIDENCE) -> float | None:
    """Return the smallest change that is shown with 80 % on these rows by an interval of this confidence; ``None``
    where there is no interval."""
    if change.low is None or change.high is None or change.high <= change.low:
        return None
    return (change.high - change.low) / 2 * (1 + _quantile(POWER) / _quantile((1 + confidence) / 2))


def power(result: Result, wanted: float | None = None) -> tuple[Power, ...]:
    """Return what the rows of a comparison show of each metric; with ``wanted``, how many would show that change.

    The rows needed grow with the square: for half the change, four times the rows (or groups of rows).
    """
    found = []
    rows, clusters = result.comparison.rows_shared or 0, result.comparison.clusters
    for change in result.metrics:
        least = smallest_shown(change, result.comparison.confidence)
        if least is None:
            continue
        ratio = None if wanted is None else (least / wanted) ** 2
        found.append(
            Power(
                change.name,
                least,
                rows,
                clusters,
                None if ratio is None else -int(-rows * ratio // 1),
                None if ratio is None or clusters is None else -int(-clusters * ratio // 1),
            )
        )
    return tuple(found)
