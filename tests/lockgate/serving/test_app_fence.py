"""The fence: who scores needs what the build declares and the service's locks, and nothing of this checkout."""

import os
import re
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution, distributions
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.flight_delay.serving_flights import flights, trained
from tests.lockgate.releases import ACTOR, NAME, STAGING, Keys
from tests.lockgate.serving_builds import ROOT, as_requests, flight_build
from tests.lockgate.serving_harness import command, serving

from flight_delay.model_file import save_model
from lockgate.releasing.promotion import promote
from lockgate.releasing.registry import Registry

pytest_plugins = ("tests.lockgate.release_fixtures",)
pytestmark = pytest.mark.slow

LOCKGATE = ("requirements/lockgate.lock",)
SERVICE = (*LOCKGATE, "requirements/service.lock")


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", lock.read_text(), re.MULTILINE))


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def environment(folder: Path, locks: list[Path]) -> Path:
    """Make an environment of exactly what the locks pin, and lockgate's wheel; return its interpreter.

    The packages are those of this environment, which the same locks pin, linked: nothing is downloaded.
    """
    venv.create(folder, symlinks=True)
    [site] = folder.glob("lib/python*/site-packages")
    wanted = {name: version for lock in locks for name, version in pins(lock).items()}
    for name, version in wanted.items():
        assert distribution(name).version == version, f"{name}: this environment is not the lock's"
    files = {plain(one.name): [file.parts for file in one.files or ()] for one in distributions()}
    chosen = {plain(name) for name in wanted}
    shared = {parts[0] for name in files.keys() - chosen for parts in files[name]}
    for name in wanted:
        here = Path(str(distribution(name).locate_file("")))
        # a whole folder at once, where nobody who is not chosen has files in it
        for place in {Path(*parts) if parts[0] in shared else Path(parts[0]) for parts in files[plain(name)]}:
            target = site / place
            if place.parts[0] != ".." and (here / place).exists() and not os.path.lexists(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.symlink_to(here / place)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(ROOT), "-o", str(folder)]
    subprocess.run(build, check=True, capture_output=True)
    [wheel] = folder.glob("lockgate-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return folder / "bin" / "python"


def ask(python: Path, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(python), "-I", *(["-c", program] if program else []), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=python.parent,
        env={"PATH": os.environ["PATH"]},
    )


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("core"), [ROOT / lock for lock in LOCKGATE])


def test_behind_the_fence_the_service_and_the_batch_give_the_pipelines_probabilities(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    pipeline, frame = trained(), flights(200, seed=2)
    save_model(tmp_path / "model.skops", pipeline)
    folder = flight_build(tmp_path / "build", tmp_path / "model.skops", frame[:20])
    registry.publish(folder, "v1.0.0", {}, signer=keys.signer, actor=ACTOR)
    promote(registry, "v1.0.0", STAGING, keys.signer, ACTOR)
    expected = pipeline.predict_proba(frame)[:, 1].tolist()

    python = environment(tmp_path / "fenced", [folder / "pipeline.lock", *(ROOT / lock for lock in SERVICE)])
    found = "import importlib.util as u; print([bool(u.find_spec(n)) for n in ('lockgate', 'flight_delay', 'pytest')])"
    assert ask(python, found).stdout == "[True, False, False]\n"
    assert ask(python, "import lockgate; print(lockgate.__file__)").stdout.startswith(str(tmp_path / "fenced"))

    words = [str(python), "-I", *command(registry, keys, tmp_path / "cache")[1:]]
    with serving(words, tmp_path / "log", PYTHONPATH="") as served:
        answer = served.predict(as_requests(frame))
        assert answer["probabilities"] == expected
        assert answer["release"] == f"{NAME}@v1.0.0"
        assert served.http.get("/v1/model").json()["differs_from_lock"] == []

    frame.to_parquet(tmp_path / "in.parquet")
    words = ["score", "staging", str(tmp_path / "in.parquet"), str(tmp_path / "out"), "--store", registry.store.url]
    words += ["--public-key", str(keys.verifier.public_key), "--cache", str(tmp_path / "cache")]
    scored = ask(python, "", "-m", "lockgate", *words)
    assert scored.returncode == 0, scored.stderr
    assert pq.read_table(tmp_path / "out" / "part-00000-00000.parquet").column("probability").to_pylist() == expected


def test_the_core_runs_without_the_packages_of_the_service(core: Path) -> None:
    has = "import importlib.util as u; print([bool(u.find_spec(n)) for n in ('fastapi', 'uvicorn', 'dask')])"
    assert ask(core, has).stdout == "[False, False, False]\n"
    assert "serve" in ask(core, "", "-m", "lockgate", "--help").stdout
    assert ask(core, "", "-m", "lockgate", "history", "--help").returncode == 0
    refused = ask(core, "", "-m", "lockgate", "serve", "production")
    assert refused.returncode == 3
    assert "pip install 'lockgate[service]'" in refused.stderr
