"""How often the intervals of each kind of model cover, and how often equal models are called different: simulated, with
fixed seeds.

    python benchmarks/study_kinds.py [--pairs 2000] [--short] [--output docs/studies/kinds.json]

Rows come in clusters that share a part of the truth and a part of each model's error. For each statistic and number of
clusters, or of rows without clusters: the share of intervals that hold the known difference of the two models among
those that were given, the share of equally good pairs that are called better or worse, and the share that "cannot say".
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lockgate.evaluation.statistics import Definition, Undefined, compare, judge, value

WITHIN = 0.6  # standard deviation of what a cluster's rows share, beside 1 of a row's own
LEVELS = np.array([0.9, 0.5, 0.1, -0.7])  # of four classes, the last of which one row in twelve has
THIRD = 2
BINARY, MULTI, REGRESSION = (
    Definition(),
    Definition(kind="multiclass", classes=4, chosen=THIRD),
    Definition(kind="regression", quantile=0.8, covered=0.8),
)
STATISTICS: dict[str, tuple[str, Definition]] = {
    "binary f1": ("f1", BINARY),
    "binary precision": ("precision", BINARY),
    "binary recall": ("recall", BINARY),
    "multiclass accuracy": ("accuracy", MULTI),
    "multiclass accuracy, macro": ("accuracy", replace(MULTI, average="macro")),
    "multiclass macro_f1": ("macro_f1", MULTI),
    "multiclass weighted_f1": ("weighted_f1", MULTI),
    "multiclass log_loss": ("log_loss", MULTI),
    "multiclass brier": ("brier", MULTI),
    "multiclass f1 of a class": ("f1", MULTI),
    "multiclass precision of a class": ("precision", MULTI),
    "multiclass recall of a class": ("recall", MULTI),
    "multiclass roc_auc of a class": ("roc_auc", MULTI),
    "regression rmse": ("rmse", REGRESSION),
    "regression mae": ("mae", REGRESSION),
    "regression mse": ("mse", REGRESSION),
    "regression r2": ("r2", REGRESSION),
    "regression quantile_loss": ("quantile_loss", REGRESSION),
    "regression coverage": ("coverage", REGRESSION),
    "regression interval_width": ("interval_width", REGRESSION),
    "regression interval_score": ("interval_score", REGRESSION),
    "mean of a column": ("mean", Definition(kind="other")),
}
BETTER, EQUAL = (1.3, 0.8), (1.0, 1.0)
"""How much noise base and head see the truth through."""

Drawn = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def draw(kind: str, generator: np.random.Generator, sizes: np.ndarray, noises: tuple[float, float]) -> Drawn:
    """Return labels, base's and head's answers, and the cluster of each row."""
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    rows = len(cluster)

    def drawn(columns: int = 1) -> np.ndarray:
        """Draw what a row has for itself, and what it shares with its cluster."""
        return generator.normal(size=(rows, columns)) + WITHIN * generator.normal(size=(len(sizes), columns))[cluster]

    if kind == "multiclass":
        truth = 1.2 * drawn(4) + LEVELS
        label = (truth + generator.gumbel(size=truth.shape)).argmax(axis=1)  # by the probabilities of the softmax
        base, head = (_classes(truth + noise * drawn(4)) for noise in noises)
        return label, base, head, cluster
    truth = drawn()[:, 0]
    if kind == "binary":
        label = generator.random(rows) < 1 / (1 + np.exp(-1.5 * truth + 0.7))
        base, head = (1 / (1 + np.exp(-1.5 * (truth + noise * drawn()[:, 0]) + 0.7)) for noise in noises)
        return label, base, head, cluster
    label = 3 + 2 * truth + (0.5 + 0.5 * generator.random(rows)) * generator.normal(size=rows)
    base, head = (_with_ends(3 + 2 * truth + noise * drawn()[:, 0], noise, generator) for noise in noises)
    if kind == "other":  # a loss of each row
        return np.zeros(rows, dtype=bool), (label - base[:, 0]) ** 2, (label - head[:, 0]) ** 2, cluster
    return label, base, head, cluster


def _classes(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.column_stack([logits.argmax(axis=1), powers / powers.sum(axis=1, keepdims=True)])


def _with_ends(prediction: np.ndarray, noise: float, generator: np.random.Generator) -> np.ndarray:
    reach = (1.1 + noise) * (0.8 + 0.4 * generator.random(len(prediction)))
    return np.column_stack([prediction, prediction - reach, prediction + reach])


def settings(*, short: bool) -> Iterator[tuple[str, int | None, np.ndarray]]:
    """Yield the settings: 30 and 92 clusters of 40 rows, equal or not, and rows that are drawn one by one."""
    for clusters in (30,) if short else (30, 92):
        yield f"{clusters} clusters", clusters, np.full(clusters, 40)
        if not short:
            share = np.arange(1, clusters + 1)
            yield (
                f"{clusters} unequal clusters",
                clusters,
                np.maximum(1, np.round(share / share.mean() * 40)).astype(int),
            )
    for rows in (200,) if short else (200, 1000, 5000):
        yield f"{rows:,} rows", None, np.ones(rows, dtype=int)


def study(pairs: int, *, short: bool = False, quiet: bool = False) -> list[dict[str, Any]]:
    """Return one row a statistic and setting."""
    found = []
    for kind in ("binary", "multiclass", "regression", "other"):
        asked = {called: one for called, one in STATISTICS.items() if one[1].kind == kind}
        big = draw(kind, np.random.default_rng(1), np.full(4_000 if short else 40_000, 40), BETTER)
        alone = draw(kind, np.random.default_rng(2), np.ones(160_000 if short else 1_600_000, dtype=int), BETTER)
        known = {
            (called, together): value(name, of[0], of[2], how) - value(name, of[0], of[1], how)
            for called, (name, how) in asked.items()
            for together, of in ((True, big), (False, alone))
        }
        for setting, clusters, sizes in settings(short=short):
            counts = {called: [0, 0, 0, 0] for called in asked}  # given, covered, judged, called
            generator = np.random.default_rng(7)
            for _ in range(pairs):
                for noises in (BETTER, EQUAL):
                    label, base, head, cluster = draw(kind, generator, sizes, noises)
                    for called, (name, how) in asked.items():
                        try:
                            one = compare(name, label, base, head, None if clusters is None else cluster, how)
                        except Undefined:
                            continue
                        counted = counts[called]
                        if noises == BETTER:
                            counted[0] += 1
                            counted[1] += one.low <= known[called, clusters is not None] <= one.high
                        else:
                            counted[2] += 1
                            counted[3] += judge(one.low, one.high, "higher") != "noise"
            for called, (given, covered, judged, wrong) in counts.items():
                found.append(
                    {
                        "statistic": called,
                        "setting": setting,
                        "covered": round(covered / given, 4) if given else None,
                        "called": round(wrong / judged, 4) if judged else None,
                        "cannot_say": round(1 - (given + judged) / (2 * pairs), 4),
                    }
                )
                if not quiet:
                    print(found[-1], file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Print the figures, or write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows = study(arguments.pairs, short=arguments.short)
    text = json.dumps({"pairs": arguments.pairs, "rows": rows}, indent=1) + "\n"
    if arguments.output:
        arguments.output.write_text(text)
    else:
        print(text)


if __name__ == "__main__":
    main()
