"""Features: the same numbers in training and scoring; what was never seen is a missing value, not an error."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from flight_delay.feature_columns import FEATURES, USED, WEATHER_USED
from flight_delay.features import RequestFeatures
from flight_delay.request import CATEGORIES, HISTORY, LEFT, REQUEST, TOLD_BY
from flight_delay.tables import WEATHER


def three(**columns: object) -> pd.DataFrame:
    """Three requests of one day, with the given columns in place of theirs."""
    usual: dict[str, object] = {
        "carrier": ["UA", "AA", "UA"], "origin": ["EWR", "JFK", "EWR"], "dest": ["IAH", "MIA", "BQN"],
        "flight": [1, 2, 3], "tailnum": ["N1", "N2", None],
        "scheduled_departure": pd.to_datetime(["2013-01-01T05:15", "2013-01-01T23:30", "2013-01-06T12:00"]),
        "scheduled_arrival": pd.to_datetime(["2013-01-01T08:15", "2013-01-02T00:30", "2013-01-06T12:00"]),
        "distance": [900, 60, 0],
    }  # fmt: skip
    usual |= {name: [1.0, 2.0, np.nan] for name in WEATHER} | {name: [3.0, 4.0, 5.0] for name in HISTORY}
    return pd.DataFrame(usual | columns)


def fitted(late: tuple[int, ...] = (0, 1, 0)) -> RequestFeatures:
    return RequestFeatures().fit(three(), late)


def feature(name: str, requests: pd.DataFrame, features: RequestFeatures | None = None) -> list[float]:
    return [float(v) for v in (features or fitted()).transform(requests)[:, FEATURES.index(name)]]


def test_times_become_minutes_of_the_day_the_weekday_and_the_time_in_the_schedule() -> None:
    assert feature("departure_minute", three()) == [315, 1410, 720]
    assert feature("arrival_minute", three()) == [495, 30, 720]
    assert feature("scheduled_minutes", three()) == [180, 60, 0]
    assert feature("weekday", three()) == [1, 1, 6]  # a Tuesday and a Sunday; Monday is 0


def test_the_weekday_is_the_calendar_s_on_every_day_of_a_leap_year() -> None:
    days = pd.date_range("2012-01-01", "2012-12-31", freq="D")
    requests = pd.concat([three().head(1)] * len(days)).assign(scheduled_departure=days)
    assert feature("weekday", requests) == list(days.day_of_week)


def test_speed_is_missing_where_the_distance_is_nothing() -> None:
    assert np.array_equal(feature("minutes_per_mile", three()), [0.2, 1.0, np.nan], equal_nan=True)


def test_categories_are_ranked_by_how_often_they_were_late_and_ties_by_name() -> None:
    assert list(fitted((0, 1, 0)).categories_[0]) == ["UA", "AA"]
    assert list(fitted((1, 0, 1)).categories_[0]) == ["AA", "UA"]
    equal = RequestFeatures().fit(three(carrier=["B6", "AA", "UA"]), [1, 1, 1])
    assert list(equal.categories_[0]) == ["AA", "B6", "UA"]


def test_a_category_seen_once_is_drawn_to_the_overall_rate() -> None:
    rows = pd.concat([three().head(1)] * 101, ignore_index=True)
    rows["carrier"] = ["ONCE"] + ["OFTEN"] * 100
    late = [1] + [1] * 60 + [0] * 40  # once in once is no better known than 60 in 100
    assert list(RequestFeatures().fit(rows, late).categories_[0]) == ["OFTEN", "ONCE"]
    late = [0] + [1] * 10 + [0] * 90
    assert list(RequestFeatures().fit(rows, late).categories_[0]) == ["ONCE", "OFTEN"]


def test_the_order_of_the_rows_does_not_change_what_is_learnt() -> None:
    there, back = fitted(), RequestFeatures().fit(three().iloc[::-1], [0, 1, 0])
    assert [list(c) for c in there.categories_] == [list(c) for c in back.categories_]


@pytest.mark.parametrize("kind", [object, "str", "string", "category"])
def test_strings_of_every_kind_are_the_same_category(kind: str) -> None:
    requests = three().astype(dict.fromkeys(CATEGORIES, kind))
    assert np.array_equal(fitted().transform(requests), fitted().transform(three()), equal_nan=True)


@pytest.mark.parametrize("column", CATEGORIES)
@pytest.mark.parametrize("value", ["??", "", None, np.nan])
def test_a_category_that_was_never_seen_is_a_missing_value_and_no_warning(column: str, value: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(feature(column, three(**{column: [value] * 3}))).all()


@pytest.mark.parametrize("missing", [[None] * 3, [np.nan] * 3, pd.array([pd.NA] * 3, dtype="Float64")])
def test_missing_weather_is_a_missing_value_however_it_is_spelt(missing: object) -> None:
    for column in WEATHER_USED:
        assert np.isnan(feature(column, three(**{column: missing}))).all()


def test_history_is_taken_as_it_is_told_and_a_share_of_no_flights_is_missing() -> None:
    assert feature(LEFT[0], three(**{LEFT[0]: [0.5, np.nan, 0.0]})) == pytest.approx([0.5, np.nan, 0.0], nan_ok=True)


def test_a_request_that_says_nothing_of_the_hours_before_gets_what_is_usual_at_its_hour() -> None:
    rows = pd.concat([three()] * 3, ignore_index=True)
    rows["scheduled_departure"] = pd.to_datetime(["2013-01-01T05:15"] * 3 + ["2013-01-01T17:00"] * 6)
    rows["scheduled_arrival"] = rows["scheduled_departure"] + pd.Timedelta(hours=1)
    for name in HISTORY:
        rows[name] = [1.0, 2.0, 9.0, 10.0, 20.0, 30.0, 40.0, 50.0, np.nan]
    rows.loc[:2, LEFT[0]] = np.nan  # before the first flights of the day none has left
    features = RequestFeatures().fit(rows, [0, 1] * 4 + [0])
    asked = three(scheduled_departure=pd.to_datetime(["2014-07-01T05:59", "2014-07-01T17:30", "2014-07-01T12:00"]))
    told = asked.assign(**dict.fromkeys(HISTORY, 7.0))
    assert feature(TOLD_BY, told, features) == [7.0] * 3
    for missing in (None, np.nan):
        untold = asked.assign(**dict.fromkeys(HISTORY, 7.0) | {TOLD_BY: missing})  # the counts say whether it is told
        assert feature(TOLD_BY, untold, features) == [2.0, 30.0, 10.0]
        assert feature(HISTORY[0], untold, features) == [2.0, 30.0, 10.0]  # at noon no flight was seen: of all hours
        usual = feature(LEFT[0], untold, features)  # missing where it always was
        assert usual == pytest.approx([np.nan, 30.0, 30.0], nan_ok=True)


def test_columns_that_a_request_lacks_are_refused_by_name() -> None:
    for column in USED:
        with pytest.raises(ValueError, match=f"^the request lacks {column}$"):
            fitted().transform(three().drop(columns=column))
    with pytest.raises(ValueError, match=r"^the request lacks carrier, distance$"):
        fitted().transform(three().drop(columns=["distance", "carrier"]))


def test_a_time_that_is_missing_is_refused_by_column_and_count() -> None:
    times = [pd.Timestamp("2013-01-01"), pd.NaT, pd.NaT]
    with pytest.raises(ValueError, match=r"^scheduled_departure is missing in 2 of 3 requests$"):
        fitted().transform(three(scheduled_departure=times))


def test_a_time_with_an_offset_is_refused_not_moved_to_another_hour() -> None:
    aware = three()["scheduled_arrival"].dt.tz_localize("America/New_York")
    with pytest.raises(ValueError, match=r"^scheduled_arrival has an offset from UTC"):
        fitted().transform(three(scheduled_arrival=aware))


def test_other_columns_their_order_and_the_index_are_ignored() -> None:
    other = three().assign(dep_delay=[99, 0, -5], late=[1, 0, 1])[["late", "dep_delay", *reversed(REQUEST)]]
    assert np.array_equal(
        fitted().transform(other.set_index(pd.Index([9, 9, 9]))), fitted().transform(three()), equal_nan=True
    )


def test_requests_are_not_changed() -> None:
    requests = three()
    fitted().transform(requests)
    pd.testing.assert_frame_equal(requests, three())


def test_no_requests_give_no_rows() -> None:
    assert fitted().transform(three().head(0)).shape == (0, len(FEATURES))


def test_the_transformer_can_be_cloned_and_names_its_columns() -> None:
    assert list(clone(RequestFeatures()).fit(three(), [0, 1, 0]).get_feature_names_out()) == list(FEATURES)


# Through the whole model, on real requests


def test_unknown_carriers_airports_tail_numbers_and_weather_are_scored(model: Pipeline, requests: pd.DataFrame) -> None:
    strange = requests.head(3).assign(carrier="??", origin="ORD", dest="XXX", tailnum=None, flight=9999)
    strange = strange.assign(**dict.fromkeys(WEATHER, np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = model.predict_proba(strange)[:, 1]
    assert np.isfinite(scores).all()
    assert ((scores > 0) & (scores < 1)).all()


def test_one_request_scores_as_it_does_in_a_batch(model: Pipeline, requests: pd.DataFrame) -> None:
    batch = model.predict_proba(requests)
    for row in (0, 1, len(requests) // 2, len(requests) - 1):
        assert np.array_equal(model.predict_proba(requests.iloc[[row]])[0], batch[row])
    shuffled = requests.sample(frac=1, random_state=0)
    assert np.array_equal(model.predict_proba(shuffled), batch[requests.index.get_indexer(shuffled.index)])


def test_the_model_refuses_a_request_that_lacks_a_column_by_its_name(model: Pipeline, requests: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"^the request lacks visib$"):
        model.predict_proba(requests.drop(columns="visib"))


def test_the_model_ignores_columns_that_are_no_part_of_a_request(model: Pipeline, requests: pd.DataFrame) -> None:
    more = requests.assign(dep_delay=500, arr_delay=500, secret="x")
    assert np.array_equal(model.predict_proba(more), model.predict_proba(requests))
