"""Stage ``evaluate``: figures beside baselines, predictions, slices and curves; and how good the committed model is."""

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics
from tests.flight_delay.small_pipeline import ROOT, SmallPipeline

from flight_delay.baselines import BASELINES, count, past_rate
from flight_delay.evaluate import (
    CURVE_POINTS,
    HOUR_BANDS,
    SCORE_STEP,
    SLICES,
    TOGETHER,
    cheapest,
    cost_per_1000,
    margin,
    operating_points,
    plots,
    predictions,
    rounded,
    score,
    slices,
    summary,
)
from flight_delay.feature_columns import FEATURES
from flight_delay.files import read_frame
from flight_delay.metrics import FIGURES
from flight_delay.model_file import load_model
from flight_delay.params import Costs, Evaluate, load_params
from flight_delay.request import KEY, LABEL

COMMITTED = json.loads((ROOT / "reports" / "metrics.json").read_text())
# A constant score equal to the overall share is calibrated too: a small calibration error alone says nothing.
SIMPLER = (*BASELINES, "logistic_regression")
COSTS = Costs(missed=3.0, false_alarm=1.0)
PARAMS = Evaluate(seed=0, calibration_bins=10, importance_rows=100, importance_repeats=2, costs=COSTS)
BETTER_IF = {"roc_auc": "higher", "average_precision": "higher", "log_loss": "lower", "brier": "lower"}

predicted_rows = st.lists(
    st.tuples(st.sampled_from(["AA", "UA"]), st.sampled_from(["EWR", "JFK"]), st.integers(0, 23), st.integers(0, 1),
              st.integers(0, 1000)), min_size=1, max_size=40,
)  # fmt: skip


def rows(late: list[int], hours: list[int] | None = None) -> pd.DataFrame:
    hours = hours or [12] * len(late)
    return pd.DataFrame(
        {"date": pd.Timestamp("2013-10-01"), "carrier": "UA", "flight": range(len(late)), "origin": "EWR", LABEL: late,
         "scheduled_departure": [pd.Timestamp("2013-10-01") + pd.Timedelta(hours=h) for h in hours]}
    )  # fmt: skip


def report(made: SmallPipeline, name: str) -> Any:
    return json.loads((made.root / "reports" / f"{name}.json").read_text())


# How good the committed model is


def test_the_committed_model_ranks_and_is_calibrated_as_promised() -> None:
    assert COMMITTED["roc_auc"]["model"] >= 0.72
    assert COMMITTED["calibration_error"]["model"] <= 0.03
    assert max(COMMITTED["calibration_error_by_month"].values()) <= 0.035  # December: docs/data.md says why


@pytest.mark.parametrize("figure", BETTER_IF)
@pytest.mark.parametrize("simpler", SIMPLER)
def test_no_simpler_model_is_as_good_as_the_committed_one(figure: str, simpler: str) -> None:
    model, other = COMMITTED[figure]["model"], COMMITTED[figure][simpler]
    assert model > other if BETTER_IF[figure] == "higher" else model < other


@pytest.mark.parametrize("simpler", SIMPLER)
def test_what_the_committed_model_saves_is_more_than_the_luck_of_the_days(simpler: str) -> None:
    saved = COMMITTED["log_loss_saved"][simpler]
    assert saved["mean"] > 1.96 * saved["standard_error"] > 0
    assert COMMITTED["cost_per_1000"]["model"] < COMMITTED["cost_per_1000"][simpler]


def test_the_committed_reports_are_of_all_flights_of_the_test_months() -> None:
    committed = json.loads((ROOT / "reports" / "slices.json").read_text())
    assert COMMITTED["rows"] == {"train": 244737, "test": 82609, "test_late": 18972}
    assert {part["value"] for part in committed["month"]} == {"2013-10", "2013-11", "2013-12"}
    assert {part["value"] for part in committed["origin"]} == {"EWR", "JFK", "LGA"}
    for parts in committed.values():
        assert sum(part["rows"] for part in parts) == COMMITTED["rows"]["test"]
        assert sum(part["late"] for part in parts) == COMMITTED["rows"]["test_late"]


def test_the_committed_curves_say_what_the_committed_figures_say() -> None:
    curves = {name: json.loads((ROOT / "reports" / "plots" / f"{name}.json").read_text())
              for name in ("roc", "calibration", "scores", "importance")}  # fmt: skip
    roc = pd.DataFrame(curves["roc"])
    area = np.trapezoid(roc["true_positive_rate"], roc["false_positive_rate"])
    assert area == pytest.approx(COMMITTED["roc_auc"]["model"], abs=0.002)
    bins = pd.DataFrame(curves["calibration"])
    gap = (bins["rows"] * (bins["mean_score"] - bins["share_late"]).abs()).sum() / bins["rows"].sum()
    assert gap == pytest.approx(COMMITTED["calibration_error"]["model"], abs=2e-6)
    scores = pd.DataFrame(curves["scores"])
    assert (scores["late"].sum(), scores["on_time"].sum()) == (18972, 82609 - 18972)
    lost = {point["group"]: point for point in curves["importance"]}
    assert set(lost) == set(TOGETHER)
    assert max(lost, key=lambda group: lost[group]["roc_auc_lost"]) == "departures of the last hours"
    assert all(point["low"] < point["roc_auc_lost"] < point["high"] for point in lost.values())


# Scores and predictions


def test_a_probability_is_that_of_the_model_to_half_a_millionth(made: SmallPipeline, requests: pd.DataFrame) -> None:
    model = load_model(made.root / "models/flight-delay.skops")
    found = score(model, requests.assign(dep_delay=99))
    assert np.abs(found - model.predict_proba(requests)[:, 1]).max() <= SCORE_STEP / 2 < 0.5e-6
    assert np.array_equal(found, rounded(found))
    stored = read_frame(made.root / "reports/predictions.parquet")
    assert np.array_equal(stored["probability"], found)


@given(st.lists(st.floats(0, 1), min_size=1))
def test_rounded_probabilities_are_probabilities_and_their_sum_is_exact_in_any_order(values: list[float]) -> None:
    found = rounded(np.array(values))
    assert ((found >= 0) & (found <= 1)).all()
    assert np.array_equal(found / SCORE_STEP % 1, np.zeros(len(found)))
    assert found.sum() == found[::-1].sum() == float(sum(map(Fraction, found.tolist())))


@pytest.mark.parametrize(
    ("hour", "band"),
    [(0, "night 22-05"), (5, "night 22-05"), (6, "morning 06-09"), (9, "morning 06-09"), (10, "midday 10-13"),
     (13, "midday 10-13"), (14, "afternoon 14-17"), (17, "afternoon 14-17"), (18, "evening 18-21"),
     (21, "evening 18-21"), (22, "night 22-05"), (23, "night 22-05")],
)  # fmt: skip
def test_an_hour_is_in_its_band(hour: int, band: str) -> None:
    assert predictions(rows([0], [hour]), np.array([0.5]))["hour_band"].tolist() == [band]


def test_predictions_hold_the_key_the_label_the_probability_and_the_slices(made: SmallPipeline) -> None:
    predicted = read_frame(made.root / "reports/predictions.parquet")
    assert set(predicted.columns) == {*KEY, LABEL, "probability", *SLICES}
    assert not predicted.duplicated(list(KEY)).any()
    assert len(predicted) == report(made, "metrics")["rows"]["test"]
    assert predicted["probability"].between(0, 1).all()


# Figures and slices


def test_every_figure_follows_from_the_stored_predictions(made: SmallPipeline) -> None:
    predicted, found = read_frame(made.root / "reports/predictions.parquet"), report(made, "metrics")
    labels, scores = predicted[LABEL], predicted["probability"]
    assert found["roc_auc"]["model"] == round(sklearn_metrics.roc_auc_score(labels, scores), 6)
    assert found["log_loss"]["model"] == round(sklearn_metrics.log_loss(labels, scores), 6)
    assert found["brier"]["model"] == round(sklearn_metrics.brier_score_loss(labels, scores), 6)
    assert found["average_precision"]["model"] == round(sklearn_metrics.average_precision_score(labels, scores), 6)


def test_every_figure_stands_beside_that_of_each_baseline(made: SmallPipeline) -> None:
    found = report(made, "metrics")
    assert set(found) == {*FIGURES, "rows", "cost_per_1000", "calibration_error_by_month", "log_loss_saved"}
    for figure in (*FIGURES, "cost_per_1000"):
        assert set(found[figure]) == {"model", *SIMPLER, "model_without_history"}
    assert set(found["log_loss_saved"]) == {*SIMPLER, "model_without_history"}


def test_a_model_that_knows_the_answer_has_perfect_figures() -> None:
    past, asked = rows([0, 1, 0, 1]), rows([0, 1, 1, 0])
    carrier = past_rate(count(past)["carrier_rate"], asked, BASELINES["carrier_rate"])
    scores = {"model": asked[LABEL].to_numpy(np.float64), "carrier_rate": carrier}
    found = summary(scores, asked, len(past), PARAMS)
    assert {key: found[key]["model"] for key in FIGURES} == {
        "roc_auc": 1.0, "average_precision": 1.0, "log_loss": 0.0, "brier": 0.0, "calibration_error": 0.0
    }  # fmt: skip
    assert found["roc_auc"]["carrier_rate"] == 0.5
    assert found["rows"] == {"train": 4, "test": 4, "test_late": 2}
    assert found["cost_per_1000"] == {"model": 0.0, "carrier_rate": 500.0}  # everybody is warned, two for nothing
    assert found["calibration_error_by_month"] == {"2013-10": 0.0}
    assert found["log_loss_saved"]["carrier_rate"]["mean"] == pytest.approx(np.log(2), abs=1e-6)


def test_a_margin_s_error_is_that_of_days_and_not_of_rows() -> None:
    gain = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    alone = margin(gain, pd.Series(range(6)))
    together = margin(gain, pd.Series([1, 1, 1, 2, 2, 2]))
    assert alone["mean"] == together["mean"] == 0.5
    assert alone["standard_error"] == pytest.approx(np.std(gain, ddof=1) / np.sqrt(6), abs=1e-6)
    assert together["standard_error"] == pytest.approx(0.5, abs=1e-6)
    assert margin(gain, pd.Series([1] * 6))["standard_error"] is None


def test_costs_count_each_mistake_at_its_price_and_a_warning_begins_where_it_is_cheaper() -> None:
    labels, warned = np.array([1, 1, 0, 0]), np.array([True, False, True, False])
    assert cost_per_1000(labels, warned, Costs(missed=5.0, false_alarm=1.0)) == 1500.0
    assert cheapest(Costs(missed=3.0, false_alarm=1.0)) == 0.25


def test_operating_points_say_whom_a_threshold_warns_and_what_it_costs() -> None:
    table = predictions(rows([1, 0, 1, 0] + [0] * 16), np.array([0.9, 0.8, 0.1, 0.05] + [0.0] * 16))
    points = {point["point"]: point for point in operating_points(table, COSTS)}
    assert points["nobody is warned"] == {
        "point": "nobody is warned", "threshold": None, "warned": 0.0, "precision": None, "recall": 0.0,
        "cost_per_1000": 300.0,
    }  # fmt: skip
    assert points["everybody is warned"]["cost_per_1000"] == 900.0
    assert points["where a warning costs less than none"]["cost_per_1000"] == 200.0
    assert points["the 5% most likely are warned"]["recall"] == 0.5
    assert points["the 5% most likely are warned"]["precision"] == 1.0


def test_calibration_is_drawn_for_each_month_of_its_own_rows(made: SmallPipeline) -> None:
    drawn, found = pd.DataFrame(report(made, "plots/calibration_by_month")), report(made, "metrics")
    for month, points in drawn.groupby("month"):
        gap = (points["rows"] * (points["mean_score"] - points["share_late"]).abs()).sum() / points["rows"].sum()
        assert gap == pytest.approx(found["calibration_error_by_month"][str(month)], abs=2e-6)
    assert drawn["rows"].sum() == found["rows"]["test"]


def test_every_feature_belongs_to_one_group_of_the_importance() -> None:
    assert sorted(name for names in TOGETHER.values() for name in names) == sorted(FEATURES)


@given(predicted_rows)
def test_the_parts_of_each_slice_sum_to_the_total(flights: list[tuple[str, str, int, int, int]]) -> None:
    carriers, origins, hours, late, scores = (list(column) for column in zip(*flights, strict=True))
    table = rows(late, hours).assign(carrier=carriers, origin=origins)
    found = slices(predictions(table, np.array(scores) / 1000), bins=10)
    assert tuple(found) == SLICES
    for parts in found.values():
        assert sum(part["rows"] for part in parts) == len(flights)
        assert sum(part["late"] for part in parts) == sum(late)
        assert [part["value"] for part in parts] == sorted({part["value"] for part in parts})
        brier = sum(part["brier"] * part["rows"] for part in parts) / len(flights)
        assert brier == pytest.approx(np.mean((np.array(scores) / 1000 - np.array(late)) ** 2), abs=1e-5)


def test_a_slice_with_one_label_has_no_ranking_figure_but_its_others() -> None:
    part = slices(predictions(rows([0, 0]), np.array([0.1, 0.3])), bins=10)["carrier"][0]
    assert (part["rows"], part["late"], part["roc_auc"], part["average_precision"]) == (2, 0, None, None)
    assert part["brier"] == 0.05


def test_every_hour_has_a_band_and_every_band_an_hour() -> None:
    found = predictions(rows([0] * 24, list(range(24))), np.zeros(24))["hour_band"]
    assert set(found) == set(HOUR_BANDS.values())


# Curves


def test_curves_go_from_one_end_to_the_other(made: SmallPipeline) -> None:
    roc, recall = report(made, "plots/roc"), report(made, "plots/precision_recall")
    assert len(roc) == len(recall) == CURVE_POINTS
    assert roc[-1] == {"false_positive_rate": 1.0, "true_positive_rate": 1.0}
    rising = [point["true_positive_rate"] for point in roc]
    assert rising == sorted(rising)
    assert recall[-1]["precision"] == pytest.approx(
        report(made, "metrics")["rows"]["test_late"] / report(made, "metrics")["rows"]["test"], abs=1e-6
    )


def test_the_histogram_counts_each_flight_once_in_its_bin() -> None:
    drawn = plots(predictions(rows([0, 1, 1]), np.array([0.0, 0.03, 1.0])), bins=10, costs=COSTS)["scores"]
    late = {point["score"]: point["late"] for point in drawn if point["late"]}
    assert late == {0.02: 1, 0.98: 1}
    assert [point["score"] for point in drawn if point["on_time"]] == [0.0]


def test_importance_is_in_order_and_of_every_group(made: SmallPipeline) -> None:
    drawn = report(made, "plots/importance")
    lost = [point["roc_auc_lost"] for point in drawn]
    assert lost == sorted(lost, reverse=True)
    assert {point["group"] for point in drawn} == set(TOGETHER)


# The stage


def test_nothing_that_differs_from_run_to_run_is_in_any_output(small: SmallPipeline) -> None:
    before = small.outputs()
    done = small.command("evaluate", TZ="Asia/Kathmandu", LANG="C", PYTHONHASHSEED="3")
    assert (done.returncode, done.stderr) == (0, "")
    assert small.outputs() == before


def test_the_files_of_requests_are_not_read(small: SmallPipeline) -> None:
    before, large = small.outputs(), [f"data/prepared/{name}.parquet" for name in ("train", "test")]
    for name in large:
        (small.root / name).unlink()
    small.run("train", "evaluate")
    assert small.outputs() == {name: before[name] for name in before if name not in large}


def test_counts_that_are_missing_or_of_something_else_stop_the_stage(small: SmallPipeline) -> None:
    path = small.root / "models/baselines.json"
    path.write_bytes((small.root / "reports/metrics.json").read_bytes())
    assert small.refused_here("evaluate") == (
        "models/baselines.json: not what `train` counted (expected carrier_rate and carrier_hour_rate). "
        "Remove it; `dvc repro` makes it anew."
    )
    path.unlink()
    assert small.refused_here("evaluate") == "models/baselines.json: there is no such file. `dvc repro` makes it."


def test_a_disk_that_fills_leaves_all_reports_of_the_last_run(small: SmallPipeline) -> None:
    small.change(("months: 3", "months: 1"))
    small.run("prepare")  # the predictions, written first, would be fewer and fit
    message = small.refused("evaluate", largest_file=5300)
    assert message == "reports/plots/costs.json: cannot be written: File too large. No output was changed."


def test_the_number_of_calibration_bins_and_of_rows_to_shuffle_are_params(small: SmallPipeline) -> None:
    small.change(("calibration_bins: 10", "calibration_bins: 3"), ("importance_repeats: 2", "importance_repeats: 3"))
    before = small.outputs()
    small.run("evaluate")
    after = small.outputs()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {
        f"reports/{name}.json"
        for name in ("metrics", "slices", "plots/calibration", "plots/calibration_by_month", "plots/importance")
    }
    assert len(report(small, "plots/calibration")) <= 3


def test_the_small_pipeline_is_the_committed_one_but_for_its_size(made: SmallPipeline) -> None:
    committed, smaller = load_params(ROOT / "params.yaml"), load_params(made.root / "params.yaml")
    assert committed.prepare == smaller.prepare
    assert committed.train.learning_rate == smaller.train.learning_rate
