"""How long stages took on this machine: what a reviewer compares the times of a run with.

Times belong to a machine, so that they are in no lock and in no store: a file in DVC's folder for temporary ones keeps
them, by what a stage ran with.
"""

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lockgate.dvc.pipeline import Lock, LockedStage
from lockgate.files import write_whole
from lockgate.result import Execution

MOST = 500
"""Entries that are kept, the newest."""


def beside(root: Path, execution: Execution, before: Lock | None, after: Lock) -> Execution:
    """Return the execution with what each stage that ran took when base's was run here, and remember what it took now.

    ``before`` is base's lock, ``after`` is the one that the run came to.
    """
    known = _read(root)
    runs = []
    for run in execution.stages:
        entry = before.stages.get(run.name) if before else None
        runs.append(replace(run, seconds_base=known.get(_key(entry)) if entry and run.status == "ran" else None))
    fresh = {
        _key(after.stages[run.name]): round(run.seconds, 2)
        for run in execution.stages
        if run.status == "ran" and run.name in after.stages
    }
    if fresh:
        kept = {key: seconds for key, seconds in known.items() if key not in fresh} | fresh
        _file(root).parent.mkdir(parents=True, exist_ok=True)
        write_whole(_file(root), json.dumps(dict(list(kept.items())[-MOST:])))
    return replace(execution, stages=tuple(runs))


def _file(root: Path) -> Path:
    return root / ".dvc" / "tmp" / "lockgate" / "times.json"


def _read(root: Path) -> dict[str, float]:
    """Return the seconds by key; a file that something else wrote counts as none."""
    with suppress(OSError, ValueError, AttributeError):
        found = json.loads(_file(root).read_bytes()).items()
        return {str(key): float(seconds) for key, seconds in found if isinstance(seconds, int | float)}
    return {}


def _key(entry: LockedStage) -> str:
    ran_with = [entry.name, entry.cmd, {path: one.digest for path, one in entry.deps.items()}, entry.params]
    return hashlib.sha256(json.dumps(ran_with, sort_keys=True, default=str).encode()).hexdigest()[:24]
