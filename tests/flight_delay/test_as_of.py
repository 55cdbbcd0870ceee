"""What is known at the moment of asking: nothing that happens later, and the right numbers of what happened before."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flight_delay.as_of import DAY, HOUR, MOST_TAXIING, departure_minute, known
from flight_delay.request import ARRIVED_DAYS, GROUPS, HISTORY, LEFT_HOURS, REQUEST, WAITING, WAITING_HOURS
from flight_delay.tables import WEATHER

LEAD = 180
START = pd.Timestamp("2013-03-09T12:00Z")  # the clocks change in the night after

flight = st.tuples(
    st.sampled_from(["AA", "UA"]), st.sampled_from(["EWR", "JFK"]), st.sampled_from(["MIA", "ORD"]), st.integers(1, 3),
    st.integers(0, 3 * 24 * 60), st.one_of(st.none(), st.integers(-30, 600)),
    st.one_of(st.none(), st.integers(30, 400)), st.integers(-60, 600),
)  # fmt: skip
tables = st.lists(flight, min_size=1, max_size=25)


def flights_of(*rows: tuple[str, str, str, int, int, int | None, int | None, int]) -> pd.DataFrame:
    """Return raw flights from carrier, origin, destination, number, minute, delay, time in the air, arrival's delay."""
    carriers, origins, dests, numbers, minutes, delays, airs, arrivals = zip(*rows, strict=True)
    scheduled = START + pd.to_timedelta(list(minutes), unit="min")
    local = scheduled.tz_convert("America/New_York")
    delay = pd.array(delays, dtype="Int64").to_numpy(np.float64, na_value=np.nan)
    air = pd.array(airs, dtype="Int64").to_numpy(np.float64, na_value=np.nan)
    arrived = ~np.isnan(delay) & ~np.isnan(air)
    return pd.DataFrame(
        {"year": local.year, "month": local.month, "day": local.day, "sched_dep_time": local.hour * 100 + local.minute,
         "sched_arr_time": (local.hour + 2) % 24 * 100 + local.minute, "dep_delay": delay,
         "arr_delay": np.where(arrived, np.array(arrivals, float), np.nan), "air_time": air, "carrier": carriers,
         "flight": numbers, "origin": origins, "dest": dests, "time_hour": scheduled.floor("h")}
    )  # fmt: skip


def weather_of(hours: int = 80) -> pd.DataFrame:
    times = pd.date_range(START - pd.Timedelta(hours=6), periods=hours, freq="h")
    frame = pd.concat([pd.DataFrame({"origin": origin, "time_hour": times}) for origin in ("EWR", "JFK")])
    for place, name in enumerate(WEATHER):
        frame[name] = np.arange(len(frame)) % 150 + place / 10
    return frame.reset_index(drop=True)


def hide_after(flights: pd.DataFrame, weather: pd.DataFrame, moment: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both tables with everything taken away that happened after a minute."""
    left = departure_minute(flights) + flights["dep_delay"]
    arrived = left + flights["air_time"] + MOST_TAXIING
    flights = flights.assign(
        dep_delay=flights["dep_delay"].where(left <= moment),
        air_time=flights["air_time"].where(arrived <= moment),
        arr_delay=flights["arr_delay"].where(arrived <= moment),
    )
    end = weather["time_hour"].dt.tz_convert(None).to_numpy("datetime64[m]").astype(np.int64) + HOUR
    return flights, weather[end <= moment]


def change_after(flights: pd.DataFrame, weather: pd.DataFrame, moment: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return both tables with everything made different that happened after a minute, and still after it."""
    left = departure_minute(flights) + flights["dep_delay"]
    arrived = left + flights["air_time"] + MOST_TAXIING
    flights = flights.assign(
        dep_delay=flights["dep_delay"].where(left <= moment, flights["dep_delay"] + 77),
        air_time=flights["air_time"].where(arrived <= moment, flights["air_time"] + 1),
        arr_delay=flights["arr_delay"].where(arrived <= moment, 100 - flights["arr_delay"]),
    )
    end = weather["time_hour"].dt.tz_convert(None).to_numpy("datetime64[m]").astype(np.int64) + HOUR
    numbers = weather[list(WEATHER)]
    changed = numbers.where(pd.Series(end <= moment, index=weather.index), numbers + 5, axis=0)
    return flights, weather.assign(**{name: changed[name] for name in WEATHER})


@settings(max_examples=25, deadline=None)
@given(tables, st.integers(1, 24))
def test_nothing_that_happens_after_the_moment_of_asking_changes_a_value(
    rows: list[tuple[str, str, str, int, int, int | None, int | None, int]], hours: int
) -> None:
    flights, weather = flights_of(*rows), weather_of()
    before, asked = known(flights, weather, hours * HOUR), departure_minute(flights) - hours * HOUR
    for place in range(min(len(flights), 5)):
        for after in (hide_after, change_after):
            other = known(*after(flights, weather, asked[place]), hours * HOUR)
            pd.testing.assert_series_equal(other.iloc[place], before.iloc[place])


def test_on_real_days_hiding_what_came_later_changes_nothing_known_before_and_something_known_later(
    raw: dict[str, pa.Table],
) -> None:
    flights, weather = raw["flights"].to_pandas(), raw["weather"].to_pandas()
    flights = flights[(flights["month"] == 3) & flights["day"].between(7, 13)].reset_index(drop=True)
    weather = weather[weather["month"] == 3].reset_index(drop=True)
    whole, asked = known(flights, weather, LEAD), departure_minute(flights) - LEAD
    for share in (0.4, 0.6, 0.8):
        moment = int(np.quantile(asked, share))
        for after in (hide_after, change_after):
            other = known(*after(flights, weather, moment), LEAD)
            pd.testing.assert_frame_equal(other[asked <= moment], whole[asked <= moment])
            assert not other[asked > moment].equals(whole[asked > moment])


def naive(flights: pd.DataFrame, place: int) -> dict[str, float]:
    """Return the history of one flight, counted one by one."""
    scheduled = departure_minute(flights)
    asked = scheduled[place] - LEAD
    mine = flights.iloc[place]
    found: dict[str, float] = {}
    for name, columns in GROUPS.items():
        same = [row for row in range(len(flights)) if all(flights.iloc[row][c] == mine[c] for c in columns)]
        left = {row: scheduled[row] + flights["dep_delay"].iloc[row] for row in same}
        if name in LEFT_HOURS:
            hours = LEFT_HOURS[name]
            seen = [flights["dep_delay"].iloc[r] for r in same if asked - hours * HOUR < left[r] <= asked]
            found[f"{name}_late_{hours}h"] = np.mean([delay >= 15 for delay in seen]) if seen else np.nan
            found[f"{name}_delay_{hours}h"] = np.mean(np.clip(seen, -15, 240)) if seen else np.nan
        for days in ARRIVED_DAYS.get(name, ()):
            arrived = {r: left[r] + flights["air_time"].iloc[r] + MOST_TAXIING for r in same}
            late = [flights["arr_delay"].iloc[r] >= 15 for r in same if asked - days * DAY < arrived[r] <= asked]
            found[f"{name}_arrived_late_{days}d"] = np.mean(late) if late else np.nan
        if name in WAITING:
            due = [r for r in same if asked - WAITING_HOURS * HOUR < scheduled[r] <= asked]
            found[f"{name}_due"] = len(due)
            found[f"{name}_waiting"] = sum(not max(left[r], scheduled[r]) <= asked for r in due)
            found[f"{name}_departures"] = sum(abs(scheduled[r] - scheduled[place]) <= 30 for r in same)
            found[f"{name}_departures_before"] = sum(0 <= scheduled[place] - scheduled[r] < 180 for r in same)
    return found


@settings(max_examples=25, deadline=None)
@given(tables)
def test_every_number_is_that_of_counting_one_by_one(
    rows: list[tuple[str, str, str, int, int, int | None, int | None, int]],
) -> None:
    flights = flights_of(*rows)
    found = known(flights, weather_of(), LEAD)
    for place in range(min(len(flights), 6)):
        expected = naive(flights, place)
        assert set(expected) == set(HISTORY) - {"dest_arrivals"}
        for name, value in expected.items():
            assert found[name].iloc[place] == pytest.approx(
                value, abs=0.0501 if "delay" in name else 0.000501, nan_ok=True
            )


def test_arrivals_are_counted_near_each_other_on_the_clock_of_the_destination() -> None:
    flights = flights_of(
        ("AA", "EWR", "MIA", 1, 0, None, None, 0), ("UA", "JFK", "MIA", 2, 30, None, None, 0),
        ("UA", "JFK", "MIA", 3, 61, None, None, 0), ("UA", "JFK", "ORD", 1, 0, None, None, 0),
    )  # fmt: skip
    assert known(flights, weather_of(), LEAD)["dest_arrivals"].tolist() == [2, 2, 1, 1]


def test_weather_is_that_of_the_last_hour_that_was_over_and_missing_where_it_was_not_observed() -> None:
    weather = weather_of()
    flights = flights_of(("AA", "EWR", "MIA", 1, 179, None, None, 0), ("AA", "EWR", "MIA", 2, 180, None, None, 0))
    hours = weather.set_index(["origin", "time_hour"])["temp"]
    eleven, ten = (hours["EWR", START - pd.Timedelta(hours=n)] for n in (1, 2))
    assert known(flights, weather, LEAD)["temp"].tolist() == [ten, eleven]  # asked at 11:59 and at 12:00
    gap = weather[weather["time_hour"] != START - pd.Timedelta(hours=1)]
    assert known(flights, gap, LEAD)[list(WEATHER)].iloc[1].isna().all()


def test_a_wind_that_cannot_be_is_missing_and_no_frame_is_changed() -> None:
    weather = weather_of().assign(wind_speed=1048.36)
    flights = flights_of(("AA", "EWR", "MIA", 1, 300, 5, 100, 5))
    before = flights.copy(), weather.copy()
    assert known(flights, weather, LEAD)["wind_speed"].isna().all()
    pd.testing.assert_frame_equal(flights, before[0])
    pd.testing.assert_frame_equal(weather, before[1])


def test_two_observations_of_one_hour_are_refused_not_joined_twice() -> None:
    twice = pd.concat([weather_of(), weather_of()])
    with pytest.raises(ValueError, match="right"):
        known(flights_of(("AA", "EWR", "MIA", 1, 300, 5, 100, 5)), twice, LEAD)


def test_the_order_of_the_rows_changes_no_bit(raw: dict[str, pa.Table]) -> None:
    flights = raw["flights"].slice(0, 8000).to_pandas()
    weather = raw["weather"].to_pandas()
    order = np.random.default_rng(0).permutation(len(flights))
    straight = known(flights, weather, LEAD)
    shuffled = known(flights.iloc[order], weather.iloc[::-1], LEAD)
    pd.testing.assert_frame_equal(shuffled.sort_index(), straight)


def test_a_longer_lead_is_less_news(raw: dict[str, pa.Table]) -> None:
    flights, weather = raw["flights"].slice(0, 8000).to_pandas(), raw["weather"].to_pandas()
    near, far = known(flights, weather, 60), known(flights, weather, 600)
    assert far["all_late_3h"].isna().sum() > near["all_late_3h"].isna().sum()
    assert (near["origin_departures"] == far["origin_departures"]).all()  # the schedule is known anyway


def test_no_real_flight_arrives_after_the_moment_from_which_its_arrival_counts(raw: dict[str, pa.Table]) -> None:
    """The true moment follows from the schedule, the delay and the time zone of the destination."""
    flights, airports = raw["flights"].to_pandas(), raw["airports"].to_pandas().set_index("faa")
    flights = flights[flights["arr_delay"].notna()]
    zone = flights["dest"].map(airports["tz"]).fillna(-4)  # Puerto Rico and the Virgin Islands are not in the table
    no_summer_time = flights["dest"].map(airports["dst"]).fillna("N") == "N"
    date = pd.to_datetime(flights[["year", "month", "day"]])
    summer = (date >= "2013-03-10") & (date < "2013-11-03")
    behind = (-5 - zone) * 60 + np.where(no_summer_time & summer, 60, 0)
    minute = {
        end: flights[f"{end}_time"] // 100 * 60 + flights[f"{end}_time"] % 100
        for end in ("sched_dep", "sched_arr", "dep", "arr")
    }
    in_schedule = (minute["sched_arr"] - minute["sched_dep"]) % DAY + behind
    took = in_schedule + flights["arr_delay"] - flights["dep_delay"]
    assert ((minute["arr"] - minute["dep"] + behind - took) % DAY == 0).all()  # the zones are right
    taxiing = took - flights["air_time"]
    assert taxiing.min() > 0
    assert 200 < taxiing.max() <= MOST_TAXIING


def test_every_value_is_a_field_of_the_request() -> None:
    found = known(flights_of(("AA", "EWR", "MIA", 1, 300, 5, 100, 5)), weather_of(), LEAD)
    assert list(found) == [*WEATHER, *HISTORY]
    assert set(found) < set(REQUEST)
