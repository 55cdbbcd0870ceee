"""The first line a reviewer reads: may this go in, and the one reason. Pure."""

from collections.abc import Iterable

from lockgate.evaluation.compare import Judged
from lockgate.evaluation.findings import Findings
from lockgate.formatting import count, fixed
from lockgate.gates.gate import change_in_words
from lockgate.policy import Policy
from lockgate.result import GateOutcome, MetricChange, SliceChange, StageChange, Verdict


def verdict(findings: Findings, stages: tuple[StageChange, ...], warnings: Iterable[str], *, first: bool) -> Verdict:
    """Return the outcome and its reason.

    ``failed``: a gate does not hold, or head's policy is broken. ``attention``: every gate holds, but figures may not
    mean what they seem (``warnings``), something got worse that no gate tolerates, or stages have yet to run. ``first``
    says that there is no base.
    """
    if findings.policies.broken:
        return Verdict("failed", findings.policies.broken)
    gates, failing = findings.gates, [gate for gate in findings.gates if not gate.passed]
    if failing:
        number = f"{len(failing)} of {count(len(gates), 'gate')} {'does' if len(failing) == 1 else 'do'} not hold"
        return Verdict("failed", f"{number}: {_failure(failing[0])}")
    hold = f"{len(gates)} of {count(len(gates), 'gate')} hold" if gates else "the policy has no gates"
    unshown = [gate for gate in gates if gate.look]
    if unshown:
        return Verdict("attention", f"{_failure(unshown[0])}; {hold}")
    for worry in _worries(findings.policy, findings.judged, stages, warnings):
        return Verdict("attention", f"{worry.removesuffix('.')}; {hold}")
    return Verdict("passed", f"{_headline(findings.judged.metrics, first=first)}; {hold}")


def _failure(gate: GateOutcome) -> str:
    said = "; ".join(part for part in (gate.measured, gate.reason) if part)
    return f"{gate.rule} ({said})" if said else gate.rule


def _worries(policy: Policy, judged: Judged, stages: tuple[StageChange, ...], warnings: Iterable[str]) -> Iterable[str]:
    if judged.comparison.refused:
        yield f"base and head could not be compared row by row: {judged.comparison.refused}"
    slices = [one for one in judged.slices if one.judgement == "worse" and not _tolerated(policy, one)]
    if slices:
        worst, others = slices[0], f" and {len(slices) - 1:,} more slices" if len(slices) > 1 else ""
        yield f"{worst.metric} got worse for {worst.column} {worst.value}{others}, {change_in_words(worst)}"
    worse = [one for one in judged.metrics if one.judgement == "worse" and not _tolerated(policy, one)]
    if worse:
        yield f"worse: {worse[0].name} {change_in_words(worse[0])}"
    yield from judged.warnings
    yield from warnings
    pending = [stage.name for stage in stages if stage.status == "pending"]
    if pending:
        named = ", ".join(pending[:3]) + (" …" if len(pending) > 3 else "")
        yield f"not everything has been run: {count(len(pending), 'stage')} pending ({named})"


def _tolerated(policy: Policy, change: MetricChange | SliceChange) -> bool:
    name = change.name if isinstance(change, MetricChange) else change.metric
    return any(gate.tolerates(policy.metric(name), change) for gate in policy.gates)


def _headline(metrics: tuple[MetricChange, ...], *, first: bool) -> str:
    if first:
        shown = next((one for one in metrics if one.head is not None), None)
        return f"first result: {shown.name} {fixed(shown.head or 0.0, 4)}" if shown else "first result"
    for judgement, words in (("better", "better"), ("worse", "worse, but as much is tolerated")):
        found = next((one for one in metrics if one.judgement == judgement), None)
        if found:
            return f"{words}: {found.name} {change_in_words(found)}"
    if all(not one.change for one in metrics):
        return "no metric changes"
    noise = next((one for one in metrics if one.judgement == "noise" and one.change), None)
    if noise:
        return f"no change beyond noise: {noise.name} {change_in_words(noise)}"
    bare = next(one for one in metrics if one.change)
    return f"unjudged: {bare.name} {change_in_words(bare)}"
