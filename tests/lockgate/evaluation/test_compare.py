import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.lockgate import modelled
from tests.lockgate.modelled import predictions

from lockgate.evaluation.compare import Judged, Side, compare
from lockgate.evaluation.statistics import Definition, Undefined, value
from lockgate.policy import read_policy
from lockgate.result import MetricChange

ROWS = 400
FLIGHTS = np.arange(ROWS)
LATE = FLIGHTS % 3 == 0


def metrics(**other: Any) -> bytes:
    return json.dumps({"roc_auc": {"model": 0.7}, "log_loss": {"model": 0.6}, "rows": ROWS, **other}).encode()


def side(data: bytes | None = None, text: bytes | None = None, **columns: Any) -> Side:
    rows = columns.pop("rows", ROWS)
    return Side({"reports/metrics.json": text if text is not None else metrics()}, data or predictions(rows, **columns))


def scored(data: bytes | None = None, **columns: Any) -> Side:
    """A side whose metrics file says what its own predictions give."""
    data = data or predictions(columns.pop("rows", ROWS), **columns)
    table = pq.read_table(pa.BufferReader(data))
    label, scores = table["late"].to_numpy(), table["probability"].to_numpy()
    found = {}
    for name in ("roc_auc", "log_loss"):
        try:
            found[name] = {"model": value(name, label, scores)}
        except Undefined:
            found[name] = {"model": 0.5}
    return side(data=data, text=metrics(**found))


def judged(base: Side | None, head: Side, text: str = modelled.POLICY, **options: Any) -> Judged:
    return compare(read_policy(text), base, head, **options)


def one(found: Judged, name: str = "roc_auc") -> MetricChange:
    return next(change for change in found.metrics if change.name == name)


def score(seed: int = 0, noise: float = 1.0, rows: int = ROWS) -> np.ndarray:
    """Scores for the labels of :func:`modelled.predictions`, with other noise than its own."""
    truth = np.random.default_rng(7).normal(size=rows)
    return 1 / (1 + np.exp(-(truth + np.random.default_rng(seed).normal(size=rows) * noise)))


# --- metrics


def test_change_and_interval_come_from_the_rows_that_both_have_in_whatever_order() -> None:
    better = scored(probability=score(noise=0.2))
    table = pq.read_table(pa.BufferReader(better.predictions))
    sink = pa.BufferOutputStream()
    pq.write_table(table.take(np.random.default_rng(1).permutation(ROWS)), sink)
    shuffled = scored(data=sink.getvalue().to_pybytes())

    base = scored(probability=score(noise=4.0))

    found = judged(base, better)

    auc = one(found)
    assert (auc.judgement, auc.method) == ("better", "DeLong")
    assert 0 < (auc.low or 0) < (auc.change or 0) < (auc.high or 0)
    assert judged(base, shuffled).metrics == found.metrics
    assert judged(base, shuffled).slices == found.slices


def test_a_metric_without_a_statistic_keeps_its_bare_change() -> None:
    found = one(judged(side(), side(text=metrics(rows=500))), "rows")

    assert (found.base, found.head, found.change, found.low, found.judgement) == (400, 500, 100, None, "unjudged")


def test_a_metrics_file_that_contradicts_its_predictions_leaves_the_metric_unjudged_on_either_side() -> None:
    data = predictions(probability=score())
    table = pq.read_table(pa.BufferReader(data))
    auc = value("roc_auc", table["late"].to_numpy(), table["probability"].to_numpy())
    honest = side(data=data, text=metrics(roc_auc={"model": auc + 0.0009}))
    forged = side(data=data, text=metrics(roc_auc={"model": auc + 0.05}))

    pairs = ((honest, forged), (honest, honest), (forged, forged), (forged, honest))
    found = [judged(*pair) for pair in pairs]

    assert [one(each).judgement for each in found] == ["unjudged", "noise", "unjudged", "unjudged"]
    assert one(found[0]).low is None
    assert f"head's reports/metrics.json says {auc + 0.05:.4f}, its predictions give {auc:.4f}" in one(found[0]).note
    assert any(warning.startswith("roc_auc is not judged") for warning in found[3].warnings)
    assert not any(warning.startswith("roc_auc") for warning in found[1].warnings)
    assert [any(each.startswith("roc_auc") for each in pair.of_base) for pair in found] == [False, False, True, True]


def test_a_metric_defined_otherwise_is_judged_once_the_policy_says_how() -> None:
    def accuracy(noise: float) -> Side:
        data = predictions(probability=score(noise=noise))
        table = pq.read_table(pa.BufferReader(data))
        right = (table["probability"].to_numpy() >= 0.2) == table["late"].to_numpy()
        return side(data=data, text=metrics(accuracy=float(right.mean())))

    declared = modelled.POLICY.replace(
        "  rows: {", "  accuracy: {file: reports/metrics.json, key: accuracy, better: higher}\n  rows: {"
    )
    base, head = accuracy(4.0), accuracy(0.3)

    assert one(judged(base, head, declared), "accuracy").judgement == "unjudged"
    at = declared.replace("key: accuracy, better: higher", "key: accuracy, better: higher, threshold: 0.2")
    assert one(judged(base, head, at), "accuracy").judgement == "better"


WEIGHTED = modelled.POLICY.replace(
    "key: roc_auc.model, better: higher", "key: roc_auc.model, better: higher, weights: fare"
)


def weighted(noise: float, fare: Any, told: str = "weighted") -> Side:
    """A side whose metrics file has the AUC in which each row counts as its fare, or the plain one."""
    data = predictions(probability=score(noise=noise), fare=fare)
    table = pq.read_table(pa.BufferReader(data))
    weights = np.asarray(table["fare"].to_numpy(), dtype=float) if told == "weighted" else None
    auc = value("roc_auc", table["late"].to_numpy(), table["probability"].to_numpy(), Definition(weights=weights))
    return side(data=data, text=metrics(roc_auc={"model": auc}))


FARE = np.random.default_rng(3).integers(0, 500, ROWS)


def test_a_weighted_metric_is_judged_by_its_weights_and_not_without_them() -> None:
    base, head = weighted(4.0, FARE), weighted(0.3, FARE)

    assert one(judged(base, head, WEIGHTED)).judgement == "better"
    assert one(judged(base, head)).judgement == "unjudged"
    assert one(judged(base, weighted(0.3, FARE, "plain"), WEIGHTED)).judgement == "unjudged"
    slices = [one for one in judged(base, head, WEIGHTED).slices if one.metric == "roc_auc"]
    assert any(one.low is not None for one in slices)


@pytest.mark.parametrize(
    ("fare", "said"),
    [
        (np.where(FARE[0] == FARE, FARE + 1, FARE), "the weights 'fare' differ between base and head on"),
        (-FARE, "weights 'fare' of reports/predictions.parquet of head are missing, negative or infinite"),
        (np.where(FARE[0] == FARE, np.nan, FARE), "are missing, negative or infinite"),
        (np.full(ROWS, "dear"), "'fare' of reports/predictions.parquet of head holds values that are not numbers"),
    ],
)
def test_weights_that_say_nothing_leave_the_metric_unjudged(fare: Any, said: str) -> None:
    head = weighted(0.3, fare, "weighted" if "differ" in said else "plain")

    found = one(judged(weighted(4.0, FARE), head, WEIGHTED))

    assert (found.judgement, found.low) == ("unjudged", None)
    assert said in found.note


def test_a_metrics_file_that_contradicts_its_predictions_is_told_on_a_first_commit_too() -> None:
    honest, forged = scored(probability=score()), side(data=predictions(probability=score()))

    assert (judged(None, honest).disagree, judged(None, honest).warnings) == ({}, ())
    assert judged(None, forged).disagree.keys() == {"roc_auc", "log_loss"}
    assert judged(honest, forged).disagree.keys() == {"roc_auc", "log_loss"}
    assert judged(forged, honest).disagree == {}
    assert (
        judged(None, forged).warnings[0].startswith("roc_auc is not judged, because head's reports/metrics.json says")
    )


DAYS = [f"2013-10-{day:02}" for day in range(1, 29)]
CLUSTERED = modelled.POLICY.replace("  slice_metric: roc_auc\n", "  slice_metric: roc_auc\n  cluster: [date]\n")


def by_day(noise: float, seed: int) -> Side:
    """A model whose error is the same for all flights of a day."""
    day = np.arange(28 * 40) // 40
    truth = np.random.default_rng(7).normal(size=len(day))
    error = noise * np.random.default_rng(seed).permutation(np.linspace(-2, 2, 28))[day]
    late = np.random.default_rng(8).random(len(day)) < 1 / (1 + np.exp(-truth))
    return scored(rows=len(day), date=np.array(DAYS)[day], late=late, probability=1 / (1 + np.exp(-(truth + error))))


def test_rows_of_a_declared_cluster_widen_the_interval_of_metrics_and_slices() -> None:
    base, head = by_day(1.0, 1), by_day(1.0, 2)

    alone, together = judged(base, head), judged(base, head, CLUSTERED)

    assert together.comparison.clusters == 28
    assert together.comparison.cluster == "date"
    widths = [(one(each, "log_loss").high or 0) - (one(each, "log_loss").low or 0) for each in (alone, together)]
    assert widths[1] > 1.5 * widths[0]
    slices = [each.slices[0].high or 0 for each in (alone, together)]
    assert slices[0] != slices[1]


def test_an_undeclared_cluster_is_named_with_what_it_would_do() -> None:
    found = judged(by_day(1.0, 1), by_day(1.0, 2))

    (warning,) = [each for each in found.warnings if "go together" in each]
    assert warning.startswith("Rows of one date go together: the interval of ")
    assert "cluster: [date]" in warning
    assert warning in found.of_base
    assert not [each for each in judged(by_day(1.0, 1), by_day(1.0, 2), CLUSTERED).warnings if "go together" in each]


def test_weeks_of_a_date_column_are_clusters_and_too_few_of_them_have_no_interval() -> None:
    weekly = CLUSTERED.replace("cluster: [date]\n", "cluster: [date]\n  period: week\n")

    found = judged(by_day(1.0, 1), by_day(1.0, 2), weekly)

    assert (found.comparison.clusters, found.comparison.cluster) == (5, "date by week")
    assert one(found).note == "no interval: 5 clusters of rows: too few for an interval (it takes 10)"
    refused = judged(scored(date=["soon"] * ROWS), scored(date=["soon"] * ROWS), weekly).comparison.refused
    assert refused == "'date' holds values that are not dates, so there is no week of it"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (metrics(roc_auc={"model": float("nan")}), "'roc_auc.model' in reports/metrics.json is NaN"),
        (metrics(roc_auc={"model": float("inf")}), "'roc_auc.model' in reports/metrics.json is infinite"),
        (metrics(roc_auc={"model": 10**400}), "'roc_auc.model' in reports/metrics.json is infinite"),
        (metrics(roc_auc={"model": "0.7"}), "is text, not a number"),
        (metrics(roc_auc={"model": True}), "is true or false, not a number"),
        (metrics(roc_auc={"model": {"deep": 1}}), "is a section, not a number"),
        (b'{"roc_auc": {"model": 0.7}, "roc_auc": {"model": 0.9}}', "duplicate key 'roc_auc'"),
        (b'{"roc_auc": {"model": 0.7', "cannot be read: Expecting"),
        (b"\xff\xfe", "cannot be read: byte 0 is not UTF-8"),
        (b"[" * 100_000, "cannot be read: it is nested too deeply"),
        (b"<<<<<<< HEAD\n", "cannot be read: Expecting value"),
    ],
)
def test_a_value_that_is_no_finite_number_is_told_and_never_passed_on(text: bytes, said: str) -> None:
    found = one(judged(side(), side(text=text)))

    assert (found.base, found.head, found.change, found.judgement) == (0.7, None, None, "unjudged")
    assert said in found.note


def test_a_metric_that_vanished_is_removed_and_one_that_appears_is_new() -> None:
    without = json.dumps({"log_loss": {"model": 0.6}, "rows": ROWS}).encode()

    gone = one(judged(side(), side(text=without)))
    new = one(judged(side(text=without), side()))

    assert (gone.judgement, gone.base, gone.head) == ("removed", 0.7, None)
    assert gone.note == "head: reports/metrics.json has no 'roc_auc.model'"
    assert (new.judgement, new.base, new.head, new.change) == ("new", None, 0.7, None)


def test_a_base_without_a_metrics_file_makes_every_metric_new() -> None:
    found = judged(Side({"reports/metrics.json": None}, absent=True), side())

    assert {change.judgement for change in found.metrics} == {"new"}
    assert found.notes == ("No intervals: base has no predictions.",)
    assert found.comparison.refused == ""


def test_a_corrupt_base_is_not_called_new() -> None:
    found = one(judged(side(text=b"{"), side()))

    assert (found.judgement, found.head) == ("unjudged", 0.7)
    assert found.note.startswith("base: reports/metrics.json cannot be read")


def test_a_first_commit_has_only_new_metrics() -> None:
    found = judged(None, side())

    assert {change.judgement for change in found.metrics} == {"new"}
    assert found.slices == ()


def test_without_intervals_changes_are_bare_and_the_reason_is_given() -> None:
    found = judged(side(), side(text=metrics(roc_auc={"model": 0.71})), intervals=False)

    assert one(found).change == 0.01
    assert one(found).judgement == "unjudged"
    assert "--no-intervals" in found.comparison.refused


def test_one_class_leaves_the_auc_without_an_interval_and_the_log_loss_with_one() -> None:
    none_late = np.zeros(ROWS, dtype=bool)

    found = judged(scored(late=none_late), scored(late=none_late, probability=score()))

    assert one(found).note == "no interval: 400 rows, all of one class: the metric is not defined"
    assert one(found).judgement == "unjudged"
    assert one(found, "log_loss").judgement in ("better", "worse", "noise")


def test_scores_that_are_no_probabilities_have_an_auc_only() -> None:
    margins = np.log(score() / (1 - score()))

    found = judged(scored(probability=margins), scored(probability=margins + 1))

    assert one(found).judgement == "noise"
    assert one(found, "log_loss").note == "no interval: the scores are not probabilities: some lie outside 0 to 1"


# --- which rows


def test_rows_that_only_one_side_has_are_left_out_and_counted() -> None:
    allowed = modelled.POLICY.replace("  slice_metric: roc_auc\n", "  slice_metric: roc_auc\n  missing: 0.25\n")
    found = judged(scored(late=LATE, flight=FLIGHTS), scored(late=LATE[:300], flight=FLIGHTS[:300], rows=300), allowed)

    assert (found.comparison.rows_base, found.comparison.rows_head, found.comparison.rows_shared) == (400, 300, 300)
    assert found.comparison.incomplete == ""
    assert found.warnings[0] == (
        "The test rows differ: base has 400, head 300; intervals and slices rest on the 300 they share."
    )
    assert found.warnings[0] not in found.of_base
    told = one(found)
    assert told.shared_base is not None
    assert told.shared_base != told.base
    assert told.shared_head == pytest.approx(told.head, abs=1e-5)  # head has no other rows
    assert told.change == pytest.approx((told.shared_head or 0) - told.shared_base, abs=1e-6)
    assert one(judged(scored(late=LATE), scored(late=LATE))).shared_base is None


def test_a_head_that_lacks_rows_of_base_is_said_to_and_figures_of_other_rows_are_not_compared() -> None:
    found = judged(
        scored(late=LATE, flight=FLIGHTS), side(late=LATE[:300], flight=FLIGHTS[:300], rows=300, text=metrics(rows=300))
    )

    assert found.comparison.incomplete == "head lacks 100 of the 400 test rows of base"
    assert found.warnings[0].startswith("Head lacks 100 of the 400 test rows of base, so the two are not compared.")
    assert (one(found).judgement, one(found).change) == ("unjudged", None)
    assert found.slices == ()


@pytest.mark.parametrize("kind", ["int32", "string", "dictionary"])
def test_keys_are_compared_by_what_they_say_not_by_how_they_are_stored(kind: str) -> None:
    carriers = pa.array(["1", "2"] * 200)
    stored = {
        "int32": pa.array([1, 2] * 200, pa.int32()),
        "string": carriers,
        "dictionary": carriers.dictionary_encode(),
    }
    plain = pa.array([1, 2] * 200, pa.int64()) if kind == "int32" else carriers
    text = modelled.POLICY.replace("key: [date, flight]", "key: [date, flight, extra]")

    found = judged(side(extra=plain), side(extra=stored[kind]), text)

    assert found.comparison.rows_shared == ROWS


def test_many_key_columns_do_not_run_together() -> None:
    wide = {f"k{i}": np.random.default_rng(i).integers(0, 10**9, ROWS) for i in range(12)}
    text = modelled.POLICY.replace("key: [date, flight]", f"key: [{', '.join(wide)}]")

    assert judged(side(**wide), side(**wide), text).comparison.rows_shared == ROWS


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"flight": np.where(FLIGHTS == 9, 8, FLIGHTS)},
            "the key of 1 row of reports/predictions.parquet of head is duplicated",
        ),
        ({"flight": np.where(FLIGHTS == 9, 8, FLIGHTS)}, "for example date 2013-10-01, flight 8"),
        ({"flight": FLIGHTS + 1000}, "share no row: no value of date, flight occurs in both"),
        (
            {"flight": pa.array([None, *range(1, ROWS)])},
            "'flight' of reports/predictions.parquet of head, part of the key, is empty in 1 row",
        ),
        ({"flight": [f"n{i}" for i in range(ROWS)]}, "'flight' is int64 in base and string in head"),
        ({"late": 1 - FLIGHTS % 2}, "'late' differs between base and head on"),
        ({"late": FLIGHTS % 3}, "'late' of reports/predictions.parquet of head has values other than 0 and 1"),
        ({"late": pa.array([None, *[True] * (ROWS - 1)])}, "has values other than 0 and 1"),
        ({"late": ["yes"] * ROWS}, "'late' of reports/predictions.parquet of head is text"),
        (
            {"probability": [float("nan")] + [0.5] * (ROWS - 1)},
            "1 of 400 scores of reports/predictions.parquet of head are",
        ),
        ({"probability": [float("inf")] + [0.5] * (ROWS - 1)}, "are missing, NaN or infinite"),
        ({"probability": pa.array([None] + [0.5] * (ROWS - 1))}, "1 of 400 scores"),
        ({"probability": None}, "reports/predictions.parquet of head has no column 'probability'"),
        ({"flight": None}, "reports/predictions.parquet of head has no column 'flight'"),
        ({"rows": 0}, "reports/predictions.parquet of head has no rows"),
    ],
)
def test_rows_that_cannot_be_matched_soundly_are_refused_with_the_reason(columns: dict[str, Any], said: str) -> None:
    found = judged(side(), side(**columns))

    assert said in found.comparison.refused
    assert one(found).judgement == "unjudged"
    unread = found.comparison.rows_head is None  # else both have rows, and not the same: they are not compared
    assert one(found).change == (0.0 if unread else None)
    assert one(found, "rows").change == 0
    assert found.slices == ()


@pytest.mark.parametrize("data", [b"PAR1 not really", b"\x00" * 50, predictions()[:-20]])
def test_a_file_that_is_no_parquet_is_refused(data: bytes) -> None:
    found = judged(side(), side(data=data))

    assert found.comparison.refused.startswith("reports/predictions.parquet of head cannot be read: ")


def test_predictions_that_head_lost_are_refused_with_the_reason() -> None:
    lost = Side({"reports/metrics.json": metrics()}, None, "'x.parquet' is neither in the cache nor in the remote")

    assert judged(side(), lost).comparison.refused == "'x.parquet' is neither in the cache nor in the remote"


def test_predictions_may_be_csv() -> None:
    def written(data: bytes) -> bytes:
        from pyarrow import csv

        sink = pa.BufferOutputStream()
        csv.write_csv(pq.read_table(pa.BufferReader(data)), sink)
        return sink.getvalue().to_pybytes()

    text = modelled.POLICY.replace("predictions.parquet", "predictions.csv")
    honest = [scored(), scored(probability=score())]
    found = judged(*(Side(one.metrics, written(bytes(one.predictions or b""))) for one in honest), text)  # type: ignore[arg-type]

    assert found.comparison.rows_shared == ROWS
    assert one(found).low is not None


# --- slices


def test_a_limit_on_slices_is_asked_of_a_first_commit_and_its_figures_are_those_beside_a_base() -> None:
    gate = "gates:\n  - {kind: min, metric: roc_auc, value: 0.5, slices: [carrier], rows: 10}\n"
    text = modelled.POLICY.partition("gates:")[0] + gate
    head = scored(probability=score(3))

    alone, beside = judged(None, head, text), judged(scored(), head, text)

    assert alone.slices == ()
    figures = {(each.value, each.rows, each.head) for each in beside.slices if each.column == "carrier"}
    assert len(figures) > 1
    assert {(each.value, each.rows, each.head) for each in alone.slices_of_head} == figures


def test_the_slice_that_is_hurt_comes_first_though_the_average_improves() -> None:
    rows = 2000
    hurt = np.where(np.arange(rows) % 2 == 1, score(5, 9.0, rows), score(6, 0.1, rows))
    base = side(rows=rows, probability=score(4, 1.5, rows))

    slices = judged(base, side(rows=rows, probability=hurt)).slices

    assert [(one.column, one.value, one.judgement) for one in slices] == [
        ("carrier", "HA", "worse"),
        ("month", "10", slices[1].judgement),
        ("carrier", "AA", "better"),
    ]
    assert sum(one.rows for one in slices if one.column == "carrier") == rows
    assert all(one.adjusted_p is not None for one in slices)


def test_many_slices_of_equal_models_give_hardly_a_false_alarm() -> None:
    rows, alarms = 4000, 0
    groups = np.arange(rows) % 20
    for seed in range(20):
        base, head = score(seed, 1.0, rows), score(seed + 100, 1.0, rows)
        slices = judged(
            side(rows=rows, carrier=groups, probability=base), side(rows=rows, carrier=groups, probability=head)
        ).slices
        alarms += any(one.judgement in ("better", "worse") for one in slices)

    assert alarms <= 4  # uncorrected, 21 looks would raise a false alarm two times in three


def test_small_slices_and_slices_of_one_class_are_shown_without_judgement() -> None:
    carrier = np.where(FLIGHTS < 20, "small", "large")
    month = np.where(pq.read_table(pa.BufferReader(predictions()))["late"].to_numpy(), 1, 2)

    found = judged(side(carrier=carrier, month=month), side(carrier=carrier, month=month, probability=score()))

    shown = {(one.column, one.value): one for one in found.slices}
    assert shown["carrier", "small"].note == "20 rows: too few for an interval (it takes 30)"
    assert shown["carrier", "small"].change is not None
    assert shown["month", "1"].note.endswith("all of one class: the metric is not defined")
    assert shown["month", "1"].change is None
    assert {one.judgement for one in found.slices if one.note} == {"unjudged"}
    assert [one.judgement for one in found.slices][-3:] == ["unjudged"] * 3


def test_a_column_without_values_to_slice_by_is_told_not_cut() -> None:
    found = judged(side(rows=1500, carrier=np.arange(1500), month=None), side(rows=1500))

    assert found.slices == ()
    assert "no slices by carrier: it has 1,500 values, more than 1,000" in found.notes
    assert "no slices by month: reports/predictions.parquet of base has no column 'month'" in found.notes


def test_a_missing_value_is_a_slice_of_its_own() -> None:
    carrier = pa.array([None, "AA"] * 200)

    found = judged(side(carrier=carrier), side(probability=score()))

    assert {one.value for one in found.slices if one.column == "carrier"} == {"(missing)", "AA"}


# --- size

FIVE_MILLION = """
import resource, sys
from pathlib import Path
from lockgate.evaluation.compare import Side, compare
from tests.lockgate import modelled
metrics = {"reports/metrics.json": b'{"roc_auc": {"model": 0.5}, "log_loss": {"model": 0.6}, "rows": 5}'}
sides = [Side(metrics, Path(path)) for path in sys.argv[1:]]
found = compare(modelled.policy(), *sides)
print(found.comparison.rows_shared, len(found.slices), found.metrics[0].low is not None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_five_million_rows_stay_under_two_gigabytes(tmp_path: Path) -> None:
    rows = 5_000_000
    generator = np.random.default_rng(1)
    days = pa.array([f"2013-{10 + day // 28:02}-{1 + day % 28:02}" for day in range(84)])
    late = pa.array(generator.random(rows) < 0.2)
    columns = {
        "date": days.take(pa.array(np.arange(rows) % 84)),
        "flight": pa.array(np.arange(rows) // 84),
        "carrier": pa.array(["AA", "B6", "HA"]).take(pa.array(np.arange(rows) % 3)),
        "month": pa.array(10 + np.arange(rows) % 3),
        "late": late,
    }
    for name in ("base", "head"):
        table = pa.table({**columns, "probability": generator.random(rows)})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    del columns, table

    done = subprocess.run(
        [sys.executable, "-c", FIVE_MILLION, str(tmp_path / "base.parquet"), str(tmp_path / "head.parquet")],
        env={"PYTHONPATH": "src:.", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )

    found, megabytes = done.stdout.splitlines()
    assert found == "5000000 6 True"
    assert int(megabytes) < 2000
