"""What a plain script does with a day of scores: read, join with the outcomes, compute the metrics.

No drift, no slices, no intervals, no promise. ``plain_monitor.py RECORD OUTCOMES`` prints the metrics.
"""

import sys
from pathlib import Path

import pandas as pd
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

scores = pd.concat(
    pd.read_parquet(file, columns=["date", "n", "probability"]) for file in sorted(Path(sys.argv[1]).rglob("*.parquet"))
)
outcomes = pd.read_parquet(sys.argv[2]).drop_duplicates(["date", "n"], keep="last")
rows = scores.merge(outcomes, on=["date", "n"], how="left")
known = rows[rows["label"].notna()]
for metric in (roc_auc_score, average_precision_score, log_loss, brier_score_loss):
    print(metric.__name__, round(metric(known["label"], known["probability"]), 5))
