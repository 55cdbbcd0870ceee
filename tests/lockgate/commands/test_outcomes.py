"""Outcomes of recorded scores: late, in pieces, repeated, corrected, in every form; and what is refused."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sqlalchemy import create_engine, text
from tests.lockgate.recorded import ANCIENT, PAST, fill
from tests.lockgate.releases import Keys
from tests.lockgate.serving_harness import command, serving

from lockgate.releasing.registry import Registry
from lockgate.store import open_store

if TYPE_CHECKING:
    from tests.seaweed import Seaweed

pytest_plugins = (
    "tests.seaweed",
    "tests.lockgate.release_fixtures",
    "tests.lockgate.recorded_home",
    "tests.lockgate.serving_postgres",
)
Run = Callable[..., tuple[int, str, str]]


def outcomes(rows: list[tuple[Any, ...]], **types: pa.DataType) -> pa.Table:
    """Return rows of (date, count, late) as a table."""
    columns = {"date": pa.date32(), "count": pa.int64(), "late": pa.int8()} | types
    values = list(zip(*rows, strict=True)) or [()] * 3
    return pa.table([pa.array(v, t) for v, t in zip(values, columns.values(), strict=True)], names=list(columns))


def some(day: date, numbers: range, late: int = 1) -> list[tuple[Any, ...]]:
    return [(day, number, late) for number in numbers]


def told(lockgate: Run, *words: object, code: int = 0) -> dict[str, Any]:
    found, out, err = lockgate("outcomes", *map(str, words), "--json")
    assert found == code, err
    return json.loads(out) if out else {}


def kept(home: Path) -> list[str]:
    return sorted(one.name for one in (home / "record/outcomes/flight-delay").glob("*"))


def test_outcomes_come_in_pieces_are_repeated_and_corrected_and_the_history_stays(home: Path, lockgate: Run) -> None:
    fill(str(home / "record"), home)
    first = outcomes([*some(ANCIENT, range(7)), *some(PAST, range(3)), (PAST, 77, 1), (PAST, 1, 1), (PAST, 4, None)])
    pq.write_table(first, "first.parquet")
    dry = told(lockgate, "add", "staging", "first.parquet", "--dry-run")
    assert (dry["new"], dry["addition"], (home / "record/outcomes").exists()) == (11, None, False)
    done = told(lockgate, "add", "staging", "first.parquet")
    assert {name: done[name] for name in ("rows", "unlabelled", "repeated", "new", "corrected", "unscored")} == {
        "rows": 13,
        "unlabelled": 1,
        "repeated": 1,
        "new": 11,
        "corrected": 0,
        "unscored": 1,
    }
    assert [(one["scores"], one["known"], one["mature"]) for one in done["days"]] == [(10, 7, True), (10, 3, True)]
    pq.write_table(outcomes([(PAST, 0, 0), (PAST, 1, 1), (PAST, 9, 1)]), "second.parquet")
    done = told(lockgate, "add", "staging", "second.parquet")
    assert (done["new"], done["corrected"], done["known"], done["unscored"]) == (1, 1, 1, 0)
    history = kept(home)
    again = told(lockgate, "add", "staging", "first.parquet")  # a delivery that is repeated corrects nothing back
    assert again["before"] is not None
    assert kept(home) == history
    assert len(history) == 2
    code, out, _ = lockgate("outcomes", "status", "staging")
    assert code == 0
    assert "2020-03-02      10             4   40 %" in out
    assert "55 % of the 20 scores of 2020-03-01 to 2020-03-02 have an outcome" in out
    assert told(lockgate, "join", "staging", "joined") == {
        "schema": "lockgate.outcomes-join/1",
        "model": "flight-delay",
        "folder": "joined",
        "rows": 20,
        "known": 11,
    }
    rows = pq.read_table("joined/day=2020-03-02/joined.parquet", partitioning=None).to_pylist()
    assert [row["label"] for row in rows] == [0, 1, 1, *[None] * 6, 1]


def test_scores_of_today_are_not_due(home: Path, lockgate: Run) -> None:
    today = datetime.now(UTC).date()
    fill(str(home / "record"), home, (ANCIENT, today))
    found = told(lockgate, "status", "staging", "--from", "2020-01-01", "--to", today)
    assert [(one["day"], one["mature"]) for one in found["days"]] == [(str(ANCIENT), True), (str(today), False)]
    assert [one["day"] for one in told(lockgate, "status", "staging", "--to", ANCIENT)["days"]] == [str(ANCIENT)]


def test_every_form_of_the_same_outcomes_is_the_same(home: Path, lockgate: Run) -> None:
    fill(str(home / "record"), home, each=40)
    rows = [*some(ANCIENT, range(0, 40, 2)), *some(PAST, range(1, 40, 3), 0)]
    table = outcomes(rows)
    pq.write_table(table, "typed.parquet")
    when = pa.array([datetime.fromisoformat(f"{row[0]}T23:59:00") for row in rows], pa.timestamp("ns"))
    flags = pa.array([bool(row[2]) for row in rows])
    pq.write_table(pa.table({"when": when, "count": table["count"].cast(pa.float64()), "late": flags}), "when.parquet")
    pa.csv.write_csv(table, "rows.csv")
    (home / "pieces").mkdir()
    for number, start in enumerate(range(0, len(rows), 9)):
        part = table.slice(start, 9)
        lines = [f"{day},{count},{'TRUE' if late.as_py() else 'false'}" for day, count, late in zip(*part, strict=True)]
        (home / f"pieces/{number}.csv").write_text("date,count,late\n" + "\n".join(lines) + "\n")
    ids = [f"{row[0]}-{row[1]}" for row in rows]
    pq.write_table(pa.table({"id": ids, "row": [0] * len(ids), "late": table["late"]}), "ids.parquet")
    engine = create_engine(f"sqlite:///{home}/ops.sqlite")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE arrivals (date DATE, count INTEGER, late BOOLEAN)"))
        for row in rows:
            connection.execute(text(f"INSERT INTO arrivals VALUES ('{row[0]}', {row[1]}, {row[2]})"))
    engine.dispose()
    inputs: list[tuple[str, ...]] = [(name,) for name in ("typed.parquet", "when.parquet", "rows.csv", "pieces")]
    inputs.append((f"sqlite:///{home}/ops.sqlite", "--query", "SELECT * FROM arrivals"))
    digests = set()
    for words in inputs:
        shutil.rmtree(home / "record/outcomes", ignore_errors=True)
        done = told(lockgate, "add", "staging", *words)
        assert (done["new"], done["unscored"]) == (len(rows), 0), words
        [file] = (home / "record/outcomes/flight-delay").iterdir()
        digests.add(file.name.split("-")[1])
        known = [one["known"] for one in done["days"]]
        assert known == [20, 13]
    assert len(digests) == 1
    done = told(lockgate, "add", "staging", "ids.parquet")
    assert [one["known"] for one in done["days"]] == [20, 13]


@pytest.mark.slow
def test_record_and_outcomes_may_be_in_a_bucket_or_in_postgresql(
    home: Path, lockgate: Run, seaweed: "Seaweed", postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    rows = outcomes([*some(ANCIENT, range(10)), *some(PAST, range(4), 0)])
    for where in ("s3://models/record", postgres):
        monkeypatch.setenv("LOCKGATE_RECORD", where)
        fill(where, home)
        pq.write_table(rows, "rows.parquet")
        done = told(lockgate, "add", "staging", "rows.parquet")
        assert [(one["known"], one["scores"]) for one in done["days"]] == [(10, 10), (4, 10)]
        pq.write_table(outcomes([(PAST, 0, 1), (PAST, 8, 1)]), "rows.parquet")
        done = told(lockgate, "add", "staging", "rows.parquet")
        assert (done["new"], done["corrected"], done["unscored"]) == (1, 1, 0)
    query = "SELECT date, count, label AS late FROM lockgate_outcomes WHERE label = 0"
    done = told(lockgate, "add", "staging", postgres, "--query", query, "--record", "s3://models/record", "--dry-run")
    assert (done["new"], done["corrected"], done["known"]) == (0, 1, 3)


def table_with(**columns: Any) -> pa.Table:
    return pa.table({"date": [ANCIENT], "count": [1], "late": [1]} | columns)


REFUSED: list[tuple[Any, str]] = [
    (table_with(late=[2]), "no label"),
    (table_with(late=["yes"]), "no label"),
    (table_with(late=[0.5]), "no label"),
    (table_with(late=pa.array([datetime(2020, 1, 1, tzinfo=UTC)])), "no label"),
    (table_with().drop_columns(["late"]), "no column late"),
    (table_with().drop_columns(["count"]), "lacks count"),
    (table_with(count=["one"]), "count"),
    (table_with(count=[None]), "missing"),
    (table_with(date=[datetime(2020, 3, 1, tzinfo=UTC)]), "time zone"),
    (table_with(date=["1 March"]), "not a date"),
    (table_with(date=[datetime.fromisoformat("2020-03-01T05:00:00")]), "times of day"),
    (table_with(when=[datetime(2020, 3, 1, tzinfo=UTC)]).drop_columns(["date"]), "time zone"),
    (table_with(model=["other"]), "outcomes of other"),
    (table_with(release=["other@v1.0.0"]), "outcomes of other"),
    (outcomes([(ANCIENT, 1, 0), (ANCIENT, 1, 1)]), "something else"),
    (outcomes(some(date(1999, 1, 1), range(3))), "none of the 3 requests"),
    (b"no Parquet", "Parquet"),
]


def test_what_are_no_outcomes_of_this_model_are_refused_by_name(home: Path, lockgate: Run) -> None:
    fill(str(home / "record"), home)
    for number, (table, said) in enumerate(REFUSED):
        file = home / f"{number}.parquet"
        if isinstance(table, bytes):
            file.write_bytes(table)
        else:
            pq.write_table(table, file)
        code, _, err = lockgate("outcomes", "add", "staging", str(file))
        assert (code, said in err) == (1, True), (number, err)
        assert "Traceback" not in err
    assert not (home / "record/outcomes").exists()
    code, _, err = lockgate("outcomes", "add", "staging", "absent.parquet")
    assert code == 1
    told(lockgate, "add", "staging", home / "14.parquet", "--last-counts")  # the last of the two is right
    told(lockgate, "add", "staging", home / "15.parquet", "--early")
    found = told(lockgate, "status", "staging")
    assert [one["known"] for one in found["days"]] == [1, 0]
    code, _, err = lockgate("outcomes", "status", "staging", "--record", "nowhere")
    assert (code, "no record" in err) == (3, True)


@pytest.mark.slow
def test_the_workers_of_a_cluster_join_and_count_the_same_bytes(
    home: Path, lockgate: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, but over the sockets of a real scheduler and two workers."""
    import distributed

    monkeypatch.setattr("lockgate.serving.cluster.LARGE", 100)  # so that keys count as large
    fill(str(home / "record"), home, each=30)
    pq.write_table(outcomes([*some(ANCIENT, range(20)), *some(PAST, range(5)), (PAST, 99, 1)]), "rows.parquet")
    cluster: Any = distributed.LocalCluster
    with cluster(n_workers=2, processes=False, protocol="tcp", dashboard_address=None) as found:
        there = ("--scheduler", found.scheduler_address)
        dry = told(lockgate, "add", "staging", "rows.parquet", "--dry-run", *there)
        assert dry == told(lockgate, "add", "staging", "rows.parquet", "--dry-run")
        assert (dry["new"], dry["unscored"], dry["scored"]) == (26, 1, 25)
        told(lockgate, "add", "staging", "rows.parquet", *there)
        assert told(lockgate, "status", "staging", *there) == told(lockgate, "status", "staging")
        told(lockgate, "join", "staging", str(home / "there"), *there)
    told(lockgate, "join", "staging", "here")
    files = [{p.relative_to(home / side): p.read_bytes() for p in (home / side).rglob("*.parquet")} for side in _SIDES]
    assert files[0] == files[1]
    assert len(files[0]) == 2


_SIDES = ("here", "there")


@pytest.mark.slow
def test_what_the_service_answered_gets_its_outcome_by_key_and_by_answer(
    home: Path, keys: Keys, lockgate: Run, tmp_path: Path
) -> None:
    registry = Registry(open_store(str(home / "store")), "flight-delay", keys.verifier)
    words = command(registry, keys, home / "cache", "--record", str(home / "record"), "--record-every", "0.1")
    asked = [{"x": 1.5, "when": f"{PAST}T08:00:00", "count": number} for number in range(3)]
    with serving(words, tmp_path / "log") as served:
        first, several = served.predict(asked[0]), served.predict(asked)
        served.until(lambda: list((home / "record").glob("day=*/*.parquet")))
    pq.write_table(outcomes([(PAST, 0, 1), (PAST, 1, 0)]), "rows.parquet")
    assert told(lockgate, "add", "staging", "rows.parquet")["scored"] == 2
    (home / "ids.csv").write_text(f"id,row,late\n{several['id']},2,true\n")
    assert told(lockgate, "add", "staging", "ids.csv")["scored"] == 1
    told(lockgate, "join", "staging", "joined")
    [file] = (home / "joined").glob("*/joined.parquet")
    found = {(row["id"], row["row"]): row["label"] for row in pq.read_table(file, partitioning=None).to_pylist()}
    assert found == {(first["id"], 0): 1.0, **{(several["id"], place): float(place != 1) for place in range(3)}}
