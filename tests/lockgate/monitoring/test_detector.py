"""The sequential test: its guarantee, its calibration, and what it reports."""

import math
from datetime import date, timedelta

import numpy as np
import pytest
from scipy.stats import chi2
from tests.length import length

from lockgate.monitoring.alarm_series import DailyValues
from lockgate.monitoring.alarms import quality_family, run, shares_family
from lockgate.monitoring.detector import (
    YEAR,
    EDetector,
    ShareDetector,
    crossing_level,
    days_until_seen,
    excesses,
    gains,
    lower_rate,
    onset,
    promise_of,
    share_gains,
    upper_rate,
)

DAYS = tuple(date(2026, 1, 1) + timedelta(days=n) for n in range(365))


def autoregression(seed: int, days: int, lag: float) -> np.ndarray:
    new = np.random.default_rng(seed).normal(size=days + 50)
    value, found = 0.0, []
    for one in new:
        value = lag * value + math.sqrt(1 - lag * lag) * one
        found.append(value)
    return np.array(found[50:])


def year(seed: int, shift: float, *, lag: float = 0.45, margin: float = 0.3, rate: float = 0.4):
    values = autoregression(seed, 92 + 365, lag)
    promise = promise_of(values[:92], np.ones(92), margin)
    return quality_family(DAYS, [DailyValues("", values[92:] + shift, np.ones(365))], [promise], rate)


def test_the_budget_is_held_at_the_margin_by_days_that_follow_each_other():
    years = length(60, 400)
    alarms = sum(len(run(year(seed, shift=0.3))[0]) for seed in range(years))
    assert upper_rate(alarms, years) < 0.4


def test_without_the_long_run_spread_and_the_calibration_it_would_not_be_held():
    alarms = 0
    for seed in range(40):
        values = autoregression(seed, 365, 0.45)
        evidence = EDetector((1,))
        alarms += any(evidence.day(one[None])[0] >= YEAR / 0.4 for one in values)
    assert alarms / 40 > 0.4


def test_a_drop_is_seen_soon_and_its_onset_is_found():
    found = []
    for seed in range(12):
        family = year(seed, 0.0, lag=0.1, margin=0.2)
        late = family.moves.copy()
        late[100:] += 1.2
        moved = quality_family(DAYS, [DailyValues("", np.zeros(365), np.ones(365))], [_unit()], 0.4)
        episodes, _, _ = run(type(moved)(DAYS, ("",), late, late, moved.begin, moved.won, moved.level, 14))
        found.append((episodes[0].raised, episodes[0].since))
    raised, since = np.array(found).T
    assert 105 <= np.median(raised) <= 125
    assert abs(np.median(since) - 100) <= 4


def _unit():
    return promise_of(autoregression(3, 92, 0.1), np.ones(92), 0.2)


def test_an_alarm_is_over_once_things_are_as_promised_and_a_second_spell_is_a_second_alarm():
    values = autoregression(5, 92 + 365, 0.1)
    promise = promise_of(values[:92], np.ones(92), 0.3)
    lived = values[92:].copy()
    lived[50:90] += 2.5
    lived[200:260] += 2.5
    episodes, shares, _ = run(quality_family(DAYS, [DailyValues("", lived, np.ones(365))], [promise], 0.4))
    assert len(episodes) == 2
    (first, second) = episodes
    assert abs(first.since - 50) <= 5
    assert 50 < first.raised < 90 < first.over < 120
    assert abs(second.since - 200) <= 5
    assert 200 < second.raised < 260 < second.over < 290
    assert max(shares[:50]) < 1.0


def test_days_without_outcomes_are_no_news_and_small_days_count_less():
    values = autoregression(7, 92, 0.0)
    promise = promise_of(values, np.full(92, 900.0), 0.1)
    z = excesses(promise, np.array([5.0, 5.0, math.nan]), np.array([900.0, 9.0, 0.0]))
    assert z[1] == pytest.approx(z[0] / 100)
    assert math.isnan(z[2])
    evidence = EDetector((1,))
    before = evidence.day(np.array([1.0]))
    assert evidence.day(np.array([math.nan])) == before
    assert promise_of(values[:20], np.full(20, 900.0), 0.1) is None
    assert promise_of(np.ones(92), np.ones(92), 0.1) is None


def test_the_bound_is_above_promise_and_margin_by_what_the_promise_is_uncertain():
    values = autoregression(1, 400, 0.0)
    promise = promise_of(values, np.ones(400), 0.1)
    assert promise.mean == pytest.approx(values.mean())
    assert promise.error == pytest.approx(values.std(ddof=1) / 20, rel=0.35)
    assert promise.bound == pytest.approx(promise.mean + 0.1 + 1.284 * promise.error, rel=0.01)
    assert promise.scale > promise.spread


def test_days_that_follow_each_other_make_a_promise_less_certain():
    free, bound = (promise_of(autoregression(2, 92, lag), np.ones(92), 0.1) for lag in (0.0, 0.9))
    levels = [crossing_level(one.drawn[:, None], 0.4) for one in (free, bound)]
    assert min(levels) >= YEAR / 0.4
    assert bound.error > 1.3 * free.error


def test_shares_whose_mean_is_the_bound_keep_the_budget_whatever_their_spread():
    # whole days missing, one in fifty: the mean is the bound of 0.02
    alarms, years = 0, length(150, 1000)
    for seed in range(years):
        shares = (np.random.default_rng(seed).random((365, 4)) < 0.02).astype(float)
        lived = [DailyValues(str(n), shares[:, n], np.ones(365)) for n in range(4)]
        alarms += len(run(shares_family(DAYS, lived, [0.02] * 4, 0.4, 3))[0])
    assert upper_rate(alarms, years) < 0.4


def test_a_column_that_goes_missing_is_seen_within_days_among_forty():
    lived = [DailyValues(str(n), np.where(np.arange(365) >= 30, float(n == 7), 0.0), np.ones(365)) for n in range(40)]
    episodes, _, _ = run(shares_family(DAYS, lived, [0.02] * 40, 0.4, 3))
    assert (episodes[0].series, episodes[0].since) == (7, 30)
    assert episodes[0].raised <= 33


def test_the_days_until_a_drop_is_seen_shrink_with_the_drop_and_a_tolerated_one_is_never_seen():
    promise = _unit()
    level = crossing_level(promise.drawn[:, None], 0.4)
    large, small, tolerated = (days_until_seen(promise, level, shift) for shift in (1.5, 0.7, 0.1))
    assert large < small < 365
    assert tolerated is None
    assert days_until_seen(promise, level, 0.7, series=30) > small


@pytest.mark.parametrize(("seen", "years"), [(0, 98 / YEAR), (0, 1.0), (3, 2.0), (40, 10.0)])
def test_the_upper_limit_of_a_rate_is_garwoods(seen, years):
    assert upper_rate(seen, years) == pytest.approx(chi2.ppf(0.95, 2 * (seen + 1)) / 2 / years, rel=1e-9)
    assert lower_rate(seen, years) == pytest.approx(chi2.ppf(0.05, 2 * seen) / 2 / years if seen else 0.0, rel=1e-6)


def test_fourteen_quiet_weeks_bound_the_rate_only_below_about_eleven_a_year():
    assert 11 < upper_rate(0, 98 / YEAR) < 11.5


def test_evidence_is_what_the_bets_won():
    z = [0.5, -1.0, 9.0, math.nan, 2.0]
    evidence = EDetector(())
    for one in z:
        evidence.day(np.asarray(one))
    value = np.zeros(4)
    for day in range(5):
        won = np.array([bet[day] for bet in gains(z)])
        value = value if math.isnan(won[0]) else (value + 1) * np.exp(won)
    assert evidence.values == pytest.approx(value)
    assert onset(gains([-1.0, -1.0, 2.0, 2.0])) == 2
    shares = ShareDetector(np.array([0.1]))
    assert shares.day(np.array([0.1]))[0] == pytest.approx(1.0)
    assert onset(share_gains([0.0, 0.0, 0.5, 0.5], 0.1)) == 2
