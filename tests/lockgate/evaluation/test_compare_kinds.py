"""Base and head of every kind of model, from files to words: what is compared, and what is refused in one sentence."""

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from lockgate.evaluation.compare import Judged, Side, compare
from lockgate.policy import read_policy

ROWS = 600
FILE = "p.parquet"
CLASSES = ["cat", "dog", "owl"]
WORLD = np.random.default_rng(0)
TRUTH = WORLD.normal(size=(ROWS, 3))
NUMBER = (TRUTH + WORLD.gumbel(size=TRUTH.shape)).argmax(axis=1)
LABEL = np.array(CLASSES)[NUMBER]
PRICE = 100 + 10 * TRUTH[:, 0] + WORLD.normal(size=ROWS)

MULTICLASS = """\
model: m
metrics:
  accuracy: {file: m.json, key: accuracy, better: higher, statistic: accuracy}
  macro_f1: {file: m.json, key: macro_f1, better: higher, statistic: macro_f1}
  log_loss: {file: m.json, key: log_loss, better: lower, statistic: log_loss}
  recall_owl: {file: m.json, key: recall_owl, better: higher, statistic: recall, class: owl}
predictions: {kind: multiclass, file: p.parquet, key: [id], label: animal, predicted: said,
  probabilities: {prefix: p_}, slices: [region], slice_metric: macro_f1}
gates: [{kind: no-regression, metric: macro_f1, margin: 0.2}, {kind: min, metric: recall_owl, value: 0.1}]
"""
REGRESSION = """\
model: m
metrics:
  rmse: {file: m.json, key: rmse, better: lower, statistic: rmse}
  r2: {file: m.json, key: r2, better: higher, statistic: r2}
  coverage: {file: m.json, key: coverage, better: higher, statistic: coverage}
  pinball: {file: m.json, key: pinball, better: lower, statistic: quantile_loss, quantile: 0.9, column: high}
  loss: {file: m.json, key: loss, better: lower, statistic: mean, column: loss}
predictions: {kind: regression, file: p.parquet, key: [id], label: price, prediction: predicted,
  interval: {low: low, high: high, coverage: 0.9}, slices: [region], slice_metric: rmse, cluster: [day]}
"""
OTHER = """\
model: m
metrics: {loss: {file: m.json, key: loss, better: lower, statistic: mean, column: loss}}
predictions: {kind: other, file: p.parquet, key: [id]}
"""


def file_of(columns: dict[str, Any]) -> bytes:
    told = io.BytesIO()
    pq.write_table(pa.table({name: column for name, column in columns.items() if column is not None}), told)
    return told.getvalue()


def animals(noise: float, seed: int = 1, **other: Any) -> dict[str, Any]:
    logits = TRUTH + noise * np.random.default_rng(seed).normal(size=TRUTH.shape)
    powers = np.exp(logits)
    shares = powers / powers.sum(axis=1, keepdims=True)
    told = {"id": np.arange(ROWS), "animal": LABEL, "said": np.array(CLASSES)[shares.argmax(axis=1)]}
    told |= {f"p_{name}": shares[:, number] for number, name in enumerate(CLASSES)}
    return told | {"region": np.array(["north", "south"])[np.arange(ROWS) % 2]} | other


def prices(noise: float, seed: int = 1, **other: Any) -> dict[str, Any]:
    predicted = 100 + 10 * (TRUTH[:, 0] + noise * np.random.default_rng(seed).normal(size=ROWS))
    told = {"id": np.arange(ROWS), "day": np.arange(ROWS) % 40, "price": PRICE, "predicted": predicted}
    told |= {"low": predicted - 12, "high": predicted + 12, "loss": np.abs(PRICE - predicted)}
    return told | {"region": np.array(["north", "south"])[np.arange(ROWS) // 40 % 2]} | other


def metrics_of(columns: dict[str, Any], policy: str) -> bytes:
    """Return the metrics file that the columns give, by other code than ours."""
    from sklearn import metrics as by

    if policy is OTHER:
        return json.dumps({"loss": float(np.mean(columns["loss"]))}).encode()
    if policy is REGRESSION:
        target, told = columns["price"], columns["predicted"]
        found = {
            "rmse": by.root_mean_squared_error(target, told),
            "r2": by.r2_score(target, told),
            "coverage": np.mean((columns["low"] <= target) & (target <= columns["high"])),
            "pinball": by.mean_pinball_loss(target, columns["high"], alpha=0.9),
            "loss": np.mean(columns["loss"]),
        }
    else:
        label, said = columns["animal"], columns["said"]
        found = {
            "accuracy": by.accuracy_score(label, said),
            "macro_f1": by.f1_score(label, said, average="macro"),
            "log_loss": by.log_loss(label, np.column_stack([columns[f"p_{name}"] for name in CLASSES]), labels=CLASSES),
            "recall_owl": by.recall_score(label, said, labels=["owl"], average=None)[0],
        }
    return json.dumps({name: float(value) for name, value in found.items()}).encode()


def judged(policy: str, base: dict[str, Any], head: dict[str, Any], *, text: str = "", **files: Any) -> Judged:
    """Judge two files; ``text`` replaces the policy's own, whose metrics stay."""
    sides = []
    for columns in (base, head):
        plain = animals(1.0) if policy is MULTICLASS else prices(1.0)
        try:
            told = metrics_of(columns, policy)
        except (KeyError, ValueError, TypeError):  # the file is a broken one
            told = metrics_of(plain, policy)
        sides.append(Side({"m.json": told}, file_of(columns), **files))
    return compare(read_policy(text or policy), sides[0], sides[1])


@pytest.mark.parametrize(
    ("policy", "base", "head"),
    [
        (MULTICLASS, animals(2.0), animals(0.2)),
        (REGRESSION, prices(1.0), prices(0.2)),
        (OTHER, prices(1.0), prices(0.2)),
    ],
    ids=["multiclass", "regression", "other"],
)
def test_a_better_model_is_better_a_worse_one_worse_and_the_same_one_no_change(
    policy: str, base: dict[str, Any], head: dict[str, Any]
) -> None:
    better, worse = judged(policy, base, head), judged(policy, head, base)
    same = judged(policy, base, base)

    assert {one.judgement for one in better.metrics} == {"better"}, better.metrics
    assert {one.judgement for one in worse.metrics} == {"worse"}
    assert {(one.change, one.low, one.high) for one in same.metrics} == {(0.0, 0.0, 0.0)}
    assert better.warnings == ()
    assert worse.disagree == {}
    assert {one.judgement for one in better.slices} == ({"better"} if policy is not OTHER else set())
    assert {one.positives for one in better.slices} <= {None}
    assert (better.comparison.positives_head, better.comparison.kind) == (None, read_policy(policy).predictions.kind)


def test_clusters_of_a_regression_widen_its_interval() -> None:
    shift = 20 * np.random.default_rng(5).normal(size=40)[np.arange(ROWS) % 40]
    base, head = prices(0.3), prices(0.3, 2)
    head["predicted"] = head["predicted"] + shift
    alone = REGRESSION.replace(", cluster: [day]", "")

    wide, narrow = (judged(REGRESSION, base, head, text=text).metrics[0] for text in (REGRESSION, alone))

    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


@pytest.mark.parametrize("keep", ["predicted", "probabilities"])
def test_several_classes_need_decisions_or_probabilities_and_not_both(keep: str) -> None:
    text = MULTICLASS.replace(" predicted: said,", "" if keep == "probabilities" else " predicted: said,")
    if keep == "predicted":
        text = text.replace("  probabilities: {prefix: p_},", "  ")
        text = "\n".join(line for line in text.splitlines() if "log_loss" not in line)

    found = judged(MULTICLASS, animals(2.0), animals(0.2), text=text)

    whole = {one.name: one for one in judged(MULTICLASS, animals(2.0), animals(0.2)).metrics}
    assert not found.comparison.refused
    assert all(one == whole[one.name] for one in found.metrics)


@pytest.mark.parametrize(
    "written",
    [
        lambda names: pa.array(names).dictionary_encode(),
        lambda names: np.array([CLASSES.index(one) for one in names]),
        lambda names: np.array([float(CLASSES.index(one)) for one in names]),
    ],
    ids=["dictionary", "whole numbers", "floating numbers"],
)
def test_classes_are_compared_by_what_they_say_not_by_how_they_are_stored(written: Any) -> None:
    numbers = not isinstance(written(CLASSES), pa.DictionaryArray)
    whole = judged(MULTICLASS, animals(2.0), animals(0.2))
    sides = []
    for columns in (animals(2.0), animals(0.2)):
        told = columns | {name: written(list(columns[name])) for name in ("animal", "said")}
        names = {f"p_{name}": f"p_{number}" if numbers else f"p_{name}" for number, name in enumerate(CLASSES)}
        sides.append(
            Side({"m.json": metrics_of(columns, MULTICLASS)}, file_of({names.get(k, k): v for k, v in told.items()}))
        )
    text = MULTICLASS.replace("class: owl", "class: 2") if numbers else MULTICLASS

    assert compare(read_policy(text), sides[0], sides[1]).metrics == whole.metrics


def test_columns_of_probabilities_may_stand_in_another_order_and_be_named_one_by_one() -> None:
    head = animals(0.2)
    turned = dict(reversed(head.items()))
    named = MULTICLASS.replace("{prefix: p_}", "{cat: p_cat, dog: p_dog, owl: p_owl}")

    found = [judged(MULTICLASS, animals(2.0), one, text=text) for one in (head, turned) for text in (MULTICLASS, named)]

    assert len({one.metrics for one in found}) == 1
    assert not found[0].comparison.refused


def test_a_class_without_a_row_is_no_obstacle() -> None:
    """A test set need not have every class that a model knows."""
    rows = LABEL != "owl"
    base, head = ({name: np.asarray(one)[rows] for name, one in animals(noise).items()} for noise in (2.0, 0.2))
    text = "\n".join(line for line in MULTICLASS.splitlines() if "recall" not in line) + "\n"

    found = judged(MULTICLASS, base, head, text=text)

    assert found.comparison.refused == ""
    assert {one.judgement for one in found.metrics} <= {"better", "noise"}
    assert all(one.low is not None for one in found.metrics)


# --- labels of a binary model

BINARY = """\
model: m
metrics: {auc: {file: m.json, key: auc, better: higher, statistic: roc_auc}}
predictions: {file: p.parquet, key: [id], label: churn, score: score}
"""


def churn(noise: float, **other: Any) -> dict[str, Any]:
    score = 1 / (1 + np.exp(-TRUTH[:, 0] - noise * np.random.default_rng(4).normal(size=ROWS)))
    return {"id": np.arange(ROWS), "churn": NUMBER == 0, "score": score, **other}


def binary(text: str, base: dict[str, Any], head: dict[str, Any], **files: Any) -> Judged:
    from sklearn.metrics import roc_auc_score

    sides = [
        Side({"m.json": json.dumps({"auc": roc_auc_score(NUMBER == 0, one["score"])}).encode()}, file_of(one), **files)
        for one in (base, head)
    ]
    return compare(read_policy(text), sides[0], sides[1])


def test_text_labels_and_labels_of_another_file_give_the_same_as_true_and_false() -> None:
    whole = binary(BINARY, churn(2.0), churn(0.5))
    said = np.where(NUMBER == 0, "yes", "no")
    order = np.random.default_rng(3).permutation(ROWS)
    labels = file_of({"id": np.arange(ROWS)[order], "churn": (NUMBER == 0)[order]})
    more = file_of({"id": np.arange(ROWS + 5), "churn": np.append(NUMBER == 0, [True] * 5)})
    apart = BINARY.replace("label:", "labels: data/labels.parquet, label:")

    found = [
        binary(
            BINARY.replace("label: churn", "label: churn, positive: yes"),
            churn(2.0, churn=said),
            churn(0.5, churn=said),
        ),
        *(binary(apart, churn(2.0, churn=None), churn(0.5, churn=None), labels=one) for one in (labels, more)),
    ]

    assert whole.metrics[0].judgement == "better"
    assert all((one.metrics, one.comparison.refused) == (whole.metrics, "") for one in found)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (None, "there is no data/labels.parquet of base, which has the labels"),
        (
            {"id": np.arange(ROWS - 3), "churn": NUMBER[:-3] == 0},
            "3 of 600 rows of p.parquet of base have no label in data/",
        ),
        (
            {"id": np.append(np.arange(ROWS), 7), "churn": np.append(NUMBER, 0) == 0},
            "the key of 1 row of data/labels.parquet",
        ),
        (
            {"id": [f"n{i}" for i in range(ROWS)], "churn": NUMBER == 0},
            "'id' is int64 in p.parquet and string in data/",
        ),
        ({"id": np.arange(ROWS), "late": NUMBER == 0}, "data/labels.parquet of base has no column 'churn'"),
    ],
)
def test_labels_of_another_file_that_do_not_fit_are_refused(labels: dict[str, Any] | None, said: str) -> None:
    apart = BINARY.replace("label:", "labels: data/labels.parquet, label:")
    there = None if labels is None else file_of(labels)

    found = binary(apart, churn(2.0, churn=None), churn(0.5, churn=None), labels=there)

    assert said in found.comparison.refused


@pytest.mark.parametrize(
    ("positive", "churns", "said"),
    [
        (
            "",
            np.where(NUMBER == 0, "yes", "no"),
            "'churn' of p.parquet of head is text: say which of its values is the",
        ),
        (
            ", positive: ja",
            np.where(NUMBER == 0, "yes", "no"),
            "of head is 'ja', the positive class: it has 'no', 'yes'",
        ),
        (
            ", positive: cat",
            LABEL,
            "'churn' of p.parquet of head has 3 values ('owl', 'cat', 'dog'): a binary label has two",
        ),
        (", positive: yes", np.where(NUMBER == 0, "yes", ""), "'churn' of p.parquet of head is missing in"),
        ("", PRICE, "'churn' of p.parquet of head has values other than 0 and 1"),
    ],
    ids=["text", "unknown positive", "three values", "missing", "a regression"],
)
def test_labels_that_are_not_binary_are_refused_in_one_sentence(positive: str, churns: Any, said: str) -> None:
    base = churn(2.0, churn=np.where(NUMBER == 0, positive[12:], "no")) if positive else churn(2.0)
    text = BINARY.replace("label: churn", f"label: churn{positive}")

    refused = binary(text, base, churn(0.5, churn=churns)).comparison.refused

    assert sorted(said) == sorted(refused[: len(said)]) if "('owl'" in said else said in refused
    assert "\n" not in refused


# --- what is refused


def changed(columns: dict[str, Any], name: str, row: int, value: Any) -> dict[str, Any]:
    column = np.array(columns[name])
    column[row] = value
    return columns | {name: column}


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("policy", "head", "said"),
    [
        (
            MULTICLASS,
            changed(animals(1.0), "p_cat", 3, 0.9),
            "the probabilities of 1 of 600 rows of p.parquet of head do not sum to 1",
        ),
        (
            MULTICLASS,
            changed(changed(animals(1.0), "p_cat", 3, -0.1), "p_dog", 3, 1.05),
            "1 of 600 probabilities 'p_cat' of p.parquet of head are negative",
        ),
        (
            MULTICLASS,
            changed(animals(1.0), "p_cat", 3, NAN),
            "1 of 600 probabilities 'p_cat' of p.parquet of head are missing",
        ),
        (
            MULTICLASS,
            animals(1.0, p_emu=np.zeros(ROWS)),
            "head has probabilities of the class 'emu', which base does not know",
        ),
        (
            MULTICLASS,
            animals(1.0, p_owl=None),
            "'animal' of p.parquet of head has the class 'owl', and there is no column of its",
        ),
        (MULTICLASS, animals(1.0, p_owl=None, p_dog=None), "of head has 1 column whose name begins with 'p_'"),
        (
            MULTICLASS,
            animals(1.0, animal=NUMBER),
            "'animal' of p.parquet of head is a number and 'said' of p.parquet of head is text",
        ),
        (MULTICLASS, animals(1.0, animal=NUMBER, said=NUMBER), "'animal' of p.parquet of head has the class '"),
        (
            MULTICLASS,
            animals(1.0, animal=pa.array([None, *LABEL[1:]])),
            "'animal' of p.parquet of head is missing in 1 row",
        ),
        (MULTICLASS, animals(1.0, animal=np.roll(LABEL, 1)), "'animal' differs between base and head on"),
        (
            MULTICLASS,
            animals(1.0, animal=np.arange(ROWS).astype("datetime64[D]")),
            "a class is text, a number, or true or false",
        ),
        (MULTICLASS, animals(1.0, said=None), "p.parquet of head has no column 'said'"),
        (
            REGRESSION,
            changed(prices(1.0), "price", 3, INF),
            "1 of 600 targets 'price' of p.parquet of head are missing, NaN or infinite",
        ),
        (
            REGRESSION,
            changed(prices(1.0), "price", 3, NAN),
            "1 of 600 targets 'price' of p.parquet of head are missing, NaN or infinite",
        ),
        (
            REGRESSION,
            changed(prices(1.0), "predicted", 3, INF),
            "1 of 600 values 'predicted' of p.parquet of head are missing, NaN or infinite",
        ),
        (
            REGRESSION,
            changed(prices(1.0), "low", 3, 1e6),
            "1 of 600 intervals of p.parquet of head end below where they begin",
        ),
        (
            REGRESSION,
            prices(1.0, price=LABEL),
            "'price' of p.parquet of head is text, and a regression is about numbers",
        ),
        (
            REGRESSION,
            prices(1.0, price=NUMBER == 0),
            "'price' of p.parquet of head is true or false, and a regression is",
        ),
        (REGRESSION, prices(1.0, price=PRICE + 1), "'price' differs between base and head on 600 of 600 shared rows"),
        (OTHER, prices(1.0, id=None), "p.parquet of head has no column 'id'"),
    ],
)
def test_what_cannot_be_compared_soundly_is_refused_in_one_sentence(policy: str, head: Any, said: str) -> None:
    base = animals(1.0) if policy is MULTICLASS else prices(1.0)

    refused = judged(policy, base, head).comparison.refused

    assert said in refused
    assert "\n" not in refused


def test_labels_of_another_type_than_bases_are_named_as_such() -> None:
    text = MULTICLASS.replace("  probabilities: {prefix: p_},", "  ").replace("class: owl", "class: 2")
    text = "\n".join(line for line in text.splitlines() if "log_loss" not in line)
    words = np.array([f"{one}" for one in NUMBER])

    found = judged(
        MULTICLASS, animals(1.0, animal=NUMBER, said=NUMBER), animals(1.0, animal=words, said=words), text=text
    )

    assert found.comparison.refused == "'animal' is a number in base and text in head"


def test_a_class_that_only_head_predicts_counts_as_wrong() -> None:
    text = MULTICLASS.replace("  probabilities: {prefix: p_},", "  ")
    text = "\n".join(line for line in text.splitlines() if "log_loss" not in line)
    base, head = animals(0.3), animals(0.3)
    head["said"] = np.where(np.arange(ROWS) % 4 == 0, "emu", head["said"])

    found = judged(MULTICLASS, base, head, text=text)

    assert not found.comparison.refused
    assert not found.disagree
    assert {one.judgement for one in found.metrics} == {"worse"}
    assert any("emu" in note for note in found.warnings)


def test_a_target_of_one_value_leaves_r2_undefined_and_the_rest_judged() -> None:
    flat = {"price": np.full(ROWS, 100.0)}

    found = {one.name: one for one in judged(REGRESSION, prices(1.0, **flat), prices(0.2, **flat)).metrics}

    assert "every row has the same target" in found["r2"].note
    assert found["rmse"].judgement == "better"


@pytest.mark.parametrize(
    ("loss", "said"), [(None, "no column 'loss'"), (np.append(np.ones(ROWS - 1), np.nan), "1 of 600 values 'loss'")]
)
def test_a_loss_that_cannot_be_had_leaves_its_metric_alone_unjudged(loss: Any, said: str) -> None:
    base, head = (Side({"m.json": metrics_of(prices(noise), REGRESSION)}, file_of(prices(noise, **other)))
                  for noise, other in ((1.0, {}), (0.2, {"loss": loss})))  # fmt: skip
    found = {one.name: one for one in compare(read_policy(REGRESSION), base, head).metrics}

    assert said in found["loss"].note
    assert (found["loss"].low, found["rmse"].judgement) == (None, "better")


def test_files_of_csv_give_what_parquet_gives() -> None:
    for policy, columns in ((MULTICLASS, animals), (REGRESSION, prices)):
        sides = []
        for noise in (2.0, 0.2):
            told = io.BytesIO()
            pc.write_csv(pa.table(columns(noise)), told)
            sides.append(Side({"m.json": metrics_of(columns(noise), policy)}, told.getvalue()))
        found = compare(read_policy(policy.replace("p.parquet", "p.csv")), sides[0], sides[1])

        assert found.metrics == judged(policy, columns(2.0), columns(0.2)).metrics


@pytest.mark.parametrize(
    ("base", "head"),
    [
        (BINARY, REGRESSION),
        (REGRESSION, MULTICLASS),
        (MULTICLASS, REGRESSION),
        (OTHER, MULTICLASS),
        (REGRESSION, BINARY),
    ],
)
def test_metrics_of_another_kind_that_head_adds_stay_without_an_interval(base: str, head: str) -> None:
    """A pull request that turns a model into one of another kind is judged by base's policy, and does not crash."""
    judging, proposed = read_policy(base), read_policy(head)
    known = {metric.name for metric in judging.metrics}
    more = tuple(one for one in proposed.metrics if one.name not in known and one.column is None)
    columns = {BINARY: churn(1.0), MULTICLASS: animals(1.0)}.get(base, prices(1.0))
    told = json.dumps({metric.key: 0.5 for metric in (*judging.metrics, *more)}).encode()
    sides = [Side({"m.json": told}, file_of(columns)) for _ in range(2)]

    found = compare(replace(judging, metrics=(*judging.metrics, *more)), *sides)

    added = [one for one in found.metrics if one.name not in known]
    assert added
    assert all("is no statistic of the kind" in one.note and one.low is None for one in added)
