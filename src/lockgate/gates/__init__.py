"""The kinds of gates. A gate describes itself: the keys it has in the policy, what they mean, the sentence that a
reviewer reads, and what it makes of what was measured."""

from lockgate.gates.files import DataChecksPass, MetricsComplete, MetricsPresent, ModelGrowth, ModelSize, TrainingTime
from lockgate.gates.gate import Earlier, Gate, GateInputs
from lockgate.gates.limits import Ceiling, Floor, Gap, Max, Min
from lockgate.gates.regression import Improves, NoRegression, NoWorse, SlicesNoWorse, SuspiciousImprovement

KINDS: dict[str, type[Gate]] = {
    gate.kind: gate
    for gate in (
        Min,
        Max,
        NoRegression,
        Improves,
        SuspiciousImprovement,
        Gap,
        DataChecksPass,
        ModelSize,
        ModelGrowth,
        TrainingTime,
        MetricsPresent,
        Floor,
        Ceiling,
        NoWorse,
        SlicesNoWorse,
        MetricsComplete,
    )
}
CURRENT = tuple(kind for kind, gate in KINDS.items() if not gate.replaced_by)
"""The kinds for new policies; the others are older words."""

__all__ = [
    "CURRENT",
    "KINDS",
    "Ceiling",
    "DataChecksPass",
    "Earlier",
    "Floor",
    "Gap",
    "Gate",
    "GateInputs",
    "Improves",
    "Max",
    "MetricsComplete",
    "MetricsPresent",
    "Min",
    "ModelGrowth",
    "ModelSize",
    "NoRegression",
    "NoWorse",
    "SlicesNoWorse",
    "SuspiciousImprovement",
    "TrainingTime",
]
