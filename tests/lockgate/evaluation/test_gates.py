from dataclasses import replace

import pytest
from tests.lockgate import modelled

from lockgate.evaluation.gates import evaluate, policy_changes
from lockgate.gates import DataChecksPass, Gate, GateInputs, MetricsComplete, ModelSize, NoWorse, SlicesNoWorse
from lockgate.policy import read_policy
from lockgate.result import CheckFailure, Comparison, DataChecks, GateOutcome, Judgement, MetricChange, SliceChange

CHECKS = DataChecks(1, 23, ())


def change(
    judgement: Judgement = "better", head: float | None = 0.7, delta: float = 0.01, note: str = ""
) -> MetricChange:
    base = None if head is None or judgement == "new" else head - delta
    judged = judgement in ("better", "worse", "noise")
    low, high = (delta - 0.001, delta + 0.001) if judged else (None, None)
    known = None if base is None else delta
    return MetricChange("roc_auc", "higher", base, head, known, low, high, judgement, note=note)


def slice_of(value: str, delta: float | None, rows: int, judgement: Judgement, column: str = "carrier") -> SliceChange:
    low, high = (None, None) if delta is None else (delta - 0.001, delta + 0.001)
    return SliceChange(column, value, "roc_auc", rows, 0.7, 0.7, delta, low, high, 0.01, judgement)


def inputs(**parts: object) -> GateInputs:
    whole = GateInputs(
        has_base=True,
        metrics=(change(), MetricChange("log_loss", "lower", 0.5, 0.5, 0.0, None, None, "unjudged")),
        slices=(),
        comparison=Comparison(100, 100, 100),
        checks=CHECKS,
        model_bytes=1000,
    )
    return replace(whole, **parts)  # type: ignore[arg-type]


def ask(gate: str | Gate, given: GateInputs) -> GateOutcome:
    policy = modelled.policy()
    if isinstance(gate, str):
        text = modelled.POLICY.split("gates:")[0] + f"gates: [{gate}]\n"
        policy = read_policy(text)
    else:
        policy = replace(policy, gates=(gate,))
    (outcome,) = evaluate(policy, given)
    return outcome


@pytest.mark.parametrize(
    ("value", "head", "passed", "measured"),
    [
        ("0.69", 0.7, True, "0.7000"),
        ("0.7", 0.7, True, "0.7000"),
        ("0.7", 0.69999999, False, "0.69999999"),
        ("0.7", 0.699996, False, "0.699996"),
    ],
)
def test_a_floor_is_a_limit_and_a_value_below_it_never_reads_like_it(
    value: str, head: float, passed: bool, measured: str
) -> None:
    outcome = ask(f"{{kind: floor, metric: roc_auc, value: {value}}}", inputs(metrics=(change(head=head),)))

    assert (outcome.passed, float(outcome.measured)) == (passed, float(measured))
    assert outcome.rule == f"roc_auc at least {value}"


def test_a_ceiling_holds_at_its_value_and_fails_above() -> None:
    at = ask("{kind: ceiling, metric: roc_auc, value: 0.7}", inputs())
    above = ask("{kind: ceiling, metric: roc_auc, value: 0.7}", inputs(metrics=(change(head=0.7000001),)))

    assert (at.passed, above.passed) == (True, False)


@pytest.mark.parametrize("kind", ["floor, value: 0.1", "ceiling, value: 9", "no-worse, tolerance: 9"])
def test_a_metric_without_a_value_fails_its_gate_with_the_reason(kind: str) -> None:
    gone = change("removed", head=None, note="head: 'roc_auc' in m.json is NaN")

    outcome = ask(f"{{kind: {kind}, metric: roc_auc}}", inputs(metrics=(gone,)))

    assert not outcome.passed
    assert outcome.reason == "cannot be evaluated: head: 'roc_auc' in m.json is NaN"


@pytest.mark.parametrize(
    ("judgement", "delta", "passed"),
    [
        ("better", 0.01, True),
        ("noise", -0.05, True),
        ("worse", -0.002, True),
        ("worse", -0.0021, False),
        ("unjudged", -0.002, False),
    ],
)
def test_no_worse_fails_only_what_is_worse_by_more_than_the_tolerance(
    judgement: Judgement, delta: float, passed: bool
) -> None:
    outcome = ask(NoWorse("roc_auc", 0.002), inputs(metrics=(change(judgement, delta=delta),)))

    assert outcome.passed is passed


def test_no_worse_of_a_metric_that_should_be_low_looks_the_other_way() -> None:
    higher = MetricChange("log_loss", "lower", 0.5, 0.51, 0.01, 0.005, 0.015, "worse")

    assert not ask(NoWorse("log_loss", 0.0), inputs(metrics=(change(), higher))).passed


def test_without_a_base_comparing_gates_hold_and_say_so() -> None:
    first = inputs(has_base=False, metrics=(change("new"),))

    for gate in (NoWorse("roc_auc", 0.0), SlicesNoWorse("roc_auc", 0.0, 1, ())):
        outcome = ask(gate, first)
        assert outcome.passed
        assert outcome.reason == "no base to compare with"


def test_a_refused_comparison_fails_every_gate_that_needs_it() -> None:
    refused = inputs(
        metrics=(change("unjudged"),), comparison=Comparison(10, 10, None, "'late' differs on 3 of 10 shared rows")
    )

    for gate in (NoWorse("roc_auc", 9.0), SlicesNoWorse("roc_auc", 9.0, 1, ())):
        outcome = ask(gate, refused)
        assert not outcome.passed
        assert "'late' differs on 3 of 10 shared rows" in outcome.reason


def test_identical_figures_are_called_no_change() -> None:
    same = MetricChange("roc_auc", "higher", 0.7, 0.7, 0.0, 0.0, 0.0, "noise")

    assert ask(NoWorse("roc_auc", 0.0), inputs(metrics=(same,))).measured == "no change"


def test_a_new_metric_has_nothing_to_be_worse_than() -> None:
    outcome = ask(NoWorse("roc_auc", 0.0), inputs(metrics=(change("new"),)))

    assert outcome.passed
    assert outcome.reason == "base has no value to compare with"


def test_slices_fail_on_one_large_slice_that_is_worse_beyond_tolerance() -> None:
    slices = (
        slice_of("HA", -0.05, 500, "worse"),
        slice_of("YV", -0.4, 99, "worse"),
        slice_of("AA", -0.005, 900, "worse"),
        slice_of("UA", 0.02, 900, "better"),
    )

    outcome = ask(SlicesNoWorse("roc_auc", 0.01, 100, ()), inputs(slices=slices))
    tolerant = ask(SlicesNoWorse("roc_auc", 0.05, 100, ()), inputs(slices=slices))

    assert not outcome.passed
    assert "carrier HA" in outcome.measured
    assert "worst of 3 slices" in outcome.measured
    assert tolerant.passed


def test_slices_look_only_at_the_columns_they_name() -> None:
    slices = (slice_of("HA", -0.05, 500, "worse"), slice_of("10", 0.0, 500, "noise", column="month"))

    assert ask(SlicesNoWorse("roc_auc", 0.01, 100, ("month",)), inputs(slices=slices)).passed


def test_slices_that_nothing_was_measured_on_do_not_pass() -> None:
    small = (slice_of("HA", 0.0, 99, "noise"), slice_of("AA", None, 500, "unjudged"))

    outcome = ask(SlicesNoWorse("roc_auc", 0.01, 100, ()), inputs(slices=small))

    assert not outcome.passed
    assert outcome.reason == "cannot be evaluated: no slice has 100 shared rows on which roc_auc is defined"


@pytest.mark.parametrize(
    ("checks", "passed", "said"),
    [
        (CHECKS, True, ""),
        (None, False, "there is no validation file"),
        (DataChecks(0, 0, (), "there is no v.json"), False, "there is no v.json"),
        (DataChecks(0, 0, ()), False, "holds no expectation"),
        (DataChecks(1, 2, (CheckFailure("flights", "d", "d > 0", "critical", 3),)), False, "flights: d > 0"),
        (DataChecks(1, 2, (CheckFailure("flights", "d", "d > 0", "warning", 3),)), True, "1 warning"),
    ],
)
def test_data_checks_fail_on_critical_ones_and_on_none_at_all(
    checks: DataChecks | None, passed: bool, said: str
) -> None:
    outcome = ask(DataChecksPass(), inputs(checks=checks))

    assert outcome.passed is passed
    assert said in outcome.reason


def test_a_model_at_the_limit_passes_and_one_byte_more_does_not() -> None:
    assert ask(ModelSize(1000), inputs(model_bytes=1000)).passed
    over = ask(ModelSize(1000), inputs(model_bytes=1001))
    assert not over.passed
    assert over.measured == "1,001 bytes"


def test_a_model_of_unknown_size_does_not_pass() -> None:
    outcome = ask(ModelSize(1000), inputs(model_bytes=None, no_model="there is no 'models/m'"))

    assert (outcome.passed, outcome.reason) == (False, "cannot be evaluated: there is no 'models/m'")


def test_metrics_are_complete_only_if_each_has_a_value() -> None:
    gone = change("removed", head=None, note="head: m.json has no 'roc_auc'")

    assert ask(MetricsComplete(), inputs()).passed
    outcome = ask(MetricsComplete(), inputs(metrics=(gone, change())))
    assert (outcome.passed, outcome.measured, outcome.reason) == (False, "1 of 2", "head: m.json has no 'roc_auc'")


def test_each_change_of_a_policy_is_told_in_words() -> None:
    base = modelled.policy()
    text = (
        modelled.POLICY.replace("metric: roc_auc, value: 0.6}", "metric: roc_auc, value: 0.5}")
        .replace("  - {kind: data-checks}\n", "  - {kind: ceiling, metric: log_loss, value: 0.7}\n")
        .replace("key: rows, better: higher", "key: n, better: higher")
    )
    head = read_policy(text + "environments: {staging: {rebuilt: full}}\n")

    assert policy_changes(base, base) == ()
    assert policy_changes(base, head) == (
        "Gate changed: roc_auc at least 0.6 → roc_auc at least 0.5.",
        "Gate removed: data checks pass.",
        "Gate added: log_loss at most 0.7.",
        "Metric defined otherwise: rows: key rows → n.",
        "Environment added: staging.",
    )
    assert policy_changes(head, base)[-1] == "Environment removed: staging."
    newer = read_policy(modelled.POLICY.replace("kind: floor", "kind: min").replace("-complete", "-present"))
    assert policy_changes(base, newer) == (), "a newer word for the same gate is no change"
