"""What the threshold of the policy sorts rightly and wrongly, and what that costs."""

import numpy as np
import pytest
from tests.lockgate import modelled
from tests.lockgate.evaluation.test_compare import side

from lockgate.evaluation.compare import compare
from lockgate.policy import OperatingAt, PolicyError, read_policy
from lockgate.result import Confusion, OperatingPoint

PLAIN = modelled.POLICY.replace("operating_point: {costs: {missed: 3, false_alarm: 1}}\n", "")
LATE = np.array([True, False] * 200)
CLUMSY = np.where(np.arange(400) % 8 == 0, 1 - LATE, LATE) * 0.6 + 0.2  # every fourth late row is missed


def measured(text: str, head: np.ndarray, **columns: object) -> OperatingPoint | None:
    base, changed = (side(probability=scores, late=LATE, **columns) for scores in (CLUMSY, head))
    return compare(read_policy(text), base, changed).operating_point


def test_what_changes_is_counted_row_by_row_and_has_its_interval() -> None:
    better = np.where(np.arange(400) % 16 == 0, CLUMSY, LATE * 0.6 + 0.2)
    found = measured(PLAIN + "operating_point: {threshold: 0.5, positives: late rows}\n", better)

    assert found is not None
    assert (found.base, found.head) == (Confusion(150, 0, 50, 200), Confusion(175, 0, 25, 200))
    assert (found.found.change, found.found.judgement) == (25.0, "better")
    assert found.found.low is not None
    wide = 2.05  # Student's t with 27 degrees of freedom: about 28 rows carry the change
    assert found.found.low == pytest.approx(25 - wide * 400 * np.std([1] * 25 + [0] * 375, ddof=1) / 20, rel=1e-3)
    assert (found.false_alarms.change, found.false_alarms.judgement) == (0.0, "noise")
    assert (found.positives, found.cost) == ("late rows", None)


def test_costs_give_the_threshold_and_are_a_mean_over_all_rows() -> None:
    better = np.where(np.arange(400) % 16 == 0, CLUMSY, LATE * 0.6 + 0.2)
    found = measured(modelled.POLICY, better)

    assert found is not None
    assert (found.threshold, found.positives) == (0.25, "rows with late")
    assert (found.cost_base, found.cost_head) == (3 * 50 / 400, 3 * 25 / 400)
    assert found.cost is not None
    assert (found.cost.change, found.cost.judgement) == (-75 / 400, "better")


def test_a_score_of_exactly_the_threshold_counts_as_true() -> None:
    found = measured(PLAIN + "operating_point: {threshold: 0.8}\n", CLUMSY)

    assert found is not None
    assert found.head.true_positives == 150


def test_few_rows_have_no_interval_and_are_not_judged() -> None:
    head = CLUMSY.copy()
    head[np.flatnonzero(LATE)[:9]] = 0.9
    found = measured(PLAIN + "operating_point: {threshold: 0.5}\n", head)

    assert found is not None
    assert (found.found.change, found.found.low, found.found.judgement) == (3.0, None, "unjudged")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "operating_point.threshold: is missing"),
        ("{threshold: 30}", "operating_point.threshold: must be between 0 and 1"),
        ("{costs: {missed: 3}}", "operating_point.costs.false_alarm: is missing"),
        ("{costs: {missed: 0, false_alarm: 0}}", "operating_point.costs: must not both be 0"),
    ],
)
def test_an_operating_point_that_says_too_little_is_refused(text: str, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        read_policy(PLAIN + f"operating_point: {text}\n")


def test_a_threshold_and_costs_may_both_be_said() -> None:
    text = "operating_point: {threshold: 0.3, costs: {missed: 5, false_alarm: 2}}\n"
    assert read_policy(PLAIN + text).operating_point == OperatingAt(0.3, "", 5.0, 2.0)
