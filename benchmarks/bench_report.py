"""How long ``lockgate report`` takes, beside the usual ``dvc exp diff --md`` and three ``dvc plots diff``.

On a clone of this repository with one more commit, whose probabilities are a little other than the last one's. Every
command is a process of its own; they take turns, and the median counts. Fails above half of DVC's time, or above 1.5
times that of the report before clusters, slices by gate and definitions of metrics (commit 668442a, from git).
"""

import argparse
import json
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

from lockgate.evaluation.statistics import value

PREDICTIONS, METRICS = "reports/predictions.parquet", "reports/metrics.json"
BEFORE = "668442a"  # the report before clusters
MOST_OF_DVC, MOST_OF_BEFORE = 0.5, 1.5
PLOTS = ("ROC", "Precision-recall", "Calibration")
DVC = [sys.executable, "-m", "dvc"]
OLD = f"lockgate report of {BEFORE}"
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
    figures = json.loads((folder / METRICS).read_text())
    for name in ("roc_auc", "average_precision", "log_loss", "brier", "calibration_error"):
        label, score = rows["late"].to_numpy(dtype=bool), rows["probability"].to_numpy()
        figures[name]["model"] = value(name, label, score)
    (folder / METRICS).write_text(json.dumps(figures))
    (folder / PREDICTIONS).unlink()
    rows.to_parquet(folder / PREDICTIONS, index=False)
    run(*DVC, "commit", "-q", "-f", "evaluate")
    run("git", "-c", "user.name=bench", "-c", "user.email=bench@example.org", "commit", "-qam", "other predictions")


def with_old_policy(clone: Path, folder: Path) -> Path:
    """Copy a clone so that both commits have the policy of :data:`BEFORE`, which its code reads; return that code."""
    shutil.copytree(clone, folder, symlinks=True)
    code = folder.with_name("before")
    code.mkdir()
    archive = subprocess.run(["git", "archive", BEFORE, "src"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(code)], input=archive, check=True)

    def git(*words: str) -> str:
        said = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
        return subprocess.run(["git", *said, *words], cwd=folder, check=True, capture_output=True, text=True).stdout

    changed = git("rev-parse", "HEAD").strip()
    policy = subprocess.run(
        ["git", "show", f"{BEFORE}:lockgate.yaml"], cwd=ROOT, check=True, capture_output=True
    ).stdout
    git("checkout", "-q", "HEAD~1")
    (folder / "lockgate.yaml").write_bytes(policy)
    git("commit", "-qam", "the policy of before")
    git("cherry-pick", changed)
    cache = ["cache", "dir", "--local", str(folder / ".cache/objects")]
    subprocess.run([*DVC, *cache], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return code / "src"


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
        old = clone.with_name("old")
        code = with_old_policy(clone, old)
        sequences = {OLD: [report], **sequences}
        times: dict[str, list[float]] = {name: [] for name in sequences}
        for number in range(rounds + 1):
            for name, commands in sequences.items():
                where, path = (old, code) if name == OLD else (clone, None)
                spent = sum(seconds(command, where, path) for command in commands)
                if number:
                    times[name].append(spent)
    middle = {name: median(values) for name, values in times.items()}
    beside = middle[list(sequences)[-1]]
    for name, spent in middle.items():
        print(f"{name:48} {spent:7.2f} s  {spent / beside:5.2f} x")
    ratio = middle["lockgate report"] / middle[OLD]
    print(f"lockgate report takes {ratio:.2f} times as long as that of {BEFORE} (at most {MOST_OF_BEFORE})")
    if ratio > MOST_OF_BEFORE or middle["lockgate report"] > MOST_OF_DVC * beside:
        sys.exit(1)


if __name__ == "__main__":
    main()
