"""How often the intervals cover, and how often they say that they cannot: simulated, with fixed seeds.

    python benchmarks/study_coverage.py [--pairs 1000] [--output docs/studies/coverage.json]

Rows come in clusters that share a part of the truth and a part of each model's error, as the flights of one day do. For
each metric, number of clusters and size of them: the share of intervals that hold the known difference among those that
were given, the share of equal pairs that are called better or worse, and the share that "cannot say".
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lockgate.evaluation.statistics import Undefined, compare, judge, value

METRICS = ("roc_auc", "average_precision", "log_loss", "brier", "accuracy", "calibration_error")
WITHIN = 0.7  # standard deviation of what a cluster's rows share, of the truth and of each model's error


def draw(
    generator: np.random.Generator, sizes: np.ndarray, noises: tuple[float, float], level: float = -0.8
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return labels, base's and head's scores, and the cluster of each row."""
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    rows = len(cluster)
    truth = generator.normal(size=rows) + WITHIN * generator.normal(size=len(sizes))[cluster] + level
    label = generator.random(rows) < 1 / (1 + np.exp(-truth))
    scores = []
    for noise in noises:
        shared = noise * WITHIN * generator.normal(size=len(sizes))[cluster]
        seen = truth + shared + noise * generator.normal(size=rows)
        scores.append(1 / (1 + np.exp(-seen)))
    return label, scores[0], scores[1], cluster


def sizes_of(kind: str, clusters: int, rows: int) -> np.ndarray:
    if kind == "equal":
        return np.full(clusters, max(1, rows // clusters))
    weights = np.arange(1, clusters + 1) ** 1.0  # the largest has twice the mean
    return np.maximum(1, np.round(weights / weights.sum() * rows)).astype(int)


def settings(short: bool) -> Iterator[dict[str, Any]]:
    for clusters in (10, 20, 30, 92) if not short else (10, 30):
        for kind in ("equal", "unequal"):
            yield {"clusters": clusters, "rows": 40 * clusters, "sizes": kind}
    for rows in (30, 60, 100, 200, 1000) if not short else (60, 200):
        yield {"clusters": None, "rows": rows, "sizes": "equal"}


def study(pairs: int, *, short: bool = False, metrics: tuple[str, ...] = METRICS) -> list[dict[str, Any]]:
    """Return one row a metric and setting."""
    found = []
    big = draw(np.random.default_rng(1), np.full(40_000, 40), (0.9, 0.5))
    for metric in metrics:
        known = value(metric, big[0], big[2]) - value(metric, big[0], big[1])
        for setting in settings(short):
            generator = np.random.default_rng(7)
            clusters = setting["clusters"]
            sizes = sizes_of(setting["sizes"], clusters or setting["rows"], setting["rows"])
            wanted = known
            if metric == "calibration_error":  # biased upwards on few rows: the difference to expect on as many
                some = [draw(generator, sizes, (0.9, 0.5)) for _ in range(max(300, pairs // 2))]
                wanted = float(np.mean([value(metric, s[0], s[2]) - value(metric, s[0], s[1]) for s in some]))
            covered = called = given = judged = 0
            for _ in range(pairs):
                for noises, equal in (((0.9, 0.5), False), ((0.7, 0.7), True)):
                    label, base, head, cluster = draw(generator, sizes, noises)
                    try:
                        one = compare(metric, label, base, head, None if clusters is None else cluster)
                    except Undefined:
                        continue
                    if equal:
                        judged += 1
                        called += judge(one.low, one.high, "higher") != "noise"
                    else:
                        given += 1
                        covered += one.low <= wanted <= one.high
            found.append(
                {
                    "metric": metric,
                    **setting,
                    "covered": round(covered / given, 4) if given else None,
                    "called": round(called / judged, 4) if judged else None,
                    "cannot_say": round(1 - (given + judged) / (2 * pairs), 4),
                }
            )
            print(found[-1], file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--metric", choices=METRICS)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = study(arguments.pairs, short=arguments.short, metrics=(arguments.metric,) if arguments.metric else METRICS)
    text = json.dumps({"pairs": arguments.pairs, "rows": rows}, indent=1) + "\n"
    if arguments.output:
        arguments.output.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
