"""What DVC, the checks and the features cost: ratios, each pair measured in turns in one run.

    python benchmarks/bench_pipeline.py [ROUNDS]

The commit is cloned to a temporary folder with an empty cache and no remote. Each line gives the shortest time of
either side: on a machine that others use too, it is the time that says most about the work.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from flight_delay.files import read_frame  # noqa: E402
from flight_delay.model_file import load_model  # noqa: E402
from flight_delay.request import REQUEST  # noqa: E402

GIGABYTE = 1e9
ROWS = 300_000


def run(folder: Path, *command: str) -> tuple[float, float]:
    """Run a command; return its seconds and the largest memory of it and all it started, in GB."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "src",
        "DVC_NO_ANALYTICS": "1",
    }
    with tempfile.TemporaryFile() as output:
        start, most = time.perf_counter(), 0
        process = psutil.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        while process.poll() is None:
            most = max(most, memory(process))
            try:
                process.wait(0.05)
            except psutil.TimeoutExpired:
                continue
        seconds = time.perf_counter() - start
        if process.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(command)} failed:\n{output.read().decode()}")
    return seconds, most / GIGABYTE


def memory(process: psutil.Process) -> int:
    total = 0
    for one in [process, *children(process)]:
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def seconds_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def line(what: str, ours: list[float], beside: str, other: list[float], aim: float) -> str:
    ratio = min(ours) / min(other)
    verdict = "met" if ratio <= aim else "missed"
    return f"{what:34} {min(ours):7.2f} s   {beside:34} {min(other):7.2f} s   {ratio:5.2f}x   at most {aim}x: {verdict}"


def whole_runs(scratch: Path, rounds: int) -> list[str]:
    """Time ``dvc repro`` in fresh clones, which are left there, beside the plain script, which must give the same."""
    ours, other, memories = [], [], []
    for turn in range(rounds):
        clone, plain = scratch / f"clone-{turn}", scratch / f"plain-{turn}"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        took, most = run(clone, "dvc", "repro")
        ours.append(took)
        memories.append(most)
        other.append(run(clone, "python", "benchmarks/plain_pipeline.py", str(plain))[0])
        made = [path.relative_to(plain) for path in plain.rglob("*") if path.suffix in (".json", ".skops")]
        different = [str(path) for path in made if (plain / path).read_bytes() != (clone / path).read_bytes()]
        if different or not made:
            sys.exit(f"the plain script's outputs are missing or differ: {', '.join(sorted(different))}")
    verdict = "met" if max(memories) <= 2 else "missed"
    return [
        line("dvc repro from nothing", ours, "one plain script", other, 1.6),
        f"{'  its largest memory':34} {max(memories):7.2f} GB  {'':53} at most 2 GB: {verdict}",
    ]


def nothing_to_do(clone: Path, rounds: int) -> str:
    ours, other = [], []
    for _ in range(rounds):
        ours.append(run(clone, "dvc", "repro")[0])
        other.append(run(clone, "dvc", "status")[0])
    return line("dvc repro, nothing to do", ours, "dvc status", other, 1.5)


def prediction(clone: Path, rounds: int) -> str:
    model = load_model(clone / "models" / "flight-delay.skops")
    rows = pd.concat([read_frame(clone / "data" / "prepared" / f"{name}.parquet") for name in ("train", "test")])
    requests = rows[list(REQUEST)].head(ROWS)
    features = model["features"].transform(requests)
    ours, other = [], []
    with threadpool_limits(limits=1, user_api="openmp"):  # two threads that wait for each other measure the neighbours
        for _ in range(rounds):
            ours.append(seconds_of(lambda: model.predict_proba(requests)))
            other.append(seconds_of(lambda: model["classifier"].predict_proba(features)))
    return line(f"model on {ROWS:,} requests", ours, "bare classifier on ready features", other, 1.5)


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        lines = whole_runs(Path(scratch), rounds)
        clone = Path(scratch) / f"clone-{rounds - 1}"
        lines += [nothing_to_do(clone, 3 * rounds), prediction(clone, 3 * rounds)]
    print("\n".join(lines))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
