"""Bad lines, killed processes and racing ones, with a real S3 server behind a real proxy that fails on purpose."""

import itertools
import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.clock import faked_clock
from tests.fault_proxy import Answer, Cut, Fault, FaultProxy, Plan, Request, fault_proxy
from tests.length import length
from tests.lockgate.releases import ACTOR, FACTS, NAME, QUICK, STAGING, Keys, a_build, contents, promoted, publish

from lockgate.errors import LockgateError
from lockgate.releasing import environments
from lockgate.releasing.environments import Environment
from lockgate.releasing.fetch import fetch
from lockgate.releasing.manifest import make_manifest
from lockgate.releasing.promotion import promote
from lockgate.releasing.registry import Actor, Registry, ReleaseTaken
from lockgate.releasing.rollback import rollback
from lockgate.store import ObjectDiffers, Patience, Store, StoreError, open_store

if TYPE_CHECKING:
    from tests.seaweed import Seaweed

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def proxy(seaweed: "Seaweed", monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """A proxy before the server; every store opened from here on goes through it."""
    with fault_proxy(seaweed.endpoint) as running:
        for variable, value in seaweed.environment(endpoint=running.endpoint).items():
            monkeypatch.setenv(variable, value)
        yield running


@pytest.fixture
def server(seaweed: "Seaweed", monkeypatch: pytest.MonkeyPatch) -> None:
    """The server without the proxy; programs started from here on find it too."""
    for variable, value in seaweed.environment().items():
        monkeypatch.setenv(variable, value)


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return f"s3://models/faults/{tmp_path.name}"


def a_day_of_work(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    """Publish, promote, fetch: every kind of request there is."""
    build = publish(registry, keys, a_build(tmp_path / "build"), "v1.0.0")
    promoted(registry, keys, "v1.0.0", STAGING)
    fetch(registry, build, tmp_path / "got")
    assert (tmp_path / "got" / "model.skops").read_bytes() == (tmp_path / "build" / "model.skops").read_bytes()
    assert [entry.number for entry in Environment(registry, "staging").verify()] == [1]
    registry.verify_files(registry.release("v1.0.0"))


def first_time(fault: Fault, writes: bool | None = None) -> Plan:
    """Spoil each different request the first time it comes."""
    seen: set[tuple[str, str, str]] = set()

    def plan(request: Request) -> Fault:
        key = (request.method, request.path, request.headers.get("range", ""))
        if key in seen or (writes is not None and request.writes() != writes):
            return None
        seen.add(key)
        return fault

    return plan


FAULTS: dict[str, tuple[Fault, bool | None]] = {
    "500": (Answer(500, "InternalError"), None),
    "503": (Answer(503, "SlowDown"), None),
    "409": (Answer(409, "ConditionalRequestConflict"), True),
    "429": (Answer(429, "TooManyRequests"), None),
    "cut while sending": (Cut("request"), True),
    "answer lost": (Cut("answer"), None),
    "answer broken off": (Cut("middle"), False),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_request_failing_once_changes_nothing_in_the_end(
    proxy: FaultProxy, prefix: str, keys: Keys, tmp_path: Path, kind: str
) -> None:
    fault, writes = FAULTS[kind]
    proxy.reset(first_time(fault, writes))
    registry = Registry(open_store(prefix, patience=QUICK), NAME, keys.verifier)
    a_day_of_work(registry, keys, tmp_path)
    assert len(proxy.faults) >= (8 if writes else 10)


@pytest.mark.parametrize("seed", range(length(2, 40)))
def test_a_line_on_which_a_third_of_all_requests_fail_changes_nothing_in_the_end(
    proxy: FaultProxy, prefix: str, keys: Keys, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    kinds = [fault for fault, _ in FAULTS.values()]

    def plan(request: Request) -> Fault:
        fault = chance.choice(kinds) if chance.random() < 1 / 3 else None
        return None if isinstance(fault, Answer) and fault.status == 409 and not request.writes() else fault

    proxy.reset(plan)
    patience = Patience(tries=20, first=0.001, longest=0.01)
    a_day_of_work(Registry(open_store(prefix, patience=patience), NAME, keys.verifier), keys, tmp_path)
    assert len(proxy.faults) > 5


def test_a_large_file_cut_in_the_middle_of_its_upload_arrives_whole(
    proxy: FaultProxy, prefix: str, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockgate.releasing.registry.make_manifest.__defaults__", (1_000_000,))
    proxy.reset(first_time(Cut("request"), writes=True))
    folder = a_build(tmp_path / "build")
    (folder / "weights.bin").write_bytes(random.Random(5).randbytes(5_500_000))
    registry = Registry(open_store(prefix, patience=QUICK), NAME, keys.verifier)
    build = publish(registry, keys, folder, "v1.0.0")
    fetch(registry, build, tmp_path / "got")
    assert (tmp_path / "got/weights.bin").read_bytes() == (folder / "weights.bin").read_bytes()
    assert sum("weights.bin" in request.path for request in proxy.faults) == 6


def test_a_lost_answer_is_no_second_entry_and_no_refusal(
    proxy: FaultProxy, prefix: str, keys: Keys, tmp_path: Path
) -> None:
    registry = Registry(open_store(prefix, patience=QUICK), NAME, keys.verifier)
    publish(registry, keys, a_build(tmp_path / "build"), "v1.0.0")
    proxy.reset(first_time(Cut("answer"), writes=True))
    entry = promoted(registry, keys, "v1.0.0", STAGING)
    assert len(proxy.faults) == 1
    assert Environment(registry, "staging").verify() == [entry]


@pytest.mark.parametrize("status", [500, 503, 409])
def test_a_store_that_only_fails_is_asked_a_bounded_number_of_times(
    proxy: FaultProxy, prefix: str, status: int
) -> None:
    proxy.reset(lambda _: Answer(status, "Whatever"))
    store = open_store(prefix, patience=Patience(tries=5, first=0.001, longest=0.01))
    with pytest.raises(StoreError, match=rf"the store answered {status} Whatever, 5 times"):
        store.create("a", b"1")
    assert len(proxy.requests) == 5


def test_a_store_that_is_down_is_said_to_be_down(
    proxy: FaultProxy, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match="the store does not answer, 6 times"):
        open_store(prefix, patience=QUICK).read("a")


@pytest.mark.parametrize("act", ["read", "create", "first", "folders"])
def test_wrong_credentials_are_tried_once_and_no_secret_is_told(
    proxy: FaultProxy, prefix: str, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret-but-still-secret")
    store = open_store(prefix)
    acts: dict[str, Callable[[], object]] = {
        "read": lambda: store.read("a"),
        "create": lambda: store.create("a", b"1"),
        "first": lambda: store.first("a"),
        "folders": store.folders,
    }
    with pytest.raises(StoreError, match="refused these credentials") as caught:
        acts[act]()
    assert len(proxy.requests) == 1
    told = "".join([str(caught.value), caught.value.advice, repr(caught.value.__cause__)])
    assert "still-secret" not in told
    assert "Signature" in told  # the service's own word for what is wrong, none of what was signed
    assert "releaser" not in told


def test_a_reader_cannot_write_and_is_told_so_after_one_try(
    proxy: FaultProxy, prefix: str, seaweed: "Seaweed", monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in seaweed.environment("reader", proxy.endpoint).items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(StoreError, match=r"or does not let them do this \(403 AccessDenied\)"):
        open_store(prefix).create("a", b"1")
    assert len(proxy.requests) == 1


def test_a_missing_bucket_is_named(proxy: FaultProxy, seaweed: "Seaweed", monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in seaweed.environment("admin", proxy.endpoint).items():
        monkeypatch.setenv(variable, value)
    store = open_store("s3://no-such-bucket/prefix")
    for act in (lambda: store.read("a"), lambda: store.first("a")):
        proxy.reset(lambda _: None)
        with pytest.raises(StoreError, match="s3://no-such-bucket/prefix: there is no such bucket"):
            act()
        assert len(proxy.requests) == 1


def test_no_credentials_at_all_is_said_soon(proxy: FaultProxy, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match="there are no credentials") as caught:
        open_store(prefix, patience=QUICK).read("a")
    assert "AWS_ACCESS_KEY_ID" in caught.value.advice
    assert proxy.requests == []


def test_every_write_is_conditional_so_a_bucket_that_demands_it_takes_them_all(
    proxy: FaultProxy, prefix: str, keys: Keys, tmp_path: Path
) -> None:
    def demanding(request: Request) -> Fault:
        if request.method == "GET" or (request.writes() and request.headers.get("if-none-match") == "*"):
            return None
        return Answer(403, "AccessDenied")

    proxy.reset(demanding)
    registry = Registry(open_store(prefix), NAME, keys.verifier)
    a_day_of_work(registry, keys, tmp_path)
    assert proxy.faults == []
    assert Counter(request.method for request in proxy.requests)["PUT"] == 9
    assert {request.method for request in proxy.requests} == {"GET", "PUT"}


@pytest.mark.parametrize("shift", ["-1d", "+1d"])
def test_a_clock_a_day_off_is_named_by_a_bucket_and_changes_no_order_in_a_folder(
    proxy: FaultProxy, prefix: str, keys: Keys, tmp_path: Path, shift: str
) -> None:
    program = f"from lockgate.store import open_store; open_store({prefix!r}).create('a', b'1')"
    done = _at(shift, program)
    assert "clock is wrong" in done.stderr, done.stderr
    registry = Registry(open_store(str(tmp_path / "store"), create=True), NAME, keys.verifier)
    for number, seed in enumerate(("one", "two")):
        publish(registry, keys, a_build(tmp_path / seed, seed), f"v1.{number}.0")
    promoted(registry, keys, "v1.0.0", STAGING)
    words = ["promote", "v1.1.0", "staging", "--store", registry.store.url]
    words += ["--public-key", str(keys.verifier.public_key), "--private-key", str(keys.signer.private_key)]
    (tmp_path / "lockgate.yaml").write_text(
        "model: m\nmetrics: {a: {file: f.json, key: a, better: higher}}\nenvironments: {staging: }\n"
    )
    words += ["--policy", str(tmp_path / "lockgate.yaml")]
    done = _at(shift, f"import sys; from lockgate.cli import main; sys.exit(main({words!r}))")
    assert done.returncode == 0, done.stderr
    assert [entry.version for entry in Environment(registry, "staging").verify()] == ["v1.0.0", "v1.1.0"]


def test_history_is_in_the_order_of_the_log_although_clocks_went_backwards(
    registry: Registry, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sorted by time it would be another history, and another release would run."""
    from lockgate.cli import main

    for number, seed in enumerate(("one", "two", "three")):
        publish(registry, keys, a_build(tmp_path / seed, seed), f"v1.{number}.0")
    times = ["2026-01-03T00:00:00+00:00", "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"]
    for number, time in enumerate(times):
        promote(registry, f"v1.{number}.0", STAGING, keys.signer, Actor("ana", time))
    log = Environment(registry, "staging")
    assert [entry.time for entry in log.verify()] == [entry.time for entry in log.history()] == times
    assert log.current()[0].version == "v1.2.0"
    assert rollback(registry, "staging", keys.signer, Actor("ana", "2025-01-01T00:00:00+00:00"))[2] == "v1.1.0"
    words = ["--store", registry.store.url, "--public-key", str(keys.verifier.public_key), "--json"]
    assert main(["history", "staging", *words]) == 0
    told = json.loads(capsys.readouterr().out)["entries"]
    assert [(entry["number"], entry["current"]) for entry in told] == [(1, False), (2, False), (3, False), (4, True)]


def _at(shift: str, program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program whose clock is shifted (libfaketime)."""
    environment = os.environ | faked_clock(shift) | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_finding_what_runs_takes_as_many_requests_in_a_log_of_2500_as_in_one_of_one(
    proxy: FaultProxy, prefix: str, keys: Keys, tmp_path: Path
) -> None:
    """Counted at the proxy: listings come a thousand names at a time, and one is enough."""
    registry = Registry(open_store(prefix, patience=QUICK), NAME, keys.verifier)
    publish(registry, keys, a_build(tmp_path / "build"), "v1.0.0")
    promoted(registry, keys, "v1.0.0", STAGING)
    staging = Environment(registry, "staging")
    proxy.reset(lambda _: None)
    assert staging.current()[0].number == 1
    counted = [len(proxy.requests)]
    head = staging.current()[0]
    payload = head.payload() | {"number": 2500}
    registry.write_signed(staging._path(2500), payload, keys.signer)
    fill = [f"{NAME}/environments/staging/{environments.LAST - n:08d}.json" for n in range(2, 2500)]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda path: registry.store.create(path, b"{}"), fill))
    proxy.reset(lambda _: None)
    assert staging.current()[0].number == 2500
    counted.append(len(proxy.requests))
    assert counted == [5, 5]


# --- kill -9, and races


def _run(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.lockgate.disturbed", *words],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout) | {"stderr": done.stderr}  # type: ignore[no-any-return]


class Reader(threading.Thread):
    """Reads whatever stands in the newest stores below ``base``, all the while. Half a release is a fault it keeps."""

    def __init__(self, base: str, keys: Keys) -> None:
        super().__init__(daemon=True)
        self.base, self.keys = base, keys
        self.stop, self.faults, self.looks = threading.Event(), list[str](), Counter[str]()

    def run(self) -> None:
        base = open_store(self.base, create=True)
        seen: list[str] = []
        while not self.stop.is_set():
            places = base.folders()
            new = [place for place in places if place not in seen]
            seen += new
            for place in seen[-2:]:
                self.look(open_store(f"{self.base}/{place}", create=True))

    def look(self, store: Store) -> None:
        registry = Registry(store, NAME, self.keys.verifier)
        try:
            versions = registry.versions()
            for version in versions:
                registry.verify_files(registry.release(version))
            log = Environment(registry, "staging")
            ran = log.current()[0].number if log.head() else 0
            self.looks[f"{len(versions)} releases, {ran} entries"] += 1
        except LockgateError as error:
            self.faults.append(str(error))


def _outcome(store: Store, keys: Keys) -> dict[str, object]:
    """Return what a store says, without the signatures' own bytes, which are never the same twice."""
    said: dict[str, object] = {}
    for path, data in contents(store).items():
        if path.endswith("model.sig"):
            said[path] = keys.verifier.verify(data, path)
        elif "/releases/" in path or ("/environments/" in path and "/pages/" not in path):
            payload = Registry(store, NAME, keys.verifier).open_signed(path, data)
            said[path] = {key: value for key, value in payload.items() if key != "signature"}
        else:
            said[path] = data
    return said


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_killed_at_any_store_call_the_same_command_completes_to_the_same_outcome(
    where: str, server: None, prefix: str, keys: Keys, tmp_path: Path
) -> None:
    base = prefix if where == "s3" else str(tmp_path / "stores")
    reader = Reader(base, keys)
    reader.start()
    build = a_build(tmp_path / "build")
    told = _run("kill", base, str(build), str(tmp_path / "count"), str(keys.signer.private_key.parent), "0")
    reader.stop.set()
    reader.join()
    runs = told["runs"]
    assert len(runs) == 2 * sum(told["calls"].values())
    assert told["calls"]["publish"] >= 15
    assert told["calls"]["promote"] >= 9
    assert {run["killed"] for run in runs} == {-9}
    assert {run["again"] for run in runs} == {0}, told["stderr"]
    if where == "folder":
        assert told["calls"]["rollback"] >= 9
        assert any("/pages/" in path for path in _outcome(open_store(f"{base}/rollback-0"), keys))
    for step in told["calls"]:
        expected = _outcome(open_store(f"{base}/{step}-0"), keys)
        for run in runs:
            if run["step"] == step:
                assert _outcome(open_store(run["place"]), keys) == expected, run
    assert reader.faults == []
    assert reader.looks.total() > len(runs)
    assert {"0 releases, 0 entries", "1 releases, 0 entries", "1 releases, 1 entries"} <= reader.looks.keys()


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_rounds_of_racing_releases_and_promotions_lose_nothing(
    where: str, server: None, prefix: str, keys: Keys, tmp_path: Path
) -> None:
    rounds = int(os.environ.get("LOCKGATE_RACES", "12"))
    place = prefix if where == "s3" else str(tmp_path / "store")
    one, two = a_build(tmp_path / "one", "one"), a_build(tmp_path / "two", "two")
    told = _run("race", place, str(one), str(two), str(keys.signer.private_key.parent), str(rounds))
    registry = Registry(open_store(place), NAME, keys.verifier)
    assert Counter(map(tuple, map(sorted, told["releases"]))) == {(0, 3): rounds}, told["stderr"]
    assert Counter(map(tuple, told["promotions"])) == {(0, 0): rounds}, told["stderr"]
    assert told["stderr"].count("ReleaseTaken") == rounds
    won = [(one, two)[codes.index(0)] for codes in told["releases"]]
    for number, folder in enumerate(won, 1):
        made = make_manifest(folder, NAME, f"v{number}.0.0", FACTS).digest
        assert registry.release(f"v{number}.0.0").manifest.digest == made
        loser = two if folder == one else one
        with pytest.raises(ReleaseTaken):
            registry.publish(loser, f"v{number}.0.0", FACTS, signer=keys.signer, actor=ACTOR)
    log = Environment(registry, "staging").verify()
    assert [entry.number for entry in log] == list(range(1, 2 * rounds + 1))
    expected = {f"v{number}.{minor}.0" for number, minor in itertools.product(range(1, rounds + 1), (0, 1))}
    assert {entry.version for entry in log} == expected


def test_of_two_writers_whose_answers_are_both_lost_one_still_wins(proxy: FaultProxy, prefix: str) -> None:
    proxy.reset(first_time(Cut("answer"), writes=True))
    store = open_store(prefix, patience=QUICK)
    store.create("raced", b"one")
    with pytest.raises(ObjectDiffers):
        store.create("raced", b"two")
    assert store.read("raced") == b"one"
