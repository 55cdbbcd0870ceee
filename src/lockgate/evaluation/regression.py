"""The statistics of a model that predicts a number.

A label is the target. Scores are the prediction, one number a row, or three columns: the prediction and the two ends of
its interval.

The root of the mean square and R² are smooth functions of means, so that the influence of a row on them is the
derivative by its weight (the delta method); the others are means of a per-row figure. The quantile loss is that of
Koenker and Bassett (1978, Econometrica 46:33-50), the interval score that of Gneiting and Raftery (2007, Journal of
the American Statistical Association 102:359-378, section 6.2).
"""

from typing import TYPE_CHECKING

from lockgate.evaluation.statistics import Definition, Statistic, Undefined, by_influence, rows_statistic

if TYPE_CHECKING:
    from lockgate.evaluation.statistics import Floats, Labels


def statistics() -> dict[str, Statistic]:
    """Return the statistics of a regression by name."""
    return {
        "rmse": by_influence(rmse),
        "r2": by_influence(r2),
        "mae": rows_statistic(_absolute),
        "mse": rows_statistic(_squared),
        "quantile_loss": rows_statistic(_quantile_loss),
        "coverage": rows_statistic(_covered, reach=1.0),
        "interval_width": rows_statistic(_width),
        "interval_score": rows_statistic(_interval_score),
    }


def prediction_of(score: "Floats") -> "Floats":
    """Return the prediction of each row."""
    return score if score.ndim == 1 else score[:, 0]


def _ends(score: "Floats") -> "tuple[Floats, Floats]":
    if score.ndim == 1:
        raise Undefined("there are no intervals of the predictions")
    return score[:, 1], score[:, 2]


def _squared(label: "Labels", score: "Floats", _definition: Definition) -> "Floats":
    found: Floats = (label - prediction_of(score)) ** 2
    return found


def _absolute(label: "Labels", score: "Floats", _definition: Definition) -> "Floats":
    import numpy as np

    return np.asarray(np.abs(label - prediction_of(score)), dtype=np.float64)


def _quantile_loss(label: "Labels", score: "Floats", definition: Definition) -> "Floats":
    """Return the loss that the ``quantile`` of a row minimises: an error above it costs ``quantile``, one below it
    ``1 - quantile``."""
    import numpy as np

    above = label - prediction_of(score)
    return np.asarray(np.maximum(definition.quantile * above, (definition.quantile - 1) * above), dtype=np.float64)


def _covered(label: "Labels", score: "Floats", _definition: Definition) -> "Floats":
    import numpy as np

    low, high = _ends(score)
    return np.asarray((low <= label) & (label <= high), dtype=np.float64)


def _width(_label: "Labels", score: "Floats", _definition: Definition) -> "Floats":
    low, high = _ends(score)
    return high - low


def _interval_score(label: "Labels", score: "Floats", definition: Definition) -> "Floats":
    """Return the width of each interval, and for a target outside of it how far, times ``2 / (1 - coverage)``."""
    import numpy as np

    low, high = _ends(score)
    outside = np.maximum(low - label, 0.0) + np.maximum(label - high, 0.0)
    return np.asarray(high - low + 2 / (1 - definition.covered) * outside, dtype=np.float64)


def _weights(label: "Labels", definition: Definition) -> "Floats":
    import numpy as np

    return np.ones(len(label)) if definition.weights is None else definition.weights


def rmse(label: "Labels", score: "Floats", definition: Definition) -> "tuple[float, Floats]":
    """Return the root of the mean squared error, and each row's influence on it."""
    squared, weights = _squared(label, score, definition), _weights(label, definition)
    mean = float(weights @ squared / weights.sum())
    if not mean:
        raise Undefined("every prediction is exact, so the root of their error has no spread")
    return mean**0.5, weights * (squared - mean) / (2 * mean**0.5 * weights.sum())


def r2(label: "Labels", score: "Floats", definition: Definition) -> "tuple[float, Floats]":
    """Return the share of the targets' variance that the predictions explain, and each row's influence on it."""
    squared, weights = _squared(label, score, definition), _weights(label, definition)
    if float(label.min()) == float(label.max()):
        raise Undefined("every row has the same target: R² is not defined")
    apart = (label - float(weights @ label / weights.sum())) ** 2
    whole = float(weights @ apart)
    left = float(weights @ squared) / whole
    return 1 - left, weights * (left * apart - squared) / whole
