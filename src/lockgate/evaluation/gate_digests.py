"""What a gate means, as one digest: "was this very gate asked?" is answered by comparing digests.

The digest is of the normalised rule: its kind, its limits, and where its metric is read. Not of its words, which may be
written better one day, and not of its place in the policy. A digest never changes for a gate that means the same:
``tests/lockgate/evaluation/test_gate_digests.py`` holds some.
"""

import hashlib
import json
from dataclasses import fields
from typing import Any

from lockgate.policy import DataChecksPass, Gate, Metric, MetricsComplete, Policy, SlicesNoWorse

_KINDS = {
    "Floor": "floor",
    "Ceiling": "ceiling",
    "NoWorse": "no-worse",
    "SlicesNoWorse": "slices-no-worse",
    "DataChecksPass": "data-checks",
    "ModelSize": "model-size",
    "MetricsComplete": "metrics-complete",
}


def gate_digest(gate: Gate, policy: Policy) -> str:
    """Return the SHA-256 of what ``gate`` means in ``policy``, in hexadecimal."""
    return hashlib.sha256(json.dumps(_normal(gate, policy), sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _normal(gate: Gate, policy: Policy) -> dict[str, Any]:
    name = type(gate).__name__
    said: dict[str, Any] = {"kind": _KINDS.get(name, name)}
    for field in fields(gate):
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
    if isinstance(gate, MetricsComplete):
        said["metrics"] = sorted(metric_meaning(metric) for metric in policy.metrics)
    return said


def metric_meaning(metric: Metric) -> list[str]:
    """Return what makes a metric the same one, whatever it is called."""
    return [metric.file, metric.key, metric.better, metric.statistic or ""]
