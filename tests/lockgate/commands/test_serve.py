"""What a caller of the service gets: answers, what is told of the model, refusals that say which field and why."""

import asyncio
import json
import resource
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.length import length
from tests.lockgate.releases import NAME, Keys, make_keys
from tests.lockgate.serving_builds import ROOT, TOY
from tests.lockgate.serving_harness import EXAMPLE, Served, command, eventually, release, serving
from tests.lockgate.serving_load import Load, load, post

from lockgate.releasing.registry import Registry
from lockgate.store import open_store

pytest_plugins = ("tests.lockgate.release_fixtures",)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Toy release 7 in staging, served with small limits."""
    folder = tmp_path_factory.mktemp("served")
    keys = make_keys(folder / "keys")
    registry = Registry(open_store(str(folder / "store"), create=True), NAME, keys.verifier)
    release(registry, keys, folder, 7)
    more = [
        "--body-seconds",
        "1",
        "--max-body",
        str(2**20),
        "--max-held",
        str(2**22),
        "--record",
        str(folder / "record"),
    ]
    secret = "secret-of-the-store-0123456789"
    with serving(command(registry, keys, folder / "cache", *more), folder / "log", AWS_SECRET_ACCESS_KEY=secret) as it:
        yield it


def refused(served: Served, status: int, body: Any = None, **more: Any) -> dict[str, Any]:
    content = more.pop("content", None)
    headers = {"content-type": "application/json"} | more.pop("headers", {})
    if content is None:
        content = json.dumps(body)
    answer = served.http.post("/v1/predict", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    return answer.json()  # type: ignore[no-any-return]


def test_one_request_gets_one_probability_and_says_of_which_release(served: Served) -> None:
    answer = served.predict()
    assert answer["probabilities"] == [0.007]
    assert answer["release"] == f"{NAME}@v7.0.0"
    assert answer["build"] == served.http.get("/v1/model").json()["build"]
    assert answer["id"] != served.predict()["id"]


def test_many_requests_get_as_many_probabilities(served: Served) -> None:
    assert served.predict([EXAMPLE] * 3000)["probabilities"] == [0.007] * 3000


def test_an_optional_field_may_be_absent_or_null(served: Served) -> None:
    assert served.predict({**EXAMPLE, "kind": None, "count": None, "flag": None})["probabilities"] == [0.007]
    assert served.predict({**EXAMPLE, "kind": "a", "count": 3, "flag": True})["probabilities"] == [0.007]


def test_the_model_is_described(served: Served) -> None:
    told = served.http.get("/v1/model").json()
    assert (told["name"], told["version"], told["environment"], told["entry"]) == (NAME, "v7.0.0", "staging", 1)
    assert told["card"] == "# Toy 7\n"
    assert {file["path"] for file in told["files"]} >= {"model.json", "samples.json", "toy_model-0.7-py3-none-any.whl"}
    assert all(len(file["sha256"]) == 64 for file in told["files"])
    assert set(told["request"]["required"]) == {"x", "when"}


def test_health_and_metrics(served: Served) -> None:
    before = served.metric('lockgate_requests_total{path="/v1/predict",status="200"}')
    served.predict([EXAMPLE, EXAMPLE])
    assert served.metric('lockgate_requests_total{path="/v1/predict",status="200"}') == before + 1
    assert served.http.get("/healthz").json() == {"alive": True}
    assert served.ready()["ready"] is True
    assert served.ready()["degraded"] is False


def test_every_example_of_the_openapi_document_works(served: Served) -> None:
    document = served.http.get("/openapi.json").json()
    examples = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert [len(served.predict(one["value"])["probabilities"]) for one in examples.values()] == [1, 2]


@pytest.mark.parametrize(
    ("change", "field", "why"),
    [
        ({"x": "0.5"}, "x", "valid number"),
        ({"x": True}, "x", "valid number"),
        ({"x": None}, "x", "valid number"),
        ({"x": 1001}, "x", "less than or equal to 1000"),
        ({"x": float("nan")}, "x", "finite"),
        ({"x": float("-inf")}, "x", "finite"),
        ({"kind": "k" * 21}, "kind", "at most 20 characters"),
        ({"kind": 5}, "kind", "valid string"),
        ({"count": 1.5}, "count", "valid integer"),
        ({"count": True}, "count", "valid integer"),
        ({"count": float("inf")}, "count", "valid integer"),
        ({"count": 2**53}, "count", "less than or equal to"),
        ({"flag": 1}, "flag", "valid boolean"),
        ({"when": 1700000000}, "when", "2013-10-01T05:17:00"),
        ({"when": "1700000000"}, "when", "2013-10-01T05:17:00"),
        ({"when": "2026-01-02T03:04:05Z"}, "when", "without an offset"),
        ({"when": "2026-02-29T03:04:05"}, "when", "day"),
        ({"colour": "red"}, "colour", "no such field"),
        ({"x": {"a": 1}}, "x", "valid number"),
    ],
)
def test_a_wrong_field_is_refused_with_its_name_and_the_reason(
    served: Served, change: dict[str, Any], field: str, why: str
) -> None:
    [found] = refused(served, 422, {**EXAMPLE, **change})["fields"]
    assert found["field"] == field
    assert why in found["why"]
    several = refused(served, 422, [EXAMPLE, EXAMPLE, {**EXAMPLE, **change}])
    assert several["fields"][0]["field"] == f"[2].{field}"


def test_a_missing_field_is_refused_with_its_name(served: Served) -> None:
    found = refused(served, 422, {})["fields"]
    assert [one["field"] for one in found] == ["x", "when"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b'{"x": 1,}', 400),
        (b"[" * 100_000, 400),
        (b'{"x": ' * 20_000, 400),
        (b'{"kind": "\xff"}', 400),
        (b'{"kind": "\\ud800"}', 400),
        (b'{"x": 1' + b"0" * 50_000 + b"}", 400),
        (b"null", 422),
        (b'"x"', 422),
        (b"[]", 422),
        (b"[[]]", 422),
        (b"\x00\x01\x02", 400),
    ],
)
def test_what_is_not_a_request_is_refused(served: Served, content: bytes, status: int) -> None:
    assert refused(served, status, content=content)["error"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "application/jsonp"])
def test_another_content_type_is_refused(served: Served, kind: str) -> None:
    assert "application/json" in refused(served, 415, EXAMPLE, headers={"content-type": kind})["error"]


def test_a_body_above_the_limit_is_refused_before_it_is_read(served: Served) -> None:
    assert "1,048,576 bytes" in refused(served, 413, content=b" " * 10_000_000)["error"]


def test_a_body_above_the_limit_is_refused_where_its_length_was_not_said(served: Served) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 100_000

    try:
        answer = served.http.post("/v1/predict", content=pieces(), headers={"content-type": "application/json"})
        assert answer.status_code == 413
    except (OSError, __import__("httpx").TransportError):  # the answer came while we were still sending
        pass
    assert served.metric("lockgate_held_bytes") == 0


def test_too_many_requests_in_one_call_are_refused(served: Served) -> None:
    assert "bytes" in refused(served, 413, [EXAMPLE] * 100_000)["error"]
    many = [{"x": 1, "when": "2026-01-02T03:04"}] * 5001
    assert "at most 5000" in refused(served, 422, many)["error"]


def test_a_body_that_does_not_come_ends_with_an_answer(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as slow:
        head = "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        slow.sendall(head.encode() + b'{"x":')
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")
    assert served.predict()["probabilities"] == [0.007]


def test_a_head_that_does_not_end_is_cut_off_by_its_size(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port)) as endless:
        endless.sendall(b"GET /healthz HTTP/1.1\r\n")
        answer = b""
        try:
            for _ in range(1000):
                endless.sendall(b"X-More: " + b"m" * 1000 + b"\r\n")
            answer = endless.recv(1000)
        except OSError:
            answer = b"HTTP/1.1 400"
        assert answer.startswith(b"HTTP/1.1 400")


def test_a_thousand_idle_connections_do_not_keep_others_out(served: Served) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    idle = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(1000)]
    try:
        assert served.predict()["probabilities"] == [0.007]
    finally:
        for one in idle:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_connections_at_once_are_all_answered(served: Served) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    request = post("/v1/predict", json.dumps(EXAMPLE).encode())
    try:
        seen: Load = asyncio.run(load(served.port, [request], 1000, lambda seen: len(seen.statuses) >= 3000))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert seen.errors == []
    assert set(seen.statuses) == {200}


def test_large_bodies_of_many_callers_are_bounded_together(served: Served) -> None:
    """40 callers hold back the end of a body of 0.9 MB each; the limit for all is 4 MB."""
    head = "POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    callers = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(40)]
    try:
        for caller in callers:
            caller.setblocking(False)
            try:
                caller.sendall(head.encode() + b" " * 900_000)
            except OSError:
                continue
        assert served.metric("lockgate_held_bytes") <= 2**22
        for caller in callers:
            caller.settimeout(30)
        first = {answer_of(caller) for caller in callers}
        assert first <= {b"408", b"503", b""}
        assert first & {b"408", b"503"}
    finally:
        for caller in callers:
            caller.close()
    served.until(lambda: served.metric("lockgate_held_bytes") == 0)


def answer_of(caller: socket.socket) -> bytes:
    try:
        return caller.recv(100)[9:12]
    except OSError:
        return b""


def test_memory_stays_bounded_under_rubbish(served: Served) -> None:
    process = psutil.Process(served.process.pid)
    refused(served, 400, content=b"[" * 900_000)
    before = process.memory_info().rss
    for _ in range(length(10, 100)):  # a body is about a megabyte, and as objects of Python many
        refused(served, 422, content=b"[" + b"{}," * 300_000 + b"{}]")
        refused(served, 422, content=json.dumps({f"field{n}": 1 for n in range(40_000)}))
    assert process.memory_info().rss < before + 100 * 2**20


def test_a_model_that_fails_on_a_request_fails_on_that_one_alone(served: Served) -> None:
    good, bad = (post("/v1/predict", json.dumps({**EXAMPLE, "kind": kind}).encode()) for kind in ("slow", "raise"))
    requests = [bad if number % 5 == 0 else good for number in range(10)]
    seen = asyncio.run(load(served.port, requests, 10, lambda seen: len(seen.statuses) >= 10))
    assert sorted(set(seen.statuses)) == [200, 500]
    for status, body in zip(seen.statuses, seen.bodies, strict=True):
        told = json.loads(body)
        assert (told["probabilities"] == [0.007]) if status == 200 else ("failed on this request" in told["error"])
    assert served.predict()["probabilities"] == [0.007]


def test_a_model_that_dies_is_started_again_and_others_are_answered(served: Served) -> None:
    before = served.metric("lockgate_model_restarts_total")
    answer = refused(served, 500, {**EXAMPLE, "kind": "die"})
    assert "failed" in answer["error"]
    assert served.predict()["probabilities"] == [0.007]
    assert served.metric("lockgate_model_restarts_total") > before


def test_no_secret_and_no_request_is_in_the_log_or_reaches_the_model(served: Served) -> None:
    marker = "marker-of-a-request"
    served.http.post("/v1/predict", json={**EXAMPLE, "kind": marker, marker: marker})
    refused(served, 500, {**EXAMPLE, "kind": "raise", "x": 123.4567})
    text = served.log.read_text()
    assert "ValueError in __init__.py" in text
    assert "123.4567" not in text
    assert "secret-of-the-store" not in text
    assert marker not in text
    [worker] = [child for child in psutil.Process(served.process.pid).children() if "worker.py" in str(child.cmdline())]
    assert not [name for name in worker.environ() if name.startswith("AWS")]


def test_the_models_code_is_the_wheels_and_lies_apart_from_this_checkout(served: Served) -> None:
    [worker] = [child for child in psutil.Process(served.process.pid).children() if "worker.py" in str(child.cmdline())]
    code = Path(worker.environ()["PYTHONPATH"])
    assert (code / "toy_model" / "__init__.py").is_file()
    assert not code.is_relative_to(ROOT)


@pytest.mark.slow
def test_no_input_that_the_openapi_document_can_think_of_breaks_it(served: Served, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{served.port}/openapi.json"]
    words += ["--max-examples", str(length(30, 300)), "--seed", "1", "--workers", "1", "--no-color"]
    # a pattern cannot say which months have a 30th, so a time that fits it may be refused
    words += ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ran.returncode == 0, ran.stdout[:3000]
    assert served.process.poll() is None


@pytest.mark.slow
def test_what_cannot_be_served_says_why_and_nothing_listens(
    registry: Registry, keys: Keys, lockgate: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    def fails(number: int, words: str, **more: Any) -> None:
        release(registry, keys, tmp_path, number, **more)
        code, _, said = lockgate(*command(registry, keys, tmp_path / "cache")[3:])
        assert code == 1
        assert words in said
        assert "Traceback" not in said
        assert "listening" not in said

    fails(1, "sample request 0 gave 0.001 where 0.5 is expected", expected=0.5)
    fails(2, "code and file are of two releases", file_number=1)
    fails(3, "names no entry of the form", entry="os.system")
    fails(4, "json is not the wheel's", entry="json:load")
    fails(5, "has unknown keys: more", more=1)
    fails(6, "its process ended before it answered", loading="os._exit(3)")
    fails(7, "ZeroDivisionError", loading="1 / 0")
    fails(8, "names as model no file of the build", model="../../store")
    fails(9, "is not a schema of a request", request={**TOY, "columns": [{"name": "x", "type": "complex"}]})


def test_without_the_packages_of_the_service_the_command_says_what_to_install(tmp_path: Path) -> None:
    """An interpreter in which they cannot be imported, as where only lockgate's core is installed."""
    block = "import sys; sys.modules.update(dict.fromkeys(['fastapi', 'uvicorn', 'uvloop', 'prometheus_client']))\n"
    run = block + "from lockgate.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", run, "serve", "production", "--store", str(tmp_path)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT / "src")})
    assert ran.returncode == 3
    assert "pip install 'lockgate[service]'" in ran.stderr


def test_a_version_is_served_too(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    release(registry, keys, tmp_path, 1)
    release(registry, keys, tmp_path, 2)
    with serving(command(registry, keys, tmp_path / "cache", ref="v1.0.0"), tmp_path / "log") as served:
        assert served.predict()["probabilities"] == [0.001]
        assert served.http.get("/v1/model").json()["environment"] is None


def test_the_interrupted_service_ends_its_model_too(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    release(registry, keys, tmp_path, 1)
    with serving(command(registry, keys, tmp_path / "cache"), tmp_path / "log") as served:
        children = psutil.Process(served.process.pid).children()
        served.process.kill()
        served.process.wait()
        assert children
        eventually(lambda: not any(child.is_running() and child.status() != "zombie" for child in children))


def test_a_wheel_that_reaches_out_of_its_folder_stays_inside(tmp_path: Path) -> None:
    from tests.lockgate.serving_builds import toy_build

    from lockgate.serving.process import unpack

    folder = toy_build(tmp_path / "toy", 1)
    with zipfile.ZipFile(folder / "toy_model-0.1-py3-none-any.whl", "a") as wheel:
        wheel.writestr("../../outside.py", "")
        wheel.writestr(f"{tmp_path}/absolute.py", "")
    loadable = unpack("toy", folder)
    assert (loadable.code / "outside.py").is_file()
    assert not (loadable.code.parent.parent / "outside.py").exists()
    assert not (tmp_path / "absolute.py").exists()
    loadable.discard()
    assert not loadable.code.exists()
