"""What is drawn and counted from the predictions themselves, as the kind of model has it: how reliable probabilities
are, the errors by prediction, each class by itself, and which classes are taken for each other."""

from dataclasses import replace
from typing import TYPE_CHECKING

from lockgate.evaluation import multiclass, statistics
from lockgate.evaluation.regression import prediction_of
from lockgate.evaluation.statistics import Definition, Undefined, reported
from lockgate.policy import Drawn, Kind, Policy
from lockgate.result import ClassChange, Confused, Curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lockgate.evaluation.predictions import Shared
    from lockgate.evaluation.scored import Answers
    from lockgate.evaluation.statistics import Floats, Indices, Labels

BINS = 10
MOST_CLASSES = 50  # that are told one by one: those with most rows
MOST_CONFUSED = 12  # pairs of classes
USUAL: dict[Kind, tuple[Drawn, ...]] = {"multiclass": ("reliability",), "regression": ("residuals",)}
"""What is drawn where the policy has no ``plots``; a binary model's policies are older than that, and name theirs."""

_Points = tuple[tuple[tuple[float, float], ...], tuple[float, ...]]
"""Points, and how many rows stand behind each."""


def curves(policy: Policy, label: "Labels", sides: "Sequence[Answers | None]", kind: Kind) -> tuple[Curve, ...]:
    """Return the curves of base (``None``: there is none) and head on these rows."""
    asked = USUAL.get(kind, ()) if policy.drawn is None else policy.drawn
    return tuple(
        _reliability(label, sides, kind) if one == "reliability" else _residuals(label, sides) for one in asked
    )


def _reliability(label: "Labels", sides: "Sequence[Answers | None]", kind: Kind) -> Curve:
    """Return the share of rows that are true (binary), or whose predicted class is right, over the score, in ten groups
    of as many rows."""
    import numpy as np

    words = ("mean score", "share of positives") if kind == "binary" else ("mean probability", "share that is right")
    title = "Reliability" if kind == "binary" else "Reliability of the predicted class"
    nothing = Curve(title, *words, (), (), diagonal=True)
    found: list[_Points] = []
    for side in sides:
        if side is None:
            found.append(((), ()))
            continue
        score, true = side.score, label
        if kind == "multiclass":
            if score.shape[1] < 2:
                return replace(nothing, note="there are no probabilities of the classes")
            true, score = score[:, 0] == label, score[:, 1:].max(axis=1)
        if float(score.min()) < 0 or float(score.max()) > 1:
            return replace(nothing, note="the scores are not probabilities: some lie outside 0 to 1")
        found.append(_means(_groups(score), score, true.astype(np.float64)))
    return _with_points(nothing, found)


def _residuals(label: "Labels", sides: "Sequence[Answers | None]") -> Curve:
    """Return the mean of target less prediction over the prediction, in ten groups of as many rows."""
    found: list[_Points] = []
    for side in sides:
        if side is None:
            found.append(((), ()))
            continue
        prediction = prediction_of(side.score)
        found.append(_means(_groups(prediction), prediction, label - prediction))
    empty = Curve("Residuals by prediction", "prediction", "mean of target less prediction", (), (), level=0.0)
    return _with_points(empty, found)


def _groups(values: "Floats") -> "Indices":
    """Number ten groups of as many rows by rising value; equal values are in one group."""
    import numpy as np

    edges = np.unique(np.quantile(values, np.arange(1, BINS) / BINS))
    found: Indices = np.searchsorted(edges, values, side="right").astype(np.int64)
    return found


def _means(places: "Indices", x: "Floats", y: "Floats") -> _Points:
    """Return the means of ``x`` and ``y`` in each bin that has rows, and how many it has."""
    import numpy as np

    rows = np.bincount(places)
    there = np.flatnonzero(rows)
    means = [np.bincount(places, values)[there] / rows[there] for values in (x, y)]
    points = tuple((reported(float(across)), reported(float(up))) for across, up in zip(*means, strict=True))
    return points, tuple(float(number) for number in rows[there])


def _with_points(empty: Curve, found: list[_Points]) -> Curve:
    (base, rows_base), (head, rows_head) = found
    return replace(empty, base=base, head=head, rows_base=rows_base, rows_head=rows_head)


# --- classes


def classes(shared: "Shared") -> tuple[ClassChange, ...]:
    """Return how each class fares, those that got worse first; nothing for a model that does not tell several apart.

    The judgement is of F1, with p-values adjusted for looking at all classes (Benjamini and Hochberg).
    """
    import numpy as np

    if shared.kind != "multiclass":
        return ()
    definition = Definition(kind="multiclass", classes=len(shared.classes))
    tables = [multiclass.confusion(shared.label, score, definition) for score in (shared.score_base, shared.score_head)]
    rows = tables[0].sum(axis=1)
    there = [
        int(one) for one in np.argsort(-rows, kind="stable") if rows[one] or any(of[:, one].sum() for of in tables)
    ]
    found, p_values = [], []
    for one in there[:MOST_CLASSES]:
        change, p = _class(shared, one, tables, definition)
        found.append(change)
        p_values.append(p)
    adjusted = iter(statistics.benjamini_hochberg([p for p in p_values if p is not None]))
    judged = [
        one if p is None else _judged(one, reported(next(adjusted))) for one, p in zip(found, p_values, strict=True)
    ]
    worse = sorted((one for one in judged if one.judgement == "worse"), key=lambda one: one.change or 0.0)
    return (*worse, *(one for one in judged if one.judgement != "worse"))


def _class(
    shared: "Shared", number: int, tables: "Sequence[Floats]", definition: Definition
) -> tuple[ClassChange, float | None]:
    of_class = replace(definition, chosen=number)
    told = ClassChange(
        shared.classes[number],
        int(tables[0][number].sum()),
        recall_base=_value(multiclass.recall, tables[0], of_class),
        recall_head=_value(multiclass.recall, tables[1], of_class),
        precision_base=_value(multiclass.precision, tables[0], of_class),
        precision_head=_value(multiclass.precision, tables[1], of_class),
        base=_value(multiclass.f1, tables[0], of_class),
        head=_value(multiclass.f1, tables[1], of_class),
        change=None,
        low=None,
        high=None,
        adjusted_p=None,
        judgement="unjudged",
    )
    if told.base is not None and told.head is not None:
        told = replace(told, change=reported(told.head - told.base))
    try:
        one = statistics.compare("f1", shared.label, shared.score_base, shared.score_head, shared.cluster, of_class)
    except Undefined as reason:
        return replace(told, note=str(reason)), None
    return replace(told, change=reported(one.change), low=reported(one.low), high=reported(one.high)), one.p


def _value(figure: "multiclass.Derivative", table: "Floats", definition: Definition) -> float | None:
    try:
        return reported(figure(table, definition)[0])
    except Undefined:
        return None


def _judged(one: ClassChange, adjusted: float) -> ClassChange:
    if adjusted > 1 - statistics.confidence() or one.low is None or one.high is None:
        return replace(one, adjusted_p=adjusted, judgement="noise")
    return replace(one, adjusted_p=adjusted, judgement=statistics.judge(one.low, one.high, "higher"))


def confused(shared: "Shared") -> tuple[Confused, ...]:
    """Return the classes that are taken for others most often, by base or head."""
    import numpy as np

    if shared.kind != "multiclass":
        return ()
    definition = Definition(kind="multiclass", classes=len(shared.classes))
    base, head = (
        multiclass.confusion(shared.label, score, definition) for score in (shared.score_base, shared.score_head)
    )
    wrong = np.maximum(base, head)
    np.fill_diagonal(wrong, 0)
    places = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [(int(place) // len(wrong), int(place) % len(wrong)) for place in places]
    return tuple(
        Confused(shared.classes[label], shared.classes[said], int(base[label, said]), int(head[label, said]))
        for label, said in pairs
        if wrong[label, said]
    )
