"""How often the interval of a metrics function covers: ranking by query, concordance, a quantile. Fixed seeds.

    python benchmarks/study_generic.py [--pairs 300] [--output docs/studies/generic.json]

For each metric and size: the share of intervals that hold the known difference between two models, and the share of
pairs of equally good models that are called better or worse; beside it what the percentile interval of the same
resamples would have covered.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lockgate.evaluation.bootstrap import Resampler, estimate
from lockgate.evaluation.statistics import judge

RESAMPLES = 200
MORE = ("concordance", "30 clusters of 10")  # where 300 pairs left 5 % and 8 % alike
WITHIN = 0.7  # standard deviation of what a cluster's rows share
Rows = dict[str, np.ndarray]


# --- the worlds: rows of one test set, scored by models with different noise


def queries(generator: np.random.Generator, clusters: int, noises: tuple[float, float]) -> tuple[Rows, Rows]:
    """Twenty documents a query, with grades from 0 to 3; some queries are harder for both models."""
    query = np.repeat(np.arange(clusters), 20)
    grade = generator.choice(4, len(query), p=[0.7, 0.15, 0.1, 0.05]).astype(float)
    hard = np.exp(0.5 * generator.normal(size=clusters))[query]
    seen = grade + hard * generator.normal(size=len(query))
    sides = [seen + noise * hard * generator.normal(size=len(query)) for noise in noises]
    return {"query": query, "grade": grade, "score": sides[0]}, {"query": query, "grade": grade, "score": sides[1]}


def survival(
    generator: np.random.Generator, clusters: int, noises: tuple[float, float], each: int
) -> tuple[Rows, Rows]:
    """Times until an event, some of them censored; rows of one cluster share a part of their risk and of the error."""
    group = np.repeat(np.arange(clusters), each)
    shared = WITHIN * (each > 1)
    risk = generator.normal(size=len(group)) + shared * generator.normal(size=clusters)[group]
    until = generator.exponential(np.exp(-risk))
    censored = generator.exponential(2.0, len(group))
    told = {"group": group, "time": np.minimum(until, censored), "event": until <= censored}
    own = [noise * generator.normal(size=len(group)) for noise in noises]
    also = [noise * shared * generator.normal(size=clusters)[group] for noise in noises]
    return {**told, "score": risk + own[0] + also[0]}, {**told, "score": risk + own[1] + also[1]}


# --- the metrics, as a repository would write them


def by_query(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    _, query = np.unique(rows["query"], return_inverse=True)
    order = np.lexsort((-rows["score"], query))
    query = query[order]
    return query, rows["grade"][order], np.arange(len(query)) - np.searchsorted(query, query)


def mrr(rows: Rows) -> float:
    query, grade, rank = by_query(rows)
    best = np.full(query.max() + 1, np.inf)
    np.minimum.at(best, query[grade > 1], rank[grade > 1] + 1.0)
    return float((1 / best).mean())


def ndcg(rows: Rows) -> float:
    query, grade, rank = by_query(rows)
    ideal = np.lexsort((-grade, query))
    worth, best = (2**grade - 1) / np.log2(rank + 2), (2 ** grade[ideal] - 1) / np.log2(rank + 2)
    found, most = np.bincount(query, worth), np.bincount(query, best)
    return float((found[most > 0] / most[most > 0]).mean())


def concordance(rows: Rows) -> float:
    """The share of comparable pairs of which the one with the higher risk has its event first (Harrell 1982)."""
    time, score = rows["time"], rows["score"]
    first = (time[:, None] < time[None, :]) & rows["event"][:, None]
    higher = np.sign(score[:, None] - score[None, :])
    return float(0.5 + 0.5 * (higher * first).sum() / first.sum())


def quantile(rows: Rows) -> float:
    """The 90 % quantile of the absolute error."""
    return float(np.quantile(np.abs(rows["score"] - rows["truth"]), 0.9))


def forecasts(
    generator: np.random.Generator, clusters: int, noises: tuple[float, float], each: int
) -> tuple[Rows, Rows]:
    """Forecasts of a number; rows of one cluster share a part of the error."""
    group = np.repeat(np.arange(clusters), each)
    shared = WITHIN * (each > 1)
    truth = generator.normal(size=len(group))
    both = generator.normal(size=len(group)) + shared * generator.normal(size=clusters)[group]
    sides = []
    for noise in noises:
        also = noise * shared * generator.normal(size=clusters)[group]
        sides.append(truth + both + noise * generator.normal(size=len(group)) + also)
    return (
        {"group": group, "truth": truth, "score": sides[0]},
        {"group": group, "truth": truth, "score": sides[1]},
    )


@dataclass(frozen=True)
class Setting:
    """A metric on test sets of one size; ``group`` is the column of clusters, empty where each row is drawn alone."""

    metric: str
    draw: Callable[[np.random.Generator, tuple[float, float]], tuple[Rows, Rows]]
    value: Callable[[Rows], float]
    size: str
    group: str
    known: Callable[[np.random.Generator, tuple[float, float]], tuple[Rows, Rows]]


def settings() -> tuple[Setting, ...]:
    many = 20_000
    found = [
        Setting(
            name,
            lambda generator, noises, clusters=clusters: queries(generator, clusters, noises),  # type: ignore[misc]
            value,
            f"{clusters} queries",
            "query",
            lambda generator, noises: queries(generator, many, noises),
        )
        for name, value in (("mrr", mrr), ("ndcg", ndcg))
        for clusters in (30, 92)
    ]
    for name, value, world, group in (
        ("concordance", concordance, survival, "group"),
        ("quantile", quantile, forecasts, "group"),
    ):
        for clusters, each in ((200, 1), (30, 10)):
            found.append(
                Setting(
                    name,
                    lambda generator, noises, clusters=clusters, each=each, world=world: world(  # type: ignore[misc]
                        generator, clusters, noises, each
                    ),
                    value,
                    f"{clusters} rows" if each == 1 else f"{clusters} clusters of {each}",
                    group if each > 1 else "",
                    lambda generator, noises, each=each, world=world: world(generator, 4000 // each, noises, each),  # type: ignore[misc]
                )
            )
    return tuple(found)


def known_change(setting: Setting, draws: int) -> float:
    """Return the difference between the two models, from large test sets."""
    found = []
    for number in range(draws):
        base, head = setting.known(np.random.default_rng([1, number]), (1.2, 0.6))
        found.append(setting.value(head) - setting.value(base))
    return float(np.mean(found))


def study(setting: Setting, pairs: int, draws: int = 0) -> dict[str, Any]:
    """Return what the intervals of one setting come to; ``draws`` are the large test sets of the known difference."""
    wanted = known_change(setting, draws or (20 if setting.metric == "concordance" else 10))
    covered = called = percentile = 0
    for number in range(pairs):
        for noises, equal in (((1.2, 0.6), False), ((0.9, 0.9), True)):
            base, head = setting.draw(np.random.default_rng([7, number, equal]), noises)
            rows = len(base["score"])
            cluster = base[setting.group] if setting.group else None
            resampler = Resampler(rows, cluster, (setting.group,))
            changes = np.empty(RESAMPLES)
            for resample in range(RESAMPLES):
                drawn = resampler.draw(1_000_003 * number + resample)
                before, after = (setting.value(resampler.taken(side, drawn)) for side in (base, head))
                changes[resample] = after - before
            one = estimate(setting.value(base), setting.value(head), changes, rows, cluster)
            if equal:
                called += judge(one.low, one.high, "higher") != "noise"
            else:
                covered += one.low <= wanted <= one.high
                low, high = np.quantile(changes, (0.025, 0.975))
                percentile += bool(low <= wanted <= high)
    shares = {"covered": covered, "called": called, "percentile covered": percentile}
    told = {"metric": setting.metric, "size": setting.size, "pairs": pairs}
    return {**told, **{name: round(n / pairs, 4) for name, n in shares.items()}}


def rows_of(pairs: int, only: str = "") -> Iterator[dict[str, Any]]:
    for setting in settings():
        if only in f"{setting.metric} {setting.size}":
            yield study(setting, pairs * (3 if (setting.metric, setting.size) == MORE else 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--only", default="", help="a metric and size, such as 'mrr 30 queries'")
    parser.add_argument("--output", type=Path, default=Path("docs/studies/generic.json"))
    arguments = parser.parse_args()
    told: dict[str, Any] = {"resamples": RESAMPLES, "rows": []}
    if arguments.only and arguments.output.exists():
        told = json.loads(arguments.output.read_text())
    for row in rows_of(arguments.pairs, arguments.only):
        print(row, file=sys.stderr, flush=True)
        others = [one for one in told["rows"] if (one["metric"], one["size"]) != (row["metric"], row["size"])]
        told["rows"] = [*others, row]
        arguments.output.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
