"""What is drawn and counted from predictions: each class, classes taken for each other, residuals, reliability."""

from dataclasses import replace

import numpy as np
import pytest
from benchmarks import study_kinds
from tests.lockgate.evaluation.test_compare_kinds import (
    CLASSES,
    LABEL,
    MULTICLASS,
    REGRESSION,
    ROWS,
    animals,
    file_of,
    judged,
    metrics_of,
    prices,
)

from lockgate.evaluation.compare import Side, compare
from lockgate.evaluation.predictions import File, Scored, Shared
from lockgate.evaluation.statistics import compare as compare_statistic
from lockgate.policy import read_policy


def test_each_class_has_the_figures_of_scikit_learn_and_the_interval_of_its_f1() -> None:
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    base, head = animals(2.0), animals(0.5)

    found = judged(MULTICLASS, base, head)

    expected = {}
    for side, told in (("base", base["said"]), ("head", head["said"])):
        for name, precision, recall, f1, rows in zip(
            CLASSES, *precision_recall_fscore_support(LABEL, told, labels=CLASSES), strict=True
        ):
            expected[name, side] = (precision, recall, f1, rows)
    for one in found.classes:
        for side in ("base", "head"):
            figures = (getattr(one, f"precision_{side}"), getattr(one, f"recall_{side}"), getattr(one, side), one.rows)
            assert figures == pytest.approx(expected[one.name, side], rel=1e-5)
        assert one.low is not None
        assert one.low < one.change < one.high  # type: ignore[operator]
        assert one.judgement == "better"
    assert {one.name for one in found.classes} == set(CLASSES)
    counts = {
        side: confusion_matrix(LABEL, told["said"], labels=CLASSES) for side, told in (("base", base), ("head", head))
    }
    for one in found.confused:
        place = CLASSES.index(one.label), CLASSES.index(one.predicted)
        assert (one.base, one.head) == (counts["base"][place], counts["head"][place])
        assert one.label != one.predicted
    assert len(found.confused) == 6


def test_of_classes_the_one_that_got_worse_comes_first_though_the_mean_is_no_worse() -> None:
    base, head = animals(1.5), animals(0.2)
    hurt = (LABEL == "owl") & (np.arange(ROWS) % 3 > 0)
    head["said"] = np.where(hurt, "cat", head["said"])
    text = "\n".join(line for line in MULTICLASS.splitlines() if "log_loss" not in line)
    text = text.replace("  probabilities: {prefix: p_},", "  ")

    found = judged(MULTICLASS, base, head, text=text)

    assert [one.name for one in found.classes if one.judgement == "worse"] == ["owl"]
    assert found.classes[0].name == "owl"
    assert next(one for one in found.metrics if one.name == "accuracy").judgement != "worse"


def test_of_equal_models_classes_are_hardly_ever_called_different() -> None:
    from lockgate.evaluation import drawn

    called = 0
    for seed in range(60):
        label, base, head, cluster = study_kinds.draw(
            "multiclass", np.random.default_rng(seed), np.full(40, 10), study_kinds.EQUAL
        )
        sides = [Scored(label, score, classes=("a", "b", "c", "d"), kind="multiclass") for score in (base, head)]
        rows = Shared(*sides, label, base, head, (), (), File("base", "p", b""), np.arange(400), cluster)
        told = drawn.classes(replace(rows, classes=sides[0].classes))
        called += any(one.judgement in ("better", "worse") for one in told)
    assert called <= 9  # five per cent of 60, and three standard errors


def test_residuals_are_the_mean_error_of_ten_groups_of_rows_by_prediction() -> None:
    columns = prices(0.5)

    found = judged(REGRESSION, prices(1.0), columns)

    (curve,) = found.curves
    order = np.argsort(columns["predicted"], kind="stable").reshape(10, -1)
    expected = [
        (columns["predicted"][rows].mean(), (columns["price"] - columns["predicted"])[rows].mean()) for rows in order
    ]
    assert (curve.title, curve.level, curve.diagonal) == ("Residuals by prediction", 0.0, False)
    assert np.array(curve.head) == pytest.approx(np.array(expected), rel=1e-4)
    assert curve.rows_head == (ROWS / 10,) * 10
    assert len(curve.base) == 10


def test_the_reliability_of_the_predicted_class_is_drawn_where_there_are_probabilities() -> None:
    columns = animals(0.5)
    largest = np.column_stack([columns[f"p_{name}"] for name in CLASSES]).max(axis=1)

    (curve,) = judged(MULTICLASS, animals(2.0), columns).curves

    order = np.argsort(largest, kind="stable").reshape(10, -1)
    expected = [(largest[rows].mean(), (columns["said"] == LABEL)[rows].mean()) for rows in order]
    assert np.array(curve.head) == pytest.approx(np.array(expected), rel=1e-4)
    assert curve.diagonal
    bare = MULTICLASS.replace("  probabilities: {prefix: p_},", "  ")
    bare = "\n".join(line for line in bare.splitlines() if "log_loss" not in line)
    (curve,) = judged(MULTICLASS, animals(2.0), columns, text=bare).curves
    assert (curve.head, curve.note) == ((), "there are no probabilities of the classes")


BINARY = """\
model: m
metrics: {auc: {file: m.json, key: auc, better: higher, statistic: roc_auc}}
predictions: {file: p.parquet, key: [id], label: late, score: score}
"""


def test_a_binary_model_has_the_curves_that_its_policy_names() -> None:
    score = np.random.default_rng(0).random(ROWS)
    late = np.random.default_rng(1).random(ROWS) < score
    side = Side({"m.json": b'{"auc": 0.5}'}, file_of({"id": np.arange(ROWS), "late": late, "score": score}))

    drawn = {
        plots: compare(read_policy(BINARY + plots), side, side).curves
        for plots in ("", "plots: []\n", "plots: [reliability]\n")
    }

    assert (drawn[""], drawn["plots: []\n"]) == ((), ())
    (curve,) = drawn["plots: [reliability]\n"]
    assert curve.base == curve.head
    assert all(abs(x - y) < 0.2 for x, y in curve.head)
    assert sum(curve.rows_head) == ROWS


def test_a_first_commit_is_drawn_without_a_base_and_an_empty_list_draws_nothing() -> None:
    side = Side({"m.json": metrics_of(prices(1.0), REGRESSION)}, file_of(prices(1.0)))

    (curve,) = compare(read_policy(REGRESSION), None, side).curves

    assert (curve.base, len(curve.head)) == ((), 10)
    assert compare(read_policy(REGRESSION + "plots: []\n"), None, side).curves == ()


def test_a_class_has_the_same_interval_as_a_metric_that_names_it() -> None:
    label, base, head, cluster = study_kinds.draw("multiclass", np.random.default_rng(0), np.full(40, 20), (1.0, 0.8))
    from lockgate.evaluation import drawn

    sides = [Scored(label, score, classes=("a", "b", "c", "d"), kind="multiclass") for score in (base, head)]
    rows = Shared(*sides, label, base, head, (), (), File("base", "p", b""), np.arange(800), cluster)

    found = {one.name: one for one in drawn.classes(replace(rows, classes=sides[0].classes))}

    direct = compare_statistic("f1", label, base, head, cluster, study_kinds.MULTI)
    assert (found["c"].low, found["c"].high) == pytest.approx((direct.low, direct.high), rel=1e-5)
