"""One forge and one store for all end-to-end tests; each test begins with the same project on both."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests import seaweed
from tests.e2e.forge import Forge
from tests.e2e.world import Left, World, bucket, seed, servers, stored


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Forge, seaweed.Seaweed]]:
    folder = tmp_path_factory.mktemp("e2e")
    with servers(folder) as (forge, store):
        seed(folder, forge, store)
        shutil.copytree(forge.folder, folder / "seeded")
        yield folder, forge, store


@pytest.fixture(scope="session")
def seeded(scene: tuple[Path, Forge, seaweed.Seaweed]) -> dict[str, tuple[str, bytes]]:
    """Every object of the store as the project begins: what tells it from another, and its bytes."""
    store = scene[2]
    return {path: (tag, bytes(bucket(store).get(path).bytes())) for path, tag in stored(store).items()}


@pytest.fixture
def world(
    scene: tuple[Path, Forge, seaweed.Seaweed], seeded: dict[str, tuple[str, bytes]], tmp_path: Path
) -> Iterator[World]:
    yield World(tmp_path, *scene[1:])
    begin_again(scene, seeded)


def begin_again(scene: tuple[Path, Forge, seaweed.Seaweed], seeded: dict[str, tuple[str, bytes]]) -> None:
    """Bring forge and store to where the project began."""
    folder, forge, store = scene
    shutil.rmtree(forge.folder)
    shutil.copytree(folder / "seeded", forge.folder)
    for known in (
        forge.pulls,
        forge.comments,
        forge.statuses,
        forge.artifacts,
        forge.releases,
        forge.issues,
        forge.requests,
        forge.dispatched,
    ):
        known.clear()
    now = stored(store)
    if gone := [path for path in now if path not in seeded]:
        bucket(store).delete(gone)
    for path, (tag, content) in seeded.items():
        if now.get(path) != tag:
            bucket(store).put(path, content)


@pytest.fixture(scope="session")
def checked(
    scene: tuple[Path, Forge, seaweed.Seaweed],
    seeded: dict[str, tuple[str, bytes]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Left:
    """A run for less noise where raw data is gone from the store: it depends on nothing but the two commits' files."""
    return run_once(scene, seeded, tmp_path_factory.mktemp("checked"), ("noise: 1.0", "noise: 0.5"), "data/raw.csv")


@pytest.fixture(scope="session")
def honest(checked: Left) -> dict[str, bytes]:
    """The files that the run for less noise left."""
    return checked.files


def run_once(
    scene: tuple[Path, Forge, seaweed.Seaweed],
    seeded: dict[str, tuple[str, bytes]],
    folder: Path,
    edit: tuple[str, str],
    without: str = "",
) -> Left:
    """Run ``pull-request.yml`` for an edit of the parameters; begin again.

    Through ``act`` and ``without`` an output of the base, if one is named.
    """
    world = World(folder, *scene[1:])
    outs = [out for stage in yaml.safe_load(world.read("dvc.lock"))["stages"].values() for out in stage["outs"]]
    digests = [out["md5"] for out in outs if out["path"] == without]
    bucket(world.store).delete([f"trusted/files/md5/{digest[:2]}/{digest[2:]}" for digest in digests])
    number = world.propose("edited", world.edited("params.yaml", *edit))
    run = world.check(number) if without else world.check_here(number)
    assert run.code == 0, run.log
    files, objects = world.left(run), {}
    for path in stored(world.store):
        if path not in seeded:
            objects[path] = bytes(bucket(world.store).get(path).bytes())
    begin_again(scene, seeded)
    return Left(run, files, objects)
