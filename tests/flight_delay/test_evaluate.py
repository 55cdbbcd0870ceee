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

from flight_delay.baselines import BASELINES, count
from flight_delay.evaluate import (
    CURVE_POINTS,
    HOUR_BANDS,
    SCORE_STEP,
    SLICES,
    plots,
    predictions,
    rounded,
    score,
    slices,
    summary,
)
from flight_delay.files import read_frame
from flight_delay.metrics import FIGURES
from flight_delay.model_file import load_model
from flight_delay.params import load_params
from flight_delay.request import KEY, LABEL, REQUEST

COMMITTED = json.loads((ROOT / "reports" / "metrics.json").read_text())
# A constant score equal to the overall share is calibrated too: a small calibration error alone says nothing.
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
    assert COMMITTED["roc_auc"]["model"] >= 0.69
    assert COMMITTED["calibration_error"]["model"] <= 0.03


@pytest.mark.parametrize("figure", BETTER_IF)
@pytest.mark.parametrize("baseline", BASELINES)
def test_the_committed_model_beats_each_baseline(figure: str, baseline: str) -> None:
    model, other = COMMITTED[figure]["model"], COMMITTED[figure][baseline]
    assert model > other if BETTER_IF[figure] == "higher" else model < other


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
    lost = {point["column"]: point["roc_auc_lost"] for point in curves["importance"]}
    assert set(lost) == set(REQUEST)
    assert lost["flight"] == lost["tailnum"] == 0  # no feature is made of them
    assert max(lost, key=lambda column: lost[column]) == "scheduled_departure"


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
    assert set(found) == {*FIGURES, "rows"}
    for figure in FIGURES:
        assert set(found[figure]) == {"model", *BASELINES}


def test_a_model_that_knows_the_answer_has_perfect_figures() -> None:
    past, asked = rows([0, 1, 0, 1]), rows([0, 1, 1, 0])
    found = summary(count(past), asked, asked[LABEL].to_numpy(np.float64), bins=10)
    assert {key: found[key]["model"] for key in FIGURES} == {
        "roc_auc": 1.0, "average_precision": 1.0, "log_loss": 0.0, "brier": 0.0, "calibration_error": 0.0
    }  # fmt: skip
    assert found["roc_auc"]["carrier_rate"] == 0.5
    assert found["rows"] == {"train": 4, "test": 4, "test_late": 2}


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
    drawn = plots(predictions(rows([0, 1, 1]), np.array([0.0, 0.03, 1.0])), bins=10)["scores"]
    late = {point["score"]: point["late"] for point in drawn if point["late"]}
    assert late == {0.02: 1, 0.98: 1}
    assert [point["score"] for point in drawn if point["on_time"]] == [0.0]


def test_importance_is_in_order_and_of_every_column_of_a_request(made: SmallPipeline) -> None:
    drawn = report(made, "plots/importance")
    lost = [point["roc_auc_lost"] for point in drawn]
    assert lost == sorted(lost, reverse=True)
    assert {point["column"] for point in drawn} == set(REQUEST)


# The stage


def test_nothing_that_differs_from_run_to_run_is_in_any_output(small: SmallPipeline) -> None:
    before = small.outputs()
    done = small.command("evaluate", TZ="Asia/Kathmandu", LANG="C", PYTHONHASHSEED="3")
    assert (done.returncode, done.stderr) == (0, "")
    assert small.outputs() == before


def test_the_training_rows_are_not_read_again(small: SmallPipeline) -> None:
    before = small.outputs()
    (small.root / "data/prepared/train.parquet").unlink()
    small.run("evaluate")
    assert small.outputs() == {name: before[name] for name in before if name != "data/prepared/train.parquet"}


def test_counts_that_are_missing_or_of_something_else_stop_the_stage(small: SmallPipeline) -> None:
    path = small.root / "models/baselines.json"
    path.write_bytes((small.root / "reports/metrics.json").read_bytes())
    assert small.refused_here("evaluate") == (
        "models/baselines.json: not what `train` counted (expected carrier_rate and origin_hour_month_rate). "
        "Remove it; `dvc repro` makes it anew."
    )
    path.unlink()
    assert small.refused_here("evaluate") == "models/baselines.json: there is no such file. `dvc repro` makes it."


def test_a_disk_that_fills_leaves_all_reports_of_the_last_run(small: SmallPipeline) -> None:
    small.change(("first: 2013-10", "first: 2013-12"))
    small.run("prepare")  # the predictions, written first, would be fewer and fit
    message = small.refused("evaluate", largest_file=5300)
    assert message == "reports/plots/roc.json: cannot be written: File too large. No output was changed."


def test_the_number_of_calibration_bins_and_of_rows_to_shuffle_are_params(small: SmallPipeline) -> None:
    small.change(("calibration_bins: 10", "calibration_bins: 3"), ("importance_repeats: 1", "importance_repeats: 2"))
    before = small.outputs()
    small.run("evaluate")
    after = small.outputs()
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {
        f"reports/{name}.json" for name in ("metrics", "slices", "plots/calibration", "plots/importance")
    }
    assert len(report(small, "plots/calibration")) <= 3


def test_the_small_pipeline_is_the_committed_one_but_for_its_size(made: SmallPipeline) -> None:
    committed, smaller = load_params(ROOT / "params.yaml"), load_params(made.root / "params.yaml")
    assert committed.prepare == smaller.prepare
    assert committed.train.learning_rate == smaller.train.learning_rate
