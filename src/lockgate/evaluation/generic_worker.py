"""Runs a metrics function of the repository on rows and on resamples of them: a program, in a process without rights.

``python -m lockgate.evaluation.generic_worker TASK`` takes a JSON text and says what it found as one JSON object a
line:

- ``{"values": {"base": {…}, "head": {…}}, "modules": […]}``: what the function says of both sides, and which files of
  the repository it came from;
- ``{"resample": 7, "change": {…}}``: how much each metric changes on one resample, in any order;
- ``{"problem": TEXT, "of": KIND}``: why there is nothing more, ``KIND`` being one of :data:`KINDS`.

What the function itself prints goes nowhere.
"""

import importlib.util
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

MEMORY = 8 << 30
"""Bytes of address space of each process."""
KINDS = ("function", "resample", "machine")
"""What a problem is of: the function and these rows, whoever runs it; a resample; or what this machine has."""
TEXT = 300
SAID = 99
"""The exit code of a process that has said its problem."""

Metrics = Callable[[Mapping[str, Any]], Any]


class Problem(Exception):  # noqa: N818 - an answer
    """Why there is no value. ``of`` is one of :data:`KINDS`."""

    def __init__(self, text: str, of: str = "function") -> None:
        super().__init__(text[:TEXT])
        self.of = of


def main(arguments: list[str]) -> int:
    """Do the task, and say what comes of it."""
    task = json.loads(arguments[0])
    out = os.dup(1)  # what the function prints must not be taken for an answer
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    _bound()
    try:
        _work(task, lambda said: _say(out, said))
    except Problem as problem:
        _say(out, {"problem": str(problem), "of": problem.of})
    except MemoryError:
        _say(out, {"problem": "there is not enough memory", "of": "machine"})
    return 0


def _say(out: int, said: Mapping[str, Any]) -> None:
    os.write(out, (json.dumps(said) + "\n").encode())  # one write: no line of two processes is mixed


def _bound() -> None:
    import resource

    for what, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 1 << 26), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(what)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (limit, limit))


def _work(task: Mapping[str, Any], say: Callable[[Mapping[str, Any]], None]) -> None:
    import numpy as np

    from lockgate.evaluation.bootstrap import Resampler

    wanted = [str(name) for name in task["metrics"]]
    whole = [read_table(Path(task[side])) for side in ("base", "head")]
    rows = [np.load(task[f"{side}_rows"], allow_pickle=False) for side in ("base", "head")]
    cluster = np.load(task["cluster"], allow_pickle=False) if task["cluster"] else None
    shared = [{name: column[of] for name, column in table.items()} for table, of in zip(whole, rows, strict=True)]
    function = load(Path(task["code"]), str(task["file"]), str(task["function"]))
    values = {
        name: measured(function, {key: column.copy() for key, column in table.items()}, wanted)
        for name, table in zip(("base", "head", "base_file", "head_file"), (*shared, *whole), strict=True)
        if not name.endswith("_file") or task["differ"]
    }
    if measured(function, {key: column.copy() for key, column in shared[0].items()}, wanted) != values["base"]:
        raise Problem("it returned other numbers for the same rows: it draws at random without a seed")
    say({"values": values, "modules": _modules(Path(task["code"]))})
    if task["resamples"] == 0:
        return
    resampler = Resampler(len(rows[0]), cluster, task["own"])

    def on_resamples(first: int, step: int) -> None:
        for number in range(first, task["resamples"], step):
            drawn = resampler.draw(number)
            try:
                before, after = (measured(function, resampler.taken(table, drawn), wanted) for table in shared)
            except Problem as problem:
                raise Problem(str(problem), "resample" if problem.of == "function" else problem.of) from problem
            say({"resample": number, "change": {name: after[name] - before[name] for name in wanted}})

    _in_parallel(on_resamples, say)


def _in_parallel(work: Callable[[int, int], None], say: Callable[[Mapping[str, Any]], None]) -> None:
    """Do the work in as many processes as there are processors; the first problem ends all of them."""
    several = min(32, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    processes = [_forked(work, say, number, several) for number in range(several)]
    running = set(processes)
    while running:
        ended, status = os.wait()
        if ended not in running:
            continue  # a process of the function's own
        running.remove(ended)
        if status:
            for process in running:
                os.kill(process, 9)
            if os.waitstatus_to_exitcode(status) != SAID:
                raise Problem(died(os.waitstatus_to_exitcode(status)), "machine")
            return


def _forked(
    work: Callable[[int, int], None], say: Callable[[Mapping[str, Any]], None], number: int, several: int
) -> int:
    process = os.fork()
    if process:
        return process
    try:
        work(number, several)
    except Problem as problem:
        say({"problem": str(problem), "of": problem.of})
        os._exit(SAID)
    except MemoryError:
        say({"problem": "there is not enough memory", "of": "machine"})
        os._exit(SAID)
    os._exit(0)


def died(code: int) -> str:
    """Say how a process ended that should not have."""
    return f"it ended its process (signal {-code})" if code < 0 else f"it ended its process (exit code {code})"


# --- the rows


def read_table(path: Path) -> dict[str, Any]:
    """Return the columns of a Parquet file as numpy arrays: numbers, true and false, dates and times, and text (with
    ``None`` where a text is missing, NaN where a number is)."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute, parquet

    table = parquet.read_table(path)
    found = {}
    for name in table.column_names:
        column = table.column(name)
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if pa.types.is_decimal(kind) or (pa.types.is_integer(kind) and column.null_count):
            column, kind = column.cast(pa.float64()), pa.float64()
        if pa.types.is_floating(kind):
            column = compute.fill_null(column.cast(pa.float64()), math.nan)
        whole = column.combine_chunks()
        if isinstance(whole, pa.ChunkedArray):
            whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], whole.type)
        if pa.types.is_floating(kind) or pa.types.is_integer(kind):
            found[name] = np.array(np.from_dlpack(whole)) if len(whole) else np.empty(0)
        elif pa.types.is_date(kind):
            found[name] = np.array(whole.cast(pa.date32()).cast(pa.int32()).to_pylist(), "datetime64[D]")
        elif pa.types.is_timestamp(kind):
            plain = whole.cast(pa.timestamp("us")).cast(pa.int64())
            found[name] = np.array([None if one is None else one for one in plain.to_pylist()], "datetime64[us]")
        elif pa.types.is_boolean(kind) and not whole.null_count:
            found[name] = np.array(whole.to_pylist(), bool)
        else:
            values = np.empty(len(whole), object)
            values[:] = whole.to_pylist()
            found[name] = values
    return found


# --- the function


def load(code: Path, file: str, name: str) -> Metrics:
    """Return the function ``name`` of a file below ``code``, which is where its own imports are looked for too."""
    path = code / file
    if not path.is_file():
        raise Problem(f"there is no {file}")
    for folder in (code / "src", code):
        if folder.is_dir():
            sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location("lockgate_metrics", path)
    if spec is None or spec.loader is None:
        raise Problem(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules["lockgate_metrics"] = module
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        if error.name and _is_own(code, error.name):
            raise Problem(f"{file} cannot be imported: {error}") from error
        raise Problem(f"{file} needs the package '{error.name}', which is not installed here", "machine") from error
    except MemoryError:
        raise
    except BaseException as error:  # whatever it raises, SystemExit too, is an answer
        raise Problem(f"{file} cannot be imported: {_told(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise Problem(f"{file} has no function '{name}'")
    found: Metrics = function
    return found


def _is_own(code: Path, name: str) -> bool:
    """Say whether a module that is missing belongs to a package of the repository."""
    top = name.partition(".")[0]
    return any((folder / top).is_dir() or (folder / f"{top}.py").exists() for folder in (code, code / "src"))


def measured(function: Metrics, table: Mapping[str, Any], wanted: list[str]) -> dict[str, float]:
    """Return what the function says of some rows, checked. Raises :class:`Problem`."""
    try:
        said = function(dict(table))
    except MemoryError:
        raise
    except ModuleNotFoundError as error:
        raise Problem(f"it needs the package '{error.name}', which is not installed here", "machine") from error
    except BaseException as error:
        raise Problem(f"it raised {_told(error)}") from error
    if not isinstance(said, Mapping):
        if len(wanted) > 1:
            raise Problem(f"it returned {type(said).__name__}, not a mapping from names to numbers")
        said = {wanted[0]: said}
    found = {}
    for name in wanted:
        if name not in said:
            known = ", ".join(map(str, list(said)[:5])) or "nothing"
            raise Problem(f"it returned no '{name}' but {known}")
        found[name] = _number(name, said[name])
    return found


def _number(name: str, value: Any) -> float:
    import numpy as np

    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        raise Problem(f"it returned {type(value).__name__} for '{name}', not a number")
    try:
        number = float(value)
    except OverflowError as error:
        raise Problem(f"it returned a number for '{name}' that is too large") from error
    if not math.isfinite(number):
        raise Problem(f"it returned {number} for '{name}'")
    return number


def _told(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - an exception of the repository may not even be told
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _modules(code: Path) -> list[str]:
    """Return the files of the repository that were imported."""
    found = {str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())}
    return sorted(Path(name).relative_to(code).as_posix() for name in found if name and Path(name).is_relative_to(code))


def _run() -> NoReturn:
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    _run()
