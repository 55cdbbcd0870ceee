"""The flights of a month as live traffic: sent as real requests to a real service, with outcomes added later.

    python benchmarks/replay_flights.py FOLDER [--month 2013-11] [--each 200] [--feed-fails 12]

Trains the flights model to July on ``data/prepared/`` (``make run`` first; ``make service`` for the service), releases
it into a store in FOLDER with what it promises of August and September, and has ``lockgate serve`` answer, with a
record in FOLDER, its clock set to each day of the month in turn (libfaketime). Then the labels are added by ``lockgate
outcomes``, and ``lockgate monitor`` says what it makes of them, on the terminal and in FOLDER/monitor.html.
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from tests.clock import faked_clock
from tests.lockgate.releases import STAGING, make_keys
from tests.lockgate.serving_builds import as_requests, flight_build
from tests.lockgate.serving_harness import command, serving

from flight_delay.evaluate import score
from flight_delay.model_file import save_model
from flight_delay.params import load_params
from flight_delay.request import HISTORY, REQUEST
from flight_delay.train import train
from lockgate.evaluation.predictions import File
from lockgate.monitoring.reference import FILE, to_bytes
from lockgate.monitoring.reference_rows import make_reference, read_requests
from lockgate.policy import read_policy
from lockgate.releasing.promotion import promote
from lockgate.releasing.registry import Actor, Registry
from lockgate.serving.contract import read_contract
from lockgate.store import open_store

PREPARED = Path("data/prepared")
NAME, VERSION = "flight-delay", "v1.0.0"
MOST = 2000  # requests of one call
POLICY = """\
model: flight-delay
metrics:
  roc_auc: {file: m.json, key: a, better: higher, statistic: roc_auc}
  log_loss: {file: m.json, key: b, better: lower, statistic: log_loss}
  calibration_error: {file: m.json, key: c, better: lower, statistic: calibration_error}
predictions:
  {file: predictions.parquet, key: [date, carrier, flight, origin], label: late, score: probability, cluster: [date],
   slices: [carrier, origin], slice_metric: roc_auc}
serving:
  code: src/flight_delay
  entry: flight_delay.serving:load
  request: flight_delay.serving:schema
  samples: requests.parquet
  key: [{date: scheduled_departure}, carrier, flight, origin]
reference: {baseline: [carrier, {hour: scheduled_departure}]}
outcomes: {after: 2d}
alarms: {budget: 2 per year}
"""


def rows_of(each: int) -> pd.DataFrame:
    """Return the flights of the year with their date, from August on at most ``each`` a day (0: all)."""
    rows = pd.concat([pd.read_parquet(PREPARED / f"{name}.parquet") for name in ("train", "test")], ignore_index=True)
    rows["date"] = rows["scheduled_departure"].dt.normalize().astype("datetime64[s]")
    order = np.random.default_rng(0).permutation(len(rows))
    place = rows.iloc[order].groupby("date").cumcount().reindex(rows.index)
    return rows[(place < (each or len(rows))) | (rows["date"].dt.month <= 7)].reset_index(drop=True)


def release(folder: Path, rows: pd.DataFrame, since: date) -> tuple[Registry, object]:
    """Train, release and promote."""
    past = rows[rows["date"].dt.month <= 7]
    tested = rows[rows["date"].dt.month.isin([8, 9])].reset_index(drop=True)
    model = train(past, load_params().train)
    save_model(folder / "model.skops", model)
    tested.assign(probability=score(model, tested))[
        ["date", "carrier", "flight", "origin", "late", "probability"]
    ].to_parquet(folder / "predictions.parquet")
    tested[[*REQUEST, "date"]].to_parquet(folder / "requests.parquet")
    (folder / "lockgate.yaml").write_text(POLICY)
    build = flight_build(folder / "build", folder / "model.skops", tested[list(REQUEST)].iloc[:20])
    schema = read_contract(build).request
    files = [File("the replay", name, folder / name) for name in ("predictions.parquet", "requests.parquet")]
    reference = make_reference(read_policy(POLICY), NAME, VERSION, files[0], read_requests(files[1], schema))
    (build / FILE).write_bytes(to_bytes(reference))
    (build / "lockgate.yaml").write_text(POLICY)  # as `lockgate release` does: outcomes are joined by its key
    keys = make_keys(folder / "keys")
    registry = Registry(open_store(str(folder / "store"), create=True), NAME, keys.verifier)
    actor = Actor("replay", f"{since - timedelta(days=1)}T00:00:00+00:00")
    registry.publish(build, VERSION, {}, signer=keys.signer, actor=actor)
    promote(registry, VERSION, STAGING, keys.signer, actor)
    return registry, keys


def serve(folder: Path, registry: Registry, keys: object, rows: pd.DataFrame) -> None:
    """Send the flights of each day to the service, whose clock shows that day."""
    clock = folder / "clock"
    days = rows.groupby("date")
    clock.write_text(f"@{rows['date'].iloc[0]:%Y-%m-%d} 04:00:00\n")
    faked = faked_clock("") | {"FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    del faked["FAKETIME"]
    words = command(registry, keys, folder / "cache", "--record", str(folder / "record"), "--record-every", "1")  # type: ignore[arg-type]
    with serving(words, folder / "serve.log", **faked) as served:
        for day, flights in days:
            clock.write_text(f"@{day:%Y-%m-%d} 12:00:00\n")
            requests = as_requests(flights[list(REQUEST)])
            for begin in range(0, len(requests), MOST):
                answer = served.http.post("/v1/predict", json=requests[begin : begin + MOST])
                assert answer.status_code == 200, answer.text
            print(f"{day:%Y-%m-%d}: {len(requests)} requests", file=sys.stderr)


def lockgate(folder: Path, *words: str) -> int:
    """Run a command as a person would, in the folder with the policy."""
    told = {"LOCKGATE_STORE": str(folder / "store"), "LOCKGATE_PUBLIC_KEY": str(folder / "keys/lockgate.pub")}
    said = ["lockgate", *words]
    print(f"\n$ {' '.join(said)}", flush=True)
    return subprocess.run([sys.executable, "-m", *said], cwd=folder, env=os.environ | told, check=False).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--month", default="2013-11")
    parser.add_argument("--feed-fails", type=int, metavar="DAY", help="from this day of the month on, no history comes")
    parser.add_argument("--each", type=int, default=200, help="flights a day (0: all)")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True)
    rows = rows_of(arguments.each)
    live = rows[rows["date"].dt.strftime("%Y-%m") == arguments.month]
    first, last = live["date"].min().date(), live["date"].max().date()
    registry, keys = release(folder, rows, first)
    sent = live.copy()
    if arguments.feed_fails:
        sent[list(HISTORY)] = sent[list(HISTORY)].where(sent["date"].dt.day < arguments.feed_fails)
    serve(folder, registry, keys, sent)
    live[["date", "carrier", "flight", "origin", "late"]].to_parquet(folder / "arrivals.parquet")
    lockgate(folder, "outcomes", "add", "staging", "arrivals.parquet", "--record", "record")
    until = f"{last + timedelta(days=4)}T00:00"
    code = lockgate(
        folder, "monitor", "staging", "--record", "record", "--until", until, "--html", "monitor.html",
        "--since", str(first),
    )  # fmt: skip
    lockgate(folder, "monitor", "staging", "--record", "record", "--until", until, "--since", str(first), "--replay")
    print(json.dumps({"requests": len(live), "from": str(first), "to": str(last), "exit code": code}))


if __name__ == "__main__":
    main()
