"""``predictions``: the rows that intervals, slices and most gates are found from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lockgate import policy_values as values
from lockgate.policy.metrics import Kind, check_metric
from lockgate.policy_values import Key, PolicyError

if TYPE_CHECKING:
    from lockgate.policy.document import Policy


@dataclass(frozen=True, slots=True)
class Interval:
    """The columns of the two ends of each prediction's interval, and the share of targets that it is to hold."""

    low: str
    high: str
    coverage: float = 0.9


@dataclass(frozen=True, slots=True)
class Probabilities:
    """The columns of the classes' probabilities: all that begin with ``prefix``, or one named for each class."""

    prefix: str = ""
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Predictions:
    """The per-row predictions on the test rows: the columns that name a row, its label, what the model says, and the
    columns to slice by. ``slice_metric`` is the metric shown for each slice.

    What the model says depends on its ``kind``. Binary: a ``score``, and a label of 0 and 1, or with ``positive`` of
    any two values. Multiclass: the ``predicted`` class, the ``probabilities`` of the classes, or both. Regression: a
    ``prediction``, and perhaps an ``interval``. Other: nothing that is known here; columns of it can be averaged.
    ``labels`` is a file that has the label, where that is not in the predictions; the key joins the two.

    Rows with the same values in the columns ``cluster`` were drawn together (the flights of one day); with ``period``,
    rows of the same week or month of that one date column. ``missing`` is the share of base's rows that head may lack
    before the gates that compare refuse to judge.
    """

    file: str
    key: tuple[str, ...]
    label: str
    score: str
    slices: tuple[str, ...]
    slice_metric: str | None
    cluster: tuple[str, ...] = ()
    period: Literal["week", "month"] | None = None
    missing: float = 0.0
    kind: Kind = "binary"
    positive: str | None = None
    predicted: str | None = None
    probabilities: Probabilities | None = None
    prediction: str | None = None
    interval: Interval | None = None
    labels: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """The files that it is read from."""
        return (self.file, *((self.labels,) if self.labels else ()))


_INTERVAL = {
    "low": Key(values.text, help="the column of the lower end"),
    "high": Key(values.text, help="the column of the upper end"),
    "coverage": Key(values.share, False, "the share of targets that the intervals are to hold (default 0.9)"),
}


@values.takes({"type": "object", "additionalProperties": {"type": "string", "pattern": r"\S"}, "minProperties": 1})
def _probabilities(place: str, value: Any) -> Probabilities:
    if not isinstance(value, dict):
        raise PolicyError(place, "must be `{prefix: …}`, or a mapping from each class to its column", value)
    named = tuple((values.label(place, name), values.text(f"{place}.{name}", one)) for name, one in value.items())
    if len(named) == 1 and named[0][0] == "prefix":
        return Probabilities(named[0][1])
    if len(named) < 2:
        raise PolicyError(place, "must name two classes or more, or `prefix:`, with which all columns begin")
    return Probabilities("", named)


KEYS = {
    "file": Key(values.path, help="Parquet or CSV: a row for each test row"),
    "key": Key(values.list_of(values.text), help="the columns that name a row"),
    "kind": Key(
        values.one_of("binary", "multiclass", "regression", "other"), False, "what the model says (default `binary`)"
    ),
    "label": Key(values.text, False, "the column of what happened: 0 or 1, a class, a number; required but of `other`"),
    "labels": Key(values.path, False, "the file that has the label, if that is not in `file`; the key joins the two"),
    "positive": Key(values.label, False, "binary: the label of the positive class, where labels are not 0 and 1"),
    "score": Key(values.text, False, "binary, required: the column of the model's score"),
    "predicted": Key(values.text, False, "multiclass: the column of the predicted class"),
    "probabilities": Key(
        _probabilities,
        False,
        "multiclass: the columns of the classes' probabilities, `{prefix: p_}` or a mapping from class to column",
    ),
    "prediction": Key(values.text, False, "regression, required: the column of the predicted number"),
    "interval": Key(
        values.noun(Interval, _INTERVAL), False, "regression: the columns of an interval, `{low: …, high: …}`"
    ),
    "slices": Key(values.list_of(values.text), False, "the columns to slice by"),
    "slice_metric": Key(values.text, False, "the metric that is shown for each slice"),
    "cluster": Key(values.list_of(values.text), False, "the columns whose values tell which rows were drawn together"),
    "period": Key(
        values.one_of("week", "month"), False, "the rows of one week or month of the cluster's date go together"
    ),
    "missing": Key(values.share, False, "the share of base's rows that head may lack (default 0)"),
}


@values.takes(values.schema_of_section(KEYS))
def _predictions(place: str, value: Any) -> Predictions:
    read = values.section(place, value, KEYS)
    if not read["key"]:
        raise PolicyError(f"{place}.key", "must name at least one column")
    if "period" in read and len(read.get("cluster", ())) != 1:
        raise PolicyError(f"{place}.period", "needs exactly one date column in `cluster`", read["period"])
    _check_columns(place, read)
    return Predictions(**{"slices": (), "slice_metric": None, "label": "", "score": "", **read})


_OF_KIND: dict[Kind, tuple[str, ...]] = {
    "binary": ("label", "score", "positive"),
    "multiclass": ("label", "predicted", "probabilities"),
    "regression": ("label", "prediction", "interval"),
    "other": (),
}
_REQUIRED: dict[Kind, tuple[str, ...]] = {
    "binary": ("label", "score"),
    "multiclass": ("label",),
    "regression": ("label", "prediction"),
    "other": (),
}


def _check_columns(place: str, read: dict[str, Any]) -> None:
    """Raise :class:`PolicyError` where a column that the kind needs is not named, or one that it does not have is."""
    kind: Kind = read.get("kind", "binary")
    for key in _REQUIRED[kind]:
        if key not in read:
            raise PolicyError(f"{place}.{key}", f"is missing: the kind `{kind}` needs it")
    for key in dict.fromkeys(key for keys in _OF_KIND.values() for key in keys):
        if key in read and key not in _OF_KIND[kind]:
            named = " or ".join(f"`{one}`" for one, keys in _OF_KIND.items() if key in keys)
            raise PolicyError(f"{place}.{key}", f"belongs to the kind {named}, and this is `{kind}`", read[key])
    if "labels" in read and kind == "other":
        raise PolicyError(f"{place}.labels", "the kind `other` has no label", read["labels"])
    if kind == "multiclass" and "predicted" not in read and "probabilities" not in read:
        raise PolicyError(f"{place}.predicted", "is missing: name it, or the `probabilities` of the classes")
    interval = read.get("interval")
    if interval is not None and not 0 < interval.coverage < 1:
        raise PolicyError(f"{place}.interval.coverage", "must be above 0 and below 1", interval.coverage)


SECTION = Key(_predictions, False, "the per-row predictions that intervals and slices are found from")


def check(policy: "Policy") -> None:
    """Raise :class:`PolicyError` where the metric of slices is missing, or is none that slices can be computed by."""
    predictions = policy.predictions
    if predictions and predictions.slices and predictions.slice_metric is None:
        raise PolicyError("predictions.slice_metric", "is missing: the metric to show for each slice")
    if predictions and predictions.slice_metric is not None:
        check_metric(policy, "predictions.slice_metric", predictions.slice_metric, statistic=True)
