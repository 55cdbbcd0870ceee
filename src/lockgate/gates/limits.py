"""``min`` and ``max``: a metric on one side of a limit, over all rows or in each slice. ``floor`` and ``ceiling`` are
their older names."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from lockgate import policy_values as values
from lockgate.formatting import count, title
from lockgate.gates.gate import Gate, GateInputs, figure, key, metric_key, plain, rows_key, slices_key
from lockgate.result import GateOutcome, SliceChange

if TYPE_CHECKING:
    from lockgate.policy import Policy


@dataclass(frozen=True)
class _Limit(Gate):
    metric: str = metric_key()
    value: float = key(values.number, "the limit, which is allowed itself")

    words: ClassVar[str]
    upper: ClassVar[bool]

    def sentence(self, policy: "Policy") -> str:  # noqa: ARG002
        return f"{self.metric} at {self.words} {plain(self.value)}"

    def holds(self, value: float) -> bool:
        return value <= self.value if self.upper else value >= self.value

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        change = inputs.change(self.metric)
        if change.head is None:
            return self.not_evaluated(policy, change.note or "head has no value")
        if self.metric in inputs.disagree:
            return self.not_evaluated(policy, inputs.disagree[self.metric])
        return self.outcome(
            policy, measured(change.head, self.value), self.holds(change.head), headline=self.headline(change.head)
        )

    def headline(self, value: float, where: str = "") -> str:
        rule = f"at {self.words} {plain(self.value)} is {'allowed' if self.upper else 'required'}"
        return f"{title(self.metric)}{where} is {measured(value, self.value)}; {rule}"


@dataclass(frozen=True)
class Floor(_Limit):
    """The metric is ``value`` or more."""

    kind = "floor"
    about = "The metric is `value` or more."
    example = "{kind: floor, metric: roc_auc, value: 0.69}"
    replaced_by = "min"
    words, upper = "least", False


@dataclass(frozen=True)
class Ceiling(_Limit):
    """The metric is ``value`` or less."""

    kind = "ceiling"
    about = "The metric is `value` or less."
    example = "{kind: ceiling, metric: calibration_error, value: 0.03}"
    replaced_by = "max"
    words, upper = "most", True


@dataclass(frozen=True)
class _SlicedLimit(_Limit):
    slices: tuple[str, ...] = slices_key()
    rows: int = rows_key()

    def sentence(self, policy: "Policy") -> str:
        said = super().sentence(policy)
        return (
            f"{said} in each slice by {', '.join(self.slices)} of {self.rows:,} rows or more" if self.slices else said
        )

    def sliced_metric(self) -> str | None:
        return self.metric if self.slices else None

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        if not self.slices:
            return super().evaluate(policy, inputs)
        found = sliced(inputs, self.metric, self.slices, self.rows)
        values = [(one.head, one) for one in found if one.head is not None]
        if not values:
            return self.not_evaluated(policy, inputs.comparison.refused or inputs.unsliced or no_slice(self.rows))
        value, at = sorted(values, key=lambda one: (one[0] if not self.upper else -one[0], one[1].value))[0]
        failing = sum(not self.holds(one) for one, _ in values)
        reason = f"{failing:,} slices are on the wrong side" if failing > 1 else ""
        told = f"{at.column} {at.value}: {measured(value, self.value)}"
        headline = self.headline(value, f" for {at.column} {at.value}")
        return self.outcome(policy, told, not failing, reason, headline=headline)


@dataclass(frozen=True)
class Min(_SlicedLimit):
    """The metric is ``value`` or more, over all rows or in each slice."""

    kind = "min"
    about = "The metric is `value` or more; with `slices`, in each slice of these columns."
    example = "{kind: min, metric: roc_auc, value: 0.69}"
    words, upper = "least", False


@dataclass(frozen=True)
class Max(_SlicedLimit):
    """The metric is ``value`` or less, over all rows or in each slice."""

    kind = "max"
    about = "The metric is `value` or less; with `slices`, in each slice of these columns."
    example = "{kind: max, metric: calibration_error, value: 0.03, slices: [month], rows: 5000}"
    words, upper = "most", True


@dataclass(frozen=True)
class Gap(Gate):
    """The best and the worst slice of a column are at most ``at_most`` apart in head."""

    metric: str = metric_key(shown=True)
    slices: tuple[str, ...] = key(values.list_of(values.text), "asked within each of these slice columns")
    at_most: float = key(values.amount, "how far the best and the worst slice may be apart")
    rows: int = rows_key()

    kind = "gap"
    about = "The best and the worst slice of a column are at most `at_most` apart in head."
    example = "{kind: gap, metric: roc_auc, slices: [carrier], at_most: 0.1}"

    def sentence(self, policy: "Policy") -> str:  # noqa: ARG002
        """Return the rule in words."""
        return f"{self.metric} differs by at most {plain(self.at_most)} between slices by {', '.join(self.slices)}"

    def sliced_metric(self) -> str | None:
        """Return the metric it compares."""
        return self.metric

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        """Measure the widest gap of the columns."""
        gaps = []
        for column in self.slices:
            found = [one for one in sliced(inputs, self.metric, (column,), self.rows) if one.head is not None]
            if len(found) > 1:
                low, *_, high = sorted(found, key=lambda one: (one.head or 0.0, one.value))
                gaps.append(((high.head or 0.0) - (low.head or 0.0), low, high))
        if not gaps:
            reason = inputs.comparison.refused or inputs.unsliced
            return self.not_evaluated(policy, reason or f"no column has two slices of {count(self.rows, 'row')}")
        gap, low, high = max(gaps, key=lambda one: one[0])
        told = f"{figure(gap)} between {low.column} {low.value} and {high.value}"
        apart = f"{low.column} {low.value} and {high.value} are {figure(gap)} apart in {title(self.metric)}"
        headline = f"{apart}; at most {plain(self.at_most)} is allowed"
        return self.outcome(policy, told, gap <= self.at_most, headline=headline)


def sliced(inputs: GateInputs, metric: str, columns: tuple[str, ...], rows: int) -> list[SliceChange]:
    """Return the slices of these columns (none named: of every column) that have at least so many rows."""
    return [
        one
        for one in inputs.slices
        if one.metric == metric and one.rows >= rows and (not columns or one.column in columns)
    ]


def no_slice(rows: int) -> str:
    """Say that every slice is too small."""
    return f"no slice has {count(rows, 'shared row')}"


def measured(value: float, limit: float) -> str:
    """Write a value so that it never reads as the limit unless it is the limit."""
    for text in (figure(value), f"{value:.6g}"):
        if float(text.replace(",", "").replace("\N{MINUS SIGN}", "-")) != limit:
            return text
    return plain(value) if value == limit else repr(value)
