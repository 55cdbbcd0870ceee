"""How long a release takes to upload and to fetch, beside ``aws s3 cp``; and how long a long history takes to read.

    python -m benchmarks.bench_store [--size-mb 1024] [--runs 3] [--promotions 10000] [--json FILE]

One SeaweedFS server, one file of random bytes, the programs in turn, each as a process of its own; medians of the runs.
A verified fetch is compared with ``aws s3 cp`` followed by ``sha256sum``, which is what it replaces.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import others
from tests.seaweed import BUCKET, running

from lockgate.releasing.environments import LAST, PAGE, Entry, Environment, _page
from lockgate.releasing.registry import Actor, Registry
from lockgate.releasing.signing import KeySigner, KeyVerifier, create_key_pair
from lockgate.store import Store, open_store

NAME = "big"
PUBLISH = """
import sys, time
from pathlib import Path
from lockgate.releasing.registry import Actor, Registry
from lockgate.releasing.signing import KeySigner, KeyVerifier
from lockgate.store import open_store
begin = time.monotonic()
store, folder, version, keys = sys.argv[1:]
last = {}
registry = Registry(open_store(store, create=True), "big", KeyVerifier(Path(keys) / "lockgate.pub"))
registry.publish(Path(folder), version, {}, signer=KeySigner(Path(keys) / "lockgate.key"), actor=Actor("a", "t"),
                 progress=lambda step, done, total: last.__setitem__(step, time.monotonic()))
print(last["upload"] - begin)
"""


def timed(work: Callable[[], object]) -> float:
    begin = time.monotonic()
    work()
    return time.monotonic() - begin


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def transfers(folder: Path, keys: Path, megabytes: int, runs: int) -> dict[str, float]:
    """Return seconds by program, the median of ``runs``."""
    (folder / "build").mkdir()
    big = folder / "build" / "weights.bin"
    with big.open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(2**20))
    lockgate = [sys.executable, "-m", "lockgate"]
    public = ["--public-key", str(keys / "lockgate.pub")]
    seconds: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        seconds.setdefault(name, []).append(value)

    for number in range(runs):
        store, plain, got = f"s3://{BUCKET}/run{number}", f"s3://{BUCKET}/plain{number}", folder / "got"
        cp = ["aws", "s3", "cp", "--only-show-errors"]
        fetch = [*lockgate, "fetch", f"{NAME}@v1.0.0", str(got), "--store", store, *public]

        def upload_theirs() -> None:
            note("aws s3 cp, up", timed(lambda: run(*cp, str(big), plain)))  # noqa: B023 - called in this round

        def upload_ours() -> None:
            begin = time.monotonic()
            arguments = [store, str(big.parent), "v1.0.0", str(keys)]  # noqa: B023
            note("lockgate publish, hashed and uploaded", float(run(sys.executable, "-c", PUBLISH, *arguments)))
            note("lockgate publish, with reading everything back", time.monotonic() - begin)

        def fetch_theirs() -> None:
            copied = timed(lambda: run(*cp, plain, str(got)))  # noqa: B023
            note("aws s3 cp, down", copied)
            note("aws s3 cp, down, and sha256sum", copied + timed(lambda: run("sha256sum", str(got))))  # noqa: B023
            got.unlink()  # noqa: B023

        def fetch_ours() -> None:
            note("lockgate fetch, verified", timed(lambda: run(*fetch)))  # noqa: B023
            shutil.rmtree(got)  # noqa: B023

        order = 1 if number % 2 else -1  # who comes first changes from run to run: the disk remembers
        for steps in ((upload_ours, upload_theirs), (fetch_ours, fetch_theirs)):
            for step in steps[::order]:
                os.sync()
                step()
    return {name: statistics.median(values) for name, values in seconds.items()}


def fill(store: Store, keys: Path, folder: Path, promotions: int) -> None:
    """Give production a log of ``promotions`` entries, each signed and chained, with its pages."""
    registry = Registry(store, NAME, KeyVerifier(keys / "lockgate.pub"))
    signer = KeySigner(keys / "lockgate.key")
    builds = []
    for number in range(2):
        (folder / f"small{number}").mkdir(exist_ok=True)
        (folder / f"small{number}" / "model").write_bytes(b"model %d" % number)
        actor = Actor("ana", "2026-01-02T03:04:05+00:00")
        build, _ = registry.publish(folder / f"small{number}", f"v1.{number}.0", {}, signer=signer, actor=actor)
        builds.append(build.release)
    entries: list[Entry] = []
    for number in range(1, promotions + 1):
        release = builds[number % 2]
        previous = entries[-1].digest if entries else ""
        line = ("promote", release.version, release.manifest, "ana", "2026-01-02T03:04:05+00:00", "as planned")
        entries.append(Entry(NAME, "production", number, *line, f"{NAME}#production#{number}", previous))  # type: ignore[arg-type]
    root = f"{NAME}/environments/production"
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda entry: registry.write_signed(f"{root}/{LAST - entry.number:08d}.json", entry.payload(), signer),
                entries,
            )
        )
    for page in range(1, (promotions - 1) // PAGE + 1):
        store.create(f"{root}/pages/{page:08d}.json", _page(entries[(page - 1) * PAGE : page * PAGE]))
    assert Environment(registry, "production").history() == entries


def histories(url: str, keys: Path, runs: int) -> dict[str, float]:
    options = ["--store", url, "--public-key", str(keys / "lockgate.pub")]
    where = "bucket" if "://" in url else "folder"

    def command(*words: str) -> float:
        return statistics.median(timed(lambda: run(sys.executable, "-m", "lockgate", *words)) for _ in range(runs))

    return {
        f"history of all promotions, {where}": command("history", "production", *options),
        f"show production, {where}": command("show", "production", *options),
        f"verify production, {where}": command("verify", "production", "--no-git", *options),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mb", type=int, default=1024, help="MiB of the model (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=3, help="of each program (default: %(default)s)")
    parser.add_argument(
        "--promotions", type=int, default=10_000, help="entries of the log, 0: skip (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    if shutil.which("aws") is None:
        os.environ["PATH"] = f"{others.environment('aws', 'awscli')}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as place, running(Path(place)) as server:
        folder = Path(place)
        (folder / "keys").mkdir()
        keys = folder / "keys"
        create_key_pair(keys / "lockgate.key", keys / "lockgate.pub")
        os.environ.update(server.environment("admin"))
        seconds = transfers(folder, keys, arguments.size_mb, arguments.runs)
        for url in () if arguments.promotions == 0 else (str(folder / "store"), f"s3://{BUCKET}/log"):
            fill(open_store(url, create=True), keys, folder, arguments.promotions)
            seconds |= histories(url, keys, arguments.runs)
    up, down = seconds["aws s3 cp, up"], seconds["aws s3 cp, down, and sha256sum"]
    ratios = {
        "upload / aws s3 cp": seconds["lockgate publish, hashed and uploaded"] / up,
        "publish with reading back / aws s3 cp": seconds["lockgate publish, with reading everything back"] / up,
        "fetch / aws s3 cp": seconds["lockgate fetch, verified"] / seconds["aws s3 cp, down"],
        "fetch / aws s3 cp and sha256sum": seconds["lockgate fetch, verified"] / down,
    }
    print(f"{arguments.size_mb} MiB, {arguments.promotions:,} promotions, medians of {arguments.runs}\n")
    for name, value in seconds.items():
        print(f"{name:<50} {value:8.2f} s")
    for name, value in ratios.items():
        print(f"{name:<50} {value:8.2f} x")
    if arguments.json:
        arguments.json.write_text(json.dumps({"seconds": seconds, "ratios": ratios}, indent=2) + "\n")


if __name__ == "__main__":
    main()
