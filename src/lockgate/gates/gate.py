"""What every gate is: keys that describe themselves, a sentence for a reviewer, and an answer to what was measured.

A gate cannot hold by accident: where something that it needs is missing, it "cannot be evaluated" and does not hold.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from lockgate import policy_values as values
from lockgate.formatting import decimals, fixed, interval
from lockgate.policy_values import Key, Reader, Schema
from lockgate.result import Comparison, DataChecks, Execution, GateOutcome, MetricChange, SliceChange

if TYPE_CHECKING:
    from lockgate.policy import Metric, Policy

NO_BASE = "no base to compare with"


@dataclass(frozen=True, slots=True)
class Earlier:
    """Head held against an earlier revision than base, which ``label`` names. ``missing`` is why it cannot be, ``none``
    why there is nothing to hold it against; ``note`` is for the reviewer."""

    label: str = ""
    metrics: tuple[MetricChange, ...] = ()
    slices: tuple[SliceChange, ...] = ()
    comparison: Comparison | None = None
    unsliced: str = ""
    missing: str = ""
    none: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class GateInputs:
    """What the gates are asked of. ``model_bytes`` is ``None`` with a reason in ``no_model``; ``base_model_bytes`` is
    what base's model has; ``unsliced`` says why base and head have no slices although there is a base; ``disagree``
    says of a metric that head's file and head's predictions say something else; ``earlier`` has what the gates
    that name an earlier revision are held against; ``execution`` is a run's word on itself, ``unchanged`` are the
    stages whose entry in the lock is base's."""

    has_base: bool
    metrics: tuple[MetricChange, ...]
    slices: tuple[SliceChange, ...]
    comparison: Comparison
    checks: DataChecks | None
    model_bytes: int | None
    no_model: str = ""
    unsliced: str = ""
    base_model_bytes: int | None = None
    disagree: Mapping[str, str] = field(default_factory=dict)
    earlier: Mapping["Gate", Earlier] = field(default_factory=dict)
    execution: Execution | None = None
    unchanged: frozenset[str] = frozenset()

    def change(self, metric: str) -> MetricChange:
        """Return the change of a metric of the policy."""
        return next(change for change in self.metrics if change.name == metric)


def key(read: Reader[Any], help: str, default: Any = MISSING, *, later: bool = False) -> Any:  # noqa: A002
    """Declare one key of a gate: how its value is read, and what it means. Without ``default`` it is required.

    ``later``: the kind was used without this key before, so that its default does not count in a gate's digest.
    """
    return field(default=default, metadata={"read": read, "help": help, "later": later})


def metric_key(*, shown: bool = False) -> Any:
    """Declare the metric of a gate; ``shown``: one that can be computed anew from the predictions."""
    return key(values.text, "a metric of the policy" + (" with a statistic" if shown else ""))


def tolerance_key() -> Any:
    """Declare the tolerance of the older kinds."""
    return key(values.amount, "a change for the worse of this size passes, shown or not")


def slices_key() -> Any:
    """Declare the slice columns of a gate that is asked of all rows without them."""
    return key(values.list_of(values.text), "asked of each slice of these columns, not of all rows together", ())


def rows_key() -> Any:
    """Declare from which size on a slice is asked."""
    return key(values.count, "slices with fewer rows are not asked", 1000)


def relative_key(what: str, *, later: bool = False) -> Any:
    """Declare that an amount is a share of base's value."""
    return key(values.flag, f"{what} is a share of base's value: 0.01 is one per cent", False, later=later)


@dataclass(frozen=True)
class Gate:
    """One rule of the policy. Subclasses are files of this package, one a kind."""

    kind: ClassVar[str]
    about: ClassVar[str]
    example: ClassVar[str]
    replaced_by: ClassVar[str] = ""
    """The kind to use instead, where this one is kept for the policies that have it."""
    compares: ClassVar[bool] = False
    """Whether it compares head with base."""

    @classmethod
    def keys(cls) -> Mapping[str, Key]:
        """Return the keys in the file's order."""
        return {
            one.name: Key(one.metadata["read"], one.default is MISSING, one.metadata["help"]) for one in fields(cls)
        }

    @classmethod
    def schema(cls) -> Schema:
        """Return in JSON Schema what the policy may say of this kind."""
        found = values.schema_of_section({"kind": Key(values.one_of(cls.kind)), **cls.keys()})
        if cls.replaced_by:
            found |= {"deprecated": True}
        about = f"{cls.about} Older: use `{cls.replaced_by}`." if cls.replaced_by else cls.about
        return found | {"title": cls.kind, "description": about}

    def sentence(self, policy: "Policy") -> str:
        """Return the rule as a reviewer reads it."""
        raise NotImplementedError

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        """Return whether the rule holds, what was measured, and why."""
        raise NotImplementedError

    def tolerates(self, metric: "Metric", change: MetricChange | SliceChange) -> bool:  # noqa: ARG002
        """Say whether the rule allows a change for the worse of this size, so that it is no reason to look again."""
        return False

    def sliced_metric(self) -> str | None:
        """Return the metric that this gate has to be shown for each slice, if it has one."""
        return None

    def outcome(
        self, policy: "Policy", measured: str, passed: bool, reason: str = "", *, look: bool = False, headline: str = ""
    ) -> GateOutcome:
        """Return an outcome of this gate. ``look``: it holds, but a person has to look; ``headline`` is what is said
        first where it does not hold, or where a person has to look."""
        told = headline if look or not passed else ""
        return GateOutcome(self.sentence(policy), measured, passed, reason, look, told)

    def not_evaluated(self, policy: "Policy", reason: str) -> GateOutcome:
        """Return the outcome of a gate that something is missing for."""
        said = self.sentence(policy)
        headline = f"the rule “{said}” cannot be checked: {reason}"
        return GateOutcome(said, "", passed=False, reason=f"cannot be evaluated: {reason}", headline=headline)


def harm(metric: "Metric", change: float) -> float:
    """Return by how much ``change`` makes the metric worse (negative: better)."""
    return -change if metric.better == "higher" else change


def worst(metric: "Metric", change: MetricChange | SliceChange) -> float:
    """Return the harm at the bad end of the interval of a change that has one."""
    return max(harm(metric, change.low or 0.0), harm(metric, change.high or 0.0))


def moves(metric: "Metric") -> tuple[str, str]:
    """Return the words for a change for the worse and for the better: ``fall`` and ``rise`` of a metric like AUC."""
    return ("fall", "rise") if metric.better == "higher" else ("rise", "fall")


def incomparable(metric: "Metric", change: MetricChange, comparison: Comparison) -> str:
    """Say why base and head cannot be compared in this metric, empty if they can: what is not shown does not hold."""
    if comparison.incomplete:
        return comparison.incomplete
    if not metric.is_computed or (comparison.rows_shared is None and not comparison.refused):
        return "" if change.change is not None else change.note or "base has no value"
    return comparison.refused or ("" if change.low is not None else change.note or "there is no interval")


def amount_and_limit(change: MetricChange | SliceChange, amount: float, limit: float) -> tuple[str, str]:
    """Write two figures to the same digits, ``0.0030`` and ``0.0020``: those that the interval of the change allows,
    and more where the limit has more or the two would look alike."""
    known = change.low is not None and change.high is not None
    spread = ((change.high or 0.0) - (change.low or 0.0)) / 2 if known else None
    fewest = decimals(spread, amount)
    for places in range(fewest, fewest + 4):
        told = fixed(amount, places), fixed(limit, places)
        if told[0] != told[1] and math.isclose(round(limit, places), limit, rel_tol=1e-9):
            return told
    if min(abs(amount), abs(limit)) >= 10:  # thousands apart, and four digits
        return fixed(amount, decimals(None, amount)), fixed(limit, decimals(None, limit))
    return f"{amount:.4g}", f"{limit:.4g}"


def plain(value: float) -> str:
    """Write a limit as the policy has it."""
    return f"{value:.12g}"


def figure(value: float) -> str:
    """Write a measured value."""
    if abs(value) >= 10:
        return fixed(value, decimals(None, value))
    return fixed(value, 4) if abs(value) >= 0.001 or value == 0 else f"{value:.3g}"


def change_in_words(change: MetricChange | SliceChange) -> str:
    """Return a change with its interval: ``+0.0061 [+0.0049, +0.0073]``; without one, the bare change."""
    if change.change is None:
        return ""
    if change.change == change.low == change.high == 0:
        return "no change"
    if change.low is None or change.high is None:
        return fixed(change.change, decimals(None, change.change), sign=True)
    places = decimals((change.high - change.low) / 2, change.change)
    return f"{fixed(change.change, places, sign=True)} {interval(change.low, change.high, places)}"
