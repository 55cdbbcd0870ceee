"""What every test of lockgate stands on: git and DVC that know nothing of the machine they run on."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from tests.lockgate.factory import Project, chain, working_in_a_copy


@pytest.fixture(scope="session", autouse=True)
def no_configuration_of_this_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's git and DVC configuration, caches and telemetry out of the tests."""
    empty = tmp_path_factory.mktemp("configuration")
    (empty / "gitconfig").touch()  # a file, never a device: a program that writes it would replace the device
    settings = {
        "GIT_CONFIG_GLOBAL": str(empty / "gitconfig"),
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
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        for name in ("DVC_ROOT", "DVC_STAGE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, no_configuration_of_this_machine: None) -> Path:
    """An empty project that tests take a copy of: DVC needs half a second to make one."""
    return Project.create(tmp_path_factory.mktemp("template") / "project").root


@pytest.fixture
def project(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """An empty DVC project inside git with a folder as its remote, and the working directory in it."""
    shutil.copytree(template, tmp_path / "project")
    (tmp_path / "remote").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.fixture(scope="session")
def ran_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of ``factory.chain``, every stage run, committed and pushed."""
    folder = tmp_path_factory.mktemp("ran")
    with working_in_a_copy(template, folder) as made:
        chain(made)
        _, failure = made.repro()
    assert failure is None
    made.commit()
    made.push()
    return folder


@pytest.fixture
def ran(ran_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with four stages, all of them run, committed and pushed, and the working directory in it."""
    shutil.copytree(ran_template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "project")
    return Project(tmp_path / "project", yaml.safe_load((tmp_path / "project/dvc.yaml").read_text())["stages"])


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
