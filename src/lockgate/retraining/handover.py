"""What the half that trains leaves for the half that proposes: ``retraining.json``, written and read here.

The first runs the pipeline and has no token of the forge; the second has one and runs nothing. It takes no file that a
retraining does not write: the parameter files that the policy names, locks, and outputs that dvc.yaml leaves to git.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, get_args

from lockgate.dvc.pipeline import read_pipeline
from lockgate.errors import LockgateError
from lockgate.files import write_whole
from lockgate.forge.branches import Start
from lockgate.git import Commit
from lockgate.policy import Policy
from lockgate.retraining.parameters import PARAMS
from lockgate.retraining.verdict import Outcome

NAME: Final = "retraining.json"
SCHEMA: Final = "lockgate.retraining/1"
LIMIT = 32 << 20
"""Bytes of the whole file."""


class Unfit(LockgateError):  # noqa: N818 - named for what the user reads
    """What was handed over is nothing that a retraining leaves."""

    def __init__(self, problem: str) -> None:
        """Say what is wrong."""
        super().__init__(f"{NAME}: {problem}", "Run `lockgate retrain --into FOLDER` again; nothing was proposed.")


@dataclass(frozen=True, slots=True)
class Handover:
    """The outcome of a retraining of ``model`` from the commit ``at``: what to propose (``title``, ``body`` and
    ``files``), or why there is nothing to propose. ``facts`` are the figures of the comparison, for scripts."""

    model: str
    at: Start
    outcome: Outcome
    reason: str
    title: str = ""
    body: str = ""
    files: Mapping[str, bytes] | None = None
    facts: Mapping[str, Any] | None = None


def write(folder: Path, told: Handover) -> None:
    """Write it, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "schema": SCHEMA,
        "model": told.model,
        "branch": told.at.branch,
        "commit": told.at.commit,
        "outcome": told.outcome,
        "reason": told.reason,
        "title": told.title,
        "body": told.body,
        "files": {path: b64encode(data).decode() for path, data in (told.files or {}).items()},
        "facts": told.facts,
    }
    write_whole(folder / NAME, json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def read(root: Path, folder: Path, policy: Policy) -> Handover:
    """Return what was handed over. Raises :class:`Unfit` for what a retraining by ``policy`` does not write."""
    place = folder / NAME
    try:
        if place.stat().st_size > LIMIT:
            raise Unfit(f"has more than {LIMIT:,} bytes")
        said: Any = json.loads(place.read_bytes())
        if said["schema"] != SCHEMA:
            raise Unfit(f"is no {SCHEMA}")
        files = {str(path): b64decode(str(data), validate=True) for path, data in said["files"].items()}
        told = Handover(
            str(said["model"]), Start(str(said["branch"]), str(said["commit"])), said["outcome"], str(said["reason"]),
            str(said["title"]), str(said["body"]), files, said["facts"],
        )  # fmt: skip
    except FileNotFoundError:
        raise Unfit(f"is not in {folder}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unfit(f"cannot be read: {error!r}") from None
    if told.outcome not in get_args(Outcome):
        raise Unfit(f"has the outcome {told.outcome!r}")
    if told.model != policy.model:
        raise Unfit(f"is of the model '{told.model}', not of '{policy.model}'")
    snapshot = Commit(root, told.at.branch, told.at.commit)
    moving = {named.rpartition(":")[0] or PARAMS for named, _ in policy.retrain.moves} if policy.retrain else set()
    kept = {out.path for stage in read_pipeline(snapshot).stages for out in stage.outs if not out.cached}
    for path in files:
        whole = PurePosixPath(path)
        inside = {str(whole), *(str(folder) for folder in whole.parents)}
        if whole.is_absolute() or ".." in whole.parts or str(whole) != path:
            raise Unfit(f"'{path}' is not a clean path")
        if path not in moving and whole.name != "dvc.lock" and not kept & inside:
            raise Unfit(f"'{path}' is not a file that a retraining writes")
    return told
