"""Baselines: past rates by counting, of the training rows alone, kept as whole numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from flight_delay.baselines import BASELINES, COLUMNS, as_columns, count, past_rate, read_counts
from flight_delay.errors import StageError
from flight_delay.files import as_json
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
COUNTS = as_columns(count(PAST))


def rate(baseline: str, asked: pd.DataFrame) -> list[float]:
    return past_rate(count(PAST)[baseline], asked, BASELINES[baseline]).tolist()


# Rates


def test_a_carrier_s_rate_is_its_share_of_late_flights_and_a_new_carrier_has_the_overall_share() -> None:
    asked = rows(
        ("AA", "EWR", "2013-10-01T00:00", 1), ("UA", "JFK", "2013-10-01T00:00", 1), ("ZZ", "JFK", "2013-10-01T00:00", 1)
    )
    assert rate("carrier_rate", asked) == [0.0, pytest.approx(2 / 3), 0.5]


def test_carrier_and_hour_fall_back_on_the_hour_then_on_all() -> None:
    asked = rows(
        ("UA", "EWR", "2014-01-01T06:59", 0),  # seen: two of three
        ("AA", "EWR", "2014-03-01T06:00", 0),  # that carrier never at that hour: the hour, two of three
        ("UA", "EWR", "2014-01-01T09:00", 0),  # that hour never seen: all, two of four
        ("AA", "JFK", "2014-01-01T07:00", 0),
    )
    assert rate("carrier_hour_rate", asked) == [pytest.approx(2 / 3), pytest.approx(2 / 3), 0.5, 0.0]


@pytest.mark.parametrize("baseline", BASELINES)
def test_the_labels_of_the_rows_asked_about_are_not_looked_at(baseline: str) -> None:
    assert rate(baseline, PAST.drop(columns=LABEL)) == rate(baseline, PAST)


@pytest.mark.parametrize("baseline", BASELINES)
def test_rates_come_in_the_order_of_the_rows_asked_about_and_change_no_frame(baseline: str) -> None:
    before = PAST.copy()
    assert rate(baseline, PAST.iloc[::-1]) == rate(baseline, PAST)[::-1]
    pd.testing.assert_frame_equal(PAST, before)


def test_a_baseline_counts_by_what_a_request_knows_and_falls_back_on_some_of_it() -> None:
    known = {*REQUEST, "hour"}  # the latter is read off the scheduled departure
    for columns, *fallbacks in BASELINES.values():
        assert set(columns) <= known & set(COLUMNS)
        assert all(set(fewer) < set(columns) for fewer in fallbacks)


# Counts


def test_each_group_is_counted_once_with_its_late_flights_in_any_order_of_the_rows() -> None:
    assert COUNTS == {
        "carrier_rate": {"carrier": ["AA", "UA"], "flights": [1, 3], "late": [0, 2]},
        "carrier_hour_rate": {"carrier": ["AA", "UA"], "hour": [7, 6], "flights": [1, 3], "late": [0, 2]},
    }  # fmt: skip
    assert as_json(as_columns(count(PAST.iloc[::-1]))) == as_json(COUNTS)


def test_counts_read_back_give_the_same_rates_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "baselines.json"
    path.write_bytes(as_json(COUNTS, indent=None))
    for name, past in read_counts(path).items():
        assert np.array_equal(past_rate(past, PAST, BASELINES[name]), rate(name, PAST))


def change(baseline: str, **columns: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content | {baseline: content[baseline] | columns}


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a list": (lambda content: [content], "expected carrier_rate and carrier_hour_rate"),
    "other baselines": (lambda content: content | {"rate": {}}, "expected carrier_rate and carrier_hour_rate"),
    "one of them": (lambda content: {"carrier_rate": content["carrier_rate"]}, "expected carrier_rate and"),
    "no columns": (lambda content: content | {"carrier_rate": []}, "carrier_rate needs the columns carrier, flights"),
    "another column": (change("carrier_rate", origin=["EWR", "JFK"]), "carrier_rate needs the columns carrier, flig"),
    "a share": (change("carrier_rate", late=[0, 0.67]), "carrier_rate, late: expected a list of int"),
    "true": (change("carrier_rate", late=[0, True]), "carrier_rate, late: expected a list of int"),
    "null": (change("carrier_rate", carrier=["AA", None]), "carrier_rate, carrier: expected a list of str"),
    "an hour as text": (change("carrier_hour_rate", hour=["6", "7"]), "hour: expected a list of int"),
    "no list": (change("carrier_rate", late="02"), "carrier_rate, late: expected a list of int"),
    "a row too few": (change("carrier_rate", late=[2]), "carrier_rate: its columns have no rows, or not as many each"),
    "no rows": (change("carrier_rate", carrier=[], late=[], flights=[]), "carrier_rate: its columns have no rows"),
    "a group twice": (change("carrier_rate", carrier=["UA", "UA"]), "carrier_rate: a group stands twice"),
    "more late than flew": (change("carrier_rate", late=[2, 0]), "carrier_rate: a group .* has .* more late ones"),
    "fewer than none late": (change("carrier_rate", late=[-1, 3]), "carrier_rate: a group"),
    "no flights": (change("carrier_rate", flights=[0, 4]), "carrier_rate: a group .* has no flights"),
    "other flights": (change("carrier_rate", flights=[1, 4]), "the baselines did not count the same flights"),
}


@pytest.mark.parametrize(("spoil", "reason"), BROKEN.values(), ids=list(BROKEN))
def test_what_cannot_have_been_counted_is_refused_in_words(
    spoil: Callable[[dict[str, Any]], Any], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "baselines.json"
    path.write_text(json.dumps(spoil(COUNTS)))
    with pytest.raises(StageError, match=rf"baselines\.json: not what `train` counted \(.*{reason}.*\)\. Remove it; "):
        read_counts(path)
