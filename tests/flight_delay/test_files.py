"""Files between stages: whole or not at all, and the same bytes for the same content."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight_delay.errors import StageError
from flight_delay.files import as_json, as_parquet, figure, read_frame, read_json, read_table, write_files

FRAME = pd.DataFrame({"carrier": ["UA", None, "AA"], "late": [0, 1, 1], "temp": [39.0, math.nan, 41.5]})


def test_if_one_file_cannot_be_written_none_is_changed_and_nothing_is_left_behind(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "first", tmp_path / "b" / "second"
    write_files({first: b"good", second: b"good"})
    (tmp_path / "b" / ".second.partial").mkdir()  # the second cannot be written
    with pytest.raises(StageError, match=r"second: cannot be written: Is a directory\. No output was changed\."):
        write_files({first: b"newer", second: b"newer"})
    assert (first.read_bytes(), second.read_bytes()) == (b"good", b"good")
    assert sorted(p.name for p in tmp_path.rglob("*")) == [".second.partial", "a", "b", "first", "second"]


def test_what_a_killed_run_left_half_written_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".out.partial").write_bytes(b"half of it and more than the next run writes")
    write_files({tmp_path / "out": b"all"})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"out": b"all"}


def test_a_reader_that_opened_the_old_file_still_reads_the_old_file(tmp_path: Path) -> None:
    write_files({tmp_path / "out": b"old"})
    with (tmp_path / "out").open("rb") as reader:
        write_files({tmp_path / "out": b"new"})
        assert reader.read() == b"old"
    assert (tmp_path / "out").read_bytes() == b"new"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where a folder should be")
    with pytest.raises(StageError, match=r"data/raw/x: cannot be written"):
        write_files({tmp_path / "data" / "raw" / "x": b""})


def test_parquet_gives_back_the_values_and_nothing_of_pandas() -> None:
    indexed = FRAME.set_index(pd.Index([7, 8, 9], name="row"))
    content = as_parquet(indexed)
    assert content == as_parquet(FRAME)
    table = pq.read_table(pa.BufferReader(content))
    assert table.schema.metadata is None
    pd.testing.assert_frame_equal(table.to_pandas(), FRAME)


def test_parquet_bytes_do_not_depend_on_how_the_rows_came_in_pieces() -> None:
    table = pa.Table.from_pandas(FRAME, preserve_index=False)
    assert as_parquet(pa.concat_tables([table.slice(0, 1), table.slice(1)])) == as_parquet(table)


TIMES = pa.table(
    {
        "departs": pa.array([2_400_000_000, None, -1], pa.timestamp("ms")),
        "hour": pa.array([7200, 7200, None], pa.timestamp("ms", tz="UTC")),
    }
)


@pytest.mark.parametrize(
    "table",
    [TIMES, TIMES.slice(0, 0), pa.table({"carrier": ["UA"]}), pa.table({}),
     TIMES.append_column("flight", pa.array([1, None, -32768], pa.int16()))],
    ids=["times alone", "no rows", "no times", "no columns", "times and numbers"],
)  # fmt: skip
def test_parquet_gives_back_any_table_with_or_without_times_or_rows(table: pa.Table) -> None:
    varied = [name for name in table.column_names if name == "flight"]
    for content in (as_parquet(table), as_parquet(table, varied)):
        assert pq.read_table(pa.BufferReader(content)) == table


def test_numbers_that_vary_are_given_back_to_the_last_bit_and_in_less_room() -> None:
    scores = np.random.default_rng(0).integers(0, 2**20, 20_000) / 2**20
    frame = pd.DataFrame({"score": scores})
    content = as_parquet(frame, varied=["score"])
    assert np.array_equal(pq.read_table(pa.BufferReader(content))["score"].to_numpy(), scores)
    assert len(content) < 0.6 * len(as_parquet(frame))
    assert len(content) < 3 * len(scores)  # of eight bytes: twenty bits hold something


def test_times_one_step_apart_take_next_to_no_room() -> None:
    hours = pd.DataFrame({"hour": pd.date_range("2013-01-01", periods=8760, freq="h")})
    assert len(as_parquet(hours)) < 1000


def test_a_file_that_is_missing_or_cut_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with pytest.raises(StageError, match=r"x\.parquet: there is no such file"):
        read_table(path)
    path.write_bytes(as_parquet(FRAME)[:-20])
    with pytest.raises(StageError, match=r"x\.parquet: not a whole Parquet file"):
        read_frame(path)


def test_json_that_is_missing_cut_off_or_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    with pytest.raises(StageError, match=r"x\.json: there is no such file\. `dvc repro` makes it\."):
        read_json(path)
    for content in (b"", as_json({"a": 1})[:-3], b"\xff\xfe{}\x80"):
        path.write_bytes(content)
        with pytest.raises(StageError, match=r"x\.json: not whole JSON \(.*\)\. Remove it; `dvc repro` makes it anew"):
            read_json(path)
    path.write_bytes(as_json({"a": [1]}, indent=None))
    assert read_json(path) == {"a": [1]}


def test_json_is_the_same_in_any_order_of_keys_and_refuses_what_is_no_json() -> None:
    assert (
        as_json({"b": 1, "a": [0.1]}) == as_json({"a": [0.1], "b": 1}) == b'{\n  "a": [\n    0.1\n  ],\n  "b": 1\n}\n'
    )
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            as_json({"auc": value})


def test_a_figure_has_six_decimals_no_negative_zero_and_no_value_where_it_is_undefined() -> None:
    assert figure(0.12345678) == 0.123457
    assert str(figure(-1e-9)) == "0.0"
    assert figure(np.float64(math.nan)) is None
    assert type(figure(np.float64(0.5))) is float


@given(st.floats(0, 1))
def test_the_last_bits_of_a_figure_do_not_show(value: float) -> None:
    near = np.nextafter(value, 2)
    distance_to_a_boundary = abs((value * 1e6) % 1 - 0.5)
    if distance_to_a_boundary > 1e-6:
        assert figure(value) == figure(near)
