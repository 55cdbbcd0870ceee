"""Photographs of four species: the probability of each, the predicted one, and the figures that are committed."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SPECIES = np.array(["blackbird", "robin", "sparrow", "wren"])
ROWS = 2400
noise = json.loads(Path("models/model.json").read_text())["noise"]
world, luck = np.random.default_rng(1), np.random.default_rng(2)
truth = 1.5 * world.normal(size=(ROWS, 4)) + [0.8, 0.4, 0.2, -0.8]
label = (truth + world.gumbel(size=truth.shape)).argmax(axis=1)
powers = np.exp(truth + noise * luck.normal(size=truth.shape))
probability = powers / powers.sum(axis=1, keepdims=True)
said = probability.argmax(axis=1)

both = [((label == one) & (said == one)).sum() for one in range(4)]
f1 = [2 * right / ((label == one).sum() + (said == one).sum()) for one, right in enumerate(both)]
metrics = {
    "accuracy": (label == said).mean(),
    "macro_f1": np.mean(f1),
    "weighted_f1": np.bincount(label, minlength=4) / ROWS @ np.array(f1),
    "log_loss": -np.log(probability[np.arange(ROWS), label]).mean(),
    "recall": {"wren": both[3] / (label == 3).sum()},
}
table = {"photo": np.arange(ROWS), "species": SPECIES[label], "predicted": SPECIES[said]}
table |= {f"p_{name}": probability[:, number] for number, name in enumerate(SPECIES)}
table["camera"] = np.array(["phone", "trap"])[world.integers(0, 2, ROWS)]
Path("reports").mkdir(exist_ok=True)
pq.write_table(pa.table(table), "reports/predictions.parquet")
rounded = json.loads(json.dumps(metrics, default=float), parse_float=lambda text: round(float(text), 6))
Path("reports/metrics.json").write_text(json.dumps(rounded, indent=1) + "\n")
