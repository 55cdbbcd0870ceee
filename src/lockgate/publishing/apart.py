"""Computes what a result has to be in a process without rights: it reads files that an author may have made.

The process runs in the sandbox of stages (:mod:`lockgate.dvc.confined`): it sees no other process and no variable of
the job but a few harmless ones, so no token; it reads the repository, writes to temporary folders of its own, reaches
no network, and has bounds on memory and time. What comes back is one JSON text, read as strictly as the artifact.
"""

import ctypes
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate.dvc.confined import confined
from lockgate.dvc.remotes import Object
from lockgate.errors import LockgateError
from lockgate.git import Commit
from lockgate.publishing import artifact, bound
from lockgate.publishing.artifact import Artifact, Unfit
from lockgate.publishing.bound import Computed
from lockgate.result import read_results
from lockgate.temporary import temporary_folder

SECONDS = 300
"""Of work, after which the process is ended."""
MEMORY = 12 << 30
"""Bytes of address space."""
PASSED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")
"""The variables that the process gets: git reads files as this machine's configuration has it."""
_DUMPABLE, _SET_DUMPABLE, _SET_NO_NEW_PRIVILEGES = 3, 4, 38  # of prctl(2)


@dataclass(frozen=True)
class Sides:
    """The two commits of a repository, and what they are called."""

    root: Path
    base: Commit
    head: Commit


def compute(sides: Sides, left: Artifact) -> Computed:
    """Return what the result has to be: :func:`lockgate.publishing.bound.compute`, in a process without rights.

    Raises :class:`Unfit` as that does, and where the process does not end well.
    """
    with temporary_folder("apart") as folder, _unreadable():
        artifact.write(folder, left)
        environment = {name: os.environ[name] for name in PASSED if name in os.environ}
        environment |= {"DVC_NO_ANALYTICS": "1", "OMP_NUM_THREADS": "2"}
        settings = Path(os.environ.get("HOME", "/nonexistent"), ".gitconfig")
        if settings.is_file():
            environment.setdefault("GIT_CONFIG_GLOBAL", str(settings))
        told = [str(sides.root), str(folder)]
        told += [text for side in (sides.base, sides.head) for text in (side.label, side.commit)]
        command = [sys.executable, "-I", "-m", "lockgate.publishing.apart", json.dumps(told)]
        try:
            done = confined(command, environment, repository=sides.root, read=[folder], seconds=SECONDS + 60)
        except TimeoutError as error:
            raise Unfit(f"it cannot be computed within {SECONDS:,} seconds") from error
    return heard(done.output, done.errors.decode(errors="replace"), done.code)


def heard(output: bytes, errors: str, code: int) -> Computed:
    """Return what the process came to. Raises :class:`Unfit` where that is no result."""
    try:
        said: Any = json.loads(output)
    except ValueError as error:
        last = (errors.strip().splitlines() or [f"exit code {code}"])[-1]
        raise Unfit(f"what it has to be cannot be computed: {last[-300:]}") from error
    if "misfit" in said:
        raise Unfit(str(said["misfit"]))
    result = read_results(json.dumps(said["result"])) if said["result"] else None
    lacking = tuple(Object(str(digest), bool(legacy)) for digest, legacy in said["lacking"])
    whose = {str(name): tuple(map(str, told)) for name, told in said["whose"].items()}
    return Computed(result, tuple(map(str, said["unverified"])), lacking, whose)


def main(arguments: list[str]) -> int:
    """Compute in this process, and print one JSON text."""
    bound_this_process()
    root, folder, base_label, base, head_label, head = json.loads(arguments[0])
    sides = Sides(Path(root), Commit(Path(root), base_label, base), Commit(Path(root), head_label, head))
    files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    sys.stdout.write(answer(sides, files))
    return 0


def answer(sides: Sides, files: dict[str, bytes]) -> str:
    """Return as one JSON text what a result with these files of the artifact has to be, or why there can be none."""
    try:
        left = artifact.read(files)
        run = left.result.execution if left.result else None
        claimed = left.result is not None and left.result.lock.status == "claimed"
        computed = bound.compute(sides.base, sides.head, left, claimed=claimed, execution=run)
        result = json.loads(computed.result.to_json()) if computed.result else None
        lacking = [[item.digest, item.legacy] for item in computed.lacking]
        said = {"result": result, "unverified": computed.unverified, "lacking": lacking, "whose": dict(computed.whose)}
    except LockgateError as error:
        said = {"misfit": str(error).encode("utf-8", "backslashreplace").decode()}
    return json.dumps(said)


def bound_this_process() -> None:
    """Give up what reading hostile files does not need: time, memory, room on the disk, new rights."""
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


@contextmanager
def _unreadable() -> Iterator[None]:
    """Have nobody read the environment of this process, where the token is, through ``/proc`` meanwhile."""
    before = _prctl(_DUMPABLE, 0)
    _prctl(_SET_DUMPABLE, 0)
    try:
        yield
    finally:
        _prctl(_SET_DUMPABLE, before)


def _prctl(option: int, value: int) -> int:
    """Ask Linux for less; another system has no such call."""
    call = getattr(ctypes.CDLL(None), "prctl", None)
    return 0 if call is None else int(call(option, value, 0, 0, 0))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
