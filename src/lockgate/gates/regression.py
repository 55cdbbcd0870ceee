"""``no-regression``: head is *shown* not to be worse than a margin; ``improves``: head is shown to be better.

Both are asked of the 95 % interval of the change on the same rows. Too few rows show nothing, and what is not shown
does not hold (or asks for a look, if the policy says so). This is the test for non-inferiority of clinical trials (ICH
E9, section 3.3.2): the bad end of the interval against the margin. ``no-worse`` and ``slices-no-worse`` are older: they
fail only what is shown to be worse, so that few rows let much pass.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from lockgate import policy_values as values
from lockgate.formatting import count, title
from lockgate.gates.gate import (
    NO_BASE,
    Earlier,
    Gate,
    GateInputs,
    amount_and_limit,
    change_in_words,
    figure,
    harm,
    incomparable,
    key,
    metric_key,
    moves,
    plain,
    relative_key,
    rows_key,
    slices_key,
    tolerance_key,
    worst,
)
from lockgate.gates.limits import no_slice, sliced
from lockgate.result import GateOutcome, MetricChange, SliceChange

if TYPE_CHECKING:
    from lockgate.policy import Metric, Policy


@dataclass(frozen=True)
class NoWorse(Gate):
    """The metric is not significantly worse than base's by more than ``tolerance`` (in the metric's own units)."""

    metric: str = metric_key()
    tolerance: float = tolerance_key()

    kind = "no-worse"
    about = (
        "Fails if the metric is shown to be worse than base's, and by more than `tolerance`. Few rows show little: "
        "`no-regression` asks that head is shown *not* to be worse."
    )
    example = "{kind: no-worse, metric: roc_auc, tolerance: 0.002}"
    replaced_by = "no-regression"
    compares = True

    def sentence(self, policy: "Policy") -> str:
        """Return the rule in words."""
        bad, _ = moves(policy.metric(self.metric))
        return f"{self.metric} may {bad} by at most {plain(self.tolerance)}, chance apart"

    def tolerates(self, metric: "Metric", change: MetricChange | SliceChange) -> bool:
        """Say whether the change is within the tolerance."""
        return (
            isinstance(change, MetricChange)
            and change.name == self.metric
            and harm(metric, change.change or 0.0) <= self.tolerance
        )

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        """Ask the interval whether it is worse, and the change whether it is too much."""
        metric, change = policy.metric(self.metric), inputs.change(self.metric)
        if (early := _early(self, policy, change, inputs)) is not None:
            return early
        tolerable = harm(metric, change.change or 0.0) <= self.tolerance
        told, headline = in_words(change), too_much(metric, change, self.tolerance)
        if change.low is None:
            return self.outcome(policy, f"{told}, no interval", tolerable, change.note, headline=headline)
        told += f": {change.judgement}" if change.low != change.high else ""
        return self.outcome(policy, told, tolerable or change.judgement != "worse", headline=headline)


@dataclass(frozen=True)
class NoRegression(Gate):
    """The metric is shown to be worse than base's by no more than ``margin``: on all rows, or on each slice."""

    metric: str = metric_key(shown=True)
    margin: float = key(values.amount, "the largest change for the worse; `lockgate power` says what can be shown")
    relative: bool = relative_key("the margin")
    slices: tuple[str, ...] = slices_key()
    rows: int = rows_key()
    unshown: Literal["fail", "look"] = key(
        values.one_of("fail", "look"), "too few rows: `fail`, or `look` (a person looks)", "fail"
    )
    against: Literal["base", "release", "best"] = key(
        values.one_of("base", "release", "best"),
        "what head is held against: `base`; the last `release`; the `best` commit so far of the default branch",
        "base",
        later=True,
    )

    kind = "no-regression"
    about = (
        "Head is shown to be worse than base by no more than `margin`: the bad end of the 95 % interval is in it. "
        "With `slices`, in each slice of these columns; every one has to hold, so no correction is needed. With "
        "`against`, head is held against the last release (the highest version tagged in base's history that was not "
        "withdrawn) or against the commit of the default branch whose metrics file had the best value on the same test "
        "rows: ten changes that each lose a little pass one by one, and not together."
    )
    example = "{kind: no-regression, metric: roc_auc, margin: 0.005}"
    compares = True

    def sentence(self, policy: "Policy") -> str:
        """Return the rule in words."""
        bad, _ = moves(policy.metric(self.metric))
        amount = _amount(self.margin, relative=self.relative)
        where = f" in each slice by {', '.join(self.slices)} of {self.rows:,} rows or more" if self.slices else ""
        return f"{self.metric} is shown to {bad} by at most {amount}{where}{_AGAINST[self.against]}"

    def sliced_metric(self) -> str | None:
        """Return the metric, if it is asked of slices."""
        return self.metric if self.slices else None

    def tolerates(self, metric: "Metric", change: MetricChange | SliceChange) -> bool:
        """Say whether the whole interval is within the margin."""
        if self.against != "base":
            return False
        if isinstance(change, MetricChange):
            mine = change.name == self.metric and not self.slices
        else:
            mine = change.metric == self.metric and change.column in self.slices
        return mine and change.low is not None and worst(metric, change) <= self._margin(change)

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        """Hold the bad end of the interval against the margin."""
        if self.against == "base" or not inputs.has_base:
            return self._held(policy, inputs)
        earlier = inputs.earlier.get(self, Earlier(missing=inputs.comparison.refused or "it was not looked for"))
        if earlier.missing:
            return self.not_evaluated(policy, earlier.missing)
        head = inputs.change(self.metric).head
        if earlier.none and head is not None:
            return self.outcome(policy, figure(head), passed=True, reason=earlier.none)
        told = self._held(
            policy,
            replace(
                inputs,
                metrics=earlier.metrics or inputs.metrics,
                slices=earlier.slices,
                comparison=earlier.comparison or inputs.comparison,
                unsliced=earlier.unsliced,
            ),
        )
        return replace(
            told,
            measured=f"{told.measured} since {earlier.label}" if told.measured else "",
            reason="; ".join(part for part in (told.reason, earlier.note) if part),
            headline=f"since {earlier.label}: {told.headline}" if told.headline else "",
        )

    def _held(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        metric, change = policy.metric(self.metric), inputs.change(self.metric)
        if (early := _early(self, policy, change, inputs)) is not None:
            return early
        if not self.slices:
            return self._outcome(policy, metric, change, "")
        found = [one for one in sliced(inputs, self.metric, self.slices, self.rows) if one.low is not None]
        if not found:
            return self.not_evaluated(policy, inputs.unsliced or no_slice(self.rows))
        worst_of_all = max(found, key=lambda one: (worst(metric, one) - self._margin(one), one.value))
        return self._outcome(policy, metric, worst_of_all, f"{worst_of_all.column} {worst_of_all.value} ")

    def _margin(self, change: MetricChange | SliceChange) -> float:
        return _of_base(self.margin, change, relative=self.relative)

    def _outcome(
        self, policy: "Policy", metric: "Metric", change: MetricChange | SliceChange, where: str
    ) -> GateOutcome:
        told, margin = f"{where}{in_words(change)}", self._margin(change)
        if worst(metric, change) <= margin:
            return self.outcome(policy, told, passed=True)
        if harm(metric, change.change or 0.0) > margin:
            return self.outcome(policy, told, passed=False, headline=too_much(metric, change, margin))
        bad, _ = moves(metric)
        reason = f"not shown: it may {bad} by {figure(worst(metric, change))}"
        amount, limit = amount_and_limit(change, worst(metric, change), margin)
        headline = f"{subject(change)} may have {_DONE[bad]} by as much as {amount}; at most {limit} is allowed"
        headline += ", and more test rows are needed to show it"
        look = self.unshown == "look"
        return self.outcome(policy, told, look, reason, look=look, headline=headline)


@dataclass(frozen=True)
class Improves(Gate):
    """The metric is shown to be better than base's by more than ``by``."""

    metric: str = metric_key(shown=True)
    by: float = key(values.amount, "the least gain that has to be shown", 0.0)
    relative: bool = relative_key("the gain", later=True)

    kind = "improves"
    about = "Head is shown to be better than base by more than `by`: the bad end of the 95 % interval lies beyond it."
    example = "{kind: improves, metric: log_loss, by: 0.001}"
    compares = True

    def sentence(self, policy: "Policy") -> str:
        """Return the rule in words."""
        _, good = moves(policy.metric(self.metric))
        by = _amount(self.by, relative=self.relative)
        return f"{self.metric} is shown to {good}" + (f" by more than {by}" if self.by else "")

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        """Hold the bad end of the interval against the gain that is asked."""
        metric, change = policy.metric(self.metric), inputs.change(self.metric)
        if (early := _early(self, policy, change, inputs)) is not None:
            return early
        _, good = moves(metric)
        by = _of_base(self.by, change, relative=self.relative)
        wanted = f"a {good} by more than {_amount(self.by, relative=self.relative)}" if self.by else f"a {good}"
        headline = f"{subject(change)} {in_words(change)}; {wanted} has to be shown"
        return self.outcome(policy, in_words(change), -worst(metric, change) > by, headline=headline)


@dataclass(frozen=True)
class SuspiciousImprovement(Gate):
    """A gain larger than ``by`` does not pass without a person: it is more often a leak than a discovery."""

    metric: str = metric_key()
    by: float = key(values.amount, "a gain above this is suspicious")
    relative: bool = relative_key("the gain", later=True)

    kind = "suspicious-improvement"
    about = "A gain larger than `by` fails: it is more often leaked labels than a discovery. Raise `by` to let it pass."
    example = "{kind: suspicious-improvement, metric: roc_auc, by: 0.05}"
    compares = True

    def sentence(self, policy: "Policy") -> str:
        """Return the rule in words."""
        _, good = moves(policy.metric(self.metric))
        return f"{self.metric} may {good} by at most {_amount(self.by, relative=self.relative)} without a closer look"

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        """Look at the gain itself, shown or not."""
        metric, change = policy.metric(self.metric), inputs.change(self.metric)
        if (early := _early(self, policy, change, inputs)) is not None:
            return early
        gain, (_, good) = -harm(metric, change.change or 0.0), moves(metric)
        by = _of_base(self.by, change, relative=self.relative)
        amount, limit = amount_and_limit(change, gain, by)
        what = "target" if policy.predictions is not None and policy.predictions.kind == "regression" else "label"
        headline = f"{subject(change)} {_PAST[good]} by {amount}; above {limit} a leak of the {what} is likely"
        return self.outcome(policy, in_words(change), gain <= by, headline=headline)


@dataclass(frozen=True)
class SlicesNoWorse(Gate):
    """The same as :class:`NoWorse` for each slice of at least ``rows`` shared rows; ``columns`` empty means every slice
    column."""

    metric: str = metric_key(shown=True)
    tolerance: float = tolerance_key()
    rows: int = key(values.count, "slices with fewer shared rows are not asked")
    columns: tuple[str, ...] = key(values.list_of(values.text), "the slice columns to ask (default: all of them)", ())

    kind = "slices-no-worse"
    about = "`no-worse` for each slice, after a correction for looking at many."
    example = "{kind: slices-no-worse, metric: roc_auc, tolerance: 0.02, rows: 1000}"
    replaced_by = "no-regression"
    compares = True

    def sentence(self, policy: "Policy") -> str:
        """Return the rule in words."""
        bad, _ = moves(policy.metric(self.metric))
        where = f"slice{' by ' + ', '.join(self.columns) if self.columns else ''} of {self.rows:,} rows or more"
        return f"{self.metric} may {bad} by at most {plain(self.tolerance)} in each {where}, chance apart"

    def sliced_metric(self) -> str | None:
        """Return the metric."""
        return self.metric

    def tolerates(self, metric: "Metric", change: MetricChange | SliceChange) -> bool:
        """Say whether the change of a slice is within the tolerance."""
        return (
            isinstance(change, SliceChange)
            and change.metric == self.metric
            and harm(metric, change.change or 0.0) <= self.tolerance
        )

    def evaluate(self, policy: "Policy", inputs: GateInputs) -> GateOutcome:
        """Ask each slice that is large enough."""
        metric = policy.metric(self.metric)
        if not inputs.has_base:
            return self.outcome(policy, "", passed=True, reason=NO_BASE)
        if reason := inputs.comparison.refused or inputs.comparison.incomplete:
            return self.not_evaluated(policy, reason)
        if inputs.change(self.metric).judgement == "new" or inputs.unsliced:
            return self.outcome(policy, "", passed=True, reason=inputs.unsliced or "base has no value to compare with")
        asked = sliced(inputs, self.metric, self.columns, self.rows)
        large = [one for one in asked if one.change is not None and one.low is not None]
        if not large:
            reason = f"no slice has {count(self.rows, 'shared row')} on which {self.metric} is defined"
            return self.not_evaluated(policy, reason)
        worst_of_all = max(large, key=lambda one: (one.judgement == "worse", harm(metric, one.change or 0.0)))
        bad = [one for one in large if one.judgement == "worse" and harm(metric, one.change or 0.0) > self.tolerance]
        told = f"worst of {count(len(large), 'slice')}: {worst_of_all.column} {worst_of_all.value}, "
        left = len(asked) - len(large)
        reason = f"not defined on {count(left, 'slice')}" if left else ""
        if len(bad) > 1:
            reason = f"{len(bad):,} slices got worse" + (f"; {reason}" if reason else "")
        headline = too_much(metric, bad[0], self.tolerance) if bad else ""
        headline += f", and {count(len(bad) - 1, 'more slice')} got worse by more" if len(bad) > 1 else ""
        return self.outcome(policy, told + in_words(worst_of_all), not bad, reason, headline=headline)


_AGAINST = {"base": "", "release": " since the last release", "best": " from the best so far"}
_PAST = {"rise": "rose", "fall": "fell"}
_DONE = {"rise": "risen", "fall": "fallen"}


def _amount(amount: float, *, relative: bool) -> str:
    """Write an amount as the policy has it."""
    return f"{plain(100 * amount)} %" if relative else plain(amount)


def _of_base(amount: float, change: MetricChange | SliceChange, *, relative: bool) -> float:
    """Return an amount in the metric's own units."""
    return amount * abs(change.base or 0.0) if relative else amount


def subject(change: MetricChange | SliceChange) -> str:
    """Return what a sentence about a change begins with: the metric, and of which rows."""
    if isinstance(change, MetricChange):
        return title(change.name)
    return f"{title(change.metric)} for {change.column} {change.value}"


def too_much(metric: "Metric", change: MetricChange | SliceChange, margin: float) -> str:
    """Say by how much a metric got worse, and how much is allowed."""
    bad, _ = moves(metric)
    amount, limit = amount_and_limit(change, harm(metric, change.change or 0.0), margin)
    return f"{subject(change)} {_PAST[bad]} by {amount}; at most {limit} is allowed"


def in_words(change: MetricChange | SliceChange) -> str:
    """Return a change as a reviewer says it: ``fell by 0.0030 [−0.0041, −0.0019]``."""
    told = change_in_words(change)
    if not change.change or told == "no change":
        return told or "no change"
    amount = told.lstrip("+\N{MINUS SIGN}")
    return f"{'rose' if change.change > 0 else 'fell'} by {amount}"


def _early(gate: Gate, policy: "Policy", change: MetricChange, inputs: GateInputs) -> GateOutcome | None:
    """Return the outcome of a comparison that cannot be made; ``None`` where it can."""
    if change.head is None:
        return gate.not_evaluated(policy, change.note or "head has no value")
    if not inputs.has_base or change.judgement == "new":
        reason = "base has no value to compare with" if inputs.has_base else NO_BASE
        return gate.outcome(policy, figure(change.head), passed=True, reason=reason)
    if change.base is None:
        return gate.not_evaluated(policy, change.note or "base has no value")
    if reason := incomparable(policy.metric(change.name), change, inputs.comparison):
        return gate.not_evaluated(policy, reason)
    if not isinstance(gate, NoWorse | SuspiciousImprovement) and change.low is None:
        return gate.not_evaluated(policy, change.note or "there is no interval")
    return None
