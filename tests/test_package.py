"""The package as a stranger has it: a wheel, in an environment of its own, in a DVC repository that is not this one."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
HEAVY = {"scikit-learn", "pandas", "scipy", "matplotlib", "torch"}
TRAIN = """\
import json
shift = float(open("params.yaml").read().split(":")[-1])
rows = [(n, n % 2, 0.3 + 0.4 * (n % 2) + ((n * 37) % 100 - 50) / 300 + shift * (n % 3 - 1)) for n in range(300)]
with open("predictions.csv", "w") as file:
    file.write("id,label,score\\n" + "".join(f"{n},{label},{score}\\n" for n, label, score in rows))
json.dump({"accuracy": sum((score >= 0.5) == bool(label) for _, label, score in rows) / 300}, open("metrics.json", "w"))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_is_typed_and_holds_what_the_code_reads_beside_it(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    data = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src/lockgate").rglob("*") if path.is_file()}
    wanted = {name for name in data if "__pycache__" not in name}

    assert inside - {"lockgate/adoption/COMMIT"} == wanted
    assert "lockgate/py.typed" in inside


def needed(requirements: list[str], extras: tuple[str, ...] = ("",)) -> Iterator[str]:
    """Yield what the requirements need, through every chain, as the packages installed here say."""
    waiting = [(Requirement(line), extras) for line in requirements]
    seen: set[tuple[str, str]] = set()
    while waiting:
        one, given = waiting.pop()
        if one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in given):
            continue
        name = canonicalize_name(one.name)
        wanted = tuple(extra for extra in ("", *one.extras) if (name, extra) not in seen)
        if not wanted:
            continue
        seen |= {(name, extra) for extra in wanted}
        yield name
        waiting += [(Requirement(line), wanted) for line in importlib.metadata.requires(name) or []]


def test_installing_lockgate_drags_in_no_library_of_models(wheel: Path) -> None:
    metadata = zipfile.ZipFile(wheel).read(f"{'-'.join(wheel.name.split('-')[:2])}.dist-info/METADATA").decode()
    told = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    found = set(needed(told))

    assert {"dvc", "numpy", "pyarrow", "sigstore", "aiohttp"} <= found
    assert found & HEAVY == set()
    assert set(re.findall(r"^Provides-Extra: (.*)$", metadata, re.MULTILINE)) == {"azure", "gs", "s3", "service"}


def interpreter(version: str) -> str | None:
    """Return a Python of this version that is on this machine, by name or among those of pyenv; ``None`` if none is."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for path in [shutil.which(f"python{version}"), *map(str, pyenv.glob(f"{version}.*/bin/python"))]:
        if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return path
    return None


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_a_strangers_repository_gets_plan_report_and_check_from_a_clean_environment(
    wheel: Path, tmp_path: Path, version: str
) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on this machine")
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert uv

    def install(*options: str) -> "subprocess.CompletedProcess[str]":
        command = [uv, "pip", "install", "--quiet", "--python", str(tmp_path / "venv"), *options, str(wheel)]
        constraint = ["--constraint", str(constraints)] if version == "3.11" else []
        return subprocess.run([*command, *constraint], capture_output=True, text=True, check=False)

    constraints = tmp_path / "constraints.txt"  # the versions of our lock, which this machine most likely has at hand
    lock = (ROOT / "requirements/lockgate.lock").read_text()
    constraints.write_text("\n".join(re.findall(r"^[\w.-]+==\S+", lock, re.MULTILINE)))
    subprocess.run([uv, "venv", "--quiet", "--python", python, tmp_path / "venv"], check=True)
    done = install("--offline")
    if done.returncode != 0:
        done = install()
    if done.returncode != 0 and version != "3.11" and re.search(r"[Ff]ailed to fetch|dns error|connect", done.stderr):
        pytest.skip(f"no index answers to install for Python {version}")
    assert done.returncode == 0, done.stderr

    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "gitconfig").write_text(
        "[user]\n name = Ada\n email = ada@example.org\n[init]\n defaultBranch = main\n"
    )
    environment = {
        "PATH": f"{tmp_path / 'venv/bin'}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig"),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site"),
    }

    def run(*command: str, code: int = 0) -> str:
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, (command, done.stdout, done.stderr)
        return done.stdout

    run("git", "init", "-q")
    run("dvc", "init", "-q")
    (project / "train.py").write_text(TRAIN)
    (project / "params.yaml").write_text("shift: 0.0\n")
    run("dvc", "stage", "add", "-q", "-n", "train", "-d", "train.py", "-p", "shift", "-o", "predictions.csv",
        "-M", "metrics.json", "python train.py")  # fmt: skip
    run("dvc", "repro", "-q")
    run("git", "add", "-A")
    run("git", "commit", "-q", "-m", "A pipeline")
    run("lockgate", "init", "--no-push", "--no-lock", "--pin", "a" * 40)
    run("git", "merge", "-q", "lockgate-init")
    run("git", "checkout", "-q", "-b", "shift")
    (project / "params.yaml").write_text("shift: 0.1\n")
    assert "train" in run("lockgate", "plan")
    run("lockgate", "run")
    run("git", "commit", "-q", "-am", "Shift")
    report = run("lockgate", "report", "--base", "main")
    assert "accuracy" in report
    assert "shift" in report
    refused = run("lockgate", "check", "--base", "main", code=1)
    assert re.search("^FAILS  accuracy is shown to fall by at most", refused, re.MULTILINE)
    assert f"{sys.prefix}/" not in run("python", "-c", "import lockgate; print(lockgate.__file__)")
