"""What a release promises: made from tables of rows, read back, asked of live columns."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lockgate.evaluation import statistics
from lockgate.evaluation.predictions import File
from lockgate.monitoring.reference import Reference, ReferenceRefused, read_reference, to_bytes
from lockgate.monitoring.reference_rows import LARGEST, PRIOR, NoReference, make_reference, read_requests
from lockgate.policy import Policy, RequestPart, read_policy
from lockgate.serving.contract import Column, RequestSchema

POLICY = """\
model: delay
metrics:
  roc_auc: {file: m.json, key: a, better: higher, statistic: roc_auc}
  log_loss: {file: m.json, key: b, better: lower, statistic: log_loss}
  speed: {file: m.json, key: c, better: higher}
predictions:
  {file: p.parquet, key: [day, n], label: late, score: p, cluster: [day], slices: [carrier], slice_metric: roc_auc}
serving: {code: src/m, entry: "m:load", request: "m:schema", samples: r.parquet}
"""
SCHEMA = RequestSchema(
    (
        Column("carrier", "string"),
        Column("when", "timestamp"),
        Column("wind", "number", optional=True),
        Column("seats", "integer"),
        Column("rain", "boolean", optional=True),
        Column("absent", "string", optional=True),
    ),
    {},
)
DAYS, EACH = 40, 25
NEW_YEAR = datetime.fromisoformat("2026-01-01")


def rows(seed: int = 0) -> pa.Table:
    """Return predictions and requests in one table: days that are late together."""
    luck = np.random.default_rng(seed)
    count = DAYS * EACH
    day = np.repeat(np.arange(DAYS), EACH)
    bad = np.repeat(luck.normal(size=DAYS), EACH)
    p = 1 / (1 + np.exp(-(bad + luck.normal(size=count))))
    wind = luck.gamma(2, 5, size=count)
    return pa.table(
        {
            "day": [f"2026-01-{1 + int(one):02d}" if one < 31 else f"2026-02-{int(one) - 30:02d}" for one in day],
            "n": np.arange(count),
            "late": (luck.random(count) < p).astype(np.int8),
            "p": p,
            "carrier": np.array(["AA", "B6", "UA"])[luck.integers(0, 3, count)],
            "when": [NEW_YEAR + timedelta(hours=int(hour)) for hour in luck.integers(6, 22, count)],
            "wind": np.where(wind < 2, np.nan, wind),
            "seats": pa.array(luck.integers(1, 5, count), pa.int16()),
            "rain": [None if one < 0.1 else bool(one < 0.3) for one in luck.random(count)],
        }
    )


def files(folder: Path, table: pa.Table, requests: pa.Table | None = None) -> tuple[File, File]:
    pq.write_table(table, folder / "p.parquet")
    pq.write_table(table if requests is None else requests, folder / "r.parquet")
    return File("it", "p.parquet", folder / "p.parquet"), File("it", "r.parquet", folder / "r.parquet")


def made(folder: Path, policy: Policy, requests: pa.Table | None = None) -> Reference:
    predictions, table = files(folder, rows(), requests)
    return make_reference(policy, "delay", "v1.0.0", predictions, read_requests(table, SCHEMA))


BASELINE = POLICY + "reference: {baseline: [carrier, {hour: when}]}\n"


def test_a_reference_counts_every_column_and_reads_back_byte_for_byte(tmp_path: Path) -> None:
    shuffled = rows().take(np.random.default_rng(1).permutation(DAYS * EACH))
    found = made(tmp_path, read_policy(BASELINE), shuffled)
    data = to_bytes(found)
    assert read_reference(data) == found
    assert to_bytes(read_reference(data) or found) == data == to_bytes(made(tmp_path, read_policy(BASELINE)))
    assert len(data) < LARGEST
    assert (found.rows, found.positives) == (1000, int(np.sum(rows()["late"])))
    table = rows()
    for name in ("carrier", "when", "wind", "seats", "rain"):
        column = found.column(name)
        assert column is not None
        assert sum(column.counts) + column.missing == column.rows == 1000
        counts, missing = column.count(read_requests(files(tmp_path, table)[1], SCHEMA).table[name])
        assert (tuple(counts.tolist()), missing) == (column.counts, column.missing)
    wind, carrier, seats = (found.column(name) for name in ("wind", "carrier", "seats"))
    assert wind is not None
    assert carrier is not None
    assert seats is not None
    assert wind.missing == int(np.isnan(table["wind"].to_numpy()).sum()) > 0
    assert carrier.values == ("AA", "B6", "UA")
    assert seats.edges == (2.0, 3.0, 4.0)
    assert carrier.place(pa.array(["UA", "ZZ", None])).tolist() == [2, 3, -1]
    assert wind.place(pa.array([-1.0, 1e9, None])).tolist() == [0, len(wind.counts) - 1, -1]
    assert found.column("absent") is None
    assert any("absent" in note for note in found.notes)


def test_figures_are_those_of_the_statistics_with_intervals_that_respect_clusters(tmp_path: Path) -> None:
    found, table = made(tmp_path, read_policy(POLICY)), rows()
    label, score = table["late"].to_numpy().astype(bool), table["p"].to_numpy()
    alone = make_reference(
        read_policy(POLICY.replace("cluster: [day], ", "")), "delay", "v1.0.0", files(tmp_path, table)[0], None
    )
    for name in ("roc_auc", "log_loss"):
        whole, rowwise = found.metric(name), alone.metric(name)
        assert whole is not None
        assert rowwise is not None
        assert whole.figure == statistics.reported(statistics.value(name, label, score))
        assert (whole.low or 1) < (rowwise.low or 0) < (whole.figure or 0) < (whole.high or 0)
        carrier = np.array(table["carrier"].to_pylist()) == "AA"
        sliced = found.metric(name, "carrier", "AA")
        assert sliced is not None
        assert sliced.figure == statistics.reported(statistics.value(name, label[carrier], score[carrier]))
    assert found.metric("speed") is None  # nothing says how it would be computed
    clusters = found.clusters
    assert (clusters.number, clusters.names[0], sum(clusters.rows)) == (DAYS, "2026-01-01", 1000)
    assert sum(clusters.labels) == found.positives
    ranks = clusters.ranks
    assert ranks is not None
    assert ranks.pairs[0] == int(label[:EACH].sum() * (~label[:EACH]).sum())
    first = statistics.value("roc_auc", label[:EACH], score[:EACH])
    assert ranks.model[0] / ranks.pairs[0] == pytest.approx(first, abs=0.01)
    assert ranks.baseline == tuple(one / 2 for one in ranks.pairs)
    assert sum(clusters.slice_ranks["carrier", name].pairs[0] for name in ("AA", "B6", "UA")) <= ranks.pairs[0]
    log_loss = found.metric("log_loss")
    assert log_loss is not None
    assert sum(clusters.losses["log_loss"]) / 1000 == pytest.approx(log_loss.figure, rel=1e-4)
    assert sum(one.rows for one in found.calibration) == 1000


def test_the_baseline_is_the_share_of_its_cell_drawn_towards_all(tmp_path: Path) -> None:
    found, table = made(tmp_path, read_policy(BASELINE)), rows()
    assert found.baseline.columns == (RequestPart("carrier"), RequestPart("when", "hour"))
    carrier = np.array(table["carrier"].to_pylist())
    hour = np.array([one.hour for one in table["when"].to_pylist()])
    label = table["late"].to_numpy()
    cell = (carrier == "UA") & (hour == 7)
    expected = (label[cell].sum() + PRIOR * label.mean()) / (cell.sum() + PRIOR)
    asked = pa.table(
        {
            "carrier": ["UA", "ZZ"],
            "when": [datetime.fromisoformat("2030-05-05T07:59:00"), datetime.fromisoformat("2030-05-05T07:00:00")],
        }
    )
    assert found.baseline.forecast(asked) == pytest.approx([expected, label.mean()], rel=1e-5)
    assert found.baseline.forecast(asked.drop(["when"])) == pytest.approx([label.mean()] * 2, rel=1e-5)
    forecast = found.baseline.forecast(table)
    losses = -np.log(np.where(label == 1, forecast, 1 - forecast))
    assert sum(found.clusters.baseline_losses["log_loss"]) == pytest.approx(losses.sum(), rel=1e-4)
    overall = made(tmp_path, read_policy(POLICY)).baseline
    assert overall.forecast(asked) == pytest.approx([label.mean()] * 2, rel=1e-5)


def test_requests_that_cannot_be_joined_are_described_by_themselves_and_carry_no_baseline(tmp_path: Path) -> None:
    fewer = rows().slice(0, 900).drop(["day"])
    found = made(tmp_path, read_policy(POLICY), fewer)
    carrier = found.column("carrier")
    assert carrier is not None
    assert carrier.rows == 900
    assert "row by row" in found.notes[0]
    with pytest.raises(NoReference):
        made(tmp_path, read_policy(BASELINE), fewer)
    learnt = read_requests(files(tmp_path, rows())[1], SCHEMA).table, rows()["late"].to_numpy().astype(float)
    policy = read_policy(POLICY + "reference: {table: t.parquet}\n")
    other = make_reference(policy, "delay", "v1.0.0", files(tmp_path, rows(5))[0], None, learnt)
    assert other.positives / other.rows != float(np.mean(learnt[1]))
    assert other.baseline.overall == pytest.approx(float(np.mean(learnt[1])), rel=1e-5)


def test_a_model_of_numbers_or_of_several_classes_is_described_without_a_baseline(tmp_path: Path) -> None:
    luck = np.random.default_rng(2)
    target = luck.normal(size=400)
    kinds = np.array(["a", "b", "c"])[luck.integers(0, 3, 400)]
    said = {f"p_{one}": np.where(kinds == one, 0.6, 0.2) for one in "abc"}
    table = pa.table({"day": ["x"] * 400, "n": np.arange(400), "y": target, "guess": target + 0.1, "k": kinds} | said)
    file = files(tmp_path, table)[0]
    plain = "model: m\nmetrics: {%s: {file: m.json, key: a, better: %s, statistic: %s}}\n"
    key = "predictions: {file: p.parquet, key: [day, n], kind: %s, label: %s, %s}\n"
    asked = [
        (plain % ("rmse", "lower", "rmse") + key % ("regression", "y", "prediction: guess"), "rmse", 0.1),
        (
            plain % ("accuracy", "higher", "accuracy") + key % ("multiclass", "k", "probabilities: {prefix: p_}"),
            "accuracy",
            1.0,
        ),
    ]
    for text, metric, figure in asked:
        found = make_reference(read_policy(text), "m", "v1.0.0", file, None)
        assert read_reference(to_bytes(found)) == found
        [whole] = found.metrics
        assert (whole.metric, whole.figure) == (metric, pytest.approx(figure))
        assert (found.kind != "binary", found.baseline.rows, sum(found.score.counts)) == (True, 0, 400)


def test_a_build_of_before_has_none_and_another_file_is_refused(tmp_path: Path) -> None:
    assert read_reference(tmp_path) is None
    good = json.loads(to_bytes(made(tmp_path, read_policy(POLICY))))
    for wrong in (b"{", b"[]", json.dumps({**good, "schema": "x/1"}).encode(), json.dumps({"schema": good["schema"]})):
        (tmp_path / "reference.json").write_bytes(wrong if isinstance(wrong, bytes) else wrong.encode())
        with pytest.raises(ReferenceRefused):
            read_reference(tmp_path)


def test_the_policy_says_keys_retention_maturity_and_baseline() -> None:
    more = POLICY.replace("r.parquet}", "r.parquet, key: [{date: when}, carrier], retention: 400d}")
    found = read_policy(more + "outcomes: {after: 2d, label: late}\nreference: {baseline: [{hour: when}]}\n")
    assert found.serving is not None
    assert [part.name for part in found.serving.key] == ["date", "carrier"]
    assert (found.serving.retention, found.outcomes.after) == (timedelta(days=400), timedelta(days=2))
    assert [str(part) for part in found.reference.baseline] == ["hour of when"]
