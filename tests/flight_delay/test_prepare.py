"""Stage ``prepare``: the label, the clock, the windows that slide; nothing that follows the moment of asking."""

import contextlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.flight_delay.small_pipeline import SmallPipeline

from flight_delay.errors import StageError
from flight_delay.files import as_parquet, read_frame
from flight_delay.params import Prepare, Window, load_params
from flight_delay.prepare import (
    LOOKED_AT,
    ORDER,
    label,
    made_of,
    prepare,
    scheduled_times,
    window,
    window_rows,
    windows,
)  # fmt: skip
from flight_delay.request import KEY, LABEL, REQUEST
from flight_delay.tables import WEATHER

FOLLOWS_THE_DEPARTURE = ("dep_time", "dep_delay", "arr_time", "air_time")
LEAD = 180


def flights(**columns: list[object]) -> pd.DataFrame:
    """Three flights of one morning, with the given columns in place of theirs."""
    usual: dict[str, list[object]] = {
        "year": [2013] * 3, "month": [1] * 3, "day": [1] * 3,
        "sched_dep_time": [515, 600, 2359], "sched_arr_time": [819, 700, 340], "arr_delay": [11.0, 15.0, np.nan],
        "dep_delay": [2.0, 5.0, np.nan], "air_time": [200.0, 150.0, np.nan],
        "carrier": ["UA", "AA", "B6"], "flight": [1, 2, 3], "tailnum": ["N1", None, "N3"],
        "origin": ["EWR", "EWR", "JFK"], "dest": ["IAH", "MIA", "BQN"], "distance": [1400, 1089, 1576],
    }  # fmt: skip
    frame = pd.DataFrame(usual | columns)
    hour = frame["sched_dep_time"].astype(int) // 100
    frame["time_hour"] = pd.Timestamp("2013-01-01T05:00Z") + pd.to_timedelta(hour, unit="h")
    return frame


def weather(**columns: list[object]) -> pd.DataFrame:
    """The weather of Newark at 6 and 7 o'clock UTC."""
    frame = pd.DataFrame({name: [1.0, 2.0] for name in WEATHER} | columns)
    return frame.assign(origin="EWR", time_hour=pd.to_datetime(["2013-01-01T06:00Z", "2013-01-01T07:00Z"]))


# The label


@pytest.mark.parametrize(("minutes", "late"), [(-60, 0), (0, 0), (14, 0), (15, 1), (16, 1), (1272, 1)])
def test_a_flight_is_late_from_15_minutes_on(minutes: int, late: int) -> None:
    assert label(flights(arr_delay=[minutes, 0, 0]))[LABEL].iloc[0] == late


def test_a_flight_that_never_arrived_has_no_label_and_is_left_out() -> None:
    rows = prepare(flights(), weather(), LEAD)
    assert rows["flight"].tolist() == [1, 2]
    assert rows[LABEL].tolist() == [0, 1]


# The clock


@pytest.mark.parametrize(
    ("departs", "arrives", "departure", "arrival"),
    [
        (515, 819, "2013-01-01T05:15", "2013-01-01T08:19"),
        (2359, 340, "2013-01-01T23:59", "2013-01-02T03:40"),  # over midnight
        (5, 100, "2013-01-01T00:05", "2013-01-01T01:00"),
        (2400, 130, "2013-01-02T00:00", "2013-01-02T01:30"),  # 24:00 is the end of the day
        (2200, 2400, "2013-01-01T22:00", "2013-01-02T00:00"),
        (600, 600, "2013-01-01T06:00", "2013-01-01T06:00"),  # an hour to the west, an hour away
    ],
)
def test_hhmm_is_a_time_on_the_clock_and_an_early_arrival_is_the_next_day(
    departs: int, arrives: int, departure: str, arrival: str
) -> None:
    times = scheduled_times(flights(sched_dep_time=[departs, 600, 600], sched_arr_time=[arrives, 700, 700])).iloc[0]
    assert (times["scheduled_departure"], times["scheduled_arrival"]) == (
        pd.Timestamp(departure),
        pd.Timestamp(arrival),
    )
    assert times["date"] == pd.Timestamp("2013-01-01")  # the day in the schedule is part of the key and stays


def test_no_real_flight_is_scheduled_to_arrive_before_it_leaves_or_a_day_later(raw: dict[str, pa.Table]) -> None:
    times = scheduled_times(raw["flights"].to_pandas())
    duration = times["scheduled_arrival"] - times["scheduled_departure"]
    assert duration.min() >= pd.Timedelta(0)
    assert duration.max() < pd.Timedelta(days=1)


# The weather


def test_weather_in_another_order_changes_nothing() -> None:
    pd.testing.assert_frame_equal(prepare(flights(), weather().iloc[::-1], LEAD), prepare(flights(), weather(), LEAD))


# The rows


def test_a_row_is_the_key_the_request_and_the_label_and_nothing_else() -> None:
    assert set(prepare(flights(), weather(), LEAD).columns) == {*KEY, *REQUEST, LABEL}
    assert not {*FOLLOWS_THE_DEPARTURE, "arr_delay"} & {*REQUEST, *KEY}


def test_a_cancelled_flight_counts_in_the_schedule_of_the_others() -> None:
    rows = prepare(flights(origin=["EWR"] * 3, sched_dep_time=[515, 545, 530]), weather(), LEAD)
    assert rows["origin_departures"].tolist() == [3, 3]
    assert rows["temp"].tolist() == [1.0, 1.0]  # at 10:15 and 10:45 UTC less three hours the hour from 6 was over


def test_the_key_names_each_real_flight_once(raw: dict[str, pa.Table]) -> None:
    rows = prepare(raw["flights"].to_pandas(), raw["weather"].to_pandas(), LEAD)
    assert len(rows) == 327346
    assert not rows.duplicated(list(KEY)).any()


def shuffled_rows(table: pa.Table, seed: int = 0) -> pa.Table:
    return table.take(np.random.default_rng(seed).permutation(table.num_rows))


def test_the_source_is_in_the_order_of_the_actual_departures_and_the_rows_are_not(raw: dict[str, pa.Table]) -> None:
    source = raw["flights"].to_pandas()
    flown = source[source["dep_time"].notna()]
    of_a_day = flown.groupby(["year", "month", "day"])["dep_time"]
    assert of_a_day.apply(lambda times: times.is_monotonic_increasing).all()  # an outcome: it must leave no trace
    rows = prepare(source, raw["weather"].to_pandas(), LEAD)
    names = pd.MultiIndex.from_frame(rows[list(ORDER)])
    assert names.is_monotonic_increasing
    assert names.is_unique  # so no two rows could stand the other way round


def test_the_order_holds_the_key_and_nothing_but_the_schedule() -> None:
    assert set(KEY) <= set(ORDER) <= {*KEY, *REQUEST}
    assert not set(ORDER) & {LABEL, *FOLLOWS_THE_DEPARTURE, *WEATHER}


@pytest.mark.slow
def test_shuffling_the_flights_changes_no_byte_of_any_real_row(raw: dict[str, pa.Table]) -> None:
    observed = raw["weather"].to_pandas()
    other = shuffled_rows(raw["flights"])
    assert other != raw["flights"]
    assert as_parquet(prepare(other.to_pandas(), observed, LEAD)) == as_parquet(
        prepare(raw["flights"].to_pandas(), observed, LEAD)
    )


def test_shuffling_the_flights_and_the_weather_changes_no_byte_of_the_prepared_files(small: SmallPipeline) -> None:
    before = small.outputs()
    for table in ("flights", "weather"):
        small.change_raw(table, shuffled_rows)
    small.run("prepare")
    after = small.outputs()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"data/raw/flights.parquet", "data/raw/weather.parquet"}


def test_inputs_are_not_changed() -> None:
    given, observed = flights(), weather()
    prepare(given, observed, LEAD)
    pd.testing.assert_frame_equal(given, flights())
    pd.testing.assert_frame_equal(observed, weather())


@pytest.mark.parametrize("name", ["train", "test"])
def test_the_rows_that_the_later_stages_make_are_those_of_the_file_without_the_tail_number(
    name: str, made: SmallPipeline
) -> None:
    with contextlib.chdir(made.root):
        again = window_rows(name, load_params())
        written = read_frame(Path(f"data/prepared/{name}.parquet"))
    pd.testing.assert_frame_equal(again, written.drop(columns="tailnum"), check_dtype=False, check_exact=True)


def test_what_the_rows_are_made_of_is_in_the_order_of_its_key_and_leaves_out_what_nothing_is_made_of(
    raw: dict[str, pa.Table],
) -> None:
    kept = made_of(shuffled_rows(raw["flights"])).to_pandas()
    assert pd.MultiIndex.from_frame(kept[list(LOOKED_AT[:6])]).is_monotonic_increasing
    assert set(raw["flights"].column_names) - set(kept) == {"dep_time", "arr_time", "tailnum", "hour", "minute"}


# The windows


def rows_of(*dates: str, late: list[int] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"date": pd.to_datetime(list(dates)), LABEL: late or [n % 2 for n in range(len(dates))]})


def test_a_window_holds_its_first_and_last_day_and_no_other() -> None:
    days = ["2012-12-31", "2013-01-01", "2013-02-28", "2013-03-01"]
    inside = window(rows_of(*days), Window(first="2013-01", last="2013-02"), "train")
    assert inside["date"].dt.strftime("%Y-%m-%d").tolist() == days[1:3]
    assert inside.index.tolist() == [0, 1]


def test_a_month_without_rows_is_named() -> None:
    with pytest.raises(StageError, match=r"prepare\.test: no arrived flights in 2012-12, 2013-02\."):
        window(rows_of("2013-01-01", "2013-03-01"), Window(first="2012-12", last="2013-03"), "test")


@pytest.mark.parametrize("only", [0, 1])
def test_a_window_with_one_label_is_refused(only: int) -> None:
    rows = rows_of("2013-01-01", "2013-01-02", late=[only, only])
    with pytest.raises(StageError, match=rf"prepare\.train: all 2 flights have the same label \({only}\)"):
        window(rows, Window(first="2013-01", last="2013-01"), "train")


def lengths(train: int, test: int) -> Prepare:
    return Prepare.model_validate({"lead": "3h", "train": {"months": train}, "test": {"months": test}})


@pytest.mark.parametrize(
    ("through", "train", "test", "expected"),
    [
        ("2013-12", 9, 3, (("2013-01", "2013-09"), ("2013-10", "2013-12"))),
        ("2014-01", 9, 3, (("2013-02", "2013-10"), ("2013-11", "2014-01"))),
        ("2013-11", 9, 3, (("2013-01", "2013-08"), ("2013-09", "2013-11"))),  # as many as there are
        ("2013-12", 1, 1, (("2013-11", "2013-11"), ("2013-12", "2013-12"))),
        ("2013-02", 9, 1, (("2013-01", "2013-01"), ("2013-02", "2013-02"))),
    ],
)
def test_both_windows_end_with_the_data_and_slide_with_it(
    through: str, train: int, test: int, expected: tuple[tuple[str, str], tuple[str, str]]
) -> None:
    found = windows(rows_of("2013-01-01", f"{through}-01"), through, lengths(train, test))
    assert tuple((found[name].first, found[name].last) for name in ("train", "test")) == expected


def test_a_test_window_that_leaves_nothing_to_train_on_is_refused() -> None:
    with pytest.raises(
        StageError, match=r"prepare\.test: 3 months up to 2013-03 leave none to train on.* in 2013-01\."
    ):
        windows(rows_of("2013-01-01", "2013-03-01"), "2013-03", lengths(9, 3))


def test_one_month_more_moves_both_windows_and_two_thirds_of_the_test_rows_are_shared(small: SmallPipeline) -> None:
    later = {name: read_frame(small.root / f"data/prepared/{name}.parquet") for name in ("train", "test")}
    small.change(("through: 2013-12", "through: 2013-11"), ("months: 9", "months: 8"))
    small.run("ingest", "prepare")
    earlier = {name: read_frame(small.root / f"data/prepared/{name}.parquet") for name in ("train", "test")}
    months = {name: sorted(rows["date"].dt.month.unique()) for name, rows in earlier.items()}
    assert months == {"train": list(range(1, 9)), "test": [9, 10, 11]}
    shared = later["test"].merge(earlier["test"], on=list(dict.fromkeys([*KEY, *REQUEST, LABEL])), how="inner")
    assert sorted(shared["date"].dt.month.unique()) == [10, 11]  # and they are the same rows in every column
    assert len(shared) == (later["test"]["date"].dt.month < 12).sum()


# What follows the moment of asking never reaches the model: tests/flight_delay/test_as_of.py


def test_a_flight_s_own_outcome_changes_no_field_of_its_request(raw: dict[str, pa.Table]) -> None:
    flights, observed = raw["flights"].slice(0, 3000).to_pandas(), raw["weather"].to_pandas()
    before = prepare(flights, observed, LEAD).set_index(list(KEY))
    for place in (100, 1500, 2900):
        changed = flights.copy()
        changed.loc[place, ["dep_delay", "arr_delay", "dep_time", "arr_time", "air_time"]] = [55, 500, 1, 2, 300]
        after = prepare(changed, observed, LEAD).set_index(list(KEY))
        row = flights.iloc[place]
        key = (pd.Timestamp(row["year"], row["month"], row["day"]), row["carrier"], row["flight"], row["origin"])
        assert after.loc[key, LABEL] == 1
        fields = [name for name in REQUEST if name not in KEY]
        pd.testing.assert_series_equal(after.loc[key, fields], before.loc[key, fields])


@pytest.mark.parametrize("column", ["sched_dep_time", "arr_delay", "dep_delay", "distance"])
def test_permuting_what_the_request_or_the_label_is_made_of_does_change_the_model(
    column: str, small: SmallPipeline
) -> None:
    def permute(table: pa.Table) -> pa.Table:
        order = np.random.default_rng(0).permutation(table.num_rows)
        return table.set_column(table.column_names.index(column), column, table[column].take(order))

    before = small.outputs()["models/flight-delay.skops"]
    small.change_raw("flights", permute)
    small.run("prepare", "train")
    assert small.outputs()["models/flight-delay.skops"] != before


# The stage


def test_all_labels_equal_stops_the_stage(small: SmallPipeline) -> None:
    small.change_raw(
        "flights",
        lambda table: table.set_column(
            table.column_names.index("arr_delay"), "arr_delay", pa.repeat(pa.scalar(99, pa.int16()), table.num_rows)
        ),
    )
    assert small.refused_here("prepare").endswith("have the same label (1); nothing can be learnt or judged on them.")


def test_a_month_with_no_rows_stops_the_stage(small: SmallPipeline) -> None:
    small.change_raw("flights", lambda table: table.filter(pc.not_equal(table["month"], 11)))
    assert small.refused_here("prepare").startswith("prepare.test: no arrived flights in 2013-11.")


def test_a_raw_table_cut_off_or_missing_stops_the_stage(small: SmallPipeline) -> None:
    path = small.root / "data" / "raw" / "weather.parquet"
    path.write_bytes(path.read_bytes()[:1000])
    assert small.refused_here("prepare").startswith("data/raw/weather.parquet: not a whole Parquet file")
    path.unlink()
    assert small.refused_here("prepare") == "data/raw/weather.parquet: there is no such file. `dvc repro` makes it."


def test_a_disk_that_fills_at_the_second_window_leaves_both_as_they_were(small: SmallPipeline) -> None:
    small.change(("months: 9", "months: 1"))  # the training rows, written first, would be fewer
    size = (small.root / "data" / "prepared" / "test.parquet").stat().st_size
    message = small.refused("prepare", largest_file=size - 1000)
    assert message == "data/prepared/test.parquet: cannot be written: File too large. No output was changed."


def test_another_training_window_trains_on_its_months_alone(small: SmallPipeline) -> None:
    small.change(("months: 9", "months: 2"))
    small.run("prepare")
    months = read_frame(small.root / "data" / "prepared" / "train.parquet")["date"].dt.month
    assert sorted(months.unique()) == [8, 9]
