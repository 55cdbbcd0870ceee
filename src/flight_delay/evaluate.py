"""Stage ``evaluate``: the model on the months after its training window → ``reports/``.

Metrics beside baselines, one prediction a row, slices, operating points with their costs, and the points of the plots.
Probabilities are rounded before anything is computed from them and reported figures are rounded too, so that the
predictions file explains every figure and no figure carries a bit that depends on the processor.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import metrics as skm
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from flight_delay.baselines import BASELINES, past_rate, read_counts
from flight_delay.errors import run_stage
from flight_delay.feature_columns import FEATURES, HISTORY_FROM, USED, WEATHER_USED, with_usual
from flight_delay.files import as_json, as_parquet, figure, write_files
from flight_delay.logistic import Logistic, read_logistic
from flight_delay.metrics import FIGURES, calibration_bins, calibration_error, figures, losses
from flight_delay.model_file import load_model
from flight_delay.params import Costs, Evaluate, load_params
from flight_delay.paths import COUNTS, LOGISTIC, MODEL, REPORTS
from flight_delay.prepare import window_rows
from flight_delay.request import ARRIVED, DUE, KEY, LABEL, LEFT, QUEUE, SCHEDULE

SLICES = ("carrier", "origin", "month", "hour_band")
HOUR_BANDS = {0: "night 22-05", 6: "morning 06-09", 10: "midday 10-13", 14: "afternoon 14-17", 18: "evening 18-21"}
SCORE_STEP = 2.0**-20  # 0.00000095
CURVE_POINTS = 101
HISTOGRAM_BINS = 50
THRESHOLDS = 100
WARNED_SHARES = (0.05, 0.1, 0.2)
# Features that say much the same, shuffled together: one alone would make flights that cannot be.
TOGETHER: dict[str, tuple[str, ...]] = {
    "time of day": ("departure_minute", "arrival_minute"),
    "weekday": ("weekday",),
    "carrier": ("carrier",),
    "route": ("origin", "dest", "distance", "scheduled_minutes", "minutes_per_mile"),
    "weather": WEATHER_USED,
    "schedule around it": (*SCHEDULE, *DUE),
    "departures of the last hours": (*QUEUE, *LEFT),
    "arrivals of the last days": ARRIVED,
}


def score(model: Pipeline, requests: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the probability of a late arrival for each request, rounded (see :func:`rounded`)."""
    return rounded(model.predict_proba(requests[list(USED)])[:, 1])


def rounded(probability: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the nearest multiples of :data:`SCORE_STEP`.

    As fine as six decimals. But the step is a power of two, so a float holds a multiple exactly, sums of them are exact
    in any order, and more than half of each number's bits are zero: a file of them is half the size.
    """
    return np.round(probability / SCORE_STEP) * SCORE_STEP


def predictions(rows: pd.DataFrame, probability: npt.NDArray[np.float64]) -> pd.DataFrame:
    """Return the flight key, the label, the probability and the slice columns, one row a flight."""
    departure = rows["scheduled_departure"].dt
    starts = np.array(sorted(HOUR_BANDS))
    hour = departure.hour.to_numpy()
    band = starts[np.searchsorted(starts, np.where(hour >= 22, 0, hour), side="right") - 1]
    return rows[[*KEY, LABEL]].assign(
        probability=probability,
        month=departure.strftime("%Y-%m"),
        hour_band=[HOUR_BANDS[int(start)] for start in band],
    )


def summary(
    scores: Mapping[str, npt.NDArray[np.float64]], test: pd.DataFrame, trained: int, params: Evaluate
) -> dict[str, Any]:
    """Return every figure of each of the ``scores``, the costs, the model's margins, and numbers of rows."""
    labels, bins = test[LABEL].to_numpy(), params.calibration_bins
    found = {name: figures(labels, values, bins) for name, values in scores.items()}
    content: dict[str, Any] = {key: {name: figure(found[name][key]) for name in found} for key in FIGURES}
    threshold = cheapest(params.costs)
    content["cost_per_1000"] = {
        name: figure(cost_per_1000(labels, values >= threshold, params.costs)) for name, values in scores.items()
    }
    content["calibration_error_by_month"] = {
        str(month): figure(calibration_error(labels[rows], scores["model"][rows], bins))
        for month, rows in test.groupby(test["scheduled_departure"].dt.strftime("%Y-%m"), sort=True).indices.items()
    }
    content["log_loss_saved"] = {
        name: margin(losses(labels, values) - losses(labels, scores["model"]), test["date"])
        for name, values in scores.items()
        if name != "model"
    }
    content["rows"] = {"train": trained, "test": len(test), "test_late": int(labels.sum())}
    return content


def margin(gain: npt.NDArray[np.float64], days: pd.Series) -> dict[str, float | None]:
    """Return the mean of ``gain`` and its standard error, where flights of one day belong together."""
    of_day = pd.Series(gain - gain.mean()).groupby(days.to_numpy()).sum().to_numpy()
    number = len(of_day)
    error = np.sqrt(np.sum(of_day**2) * number / (number - 1)) / len(gain) if number > 1 else np.nan
    return {"mean": figure(float(gain.mean())), "standard_error": figure(float(error))}


def cheapest(costs: Costs) -> float:
    """Return the probability from which a warning costs less than none, where probabilities are right."""
    return costs.false_alarm / (costs.false_alarm + costs.missed)


def cost_per_1000(labels: npt.NDArray[np.integer], warned: npt.NDArray[np.bool_], costs: Costs) -> float:
    """Return what the mistakes cost among 1,000 flights."""
    missed, alarms = int((labels[~warned] == 1).sum()), int((labels[warned] == 0).sum())
    return 1000 * (costs.missed * missed + costs.false_alarm * alarms) / len(labels)


def operating_points(predicted: pd.DataFrame, costs: Costs) -> list[dict[str, Any]]:
    """Return what comes of warning from some thresholds on: whom it warns, whom it misses, what the mistakes cost."""
    labels, scores = predicted[LABEL].to_numpy(), predicted["probability"].to_numpy()
    ranked = np.sort(scores)[::-1]
    named = {"nobody is warned": 2.0, "where a warning costs less than none": cheapest(costs)}
    named |= {
        f"the {share:.0%} most likely are warned": float(ranked[round(share * len(ranked)) - 1])
        for share in WARNED_SHARES
        if round(share * len(ranked))
    }
    named["everybody is warned"] = 0.0
    points = []
    for name, threshold in named.items():
        warned = scores >= threshold
        right = int(labels[warned].sum())
        points.append(
            {
                "point": name,
                "threshold": figure(threshold) if threshold <= 1 else None,
                "warned": figure(float(warned.mean())),
                "precision": figure(right / int(warned.sum())) if warned.any() else None,
                "recall": figure(right / int(labels.sum())) if labels.any() else None,
                "cost_per_1000": figure(cost_per_1000(labels, warned, costs)),
            }
        )
    return points


def slices(predicted: pd.DataFrame, bins: int) -> dict[str, list[dict[str, Any]]]:
    """Return for each slice column its values with their rows and figures (``None`` where not defined)."""
    return {
        column: [
            {"value": str(value), "rows": len(rows), "late": int(rows[LABEL].sum())}
            | {
                key: figure(number)
                for key, number in figures(rows[LABEL].to_numpy(), rows["probability"].to_numpy(), bins).items()
            }
            for value, rows in predicted.groupby(column, sort=True)
        ]
        for column in SLICES
    }


def plots(predicted: pd.DataFrame, bins: int, costs: Costs) -> dict[str, list[dict[str, Any]]]:
    """Return the points of the ROC, precision-recall, calibration and cost curves and of the score histogram."""
    labels, scores = predicted[LABEL].to_numpy(), predicted["probability"].to_numpy()
    grid = np.linspace(0, 1, CURVE_POINTS)
    false_positive, true_positive, _ = skm.roc_curve(labels, scores)
    precision, recall, _ = skm.precision_recall_curve(labels, scores)
    late = np.histogram(scores[labels == 1], bins=HISTOGRAM_BINS, range=(0, 1))[0]
    on_time = np.histogram(scores[labels == 0], bins=HISTOGRAM_BINS, range=(0, 1))[0]
    thresholds = np.arange(1, THRESHOLDS) / THRESHOLDS
    return {
        "costs": _points(
            threshold=thresholds,
            cost_per_1000=np.array([cost_per_1000(labels, scores >= at, costs) for at in thresholds]),
        ),
        "calibration_by_month": [
            {"month": month} | point
            for month, rows in predicted.groupby("month", sort=True)
            for point in _calibration(rows[LABEL].to_numpy(), rows["probability"].to_numpy(), bins)
        ],
        "roc": _points(false_positive_rate=grid, true_positive_rate=np.interp(grid, false_positive, true_positive)),
        "precision_recall": _points(recall=grid, precision=np.interp(grid, recall[::-1], precision[::-1])),
        "calibration": _calibration(labels, scores, bins),
        "scores": _points(score=np.arange(HISTOGRAM_BINS) / HISTOGRAM_BINS, late=late, on_time=on_time),
    }


def importance(
    model: Pipeline, features: npt.NDArray[np.float64], test: pd.DataFrame, params: Evaluate
) -> list[dict[str, Any]]:
    """Return for each group of :data:`TOGETHER` the ROC AUC lost when its features are shuffled, the largest first.

    Permutation importance (Breiman, "Random Forests", 2001) on a sample of the test rows. Each repeat shuffles anew and
    weighs days as drawn with replacement, so that the standard error is that of other shuffles and of other days.
    """
    random = np.random.default_rng(params.seed)
    chosen = np.sort(random.permutation(len(test))[: params.importance_rows])
    sample, labels = features[chosen], test[LABEL].to_numpy()[chosen]
    days = pd.factorize(test["date"].to_numpy()[chosen], sort=True)[0]
    whole = rounded(model[-1].predict_proba(sample)[:, 1])
    lost: dict[str, list[float]] = {name: [] for name in TOGETHER}
    for _ in range(params.importance_repeats):
        order = random.permutation(len(sample))
        drawn = np.bincount(random.integers(0, days.max() + 1, days.max() + 1), minlength=days.max() + 1)[days]
        for name, columns in TOGETHER.items():
            places = [FEATURES.index(column) for column in columns]
            shuffled = sample.copy()
            shuffled[:, places] = sample[order][:, places]
            apart = rounded(model[-1].predict_proba(shuffled)[:, 1])
            lost[name].append(_area(labels, whole, drawn) - _area(labels, apart, drawn))
    rows = []
    for name, values in lost.items():
        mean, error = float(np.mean(values)), float(np.std(values, ddof=1))
        rows.append(
            {
                "group": name,
                "roc_auc_lost": figure(mean),
                "standard_error": figure(error),
                "low": figure(mean - 1.96 * error),
                "high": figure(mean + 1.96 * error),
            }
        )
    return sorted(rows, key=lambda row: (-float(row["roc_auc_lost"] or 0), row["group"]))


def all_scores(
    model: Pipeline,
    features: npt.NDArray[np.float64],
    test: pd.DataFrame,
    past: Mapping[str, pd.DataFrame],
    logistic: Logistic,
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the probabilities of the model, of each baseline, and of the model where nobody tells it the history."""
    untold = features.copy()
    untold[:, HISTORY_FROM:] = np.nan
    return (
        {"model": rounded(model[-1].predict_proba(features)[:, 1])}
        | {name: rounded(past_rate(past[name], test, by)) for name, by in BASELINES.items()}
        | {"logistic_regression": rounded(logistic.predict(features))}
        | {"model_without_history": rounded(model[-1].predict_proba(with_usual(untold, model[0].usual_))[:, 1])}
    )


def outcome(
    model: Pipeline, test: pd.DataFrame, past: Mapping[str, pd.DataFrame], logistic: Logistic, params: Evaluate
) -> dict[Path, bytes]:
    """Return every file of ``reports/`` with its content."""
    features = model[0].transform(test[list(USED)])
    sys.stdout.write(f"evaluate: scoring {len(test):,} flights\n")
    scores = all_scores(model, features, test, past, logistic)
    sys.stdout.write(f"evaluate: importance of {len(TOGETHER)} groups, {params.importance_repeats} shuffles each\n")
    sys.stdout.flush()
    shuffled = importance(model, features, test, params)
    predicted = predictions(test, scores["model"])
    trained = int(next(iter(past.values()))["flights"].sum())
    bins = params.calibration_bins
    curves = plots(predicted, bins, params.costs) | {"importance": shuffled}
    return {
        REPORTS / "predictions.parquet": as_parquet(predicted, varied=["flight", "probability"]),
        REPORTS / "slices.json": as_json(slices(predicted, bins)),
        REPORTS / "operating_points.json": as_json(operating_points(predicted, params.costs)),
        REPORTS / "metrics.json": as_json(summary(scores, test, trained, params)),
    } | {REPORTS / "plots" / f"{name}.json": as_json(points) for name, points in curves.items()}


def main() -> None:
    """Read the model, the baselines and the later rows, write ``reports/``."""
    params = load_params()
    model, past, logistic = load_model(MODEL), read_counts(COUNTS), read_logistic(LOGISTIC, len(FEATURES))
    test = window_rows("test", params)
    with threadpool_limits(limits=1, user_api="openmp"):  # on a busy machine one thread is quicker than waiting for two
        write_files(outcome(model, test, past, logistic, params.evaluate))


def _area(labels: npt.NDArray[np.integer], scores: npt.NDArray[np.float64], weights: npt.NDArray[np.integer]) -> float:
    return float(skm.roc_auc_score(labels, scores, sample_weight=weights))


def _calibration(labels: npt.NDArray[np.integer], scores: npt.NDArray[np.float64], bins: int) -> list[dict[str, Any]]:
    names = ("mean_score", "share_late", "rows")
    return _points(**dict(zip(names, calibration_bins(labels, scores, bins).T, strict=True)))


def _points(**columns: npt.NDArray[Any]) -> list[dict[str, Any]]:
    return [
        {name: figure(value) for name, value in zip(columns, row, strict=True)}
        for row in zip(*columns.values(), strict=True)
    ]


if __name__ == "__main__":
    sys.exit(run_stage(main))
