"""The record of scores: what was answered is on record, once, whatever happens to the service or the database."""

import asyncio
import json
import threading
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
from lockgate.releasing.registry import Registry
from lockgate.serving.record import COLUMNS, ParquetFolder, Recorder, RecordFull, read_journal

pytest_plugins = ("tests.lockgate.release_fixtures", "tests.lockgate.serving_postgres")

QUICKLY = ("--record-every", "0.2")


def recorded(folder: Path) -> list[dict[str, Any]]:
    """Return every row of a folder of Parquet files."""
    files = sorted(folder.glob("*.parquet"))
    return pa.concat_tables([pq.read_table(file) for file in files]).to_pylist() if files else []


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
    assert all(row["time"].endswith("+00:00") for row in rows)


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

    def deliver(self, name: str, rows: Any) -> None:
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


def test_a_parquet_file_appears_whole(tmp_path: Path) -> None:
    ParquetFolder(tmp_path / "record").deliver("1", [("a", 0, "t", "r", "b", 0.5, "{}")])
    [file] = (tmp_path / "record").iterdir()
    assert pq.read_table(file).column_names == list(COLUMNS)
