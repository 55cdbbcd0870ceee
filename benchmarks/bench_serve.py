"""What scoring costs, beside what a user would otherwise run: ``mlflow models serve``, and ``predict_proba`` in memory.

    python -m benchmarks.bench_serve [--seconds 4] [--rounds 2] [--rows 1000000] [--json FILE]

The same fitted pipeline (``models/flight-delay.skops``, from ``make run``) and the same requests, one at a time over
some connections, in turn: ``lockgate serve``, and MLflow as it comes and on one thread, of which the faster counts.
MLflow is installed into an environment of its own, ``.cache/bench-mlflow``.
"""

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks import others
from tests.lockgate.releases import ACTOR, STAGING, make_keys
from tests.lockgate.serving_builds import as_requests, flight_build
from tests.lockgate.serving_load import post

from flight_delay.request import REQUEST
from lockgate.releasing.promotion import promote
from lockgate.releasing.registry import Registry
from lockgate.store import open_store

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "models/flight-delay.skops"
ROWS = ROOT / "data/prepared/test.parquet"
SAVE = """
import sys, mlflow.sklearn, pandas as pd
from pathlib import Path
from mlflow.models import infer_signature
from flight_delay.model_file import load_model
pipeline, rows = load_model(Path(sys.argv[1])), pd.read_parquet(sys.argv[2])
signature = infer_signature(rows, pipeline.predict_proba(rows))
mlflow.sklearn.save_model(pipeline, sys.argv[3], pyfunc_predict_fn="predict_proba", signature=signature,
                          serialization_format="cloudpickle")
"""
BARE = """
import sys, time, pyarrow.parquet as pq
from pathlib import Path
from flight_delay.model_file import load_model
from flight_delay.request import REQUEST
model, rows = load_model(Path(sys.argv[1])), pq.read_table(sys.argv[2]).select(REQUEST).to_pandas()
begin = time.perf_counter()
model.predict_proba(rows)
print(time.perf_counter() - begin)
"""
LOAD = """
import asyncio, json, sys, time, uvloop
from tests.lockgate.serving_load import load
port, connections, seconds, file = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
requests = [bytes.fromhex(line) for line in open(file).read().split()]
end = time.monotonic() + seconds
seen = uvloop.run(load(port, requests, connections, lambda _: time.monotonic() > end))
assert set(seen.statuses) == {200} and not seen.errors, (set(seen.statuses), seen.errors[:3])
print(json.dumps({"rate": seen.rate, "p50": seen.percentile(0.5), "p99": seen.percentile(0.99)}))
"""


def python(*words: object, **environment: str) -> str:
    """Run this interpreter with the checkout's code; return what it says."""
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | paths | environment
    ).stdout


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def running(words: list[object], port: int, path: str, log: Path, **environment: str) -> Iterator[int]:
    """Run a service until the block ends; give its port once it answers at ``path``."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(w) for w in words], stdout=out, stderr=out, env=os.environ | environment, start_new_session=True
        )
    try:
        end = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=1).read()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{words[0]} did not start:\n{log.read_text()[-2000:]}") from None
                time.sleep(0.1)
        yield port
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def mlflow_python() -> Path:
    """Return the interpreter of MLflow's environment, made the first time, with the packages that fitted the model."""
    lock = (ROOT / "requirements/pipeline.lock").read_text()
    pins = [f"{n}=={re.search(rf'^{n}==([^ ;]+)', lock, re.M)[1]}" for n in ("scikit-learn", "numpy", "skops")]  # type: ignore[index]
    return others.environment("mlflow", "mlflow>=3", *pins, "threadpoolctl") / "python"


def ask(port: int, path: str, body: bytes) -> Any:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Content-Type": "application/json"})
    return json.loads(urllib.request.urlopen(request, timeout=60).read())


def single_requests(folder: Path, seconds: float, rounds: int) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the figures of single requests by service and number of connections, medians of the rounds; and what the
    record of scores costs."""
    frame = pq.read_table(ROWS).slice(0, 200).select(REQUEST).to_pandas()
    requests = as_requests(frame)
    whole = [{name: row.get(name) for name in REQUEST} for row in requests]  # MLflow wants every column
    bodies = {
        "lockgate": ("/v1/predict", [json.dumps(row).encode() for row in requests]),
        "mlflow": ("/invocations", [json.dumps({"dataframe_records": [row]}).encode() for row in whole]),
    }
    for name, (path, ones) in bodies.items():
        (folder / f"{name}.requests").write_text("\n".join(post(path, one).hex() for one in ones))

    keys = make_keys(folder / "keys")
    registry = Registry(open_store(str(folder / "store"), create=True), "flight-delay", keys.verifier)
    build = flight_build(folder / "build", MODEL, frame[:20])
    registry.publish(build, "v1.0.0", {}, signer=keys.signer, actor=ACTOR)
    promote(registry, "v1.0.0", STAGING, keys.signer, ACTOR)
    frame.to_parquet(folder / "frame.parquet")
    mlflow = mlflow_python()
    environment = {"PYTHONPATH": str(ROOT / "src")}
    saved = [mlflow, "-c", SAVE, MODEL, folder / "frame.parquet", folder / "mlmodel"]
    subprocess.run([str(w) for w in saved], check=True, env=os.environ | environment, stdout=subprocess.DEVNULL)

    def lockgate(name: str, *more: object) -> Any:
        port = free_port()
        words = [sys.executable, "-m", "lockgate", "serve", "staging", "--store", folder / "store", "--port", port]
        words += ["--public-key", keys.verifier.public_key, "--cache", folder / f"cache-{name}", *more]
        return running(words, port, "/readyz", folder / f"{name}.log", **environment)

    def served_by_mlflow(name: str, **more: str) -> Any:
        port = free_port()
        words = [
            mlflow,
            "-m",
            "mlflow",
            "models",
            "serve",
            "-m",
            folder / "mlmodel",
            "-p",
            port,
            "--env-manager",
            "local",
        ]
        paths = {"PATH": f"{mlflow.parent}:{os.environ['PATH']}"}
        return running(words, port, "/ping", folder / f"{name}.log", **environment, **paths, **more)

    with lockgate("without") as without, lockgate("with", "--record", folder / "record") as recording:
        recorded = {str(connections): record_cost(without, recording, connections, folder) for connections in (1, 16)}
    services: dict[str, tuple[str, Callable[[], Any]]] = {
        "lockgate serve": ("lockgate", lambda: lockgate("plain")),
        "mlflow models serve": ("mlflow", lambda: served_by_mlflow("mlflow")),
        "mlflow models serve, 1 thread": ("mlflow", lambda: served_by_mlflow("mlflow1", OMP_NUM_THREADS="1")),
    }
    figures: dict[str, dict[int, list[dict[str, float]]]] = {}
    for _ in range(rounds):
        for name, (kind, start) in services.items():
            path, ones = bodies[kind]
            with start() as port:
                answer = ask(port, path, ones[0])
                found = answer["probabilities"][0] if kind == "lockgate" else answer["predictions"][0][1]
                expected = json.loads((build / "samples.json").read_text())["probabilities"][0]
                assert abs(found - expected) < 1e-12, (name, found, expected)
                for connections in (1, 16):
                    arguments = (port, connections, seconds, folder / f"{kind}.requests")
                    python("-c", LOAD, port, connections, 2, arguments[3])  # warm
                    figures.setdefault(name, {}).setdefault(connections, []).append(
                        json.loads(python("-c", LOAD, *arguments))
                    )
    medians = {
        name: {
            str(connections): {key: statistics.median(run[key] for run in runs) for key in ("rate", "p50", "p99")}
            for connections, runs in by.items()
        }
        for name, by in figures.items()
    }
    return medians, recorded


def record_cost(without: int, recording: int, connections: int, folder: Path) -> float:
    """Return the ratio of the medians with and without a record, itself the median of pairs of short bursts: two
    services side by side, asked in turn, so that what else the machine does falls on both."""
    ratios = []
    for _ in range(10):
        pair = [python("-c", LOAD, port, connections, 1, folder / "lockgate.requests") for port in (without, recording)]
        before, after = (json.loads(one)["p50"] for one in pair)
        ratios.append(after / before)
    return statistics.median(ratios)


def whole_batch(folder: Path, rows: int) -> dict[str, float]:
    """Return seconds for ``rows`` rows: ``lockgate score`` from start to end, and ``predict_proba`` alone."""
    table = pq.read_table(ROWS)
    table = pa.concat_tables([table] * (rows // len(table) + 1)).slice(0, rows)
    pq.write_table(table, folder / "rows.parquet", row_group_size=1 << 17)
    words = [
        "-m",
        "lockgate",
        "score",
        "staging",
        folder / "rows.parquet",
        folder / "scores",
        "--store",
        folder / "store",
    ]
    words += ["--public-key", folder / "keys/lockgate.pub", "--cache", folder / "cache-batch"]
    begin = time.perf_counter()
    python(*words)
    return {
        "lockgate score": time.perf_counter() - begin,
        "predict_proba": float(python("-c", BARE, MODEL, folder / "rows.parquet")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not (MODEL.exists() and ROWS.exists()):
        raise SystemExit(f"{MODEL} is not there: `make run` makes it")
    with tempfile.TemporaryDirectory() as name:
        single, recorded = single_requests(Path(name), arguments.seconds, arguments.rounds)
        batch = whole_batch(Path(name), arguments.rows)
    for connections in ("1", "16"):
        print(f"\nsingle requests, {connections} connection(s)      requests/s    p50 ms    p99 ms")
        for service, by in single.items():
            one = by[connections]
            print(f"  {service:34} {one['rate']:14.0f} {one['p50'] * 1e3:9.2f} {one['p99'] * 1e3:9.2f}")
        ours = single["lockgate serve"][connections]
        theirs = [by[connections] for service, by in single.items() if service.startswith("mlflow")]
        best, tail = max(one["rate"] for one in theirs), min(one["p99"] for one in theirs)
        times, share = ours["rate"] / best, ours["p99"] / tail
        print(f"  against the better MLflow: {times:.1f} x the throughput, {share:.2f} x the p99")
        print(f"  the record of scores: {recorded[connections]:.2f} x the median")
    print(f"\n{arguments.rows:,} rows                            seconds")
    for service, seconds in batch.items():
        print(f"  {service:34} {seconds:9.1f}")
    print(
        f"  lockgate score, start to end: {batch['lockgate score'] / batch['predict_proba']:.2f} x predict_proba alone"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps({"single": single, "record": recorded, "batch": batch}, indent=1))


if __name__ == "__main__":
    main()
