"""How long ``lockgate monitor`` takes for a day of 1,000,000 scores that are joined with their outcomes by key.

It is measured beside a plain pandas script that only joins and computes the metrics (``benchmarks/plain_monitor.py``).

Both are processes of their own and take turns; the median counts. Fails above 10 s, above 1 GB, or above the time of
the script.
"""

import subprocess
import sys
import tempfile
from datetime import date, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.lockgate.monitoring import monitored
from tests.lockgate.releases import make_keys

from lockgate.monitoring.outcome_store import new_addition, store_at
from lockgate.monitoring.reference import to_bytes
from lockgate.releasing.environments import Environment
from lockgate.releasing.registry import Actor, Registry
from lockgate.serving.described import Described
from lockgate.serving.sinks import as_table, write_parquet
from lockgate.store import open_store

ROWS, DAY, TURNS, FILES = 1_000_000, date(2026, 3, 2), 3, 8
SECONDS, MEGABYTES, OF_PLAIN = 10.0, 1000, 1.0
LOCKGATE = [sys.executable, "-m", "lockgate"]


def make(folder: Path, rows: int = ROWS, days: int = 1) -> None:
    """Write a store with a release, a record of ``rows`` scores on each of so many days, and outcomes for 19 of 20."""
    (folder / "lockgate.yaml").write_text(monitored.POLICY)
    keys = make_keys(folder)
    registry = Registry(open_store(str(folder / "store"), create=True), monitored.NAME, keys.verifier)
    build = folder / "build"
    build.mkdir()
    (build / "reference.json").write_bytes(to_bytes(monitored.promise(folder, each=2_000)))
    actor = Actor("bench", f"{DAY}T00:00:00+00:00")
    facts = {"commit": "0" * 40, "rebuild": {"level": "full"}, "gates": [], "metrics": {}}
    released, _ = registry.publish(build, "v1.0.0", facts, signer=keys.signer, actor=actor)
    Environment(registry, "production").append(released, keys.signer, actor, "promote")
    digest, serving = released.release.manifest, monitored.policy().serving
    assert serving is not None
    described = Described(monitored.COLUMNS, serving.key)
    store = store_at(str(folder / "record/outcomes"))
    for number in range(days):
        day = DAY + timedelta(days=number)
        table = monitored.rows(day, 1, rows, number)
        place = folder / "record" / f"day={day}"
        place.mkdir(parents=True)
        for piece in range(FILES):
            part = table.slice(piece * rows // FILES, rows // FILES)
            write_parquet(
                fs.LocalFileSystem(), str(place / f"{piece}-{digest[:12]}.parquet"), recorded(part, digest, described)
            )
        known = table.select(["date", "n", "label"]).filter(np.arange(rows) % 20 != 0)
        store.append(new_addition(store, monitored.NAME, ["date", "n"], f"{number:064x}", "bench"), known)
        pq.write_table(known, folder / f"outcomes-{number}.parquet")


def recorded(table: pa.Table, build: str, described: Described) -> pa.Table:
    """Return rows as the service records them, with their requests."""
    asked = ("carrier", "departure", "wind", "n")
    values = {name: pc.fill_null(table[name].cast(pa.string()), "null") for name in asked}
    times = pc.replace_substring(values["departure"], " ", "T")
    parts = [
        '{"carrier":"',
        values["carrier"],
        '","departure":"',
        times,
        '","wind":',
        values["wind"],
        ',"n":',
        values["n"],
        "}",
    ]
    requests = pc.binary_join_element_wise(*(pa.scalar(one) if isinstance(one, str) else one for one in parts), "")
    first = {name: table[name][0].as_py() for name in ("id", "time", "probability", "latency_ms")}
    one = (first["id"], 0, f"{first['time'].isoformat()}+00:00", monitored.RELEASE, build, first["probability"])
    form = as_table([(*one, requests[0].as_py(), first["latency_ms"])], described).schema
    known = {"release": pa.array([monitored.RELEASE] * table.num_rows), "build": pa.array([build] * table.num_rows)}
    columns = {**{name: table[name] for name in table.column_names}, **known, "request": requests}
    return pa.table([columns[name].cast(form.field(name).type) for name in form.names], schema=form)


LAUNCH = """
import resource, subprocess, sys, time
start = time.perf_counter()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""
"""Starts a command from a small process: Linux counts what a large one held as the memory of what it starts."""


def measured(folder: Path, command: list[str]) -> tuple[float, float]:
    """Run a command in ``folder``; return its seconds and the most memory it held, in MB."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCH, *command], cwd=folder, check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")
    seconds, kilobytes = done.stdout.split()
    return float(seconds), float(kilobytes) / 1000


def monitor_command(days: int = 1) -> list[str]:
    until = datetime.combine(DAY + timedelta(days=days + 3), datetime.min.time()).isoformat()
    asked = ["monitor", "production", "--record", "record", "--store", "store", "--window", "day", "--until", until]
    return [*LOCKGATE, *asked, "--html", "page.html"]


def main() -> int:
    """Measure both, print a table, return 1 where a bound was missed."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make(folder)
        plain = [sys.executable, str(Path(__file__).with_name("plain_monitor.py")), "record/day=" + str(DAY)]
        commands = {"lockgate monitor": monitor_command(), "plain script": [*plain, "outcomes-0.parquet"]}
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(TURNS):
            for name, command in commands.items():
                figures[name].append(measured(folder, command))
    ours, theirs = (median(seconds for seconds, _ in figures[name]) for name in commands)
    memory = {name: max(megabytes for _, megabytes in several) for name, several in figures.items()}
    for name, seconds in zip(commands, (ours, theirs), strict=True):
        print(f"{name:18} {seconds:6.2f} s {memory[name]:7.0f} MB")
    print(f"{ROWS:,} scores of a day, joined and judged: {ours / theirs:.2f} times the plain script")
    good = ours <= SECONDS and memory["lockgate monitor"] <= MEGABYTES and ours <= OF_PLAIN * theirs
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
