"""What another processor changes, quantity by quantity: the evidence behind docs/reproducibility.md.

Trains the committed model on ``data/prepared/`` in child processes that see less of this processor (or another BLAS, or
more threads), and compares what comes out, bit by bit, with an undisturbed one. Quantities that are never written to a
file are looked at as well: they say how near a change is. Takes three to five minutes:
``python benchmarks/study_processors.py`` (``--only PATTERN`` for some of the conditions).
"""

import argparse
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy._core._multiarray_umath import __cpu_features__
from sklearn._loss.loss import HalfBinomialLoss
from threadpoolctl import threadpool_limits

from flight_delay import train as stage
from flight_delay.evaluate import score
from flight_delay.files import read_frame
from flight_delay.metrics import figures
from flight_delay.model_file import dump_model
from flight_delay.params import load_params
from flight_delay.request import LABEL, REQUEST

ROOT = Path(__file__).resolve().parent.parent
NUMPY_DISPATCHED = "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"
CONDITIONS: dict[str, dict[str, str]] = {
    "undisturbed": {},
    "numpy without AVX512": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
    "numpy without AVX2": {"NPY_DISABLE_CPU_FEATURES": NUMPY_DISPATCHED},
    "glibc without AVX512": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ"},
    "glibc without FMA": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-FMA4"},
    "glibc without AVX2, FMA": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX2,-FMA,-FMA4"},
    "OpenBLAS for Nehalem": {"OPENBLAS_CORETYPE": "Nehalem"},
    "OpenBLAS for Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
    "Arrow without SIMD": {"ARROW_USER_SIMD_LEVEL": "NONE"},
    "two threads in training": {"STUDY_THREADS": "2"},
}
SAMPLE = 2_000_000
TREES, ROWS = 150, 244_737  # of the committed model


def measure() -> dict[str, np.ndarray]:
    """Return every quantity as an array, computed in this process."""
    found = _elementary()
    if "STUDY_THREADS" in os.environ:
        limit = int(os.environ["STUDY_THREADS"])
        stage.threadpool_limits = lambda **_: threadpool_limits(limits=limit, user_api="openmp")
    rows, test = read_frame(Path("data/prepared/train.parquet")), read_frame(Path("data/prepared/test.parquet"))
    model = stage.train(rows, load_params().train)
    nodes = np.concatenate([tree.nodes for (tree,) in model[-1]._predictors])  # noqa: SLF001
    requests, labels = test[list(REQUEST)], test[LABEL].to_numpy()
    with threadpool_limits(limits=1, user_api="openmp"):
        raw, probability, rounded = (
            model.decision_function(requests),
            model.predict_proba(requests)[:, 1],
            score(model, test),
        )
    found |= {f"tree {name}": nodes[name] for name in ("value", "num_threshold", "gain", "feature_idx")}
    found |= {"features": model[0].transform(requests), "raw score": raw, "probability": probability}
    found |= {f"{key} unrounded": np.array([value]) for key, value in figures(labels, probability, 10).items()}
    found |= {"probability as reported": rounded}
    found |= {
        f"{key} to six decimals": np.array([round(value, 6)]) for key, value in figures(labels, rounded, 10).items()
    }
    found["bits that exact sums need"] = bits_to_sum(model[-1], model[0].transform(rows[list(REQUEST)]), rows[LABEL])
    found["model file"] = np.frombuffer(hashlib.sha256(dump_model(model)).digest(), dtype=np.uint8)
    return found


def _elementary() -> dict[str, np.ndarray]:
    """Return what the libraries make of fixed numbers, so that one can see that a condition took effect."""
    numbers = -5 + 6 * np.random.default_rng(0).random(SAMPLE)
    late = (np.arange(SAMPLE) % 4 == 0).astype(np.float64)
    gradient, hessian = HalfBinomialLoss().gradient_hessian(late, numbers, n_threads=1)
    square = numbers[:250_000].reshape(500, 500)
    return {
        "C exp": np.array([math.exp(number) for number in numbers[:200_000].tolist()]),
        "numpy exp": np.exp(numbers),
        "numpy log": np.log(1.5 + numbers / 8),
        "BLAS product": square @ square,
        "64-bit gradient": gradient,
        "64-bit hessian": hessian,
        "32-bit gradient": gradient.astype(np.float32),
        "32-bit hessian": hessian.astype(np.float32),
    }


def bits_to_sum(classifier: Any, features: np.ndarray, late: Any) -> np.ndarray:
    """Return for the first and the last tree how many bits hold any sum of its gradients, or hessians, without error.

    scikit-learn sums 32-bit numbers in 64-bit ones, which hold 53 bits: up to that, no order of a sum matters.
    """
    needed = []
    stages = list(classifier.staged_decision_function(features))
    for raw in (stages[0], stages[-1]):
        for values in HalfBinomialLoss().gradient_hessian(late.to_numpy(np.float64), raw, n_threads=1):
            mantissa, exponent = np.frexp(np.abs(values).astype(np.float32).astype(np.float64))
            whole = np.ldexp(mantissa, 24).astype(np.int64)
            lowest = np.min(exponent - 24 + np.log2(whole & -whole))
            needed.append(np.ceil(np.log2(np.abs(values).sum())) - lowest)
    return np.array(needed)


def child(target: str) -> None:
    """Measure, and write the arrays and the enabled features of numpy to ``target``."""
    enabled = [name for name in NUMPY_DISPATCHED.split() if __cpu_features__[name]]
    sys.stderr.write(f"  numpy uses {', '.join(enabled) or 'its baseline'}\n")
    np.savez(target, **measure())


def compare(here: np.ndarray, there: np.ndarray) -> str:
    """Return in words how two arrays differ."""
    here, there = here.ravel(), there.ravel()
    if here.shape != there.shape:
        return f"{len(here)} or {len(there)} of them"
    differs = here.view(np.uint8).reshape(len(here), -1) != there.view(np.uint8).reshape(len(there), -1)
    count = int(differs.any(axis=1).sum())
    if not count or here.dtype.kind != "f":
        return f"{count} of {len(here)}" if count else "same"
    return f"{count / here.size:.2%} differ, at most {np.nanmax(np.abs(here - there)):.0e}"


def expected_flips(here: np.ndarray, there: np.ndarray, values: int) -> float:
    """Return how many of ``values`` numbers come out different when rounded to 32 bits.

    A boundary between two floats lies between the two versions of a number with the probability that is their distance
    in units of the float's spacing.
    """
    return float(np.mean(np.abs(here - there) / np.spacing(np.abs(here).astype(np.float32)))) * values


def main() -> None:
    """Run every condition and print what it changed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="PATTERN", default="", help="conditions whose name matches")
    wanted = parser.parse_args().only
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, dict[str, np.ndarray]] = {}
        for number, (name, settings) in enumerate(CONDITIONS.items()):
            if number and not re.search(wanted, name):
                continue
            sys.stderr.write(f"{name}: {json.dumps(settings)}\n")
            target = f"{folder}/{number}.npz"
            environment = {**os.environ, **settings, "PYTHONPATH": "src"}
            command = [sys.executable, __file__, "--child", target]
            subprocess.run(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
            with np.load(target) as arrays:
                found[name] = dict(arrays)
    base = found.pop("undisturbed")
    bits = ", ".join(f"{value:.0f}" for value in base["bits that exact sums need"])
    print(f"bits that exact sums of gradients and hessians need, first and last tree: {bits} (there are 53)")
    for name, other in found.items():
        said = {key: compare(base[key], other[key]) for key in base}
        print(f"\n{name}")
        for key, text in said.items():
            if text != "same":
                print(f"  {key}: {text}")
        print(f"  {list(said.values()).count('same')} of {len(said)} quantities: the same bits")
        if said["64-bit gradient"] != "same":
            flips = sum(
                expected_flips(base[key], other[key], TREES * ROWS) for key in ("64-bit gradient", "64-bit hessian")
            )
            print(f"  expected number of 32-bit gradients and hessians that differ in one training: {flips:.5f}")


if __name__ == "__main__":
    child(sys.argv[2]) if sys.argv[1:2] == ["--child"] else main()
