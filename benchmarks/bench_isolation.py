"""What it costs to run a stage's command apart from the machine: for one command, and for a whole rebuild.

One command: ``sh -c true`` alone, and in the sandbox that every stage gets, in turns; the fastest of each counts, for
others that use the machine only add. A rebuild: the committed model from its source data, isolated, and where the
kernel grants no namespaces, so that the same code runs without isolation. The bounds are 50 ms for a command and 1.05
times for a rebuild.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from lockgate.dvc.confined import launch
from lockgate.dvc.stages import Sandbox

ROOT = Path(__file__).resolve().parent.parent
BOUND_SECONDS, BOUND_RATIO = 0.050, 1.05
WITHOUT = ["unshare", "--user", "--map-root-user", "sh", "-c"]
WITHOUT += ['echo 0 > /proc/sys/user/max_pid_namespaces && exec "$@"', "sh"]


def seconds(command: list[str], **options: object) -> float:
    """Return how long a command takes. It has to succeed."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)  # type: ignore[call-overload]
    return time.perf_counter() - started


def of_a_command(rounds: int) -> float:
    """Print what a command costs, and return the most that a sandbox adds."""
    most = 0.0
    for network in (True, False):
        with tempfile.TemporaryDirectory() as checkout, tempfile.TemporaryDirectory() as scratch:
            sandbox = Sandbox(network=network, required=True)
            places = sandbox.options(Path(checkout), sandbox.variables())
            heard = os.open(os.devnull, os.O_WRONLY)
            inside = launch(places, Path(scratch), heard, ["/bin/sh", "-c", "true"])
            pairs = [
                (seconds(["/bin/sh", "-c", "true"]), seconds(inside, cwd=checkout, pass_fds=(heard,)))
                for _ in range(rounds)
            ]
            os.close(heard)
        alone, isolated = (min(column) for column in zip(*pairs, strict=True))
        added = isolated - alone
        most = max(most, added)
        kind = "with" if network else "without"
        times = f"{1e3 * alone:.1f} ms, isolated {1e3 * isolated:.1f} ms: + {1e3 * added:.1f} ms"
        print(f"a command {kind} a network: {times}")
    return most


def of_a_rebuild(rounds: int) -> float:
    """Print what a rebuild takes, and return the ratio."""
    rebuild = [sys.executable, "-m", "lockgate", "rebuild", "HEAD", "--dependencies", "current"]
    found = [(seconds([*WITHOUT, *rebuild], cwd=ROOT), seconds(rebuild, cwd=ROOT)) for _ in range(rounds)]
    openly, isolated = (median(column) for column in zip(*found, strict=True))
    print(f"a rebuild: {openly:.1f} s, isolated {isolated:.1f} s: {isolated / openly:.3f} times")
    return isolated / openly


def main() -> int:
    """Measure; exit code 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=31, help="commands of each kind (default: 31)")
    parser.add_argument("--rebuilds", type=int, default=1, help="rebuilds of each kind, a minute each (default: 1)")
    arguments = parser.parse_args()
    missed = of_a_command(arguments.rounds) > BOUND_SECONDS
    if arguments.rebuilds:
        missed |= of_a_rebuild(arguments.rebuilds) > BOUND_RATIO
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
