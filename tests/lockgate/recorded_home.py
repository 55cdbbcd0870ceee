"""A fixture: a release in an environment, where its scores are to be recorded."""

from pathlib import Path

import pytest
from tests.lockgate.recorded import POLICY
from tests.lockgate.releases import ACTOR, STAGING, Keys
from tests.lockgate.serving_builds import toy_build

from lockgate.releasing.promotion import promote
from lockgate.releasing.registry import Registry


@pytest.fixture
def home(keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store that has a release in staging, where ``record`` is to be the record of its scores."""
    from lockgate.store import open_store

    registry = Registry(open_store(str(tmp_path / "store"), create=True), "flight-delay", keys.verifier)
    folder = toy_build(tmp_path / "toy", 7)
    (folder / "lockgate.yaml").write_text(POLICY)
    registry.publish(folder, "v7.0.0", {}, signer=keys.signer, actor=ACTOR)
    promote(registry, "v7.0.0", STAGING, keys.signer, ACTOR)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOCKGATE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("LOCKGATE_PUBLIC_KEY", str(keys.verifier.public_key))
    monkeypatch.setenv("LOCKGATE_RECORD", str(tmp_path / "record"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path
