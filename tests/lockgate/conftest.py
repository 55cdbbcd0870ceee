"""What every test of lockgate stands on: git and DVC that know nothing of the machine they run on."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lockgate.factory import Project


@pytest.fixture(autouse=True)
def no_configuration_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's git and DVC configuration, caches and telemetry out of the tests."""
    empty = tmp_path_factory.getbasetemp() / "configuration"
    settings = {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
        "DVC_GLOBAL_CONFIG_DIR": str(empty / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(empty / "system"),
        "DVC_SITE_CACHE_DIR": str(empty / "site"),
        "DVC_NO_ANALYTICS": "1",
        "SHELL": "/bin/sh",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("DVC_STAGE", raising=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty DVC project inside git with a folder as its remote, and the working directory in it."""
    made = Project.create(tmp_path / "project")
    monkeypatch.chdir(made.root)
    return made


@pytest.fixture
def lockgate(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a lockgate command in this process: exit code, stdout, stderr."""
    from lockgate.cli import main

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
