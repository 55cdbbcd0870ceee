"""Do alarms keep their budget, and how soon do they see a drop? Simulated years, correlated as the flights are.

    python benchmarks/study_alarms.py [--years 1000] [--output docs/studies/alarms.json]

Each simulated year has a reference of its own: so many days, from which the promise, the spread and the level of the
evidence are found as in production, and then 365 days that are judged one by one. Days follow each other with a
correlation of 0.45 (``absolute``: that of the level of the flights' loss from day to day), 0.3 or 0.05 (``relative``);
what is new of a day is skewed as that of the flights' losses is (a gamma distribution of shape 2). The mean of the
lived days is as promised, or worse by exactly the tolerated margin: the least favourable of what counts as no alarm.
"""

import argparse
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lockgate.monitoring.alarm_series import DailyValues, shares_of_requests
from lockgate.monitoring.alarms import CALM_DAYS, Family, quality_family, run, shares_family
from lockgate.monitoring.detector import promise_of, upper_rate

BUDGET, KINDS = 2.0, 5
RATE = BUDGET / KINDS
YEAR = 365
DAYS = tuple(date(2026, 1, 1) + timedelta(days=n) for n in range(YEAR))
# standard deviation of a day, correlation with the next, margin: as measured on August and September
SETTINGS = {
    "ROC AUC, relative to past rates": (0.039, 0.08, 0.01),
    "ROC AUC, relative to a logistic regression": (0.0205, 0.0, 0.01),
    "ROC AUC, absolute": (0.069, 0.26, 0.01),
    "log loss, absolute": (0.158, 0.5, 0.01),
    "mean score against outcomes, both sides": (0.09, 0.45, 0.02),
}


def series(generator: np.random.Generator, days: int, sd: float, lag: float, shape: tuple[int, ...] = ()) -> np.ndarray:
    """Return days of an autoregression of mean 0."""
    new = (generator.gamma(2.0, size=(days + 60, *shape)) - 2.0) / np.sqrt(2.0)
    value, found = np.zeros(shape), []
    for one in new:
        value = lag * value + np.sqrt(1 - lag * lag) * one
        found.append(value)
    return sd * np.asarray(found[60:])


def year_of(
    generator: np.random.Generator, sd: float, lag: float, margin: float, reference: int, shift: float, *, sides: bool
) -> Family:
    values = series(generator, reference + YEAR, sd, lag)
    before, after = values[:reference], values[reference:] + shift
    ones, weight = np.ones(reference), np.ones(YEAR)
    signs = (1.0, -1.0) if sides else (1.0,)
    promises = [promise_of(sign * before, ones, margin) for sign in signs]
    return quality_family(DAYS, [DailyValues(str(s), s * after, weight) for s in signs], promises, RATE)


def slices_year(generator: np.random.Generator, reference: int, shift: float, number: int = 30) -> Family:
    """A year of slices of many sizes, which share a part of each day's luck."""
    sizes = np.geomspace(0.06, 0.25, number)
    values = series(generator, reference + YEAR, 1.0, 0.1, (number,))
    common = series(generator, reference + YEAR, 1.0, 0.1)
    values = sizes * (np.sqrt(0.7) * values + np.sqrt(0.3) * common[:, None])
    ones, weight = np.ones(reference), np.ones(YEAR)
    promises = [promise_of(values[:reference, n], ones, 0.02) for n in range(number)]
    lived = [DailyValues(str(n), values[reference:, n] + shift, weight) for n in range(number)]
    return quality_family(DAYS, lived, promises, RATE)


def schema_year(generator: np.random.Generator, shift: float, columns: int = 40) -> Family:
    """A year of missing shares: on some days a feed fails for an hour or two, and the bound is the margin."""
    bad = generator.random((YEAR, columns)) < 0.04
    usual = 0.002 + (0.018 if shift else 0.0)
    shares = np.where(bad, generator.beta(2, 8, (YEAR, columns)), 0.0)
    shares *= usual / shares.mean()
    lived = [DailyValues(str(n), np.minimum(shares[:, n], 1.0), np.ones(YEAR)) for n in range(columns)]
    return shares_family(DAYS, lived, [0.02] * columns, RATE, CALM_DAYS["schema"])


def volume_year(generator: np.random.Generator) -> Family:
    """A year of requests: weekdays, growth of a quarter a year, noise of 10 % that lasts, ten holidays at 40 %."""
    noise = np.exp(series(generator, YEAR + 60, 0.1, 0.45))
    number = np.arange(YEAR + 60)
    weekday = np.array([1.0, 1.0, 1.0, 1.05, 1.1, 0.7, 0.8])[number % 7]
    count = 900 * weekday * noise * 1.25 ** (number / 365)
    count[generator.integers(60, YEAR + 60, 10)] *= 0.4
    traffic = {DAYS[0] + timedelta(days=int(n)): int(generator.poisson(c)) for n, c in zip(number, count, strict=True)}
    days, lived = shares_of_requests(traffic)
    return shares_family(tuple(days), lived, [0.25, 0.25], RATE, CALM_DAYS["volume"])


def false_alarms(years: int) -> list[dict[str, Any]]:
    found = []

    def told(name: str, reference: int | None, shift: str, alarms: int) -> None:
        found.append(
            {
                "what": name,
                "days of the reference": reference,
                "truth": shift,
                "years": years,
                "alarms a year": round(alarms / years, 3),
                "upper 95 % limit": round(upper_rate(alarms, years), 3),
                "share of the budget": RATE,
            }
        )
        print(found[-1], flush=True)

    for reference in (92, 61):
        for truth in ("as promised", "worse by the margin"):
            for name, (sd, lag, margin) in SETTINGS.items():
                alarms = 0
                for year in range(years):
                    generator = np.random.default_rng([1, reference, year])
                    shift = margin if truth != "as promised" else 0.0
                    sides = "both sides" in name
                    alarms += len(run(year_of(generator, sd, lag, margin, reference, shift, sides=sides))[0])
                told(name, reference, truth, alarms)
            alarms = sum(
                len(
                    run(
                        slices_year(
                            np.random.default_rng([2, reference, y]), reference, 0.02 if truth != "as promised" else 0.0
                        )
                    )[0]
                )
                for y in range(years)
            )
            told("30 slices together", reference, truth, alarms)
    for truth in ("as promised", "worse by the margin"):
        shift = float(truth != "as promised")
        alarms = sum(len(run(schema_year(np.random.default_rng([3, y]), shift))[0]) for y in range(years))
        told("missing values of 40 columns", None, truth, alarms)
    alarms = sum(len(run(volume_year(np.random.default_rng([4, y])))[0]) for y in range(years))
    told("requests a day", None, "as ever", alarms)
    return found


def delays(years: int) -> list[dict[str, Any]]:
    found = []
    for name, (sd, lag, margin) in SETTINGS.items():
        if not name.startswith("ROC"):
            continue
        for drop in (0.02, 0.05, 0.1):
            waited = []
            for year in range(years):
                family = year_of(np.random.default_rng([5, year]), sd, lag, margin, 92, drop, sides=False)
                episodes = run(family)[0]
                waited.append(episodes[0].raised + 1 if episodes else 10 * YEAR)
            seen = np.array(waited)
            found.append(
                {
                    "what": name,
                    "drop of ROC AUC": drop,
                    "years": years,
                    "seen within a year": round(float((seen <= YEAR).mean()), 3),
                    "days until half are seen": _days(np.median(seen)),
                    "days until nine of ten are seen": _days(np.quantile(seen, 0.9)),
                }
            )
            print(found[-1], flush=True)
    return found


def _days(number: float) -> int | str:
    return int(np.ceil(number)) if number <= YEAR else "not detectable"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=Path("docs/studies/alarms.json"))
    arguments = parser.parse_args()
    content = {
        "budget": BUDGET,
        "false alarms": false_alarms(arguments.years),
        "delays": delays(max(20, arguments.years // 5)),
    }
    arguments.output.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
