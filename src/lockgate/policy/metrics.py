"""``metrics``: the numbers that are shown and judged."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lockgate import policy_values as values
from lockgate.errors import nearest
from lockgate.policy_values import Key, PolicyError
from lockgate.result import Better

if TYPE_CHECKING:
    from lockgate.policy.document import Policy

Statistic = Literal["roc_auc", "average_precision", "log_loss", "brier", "calibration_error", "accuracy"]
# what can be computed anew from labels and scores, and which way each is better
STATISTICS: dict[Statistic, Better] = {
    "roc_auc": "higher",
    "average_precision": "higher",
    "accuracy": "higher",
    "log_loss": "lower",
    "brier": "lower",
    "calibration_error": "lower",
}

Average = Literal["micro", "macro"]
AVERAGES: tuple[Average, ...] = ("micro", "macro")


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of a metrics file. ``key`` is its dotted place in ``file``; ``statistic`` is how it can be computed anew
    from the predictions, ``None`` where it cannot: with which ``threshold`` (accuracy), in how many ``bins``
    (calibration error), with the column of ``weights`` that says how much each row counts, and whether rows or classes
    count alike (``average``).

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
    assumed: bool = field(default=False, compare=False)


KEYS = {
    "file": Key(values.path, help="the metrics file: JSON, YAML or TOML"),
    "key": Key(values.text, help="the dotted place of the number in the file"),
    "better": Key(values.one_of("higher", "lower"), help="which way the metric is better"),
    "statistic": Key(
        values.or_nothing(values.one_of(*STATISTICS)),
        False,
        "how it can be computed anew from label and score, for intervals, slices and gates; `null`: it cannot",
    ),
    "threshold": Key(values.share, False, "accuracy: the score from which a row counts as true (default 0.5)"),
    "bins": Key(values.count, False, "calibration_error: the number of equal bins (default 10)"),
    "weights": Key(values.text, False, "the column of the predictions that says how much each row counts"),
    "average": Key(
        values.one_of(*AVERAGES),
        False,
        "log_loss, brier and accuracy: `micro` (the default), every row counts alike; `macro`, every class does",
    ),
}

_BELONGS: dict[str, tuple[str, ...]] = {
    "threshold": ("accuracy",),
    "bins": ("calibration_error",),
    "average": ("log_loss", "brier", "accuracy"),
    "weights": tuple(STATISTICS),
}


def _metric(place: str, name: str, value: Any) -> Metric:
    read = values.section(place, value, KEYS)
    assumed = "statistic" not in read and name in STATISTICS
    read.setdefault("statistic", name if assumed else None)
    statistic = read["statistic"]
    if statistic and read["better"] != STATISTICS[statistic]:
        raise PolicyError(f"{place}.better", f"{statistic} is better {STATISTICS[statistic]}", read["better"])
    for key, wanted in _BELONGS.items():
        if key in read and statistic not in wanted:
            named = " or ".join(wanted) if len(wanted) < len(STATISTICS) else "a metric that has one"
            raise PolicyError(f"{place}.{key}", f"belongs to the statistic {named} alone", read[key])
    return Metric(name, **read, assumed=assumed)


SECTION = Key(values.mapping_of(_metric, values.schema_of_section(KEYS)), help="the numbers that are shown and judged")


def check(policy: "Policy") -> None:
    """Raise :class:`PolicyError` where no metric is named, or one number is named twice."""
    if not policy.metrics:
        raise PolicyError("metrics", "must name at least one metric")
    if len({(metric.file, metric.key) for metric in policy.metrics}) < len(policy.metrics):
        raise PolicyError("metrics", "two metrics have the same key of the same file")


def check_metric(policy: "Policy", place: str, name: str, *, statistic: bool) -> None:
    """Raise :class:`PolicyError` where ``place`` names a metric that the policy has not, or that has no statistic."""
    names = [metric.name for metric in policy.metrics]
    if name not in names:
        raise PolicyError(place, "no such metric under `metrics:`", name, nearest(name, names))
    if statistic and policy.metric(name).statistic is None:
        raise PolicyError(place, "has no `statistic:` by which it could be computed anew", name)
