"""A release is served with the packages of its own lock: real uv, tiny packages, a real service that swaps."""

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.lockgate import wheels
from tests.lockgate.releases import ACTOR, STAGING, Keys
from tests.lockgate.serving_builds import _wheel, toy_build
from tests.lockgate.serving_harness import command, serving

from lockgate.dependencies.commit import Choice
from lockgate.dependencies.kept import Kept
from lockgate.dependencies.lock import LockRefused
from lockgate.releasing.promotion import promote
from lockgate.releasing.registry import Build, Registry
from lockgate.serving.locked import Interpreters, NoLockInBuild
from lockgate.serving.process import ModelFailed, ModelProcess, start, unpack
from lockgate.serving.worker import doubles

pytest_plugins = ("tests.lockgate.release_fixtures", "tests.lockgate.package_index")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


class Releases:
    """Toy releases that need version N of the package ``tiny``, which is installed nowhere here."""

    def __init__(self, registry: Registry, keys: Keys, folder: Path, packages: Path) -> None:
        self.registry, self.keys, self.folder, self.packages = registry, keys, folder, packages
        self.pyarrow = wheels.host(packages, folder / "shelf", "pyarrow", "numpy").pin

    def make(self, number: int, *, lock: str | None = None, facts: dict[str, Any] | None = None) -> tuple[Build, Path]:
        tiny = wheels.wheel(self.packages, "tiny", f"{number}.0", f"VERSION = {number}")
        loading = f"import tiny; assert tiny.VERSION == {number}, 'another version of tiny'"
        build = toy_build(self.folder / f"toy{number}", number, loading)
        (build / "p.lock").write_text(tiny.pin + self.pyarrow if lock is None else lock)
        told = {"dependencies": {"lock": "p.lock", "python": PYTHON, "samples": "locked"}} if facts is None else facts
        found, _ = self.registry.publish(build, f"v{number}.0.0", told, signer=self.keys.signer, actor=ACTOR)
        promote(self.registry, f"v{number}.0.0", STAGING, self.keys.signer, ACTOR)
        return found, build

    def started(self, number: int, choice: Choice | None = None, **more: Any) -> ModelProcess:
        build, folder = self.make(number, **more)
        interpreters = Interpreters(choice, self.folder / "cache", lambda: self.registry.store)
        own = interpreters.of(build, folder)
        return start(unpack("toy", folder, own.executable if own else None))


@pytest.fixture
def releases(registry: Registry, keys: Keys, tmp_path: Path, packages: Path) -> Releases:
    return Releases(registry, keys, tmp_path, packages)


def test_two_releases_with_two_versions_of_a_package_answer_side_by_side(releases: Releases) -> None:
    with pytest.raises(ModelFailed, match="ModuleNotFoundError"):
        releases.started(9, "current")
    models = [releases.started(1), releases.started(2)]
    try:
        samples = [model.loadable.contract.samples.requests[0] for model in models]
        answers = [
            float(model.predict(model.loadable.contract.request.batch([sample]))[0])
            for model, sample in zip(models, samples, strict=True)
        ]
        assert answers == [0.001, 0.002]
        assert models[0].loadable.python != models[1].loadable.python
    finally:
        for model in models:
            model.close()
            model.loadable.discard()


def test_a_build_that_was_not_released_so_runs_with_what_is_installed_unless_it_is_asked_for(
    releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"dependencies": {"lock": "p.lock", "python": PYTHON, "samples": "current"}}
    cache, store = releases.folder / "cache", releases.registry.store
    old, other, new = releases.make(1, facts={}), releases.make(2, facts=told), releases.make(3)
    default = Interpreters(None, cache, lambda: store)
    assert (default.of(*old), default.of(*other)) == (None, None)
    with pytest.raises(NoLockInBuild):
        Interpreters("locked", cache, lambda: store).of(*old)
    assert Interpreters("locked", cache, lambda: store).of(*other) is not None
    assert Interpreters("current", cache, lambda: store).of(*new) is None
    monkeypatch.setattr("lockgate.serving.locked.find_uv", lambda: None)
    assert default.of(*new) is None


def test_a_lock_without_pyarrow_is_refused_with_the_way_on(releases: Releases) -> None:
    tiny = wheels.wheel(releases.packages, "tiny", "1.0", "").pin
    with pytest.raises(LockRefused, match="does not pin pyarrow") as caught:
        releases.started(1, lock=tiny)
    assert "--dependencies current" in caught.value.advice


@pytest.mark.slow
def test_the_service_swaps_into_the_packages_of_each_release_and_a_failed_installation_leaves_the_old_one(
    releases: Releases, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = releases.registry
    releases.make(1)
    with serving(command(registry, keys, tmp_path / "cache"), tmp_path / "log") as served:
        assert served.http.get("/v1/model").json()["dependencies"] == "locked"
        releases.make(2)
        served.until(lambda: served.predict()["probabilities"] == [0.002])
        releases.make(3, lock=f"tiny==9.0 --hash=sha256:{'0' * 64}\n{releases.pyarrow}")
        served.until(lambda: served.ready()["degraded"])
        assert served.predict()["probabilities"] == [0.002]
        assert "the index no longer has tiny==9.0" in served.ready()["problems"]["release"]["what"]
    # the index is gone, and so is every cache: what was kept in the store is enough
    lock = releases.folder / "toy2/p.lock"
    files = {path.name: wheels.File(path, "", "").sha256 for path in releases.packages.glob("*.whl")}
    kept = {name: digest for name, digest in files.items() if digest in lock.read_text()}
    Kept(registry.store, registry.name).keep(kept, releases.packages)
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "an empty cache"))
    words = command(registry, keys, tmp_path / "another cache", "--dependencies", "locked", ref="v2.0.0")
    with serving(words, tmp_path / "log") as served:
        assert served.predict()["probabilities"] == [0.002]


LISTED = """
class Model:
    def predict(self, batch):
        import sys
        assert "numpy" not in sys.modules
        return [0.25] * batch.num_rows

def load(path):
    return Model()
"""


def test_the_models_process_needs_the_standard_library_and_pyarrow_alone(
    packages: Path, tmp_path: Path, registry: Registry
) -> None:
    lock = wheels.host(packages, tmp_path / "shelf", "pyarrow").pin
    folder = toy_build(tmp_path / "toy", 1, expected=0.25)
    (wheel,) = folder.glob("*.whl")
    wheel.write_bytes(_wheel("toy_model", "0.1", {"__init__.py": LISTED}))
    from lockgate.dependencies.install import install
    from lockgate.dependencies.lock import read_lock

    own = install(read_lock(lock, "p.lock"), PYTHON, cache=tmp_path / "cache")
    start(unpack("toy", folder, own.executable)).close()


def test_what_a_model_gives_is_taken_as_doubles_or_refused() -> None:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    given: list[Any] = [[0.5, 1], np.array([0.5, 1.0]), np.array([0.5, 1], "f4"), np.array([0.5, 9, 1, 9])[::2]]
    given += [pa.array([0.5, 1.0]), pa.chunked_array([[0.5], [1.0]]), pd.Series([0.5, 1.0]), (0.5, 1.0)]
    assert [list(doubles(one)) for one in given] == [[0.5, 1.0]] * len(given)
    for wrong in (np.ones((2, 1)), np.float64(1), 0.5, ["a"], [None], pa.array([None, 0.5]), None):
        with pytest.raises((TypeError, ValueError)):
            doubles(wrong)
