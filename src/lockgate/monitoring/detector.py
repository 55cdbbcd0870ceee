"""Is a series of days worse than promised? A test that may be looked at every day, with a budget of false alarms.

Each day gives one number that grows when things get worse, with a weight. What is doubted is that its mean is within
the *bound*: the promise, the margin that the policy tolerates, and the uncertainty of the promise itself. The evidence
against that is an e-detector of the Shiryaev-Roberts kind (Shin, Ramdas and Rinaldo 2022, "E-detectors: a nonparametric
framework for sequential change detection", arXiv:2203.03532): ``M(t) = (M(t - 1) + 1) * (1 + bet * z(t))``, where
``z`` is the day's excess over the bound in standard deviations, cut at :data:`CUT`. Bets against a bounded mean are
those of Waudby-Smith and Ramdas (2023, JRSS B 86:1-27). Where the expectation of ``z`` given the past is never above 0,
the expected number of days until ``M`` reaches ``c`` is ``c`` or more, whenever and however often one looks. The mean
of several such ``M`` (of several bets, of several slices) has the same property whatever they have to do with each
other, which is how slices are corrected.

Days are not independent. Two things answer that. The standard deviation is the long-run one (Newey and West 1987, a
week of lags), of which the upper 90 % end is taken. And ``c`` is calibrated: the reference's days are drawn in blocks
of :data:`BLOCK` days (circular block bootstrap, Politis and Romano 1992), moved so that their mean is at the bound, and
``c`` is raised until the drawn years give no more false alarms than the budget's share. It is never below what the
theorem asks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from lockgate.evaluation.statistics import t_quantile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BETS = (0.32, 0.2, 0.1, 0.05)  # each is best for a shift of about so many standard deviations a day
MOST = 1e100  # evidence: what is far beyond every level need not grow until it overflows
SHARE_BETS = (1.0, 0.5, 0.2)
CUT = 3.0  # standard deviations: no single day, whatever happened on it, decides
LAGS = 7  # days of correlation that the long-run standard deviation takes in
BLOCK = 14
FEWEST_DAYS = 28  # of a reference: two blocks
YEAR = 365.25
CONFIDENCE = 0.9  # one-sided, of the promise's mean and of its standard deviation
PATHS, PATH_DAYS = 300, 731
LONGEST = 365  # days: what is not seen within them half of the time is called not detectable


@dataclass(frozen=True, slots=True)
class Promise:
    """What a reference promises of one series: its mean, the ``bound`` that is doubted, the long-run standard deviation
    of a day of ``weight`` (its upper end is ``scale``), and the days themselves in standard deviations, moved to mean 0
    (NaN: nothing was known)."""

    mean: float
    error: float  # standard error of the mean
    margin: float
    bound: float
    spread: float
    scale: float
    weight: float
    drawn: "Floats"


def promise_of(values: "Floats", weights: "Floats", margin: float) -> Promise | None:
    """Return what the days of a reference promise; ``None`` with fewer than :data:`FEWEST_DAYS` of them, or where
    nothing varies. Days with a weight of 0 do not count."""
    import numpy as np

    known = (weights > 0) & np.isfinite(values)
    days = int(known.sum())
    if days < FEWEST_DAYS:
        return None
    value, weight = values[known], weights[known]
    usual = float(weight.mean())
    mean = float((value * weight).sum() / weight.sum())
    share = np.minimum(weight / usual, 1.0)
    deviation = share * (value - mean)
    deviation -= deviation.mean()
    variance, long_run = _variances(deviation)
    if not variance > 0:
        return None
    effective = max(8.0, days * variance / long_run)
    error = math.sqrt(long_run / days) * days / float(share.sum())
    scale = math.sqrt(long_run) * math.sqrt((effective - 1) / _chi_squared_low(effective - 1))
    drawn = np.full(len(values), math.nan)
    drawn[known] = deviation / math.sqrt(long_run)
    bound = mean + margin + t_quantile(CONFIDENCE, effective - 1) * error
    return Promise(mean, error, margin, bound, math.sqrt(long_run), scale, usual, drawn)


def excesses(promise: Promise, values: "Floats", weights: "Floats") -> "Floats":
    """Return by how many standard deviations each day lies above the bound; NaN for a day of which nothing is known."""
    import numpy as np

    share = np.minimum(weights / promise.weight, 1.0)
    with np.errstate(invalid="ignore"):
        found = share * (values - promise.bound) / promise.scale
    return np.where(weights > 0, found, math.nan)


class ShareDetector:
    """The evidence that shares, numbers from 0 to 1 whose mean should be at most ``bounds``, are above them.

    A bet is ``1 + bet * (share / bound - 1)``: its expectation is at most 1 whatever the spread of the shares is, so
    that nothing has to be known of it. ``bounds`` has one bound a series.
    """

    def __init__(self, bounds: "Floats") -> None:
        """Begin with none."""
        import numpy as np

        self.values = np.zeros((*bounds.shape, len(SHARE_BETS)))
        self._bounds, self._bets = bounds[..., None], np.asarray(SHARE_BETS)

    def day(self, shares: "Floats") -> "Floats":
        """Take in a day, and return the evidence of each series: the mean over bets. NaN is no news."""
        import numpy as np

        share = shares[..., None]
        new = np.minimum(self.values + 1.0, MOST) * (1.0 + self._bets * (share / self._bounds - 1.0))
        self.values = np.where(np.isnan(share), self.values, new)
        return np.asarray(self.values.mean(axis=-1))


class EDetector:
    """The evidence of several series over days, for any number of paths of days at once.

    ``paths`` is the leading shape of what :meth:`day` is given, ``series`` the last axis.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        """Begin with none."""
        import numpy as np

        self.values = np.zeros((*shape, len(BETS)))
        self._bets = np.asarray(BETS)
        self._mean = np.full(len(BETS), 1.0 / len(BETS))

    def day(self, z: "Floats") -> "Floats":
        """Take in a day, and return the evidence of each series: the mean over bets. NaN is no news."""
        import numpy as np

        known = np.isfinite(z)
        if not known.any():
            return np.asarray(self.values @ self._mean)
        new = np.minimum(self.values + 1.0, MOST)
        new *= 1.0 + np.clip(z, -CUT, CUT)[..., None] * self._bets
        self.values = new if known.all() else np.where(known[..., None], new, self.values)
        return np.asarray(self.values @ self._mean)


def paths_of(drawn: "Floats", paths: int, days: int, seed: int, block: int = BLOCK) -> "Floats":
    """Return ``paths`` series of ``days`` days, drawn in blocks from a reference's days (rows; series are columns)."""
    import numpy as np

    generator = np.random.default_rng(seed)
    number = len(drawn)
    starts = generator.integers(0, number, (paths, -(-days // block)))
    places = (starts[:, :, None] + np.arange(block)) % number
    return np.asarray(drawn[places.reshape(paths, -1)[:, :days]])


def crossing_level(drawn: "Floats", rate: float, seed: int = 0, paths: int = PATHS, days: int = PATH_DAYS) -> float:
    """Return the level ``c`` at which the mean evidence of some series raises ``rate`` false alarms a year or fewer.

    ``drawn`` are the reference's days (rows) of each series (columns), as :class:`Promise` has them.
    """
    import numpy as np

    z = paths_of(drawn, paths, days, seed)
    detector = EDetector((paths, drawn.shape[1]))
    highest = np.zeros((days, paths))
    reached = np.zeros(paths)
    for day in range(days):
        reached = np.maximum(reached, detector.day(z[:, day]).mean(axis=-1))
        highest[day] = reached
    low = high = YEAR / rate

    def false_alarms(level: float) -> float:
        within = highest >= level
        crossed = within[-1]
        waited = np.where(crossed, within.argmax(axis=0) + 1, days)
        return float(crossed.sum() / waited.sum() * YEAR)

    if false_alarms(low) <= rate:
        return low
    while false_alarms(high) > rate:
        low, high = high, high * 4.0
    for _ in range(20):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if false_alarms(middle) > rate else (low, middle)
    return high


def days_until_seen(
    promise: Promise, level: float, shift: float, series: int = 1, seed: int = 1, paths: int = 200
) -> int | None:
    """Return after how many days half of all drawn futures have raised an alarm where the mean has risen by ``shift``,
    ``None`` if that is not so within :data:`LONGEST` days. ``series`` is how many share the level: the others stay calm
    and add nothing."""
    import numpy as np

    z = paths_of(promise.drawn[:, None], paths, LONGEST, seed)[:, :, 0] * (promise.spread / promise.scale)
    z = z + (promise.mean + shift - promise.bound) / promise.scale
    detector = EDetector((paths,))
    seen = np.zeros(paths, dtype=bool)
    for day in range(LONGEST):
        seen |= detector.day(z[:, day]) / series >= level
        if seen.mean() >= 0.5:
            return day + 1
    return None


def onset(won: Sequence[Sequence[float]]) -> int:
    """Return the day (its place) since which the evidence that there is at the end has been gathered: the last one on
    which betting anew was as good as going on (Page 1954), for the bet that has gained most. ``won`` has, for each bet,
    what it won on each day (:func:`gains`), NaN where nothing was known."""
    best, place = -math.inf, 0
    for series in won:
        gained, since = 0.0, 0
        for day, gain in enumerate(series):
            if math.isnan(gain):
                continue
            if gained <= 0.0:
                gained, since = 0.0, day
            gained += gain
        if gained > best:
            best, place = gained, since
    return place


def gains(z: Sequence[float]) -> list[list[float]]:
    """Return what each bet wins on each day: the logarithm of what :class:`EDetector` multiplies by."""
    return [[math.log1p(bet * min(max(value, -CUT), CUT)) for value in z] for bet in BETS]


def share_gains(shares: Sequence[float], bound: float) -> list[list[float]]:
    """Return what each bet wins on each day: the logarithm of what :class:`ShareDetector` multiplies by."""
    return [[math.log(max(1e-9, 1.0 + bet * (share / bound - 1.0))) for share in shares] for bet in SHARE_BETS]


def upper_rate(alarms: int, years: float) -> float:
    """Return the upper 95 % limit of a yearly rate of which ``alarms`` were seen in ``years`` (exact, Poisson; Garwood
    1936): three a year where nothing was seen in one."""
    return _mean_at(alarms, 0.05) / years


def lower_rate(alarms: int, years: float) -> float:
    """Return the lower 95 % limit of the same, 0 where nothing was seen."""
    return _mean_at(alarms - 1, 0.95) / years if alarms else 0.0


def _mean_at(alarms: int, probability: float) -> float:
    """Return the mean of a Poisson distribution that gives so few or fewer with this probability."""

    def so_few(mean: float) -> float:
        return sum(math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) for k in range(alarms + 1))

    low, high = 1e-9, 10.0 + 4.0 * alarms
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if so_few(middle) > probability else (low, middle)
    return high


def _variances(deviation: "Floats") -> tuple[float, float]:
    """Return the variance of a day and the long-run one, which is not below it."""
    days = len(deviation)
    variance = float(deviation @ deviation) / (days - 1)
    long_run = variance
    for lag in range(1, LAGS + 1):
        weight = 1.0 - lag / (LAGS + 1)
        long_run += 2.0 * weight * float(deviation[lag:] @ deviation[:-lag]) / (days - 1)
    return variance, max(variance, long_run)


def _chi_squared_low(freedom: float) -> float:
    """Return the lower 10 % point of chi squared (Wilson and Hilferty 1931; within 1 % from 7 degrees of freedom)."""
    spread = 2.0 / (9.0 * freedom)
    return freedom * (1.0 - spread + NormalDist().inv_cdf(1 - CONFIDENCE) * math.sqrt(spread)) ** 3
