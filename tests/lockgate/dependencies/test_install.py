"""Environments made out of locks: real uv, real wheels of tiny packages, an index on this machine."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.lockgate import wheels

from lockgate.dependencies.install import FOLDER, PROOF, Installed, install
from lockgate.dependencies.lock import read_lock
from lockgate.dependencies.uv import InstallFailed, UvError, UvMissing, explain
from lockgate.errors import LockgateError

pytest_plugins = ("tests.lockgate.package_index",)
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def made(text: str, **options: object) -> Installed:
    return install(read_lock(text, "p.lock"), PYTHON, **options)  # type: ignore[arg-type]


def say(found: Installed, code: str) -> str:
    return subprocess.run(
        [found.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def places(tmp_path: Path) -> set[str]:
    return {one.name for one in (tmp_path / "cache/lockgate" / FOLDER).iterdir() if not one.name.endswith(".lock")}


def test_an_environment_holds_what_the_lock_pins_and_nothing_that_it_does_not(packages: Path) -> None:
    first = wheels.wheel(packages, "first", "1.0", "WHO = 'one'", requires="second")
    wheels.wheel(packages, "first", "2.0", "WHO = 'two'")
    wheels.wheel(packages, "second", "1.0", "")
    found = made(first.pin)
    assert say(found, "import first, importlib.util as u; print(first.WHO, u.find_spec('second'))") == "one None"
    assert subprocess.run([found.bin / "say-first"], capture_output=True, text=True, check=True).stdout == "1.0\n"
    assert found.python == say(found, "import platform; print(platform.python_version())")


def test_it_is_made_once_and_two_at_the_same_time_make_one(packages: Path, tmp_path: Path) -> None:
    pin = wheels.wheel(packages, "first", "1.0", "").pin
    told: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: made(pin, tell=told.append), range(2)))
    assert both[0] == both[1] == made(f"# a comment\n{pin}", tell=told.append)
    assert len(told) == 1
    assert places(tmp_path) == {both[0].folder.name}


def test_it_is_used_without_uv_and_without_an_index(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin = wheels.wheel(packages, "first", "1.0", "").pin
    found = made(pin)
    monkeypatch.setattr("lockgate.dependencies.uv.find_uv", lambda: None)
    assert made(pin) == found
    with pytest.raises(UvMissing):
        made(wheels.wheel(packages, "first", "2.0", "").pin)


@pytest.mark.parametrize("harm", ["added", "changed", "removed", "no proof", "no interpreter"])
def test_one_that_was_changed_since_is_made_again(packages: Path, harm: str) -> None:
    found = made(wheels.wheel(packages, "first", "1.0", "WHO = 1").pin)
    module = Path(say(found, "import first; print(first.__file__)"))
    if harm == "added":
        module.with_name("stray.py").write_text("")
    elif harm == "changed":
        module.write_text("WHO = 2")
    elif harm == "removed":
        module.unlink()
    elif harm == "no proof":
        (found.folder / PROOF).write_text('{"schema": ')
    else:
        found.executable.unlink()
        found.executable.symlink_to("/nowhere/python")
    assert made(wheels.wheel(packages, "first", "1.0", "WHO = 1").pin) == found
    assert say(found, "import first; print(first.WHO)") == "1"
    assert not module.with_name("stray.py").exists()


def test_what_a_killed_run_left_is_removed_by_the_next_whatever_it_makes(packages: Path, tmp_path: Path) -> None:
    left = tmp_path / "cache/lockgate" / FOLDER / f".{'0' * 64}.part"
    left.mkdir(parents=True)
    (left / "half").write_text("")
    found = made(wheels.wheel(packages, "first", "1.0", "").pin)
    assert places(tmp_path) == {found.folder.name}


def test_a_write_to_a_package_reaches_no_other_environment(packages: Path) -> None:
    pin = wheels.wheel(packages, "first", "1.0", "WHO = 1").pin
    one = made(pin)
    module = Path(say(one, "import first; print(first.__file__)"))
    with module.open("r+") as file:
        file.write("WHO = 9")
    shutil.rmtree(one.folder)
    assert say(made(pin), "import first; print(first.WHO)") == "1"


def test_what_a_source_distribution_is_built_with_is_pinned_too_and_its_build_sees_no_key(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a key")
    code = f"import os\nassert 'AWS_SECRET_ACCESS_KEY' not in os.environ\n{wheels.BACKEND}"
    backend = wheels.wheel(packages, "backend", "1.0", code)
    pin = wheels.source(packages, "first", "1.0", "WHO = 'source'", "backend").pin
    with pytest.raises(InstallFailed, match="the lock does not pin backend, which it is built with"):
        made(pin)
    found = made(pin, build=read_lock(backend.pin, "build.lock"))
    assert say(found, "import first, importlib.util as u; print(first.WHO, u.find_spec('backend'))") == "source None"


def test_a_lock_for_two_platforms_installs_the_lines_of_this_one(packages: Path) -> None:
    here, there = wheels.wheel(packages, "first", "1.0", "WHO = 1"), wheels.wheel(packages, "first", "2.0", "WHO = 2")
    lines = [one.pin.replace(" ", f" ; sys_platform {sign} 'win32' ", 1) for one, sign in ((here, "!="), (there, "=="))]
    assert say(made("".join(lines)), "import first; print(first.WHO)") == "1"


BAD = {
    "has no wheel for this machine": lambda folder: wheels.wheel(folder, "first", "1.0", "", tag="py3-none-win32").pin,
    "is not the one that the lock names by its hash": lambda folder: (
        wheels.wheel(folder, "first", "1.0", "").pin[:-9] + "00000000\n"
    ),
    "the index has no package first": lambda folder: f"first==1.0 --hash=sha256:{'0' * 64}\n",
    "the index no longer has first==2.0": lambda folder: wheels.wheel(folder, "first", "1.0", "").pin.replace(
        "1", "2", 1
    ),
}


@pytest.mark.parametrize("said", BAD)
def test_what_cannot_be_installed_is_said_in_one_sentence_with_the_way_on_and_leaves_nothing(
    packages: Path, tmp_path: Path, said: str
) -> None:
    with pytest.raises(InstallFailed) as caught:
        made(BAD[said](packages))
    assert str(caught.value).startswith("the dependencies of p.lock could not be installed: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value) + caught.value.advice
    assert caught.value.advice
    assert caught.value.exit_code == (1 if "hash" in said else 3)
    assert isinstance(caught.value.__cause__, UvError)
    assert places(tmp_path) == set()


def test_an_index_that_does_not_answer_and_a_python_that_is_not_there_are_named(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = wheels.wheel(packages, "first", "1.0", "").pin
    monkeypatch.setenv("UV_PYTHON_DOWNLOADS", "never")
    with pytest.raises(InstallFailed, match=r"Python 3\.99 is not on this machine"):
        install(read_lock(pin, "p.lock"), "3.99")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://me:word@127.0.0.1:9/simple")
    with pytest.raises(InstallFailed, match="the index does not answer") as caught:
        made(pin)
    assert "word" not in f"{caught.value} {caught.value.__cause__}"


def test_a_uv_that_is_too_old_is_told_and_so_is_what_nobody_knows_without_an_address() -> None:
    assert "too old" in explain("error: unexpected argument '--require-build-hashes' found\n\nUsage: uv pip sync")[0]
    finding, advice = explain("warning: one\nerror: something new at https://me:word@example.org/x\n  cause: that")
    assert finding == "uv said: something new at (an address)"
    assert advice


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_named_and_leaves_nothing_half_made(packages: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", disk], check=False)
    if mounted.returncode != 0:
        pytest.skip("no small disk can be mounted here")
    try:
        pin = wheels.wheel(packages, "first", "1.0", f"WHO = {'x' * 800_000!r}").pin
        with pytest.raises(LockgateError, match=r"the disk is full|could not be written") as caught:
            made(pin, cache=disk)
        assert caught.value.advice
        assert [one.name for one in (disk / FOLDER).iterdir() if not one.name.endswith(".lock")] == []
    finally:
        subprocess.run(["umount", disk], check=True)
