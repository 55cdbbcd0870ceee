"""A real ``lockgate serve`` in a process of its own, on a free port of the loopback interface."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.lockgate.releases import ACTOR, STAGING, Keys
from tests.lockgate.serving_builds import ROOT, TOY, toy_build

from lockgate.releasing.environments import Environment
from lockgate.releasing.promotion import promote
from lockgate.releasing.registry import Registry

EXAMPLE: dict[str, Any] = TOY["example"]  # type: ignore[assignment]
PATIENCE = 60.0  # seconds: a busy machine is no failure


@dataclass
class Served:
    """A running service."""

    process: "subprocess.Popen[bytes]"
    port: int
    log: Path
    http: httpx.Client

    def predict(self, body: Any = EXAMPLE) -> dict[str, Any]:
        answer = self.http.post("/v1/predict", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    def ready(self) -> dict[str, Any]:
        return self.http.get("/readyz").json()  # type: ignore[no-any-return]

    def metric(self, name: str) -> float:
        """Return one sample of /metrics by its name with labels."""
        text = self.http.get("/metrics").text
        return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])  # type: ignore[index]

    def until(self, what: Callable[[], Any]) -> Any:
        """Return what ``what()`` returns once that is true."""
        return eventually(what, self.process)


def eventually(what: Callable[[], Any], process: "subprocess.Popen[bytes] | None" = None) -> Any:
    """Ask again and again until the answer is true, and return it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := what():
            return found
        assert process is None or process.poll() is None, "the service ended"
        time.sleep(0.02)
    raise AssertionError(f"not so after {PATIENCE:g} s: {what}")


def command(registry: Registry, keys: Keys, cache: Path, *more: str, ref: str = "staging") -> list[str]:
    words = [sys.executable, "-m", "lockgate", "serve", ref, "--port", "0", "--poll", "0.05", "--cache", str(cache)]
    words += ["--store", registry.store.url, "--model", registry.name]
    return [*words, "--public-key", str(keys.verifier.public_key), *more]


@contextlib.contextmanager
def serving(words: list[str], log: Path, **environment: str) -> Iterator[Served]:
    """Run a service; on the way out it is asked to end and has to."""
    with log.open("ab") as out:
        begin = log.stat().st_size
        process = subprocess.Popen(words, stderr=out, env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment)
    try:
        found = eventually(lambda: re.search(rb"listening on http://[^:]+:(\d+)", log.read_bytes()[begin:]), process)
        port = int(found[1])
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as http:
            yield Served(process, port, log, http)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def release(registry: Registry, keys: Keys, folder: Path, number: int, **more: Any) -> str:
    """Publish toy release ``number`` and have staging run it; return its digest."""
    build, _ = registry.publish(
        toy_build(folder / f"toy{number}", number, **more), f"v{number}.0.0", {}, signer=keys.signer, actor=ACTOR
    )
    promote(registry, f"v{number}.0.0", STAGING, keys.signer, ACTOR)
    return build.release.manifest


def roll_back(registry: Registry, keys: Keys, number: int) -> None:
    """Have staging run release ``number`` again."""
    build = registry.release(f"v{number}.0.0")
    Environment(registry, "staging").append(build, keys.signer, ACTOR, "rollback")
