"""How the flights model was chosen: candidates compared by time-ordered validation, on January to September alone.

    python benchmarks/study_model.py [--output docs/studies/model.json]

The months on which the committed model is judged (October to December) are not read: the raw tables are cut after
September. Each candidate is trained on the first months and judged on the three that follow, twice: January to March
for April to June, January to June for July to September, on every second flight of the past, to be done in half an
hour. The one with the least log loss is taken, and of those within one standard error of it (by days) the simplest.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from flight_delay import as_of
from flight_delay.evaluate import margin
from flight_delay.feature_columns import FEATURES
from flight_delay.features import RequestFeatures
from flight_delay.ingest import ingest
from flight_delay.metrics import calibration_error, losses
from flight_delay.params import Train, load_params
from flight_delay.prepare import prepare
from flight_delay.request import ARRIVED, DUE, HISTORY, LABEL, LEFT, QUEUE, SCHEDULE
from flight_delay.tables import WEATHER
from flight_delay.train import classifier

THROUGH = "2013-09"
FOLDS = ((3, (4, 5, 6)), (6, (7, 8, 9)))
TREES = Train(
    seed=0, learning_rate=0.1, max_iter=150, max_leaf_nodes=31, min_samples_leaf=500, l2_regularization=10.0,
    max_features=0.2,
)  # fmt: skip

BASE = tuple(name for name in FEATURES if name not in (*WEATHER, *HISTORY))
SEASON = ("temp", "dewp", "pressure")  # they say which week of the year it is as well as how it is today
NOT_SEASON = tuple(name for name in WEATHER if name not in SEASON)
LATER = tuple(f"later_{name}" for name in WEATHER)  # of the hour of departure: a perfect forecast
AIRCRAFT = ("aircraft_late_16h", "aircraft_delay_16h")
CONGESTION = (*SCHEDULE, *DUE)
ALL = (*BASE, *WEATHER, *CONGESTION, *QUEUE, *LEFT, *ARRIVED)
FEWER = (*BASE, *NOT_SEASON, *CONGESTION, *QUEUE, *LEFT, *ARRIVED)

CANDIDATES: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "the schedule alone": (BASE, {}),
    "and the weather of the hour of departure, as if forecast without error (the former model)": ((*BASE, *LATER), {}),
    "and the weather when asked": ((*BASE, *WEATHER), {}),
    "and how full the schedule is": ((*BASE, *WEATHER, *CONGESTION), {}),
    "and departures of the last hours": ((*BASE, *WEATHER, *CONGESTION, *QUEUE, *LEFT), {}),
    "and arrivals of the last days": (ALL, {}),
    "without temperature, dew point and pressure": (FEWER, {}),
    "without those, and what the aircraft did": ((*FEWER, *AIRCRAFT), {}),
    "without those, 15 leaves of 1,000": (FEWER, {"max_leaf_nodes": 15, "min_samples_leaf": 1000}),
    "without those, 31 leaves of 1,000": (FEWER, {"min_samples_leaf": 1000}),
    "without those, 63 leaves": (FEWER, {"max_leaf_nodes": 63}),
    "without those, 80 trees": (FEWER, {"max_iter": 80}),
    "all, 15 leaves of 1,000": (ALL, {"max_leaf_nodes": 15, "min_samples_leaf": 1000}),
}


def requests() -> pd.DataFrame:
    """Return the flights of January to September as asked about, with the columns that only this study tries."""
    params = load_params()
    tables = ingest(params.ingest.model_copy(update={"through": THROUGH}))
    flights, weather = tables["flights"].to_pandas(), tables["weather"].to_pandas()
    assert flights["month"].max() == weather["month"].max() == 9
    scheduled = as_of.departure_minute(flights)
    later = as_of.newest_weather(flights, weather, scheduled + as_of.HOUR).add_prefix("later_")
    asked = scheduled - params.prepare.lead_minutes
    left = scheduled + flights["dep_delay"].fillna(0).to_numpy(np.int64)
    known = (flights["dep_delay"].notna() & flights["tailnum"].notna()).to_numpy()
    delay = flights["dep_delay"].fillna(0).to_numpy(np.int64)
    values = {"late": (delay >= as_of.LATE_MINUTES).astype(np.int64), "delay": np.clip(delay, *as_of.DELAYS)}
    aircraft = as_of._numbered(flights, ("tailnum",))  # noqa: SLF001 - not worth a door of its own
    number, sums = as_of._between(aircraft, left, known, values, asked - 16 * as_of.HOUR, asked)  # noqa: SLF001
    own = {
        "aircraft_late_16h": as_of._ratio(sums["late"], number, 1000),  # noqa: SLF001
        "aircraft_delay_16h": as_of._ratio(sums["delay"], number, 10),  # noqa: SLF001
    }
    extra = pd.concat([flights[["carrier", "flight", "origin"]], later, pd.DataFrame(own)], axis=1)
    extra["date"] = pd.to_datetime(flights[["year", "month", "day"]]).astype("datetime64[s]")
    rows = prepare(flights, weather, params.prepare.lead_minutes)
    return rows.merge(extra, on=["date", "carrier", "flight", "origin"], how="left", validate="one_to_one")


def judge(rows: pd.DataFrame, columns: tuple[str, ...], trees: Train) -> pd.DataFrame:
    """Return the scores of the months that the candidate was validated on: date, month, late, score."""
    months = rows["date"].dt.month.to_numpy()
    parts = []
    for last, following in FOLDS:
        past, later = np.flatnonzero(months <= last)[::2], np.flatnonzero(np.isin(months, following))
        labels = rows[LABEL].to_numpy()
        transformer = RequestFeatures().fit(rows.iloc[past], labels[past])
        made = pd.DataFrame(transformer.transform(rows), columns=FEATURES)
        matrix = np.column_stack([made[c] if c in made else rows[c].to_numpy(np.float64) for c in columns])
        with threadpool_limits(limits=1, user_api="openmp"):
            model = classifier(trees).set_params(verbose=0).fit(matrix[past], labels[past])
            scores = model.predict_proba(matrix[later])[:, 1]
        parts.append(rows.iloc[later][["date", LABEL]].assign(score=scores))
    return pd.concat(parts)


def figures(found: pd.DataFrame, best: "pd.DataFrame | None") -> dict[str, Any]:
    labels, scores = found[LABEL].to_numpy(), found["score"].to_numpy()
    month = found["date"].dt.strftime("%Y-%m")
    result: dict[str, Any] = {
        "roc_auc": round(float(roc_auc_score(labels, scores)), 4),
        "log_loss": round(float(losses(labels, scores).mean()), 4),
        "brier": round(float(np.mean((scores - labels) ** 2)), 4),
        "calibration_error_by_month": {
            str(name): round(calibration_error(labels[of], scores[of], 10), 3)
            for name, of in found.groupby(month.to_numpy()).indices.items()
        },
    }
    if best is not None:
        gap = losses(labels, scores) - losses(best[LABEL].to_numpy(), best["score"].to_numpy())
        result["log_loss_above_the_least"] = margin(gap, found["date"])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--output", type=Path, default=Path("docs/studies/model.json"))
    output = parser.parse_args().output
    rows = requests()
    tried = {}
    for name, (columns, changed) in CANDIDATES.items():
        tried[name] = judge(rows, columns, TREES.model_copy(update=changed))
        print(f"{name}: {figures(tried[name], None)}", file=sys.stderr, flush=True)
    least = min(tried, key=lambda name: losses(tried[name][LABEL].to_numpy(), tried[name]["score"].to_numpy()).mean())
    content = {
        "rows": {"read": len(rows), "through": THROUGH},
        "folds": [f"trained on months 1 to {last}, judged on {following}" for last, following in FOLDS],
        "trees": TREES.model_dump(),
        "candidates": [
            {"name": name, "features": len(CANDIDATES[name][0]), "changed": CANDIDATES[name][1]}
            | figures(found, tried[least])
            for name, found in tried.items()
        ],
        "least_log_loss": least,
    }
    output.write_text(json.dumps(content, indent=2) + "\n")
    print(f"written to {output}")


if __name__ == "__main__":
    main()
