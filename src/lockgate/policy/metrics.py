"""``metrics``: the numbers that are shown and judged."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from lockgate import policy_values as values
from lockgate.errors import nearest
from lockgate.policy_values import Key, PolicyError
from lockgate.result import Better

if TYPE_CHECKING:
    from lockgate.policy.document import Policy
    from lockgate.policy.predictions import Predictions

Kind = Literal["binary", "multiclass", "regression", "other"]
Statistic = Literal[
    "roc_auc", "average_precision", "log_loss", "brier", "calibration_error", "accuracy", "precision", "recall", "f1",
    "macro_f1", "weighted_f1", "rmse", "mae", "mse", "r2", "quantile_loss", "coverage", "interval_width",
    "interval_score", "mean",
]  # fmt: skip
# what can be computed anew from the predictions, and which way each is better (``None``: as the policy says)
STATISTICS: dict[Statistic, Better | None] = {
    "roc_auc": "higher",
    "average_precision": "higher",
    "accuracy": "higher",
    "log_loss": "lower",
    "brier": "lower",
    "calibration_error": "lower",
    "precision": "higher",
    "recall": "higher",
    "f1": "higher",
    "macro_f1": "higher",
    "weighted_f1": "higher",
    "rmse": "lower",
    "mae": "lower",
    "mse": "lower",
    "r2": "higher",
    "quantile_loss": "lower",
    "coverage": None,
    "interval_width": "lower",
    "interval_score": "lower",
    "mean": None,
}
ASSUMED: tuple[Statistic, ...] = (
    "roc_auc", "average_precision", "accuracy", "log_loss", "brier", "calibration_error",
)  # fmt: skip
"""Those that older policies take from a metric's name."""
OF_KIND: dict[Kind, tuple[Statistic, ...]] = {
    "binary": (*ASSUMED, "precision", "recall", "f1", "mean"),
    "multiclass": (
        "accuracy", "macro_f1", "weighted_f1", "log_loss", "brier", "precision", "recall", "f1", "roc_auc", "mean",
    ),
    "regression": (
        "rmse", "mae", "mse", "r2", "quantile_loss", "coverage", "interval_width", "interval_score", "mean",
    ),
    "other": ("mean",),
}  # fmt: skip
"""The statistics that a model of each kind has."""

Average = Literal["micro", "macro"]
AVERAGES: tuple[Average, ...] = ("micro", "macro")


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of a metrics file. ``key`` is its dotted place in ``file``; ``statistic`` is how it can be computed anew
    from the predictions, ``None`` where it cannot: with which ``threshold`` (accuracy), in how many ``bins``
    (calibration error), with the column of ``weights`` that says how much each row counts, and whether rows or classes
    count alike (``average``). ``of_class`` is the class that a figure of one class is about, ``quantile`` the one that
    is predicted (quantile loss), ``column`` the one that it is computed of: the mean of it, or its quantile loss.
    ``function`` is one of the repository that computes it instead of a statistic, ``metrics.py:metrics``.

    ``assumed``: the policy has no ``statistic:``, and the metric's name is that of one. Such a policy is older than the
    rule that nothing is guessed from a name: it is read as ever, and told to say what it means.
    """

    name: str
    file: str
    key: str
    better: Better
    statistic: Statistic | None
    threshold: float = 0.5
    bins: int = 10
    weights: str | None = None
    average: Average = "micro"
    of_class: str | None = None
    quantile: float | None = None
    column: str | None = None
    function: str | None = None
    assumed: bool = field(default=False, compare=False)

    @property
    def is_computed(self) -> bool:
        """Whether it can be computed anew from the predictions, so that its changes have intervals."""
        return self.statistic is not None or self.function is not None


KEYS = {
    "file": Key(values.path, help="the metrics file: JSON, YAML or TOML"),
    "key": Key(values.text, help="the dotted place of the number in the file"),
    "better": Key(values.one_of("higher", "lower"), help="which way the metric is better"),
    "statistic": Key(
        values.or_nothing(values.one_of(*STATISTICS)),
        False,
        "how it can be computed anew from the predictions, for intervals, slices and gates; `null`: it cannot",
    ),
    "threshold": Key(
        values.share, False, "accuracy, precision, recall, f1: the score from which a row counts as true (default 0.5)"
    ),
    "bins": Key(values.count, False, "calibration_error: the number of equal bins (default 10)"),
    "weights": Key(values.text, False, "the column of the predictions that says how much each row counts"),
    "average": Key(
        values.one_of(*AVERAGES),
        False,
        "log_loss, brier and accuracy: `micro` (the default), every row counts alike; `macro`, every class does",
    ),
    "class": Key(values.label, False, "precision, recall, f1 and roc_auc of a multiclass model: of which class"),
    "quantile": Key(values.share, False, "quantile_loss: the quantile that is predicted, such as 0.9"),
    "column": Key(
        values.text,
        False,
        "mean: the column whose mean it is, such as the loss of each row; quantile_loss: the column of the quantile, "
        "if it is not that of the prediction",
    ),
    "function": Key(
        values.function_of_file,
        False,
        "instead of a statistic: the function of the repository that computes it, `metrics.py:metrics`, for intervals "
        "and gates on all rows",
    ),
}

OF_A_CLASS = ("precision", "recall", "f1", "roc_auc")
_BELONGS: dict[str, tuple[str, ...]] = {
    "threshold": ("accuracy", "precision", "recall", "f1"),
    "bins": ("calibration_error",),
    "average": ("log_loss", "brier", "accuracy"),
    "weights": tuple(STATISTICS),
    "class": OF_A_CLASS,
    "quantile": ("quantile_loss",),
    "column": ("mean", "quantile_loss"),
}


def _metric(place: str, name: str, value: Any) -> Metric:
    read = values.section(place, value, KEYS)
    assumed = "statistic" not in read and "function" not in read and name in ASSUMED
    read.setdefault("statistic", name if assumed else None)
    statistic = read["statistic"]
    if statistic and "function" in read:
        raise PolicyError(f"{place}.function", f"stands beside the statistic {statistic}: leave one of them out")
    if statistic and STATISTICS[statistic] not in (None, read["better"]):
        raise PolicyError(f"{place}.better", f"{statistic} is better {STATISTICS[statistic]}", read["better"])
    for key, wanted in _BELONGS.items():
        if key in read and statistic not in wanted:
            named = " or ".join(wanted) if len(wanted) < len(STATISTICS) else "a metric that has one"
            raise PolicyError(f"{place}.{key}", f"belongs to the statistic {named} alone", read[key])
    for key, needing in (("quantile", "quantile_loss"), ("column", "mean")):
        if statistic == needing and key not in read:
            raise PolicyError(f"{place}.{key}", f"is missing: the statistic {needing} needs it")
    if read.get("quantile") in (0.0, 1.0):
        raise PolicyError(f"{place}.quantile", "must be above 0 and below 1", read["quantile"])
    of_class = read.pop("class", None)
    return Metric(name, **read, of_class=of_class, assumed=assumed)


SECTION = Key(values.mapping_of(_metric, values.schema_of_section(KEYS)), help="the numbers that are shown and judged")


def check(policy: "Policy") -> None:
    """Raise :class:`PolicyError` where no metric is named, or one number is named twice."""
    if not policy.metrics:
        raise PolicyError("metrics", "must name at least one metric")
    if len({(metric.file, metric.key) for metric in policy.metrics}) < len(policy.metrics):
        raise PolicyError("metrics", "two metrics have the same key of the same file")
    for metric in policy.metrics:
        if metric.function is not None and policy.predictions is None:
            raise PolicyError(f"metrics.{metric.name}.function", "needs `predictions:`, the rows that it is given")
    if policy.predictions is not None:
        for metric in policy.metrics:
            _check_kind(metric, policy.predictions)


def with_kind(read: dict[str, Any]) -> dict[str, Any]:
    """Take no statistic from a name where the policy says which kind of model it is: older policies do not."""
    if read.get("predictions") is None or read["predictions"].kind == "binary":
        return read
    bare = (replace(one, statistic=None, assumed=False) if one.assumed else one for one in read["metrics"])
    return {**read, "metrics": tuple(bare)}


def _check_kind(metric: Metric, predictions: "Predictions") -> None:
    """Raise :class:`PolicyError` where a metric's statistic is none of the kind of model, or lacks columns."""
    place, statistic, kind = f"metrics.{metric.name}", metric.statistic, predictions.kind
    if statistic is None:
        return
    if statistic not in OF_KIND[kind]:
        known = ", ".join(OF_KIND[kind])
        raise PolicyError(f"{place}.statistic", f"is none of the kind `{kind}`, which has {known}", statistic)
    if kind == "multiclass":
        if statistic in OF_A_CLASS and metric.of_class is None:
            raise PolicyError(f"{place}.class", f"is missing: {statistic} is of one class")
        if statistic in ("log_loss", "brier", "roc_auc") and predictions.probabilities is None:
            needs = f"{statistic} needs `predictions.probabilities:`, the columns of the classes' probabilities"
            raise PolicyError(f"{place}.statistic", needs)
        if metric.threshold != 0.5:
            raise PolicyError(f"{place}.threshold", "belongs to the kind `binary` alone", metric.threshold)
    elif metric.of_class is not None:
        raise PolicyError(f"{place}.class", "belongs to the kind `multiclass` alone", metric.of_class)
    if statistic in ("coverage", "interval_width", "interval_score") and predictions.interval is None:
        raise PolicyError(f"{place}.statistic", f"{statistic} needs `predictions.interval:`, the columns of its ends")


def check_metric(policy: "Policy", place: str, name: str, *, statistic: bool, function: bool = False) -> None:
    """Raise :class:`PolicyError` where ``place`` names a metric that the policy has not, or that has no statistic where
    it needs one; with ``function``, a function of the repository will do."""
    names = [metric.name for metric in policy.metrics]
    if name not in names:
        raise PolicyError(place, "no such metric under `metrics:`", name, nearest(name, names))
    if statistic and function and policy.metric(name).function is not None:
        return
    if statistic and policy.metric(name).function is not None:
        raise PolicyError(place, "is computed by a function of the repository, which slices are not asked of", name)
    if statistic and policy.metric(name).statistic is None:
        raise PolicyError(place, "has no `statistic:` by which it could be computed anew", name)
