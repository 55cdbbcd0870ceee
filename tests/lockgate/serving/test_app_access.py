"""Who may ask, where to ask, and what is refused before a model sees it: over real HTTP."""

import datetime as dt
import json
import os
import re
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.lockgate.releases import ACTOR, Keys
from tests.lockgate.serving_builds import TOY
from tests.lockgate.serving_harness import EXAMPLE, Served, command, eventually, release, serving

from lockgate.releasing.environments import Environment
from lockgate.releasing.heartbeats import beat
from lockgate.releasing.promotion import retire
from lockgate.releasing.registry import Actor, Registry
from lockgate.releasing.withdrawal import withdraw

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")
pytestmark = pytest.mark.slow
TOKEN = "a-token-of-some-length-1"
COLUMNS: Any = TOY["columns"]
CATEGORIES: dict[str, Any] = {
    **TOY,
    "columns": [{**one, "categories": ["a", "b", "die"]} if one["name"] == "kind" else one for one in COLUMNS],
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Iterator[Served]:
    """One service for all tests that leave it as it was."""
    from tests.lockgate.releases import NAME

    from lockgate.store import open_store

    folder = tmp_path_factory.mktemp("access")
    registry = Registry(open_store(str(folder / "store"), create=True), NAME, keys.verifier)
    release(registry, keys, folder, 1, request=CATEGORIES)
    with serving(command(registry, keys, folder / "cache"), folder / "log") as running:
        yield running


@pytest.mark.parametrize(
    "body",
    [
        b'{"x": 1, "x": 2, "when": "2026-01-02T03:04:05"}',
        b'{"x": 1, "when": "2026-01-02T03:04:05", "x": 1}',
        b'{"x": 1, "\\u0078": 2, "when": "2026-01-02T03:04:05"}',
        b'[{"x": 1, "when": "2026-01-02T03:04:05"}, {"when": "2026-01-02T03:04:05", "x": 1, "x": 1}]',
    ],
)
def test_a_field_that_is_there_twice_is_refused_and_not_guessed(served: Served, body: bytes) -> None:
    answer = served.http.post("/v1/predict", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["fields"][0]["field"]) == (422, "x")


def test_a_head_above_its_limit_is_refused_although_it_comes_in_one_piece(served: Served) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n"
    for whole in (head, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", served.port)) as line:
            line.sendall(whole)
            assert line.recv(100).startswith(b"HTTP/1.1 400")
    assert served.http.get("/healthz", headers={"X-Long": "a" * 20_000}).status_code == 200


def test_a_dead_model_is_noticed_and_started_again_although_nobody_asks(served: Served) -> None:
    tasks = Path(f"/proc/{served.process.pid}/task").iterdir()
    [child] = {int(word) for task in tasks for word in (task / "children").read_text().split()}
    before = served.metric("lockgate_model_restarts_total")
    os.kill(child, signal.SIGKILL)
    assert eventually(lambda: served.http.get("/readyz").status_code == 503, served.process)
    assert eventually(lambda: served.http.get("/readyz").status_code == 200, served.process)
    assert served.metric("lockgate_model_restarts_total") == before + 1
    assert "its process ended" in served.log.read_text()
    served.predict()


def test_values_that_the_model_never_saw_are_counted(served: Served) -> None:
    name = 'lockgate_unknown_categories_total{column="kind"}'
    served.predict({**EXAMPLE, "kind": "z"})
    before = served.metric(name)
    served.predict([{**EXAMPLE, "kind": "a"}, {**EXAMPLE, "kind": "y"}, EXAMPLE])
    assert served.metric(name) == before + 1


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_browser_gets_a_page_that_needs_nothing_from_elsewhere(served: Served, path: str) -> None:
    page = served.http.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "flight-delay@v1.0.0" in page.text
    assert all(f"<code>{column['name']}</code>" in page.text for column in COLUMNS)
    assert re.findall(r"(?:src|href)=\"(?!/)", page.text) == []
    assert "<script" not in page.text


@pytest.mark.parametrize(
    ("method", "path", "status", "right"),
    [
        ("POST", "/v1/predikt", 404, "POST /v1/predict"),
        ("POST", "/predict", 404, "POST /v1/predict"),
        ("GET", "/metric", 404, "GET /metrics"),
        ("GET", "/zzz", 404, "POST /v1/predict"),
        ("GET", "/v1/predict", 405, "POST"),
        ("DELETE", "/v1/model", 405, "GET"),
    ],
)
def test_who_asks_in_the_wrong_place_is_told_the_right_one(
    served: Served, method: str, path: str, status: int, right: str
) -> None:
    answer = served.http.request(method, path)
    assert answer.status_code == status
    assert right in answer.json()["error"]


def test_counters_survive_a_swap(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    release(registry, keys, tmp_path, 1)
    with serving(command(registry, keys, tmp_path / "cache"), tmp_path / "log") as served:
        served.http.post("/v1/predict", json={**EXAMPLE, "kind": "die"})
        before = served.metric("lockgate_model_restarts_total")
        assert before >= 1
        release(registry, keys, tmp_path, 2)
        served.until(lambda: served.ready()["release"].endswith("v2.0.0"))
        assert served.metric("lockgate_model_restarts_total") == before


def test_unknown_categories_are_refused_where_the_policy_says_so(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    from tests.lockgate.releases import STAGING
    from tests.lockgate.serving_builds import toy_build

    from lockgate.releasing.promotion import promote

    folder = toy_build(tmp_path / "toy", 1, request=CATEGORIES)
    (folder / "lockgate.yaml").write_text(
        "model: m\nmetrics: {a: {file: f.json, key: a, better: higher}}\n"
        "serving: {code: src/m, entry: 'toy_model:load', request: 'toy_model:schema', samples: data/x.parquet, "
        "unknown_categories: refuse}\n"
    )
    registry.publish(folder, "v1.0.0", {}, signer=keys.signer, actor=ACTOR)
    promote(registry, "v1.0.0", STAGING, keys.signer, ACTOR)
    with serving(command(registry, keys, tmp_path / "cache"), tmp_path / "log") as served:
        served.predict({**EXAMPLE, "kind": "a"})
        answer = served.http.post("/v1/predict", json=[EXAMPLE, {**EXAMPLE, "kind": "z"}])
        assert (answer.status_code, answer.json()["fields"][0]["field"]) == (422, "[1].kind")
        assert served.metric('lockgate_unknown_categories_total{column="kind"}') == 1


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 that it signed itself, and its key."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "tls.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "tls.key").write_bytes(secret)
    return folder / "tls.pem", folder / "tls.key"


def test_tls_and_tokens_for_those_with_nothing_in_front(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    release(registry, keys, tmp_path, 1)
    pem, key = certificate(tmp_path)
    (tmp_path / "tokens").write_text(f"\n{TOKEN}\nanother-token-of-some-length\n")
    words = command(registry, keys, tmp_path / "cache", "--tls-certificate", str(pem), "--tls-key", str(key))
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen([*words, "--token-file", str(tmp_path / "tokens")], stderr=out)
    try:
        found = eventually(lambda: re.search(rb"listening on https://[^:]+:(\d+)", log.read_bytes()), process)
        trust = ssl.create_default_context(cafile=str(pem))
        with httpx.Client(base_url=f"https://127.0.0.1:{int(found[1])}", verify=trust, timeout=60) as http:
            for path in ("/healthz", "/readyz"):
                assert http.get(path).status_code == 200
            for given in (
                None,
                "",
                "Bearer",
                "Bearer wrong",
                f"Basic {TOKEN}",
                f"Bearer {TOKEN}x",
                f"Bearer {TOKEN[:-1]}",
            ):
                headers = {} if given is None else {"Authorization": given}
                for method, path in (("POST", "/v1/predict"), ("GET", "/v1/model"), ("GET", "/metrics"), ("GET", "/")):
                    answer = http.request(method, path, headers=headers)
                    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            for token in (TOKEN, "another-token-of-some-length"):
                good = http.post("/v1/predict", json=EXAMPLE, headers={"Authorization": f"Bearer {token}"})
                assert good.status_code == 200
        assert TOKEN not in log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--tls-certificate", "tls.pem"],
        ["--tls-key", "tls.pem"],
        ["--tls-certificate", "none.pem", "--tls-key", "none.key"],
        ["--token-file", "none"],
        ["--token-file", "empty"],
        ["--token-file", "short"],
    ],
)
def test_half_a_configuration_is_refused_before_anything_listens(
    registry: Registry, keys: Keys, tmp_path: Path, words: list[str]
) -> None:
    release(registry, keys, tmp_path, 1)
    (tmp_path / "empty").write_text("\n\n")
    (tmp_path / "short").write_text("secret\n")
    done = subprocess.run(
        command(registry, keys, tmp_path / "cache", *words), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "listening" not in done.stderr


def test_a_withdrawn_release_is_warned_of_or_no_longer_answered(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    release(registry, keys, tmp_path, 1)
    release(registry, keys, tmp_path, 2)
    words = command(registry, keys, tmp_path / "cache")
    with serving(words, tmp_path / "log") as served:
        withdraw(registry, "v2.0.0", keys.signer, ACTOR, reason="wrong month", use="refuse")
        assert served.until(lambda: served.http.get("/readyz").status_code == 503)
        answer = served.http.post("/v1/predict", json=EXAMPLE)
        assert (answer.status_code, "wrong month" in answer.json()["error"]) == (503, True)
        Environment(registry, "staging").append(registry.release("v1.0.0"), keys.signer, ACTOR, "rollback")
        assert served.until(lambda: served.http.get("/readyz").status_code == 200)
        assert served.predict()["release"].endswith("v1.0.0")
        withdraw(registry, "v1.0.0", keys.signer, ACTOR, reason="old", use="warn")
        assert served.until(lambda: "withdrawn" in served.ready()["problems"])
        assert served.predict()["release"].endswith("v1.0.0")
    refused = subprocess.run(
        command(registry, keys, tmp_path / "cache", ref="v2.0.0"), capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "wrong month" in refused.stderr) == (1, True)


def test_a_retired_environment_is_not_answered_for(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    release(registry, keys, tmp_path, 1)
    words = command(registry, keys, tmp_path / "cache")
    with serving(words, tmp_path / "log") as served:
        served.predict()
        retire(registry, "staging", keys.signer, ACTOR, reason="replaced")
        assert served.until(lambda: served.http.get("/readyz").status_code == 503)
    refused = subprocess.run(words, capture_output=True, text=True, check=False)
    assert refused.returncode == 1


def test_a_log_without_a_young_heartbeat_is_not_served_and_a_stopped_heart_shows(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    release(registry, keys, tmp_path, 1)
    words = command(registry, keys, tmp_path / "cache", "--max-age", "1h")
    refused = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (refused.returncode, "heartbeat" in refused.stderr) == (1, True)
    beat(registry, "staging", keys.signer, Actor.now("job"))
    with serving(words, tmp_path / "log") as served:
        assert served.ready()["degraded"] is False
        for path in registry.store.objects(f"{registry.name}/heartbeats"):
            registry.store.delete(path.path)
        assert served.until(lambda: served.ready()["degraded"])
        assert json.dumps(served.predict())
