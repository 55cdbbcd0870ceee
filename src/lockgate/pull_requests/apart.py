"""Computes what a result has to be in a process without rights: it reads files that an author may have made.

The process has no variable of the job but a few harmless ones, so no token; a home folder of its own; bounds on memory
and time; and no way to more rights. What comes back is one JSON text, read as strictly as the artifact itself.
"""

import ctypes
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lockgate.errors import LockgateError
from lockgate.git import Commit
from lockgate.pull_requests import artifact, bound
from lockgate.pull_requests.artifact import Artifact, Unfit
from lockgate.pull_requests.bound import Computed
from lockgate.result import read_result

SECONDS = 300
"""Of work, after which the process is ended."""
MEMORY = 12 << 30
"""Bytes of address space."""
PASSED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")
"""The variables that the process gets: git reads files as this machine's configuration has it."""
_SET_DUMPABLE, _SET_NO_NEW_PRIVILEGES = 4, 38  # of prctl(2)


@dataclass(frozen=True)
class Sides:
    """The two commits of a repository, and what they are called."""

    root: Path
    base: Commit
    head: Commit


def compute(sides: Sides, left: Artifact) -> Computed:
    """Return what the result has to be: :func:`lockgate.pull_requests.bound.compute`, in a process without rights.

    Raises :class:`Unfit` as that does, and where the process does not end well.
    """
    _prctl(_SET_DUMPABLE, 0)  # nobody reads our environment, where the token is, through /proc
    with TemporaryDirectory(prefix="lockgate-apart-") as place:
        folder, home = Path(place, "left"), Path(place, "home")
        home.mkdir()
        artifact.write(folder, left)
        environment = {name: os.environ[name] for name in PASSED if name in os.environ}
        environment |= {"HOME": str(home), "TMPDIR": place, "DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "2"}
        settings = Path(os.environ.get("HOME", "/nonexistent"), ".gitconfig")
        if settings.is_file():
            environment.setdefault("GIT_CONFIG_GLOBAL", str(settings))
        told = [str(sides.root), str(folder)]
        told += [text for side in (sides.base, sides.head) for text in (side.label, side.commit)]
        command = [sys.executable, "-I", "-m", "lockgate.pull_requests.apart", json.dumps(told)]
        try:
            done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=SECONDS + 60)
        except subprocess.TimeoutExpired as error:
            raise Unfit(f"it cannot be computed within {SECONDS:,} seconds") from error
    try:
        said: Any = json.loads(done.stdout)
    except ValueError as error:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Unfit(f"what it has to be cannot be computed: {last[-300:]}") from error
    if "misfit" in said:
        raise Unfit(str(said["misfit"]))
    result = read_result(json.dumps(said["result"])) if said["result"] else None
    return Computed(result, tuple(map(str, said["unverified"])))


def main(arguments: list[str]) -> int:
    """Compute in this process, and print one JSON text."""
    _bound_this_process()
    root, folder, base_label, base, head_label, head = json.loads(arguments[0])
    try:
        left = artifact.read({path.name: path.read_bytes() for path in Path(folder).iterdir()})
        run = left.result.execution if left.result else None
        claimed = left.result is not None and left.result.lock.status == "claimed"
        sides = (Commit(Path(root), base_label, base), Commit(Path(root), head_label, head))
        computed = bound.compute(*sides, left, claimed=claimed, execution=run)
        result = json.loads(computed.result.to_json()) if computed.result else None
        said = {"result": result, "unverified": computed.unverified}
    except LockgateError as error:
        said = {"misfit": str(error).encode("utf-8", "backslashreplace").decode()}
    sys.stdout.write(json.dumps(said))
    return 0


def _bound_this_process() -> None:
    import resource

    _prctl(_SET_NO_NEW_PRIVILEGES, 1)
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_FSIZE, 1 << 30),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (limit, limit))


def _prctl(option: int, value: int) -> None:
    """Ask Linux for less; another system has no such call."""
    call = getattr(ctypes.CDLL(None), "prctl", None)
    if call is not None:
        call(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
