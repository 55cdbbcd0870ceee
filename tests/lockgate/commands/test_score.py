"""Batch scoring: right rows in the right place, once, whatever happened on the way."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from tests.lockgate.releases import NAME, Keys
from tests.lockgate.serving_builds import ROOT
from tests.lockgate.serving_harness import PATIENCE, command, eventually, release, serving

from lockgate.cli import main
from lockgate.releasing.registry import Registry

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures", "tests.lockgate.serving_postgres")

BEGIN = datetime(2026, 1, 1)  # noqa: DTZ001 - a clock on the wall
MOMENT = "2026-02-03T04:05:06+00:00"


def rows(count: int, kind: str = "x") -> pa.Table:
    """Return requests that the toy answers with their own x / 1000, with a key and a column nobody asked for."""
    return pa.table(
        {
            "number": pa.array(range(count), pa.int32()),
            "place": pa.array([f"p{n % 3}" for n in range(count)], pa.large_string()),
            "x": pa.array([n % 1000 for n in range(count)], pa.int16()),
            "when": pa.array([BEGIN + timedelta(minutes=n) for n in range(count)], pa.timestamp("ms")),
            "kind": pa.array([kind] * count, pa.large_string()),
            "colour": ["red"] * count,
        }
    )


@pytest.fixture
def words(registry: Registry, keys: Keys, tmp_path: Path) -> list[str]:
    """The beginning of a command that scores with toy release 7, and its options."""
    release(registry, keys, tmp_path, 7)
    options = ["--store", registry.store.url, "--public-key", str(keys.verifier.public_key)]
    return [*options, "--cache", str(tmp_path / "cache"), "--processes", "2", "--time", MOMENT]


def run(words: list[str], *more: object, code: int = 0) -> str:
    """Run the command in this process; return what it said."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        assert main(["score", "staging", *map(str, more), *words]) == code, said.getvalue()
    return said.getvalue()


def scores(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(part) for part in sorted(folder.glob("part-*.parquet"))])


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir())}


def test_every_row_has_its_key_its_probability_and_what_gave_it(
    registry: Registry, words: list[str], tmp_path: Path
) -> None:
    pq.write_table(rows(1000), tmp_path / "in.parquet", row_group_size=300)
    told = run(words, tmp_path / "in.parquet", tmp_path / "out", "--key", "place,number", "--rows", 128)
    assert "1,000 rows scored" in told
    table = scores(tmp_path / "out")
    assert table.column_names == ["place", "number", "probability", "release", "build", "scored_at"]
    assert table.column("number").to_pylist() == list(range(1000))
    assert table.column("place").to_pylist() == [f"p{n % 3}" for n in range(1000)]
    assert table.column("probability").to_pylist() == [n / 1000 for n in range(1000)]
    assert set(table.column("release").to_pylist()) == {f"{NAME}@v7.0.0"}
    assert set(table.column("build").to_pylist()) == {registry.release("v7.0.0").release.manifest}
    assert set(table.column("scored_at").to_pylist()) == {MOMENT}


def test_a_second_run_writes_nothing(words: list[str], tmp_path: Path) -> None:
    pq.write_table(rows(500), tmp_path / "in.parquet")
    arguments = (tmp_path / "in.parquet", tmp_path / "out", "--rows", 100)
    run(words, *arguments)
    before = contents(tmp_path / "out")
    assert "0 rows scored" in run(words, *arguments)
    assert contents(tmp_path / "out") == before


@pytest.mark.slow
def test_a_killed_run_is_completed_by_the_next_and_equals_an_undisturbed_one(words: list[str], tmp_path: Path) -> None:
    pq.write_table(rows(600, kind="slow"), tmp_path / "in.parquet")
    arguments = [str(tmp_path / "in.parquet"), str(tmp_path / "out"), "--rows", "20"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lockgate", "score", "staging", *arguments, *words],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    eventually(lambda: len(list((tmp_path / "out").glob("part-*"))) >= 4, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = len(list((tmp_path / "out").glob("part-*")))
    assert 4 <= there < 30
    assert f"{600 - 20 * there} rows scored" in run(words, *arguments)
    run(words, arguments[0], tmp_path / "undisturbed", "--rows", 20)
    left, right = ({p.name: p.read_bytes() for p in (tmp_path / one).glob("part-*")} for one in ("out", "undisturbed"))
    assert left == right


def test_the_service_and_a_file_give_the_same_answer_or_refuse_the_same_rows(
    registry: Registry, keys: Keys, words: list[str], tmp_path: Path
) -> None:
    """The rows are drawn by a generator, whose seed is fixed; the service is a real one."""
    draw = random.Random(20260101)
    asked = [
        {
            "x": draw.choice([draw.uniform(-2000, 2000), draw.randint(0, 999), 30.0]),
            "when": draw.choice(["2026-01-02T03:04:05", "2026-01-02T03:04", "2026-01-02T03:04:05+01:00"]),
            "kind": draw.choice(["x", "x", "NA", "null", "y" * 21]),
            "count": draw.choice([None, 3, 2.5, 4.0]),
            "flag": draw.choice([None, True, False]),
        }
        for _ in range(60)
    ]
    with serving(command(registry, keys, tmp_path / "cache"), tmp_path / "log") as served:
        told = [served.http.post("/v1/predict", json=row) for row in asked]
    answers = [answer.json()["probabilities"][0] if answer.status_code == 200 else None for answer in told]
    assert {answer.status_code for answer in told} == {200, 422}
    good = [row for row, answer in zip(asked, answers, strict=True) if answer is not None]
    for name in ("in.parquet", "in.csv"):
        write(good, tmp_path / name)
        run(words, tmp_path / name, tmp_path / f"out-{name[3:]}")
        found = scores(tmp_path / f"out-{name[3:]}").column("probability").to_pylist()
        assert found == [answer for answer in answers if answer is not None]
        bad = [row for row, answer in zip(asked, answers, strict=True) if answer is None]
        for number, row in enumerate(bad[:3]):  # each starts a process; test_columns.py tries many more
            write([row], tmp_path / "bad" / f"{number}-{name}")
            run(words, tmp_path / "bad" / f"{number}-{name}", tmp_path / "none", code=1)


def write(asked: list[dict[str, Any]], file: Path) -> None:
    """Write requests as a table: numbers as float64, times with their zone where they have one."""
    file.parent.mkdir(exist_ok=True)
    if file.suffix == ".csv":
        lines = [",".join("" if value is None else str(value) for value in row.values()) for row in asked]
        file.write_text("\n".join([",".join(asked[0]), *lines]) + "\n")
        return
    zoned = any("+" in row["when"] for row in asked)
    columns: dict[str, Any] = {name: [row[name] for row in asked] for name in ("kind", "flag")}
    columns["x"] = [float(row["x"]) for row in asked]
    columns["count"] = pa.array([float("nan") if row["count"] is None else row["count"] for row in asked], pa.float64())
    times = [datetime.fromisoformat(row["when"]) for row in asked]
    columns["when"] = pa.array(times, pa.timestamp("us", "UTC" if zoned else None))
    pq.write_table(pa.table(columns), file)


def test_csv_gives_the_same_scores(words: list[str], tmp_path: Path) -> None:
    table = rows(1000).drop_columns(["colour"])
    pa.csv.write_csv(table, tmp_path / "in.csv")
    pq.write_table(table, tmp_path / "in.parquet")
    run(words, tmp_path / "in.csv", tmp_path / "from-csv", "--key", "number", "--rows", 300)
    run(words, tmp_path / "in.parquet", tmp_path / "from-parquet", "--key", "number", "--rows", 300)
    one, other = scores(tmp_path / "from-csv"), scores(tmp_path / "from-parquet")
    assert one.column("probability").equals(other.column("probability"))
    assert one.column("number").to_pylist() == other.column("number").to_pylist()


def test_without_one_file_the_output_is_a_folder_whatever_its_name_and_that_is_said(
    words: list[str], tmp_path: Path
) -> None:
    pq.write_table(rows(10), tmp_path / "in.parquet")

    told = run(words, tmp_path / "in.parquet", tmp_path / "out.parquet")

    assert f"the folder {tmp_path}/out.parquet" in told
    assert len(scores(tmp_path / "out.parquet")) == 10


def test_a_file_that_was_named_is_written_and_going_on_is_possible(words: list[str], tmp_path: Path) -> None:
    pq.write_table(rows(1000), tmp_path / "in.parquet")
    run(words, tmp_path / "in.parquet", tmp_path / "folder")
    for name in ("out.csv", "out.parquet"):
        told = run(words, tmp_path / "in.parquet", tmp_path / name, "--one-file")
        assert str(tmp_path / name) in told
        read = pa.csv.read_csv if name.endswith(".csv") else pq.read_table
        found = read(tmp_path / name)
        assert found.column("probability").to_pylist() == scores(tmp_path / "folder").column("probability").to_pylist()
        (tmp_path / name).unlink()
        assert run(words, tmp_path / "in.parquet", tmp_path / name, "--one-file").startswith("0 rows scored")
        assert read(tmp_path / name) == found


def test_without_a_key_a_row_is_named_by_its_file_and_place(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(rows(5), tmp_path / "in" / "a.parquet")
    pq.write_table(rows(3), tmp_path / "in" / "b.parquet")
    run(words, tmp_path / "in", tmp_path / "out", "--rows", 2)
    table = scores(tmp_path / "out")
    names = list(zip(table.column("file").to_pylist(), table.column("row").to_pylist(), strict=True))
    assert names == [*(("a.parquet", n) for n in range(5)), *(("b.parquet", n) for n in range(3))]


def broken(change: Callable[[pa.Table], pa.Table]) -> pa.Table:
    return change(rows(10))


def put(name: str, values: list[Any], kind: pa.DataType | None = None) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        return table.set_column(table.column_names.index(name), name, pa.array(values, kind))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop_columns(["x"]), "has no column x"),
        (lambda table: table.drop_columns(["number"]), "has no column number for the key"),
        (put("x", ["a"] * 10), "x: "),
        (put("x", [1.0] * 4 + [None] + [1.0] * 5), "x: is missing in row 4"),
        (put("x", [float("nan")] * 10), "x: is missing in row 0"),
        (put("when", [None] * 10, pa.timestamp("us")), "when: is missing in row 0"),
        (put("when", [True] * 10), "when: "),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_the_column_and_the_row(
    words: list[str], tmp_path: Path, change: Callable[[pa.Table], pa.Table], said: str
) -> None:
    pq.write_table(change(rows(10)), tmp_path / "in.parquet")
    assert said in run(words, tmp_path / "in.parquet", tmp_path / "out", "--key", "number", code=1)
    assert list((tmp_path / "out").glob("*part*")) == []


def test_missing_values_of_optional_columns_are_missing_to_the_model(words: list[str], tmp_path: Path) -> None:
    table = rows(10).drop_columns(["kind"])
    pq.write_table(table, tmp_path / "in.parquet")
    run(words, tmp_path / "in.parquet", tmp_path / "out")
    assert scores(tmp_path / "out").column("probability").to_pylist() == [0.007] * 10


def test_a_file_that_is_no_table_is_refused(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "in.parquet").write_bytes(b"PAR1 but no more")
    assert "in.parquet: " in run(words, tmp_path / "in.parquet", tmp_path / "out", code=1)
    (tmp_path / "in.csv").write_text("x,when\n1,yesterday\n")
    assert "in.csv: " in run(words, tmp_path / "in.csv", tmp_path / "out2", code=1)
    assert "there is no file" in run(words, tmp_path / "nothing", tmp_path / "out3", code=1)


def test_an_output_with_other_scores_is_not_touched(
    registry: Registry, keys: Keys, words: list[str], tmp_path: Path
) -> None:
    pq.write_table(rows(300), tmp_path / "in.parquet")
    arguments = (tmp_path / "in.parquet", tmp_path / "out", "--rows", 100)
    run(words, *arguments)
    before = contents(tmp_path / "out")
    assert "holds scores of another job" in run(words, *arguments, "--key", "number", code=1)
    pq.write_table(rows(301), tmp_path / "in.parquet")
    assert "the input changed since" in run(words, *arguments, code=1)
    pq.write_table(rows(300), tmp_path / "in.parquet")
    release(registry, keys, tmp_path, 8)
    assert "holds scores of another job" in run(words, *arguments, code=1)
    assert contents(tmp_path / "out") == before


def test_a_model_that_dies_ends_the_run_with_a_message(words: list[str], tmp_path: Path) -> None:
    pq.write_table(rows(10, kind="die"), tmp_path / "in.parquet")
    assert "its process ended" in run(words, tmp_path / "in.parquet", tmp_path / "out", code=1)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database with a table ``requests`` of 1,000 rows, shuffled."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/data.sqlite"
        schema = ""
    else:
        url = request.getfixturevalue("postgres")
        schema = f"s{uuid.uuid4().hex}"
        with create_engine(url).begin() as connection:
            connection.execute(text(f"CREATE SCHEMA {schema}"))
        url += f"&options=-csearch_path%3D{schema}"
    table = rows(1000).to_pylist()
    table.sort(key=lambda row: row["number"] * 7919 % 1000)
    with create_engine(url).begin() as connection:
        kind = "TIMESTAMP" if schema else "TEXT"
        connection.execute(
            text(f'CREATE TABLE requests (number INTEGER, place TEXT, x NUMERIC, "when" {kind}, kind TEXT)')
        )
        wanted = [{**row, "when": str(row["when"])} if not schema else row for row in table]
        connection.execute(
            text('INSERT INTO requests (number, place, x, "when", kind) VALUES (:number, :place, :x, :when, :kind)'),
            wanted,
        )
    return url


def fetched(url: str, query: str) -> list[Any]:
    with create_engine(url).connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_a_query_is_scored_into_a_table_once(database: str, words: list[str]) -> None:
    arguments = [database, database, "--query", "SELECT * FROM requests WHERE number < 900;", "--key", "number,place"]
    arguments += ["--table", "scores", "--rows", "128"]
    assert "900 rows scored" in run(words, *arguments)
    found = fetched(database, "SELECT number, place, probability, release, scored_at FROM scores ORDER BY number")
    assert found == [(n, f"p{n % 3}", n / 1000, f"{NAME}@v7.0.0", MOMENT) for n in range(900)]
    assert "0 rows scored" in run(words, *arguments)
    assert fetched(database, "SELECT count(*) FROM scores") == [(900,)]


@pytest.mark.slow
def test_a_query_killed_half_way_is_completed_by_the_next_run(database: str, words: list[str]) -> None:
    with create_engine(database).begin() as connection:
        connection.execute(text("UPDATE requests SET kind = 'slow'"))
    arguments = [database, database, "--query", "SELECT * FROM requests", "--key", "number", "--table", "scores"]
    arguments += ["--rows", "25"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lockgate", "score", "staging", *arguments, *words],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )

    def begun() -> bool:
        try:
            return bool(fetched(database, "SELECT count(*) FROM scores_parts")[0][0] >= 3)
        except SQLAlchemyError:  # the table is not there yet
            return False

    eventually(begun, process)
    process.kill()
    process.wait()
    [(there,)] = fetched(database, "SELECT count(*) FROM scores")
    assert 0 < there < 1000
    assert f"{1000 - there} rows scored" in run(words, *arguments).replace(",", "")
    assert fetched(database, "SELECT count(*), count(DISTINCT number) FROM scores") == [(1000, 1000)]


def test_another_release_adds_its_own_scores_to_the_table(
    registry: Registry, keys: Keys, words: list[str], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/out.sqlite"
    pq.write_table(rows(100, kind="plain"), tmp_path / "in.parquet")
    arguments = (tmp_path / "in.parquet", url, "--table", "scores", "--key", "number")
    run(words, *arguments)
    release(registry, keys, tmp_path, 8)
    assert "100 rows scored" in run(words, *arguments)
    found = fetched(url, "SELECT release, count(*), min(probability) FROM scores GROUP BY release ORDER BY release")
    assert found == [(f"{NAME}@v7.0.0", 100, 0.007), (f"{NAME}@v8.0.0", 100, 0.008)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sqlite:///x.db", "out"], "is read with --query"),
        (["in.parquet", "out", "--query", "SELECT 1"], "--query is for a database"),
        (["in.parquet", "out", "--table", "t"], "--table is for a database"),
        (["in.parquet", "sqlite:///x.db"], "name it with --table"),
    ],
)
def test_options_that_do_not_fit_are_a_usage_error(
    words: list[str], tmp_path: Path, arguments: list[str], said: str
) -> None:
    pq.write_table(rows(1), tmp_path / "in.parquet")
    arguments = [str(tmp_path / one) if one in {"in.parquet", "out"} else one for one in arguments]
    assert said in run(words, *arguments, code=2)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_input(words: list[str], tmp_path: Path) -> None:
    program = "import resource, sys\nfrom lockgate.cli import main\ncode = main(sys.argv[1:])\n"
    program += "print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\nsys.exit(code)"

    def peak(count: int) -> int:
        big = tmp_path / f"{count}.parquet"
        pq.write_table(rows(count), big, row_group_size=20_000)
        command = [sys.executable, "-c", program, "score", "staging", str(big), str(tmp_path / f"out{count}")]
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        told = subprocess.run([*command, "--rows", "20000", *words], env=environment, capture_output=True, check=True)
        return int(told.stdout.split(b"peak ")[1])

    assert peak(600_000) < peak(60_000) + 60_000  # kB; the longer table itself is 30 MB


@pytest.mark.slow
def test_s3_to_s3_equals_folder_to_folder(
    seaweed: Any, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.seaweed import BUCKET

    from lockgate.serving.inputs import filesystem

    for variable, value in seaweed.environment("releaser").items():
        monkeypatch.setenv(variable, value)
    there = f"s3://{BUCKET}/{tmp_path.name}"
    (tmp_path / "in").mkdir()
    system, root = filesystem(f"{there}/in")
    for name in ("a", "b"):
        pq.write_table(rows(300), tmp_path / "in" / f"{name}.parquet")
        with system.open_output_stream(f"{root}/{name}.parquet") as file:
            file.write((tmp_path / "in" / f"{name}.parquet").read_bytes())
    run(words, tmp_path / "in", tmp_path / "out", "--rows", 100)
    assert "600 rows scored" in run(words, f"{there}/in", f"{there}/out", "--rows", 100)
    assert "0 rows scored" in run(words, f"{there}/in", f"{there}/out", "--rows", 100)
    system, root = filesystem(f"{there}/out")
    for part in sorted((tmp_path / "out").glob("part-*")):
        with system.open_input_file(f"{root}/{part.name}") as file:
            assert pq.read_table(file).equals(pq.read_table(part))


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes_though_a_worker_is_killed(words: list[str], tmp_path: Path) -> None:
    """Three workers of a real scheduler; one is killed when the first pieces are there."""
    (tmp_path / "in").mkdir()
    for number in range(9):
        pq.write_table(rows(200, kind="slow"), tmp_path / "in" / f"{number}.parquet")
    run(words, tmp_path / "in", tmp_path / "here", "--rows", 50)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "DASK_DISTRIBUTED__WORKER__DAEMON": "False"}
    file = tmp_path / "scheduler.json"
    quiet: Any = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    processes = [subprocess.Popen([*dask, "--no-dashboard", "--scheduler-file", str(file)], **quiet)]
    try:
        eventually(file.is_file, processes[0])
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1"]
        worker += ["--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path)]
        processes += [subprocess.Popen(worker, **quiet) for _ in range(3)]
        address = json.loads(file.read_text())["address"]
        arguments = [str(tmp_path / "in"), str(tmp_path / "there"), "--rows", "50", "--scheduler", address]
        job = subprocess.Popen(
            [sys.executable, "-m", "lockgate", "score", "staging", *arguments, *words], env=environment
        )
        eventually(lambda: len(list((tmp_path / "there").glob("part-*"))) >= 3, job)
        processes[1].kill()
        assert job.wait(5 * PATIENCE) == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()
    one, other = ({p.name: p.read_bytes() for p in (tmp_path / at).glob("part-*")} for at in ("here", "there"))
    assert len(one) == 36
    assert one == other


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_said_so(words: list[str], tmp_path: Path) -> None:
    pq.write_table(rows(10), tmp_path / "in.parquet")
    said = run(words, tmp_path / "in.parquet", tmp_path / "out", "--scheduler", "tcp://127.0.0.1:9", code=3)
    assert "no scheduler answers at tcp://127.0.0.1:9" in said
