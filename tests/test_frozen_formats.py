"""Everything that an earlier Lockgate wrote is read by the code of today: see tests/fixtures/frozen/README.md."""

import hashlib
import json
import shutil
import zipfile
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from lockgate import policy
from lockgate.monitoring.joined import joined
from lockgate.monitoring.reference import read_reference, to_bytes
from lockgate.policy import Dependencies, read_policy
from lockgate.releasing.environments import EntryRefused, Environment
from lockgate.releasing.fetch import fetch
from lockgate.releasing.promotion import check_gates
from lockgate.releasing.registry import Registry
from lockgate.releasing.signing import KeyVerifier
from lockgate.result import read_result
from lockgate.serving.contract import read_contract
from lockgate.serving.locked import Interpreters
from lockgate.serving.record import Recorder, read_journal
from lockgate.serving.sinks import sink_of
from lockgate.store import open_store

FROZEN = Path(__file__).parent / "fixtures/frozen/2026-11"
BYTES = {
    "bricked-entry.zip": "bc0551ad60e3c9ff4a97d309823b8d5d17f22c6ceb8bb1d6809802cf007b2b3e",
    "journal.jsonl": "9a6e2a5639b35d1dc9c30672b1a2dead77dc6625a0c993c427015e7cb809d473",
    "policy.yaml": "465d1fed63d26c3bfa4a17d91adde40ca069837c517722b8fad96dbff58c2c88",
    "record.parquet": "b05dcc562c170dcc35c311c4fe4dd0bd55ff9f1057c69de75271eb7edc17f2be",
    "result.json": "46e0d32d952405440fac8f05e4f69aa4626ddefb8018aebfb874784a597b5c0b",
    "scored.parquet": "ae2c41b7c8369a6099fdf5b69443af70a241e785522e73714bc10fceda943187",
    "scores.json": "c7bf340e3eb6b87e32b0df7fba13ab39d8652b134f90f6a4a519bf7410f08b63",
    "store.zip": "3f11fb00057a957502047417a53888ef0bfa33d432bf764769c66f62dc1ae45c",
    "trusted.pub": "0563e8ea22c99edb9dd785ca6c87fda490e6587795a8670a0b5f6ff1879d61a3",
}


@pytest.fixture
def old(tmp_path: Path) -> Registry:
    """The registry of the frozen store."""
    with zipfile.ZipFile(FROZEN / "store.zip") as archive:
        archive.extractall(tmp_path / "store")
    return Registry(open_store(str(tmp_path / "store")), "delay", KeyVerifier(FROZEN / "trusted.pub"))


def test_nobody_changed_a_frozen_byte() -> None:
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in FROZEN.iterdir()} == BYTES


def test_releases_of_then_verify_and_can_be_fetched(old: Registry, tmp_path: Path) -> None:
    assert old.versions() == ["v1.0.0", "v1.1.0"]
    for version in old.versions():
        build = old.release(version)
        old.verify_files(build)
        assert build.manifest.to_bytes() == old.store.read(f"delay/builds/{build.release.manifest}/manifest.json")
    assert fetch(old, old.release("v1.0.0"), tmp_path / "got")
    assert read_contract(tmp_path / "got").model == "model.json"


def test_a_release_from_before_builds_named_their_dependencies_runs_with_what_is_installed_and_keeps_its_level(
    old: Registry, tmp_path: Path
) -> None:
    locked = replace(read_policy((FROZEN / "policy.yaml").read_bytes()), dependencies=Dependencies("p.lock", "3.11"))
    production = policy.Environment("production", None, "full", ())
    for version in old.versions():
        build = old.release(version)
        assert Interpreters(None, tmp_path, lambda: old.store).of(build, tmp_path) is None
        if build.manifest.facts["rebuild"]["level"] == "full":
            assert check_gates(old, build, production, locked) == ()


def test_logs_of_then_verify_and_say_what_runs(old: Registry) -> None:
    log = Environment(old, "production").verify()
    assert [(entry.action, entry.version, entry.reason) for entry in log] == [
        ("promote", "v1.0.0", "held for a week"),
        ("promote", "v1.1.0", ""),
        ("rollback", "v1.0.0", "slow"),
    ]
    assert Environment(old, "production").current()[0].number == 3
    assert Environment(old, "staging").current()[0].version == "v1.1.0"


def test_an_entry_of_then_that_nobody_should_have_signed_is_still_refused(old: Registry, tmp_path: Path) -> None:
    with zipfile.ZipFile(FROZEN / "bricked-entry.zip") as archive:
        archive.extractall(tmp_path / "store")
    with pytest.raises(EntryRefused):
        Environment(old, "production").history()


def test_results_policies_and_scores_of_then_are_read() -> None:
    assert read_result((FROZEN / "result.json").read_bytes()).head.label == "delay@v1.1.0"
    policy = read_policy((FROZEN / "policy.yaml").read_bytes())
    assert [environment.name for environment in policy.environments] == ["staging", "production"]
    rows = read_journal(FROZEN / "journal.jsonl")
    assert [row[5] for row in rows] == [0.25, 0.5]
    assert pq.read_table(FROZEN / "record.parquet").column("probability").to_pylist() == [0.25, 0.5]
    assert pq.read_table(FROZEN / "scored.parquet").num_rows == 50
    assert json.loads((FROZEN / "scores.json").read_text())["schema"] == "lockgate.scores/1"


RECORD = FROZEN.parent / "2026-11-record.zip"
RECORD_TREE = "7ed3664fa6c01e460f39905ef3cd7b20f3c654d405acac3fd512a21dfd35baeb"


def test_a_record_with_outcomes_and_a_reference_of_then_are_read(tmp_path: Path) -> None:
    shutil.unpack_archive(RECORD, tmp_path)
    files = [file for file in sorted(tmp_path.rglob("*")) if file.is_file()]
    lines = [
        f"{file.relative_to(tmp_path).as_posix()} {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files
    ]
    assert hashlib.sha256("".join(lines).encode()).hexdigest() == RECORD_TREE, "nobody changes a frozen byte"
    place = tmp_path / "record"
    shutil.copy(FROZEN / "record.parquet", place / "1.parquet")
    [table] = joined(str(place), None, date(2026, 11, 25), date(2026, 11, 26))
    found = [(row["id"][0], row["row"], row["label"], row["kind"], row["latency_ms"]) for row in table.to_pylist()]
    old = [("a", 0, None, None, None), ("a", 1, 0.0, None, None)]
    assert found == [*old, ("a", 0, 1.0, "a", 1.25), ("a", 1, 0.0, "b", 1.25)]
    assert list(sink_of(str(place)).notes()) == ["f" * 64]
    Recorder(sink_of(str(place)), tmp_path / "journal", every=0.01).close()
    tables = joined(str(place), None, date(2000, 1, 1), date(2100, 1, 1))
    assert [row["x"] for table in tables for row in table.to_pylist() if row["id"] == "c" * 32] == [1.5]
    reference = read_reference(tmp_path)
    assert reference is not None
    assert to_bytes(reference) == (tmp_path / "reference.json").read_bytes()
