"""The record of scores joined with outcomes: of folders, of databases, of what an older Lockgate wrote."""

import shutil
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, text
from tests.length import length
from tests.lockgate.frozen import FROZEN

from lockgate.monitoring.joined import joined
from lockgate.monitoring.locations import RecordMissing, RecordRefused, outcomes_beside
from lockgate.monitoring.matching import last_places, numbered
from lockgate.monitoring.outcome_store import BY_ID, OutcomesRefused, new_addition, store_at
from lockgate.policy import RequestPart
from lockgate.serving.contract import Column
from lockgate.serving.described import Described
from lockgate.serving.sinks import sink_of

pytest_plugins = ("tests.lockgate.serving_postgres",)
KEY = (RequestPart("when", "date"), RequestPart("flight"))
DESCRIBED = Described((Column("flight", "integer"), Column("when", "timestamp"), Column("label", "string", True)), KEY)
FIRST, LAST = date(2026, 11, 20), date(2026, 11, 30)
BUILD, OTHER = "b" * 64, "c" * 64


def score(number: int, day: int, release: str = "delay@v1.0.0", build: str = BUILD) -> Any:
    request = f'{{"flight":{number},"when":"2026-11-{day:02d}T23:30:00","label":"x"}}'
    time = f"2026-11-{day:02d}T12:00:{number % 60:02d}.000000+00:00"
    return (f"id{number}-{day}", 0, time, release, build, number / 100, request, None)


def outcomes(*rows: tuple[int, int, float]) -> pa.Table:
    """Return outcomes (flight, day, label) by key."""
    flights, days, labels = zip(*rows, strict=True)
    return pa.table(
        {
            "date": pa.array([date(2026, 11, day) for day in days], pa.date32()),
            "flight": pa.array(flights, pa.int64()),
            "label": pa.array(labels, pa.float64()),
        }
    )


def add(where: str, table: pa.Table, model: str = "delay") -> None:
    store = store_at(outcomes_beside(where))
    store.append(new_addition(store, model, table.column_names[:-1], "d" * 64, "a test"), table)


def labels(where: str, **more: Any) -> dict[str, Any]:
    tables = list(joined(where, None, FIRST, LAST, **more))
    assert all(list(table.schema)[:8] == list(tables[0].schema)[:8] for table in tables)
    return {row["id"]: row["label"] for table in tables for row in table.to_pylist()}


@pytest.fixture(params=["folder", "sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "record")
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/r.sqlite"
    url: str = request.getfixturevalue("postgres")
    engine = create_engine(url)
    with engine.begin() as connection:
        for table in ("lockgate_scores", "lockgate_builds", "lockgate_outcomes", "lockgate_additions"):
            connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
    engine.dispose()
    return url


def test_the_last_outcome_of_a_request_counts_whether_it_came_by_key_or_by_answer(where: str) -> None:
    scores = [score(number, day) for day in (24, 25) for number in (1, 2, 3)]
    scores += [score(7, 25, "other@v1.0.0"), score(1, 26, "delay@v2.0.0", OTHER)]
    again = Described((*DESCRIBED.columns, Column("seats", "number", True)), KEY)
    sink_of(where).deliver("1", scores, {BUILD: DESCRIBED, OTHER: again})
    assert labels(where) == {row[0]: None for row in scores}
    add(where, outcomes((1, 24, 0), (2, 24, 1), (1, 25, 1), (9, 25, 1)))
    add(where, outcomes((7, 25, 1), (1, 25, 1)), model="third")
    add(where, pa.table({"id": ["id3-24", "id2-24"], "row": pa.array([0, 0], pa.int32()), "label": [1.0, 0.0]}))
    add(where, outcomes((2, 24, 1), (1, 26, 0)))
    expected = {"id1-24": 0, "id2-24": 1, "id3-24": 1, "id1-25": 1, "id2-25": None, "id3-25": None, "id1-26": 0}
    assert labels(where, model="delay") == expected
    assert labels(where) == {**expected, "id7-25": None}
    tables = list(joined(where, None, date(2026, 11, 25), date(2026, 11, 26)))
    [one] = tables
    assert one.column_names == [
        *("id", "row", "time", "release", "build", "probability", "latency_ms", "label"),
        *("flight", "when", "request_label", "date"),
    ]
    assert one.schema.field("time").type == pa.timestamp("us")
    assert one.schema.field("row").type == pa.int32()
    assert one.slice(0, 1).to_pylist()[0] | {"latency_ms": None} == {
        "id": "id1-25",
        "row": 0,
        "time": datetime.fromisoformat("2026-11-25T12:00:01"),
        "latency_ms": None,
        "release": "delay@v1.0.0",
        "build": BUILD,
        "probability": 0.01,
        "label": 1.0,
        "flight": 1,
        "when": datetime.fromisoformat("2026-11-25T23:30:00"),
        "request_label": "x",
        "date": date(2026, 11, 25),
    }
    few = next(iter(joined(where, None, FIRST, LAST, columns=["request_label"], model="delay")))
    assert few.column_names[8:] == ["flight", "request_label", "date"]  # the key is always there


def test_what_a_model_answers_that_gives_no_probability_is_there_as_it_was_recorded(where: str) -> None:
    told = '{"prediction":2.5}'
    sink_of(where).deliver(
        "1",
        [(*score(1, 25)[:5], told, *score(1, 25)[6:]), score(2, 26, build=OTHER)],
        {BUILD: DESCRIBED, OTHER: DESCRIBED},
    )
    add(where, outcomes((1, 25, 3.5)))
    first, second = (table.to_pylist()[0] for table in joined(where, None, FIRST, LAST))
    assert (first["answer"], first["probability"], first["label"]) == (told, None, 3.5)
    assert (second.get("answer"), second["probability"]) == (None, 0.02)


def test_two_releases_of_a_day_whose_columns_differ_are_in_one_table(where: str) -> None:
    other = Described((Column("flight", "string"), Column("when", "timestamp"), Column("seats", "number")), KEY)
    request = '{"flight":"UA1","when":"2026-11-25T05:00:00","seats":2}'
    late = ("new", 0, "2026-11-25T13:00:00.000000+00:00", "delay@v2.0.0", OTHER, 0.9, request, 2.0)
    sink_of(where).deliver("1", [score(1, 25), late], {BUILD: DESCRIBED, OTHER: other})
    add(where, outcomes((1, 25, 1)))
    [table] = joined(where, None, FIRST, LAST)
    found = [(row["id"], row["label"], row["flight"], row["seats"]) for row in table.to_pylist()]
    assert found == [("id1-25", 1.0, "1", None), ("new", None, "UA1", 2.0)]


def test_files_of_before_are_read_beside_the_folders_of_days(tmp_path: Path) -> None:
    where = tmp_path / "record"
    where.mkdir()
    shutil.copy(FROZEN / "record.parquet", where / "1732000000000000000-000001.parquet")
    old = pq.read_table(FROZEN / "record.parquet").to_pylist()
    assert {row["time"][:10] for row in old} == {"2026-11-25"}
    sink_of(str(where)).deliver("2", [score(1, 25), score(1, 26)], {BUILD: DESCRIBED})
    add(str(where), pa.table({"id": [old[0]["id"]], "row": pa.array([1], pa.int32()), "label": [1.0]}))
    first, second = joined(str(where), None, FIRST, LAST)
    assert [row["label"] for row in first.to_pylist()] == [None, None, 1.0]
    assert first.schema.field("when").type == second.schema.field("when").type == pa.timestamp("us")
    assert first.column("x").to_pylist() == [None, 0.5, 1.0]
    told = pa.schema([("x", pa.float64()), ("when", pa.timestamp("us")), ("absent", pa.string())])
    [again, _] = joined(str(where), None, FIRST, LAST, schema=told)
    assert again.column("absent").null_count == 3


def test_what_is_no_record_or_no_outcome_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordMissing):
        list(joined(str(tmp_path / "nowhere"), None, FIRST, LAST))
    with pytest.raises(RecordMissing):
        list(joined(f"sqlite:///{tmp_path}/r.sqlite", None, FIRST, LAST))
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(RecordRefused, match=r"other\.parquet"):
        list(joined(str(tmp_path), None, FIRST, LAST))
    (tmp_path / "other.parquet").unlink()
    sink_of(str(tmp_path)).deliver("1", [score(1, 25)], {BUILD: DESCRIBED})
    (tmp_path / "outcomes/delay").mkdir(parents=True)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "outcomes/delay/1-x.parquet")
    with pytest.raises(OutcomesRefused, match=r"1-x\.parquet"):
        list(joined(str(tmp_path), None, FIRST, LAST))
    (tmp_path / "day=2026-11-25/half.parquet").write_bytes(b"PAR1")
    with pytest.raises(RecordRefused, match=r"half\.parquet"):
        list(joined(str(tmp_path), None, FIRST, LAST))


VALUES = st.one_of(st.none(), st.integers(-2, 2))


@settings(max_examples=length(100, 5000), deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES), max_size=12), st.lists(st.tuples(VALUES, VALUES), max_size=12))
def test_keys_are_matched_as_a_dictionary_would(left: list[Any], right: list[Any]) -> None:
    tables = []
    for rows in (left, right):
        first, second = ([row[place] for row in rows] for place in (0, 1))
        texts = pa.array([None if one is None else str(one) for one in second], pa.string())
        tables.append(pa.table({"a": pa.array(first, pa.int64()), "b": texts}))
    places = last_places(*numbered(*tables))
    known = {row: place for place, row in enumerate(right) if None not in row}
    assert places.tolist() == [known.get(row, -1) for row in left]


def test_outcomes_far_from_the_days_that_are_asked_for_are_not_read(tmp_path: Path, monkeypatch: Any) -> None:
    where = str(tmp_path)
    sink_of(where).deliver("1", [score(number, 25) for number in range(50)], {BUILD: DESCRIBED})
    days = np.repeat(np.arange(1, 31), 100)
    many = outcomes(*[(int(one) % 100, int(day), 1.0) for one, day in enumerate(days)])
    monkeypatch.setattr("lockgate.monitoring.outcome_store.GROUP", 100)
    add(where, many)
    store = store_at(outcomes_beside(where))
    [addition] = store.additions("delay")
    day = date(2026, 11, 25)
    assert sum(len(part) for part in store.read(addition, {"date": (day, day)})) == 100
    assert set(labels(where).values()) == {1.0}
    assert addition.key == ("date", "flight") != BY_ID
    assert timedelta() <= datetime.now(addition.time.tzinfo) - addition.time < timedelta(hours=1)
