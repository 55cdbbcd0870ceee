"""A search engine: for each query how well its ten documents are ranked (nDCG), and the mean that is committed."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

QUERIES, DOCUMENTS = 800, 10
noise = json.loads(Path("models/model.json").read_text())["noise"]
world, luck = np.random.default_rng(1), np.random.default_rng(2)
truth = world.normal(size=(QUERIES, DOCUMENTS))
gain = 2.0 ** np.clip(np.round(truth + 1), 0, 3) - 1
gain[:, 0] += 1  # something is relevant to every query
discount = 1 / np.log2(np.arange(DOCUMENTS) + 2)
ranked = np.argsort(-(truth + noise * luck.normal(size=truth.shape)), axis=1)
ndcg = np.take_along_axis(gain, ranked, axis=1) @ discount / (-np.sort(-gain, axis=1) @ discount)

table = {"query": np.arange(QUERIES), "session": np.arange(QUERIES) // 4, "ndcg": ndcg}
table["language"] = np.array(["de", "en"])[world.integers(0, 2, QUERIES)]
Path("reports").mkdir(exist_ok=True)
pq.write_table(pa.table(table), "reports/predictions.parquet")
Path("reports/metrics.json").write_text(json.dumps({"ndcg": round(float(ndcg.mean()), 6)}, indent=1) + "\n")
