"""Stage ``evaluate``: the model on the months after its training window → ``reports/``.

Metrics beside two baselines, one prediction a row, slices, and the points of five plots. Reported figures are rounded
to six decimals and the probabilities likewise before anything is computed from them, so that the predictions file
explains every figure and no figure carries a bit that depends on the processor.
"""

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import inspection
from sklearn import metrics as skm
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from flight_delay.baselines import BASELINES, past_rate
from flight_delay.errors import run_stage
from flight_delay.files import FIGURE_DECIMALS, as_json, as_parquet, figure, read_frame, write_files
from flight_delay.metrics import FIGURES, calibration_bins, figures
from flight_delay.model_file import load_model
from flight_delay.params import Evaluate, load_params
from flight_delay.paths import MODEL, PREPARED, REPORTS
from flight_delay.request import KEY, LABEL, REQUEST

SLICES = ("carrier", "origin", "month", "hour_band")
HOUR_BANDS = {0: "night 22-05", 6: "morning 06-09", 10: "midday 10-13", 14: "afternoon 14-17", 18: "evening 18-21"}
CURVE_POINTS = 101
HISTOGRAM_BINS = 50


def score(model: Pipeline, requests: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return the probability of a late arrival for each request, rounded to six decimals."""
    probability: npt.NDArray[np.float64] = model.predict_proba(requests[list(REQUEST)])[:, 1]
    return np.round(probability, FIGURE_DECIMALS)


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


def summary(train: pd.DataFrame, test: pd.DataFrame, probability: npt.NDArray[np.float64], bins: int) -> dict[str, Any]:
    """Return every figure of the model with the baselines' beside it, and the counts."""
    scores = {"model": probability}
    scores |= {name: np.round(past_rate(train, test, by), FIGURE_DECIMALS) for name, by in BASELINES.items()}
    found = {name: figures(test[LABEL].to_numpy(), values, bins) for name, values in scores.items()}
    content: dict[str, Any] = {key: {name: figure(found[name][key]) for name in found} for key in FIGURES}
    content["rows"] = {"train": len(train), "test": len(test), "test_late": int(test[LABEL].sum())}
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
    """Read the model and the prepared rows, write ``reports/``."""
    params = load_params().evaluate
    model = load_model(MODEL)
    train, test = read_frame(PREPARED / "train.parquet"), read_frame(PREPARED / "test.parquet")
    sys.stdout.write(f"evaluate: scoring {len(test):,} flights\n")
    with threadpool_limits(limits=1, user_api="openmp"):  # on a busy machine one thread is quicker than waiting for two
        probability = score(model, test)
        sys.stdout.write(f"evaluate: importance of {len(REQUEST)} columns, {params.importance_repeats} shuffles each\n")
        sys.stdout.flush()
        shuffled = importance(model, test, params)
    predicted = predictions(test, probability)
    content = summary(train, test, probability, params.calibration_bins)
    curves = plots(predicted, params.calibration_bins) | {"importance": shuffled}
    files = {
        REPORTS / "predictions.parquet": as_parquet(predicted),
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
