from dataclasses import replace

from tests.lockgate.frozen import FROZEN

from lockgate import gates, policy
from lockgate.evaluation.gate_digests import gate_digest

POLICY = policy.read_policy((FROZEN / "policy.yaml").read_bytes())
DIGESTS = [
    "28c6ad4d1b87735e",
    "3f97d24869beab23",
    "5c3b19b57ed42e2f",
    "558d060269d71db0",
    "b4b5d06f7e9f1d42",
    "98620e4f6b1e4c31",
    "a0923f606c68dcf0",
]


def test_the_digests_of_gates_never_change() -> None:
    gates = (*POLICY.gates, *POLICY.environments[1].gates)
    assert [gate_digest(gate, POLICY)[:16] for gate in gates] == DIGESTS


def test_the_place_and_the_spelling_of_a_number_do_not_matter() -> None:
    text = (FROZEN / "policy.yaml").read_text()
    again = policy.read_policy(text.replace("value: 0.6}", "value: 0.60}"))
    assert [gate_digest(gate, again) for gate in again.gates] == [gate_digest(gate, POLICY) for gate in POLICY.gates]


def test_every_limit_and_every_meaning_matters() -> None:
    other = replace(POLICY, metrics=tuple(replace(one, key="other") for one in POLICY.metrics))
    every: list[tuple[gates.Gate, policy.Policy]] = [
        (gates.Floor("roc_auc", 0.6), POLICY),
        (gates.Floor("roc_auc", 0.61), POLICY),
        (gates.Ceiling("roc_auc", 0.6), POLICY),
        (gates.Floor("log_loss", 0.6), POLICY),
        (gates.Floor("roc_auc", 0.6), other),
        (gates.NoWorse("roc_auc", 0.6), POLICY),
        (gates.SlicesNoWorse("roc_auc", 0.6, 100, ()), POLICY),
        (gates.SlicesNoWorse("roc_auc", 0.6, 101, ()), POLICY),
        (gates.SlicesNoWorse("roc_auc", 0.6, 100, ("month",)), POLICY),
        (gates.ModelSize(1000), POLICY),
        (gates.ModelSize(1001), POLICY),
        (gates.DataChecksPass(), POLICY),
        (gates.DataChecksPass(), replace(POLICY, validation="other.json")),
        (gates.MetricsComplete(), POLICY),
        (gates.MetricsComplete(), other),
    ]
    assert len({gate_digest(gate, whole) for gate, whole in every}) == len(every)


def test_slices_that_are_named_and_slices_that_are_meant_are_the_same() -> None:
    named = gates.SlicesNoWorse("roc_auc", 0.01, 100, ("month", "carrier"))
    meant = gates.SlicesNoWorse("roc_auc", 0.01, 100, ())
    assert gate_digest(named, POLICY) == gate_digest(meant, POLICY)
