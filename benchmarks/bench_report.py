"""How long ``lockgate report`` takes, beside the usual ``dvc exp diff --md`` and three ``dvc plots diff``.

On a clone of this repository with one more commit, whose probabilities are a little other than the last one's. Every
command is a process of its own; they take turns, and the median counts.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.bench_plan import LOCKGATE, ROOT, seconds

PREDICTIONS = "reports/predictions.parquet"
PLOTS = ("ROC", "Precision-recall", "Calibration")
DVC = [sys.executable, "-m", "dvc"]
LAST_TWO = ["HEAD~1", "HEAD"]


def changed_clone(folder: Path) -> None:
    """Clone this repository with its outputs and commit other predictions to it."""

    def run(*command: str) -> None:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    run(*DVC, "cache", "dir", "--local", str(folder / ".cache/objects"))
    shutil.copytree(ROOT / ".dvc/cache", folder / ".cache/objects")
    run(*DVC, "checkout", "-q", "-f")
    rows = pd.read_parquet(folder / PREDICTIONS)
    noise = np.random.default_rng(0).normal(0, 0.01, len(rows))
    rows["probability"] = (rows["probability"] + noise).clip(0.001, 0.999).round(6)
    (folder / PREDICTIONS).unlink()
    rows.to_parquet(folder / PREDICTIONS, index=False)
    run(*DVC, "commit", "-q", "-f", "evaluate")
    run("git", "-c", "user.name=bench", "-c", "user.email=bench@example.org", "commit", "-qam", "other predictions")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each that count (default: 3)")
    rounds = parser.parse_args().rounds
    report = [*LOCKGATE, "report", "--base", "HEAD~1", "--head", "HEAD", "--format", "md"]
    ours = {"lockgate report --no-intervals": [[*report, "--no-intervals"]], "lockgate report": [report]}
    usual = [[*DVC, "exp", "diff", "--md", *LAST_TWO]]
    usual += [[*DVC, "plots", "diff", *LAST_TWO, "--targets", plot, "-o", f".cache/{plot}"] for plot in PLOTS]
    sequences = {**ours, "dvc exp diff --md, dvc plots diff three times": usual}
    with tempfile.TemporaryDirectory() as place:
        clone = Path(place) / "clone"
        changed_clone(clone)
        times: dict[str, list[float]] = {name: [] for name in sequences}
        for number in range(rounds + 1):
            for name, commands in sequences.items():
                spent = sum(seconds(command, clone) for command in commands)
                if number:
                    times[name].append(spent)
    middle = {name: median(values) for name, values in times.items()}
    beside = middle[list(sequences)[-1]]
    for name, spent in middle.items():
        print(f"{name:48} {spent:7.2f} s  {spent / beside:5.2f} x")


if __name__ == "__main__":
    main()
