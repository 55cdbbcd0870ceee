import errno
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.lockgate.releases import NAME, STAGING, Keys, a_build, promoted, publish

from lockgate.cli import main
from lockgate.errors import LockgateError
from lockgate.files import locked
from lockgate.releasing.fetch import FolderTaken, fetch
from lockgate.releasing.registry import Refused, Registry
from lockgate.store import Store

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_fetched_folder_holds_the_release_and_nothing_else(store: Store, keys: Keys, tmp_path: Path) -> None:
    registry = Registry(store, NAME, keys.verifier)
    build = publish(registry, keys, a_build(tmp_path / "build"), "v1.0.0")
    assert fetch(registry, build, tmp_path / "deep" / "got") is True
    got = files_of(tmp_path / "deep" / "got")
    assert got.pop("manifest.json") == build.manifest.to_bytes()
    assert keys.verifier.verify(got.pop("model.sig"), "here") == build.manifest.digests()
    assert got == files_of(tmp_path / "build")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["got"]


def test_fetching_again_changes_nothing(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    build = publish(registry, keys, a_build(tmp_path / "build"), "v1.0.0")
    (tmp_path / "got").mkdir()  # an empty folder is no obstacle
    assert fetch(registry, build, tmp_path / "got") is True
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "got").rglob("*")}
    assert fetch(registry, build, tmp_path / "got") is False
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "got").rglob("*")} == times


@pytest.mark.parametrize("what", ["foreign", "other release", "edited", "one more", "one less"])
def test_a_folder_with_something_else_is_refused_and_left_alone(
    registry: Registry, keys: Keys, tmp_path: Path, what: str
) -> None:
    one = publish(registry, keys, a_build(tmp_path / "one", "one"), "v1.0.0")
    two = publish(registry, keys, a_build(tmp_path / "two", "two"), "v2.0.0")
    got = tmp_path / "got"
    if what == "foreign":
        got.mkdir()
        (got / "thesis.tex").write_text("ten years of work")
    else:
        fetch(registry, one if what == "other release" else two, got)
    if what == "edited":
        (got / "model-card.md").write_text("better")
    if what == "one more":
        (got / "more.txt").write_text("more")
    if what == "one less":
        (got / "dvc.lock").unlink()
    before = files_of(got)
    with pytest.raises(FolderTaken):
        fetch(registry, two, got)
    assert files_of(got) == before


def test_a_damaged_release_leaves_nothing_behind(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    build = publish(registry, keys, a_build(tmp_path / "build"), "v1.0.0")
    victim = tmp_path / "store" / NAME / "builds" / build.manifest.digest / "model.skops"
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    (tmp_path / "to").mkdir()
    with pytest.raises(Refused, match=r"model\.skops was altered"):
        fetch(registry, build, tmp_path / "to" / "got")
    assert list((tmp_path / "to").iterdir()) == []


FETCH = """
import resource, sys
from pathlib import Path
from lockgate.cli import main
limit = int(sys.argv[1])
if limit:
    import signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.exit(main(["fetch", *sys.argv[2:]]))
"""


def test_a_disk_that_takes_no_more_leaves_nothing_behind_and_says_so(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    folder = a_build(tmp_path / "build")
    (folder / "weights.bin").write_bytes(random.Random(1).randbytes(3_000_000))
    publish(registry, keys, folder, "v1.0.0")
    (tmp_path / "to").mkdir()
    words = ["v1.0.0", str(tmp_path / "to/got"), "--store", registry.store.url]
    words += ["--public-key", str(keys.verifier.public_key)]

    def run(limit: int) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", FETCH, str(limit), *words], capture_output=True, text=True, check=False
        )

    full = run(1_000_000)
    assert full.returncode == 3
    assert os.strerror(errno.EFBIG) in full.stderr
    assert "Traceback" not in full.stderr
    assert list((tmp_path / "to").iterdir()) == []
    assert run(0).returncode == 0
    assert (tmp_path / "to/got/weights.bin").read_bytes() == (folder / "weights.bin").read_bytes()


def test_what_a_killed_fetch_left_is_cleared_and_a_running_one_is_respected(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    build = publish(registry, keys, a_build(tmp_path / "build"), "v1.0.0")
    left = tmp_path / ".got.part"
    (left / "content" / "wheels").mkdir(parents=True)
    (left / "content" / "model.skops").write_bytes(b"hal")
    with locked(left / "lock"), pytest.raises(LockgateError, match="is being fetched by another run"):
        fetch(registry, build, tmp_path / "got")
    assert (left / "content" / "model.skops").read_bytes() == b"hal"
    assert fetch(registry, build, tmp_path / "got") is True
    assert not left.exists()


def test_the_command_fetches_what_production_runs(
    registry: Registry, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(registry, keys, a_build(tmp_path / "build"), "v1.0.0")
    promoted(registry, keys, "v1.0.0", STAGING)
    words = ["fetch", f"{NAME}#staging", str(tmp_path / "got"), "--store", registry.store.url]
    words += ["--public-key", str(keys.verifier.public_key), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["release"], told["fetched"], told["entry"]) == (f"{NAME}@v1.0.0", True, 1)
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["fetched"] is False
