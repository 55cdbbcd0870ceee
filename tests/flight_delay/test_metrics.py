"""Figures: as computed by hand, as scikit-learn has them, and undefined where they are."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from flight_delay.metrics import FIGURES, calibration_bins, calibration_error, figures

LABELS = np.array([0, 0, 1, 1])
SCORES = np.array([0.1, 0.4, 0.35, 0.8])

cases = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1000)), min_size=1, max_size=60).map(
    lambda rows: (np.array([label for label, _ in rows]), np.array([score for _, score in rows]) / 1000)
)


def test_figures_are_those_computed_by_hand() -> None:
    found = figures(LABELS, SCORES, bins=2)
    assert found["roc_auc"] == 3 / 4  # of four pairs, one is the wrong way round
    assert found["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found["brier"] == pytest.approx((0.1**2 + 0.4**2 + 0.65**2 + 0.2**2) / 4)
    assert found["log_loss"] == pytest.approx(-(math.log(0.9) + math.log(0.6) + math.log(0.35) + math.log(0.8)) / 4)
    # below 0.5: three rows, mean score 0.85/3, one late; above: one row, score 0.8, late
    assert found["calibration_error"] == pytest.approx((3 * abs(0.85 / 3 - 1 / 3) + 0.2) / 4)


@given(cases)
def test_figures_are_those_of_scikit_learn(rows: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = rows
    found = figures(labels, scores, bins=10)
    assert tuple(found) == FIGURES
    assert found["brier"] == pytest.approx(sklearn_metrics.brier_score_loss(labels, scores, pos_label=1), abs=1e-12)
    assert found["log_loss"] == sklearn_metrics.log_loss(labels, scores, labels=[0, 1])
    if 0 < labels.sum() < len(labels):
        assert found["roc_auc"] == sklearn_metrics.roc_auc_score(labels, scores)
        assert found["average_precision"] == sklearn_metrics.average_precision_score(labels, scores)
    else:
        assert math.isnan(found["roc_auc"])
        assert math.isnan(found["average_precision"])


@given(cases, st.integers(2, 20))
def test_the_calibration_error_is_the_mean_gap_between_score_and_share_weighted_by_rows(
    rows: tuple[np.ndarray, np.ndarray], bins: int
) -> None:
    labels, scores = rows
    gaps = [
        abs(sum(scores[i] for i in inside) - sum(labels[i] for i in inside))
        for inside in ([i for i, s in enumerate(scores) if min(int(s * bins), bins - 1) == b] for b in range(bins))
    ]
    assert calibration_error(labels, scores, bins) == pytest.approx(sum(gaps) / len(labels), abs=1e-12)


def test_scores_that_say_the_share_of_each_group_are_perfectly_calibrated() -> None:
    scores = np.repeat([0.0, 0.25, 0.75, 1.0], 4)
    labels = np.array([0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1])
    assert calibration_error(labels, scores, bins=10) == 0
    assert calibration_error(1 - labels, scores, bins=10) == pytest.approx((1 + 0.5 + 0.5 + 1) / 4)


def test_one_score_for_all_is_off_by_its_distance_from_the_share() -> None:
    assert calibration_error(np.array([1, 0, 0, 0]), np.full(4, 0.6), bins=10) == pytest.approx(0.35)


def test_bins_hold_their_lower_edge_the_last_one_both_and_empty_ones_are_left_out() -> None:
    found = calibration_bins(np.array([0, 1, 1, 1]), np.array([0.0, 0.5, 0.999, 1.0]), bins=2)
    assert found.tolist() == [[0.0, 0.0, 1.0], [pytest.approx((0.5 + 0.999 + 1) / 3), 1.0, 3.0]]


@given(cases)
def test_every_row_is_in_one_bin(rows: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = rows
    mean_score, share_late, count = calibration_bins(labels, scores, bins=10).T
    assert count.sum() == len(labels)
    assert (count * share_late).sum() == pytest.approx(labels.sum())
    assert (count * mean_score).sum() == pytest.approx(scores.sum())


def test_no_rows_have_no_figures() -> None:
    found = figures(np.array([], dtype=int), np.array([]), bins=10)
    assert all(math.isnan(value) for value in found.values())


def test_a_certain_score_that_is_wrong_has_a_finite_loss() -> None:
    assert math.isfinite(figures(np.array([0, 1]), np.array([1.0, 0.0]), bins=10)["log_loss"])
