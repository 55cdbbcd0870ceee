"""``lockgate init``: from what a repository has to one pull request that proposes the rest."""

import os
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lockgate import git, policy
from lockgate.adoption import change
from lockgate.adoption.change import Changes
from lockgate.adoption.description import TITLE, TRAILER, describe
from lockgate.adoption.found import Found, FoundForge, FoundMetric, look
from lockgate.adoption.history import WouldHave, last_merged, margins, would_have
from lockgate.adoption.pin import Pin, own_pin
from lockgate.adoption.proposal import (
    AFTERWARDS,
    DEFAULT_PYTHON,
    LOCK,
    REPEATS,
    TAG_WORKFLOWS,
    WORKFLOWS,
    Proposal,
    chosen,
    name_among_several,
    propose,
    undirected,
)
from lockgate.adoption.workflows import templates
from lockgate.errors import LockgateError, NotAskedError, UsageError, nearest
from lockgate.forge.branches import Start, Taken, start
from lockgate.forge.github import GitHub
from lockgate.git import Commit
from lockgate.result import Better

Ask = Callable[[FoundMetric], Better | None]
"""Asks a person which way a metric is better; ``None``: leave it out."""


@dataclass(frozen=True)
class Plan:
    """What would be done: the commit's files and description, and what was found on the way."""

    at: Start
    found: Found | None
    proposal: Proposal | None
    changes: Changes
    left: tuple[str, ...]
    description: str
    history: tuple[WouldHave, ...] = ()
    title: str = TITLE
    branch: str = change.BRANCH


@dataclass(frozen=True, slots=True)
class Made:
    """What was done: the commit, whether the branch or its push is new, and where the pull request is."""

    commit: str
    new: bool
    pushed: bool
    address: str = ""


def plan_init(  # noqa: PLR0913 - what the command line offers
    root: Path,
    *,
    pin: str | None = None,
    better: Mapping[str, Better],
    releases: bool = False,
    monitoring: bool = False,
    make_lock: bool = True,
    past: bool = True,
    ask: Ask = lambda _: None,
    tell: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Return what is proposed to the project in ``root``. Nothing is written.

    Raises :class:`NotAskedError` where there is nothing to propose from, and what reading the pipeline raises.
    """
    at = start(root)
    snapshot = Commit(root, at.branch, at.commit)
    _check_policy(snapshot)
    tell("reading the pipeline")
    found = look(root, snapshot)
    project = git.git(root, "rev-parse", "--show-prefix").rstrip("/\n")
    if found.forge.kind != "github":
        names: tuple[str, ...] = ()
    else:
        names = WORKFLOWS + (TAG_WORKFLOWS if releases else ()) + (AFTERWARDS if monitoring else ())
        names += REPEATS if _repeats(snapshot) else ()
    directions = _directions(found, better, ask)
    _check_there_is_something(found, directions)
    lock = _make_lock(found, tell) if make_lock and snapshot.read(policy.FILE) is None else None
    if isinstance(lock, LockgateError):
        found = replace(found, notes=(*found.notes, f"No lock of the packages was made: {lock}"))
        lock = None
    proposing = _Proposing(
        found, own_pin(pin) if names else None, at, directions, lock, templates(names, project), project
    )
    proposal = proposing.with_margins({})
    if found.predictions is not None:
        tell("measuring what the test rows can show")
        proposal = proposing.with_margins(_margins(root, at, found, proposal.policy_text))
    changes, left = change.difference(snapshot, proposal.files)
    kept = snapshot.read(policy.FILE)
    text = kept.decode("utf-8", "replace") if kept is not None else proposal.policy_text
    history: tuple[WouldHave, ...] = ()
    pulls = True
    if past and changes:
        tell("judging the last merges by the proposed policy")
        merged, pulls = last_merged(root, at.commit)
        history = would_have(root, merged, text, proposal.declared)
    shown = replace(proposal, lines=tuple(line for line in proposal.lines if line.file in changes))
    description = describe(shown, history, pulls=pulls, workflows=bool(names))
    return Plan(at, found, shown, changes, left, description, history)


def _margins(root: Path, at: Start, found: Found, text: str) -> dict[str, float]:
    """Return the margin of each metric, of several models with their names before it."""
    if not found.parts:
        return margins(root, at.commit, text, found.predictions.file) if found.predictions else {}
    measured: dict[str, float] = {}
    for part in found.parts:
        if part.predictions is not None:
            name = name_among_several(part)
            own = margins(root, at.commit, text, part.predictions.file, name)
            measured |= {f"{name}/{metric}": value for metric, value in own.items()}
    return measured


def plan_removal(root: Path) -> Plan:
    """Return the change that takes back what was laid down."""
    at = start(root)
    changes = change.removal(root, Commit(root, at.branch, at.commit))
    listed = "\n".join(
        f"- {'removes' if content is None else 'takes lines out of'} `{path}`" for path, content in changes.items()
    )
    description = (
        "Takes back what `lockgate init` laid down, and nothing else. A policy that was edited goes too: git keeps it. "
        f"Artifacts that `dvc.yaml` declared before, or that were added since, stay.\n\n{listed}\n\n{TRAILER}\n"
    )
    return Plan(
        at, None, None, changes, (), description, title="Take Lockgate out of this repository", branch=change.REMOVING
    )


def carry_out(root: Path, plan: Plan, *, push: bool) -> Made:
    """Make the commit and the branch; with ``push``, push it and open the pull request if a token is at hand."""
    made = change.commit(root, plan.at, plan.changes, plan.description, title=plan.title)
    branch = change.own_branch(root, plan.branch)
    new = branch.point(made, plan.at)
    if not push:
        return Made(made, new, pushed=False)
    pushed = branch.publish(made, plan.at)
    forge = plan.found.forge if plan.found else FoundForge()
    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN")
    if forge.kind != "github":
        return Made(made, new, pushed)
    address = f"{forge.server}/{forge.repository}/compare/{plan.at.branch}...{plan.branch}?expand=1"
    if token:
        github = GitHub(api_of(forge), forge.repository, token)
        address = github.propose(plan.branch, plan.at.branch, plan.title, plan.description)
    return Made(made, new, pushed, address)


def forget_unmerged(root: Path) -> bool:
    """Delete the branch of a proposal that was not merged, if nobody added to it; return whether there was one."""
    at = start(root)
    branch = change.own_branch(root, change.BRANCH)
    now = branch.here()
    if not now:
        return False
    if not branch.is_ours(now, at.commit):
        raise Taken(branch.name, "of this clone", branch.command)
    git.git(root, "update-ref", "-d", branch.ref, now)
    return True


def api_of(forge: FoundForge) -> str:
    """Return the address of the forge's API."""
    if named := os.environ.get("GITHUB_API_URL"):
        return named
    return "https://api.github.com" if forge.server == "https://github.com" else f"{forge.server}/api/v3"


@dataclass(frozen=True)
class _Proposing:
    found: Found
    pin: Pin | None
    at: Start
    directions: Mapping[str, Better]
    lock: str | None
    templates: Mapping[str, str]
    project: str = ""

    def with_margins(self, measured: Mapping[str, float]) -> Proposal:
        return propose(
            self.found,
            self.pin,
            branch=self.at.branch,
            directions=self.directions,
            margins=measured,
            lock=self.lock,
            templates=self.templates,
            project=self.project,
        )


def _directions(found: Found, better: Mapping[str, Better], ask: Ask) -> dict[str, Better]:
    names = [metric.name for metric in found.metrics]
    for name in better:
        if name not in names:
            hint = nearest(name, names)
            raise UsageError(
                f"--better {name}: there is no such metric", f"{hint} The metrics are: {', '.join(names)}.".lstrip()
            )
    directions = dict(better)
    for metric in undirected(found, better):
        if (answer := ask(metric)) is not None:
            directions[metric.name] = answer
    return directions


def _check_there_is_something(found: Found, directions: Mapping[str, Better]) -> None:
    if not found.state.pipeline.stages:
        raise NotAskedError(
            "dvc.yaml declares no stage, so there is no pipeline to re-run and nothing to judge",
            "Write one (`dvc stage add --help`), run it, commit, and run this again.",
        )
    if not found.metrics:
        if found.missed is not None:
            raise NotAskedError(
                f"no metrics file can be read, and a policy judges by numbers: {found.missed}",
                "Where the remote can be reached: `dvc pull`, and run this again.",
            ) from found.missed
        if found.notes:
            raise NotAskedError(
                "there is no metrics file that can be read, and a policy judges by numbers", " ".join(found.notes)
            )
        raise NotAskedError(
            "no stage declares a metrics file, and a policy judges by numbers",
            "Have a stage write a JSON file of metrics, declare it under `metrics:` in dvc.yaml, and run this again.",
        )
    if not chosen(found, directions):
        named = ", ".join(metric.name for metric in undirected(found, directions)[:8])
        raise NotAskedError(
            f"no metric's name says whether more or less of it is better: {named}",
            "Say it of one or more: `lockgate init --better NAME=higher` (or lower).",
        )


def _repeats(snapshot: Commit) -> bool:
    """Say whether the policy that is there asks for training to be repeated."""
    text = snapshot.read(policy.FILE)
    known = policy.read_models(text).policies if text is not None else ()
    return any(one.train is not None and one.train.repeats > 0 for one in known)


def _check_policy(snapshot: Commit) -> None:
    text = snapshot.read(policy.FILE)
    if text is None:
        return
    try:
        policy.read_models(text)
    except LockgateError as error:
        from lockgate import __version__

        raise NotAskedError(
            f"{error} (in {snapshot.label}; this is lockgate {__version__})",
            "Correct it, or install the newer lockgate that wrote it; nothing was proposed.",
        ) from error


def _make_lock(found: Found, tell: Callable[[str], None]) -> str | LockgateError | None:
    """Return a lock of what the repository asks for, ``None`` if it needs none, or why there is none."""
    from lockgate.dependencies.compile import compile_lock

    if found.packages.lock is not None or not found.packages.inputs:
        return None
    given = found.packages.inputs[0]
    snapshot = found.state.snapshot
    if snapshot.read(LOCK) is not None:
        return None
    tell(f"making a lock of the packages that {given} asks for")
    files = {
        name: snapshot.read(name) or b"" for name in (*snapshot.list(".txt", ".in"), "pyproject.toml", "README.md")
    }
    if given.startswith("../"):
        files = {posixpath.basename(given): snapshot.read(given) or b""}
        given = posixpath.basename(given)
    try:
        return compile_lock(files, given, found.packages.python or DEFAULT_PYTHON)
    except LockgateError as error:
        return error
