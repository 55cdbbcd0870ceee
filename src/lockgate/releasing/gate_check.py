"""Was a release judged by this very gate? If it was not: can it be judged now, from what its build says of itself?

A build holds the policy it was judged by (``lockgate.yaml``) and, in its manifest, the outcome of each gate in the
order of that policy, the metrics and the size of every file. So gates are compared by what they mean
(:mod:`lockgate.evaluation.gate_digests`), never counted and never by their words. Limits on a metric or on the model's
size are judged from those figures; a gate that compares with the release before, or looks at the data, is not.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockgate import policy
from lockgate.errors import LockgateError
from lockgate.evaluation.gate_digests import gate_digest, metric_meaning
from lockgate.formatting import size
from lockgate.gates import Ceiling, Floor, Gate, Max, MetricsPresent, Min, ModelSize
from lockgate.releasing.manifest import is_model
from lockgate.releasing.registry import Build, Registry


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came of a gate: ``passed`` is ``None`` where the build's figures do not suffice. ``now`` says that it was
    judged from them, and not when the release was made."""

    gate: str
    rule: str
    measured: str
    passed: bool | None
    now: bool


def judge(registry: Registry, build: Build, gate: Gate, whole: policy.Policy) -> Judgement:
    """Return what the build says of ``gate``, which is one of the policy ``whole``."""
    digest, said = gate_digest(gate, whole), gate.sentence(whole)
    own = _own_policy(registry, build)
    for known, outcome in _outcomes(build.manifest.facts, own):
        if known == digest:
            return Judgement(digest, said, str(outcome.get("measured", "")), outcome.get("passed") is True, now=False)
    measured, passed = _from_figures(build, gate, whole, own)
    return Judgement(digest, said, measured, passed, now=True)


def failed_before(registry: Registry, build: Build, environment: str) -> Mapping[str, Any] | None:
    """Return a recorded outcome of a gate that did not hold and that counts still, ``None`` if there is none.

    Those of the policy itself always count. Those of this environment count where it is not known which gate they are
    of; where it is, today's gates decide (:func:`judge`).
    """
    recorded = [outcome for outcome in build.manifest.facts.get("gates") or () if isinstance(outcome, Mapping)]
    known = bool(_outcomes(build.manifest.facts, _own_policy(registry, build)))
    for outcome in recorded:
        where = outcome.get("environment")
        if outcome.get("passed") is not True and (where is None or (where == environment and not known)):
            return outcome
    return None


def _outcomes(facts: Mapping[str, Any], own: policy.Policy | None) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the recorded outcomes with the digest of their gate, as far as it is known for sure."""
    recorded = [outcome for outcome in facts.get("gates") or () if isinstance(outcome, Mapping)]
    if own is None:
        return []
    asked: list[tuple[str | None, Gate]] = [(None, gate) for gate in own.gates]
    asked += [(place.name, gate) for place in own.environments for gate in place.gates]
    if [where for where, _ in asked] != [outcome.get("environment") for outcome in recorded]:
        return []
    return [(gate_digest(gate, own), outcome) for (_, gate), outcome in zip(asked, recorded, strict=True)]


def _from_figures(build: Build, gate: Gate, whole: policy.Policy, own: policy.Policy | None) -> tuple[str, bool | None]:
    match gate:
        case Floor() | Ceiling() | Min(slices=()) | Max(slices=()):
            value = _figure(build, whole.metric(gate.metric), own)
            return ("", None) if value is None else (f"{value:.12g}", gate.holds(value))
        case ModelSize(at_most):
            found = sum(file.size for file in build.manifest.files if is_model(file.path))
            return (size(found), found <= at_most) if found else ("", None)
        case MetricsPresent():
            there = [_figure(build, metric, own) is not None for metric in whole.metrics]
            return f"{sum(there)} of {len(there)}", True if all(there) else None
        case _:
            return "", None


def _figure(build: Build, metric: policy.Metric, own: policy.Policy | None) -> float | None:
    """Return a metric's value in the build, where it means the same there."""
    for known in own.metrics if own else ():
        if metric_meaning(known) == metric_meaning(metric):
            try:
                value = float(build.manifest.facts["metrics"][known.name])
            except (KeyError, TypeError, ValueError):
                return None
            return value if math.isfinite(value) else None
    return None


def _own_policy(registry: Registry, build: Build) -> policy.Policy | None:
    """Return the policy in the build, ``None`` if it has none that can be read today."""
    for file in build.manifest.files:
        if file.path == policy.FILE:
            content = b"".join(bytes(chunk) for chunk in registry.stream(build.manifest, file))
            try:
                return policy.read_models(content).belonging_to(build.release.name)
            except LockgateError:
                return None
    return None
