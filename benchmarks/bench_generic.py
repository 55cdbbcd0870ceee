"""How long a metrics function of a repository takes to be judged: 100,000 rows, 500 resamples, a plain numpy function.

NDCG at 10 of 5,000 queries of 20 documents, in the process without rights that a comparison uses, on all processors.
Fails above 60 seconds on two.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lockgate.evaluation import bootstrap, compare, generic
from lockgate.evaluation.compare import Side
from lockgate.git import Workspace
from lockgate.policy import read_policy

MOST = 60.0
POLICY = """\
model: search
metrics:
  ndcg: {file: m.json, key: ndcg, better: higher, function: "metrics.py:ndcg"}
predictions: {file: p.parquet, kind: other, key: [query, document], cluster: [query]}
"""
NDCG = """\
import numpy as np

TOP = 10
DISCOUNT = 1 / np.log2(np.arange(2, TOP + 2))


def gain(query, order, relevant):
    sorted_query = query[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_query, sorted_query)
    top = rank < TOP
    worth = (2.0 ** relevant[order][top] - 1) * DISCOUNT[rank[top]]
    return np.bincount(sorted_query[top], worth, query.max() + 1)


def ndcg(predictions):
    query = np.unique(predictions["query"], return_inverse=True)[1]
    relevant = predictions["relevant"]
    best = gain(query, np.lexsort((-relevant, query)), relevant)
    found = gain(query, np.lexsort((-predictions["score"], query)), relevant)
    return {"ndcg": float((found[best > 0] / best[best > 0]).mean())}
"""


def table(rows: int, seed: int) -> pa.Table:
    world, model = np.random.default_rng(1), np.random.default_rng(seed)
    relevant = world.integers(0, 4, rows) * (world.random(rows) < 0.3)
    score = relevant + world.normal(size=rows) + model.normal(size=rows)
    columns = {"query": np.arange(rows) // 20, "document": np.arange(rows) % 20, "relevant": relevant, "score": score}
    return pa.table({**columns, "other": world.normal(size=rows)})


def main() -> None:
    """Print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    arguments = parser.parse_args()
    policy = read_policy(POLICY)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        subprocess.run(["git", "init", "-q", str(root)], check=True)
        (root / "metrics.py").write_text(NDCG)
        space: dict[str, object] = {}
        exec(NDCG, space)  # what the pipeline would have written
        sides = []
        for seed in (2, 3):
            found = table(arguments.rows, seed)
            value = space["ndcg"]({name: found[name].to_numpy() for name in found.column_names})  # type: ignore[operator]
            pq.write_table(found, root / f"{seed}.parquet")
            sides.append(Side({"m.json": f'{{"ndcg": {value["ndcg"]}}}'.encode()}, root / f"{seed}.parquet"))
        code = Workspace(root)
        started = time.perf_counter()
        judged = compare.compare(policy, sides[0], sides[1])
        native = time.perf_counter() - started
        judged, unknown = generic.judge(policy, code, code, (sides[0], sides[1]), judged)
        seconds = time.perf_counter() - started - native
    assert not unknown, unknown
    assert judged.metrics[0].low is not None, judged.metrics
    processors = len(os.sched_getaffinity(0))
    told = f"{arguments.rows:,} rows, {bootstrap.RESAMPLES} resamples, {processors} processors"
    print(f"{told}: {seconds:.1f} s (at most {MOST:g})")
    if seconds > MOST:
        sys.exit(1)


if __name__ == "__main__":
    main()
