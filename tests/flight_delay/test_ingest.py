"""Stage ``ingest``: pinned files of any source become the same typed tables, or one clear refusal."""

import gzip
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.flight_delay.small_pipeline import ROOT, SmallPipeline

from flight_delay.errors import TRY_LATER, StageError, run_stage
from flight_delay.files import as_parquet
from flight_delay.ingest import parse_table, select_months
from flight_delay.params import load_params
from flight_delay.tables import RAW_TABLES

AIRLINES = b"carrier,name\n9E,Endeavor Air Inc.\nAA,\nUA,United\n"
MONTHS = b"origin,year,month,day,hour,temp,dewp,humid,wind_dir,wind_speed,wind_gust,precip,pressure,visib,time_hour\n"


def weather(*months: str) -> pa.Table:
    rows = [f"EWR,{m[:4]},{m[5:]},1,0,1,1,1,1,1,1,1,1,1,{m}-01T05:00:00Z" if m else "EWR" + 14 * "," for m in months]
    return parse_table("weather", MONTHS + "\n".join(rows).encode(), "weather.csv")


def months_of(table: pa.Table) -> list[int | None]:
    months: list[int | None] = table["month"].to_pylist()
    return months


# What the real source becomes


def test_the_real_tables_have_the_declared_types_and_all_their_rows(raw: dict[str, pa.Table]) -> None:
    assert {name: table.schema for name, table in raw.items()} == RAW_TABLES
    rows = {name: table.num_rows for name, table in raw.items()}
    assert rows == {"flights": 336776, "weather": 26115, "planes": 3322, "airports": 1458, "airlines": 16}


def test_no_real_value_is_lost_or_altered_by_its_type(raw: dict[str, pa.Table]) -> None:
    flights = raw["flights"]
    assert flights["arr_delay"].null_count == 9430
    assert pc.sum(flights["distance"]).as_py() == 350217607
    assert flights.slice(0, 1).to_pylist()[0] | {"time_hour": None} == {
        "year": 2013, "month": 1, "day": 1, "dep_time": 517, "sched_dep_time": 515, "dep_delay": 2, "arr_time": 830,
        "sched_arr_time": 819, "arr_delay": 11, "carrier": "UA", "flight": 1545, "tailnum": "N14228", "origin": "EWR",
        "dest": "IAH", "air_time": 227, "distance": 1400, "hour": 5, "minute": 15, "time_hour": None,
    }  # fmt: skip
    assert str(flights["time_hour"][0]) == "2013-01-01 10:00:00+00:00"


# One file


def test_empty_fields_and_na_are_missing_values() -> None:
    table = parse_table("airlines", AIRLINES + b"NA,NA\n", "airlines.csv")
    assert table["name"].to_pylist() == ["Endeavor Air Inc.", None, "United", None]
    assert table["carrier"].to_pylist() == ["9E", "AA", "UA", None]


def test_csv_zipped_csv_and_parquet_give_the_same_table(raw: dict[str, pa.Table]) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("airlines.csv", AIRLINES)
    table = parse_table("airlines", AIRLINES, "airlines.csv")
    assert parse_table("airlines", archive.getvalue(), "airlines.csv.zip") == table
    assert parse_table("airlines", as_parquet(table), "airlines.parquet") == table
    for name in ("flights", "planes"):
        assert parse_table(name, as_parquet(raw[name]), "x.parquet") == raw[name]


def test_the_order_of_the_columns_does_not_matter() -> None:
    other = b"name,carrier\nEndeavor Air Inc.,9E\n,AA\nUnited,UA\n"
    assert parse_table("airlines", other, "x.csv") == parse_table("airlines", AIRLINES, "x.csv")


def test_whole_numbers_may_be_spelt_with_a_point() -> None:
    spelt = AIRPORT_HEAD + b"EWR,Newark,40.7,-74.2,18.0,-5.0,A,America/New_York\n"
    assert parse_table("airports", spelt, "x.csv")["alt"].to_pylist() == [18]


AIRPORT_HEAD = b"faa,name,lat,lon,alt,tz,dst,tzone\n"
UNFIT = {
    "missing column": ("airlines", b"carrier\nUA\n", "the table 'airlines' lacks the column 'name'."),
    "unknown column": (
        "airlines",
        b"carrier,name,nam\nUA,United,x\n",
        "the table 'airlines' has an unknown column 'nam'; did you mean 'name'?",
    ),
    "column twice": ("airlines", b"carrier,name,name\nUA,a,b\n", "the table 'airlines' has the column 'name' twice."),
    "text in a number": (
        "airports",
        AIRPORT_HEAD + b"EWR,Newark,40.7,-74.2,high,-5,A,x\n",
        "the table 'airports', column 'alt', is not int16: Failed to parse string: 'high'",
    ),
    "fraction in a whole number": (
        "airports",
        AIRPORT_HEAD + b"EWR,Newark,40.7,-74.2,18.5,-5,A,x\n",
        "the table 'airports', column 'alt', is not int16: Float value 18.5",
    ),
    "number too large": (
        "airports",
        AIRPORT_HEAD + b"EWR,Newark,40.7,-74.2,99999,-5,A,x\n",
        "the table 'airports', column 'alt', is not int16: Float value 99999",
    ),
    "time that is none": (
        "weather",
        MONTHS + b"EWR,2013,1,1,0,1,1,1,1,1,1,1,1,1,soon\n",
        "the table 'weather', column 'time_hour', is not timestamp[s, tz=UTC]: Failed to parse string: 'soon'",
    ),
    "row too short": ("airlines", b"carrier,name\nUA\n", "cannot be read as the table 'airlines': CSV parse error"),
    "nothing": ("airlines", b"", "cannot be read as the table 'airlines': Empty CSV file"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_a_file_that_is_not_the_table_is_refused_by_file_table_and_column(name: str) -> None:
    table, content, expected = UNFIT[name]
    with pytest.raises(StageError) as refusal:
        parse_table(table, content, "source.csv")
    assert str(refusal.value).startswith(f"source.csv: {expected}")


@pytest.mark.parametrize("ending", ["parquet", "csv.zip"])
def test_a_truncated_or_foreign_file_is_refused(ending: str) -> None:
    table = parse_table("airlines", AIRLINES, "airlines.csv")
    for content in (as_parquet(table)[:-9], gzip.compress(AIRLINES), b""):
        with pytest.raises(StageError, match=r"cannot be read as the table 'airlines'"):
            parse_table("airlines", content, f"airlines.{ending}")


def test_an_archive_of_several_files_is_refused_not_guessed_at() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr("readme.txt", "hello")
        target.writestr("airlines.csv", AIRLINES)
    with pytest.raises(StageError, match="expected one file in the archive, found 2"):
        parse_table("airlines", archive.getvalue(), "airlines.csv.zip")


# Months


def test_through_cuts_after_that_month() -> None:
    table = weather("2012-12", "2013-01", "2013-02", "2013-03")
    assert months_of(select_months(table, "weather", "2013-02")) == [12, 1, 2]
    assert select_months(table, "weather", "2013-03") == table


def test_a_month_to_take_that_has_no_rows_is_refused_before_after_or_between_others() -> None:
    with pytest.raises(
        StageError, match=r"'weather' has no rows in 2013-03 \(ingest.through\): its last month is 2013-02"
    ):
        select_months(weather("2013-01", "2013-02"), "weather", "2013-03")
    with pytest.raises(StageError, match="no rows in 2013-02"):
        select_months(weather("2013-01", "2013-03"), "weather", "2013-02")
    with pytest.raises(StageError, match="it has no month at all"):
        select_months(weather(""), "weather", "2013-02")


def test_a_month_that_is_not_there_yet_ends_the_stage_with_the_code_that_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main() -> None:
        select_months(weather("2013-11", "2013-12"), "weather", "2014-01")

    def broken() -> None:
        raise StageError("another failure")

    assert (run_stage(main), run_stage(broken)) == (TRY_LATER, 1) == (75, 1)
    assert "its last month is 2013-12" in capsys.readouterr().err


def test_a_row_without_a_month_reaches_the_validation() -> None:
    assert months_of(select_months(weather("2013-01", "", "2013-02"), "weather", "2013-01")) == [1, None]


# The stage, on a source of its own


@pytest.fixture
def server(small: SmallPipeline) -> Iterator[str]:
    """The small pipeline's source over HTTP, on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(small.root / "source"))) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.mark.parametrize("kind", ["folder", "file URL", "HTTP"])
def test_the_source_may_be_a_folder_or_a_url_and_the_bytes_are_the_same(
    kind: str, small: SmallPipeline, server: str
) -> None:
    before = small.outputs()
    source = small.root / "source"
    url = {"folder": f"{source}/", "file URL": source.as_uri(), "HTTP": server}[kind]
    small.change(("source: source", f"source: {url}"))
    for path in (small.root / "data" / "raw").iterdir():
        path.unlink()
    if kind == "HTTP":
        done = small.command("ingest")
        assert (done.returncode, done.stderr) == (0, "")
    else:
        small.run("ingest")
    assert small.outputs() == before


def test_a_folder_with_the_package_s_files_gives_the_package_s_tables(
    small: SmallPipeline, raw: dict[str, pa.Table]
) -> None:
    small.run("ingest")
    for name in ("weather", "planes", "airports", "airlines"):
        assert small.files()[f"data/raw/{name}.parquet"] == as_parquet(raw[name])


def test_the_source_files_of_the_package_have_the_digests_that_are_pinned() -> None:
    from tests.flight_delay.small_pipeline import package_data

    for table, file in load_params(ROOT / "params.yaml").ingest.files:
        assert hashlib.sha256((package_data() / file.name).read_bytes()).hexdigest() == file.sha256, table


def test_another_month_is_one_line_in_params(small: SmallPipeline) -> None:
    small.change(("through: 2013-12", "through: 2013-11"))
    small.run("ingest", "prepare")
    flights = pa.parquet.read_table(small.root / "data" / "raw" / "flights.parquet")
    assert pc.max(flights["month"]).as_py() == 11
    test = pa.parquet.read_table(small.root / "data" / "prepared" / "test.parquet")
    assert sorted({date.month for date in test["date"].to_pylist()}) == [9, 10, 11]


def test_another_digest_is_refused_with_both(small: SmallPipeline) -> None:
    path = small.root / "source" / "airlines.csv"
    path.write_bytes(path.read_bytes().replace(b"United", b"Untied"))
    found, pinned = (
        hashlib.sha256(path.read_bytes()).hexdigest(),
        load_params(ROOT / "params.yaml").ingest.files.airlines,
    )
    assert small.refused("ingest") == (
        f"source/airlines.csv: its SHA-256 is {found}, but params.yaml pins {pinned.sha256}. "
        "If the new file is meant, put its digest under ingest.files.airlines.sha256."
    )


def test_a_source_file_that_is_missing_is_named(small: SmallPipeline) -> None:
    (small.root / "source" / "planes.csv").unlink()
    assert small.refused_here("ingest").startswith("source/planes.csv: the source has no such file. See ingest.source")


def test_a_source_that_nobody_answers_for_is_refused(small: SmallPipeline) -> None:
    small.change(("source: source", "source: gopher://archive"))
    message = small.refused_here("ingest")
    assert message.startswith("gopher://archive/flights.csv: cannot be opened: Protocol not known: gopher")


SPOILT: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "missing column": (lambda text: text.replace(b"distance", b"miles"), "lacks the column 'distance'."),
    "wrong type": (lambda text: text.replace(b",EWR,IAH,", b",EWR,IAH,soon", 1), "column 'air_time', is not int16"),
    "no rows": (lambda text: text.splitlines(keepends=True)[0], "the table 'flights' has no rows."),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_flights_that_are_not_flights_leave_the_last_good_tables(name: str, small: SmallPipeline) -> None:
    spoil, expected = SPOILT[name]
    small.put_source("flights", spoil(small.source("flights")), "flights.csv")
    message = small.refused_here("ingest")
    assert message.startswith("flights.csv: the table 'flights'")
    assert expected in message


def test_a_truncated_parquet_source_leaves_the_last_good_tables(small: SmallPipeline) -> None:
    content = (small.root / "data" / "raw" / "flights.parquet").read_bytes()
    small.put_source("flights", content[: len(content) // 2], "flights.parquet")
    assert small.refused_here("ingest").startswith("flights.parquet: cannot be read as the table 'flights'")


def test_a_disk_that_fills_at_the_second_table_leaves_all_five_as_they_were(small: SmallPipeline) -> None:
    small.change(("through: 2013-12", "through: 2013-11"))  # the flights, written first, would be others
    sizes = {p.name: p.stat().st_size for p in (small.root / "data" / "raw").iterdir()}
    assert sizes["flights.parquet"] < sizes["weather.parquet"]
    message = small.refused("ingest", largest_file=sizes["flights.parquet"] + 1000)
    assert message == "data/raw/weather.parquet: cannot be written: File too large. No output was changed."


def test_the_path_of_a_source_is_seen_from_the_repository_s_root(small: SmallPipeline) -> None:
    small.change(("source: source", "source: ./source"))
    assert Path(small.root, "source").is_dir()
    small.run("ingest")
