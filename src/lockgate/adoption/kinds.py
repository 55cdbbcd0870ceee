"""Predictions of several classes, of numbers, and of two classes that are text: which columns of a table hold them.

Names propose, values decide, as for 0 and 1 in :mod:`lockgate.adoption.tables`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lockgate.policy import OF_KIND, Interval, Predictions, Probabilities, Statistic

if TYPE_CHECKING:
    from lockgate.evaluation.scored import Scored

LABEL = re.compile(
    r"(y_?)?(label|target|true|actual|truth|ground_?truth|observed|outcome|class|species|category|gt)s?|y|y_?test"
    r"|(true|actual|real)_\w+|\w+_(true|actual|label)",
    re.IGNORECASE,
)
SAID = re.compile(
    r"(y_?)?(prediction|pred|predicted|predict|y_?hat|yhat|forecast|estimate)s?(_(label|class))?"
    r"|(pred|predicted|prediction|predict|forecast)_\w+|\w+_(pred|predicted|prediction|hat|forecast)",
    re.IGNORECASE,
)
LOW = re.compile(r"(\w+_)?(low|lower|lo|lower_bound|q0?_?(05|5|10|025))", re.IGNORECASE)
HIGH = re.compile(r"(\w+_)?(high|upper|hi|upper_bound|q0?_?(95|90|975))", re.IGNORECASE)
_OF = re.compile(r"^(pred|predicted|prediction|predict|forecast)_|_(pred|predicted|prediction|hat|forecast)$")
POSITIVE = ("yes", "true", "positive", "pos", "y", "t")
CLASSES = range(2, 101)
"""Distinct values that a column of classes has."""
_ALONE = ("mean", "quantile_loss", "precision", "recall", "f1", "roc_auc")
"""Statistics that need a column, a quantile or a class to be named."""


def other_kind(table: Any, path: str, names: list[str]) -> tuple[Predictions, Mapping[str, str]] | None:
    """Return the predictions that are not of 0 and 1, without their key, and why each column was chosen."""
    return _classes(table, path, names) or _number_of(table, path, names)


def _classes(table: Any, path: str, names: list[str]) -> tuple[Predictions, Mapping[str, str]] | None:
    for label in sorted(
        (name for name in names if _is_class(table.column(name))), key=lambda one: not LABEL.fullmatch(one)
    ):
        values = _values(table.column(label))
        said = next(
            (name for name in names if name != label and SAID.fullmatch(name) and _same(table, name, label)), None
        )
        prefix = _prefix(names, values)
        score = _score(table, names)
        empty = Predictions(path, (), label, "", (), None, kind="multiclass", predicted=said)
        if prefix is not None:
            why = {
                "label": f"holds {len(values):,} classes",
                "predicted": "holds the same classes",
                "probabilities": "a column of each class",
            }
            return replace(empty, probabilities=Probabilities(prefix)), why
        positive = next((one for one in values if one.lower() in POSITIVE), None)
        if len(values) == 2 and score is not None and positive is not None:
            found = replace(empty, kind="binary", score=score, positive=positive, predicted=None)
            return found, {"label": "holds two values", "score": "holds a number from 0 to 1 for each row"}
        if said is not None:
            return empty, {"label": f"holds {len(values):,} classes", "predicted": "holds the same classes"}
    return None


def _number_of(table: Any, path: str, names: list[str]) -> tuple[Predictions, Mapping[str, str]] | None:
    numbers = [name for name in names if _is_number(table.column(name))]
    ends = [next((name for name in numbers if end.fullmatch(name)), None) for end in (LOW, HIGH)]
    for said in (name for name in numbers if SAID.fullmatch(name) and name not in ends):
        stem = _OF.sub("", said)
        others = [name for name in numbers if name not in (said, *ends)]
        label = next((name for name in others if LABEL.fullmatch(name) or name == stem), None)
        label = label or _only(others) or _only([name for name in others if _has_fractions(table.column(name))])
        if label is None:
            continue
        found = Predictions(path, (), label, "", (), None, kind="regression", prediction=said)
        why = {"label": "holds the number that was to be predicted", "prediction": "holds a number for each row"}
        if ends[0] and ends[1] and _below(table, ends[0], ends[1]):
            found, why = (
                replace(found, interval=Interval(ends[0], ends[1])),
                {**why, "interval": "one never above the other"},
            )
        return found, why
    return None


def columns_of(what: Predictions) -> tuple[str, ...]:
    """Return the columns that say what happened and what the model says, but for those of a prefix."""
    ends = (what.interval.low, what.interval.high) if what.interval else ()
    return tuple(one for one in (what.label, what.score, what.predicted, what.prediction, *ends) if one)


def lines(what: Predictions, scalar: Any) -> Iterator[tuple[str, str]]:
    """Yield each key of ``predictions`` that says what the kind is and what its columns are, and its value."""
    if what.kind != "binary":
        yield "kind", what.kind
    yield "label", scalar(what.label)
    for key in ("positive", "score", "predicted", "prediction"):
        if value := getattr(what, key):
            yield key, scalar(value)
    if what.probabilities is not None:
        yield "probabilities", f"{{prefix: {scalar(what.probabilities.prefix)}}}"
    if what.interval is not None:
        yield "interval", f"{{low: {scalar(what.interval.low)}, high: {scalar(what.interval.high)}}}"


def statistics_of(what: Predictions, scored: "Scored") -> dict[Statistic, float]:
    """Return the statistics of the rows that need nothing else to be named."""
    from lockgate.evaluation.statistics import Definition, Undefined, value

    found: dict[Statistic, float] = {}
    definition = Definition(kind=what.kind, classes=len(scored.classes) or 2)
    for name in OF_KIND[what.kind]:
        if name in _ALONE and not (what.kind == "binary" and name != "mean"):
            continue
        try:
            found[name] = value(name, scored.label, scored.score, definition)
        except (Undefined, ValueError):
            continue
    return {name: figure for name, figure in found.items() if figure == figure}  # noqa: PLR0124 - not NaN


# --- values


def _values(column: Any) -> list[str]:
    from pyarrow import compute

    from lockgate.evaluation.scored import written

    return sorted(written(one) for one in compute.unique(column).to_pylist() if one is not None)


def _is_class(column: Any) -> bool:
    import pyarrow as pa
    from pyarrow import compute

    plain = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    named = pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_integer(plain)
    if not named or column.null_count:
        return False
    distinct = int(compute.count_distinct(column).as_py())
    return distinct in CLASSES and 2 * distinct <= len(column)


def _is_number(column: Any) -> bool:
    import pyarrow as pa
    from pyarrow import compute

    if column.null_count or not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return False
    return bool(compute.all(compute.is_finite(column)).as_py()) and int(compute.count_distinct(column).as_py()) > 2


def _only(names: list[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _has_fractions(column: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(column.type))


def _same(table: Any, name: str, label: str) -> bool:
    """Whether a column holds classes of the label, and few others."""
    if not _is_class(table.column(name)) or table.column(name).type != table.column(label).type:
        return False
    known, said = set(_values(table.column(label))), set(_values(table.column(name)))
    return len(said & known) > len(said - known)


def _prefix(names: list[str], values: list[str]) -> str | None:
    """Return what the names of the columns of probabilities begin with, if each class has one."""
    for name in names:
        prefix = name.removesuffix(values[0])
        if prefix not in ("", name) and all(f"{prefix}{value}" in names for value in values):
            return prefix
    return None


def _score(table: Any, names: list[str]) -> str | None:
    from pyarrow import compute

    from lockgate.adoption.tables import SCORE

    for name in (name for name in names if SCORE.fullmatch(name.lower()) and _is_number(table.column(name))):
        ends = compute.min_max(table.column(name)).as_py()
        if ends["min"] >= 0 and ends["max"] <= 1:
            return name
    return None


def _below(table: Any, low: str, high: str) -> bool:
    from pyarrow import compute

    return bool(compute.all(compute.less_equal(table.column(low), table.column(high))).as_py())
