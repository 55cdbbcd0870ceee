"""The half of a release that runs the model's code: the rebuild, and the model's answers to some sample requests.

It needs no right to write anywhere but to its folder. What it leaves there for the other half: the outputs it came to,
under their hashes, so that they are checked again wherever they are used; and what only running the code can tell.
"""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import file_digest
from pathlib import Path
from typing import Any, Final

from lockgate.dependencies.collect import collect
from lockgate.dependencies.commit import Choice, locked_by
from lockgate.dvc.objects import Cache, DvcError, copy_objects, local_file, objects_of
from lockgate.dvc.rebuild import Level, RanWith, Rebuild, rebuild
from lockgate.errors import LockgateError, UsageError
from lockgate.policy import FILE as POLICY
from lockgate.releasing.build import (
    REQUEST,
    SAMPLES,
    as_json,
    make_wheel,
    place_contract,
    place_model,
    samples_of,
    write,
)
from lockgate.releasing.candidate import Candidate
from lockgate.releasing.pickles import PickleFound, named_as_pickle, refuse_pickle
from lockgate.temporary import temporary_folder

SCHEMA: Final = "lockgate.prepared/1"
PREPARED, OBJECTS, DEPENDENCIES = "prepared.json", "objects", "dependencies"
SAMPLE_ROWS = 20
DECIMALS = 10  # of a sample's probability: processors differ after the fifteenth


class NotPrepared(LockgateError):  # noqa: N818 - named for what the user reads
    """The folder is not what a prepared release of this commit leaves."""

    def __init__(self, folder: Path, finding: str) -> None:
        """Name the folder and what is wrong."""
        super().__init__(f"{folder} {finding}", "Make it with `lockgate release NAME@vX.Y.Z --prepare FOLDER`.")


class CodeFailed(LockgateError):  # noqa: N818
    """The model's own code failed on the way to the samples."""

    def __init__(self, what: str, finding: str) -> None:
        """Name the function or file, and what it said."""
        super().__init__(f"{what}: {finding}", "Correct `serving:` of lockgate.yaml or the code that it names.")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What was prepared in ``folder``: how far it was rebuilt, how many outputs came out as the lock says, what the
    stages ran with (``None``: none was run), whether the sample answers were given with the locked dependencies, and
    the files of these that are there to be kept (name → SHA-256; ``None``: they were not asked for)."""

    folder: Path
    commit: str
    level: Level
    outputs: int
    ran_with: RanWith | None = None
    locked_samples: bool = False
    kept: dict[str, str] | None = None

    def place(self, folder: Path) -> None:
        """Copy what the model's code said to the build."""
        for name in (REQUEST, SAMPLES):
            if not (self.folder / name).is_file():
                raise NotPrepared(self.folder, f"lacks {name}")
            write(folder / name, self.folder / name)


def prepare(
    candidate: Candidate,
    level: Level,
    folder: Path,
    tell: Callable[[str], None],
    *,
    dependencies: Choice | None = None,
    keep: bool = False,
) -> tuple[Prepared, Rebuild]:
    """Rebuild the candidate, have its model answer samples, and leave the outcome in ``folder``.

    The stages and the model run with ``dependencies``, see :func:`~lockgate.dvc.rebuild.rebuild`; ``keep`` leaves the
    files of the locked ones, too. Raises :class:`~lockgate.dvc.rebuild.LockStale`,
    :class:`~lockgate.dvc.rebuild.RebuildDiffers`, :class:`CodeFailed`, and whatever else ends a rebuild.
    """
    refuse_model(candidate)
    objects = Cache(folder / OBJECTS)

    def take(copy: Path) -> None:
        made = Cache.of(copy)
        for record in candidate.reads():
            copy_objects(made, objects, objects_of(record, made))

    locked = None if dependencies == "current" else locked_by(candidate.snapshot, candidate.model_of_several)
    if keep and locked is None:
        raise UsageError(
            "there are no dependencies to keep: they are not installed from a lock",
            f"Name the lock as `dependencies:` in {POLICY}, and leave out --dependencies current.",
        )
    done = rebuild(
        candidate.root, candidate.commit, level, dependencies=dependencies, isolated=True,
        model=candidate.model_of_several, tell=tell, take=take,
    )  # fmt: skip
    if not done.ok:
        raise done.difference()
    adopt(candidate, folder)
    outputs = sum(out.rebuilt is not None and not out.fetched for out in done.outputs)
    serves = locked is not None and candidate.policy.serving is not None and locked.lock.pins_package("pyarrow")
    installed = locked.install(tell=tell) if locked is not None and (keep or serves) else None
    if candidate.policy.serving is not None:
        _sample(candidate, folder, installed.executable if installed is not None and serves else Path(sys.executable))
    kept = None
    if keep and locked is not None and installed is not None:
        kept = collect(locked, installed, folder / DEPENDENCIES, tell)
    told = {"schema": SCHEMA, "commit": candidate.commit, "level": level, "outputs": outputs}
    told |= {"ran_with": asdict(done.ran_with)} if done.ran_with is not None else {}
    told |= {"locked_samples": True} if serves else {}
    told |= {"dependencies": kept} if kept is not None else {}
    write(folder / PREPARED, as_json(told))
    return Prepared(folder, candidate.commit, level, outputs, done.ran_with, serves, kept), done


def refuse_model(candidate: Candidate) -> None:
    """Refuse a model that no build may hold, before any stage is run: by its name, and by its content where the file
    that the lock records can be had. Raises :class:`~lockgate.releasing.pickles.PickleFound` and the like."""
    path = str(candidate.artifact["path"])
    if candidate.policy.opaque:
        return
    if named_as_pickle(path):
        raise PickleFound(path, "by its name")
    try:
        for one in candidate.model_objects().values():
            file = local_file(candidate.root, candidate.state, one.path)
            if file is not None:
                with file.open("rb") as content:
                    refuse_pickle(one.path, content)
    except DvcError:  # it is neither here nor in the remote: the rebuild makes it, and the build is looked at again
        return


def read_prepared(candidate: Candidate, folder: Path) -> Prepared:
    """Return what was prepared in ``folder``, its outputs adopted. Raises :class:`NotPrepared`."""
    try:
        told = json.loads((folder / PREPARED).read_bytes())
        ran_with = RanWith(**told["ran_with"]) if told.get("ran_with") is not None else None
        samples = told.get("locked_samples") is True
        found = Prepared(
            folder, told["commit"], told["level"], told["outputs"], ran_with, samples, told.get("dependencies")
        )
        good = told["schema"] == SCHEMA and found.level in ("full", "train", "none") and type(found.outputs) is int
    except (OSError, ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise NotPrepared(folder, "is not a prepared release")
    if found.commit != candidate.commit:
        raise NotPrepared(folder, f"was prepared for {str(found.commit)[:12]}, not for {candidate.commit[:12]}")
    _check_kept(candidate, found)
    adopt(candidate, folder)
    return found


def _check_kept(candidate: Candidate, found: Prepared) -> None:
    """Refuse a file of a package that is not one which the commit's own locks name by its hash."""
    locked = locked_by(candidate.snapshot) if found.kept else None
    locks = (locked.lock, locked.build) if locked is not None else ()
    known = {digest for lock in locks if lock is not None for pin in lock.pins for digest in pin.hashes}
    for name, digest in (found.kept or {}).items():
        path = found.folder / DEPENDENCIES / name
        if Path(name).name != name or not path.is_file() or path.is_symlink():
            raise NotPrepared(found.folder, f"lacks {DEPENDENCIES}/{name}")
        with path.open("rb") as content:
            if digest not in known or file_digest(content, "sha256").hexdigest() != digest:
                raise NotPrepared(found.folder, f"holds another {DEPENDENCIES}/{name} than the commit's lock names")


def adopt(candidate: Candidate, folder: Path) -> None:
    """Take the outputs in ``folder`` into this project's cache; each must have its hash of the candidate's lock."""
    prepared, own = Cache(folder / OBJECTS), Cache.of(candidate.root)
    for record in candidate.reads():
        copy_objects(prepared, own, objects_of(record, prepared))


# --- the model's answers


def _sample(candidate: Candidate, folder: Path, python: Path) -> None:
    """Write what a request looks like, and the model's answers to some rows of the policy's table. Its code is run by
    the interpreter ``python``."""
    from pydantic import ValidationError

    from lockgate.serving.answers import Answer, AnswerError
    from lockgate.serving.contract import first_of
    from lockgate.serving.process import ModelFailed, ModelProcess, unpack

    serving = candidate.policy.serving
    assert serving is not None  # noqa: S101 - asked for by the caller
    with temporary_folder("prepare") as place:
        build = Path(place, "build")
        place_model(candidate, build)
        wheel = make_wheel(candidate, build)
        schema = _schema(serving.request, build / wheel, python)
        write(build / REQUEST, as_json(schema))
        try:
            kind = Answer.of(schema.get("answer"))
        except AnswerError as error:
            raise CodeFailed(serving.request, str(error)) from None
        stand_in = [1.0 / len(kind.columns)] * len(kind.columns)
        write(build / SAMPLES, as_json({"requests": [schema.get("example")], "answers": [stand_in]}))
        place_contract(candidate, build, wheel)
        loadable = unpack(candidate.tag, build, python)
        try:
            columns = loadable.contract.request.columns
            requests = _rows(candidate, serving.samples, [column.name for column in columns])
            parsed = loadable.contract.request.many(len(requests)).validate_json(json.dumps(requests))
            model = ModelProcess(loadable)
            try:
                answers = model.predict(loadable.contract.request.batch(parsed)).reshape(len(parsed), -1).tolist()
            finally:
                model.close()
        except ValidationError as error:
            raise CodeFailed(serving.samples, f"a row is not a request: {first_of(error)}") from None
        except (ModelFailed, OSError) as error:
            raise CodeFailed(serving.entry, str(error)) from None
        finally:
            loadable.discard()
        write(folder / REQUEST, build / REQUEST)
    answers = [[round(value, DECIMALS) for value in answer] for answer in answers]
    told = {"probabilities": [value for [value] in answers]} if kind.kind == "probability" else {"answers": answers}
    write(folder / SAMPLES, as_json({"requests": requests, **told}))


def _schema(function: str, wheel: Path, python: Path) -> Any:
    """Return what the function of the wheel says a request looks like."""
    with temporary_folder("prepare") as place:
        shutil.unpack_archive(wheel, place, "zip")
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "LANG", "TMPDIR") if key in os.environ}
        done = subprocess.run(
            [python, "-P", "-s", "-c", _ASK, function],
            cwd=place,
            env={**kept, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise CodeFailed(function, (done.stderr.strip().splitlines() or ["it failed"])[-1])
    try:
        schema = json.loads(done.stdout.splitlines()[-1])
        if isinstance(schema, dict):
            return schema
    except (ValueError, IndexError):
        pass
    raise CodeFailed(function, "it gives no JSON object")


_ASK = """\
import importlib, json, sys
module, _, function = sys.argv[1].partition(":")
print("\\n" + json.dumps(getattr(importlib.import_module(module), function)()))
"""


def _rows(candidate: Candidate, path: str, columns: list[str]) -> list[dict[str, Any]]:
    """Return some rows of a table, from its beginning to its end, as requests in JSON."""
    table = samples_of(candidate)
    table = table.select([name for name in columns if name in table.column_names])
    if not table.num_rows:
        raise CodeFailed(path, "it has no rows")
    places = sorted({place * table.num_rows // SAMPLE_ROWS for place in range(SAMPLE_ROWS)})
    return [_request(row) for row in table.take(places).to_pylist()]


def _request(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as a request: what is missing is left out."""
    told = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in row.items()}
    return {
        key: value
        for key, value in told.items()
        if value is not None and not (isinstance(value, float) and math.isnan(value))
    }
