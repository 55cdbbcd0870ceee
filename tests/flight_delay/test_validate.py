import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from tests.flight_delay.small_pipeline import SmallPipeline, expect_few

from flight_delay import validate as stage
from flight_delay.as_of import HIGHEST_WIND
from flight_delay.errors import StageError, run_stage
from flight_delay.expectations import REQUESTS, Expectation, Suite, read_suites
from flight_delay.files import read_frame, read_table, write_table
from flight_delay.ingest import ingest
from flight_delay.params import load_params
from flight_delay.prepare import prepare

ROOT = Path(__file__).parents[2]
SUITES = read_suites(ROOT / "expectations")
PARAMS = load_params(ROOT / "params.yaml")
THROUGH, LEAD = PARAMS.ingest.through, PARAMS.prepare.lead_minutes
EVERY = [e for suite in SUITES.values() for e in suite.expectations]
ON_RAW = [e for e in EVERY if e.table != REQUESTS]
ON_REQUESTS = [e for e in EVERY if e.table == REQUESTS]

Tables = dict[str, pa.Table]


@pytest.fixture(scope="session")
def real() -> Tables:
    """The five raw tables, as the pipeline ingests them."""
    return ingest(load_params(ROOT / "params.yaml").ingest)


@pytest.fixture(scope="session")
def sample(real: Tables) -> Tables:
    """Real flights of every month with their weather, few enough to judge in a blink.

    The one broken wind reading of 2013 is left out.
    """
    flights = real["flights"].to_pandas().groupby("month").sample(100, random_state=0).sort_index()
    weather = real["weather"].to_pandas().query("not wind_speed > 200")
    weather = weather.merge(flights[["origin", "time_hour"]].drop_duplicates())
    few = {"flights": flights, "weather": weather}
    return real | {name: as_table(real, name, frame) for name, frame in few.items()}


@pytest.fixture(scope="session")
def requests(real: Tables) -> pa.Table:
    """Real rows of every month as `prepare` writes them."""
    rows = prepare(real["flights"].to_pandas(), real["weather"].to_pandas(), LEAD)
    few = rows.groupby(rows["date"].dt.month).sample(100, random_state=0).sort_index()
    return stage.as_written(few.reset_index(drop=True))


def as_table(real: Mapping[str, pa.Table], name: str, frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, schema=real[name].schema, preserve_index=False)


def for_sample(suite: Suite) -> Suite:
    """The suite with the rows of each month that a sample has; everything else as it stands."""
    fitted = tuple(
        dataclasses.replace(e, argument=(50, 110)) if e.rule == "rows_each_month" else e for e in suite.expectations
    )
    return dataclasses.replace(suite, expectations=fitted)


def judge(suite: Suite, tables: Tables, known_shape: pa.Table | None = None) -> list[stage.Outcome]:
    """Judge a table as the stage does; its columns and types are not asked about again if they are those of a table
    that passed."""
    typed = {name: through_parquet(table) for name, table in tables.items()}
    now, shape = typed[suite.table], []
    if known_shape is None or now.num_rows == 0 or now.schema != through_parquet(known_shape).schema:
        shape = stage.check_shape(suite, now, THROUGH)
        if any(not o.success and o.expectation.severity == "critical" for o in shape):
            return shape
    return shape + stage.check_content(suite, typed, THROUGH)


def through_parquet(table: pa.Table) -> pa.Table:
    """The types as a Parquet file gives them back: it knows no seconds."""
    kinds = [pa.timestamp("ms", f.type.tz) if pa.types.is_timestamp(f.type) else f.type for f in table.schema]
    return table.cast(pa.schema(list(zip(table.column_names, kinds, strict=True))))


# One corruption for each word of the suites. Each takes the whole table and gives a corrupted copy of it.


def change(e: Expectation, table: pa.Table, value: Any) -> pa.Table:
    """Put ``value`` into as few rows as break the expectation: one, or what its share does not forgive."""
    rows = 1 if e.share == 1 else int(table.num_rows * (1 - e.share)) + 2
    column = table[e.column].to_pylist()
    place = table.num_rows // 3
    column[place : place + rows] = [value] * rows
    return put(table, e.column, pa.array(column, table.schema.field(e.column).type))


def put(table: pa.Table, column: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, values)


def other_type(e: Expectation, table: pa.Table) -> pa.Table:
    now = table.schema.field(e.column).type
    wider = {pa.string(): pa.large_string(), pa.large_string(): pa.string(), pa.float64(): pa.float32()}
    wider |= {pa.timestamp("s", "UTC"): pa.date32(), pa.timestamp("ms"): pa.date32()}
    return put(table, e.column, table[e.column].cast(wider.get(now, pa.int32()), safe=False))


def outside(e: Expectation, table: pa.Table) -> pa.Table:
    low, high = e.argument
    return change(e, table, high + 1 if high is not None else low - 1)


def without_a_month(_: Expectation, table: pa.Table) -> pa.Table:
    return table.filter(pa.compute.not_equal(months_of(table), 6))


def months_of(table: pa.Table) -> pa.ChunkedArray:
    return table["month"] if "month" in table.column_names else pa.compute.month(table["date"])


def blank_month(e: Expectation, table: pa.Table) -> pa.Table:
    kept = pa.compute.not_equal(months_of(table), 6)
    blank = pa.nulls(table.num_rows, table.schema.field(e.column).type)
    return put(table, e.column, pa.compute.if_else(kept, table[e.column].combine_chunks(), blank))


def next_january(_: Expectation, table: pa.Table) -> pa.Table:
    rows = table.to_pylist()
    if "date" in table.column_names:
        rows[-1]["date"] += pd.Timedelta(days=31)
        return pa.Table.from_pylist(rows, schema=table.schema)
    late = next(row for row in rows if row["month"] == 12)
    late |= {"year": late["year"] + 1, "month": 1, "time_hour": late["time_hour"] + pd.Timedelta(days=31)}
    return pa.Table.from_pylist(rows, schema=table.schema)


def an_hour_late(e: Expectation, table: pa.Table) -> pa.Table:
    return change(e, table, table["time_hour"][table.num_rows // 3].as_py() + pd.Timedelta(hours=1))


def more_than_another(e: Expectation, table: pa.Table) -> pa.Table:
    most = pa.compute.max(table[e.argument]).as_py()
    return change(e, table, most + (1 if isinstance(most, int) else pd.Timedelta(days=1)))


def another(e: Expectation, table: pa.Table) -> pa.Table:
    return change(e, table, 7 if pa.types.is_integer(table.schema.field(e.column).type) else "??")


def fleet_numbers(e: Expectation, table: pa.Table) -> pa.Table:
    return change(dataclasses.replace(e, share=0.5), table, {"tailnum": "N0ZZZZ"}.get(e.column, "ZZ"))


CORRUPT: dict[str, Callable[[Expectation, pa.Table], pa.Table]] = {
    "rows_at_least": lambda _, table: table.slice(0, 0),
    "no_other_columns": lambda _, table: table.append_column("surprise", pa.nulls(table.num_rows, pa.int8())),
    "unique": lambda _, table: pa.concat_tables([table, table.slice(table.num_rows // 3, 1)]),
    "rows_each_month": without_a_month,
    "no_other_months": next_january,
    "type": other_type,
    "present": lambda e, table: change(e, table, None),
    "present_each_month": blank_month,
    "between": outside,
    "in": another,
    "in_column": lambda e, table: fleet_numbers(e, table) if e.share < 1 else change(e, table, "ZZ"),
    "at_most_column": more_than_another,
    "matches": lambda e, table: change(e, table, "n?"),
    "clock": lambda e, table: change(e, table, 1275),
    "hour_in": an_hour_late,
    # The tie is cut at its other end: see `corrupted`.
    "found_in": lambda _, table: table,
}


def corrupted(e: Expectation, tables: Tables) -> Tables:
    if e.rule == "found_in":
        other = tables[e.argument]
        return tables | {e.argument: other.slice(0, other.num_rows * 9 // 10)}
    return tables | {e.table: CORRUPT[e.rule](e, tables[e.table])}


@pytest.mark.parametrize("e", ON_RAW, ids=lambda e: f"{e.table}-{e.column or 'table'}-{e.rule}-{e.argument}")
def test_a_small_corruption_of_real_rows_fails_this_expectation_and_no_other(e: Expectation, sample: Tables) -> None:
    tables = corrupted(e, sample)
    assert tables != sample
    failed = [o for o in judge(for_sample(SUITES[e.table]), tables, known_shape=sample[e.table]) if not o.success]
    assert [(o.expectation.column, o.expectation.rule) for o in failed] == [(e.column, e.rule)]
    assert failed[0].expectation.argument == e.argument or e.rule == "rows_each_month"
    assert failed[0].failures >= 1
    assert 1 <= len(failed[0].examples) <= 5


@pytest.mark.parametrize("rule", sorted({e.rule for e in ON_REQUESTS}))
def test_small_corruptions_of_real_requests_fail_each_expectation_of_this_rule_and_no_other(
    rule: str, requests: pa.Table
) -> None:
    """All that have one rule at once: a suite of so many columns takes its time."""
    chosen = [e for e in ON_REQUESTS if e.rule == rule]
    table = requests
    for e in chosen:
        table = CORRUPT[rule](e, table)
    suite = for_sample(SUITES[REQUESTS])
    failed = [o for o in judge(suite, {REQUESTS: table}, known_shape=requests) if not o.success]
    assert [(o.expectation.column, o.expectation.rule) for o in failed] == [(e.column, rule) for e in chosen]
    for outcome in failed:
        assert outcome.failures >= 1
        assert 1 <= len(outcome.examples) <= 5


def test_the_requests_that_are_corrupted_fail_nothing_before(requests: pa.Table) -> None:
    assert [o for o in judge(for_sample(SUITES[REQUESTS]), {REQUESTS: requests}) if not o.success] == []


def test_the_rows_that_are_judged_are_those_that_prepare_writes(made: SmallPipeline) -> None:
    raw = {name: read_frame(made.root / f"data/raw/{name}.parquet") for name in ("flights", "weather")}
    judged = stage.as_written(prepare(raw["flights"], raw["weather"], LEAD))
    written = [read_table(made.root / f"data/prepared/{name}.parquet") for name in ("train", "test")]
    assert judged.equals(pa.concat_tables(written))


@pytest.mark.parametrize("table", [name for name in SUITES if name != REQUESTS])
def test_the_sample_that_is_corrupted_fails_nothing_before(table: str, sample: Tables) -> None:
    assert [o for o in judge(for_sample(SUITES[table]), sample) if not o.success] == []


@pytest.mark.slow
def test_the_real_tables_fail_nothing_but_the_one_broken_wind_reading(real: Tables) -> None:
    outcomes = stage.validate_all(SUITES, {name: through_parquet(t) for name, t in real.items()}, THROUGH, LEAD)
    assert [(o.expectation.table, o.expectation.column, o.failures) for o in outcomes if not o.success] == [
        ("weather", "wind_speed", 1)
    ]
    assert len(outcomes) == len(EVERY)


def test_what_prepare_takes_for_a_broken_reading_is_what_the_suite_warns_of() -> None:
    winds = [e for e in EVERY if (e.table, e.column, e.rule) == ("weather", "wind_speed", "between")]
    assert [e.argument for e in winds] == [(0, HIGHEST_WIND)]


def test_months_after_the_last_one_to_take_are_neither_expected_nor_let_in(sample: Tables) -> None:
    typed = {name: through_parquet(table) for name, table in sample.items()}
    cut = typed | {n: typed[n].filter(pa.compute.less(typed[n]["month"], 12)) for n in ("flights", "weather")}
    suite = for_sample(SUITES["flights"])
    assert [o.expectation.rule for o in stage.check_content(suite, cut, "2013-11") if not o.success] == []
    assert [o.expectation.rule for o in stage.check_content(suite, typed, "2013-11") if not o.success] == [
        "no_other_months"
    ]


# The stage as a whole, on a folder of its own


@pytest.fixture
def folder(sample: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline's folder with the sample as raw data, suites that fit it and the report of the last good run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "expectations").mkdir()
    for name in SUITES:
        text = (ROOT / "expectations" / f"{name}.yaml").read_text().replace("[1900, 2232]", "[50, 110]")
        (tmp_path / "expectations" / f"{name}.yaml").write_text(text)
        if name != REQUESTS:
            write_table(Path("data/raw") / f"{name}.parquet", sample[name])
    expect_few(tmp_path / "expectations", "[50, 110]")
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/validation.json").write_text("the last good run\n")
    return tmp_path


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(capsys: pytest.CaptureFixture[str], folder: Path) -> str:
    """Run the stage; it must exit 1 with one message and change no file. Return the message."""
    before = files_of(folder)
    assert run_stage(stage.main) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("error: ") == 1
    assert files_of(folder) == before
    return printed.err


def flights(sample: Tables, corrupt: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    write_table(Path("data/raw/flights.parquet"), as_table(sample, "flights", corrupt(sample["flights"].to_pandas())))


def first(**values: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Corrupt the first row."""
    return lambda frame: frame.assign(**{c: [v, *frame[c].iloc[1:]] for c, v in values.items()})


BAD_FLIGHTS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str, str]] = {
    "empty table": (lambda f: f.iloc[:0], "flights: has at least 1 row", "0 rows"),
    "duplicate key": (
        lambda f: pd.concat([f, f.iloc[:1].assign(distance=99)]),
        "flights: has each year, month, day, carrier, flight, origin only once (2 rows not)",
        "year=2013, month=1, day=",
    ),
    "duplicate rows": (
        lambda f: pd.concat([f, f.iloc[:3]]),
        "flights: has each year, month, day, carrier, flight, origin only once (6 rows not)",
        "year=2013, month=1, day=",
    ),
    "a month with no rows": (
        lambda f: f[f["month"] != 4],
        "flights: has between 50 and 110 rows in each month (1 month not)",
        "2013-04: 0 rows",
    ),
    "negative distance": (
        first(distance=-5),
        "flights, distance: is between 1 and 6,000 (1 row not)",
        "distance=-5, year=2013, month=1, day=",
    ),
    "unknown origin": (first(origin="ORD"), "flights, origin: is one of EWR, JFK, LGA (1 row not)", "origin=ORD"),
    "a column of nothing": (
        lambda f: f.assign(arr_delay=float("nan")),
        "flights, arr_delay: is present in at least 0.85 of each month's rows (12 months not)",
        "2013-01: 0.0% present",
    ),
    "a text column of nothing": (
        lambda f: f.assign(dest=None),
        "flights, dest: is not missing (1,200 rows not)",
        "dest=missing, year=2013, month=1, day=",
    ),
    "a future date": (
        lambda f: pd.concat(
            [f, f.iloc[:1].assign(year=2014, time_hour=f["time_hour"].iloc[0] + pd.Timedelta(days=365))]
        ),
        "flights: has no row before first_month or after ingest.through (1 row not)",
        "year=2014, month=1",
    ),
    "a date that does not exist": (
        first(month=2, day=30),
        "flights, time_hour: is the hour that year, month, day and hour name in America/New_York (1 row not)",
        "time_hour=2013-01-",
    ),
}


@pytest.mark.parametrize("name", BAD_FLIGHTS)
def test_bad_flights_stop_the_stage_with_table_column_rule_and_rows(
    name: str, folder: Path, sample: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    corrupt, rule, example = BAD_FLIGHTS[name]
    flights(sample, corrupt)
    message = refused(capsys, folder)
    assert message.startswith("error: the raw data fails a critical expectation. No output was changed.\n")
    assert rule in message
    assert f"    {example}" in message


def test_a_wrong_type_stops_the_stage_before_anything_else_is_asked_of_the_column(
    folder: Path, sample: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    table = sample["flights"]
    write_table(Path("data/raw/flights.parquet"), put(table, "distance", table["distance"].cast(pa.string())))
    message = refused(capsys, folder)
    assert "  flights, distance: is of type int16 (1 column not)\n    found string\n" in message


def test_a_missing_column_stops_the_stage(folder: Path, sample: Tables, capsys: pytest.CaptureFixture[str]) -> None:
    write_table(Path("data/raw/weather.parquet"), sample["weather"].drop_columns(["temp"]))
    assert "  weather, temp: is of type double (1 column not)\n    found absent\n" in refused(capsys, folder)


def test_a_parquet_file_cut_off_stops_the_stage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("data/raw/planes.parquet")
    path.write_bytes(path.read_bytes()[:-100])
    assert "data/raw/planes.parquet: not a whole Parquet file" in refused(capsys, folder)


def test_all_critical_failures_of_all_tables_stand_in_one_message(
    folder: Path, sample: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    flights(sample, first(distance=-5))
    write_table(
        Path("data/raw/airlines.parquet"), pa.concat_tables([sample["airlines"], sample["airlines"].slice(0, 1)])
    )
    message = refused(capsys, folder)
    assert message.startswith("error: the raw data fails 2 critical expectations.")
    assert "flights, distance: is between" in message
    assert "airlines: has each carrier only once (2 rows not)\n    carrier=9E\n" in message


def test_examples_show_different_values_before_the_same_value_again(
    folder: Path, sample: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    flights(sample, lambda f: f.assign(origin=["ORD"] * 8 + ["MDW"] * 2 + list(f["origin"].iloc[10:])))
    examples = [line.strip() for line in refused(capsys, folder).splitlines() if line.startswith("    origin=")]
    assert len(examples) == len(set(examples)) == 5
    assert [example[:10] for example in examples[:2]] == ["origin=ORD", "origin=MDW"]


def test_first_month_after_the_last_one_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("expectations/flights.yaml")
    path.write_text(path.read_text().replace("first_month: 2013-01", "first_month: 2014-01"))
    assert "first_month (2014-01) is after ingest.through (2013-12)" in refused(capsys, folder)


def test_a_time_zone_that_nobody_knows_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("expectations/flights.yaml")
    path.write_text(path.read_text().replace("America/New_York", "America/New_Yrok"))
    assert "no time zone 'America/New_Yrok' on this machine" in refused(capsys, folder)


def test_prepared_rows_that_fail_stop_the_stage_and_are_named_as_such(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("expectations/requests.yaml")
    path.write_text(path.read_text().replace("between: [-15, 240]", "between: [-15, 30]"))
    message = refused(capsys, folder)
    assert message.startswith("error: the prepared rows fail 5 critical expectations. No output was changed.\n")
    assert "  requests, all_delay_3h: is between -15 and 30 (" in message
    assert ", date=2013-" in message


def test_a_warning_is_reported_and_does_not_stop(
    folder: Path, sample: Tables, capsys: pytest.CaptureFixture[str]
) -> None:
    flights(sample, first(dest="ZZZ"))
    assert run_stage(stage.main) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    every = sum(len(suite.expectations) for suite in read_suites(folder / "expectations").values())
    assert f"validate: {every} expectations on 6 tables, 1 warning\n" in printed.out
    assert (
        "  flights, dest: is in airports.faa, or one of BQN, PSE, SJU, STT (1 row not)\n    dest=ZZZ, " in printed.out
    )
    written = json.loads((folder / "reports/validation.json").read_bytes())
    assert written["success"] is True
    failed = [r for table in written["tables"] for r in table["results"] if not r["success"]]
    assert [(r["column"], r["severity"], r["failures"]) for r in failed] == [("dest", "warning", 1)]
    assert failed[0]["examples"][0].startswith("dest=ZZZ, year=2013, month=1, ")


def test_the_report_lists_every_expectation_of_every_suite_in_order(folder: Path) -> None:
    assert run_stage(stage.main) == 0
    written = json.loads((folder / "reports/validation.json").read_bytes())
    assert [table["table"] for table in written["tables"]] == list(SUITES)
    for table, suite in zip(written["tables"], read_suites(folder / "expectations").values(), strict=True):
        assert set(table) == {"table", "expectations", "results"}
        assert table["expectations"] == len(suite.expectations) == len(table["results"])
        for result, e in zip(table["results"], suite.expectations, strict=True):
            assert set(result) == {"rule", "column", "severity", "success", "failures", "examples"}
            assert (result["column"], result["severity"]) == (e.column, e.severity)
            assert (result["success"], result["failures"], result["examples"]) == (True, 0, [])


NO_NETWORK = """
import runpy, socket, sys
def refuse(*arguments, **_):
    with open("network.txt", "a") as log:
        log.write(f"{arguments}\\n")
    raise OSError("no network")
for name in ("connect", "connect_ex", "sendto"):
    setattr(socket.socket, name, refuse)
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, refuse)
try:
    socket.create_connection(("198.51.100.1", 80))
except OSError:
    pass
runpy.run_module("flight_delay.validate", run_name="__main__")
"""


def run_module(folder: Path, *arguments: str, **changed: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **changed}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_stage_tries_no_connection_draws_no_bar_and_writes_the_same_bytes_in_another_zone_locale_and_hash_seed(
    folder: Path,
) -> None:
    assert run_stage(stage.main) == 0
    here = (folder / "reports/validation.json").read_bytes()
    done = run_module(folder, "-c", NO_NETWORK, TZ="Asia/Kathmandu", LANG="C", PYTHONHASHSEED="7")
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "network.txt").read_text().splitlines() == ["(('198.51.100.1', 80),)"]  # the guard was in place
    assert (folder / "reports/validation.json").read_bytes() == here


@pytest.mark.slow
def test_the_command_exits_1_with_one_message_and_leaves_the_last_report(folder: Path, sample: Tables) -> None:
    flights(sample, first(distance=-5))
    before = files_of(folder)
    done = run_module(folder, "-m", "flight_delay.validate")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: the raw data fails a critical expectation. No output was changed.\n")
    assert "Traceback" not in done.stderr
    assert files_of(folder) == before


def test_nothing_else_is_judged_where_a_table_has_not_its_shape(sample: Tables) -> None:
    tables = {name: through_parquet(table) for name, table in sample.items()}
    with pytest.raises(StageError) as refusal:
        stage.validate_all(SUITES, tables | {"airlines": tables["airlines"].slice(0, 0)}, THROUGH, LEAD)
    assert "airlines: has at least 1 row" in str(refusal.value)
    assert "flights" not in str(refusal.value)
