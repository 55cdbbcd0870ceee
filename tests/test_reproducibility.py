"""Same inputs, same bytes: the whole pipeline under two sets of opposite conditions gives the hashes of ``dvc.lock``.

Each run is in a copy of the source in another folder, by the commands of ``dvc.yaml`` but without DVC (``make rebuild``
covers that). What a condition is meant to change is looked at from inside the run, so that the test cannot pass because
a switch was renamed and does nothing. Why bits that move do not matter: docs/reproducibility.md.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from numpy._core._multiarray_umath import __cpu_dispatch__
from tests.clock import faked_clock

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ("src/flight_delay", "expectations", "requirements/pipeline.lock", "params.yaml")

# prints what a stage would find: run by the same interpreter in the same environment
PROBE = """
import datetime, hashlib, json, locale, math, os, sys, time
import numpy, pyarrow, sklearn.ensemble
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
from threadpoolctl import threadpool_info
pools = {pool["user_api"]: pool for pool in threadpool_info()}
numbers = [-5 + 6 * n / 99_991 for n in range(99_991)]
os.umask(umask := os.umask(0))
print(json.dumps({
    "year": datetime.datetime.now().year,
    "utc offset": time.localtime().tm_gmtoff,
    "locale": locale.setlocale(locale.LC_ALL, ""),
    "home": os.path.expanduser("~"),
    "hash": hash("flight"),
    "umask": umask,
    "openmp threads": pools["openmp"]["num_threads"],
    "blas threads": pools["blas"]["num_threads"],
    "blas core": pools["blas"]["architecture"],
    "numpy": [name for name in __cpu_dispatch__ if __cpu_features__[name]],
    "arrow": pyarrow.runtime_info().simd_level,
    "bits of C's exp": hashlib.sha256(numpy.array([math.exp(n) for n in numbers]).tobytes()).hexdigest(),
    "bits of numpy's exp": hashlib.sha256(numpy.exp(numpy.array(numbers)).tobytes()).hexdigest(),
}))
"""


# a processor of 2008 on a machine of its own time and place
OLD = {
    **faked_clock("@1999-12-31 23:58:00"),
    "TZ": "Pacific/Kiritimati",
    "LC_ALL": "C",
    "PYTHONHASHSEED": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENBLAS_CORETYPE": "Nehalem",
    "NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__),
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX2,-AVX,-FMA,-FMA4",
    "ARROW_USER_SIMD_LEVEL": "NONE",
}
# this processor as it is, far from there
NEW = {
    **faked_clock("@2037-06-30 12:00:00"),
    "TZ": "America/St_Johns",
    "LC_ALL": "C.UTF-8",
    "PYTHONHASHSEED": "4000000000",
    "OMP_NUM_THREADS": "2",
    "OPENBLAS_NUM_THREADS": "2",
    "OPENBLAS_CORETYPE": "Haswell",
}


@dataclass(frozen=True)
class Run:
    """What a run of the pipeline found and made: MD5 by path."""

    conditions: dict[str, Any]
    outputs: dict[str, str]


def locked() -> dict[str, str]:
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def run(folder: Path, settings: dict[str, str], umask: int) -> Run:
    """Run every stage in a copy of the source in ``folder``, and hash what ``dvc.lock`` names."""
    for path in SOURCE:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / path).is_dir() else shutil.copy
        copy(ROOT / path, folder / path)
    home = folder / "home of somebody"
    home.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        **settings,
    }
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

    def shell(command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=folder, env=environment, umask=umask, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    conditions = json.loads(shell([sys.executable, "-c", PROBE]))
    for stage in stages.values():
        shell(["sh", "-c", stage["cmd"]])
    outputs = {path: hashlib.md5((folder / path).read_bytes()).hexdigest() for path in locked()}
    return Run(conditions, outputs)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    folders = tmp_path_factory.mktemp("a"), tmp_path_factory.mktemp("another") / "plus long, ünd with späces"
    with ThreadPoolExecutor(2) as pool:
        old = pool.submit(run, folders[0], OLD, 0o077)
        new = pool.submit(run, folders[1], NEW, 0o002)
        return old.result(), new.result()


@pytest.mark.slow
def test_every_condition_took_effect(runs: tuple[Run, Run]) -> None:
    old, new = (one.conditions for one in runs)
    assert (old["year"], new["year"]) == (1999, 2037)
    assert (old["utc offset"], new["utc offset"]) == (14 * 3600, -9000)
    assert (old["locale"], new["locale"]) == ("C", "C.UTF-8")
    assert (old["umask"], new["umask"]) == (0o077, 0o002)
    assert (old["openmp threads"], new["openmp threads"]) == (1, 2)
    assert (old["blas core"], new["blas core"]) == ("Nehalem", "Haswell")
    assert (old["numpy"], old["arrow"]) == ([], "none")
    assert all(old[condition] != new[condition] for condition in old), "no condition is the same in both"


@pytest.mark.slow
@pytest.mark.parametrize("conditions", ["old", "new"])
def test_every_output_has_the_hash_of_the_lock_under_any_conditions(runs: tuple[Run, Run], conditions: str) -> None:
    made = runs[("old", "new").index(conditions)].outputs
    differing = {path for path, digest in locked().items() if made[path] != digest}
    assert differing == set()
