"""One forge and one store for all end-to-end tests; each test begins with the same project on both."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import seaweed
from tests.e2e.forge import Forge
from tests.e2e.world import World, bucket, seed, servers, stored


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
    for known in (forge.pulls, forge.comments, forge.statuses, forge.artifacts, forge.releases, forge.requests):
        known.clear()
    now = stored(store)
    if gone := [path for path in now if path not in seeded]:
        bucket(store).delete(gone)
    for path, (tag, content) in seeded.items():
        if now.get(path) != tag:
            bucket(store).put(path, content)


@pytest.fixture(scope="session")
def honest(scene: tuple[Path, Forge, seaweed.Seaweed], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an honest run for less noise leaves: it depends on nothing but the two commits' files."""
    _, forge, store = scene
    world = World(tmp_path_factory.mktemp("honest"), forge, store)
    return world.left(world.check(world.propose("honest", world.edited("params.yaml", "noise: 1.0", "noise: 0.5"))))
