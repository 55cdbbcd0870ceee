"""A package index on this machine, the only one that uv knows in a test.

A test module asks for it with ``pytest_plugins = ("tests.lockgate.package_index",)``.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lockgate import wheels


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uv_cache: Path) -> Iterator[Path]:
    """The folder of an index that uv knows; nothing else does it know."""
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(uv_cache / tmp_path.name))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    folder = tmp_path / "packages"
    folder.mkdir()
    with wheels.index(folder) as address:
        monkeypatch.setenv("UV_DEFAULT_INDEX", address)
        yield folder
