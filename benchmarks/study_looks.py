"""How often luck is called better when one test set is looked at fifty times: simulated, with fixed seeds.

    python benchmarks/study_looks.py [--series 300] [--output docs/studies/looks.json]

Every change is one that changes nothing: head's scores are base's with other noise of the same size. Somebody proposes
the best of fifty. Then two who are not covered: one who chooses the fiftieth change by what the reports of forty-nine
said, and one who tries two hundred at home, keeps each that helped, and proposes what is left. And, for what it would
take, one who reads the reports but is told no figures, only better, worse or noise.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lockgate.evaluation import looks, statistics
from lockgate.evaluation.statistics import Undefined, compare, judge
from lockgate.policy import Policy, TestSet, read_policy
from lockgate.result import MetricChange

METRICS = {"roc_auc": "higher", "log_loss": "lower", "brier": "lower"}
LOOKS = 50
AT_HOME = 200
MOVE = 0.05  # standard deviation of a small change of the logits
LAST = 0.1  # of the change that is chosen by what was reported
POLICY = "model: m\nmetrics:\n" + "".join(
    f"  {name}: {{file: m.json, key: {name}, better: {better}, statistic: {name}}}\n"
    for name, better in METRICS.items()
)
SETTINGS = (
    {"rows": 2000, "clusters": None},
    {"rows": 2000, "clusters": 40},
)


def planned(of: TestSet | None) -> Policy:
    return replace(read_policy(POLICY), test_set=of)


def expit(logit: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logit)))


class World:
    """One test set and a base: labels, base's logits, the clusters of rows."""

    def __init__(self, seed: int, rows: int, clusters: int | None) -> None:
        self.generator = np.random.default_rng(seed)
        self.cluster = None if clusters is None else np.arange(rows) % clusters
        self.groups = clusters
        self.rows = rows
        truth = self.noise()
        self.label = self.generator.random(rows) < expit(truth)
        self.truth, self.of_base = truth, self.noise()

    def noise(self) -> np.ndarray:
        """Noise of variance 1, half of it shared by the rows of a cluster where there are any."""
        own = self.generator.normal(size=self.rows)
        if self.cluster is None or self.groups is None:
            return own
        return np.asarray((own + self.generator.normal(size=self.groups)[self.cluster]) / 2**0.5)

    @property
    def base(self) -> np.ndarray:
        return self.truth + self.of_base

    def as_good(self) -> np.ndarray:
        """The logits of a change that changes nothing: a fifth of the noise is other noise."""
        return np.asarray(self.truth + 0.8**0.5 * self.of_base + 0.2**0.5 * self.noise())

    def judged(self, head: np.ndarray, policy: Policy) -> tuple[str, float]:
        """Return ``better``, ``worse`` or ``noise`` as the first line of a comment has it, and the change of log loss
        in standard errors."""
        found, t = [], 0.0
        with statistics.at_confidence(looks.confidence(policy)), statistics.sorted_once():
            for name, better in METRICS.items():
                try:
                    one = compare(name, self.label, expit(self.base), expit(head), self.cluster)
                except Undefined:
                    continue
                word = judge(one.low, one.high, better)  # type: ignore[arg-type]
                found.append(
                    MetricChange(name, better, one.base, one.head, one.change, one.low, one.high, word, p=one.p)  # type: ignore[arg-type]
                )
                t = one.change / one.error if name == "log_loss" and one.error else t
        words = {one.judgement for one in looks.called_together(policy, tuple(found))}
        return next((word for word in ("better", "worse") if word in words), "noise"), t


def best_of_fifty(world: World, policies: dict[str, Policy]) -> dict[str, tuple[bool, bool]]:
    """Return for each policy whether one of fifty is called better, and whether one is called worse."""
    heads = [world.as_good() for _ in range(LOOKS)]
    found = {}
    for name, policy in policies.items():
        words = {world.judged(head, policy)[0] for head in heads}
        found[name] = ("better" in words, "worse" in words)
    return found


def chosen_by_reports(world: World, policy: Policy) -> tuple[str, str]:
    """Return what is said of the fiftieth change of somebody who reads every figure, and who is told words alone.

    Forty-nine changes move the logits at random; the last one moves them by all of these, each as far as its report
    said that it helped.
    """
    moves = [MOVE * world.noise() for _ in range(LOOKS - 1)]
    reports = [world.judged(world.base + move, policy) for move in moves]
    usual = float(np.mean([t for _, t in reports]))  # noise alone makes the loss a little worse
    by_figures = sum((usual - t) * move for (_, t), move in zip(reports, moves, strict=True))
    signs = {"better": 1.0, "worse": -1.0, "noise": 0.0}
    by_words = sum(signs[word] * move for (word, _), move in zip(reports, moves, strict=True))
    said = []
    for way in (by_figures, by_words):
        size = float(np.std(way))
        head = world.base + (LAST * way / size if size else MOVE * world.noise())
        said.append(world.judged(head, policy)[0])
    return said[0], said[1]


def best_at_home(world: World, policy: Policy) -> str:
    """Return what is said of a change that was tuned on the test rows where nobody counts."""

    def loss(logit: np.ndarray) -> float:
        return float(np.logaddexp(0, np.where(world.label, -logit, logit)).mean())

    found = world.base
    for _ in range(AT_HOME):
        tried = found + MOVE * world.noise()
        found = tried if loss(tried) < loss(found) else found
    return world.judged(found, policy)[0]


def study(series: int, *, short: bool = False) -> Iterator[dict[str, Any]]:
    """Yield one row a setting: how often somebody is told *better*, in shares of all series."""
    policies = {"planned": planned(TestSet(LOOKS, 0.95)), "not planned": planned(None)}
    for setting in SETTINGS[:1] if short else SETTINGS:
        counts = dict.fromkeys(("planned", "not planned", "planned, worse", "figures", "words", "home"), 0)
        for number in range(series):
            world = World(number, **setting)
            for name, (better, worse) in best_of_fifty(world, policies).items():
                counts[name] += better
                counts["planned, worse"] += worse and name == "planned"
            if short:
                continue
            figures, words = chosen_by_reports(world, policies["planned"])
            counts["figures"] += figures == "better"
            counts["words"] += words == "better"
            counts["home"] += best_at_home(world, policies["planned"]) == "better"
        shares = {name: round(count / series, 4) for name, count in counts.items()}
        yield {**setting, **shares}
        print({**setting, **shares}, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=300)
    parser.add_argument("--output", type=Path, default=Path("docs/studies/looks.json"))
    arguments = parser.parse_args()
    rows = list(study(arguments.series))
    told = {"series": arguments.series, "looks": LOOKS, "confidence": 0.95, "at home": AT_HOME, "rows": rows}
    arguments.output.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
