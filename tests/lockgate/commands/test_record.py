"""Forgetting a request, and keeping the record in order, wherever it is and while a service writes it."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import create_engine, text
from tests.lockgate.frozen import FROZEN
from tests.lockgate.recorded import ANCIENT, BUILD, PAST, fill

from lockgate.monitoring.joined import joined
from lockgate.serving.contract import read_contract
from lockgate.serving.described import described
from lockgate.serving.forgotten import fingerprint
from lockgate.serving.record import Recorder
from lockgate.serving.sinks import sink_of

if TYPE_CHECKING:
    from tests.seaweed import Seaweed

pytest_plugins = (
    "tests.seaweed",
    "tests.lockgate.release_fixtures",
    "tests.lockgate.recorded_home",
    "tests.lockgate.serving_postgres",
)
Run = Callable[..., tuple[int, str, str]]
KEY = f"date={PAST},count=3"
SECRET = b"0123456789abcdef0123456789abcdef"


@pytest.fixture
def secret(home: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    (home / "forget.key").write_bytes(SECRET + b"\n")
    monkeypatch.setenv("LOCKGATE_FORGET_KEY", str(home / "forget.key"))
    return SECRET


def ids(where: str) -> dict[str, Any]:
    """Return the answers on record, with their labels."""
    tables = joined(where, None, date(2000, 1, 1), date(2100, 1, 1))
    return {row["id"]: row["label"] for table in tables for row in table.to_pylist()}


def told(lockgate: Run, *words: str) -> dict[str, Any]:
    code, out, err = lockgate("record", *words, "--json")
    assert code == 0, err
    return json.loads(out)  # type: ignore[no-any-return]


def everything(folder: Path) -> bytes:
    """Return all that files hold, of Parquet its values, too."""
    parts = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    parts += [str(pq.read_table(path, partitioning=None).to_pylist()).encode() for path in folder.rglob("*.parquet")]
    return b"".join(parts)


def forgets(lockgate: Run, home: Path, where: str) -> None:
    """Fill a record, add outcomes by key and by answer, and see one request go, whole."""
    fill(where, home)
    pq.write_table(pa.table({"date": [PAST, PAST], "count": [3, 4], "late": [1, 0]}), "by-key.parquet")
    pq.write_table(pa.table({"id": [f"{PAST}-3", f"{ANCIENT}-3"], "late": [0, 1]}), "by-id.parquet")
    for name in ("by-key", "by-id"):
        assert lockgate("outcomes", "add", "staging", f"{name}.parquet", "--record", where)[0] == 0
    before = ids(where)
    assert before[f"{PAST}-3"] == 0
    assert told(lockgate, "forget", "staging", "--record", where, "--key", KEY, "--dry-run")["scores"] == 1
    assert ids(where) == before
    done = told(lockgate, "forget", "staging", "--record", where, "--key", KEY)
    assert (done["scores"], done["outcomes"]) == (1, 2)
    after = ids(where)
    assert after == {name: label for name, label in before.items() if name != f"{PAST}-3"}
    mark = fingerprint(SECRET, "flight-delay", f'["{PAST}",3]')
    assert done["marks"] == [mark]
    assert set(sink_of(where).notes()) == {mark}
    again = told(lockgate, "forget", "staging", "--record", where, "--key", KEY)
    assert (again["scores"], again["outcomes"]) == (0, 0)


@pytest.mark.usefixtures("secret")
def test_a_request_is_forgotten_in_a_folder_and_in_sqlite(home: Path, lockgate: Run) -> None:
    forgets(lockgate, home, str(home / "record"))
    held = everything(home / "record")
    assert f"{PAST}-3".encode() not in held
    assert f"{PAST}-4".encode() in held
    assert SECRET not in held
    forgets(lockgate, home, f"sqlite:///{home}/r.sqlite")
    assert f"{PAST}-3".encode() not in (home / "r.sqlite").read_bytes()
    there = ("--record", f"sqlite:///{home}/r.sqlite")
    dry = told(lockgate, "tidy", "staging", *there, "--dry-run")
    assert (dry["expired"], len(ids(there[1]))) == (19, 19)
    assert told(lockgate, "tidy", "staging", *there)["expired"] == 19
    assert ids(f"sqlite:///{home}/r.sqlite") == {}  # all of it is older than 400 days


@pytest.mark.slow
@pytest.mark.usefixtures("secret")
def test_a_request_is_forgotten_in_a_bucket_and_in_postgresql(
    home: Path, lockgate: Run, seaweed: "Seaweed", postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    forgets(lockgate, home, "s3://models/forgetting")
    fill("s3://models/forgetting", home, (PAST,), journal="2")
    code, _, err = lockgate("record", "tidy", "staging", "--record", "s3://models/forgetting")
    assert code == 0, err
    assert ids("s3://models/forgetting") == {}
    forgets(lockgate, home, postgres)


@pytest.mark.usefixtures("secret")
def test_what_an_older_lockgate_wrote_is_forgotten_too(home: Path, lockgate: Run) -> None:
    """Flat files and rows whose columns are not typed say in their JSON whose request they hold."""
    where = home / "record"
    where.mkdir()
    old = pq.read_table(FROZEN / "record.parquet")
    requests = [f'{{"x":1,"when":"{PAST}T08:00:00","count":{number}}}' for number in (3, 4)]
    old = old.set_column(3, "release", [["flight-delay@v1.0.0"] * 2]).set_column(6, "request", [requests])
    pq.write_table(old, where / "1.parquet")
    told_of = described(home / "toy", read_contract(home / "toy").request)
    sink_of(f"sqlite:///{home}/r.sqlite").deliver("1", [(*row.values(), None) for row in old.to_pylist()], {})
    assert told_of.key
    for place in (str(where), f"sqlite:///{home}/r.sqlite"):
        assert told(lockgate, "forget", "staging", "--record", place, "--key", KEY)["scores"] == 1
        [table] = joined(place, None, date(2000, 1, 1), date(2100, 1, 1))
        assert table.column("row").to_pylist() == [1]


def test_a_running_service_that_has_the_secret_drops_what_its_journal_still_holds(
    home: Path, lockgate: Run, secret: bytes
) -> None:
    where = str(home / "record")
    fill(where, home, (ANCIENT,))
    recorder = Recorder(sink_of(where), home / "journals", every=1000, secret=secret)
    recorder.know(BUILD, described(home / "toy", read_contract(home / "toy").request))
    answer = {"release": "flight-delay@v7.0.0", "build": BUILD, "probabilities": [0.5, 0.5]}
    requests = b'[{"x":1,"when":"%s","count":3},{"x":1,"when":"%s","count":4}]'
    line = requests.replace(b"%s", f"{PAST}T08:00:00".encode())
    asyncio.run(recorder.add({**answer, "id": "before"}, line))
    assert told(lockgate, "forget", "staging", "--key", KEY)["scores"] == 0
    asyncio.run(recorder.add({**answer, "id": "after"}, line))  # whoever asks again is recorded again
    recorder.close()
    tables = joined(where, None, date(2026, 1, 1), date(2100, 1, 1))
    found = sorted((row["id"], row["row"]) for table in tables for row in table.to_pylist())
    assert found == [("after", 0), ("after", 1), ("before", 1)]


@pytest.mark.usefixtures("secret")
def test_the_files_of_past_days_are_put_together_and_read_as_before(home: Path, lockgate: Run) -> None:
    where = home / "record"
    today = datetime.now(UTC).date()
    days = (today - timedelta(days=9), today - timedelta(days=8))
    told_of = described(home / "toy", read_contract(home / "toy").request)
    for number in range(4):
        fill(str(where), home, days, each=5 * (number + 1), journal=str(number))
    pieces = {path.relative_to(where): path.read_bytes() for path in where.rglob("*.parquet")}
    before = list(joined(str(where), None, date(2000, 1, 1), date(2100, 1, 1)))
    assert told(lockgate, "tidy", "staging", "--dry-run")["files"] == len(pieces) == 8
    done = told(lockgate, "tidy", "staging")
    assert (done["files"], done["into"]) == (8, 2)
    [one, _] = where.rglob("*.parquet")
    assert list(joined(str(where), None, date(2000, 1, 1), date(2100, 1, 1))) == before
    returned = next(path for path in pieces if path.parent.name == one.parent.name)
    (where / returned).write_bytes(pieces[returned])  # a journal is delivered again
    assert list(joined(str(where), None, date(2000, 1, 1), date(2100, 1, 1))) == before
    fill(str(where), home, days, journal="9")
    assert told(lockgate, "tidy", "staging")["into"] == 2
    assert [len(list(folder.iterdir())) for folder in sorted(where.glob("day=*"))] in ([1, 2], [2, 1])
    rows = sum(table.num_rows for table in joined(str(where), None, date(2000, 1, 1), date(2100, 1, 1)))
    assert rows == sum(table.num_rows for table in before) + 20
    assert told_of.retention is not None
    fill(str(where), home, (ANCIENT,))
    old = pq.read_table(FROZEN / "record.parquet")
    for name, when in (("old", f"{ANCIENT}T00:00:00"), ("new", f"{days[0]}T00:00:00")):
        times = [f"{when}.000000+00:00"] * old.num_rows
        pq.write_table(old.set_column(2, "time", [times]), where / f"{name}.parquet")
    assert told(lockgate, "tidy", "staging", "--dry-run")["expired"] == 2
    assert told(lockgate, "tidy", "staging")["expired"] == 2
    assert [path.name for path in where.glob("*.parquet")] == ["new.parquet"]


def test_what_cannot_be_forgotten_is_said(home: Path, lockgate: Run) -> None:
    fill(str(home / "record"), home)
    (home / "short.key").write_text("short")
    (home / "good.key").write_bytes(SECRET)
    cases = [
        (("--key", KEY), "no secret"),
        (("--forget-key", "good.key"), "no request"),
        (("--key", KEY, "--forget-key", "absent.key"), "cannot read"),
        (("--key", KEY, "--forget-key", "short.key"), "5 characters"),
        (("--key", "cuont=3", "--forget-key", "good.key"), "did you mean 'count'"),
        (("--key", "count=3", "--forget-key", "good.key"), "lacks date"),
        (("--key", f"date={PAST},count=three", "--forget-key", "good.key"), "no key of this model"),
    ]
    for words, said in cases:
        code, _, err = lockgate("record", "forget", "staging", *words)
        assert (code, said in err) == (2, True), err
    assert len(ids(str(home / "record"))) == 20
    engine = create_engine(f"sqlite:///{home}/r.sqlite")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE other (x)"))
    engine.dispose()
    words = ("--record", f"sqlite:///{home}/r.sqlite", "--key", KEY, "--forget-key", "good.key")
    assert lockgate("record", "forget", "staging", *words, "--dry-run")[0] == 3
