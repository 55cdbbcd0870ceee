"""What a single request costs beside the release before: the flights model with the request of version 1.

    python -m benchmarks.bench_former [--rounds 5] [--seconds 2]

Both are served by ``lockgate serve`` of this checkout, side by side, and asked in turn over one connection, each for
what its own clients send: 17 fields, or 43 with the hours before. The release before is the frozen build of
``tests/fixtures/frozen/flights-request-1``, whose model has 20 trees of 8 leaves (that of then had 300 of 31, so it
would have been slower); today's is ``models/flight-delay.skops``.
"""

import argparse
import json
import statistics
import sys
import tempfile
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
from benchmarks.bench_serve import LOAD, MODEL, ROOT, ROWS, free_port, python, running
from tests.lockgate.releases import ACTOR, STAGING, make_keys
from tests.lockgate.serving_builds import as_requests, flight_build
from tests.lockgate.serving_load import post

from flight_delay.request import HISTORY, REQUEST
from lockgate.releasing.promotion import promote
from lockgate.releasing.registry import Registry
from lockgate.store import open_store

FORMER = ROOT / "tests/fixtures/frozen/flights-request-1/build.zip"
AIM = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frame = pq.read_table(ROWS).slice(0, 200).select(list(REQUEST)).to_pandas()
        with zipfile.ZipFile(FORMER) as archive:
            archive.extractall(folder / "former")
        builds = {"former": folder / "former", "today": flight_build(folder / "today", MODEL, frame[:20])}
        sent = {"former": frame.drop(columns=list(HISTORY)), "today": frame}
        keys = make_keys(folder / "keys")
        commands, times = {}, {which: [] for which in builds}  # type: ignore[var-annotated]
        for which, build in builds.items():
            ones = [json.dumps(row).encode() for row in as_requests(sent[which])]
            (folder / f"{which}.requests").write_text("\n".join(post("/v1/predict", one).hex() for one in ones))
            store = folder / f"store-{which}"
            registry = Registry(open_store(str(store), create=True), "flight-delay", keys.verifier)
            registry.publish(build, "v1.0.0", {}, signer=keys.signer, actor=ACTOR)
            promote(registry, "v1.0.0", STAGING, keys.signer, ACTOR)
            port = free_port()
            words = [sys.executable, "-m", "lockgate", "serve", "staging", "--store", store, "--port", port]
            commands[which] = port, [*words, "--public-key", keys.verifier.public_key, "--cache", folder / which / "c"]
        paths = {"PYTHONPATH": str(ROOT / "src")}
        with (
            running(commands["former"][1], commands["former"][0], "/readyz", folder / "former.log", **paths),
            running(commands["today"][1], commands["today"][0], "/readyz", folder / "today.log", **paths),
        ):
            for number in range(arguments.rounds + 1):
                for which, (port, _) in commands.items():
                    found = json.loads(python("-c", LOAD, port, 1, arguments.seconds, folder / f"{which}.requests"))
                    if number:  # the first round warms both
                        times[which].append(found["p50"])
        medians = {which: statistics.median(found) for which, found in times.items()}
        ratio = statistics.median(a / b for a, b in zip(times["today"], times["former"], strict=True))
        print(f"single request, median: former {medians['former'] * 1e3:.2f} ms, today {medians['today'] * 1e3:.2f} ms")
        verdict = "met" if ratio <= AIM else "missed"
        print(f"ratio, median of {arguments.rounds} pairs: {ratio:.2f} (at most {AIM}: {verdict})")


if __name__ == "__main__":
    main()
