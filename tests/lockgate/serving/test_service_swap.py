"""Promotions, rollbacks and everything that can go wrong with them, while the service is asked all the time."""

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.fault_proxy import Answer, FaultProxy, fault_proxy
from tests.lockgate.releases import ACTOR, NAME, Keys
from tests.lockgate.serving_builds import ROOT, TOY, toy_build
from tests.lockgate.serving_harness import EXAMPLE, command, release, roll_back, serving
from tests.lockgate.serving_load import Load, load, post, read_answer

from lockgate.releasing.environments import LAST, Environment
from lockgate.releasing.registry import Registry
from lockgate.store import Store

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")

REQUEST = post("/v1/predict", json.dumps(EXAMPLE).encode())


class UnderLoad:
    """Requests over some connections, without a pause, from a thread, until :meth:`end`."""

    def __init__(self, port: int, connections: int = 4, requests: Sequence[bytes] = (REQUEST,)) -> None:
        self.seen = Load()
        self._stop = False
        self._thread = threading.Thread(target=self._run, args=(port, connections, requests))
        self._thread.start()

    def _run(self, port: int, connections: int, requests: Sequence[bytes]) -> None:
        self.seen = asyncio.run(load(port, list(requests), connections, lambda _: self._stop))

    def end(self) -> Load:
        self._stop = True
        self._thread.join()
        return self.seen


def number_of(answer: dict[str, Any]) -> int:
    """Return the number of the release that an answer names."""
    return int(answer["release"].partition("@v")[2].partition(".")[0])


@pytest.mark.slow
def test_twenty_promotions_under_load_fail_no_request_and_mix_nothing(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    digests = {1: release(registry, keys, tmp_path, 1)}
    with serving(command(registry, keys, tmp_path / "cache"), tmp_path / "log") as served:
        loaded = UnderLoad(served.port)
        try:
            for number in range(2, 22):
                digests[number] = release(registry, keys, tmp_path, number)
                served.until(lambda number=number: served.predict()["release"] == f"{NAME}@v{number}.0.0")
        finally:
            seen = loaded.end()
        assert served.ready()["degraded"] is False
        assert served.metric('lockgate_swaps_total{outcome="done"}') == 21
    assert seen.errors == []
    assert set(seen.statuses) == {200}
    answers = [json.loads(body) for body in seen.bodies]
    assert {number_of(answer) for answer in answers} >= set(range(2, 22))
    for answer in answers:
        number = number_of(answer)
        assert answer["probabilities"] == [number / 1000]
        assert answer["build"] == digests[number]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"expected": 0.25}, "sample request 0 gave 0.002 where 0.25 is expected"),
        ({"file_number": 1}, "code and file are of two releases"),
        ({"loading": "os._exit(1)"}, "its process ended before it answered"),
        ({"loading": "raise MemoryError('no room')"}, "no room"),
        ({"card": "../../../store"}, "names as card no file of the build"),
    ],
)
def test_a_release_that_fails_leaves_the_old_one_serving_and_shows(
    registry: Registry, keys: Keys, tmp_path: Path, what: dict[str, Any], words: str
) -> None:
    release(registry, keys, tmp_path, 1)
    with serving(command(registry, keys, tmp_path / "cache"), tmp_path / "log") as served:
        loaded = UnderLoad(served.port, connections=1)
        release(registry, keys, tmp_path, 2, **what)
        problem = served.until(lambda: served.ready()["problems"].get("release"))
        assert words in problem["what"]
        assert problem["release"] == f"{NAME}@v2.0.0"
        assert served.ready()["ready"] is True
        assert served.metric('lockgate_problem{with="release"}') == 1
        assert served.metric('lockgate_swaps_total{outcome="failed"}') >= 1
        assert words in served.log.read_text()
        assert served.predict()["probabilities"] == [0.001]
        roll_back(registry, keys, 1)
        served.until(lambda: not served.ready()["degraded"])
        release(registry, keys, tmp_path, 3)
        served.until(lambda: served.predict()["probabilities"] == [0.003])
        seen = loaded.end()
    assert seen.errors == []
    assert set(seen.statuses) == {200}


def damage_model(store: Path, digest: str) -> None:
    file = store / NAME / "builds" / digest / "model.json"
    file.write_text(file.read_text().replace(" ", "  "))


def damage_record(store: Path, _: str) -> None:
    file = store / NAME / "releases" / "v2.0.0.json"
    file.write_bytes(file.read_bytes().replace(b"v2.0.0", b"v3.0.0"))


def take_file_of_another_build(store: Path, digest: str) -> None:
    builds = store / NAME / "builds"
    [other] = [folder for folder in builds.iterdir() if folder.name != digest]
    (builds / digest / "model.json").write_bytes((other / "model.json").read_bytes())


def take_away_a_file(store: Path, digest: str) -> None:
    (store / NAME / "builds" / digest / "samples.json").unlink()


@pytest.mark.parametrize("damage", [damage_model, damage_record, take_file_of_another_build, take_away_a_file])
def test_what_was_tampered_with_is_refused_and_the_old_model_keeps_serving(
    registry: Registry, keys: Keys, tmp_path: Path, damage: Callable[[Path, str], None]
) -> None:
    release(registry, keys, tmp_path, 1)
    build, _ = registry.publish(toy_build(tmp_path / "toy2", 2), "v2.0.0", {}, signer=keys.signer, actor=ACTOR)
    damage(tmp_path / "store", build.release.manifest)
    with serving(command(registry, keys, tmp_path / "cache"), tmp_path / "log") as served:
        Environment(registry, "staging").append(build, keys.signer, ACTOR, "promote")
        assert served.until(lambda: served.ready()["problems"])
        assert served.predict()["probabilities"] == [0.001]


def test_a_release_may_ask_for_other_fields(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    release(registry, keys, tmp_path, 1)
    other = {
        "columns": [{"name": "kind", "type": "string"}, {"name": "y", "type": "number"}],
        "example": {"kind": "a", "y": 1},
    }
    with serving(command(registry, keys, tmp_path / "cache"), tmp_path / "log") as served:
        release(registry, keys, tmp_path, 2, request=other)
        served.until(lambda: served.http.get("/v1/model").json()["version"] == "v2.0.0")
        assert served.predict(other["example"])["probabilities"] == [0.002]
        assert served.http.post("/v1/predict", json=EXAMPLE).status_code == 422
        document = served.http.get("/openapi.json").json()
        assert document["info"]["version"] == "v2.0.0"
        assert '"y"' in json.dumps(document)


def test_between_a_release_and_one_with_more_fields_no_request_fails_in_either_direction(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    """New fields are optional, so requests of before are answered; ``--unknown-fields ignore`` does the other half."""
    newer = {**TOY, "columns": [*TOY["columns"], {"name": "history", "type": "number", "optional": True}]}
    both = [post("/v1/predict", json.dumps(EXAMPLE | more).encode()) for more in ({}, {"history": 0.5})]
    release(registry, keys, tmp_path, 1)
    ignoring = command(registry, keys, tmp_path / "cache", "--unknown-fields", "ignore")
    with serving(ignoring, tmp_path / "log") as served:
        loaded = UnderLoad(served.port, requests=both)
        try:
            release(registry, keys, tmp_path, 2, request=newer)
            served.until(lambda: served.predict()["probabilities"] == [0.002])
            assert served.http.post("/v1/predict", json=EXAMPLE | {"history": "?"}).status_code == 422
            roll_back(registry, keys, 1)
            served.until(lambda: served.predict()["probabilities"] == [0.001])
            assert served.predict(EXAMPLE | {"history": "?"})["probabilities"] == [0.001]
        finally:
            seen = loaded.end()
    assert seen.errors == []
    assert set(seen.statuses) == {200}
    assert {number_of(json.loads(body)) for body in seen.bodies} == {1, 2}


def test_a_request_that_began_before_a_swap_is_answered_by_the_release_it_met(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    """A body sent in two halves: between them the release changes. Both versions of one package live side by side."""
    release(registry, keys, tmp_path, 1)
    with serving(command(registry, keys, tmp_path / "cache"), tmp_path / "log") as served:

        async def straddle() -> tuple[int, bytes]:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(REQUEST[:-5])
            await writer.drain()
            release(registry, keys, tmp_path, 2)
            await asyncio.to_thread(served.until, lambda: served.predict()["probabilities"] == [0.002])
            writer.write(REQUEST[-5:])
            answer = await read_answer(reader)
            writer.close()
            return answer

        status, body = asyncio.run(straddle())
        assert status == 200
        assert json.loads(body)["probabilities"] == [0.001]
        assert json.loads(body)["release"] == f"{NAME}@v1.0.0"


@pytest.mark.slow
def test_a_log_that_lost_its_newest_entry_is_not_followed(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    release(registry, keys, tmp_path, 1)
    release(registry, keys, tmp_path, 2)
    words, log = command(registry, keys, tmp_path / "cache"), tmp_path / "log"
    entry = tmp_path / "store" / NAME / "environments" / "staging" / f"{LAST - 2:08d}.json"
    with serving(words, log) as served:
        entry.unlink()
        problem = served.until(lambda: served.ready()["problems"].get("store"))
        assert "ends at entry 1, but entry 2 was there before" in problem["what"]
        assert served.predict()["probabilities"] == [0.002]
    with serving(words, log) as served:  # it is remembered across a restart
        assert served.ready()["degraded"] is True
        assert served.predict()["probabilities"] == [0.002]


@pytest.mark.slow
def test_with_the_store_down_the_service_starts_with_what_it_verified_last(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    release(registry, keys, tmp_path, 1)
    words, log, store = command(registry, keys, tmp_path / "cache"), tmp_path / "log", tmp_path / "store"
    with serving(words, log) as served:
        served.predict()
    store.rename(tmp_path / "gone")
    with serving(words, log) as served:
        assert served.predict()["probabilities"] == [0.001]
        assert served.ready()["degraded"] is True
        assert "there is no store" in served.ready()["problems"]["store"]["what"]
        assert served.metric('lockgate_problem{with="store"}') == 1
        (tmp_path / "gone").rename(store)
        served.until(lambda: not served.ready()["degraded"])
        release(registry, keys, tmp_path, 2)
        served.until(lambda: served.predict()["probabilities"] == [0.002])


@pytest.mark.slow
def test_what_it_verified_last_is_verified_again(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    release(registry, keys, tmp_path, 1)
    words, log = command(registry, keys, tmp_path / "cache"), tmp_path / "log"
    with serving(words, log):
        pass
    (tmp_path / "store").rename(tmp_path / "gone")
    [model] = (tmp_path / "cache").rglob("model.json")
    model.write_text('{"number": 3}')
    ran = subprocess.run(
        words, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=False
    )
    assert ran.returncode == 3
    assert "there is no store" in ran.stderr
    (tmp_path / "gone").rename(tmp_path / "store")
    with serving(words, log) as served:  # with the store at hand the damaged copy is replaced
        assert served.ready()["degraded"] is False
        assert served.predict()["probabilities"] == [0.001]


@pytest.mark.slow
def test_a_newest_release_that_cannot_be_loaded_at_the_start_gives_way_to_the_last_good_one(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    release(registry, keys, tmp_path, 1)
    words, log = command(registry, keys, tmp_path / "cache"), tmp_path / "log"
    with serving(words, log):
        pass
    release(registry, keys, tmp_path, 2, expected=0.5)
    with serving(words, log) as served:
        assert served.predict()["probabilities"] == [0.001]
        assert "is expected" in served.ready()["problems"]["release"]["what"]


@pytest.mark.slow
def test_builds_do_not_pile_up_in_the_cache(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    release(registry, keys, tmp_path, 1)
    with serving(command(registry, keys, tmp_path / "cache"), tmp_path / "log") as served:
        for number in range(2, 7):
            release(registry, keys, tmp_path, number)
            served.until(lambda number=number: served.predict()["probabilities"] == [number / 1000])
        [builds] = (tmp_path / "cache").glob(f"*/{NAME}/builds")
        assert len(list(builds.iterdir())) == 3
        [worker] = served.until(lambda: alone(psutil.Process(served.process.pid).children()))
        code = Path(worker.environ()["PYTHONPATH"])
        assert "NUMBER = 6" in (code / "toy_model" / "__init__.py").read_text()


def alone(processes: list[psutil.Process]) -> list[psutil.Process]:
    return processes if len(processes) == 1 else []


@pytest.mark.slow
def test_a_bucket_that_fails_for_a_while_is_followed_again_afterwards(
    bucket: Callable[[str], Store], seaweed: Any, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(bucket("served"), NAME, keys.verifier)
    release(registry, keys, tmp_path, 1)
    words, log = command(registry, keys, tmp_path / "cache"), tmp_path / "log"
    with fault_proxy(seaweed.endpoint) as proxy:
        through = seaweed.environment("reader", endpoint=proxy.endpoint)
        with serving(words, log, **through) as served:
            assert served.predict()["probabilities"] == [0.001]
            down(proxy)
            served.until(lambda: served.ready()["degraded"])
            release(registry, keys, tmp_path, 2)
            assert served.predict()["probabilities"] == [0.001]
            proxy.reset(lambda _: None)
            served.until(lambda: served.predict()["probabilities"] == [0.002])
            assert served.ready()["degraded"] is False
        down(proxy)
        with serving(words, log, **through) as served:
            assert served.predict()["probabilities"] == [0.002]
            assert served.ready()["degraded"] is True
    assert "secret-of-reader" not in log.read_text()


def down(proxy: FaultProxy) -> None:
    proxy.reset(lambda _: Answer(503, "SlowDown"))
