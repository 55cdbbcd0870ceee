"""The figures in docs/statistics.md are those that the studies left: each claim has a script that makes it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "statistics.md").read_text(encoding="utf-8")


def study(name: str) -> Any:
    return json.loads((DOCS / "studies" / f"{name}.json").read_bytes())


def percent(values: list[float]) -> str:
    return f"{100 * min(values):.1f} to {100 * max(values):.1f} %"


@pytest.mark.parametrize(
    ("said", "chosen"),
    [
        ("30 and 92 clusters, of equal or unequal size", lambda row: row["clusters"] in (30, 92)),
        ("20 clusters", lambda row: row["clusters"] == 20),
        ("10 clusters", lambda row: row["clusters"] == 10),
        ("no clusters, 200 and 1,000 rows", lambda row: not row["clusters"] and row["rows"] in (200, 1000)),
        ("no clusters, 60 rows", lambda row: not row["clusters"] and row["rows"] == 60),
    ],
)
def test_coverage_is_what_the_simulation_found(said: str, chosen: Callable[[dict[str, Any]], bool]) -> None:
    rows = [row for row in study("coverage")["rows"] if chosen(row)]
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {said} |")]

    assert f"| {percent([row['covered'] for row in rows])} |" in line
    assert f"| {percent([row['called'] for row in rows])} |" in line


def test_the_flights_are_what_the_study_found() -> None:
    found = study("flights")
    called, apart = found["seed alone is called better or worse"], found["two halves of the days contradict each other"]

    def total(counts: dict[str, Any]) -> tuple[int, int]:
        pairs = [told if isinstance(told, str) else told["random halves"] for told in counts.values()]
        split = [[int(part) for part in pair.split(" of ")] for pair in pairs]
        return sum(one for one, _ in split), sum(of for _, of in split)

    errors = found["standard error by days over that by rows"]
    names = ("AUC", "average precision", "log loss", "Brier", "calibration")
    told = ", ".join(f"{error:.1f} ({name})" for error, name in zip(errors.values(), names, strict=True))
    (rows, of), (days, _) = total(called["rows"]), total(called["days"])
    (halves, drawn), (by_days, of_days) = total(apart["rows"]), total(apart["days"])
    lag = found["correlation of a day's sum with the next"]
    assert f"({found['rows']:,} rows, {found['days']} days" in PAGE
    assert f"| 1 | {told} |" in PAGE
    assert f"of {of} comparisons | {rows} | {days} |" in PAGE
    assert f"standard errors | {halves} of {drawn} | {by_days} of {of_days} |" in PAGE
    assert f"| | {lag['log loss']:.2f}, {lag['change of log loss']:.2f} |".replace("-", "\N{MINUS SIGN}") in PAGE


def test_how_often_luck_is_called_better_is_what_the_study_of_looks_found() -> None:
    found = study("looks")
    alone, clustered = found["rows"]
    said = {
        "not planned": "nothing planned: the best of 50",
        "planned": "`test_set: {looks: 50}`: the best of 50",
        "words": "`test_set: {looks: 50}`: the 50th is chosen by the *words* of 49 reports",
        "figures": "`test_set: {looks: 50}`: the 50th is chosen by the *figures* of 49 reports",
        "home": "`test_set: {looks: 50}`: the best of 200 steps tried at home, one look",
    }
    for name, words in said.items():
        assert f"| {words} | {100 * alone[name]:.1f} % | {100 * clustered[name]:.1f} % |" in PAGE
    assert max(alone["planned"], clustered["planned"]) <= 0.05
    assert (found["looks"], found["at home"], alone["clusters"], clustered["clusters"]) == (50, 200, None, 40)


def test_coverage_of_a_metrics_function_is_what_the_simulation_found() -> None:
    rows = study("generic")["rows"]
    for row in rows:
        told = f"{100 * row['covered']:.1f} % | {100 * row['called']:.1f} % | {100 * row['percentile covered']:.1f} % |"
        assert f"| {row['metric']}, {row['size']} | {told}" in PAGE
        assert 0.93 <= row["covered"] <= 0.97
    assert {row["metric"] for row in rows} == {"mrr", "ndcg", "concordance", "quantile"}
