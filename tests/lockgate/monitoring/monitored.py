"""What the tests of the monitor share: a release with a reference, and days of scores that it gave since."""

from datetime import date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lockgate.evaluation.predictions import File
from lockgate.monitoring.monitor import Asked
from lockgate.monitoring.reference import Reference
from lockgate.monitoring.reference_rows import make_reference, read_requests
from lockgate.policy import Policy, RequestPart, read_policy
from lockgate.releasing.environments import Entry
from lockgate.serving.contract import Column, RequestSchema

NAME = "flight-delay"
POLICY = """\
model: flight-delay
metrics:
  roc_auc: {file: m.json, key: a, better: higher, statistic: roc_auc}
  log_loss: {file: m.json, key: b, better: lower, statistic: log_loss}
  calibration_error: {file: m.json, key: c, better: lower, statistic: calibration_error}
predictions:
  {file: p.parquet, key: [date, n], label: late, score: p, cluster: [date], slices: [carrier], slice_metric: roc_auc}
serving: {code: src/m, entry: "m:load", request: "m:schema", samples: r.parquet, key: [{date: departure}, n]}
reference: {baseline: [carrier]}
outcomes: {after: 2d}
alarms: {budget: 2 per year}
"""
COLUMNS = (
    Column("carrier", "string"),
    Column("departure", "timestamp"),
    Column("wind", "number", optional=True),
    Column("n", "integer"),
)
SCHEMA = RequestSchema(COLUMNS, {})
FIRST = date(2026, 3, 2)  # a Monday: the release serves from here on
RELEASE, BUILD = f"{NAME}@v1.0.0", "b" * 64


def policy() -> Policy:
    return read_policy(POLICY)


def rows(first: date, days: int, each: int, seed: int, *, wind: float = 1.0, blind: float = 0.0) -> pa.Table:
    """Return requests with scores and what happened. ``wind`` is a factor on the wind, which the model knows of;
    ``blind`` is what happens that it does not know of: the share of the scores that means nothing any more."""
    luck = np.random.default_rng(seed)
    count = days * each
    day = np.repeat(np.arange(days), each)
    carrier = luck.integers(0, 3, count)
    blown = luck.gamma(2.0, 1.0, count) * wind
    odds = -2.2 + 0.5 * blown + np.array([0.0, 0.4, -0.4])[carrier] + np.repeat(luck.normal(0, 0.15, days), each)
    p = 1 / (1 + np.exp(-(odds + luck.normal(0, 0.7, count))))
    happened = np.where(luck.random(count) < blind, luck.permutation(p), p)
    minutes = np.sort(luck.integers(300, 1380, (days, each)), axis=1).ravel()
    midnights = np.array([datetime.combine(first, time()) + timedelta(days=int(one)) for one in range(days)])
    times = midnights.astype("datetime64[us]")[day] + minutes.astype("timedelta64[m]")
    return pa.table(
        {
            "id": [f"{seed}-{one:07d}" for one in range(count)],
            "row": pa.array(np.zeros(count), pa.int32()),
            "time": pa.array(times, pa.timestamp("us")),
            "release": pa.array([RELEASE] * count),
            "build": pa.array([BUILD] * count),
            "probability": p,
            "latency_ms": luck.gamma(2.0, 1.0, count),
            "label": (luck.random(count) < happened).astype(np.float64),
            "carrier": np.array(["AA", "B6", "UA"])[carrier],
            "departure": pa.array(times, pa.timestamp("us")),
            "wind": pa.array(np.where(luck.random(count) < 0.02, np.nan, blown), from_pandas=True),
            "n": np.arange(count),
            "date": pa.array(times.astype("datetime64[D]")),
        }
    )


def promise(folder: Path, *, days: int = 60, each: int = 200) -> Reference:
    """Return the reference of the release, of the days before it served."""
    table = rows(FIRST - timedelta(days=days + 5), days, each, 1)
    table = table.append_column("late", table["label"].cast(pa.int8())).append_column("p", table["probability"])
    pq.write_table(table.select(["date", "n", "late", "p", "carrier"]), folder / "p.parquet")
    pq.write_table(table.select(["carrier", "departure", "wind", "n", "date"]), folder / "r.parquet")
    files = [File("it", name, folder / name) for name in ("p.parquet", "r.parquet")]
    return make_reference(policy(), NAME, "v1.0.0", files[0], read_requests(files[1], SCHEMA))


def by_day(table: pa.Table) -> list[pa.Table]:
    """Return a table a day, as the record gives it."""
    days = table["time"].to_numpy().astype("datetime64[D]")
    return [table.filter(days == day) for day in np.unique(days)]


def entry(version: str = "v1.0.0", when: date = FIRST, number: int = 1) -> Entry:
    told = {"name": NAME, "environment": "production", "actor": "ana", "reason": "", "tag": "", "previous": ""}
    return Entry(
        **told, number=number, action="promote", version=version, manifest=BUILD, time=f"{when}T00:00:00+00:00"
    )


def asked(now: datetime, **more: object) -> Asked:
    told = policy()
    assert told.predictions is not None
    given: dict[str, object] = {
        "model": NAME,
        "environment": "production",
        "kind": "week",
        "since": FIRST,
        "now": now,
        "after": told.outcomes.after,
        "slices": told.predictions.slices,
        "clusters": tuple(RequestPart(one) for one in told.predictions.cluster),
        "alarms": told.alarms,
    }
    return Asked(**given | more)  # type: ignore[arg-type]
