"""``lockgate ci pull-request``: check a pull request, on the runner that executes the author's code.

It runs what the change changed, starting from the base, and leaves a folder for ``lockgate publish`` to judge and show.
Nothing of the author's is taken on trust that a change of data alone could fake: not the lock, not where the remote is,
not a cache. What changed *code* can fake is for the reviewer, who sees which code changed.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockgate import git
from lockgate.dependencies.commit import CHOICES
from lockgate.dvc.stages import DvcProcess, stoppable
from lockgate.errors import LockgateError
from lockgate.evaluation import run
from lockgate.publishing import artifact
from lockgate.publishing.artifact import Artifact
from lockgate.publishing.check import judge, nothing_to_repeat
from lockgate.rendering.render import render
from lockgate.result import read_results

SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)

EXAMPLES = """\
examples:
  lockgate ci pull-request --base origin/main --into handover
  lockgate ci pull-request --base origin/main --into handover --repeats   is it more than luck of the seed?

Exit code 1 if a stage or a gate fails, or if the author's dvc.lock names hashes that did not come out. The folder is
written in any case.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("--base", metavar="REV", required=True, help="the branch to merge into, such as origin/main")
    parser.add_argument(
        "--dependencies",
        choices=CHOICES,
        default="current",
        help="locked: stages run with the packages that the head's policy locks; current: with those installed here",
    )
    parser.add_argument(
        "--repeats",
        action="store_true",
        help="train base and head again under other seeds, as often as `train: {repeats: N}` of the policy says, and "
        "judge the procedures; nothing is written where it says nothing",
    )
    parser.add_argument("--into", metavar="FOLDER", type=Path, required=True, help="write the outcome to this folder")


def main(arguments: argparse.Namespace) -> int:
    """Judge the working tree; leave the outcome, whatever it is, for ``lockgate publish``."""
    root = git.project_root()
    secrets = _secrets(os.environ)
    fork = _is_fork(os.environ.get("GITHUB_EVENT_PATH"))
    if arguments.repeats and (reason := nothing_to_repeat(root, arguments.base)):
        sys.stderr.write(f"No training is repeated: {reason}.\n")
        return 0
    try:
        with stoppable(run.Interrupted(None, "")), DvcProcess(root) as dvc:
            left = judge(
                root, arguments.base, dvc, fork=fork, dependencies=arguments.dependencies, repeats=arguments.repeats
            )
    except run.Interrupted:
        raise
    except LockgateError as error:
        said = f"{error}\n{error.advice}" if error.advice else str(error)
        artifact.write(arguments.into, Artifact(error=_without(secrets, said)))
        raise
    result = read_results(json.dumps(_without(secrets, json.loads(left.result.to_json()))) if left.result else "")
    artifact.write(arguments.into, replace(left, result=result))
    sys.stdout.write(render(result, "text"))
    sys.stderr.write(f"{result.verdict.outcome}: {result.verdict.reason}\n")
    return 1 if result.verdict.outcome == "failed" else 0


def _is_fork(event: str | None) -> bool:
    """Say whether the event that started this is of a pull request from another repository."""
    content: Any = json.loads(Path(event).read_bytes()) if event else {}
    sides = [(content.get("pull_request") or {}).get(side) or {} for side in ("head", "base")]
    return all(sides) and _name(sides[0]) != _name(sides[1])


def _name(side: Any) -> str:
    return str((side.get("repo") or {}).get("full_name"))


def _secrets(environment: Mapping[str, str]) -> list[str]:
    """Return the values of variables that look like credentials, longest first: a stage may have printed them."""
    found = {value for name, value in environment.items() if SECRET_NAME.search(name) and len(value) >= 8}
    return sorted(found, key=len, reverse=True)


def _without(secrets: list[str], value: Any) -> Any:
    """Return a JSON value with each of the secrets blacked out."""
    if isinstance(value, dict):
        return {_without(secrets, key): _without(secrets, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without(secrets, inner) for inner in value]
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "***")
    return value
