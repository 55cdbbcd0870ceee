"""One side's rows as the policy's kind of model has them: what happened in each, and what the model says of it.

What cannot be compared soundly is refused with the reason in one sentence: labels that are missing or of another type,
a class that the other side does not know, probabilities that do not add up, targets that are no finite numbers.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lockgate.evaluation.row_keys import matching_rows
from lockgate.evaluation.table_file import File, Refused, floats, numbered, plain
from lockgate.formatting import count
from lockgate.policy import Kind, Metric, Predictions

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from lockgate.evaluation.statistics import Floats, Indices, Labels

MOST_CLASSES = 1000  # values of a label; one with more is a number to predict, or a name of rows
SUM = 0.001  # how far the probabilities of a row may be from 1 together: a file may round them
SHOWN = 3  # classes that a message names


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model says of each row: its scores, and the columns that metrics are computed of by themselves, or why
    one cannot be had."""

    score: "Floats"
    columns: "Mapping[str, Floats | str]" = field(default_factory=dict)

    def of(self, metric: Metric) -> "Floats | str":
        """Return what a metric is computed of."""
        return self.score if metric.column is None else self.columns.get(metric.column, f"no column '{metric.column}'")


@dataclass(frozen=True, slots=True)
class Scored:
    """One side: label and score of each row, in the file's order; and by column how much each row counts, or why that
    cannot be said.

    The label is true or false (binary), the number of one of ``classes``, or a target. Scores are one column, or
    several as :mod:`lockgate.evaluation.multiclass` and :mod:`lockgate.evaluation.regression` have them. ``labelled``
    says what the label is written as. ``columns`` are those that metrics are computed of by themselves, ``covered`` is
    the share of targets that intervals are to hold.
    """

    label: "Labels"
    score: "Floats"
    weights: "Mapping[str, Floats | str]" = field(default_factory=dict)
    columns: "Mapping[str, Floats | str]" = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    labelled: str = ""
    kind: Kind = "binary"
    covered: float | None = None

    @property
    def answers(self) -> Answers:
        """What the model says of the rows."""
        return Answers(self.score, self.columns)


def read_scored(
    what: Predictions,
    file: File,
    weights: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    labels: File | None = None,
) -> Scored:
    """Return label and score of every row, these columns of weights, and these that metrics are computed of.

    ``labels`` is the file that has the label, where the policy names one. Raises :class:`Refused` for no rows, and for
    labels and scores that are not what the kind of model has.
    """
    read = {"binary": _binary, "multiclass": _multiclass, "regression": _regression, "other": _other}[what.kind]
    found = read(what, file, _Labels(what, file, labels))
    return replace(
        found,
        weights={name: _weights(file, name) for name in weights},
        columns={name: _column(file, name) for name in columns},
        kind=what.kind,
        covered=what.interval.coverage if what.interval else None,
    )


@dataclass(frozen=True, slots=True)
class _Labels:
    """Where the label of each row is: in the file itself, or in another that has the same key."""

    what: Predictions
    file: File
    other: File | None

    def __str__(self) -> str:
        """Say which file it is, as a message does."""
        return str(self.other or self.file)

    def beside(self, *names: str) -> "tuple[Any, list[Any]]":
        """Return the column of labels in the file's order, and these columns of the file."""
        if self.what.labels is None:
            table = self.file.columns((self.what.label, *names))
            _some_rows(self.file, table)
            return table.column(0), list(table.columns[1:])
        columns = self.file.columns((*names, *self.what.key)).columns[: len(names)]
        if self.other is None:
            raise Refused(f"there is no {self.what.labels} of {self.file.side}, which has the labels")
        label = self.other.column(self.what.label)
        for one in (*columns, label):
            _some_rows(self.file if one is not label else self.other, one)
        rows, of_labels = matching_rows(self.what, self.file, self.other)
        if len(rows) < len(columns[0]):
            raise Refused(f"{len(columns[0]) - len(rows):,} of {len(columns[0]):,} rows of {self.file} have no label "
                          f"in {self.other.name}")  # fmt: skip
        return label.take(_arrow(of_labels)), columns


def label_beside(what: Predictions, file: File, labels: File | None) -> Any:
    """Return the column of labels in the order of a predictions file, wherever they are; ``None`` for a kind of model
    that has none. Raises :class:`Refused`."""
    return _Labels(what, file, labels).beside(what.key[0])[0] if what.label else None


def _arrow(numbers: "Indices") -> Any:
    import pyarrow as pa

    return pa.array(numbers)


def _some_rows(file: File, of: Any) -> None:
    if len(of) == 0:
        raise Refused(f"{file} has no rows")


# --- the kinds


def _binary(what: Predictions, file: File, labels: _Labels) -> Scored:
    import numpy as np
    import pyarrow as pa

    label, (score,) = labels.beside(what.score)
    try:
        scores = floats(score)
        if what.positive is None:
            numbers = floats(label.cast(pa.int8()) if pa.types.is_boolean(label.type) else label)
    except pa.ArrowException as error:
        if what.positive is None and _type(label) == "text":
            raise Refused(
                f"'{what.label}' of {labels} is text: say which of its values is the positive class, `positive: …`"
            ) from error
        raise Refused(f"'{what.label}' or '{what.score}' of {file} holds values that are not numbers") from error
    if what.positive is not None:
        found = _positive(what, labels, label)
    elif not np.isin(numbers, (0, 1)).all():
        raise Refused(f"'{what.label}' of {labels} has values other than 0 and 1")
    else:
        found = numbers.astype(np.bool_)
    wrong = int((~np.isfinite(scores)).sum())
    if wrong:
        raise Refused(f"{wrong:,} of {len(scores):,} scores of {file} are missing, NaN or infinite")
    return Scored(found, scores)


def _positive(what: Predictions, labels: _Labels, column: Any) -> "NDArray[np.bool_]":
    numbers, classes, _ = _classes(what.label, str(labels), column)
    if what.positive not in classes:
        raise Refused(
            f"no '{what.label}' of {labels} is '{what.positive}', the positive class: it has {_named(classes)}"
        )
    if len(classes) > 2:
        raise Refused(
            f"'{what.label}' of {labels} has {len(classes):,} values ({_named(classes)}): a binary label has two"
        )
    found: NDArray[np.bool_] = numbers == classes.index(what.positive)
    return found


def _multiclass(what: Predictions, file: File, labels: _Labels) -> Scored:
    import numpy as np

    of_classes = _probability_columns(what, file)
    label, columns = labels.beside(*((what.predicted,) if what.predicted else ()), *of_classes.values())
    numbers, values, kind = _classes(what.label, str(labels), label)
    said, known, other = None, list(values), kind
    if what.predicted:
        said, known, other = _classes(what.predicted, str(file), columns.pop(0))
        if other != kind:
            raise Refused(
                f"'{what.label}' of {labels} is {kind} and '{what.predicted}' of {file} is {other}: both have to name "
                "the classes alike"
            )
    classes = tuple(of_classes) or tuple(_ordered({*values, *known}, kind))
    for column, there in ((what.label, values), (what.predicted or "", known)):
        if strange := [one for one in there if one not in classes]:
            where = f"'{column}' of {labels if column == what.label else file}"
            raise Refused(f"{where} has the class '{strange[0]}', and there is no column of its probability")
    place = {name: number for number, name in enumerate(classes)}
    score = np.empty((len(numbers), 1 + len(of_classes)), order="F")
    for number, column in enumerate(columns, 1):
        score[:, number] = _probability(file, tuple(of_classes.values())[number - 1], column)
    if of_classes:
        _check_sums(file, score[:, 1:])
    score[:, 0] = (
        np.argmax(score[:, 1:], axis=1) if said is None else np.array([place[one] for one in known], dtype=float)[said]
    )
    return Scored(np.array([place[one] for one in values])[numbers], score, classes=classes, labelled=kind)


def _probability_columns(what: Predictions, file: File) -> dict[str, str]:
    """Return the column of each class's probability; none where the policy names none."""
    if what.probabilities is None:
        return {}
    if what.probabilities.columns:
        return dict(what.probabilities.columns)
    prefix = what.probabilities.prefix
    others = (what.label, what.predicted, *what.key)
    found = {name.removeprefix(prefix): name for name in file.names() if name.startswith(prefix) and name not in others}
    if len(found) < 2:
        raise Refused(
            f"{file} has {count(len(found), 'column')} whose name begins with '{prefix}': it takes one a class"
        )
    return found


def _probability(file: File, name: str, column: Any) -> "Floats":
    import numpy as np
    import pyarrow as pa

    try:
        found = floats(column)
    except pa.ArrowException as error:
        raise Refused(f"'{name}' of {file} holds values that are not numbers") from error
    if wrong := int((~np.isfinite(found)).sum()):
        raise Refused(f"{wrong:,} of {len(found):,} probabilities '{name}' of {file} are missing, NaN or infinite")
    if wrong := int((found < 0).sum()):
        raise Refused(f"{wrong:,} of {len(found):,} probabilities '{name}' of {file} are negative")
    return found


def _check_sums(file: File, probabilities: "Floats") -> None:
    import numpy as np

    total = np.zeros(len(probabilities))
    for column in range(probabilities.shape[1]):
        total += probabilities[:, column]
    apart = np.abs(total - 1)
    if wrong := int((apart > SUM).sum()):
        of_one = total[int(apart.argmax())]
        raise Refused(
            f"the probabilities of {wrong:,} of {count(len(total), 'row')} of {file} do not sum to 1: of one they sum "
            f"to {of_one:.4g}"
        )


def _regression(what: Predictions, file: File, labels: _Labels) -> Scored:
    import numpy as np

    ends = (what.interval.low, what.interval.high) if what.interval else ()
    label, columns = labels.beside(str(what.prediction), *ends)
    targets = _finite(what.label, str(labels), label, "targets")
    read = [
        _finite(name, str(file), one, "values") for name, one in zip((what.prediction, *ends), columns, strict=True)
    ]
    if not ends:
        return Scored(targets, read[0])
    if wrong := int((read[1] > read[2]).sum()):
        raise Refused(f"{wrong:,} of {len(targets):,} intervals of {file} end below where they begin")
    score = np.empty((len(targets), 3), order="F")
    for number, values in enumerate(read):
        score[:, number] = values
    return Scored(targets, score)


def _finite(name: str | None, file: str, column: Any, what: str) -> "Floats":
    """Return a column of finite numbers. Raises :class:`Refused`."""
    import numpy as np
    import pyarrow as pa

    kind = _type(column)
    if kind != "a number":
        raise Refused(f"'{name}' of {file} is {kind}, and a regression is about numbers")
    try:
        found = floats(column)
    except pa.ArrowException as error:
        raise Refused(f"'{name}' of {file} holds values that are not numbers") from error
    if wrong := int((~np.isfinite(found)).sum()):
        raise Refused(f"{wrong:,} of {len(found):,} {what} '{name}' of {file} are missing, NaN or infinite")
    return found


def _other(what: Predictions, file: File, _labels: _Labels) -> Scored:
    import numpy as np

    column = file.column(what.key[0], text=True)
    _some_rows(file, column)
    nothing = np.zeros(len(column))
    return Scored(nothing.astype(np.bool_), nothing)


# --- both sides


def aligned(what: Predictions, scored: tuple[Scored, Scored]) -> tuple[Scored, Scored]:
    """Return both sides of a multiclass model with one numbering of the classes: base's, and then what head adds.

    Raises :class:`Refused` where the two do not name the same classes.
    """
    base, head = scored
    if what.kind != "multiclass":
        return scored
    if base.labelled != head.labelled:
        raise Refused(f"'{what.label}' is {base.labelled} in base and {head.labelled} in head")
    news = [name for name in head.classes if name not in base.classes]
    gone = [name for name in base.classes if name not in head.classes]
    if what.probabilities is not None and (news or gone):
        side, other, name = ("head", "base", news[0]) if news else ("base", "head", gone[0])
        raise Refused(f"{side} has probabilities of the class '{name}', which {other} does not know")
    if base.classes == head.classes:
        return scored
    classes = (*base.classes, *news)
    return replace(base, classes=classes), _renumbered(head, classes)


def _renumbered(side: Scored, classes: tuple[str, ...]) -> Scored:
    import numpy as np

    place = np.array([classes.index(name) for name in side.classes])
    score = np.empty_like(side.score, order="F")
    score[:, 0] = place[side.score[:, 0].astype(np.int64)]
    for own, number in enumerate(place) if side.score.shape[1] > 1 else ():
        score[:, 1 + number] = side.score[:, 1 + own]
    return replace(side, label=place[side.label], score=score, classes=classes)


# --- columns


def _type(column: Any) -> str:
    """Return what the values of a column are, in words."""
    import pyarrow as pa

    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_boolean(kind):
        return "true or false"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "a number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
        return "text"
    return "without values" if pa.types.is_null(kind) else f"of the type {kind}"


def _classes(name: str, file: str, column: Any) -> "tuple[Indices, list[str], str]":
    """Return for each row the number of its class, the names of the classes in that numbering, and what they are
    written as. Raises :class:`Refused`."""
    kind = _type(column)
    if kind not in ("a number", "text", "true or false"):
        raise Refused(f"'{name}' of {file} is {kind}: a class is text, a number, or true or false")
    numbers, values = numbered(column)
    missing = [number for number, value in enumerate(values) if value is None or value != value or value == ""]  # noqa: PLR0124
    if missing and (empty := sum(int((numbers == number).sum()) for number in missing)):
        raise Refused(f"'{name}' of {file} is missing in {count(empty, 'row')}")
    if len(values) > MOST_CLASSES:
        raise Refused(
            f"'{name}' of {file} has {len(values):,} values, more than the {MOST_CLASSES:,} classes there may be"
        )
    return numbers, [written(value) for value in values], kind


def written(value: Any) -> str:
    """Return the name of a class: a whole number is written without a point, whatever its type is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str) and value == int(value):
        return str(int(value))
    return str(value)


def _ordered(names: set[str], kind: str) -> list[str]:
    return sorted(names, key=(lambda name: (float(name), name)) if kind == "a number" else None)


def _named(classes: list[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in classes[:SHOWN])
    return f"{shown}{' …' if len(classes) > SHOWN else ''}"


def _weights(file: File, name: str) -> "Floats | str":
    """Return how much each row counts by a column, or why it does not say."""
    import numpy as np
    import pyarrow as pa

    try:
        found = floats(file.column(name))
    except Refused as reason:
        return str(reason)
    except pa.ArrowException:
        return f"'{name}' of {file} holds values that are not numbers"
    wrong = int((~np.isfinite(found) | (found < 0)).sum())
    if wrong:
        return f"{wrong:,} of {len(found):,} weights '{name}' of {file} are missing, negative or infinite"
    return found if found.any() else f"no row counts by '{name}' of {file}: every weight is 0"


def _column(file: File, name: str) -> "Floats | str":
    """Return a column of finite numbers, or why it is none."""
    try:
        return _numeric_or_truth(file, name)
    except Refused as reason:
        return str(reason)


def _numeric_or_truth(file: File, name: str) -> "Floats":
    import numpy as np
    import pyarrow as pa

    column = plain(file.column(name))
    try:
        found = floats(column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column)
    except pa.ArrowException as error:
        raise Refused(f"'{name}' of {file} holds values that are not numbers") from error
    if wrong := int((~np.isfinite(found)).sum()):
        raise Refused(f"{wrong:,} of {len(found):,} values '{name}' of {file} are missing, NaN or infinite")
    return found
