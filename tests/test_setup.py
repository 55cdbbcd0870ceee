"""Set-up installs what the locks name and nothing else, whatever an index, a clock, a cache or a user's settings say.

The real Makefile and ``requirements/install.sh``, in a small project with locks of its own, against an index on
127.0.0.1. Its packages stand for what broke once: ``forms`` asks for ``late[mail]``, and ``late`` has a newer release.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.clock import faked_clock
from tests.package_index import Distribution, Index, installed_wheel, lock, serving, source, tarball, wheel

ROOT = Path(__file__).parent.parent
ACTION = ROOT / ".github/actions/setup/action.yml"
SERVING = ROOT / "docs/serving.md"

UV = installed_wheel("uv")
FORMS = wheel("forms", "1.0", requires=["late[mail]>=1"])
LATE = wheel("late", "1.0", extras={"mail": ["mail-check>=1"]})
MAIL = wheel("mail-check", "1.0")
SERVE = wheel("serve-it", "1.0", requires=["late"])
TRY = wheel("try-it", "1.0", requires=["serve-it"])
LOCKED = (UV, FORMS, LATE, MAIL, SERVE, TRY)
NEWER = (
    wheel("uv", "99.0"),
    wheel("forms", "2.0", requires=["late[mail]>=2"]),
    wheel("late", "2.0", extras={"mail": ["mail-check>=2"]}),
    wheel("mail-check", "2.0"),
    wheel("serve-it", "2.0"),
    wheel("try-it", "2.0"),
)
PUBLISH = {"late": "1.0", "lockgate": "0.1.0"}
RUN = {"forms": "1.0", "late": "1.0", "mail-check": "1.0", "lockgate": "0.1.0"}
SERVICE = {**RUN, "serve-it": "1.0"}
DEV = {**SERVICE, "try-it": "1.0"}

# What stands for lockgate: its build backend lies beside it, as the real one's comes with the locks.
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "lockgate"
version = "0.1.0"
dependencies = ["forms>=1"]
"""
BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name, info = "lockgate-0.1.0-py3-none-any.whl", "lockgate-0.1.0.dist-info"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("lockgate.pth", "")
        about = "Metadata-Version: 2.1\\nName: lockgate\\nVersion: 0.1.0\\nRequires-Dist: forms>=1\\n"
        wheel.writestr(f"{info}/METADATA", about)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name
"""


@dataclass
class Project:
    """A project with the Makefile and the installer of this one."""

    root: Path
    index: Index

    def write(self, **locks: str) -> None:
        for name, text in locks.items():
            (self.root / f"requirements/{name}.lock").write_text(text)

    def settings(self, **more: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root.parent / "home"),
            "UV_DEFAULT_INDEX": self.index.url,
            "PIP_CONFIG_FILE": os.devnull,
            **more,
        }

    def make(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", *words], cwd=self.root, env=self.settings(**more), capture_output=True,
            text=True, check=False, timeout=300,
        )  # fmt: skip

    def set_up(self, level: str = "run", **more: str) -> dict[str, str]:
        """Make an environment; return the version of each package in it."""
        done = self.make(f".venv/{level}", **more)
        assert done.returncode == 0, done.stderr
        return self.installed()

    def refused(self, level: str = "run", **more: str) -> str:
        """Fail to make an environment; return what was said."""
        done = self.make(f".venv/{level}", **more)
        assert done.returncode == 2, done.stdout + done.stderr
        return done.stderr

    def installed(self) -> dict[str, str]:
        (packages,) = (self.root / ".venv/lib").glob("python3.11/site-packages")
        found = (folder.name.removesuffix(".dist-info").split("-") for folder in packages.glob("*-info"))
        return {name.replace("_", "-"): version for name, version in found}

    def version_of(self, module: str) -> str:
        """Ask the environment's interpreter which release of a module it imports."""
        code = f"import {module}; print({module}.VERSION)"
        return subprocess.run(
            [self.root / ".venv/bin/python", "-B", "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()


@pytest.fixture(scope="module")
def index() -> Iterator[Index]:
    with serving(*LOCKED, *NEWER) as found:
        yield found


def lay_out(folder: Path, index: Index) -> Project:
    root = folder / "project"
    (root / "requirements").mkdir(parents=True)
    (folder / "home").mkdir()
    shutil.copy(ROOT / "Makefile", root)
    shutil.copy(ROOT / "requirements/install.sh", root / "requirements")
    (root / "pyproject.toml").write_text(PROJECT)
    (root / "backend.py").write_text(BACKEND)
    project = Project(root, index)
    project.write(
        uv=lock(UV), publish=lock(LATE), pipeline=lock(LATE, MAIL), lockgate=lock(FORMS, LATE, MAIL),
        service=lock(SERVE), dev=lock(FORMS, LATE, MAIL, SERVE, TRY),
    )  # fmt: skip
    return project


@pytest.fixture(scope="module")
def tool(tmp_path_factory: pytest.TempPathFactory, index: Index) -> Path:
    """What brought the installer once, for the tests that are about something else."""
    project = lay_out(tmp_path_factory.mktemp("tool"), index)
    assert project.set_up() == RUN
    return project.root / ".cache/uv"


@pytest.fixture
def bare(tmp_path: Path, index: Index) -> Project:
    """A project as it is after ``git clone``."""
    index.asked.clear()
    return lay_out(tmp_path, index)


@pytest.fixture
def project(bare: Project, tool: Path) -> Project:
    """A project that has its installer."""
    shutil.copytree(tool, bare.root / ".cache/uv", copy_function=os.link)
    return bare


@pytest.fixture(scope="module")
def pip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pip that comes with this Python, in an environment of its own."""
    folder = tmp_path_factory.mktemp("pip") / "venv"
    subprocess.run([Path(sys.base_prefix) / "bin/python3.11", "-m", "venv", folder], check=True)
    return folder / "bin/pip"


@contextmanager
def silent() -> Iterator[str]:
    """An index that takes connections and never answers."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        server.shutdown(socket.SHUT_RDWR)
    for one in held:
        one.close()


IN_400_DAYS = faked_clock("+400d")


@pytest.mark.parametrize("clock", [{}, IN_400_DAYS], ids=["today", "in 400 days"])
def test_a_fresh_clone_gets_the_locked_files_though_the_index_has_newer_releases(
    bare: Project, clock: Mapping[str, str]
) -> None:
    assert bare.set_up(**clock) == RUN
    assert bare.version_of("late") == "1.0"
    assert bare.index.downloads() == {one.filename for one in (UV, FORMS, LATE, MAIL)}


def test_the_clock_of_that_test_is_400_days_ahead() -> None:
    ahead = subprocess.run(["date", "+%s"], env={**os.environ, **IN_400_DAYS}, capture_output=True, check=True).stdout
    assert int(ahead) - time.time() > 399 * 86400


def test_pip_which_installed_before_goes_past_a_pin_when_an_extra_is_asked_for(bare: Project, pip: Path) -> None:
    locks = [f"-r{bare.root}/requirements/{name}.lock" for name in ("pipeline", "lockgate")]
    command = [pip, "install", "--isolated", "--index-url", bare.index.url, "--require-hashes", *locks]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode != 0
    assert re.search(r"all requirements must have their versions pinned.*late\[mail\]", done.stderr, re.DOTALL)


def test_a_package_missing_from_the_lock_is_named(project: Project) -> None:
    project.set_up()  # that it lies in the cache changes nothing
    project.write(pipeline=lock(LATE), lockgate=lock(FORMS, LATE))

    said = project.refused()

    assert "mail-check was not found" in said  # asked for by an extra, which `uv pip check` and `pip check` overlook
    assert "make lock" in said
    assert project.refused() == said  # not taken for done the second time


def test_a_package_that_lockgate_asks_for_and_the_lock_does_not_have_is_named(project: Project) -> None:
    (project.root / "backend.py").write_text(BACKEND.replace("forms>=1", "absent"))
    (project.root / "pyproject.toml").write_text(PROJECT.replace("forms>=1", "absent"))

    assert "absent was not found" in project.refused()


def test_a_file_with_another_hash_than_the_lock_names_is_named(project: Project) -> None:
    project.write(pipeline=lock(LATE, MAIL).replace(LATE.sha256, "0" * 64))
    project.write(lockgate=lock(FORMS))

    said = project.refused()

    assert "Hash mismatch for `late==1.0`" in said
    assert LATE.sha256 in said


def test_a_lock_without_hashes_is_refused(project: Project) -> None:
    project.write(lockgate="forms==1.0\nlate==1.0\nmail-check==1.0\n")

    assert "forms" in project.refused()


def test_an_installer_with_another_hash_than_its_lock_names_is_not_run(bare: Project) -> None:
    bare.write(uv=lock(UV).replace(UV.sha256, "0" * 64))

    said = bare.refused()

    assert UV.sha256 in said
    assert not (bare.root / ".cache/uv").exists()


def test_what_was_added_changed_or_removed_by_hand_is_put_right_by_the_next_make(project: Project) -> None:
    assert project.set_up() == RUN
    uv = project.root / ".cache/uv/bin/uv"
    hand = [uv, "pip", "install", "--quiet", "--python", ".venv", "--index-url", project.index.url]
    subprocess.run([*hand, "late==2.0", "mail-check==2.0", "try-it==2.0"], cwd=project.root, check=True)
    assert project.version_of("late") == "2.0"

    assert project.set_up() == RUN
    assert project.version_of("late") == "1.0"

    subprocess.run([uv, "pip", "uninstall", "--quiet", "--python", ".venv", "forms"], cwd=project.root, check=True)
    assert project.set_up() == RUN


def test_an_environment_that_pip_made_is_made_anew_without_pip_in_it(project: Project, pip: Path) -> None:
    shutil.copytree(pip.parents[1], project.root / ".venv", symlinks=True, copy_function=os.link)
    assert "pip" in project.installed()

    assert project.set_up() == RUN


def test_nothing_is_done_or_said_when_the_environment_is_as_the_locks_say(project: Project) -> None:
    project.set_up()
    asked = len(project.index.asked)

    again = project.make(".venv/run")

    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert len(project.index.asked) == asked


def test_a_changed_lock_is_followed(project: Project) -> None:
    project.set_up()
    newer = {one.name: one for one in NEWER}
    project.write(pipeline=lock(newer["late"], newer["mail-check"]), lockgate=lock(newer["forms"]))

    assert project.set_up() == {**RUN, "forms": "2.0", "late": "2.0", "mail-check": "2.0"}


def test_a_smaller_set_does_not_take_away_what_a_larger_one_brought(project: Project) -> None:
    assert project.set_up("publish") == PUBLISH
    assert project.set_up("run") == RUN
    assert project.set_up("publish") == RUN
    assert project.set_up("service") == SERVICE
    assert project.set_up("run") == SERVICE
    assert project.set_up("dev") == DEV
    assert project.set_up("service") == DEV

    (project.root / "pyproject.toml").write_text(PROJECT + "# changed\n")
    assert project.set_up("run") == DEV


def test_two_calls_at_once_wait_for_each_other(project: Project) -> None:
    project.root = project.root.rename(project.root.with_name("a folder with blanks"))
    command = ["make", "--no-print-directory"]
    calls = [
        subprocess.Popen([*command, f".venv/{level}"], cwd=project.root, env=project.settings(), stderr=subprocess.PIPE)
        for level in ("run", "dev")
    ]

    assert [(call.wait(timeout=60), call.communicate()[1]) for call in calls if call.wait(timeout=60)] == []
    assert project.installed() == DEV
    assert project.version_of("late") == "1.0"


def test_make_service_brings_what_serving_needs_beside_what_the_pipeline_needs(project: Project) -> None:
    done = project.make("service")

    assert done.returncode == 0, done.stderr
    assert project.installed() == SERVICE


def test_after_make_clean_a_warm_cache_is_enough_without_an_index(project: Project) -> None:
    project.set_up()
    assert project.make("clean").returncode == 0
    assert not (project.root / ".venv").exists()
    project.index.asked.clear()
    assert project.set_up(UV_OFFLINE="1") == RUN
    assert project.index.asked == []


@pytest.mark.parametrize("brought", [False, True], ids=["before the installer", "after the installer"])
def test_an_index_that_does_not_answer_ends_in_one_sentence_within_bounds(
    bare: Project, tool: Path, *, brought: bool
) -> None:
    if brought:
        shutil.copytree(tool, bare.root / ".cache/uv", copy_function=os.link)
    began = time.monotonic()

    with silent() as url:
        said = bare.refused(UV_DEFAULT_INDEX=url, UV_HTTP_TIMEOUT="1", UV_HTTP_RETRIES="0")

    assert time.monotonic() - began < 30
    assert "If the index does not answer, try again or name a mirror with UV_DEFAULT_INDEX=URL" in said
    assert "Traceback" not in said


def test_a_mirror_that_only_pip_was_told_of_is_used_throughout(bare: Project, tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {bare.index.url}\n")

    found = bare.set_up(UV_DEFAULT_INDEX="", PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))

    assert found == RUN
    assert LATE.filename in bare.index.downloads()


def test_settings_of_the_users_do_not_change_what_is_installed(project: Project, tmp_path: Path) -> None:
    settings = tmp_path / "home/.config/uv/uv.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(
        'exclude-newer = "2000-01-01T00:00:00Z"\nno-index = true\n[pip]\nno-deps = true\nsystem = true\n'
    )
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("late>=2\n")

    found = project.set_up(
        UV_CONSTRAINT=str(constraints),
        UV_OVERRIDE=str(constraints),
        UV_EXCLUDE_NEWER="2000-01-01",
        UV_SYSTEM_PYTHON="1",
        UV_PYTHON="3.12",
        UV_NO_VERIFY_HASHES="1",
        VIRTUAL_ENV=str(tmp_path / "none"),
    )

    assert found == RUN


def build_backend(version: str) -> Distribution:
    """A build backend whose release is written into what it builds."""
    build = f"""
import zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(f"{{folder}}/old_style-1.0-py3-none-any.whl", "w") as wheel:
        info = "old_style-1.0.dist-info"
        wheel.writestr("old_style.py", "VERSION = 'built by {version}'\\n")
        wheel.writestr(f"{{info}}/METADATA", "Metadata-Version: 2.1\\nName: old-style\\nVersion: 1.0\\n")
        wheel.writestr(f"{{info}}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{{info}}/RECORD", "")
    return "old_style-1.0-py3-none-any.whl"
"""
    return wheel("builder", version, files={"builder.py": build})


def test_a_source_package_is_built_with_what_the_locks_name_not_with_the_newest(project: Project) -> None:
    sdist = source(
        "old-style", "1.0", {"pyproject.toml": "[build-system]\nrequires=['builder']\nbuild-backend='builder'\n"}
    )
    project.index.files.extend([sdist, build_backend("1.0"), build_backend("2.0")])

    project.write(lockgate=lock(FORMS, sdist, build_backend("1.0")))
    project.set_up()
    assert project.version_of("old_style") == "built by 1.0"

    project.write(lockgate=lock(FORMS, sdist))
    shutil.rmtree(project.root.parent / "home/.cache")
    project.make("clean")
    assert "builder" in project.refused()  # nothing locked says what to build it with


def python_mirror(index: Index) -> dict[str, str]:
    """Put a stand-in build of Python 3.11 on a mirror; return the settings that lead there and nowhere else."""
    real = Path(sys.base_prefix) / "bin/python3.11"
    program = f'#!/bin/sh\nexec {real} "$@"\n'
    (settings,) = (Path(sys.base_prefix) / "lib/python3.11").glob("_sysconfigdata_*.py")
    files = {"bin/python3.11": program, f"lib/python3.11/{settings.name}": settings.read_text()}
    build = tarball({f"python/{path}": text for path, text in files.items()}, mode=0o755)
    name = "20990101/cpython-3.11.99+20990101-x86_64-unknown-linux-gnu-install_only.tar.gz"
    index.others[f"/python/{name}"] = build
    entry = {
        "name": "cpython", "arch": {"family": "x86_64", "variant": None}, "os": "linux", "libc": "gnu", "major": 3,
        "minor": 11, "patch": 7, "prerelease": "", "variant": None, "build": "20990101",
        "url": "https://github.com/astral-sh/python-build-standalone/releases/download/" + name.replace("+", "%2B"),
        "sha256": hashlib.sha256(build).hexdigest(),
    }  # fmt: skip
    index.others["/python.json"] = json.dumps({"cpython-3.11.7-linux-x86_64-gnu": entry}).encode()
    return {
        "UV_MANAGED_PYTHON": "1",  # as if the machine had no Python 3.11
        "UV_PYTHON_DOWNLOADS_JSON_URL": f"{index.host}/python.json",
        "UV_PYTHON_INSTALL_MIRROR": f"{index.host}/python",
    }


def test_a_machine_without_python_3_11_gets_one_from_a_mirror(project: Project) -> None:
    assert project.set_up(**python_mirror(project.index)) == RUN
    assert any("cpython-3.11.99" in path for path in project.index.asked)


def test_where_no_python_3_11_can_be_had_one_sentence_says_what_to_install(project: Project) -> None:
    said = project.refused(UV_MANAGED_PYTHON="1", UV_PYTHON_DOWNLOADS="never")

    assert "Python 3.11 is needed" in said
    assert "make PYTHON=/path/to/python3.11" in said


def programs(folder: Path, *names: str, **scripts: str) -> str:
    """Return a PATH that has these programs of the machine, and these scripts, and nothing else."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(shutil.which(name) or name)
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return str(folder)


SHELL = tuple("bash cat cmp cp dirname env grep head ls make mkdir mktemp mv rm sed sha256sum tail uname".split())  # noqa: SIM905


def test_where_no_python_has_pip_one_sentence_says_what_to_install(bare: Project, tmp_path: Path) -> None:
    path = programs(tmp_path / "bin", *SHELL, python3="exit 1")

    said = bare.refused(PATH=path)

    assert "setting up needs pip once, and no Python here has it" in said


def test_without_pip_any_uv_brings_the_locked_one(bare: Project, tmp_path: Path) -> None:
    real = Path(sys.base_prefix) / "bin/python3.11"
    bare_python = f'case "$*" in "-m pip"* | "-m venv"*) exit 1 ;; esac\nexec {real} "$@"'
    path = programs(tmp_path / "bin", *SHELL, **{"python3.11": bare_python})
    (tmp_path / "bin/uv").symlink_to(Path(sys.executable).with_name("uv"))

    assert bare.set_up(PATH=path) == RUN
    assert (bare.root / ".cache/uv/bin/uv").exists()


@pytest.mark.parametrize(("system", "machine"), [("Darwin", "arm64"), ("Linux", "aarch64")])
def test_another_system_gets_one_clear_sentence(bare: Project, tmp_path: Path, system: str, machine: str) -> None:
    told = f'[ "$1" = -s ] && echo {system} || echo {machine}'
    said = bare.refused(PATH=programs(tmp_path / "bin", uname=told) + os.pathsep + os.environ["PATH"])

    (sentence,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert f"for Linux on x86-64, and this is {system} on {machine}" in sentence
    assert bare.index.asked == []


def test_what_the_page_for_scoring_teams_says_installs_the_service_from_the_index_at_hand(
    project: Project, tmp_path: Path
) -> None:
    told = dict(re.findall(r"^\$ uv (venv|pip install) (.+?)(?:  +#.*| &&.*)?$", SERVING.read_text(), re.MULTILINE))
    product = wheel("lockgate", "0.1.0", extras={"service": ["serve-it==1.0", "forms>=1"]})
    project.index.files.append(product)
    folder = tmp_path / "scoring"
    folder.mkdir()

    def uv(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [project.root / ".cache/uv/bin/uv", *words], cwd=folder, env=project.settings(), capture_output=True,
            text=True, check=False,
        )  # fmt: skip

    assert uv("venv", *shlex.split(told["venv"])).returncode == 0
    assert uv("pip", "install", *shlex.split(told["pip install"])).returncode == 0
    found = uv("pip", "freeze").stdout.split()
    assert {"lockgate==0.1.0", "serve-it==1.0"} <= set(found)
    assert any(one.startswith("uv==") for one in found)  # installs what a build locks


def test_what_publishing_installs_is_a_part_of_what_everything_else_runs_with() -> None:
    part, whole = [
        dict(re.findall(r"^([\w.-]+)(==[^#]*)", (ROOT / f"requirements/{name}.lock").read_text(), re.MULTILINE))
        for name in ("publish", "lockgate")
    ]
    assert part.items() <= whole.items()
    assert len(part) < len(whole)


POISON = """
import json, sys
from pathlib import Path
from pip._internal.cache import SimpleWheelCache
from pip._internal.models.direct_url import ArchiveInfo, DirectUrl
from pip._internal.models.link import Link
cache, url, digest, name, wheel = sys.argv[1:]
link = Link(f"{url}#sha256={digest}")
folder = Path(SimpleWheelCache(cache).get_path_for_link(link))
folder.mkdir(parents=True)
(folder / name).write_bytes(Path(wheel).read_bytes())
origin = DirectUrl(url, ArchiveInfo(hashes={"sha256": digest}))
(folder / "origin.json").write_text(origin.to_json())
"""


def test_a_poisoned_cache_of_pip_does_not_reach_the_installer(bare: Project, pip: Path, tmp_path: Path) -> None:
    foreign = wheel("uv", UV.version, files={"poisoned.py": "VERSION = 'poison'\n"})
    (tmp_path / "foreign.whl").write_bytes(foreign.content)
    cache, url = tmp_path / "pip-cache", f"{bare.index.host}/files/{UV.filename}"
    write = [pip.with_name("python"), "-c", POISON, cache, url, UV.sha256, foreign.filename, tmp_path / "foreign.whl"]
    subprocess.run(write, check=True)
    settings = {"PIP_CACHE_DIR": str(cache), "PATH": f"{pip.parent}{os.pathsep}{os.environ['PATH']}"}

    trusting = [
        pip,
        "install",
        "-q",
        "--index-url",
        bare.index.url,
        "--no-deps",
        "--require-hashes",
        "--target",
        tmp_path / "t",
    ]
    subprocess.run([*trusting, f"-r{bare.root}/requirements/uv.lock"], check=True, env={**os.environ, **settings})
    assert (tmp_path / "t/poisoned.py").exists()  # pip believes what its cache says of a file

    assert bare.set_up(**settings) == RUN
    assert not (bare.root / ".cache/uv/poisoned.py").exists()


def test_what_a_job_installs_does_not_come_from_a_cache_that_another_job_left(project: Project, tmp_path: Path) -> None:
    project.set_up()
    left = project.root.parent / "home/.cache/uv"
    poisoned = [path for path in left.rglob("late.py") if path.is_file()]
    assert poisoned
    for path in poisoned:
        path.unlink()  # not written through: it is the same file as the environment's
        path.write_text("VERSION = 'poison'\n")
    project.make("clean")

    project.set_up()
    assert project.version_of("late") == "poison"  # uv believes its cache, so a cache must not cross a border of trust

    (step,) = [one for one in yaml.safe_load(ACTION.read_text())["runs"]["steps"] if "run" in one]
    given = {"${{ runner.temp }}": str(tmp_path), "${{ inputs.packages }}": "run"}
    settings = {
        name: given[value[: value.index("}}") + 2]] + value.partition("}}")[2] for name, value in step["env"].items()
    }
    settings["GITHUB_PATH"] = str(tmp_path / "path")
    project.make("clean")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", step["run"]], cwd=project.root, env=project.settings(**settings), check=False
    )
    assert done.returncode == 0
    assert project.version_of("late") == "1.0"
    assert (tmp_path / "path").read_text() == f"{project.root / '.venv/bin'}\n"
