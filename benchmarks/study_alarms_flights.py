"""What alarms say of the flights: trained to July, promised on August and September, served October to December.

    python benchmarks/study_alarms_flights.py [--output docs/studies/alarms-flights.json]

Reads ``data/prepared/`` (run ``make run`` first). Week by week: the AUC within days of the model and of a fixed
baseline on the same flights, the log loss, the evidence as a share of what raises an alarm, and what that week is
called. With the past rates of carrier and hour as the baseline, which is what a release keeps, and with a logistic
regression on the model's features. Then the scores are spoilt from 15 October on until the AUC is lower by 0.02 and
0.05, and the days until each form of the alarm are counted. Last, a model that was trained to November is asked about
December too: were it much better there than the one of July, that one had decayed.
"""

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from flight_delay.baselines import BASELINES, count, past_rate
from flight_delay.evaluate import score
from flight_delay.logistic import Logistic
from flight_delay.params import load_params
from flight_delay.train import train
from lockgate.evaluation.statistics import roc_auc
from lockgate.monitoring.alarm_series import clusters_of, live, promised, ratio_of
from lockgate.monitoring.alarms import Judgement, examine
from lockgate.monitoring.detector import promise_of
from lockgate.monitoring.reference import Baseline, ColumnReference, Reference
from lockgate.monitoring.series import Day, codes_of, summarise
from lockgate.policy import AlarmSettings

PREPARED = Path("data/prepared")
SETTINGS = AlarmSettings(2.0)
SPOILT = date(2013, 10, 15)


def days_of(rows: pd.DataFrame, scores: np.ndarray, baseline: np.ndarray) -> list[Day]:
    found = []
    dates = rows["scheduled_departure"].dt.date.to_numpy()
    for day in np.unique(dates):
        mine = dates == day
        groups = {name: codes_of(pa.array(rows[name].to_numpy()[mine])) for name in ("carrier", "origin")}
        whole, slices = summarise(scores[mine], rows["late"].to_numpy(np.float64)[mine], baseline[mine], groups)
        sums = {name: getattr(whole, name) for name in whole.__slots__}
        found.append(Day(**sums, day=day, release="flight-delay@v1.0.0", build="", slices=slices))
    return found


def reference_of(days: list[Day]) -> Reference:
    rows = sum(day.rows for day in days)
    shell = ColumnReference("score", "number", rows, 0, 0.0, (), (), edges=())
    return Reference(
        "flight-delay", "v1.0.0", rows, sum(day.label_sum for day in days), (), shell, (), (), clusters_of(days),
        Baseline((), "train", 1, 0.2, {}),
    )  # fmt: skip


def weeks(days: list[Day], reference: Reference, found: Judgement) -> list[dict[str, Any]]:
    """Return what is said of each week, Tuesday to Monday as October began."""
    ratio = ratio_of(reference)
    (before,) = promised("roc_auc", "relative", reference)
    promise = promise_of(before.values, before.weights, SETTINGS.margin("roc_auc"))
    assert promise is not None
    watches = {(watch.kind, watch.form): watch for watch in found.watches}
    loss_promised = sum(reference.clusters.losses["log_loss"]) / sum(reference.clusters.rows)
    said = []
    for begin in range(0, len(days) - 6, 7):
        week = days[begin : begin + 7]
        (one,) = live("roc_auc", "relative", week, ratio)
        change = float(np.average(one.values, weights=one.weights)) - promise.mean
        error = float(np.hypot(promise.spread / np.sqrt(7), promise.error))
        pairs = sum(day.pairs for day in week)
        rows = sum(day.labelled for day in week)
        loss = sum(day.loss_model_sum for day in week) / rows
        against = sum(day.loss_baseline_sum for day in week) / rows
        evidence = {
            name: round(max(watches[name].ratios[begin : begin + 7]), 3)
            for name in (("roc_auc", "relative"), ("roc_auc", "absolute"), ("calibration_error", "absolute"))
        }
        said.append(
            {
                "week from": week[0].day.isoformat(),
                "flights": rows,
                "late": round(sum(day.label_sum for day in week) / rows, 3),
                "AUC within days": round(sum(day.pairs_model_sum for day in week) / pairs, 3),
                "of the baseline": round(sum(day.pairs_baseline_sum for day in week) / pairs, 3),
                "worse than promised against the baseline": [
                    round(number, 3) for number in (change, change - 1.96 * error, change + 1.96 * error)
                ],
                "log loss above the promise": round(loss - loss_promised, 3),
                "of the baseline's": round(
                    against - sum(reference.clusters.baseline_losses["log_loss"]) / sum(reference.clusters.rows), 3
                ),
                "evidence": {" ".join(name): value for name, value in evidence.items()},
                "is called": _word(change, error, loss - loss_promised, evidence[("roc_auc", "relative")]),
            }
        )
    return said


def _word(change: float, error: float, loss: float, evidence: float) -> str:
    if evidence >= 1:
        return "an alarm"
    if change - 1.96 * error > SETTINGS.margin("roc_auc"):
        return f"worse in this week alone ({evidence:.0%} of the evidence that an alarm takes)"
    if loss > 0.1:
        return "calm: more is late than promised and the loss is higher, but not against the baseline"
    return "calm"


def spoil(scores: np.ndarray, label: np.ndarray, later: np.ndarray, drop: float) -> np.ndarray:
    """Return the scores with noise in their log odds, so much that the AUC of the later rows is lower by ``drop``."""
    odds, noise = np.log(scores / (1 - scores)), np.random.default_rng(0).normal(size=len(scores))
    low, high = 0.0, 5.0
    target = roc_auc(label[later], scores[later]) - drop
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if roc_auc(label[later], (odds + middle * noise)[later]) > target else (low, middle)
    return 1 / (1 + np.exp(-np.where(later, odds + high * noise, odds)))


def study() -> dict[str, Any]:
    rows = pd.concat([pd.read_parquet(PREPARED / f"{name}.parquet") for name in ("train", "test")], ignore_index=True)
    month = rows["scheduled_departure"].dt.month.to_numpy()
    past, rest = rows[month <= 7], rows[month >= 8].reset_index(drop=True)
    params = load_params().train
    model = train(past, params)
    scores = np.asarray(score(model, rest))
    logistic = Logistic.fit(model[0].transform(past), past["late"].to_numpy())
    baselines = {
        "past rates of carrier and hour": past_rate(
            count(past)["carrier_hour_rate"], rest, BASELINES["carrier_hour_rate"]
        ),
        "a logistic regression on the model's features": logistic.predict(model[0].transform(rest)),
    }
    served = rest["scheduled_departure"].dt.month.to_numpy() >= 10
    label = rest["late"].to_numpy(bool)
    late = (rest["scheduled_departure"].dt.date >= SPOILT).to_numpy()
    content: dict[str, Any] = {"trained to": "2013-07", "promised on": ["2013-08", "2013-09"], "baselines": {}}
    for name, baseline in baselines.items():
        clipped = np.clip(baseline, 1e-4, 1 - 1e-4)
        reference = reference_of(days_of(rest[~served], scores[~served], clipped[~served]))
        days = days_of(rest[served], scores[served], clipped[served])
        found = examine(SETTINGS, reference, days)
        seen = {}
        for drop in (0.02, 0.05, 0.1):
            spoilt = spoil(scores, label, late, drop)
            watches = examine(SETTINGS, reference, days_of(rest[served], spoilt[served], clipped[served])).watches
            seen[f"a drop of {drop}"] = {
                watch.form: next(
                    (
                        (day - SPOILT).days + 1
                        for day, evidence in zip(watch.days, watch.ratios, strict=True)
                        if evidence >= 1
                    ),
                    f"not within {(date(2013, 12, 31) - SPOILT).days + 1} days",
                )
                for watch in watches
                if watch.kind == "roc_auc"
            }
        content["baselines"][name] = {
            "alarms": [alarm.text for alarm in found.alarms],
            "days until a drop on 15 October is seen": seen,
            "weeks": weeks(days, reference, found),
        }
    newer = train(rows[month <= 11], params)
    december = rest["scheduled_departure"].dt.month.to_numpy() == 12
    fresh = np.asarray(score(newer, rest[december]))
    content["December"] = {
        "ROC AUC of the model of July": round(roc_auc(label[december], scores[december]), 4),
        "ROC AUC of a model trained to November": round(roc_auc(label[december], fresh), 4),
        "share late": round(float(label[december].mean()), 3),
        "mean score of the model of July": round(float(scores[december].mean()), 3),
        "mean score of a model trained to November": round(float(fresh.mean()), 3),
    }
    return content


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/studies/alarms-flights.json"))
    output = parser.parse_args().output
    output.write_text(json.dumps(study(), indent=1) + "\n")
    print(f"written to {output}")


if __name__ == "__main__":
    main()
