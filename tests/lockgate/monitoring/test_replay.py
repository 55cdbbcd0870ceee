"""A history is replayed before alarms are switched on."""

from datetime import datetime

import pytest
from tests.lockgate.monitoring.monitored import FIRST, RELEASE, asked, by_day, entry, promise, rows
from tests.lockgate.monitoring.test_alarms import BEGIN, REFERENCE_DAYS, a_day, a_reference

from lockgate.monitoring.alarm_series import clusters_of
from lockgate.monitoring.monitor import replayed
from lockgate.monitoring.replay import as_json, days_of_clusters, replay, replay_of_reference, text_of
from lockgate.policy import AlarmSettings

SETTINGS = AlarmSettings(2.0)


@pytest.fixture(scope="module")
def reference():
    return a_reference([a_day(-n) for n in range(REFERENCE_DAYS, 0, -1)])


def test_a_quiet_history_bounds_the_rate_and_proves_nothing(reference):
    found = replay(SETTINGS, reference, [a_day(n) for n in range(98)])
    assert (found.pages, found.days, found.refuted) == (0, 98, False)
    assert 11 < found.high < 11.5
    assert "not refuted" in text_of(found)
    assert "no alarms" in text_of(found)
    assert {(one.form, one.drop) for one in found.delays} == {
        (form, drop) for form in ("relative", "absolute") for drop in (0.02, 0.05)
    }
    seen = {(one.form, one.drop): one.days or 1000 for one in found.delays}
    assert seen["relative", 0.05] < seen["relative", 0.02]
    assert as_json(found)["rate"]["high"] == found.high


def test_a_history_with_a_drop_tells_the_alarm_and_its_day(reference):
    days = [a_day(n, noise=0.0 if n < 30 else 2.0) for n in range(70)]
    found = replay(AlarmSettings(0.05, ("roc_auc",)), reference, days)
    (alarm,) = (one for one in found.judgement.alarms if one.severity == "page")
    assert f"{alarm.raised} alarm: flight-delay: ROC AUC fell" in text_of(found)
    assert found.refuted  # one alarm in 70 days is more than one in twenty years
    assert "refuted" in text_of(found)


def test_before_anything_was_served_the_test_rows_are_replayed_by_day(reference):
    found = replay_of_reference(SETTINGS, reference)
    assert (found.days, found.pages) == (REFERENCE_DAYS // 2, 0)
    assert found.first == BEGIN.fromordinal(BEGIN.toordinal() - REFERENCE_DAYS // 2)
    assert "second half" in text_of(found)
    assert {watch.kind for watch in found.judgement.watches} == {"roc_auc", "calibration_error", "slices"}
    spoilt = a_reference([a_day(-n, noise=0.0 if n > 35 else 2.5) for n in range(REFERENCE_DAYS, 0, -1)])
    assert replay_of_reference(SETTINGS, spoilt).pages >= 1


def test_days_of_a_reference_have_the_sums_that_it_was_made_of(reference):
    again = clusters_of(days_of_clusters(reference))
    assert again.ranks == reference.clusters.ranks
    assert again.baseline_losses == reference.clusters.baseline_losses
    assert (again.rows, again.labels, again.names) == (
        reference.clusters.rows,
        reference.clusters.labels,
        reference.clusters.names,
    )


def test_no_history_is_said(reference):
    assert "no history" in text_of(replay(SETTINGS, None, []))
    assert "no history" in text_of(replay_of_reference(AlarmSettings(2.0, ("volume",)), reference))


def test_the_record_of_a_release_is_replayed_and_so_are_the_test_rows_of_its_own_reference(tmp_path):
    made = promise(tmp_path, days=60, each=200)
    tables = by_day(rows(FIRST, 35, 200, 2))
    now = datetime.fromisoformat("2026-04-20")
    [(release, found)] = replayed(tables, asked(now), lambda *_: made, [entry()], SETTINGS)
    assert (release, found.days, found.pages) == (RELEASE, 35, 0)
    assert found.labelled == 35 * 200
    before = replay_of_reference(SETTINGS, made)
    assert (before.days, before.pages) == (30, 0)
    assert before.delays == found.delays
