"""The policy's gates, asked of what was measured. A gate that cannot be evaluated does not hold, and says why.

Pure: evidence in, one outcome a gate out. What a reviewer reads of a rule is written here and nowhere else.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from lockgate.evaluation.compare import harm
from lockgate.formatting import count, decimals, fixed, interval, size
from lockgate.policy import (
    Ceiling,
    DataChecksPass,
    Environment,
    Floor,
    Gate,
    Metric,
    MetricsComplete,
    ModelSize,
    NoWorse,
    Policy,
    SlicesNoWorse,
)
from lockgate.result import Comparison, DataChecks, GateOutcome, MetricChange, SliceChange

NO_BASE = "no base to compare with"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the gates are asked of. ``model_bytes`` is ``None`` with a reason in ``no_model``; ``unsliced`` says why
    base and head have no slices although there is a base."""

    has_base: bool
    metrics: tuple[MetricChange, ...]
    slices: tuple[SliceChange, ...]
    comparison: Comparison
    checks: DataChecks | None
    model_bytes: int | None
    no_model: str = ""
    unsliced: str = ""


def evaluate(policy: Policy, evidence: Evidence) -> tuple[GateOutcome, ...]:
    """Return one outcome for each gate of the policy, in its order."""
    return tuple(_outcome(policy, gate, evidence) for gate in policy.gates)


def rule(gate: Gate) -> str:
    """Return the gate in words, as the policy means it."""
    match gate:
        case Floor(metric, value):
            words = f"{metric} at least {_plain(value)}"
        case Ceiling(metric, value):
            words = f"{metric} at most {_plain(value)}"
        case NoWorse(metric, tolerance):
            words = f"{metric} not significantly worse than base{_tolerance(tolerance)}"
        case SlicesNoWorse(metric, tolerance, rows, columns):
            slices = f"slice{' of ' + ', '.join(columns) if columns else ''} with {rows:,} rows or more"
            words = f"{metric} not significantly worse on any {slices}{_tolerance(tolerance)}"
        case DataChecksPass():
            words = "data checks pass"
        case ModelSize(at_most):
            words = f"model at most {size(at_most)}"
        case MetricsComplete():
            words = "every metric of the policy is there"
    return words


def _tolerance(tolerance: float) -> str:
    return f" (tolerance {_plain(tolerance)})" if tolerance else ""


def _plain(value: float) -> str:
    return f"{value:.12g}"


def _figure(value: float) -> str:
    return fixed(value, 4) if abs(value) >= 0.001 or value == 0 else f"{value:.3g}"


def _outcome(policy: Policy, gate: Gate, evidence: Evidence) -> GateOutcome:
    match gate:
        case Floor() | Ceiling():
            return _limit(gate, evidence)
        case NoWorse():
            return _no_worse(policy.metric(gate.metric), gate, evidence)
        case SlicesNoWorse():
            return _slices_no_worse(policy.metric(gate.metric), gate, evidence)
        case DataChecksPass():
            return _data_checks(gate, evidence.checks)
        case ModelSize():
            return _model_size(gate, evidence)
        case MetricsComplete():
            return _complete(gate, evidence.metrics)


def _limit(gate: Floor | Ceiling, evidence: Evidence) -> GateOutcome:
    change = _change(gate.metric, evidence)
    if change.head is None:
        return _not_evaluated(gate, change.note or "head has no value")
    passed = change.head >= gate.value if isinstance(gate, Floor) else change.head <= gate.value
    return GateOutcome(rule(gate), _measured(change.head, gate.value), passed)


def _measured(value: float, limit: float) -> str:
    """Write a value so that it never reads as the limit unless it is the limit."""
    for text in (_figure(value), f"{value:.6g}"):
        if float(text.replace(",", "").replace("\N{MINUS SIGN}", "-")) != limit:
            return text
    return _plain(value) if value == limit else repr(value)


def _no_worse(metric: Metric, gate: NoWorse, evidence: Evidence) -> GateOutcome:
    change = _change(gate.metric, evidence)
    if change.head is None:
        return _not_evaluated(gate, change.note or "head has no value")
    if not evidence.has_base or change.judgement == "new":
        reason = "base has no value to compare with" if evidence.has_base else NO_BASE
        return GateOutcome(rule(gate), _figure(change.head), passed=True, reason=reason)
    if change.base is None:
        return _not_evaluated(gate, change.note or "base has no value")
    if reason := _incomparable(metric, change, evidence.comparison):
        return _not_evaluated(gate, reason)
    tolerable = harm(metric, change.change or 0.0) <= gate.tolerance
    if change.low is None:
        measured = f"{change_in_words(change)}, no interval"
        return GateOutcome(rule(gate), measured, tolerable, change.note)
    measured = change_in_words(change)
    measured += f": {change.judgement}" if change.low != change.high else ""
    return GateOutcome(rule(gate), measured, tolerable or change.judgement != "worse")


def _incomparable(metric: Metric, change: MetricChange, comparison: Comparison) -> str:
    """Say why base and head cannot be compared in this metric, empty if they can: what is not shown does not hold."""
    if comparison.incomplete:
        return comparison.incomplete
    if metric.statistic is None or (comparison.rows_shared is None and not comparison.refused):
        return "" if change.change is not None else change.note or "base has no value"
    return comparison.refused or ("" if change.low is not None else change.note or "there is no interval")


def _slices_no_worse(metric: Metric, gate: SlicesNoWorse, evidence: Evidence) -> GateOutcome:
    if not evidence.has_base:
        return GateOutcome(rule(gate), "", passed=True, reason=NO_BASE)
    if reason := evidence.comparison.refused or evidence.comparison.incomplete:
        return _not_evaluated(gate, reason)
    if _change(gate.metric, evidence).judgement == "new" or evidence.unsliced:
        reason = evidence.unsliced or "base has no value to compare with"
        return GateOutcome(rule(gate), "", passed=True, reason=reason)
    asked = [
        one
        for one in evidence.slices
        if one.metric == gate.metric and one.rows >= gate.rows and (not gate.columns or one.column in gate.columns)
    ]
    large = [one for one in asked if one.change is not None and one.low is not None]
    if not large:
        return _not_evaluated(gate, f"no slice has {count(gate.rows, 'shared row')} on which {gate.metric} is defined")
    worst = max(large, key=lambda one: (one.judgement == "worse", harm(metric, one.change or 0.0)))
    failing = [one for one in large if one.judgement == "worse" and harm(metric, one.change or 0.0) > gate.tolerance]
    measured = f"worst of {count(len(large), 'slice')}: {worst.column} {worst.value}, {change_in_words(worst)}"
    left = len(asked) - len(large)
    reason = f"not defined on {count(left, 'slice')}" if left else ""
    if len(failing) > 1:
        reason = f"{len(failing):,} slices got worse" + (f"; {reason}" if reason else "")
    return GateOutcome(rule(gate), measured, not failing, reason)


def _data_checks(gate: Gate, checks: DataChecks | None) -> GateOutcome:
    if checks is None or checks.note:
        return _not_evaluated(gate, checks.note if checks else "there is no validation file")
    if not checks.expectations:
        return _not_evaluated(gate, "the validation file holds no expectation")
    critical = [failure for failure in checks.failed if failure.severity == "critical"]
    warnings = len(checks.failed) - len(critical)
    measured = f"{count(checks.expectations, 'expectation')}, {len(critical):,} critical failed"
    first = f"{critical[0].table}: {critical[0].rule}" if critical else ""
    reason = first or (count(warnings, "warning") if warnings else "")
    return GateOutcome(rule(gate), measured, not critical, reason)


def _model_size(gate: ModelSize, evidence: Evidence) -> GateOutcome:
    if evidence.model_bytes is None:
        return _not_evaluated(gate, evidence.no_model or "the size of the model is not known")
    measured = size(evidence.model_bytes)
    if evidence.model_bytes != gate.at_most and measured == size(gate.at_most):
        measured = count(evidence.model_bytes, "byte")
    return GateOutcome(rule(gate), measured, evidence.model_bytes <= gate.at_most)


def _complete(gate: Gate, metrics: tuple[MetricChange, ...]) -> GateOutcome:
    missing = [change for change in metrics if change.head is None]
    measured = f"{len(metrics) - len(missing)} of {len(metrics)}"
    reasons = dict.fromkeys(change.note or f"{change.name} has no value" for change in missing)
    return GateOutcome(rule(gate), measured, not missing, "; ".join(list(reasons)[:3]))


def _not_evaluated(gate: Gate, reason: str) -> GateOutcome:
    return GateOutcome(rule(gate), "", passed=False, reason=f"cannot be evaluated: {reason}")


def _change(metric: str, evidence: Evidence) -> MetricChange:
    return next(change for change in evidence.metrics if change.name == metric)


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


# --- a change of the policy itself


def policy_changes(base: Policy, head: Policy) -> tuple[str, ...]:
    """Say in words how head's policy differs from base's, by which head is judged: gates first."""
    others = ("model", "predictions", "validation", "plots", "seed", "lock", "serving", "withdrawn")
    return (
        *_gate_changes("", base.gates, head.gates),
        *_metric_changes(base, head),
        *_environment_changes(base, head),
        *(f"The policy's {field} changes." for field in others if getattr(base, field) != getattr(head, field)),
    )


def _gate_changes(where: str, base: tuple[Gate, ...], head: tuple[Gate, ...]) -> Iterator[str]:
    old, new = {_identity(gate): gate for gate in base}, {_identity(gate): gate for gate in head}
    for identity, gate in old.items():
        if identity not in new:
            yield f"Gate removed{where}: {rule(gate)}."
        elif new[identity] != gate:
            yield f"Gate changed{where}: {rule(gate)} → {rule(new[identity])}."
    yield from (f"Gate added{where}: {rule(gate)}." for identity, gate in new.items() if identity not in old)


def _identity(gate: Gate) -> tuple[object, ...]:
    """Return what makes it the same gate although its limits change."""
    return (type(gate), getattr(gate, "metric", None), getattr(gate, "columns", None))


def _metric_changes(base: Policy, head: Policy) -> Iterator[str]:
    old, new = {metric.name: metric for metric in base.metrics}, {metric.name: metric for metric in head.metrics}
    for name, metric in old.items():
        if name not in new:
            yield f"Metric no longer in the policy: {name}."
        elif new[name] != metric:
            changed = [
                field.name for field in fields(Metric) if getattr(metric, field.name) != getattr(new[name], field.name)
            ]
            told = ", ".join(f"{field} {getattr(metric, field)} → {getattr(new[name], field)}" for field in changed)
            yield f"Metric defined otherwise: {name}: {told}."
    yield from (f"Metric new in the policy: {name}." for name in new if name not in old)


def _environment_changes(base: Policy, head: Policy) -> Iterator[str]:
    old, new = {one.name: one for one in base.environments}, {one.name: one for one in head.environments}
    for name, one in old.items():
        if name not in new:
            yield f"Environment removed: {name}."
            continue
        for field in ("after", "rebuilt"):
            if getattr(one, field) != getattr(new[name], field):
                yield f"Environment {name}: {field} {_or_none(one, field)} → {_or_none(new[name], field)}."
        yield from _gate_changes(f" of environment {name}", one.gates, new[name].gates)
    yield from (f"Environment added: {name}." for name in new if name not in old)


def _or_none(environment: Environment, field: str) -> str:
    return getattr(environment, field) or "none"
