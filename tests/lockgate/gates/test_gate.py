"""Every kind of gate: what it is asked in a policy, what it says to a reviewer, and that it never holds by accident."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.lockgate import modelled

from lockgate.evaluation.gate_digests import gate_digest
from lockgate.evaluation.gates import evaluate
from lockgate.gates import KINDS, GateInputs
from lockgate.gates.reference import reference
from lockgate.policy import Policy, PolicyError, read_policy
from lockgate.result import (
    CheckFailure,
    Comparison,
    DataChecks,
    Execution,
    GateOutcome,
    MetricChange,
    SliceChange,
    StageRun,
)

DOCS = Path(__file__).parents[3] / "docs/gates.md"


def policy(*gates: str) -> Policy:
    text = modelled.POLICY.split("gates:")[0] + "gates:\n" + "".join(f"  - {gate}\n" for gate in gates)
    return read_policy(
        text.replace("rows: {file", "calibration_error: {file").replace(
            "key: rows, better: higher", "key: c, better: lower"
        )
    )


def change(delta: float, half: float | None = 0.001, name: str = "roc_auc", base: float = 0.7) -> MetricChange:
    better = "higher" if name == "roc_auc" else "lower"
    low, high = (None, None) if half is None else (delta - half, delta + half)
    return MetricChange(
        name, better, base, base + delta, delta, low, high, "noise", note="" if half else "too few rows"
    )


def slice_of(value: str, head: float, delta: float = 0.0, half: float = 0.001, rows: int = 2000) -> SliceChange:
    low, high = delta - half, delta + half
    return SliceChange("carrier", value, "roc_auc", rows, head - delta, head, delta, low, high, 0.5, "noise")


def ask(gate: str, *changes: MetricChange, **parts: Any) -> GateOutcome:
    known = {
        one.name: one for one in (change(0.0), change(0.0, name="log_loss"), change(0.0, name="calibration_error"))
    }
    known |= {one.name: one for one in changes}
    whole = GateInputs(
        has_base=True,
        metrics=tuple(known.values()),
        slices=(),
        comparison=Comparison(2000, 2000, 2000),
        checks=DataChecks(1, 23, ()),
        model_bytes=1000,
        base_model_bytes=1000,
    )
    (outcome,) = evaluate(policy(gate), replace(whole, **parts))
    return outcome


@pytest.mark.parametrize(
    ("delta", "half", "passed", "reason"),
    [
        (-0.001, 0.0005, True, ""),
        (+0.004, 0.001, True, ""),
        (-0.003, 0.0005, False, ""),  # worse than the margin, and shown
        (-0.003, 0.01, False, ""),  # the change itself is beyond the margin
        (0.0, 0.01, False, "not shown: it may fall by 0.0100"),
        (-0.001, None, False, "cannot be evaluated: too few rows"),
    ],
)
def test_no_regression_holds_only_if_the_bad_end_of_the_interval_is_within_the_margin(
    delta: float, half: float | None, passed: bool, reason: str
) -> None:
    outcome = ask("{kind: no-regression, metric: roc_auc, margin: 0.002}", change(delta, half))

    assert (outcome.passed, outcome.reason) == (passed, reason)
    assert outcome.rule == "roc_auc is shown to fall by at most 0.002"


def test_what_a_test_set_cannot_show_asks_for_a_look_where_the_policy_says_so() -> None:
    gate = "{kind: no-regression, metric: roc_auc, margin: 0.002, unshown: look}"

    unsure, bad = ask(gate, change(0.0, 0.01)), ask(gate, change(-0.003, 0.0001))

    assert (unsure.passed, unsure.look) == (True, True)
    assert (bad.passed, bad.look) == (False, False)


def test_a_metric_that_should_be_low_is_judged_by_its_other_end() -> None:
    gate = "{kind: no-regression, metric: log_loss, margin: 0.002}"

    assert not ask(gate, change(0.0015, 0.001, "log_loss")).passed
    falls = ask(gate, change(-0.0015, 0.001, "log_loss"))
    assert falls.passed
    assert falls.measured.startswith("fell by 0.0015")
    assert falls.rule == "log_loss is shown to rise by at most 0.002"


def test_a_relative_margin_is_a_share_of_bases_value() -> None:
    gate = "{kind: no-regression, metric: roc_auc, margin: 0.01, relative: true}"

    assert ask(gate, change(-0.005, 0.001)).passed  # 0.006 of 0.007
    assert not ask(gate, change(-0.0065, 0.001)).passed


def test_no_regression_by_slice_fails_with_the_slice_that_is_worst_off() -> None:
    gate = "{kind: no-regression, metric: roc_auc, margin: 0.02, slices: [carrier], rows: 1000}"
    small = slice_of("ZZ", 0.7, -0.5, rows=999)

    fine = ask(gate, slices=(slice_of("AA", 0.7, -0.01), small))
    hurt = ask(gate, slices=(slice_of("AA", 0.7, -0.01), slice_of("HA", 0.7, -0.03)))

    assert fine.passed
    assert not hurt.passed
    assert hurt.measured.startswith("carrier HA fell by 0.0300")
    assert ask(gate, slices=(small,)).reason == "cannot be evaluated: no slice has 1,000 shared rows"


def test_improves_asks_that_the_whole_interval_is_better() -> None:
    gate = "{kind: improves, metric: roc_auc, by: 0.001}"

    assert ask(gate, change(0.003, 0.001)).passed
    assert not ask(gate, change(0.003, 0.0025)).passed
    assert not ask(gate, change(0.0)).passed
    assert ask(gate).rule == "roc_auc is shown to rise by more than 0.001"


def test_a_gain_that_is_too_good_fails() -> None:
    gate = "{kind: suspicious-improvement, metric: roc_auc, by: 0.05}"

    assert ask(gate, change(0.04)).passed
    assert not ask(gate, change(0.2)).passed
    assert ask(gate, change(-0.2)).passed


def ran(seconds: float, base: float | None, status: Any = "ran") -> Execution:
    return Execution((StageRun("train", status, seconds, 0, base),), 60.0, 0, 0)


@pytest.mark.parametrize(
    ("parts", "passed", "said"),
    [
        ({"execution": ran(19.0, 10.0)}, True, "1.9 times as long: 19.0 s, base took 10.0 s"),
        ({"execution": ran(21.0, 10.0)}, False, "2.1 times as long"),
        ({"execution": ran(21.0, None)}, False, "cannot be evaluated: base was not run on this machine"),
        ({"execution": ran(0.1, None, "restored")}, False, "cannot be evaluated: stage train did not run"),
        ({}, False, "cannot be evaluated: nothing was run for this report"),
        ({"unchanged": frozenset({"train"})}, True, "the stage did not change"),
        ({"has_base": False}, True, "no base to compare with"),
    ],
)
def test_training_time_is_held_against_bases_on_the_same_machine(
    parts: dict[str, Any], passed: bool, said: str
) -> None:
    outcome = ask("{kind: training-time, stage: train, at_most: 2}", **parts)

    assert outcome.passed == passed
    assert said in f"{outcome.measured}{outcome.reason}"


def test_a_time_that_is_not_known_asks_for_a_look_where_the_policy_says_so() -> None:
    outcome = ask("{kind: training-time, stage: train, at_most: 2, unshown: look}", execution=ran(21.0, None))

    assert (outcome.passed, outcome.look) == (True, True)
    assert outcome.headline.startswith("it is not known whether stage train takes longer than before")


@pytest.mark.parametrize("kind", ["min", "floor"])
def test_a_limit_is_not_judged_where_the_file_and_its_predictions_say_something_else(kind: str) -> None:
    gate = f"{{kind: {kind}, metric: roc_auc, value: 0.5}}"

    outcome = ask(gate, disagree={"roc_auc": "head's m.json says 0.7, its predictions give 0.6"})

    assert ask(gate).passed
    assert not outcome.passed
    assert outcome.reason == "cannot be evaluated: head's m.json says 0.7, its predictions give 0.6"


def test_a_relative_gain_is_a_share_of_bases_value() -> None:
    gate = "{kind: improves, metric: roc_auc, by: 0.01, relative: true}"
    suspicious = "{kind: suspicious-improvement, metric: roc_auc, by: 0.01, relative: true}"

    assert ask(gate, change(0.0085, 0.001)).passed  # 0.0075 of 0.007
    assert not ask(gate, change(0.0075, 0.001)).passed
    assert ask(gate).rule == "roc_auc is shown to rise by more than 1 %"
    assert ask(suspicious, change(0.0069)).passed
    assert not ask(suspicious, change(0.0071)).passed


def test_limits_by_slice_name_the_worst_slice() -> None:
    lowest = "{kind: min, metric: roc_auc, value: 0.6, slices: [carrier], rows: 1000}"

    outcome = ask(lowest, slices=(slice_of("AA", 0.7), slice_of("HA", 0.55), slice_of("ZZ", 0.1, rows=10)))

    assert (outcome.passed, outcome.measured) == (False, "carrier HA: 0.5500")
    assert outcome.rule == "roc_auc at least 0.6 in each slice by carrier of 1,000 rows or more"
    assert ask(lowest.replace("min", "max"), slices=(slice_of("AA", 0.55),)).passed


def test_a_gap_is_between_the_best_and_the_worst_slice() -> None:
    gate = "{kind: gap, metric: roc_auc, slices: [carrier], at_most: 0.1}"

    assert ask(gate, slices=(slice_of("AA", 0.7), slice_of("HA", 0.65))).passed
    wide = ask(gate, slices=(slice_of("AA", 0.7), slice_of("HA", 0.55)))
    assert (wide.passed, wide.measured) == (False, "0.1500 between carrier HA and AA")
    assert "cannot be evaluated" in ask(gate, slices=(slice_of("AA", 0.7),)).reason


def test_a_model_may_grow_by_a_ratio() -> None:
    gate = "{kind: model-growth, at_most: 1.5}"

    assert ask(gate, model_bytes=1500).passed
    assert not ask(gate, model_bytes=1501).passed
    assert ask(gate, base_model_bytes=None).reason == "base has no model of a known size"


COMPARING = [name for name, kind in KINDS.items() if kind.compares and name not in ("model-growth", "training-time")]


@pytest.mark.parametrize("name", COMPARING)
@pytest.mark.parametrize("slices", [(), (slice_of("AA", 0.7),)], ids=["", "slices"])
def test_a_gate_that_compares_does_not_hold_where_head_lacks_rows_of_base(
    name: str, slices: tuple[SliceChange, ...]
) -> None:
    lacking = Comparison(2000, 1200, 1200, incomplete="head lacks 800 of the 2,000 test rows of base")
    outcome = ask(KINDS[name].example.replace("rows: 1000", "rows: 10"), comparison=lacking, slices=slices)

    assert not outcome.passed
    assert "head lacks 800 of the 2,000 test rows" in outcome.reason


@pytest.mark.parametrize("name", KINDS)
def test_every_example_is_read_and_has_a_sentence(name: str) -> None:
    (gate,) = policy(KINDS[name].example.replace("[month]", "[carrier]")).gates

    assert gate.kind == name
    assert len(gate.sentence(policy(KINDS[name].example.replace("[month]", "[carrier]")))) > 10


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if "metric" in dict(kind.keys())])
def test_a_gate_without_its_keys_names_the_one_that_is_missing(name: str) -> None:
    needed = [key for key, one in KINDS[name].keys().items() if one.required]

    with pytest.raises(PolicyError) as caught:
        policy(f"{{kind: {name}}}")

    assert f"gates[0].{needed[0]}: is missing" in str(caught.value)


def test_a_new_word_for_the_same_gate_keeps_its_digest() -> None:
    pairs = [
        ("{kind: floor, metric: roc_auc, value: 0.6}", "{kind: min, metric: roc_auc, value: 0.6}"),
        ("{kind: ceiling, metric: log_loss, value: 0.6}", "{kind: max, metric: log_loss, value: 0.6}"),
        ("{kind: metrics-complete}", "{kind: metrics-present}"),
    ]
    for old, new in pairs:
        both = policy(old, new)
        assert len({gate_digest(gate, both) for gate in both.gates}) == 1


def test_the_reference_page_is_what_the_gates_say_of_themselves(refresh_golden: bool) -> None:
    if refresh_golden:
        DOCS.write_text(reference())

    assert DOCS.read_text() == reference()


WORSE, UNSURE = change(-0.003, 0.0005), change(0.0, 0.01)
HURT = (slice_of("HA", 0.55, -0.031, 0.005), slice_of("AA", 0.7))


@pytest.mark.parametrize(
    ("gate", "parts", "said"),
    [
        ("{kind: min, metric: roc_auc, value: 0.69}", {"roc_auc": change(-0.02)},
         "ROC AUC is 0.6800; at least 0.69 is required"),
        ("{kind: max, metric: log_loss, value: 0.6}", {"log_loss": change(0.0, name="log_loss")},
         "log loss is 0.7000; at most 0.6 is allowed"),
        ("{kind: min, metric: roc_auc, value: 0.6, slices: [carrier], rows: 100}", {"slices": HURT},
         "ROC AUC for carrier HA is 0.5500; at least 0.6 is required"),
        ("{kind: gap, metric: roc_auc, slices: [carrier], at_most: 0.1, rows: 100}", {"slices": HURT},
         "carrier HA and AA are 0.1500 apart in ROC AUC; at most 0.1 is allowed"),
        ("{kind: no-worse, metric: roc_auc, tolerance: 0.002}", {"roc_auc": replace(WORSE, judgement="worse")},
         "ROC AUC fell by 0.00300; at most 0.00200 is allowed"),
        ("{kind: no-regression, metric: roc_auc, margin: 0.002}", {"roc_auc": change(-0.003, 0.002)},
         "ROC AUC fell by 0.0030; at most 0.0020 is allowed"),
        ("{kind: no-regression, metric: roc_auc, margin: 0.002}", {"roc_auc": UNSURE},
         "ROC AUC may have fallen by as much as 0.010; at most 0.002 is allowed, and more test rows are needed to show "
         "it"),
        ("{kind: no-regression, metric: roc_auc, margin: 0.02, slices: [carrier], rows: 100}", {"slices": HURT},
         "ROC AUC for carrier HA fell by 0.0310; at most 0.0200 is allowed"),
        ("{kind: slices-no-worse, metric: roc_auc, tolerance: 0.02, rows: 100}",
         {"slices": (replace(HURT[0], judgement="worse"), HURT[1])},
         "ROC AUC for carrier HA fell by 0.0310; at most 0.0200 is allowed"),
        ("{kind: improves, metric: roc_auc, by: 0.001}", {"roc_auc": change(0.0005, 0.0001)},
         "ROC AUC rose by 0.00050 [+0.00040, +0.00060]; a rise by more than 0.001 has to be shown"),
        ("{kind: suspicious-improvement, metric: roc_auc, by: 0.05}", {"roc_auc": change(0.2)},
         "ROC AUC rose by 0.2000; above 0.0500 a leak of the label is likely"),
        ("{kind: model-size, at_most: 1 kB}", {"model_bytes": 2100}, "the model has 2.1 kB; at most 1.0 kB is allowed"),
        ("{kind: model-growth, at_most: 1.5}", {"model_bytes": 2000},
         "the model is 2 times as large: 2.0 kB, base has 1.0 kB; at most 1.5 times is allowed"),
        ("{kind: metrics-present}", {"roc_auc": replace(WORSE, head=None, note="head: m.json has no 'roc_auc'")},
         "1 metric without a value: head: m.json has no 'roc_auc'"),
        ("{kind: data-checks}", {"checks": DataChecks(1, 9, (CheckFailure("t", "x", "is there", "critical", 2),))},
         "1 critical data check failed: t: is there"),
        ("{kind: no-worse, metric: roc_auc, tolerance: 0.002}", {"comparison": Comparison(9, 8, None, "no key")},
         "the rule “roc_auc may fall by at most 0.002, chance apart” cannot be checked: no key"),
    ],
)  # fmt: skip
def test_a_gate_that_does_not_hold_says_amount_and_limit_in_one_sentence(
    gate: str, parts: dict[str, Any], said: str
) -> None:
    changes = [part for part in parts.values() if isinstance(part, MetricChange)]
    outcome = ask(gate, *changes, **{key: part for key, part in parts.items() if not isinstance(part, MetricChange)})

    assert (outcome.passed, outcome.headline) == (False, said)


@pytest.mark.parametrize("gate", ["{kind: min, metric: roc_auc, value: 0.69}", "{kind: data-checks}"])
def test_a_gate_that_holds_has_no_headline(gate: str) -> None:
    assert (ask(gate).passed, ask(gate).headline) == (True, "")
