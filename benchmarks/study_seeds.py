"""How often is another seed alone called a change? Simulated, and on the flights.

    python benchmarks/study_seeds.py [--comparisons 2000] [--output docs/studies/seeds.json]
    python benchmarks/study_seeds.py --flights FOLDER --pairs 24 --output docs/studies/seeds-flights.json

Simulated: base and head are one procedure, trained a few times each under seeds of their own, on one set of test rows
in clusters. A seed moves every score a little (its slope and its level), the rows of each cluster together, and each
row by itself. A comparison is *called* if one metric of five is better or worse after Holm's correction, which is what
the headline of a comment says. At most 5 % may be, and the upper end of the 95 % interval of that share (Wilson) at
most 6.5 %. Beside it: how often one training of each is called by its rows alone, and how often the interval of a real
difference between two procedures covers it.

On the flights: FOLDER holds the test scores of one model of the committed pipeline for each seed, as ``sN.npy``, with
``rows.npz`` (label, days); ``--train`` makes them first.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from lockgate.evaluation import procedure, statistics
from lockgate.evaluation.procedure import Spread
from lockgate.evaluation.statistics import Undefined

METRICS = ("roc_auc", "average_precision", "log_loss", "brier", "calibration_error")

ASIDE = 5  # one comparison in so many is also made without repeats

SCENARIOS: dict[str, dict[str, float]] = {
    "rows matter most": {"slope": 0.01, "level": 0.01, "cluster": 0.05, "row": 0.2},
    "seeds matter most": {"slope": 0.1, "level": 0.1, "cluster": 0.1, "row": 0.3},
    "seeds do nothing but shuffle rows": {"slope": 0.0, "level": 0.0, "cluster": 0.0, "row": 0.3},
}


def world(generator: np.random.Generator, rows: int, clusters: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what a model could know of each row, its label, and its cluster."""
    cluster = np.sort(generator.integers(0, clusters, rows))
    known = generator.normal(size=rows)
    hidden = generator.normal(size=clusters)[cluster]
    label = generator.random(rows) < 1 / (1 + np.exp(1.2 - known - 0.7 * hidden))
    return known, label, cluster


def train(generator: np.random.Generator, known: np.ndarray, cluster: np.ndarray, seed: dict[str, float]) -> np.ndarray:
    """Return the scores of one training."""
    moved = known * (1 + seed["slope"] * generator.normal()) - 1.1 + seed["level"] * generator.normal()
    moved = moved + seed["cluster"] * generator.normal(size=int(cluster.max()) + 1)[cluster]
    return np.asarray(1 / (1 + np.exp(-(moved + seed["row"] * generator.normal(size=len(known))))))


def judged(
    label: np.ndarray,
    base: list[np.ndarray],
    head: list[np.ndarray],
    cluster: np.ndarray,
    past: dict[str, Spread] | None = None,
) -> dict[str, procedure.Estimate]:
    found = {}
    for metric in METRICS:
        sides = [procedure.models(metric, label, scores, cluster) for scores in (base, head)]
        try:
            found[metric] = procedure.estimate(*sides, cluster, past[metric] if past else None)
        except Undefined:
            continue
    return found


def called(estimates: dict[str, procedure.Estimate]) -> bool:
    """Say whether the headline calls a change."""
    return min(procedure.holm([one.p for one in estimates.values()]), default=1.0) <= 0.05


def by_rows_alone(label: np.ndarray, base: np.ndarray, head: np.ndarray, cluster: np.ndarray) -> bool:
    """Say whether one of the five changes is called from one training of each, as it is without repeats."""
    for metric in METRICS:
        try:
            found = statistics.compare(metric, label, base, head, cluster)
        except Undefined:
            continue
        if statistics.judge(found.low, found.high, "higher") != "noise":
            return True
    return False


def share(number: int, of: int) -> dict[str, Any]:
    """Return how often, with the 95 % interval of Wilson (1927)."""
    z, p = 1.96, number / of
    middle, reach = p + z**2 / (2 * of), z * (p * (1 - p) / of + z**2 / (4 * of**2)) ** 0.5
    low, high = ((middle + sign * reach) / (1 + z**2 / of) for sign in (-1, 1))
    return {"called": number, "of": of, "share": round(p, 4), "interval": [round(low, 4), round(high, 4)]}


def simulate(
    scenario: dict[str, float], comparisons: int, *, rows: int, clusters: int, repeats: int, seed: int = 0
) -> dict[str, Any]:
    """Compare one procedure with itself, again and again: new rows and new seeds each time."""
    generator = np.random.default_rng(seed)
    asides = 0
    numbers = {"rows and seeds": 0, "rows alone": 0, "rows, and the spread of past runs": 0}
    each = dict.fromkeys(METRICS, 0)
    for number in range(comparisons):
        known, label, cluster = world(generator, rows, clusters)
        trainings = [train(generator, known, cluster, scenario) for _ in range(2 * repeats)]
        base, head = trainings[:repeats], trainings[repeats:]
        found = judged(label, base, head, cluster)
        numbers["rows and seeds"] += called(found)
        for metric, one in found.items():
            each[metric] += one.p <= 0.05
        if number % ASIDE:
            continue
        asides += 1
        numbers["rows alone"] += by_rows_alone(label, base[0], head[0], cluster)
        past = [train(generator, known, cluster, scenario) for _ in range(repeats)]
        spreads = {metric: Spread.of(procedure.models(metric, label, past, cluster).values) for metric in METRICS}
        numbers["rows, and the spread of past runs"] += called(
            judged(label, base[:1], head[:1], cluster, {name: one for name, one in spreads.items() if one})
        )
    return {
        "rows": rows,
        "clusters": clusters,
        "repeats": repeats,
        **{
            name: share(number, comparisons if name == "rows and seeds" else asides) for name, number in numbers.items()
        },
        "each metric by itself": {name: round(number / comparisons, 4) for name, number in each.items()},
    }


def coverage(scenario: dict[str, float], comparisons: int, *, rows: int, clusters: int, repeats: int) -> dict[str, Any]:
    """Compare two procedures that differ, and count how often the interval covers the difference to expect."""
    better = {**scenario, "row": scenario["row"] + 0.3}
    generator = np.random.default_rng(1)

    def means(seed: dict[str, float]) -> dict[str, float]:
        values: dict[str, list[float]] = {metric: [] for metric in METRICS}
        for _ in range(4000):
            known, label, cluster = world(generator, rows, clusters)
            score = train(generator, known, cluster, seed)
            for metric in METRICS:
                values[metric].append(statistics.value(metric, label, score))
        return {metric: float(np.mean(found)) for metric, found in values.items()}

    before, after = means(scenario), means(better)
    covered = dict.fromkeys(METRICS, 0)
    for _ in range(comparisons):
        known, label, cluster = world(generator, rows, clusters)
        base = [train(generator, known, cluster, scenario) for _ in range(repeats)]
        head = [train(generator, known, cluster, better) for _ in range(repeats)]
        for metric, one in judged(label, base, head, cluster).items():
            covered[metric] += one.low <= after[metric] - before[metric] <= one.high
    return {metric: round(number / comparisons, 4) for metric, number in covered.items()}


def study(comparisons: int) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, scenario in SCENARIOS.items():
        for clusters, repeats in ((92, 5), (30, 5), (92, 2)):
            print(f"{name}: {clusters} clusters, {repeats} repeats", file=sys.stderr, flush=True)
            found = simulate(scenario, comparisons, rows=2000, clusters=clusters, repeats=repeats)
            told[f"{name}; {clusters} clusters, {repeats} repeats"] = found
    print("coverage", file=sys.stderr, flush=True)
    told["coverage of a real difference (92 clusters, 5 repeats)"] = {
        name: coverage(scenario, max(400, comparisons // 4), rows=2000, clusters=92, repeats=5)
        for name, scenario in SCENARIOS.items()
    }
    return told


# --- the flights


def train_flights(folder: Path, seeds: int) -> None:
    """Train the committed pipeline's model under each seed, on ``data/prepared/``; those that are there stay."""
    import pandas as pd  # noqa: PLC0415 - the simulation needs none of this

    from flight_delay.evaluate import score  # noqa: PLC0415
    from flight_delay.params import load_params  # noqa: PLC0415
    from flight_delay.train import train as fit  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    prepared, params = Path("data/prepared"), load_params().train
    rows, test = pd.read_parquet(prepared / "train.parquet"), pd.read_parquet(prepared / "test.parquet")
    days = pd.factorize(test["scheduled_departure"].dt.date, sort=True)[0]
    np.savez(folder / "rows.npz", label=test["late"].to_numpy().astype(bool), days=days)
    for seed in range(seeds):
        if not (folder / f"s{seed}.npy").exists():
            np.save(folder / f"s{seed}.npy", score(fit(rows, params.model_copy(update={"seed": seed})), test))


def flights(folder: Path, pairs: int, repeats: int) -> dict[str, Any]:
    """Compare disjoint sets of seeds of the one procedure, drawn anew for each pair."""
    with np.load(folder / "rows.npz") as stored:
        label, days = stored["label"], stored["days"].astype(np.int64)
    scores = [np.load(path) for path in sorted(folder.glob("s*.npy"), key=lambda path: int(path.stem[1:]))]
    generator = np.random.default_rng(0)
    order = list(generator.permutation(len(scores)))
    alone, together, errors = [], [], []
    values = {metric: [statistics.value(metric, label, one) for one in scores] for metric in METRICS}
    for number in range(pairs):
        if 2 * number + 1 < len(order):
            one, two = order[2 * number : 2 * number + 2]
            alone.append(by_rows_alone(label, scores[one], scores[two], days))
        drawn = generator.permutation(len(scores))[: 2 * repeats]
        found = judged(label, [scores[i] for i in drawn[:repeats]], [scores[i] for i in drawn[repeats:]], days)
        together.append(called(found))
        errors.append([(e.rows**0.5, e.base_seeds**0.5, e.head_seeds**0.5, e.freedom) for e in found.values()])
        print(f"{number + 1} of {pairs}", file=sys.stderr, flush=True)
    typical = np.median(np.array(errors), axis=0)
    parts = ("rows", "seeds of base", "seeds of head", "degrees of freedom")
    return {
        "models": len(scores),
        "seeds are disjoint": "within each pair" if 2 * repeats * pairs > len(scores) else "over all pairs",
        "one training of each, days as clusters": share(sum(alone), len(alone)),
        f"{repeats} trainings of each, days and seeds": share(sum(together), pairs),
        "range over seeds": {metric: short(np.ptp(found)) for metric, found in values.items()},
        "standard deviation over seeds": {metric: short(np.std(found, ddof=1)) for metric, found in values.items()},
        "median standard errors": {
            metric: dict(zip(parts, map(short, row), strict=True)) for metric, row in zip(METRICS, typical, strict=True)
        },
    }


def short(value: float) -> float:
    return float(f"{value:.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=2000)
    parser.add_argument("--flights", type=Path, metavar="FOLDER")
    parser.add_argument("--train", type=int, metavar="N", default=0)
    parser.add_argument("--commit", default="", help="the commit whose model the scores are of, to be noted")
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    if arguments.flights:
        if arguments.train:
            train_flights(arguments.flights, arguments.train)
        told = {"model of commit": arguments.commit, **flights(arguments.flights, arguments.pairs, arguments.repeats)}
    else:
        told = study(arguments.comparisons)
    text = json.dumps(told, indent=1) + "\n"
    if arguments.output:
        arguments.output.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
