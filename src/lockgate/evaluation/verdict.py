"""The first line a reviewer reads: may this go in, and the one reason. Pure."""

from collections.abc import Iterable

from lockgate.evaluation.findings import Findings
from lockgate.formatting import count, decimals, fixed, title
from lockgate.gates.gate import change_in_words, figure
from lockgate.policy import Policy
from lockgate.result import (
    GateOutcome,
    MetricChange,
    Outcome,
    Result,
    SliceChange,
    StageChange,
    Training,
    Verdict,
)


def verdict(findings: Findings, stages: tuple[StageChange, ...], warnings: Iterable[str], *, first: bool) -> Verdict:
    """Return the outcome and its reason.

    ``failed``: a gate does not hold, or head's policy is broken. ``attention``: every gate holds, but figures may not
    mean what they seem (``warnings``), something got worse that no gate tolerates, or stages have yet to run. ``first``
    says that there is no base.
    """
    if findings.policies.broken:
        return Verdict("failed", findings.policies.broken)
    gates, failing = findings.gates, [gate for gate in findings.gates if not gate.passed]
    unshown = [gate for gate in gates if gate.passed and gate.look]
    holding = sum(gate.holds for gate in gates)
    look = f", {len(unshown)} {'asks' if len(unshown) == 1 else 'ask'} for a look" if unshown else ""
    hold = f"{holding} of {count(len(gates), 'gate')} hold{look}" if gates else "the policy has no gates"
    gained = _gained(findings.metrics)
    if failing:
        more = f" ({count(len(failing) - 1, 'more gate')} fail{'s' if len(failing) == 2 else ''})"
        first_of_all = f"{_failure(failing[0])}{more if len(failing) > 1 else ''}"
        return Verdict("failed", _sentences(first_of_all, gained, hold))
    if unshown:
        return Verdict("attention", _sentences(_failure(unshown[0]), gained, hold))
    for worry in _worries(findings, stages, warnings):
        return Verdict("attention", _sentences(worry, gained, hold))
    return Verdict("passed", _sentences(_headline(findings.metrics, findings.training, first=first), "", hold))


def overall(results: tuple[Result, ...], removed: tuple[str, ...]) -> Verdict:
    """Return the verdict on a change that touches these models, and removes others: the worst of all."""
    worst: Outcome
    for worst in ("failed", "attention", "passed"):
        found = [one for one in results if one.verdict.outcome == worst]
        if worst == "attention" and removed and not found:
            return Verdict("attention", f"the model {removed[0]} is removed")
        if found:
            others = f" ({count(len(found) - 1, 'more model')} {OUTCOMES[worst]})" if len(found) > 1 else ""
            return Verdict(worst, f"{found[0].model}: {found[0].verdict.reason}{others}")
    return Verdict("passed", "no model is touched by this change")


OUTCOMES: dict[Outcome, str] = {"passed": "passed", "failed": "failed", "attention": "to look at"}


def _sentences(*said: str) -> str:
    """Join what is to be said, each a sentence. The first goes on after a colon, and metrics keep their names."""
    first, *others = (one.removesuffix(".") for one in said if one)
    return ". ".join([first, *(f"{one[0].upper()}{one[1:]}" for one in others)])


def _failure(gate: GateOutcome) -> str:
    said = "; ".join(part for part in (gate.measured, gate.reason) if part)
    return gate.headline or (f"{gate.rule} ({said})" if said else gate.rule)


def _gained(metrics: tuple[MetricChange, ...]) -> str:
    """Say which metrics got better, beside what got worse; nothing where no metric was judged."""
    gained = [title(one.name) for one in metrics if one.judgement == "better"]
    if gained:
        return f"got better: {', '.join(gained)}"
    return "no metric got better" if any(one.judgement == "worse" for one in metrics) else ""


def _worries(findings: Findings, stages: tuple[StageChange, ...], warnings: Iterable[str]) -> Iterable[str]:
    policy, judged, luck = findings.policy, findings.judged, findings.training
    if judged.comparison.refused:
        yield f"base and head could not be compared row by row: {judged.comparison.refused}"
    slices = [one for one in judged.slices if one.judgement == "worse" and not _tolerated(policy, one)]
    if slices:
        worst, others = slices[0], f" and {len(slices) - 1:,} more slices" if len(slices) > 1 else ""
        yield f"{title(worst.metric)} got worse for {worst.column} {worst.value}{others}, {change_in_words(worst)}"
    worse = [one for one in findings.metrics if one.judgement == "worse" and not _tolerated(policy, one)]
    if worse:
        yield f"{title(worse[0].name)} got worse, {change_in_words(worse[0])}, and no gate says how much is allowed"
    news = [warning for warning in judged.warnings if warning not in judged.of_base]
    yield from (f"{one[0].lower()}{one[1:]}" for one in (*news, *warnings))
    if luck is not None and luck.note and not luck.is_known:
        yield f"{luck.note[0].lower()}{luck.note[1:].removesuffix('.')}"
    pending = [stage.name for stage in stages if stage.status == "pending"]
    if pending:
        named = ", ".join(pending[:3]) + (" …" if len(pending) > 3 else "")
        yield f"not everything has been run: {count(len(pending), 'stage')} pending ({named})"


def _tolerated(policy: Policy, change: MetricChange | SliceChange) -> bool:
    name = change.name if isinstance(change, MetricChange) else change.metric
    return any(gate.tolerates(policy.metric(name), change) for gate in policy.gates)


def _known(luck: Training | None) -> str:
    """Say what *better* and *worse* are about: the model at hand, or what training gives with any seed."""
    if luck is not None and luck.is_known:
        if luck.source == "repeats":
            return f" over {len(luck.base_seeds):,} and {len(luck.head_seeds):,} seeds"
        return f", with the luck of the seed in {luck.trainings:,} past runs"
    if luck is not None and luck.source == "same":
        return " for this model"
    return f" for this model, luck of the seed not {'yet ' if luck and luck.pending else ''}known"


def _headline(metrics: tuple[MetricChange, ...], luck: Training | None, *, first: bool) -> str:
    if first:
        shown = next((one for one in metrics if one.head is not None), None)
        return f"first result: {title(shown.name)} is {figure(shown.head or 0.0)}" if shown else "first result"
    told = [
        f"{judgement}{_known(luck)}: {', '.join(moved)}{allowed}"
        for judgement, allowed in (("better", ""), ("worse", ", as much as is allowed"))
        if (moved := [_moved(one) for one in metrics if one.judgement == judgement])
    ]
    if told:
        return "; ".join(told)
    if all(not one.change for one in metrics):
        return "no metric changes"
    noise = next((one for one in metrics if one.judgement == "noise" and one.change), None)
    if noise:
        known = "rows and seeds together, " if luck and luck.is_known else ""
        return f"no change beyond chance: {known}{title(noise.name)} {change_in_words(noise)}"
    bare = next(one for one in metrics if one.change)
    return f"not judged: {title(bare.name)} {change_in_words(bare)}"


def _moved(change: MetricChange) -> str:
    """Say which way a metric moved, and by how much: ``ROC AUC rose by 0.0061``."""
    moved = change.change or 0.0
    spread = (change.high - change.low) / 2 if change.low is not None and change.high is not None else None
    way = "rose" if moved > 0 else "fell"
    return f"{title(change.name)} {way} by {fixed(abs(moved), decimals(spread, moved))}"
