"""What changed in the requests and the scores: by what share of the rows, beyond what days differ anyway, and what it
can cost.

The change of a column is the share of its rows that would have to move to another bin for the column to look as it did
on the reference rows: the total variation distance, from 0 to 1. Samples differ without any change, so a change is one
only where the distance lies beyond what the standard errors of the two sides' shares (clusters respected) give anyway.

A p-value would not do: with a million rows everything is significant. What counts is what a change can cost. A column
weighs as much as it decides the scores (``importance``: the share of the scores' variance that its bins explain, or
what the policy's file of importances says of it), and ``damage`` is that times the share that moved.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from lockgate.evaluation.statistics import reported
from lockgate.monitoring.quality import alike

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lockgate.monitoring.served import ColumnCounts, Served

    Floats = NDArray[np.float64]

DRAWS = 400
HARMLESS = 0.005  # damage below it moves the scores by less than anybody sees
FEWEST = 30  # rows

Meaning = Literal["unchanged", "harmless", "can cost", "beside a loss"]


@dataclass(frozen=True, slots=True)
class Drift:
    """The change of one column (``""``: of the score).

    ``share`` of the rows would have to move, less what chance alone moves, with its 95 % interval ``low`` to ``high``;
    ``importance`` and ``damage`` as above. ``meaning``: ``unchanged`` within what days differ anyway; ``harmless``, a
    change that does no damage: the outcomes say so, or it cannot do much; ``can cost``: outcomes have yet to say;
    ``beside a loss``: the live quality is worse in this window.
    """

    column: str
    rows: int
    share: float
    low: float
    high: float
    importance: float | None
    damage: float | None
    meaning: Meaning
    missing: float
    missing_promised: float
    missing_changed: bool
    unknown: float | None = None
    most: str = ""  # the value or bin that grew most


def drift(served: "Served", worse: bool | None, importances: Mapping[str, float] | None = None) -> list[Drift]:
    """Return the change of the score and of each column of the request, the greatest damage first.

    ``worse`` says whether the live quality of this window is worse than promised, ``None`` where outcomes cannot say.
    """
    found = []
    for name, column in served.columns.items():
        if column.counts.sum() < FEWEST:
            continue
        given = (importances or {}).get(name)
        found.append(_of_column(name, column, served, worse, given))
    return sorted(found, key=lambda one: (one.column != "", -(one.damage or 0.0), -one.share, one.column))


def _of_column(name: str, column: "ColumnCounts", served: "Served", worse: bool | None, given: float | None) -> Drift:
    import numpy as np

    reference = column.reference
    there = column.counts[column.counts.sum(axis=1) > 0].astype(np.float64)
    rows = float(there.sum())
    live = there.sum(axis=0) / rows
    told = np.array([reference.missing, *reference.counts], dtype=np.float64) / max(reference.rows, 1)
    errors = np.array([reference.missing_error, *reference.errors])
    clusters = 0 if served.reference is None else served.reference.clusters.number
    here = len(there)
    own = np.sqrt(np.maximum(live * (1 - live), told * (1 - told)) / rows)
    if clusters >= 2:
        factor = alike(served.reference.clusters, here) if served.reference and not served.alone else 1.0
        own = np.maximum(own, errors * math.sqrt(clusters / max(here, 1)) * factor)
    if here >= 10:
        sizes = there.sum(axis=1)
        moved = (there - np.outer(sizes, live)) / rows
        own = np.maximum(own, np.sqrt((moved**2).sum(axis=0) * here / (here - 1)))
    error = np.hypot(own, errors)
    apart = live - told
    distance = float(np.abs(apart).sum() / 2)
    noise = np.random.default_rng(0).standard_normal((DRAWS, len(apart))) * error
    noise -= noise.mean(axis=1, keepdims=True)  # shares add up to 1
    chance = np.abs(noise).sum(axis=1) / 2
    around = np.abs(apart + noise).sum(axis=1) / 2
    centre = max(0.0, 2 * distance - float(around.mean()))
    low = max(0.0, 2 * distance - float(np.quantile(around, 0.975)))
    high = min(1.0, max(centre, 2 * distance - float(np.quantile(around, 0.025))))
    changed = distance > float(np.quantile(chance, 0.975))
    importance = given if given is not None else (None if name == "" else _explained(column))
    damage = None if importance is None else importance * centre
    missing_error = float(error[0])
    gap = abs(float(apart[0]))
    grown = int(np.argmax(apart))
    return Drift(
        column=name,
        rows=int(rows),
        share=reported(centre if changed else min(centre, distance)),
        low=reported(low if changed else 0.0),
        high=reported(high),
        importance=None if importance is None else reported(importance),
        damage=None if damage is None else reported(damage),
        meaning=_meaning(worse, damage, changed=changed),
        missing=reported(float(live[0])),
        missing_promised=reported(float(told[0])),
        missing_changed=gap > 1.96 * missing_error and gap > 0.001,
        unknown=_unknown(column, live),
        most=_bin_name(column, grown) if changed else "",
    )


def _meaning(worse: bool | None, damage: float | None, *, changed: bool) -> Meaning:
    if not changed:
        return "unchanged"
    if worse is False or (damage is not None and damage < HARMLESS):
        return "harmless"
    return "beside a loss" if worse else "can cost"


def _explained(column: "ColumnCounts") -> float | None:
    """Return which share of the variance of the scores the column's bins explain (the correlation ratio), on the live
    rows; ``None`` where it is not known."""
    import numpy as np

    rows = column.counts.sum(axis=0).astype(np.float64)
    mean = float(column.scores.sum() / rows.sum())
    there = rows > 0
    between = float((rows[there] * (column.scores[there] / rows[there] - mean) ** 2).sum() / rows.sum())
    return None if column.variance <= 0 else min(1.0, between / column.variance)


def _unknown(column: "ColumnCounts", live: "Floats") -> float | None:
    reference = column.reference
    if reference.type != "string" or reference.values is None or reference.categories is not None:
        return None
    return reported(float(live[-1]))


def _bin_name(column: "ColumnCounts", place: int) -> str:
    reference, number = column.reference, place - 1
    if place == 0:
        return "missing"
    if reference.values is not None:
        return reference.values[number] if number < len(reference.values) else "other values"
    edges = reference.edges or ()
    if not edges:
        return "any value"
    if number == 0:
        return f"below {edges[0]:g}"
    if number == len(edges):
        return f"{edges[-1]:g} and more"
    return f"{edges[number - 1]:g} to {edges[number]:g}"
