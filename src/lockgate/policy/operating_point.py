"""``operating_point``: from which score on the model is acted upon."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lockgate import policy_values as values
from lockgate.policy_values import Key, PolicyError

if TYPE_CHECKING:
    from lockgate.policy.document import Policy


@dataclass(frozen=True, slots=True)
class OperatingAt:
    """The threshold from which a score counts as true where the model is used, what a true row is called, and what one
    missed row and one false alarm cost, where that is known."""

    threshold: float
    positives: str = ""
    missed: float | None = None
    false_alarm: float | None = None


COSTS = {
    "missed": Key(values.amount, help="what one missed row costs"),
    "false_alarm": Key(values.amount, help="what one false alarm costs"),
}

KEYS = {
    "threshold": Key(values.share, False, "the score from which a row counts as true where the model is used"),
    "positives": Key(values.text, False, "what a true row is called"),
    "costs": Key(values.noun(dict[str, float], COSTS), False, "what an error costs; the threshold is found from it"),
}


@values.takes(values.schema_of_section(KEYS))
def _operating_point(place: str, value: Any) -> OperatingAt:
    """Read the threshold, or find it from the costs: a row is called true where its expected cost is smaller that way,
    from ``false_alarm / (false_alarm + missed)`` on (Elkan 2001)."""
    read = values.section(place, value, KEYS)
    costs = read.get("costs", {})
    both = sum(costs.values())
    if costs and not both:
        raise PolicyError(f"{place}.costs", "must not both be 0")
    if "threshold" not in read and not costs:
        raise PolicyError(f"{place}.threshold", "is missing: name the threshold, or the `costs` to find it from")
    threshold = read["threshold"] if "threshold" in read else costs["false_alarm"] / both
    return OperatingAt(threshold, read.get("positives", ""), costs.get("missed"), costs.get("false_alarm"))


SECTION = Key(_operating_point, False, "where the model is used: the threshold, or the costs of errors")


def check(policy: "Policy") -> None:
    """Raise :class:`PolicyError` where there are no rows that the threshold could sort."""
    if policy.operating_point and not policy.predictions:
        raise PolicyError("operating_point", "needs `predictions:`, the rows that the threshold sorts")
    if policy.operating_point and policy.predictions and policy.predictions.kind != "binary":
        kind = policy.predictions.kind
        raise PolicyError("operating_point", f"belongs to a binary model, whose score it sorts; this one is `{kind}`")
