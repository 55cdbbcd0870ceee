"""How long set-up takes: from nothing, beside pip with the same locks; out of a warm cache; for a pull request.

    python -m benchmarks.bench_setup [--rounds 1]

Each environment is made in a fresh clone with an empty home, so that everything is downloaded (about 0.3 GB a side and
round). pip is what installed before: ``python -m venv`` and ``pip install --require-hashes``; with ``--no-deps``, as it
fails without: it goes past a pin. The sides take turns; medians of the rounds.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
BASE = Path(sys.base_prefix) / "bin/python3.11"
LOCKS = ("requirements/pipeline.lock", "requirements/lockgate.lock")


def timed(clone: Path, *commands: tuple[str, ...]) -> float:
    """Return the seconds that commands take in a clone whose home is beside it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("UV_CACHE", "PIP_CACHE", "XDG_"))}
    path = os.pathsep.join([str(clone / ".venv/bin"), os.environ["PATH"]])
    home = {"HOME": str(clone.parent / "home"), "VIRTUAL_ENV": "", "PATH": path, "PYTHONPATH": "src"}
    began = time.monotonic()
    for command in commands:
        done = subprocess.run(command, cwd=clone, env={**kept, **home}, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return time.monotonic() - began


def with_uv(clone: Path, level: str = "run") -> float:
    return timed(clone, ("make", f".venv/{level}"))


def with_pip(clone: Path) -> float:
    pip = (str(clone / ".venv/bin/pip"), "install", "--quiet", "--disable-pip-version-check", "--no-deps")
    locks = [word for lock in LOCKS for word in ("-r", lock)]
    return timed(
        clone,
        (str(BASE), "-m", "venv", ".venv"),
        (*pip, "--require-hashes", *locks),
        (*pip, "--no-build-isolation", "--editable", "."),
    )


def pipeline(clone: Path) -> float:
    """Do what ``make run`` does once the environment is there; the first imports write their bytecode here."""
    return timed(clone, ("lockgate", "run", "--complete"), ("python", "-m", "flight_delay.summary"))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="environments of each kind (default: %(default)s)")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="lockgate-setup-") as name:

        def clone() -> Path:
            target = Path(tempfile.mkdtemp(dir=name)) / "clone"
            (target.parent / "home").mkdir()
            subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(target)], check=True)
            return target

        seconds: dict[str, list[float]] = {name: [] for name in ("pip", "pip run", "uv", "uv run", "publish", "warm")}

        def cold(side: str, work: Callable[[Path], float]) -> Path:
            place = clone()
            seconds[side].append(work(place))
            return place

        for _ in range(rounds):
            place = cold("pip", with_pip)
            seconds["pip run"].append(seconds["pip"][-1] + pipeline(place))
            shutil.rmtree(place.parent)
            shutil.rmtree(cold("publish", lambda place: with_uv(place, "publish")).parent)
            place = cold("uv", with_uv)
            seconds["uv run"].append(seconds["uv"][-1] + pipeline(place))
            timed(place, ("make", "clean"))
            seconds["warm"].append(with_uv(place))
            shutil.rmtree(place.parent)
    found = {side: median(values) for side, values in seconds.items()}
    both = found["uv"] + found["publish"]
    rows = [
        ("make .venv/run, empty cache", found["uv"], "pip", found["pip"], "at most 0.6"),
        ("make run from nothing, the stages too", found["uv run"], "pip", found["pip run"], "at most 0.6"),
        ("set-up of both jobs of a pull request", both, "pip, for both", 2 * found["pip"], "at most 0.5"),
    ]
    print(f"median of {rounds}")
    for what, ours, other, theirs, aim in rows:
        print(f"  {what:40} {ours:6.1f} s   {other:14} {theirs:6.1f} s   ratio {ours / theirs:.2f} (aim: {aim})")
    print(f"  {'make .venv/run after make clean, warm cache':40} {found['warm']:6.1f} s   (aim: at most 5 s)")


if __name__ == "__main__":
    main()
