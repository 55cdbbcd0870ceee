"""Stage ``evaluate``: the model on the months after its training window → ``reports/``.

Metrics beside two baselines, one prediction a row, slices, and the points of five plots. Probabilities are rounded
before anything is computed from them and reported figures are rounded too, so that the predictions file explains every
figure and no figure carries a bit that depends on the processor.
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import inspection
from sklearn import metrics as skm
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from flight_delay.baselines import BASELINES, past_rate, read_counts
from flight_delay.errors import run_stage
from flight_delay.files import as_json, as_parquet, figure, read_frame, write_files
from flight_delay.metrics import FIGURES, calibration_bins, figures
from flight_delay.model_file import load_model
from flight_delay.params import Evaluate, load_params
from flight_delay.paths import COUNTS, MODEL, PREPARED, REPORTS
from flight_delay.request import KEY, LABEL, REQUEST

SLICES = ("carrier", "origin", "month", "hour_band")
HOUR_BANDS = {0: "night 22-05", 6: "morning 06-09", 10: "midday 10-13", 14: "afternoon 14-17", 18: "evening 18-21"}
SCORE_STEP = 2.0**-20  # 0.00000095
CURVE_POINTS = 101
HISTOGRAM_BINS = 50


def score(model: Pipeline, requests: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the probability of a late arrival for each request, rounded (see :func:`rounded`)."""
    return rounded(model.predict_proba(requests[list(REQUEST)])[:, 1])


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
    past: Mapping[str, pd.DataFrame], test: pd.DataFrame, probability: npt.NDArray[np.float64], bins: int
) -> dict[str, Any]:
    """Return every figure of the model and, from the counts of the ``past``, of the baselines; and numbers of rows."""
    scores = {"model": probability} | {name: rounded(past_rate(past[name], test, by)) for name, by in BASELINES.items()}
    found = {name: figures(test[LABEL].to_numpy(), values, bins) for name, values in scores.items()}
    content: dict[str, Any] = {key: {name: figure(found[name][key]) for name in found} for key in FIGURES}
    trained = next(iter(past.values()))["flights"].sum()
    content["rows"] = {"train": int(trained), "test": len(test), "test_late": int(test[LABEL].sum())}
    return content


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


def plots(predicted: pd.DataFrame, bins: int) -> dict[str, list[dict[str, Any]]]:
    """Return the points of the ROC, precision-recall and calibration curves and of the score histogram."""
    labels, scores = predicted[LABEL].to_numpy(), predicted["probability"].to_numpy()
    grid = np.linspace(0, 1, CURVE_POINTS)
    false_positive, true_positive, _ = skm.roc_curve(labels, scores)
    precision, recall, _ = skm.precision_recall_curve(labels, scores)
    late = np.histogram(scores[labels == 1], bins=HISTOGRAM_BINS, range=(0, 1))[0]
    on_time = np.histogram(scores[labels == 0], bins=HISTOGRAM_BINS, range=(0, 1))[0]
    return {
        "roc": _points(false_positive_rate=grid, true_positive_rate=np.interp(grid, false_positive, true_positive)),
        "precision_recall": _points(recall=grid, precision=np.interp(grid, recall[::-1], precision[::-1])),
        "calibration": _points(
            **dict(zip(("mean_score", "share_late", "rows"), calibration_bins(labels, scores, bins).T, strict=True))
        ),
        "scores": _points(score=np.arange(HISTOGRAM_BINS) / HISTOGRAM_BINS, late=late, on_time=on_time),
    }


def importance(model: Pipeline, test: pd.DataFrame, params: Evaluate) -> list[dict[str, Any]]:
    """Return each request column with the ROC AUC lost when its values are shuffled, the largest loss first.

    Permutation importance (Breiman, "Random Forests", 2001) on a sample of the test rows.
    """
    sample = test.sample(min(params.importance_rows, len(test)), random_state=params.seed)
    found = inspection.permutation_importance(
        model,
        sample[list(REQUEST)],
        sample[LABEL],
        scoring="roc_auc",
        n_repeats=params.importance_repeats,
        random_state=params.seed,
    )
    rows = [
        {"column": column, "roc_auc_lost": figure(lost)}
        for column, lost in zip(REQUEST, found.importances_mean, strict=True)
    ]
    return sorted(rows, key=lambda row: (-float(row["roc_auc_lost"] or 0), row["column"]))


def main() -> None:
    """Read the model, the baselines' counts and the later rows, write ``reports/``."""
    params = load_params().evaluate
    model, past = load_model(MODEL), read_counts(COUNTS)
    test = read_frame(PREPARED / "test.parquet")
    sys.stdout.write(f"evaluate: scoring {len(test):,} flights\n")
    with threadpool_limits(limits=1, user_api="openmp"):  # on a busy machine one thread is quicker than waiting for two
        probability = score(model, test)
        sys.stdout.write(f"evaluate: importance of {len(REQUEST)} columns, {params.importance_repeats} shuffles each\n")
        sys.stdout.flush()
        shuffled = importance(model, test, params)
    predicted = predictions(test, probability)
    content = summary(past, test, probability, params.calibration_bins)
    curves = plots(predicted, params.calibration_bins) | {"importance": shuffled}
    files = {
        REPORTS / "predictions.parquet": as_parquet(predicted, varied=["flight", "probability"]),
        REPORTS / "slices.json": as_json(slices(predicted, params.calibration_bins)),
        REPORTS / "metrics.json": as_json(content),
    }
    write_files(files | {REPORTS / "plots" / f"{name}.json": as_json(points) for name, points in curves.items()})


def _points(**columns: npt.NDArray[Any]) -> list[dict[str, Any]]:
    return [
        {name: figure(value) for name, value in zip(columns, row, strict=True)}
        for row in zip(*columns.values(), strict=True)
    ]


if __name__ == "__main__":
    sys.exit(run_stage(main))
