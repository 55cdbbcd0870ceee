"""A real S3 store for tests: SeaweedFS on the loopback interface, with users of different rights.

``seaweed`` (a fixture of the whole session) starts one server on free ports in a folder of its own and ends it by its
process id; :meth:`Seaweed.environment` gives what a program needs to speak to it as one of :data:`USERS`.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

BUCKET = "models"
# user → what SeaweedFS lets it do. Names and secrets exist only in the throw-away server.
USERS = {
    "admin": ["Admin"],
    "releaser": [f"Read:{BUCKET}", f"List:{BUCKET}", f"Write:{BUCKET}"],
    "reader": [f"Read:{BUCKET}", f"List:{BUCKET}"],
}


@dataclass(frozen=True)
class Seaweed:
    """One running server."""

    endpoint: str
    pid: int
    folder: Path

    def environment(self, user: str = "releaser", endpoint: str | None = None) -> dict[str, str]:
        """Return the standard AWS variables that make a program ``user`` of this server."""
        return {
            "AWS_ACCESS_KEY_ID": user,
            "AWS_SECRET_ACCESS_KEY": secret(user),
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def secret(user: str) -> str:
    """Return the secret of ``user``, long enough to be looked for in messages."""
    return f"secret-of-{user}-0123456789abcdef"


@contextlib.contextmanager
def running(folder: Path, bucket: str = BUCKET, users: Mapping[str, list[str]] = USERS) -> Iterator[Seaweed]:
    """Run a server whose data lives in ``folder``; it is killed on the way out, its data left to the caller.

    A user called ``anonymous`` is anybody without credentials.
    """
    config = folder / "s3.json"
    config.write_text(
        json.dumps(
            {
                "identities": [
                    {
                        "name": user,
                        "credentials": [{"accessKey": user, "secretKey": secret(user)}] if user != "anonymous" else [],
                        "actions": actions,
                    }
                    for user, actions in users.items()
                ]
            }
        )
    )
    data = folder / "data"
    data.mkdir(exist_ok=True)
    ports = dict(zip(("master", "volume", "filer", "s3", "admin"), _free_ports(5), strict=True))
    command = [str(Path(sys.executable).with_name("weed")), "mini", f"-dir={data}", "-ip=127.0.0.1"]
    command += ["-ip.bind=127.0.0.1", f"-bucket={bucket}", f"-s3.config={config}"]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    command += ["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    # sockets of the server lie in the temporary folder: a short one of its own
    with (
        tempfile.TemporaryDirectory(prefix="weed") as sockets,
        (folder / "weed.log").open("wb") as log,
        subprocess.Popen(
            [*command, f"-s3.localSocket={sockets}/s3.sock", f"-filer.localSocket={sockets}/filer.sock"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": sockets},
            cwd=folder,
            start_new_session=True,
        ) as process,
    ):
        try:
            endpoint = f"http://127.0.0.1:{ports['s3']}"
            _wait_until_ready(endpoint, process, folder / "weed.log")
            yield Seaweed(endpoint, process.pid, folder)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # SIGTERM takes it half a minute
            process.wait()


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """One server for the whole session; tests keep apart by prefixes of their own in :data:`BUCKET`."""
    with running(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


def _free_ports(count: int) -> list[int]:
    """Return ports free now, each with the port 10,000 above it, where the server puts its gRPC twin."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(11_000, 22_000)
        with contextlib.suppress(OSError), socket.socket() as http, socket.socket() as grpc:
            http.bind(("127.0.0.1", port))
            grpc.bind(("127.0.0.1", port + 10_000))
            found.append(port)
    return found


def _wait_until_ready(endpoint: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Return once the server says that all of its parts are up and its S3 port answers."""
    end = time.monotonic() + 60
    while "ready to use" not in log.read_text(errors="replace") or not _answers(endpoint):
        if process.poll() is not None or time.monotonic() > end:
            message = f"SeaweedFS did not start:\n{log.read_text(errors='replace')[-3000:]}"
            raise RuntimeError(message)
        time.sleep(0.05)


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(endpoint, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
