"""What a stage's command sees, asked from inside real stages that DVC runs."""

import errno
import inspect
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.lockgate.factory import Project

from lockgate.dvc import stages
from lockgate.dvc.stages import PASSED, PROXIES, Sandbox, StagesRun, run_stages


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "work" / "project")


def asked(project: Project, program: str, sandbox: Sandbox | None = None) -> tuple[StagesRun, dict[str, object]]:
    """Have a stage run a Python program that puts what it finds into ``found``; return that."""
    project.write("ask.py", f"import json, os\nfound = {{}}\n{program}\njson.dump(found, open('found.json', 'w'))\n")
    project.stage("ask", cmd="python ask.py", outs=["found.json"])
    printed: list[str] = []
    done = run_stages(project.root, ["ask"], sandbox=sandbox or Sandbox(), on_output=printed.append)
    assert done.ok, "\n".join(printed)
    return done, json.loads(project.read("found.json"))


def test_a_stage_does_not_see_the_variables_of_whoever_runs_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "confidential")
    monkeypatch.setenv("GITHUB_TOKEN", "confidential")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")

    _, found = asked(project, "found.update(os.environ)")

    assert "confidential" not in found.values()
    assert found["LC_ALL"] == "C.UTF-8"
    assert found["DVC_STAGE"] == "ask"
    added = {"DVC_ROOT", "DVC_STAGE", "HOME", "PATH", "PYTHONUNBUFFERED"}
    assert found.keys() <= {*added, *PASSED, *PROXIES, "PWD", "OLDPWD", "SHLVL", "_"}


def test_a_stage_sees_the_variables_that_are_named_for_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE", "here")

    assert asked(project, "found['it'] = os.environ.get('WAREHOUSE')")[1] == {"it": None}
    assert asked(project, "found['it'] = os.environ.get('WAREHOUSE')", Sandbox(passed=("WAREHOUSE",)))[1] == {
        "it": "here"
    }


def test_the_home_of_a_stage_is_empty_and_can_be_written_to(project: Project) -> None:
    _, found = asked(
        project,
        "home = os.path.expanduser('~')\nfound['files'] = os.listdir(home)\nopen(home + '/x', 'w').write('1')\n"
        "found['home'] = home",
    )

    assert found["files"] == []
    assert not Path(str(found["home"])).exists(), "it is gone afterwards"


def test_the_python_of_the_dependencies_comes_first(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "other" / "bin"
    other.mkdir(parents=True)
    (other / "python").write_text(f'#!/bin/sh\nMARK=other exec "{sys.executable}" "$@"\n')
    (other / "python").chmod(0o755)

    _, found = asked(
        project, "found['it'] = os.environ.get('MARK')", Sandbox(dependencies=other.parent, passed=("MARK",))
    )

    assert found["it"] == "other"
    assert asked(project, "found['it'] = os.environ.get('MARK')")[1] == {"it": None}


def test_the_private_door_of_dvc_through_which_a_command_is_run_is_as_we_know_it() -> None:
    from dvc.stage import run

    parameters = inspect.signature(run._run).parameters
    assert [(name, item.kind.name) for name, item in parameters.items()] == [
        ("executable", "POSITIONAL_OR_KEYWORD"),
        ("cmd", "POSITIONAL_OR_KEYWORD"),
        ("kwargs", "VAR_KEYWORD"),
    ]
    assert "_run(executable, cmd, **kwargs)" in inspect.getsource(run.cmd_run)
    assert inspect.getsource(run).count("subprocess.Popen(") == 1


# --- what a stage that means harm finds


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of whoever runs the stage, with credentials in it."""
    home = tmp_path / "home"
    for path in (
        ".aws/credentials",
        ".config/gcloud/application_default_credentials.json",
        ".netrc",
        ".git-credentials",
    ):
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text("confidential")
    monkeypatch.setenv("HOME", str(home))
    return home


def test_a_stage_cannot_read_the_environment_of_another_process(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "confidential")

    done, found = asked(
        project,
        "seen = {}\n"
        "for name in filter(str.isdigit, os.listdir('/proc')):\n"
        "    try: seen[name] = open(f'/proc/{name}/environ').read()\n"
        "    except OSError as error: seen[name] = error.strerror\n"
        "found.update(seen)",
    )

    assert done.isolation == "namespaces"
    assert found, "its own"
    assert not [text for text in found.values() if "confidential" in str(text)]


def test_a_stage_finds_no_credentials(project: Project, home: Path) -> None:
    assert (home / ".netrc").read_text() == "confidential"

    _, found = asked(
        project,
        "import pathlib, pwd\n"
        f"homes = [os.path.expanduser('~'), {str(home)!r}, pwd.getpwuid(os.getuid()).pw_dir, '/root', '/home']\n"
        "found['files'] = [str(path) for home in homes for path in pathlib.Path(home).rglob('*')\n"
        "    if {'.aws', '.config', '.netrc', '.git-credentials', '.ssh', '.docker'} & set(path.parts)]",
    )

    assert found["files"] == []


def test_a_stage_cannot_get_other_rights(project: Project) -> None:
    _, found = asked(
        project,
        "import ctypes, subprocess\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "found['no_new_privs'], found['rights'] = status['NoNewPrivs'].strip(), int(status['CapEff'], 16)\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "places = ('/tmp', '/root', '/dev', '/proc')\n"
        "found['unmounted'] = [path for path in places if libc.umount2(path.encode(), 2) == 0]\n"
        "found['writable'] = [path for path in ('/', '/etc', '/usr/bin', '/var', '/proc/sys/kernel', '/sys')\n"
        "    if libc.access(path.encode(), 2) == 0]\n"
        "disks = ('sd', 'vd', 'nvme', 'mem', 'kmsg')\n"
        "found['disks'] = [name for name in os.listdir('/dev') if name.startswith(disks)]\n"
        "try: found['sudo'] = subprocess.run(['sudo', '-n', 'mount', '-o', 'remount,rw', '/']).returncode\n"
        "except FileNotFoundError: found['sudo'] = 'there is none'",
    )

    assert found["no_new_privs"] == "1"
    assert int(str(found["rights"])) & ~0xFB == 0, "nothing but what root needs on its own files"
    assert found["unmounted"] == found["writable"] == found["disks"] == []
    assert found["sudo"] != 0


def test_a_setuid_program_gives_a_stage_nothing(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a program away")
    shell = tmp_path / "tools" / "id"
    shell.parent.mkdir()
    shell.write_bytes(Path("/usr/bin/id").read_bytes())
    os.chown(shell, 65534, 65534)
    shell.chmod(0o4755)
    monkeypatch.setenv("TOOLS", str(shell.parent))
    assert subprocess.check_output([shell, "-u"]).split() == [b"65534"]

    program = "import subprocess\nfound['it'] = subprocess.check_output([os.environ['TOOLS'] + '/id', '-u']).decode()"
    _, found = asked(project, program, Sandbox(passed=("TOOLS",)))

    assert found["it"] == "0\n"


def test_a_stage_does_not_reach_the_metadata_of_a_cloud_however_it_writes_the_address(project: Project) -> None:
    done, found = asked(
        project,
        "import socket\n"
        "def tried(family, address):\n"
        "    with socket.socket(family) as it:\n"
        "        it.settimeout(1)\n"
        "        try: it.connect(address)\n"
        "        except OSError as error: return error.errno\n"
        "        return 0\n"
        "found['4'] = tried(socket.AF_INET, ('169.254.169.254', 80))\n"
        "found['mapped'] = tried(socket.AF_INET6, ('::ffff:169.254.169.254', 80))\n"
        "found['6'] = tried(socket.AF_INET6, ('fd00:ec2::254', 80))\n"
        "found['containers'] = tried(socket.AF_INET, ('169.254.170.2', 80))\n"
        "with socket.socket() as it:\n"
        "    try: found['fast open'] = it.sendto(b'GET / ', socket.MSG_FASTOPEN, ('169.254.169.254', 80))\n"
        "    except OSError as error: found['fast open'] = error.errno\n",
    )

    unreachable = {"4": errno.ENETUNREACH, "mapped": errno.ENETUNREACH, "6": errno.ENETUNREACH}
    assert found == {**unreachable, "containers": errno.ENETUNREACH, "fast open": errno.EOPNOTSUPP}
    assert "169.254.169.254:80" in done.contacts["ask"]


@pytest.mark.parametrize("network", [True, False])
def test_a_server_of_this_machine_is_reached_only_with_a_network(project: Project, network: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        _, found = asked(
            project,
            "import socket\n"
            f"try: found['it'] = bool(socket.create_connection(('127.0.0.1', {port}), 5))\n"
            "except OSError: found['it'] = False\n",
            Sandbox(network=network),
        )

    assert found == {"it": network}


@pytest.mark.parametrize("network", [True, False])
def test_a_stage_can_serve_itself(project: Project, network: bool) -> None:
    _, found = asked(
        project,
        "import multiprocessing, os, socket, threading\n"
        "def once(server):\n"
        "    with server: server.accept()[0].sendall(b'hello')\n"
        "def heard(server, client, address):\n"
        "    threading.Thread(target=once, args=(server,)).start()\n"
        "    with client: client.connect(address); return client.recv(9).decode()\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "found['port'] = heard(server, socket.socket(), server.getsockname())\n"
        "os.chdir('/tmp')\n"
        "for name, address in (('file', '/tmp/a'), ('relative', 'b'), ('abstract', '\\0c')):\n"
        "    server = socket.socket(socket.AF_UNIX); server.bind(address); server.listen()\n"
        "    found[name] = heard(server, socket.socket(socket.AF_UNIX), address)\n"
        "with multiprocessing.Pool(2) as pool: found['pool'] = pool.map(abs, [-1, -2])\n"
        "os.chdir(os.environ['DVC_ROOT'])\n",
        Sandbox(network=network),
    )

    assert found == {**dict.fromkeys(("port", "file", "relative", "abstract"), "hello"), "pool": [1, 2]}


def test_a_stage_writes_to_no_remote_no_cache_and_no_repository_but_its_outputs(project: Project) -> None:
    inside = project.root / "trusted"
    (inside / "files").mkdir(parents=True)
    with (project.root / ".dvc/config").open("a") as config:
        config.write("['remote \"trusted\"']\n    url = ../trusted\n")
    (project.root / ".dvc/cache/files").mkdir(parents=True)
    targets = [
        project.remote,
        inside,
        inside / "files",
        *(project.root / name for name in (".git", ".git/hooks", ".dvc")),
    ]
    targets += [project.root / ".dvc/cache", project.root / ".dvc/cache/files", project.root.parent]

    asked(
        project,
        f"for folder in {[str(path) for path in targets]}:\n"
        "    try: open(folder + '/planted', 'w').write('x')\n"
        "    except OSError: pass\n"
        "notes = os.path.join(os.environ['DVC_ROOT'], '.dvc/tmp/exps/run')  # of DVCLive, at every step\n"
        "os.makedirs(notes); open(notes + '/DVCLIVE_STEP_COMPLETED', 'w').write('{}')\n"
        "import dvc.api; found['seen'] = dvc.api.params_show()\n"
        "open('beside', 'w').write('x')",
    )

    assert [path for path in targets if (path / "planted").exists()] == []
    assert not (project.root / ".dvc/tmp/exps").exists()
    assert project.read("beside") == "x"


def test_nothing_that_a_stage_starts_outlives_it(project: Project) -> None:
    mark = f"left-behind-{os.getpid()}"

    asked(
        project,
        "import subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', {mark!r}], start_new_session=True)",
    )

    assert not [name for name in Path("/proc").iterdir() if name.name.isdigit() and mark in command_line(name)]


def test_a_stage_cannot_signal_whoever_runs_it(project: Project) -> None:
    project.stage("bad", cmd="kill -TERM 0; kill -KILL -1", outs=["x"])

    done = run_stages(project.root, ["bad"])

    assert done.failed is not None
    assert "exited with 143" in done.failed.error


def command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_folder_that_a_named_variable_names_can_be_used(
    project: Project, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = home / ".cache/models"
    models.mkdir(parents=True)
    (models / "known").write_text("weights")
    monkeypatch.setenv("HF_HOME", str(models))
    program = (
        "folder = os.environ['HF_HOME']\n"
        "found['read'] = open(folder + '/known').read()\n"
        "open(folder + '/new', 'w').write('x')\n"
        f"found['beside'] = os.path.exists({str(home / '.netrc')!r})"
    )

    _, found = asked(project, program, Sandbox(passed=("HF_HOME",)))

    assert found == {"read": "weights", "beside": False}
    assert (models / "new").read_text() == "x"


def test_the_exit_code_of_a_stage_is_told_and_its_command_is_named_as_it_was_written(project: Project) -> None:
    project.stage("bad", cmd="exit 7", outs=["x"])

    done = run_stages(project.root, ["bad"])

    assert not done.ok
    assert done.failed is not None
    assert "exit 7, exited with 7" in done.failed.error


# --- where isolation cannot be had


# --- where isolation cannot be had

WITHOUT = 'echo 0 > /proc/sys/user/max_pid_namespaces && exec "$@"'
RUN = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from lockgate.dvc.stages import Sandbox, run_stages
from lockgate.errors import LockgateError
try:
    print(json.dumps(asdict(run_stages(Path.cwd(), ["ask"], sandbox=Sandbox(required=sys.argv[1] == "required")))))
except LockgateError as error:
    print(json.dumps({"error": type(error).__name__, "exit": error.exit_code, "said": f"{error} {error.advice}"}))
"""


def run_without_namespaces(project: Project, isolation: str) -> dict[str, Any]:
    """Run the stage ``ask`` where the kernel grants no more namespaces."""
    project.write(
        "ask.py",
        "import json, os\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "found = {**os.environ, 'no_new_privs': status['NoNewPrivs'].strip(), 'home': os.listdir(os.environ['HOME'])}\n"
        "json.dump(found, open('found.json', 'w'))\n",
    )
    project.stage("ask", cmd="python ask.py", outs=["found.json"])
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", WITHOUT, "sh", sys.executable, "-c", RUN, isolation],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(Path(stages.__file__).parents[2]), "GITHUB_TOKEN": "confidential"},
        stdout=subprocess.PIPE,
        check=True,
    )
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def test_where_there_are_no_namespaces_a_stage_runs_and_it_is_said_that_it_was_not_isolated(project: Project) -> None:
    done = run_without_namespaces(project, "best-effort")

    assert (done["code"], done["isolation"]) == (0, "none")
    assert "namespaces" in done["reason"]
    found = json.loads(project.read("found.json"))
    assert "confidential" not in found.values()
    assert (found["no_new_privs"], found["home"]) == ("1", [])


def test_where_there_are_no_namespaces_a_stage_that_has_to_be_isolated_does_not_run(project: Project) -> None:
    said = run_without_namespaces(project, "required")

    assert (said["error"], said["exit"]) == ("NotIsolated", 3)
    assert "stages: {isolation: best-effort}" in said["said"]
    assert not (project.root / "found.json").exists()
