"""``lockgate retrain``: train again on newer data, and open a pull request that says whether it is worth merging.

The parameters that the policy names move on (``retrain: {set: {ingest.through: next month}}``), the pipeline runs in a
copy of the default branch, and the new model is held against the release that serves, on the newest rows. There is at
most one open pull request a model: the next retraining replaces it, or closes it with a word where nothing is gained.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate import git
from lockgate.dependencies.commit import CHOICES
from lockgate.envelope import envelope
from lockgate.errors import LockgateError, UsageError
from lockgate.files import progress
from lockgate.forge.branches import start
from lockgate.forge.github import GitHub
from lockgate.publishing.publish import PUSH_TOKEN
from lockgate.releasing.options import Ref, add_reader_options
from lockgate.retraining import handover
from lockgate.retraining.champion import as_facts
from lockgate.retraining.description import describe, title
from lockgate.retraining.handover import Handover
from lockgate.retraining.propose import Proposed, Proposer
from lockgate.retraining.train import NotThereYet, Trained, policy_at, trained
from lockgate.retraining.verdict import environment_of, verdict
from lockgate.serving.options import add_cache_option, interpreters_of, source_of

if TYPE_CHECKING:
    from lockgate.retraining.champion import Duel

EXAMPLES = """\
examples:
  lockgate retrain --dry-run                  train, compare with what serves, say what would be proposed
  lockgate retrain                            as the policy says; with a token of the forge, open the pull request
  lockgate retrain --set ingest.through=2013-08 --set prepare.test.months=1
  lockgate retrain --because alarm.txt        quote the alarm that asked for it in the pull request
  lockgate retrain --into handover            train, in a job without rights; --from handover proposes, in another

A stage that ends with exit code 75 says that its data are not there yet: nothing is proposed, and nothing failed.
Exit code 0 whether there is something to propose or not; 1 if the pipeline failed.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        dest="moves",
        help="move this parameter instead of those of the policy: a value, or a rule such as 'next month' (repeatable)",
    )
    parser.add_argument("--because", metavar="FILE", type=Path, help="the alarm that asked for it, as text")
    parser.add_argument("--dry-run", action="store_true", help="train and compare, but propose and close nothing")
    parser.add_argument("--no-champion", action="store_true", help="do not compare with the release that serves")
    parser.add_argument(
        "--stage-dependencies",
        choices=CHOICES,
        default="current",
        help="locked: stages run with the packages that the policy locks; current: with those installed here",
    )
    half = parser.add_mutually_exclusive_group()
    half.add_argument(
        "--into",
        metavar="FOLDER",
        type=Path,
        help="train and compare alone, and leave in FOLDER what there is to propose",
    )
    half.add_argument(
        "--from",
        dest="handed_over",
        metavar="FOLDER",
        type=Path,
        help="propose alone, what --into left in FOLDER: nothing of the pipeline is run",
    )
    add_reader_options(parser)
    add_cache_option(parser)
    parser.set_defaults(dependencies=None)


def main(arguments: argparse.Namespace) -> int:
    """Train, compare, propose; or one half of it."""
    root = git.project_root()
    if arguments.handed_over:
        policy, _ = policy_at(root, start(root), arguments.model)
        told = handover.read(root, arguments.handed_over, policy)
    else:
        told = _trained(arguments, root)
    if arguments.into:
        handover.write(arguments.into, told)
    alone = arguments.into or arguments.dry_run
    done = Proposed(told.outcome, told.reason) if alone else _proposer(root).propose(told)
    if arguments.json:
        sys.stdout.write(envelope("retrain", {**asdict(done), "duel": told.facts}))
        return 0
    sys.stdout.write(as_text(done))
    if arguments.dry_run and told.body:
        sys.stdout.write(f"\n{told.body}")
    return 0


def _trained(arguments: argparse.Namespace, root: Path) -> Handover:
    """Train and compare; return what there is to propose, or why there is nothing."""
    because = arguments.because.read_text(encoding="utf-8") if arguments.because else ""
    moves = _moves(arguments.moves)
    at = start(root)
    try:
        with trained(
            root, moves=moves, dependencies=arguments.stage_dependencies, model=arguments.model, tell=progress
        ) as new:
            duel, missing = None, "it was not asked for (--no-champion)"
            if not new.same and not arguments.no_champion:
                duel, missing = _duel(arguments, new)
            outcome, reason = verdict(new.policy, new, duel)
            model, facts = new.policy.model, as_facts(duel) if duel is not None else None
            if outcome != "proposed":
                return Handover(model, new.at, outcome, reason, facts=facts)
            body = describe(model, new.moves, duel, missing, because=because, environment=environment_of(new.policy))
            return Handover(model, new.at, outcome, reason, title(model, new.moves), body, new.files, facts)
    except NotThereYet as reason:
        return Handover(policy_at(root, at, arguments.model)[0].model, at, "not there yet", str(reason))


def as_text(done: Proposed) -> str:
    """Return what was done in a few lines."""
    lines = [f"{done.outcome}: {done.reason}"]
    if done.branch:
        lines.append(f"{done.commit[:10]} on the branch {done.branch}")
    if done.address:
        lines.append(f"the pull request: {done.address}")
    elif done.branch:
        lines.append(f"next: git push -u origin {done.branch}, and open a pull request")
    if done.check == "dispatched":
        lines.append("its check was dispatched: the forge starts none for a pull request of a workflow's own token")
    lines += [f"closed: #{number}" for number in done.closed]
    return "\n".join(lines) + "\n"


def _duel(arguments: argparse.Namespace, new: Trained) -> "tuple[Duel | None, str]":
    """Return the comparison with what serves, or why there is none."""
    policy = new.policy
    if policy.serving is None or policy.retrain is None or policy.predictions is None:
        return None, "the policy has no `serving:` and `predictions:`, so a release cannot be asked"
    environment = environment_of(policy)
    if environment is None:
        return None, "the policy names no environment whose release could be asked"
    from lockgate.retraining.champion import duel, made_with, serving

    progress(f"asking the release of {environment}")
    try:
        source = source_of(arguments, Ref(policy.model, None, environment))
        with serving(source, interpreters_of(arguments, source)) as champion:
            requests = policy.retrain.requests or policy.serving.samples
            known = made_with(new.copy, champion, new.moves)
            return duel(policy, champion, new.copy / requests, new.copy / policy.predictions.file, known), ""
    except LockgateError as error:
        progress(f"Not compared with what serves: {error}")
        return None, str(error)


def _proposer(root: Path) -> Proposer:
    """Return what proposes: with a forge where this clone comes from one and a token is at hand."""
    api, repository = os.environ.get("GITHUB_API_URL"), os.environ.get("GITHUB_REPOSITORY")
    push, own = os.environ.get(PUSH_TOKEN, ""), os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN") or ""
    server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
    if not (push or own) or not api or not repository:
        return Proposer(root, None)
    github = GitHub(api, repository, push or own)
    return Proposer(root, github, github.push_credentials(server), own_token=not push)


def _moves(given: list[str]) -> Mapping[str, str] | None:
    moves = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals or not value:
            raise UsageError(f"--set {text} is not KEY=VALUE", "Write, for example, --set ingest.through=2013-08.")
        moves[key] = value
    return moves or None
