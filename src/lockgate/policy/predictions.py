"""``predictions``: the rows that intervals, slices and most gates are found from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lockgate import policy_values as values
from lockgate.policy.metrics import check_metric
from lockgate.policy_values import Key, PolicyError

if TYPE_CHECKING:
    from lockgate.policy.document import Policy


@dataclass(frozen=True, slots=True)
class Predictions:
    """The per-row predictions on the test rows: the columns that name a row, its label (0 or 1), its score and the
    columns to slice by. ``slice_metric`` is the metric shown for each slice.

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


KEYS = {
    "file": Key(values.path, help="Parquet or CSV: a row for each test row"),
    "key": Key(values.list_of(values.text), help="the columns that name a row"),
    "label": Key(values.text, help="the column of what happened, 0 or 1"),
    "score": Key(values.text, help="the column of the model's score"),
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
    return Predictions(**{"slices": (), "slice_metric": None, **read})


SECTION = Key(_predictions, False, "the per-row predictions that intervals and slices are found from")


def check(policy: "Policy") -> None:
    """Raise :class:`PolicyError` where the metric of slices is missing, or is none that slices can be computed by."""
    predictions = policy.predictions
    if predictions and predictions.slices and predictions.slice_metric is None:
        raise PolicyError("predictions.slice_metric", "is missing: the metric to show for each slice")
    if predictions and predictions.slice_metric is not None:
        check_metric(policy, "predictions.slice_metric", predictions.slice_metric, statistic=True)
