"""The record of scores: what was answered is on record, once, whatever happens to the service or the database."""

import asyncio
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import create_engine, text
from tests.lockgate.releases import NAME, Keys
from tests.lockgate.serving_harness import EXAMPLE, Served, command, release, serving
from tests.lockgate.serving_load import Load, load, post

from lockgate.errors import LockgateError
from lockgate.policy import RequestPart
from lockgate.releasing.registry import Registry
from lockgate.serving.contract import Column
from lockgate.serving.described import Described
from lockgate.serving.record import Recorder, RecordFull, read_journal
from lockgate.serving.sinks import COLUMNS, ParquetFolder, SqlTable

pytest_plugins = ("tests.lockgate.release_fixtures", "tests.lockgate.serving_postgres")

QUICKLY = ("--record-every", "0.2")


def recorded(folder: Path) -> list[dict[str, Any]]:
    """Return every row of a folder of Parquet files."""
    files = sorted(folder.glob("day=*/*.parquet"))
    tables = [pq.read_table(file, partitioning=None) for file in files]
    return pa.concat_tables(tables, promote_options="default").to_pylist() if files else []


def test_every_score_is_on_record_with_its_request_its_release_and_its_time(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    build = release(registry, keys, tmp_path, 7)
    words = command(registry, keys, tmp_path / "cache", "--record", str(tmp_path / "record"), *QUICKLY)
    with serving(words, tmp_path / "log") as served:
        one = served.predict({**EXAMPLE, "kind": "é\n"})
        two = served.predict([EXAMPLE, {**EXAMPLE, "x": 3}])
        served.http.post("/v1/predict", json={"x": "refused"})
        served.until(lambda: len(recorded(tmp_path / "record")) == 3)
        served.until(lambda: served.metric("lockgate_record_bytes") == 0)
    rows = sorted(recorded(tmp_path / "record"), key=lambda row: (row["time"], row["row"]))
    assert [(row["id"], row["row"]) for row in rows] == [(one["id"], 0), (two["id"], 0), (two["id"], 1)]
    assert {(row["release"], row["build"], row["probability"]) for row in rows} == {(f"{NAME}@v7.0.0", build, 0.007)}
    assert json.loads(rows[0]["request"]) == {**EXAMPLE, "kind": "é\n"}
    assert [json.loads(row["request"])["x"] for row in rows[1:]] == [EXAMPLE["x"], 3]
    assert [row["when"] for row in rows] == [datetime.fromisoformat(EXAMPLE["when"])] * 3
    assert [(row["kind"], row["x"]) for row in rows] == [("é\n", EXAMPLE["x"]), (None, EXAMPLE["x"]), (None, 3.0)]
    assert all(row["time"].utcoffset() == timedelta() and 0 < row["latency_ms"] < 60_000 for row in rows)
    assert {file.parent.name for file in (tmp_path / "record").glob("*/*.parquet")} <= {
        f"day={row['time'].date()}" for row in rows
    }


@pytest.mark.parametrize("where", ["folder", "sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_a_killed_service_loses_no_score_that_it_answered(
    registry: Registry, keys: Keys, tmp_path: Path, where: str, request: pytest.FixtureRequest
) -> None:
    release(registry, keys, tmp_path, 7)
    record = {"folder": str(tmp_path / "record"), "sqlite": f"sqlite:///{tmp_path}/record.sqlite"}.get(where)
    record = record or request.getfixturevalue("postgres")
    words = command(registry, keys, tmp_path / "cache", "--record", record, *QUICKLY)
    body = post("/v1/predict", json.dumps(EXAMPLE).encode())

    def ids() -> list[str]:
        if where == "folder":
            return [row["id"] for row in recorded(tmp_path / "record")]
        with create_engine(record).connect() as connection:
            return [row[0] for row in connection.execute(text("SELECT id FROM lockgate_scores"))]

    def kill_in_the_middle(served: Served) -> list[str]:
        seen = Load()

        def enough(now: Load) -> bool:
            nonlocal seen
            seen = now
            if len(now.statuses) == 600:
                served.process.kill()
            return False

        asyncio.run(load(served.port, [body], 4, enough))
        served.process.wait()
        return [json.loads(one)["id"] for one in seen.bodies]

    with serving(words, tmp_path / "log") as served:
        answered = kill_in_the_middle(served)
    with serving(words, tmp_path / "log") as served:
        served.until(lambda: served.metric("lockgate_record_bytes") == 0)
    found = ids()
    assert len(answered) >= 600
    assert len(found) == len(set(found))
    assert set(answered) <= set(found)
    assert len(found) <= len(answered) + 4  # what was recorded when the answers were cut off


def test_with_the_database_away_requests_are_shed_when_the_record_is_full_and_taken_again_after(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    release(registry, keys, tmp_path, 7)
    record = f"sqlite:///{tmp_path}/absent/record.sqlite?secret=hidden-in-the-url"
    more = ["--record", record, *QUICKLY, "--record-limit", "3000"]
    with serving(command(registry, keys, tmp_path / "cache", *more), tmp_path / "log") as served:
        answers = [served.http.post("/v1/predict", json=EXAMPLE) for _ in range(30)]
        statuses = [answer.status_code for answer in answers]
        assert statuses == sorted(statuses)
        assert set(statuses) == {200, 503}
        assert "cannot be recorded" in answers[-1].json()["error"]
        assert answers[-1].headers["retry-after"]
        problem = served.until(lambda: served.ready()["problems"].get("record"))
        assert "cannot be delivered" in problem["what"]
        assert served.metric("lockgate_record_refused_total") == statuses.count(503)
        assert "hidden-in-the-url" not in served.log.read_text() + served.http.get("/readyz").text
        (tmp_path / "absent").mkdir()
        served.until(lambda: served.http.post("/v1/predict", json=EXAMPLE).status_code == 200)
        assert not served.ready()["degraded"]
    [database] = (tmp_path / "absent").glob("record.sqlite*")
    with create_engine(f"sqlite:///{database}").connect() as connection:
        ids = {row[0] for row in connection.execute(text("SELECT id FROM lockgate_scores"))}
    assert ids >= {answer.json()["id"] for answer in answers if answer.status_code == 200}


LINE = {"id": "a", "release": "r", "build": "b", "probabilities": [0.5]}


class Blocked:
    """A place that takes nothing until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.rows: list[Any] = []

    def deliver(self, name: str, rows: Any, known: Any) -> None:
        if not self.open.is_set():
            raise ConnectionError(name)
        self.rows += rows


def test_a_request_may_wait_for_room(tmp_path: Path) -> None:
    place = Blocked()
    recorder = Recorder(place, tmp_path, limit=250, policy="wait", every=0.01)

    async def fill() -> None:
        await recorder.add(LINE, b"[{}]")
        await recorder.add(LINE, b"[{}]")
        third = asyncio.create_task(recorder.add(LINE, b"[{}]"))
        done, _ = await asyncio.wait([third], timeout=0.2)
        assert not done
        place.open.set()
        await third

    asyncio.run(fill())
    recorder.close()
    assert len(place.rows) == 3


def test_the_journal_of_a_running_service_is_not_shared(tmp_path: Path) -> None:
    recorder = Recorder(Blocked(), tmp_path)
    with pytest.raises(LockgateError, match="is used by another running service"):
        Recorder(Blocked(), tmp_path)
    recorder.close()


def test_a_line_that_was_cut_off_is_left_out_and_the_rest_is_read(tmp_path: Path) -> None:
    place = Blocked()
    recorder = Recorder(place, tmp_path)
    asyncio.run(recorder.add(LINE, b"[{}]"))
    recorder.close()
    [journal] = [path for path in tmp_path.glob("*.jsonl") if path.stat().st_size]
    journal.write_bytes(journal.read_bytes() * 2 + b'{"answer":{"id":"half')
    assert [row[0] for row in read_journal(journal)] == ["a", "a"]


def test_a_full_disk_refuses_and_leaves_the_journal_readable(tmp_path: Path) -> None:
    """The limit on the size of a file stands for a disk that takes no more."""
    import resource
    import signal

    recorder = Recorder(Blocked(), tmp_path, every=1000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    asyncio.run(recorder.add(LINE, b"[{}]"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(RecordFull):
            asyncio.run(recorder.add(LINE, b"[{}]"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    asyncio.run(recorder.add({**LINE, "id": "b"}, b"[{}]"))
    recorder.close()
    [journal] = [path for path in tmp_path.glob("*.jsonl") if path.stat().st_size]
    assert [row[0] for row in read_journal(journal)] == ["a", "b"]


WHEN = "2026-11-25T23:59:59.500000+00:00"
DESCRIBED = Described(
    (Column("x", "number"), Column("when", "timestamp"), Column("id", "string", optional=True)),
    (RequestPart("when", "date"), RequestPart("id")),
)
REQUEST = '{"x":0.5,"when":"2026-01-02T03:04:05","id":"é"}'


def row(answer: str = "a", number: int = 0, time: str = WHEN, build: str = "b" * 64, request: str = REQUEST) -> Any:
    return (answer, number, time, "delay@v1.0.0", build, 0.5, request, 1.5)


def test_a_parquet_file_appears_whole_in_the_folder_of_its_day_with_typed_columns(tmp_path: Path) -> None:
    rows = [row(), row(number=1, time="2026-11-26T00:00:00.000000+00:00"), row("c", build="unknown")]
    for _ in range(2):  # a delivery that was cut off is made again
        ParquetFolder(str(tmp_path / "record")).deliver("1", rows, {"b" * 64: DESCRIBED})
    files = sorted((tmp_path / "record").glob("*/*"))
    assert [file.relative_to(tmp_path / "record").as_posix() for file in files] == [
        "day=2026-11-25/1-bbbbbbbbbbbb.parquet",
        "day=2026-11-25/1-unknown.parquet",
        "day=2026-11-26/1-bbbbbbbbbbbb.parquet",
    ]
    first, other = (pq.read_table(file, partitioning=None) for file in files[:2])
    assert set(COLUMNS) < set(other.column_names)
    [one] = first.to_pylist()
    assert (one["x"], one["request_id"], one["date"].isoformat()) == (0.5, "é", "2026-01-02")
    assert (one["time"].isoformat(), one["request"]) == (WHEN, REQUEST)


OLD = "CREATE TABLE lockgate_scores (id TEXT NOT NULL, row INTEGER NOT NULL, time TEXT, release TEXT, build TEXT, "
OLD += "probability FLOAT, request TEXT, PRIMARY KEY (id, row))"


@pytest.mark.parametrize("where", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_a_table_of_before_gets_its_new_columns_in_place_and_loses_nothing(
    tmp_path: Path, where: str, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/r.sqlite" if where == "sqlite" else request.getfixturevalue("postgres")
    engine = create_engine(url)
    with engine.begin() as connection:
        for table in ("lockgate_scores", "lockgate_builds"):
            connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
        connection.execute(text(OLD.replace(" row ", ' "row" ').replace(", row)", ', "row")')))
        old = f"INSERT INTO lockgate_scores VALUES ('o', 0, '{WHEN}', 'r@v1.0.0', 'x', 0.25, '{{}}')"
        connection.execute(text(old))
    later = Described((Column("x", "string"), Column("when", "timestamp"), Column("n", "integer")))
    known = {"b" * 64: DESCRIBED, "c" * 64: later}
    for _ in range(2):
        SqlTable(url).deliver("1", [row(), row(number=1)], known)
    SqlTable(url).deliver("2", [row("z", build="c" * 64, request='{"x":"s","when":"2026-01-02T03:04","n":7}')], known)
    SqlTable(url).deliver("3", [row("y", build="nobody knows")], known)
    with engine.connect() as connection:
        found = connection.execute(text('SELECT * FROM lockgate_scores ORDER BY id, "row"')).mappings().all()
        builds = connection.execute(text("SELECT count(*) FROM lockgate_builds")).scalar()
    assert [(one["id"], one["row"], one["x"], one["n"]) for one in found] == [
        ("a", 0, 0.5, None),
        ("a", 1, 0.5, None),
        ("o", 0, None, None),
        ("y", 0, None, None),
        ("z", 0, None, 7),  # its x is text, for which there is no column: it is in the JSON
    ]
    assert found[2]["probability"] == 0.25
    assert (found[0]["request_id"], str(found[0]["date"]), found[0]["latency_ms"]) == ("é", "2026-01-02", 1.5)
    assert builds == 2
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE lockgate_scores"))
    engine.dispose()


def test_what_is_older_than_the_policy_keeps_it_is_removed(tmp_path: Path) -> None:
    at = [f"2020-11-{day}T12:00:00.000000+00:00" for day in (20, 23, 24)]
    rows = [row(str(number), time=time) for number, time in enumerate(at)]
    folder, table = ParquetFolder(str(tmp_path / "record")), SqlTable(f"sqlite:///{tmp_path}/r.sqlite")
    for sink in (folder, table):
        sink.deliver("1", rows, {})
        sink.expire(datetime(2020, 11, 23, 18, tzinfo=UTC))
    assert sorted(one.name for one in (tmp_path / "record").iterdir()) == ["day=2020-11-23", "day=2020-11-24"]
    with table.engine.connect() as connection:
        assert connection.execute(text("SELECT id FROM lockgate_scores")).scalars().all() == ["2"]
    recorder = Recorder(folder, tmp_path / "journals", every=0.01)
    recorder.know("b", Described((), (), timedelta(days=1)))
    deadline = time.monotonic() + 60
    while any((tmp_path / "record").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    recorder.close()
    assert not any((tmp_path / "record").iterdir())


def test_a_build_that_is_described_stays_so_for_what_a_crash_left(tmp_path: Path) -> None:
    place = Blocked()
    recorder = Recorder(place, tmp_path, every=1000)
    recorder.know("b", DESCRIBED)
    asyncio.run(recorder.add(LINE, REQUEST.encode().join((b"[", b"]")), 2.5))
    recorder.close()
    again = Recorder(ParquetFolder(str(tmp_path / "record")), tmp_path, every=0.01)
    again.close()
    [one] = recorded(tmp_path / "record")
    assert (one["latency_ms"], one["x"], one["date"].isoformat()) == (2.5, 0.5, "2026-01-02")
