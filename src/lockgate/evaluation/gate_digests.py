"""What a gate means, as one digest: "was this very gate asked?" is answered by comparing digests.

The digest is of the normalised rule: its kind, its limits, and where its metric is read. Not of its words, which may be
written better one day, and not of its place in the policy. A digest never changes for a gate that means the same:
``tests/lockgate/evaluation/test_gate_digests.py`` holds some.
"""

import hashlib
import json
from dataclasses import Field, fields
from typing import TYPE_CHECKING, Any

from lockgate.gates import DataChecksPass, Gate, Max, MetricsPresent, Min, SlicesNoWorse
from lockgate.policy import Metric, Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS = {
    "Floor": "floor",
    "Ceiling": "ceiling",
    "NoWorse": "no-worse",
    "SlicesNoWorse": "slices-no-worse",
    "DataChecksPass": "data-checks",
    "ModelSize": "model-size",
    "MetricsComplete": "metrics-complete",
    "MetricsPresent": "metrics-complete",  # another word for the same
}


def gate_digest(gate: Gate, policy: Policy) -> str:
    """Return the SHA-256 of what ``gate`` means in ``policy``, in hexadecimal."""
    return hashlib.sha256(json.dumps(_normal(gate, policy), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _normal(gate: Gate, policy: Policy) -> dict[str, Any]:
    said: dict[str, Any] = {"kind": _KINDS.get(type(gate).__name__, gate.kind)}
    for field in _counting(gate):
        value = getattr(gate, field.name)
        if field.name == "metric":
            value = metric_meaning(policy.metric(value))
        elif isinstance(value, float):
            value = repr(value)
        elif isinstance(value, tuple):
            value = sorted(value)
        said[field.name] = value
    if isinstance(gate, SlicesNoWorse) and not gate.columns and policy.predictions:
        said["columns"] = sorted(policy.predictions.slices)  # "every slice column" is what it says today
    if isinstance(gate, DataChecksPass):
        said["file"] = policy.validation
    if isinstance(gate, MetricsPresent):
        said["metrics"] = sorted(metric_meaning(metric) for metric in policy.metrics)
    if isinstance(gate, Min | Max) and not gate.slices:  # what floor and ceiling say
        said = {"kind": "floor" if isinstance(gate, Min) else "ceiling"} | {
            name: said[name] for name in ("metric", "value")
        }
    if gate.compares and policy.predictions:
        told = policy.predictions
        said |= {} if told.kind == "binary" else {"model": told.kind}
        ways = {"cluster": sorted(told.cluster), "period": told.period, "missing": repr(told.missing)}
        unsaid: dict[str, Any] = {"cluster": [], "period": None, "missing": "0.0"}
        said |= {name: way for name, way in ways.items() if way != unsaid[name]}
    return said


def _counting(gate: Gate) -> "Iterator[Field[Any]]":
    """Yield the keys that count: those that a kind was given later only where they are not at their default."""
    for field in fields(gate):
        if not field.metadata["later"] or getattr(gate, field.name) != field.default:
            yield field


def metric_meaning(metric: Metric) -> list[str]:
    """Return what makes a metric the same one, whatever it is called."""
    meaning = [metric.file, metric.key, metric.better, metric.statistic or ""]
    if metric.threshold != 0.5:
        meaning.append(f"threshold {metric.threshold!r}")
    if metric.bins != 10:
        meaning.append(f"bins {metric.bins}")
    if metric.weights is not None:
        meaning.append(f"weights {metric.weights}")
    if metric.function is not None:
        meaning.append(f"function {metric.function}")
    if metric.average != "micro":
        meaning.append(f"average {metric.average}")
    if metric.of_class is not None:
        meaning.append(f"class {metric.of_class}")
    if metric.quantile is not None:
        meaning.append(f"quantile {metric.quantile!r}")
    if metric.column is not None:
        meaning.append(f"column {metric.column}")
    return meaning
