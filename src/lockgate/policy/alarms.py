"""``alarms``: how many false alarms a year a monitor may give, and about what."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from lockgate import policy_values as values
from lockgate.errors import nearest
from lockgate.policy_values import Key, PolicyError

if TYPE_CHECKING:
    from lockgate.policy.document import Policy

Kind = Literal["roc_auc", "log_loss", "brier", "calibration_error", "slices", "schema", "volume"]
KINDS: tuple[Kind, ...] = get_args(Kind)
USUAL: tuple[Kind, ...] = ("roc_auc", "calibration_error", "slices", "schema", "volume")
MARGINS: dict[Kind, float] = {
    "roc_auc": 0.01,
    "log_loss": 0.01,
    "brier": 0.005,
    "calibration_error": 0.02,
    "slices": 0.02,
    "schema": 0.02,
    "volume": 0.25,
}
_YEARS = {"year": 1.0, "month": 12.0, "week": 365.25 / 7}
_BUDGET = r"([0-9]+(?:\.[0-9]+)?) per (year|month|week)"


@dataclass(frozen=True, slots=True)
class AlarmSettings:
    """How many false alarms a year there may be, ``on`` what alarms are given, and by how much each may be worse than
    promised before anybody needs to know. ``webhook`` names the environment variable that holds the address to which
    alarms are sent."""

    budget: float = 2.0
    on: tuple[Kind, ...] = USUAL
    margins: dict[Kind, float] = field(default_factory=dict, hash=False)
    webhook: str | None = None

    def margin(self, kind: Kind) -> float:
        """Return by how much it may be worse than promised."""
        return self.margins.get(kind, MARGINS[kind])

    @property
    def share(self) -> float:
        """False alarms a year that each kind may give."""
        return self.budget / len(self.on)


@values.takes({"type": "string", "pattern": f"^(?!0+(\\.0+)? ){_BUDGET}$"})
def _budget(place: str, value: Any) -> float:
    match = re.fullmatch(_BUDGET, value) if isinstance(value, str) else None
    if match is None or float(match[1]) == 0:
        raise PolicyError(place, "must be a number of false alarms such as '2 per year' (or month, week)", value)
    return float(match[1]) * _YEARS[match[2]]


@values.takes({"type": "object", "properties": {kind: {"type": "number", "minimum": 0} for kind in KINDS}})
def _margins(place: str, value: Any) -> dict[Kind, float]:
    found = values.section(place, value, {kind: Key(values.amount, False) for kind in KINDS})
    return {kind: found[kind] for kind in KINDS if kind in found}


KEYS = {
    "budget": Key(_budget, help="how many false alarms there may be, all kinds together: `2 per year`"),
    "on": Key(values.list_of(values.one_of(*KINDS)), False, f"what alarms are given on (default: {', '.join(USUAL)})"),
    "margins": Key(
        _margins,
        False,
        "by how much each may be worse than promised (default: "
        + ", ".join(f"{kind} {margin:g}" for kind, margin in MARGINS.items())
        + ")",
    ),
    "webhook": Key(values.variable, False, "the environment variable with the address that an alarm's text is sent to"),
}


def _settings(place: str, value: Any) -> AlarmSettings:
    read = values.section(place, value, KEYS)
    if not read.get("on", USUAL):
        raise PolicyError(f"{place}.on", "must name at least one of " + ", ".join(KINDS), [])
    return AlarmSettings(**read)


SECTION = Key(values.takes(values.schema_of_section(KEYS))(_settings), False, "alarms with a budget: docs/alarms.md")


def check(policy: "Policy") -> None:
    """Raise :class:`PolicyError` where an alarm needs what the policy does not have."""
    if policy.alarms is None:
        return
    for index, kind in enumerate(policy.alarms.on):
        place = f"alarms.on[{index}]"
        if kind in ("schema", "volume"):
            continue
        if policy.predictions is None:
            raise PolicyError(place, "needs `predictions:`, the rows that a release's promise rests on", kind)
        if kind == "slices" and not policy.predictions.slices:
            raise PolicyError(place, "needs `predictions.slices:`, the columns to slice by", kind)
    for kind in policy.alarms.margins:
        if kind not in policy.alarms.on:
            hint = nearest(kind, list(policy.alarms.on))
            raise PolicyError(f"alarms.margins.{kind}", "is not among `alarms.on`", policy.alarms.margins[kind], hint)
