"""Days as sums: figures found from them are those of the rows, and adding up days is joining their rows."""

import math
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from lockgate.evaluation.statistics import calibration_error
from lockgate.monitoring.series import Day, codes_of, summarise, total


def drawn(rows: int, seed: int, *, rare: float = 0.0):
    random = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(-random.normal(-1.2 - rare, 1.3, rows)))
    label = (random.random(rows) < score).astype(float)
    return score, label, random


@pytest.mark.parametrize("rare", [0.0, 3.0])
def test_the_figures_of_a_day_are_those_of_its_rows(rare):
    score, label, random = drawn(20_000, 1, rare=rare)
    label[random.random(len(label)) < 0.3] = math.nan
    known = ~np.isnan(label)
    base = np.full(len(score), 0.2)
    day, _ = summarise(score, label, base)
    assert (day.rows, day.labelled, day.label_sum) == (20_000, known.sum(), label[known].sum())
    assert day.roc_auc == pytest.approx(roc_auc_score(label[known], score[known]), abs=1e-4)
    assert day.log_loss == pytest.approx(log_loss(label[known], score[known]), rel=1e-12)
    assert day.brier == pytest.approx(brier_score_loss(label[known], score[known]), rel=1e-12)
    assert day.calibration_error == pytest.approx(calibration_error(label[known] == 1, score[known]), rel=1e-9)
    assert day.excess == pytest.approx(day.log_loss - log_loss(label[known], base[known]), rel=1e-9)


def test_pairs_in_order_are_those_of_the_rows_for_the_model_and_for_the_baseline():
    score, label, random = drawn(3_000, 5)
    base = np.clip(score + random.normal(0, 0.2, len(score)), 0.01, 0.99)
    codes = random.integers(0, 2, len(score))
    whole, slices = summarise(score, label, base, {"half": (codes, ["a", "b"])})
    assert whole.pairs == label.sum() * (len(label) - label.sum())
    assert whole.pairs_model_sum / whole.pairs == pytest.approx(roc_auc_score(label, score), abs=1e-3)
    assert whole.pairs_baseline_sum / whole.pairs == pytest.approx(roc_auc_score(label, base), abs=1e-3)
    assert whole.score_baseline_sum == pytest.approx(base.sum())
    part, mine = slices["half", "b"], codes == 1
    assert part.pairs_baseline_sum / part.pairs == pytest.approx(roc_auc_score(label[mine], base[mine]), abs=1e-3)
    assert math.isnan(summarise(score, label, None)[0].pairs_baseline_sum)


def test_slices_are_the_rows_of_their_values_and_rows_without_a_value_are_in_none():
    score, label, random = drawn(6_000, 2)
    values = pa.array([["b", "a", None][n] for n in random.integers(0, 3, len(score))])
    codes, names = codes_of(values)
    whole, slices = summarise(score, label, None, {"carrier": (codes, names)})
    assert names == ["a", "b"]
    for name in names:
        mine = np.array([value == name for value in values.to_pylist()])
        part = slices["carrier", name]
        assert part.rows == mine.sum()
        assert part.log_loss == pytest.approx(log_loss(label[mine], score[mine]))
        assert part.roc_auc == pytest.approx(roc_auc_score(label[mine], score[mine]), abs=1e-3)
    assert sum(part.rows for part in slices.values()) < whole.rows
    assert math.isnan(whole.excess)


def test_days_added_up_are_the_day_of_their_rows_together():
    score, label, _ = drawn(4_000, 3)
    base = np.full(len(score), 0.2)
    together, _ = summarise(score, label, base)
    parts = [summarise(score[i::3], label[i::3], base[i::3])[0] for i in range(3)]
    added = total(
        Day(day=date(2026, 1, n + 1), release="m@v1", build="x", **{k: getattr(p, k) for k in p.__slots__})
        for n, p in enumerate(parts)
    )
    assert added.roc_auc == together.roc_auc
    assert added.log_loss == pytest.approx(together.log_loss)
    assert added.calibration_error == pytest.approx(together.calibration_error)
    assert added.rows == together.rows


def test_scores_of_nought_and_one_and_a_day_without_outcomes_have_no_figure_that_is_made_up():
    day, _ = summarise(np.array([0.0, 1.0, 0.5]), np.array([0.0, 1.0, math.nan]), None)
    assert day.log_loss == pytest.approx(0.0)
    none, _ = summarise(np.array([0.2, 0.7]), np.array([math.nan, math.nan]), None)
    assert (none.rows, none.labelled) == (2, 0)
    assert math.isnan(none.log_loss)
    assert math.isnan(none.roc_auc)
