"""What the intervals are worth on the flights: rows of one day go together, and another seed is another model.

    python benchmarks/study_flights.py [--seeds 8] [--scores FOLDER] [--output docs/studies/flights.json]

Trains the committed pipeline's model under several seeds, and once with another learning rate, on ``data/prepared/``
(run ``make run`` first; with ``--scores`` the scores of the seeds are those that ``study_seeds.py --train`` left).
Then, with days as clusters and without: the standard errors of a change; how often two models that differ in their seed
alone are called better or worse; how often two halves of the test days, drawn at random or the first half against the
second, and each fortnight and all other days, contradict each other beyond 1.96 standard errors; the correlation of one
day's sum with the next day's; and what weeks as clusters would add.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from flight_delay.evaluate import score
from flight_delay.params import load_params
from flight_delay.train import train
from lockgate.evaluation.statistics import Undefined, compare, judge

METRICS = ("roc_auc", "average_precision", "log_loss", "brier", "calibration_error")
PREPARED = Path("data/prepared")


def halves(days: np.ndarray, repeats: int) -> list[np.ndarray]:
    """Return which days are in the first half: drawn at random, and last the first of them in time."""
    generator = np.random.default_rng(3)
    count = int(days.max()) + 1
    drawn = [generator.permutation(count) < count // 2 for _ in range(repeats)]
    return [*drawn, np.arange(count) < count // 2]


def contradicts(
    metric: str, rows: tuple[np.ndarray, ...], days: np.ndarray, half: np.ndarray, *, clusters: bool
) -> bool | None:
    """Say whether two parts of the days contradict each other; nothing where one of them has no interval, because the
    change rests on two or three days of it."""
    found = []
    for chosen in (half[days], ~half[days]):
        label, base, head = (column[chosen] for column in rows)
        try:
            found.append(compare(metric, label, base, head, days[chosen] if clusters else None))
        except Undefined:
            return None
    apart = abs(found[0].change - found[1].change)
    return bool(apart > 1.96 * np.hypot(found[0].error, found[1].error))


def fortnights(days: np.ndarray) -> list[np.ndarray]:
    """Return which days are in each fortnight (two weeks are as few as an interval by days takes)."""
    numbers = np.arange(int(days.max()) + 1)
    return [numbers // 14 == number for number in range(len(numbers) // 14)]


def lag_one(values: np.ndarray, days: np.ndarray) -> float:
    sums = np.bincount(days, values - values.mean())
    return float(np.corrcoef(sums[:-1], sums[1:])[0, 1])


def log_loss(label: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return -np.log(np.where(label, scores, 1 - scores))


def study(seeds: int, repeats: int, scores: Path | None) -> dict[str, Any]:
    params = load_params().train
    rows, test = pd.read_parquet(PREPARED / "train.parquet"), pd.read_parquet(PREPARED / "test.parquet")
    models = []
    for seed in range(seeds):
        print(f"seed {seed} of {seeds}", file=sys.stderr, flush=True)
        if scores is not None:
            models.append(np.load(scores / f"s{seed}.npy"))
            continue
        models.append(score(train(rows, params.model_copy(update={"seed": seed})), test))
    other = score(train(rows, params.model_copy(update={"learning_rate": 2 * params.learning_rate})), test)
    label = test["late"].to_numpy().astype(bool)
    days = pd.factorize(test["scheduled_departure"].dt.date, sort=True)[0]
    changed = (label, models[0], other)
    errors, weeks, called, contradicted = {}, {}, {}, {}
    pairs = list(itertools.combinations(range(seeds), 2))
    disjoint = [(2 * n, 2 * n + 1) for n in range(seeds // 2)]
    for metric in METRICS:
        together, alone = compare(metric, *changed, days), compare(metric, *changed)
        errors[metric] = round(together.error / alone.error, 2)
        try:
            weeks[metric] = round(compare(metric, *changed, days // 7).error / together.error, 2)
        except Undefined:
            weeks[metric] = None
        for name, clusters in (("days", days), ("rows", None)):
            judged = {}
            for one, two in pairs:
                try:
                    found = compare(metric, label, models[one], models[two], clusters)
                    judged[one, two] = judge(found.low, found.high, "higher") != "noise"
                except Undefined:
                    judged[one, two] = False
            called.setdefault(name, {})[metric] = f"{sum(judged.values())} of {len(pairs)}"
            called.setdefault(f"{name}, disjoint pairs", {})[metric] = (
                f"{sum(judged[pair] for pair in disjoint)} of {len(disjoint)}"
            )
            *drawn, in_time = [
                contradicts(metric, changed, days, half, clusters=clusters is not None)
                for half in halves(days, repeats)
            ]
            drawn = [one for one in drawn if one is not None]
            blocks = [
                contradicts(metric, changed, days, half, clusters=clusters is not None) for half in fortnights(days)
            ]
            blocks = [one for one in blocks if one is not None]
            contradicted.setdefault(name, {})[metric] = {
                "a fortnight against the other days": f"{sum(blocks)} of {len(blocks)}",
                "random halves": f"{sum(drawn)} of {len(drawn)}",
                "first against second half": in_time,
            }
    level = log_loss(label, models[0])
    return {
        "rows": len(label),
        "days": int(days.max()) + 1,
        "standard error by days over that by rows": errors,
        "standard error by weeks over that by days": weeks,
        "seed alone is called better or worse": called,
        "two halves of the days contradict each other": contradicted,
        "correlation of a day's sum with the next": {
            "log loss": round(lag_one(level, days), 2),
            "change of log loss": round(lag_one(log_loss(label, other) - level, days), 2),
        },
        "range of ROC AUC over seeds": round(
            float(np.ptp([compare("roc_auc", label, models[0], one).head for one in models])), 4
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--scores", type=Path, metavar="FOLDER")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    text = json.dumps(study(arguments.seeds, arguments.repeats, arguments.scores), indent=1) + "\n"
    if arguments.output:
        arguments.output.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
