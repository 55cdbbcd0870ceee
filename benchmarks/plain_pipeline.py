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
from flight_delay.logistic import Logistic
from flight_delay.model_file import dump_model
from flight_delay.params import load_params
from flight_delay.paths import COUNTS, LOGISTIC, MODEL, PREPARED, RAW
from flight_delay.request import LABEL


def main(folder: str) -> None:
    params = load_params()
    tables = ingest.ingest(params.ingest)
    rows = prepare.prepare(tables["flights"].to_pandas(), tables["weather"].to_pandas(), params.prepare.lead_minutes)
    months = prepare.windows(rows, params.ingest.through, params.prepare)
    past, later = (prepare.window(rows, months[name], name) for name in ("train", "test"))
    model = train.train(past, params.train)
    logistic = Logistic.fit(model[0].transform(past), past[LABEL].to_numpy())
    counts = baselines.count(past)
    with threadpool_limits(limits=1, user_api="openmp"):
        reports = evaluate.outcome(model, later, counts, logistic, params.evaluate)
    os.chdir(folder)
    write_files(
        {RAW / f"{name}.parquet": as_parquet(table) for name, table in tables.items()}
        | {prepare.MADE_OF: as_parquet(prepare.made_of(tables["flights"]), varied=prepare.VARIED)}
        | {PREPARED / "train.parquet": as_parquet(past, varied=["flight"])}
        | {PREPARED / "test.parquet": as_parquet(later, varied=["flight"])}
        | {MODEL: dump_model(model), COUNTS: as_json(baselines.as_columns(counts), indent=None)}
        | {LOGISTIC: as_json(logistic.as_json(), indent=None)}
        | reports
    )


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    main(sys.argv[1])
