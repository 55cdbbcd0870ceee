"""What a command of Lockgate's own that reads somebody else's files sees, asked from inside a real one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.lockgate.factory import Project

from lockgate.dvc import confined as module
from lockgate.dvc.confined import confined

PROBE = """
import json, os, socket, sys
def outcome(work):
    try:
        return repr(work())
    except OSError as error:
        return type(error).__name__
server = json.loads(sys.argv[1])
print(json.dumps({
    "variables": sorted(os.environ),
    "network": outcome(lambda: socket.create_connection(("127.0.0.1", server["port"]), 5)),
    "written": outcome(lambda: open(server["project"] + "/x", "w")),
    "read": outcome(lambda: len(open(server["read"]).read())),
    "git": outcome(lambda: os.listdir(server["project"] + "/.git")),
    "home": outcome(lambda: os.listdir(server["home"])),
    "own": outcome(lambda: open("/tmp/x", "w").close()),
}))
"""
RUN = """
import json, sys
from pathlib import Path
from lockgate.dvc.confined import confined
told = json.loads(sys.argv[1])
done = confined([sys.executable, "-I", "-c", told["probe"], sys.argv[1]], {"LANG": "C"},
                repository=Path(told["project"]), read=[Path(told["read"])], seconds=60)
print(json.dumps({"how": done.how.isolation, "reason": done.how.reason, **json.loads(done.output)}))
"""
NO_NAMESPACES = 'echo 0 > /proc/sys/user/max_pid_namespaces && exec "$@"'


@pytest.fixture
def told(tmp_path: Path) -> dict[str, Any]:
    project = Project.create(tmp_path / "project")
    home = tmp_path / "home"
    home.mkdir()
    (home / "credentials").write_text("confidential")
    (tmp_path / "left").write_text("12345")
    return {"project": str(project.root), "home": str(home), "read": str(tmp_path / "left"), "probe": PROBE}


def found(told: dict[str, Any], *, namespaces: bool) -> dict[str, Any]:
    """Return what a confined command finds, while a server listens on this machine and the caller has a token."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        question = json.dumps({**told, "port": server.getsockname()[1]})
        without = [] if namespaces else ["unshare", "--user", "--map-root-user", "sh", "-c", NO_NAMESPACES, "sh"]
        done = subprocess.run(
            [*without, sys.executable, "-c", RUN, question],
            env={
                **os.environ,
                "HOME": told["home"],
                "GITHUB_TOKEN": "confidential",
                "PYTHONPATH": str(Path(module.__file__).parents[2]),
            },
            stdout=subprocess.PIPE,
            check=True,
        )
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def test_it_reads_what_it_is_given_and_has_no_token_no_network_and_no_home(told: dict[str, Any]) -> None:
    seen = found(told, namespaces=True)

    assert seen["how"] == "namespaces", seen["reason"]
    assert "GITHUB_TOKEN" not in seen["variables"]
    assert (seen["network"], seen["written"]) == ("ConnectionRefusedError", "OSError")
    assert (seen["read"], seen["own"]) == ("5", "None")
    assert "HEAD" in seen["git"]
    assert "credentials" not in seen["home"]


def test_where_there_are_no_namespaces_it_opens_no_socket_all_the_same(told: dict[str, Any]) -> None:
    seen = found(told, namespaces=False)

    assert (seen["how"], seen["network"]) == ("none", "PermissionError")
    assert "GITHUB_TOKEN" not in seen["variables"]
    assert seen["read"] == "5"


def test_a_command_that_does_not_end_is_ended(told: dict[str, Any]) -> None:
    with pytest.raises(TimeoutError):
        confined(["sleep", "600"], {"PATH": os.environ["PATH"]}, repository=Path(told["project"]), read=[], seconds=1)
