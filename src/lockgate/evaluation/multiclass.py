"""The statistics of a model that tells several classes apart, and those of a binary one that count its decisions.

A label is the number of a class. Scores are columns: the number of the predicted class, then (if there are any) the
probability of each class, in the order of the classes.

Accuracy, precision, recall and F1 are functions of the table that counts the rows of each label and prediction. So the
influence of a row on them is the function's derivative by the cell that the row is in, which is found once a cell. F1
is twice the right rows of a class over the rows that have it and those predicted as it (van Rijsbergen 1979); the
delta method for it and for its means over classes: Takahashi et al. (2022, Applied Intelligence 52:4961-4972). A class
that no row has and no row is predicted as does not count, as in scikit-learn.
"""

from typing import TYPE_CHECKING

from lockgate.evaluation import statistics as core
from lockgate.evaluation.statistics import (
    EXTREME,
    Definition,
    Estimate,
    Statistic,
    Undefined,
    by_influence,
    rows_statistic,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from lockgate.evaluation.statistics import Floats, Indices, Labels

    Derivative = Callable[[Floats, Definition], tuple[float, Floats]]
    """Takes the weight of the rows of each label and prediction; gives the value and its derivative by each cell."""


def statistics() -> dict[str, Statistic]:
    """Return the statistics of several classes by name."""
    return {
        "accuracy": rows_statistic(_right, reach=1.0),
        "log_loss": rows_statistic(_log_loss, extreme=_certain),
        "brier": rows_statistic(_brier),
        "macro_f1": _counted(macro_f1, _cells, rare=True),
        "weighted_f1": _counted(weighted_f1, _cells),
        "precision": _counted(precision, _cells, both_classes=True),
        "recall": _counted(recall, _cells, both_classes=True),
        "f1": _counted(f1, _cells, both_classes=True),
        "roc_auc": Statistic(_compare_auc, _auc, probability=False, both_classes=True, influence=_influence_on_auc),
    }


def of_a_threshold() -> dict[str, Statistic]:
    """Return those of a binary model that count its decisions at a threshold."""
    return {
        "precision": _counted(precision, _cells_at_threshold, both_classes=True),
        "recall": _counted(recall, _cells_at_threshold, both_classes=True),
        "f1": _counted(f1, _cells_at_threshold, both_classes=True),
    }


# --- the table of labels and predictions


def _cells(label: "Labels", score: "Floats", definition: Definition) -> "Indices":
    import numpy as np

    found: Indices = label * np.int64(definition.classes) + score[:, 0].astype(np.int64)
    return found


def _cells_at_threshold(label: "Labels", score: "Floats", definition: Definition) -> "Indices":
    import numpy as np

    found: Indices = label * np.int64(2) + (score >= definition.threshold)
    return found


def confusion(label: "Labels", score: "Floats", definition: Definition) -> "Floats":
    """Return the weight of the rows of each label (a row of the table) and prediction (a column)."""
    return _table(_cells(label, score, definition), definition)


def _table(cells: "Indices", definition: Definition) -> "Floats":
    import numpy as np

    classes = definition.classes
    counted: NDArray[np.float64] = np.bincount(cells, definition.weights, classes * classes).astype(np.float64)
    return counted.reshape(classes, classes)


def _counted(
    derivative: "Derivative",
    cells: "Callable[[Labels, Floats, Definition], Indices]",
    *,
    both_classes: bool = False,
    rare: bool = False,
) -> Statistic:
    def find(label: "Labels", score: "Floats", definition: Definition) -> "tuple[float, Floats]":
        of_rows = cells(label, score, definition)
        value, by_cell = derivative(_table(of_rows, definition), definition)
        influence = by_cell.ravel()[of_rows]
        return value, influence if definition.weights is None else influence * definition.weights

    def reach(label: "Labels", score: "Floats", definition: Definition) -> float:
        """Return by how much another prediction for one row could change the value, times the weight of all rows."""
        table = _table(cells(label, score, definition), definition)
        by_cell = derivative(table, definition)[1][table.sum(axis=1) > 0]
        return float((by_cell.max(axis=1) - by_cell.min(axis=1)).max() * table.sum())

    return by_influence(find, both_classes=both_classes, rare=rare, reach=reach)


def _each_f1(table: "Floats") -> "tuple[Floats, Floats, NDArray[np.bool_]]":
    """Return the F1 of each class, twice its rows that could be right, and whether the class occurs at all."""
    import numpy as np

    both = table.sum(axis=1) + table.sum(axis=0)
    there = both > 0
    return np.where(there, 2 * np.diag(table) / np.where(there, both, 1.0), 0.0), np.where(there, both, 1.0), there


def _mean_of_f1(table: "Floats", share: "Floats") -> "tuple[float, Floats]":
    """Return the mean of the classes' F1 in which each has its ``share``, and its derivative by each cell."""
    import numpy as np

    each, both, _ = _each_f1(table)
    lost = share * each / both  # by one more row of the class that is wrong
    by_cell = -(lost[:, None] + lost[None, :])
    by_cell[np.diag_indices(len(table))] += 2 * share / both
    return float(share @ each), by_cell


def macro_f1(table: "Floats", _definition: Definition) -> "tuple[float, Floats]":
    """Return the mean of the F1 of the classes that occur, and its derivative by each cell."""
    there = _each_f1(table)[2]
    return _mean_of_f1(table, there / there.sum())


def weighted_f1(table: "Floats", _definition: Definition) -> "tuple[float, Floats]":
    """Return the mean of the classes' F1, each weighted by its rows, and its derivative by each cell."""
    of_label, each = table.sum(axis=1), _each_f1(table)[0]
    value, by_cell = _mean_of_f1(table, of_label / of_label.sum())
    return value, by_cell + ((each - value) / of_label.sum())[:, None]


def f1(table: "Floats", definition: Definition) -> "tuple[float, Floats]":
    """Return the F1 of the chosen class, and its derivative by each cell."""
    import numpy as np

    share = np.zeros(len(table))
    share[definition.chosen] = 1.0
    if not _each_f1(table)[2][definition.chosen]:
        raise Undefined("no row has the class or is predicted as it: its F1 is not defined")
    return _mean_of_f1(table, share)


def recall(table: "Floats", definition: Definition) -> "tuple[float, Floats]":
    """Return the share of the chosen class's rows that are found, and its derivative by each cell."""
    import numpy as np

    own = table[definition.chosen]
    if not own.sum():
        raise Undefined("no row has the class: its recall is not defined")
    value, by_cell = float(own[definition.chosen] / own.sum()), np.zeros_like(table)
    by_cell[definition.chosen] = -value / own.sum()
    by_cell[definition.chosen, definition.chosen] += 1 / own.sum()
    return value, by_cell


def precision(table: "Floats", definition: Definition) -> "tuple[float, Floats]":
    """Return the share of rows predicted as the chosen class that have it, and its derivative by each cell."""
    if not table[:, definition.chosen].sum():
        raise Undefined("no row is predicted as the class: its precision is not defined")
    value, by_cell = recall(table.T, definition)
    return value, by_cell.T


# --- per row


def _probabilities(score: "Floats") -> "Floats":
    if score.ndim < 2 or score.shape[1] < 2:
        raise Undefined("there are no probabilities of the classes")
    return score[:, 1:]


def _right(label: "Labels", score: "Floats", _definition: Definition) -> "Floats":
    import numpy as np

    return np.asarray(score[:, 0] == label, dtype=np.float64)


def _of_label(label: "Labels", score: "Floats") -> "Floats":
    """Return the probability that each row has for its own class."""
    import numpy as np

    return np.asarray(_probabilities(score)[np.arange(len(label)), label], dtype=np.float64)


def _log_loss(label: "Labels", score: "Floats", _definition: Definition) -> "Floats":
    import numpy as np

    return np.asarray(-np.log(np.clip(_of_label(label, score), np.finfo(np.float64).eps, 1.0)), dtype=np.float64)


def _certain(label: "Labels", score: "Floats") -> int:
    import numpy as np

    probabilities = _probabilities(score)
    largest = probabilities[:, 0]
    for column in range(1, probabilities.shape[1]):
        largest = np.maximum(largest, probabilities[:, column])
    return int(((largest > 1 - EXTREME) | (_of_label(label, score) < EXTREME)).sum())


def _brier(label: "Labels", score: "Floats", _definition: Definition) -> "Floats":
    """Return the sum over classes of the squared distance from what happened (Brier 1950): from 0 to 2."""
    import numpy as np

    probabilities = _probabilities(score)
    total = np.zeros(len(label))
    for column in range(probabilities.shape[1]):
        total += probabilities[:, column] ** 2
    return np.asarray(total + 1 - 2 * _of_label(label, score), dtype=np.float64)


# --- one class against the rest


def _against_the_rest(
    label: "Labels", score: "Floats", definition: Definition
) -> "tuple[NDArray[np.bool_], Floats, Definition]":
    import numpy as np

    own = label == definition.chosen
    if own.all() or not own.any():
        raise Undefined("the rows are all of one class: the AUC is not defined")
    return (
        own,
        np.ascontiguousarray(_probabilities(score)[:, definition.chosen]),
        Definition(weights=definition.weights),
    )


def _auc(label: "Labels", score: "Floats", definition: Definition) -> float:
    return core.roc_auc(*_against_the_rest(label, score, definition))


def _influence_on_auc(label: "Labels", score: "Floats", definition: Definition) -> "tuple[float, Floats]":
    return core.influence("roc_auc", *_against_the_rest(label, score, definition))


def _compare_auc(
    label: "Labels", base: "Floats", head: "Floats", cluster: "Indices | None", definition: Definition
) -> Estimate:
    own, of_base, binary = _against_the_rest(label, base, definition)
    return core.delong(own, of_base, _against_the_rest(label, head, definition)[1], cluster, binary)
