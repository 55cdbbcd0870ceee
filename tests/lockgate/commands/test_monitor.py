"""``lockgate monitor`` on a real store and a real record: what it says, keeps and refuses."""

import json
import shutil
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.lockgate.monitoring import monitored
from tests.lockgate.monitoring.monitored import COLUMNS, FIRST, NAME, POLICY, RELEASE, rows
from tests.lockgate.releases import Keys, make_keys

from lockgate.cli import main
from lockgate.monitoring.kept import kept, newest
from lockgate.monitoring.outcome_store import new_addition, store_at
from lockgate.monitoring.reference import to_bytes
from lockgate.monitoring.schema import json_schema
from lockgate.releasing.environments import Environment
from lockgate.releasing.registry import Actor, Registry
from lockgate.serving.described import Described
from lockgate.serving.sinks import sink_of
from lockgate.store import open_store

PUBLISHED = Path(__file__).parents[3] / "docs" / "monitor.schema.json"
EACH = 60
UNTIL = "2026-03-25T06:00"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a policy, keys, a store whose production runs v1.0.0, and three weeks of scores with outcomes."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "lockgate.yaml").write_text(POLICY)
    keys = make_keys(folder)
    registry = _registry(folder, keys)
    build = folder / "build"
    build.mkdir()
    (build / "model.skops").write_bytes(b"PK\x05\x06" + bytes(18))
    (build / "reference.json").write_bytes(to_bytes(monitored.promise(folder, each=EACH)))
    when = datetime.combine(FIRST, datetime.min.time()).isoformat() + "+00:00"
    facts = {"commit": "0" * 40, "rebuild": {"level": "full"}, "gates": [], "metrics": {}}
    released, _ = registry.publish(build, "v1.0.0", facts, signer=keys.signer, actor=Actor("ana", when))
    Environment(registry, "production").append(released, keys.signer, Actor("ana", when), "promote")
    record(folder, rows(FIRST, 21, EACH, 2), released.release.manifest)
    return folder


def _registry(folder: Path, keys: Keys) -> Registry:
    return Registry(open_store(str(folder / "store"), create=True), NAME, keys.verifier)


def record(folder: Path, table: pa.Table, build: str) -> None:
    """Record scores as the service does, and their outcomes as `lockgate outcomes add` does."""
    key = monitored.policy().serving
    assert key is not None
    told = table.select(["carrier", "departure", "wind", "n"]).to_pylist()
    requests = [json.dumps({**one, "departure": one["departure"].isoformat()}) for one in told]
    times = [f"{one.isoformat(timespec='microseconds')}+00:00" for one in table["time"].to_pylist()]
    count = table.num_rows
    columns: list[Any] = [table["id"].to_pylist(), [0] * count, times, [RELEASE] * count, [build] * count]
    columns += [table["probability"].to_pylist(), requests, table["latency_ms"].to_pylist()]
    sink_of(str(folder / "record")).deliver("1", list(zip(*columns, strict=True)), {build: Described(COLUMNS, key.key)})
    add_outcomes(folder, table.slice(0, table.num_rows - 7 * EACH))


def add_outcomes(folder: Path, table: pa.Table) -> None:
    store = store_at(str(folder / "record/outcomes"))
    outcomes = table.select(["id", "row", "label"])
    store.append(new_addition(store, NAME, ["id", "row"], f"{table.num_rows:064x}", "a test"), outcomes)


def asked(folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    monkeypatch.chdir(folder)
    return main(["monitor", "production", "--record", "record", "--store", "store", "--until", UNTIL, *more])


def test_the_schema_is_made_from_the_classes(refresh_golden: bool) -> None:
    made = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if refresh_golden:
        PUBLISHED.write_text(made, encoding="utf-8")
    assert PUBLISHED.read_text(encoding="utf-8") == made


def test_the_json_has_its_schema_and_the_page_and_the_summary_say_the_same(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page, summary = tmp_path / "page.html", tmp_path / "summary.md"
    assert asked(project, monkeypatch, "--json", "--html", str(page), "--summary", str(summary)) == 0
    told = json.loads(capsys.readouterr().out)
    schema = json.loads(PUBLISHED.read_text())
    jsonschema.validate(told, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**told, "verdict": "fine"}, schema)
    assert told["schema"] == "lockgate.monitor/1"
    assert [one["verdict"] for one in told["findings"]] == ["calm", "calm", "not judged"]
    assert told["findings"][0]["parts"][0]["labelled"] == 7 * EACH
    html = page.read_text()
    for text in (html, summary.read_text()):
        assert "flight-delay in production" in text
        assert "2026-03-09" in text
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert html.count('class="plot timeline"') >= 4
    assert "<script" not in summary.read_text()


def test_a_finding_is_written_once_and_again_when_outcomes_change_it(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    project = Path(shutil.copytree(project, tmp_path / "copy"))
    registry = _registry(project, _keys(project))
    assert asked(project, monkeypatch, "--keep", "--private-key", "lockgate.key", "--actor", "job") == 0
    first = kept(registry, "production")
    assert [(one.finding["window"], one.number) for one in first] == [
        (f"week of {FIRST + timedelta(days=7 * n)}", 1) for n in range(3)
    ]
    assert asked(project, monkeypatch, "--keep", "--private-key", "lockgate.key", "--actor", "later") == 0
    assert kept(registry, "production") == first
    add_outcomes(project, rows(FIRST, 21, EACH, 2).slice(14 * EACH))
    assert asked(project, monkeypatch, "--keep", "--private-key", "lockgate.key", "--actor", "later") == 0
    again = kept(registry, "production")
    assert [one.number for one in again] == [1, 1, 2]
    assert again[2].previous == first[2].digest
    assert again[2].finding["labelled"] == 7 * EACH
    capsys.readouterr()
    assert main(["history", "production", "--store", "store"]) == 0
    told = capsys.readouterr().out
    assert "promote" in told
    assert "week windows from 2026-03-02" in told or "week of 2026-03-02" in told
    assert main(["history", "--store", "store", "--json"]) == 0
    assert [one["window"] for one in json.loads(capsys.readouterr().out)["findings"]] == [
        one.finding["window"] for one in again
    ]
    forged = registry.store.read(f"{NAME}/monitors/production/week-2026-03-02/00000001.json")
    registry.store.create(f"{NAME}/monitors/production/week-2026-03-02/00000002.json", forged)
    assert asked(project, monkeypatch, "--keep", "--private-key", "lockgate.key") == 1  # another path was signed
    assert "was altered, or belongs elsewhere" in capsys.readouterr().err
    registry.store.delete(f"{NAME}/monitors/production/week-2026-03-02/00000002.json")
    assert newest(registry, "production", "week-2026-03-02") is not None


def _keys(folder: Path) -> Keys:
    from lockgate.releasing.signing import KeySigner, KeyVerifier

    return Keys(KeySigner(folder / "lockgate.key"), KeyVerifier(folder / "lockgate.pub"))


def test_an_alarm_is_exit_code_one_and_what_cannot_be_asked_is_three(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert asked(project, monkeypatch, "--since", "2027-01-01") == 3
    monkeypatch.chdir(project)
    assert main(["monitor", "production", "--store", "store", "--record", str(tmp_path / "none")]) == 3
    assert main(["monitor", "staging", "--store", "store", "--record", "record"]) == 3
    assert main(["monitor", "production", "--store", "store"]) == 2
    assert asked(project, monkeypatch, "--window", "rows") == 2
    assert asked(project, monkeypatch, "--expectations", "none.yaml") == 3
    capsys.readouterr()
    gone = rows(FIRST, 21, EACH, 2).drop_columns(["wind"])
    other = tmp_path / "gone"
    other.mkdir()
    for name in ("lockgate.yaml", "lockgate.pub", "store"):
        (other / name).symlink_to(project / name)
    build = Environment(_registry(project, _keys(project)), "production").current()[1].release.manifest
    record_without(other, gone, build)
    assert asked(other, monkeypatch) == 1
    assert "wind" in capsys.readouterr().out


def record_without(folder: Path, table: pa.Table, build: str) -> None:
    """Record scores whose requests lack the wind."""
    told = table.append_column("wind", pa.nulls(table.num_rows, pa.float64()))
    record(folder, told, build)


def test_expectations_and_the_training_table_are_laid_beside_recorded_requests(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "columns:\n"
        "  carrier:\n    - {in: [AA, B6], severity: critical}\n    - {type: string, severity: critical}\n"
        "  wind:\n    - {between: [0, 100], severity: warning}\n    - {present: true, share: 0.9, severity: warning}\n"
    )
    table = rows(FIRST, 21, EACH, 2).select(["date", "n", "carrier", "wind", "departure"])
    changed = pc.if_else(pc.equal(table["n"], 900), pa.scalar("ZZ"), table["carrier"])
    pq.write_table(table.set_column(2, "carrier", changed), tmp_path / "training.parquet")
    more = ["--expectations", str(suite), "--training", str(tmp_path / "training.parquet"), "--json"]
    assert asked(project, monkeypatch, *more) == 0
    part = json.loads(capsys.readouterr().out)["findings"][2]["parts"][0]
    met = {(one["column"], one["rule"][:4]): (one["failures"], one["success"]) for one in part["expected"]}
    week = rows(FIRST, 21, EACH, 2).slice(14 * EACH)
    others = int(pc.sum(pc.equal(week["carrier"], "UA")).as_py())
    assert met["carrier", "is o"] == (others, False)
    assert met["wind", "lies"] == (0, True)
    assert met["wind", "is t"] == (week["wind"].null_count, True)
    differ = {one["column"]: (one["rows"], one["differ"]) for one in part["skew"]}
    assert differ["carrier"] == (7 * EACH, 1)
    assert {differ[name] for name in ("wind", "departure", "n", "date")} == {(7 * EACH, 0)}


def test_a_week_is_whole_however_late_in_it_the_first_day_is(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a week would be another answer for the same week, and be kept beside the first one."""
    assert asked(project, monkeypatch, "--since", "2026-03-12", "--json") == 0
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [(one["start"], one["rows"]) for one in found] == [("2026-03-09", 7 * EACH), ("2026-03-16", 7 * EACH)]


def test_a_first_day_is_that_of_the_promotion(project: Path) -> None:
    from lockgate.commands.monitor import _since

    log = Environment(_registry(project, _keys(project)), "production").history()
    assert _since(log, datetime.fromisoformat(UNTIL)) == FIRST
    assert _since(log, datetime.fromisoformat("2029-01-01")) == date(2027, 11, 28)
