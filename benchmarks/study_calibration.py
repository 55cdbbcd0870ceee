"""How well the months of the committed predictions are calibrated, and how well a month of days can say so.

    python benchmarks/study_calibration.py [--output docs/studies/calibration.json]

For each month: the share that was late and the mean probability, the calibration error (10 bins), and intervals of 95 %
for it and for the difference, by drawing days with replacement (days are late together). Beside it, what the
calibration error of a perfectly calibrated model would be on such days: labels drawn from the probabilities themselves,
shifted on each day by what days differ. Reads ``reports/predictions.parquet``; chooses nothing.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from flight_delay.metrics import calibration_error

DRAWS = 1000
BINS = 10


def month(days: np.ndarray, late: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    random = np.random.default_rng(0)
    rows = [np.flatnonzero(days == day) for day in np.unique(days)]
    errors, gaps = [], []
    for _ in range(DRAWS):
        drawn = np.concatenate([rows[place] for place in random.integers(0, len(rows), len(rows))])
        errors.append(calibration_error(late[drawn], scores[drawn], BINS))
        gaps.append(scores[drawn].mean() - late[drawn].mean())
    # days that a model cannot tell apart: the shift of each in log odds, so large that days differ as much as they do
    residual = np.array([(late[of] - scores[of]).mean() for of in rows])
    spread = float(np.std(residual) / np.mean(scores * (1 - scores)))
    perfect = []
    for _ in range(DRAWS // 5):
        shift = np.zeros(len(scores))
        for of in rows:
            shift[of] = random.normal(0, spread)
        odds = np.log(scores / (1 - scores)) + shift
        perfect.append(
            calibration_error((random.random(len(scores)) < 1 / (1 + np.exp(-odds))).astype(int), scores, BINS)
        )
    return {
        "days": len(rows),
        "rows": len(scores),
        "share late": round(float(late.mean()), 4),
        "mean probability": round(float(scores.mean()), 4),
        "difference, 95 %": [round(float(end), 3) for end in np.quantile(gaps, [0.025, 0.975])],
        "calibration error": round(calibration_error(late, scores, BINS), 4),
        "calibration error, 95 %": [round(float(end), 3) for end in np.quantile(errors, [0.025, 0.975])],
        "of a calibrated model on such days, median and 95 % point": [
            round(float(end), 3) for end in np.quantile(perfect, [0.5, 0.95])
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--output", type=Path, default=Path("docs/studies/calibration.json"))
    output = parser.parse_args().output
    rows = pq.read_table("reports/predictions.parquet").to_pandas()
    found = {
        str(name): month(
            of["date"].to_numpy(), of["late"].to_numpy(), of["probability"].to_numpy().clip(1e-6, 1 - 1e-6)
        )
        for name, of in rows.groupby("month")
    }
    output.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {output}")


if __name__ == "__main__":
    main()
