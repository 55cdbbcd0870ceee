"""How long five million rows of a multiclass model and of a regression take to be judged, beside Arrow reading and
joining the same files. As bench_judgement.py, which is of a binary model: days as clusters, thirty slices, each side a
process of its own with two threads. Four classes with their probabilities; a prediction with its interval.

    make bench BENCH=kinds        fails above 4 times Arrow's time
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
from lockgate.evaluation.statistics import Definition, value
from lockgate.policy import STATISTICS, read_policy

ROOT = Path(__file__).resolve().parent.parent
MOST_TIME = 4.0
CLASSES = np.array(["ash", "birch", "cedar", "elm"])
METRICS = {
    "multiclass": ("macro_f1", "weighted_f1", "accuracy", "log_loss", "brier"),
    "regression": ("rmse", "mae", "r2", "coverage", "interval_score"),
}
ROWS = {
    "multiclass": "label: y, predicted: said, probabilities: {prefix: p_}, slice_metric: macro_f1",
    "regression": "label: y, prediction: said, interval: {low: low, high: high}, slice_metric: rmse",
}
HOW = {"multiclass": Definition(kind="multiclass", classes=4), "regression": Definition(kind="regression")}


def make(kind: str, folder: Path, rows: int) -> None:
    """Write both files, and the metrics that they give."""
    generator = np.random.default_rng(1)
    number = np.arange(rows)
    day = pa.array(np.datetime_as_string(np.arange("2012-01-01", "2013-12-31", dtype="datetime64[D]")))
    columns = {
        "date": day.take(pa.array(number % len(day))),
        "flight": pa.array(number // len(day)),
        "carrier": pa.array([f"C{one:02}" for one in range(18)]).take(pa.array(generator.integers(0, 18, rows))),
        "month": pa.array(1 + number % len(day) // 31 % 12),
    }
    truth = generator.normal(size=(rows, 4 if kind == "multiclass" else 1))
    label = (truth + generator.gumbel(size=truth.shape)).argmax(axis=1)
    target = truth[:, 0] + generator.normal(size=rows)
    for name in ("base", "head"):
        seen = truth + generator.normal(size=truth.shape)
        if kind == "multiclass":
            powers = np.exp(seen)
            score = np.column_stack([seen.argmax(axis=1), powers / powers.sum(axis=1, keepdims=True)])
            told = {
                "y": pa.array(CLASSES).take(pa.array(label)),
                "said": pa.array(CLASSES).take(pa.array(seen.argmax(axis=1))),
            }
            told |= {f"p_{one}": score[:, 1 + place] for place, one in enumerate(CLASSES)}
        else:
            score = np.column_stack([seen[:, 0], seen[:, 0] - 2.3, seen[:, 0] + 2.3])
            told = {"y": target, "said": score[:, 0], "low": score[:, 1], "high": score[:, 2]}
        of = label if kind == "multiclass" else target
        found = {metric: value(metric, of, score, HOW[kind]) for metric in METRICS[kind]}
        (folder / f"{name}.json").write_text(json.dumps(found))
        order = pa.array(generator.permutation(rows) if name == "head" else number)
        pq.write_table(pa.table({**columns, **told}).take(order), folder / f"{name}.parquet", row_group_size=500_000)


def arrow(kind: str, folder: Path) -> None:
    """Read the columns that a comparison needs, and join both tables on the key."""
    base = pq.read_table(folder / "base.parquet")
    head = pq.read_table(folder / "head.parquet").drop_columns(["carrier", "month"])
    joined = base.join(head, keys=["date", "flight"], join_type="inner", right_suffix="_head")
    assert joined.num_rows == base.num_rows, kind


def judge(kind: str, folder: Path) -> None:
    """Judge head against base by the policy."""
    line = "  {0}: {{file: m.json, key: {0}, better: {1}, statistic: {0}}}\n"
    metrics = "".join(line.format(name, STATISTICS[name] or "higher") for name in METRICS[kind])  # type: ignore[index]
    rows = (
        f"kind: {kind}, file: p.parquet, key: [date, flight], cluster: [date], slices: [carrier, month], {ROWS[kind]}"
    )
    policy = read_policy(f"model: m\nmetrics:\n{metrics}predictions: {{{rows}}}\n")
    base, head = (
        Side({"m.json": (folder / f"{name}.json").read_bytes()}, folder / f"{name}.parquet")
        for name in ("base", "head")
    )
    found = compare(policy, base, head)
    assert all(one.low is not None for one in found.metrics), found.metrics
    assert sum(one.low is not None for one in found.slices) == 30, len(found.slices)


def measured(what: str, kind: str, folder: Path) -> tuple[float, int]:
    """Return the seconds and the largest memory of one side, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bench_kinds", "--only", what, "--kind", kind, "--folder", str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    seconds, kilobytes = done.stdout.split()
    return float(seconds), int(kilobytes) * 1024


def main() -> None:
    """Print a line for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--kind", choices=METRICS)
    parser.add_argument("--only", choices=("arrow", "judge"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        pa.set_cpu_count(2)
        started = time.perf_counter()
        {"arrow": arrow, "judge": judge}[arguments.only](arguments.kind, arguments.folder)
        print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        return
    slow = False
    for kind in (arguments.kind,) if arguments.kind else METRICS:
        with tempfile.TemporaryDirectory() as place:
            make(kind, Path(place), arguments.rows)
            sides = ("arrow", "judge")
            rounds = [{side: measured(side, kind, Path(place)) for side in sides} for _ in range(arguments.rounds)]
        ratio = median(one["judge"][0] / one["arrow"][0] for one in rounds)
        seconds = [median(one[side][0] for one in rounds) for side in sides]
        memory = [max(one[side][1] for one in rounds) / 1e9 for side in sides]
        told = f"{kind:12} Arrow {seconds[0]:6.2f} s {memory[0]:5.2f} GB, "
        told += f"lockgate {seconds[1]:6.2f} s {memory[1]:5.2f} GB: "
        print(f"{told}{ratio:.2f} times Arrow's time (at most {MOST_TIME:g})")
        slow = slow or ratio > MOST_TIME
    if slow:
        sys.exit(1)


if __name__ == "__main__":
    main()
