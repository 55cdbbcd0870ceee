"""Files of packages in a store: collected by their hashes, kept once, and enough when the index is gone."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lockgate import wheels

from lockgate.dependencies.collect import collect
from lockgate.dependencies.commit import Locked
from lockgate.dependencies.install import Installed, Wheels
from lockgate.dependencies.kept import Kept
from lockgate.dependencies.lock import read_lock
from lockgate.dependencies.uv import FileDiffers, InstallFailed
from lockgate.policy import Dependencies
from lockgate.store import open_store

pytest_plugins = ("tests.lockgate.package_index",)
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def locked(text: str, build: str | None = None) -> Locked:
    told = Dependencies("p.lock", PYTHON, "b.lock" if build else None)
    return Locked("delay", told, read_lock(text, "p.lock"), read_lock(build, "b.lock") if build else None)


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(open_store(str(tmp_path / "store"), create=True), "delay")


@pytest.fixture
def index_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Take the index away, and what uv has seen of it."""

    def switch() -> None:
        monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "an empty cache"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))

    return switch


def from_store(kept: Kept, one: Locked) -> Callable[[Path], Wheels | None]:
    return lambda folder: kept.wheels(one.lock, one.build, folder)


def say(found: Installed) -> str:
    import subprocess

    return subprocess.run([found.bin / "say-first"], capture_output=True, text=True, check=True).stdout.strip()


def test_what_was_kept_is_installed_without_an_index_and_is_kept_once(
    packages: Path, kept: Kept, tmp_path: Path, index_off: Callable[[], None]
) -> None:
    one = locked(wheels.wheel(packages, "first", "1.0", "").pin + wheels.wheel(packages, "second", "1.0", "").pin)
    files = collect(one, one.install(), tmp_path / "files", lambda _: None)
    assert files.keys() == {"first-1.0-py3-none-any.whl", "second-1.0-py3-none-any.whl"}
    assert [kept.keep(files, tmp_path / "files") for _ in range(2)] == [2, 0]
    assert len(kept.store.objects("delay/dependencies")) == 2
    index_off()
    with pytest.raises(InstallFailed, match="the index does not answer"):
        one.install()
    assert say(one.install(wheels=from_store(kept, one))) == "1.0"


def test_a_source_distribution_is_kept_with_what_it_is_built_with(
    packages: Path, kept: Kept, tmp_path: Path, index_off: Callable[[], None]
) -> None:
    backend = wheels.wheel(packages, "backend", "1.0", f"import helper\n{wheels.BACKEND}", requires="helper").pin
    helper = wheels.wheel(packages, "helper", "1.0", "").pin + "    # via backend\n"
    stray = wheels.wheel(packages, "stray", "1.0", "").pin
    one = locked(wheels.source(packages, "first", "1.0", "WHO = 1", "backend").pin, backend + helper + stray)
    files = collect(one, one.install(), tmp_path / "files", lambda _: None)
    assert sorted(files) == ["backend-1.0-py3-none-any.whl", "first-1.0.tar.gz", "helper-1.0-py3-none-any.whl"]
    kept.keep(files, tmp_path / "files")
    index_off()
    found = one.install(wheels=from_store(kept, one))
    assert (found.folder / f"lib/python{PYTHON}/site-packages/first.py").is_file()


def test_of_several_wheels_the_one_for_this_machine_is_kept(packages: Path, tmp_path: Path) -> None:
    pure = wheels.wheel(packages, "first", "1.0", "WHO = 'any'")
    here = wheels.wheel(packages, "first", "1.0", "WHO = 'linux'", tag="py3-none-linux_x86_64")
    there = wheels.wheel(packages, "first", "1.0", "WHO = 'windows'", tag="py3-none-win_amd64")
    one = locked(pure.pin[:-1] + "".join(f" --hash=sha256:{file.sha256}" for file in (here, there)))
    assert list(collect(one, one.install(), tmp_path / "files", lambda _: None)) == [here.path.name]


def test_a_file_whose_bytes_changed_is_refused_by_name_in_the_store_and_at_the_index(
    packages: Path, kept: Kept, tmp_path: Path, index_off: Callable[[], None]
) -> None:
    file = wheels.wheel(packages, "first", "1.0", "")
    one = locked(file.pin)
    installed = one.install()
    kept.keep(collect(one, installed, tmp_path / "files", lambda _: None), tmp_path / "files")
    (stored,) = (tmp_path / "store/delay/dependencies").glob("*/*")
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    index_off()
    with pytest.raises(FileDiffers, match=rf"{file.path.name} was altered: its SHA-256 is"):
        one.install(wheels=from_store(kept, one))


def test_a_long_file_lies_in_parts_and_comes_back_whole(
    tmp_path: Path, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockgate.dependencies.kept.PART", 1000)
    file = wheels.wheel(tmp_path / "files", "first", "1.0", "#" * 5000)
    assert kept.keep({file.path.name: file.sha256}, tmp_path / "files") == 1
    assert len(kept.store.objects("delay/dependencies")) > 5
    (tmp_path / "back").mkdir()
    found = kept.wheels(read_lock(file.pin, "p.lock"), None, tmp_path / "back")
    assert found == Wheels(tmp_path / "back", complete=True)
    assert (tmp_path / "back" / file.path.name).read_bytes() == file.path.read_bytes()


def test_a_store_that_cannot_be_asked_is_told_and_passed_over(tmp_path: Path, kept: Kept) -> None:
    (tmp_path / "store").rename(tmp_path / "gone")
    (tmp_path / "store").write_text("no folder")
    told: list[str] = []
    lock = read_lock(f"a==1 --hash=sha256:{'0' * 64}", "p.lock")
    assert kept.wheels(lock, None, tmp_path, told.append) is None
    assert len(told) <= 1
