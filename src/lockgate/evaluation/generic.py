"""A metric that a function of the repository computes: ``function: metrics.py:metrics`` of a metric in the policy.

The function takes a mapping from column names to numpy arrays (the rows of one side's predictions) and returns a
number, or a mapping from names of metrics to numbers. It is run on the rows that base and head share and on resamples
of them (:mod:`lockgate.evaluation.bootstrap`), in a process without rights: no network, no variable of this machine's,
neither the repository nor anybody's home to read, nothing to write but a folder of its own, bounds on memory and time.

The function judges, so its code is *base's*: what a pull request changes about it counts once it is merged, and the
comment says that it changes. Where the function cannot be run for a reason that lies in this machine (a package is not
installed, it takes too long), that is told to the caller: the half that publishes then says that the figures rest on
the word of the run.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate.dvc.confined import listened_to
from lockgate.evaluation import bootstrap
from lockgate.evaluation.compare import DISAGREEMENT, Judged, Side, with_estimate
from lockgate.evaluation.predictions import File, Refused, cluster_of
from lockgate.evaluation.row_keys import matching_rows
from lockgate.evaluation.scored import label_beside
from lockgate.evaluation.statistics import Undefined
from lockgate.files import progress
from lockgate.formatting import fixed
from lockgate.git import Snapshot
from lockgate.policy import Metric, Policy, Predictions
from lockgate.result import MetricChange
from lockgate.temporary import temporary_folder

if TYPE_CHECKING:
    from lockgate.evaluation.statistics import Indices

FIRST = 60.0
"""Seconds that the function may take for all rows of both sides."""
ALL = 200.0
"""Seconds that all functions of a comparison may take together, resamples included."""
SILENT = 5.0
"""Seconds after which it is said how far the resamples are."""
CODE = 64 << 20
"""Bytes of Python files that are laid out for the function."""
PASSED = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH")
MODULE = "lockgate.evaluation.generic_worker"


@dataclass
class Said:
    """What a function's process said: values by side, which files of the repository it is made of, the changes on
    resamples by number, or what the ``problem`` is and of what (:data:`lockgate.evaluation.generic_worker.KINDS`)."""

    values: dict[str, dict[str, float]] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    changes: dict[int, dict[str, float]] = field(default_factory=dict)
    problem: str = ""
    of: str = ""

    def hear(self, line: bytes, metrics: tuple[str, ...], sides: tuple[str, ...]) -> None:
        """Take in a line. What is not of the form is a problem of the function, which must have written it."""
        try:
            told: Any = json.loads(line)
            if "problem" in told:
                self.problem, self.of = self.problem or str(told["problem"]), self.of or str(told["of"])
            elif "change" in told:
                self.changes[int(told["resample"])] = {name: float(told["change"][name]) for name in metrics}
            else:
                self.modules = tuple(str(one) for one in told["modules"])
                self.values = {side: {name: float(told["values"][side][name]) for name in metrics} for side in sides}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.problem, self.of = "it wrote into the answers of its process", "function"


@dataclass(frozen=True, slots=True)
class Rows:
    """The two files, which of their rows both have, and the cluster of each of these."""

    what: Predictions
    files: tuple[File, File]
    labels: tuple[File | None, File | None]
    rows: "tuple[Indices, Indices]"
    cluster: "Indices | None"
    differ: bool

    @classmethod
    def of(cls, what: Predictions, base: Side, head: Side) -> "Rows":
        """Match the rows of both sides. Raises :class:`Refused`."""
        if base.predictions is None or head.predictions is None:
            raise Refused("one side has no predictions")
        files = (File("base", what.file, base.predictions), File("head", what.file, head.predictions))
        rows = matching_rows(what, *files)
        counts = [file.column(what.key[0]) for file in files]
        differ = any(len(column) != len(rows[0]) for column in counts)
        cluster = cluster_of(what, files[0], rows[0]) if what.cluster else None
        labels = [
            None if what.labels is None or side.labels is None else File(file.side, what.labels, side.labels)
            for file, side in zip(files, (base, head), strict=True)
        ]
        return cls(what, files, (labels[0], labels[1]), rows, cluster, differ)


def judge(
    policy: Policy, code: Snapshot | None, head_code: Snapshot, sides: tuple[Side, Side], judged: Judged
) -> tuple[Judged, tuple[str, ...]]:
    """Judge the metrics that have a function; return what was found, and of which of them this machine cannot say.

    ``code`` is where the functions are taken from, which is base; ``head_code`` says whether they change.
    """
    asked = [one for one in judged.metrics if policy.metric(one.name).function and one.change is not None]
    comparison = judged.comparison
    if not asked or code is None or policy.predictions is None or comparison.refused or comparison.incomplete:
        return judged, ()
    try:
        rows = Rows.of(policy.predictions, *sides)
    except Refused as reason:
        told = {one.name: replace(one, note=f"no interval: {reason}") for one in asked}
        return replace(judged, metrics=tuple(told.get(one.name, one) for one in judged.metrics)), ()
    functions: dict[str, list[MetricChange]] = {}
    for one in asked:
        functions.setdefault(policy.metric(one.name).function or "", []).append(one)
    until = time.monotonic() + ALL
    found: dict[str, MetricChange] = {}
    warnings: list[str] = []
    unknown: list[str] = []
    disagree = dict(judged.disagree)
    for function, changes in functions.items():
        said = run(function, code, rows, tuple(one.name for one in changes), until)
        if said.problem and said.of == "machine":
            unknown += [f"{one.name} ({function}: {said.problem})" for one in changes]
        for one in changes:
            found[one.name] = _judged(policy.metric(one.name), one, said, rows)
        for name, side in _disagreement(changes, said, rows).items():
            found[name] = replace(one_of(changes, name), note=f"not judged: {side}")
            warnings.append(f"{name} is not judged, because {side}.")
            if side.startswith("head"):
                disagree[name] = side
        warnings += _changed(function, [one.name for one in changes], said, code, head_code)
    metrics = tuple(found.get(one.name, one) for one in judged.metrics)
    every = (*judged.warnings, *warnings)
    return replace(judged, metrics=metrics, warnings=every, disagree=disagree), tuple(unknown)


def one_of(changes: list[MetricChange], name: str) -> MetricChange:
    """Return the change of a metric."""
    return next(one for one in changes if one.name == name)


def _judged(metric: Metric, recorded: MetricChange, said: Said, rows: Rows) -> MetricChange:
    """Return the change with its interval, or why it has none."""
    import numpy as np

    bare = replace(recorded, change=None) if rows.differ else recorded
    if said.problem:
        where = " on a resample of the rows" if said.of == "resample" else ""
        return replace(bare, note=f"no interval: {metric.function}: {said.problem}{where}")
    base, head = (said.values[side][metric.name] for side in ("base", "head"))
    try:
        bootstrap.check(len(rows.rows[0]), rows.cluster)
        changes = np.array([said.changes[number][metric.name] for number in sorted(said.changes)])
        estimate = bootstrap.estimate(base, head, changes, len(rows.rows[0]), rows.cluster)
    except Undefined as reason:
        return replace(bare, note=f"no interval: {reason}")
    return with_estimate(recorded, estimate, metric, differ=rows.differ)


def _disagreement(changes: list[MetricChange], said: Said, rows: Rows) -> dict[str, str]:
    """Say of each metric whose file says something else than the function that it does."""
    found: dict[str, str] = {}
    if said.of == "function":
        return found
    for one in changes:
        for side, told in (("base", one.base), ("head", one.head)):
            values = said.values.get(f"{side}_file" if rows.differ else side, {})
            if one.name not in values or told is None:
                continue
            computed = values[one.name]
            if abs(told - computed) > DISAGREEMENT * max(1.0, abs(computed)):
                text = f"{side}'s metrics file says {fixed(told, 4)}, the function gives {fixed(computed, 4)}"
                found[one.name] = f"{found[one.name]}; {text}" if one.name in found else text
    return found


def _changed(function: str, names: list[str], said: Said, code: Snapshot, head: Snapshot) -> list[str]:
    """Say which files of the function a pull request changes."""
    files = said.modules or (function.partition(":")[0],)
    changed = [file for file in files if code.read(file) != head.read(file)]
    if not changed:
        return []
    named = ", ".join(changed[:3]) + (f" and {len(changed) - 3:,} more" if len(changed) > 3 else "")
    computed = f"{', '.join(names[:-1])} and {names[-1]} are" if len(names) > 1 else f"{names[0]} is"
    return [f"This changes {named}, by which {computed} computed: base's copy judged, not this one."]


# --- the process


def run(function: str, code: Snapshot, rows: Rows, metrics: tuple[str, ...], until: float) -> Said:
    """Run a function on the rows and on resamples of them, in a process without rights, until a time at most."""
    import numpy as np

    said = Said()
    file, _, name = function.partition(":")
    sides = ("base", "head", *(("base_file", "head_file") if rows.differ else ()))
    few = False
    try:
        bootstrap.check(len(rows.rows[0]), rows.cluster)
    except Undefined:
        few = True  # the values are asked all the same: the metrics files are held to them
    with temporary_folder("metrics") as folder:
        _lay_out(code, folder / "code")
        task: dict[str, Any] = {
            "code": str(folder / "code"),
            "file": file,
            "function": name,
            "metrics": metrics,
            "differ": rows.differ,
            "own": () if rows.what.period else rows.what.cluster,
            "resamples": 0 if few else bootstrap.RESAMPLES,
            "cluster": None,
        }
        try:
            for side, number in (("base", 0), ("head", 1)):
                chosen = rows.rows[number]
                _write(rows, number, folder / f"{side}.parquet")
                np.save(folder / f"{side}_rows.npy", chosen)
                task |= {side: str(folder / f"{side}.parquet"), f"{side}_rows": str(folder / f"{side}_rows.npy")}
        except Refused as reason:
            return Said(problem=str(reason), of="function")
        if rows.cluster is not None:
            np.save(folder / "cluster.npy", rows.cluster)
            task["cluster"] = str(folder / "cluster.npy")
        told = [time.monotonic() + SILENT]

        def hear(line: bytes) -> float:
            said.hear(line, metrics, sides)
            if time.monotonic() > told[0] and said.changes:
                progress(f"{', '.join(metrics)}: {len(said.changes):,} of {bootstrap.RESAMPLES:,} resamples")
                told[0] = time.monotonic() + SILENT
            return max(0.0, until - time.monotonic())

        limit = min(FIRST, max(0.0, until - time.monotonic()))
        command = [sys.executable, "-I", "-m", MODULE, json.dumps(task)]
        try:
            ended = listened_to(command, _variables(), hear, repository=_top(code), read=folder, seconds=limit)
        except TimeoutError:
            late = (
                f"all resamples take longer than {ALL:.0f} s" if said.values else f"it takes longer than {FIRST:.0f} s"
            )
            return replace(said, problem=late, of="machine")
    if not said.problem and (not said.values or len(said.changes) < task["resamples"]):
        how = f"signal {ended - 128}" if ended > 128 else f"exit code {ended}"
        said.problem, said.of = f"it ended its process ({how})", "machine"
    return said


def _variables() -> Mapping[str, str]:
    kept = {name: os.environ[name] for name in PASSED if name in os.environ}
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**kept, **single, "PYTHONHASHSEED": "0"}  # there is a process for each processor


def _top(code: Snapshot) -> Path:
    """Return the folder of the repository that a snapshot is of, which the function is not to read."""
    inner: Any = code
    while hasattr(inner, "under"):
        inner = inner.under
    root = Path(inner.root).resolve()
    return next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), root)


def _lay_out(code: Snapshot, folder: Path) -> None:
    """Write the Python files of a snapshot to a folder."""
    room = CODE
    folder.mkdir()
    for name in code.list(".py"):
        content = code.read(name)
        target = (folder / name).resolve()
        if content is None or len(content) > room or not target.is_relative_to(folder.resolve()):
            continue
        room -= len(content)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def _write(rows: Rows, number: int, target: Path) -> None:
    """Write all columns of a side's predictions as Parquet, and the label where that is in another file. Raises
    :class:`Refused`."""
    from pyarrow import parquet

    file = rows.files[number]
    table = file.columns(file.names())
    if rows.what.labels is not None and rows.what.label not in table.column_names:
        table = table.append_column(rows.what.label, label_beside(rows.what, file, rows.labels[number]))
    parquet.write_table(table, target)
