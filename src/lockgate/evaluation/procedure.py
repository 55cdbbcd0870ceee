"""Is head's *procedure* better than base's, or is it luck of the test rows and of the seeds? Pure statistics.

Both sides were trained several times under seeds of their own, and every model scored the same test rows. The change is
the difference of the two means over trainings. Its variance has three parts:

- **rows**: other test rows would have given another difference. Found from the influence of each row (of each cluster
  of rows), averaged over the trainings, less what other seeds alone do to the influence of a row;
- **seeds of head** and **seeds of base**: other seeds would have given other means. The variance of the values over the
  trainings, divided by their number.

That is the variance of a study of several readers and several cases, where the readers are nested in the procedure that
they use: Obuchowski and Rockette (1995, Communications in Statistics - Simulation 24:285-308), and Gallas (2006,
Academic Radiology 13:353-362) for the part that rows and readers share; here the trainings are the readers. The parts
are added, and the interval takes its width from Student's t with the degrees of freedom of Satterthwaite (1946,
Biometrics Bulletin 2:110-114), as Hillis (2007, Statistics in Medicine 26:596-619) proposes for such studies.

Where a side was trained once, its spread is that of the other side, or of past runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lockgate.evaluation import statistics
from lockgate.evaluation.statistics import SMALLEST, Definition, Undefined

if TYPE_CHECKING:
    from lockgate.evaluation.statistics import Floats, Indices, Labels


@dataclass(frozen=True, slots=True)
class Spread:
    """The variance of one training's metric over seeds, and its degrees of freedom."""

    variance: float
    freedom: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """Return the spread of some trainings; ``None`` for a single one."""
        if len(values) < 2:
            return None
        mean = sum(values) / len(values)
        return cls(sum((value - mean) ** 2 for value in values) / (len(values) - 1), len(values) - 1)

    @classmethod
    def pooled(cls, groups: Sequence[Sequence[float]]) -> "Spread | None":
        """Return the spread within groups of trainings that differ in their seed alone."""
        found = [spread for group in groups if (spread := cls.of(group))]
        freedom = sum(spread.freedom for spread in found)
        return cls(sum(spread.variance * spread.freedom for spread in found) / freedom, freedom) if found else None


@dataclass(frozen=True, slots=True)
class Models:
    """One side's trainings: each one's value of a metric, and the influence of each cluster of rows on it (a column a
    training)."""

    values: tuple[float, ...]
    influence: "Floats"


@dataclass(frozen=True, slots=True)
class Estimate:
    """``change`` is head's mean less base's; ``rows``, ``base_seeds`` and ``head_seeds`` are the parts of its variance.
    ``p`` is the two-sided p-value of "no change"."""

    base: float
    head: float
    change: float
    low: float
    high: float
    p: float
    rows: float
    base_seeds: float
    head_seeds: float
    freedom: float


def models(
    name: str,
    label: "Labels",
    scores: "Sequence[Floats]",
    cluster: "Indices | None",
    definition: Definition | None = None,
) -> Models:
    """Return what :func:`estimate` needs of one side. Raises :class:`Undefined`."""
    import numpy as np

    values, columns = [], []
    for score in scores:
        value, influence = statistics.influence(name, label, score, definition)
        values.append(value)
        columns.append(influence if cluster is None else np.bincount(cluster, influence))
    return Models(tuple(values), np.stack(columns, axis=1))


def estimate(base: Models, head: Models, cluster: "Indices | None" = None, known: Spread | None = None) -> Estimate:
    """Return the change from one procedure to the other with its 95 % interval.

    ``known`` is the spread of past runs, for a comparison of sides that were trained once each. Raises
    :class:`Undefined` where nothing says how much the seed matters, or where neither rows nor seeds show a spread.
    """
    together = head.influence.mean(axis=1) - base.influence.mean(axis=1)
    units = len(together)
    if units < 2:
        raise Undefined("the rows are a single cluster")
    correction = units / (units - 1)
    rows = correction * float((together**2).sum())
    shared = correction * sum(map(_shared, (base, head)))
    rows = max(0.0, rows - shared)
    squares = float((together**2).sum())
    effective = squares**2 / float((together**4).sum()) if squares > SMALLEST**2 else math.inf
    freedom = max(1.0, effective - 1) if cluster is None else statistics.cluster_freedom(cluster)
    of_base, of_head, seeds = _seeds(base.values, head.values, known)
    variance = rows + of_base + of_head
    before, after = (sum(side.values) / len(side.values) for side in (base, head))
    change = after - before
    if variance < SMALLEST**2:
        if abs(change) >= SMALLEST:
            raise Undefined("neither rows nor seeds show a spread of the change")
        return Estimate(before, after, change, change, change, 1.0, rows, of_base, of_head, freedom)
    parts = [(rows, freedom), *seeds]
    freedom = variance**2 / sum(part**2 / of for part, of in parts if part)
    error = variance**0.5
    reach = statistics.t_quantile((1 + statistics.confidence()) / 2, freedom) * error
    p = statistics.two_sided_p(abs(change) / error, freedom)
    return Estimate(before, after, change, change - reach, change + reach, p, rows, of_base, of_head, freedom)


def _shared(side: Models) -> float:
    """Return the part of the rows' variance that is due to the seeds of the trainings at hand: it is in the variance of
    the values over seeds as well, and counts once."""
    trainings = len(side.values)
    if trainings < 2:
        return 0.0
    apart = side.influence - side.influence.mean(axis=1, keepdims=True)
    return float((apart**2).sum()) / (trainings * (trainings - 1))


def _seeds(
    base: Sequence[float], head: Sequence[float], known: Spread | None
) -> tuple[float, float, list[tuple[float, float]]]:
    """Return what the seeds of base and of head add to the variance of the change, and for each independent part of it
    the variance and its degrees of freedom."""
    of_base, of_head = Spread.of(base), Spread.of(head)
    if of_base and of_head:
        parts = (of_base.variance / len(base), of_head.variance / len(head))
        return *parts, [(parts[0], of_base.freedom), (parts[1], of_head.freedom)]
    one = of_base or of_head or known
    if one is None:
        raise Undefined("there is one training of each, and nothing says how much the seed matters")
    parts = (one.variance / len(base), one.variance / len(head))
    return *parts, [(sum(parts), one.freedom)]


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that all of them together are wrongly called in at most 5 % (Holm 1979, Scandinavian
    Journal of Statistics 6:65-70, step-down)."""
    order = sorted(range(len(p)), key=lambda index: p[index])
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, p[index] * (len(p) - rank)))
        adjusted[index] = largest
    return adjusted
