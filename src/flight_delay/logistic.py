"""A logistic regression as a baseline: one coefficient for each bin of each feature, in whole numbers.

A simpler model than trees, from the same features: it adds, and knows no interactions. It is fitted by Newton's steps,
a feature at a time. BLAS and ``exp`` differ between processors, so neither is used on the rows: a score is a whole
number of :data:`STEP`, its probability is read from a table of whole numbers, and all sums are of whole numbers, exact
in any order.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from flight_delay.errors import StageError
from flight_delay.files import read_json

BINS = 16
SWEEPS = 6
PENALTY = 20.0  # of the square of a coefficient
STEP = 2.0**-10  # of a score
LARGEST = 1 << 14  # a score of 16: a probability of 0.0000001
UNIT = 1 << 20  # what a probability is counted in

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Logistic:
    """The fitted regression: for each feature its bins' upper ends and, missing values last, their coefficients."""

    intercept: int
    ends: tuple[tuple[float, ...], ...]
    coefficients: tuple[tuple[int, ...], ...]

    @classmethod
    def fit(cls, features: Floats, labels: npt.NDArray[np.integer]) -> Self:
        """Return the regression of ``labels`` (0 or 1, both there) on ``features`` (a column each), NaN for missing."""
        late = labels.astype(np.int64) * UNIT
        intercept = round(float(np.log(labels.sum() / (len(labels) - labels.sum()))) / STEP)
        ends = [_ends(column) for column in features.T]
        places = [_places(column, of) for column, of in zip(features.T, ends, strict=True)]
        coefficients = [np.zeros(len(of) + 2, np.int64) for of in ends]
        score = np.full(len(labels), intercept, np.int64)
        table = _table()
        for _ in range(SWEEPS):
            for place, coefficient in zip(places, coefficients, strict=True):
                probability = _look_up(table, score)
                gap = _sums(place, late - probability, len(coefficient)) / UNIT
                weight = _sums(place, probability * (UNIT - probability) >> 20, len(coefficient)) / UNIT
                old = coefficient * STEP
                move = np.rint((gap - PENALTY * old) / (weight + PENALTY) / STEP).astype(np.int64)
                np.add(coefficient, move, out=coefficient)
                score += move[place]
        return cls(
            intercept, tuple(map(tuple, map(np.ndarray.tolist, ends))), tuple(tuple(c.tolist()) for c in coefficients)
        )

    def predict(self, features: Floats) -> Floats:
        """Return the probability of 1 for each row."""
        score = np.full(len(features), self.intercept, np.int64)
        for column, ends, coefficient in zip(features.T, self.ends, self.coefficients, strict=True):
            score += np.array(coefficient, np.int64)[_places(column, np.array(ends))]
        return _look_up(_table(), score) / UNIT

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {"intercept": self.intercept, "ends": self.ends, "coefficients": self.coefficients}


def read_logistic(path: Path, features: int) -> Logistic:
    """Read a regression of so many features. Raises :class:`StageError` where it is missing or something else."""
    content = read_json(path)
    try:
        if not isinstance(content, dict) or set(content) != {"intercept", "ends", "coefficients"}:
            raise ValueError("expected intercept, ends and coefficients")
        intercept, ends, coefficients = (content[key] for key in ("intercept", "ends", "coefficients"))
        lists = [*ends, *coefficients]
        if len(ends) != features or len(coefficients) != features or not all(isinstance(one, list) for one in lists):
            raise ValueError(f"expected the bins and coefficients of {features} features")
        if any(len(of) != len(end) + 2 for end, of in zip(ends, coefficients, strict=True)):
            raise ValueError("a feature has not one coefficient for each bin and one for missing values")
        if any(type(number) is not int for number in [intercept, *(number for of in coefficients for number in of)]):
            raise ValueError("a coefficient is no whole number")
        if any(not isinstance(end, int | float) for of in ends for end in of) or any(
            of != sorted(set(of)) for of in ends
        ):
            raise ValueError("the ends of the bins are not numbers in order")
    except (TypeError, ValueError) as error:
        raise StageError(f"{path}: not what `train` fitted ({error}). Remove it; `dvc repro` makes it anew.") from error
    return Logistic(intercept, tuple(map(tuple, ends)), tuple(map(tuple, coefficients)))


def _ends(column: Floats) -> Floats:
    """Return the upper ends of all bins but the last: values of the column, as equally filled as they can be."""
    there: Floats = np.sort(column[~np.isnan(column)])
    if not len(there):
        return there
    ends: Floats = np.unique(there[[len(there) * n // BINS for n in range(1, BINS)]])
    return np.asarray(ends[ends < there[-1]])


def _places(column: Floats, ends: Floats) -> npt.NDArray[np.intp]:
    places = np.searchsorted(ends, column, "left")
    places[np.isnan(column)] = len(ends) + 1
    return places


def _table() -> Numbers:
    """Return the probability of each score from -LARGEST to LARGEST, in units: so coarse that no last bit shows."""
    scores = np.arange(-LARGEST, LARGEST + 1) * STEP
    table: Numbers = np.rint(UNIT / (1 + np.exp(-scores))).astype(np.int64)
    return table


def _look_up(table: Numbers, score: Numbers) -> Numbers:
    found: Numbers = table[np.clip(score, -LARGEST, LARGEST) + LARGEST]
    return found


def _sums(place: npt.NDArray[np.intp], numbers: Numbers, length: int) -> Floats:
    """Return the sum of the numbers of each place: below 2**53, so exact as floats in any order."""
    return np.bincount(place, weights=numbers, minlength=length).astype(np.float64)
