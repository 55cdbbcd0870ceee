"""What it costs to serve a release in its own dependencies: making the environment, the swap, memory, latency.

    python benchmarks/study_dependencies.py [--rounds 5000] [--cache FOLDER]

The flight-delay model (``models/flight-delay.skops``, from ``make run``), once with the packages installed here
(``current``), once with those of its lock (``locked``), which are the same versions: what differs is what is measured.
Both models run at the same time and are asked in turn, a single request each time, so that both meet the same machine.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psutil
import pyarrow.parquet as pq
from tests.lockgate.serving_builds import flight_build

from flight_delay.request import REQUEST
from lockgate.dependencies.commit import Locked
from lockgate.dependencies.lock import read_lock
from lockgate.policy import Dependencies
from lockgate.serving.process import ModelProcess, start, unpack

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "requirements"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5000)
    parser.add_argument("--cache", type=Path, help="where environments are kept (default: a new folder, so it is made)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        return measure(Path(scratch), arguments.rounds, arguments.cache or Path(scratch, "cache"))


def measure(scratch: Path, rounds: int, cache: Path) -> int:
    """Measure in the folder ``scratch``; 1 if the median is more than 1.02 times the other."""
    lock, build = (read_lock((LOCKS / name).read_text(), name) for name in ("pipeline.lock", "lockgate.lock"))
    locked = Locked("flight-delay", Dependencies("pipeline.lock", "3.11", "lockgate.lock"), lock, build)
    for what in ("made or found", "found"):
        begin = time.perf_counter()
        own = locked.install(cache=cache, tell=print)
        print(f"the environment is {what} in {time.perf_counter() - begin:.2f} s")
    rows = pq.read_table(ROOT / "data/prepared/test.parquet").select(REQUEST).slice(0, 20).to_pandas()
    folder = flight_build(scratch / "build", ROOT / "models/flight-delay.skops", rows)
    models: dict[str, ModelProcess] = {}
    for name, python in (("current", None), ("locked", own.executable)) * 2:  # the second time all files are in memory
        if name in models:
            models.pop(name).close()
        begin = time.perf_counter()
        models[name] = start(unpack(name, folder, python))
        print(f"{name:8} swap (unpacked, started, loaded, samples answered): {time.perf_counter() - begin:.2f} s")
    contract = models["current"].loadable.contract
    batch = contract.request.batch([contract.samples.requests[0]])
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(rounds):
        for name in sorted(models, reverse=bool(turn % 2)):
            begin = time.perf_counter()
            models[name].predict(batch)
            seconds[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    for name, model in models.items():
        memory = psutil.Process(model.process.pid).memory_full_info()
        print(
            f"{name:8} median {1000 * medians[name]:.3f} ms of {len(seconds[name])} single requests; "
            f"memory {memory.rss / 2**20:.0f} MiB, of its own {memory.uss / 2**20:.0f} MiB"
        )
        model.close()
        model.loadable.discard()
    ratio = medians["locked"] / medians["current"]
    print(f"median locked / current: {ratio:.3f}")
    return int(ratio > 1.02)


if __name__ == "__main__":
    sys.exit(main())
