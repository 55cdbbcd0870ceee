"""How long five million rows take to be judged, and how much memory, beside Arrow reading and joining the same files.

Two Parquet files of 5,000,000 rows in 730 days, with scores of two models: five metrics, days as clusters, thirty
slices. Each side is a process of its own with two threads; they take turns, and the median counts. Fails above 4
times Arrow's time or above 2 GB.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lockgate.evaluation.compare import Side, compare
from lockgate.evaluation.statistics import value
from lockgate.policy import read_policy

ROOT = Path(__file__).resolve().parent.parent
MOST_TIME, MOST_BYTES = 4.0, 2_000_000_000
METRICS = {
    "roc_auc": "higher",
    "average_precision": "higher",
    "log_loss": "lower",
    "brier": "lower",
    "calibration_error": "lower",
}
POLICY = """\
model: m
metrics:
{metrics}
predictions:
  file: p.parquet
  key: [date, flight]
  label: late
  score: probability
  cluster: [date]
  slices: [carrier, month]
  slice_metric: roc_auc
"""


def make(folder: Path, rows: int) -> None:
    """Write both files: a key of two columns, a label, a score and two columns to slice by (18 and 12 values)."""
    generator = np.random.default_rng(1)
    number = np.arange(rows)
    day = pa.array(np.datetime_as_string(np.arange("2012-01-01", "2013-12-31", dtype="datetime64[D]")))
    truth = generator.normal(size=rows)
    columns = {
        "date": day.take(pa.array(number % len(day))),
        "flight": pa.array(number // len(day)),
        "carrier": pa.array([f"C{one:02}" for one in range(18)]).take(pa.array(generator.integers(0, 18, rows))),
        "month": pa.array(1 + number % len(day) // 31 % 12),
        "late": pa.array(generator.random(rows) < 1 / (1 + np.exp(-truth))),
    }
    for name in ("base", "head"):
        order = generator.permutation(rows) if name == "head" else number
        score = 1 / (1 + np.exp(-(truth + generator.normal(size=rows))))
        table = pa.table({**columns, "probability": score}).take(pa.array(order))
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=500_000)


def arrow(folder: Path) -> None:
    """Read the columns that a comparison needs, and join both tables on the key."""
    needed = ["date", "flight", "carrier", "month", "late", "probability"]
    base = pq.read_table(folder / "base.parquet", columns=needed)
    head = pq.read_table(folder / "head.parquet", columns=["date", "flight", "late", "probability"])
    joined = base.join(head, keys=["date", "flight"], join_type="inner", right_suffix="_head")
    assert joined.num_rows == base.num_rows


def judge(folder: Path) -> None:
    """Judge head against base by the policy."""
    line = "  {0}: {{file: m.json, key: {0}, better: {1}, statistic: {0}}}"
    lines = [line.format(name, better) for name, better in METRICS.items()]
    policy = read_policy(POLICY.format(metrics="\n".join(lines)))
    base, head = (
        Side({"m.json": (folder / f"{name}.json").read_bytes()}, folder / f"{name}.parquet")
        for name in ("base", "head")
    )
    found = compare(policy, base, head)
    assert all(one.low is not None for one in found.metrics), found.metrics
    assert sum(one.low is not None for one in found.slices) == 30, len(found.slices)


def tell_metrics(folder: Path) -> None:
    """Write what the metrics files have to say."""
    for name in ("base", "head"):
        table = pq.read_table(folder / f"{name}.parquet", columns=["late", "probability"])
        label, score = table["late"].to_numpy(), table["probability"].to_numpy()
        (folder / f"{name}.json").write_text(json.dumps({metric: value(metric, label, score) for metric in METRICS}))


def measured(what: str, folder: Path) -> tuple[float, int]:
    """Return the seconds and the largest memory of one side, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_judgement", "--only", what, "--folder", str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    seconds, kilobytes = done.stdout.split()
    return float(seconds), int(kilobytes) * 1024


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--only", choices=("arrow", "judge"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        pa.set_cpu_count(2)
        started = time.perf_counter()
        {"arrow": arrow, "judge": judge}[arguments.only](arguments.folder)
        print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    with tempfile.TemporaryDirectory() as place:
        make(Path(place), arguments.rows)
        tell_metrics(Path(place))
        rounds = [{side: measured(side, Path(place)) for side in ("arrow", "judge")} for _ in range(arguments.rounds)]
    ratio = median(one["judge"][0] / one["arrow"][0] for one in rounds)
    most = max(one["judge"][1] for one in rounds)
    for side, told in (("arrow", "Arrow reads and joins"), ("judge", "lockgate judges")):
        seconds, memory = median(one[side][0] for one in rounds), max(one[side][1] for one in rounds)
        print(f"{told:24} {seconds:7.2f} s  {memory:,} bytes")
    print(f"{ratio:.2f} times Arrow's time (at most {MOST_TIME:g}), {most / 1e9:.2f} GB (at most {MOST_BYTES / 1e9:g})")
    if ratio > MOST_TIME or most > MOST_BYTES:
        sys.exit(1)


if __name__ == "__main__":
    main()
