"""``alarms:`` of the policy."""

import pytest
from tests.lockgate.policy.test_document import TEXT

from lockgate.policy import AlarmSettings, PolicyError, read_policy
from lockgate.policy.alarms import USUAL


def alarms(said: str) -> AlarmSettings | None:
    return read_policy(f"{TEXT}\nalarms: {said}\n").alarms


def test_a_budget_is_split_evenly_over_the_kinds_of_alarms() -> None:
    usual = alarms("{budget: 2 per year}")
    assert usual == AlarmSettings(2.0, USUAL)
    assert usual.share == pytest.approx(0.4)
    monthly = alarms("{budget: 0.5 per month, on: [roc_auc, volume], margins: {roc_auc: 0.02}, webhook: ALARMS_URL}")
    assert (monthly.budget, monthly.share, monthly.webhook) == (6.0, 3.0, "ALARMS_URL")
    assert (monthly.margin("roc_auc"), monthly.margin("volume")) == (0.02, 0.25)
    assert read_policy(TEXT).alarms is None


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("{budget: 2}", "alarms.budget"),
        ("{budget: 0 per year}", "alarms.budget"),
        ("{budget: 2 a year}", "alarms.budget"),
        ("{}", "alarms.budget"),
        ("{budget: 1 per year, on: []}", "alarms.on"),
        ("{budget: 1 per year, on: [auc]}", "alarms.on"),
        ("{budget: 1 per year, on: [volume], margins: {roc_auc: 0.1}}", "alarms.margins.roc_auc"),
        ("{budget: 1 per year, margins: {roc_auc: -1}}", "alarms.margins.roc_auc"),
        ("{budget: 1 per year, webhook: 'https://example.org'}", "alarms.webhook"),
        ("{budget: 1 per year, often: true}", "alarms.often"),
    ],
)
def test_a_policy_of_alarms_that_makes_no_sense_is_told_where(said: str, place: str) -> None:
    with pytest.raises(PolicyError) as caught:
        alarms(said)
    assert caught.value.place.startswith(place)


def test_alarms_on_quality_need_predictions_and_those_on_slices_their_columns() -> None:
    without = (
        "model: m\nmetrics: {auc: {file: m.json, key: auc, better: higher, statistic: roc_auc}}\n"
        "predictions: {file: p.parquet, key: [id], label: late, score: score}\n"
    )
    with pytest.raises(PolicyError, match="predictions"):
        read_policy(f"{without.partition('predictions')[0]}\nalarms: {{budget: 1 per year, on: [roc_auc]}}\n")
    with pytest.raises(PolicyError, match="slices"):
        read_policy(f"{without}\nalarms: {{budget: 1 per year, on: [slices]}}\n")
    assert read_policy(f"{without}\nalarms: {{budget: 1 per year, on: [volume, roc_auc]}}\n").alarms is not None
