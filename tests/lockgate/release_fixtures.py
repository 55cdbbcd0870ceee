"""Fixtures for the tests of releases: key pairs, stores on a folder and on a real S3 server, an empty registry.

A test module asks for them with ``pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.lockgate.releases import NAME, QUICK, Keys, make_keys

from lockgate.releasing.registry import Registry
from lockgate.store import Store, open_store

if TYPE_CHECKING:
    from tests.seaweed import Seaweed

StoreMaker = Callable[[str], Store]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """A key pair nobody trusts."""
    return make_keys(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store: once a folder, once a bucket's prefix on a real server."""
    if request.param == "folder":
        return open_store(str(tmp_path / "store"), create=True, patience=QUICK)
    return request.getfixturevalue("bucket")("whole")  # type: ignore[no-any-return]


@pytest.fixture
def bucket(seaweed: "Seaweed", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StoreMaker:
    """Return a store on an empty prefix of the real server's bucket."""
    for variable, value in seaweed.environment().items():
        monkeypatch.setenv(variable, value)

    def make(prefix: str) -> Store:
        from tests.seaweed import BUCKET

        return open_store(f"s3://{BUCKET}/{tmp_path.name}/{prefix}", patience=QUICK)

    return make


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the paths of all requests that stores make from here on."""
    paths: list[str] = []
    ask = Store._ask

    def noted(self: Store, path: str, request: Callable[[], Any]) -> Any:
        paths.append(path)
        return ask(self, path, request)

    monkeypatch.setattr(Store, "_ask", noted)
    return paths


@pytest.fixture
def registry(tmp_path: Path, keys: Keys) -> Registry:
    """An empty registry on a folder."""
    return Registry(open_store(str(tmp_path / "store"), create=True), NAME, keys.verifier)
