"""Alarms of days of rows: what pages, what is weather, for whom, and what is said."""

import math
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from lockgate.monitoring.alarm_series import clusters_of, live, promised, ratio_of
from lockgate.monitoring.alarms import examine, judge
from lockgate.monitoring.reference import Baseline, ColumnReference, Reference
from lockgate.monitoring.series import Day, summarise
from lockgate.policy import AlarmSettings

BEGIN = date(2026, 1, 5)
REFERENCE_DAYS, LIVE_DAYS, ROWS = 70, 90, 500


def a_day(number: int, *, noise=0.0, luck=0.0, higher=0.0, missing=0, rows=ROWS, only="", baseline=True) -> Day:
    """Return a day of rows: ``noise`` spoils the model's scores (those of the slice ``only``, if named), ``luck`` makes
    the day harder for every model, ``higher`` makes more rows true than any model expects."""
    random = np.random.default_rng(number + 1000)
    known, hidden = random.normal(0, 1.2, rows), random.normal(0, 0.7 + max(0.0, luck), rows)
    level = random.normal(-1.3, 0.3) + higher
    label = (random.random(rows) < 1 / (1 + np.exp(-(level + known + hidden)))).astype(float)
    codes = random.integers(0, 3, rows)
    spoilt = noise * ((codes == "abc".index(only)) if only else np.ones(rows))
    odds = -1.3 + (known + random.normal(0, 1, rows) * spoilt) / np.sqrt(1 + spoilt**2)
    score, other = 1 / (1 + np.exp(-odds)), 1 / (1 + np.exp(1.3 - 0.6 * known - random.normal(0, 0.6, rows)))
    whole, slices = summarise(score, label, other if baseline else None, {"carrier": (codes, ["a", "b", "c"])})
    return Day(
        **{name: getattr(whole, name) for name in whole.__slots__},
        day=BEGIN + timedelta(days=number),
        release="m@v1",
        build="x",
        slices=slices,
        missing={"wind": missing, "distance": 0},
    )


def a_reference(days: list[Day]) -> Reference:
    def column(name: str) -> ColumnReference:
        return ColumnReference(name, "number", ROWS * len(days), 50, 0.001, (), (), edges=())

    return Reference(
        name="flight-delay",
        version="v1.0.0",
        rows=sum(day.rows for day in days),
        positives=sum(day.label_sum for day in days),
        columns=(column("wind"), column("distance")),
        score=column("score"),
        metrics=(),
        calibration=(),
        clusters=clusters_of(days),
        baseline=Baseline((), "train", 1, 0.2, {}),
    )


@pytest.fixture(scope="module")
def reference() -> Reference:
    return a_reference([a_day(-n) for n in range(REFERENCE_DAYS, 0, -1)])


@pytest.fixture(scope="module")
def calm() -> list[Day]:
    return [a_day(n) for n in range(LIVE_DAYS)]


SETTINGS = AlarmSettings(2.0)


def test_calm_months_give_no_alarm_and_everything_was_looked_at(reference, calm):
    found = examine(SETTINGS, reference, calm)
    assert found.alarms == ()
    assert found.notes == ()
    assert {(watch.kind, watch.form) for watch in found.watches} == {
        ("roc_auc", "relative"),
        ("roc_auc", "absolute"),
        ("calibration_error", "absolute"),
        ("slices", "relative"),
        ("schema", "absolute"),
        ("volume", "absolute"),
    }
    assert all(len(watch.ratios) == LIVE_DAYS and max(watch.ratios) < 1 for watch in found.watches)


def test_a_spoilt_model_pages_once_with_since_when_by_how_much_and_on_how_many_rows(reference, calm):
    days = [*calm[:40], *(a_day(n, noise=1.0) for n in range(40, LIVE_DAYS))]
    found = examine(SETTINGS, reference, days)
    (alarm,) = found.pages
    assert (alarm.kind, alarm.form, alarm.of) == ("roc_auc", "relative", "")
    assert abs((alarm.since - BEGIN).days - 40) <= 4
    assert 42 < (alarm.raised - BEGIN).days < 65
    lost = np.mean([day.roc_auc for day in calm[40:]]) - np.mean([day.roc_auc for day in days[40:]])
    assert alarm.low < lost < alarm.high
    assert alarm.rows == ROWS * (LIVE_DAYS - (alarm.since - BEGIN).days)
    first, second = alarm.text.splitlines()
    for told in ("flight-delay", "ROC AUC", alarm.since.isoformat(), f"{alarm.rows:,} labelled rows"):
        assert told in first
    assert "rollback" in second
    # asked on the day it was raised, and on every day before, the same is said
    before = judge(SETTINGS, reference, days[: (alarm.raised - BEGIN).days])
    assert [one for one in before if one.severity == "page" or one.weather] == []
    (then,) = judge(SETTINGS, reference, days[: (alarm.raised - BEGIN).days + 1])
    assert (then.since, then.raised) == (alarm.since, alarm.raised)


def test_a_time_that_is_bad_for_every_model_is_weather_and_pages_nobody(reference, calm):
    days = [*calm[:30], *(a_day(n, luck=2.0) for n in range(30, LIVE_DAYS))]
    found = examine(AlarmSettings(2.0, ("roc_auc",)), reference, days)
    assert found.pages == (), ratio_of(reference)
    (note,) = found.alarms
    assert (note.severity, note.form) == ("note", "absolute")
    assert note.weather
    assert "not decay" in note.text


def test_more_true_rows_than_every_model_expects_are_weather_and_without_a_baseline_they_page(reference, calm):
    settings = AlarmSettings(2.0, ("calibration_error",))
    days = [*calm[:30], *(a_day(n, higher=1.0) for n in range(30, LIVE_DAYS))]
    (note,) = judge(settings, reference, days)
    assert (note.severity, note.of) == ("note", "too low")
    alone = [*calm[:30], *(a_day(n, higher=1.0, baseline=False) for n in range(30, LIVE_DAYS))]
    (page,) = judge(settings, reference, alone)
    assert page.severity == "page"
    assert "recalibrate" in page.text


def test_without_a_baseline_the_absolute_form_pages_and_says_what_it_cannot_tell(reference):
    before = [a_day(-n, baseline=False) for n in range(REFERENCE_DAYS, 0, -1)]
    days = [a_day(n, noise=0.0 if n < 30 else 2.5, baseline=False) for n in range(LIVE_DAYS)]
    found = examine(AlarmSettings(2.0, ("roc_auc",)), a_reference(before), days)
    (page,) = found.pages
    assert page.form == "absolute"
    assert any("not told from decay" in note for note in found.notes)


def test_a_slice_that_gets_worse_alone_is_named(reference, calm):
    days = [*calm[:30], *(a_day(n, noise=3.0, only="b") for n in range(30, LIVE_DAYS))]
    found = judge(AlarmSettings(2.0, ("slices",)), reference, days)
    assert [alarm.of for alarm in found] == ["carrier: b"]
    assert found[0].rows < 0.4 * ROWS * LIVE_DAYS
    both = judge(AlarmSettings(2.0, ("roc_auc", "slices")), reference, [a_day(n, noise=3.0) for n in range(60)])
    assert [(alarm.kind, alarm.severity) for alarm in both if alarm.severity == "page"] == [("roc_auc", "page")]


def test_a_column_that_goes_missing_and_requests_that_stop_are_seen_within_a_week(reference, calm):
    days = [*calm[:40], *(a_day(n, missing=ROWS // 2) for n in range(40, 50))]
    (alarm,) = judge(AlarmSettings(2.0, ("schema",)), reference, days)
    assert (alarm.of, alarm.since, alarm.others) == ("wind missing", BEGIN + timedelta(days=40), 0)
    gone = [*calm[:40], *(replace(a_day(n), absent=("wind", "distance")) for n in range(40, 50))]
    (both,) = judge(AlarmSettings(2.0, ("schema",)), reference, gone)
    assert both.others == 1
    assert "1 more" in both.text
    assert (alarm.raised - alarm.since).days <= 7
    traffic = {day.day: ROWS for day in calm[:60]} | {BEGIN + timedelta(days=66): 3}
    (alarm,) = judge(AlarmSettings(2.0, ("volume",)), reference, calm[:60], traffic)
    assert (alarm.of, alarm.since) == ("fewer", BEGIN + timedelta(days=60))
    assert alarm.open


def test_an_alarm_is_over_when_things_are_as_promised_again(reference, calm):
    days = [*calm[:20], *(a_day(n, noise=2.0) for n in range(20, 40)), *calm[40:]]
    (alarm,) = judge(AlarmSettings(2.0, ("roc_auc",)), reference, days)
    assert alarm.over is not None
    assert BEGIN + timedelta(days=50) < alarm.over < BEGIN + timedelta(days=80)
    assert "over on" in alarm.text


def test_what_cannot_be_judged_is_said(reference, calm):
    found = examine(SETTINGS, None, calm[:10])
    assert {note.partition(":")[0] for note in found.notes} == set(SETTINGS.on)
    assert examine(SETTINGS, reference, []).alarms == ()
    unlabelled = [a_day(n) for n in range(3)]
    few = a_reference([a_day(-n) for n in range(20, 0, -1)])
    assert any("28 days" in note for note in examine(AlarmSettings(2.0, ("roc_auc",)), few, unlabelled).notes)


def test_the_series_of_a_reference_are_those_of_its_days(reference):
    days = [a_day(-n) for n in range(REFERENCE_DAYS, 0, -1)]
    for kind, form in (
        ("roc_auc", "relative"),
        ("roc_auc", "absolute"),
        ("log_loss", "relative"),
        ("brier", "absolute"),
    ):
        (lived,), (before,) = live(kind, form, days, ratio_of(reference)), promised(kind, form, reference)
        assert lived.values == pytest.approx(before.values)
        assert lived.weights == pytest.approx(before.weights)
    assert math.isfinite(live("slices", "relative", days, slices=[("carrier", "a")])[0].values.sum())
