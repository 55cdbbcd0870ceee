"""A release made, rebuilt and served in its own dependencies, also when the index is gone: real uv, tiny packages."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lockgate import modelled, servable, wheels
from tests.lockgate.factory import Project

from lockgate.releasing.signing import create_key_pair

pytest_plugins = ("tests.lockgate.package_index",)
pytestmark = pytest.mark.slow
Run = Callable[..., tuple[int, str, str]]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
DEPENDENCIES = f'dependencies: {{lock: requirements/pipeline.lock, python: "{PYTHON}"}}\n'


@pytest.fixture
def home(project: Project, packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A servable project whose model needs a package that only its lock brings, tagged ``delay@v1.0.0``."""
    create_key_pair(tmp_path / "lockgate.key", tmp_path / "lockgate.pub")
    for name, value in {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LOCKGATE_STORE": str(tmp_path / "store"),
        "LOCKGATE_PRIVATE_KEY": str(tmp_path / "lockgate.key"),
        "LOCKGATE_PUBLIC_KEY": str(tmp_path / "lockgate.pub"),
        "GITHUB_ACTOR": "ana",
    }.items():
        monkeypatch.setenv(name, value)
    servable.make(project)
    tiny = wheels.wheel(packages, "tiny", "1.0", "VERSION = 1")
    project.write("requirements/pipeline.lock", tiny.pin + wheels.host(packages, tmp_path / "shelf").pin)
    project.write("src/delay_model/__init__.py", f"import tiny\nassert tiny.VERSION == 1\n{servable.CODE}")
    project.write("lockgate.yaml", project.read("lockgate.yaml") + DEPENDENCIES)
    modelled.run(project)
    project.commit("a model with dependencies of its own")
    servable.tag(project, "delay@v1.0.0")
    return project


def test_a_release_states_what_it_ran_with_and_is_rebuilt_and_scored_when_the_index_is_gone(
    home: Project, lockgate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, build = tmp_path / "prepared", tmp_path / "build"
    code, out, err = lockgate("release", "delay@v1.0.0", "--keep-dependencies", "--prepare", str(prepared))
    assert code == 0, err
    assert "Dependencies: those of requirements/pipeline.lock" in out
    code, out, err = lockgate(
        "release", "delay@v1.0.0", "--keep-dependencies", "--prepared", str(prepared), "--output", str(build)
    )
    assert code == 0, err
    assert f"locked dependencies, Python {PYTHON}." in out
    (manifest,) = (tmp_path / "store").glob("delay/builds/*/manifest.json")
    facts = json.loads(manifest.read_text())["facts"]
    assert facts["rebuild"]["dependencies"] == "locked"
    assert facts["dependencies"]["samples"] == "locked"
    assert facts["dependencies"]["lock"] == "pipeline.lock"
    kept = facts["dependencies"]["kept"]
    assert "tiny-1.0-py3-none-any.whl" in kept
    assert {path.parent.name for path in (tmp_path / "store/delay/dependencies").glob("*/*")} == set(kept.values())
    told = json.loads((build / "provenance.json").read_text())["predicate"]["buildDefinition"]["internalParameters"]
    assert told == {name: facts["rebuild"][name] for name in ("dependencies", "isolation", "lock", "network", "python")}

    for name, place in (("UV_CACHE_DIR", "no cache"), ("XDG_CACHE_HOME", "elsewhere")):
        monkeypatch.setenv(name, str(tmp_path / place))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    code, out, err = lockgate("rebuild", "delay@v1.0.0", "--level", "train")
    assert code == 0, err
    assert "Dependencies: those of requirements/pipeline.lock" in out
    home.write("rows.csv", "x,when,kind\n0.5,2026-01-02T03:04:05,a\n")
    options = ("--processes", "1", "--cache", str(tmp_path / "scores cache"))
    code, out, err = lockgate("score", "v1.0.0", "rows.csv", str(tmp_path / "scores"), *options)
    assert (code, out.partition(" rows")[0]) == (0, "1"), err
    code, _, err = lockgate(
        "score", "v1.0.0", "rows.csv", str(tmp_path / "other"), *options, "--dependencies", "current"
    )
    assert code == 1
    assert "ModuleNotFoundError" in err


def test_only_locked_files_can_be_kept_and_one_that_was_handed_over_has_to_be_named_by_the_lock(
    home: Project, lockgate: Run, tmp_path: Path
) -> None:
    code, _, err = lockgate("release", "delay@v1.0.0", "--keep-dependencies", "--dependencies", "current")
    assert code == 2
    assert "no dependencies to keep" in err
    prepared = tmp_path / "prepared"
    code, _, err = lockgate(
        "release", "delay@v1.0.0", "--keep-dependencies", "--rebuild", "none", "--prepare", str(prepared)
    )
    assert code == 0, err
    told = json.loads((prepared / "prepared.json").read_text())
    (prepared / "dependencies/tiny-1.0-py3-none-any.whl").write_bytes(b"other")
    code, _, err = lockgate("release", "delay@v1.0.0", "--keep-dependencies", "--prepared", str(prepared))
    assert code == 1
    assert "tiny-1.0-py3-none-any.whl" in err
    evil = wheels.wheel(prepared / "dependencies", "evil", "1.0", "")
    told["dependencies"] = {evil.path.name: evil.sha256}
    (prepared / "prepared.json").write_text(json.dumps(told))
    code, _, err = lockgate("release", "delay@v1.0.0", "--keep-dependencies", "--prepared", str(prepared))
    assert code == 1
    assert evil.path.name in err
    assert not (tmp_path / "store/delay/dependencies").exists()
