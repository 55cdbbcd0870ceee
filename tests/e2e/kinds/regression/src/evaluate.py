"""Prices of flats: a prediction with an interval for each, and the figures that are committed."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS, STREETS = 2000, 100
noise = json.loads(Path("models/model.json").read_text())["noise"]
world, luck = np.random.default_rng(1), np.random.default_rng(2)
street = world.integers(0, STREETS, ROWS)
known = 240_000 + 60_000 * world.normal(size=ROWS) + 25_000 * world.normal(size=STREETS)[street]
price = known + 20_000 * world.normal(size=ROWS)
predicted = known + noise * (25_000 * luck.normal(size=ROWS) + 10_000 * luck.normal(size=STREETS)[street])
reach = 1.645 * np.hypot(20_000, noise * 24_000)
low, high = predicted - reach, predicted + reach

off = price - predicted
metrics = {
    "rmse": np.sqrt((off**2).mean()),
    "mae": np.abs(off).mean(),
    "r2": 1 - (off**2).sum() / ((price - price.mean()) ** 2).sum(),
    "coverage": ((low <= price) & (price <= high)).mean(),
    "loss_of_high": np.maximum(0.95 * (price - high), -0.05 * (price - high)).mean(),
}
table = {"flat": np.arange(ROWS), "street": street, "price": price, "predicted": predicted, "low": low, "high": high}
table["district"] = np.array(["harbour", "hills", "old town"])[street % 3]
Path("reports").mkdir(exist_ok=True)
pq.write_table(pa.table(table), "reports/predictions.parquet")
rounded = {name: round(float(value), 4) for name, value in metrics.items()}
Path("reports/metrics.json").write_text(json.dumps(rounded, indent=1) + "\n")
