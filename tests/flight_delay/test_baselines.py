"""Baselines: past rates by counting, of the training rows alone."""

import numpy as np
import pandas as pd
import pytest

from flight_delay.baselines import BASELINES, past_rate
from flight_delay.request import LABEL, REQUEST


def rows(*flights: tuple[str, str, str, int]) -> pd.DataFrame:
    carriers, origins, departures, late = zip(*flights, strict=True)
    departure = pd.to_datetime(list(departures))
    return pd.DataFrame({"carrier": carriers, "origin": origins, "scheduled_departure": departure, LABEL: late})


PAST = rows(
    ("UA", "EWR", "2013-01-05T06:10", 1),
    ("UA", "EWR", "2013-01-06T06:50", 0),
    ("UA", "EWR", "2013-02-06T06:00", 1),
    ("AA", "JFK", "2013-01-06T07:00", 0),
)


def test_a_carrier_s_rate_is_its_share_of_late_flights_and_a_new_carrier_has_the_overall_share() -> None:
    asked = rows(
        ("AA", "EWR", "2013-10-01T00:00", 1), ("UA", "JFK", "2013-10-01T00:00", 1), ("ZZ", "JFK", "2013-10-01T00:00", 1)
    )
    assert past_rate(PAST, asked, BASELINES["carrier_rate"]).tolist() == [0.0, pytest.approx(2 / 3), 0.5]


def test_origin_hour_and_month_fall_back_on_origin_and_hour_then_on_all() -> None:
    asked = rows(
        ("UA", "EWR", "2014-01-01T06:59", 0),  # January, seen: one of two
        ("UA", "EWR", "2014-03-01T06:00", 0),  # March, never seen: the hour at that origin, two of three
        ("UA", "EWR", "2014-01-01T07:00", 0),  # that hour never seen at that origin: all, two of four
    )
    rates = past_rate(PAST, asked, BASELINES["origin_hour_month_rate"])
    assert rates.tolist() == [0.5, pytest.approx(2 / 3), 0.5]


@pytest.mark.parametrize("by", BASELINES.values(), ids=list(BASELINES))
def test_the_labels_of_the_rows_asked_about_are_not_looked_at(by: list[list[str]]) -> None:
    assert np.array_equal(past_rate(PAST, PAST.drop(columns=LABEL), by), past_rate(PAST, PAST, by))


@pytest.mark.parametrize("by", BASELINES.values(), ids=list(BASELINES))
def test_rates_come_in_the_order_of_the_rows_asked_about_and_change_no_frame(by: list[list[str]]) -> None:
    before = PAST.copy()
    rates = past_rate(PAST, PAST, by)
    assert np.array_equal(past_rate(PAST, PAST.iloc[::-1], by), rates[::-1])
    pd.testing.assert_frame_equal(PAST, before)


def test_a_baseline_counts_by_what_a_request_knows() -> None:
    known = {*REQUEST, "hour", "calendar_month"}  # the latter two are read off the scheduled departure
    assert {column for groups in BASELINES.values() for columns in groups for column in columns} <= known
