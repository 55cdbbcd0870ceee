"""The statistics of several classes, of numbers and of columns, against scikit-learn, resampling and simulation."""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks import study_kinds
from benchmarks.study_kinds import STATISTICS, draw
from tests.length import length

from lockgate.evaluation import procedure, statistics
from lockgate.evaluation.statistics import Definition, Undefined, compare, influence, value

CALLED = list(STATISTICS)


def drawn(called: str, clusters: int = 60, size: int = 20, seed: int = 3) -> study_kinds.Drawn:
    kind = STATISTICS[called][1].kind
    return draw(kind, np.random.default_rng(seed), np.full(clusters, size), study_kinds.BETTER)


def weights_of(rows: int) -> np.ndarray:
    return np.random.default_rng(9).integers(0, 4, rows) * np.random.default_rng(8).random(rows)


@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_those_of_scikit_learn(weighted: bool) -> None:
    from sklearn import metrics as by

    label, score, _, _ = drawn("multiclass accuracy")
    weights = weights_of(len(label)) if weighted else None
    told, counted = score[:, 0], {"sample_weight": weights}
    third = label == study_kinds.THIRD
    of_class = {"labels": [study_kinds.THIRD], "average": None, **counted}
    hot = np.eye(4)[label]
    expected = {
        "multiclass accuracy": by.accuracy_score(label, told, **counted),
        "multiclass accuracy, macro": by.balanced_accuracy_score(label, told, **counted),
        "multiclass macro_f1": by.f1_score(label, told, average="macro", **counted),
        "multiclass weighted_f1": by.f1_score(label, told, average="weighted", **counted),
        "multiclass log_loss": by.log_loss(label, score[:, 1:], **counted),
        "multiclass brier": np.average(((score[:, 1:] - hot) ** 2).sum(axis=1), weights=weights),
        "multiclass f1 of a class": by.f1_score(label, told, **of_class)[0],
        "multiclass precision of a class": by.precision_score(label, told, **of_class)[0],
        "multiclass recall of a class": by.recall_score(label, told, **of_class)[0],
        "multiclass roc_auc of a class": by.roc_auc_score(third, score[:, 1 + study_kinds.THIRD], **counted),
    }
    late, chance, _, _ = drawn("binary f1")
    expected |= {
        "binary f1": by.f1_score(late, chance >= 0.5, **counted),
        "binary precision": by.precision_score(late, chance >= 0.5, **counted),
        "binary recall": by.recall_score(late, chance >= 0.5, **counted),
    }
    target, answer, _, _ = drawn("regression rmse")
    held = (answer[:, 1] <= target) & (target <= answer[:, 2])
    outside = np.maximum(answer[:, 1] - target, 0) + np.maximum(target - answer[:, 2], 0)
    expected |= {
        "regression rmse": by.root_mean_squared_error(target, answer[:, 0], **counted),
        "regression mae": by.mean_absolute_error(target, answer[:, 0], **counted),
        "regression mse": by.mean_squared_error(target, answer[:, 0], **counted),
        "regression r2": by.r2_score(target, answer[:, 0], **counted),
        "regression quantile_loss": by.mean_pinball_loss(target, answer[:, 0], alpha=0.8, **counted),
        "regression coverage": np.average(held, weights=weights),
        "regression interval_width": np.average(answer[:, 2] - answer[:, 1], weights=weights),
        "regression interval_score": np.average(answer[:, 2] - answer[:, 1] + 10 * outside, weights=weights),
    }
    rows, loss, _, _ = drawn("mean of a column")
    expected["mean of a column"] = np.average(loss, weights=weights)
    of = {"binary": (late, chance), "multiclass": (label, score), "regression": (target, answer), "other": (rows, loss)}

    found = {
        called: value(name, *of[how.kind], replace(how, weights=weights)) for called, (name, how) in STATISTICS.items()
    }

    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("called", CALLED)
def test_the_influence_of_a_row_is_what_the_value_gains_by_a_little_of_its_weight(called: str) -> None:
    name, how = STATISTICS[called]
    label, _, score, _ = drawn(called, 40, 5)
    weights = 0.5 + np.random.default_rng(1).random(len(label))
    little = 1e-6

    at, found = influence(name, label, score, replace(how, weights=weights))

    assert at == pytest.approx(value(name, label, score, replace(how, weights=weights)), rel=1e-12)
    assert float(found.sum()) == pytest.approx(0, abs=1e-12)
    for row in (0, 17, 101, 199):
        more = weights.copy()
        more[row] *= 1 + little
        gained = (value(name, label, score, replace(how, weights=more)) - at) / little
        assert gained == pytest.approx(found[row], abs=2e-5 * max(1.0, float(np.abs(found).max())))


@pytest.mark.parametrize("called", CALLED)
def test_intervals_agree_with_a_bootstrap_of_rows_and_of_clusters(called: str) -> None:
    """The bootstrap is SciPy's, of the rows or of the clusters; it knows nothing of influences."""
    from scipy.stats import bootstrap

    name, how = STATISTICS[called]
    label, base, head, cluster = drawn(called, 80, 12)
    order = np.argsort(cluster, kind="stable").reshape(80, 12)

    def change(chosen: np.ndarray) -> float:
        rows = chosen if clusters is None else order[chosen].ravel()
        return value(name, label[rows], head[rows], how) - value(name, label[rows], base[rows], how)

    for clusters in (None, cluster):
        units = np.arange(len(label) if clusters is None else 80)
        found = compare(name, label, base, head, clusters, how)
        again = bootstrap((units,), change, n_resamples=250, vectorized=False, method="basic", rng=5)
        # 250 resamples know an error to 4.5 %
        assert found.error == pytest.approx(again.standard_error, rel=0.16)
        assert found.change == pytest.approx(change(units))


@pytest.mark.parametrize("called", CALLED)
def test_rows_given_twice_in_one_cluster_and_rows_of_weight_two_are_the_same_evidence(called: str) -> None:
    name, how = STATISTICS[called]
    label, base, head, _ = drawn(called, 300, 1)
    rows = np.arange(300)
    twice = np.concatenate([rows, rows])

    copies = compare(name, label[twice], base[twice], head[twice], twice, how)
    weighted = compare(name, label, base, head, rows, replace(how, weights=np.full(300, 2.0)))

    plain = compare(name, label, base, head, rows, how)
    for one in (copies, weighted):
        assert (one.change, one.low, one.high) == pytest.approx((plain.change, plain.low, plain.high), rel=1e-9)


def test_intervals_cover_and_equal_models_are_seldom_called_different() -> None:
    """The long figures are docs/studies/kinds.json. The bound is wide, because 22 statistics are looked at twice. An
    interval score of 200 rows rests on the few targets outside of their intervals, and often says so."""
    pairs = length(60, 1000)
    found = study_kinds.study(pairs, short=True, quiet=True)

    allowed = 0.05 + 4.5 * (0.05 * 0.95 / pairs) ** 0.5
    assert len(found) == 2 * len(CALLED)
    for row in found:
        assert 1 - row["covered"] <= allowed, row
        assert row["called"] <= allowed, row
        assert row["cannot_say"] <= (0.25 if row["statistic"] == "regression interval_score" else 0.05), row


@pytest.mark.parametrize("called", CALLED)
def test_the_same_answers_are_no_change_and_exchanging_sides_turns_the_sign(called: str) -> None:
    name, how = STATISTICS[called]
    label, base, head, cluster = drawn(called)

    one, other = compare(name, label, base, head, cluster, how), compare(name, label, head, base, cluster, how)
    same = compare(name, label, base, base.copy(), cluster, how)

    assert (same.change, same.low, same.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    assert (other.change, other.low, other.high) == pytest.approx((-one.change, -one.high, -one.low), abs=1e-12)


@pytest.mark.parametrize("called", CALLED)
def test_every_statistic_takes_part_in_the_comparison_of_procedures(called: str) -> None:
    name, how = STATISTICS[called]
    label, base, head, cluster = drawn(called)
    sides = [procedure.models(name, label, [scores], cluster, how) for scores in (base, head)]

    found = procedure.estimate(*sides, cluster, procedure.Spread(0.0, 5))

    assert found.rows**0.5 == pytest.approx(compare(name, label, base, head, cluster, how).error, rel=1e-9)


# --- what cannot be said


def answers(predicted: list[int], classes: int = 3) -> np.ndarray:
    return np.column_stack([predicted, np.eye(classes)[predicted] * 0.7 + 0.1])


@pytest.mark.parametrize(
    ("name", "label", "score", "how", "said"),
    [
        ("r2", np.ones(40), np.arange(40.0), Definition(kind="regression"), "every row has the same target"),
        ("rmse", np.arange(40.0), np.arange(40.0), Definition(kind="regression"), "every prediction is exact"),
        ("coverage", np.ones(40), np.ones(40), Definition(kind="regression"), "no intervals"),
        ("log_loss", np.zeros(40, int), np.zeros((40, 1)), Definition(kind="multiclass"), "no probabilities"),
        ("recall", np.zeros(40, int), answers([0] * 40), Definition(kind="multiclass", classes=3), "no row has the"),
        ("f1", np.zeros(40, int), answers([0] * 40), Definition(kind="multiclass", classes=3), "no row has the class"),
        ("precision", np.arange(40) % 3, answers([0] * 40), Definition(kind="multiclass", classes=3), "is predicted"),
        ("roc_auc", np.zeros(40, int), answers([0] * 40), Definition(kind="multiclass", classes=3), "one class"),
    ],
)
def test_what_is_not_defined_says_why(
    name: str, label: np.ndarray, score: np.ndarray, how: Definition, said: str
) -> None:
    with pytest.raises(Undefined, match=said):
        value(name, label, score, how)


def test_a_class_that_nobody_has_or_predicts_does_not_count_in_a_mean_of_f1() -> None:
    from sklearn.metrics import f1_score

    label, predicted = np.array([0, 0, 1, 1, 1, 3] * 10), np.array([0, 1, 1, 1, 4, 3] * 10)
    how = Definition(kind="multiclass", classes=6)

    found = {name: value(name, label, answers(list(predicted), 6), how) for name in ("macro_f1", "weighted_f1")}

    assert found["macro_f1"] == pytest.approx(f1_score(label, predicted, average="macro"))
    assert found["weighted_f1"] == pytest.approx(f1_score(label, predicted, average="weighted"))


def test_few_rows_of_a_class_leave_the_mean_over_classes_without_an_interval() -> None:
    label, base, head, _ = drawn("multiclass macro_f1")
    few = np.concatenate([np.flatnonzero(label != 3), np.flatnonzero(label == 3)[:5]])
    rows = (label[few], base[few], head[few], None, study_kinds.MULTI)

    with pytest.raises(Undefined, match="5 rows of the rarest class"):
        compare("macro_f1", *rows)
    assert compare("weighted_f1", *rows).error > 0


def test_decisions_that_differ_on_no_row_are_no_certainty() -> None:
    """The bound is Clopper and Pearson's for none of n, times what another decision on one row could do."""
    label, base, _, _ = drawn("multiclass macro_f1")
    head = base.copy()
    head[:, 1:] = 0.9 * base[:, 1:] + 0.025  # other probabilities, the same decisions

    found = {name: compare(name, label, base, head, None, study_kinds.MULTI) for name in ("accuracy", "f1", "macro_f1")}

    share = 1 - 0.025 ** (1 / len(label))
    assert found["accuracy"].high == pytest.approx(share)
    for one in found.values():
        assert (one.change, one.method) == (0.0, "no row differs")
        assert 0 < one.high == -one.low
    assert found["f1"].high > found["accuracy"].high  # a row of one class is a larger part of its F1


def test_a_log_loss_of_a_model_that_is_certain_has_no_interval() -> None:
    label, base, head, _ = drawn("multiclass log_loss")
    head[:40, 1:] = np.eye(4)[label[:40]]

    with pytest.raises(Undefined, match="40 rows with a score of 0 or 1"):
        compare("log_loss", label, base, head, None, study_kinds.MULTI)


def test_a_quantile_of_a_half_is_half_the_absolute_error() -> None:
    label, base, _, _ = drawn("regression mae")
    how = Definition(kind="regression")

    assert 2 * value("quantile_loss", label, base, how) == pytest.approx(value("mae", label, base, how))


def test_a_reported_figure_of_a_regression_keeps_six_digits_whatever_its_unit() -> None:
    label, base, head, _ = drawn("regression rmse")

    small = compare("rmse", label, base, head, None, study_kinds.REGRESSION)
    large = compare("rmse", 1e9 * label, 1e9 * base, 1e9 * head, None, study_kinds.REGRESSION)

    assert statistics.reported(large.low) == pytest.approx(1e9 * statistics.reported(small.low), rel=1e-5)
