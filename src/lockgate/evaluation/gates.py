"""The policy's gates, asked of what was measured, and what a pull request changes about them.

What each kind of gate asks is in :mod:`lockgate.gates`.
"""

from collections.abc import Iterator
from dataclasses import fields

from lockgate.evaluation.gate_digests import gate_digest
from lockgate.gates import Gate, GateInputs
from lockgate.policy import Environment, Metric, Policy
from lockgate.result import GateOutcome


def evaluate(policy: Policy, inputs: GateInputs) -> tuple[GateOutcome, ...]:
    """Return one outcome for each gate of the policy, in its order."""
    return tuple(gate.evaluate(policy, inputs) for gate in policy.gates)


# --- a change of the policy itself


def policy_changes(base: Policy, head: Policy) -> tuple[str, ...]:
    """Say in words how head's policy differs from base's, by which head is judged: gates first."""
    others = ["model", "predictions", "validation", "plots", "operating_point", "importance", "data"]
    others += ["train", "test_set", "lock", "serving", "withdrawn", "opaque"]
    return (
        *_gate_changes("", (base, base.gates), (head, head.gates)),
        *_metric_changes(base, head),
        *_environment_changes(base, head),
        *_kind_changes(base, head),
        *(f"The policy's {field} changes." for field in others if getattr(base, field) != getattr(head, field)),
    )


Asked = tuple[Policy, tuple[Gate, ...]]


def _gate_changes(where: str, base: Asked, head: Asked) -> Iterator[str]:
    (before, gates), (after, gates_after) = base, head
    kept = {gate_digest(gate, before) for gate in gates} & {gate_digest(gate, after) for gate in gates_after}
    gates = tuple(gate for gate in gates if gate_digest(gate, before) not in kept)  # a newer word is no change
    gates_after = tuple(gate for gate in gates_after if gate_digest(gate, after) not in kept)
    old, new = {_identity(gate): gate for gate in gates}, {_identity(gate): gate for gate in gates_after}
    for identity, gate in old.items():
        if identity not in new:
            yield f"Gate removed{where}: {gate.sentence(before)}."
        elif new[identity] != gate:
            yield f"Gate changed{where}: {gate.sentence(before)} → {new[identity].sentence(after)}."
    yield from (f"Gate added{where}: {gate.sentence(after)}." for identity, gate in new.items() if identity not in old)


def _identity(gate: Gate) -> tuple[object, ...]:
    """Return what makes it the same gate although its limits change."""
    return (type(gate), *(getattr(gate, name, None) for name in ("metric", "columns", "slices", "against")))


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


def _kind_changes(base: Policy, head: Policy) -> Iterator[str]:
    before, after = base.predictions, head.predictions
    if before is not None and after is not None and before.kind != after.kind:
        yield (
            f"The model is of another kind, {before.kind} → {after.kind}: base's policy judges, and head's predictions "
            "have to be of its kind."
        )


def _environment_changes(base: Policy, head: Policy) -> Iterator[str]:
    old, new = {one.name: one for one in base.environments}, {one.name: one for one in head.environments}
    for name, one in old.items():
        if name not in new:
            yield f"Environment removed: {name}."
            continue
        for field in ("after", "rebuilt"):
            if getattr(one, field) != getattr(new[name], field):
                yield f"Environment {name}: {field} {_or_none(one, field)} → {_or_none(new[name], field)}."
        yield from _gate_changes(f" of environment {name}", (base, one.gates), (head, new[name].gates))
    yield from (f"Environment added: {name}." for name in new if name not in old)


def _or_none(environment: Environment, field: str) -> str:
    return getattr(environment, field) or "none"
