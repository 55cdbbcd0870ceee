"""The pipeline as one plain script: the same work in one process, without DVC, without looking at the data first.

    python benchmarks/plain_pipeline.py FOLDER     # from the repository's root, with PYTHONPATH=src

It leaves the same files under FOLDER as the stages leave in the repository, but for ``reports/validation.json``.
"""

import os
import sys
from pathlib import Path

from threadpoolctl import threadpool_limits

from flight_delay import baselines, evaluate, ingest, prepare, train
from flight_delay.files import as_json, as_parquet, write_files
from flight_delay.model_file import dump_model
from flight_delay.params import load_params
from flight_delay.paths import COUNTS, MODEL, PREPARED, RAW, REPORTS


def main(folder: str) -> None:
    params = load_params()
    tables = ingest.ingest(params.ingest)
    rows = prepare.prepare(tables["flights"].to_pandas(), tables["weather"].to_pandas())
    past = prepare.window(rows, params.prepare.train, "train")
    later = prepare.window(rows, params.test_window, "test")
    model = train.train(past, params.train)
    counts = baselines.count(past)
    bins = params.evaluate.calibration_bins
    with threadpool_limits(limits=1, user_api="openmp"):
        probability = evaluate.score(model, later)
        shuffled = evaluate.importance(model, later, params.evaluate)
    predicted = evaluate.predictions(later, probability)
    curves = evaluate.plots(predicted, bins) | {"importance": shuffled}
    os.chdir(folder)
    write_files(
        {RAW / f"{name}.parquet": as_parquet(table) for name, table in tables.items()}
        | {PREPARED / "train.parquet": as_parquet(past, varied=["flight"])}
        | {PREPARED / "test.parquet": as_parquet(later, varied=["flight"])}
        | {MODEL: dump_model(model), COUNTS: as_json(baselines.as_columns(counts), indent=None)}
        | {REPORTS / "predictions.parquet": as_parquet(predicted, varied=["flight", "probability"])}
        | {REPORTS / "metrics.json": as_json(evaluate.summary(counts, later, probability, bins))}
        | {REPORTS / "slices.json": as_json(evaluate.slices(predicted, bins))}
        | {REPORTS / "plots" / f"{name}.json": as_json(points) for name, points in curves.items()}
    )


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    main(sys.argv[1])
