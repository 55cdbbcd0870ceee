"""``lockgate publish``: what is done about a pull request once its check has run, with the right to write.

It runs code of the default branch alone. Which pull request it is about, and which commit, comes from the event that
started it; the head commit is fetched as data and never checked out. The artifact of the check
(:mod:`lockgate.publishing.artifact`) may have been made by the author: it is bounded, validated against what git
says of the two commits, and shown escaped.

A verdict belongs to a head and a base: the status is called ``lockgate/BASE``, and each open pull request of the branch
gets its own; of a DVC project in a folder, it is ``lockgate/BASE (FOLDER)``. Where the repository has several models,
each has a status beside it, ``lockgate/BASE/MODEL``, whether the change touches it or not, so that branch protection
can ask for one of them. Whatever the run left, the outcome is a status and a comment: what cannot be read is an
``error``. The status is set first, so that an older one never outlives a comment that cannot be posted.

Safe to run again: the comment is updated in place, the commit with the lock is the same commit each time.
"""

import os
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lockgate import git, policy
from lockgate.dvc import quarantine
from lockgate.dvc.pipeline import read_state
from lockgate.errors import LockgateError
from lockgate.evaluation import looks
from lockgate.evaluation.findings import read_policies
from lockgate.evaluation.report import base_state, readable, revision
from lockgate.evaluation.several import Whole, judged
from lockgate.evaluation.verdict import overall
from lockgate.forge.comments import put_comment
from lockgate.forge.port import Forge, ForgeError, Run, State, TooLarge
from lockgate.git import Commit
from lockgate.names import slug
from lockgate.publishing import apart, artifact, bound, comment, write_back
from lockgate.publishing.apart import Sides
from lockgate.publishing.artifact import Artifact, Unfit
from lockgate.publishing.bound import Computed, OtherBase
from lockgate.publishing.comment import Told, Written
from lockgate.publishing.ledger import Ledger, LedgerError, LookAt, look_at
from lockgate.publishing.measures import measuring
from lockgate.rendering.result_document import OUTCOMES
from lockgate.result import AnyResult, Looks, Outcome, Results

REPEATS = (".github/workflows/repeats.yml", ".github/workflows/lockgate-repeats.yml")
"""The workflows that train again under other seeds; they leave nothing where the policy asks for no repeats."""
WORKFLOWS = (".github/workflows/pull-request.yml", ".github/workflows/lockgate-pull-request.yml", *REPEATS)
NAME = "lockgate"
"""The name in the comment's hidden watermark, and the first part of the status."""
BOT = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")
"""Who comments and commits: the user behind a workflow's own token."""
MESSAGE = "Lock what this change's run came to"
PUSH_TOKEN = "LOCKGATE_PUSH_TOKEN"  # noqa: S105 - the name of a variable
"""The variable with another token to commit with: a push made with a workflow's own starts no workflow."""
QUEUE = re.compile(r"gh-readonly-queue/(?P<base>.+)/pr-\d+-(?P<commit>[0-9a-f]{40})")
"""What GitHub calls the branch of a merge group: what it is merged into, and the commit it starts from."""
STATES: dict[Outcome, State] = {"passed": "success", "attention": "success", "failed": "failure"}


@dataclass(frozen=True, slots=True)
class Target:
    """What a run's verdict is for: a pull request, or a merge group (then ``number`` is ``None``).

    ``base_branch`` is where it is to be merged, ``start`` the revision there that it is compared with, ``tip`` the
    commit that its branch now stands at; ``own`` says that the branch is one of this repository. ``project`` is the
    folder of the repository that the DVC project is in.
    """

    number: int | None
    base_branch: str
    start: str
    tip: str
    own: bool
    project: str = ""

    @property
    def context(self) -> str:
        """What the status is called: branch protection asks for it by this name."""
        return self.context_of(None)

    @property
    def label(self) -> str:
        """What tells the comment from those of other projects."""
        return f"{NAME}-{slug(self.project)}" if self.project else NAME

    def context_of(self, model: str | None) -> str:
        """Return what the status of one of several models is called."""
        place = f" ({self.project})" if self.project else ""
        return f"{NAME}/{self.base_branch}{f'/{model}' if model else ''}{place}"

    @property
    def name(self) -> str:
        """What people call it."""
        return f"#{self.number}" if self.number is not None else f"the merge group for {self.base_branch}"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The status of one of several models."""

    model: str
    state: State
    said: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of one target: the status of the commit ``tip``, that of each of several models, and the comment."""

    target: Target
    tip: str
    state: State
    said: str
    body: str = ""
    models: tuple[ModelStatus, ...] = ()
    failure: LockgateError | None = None
    """Why GitHub refused what the answer needed, if so: no fault of the author's."""


@dataclass(frozen=True, slots=True)
class Published:
    """What was done, in words; ``failure`` is why GitHub refused a part of it, if so."""

    words: str
    failure: LockgateError | None = None


class Stale(Exception):  # noqa: N818 - never leaves this module
    """The branch has moved on, so nothing is said of the commit that this run was for."""


def workflows_of(project: str) -> tuple[str, ...]:
    """Return the workflows whose runs are published for the project in this folder of the repository."""
    if not project:
        return WORKFLOWS
    return tuple(f".github/workflows/lockgate-{slug(project)}-{name}.yml" for name in ("pull-request", "repeats"))


def project_of(root: Path) -> str:
    """Return the folder of the project in ``root`` that is published under a name of its own; empty for a whole
    repository, and for a project in a folder that has no workflows of its own: it was set up by hand, and its status is
    called as that of a whole repository."""
    top, folder = (git.git(root, "rev-parse", what).rstrip("/\n") for what in ("--show-toplevel", "--show-prefix"))
    return folder if folder and Path(top, workflows_of(folder)[0]).is_file() else ""


def find_targets(forge: Forge, run: Run, project: str = "") -> tuple[Target, ...] | str:
    """Return what a run's verdict is for, or in words why there is nothing to publish. ``project`` is the folder of the
    DVC project, where it is not the whole repository."""
    known = workflows_of(project)
    dispatched = run.event == "workflow_dispatch" and run.head_repository == forge.repository
    if not (run.event in ("pull_request", "merge_group") or dispatched) or run.path not in known:
        listed = " or ".join(known)
        return f"{run.path} ran for '{run.event}'; only {listed} for a pull request or a merge queue is published"
    if run.conclusion in ("cancelled", "skipped"):
        return f"the run was {run.conclusion}"
    if run.event == "merge_group":
        named = QUEUE.fullmatch(run.head_branch)
        if named is None or run.head_repository != forge.repository:
            return f"'{run.head_branch}' is not a branch of a merge queue"
        return (Target(None, named["base"], named["commit"], run.head_sha, own=True, project=project),)
    pulls = forge.open_pull_requests(run.head_repository, run.head_branch) if run.head_repository else ()
    if not pulls:
        return "its pull request is no longer open"
    return tuple(
        Target(
            pull.number,
            pull.base_branch,
            f"origin/{pull.base_branch}",
            pull.head_sha,
            own=pull.head_repository == forge.repository,
            project=project,
        )
        for pull in pulls
    )


@dataclass
class Publisher:
    """Publishes one run."""

    root: Path
    forge: Forge
    run: Run
    server: str
    dry_run: bool = False
    compute: Callable[[Sides, Artifact], Computed] = apart.compute
    """What computes a result again, in a process without rights."""

    def publish(self, targets: tuple[Target, ...]) -> tuple[Published, ...]:
        """Answer each target: write the lock to the branch if it fits, set the status, comment."""
        found = [(target, self._answered(target)) for target in targets]
        fits = any(isinstance(answer, Answer) for _, answer in found)
        return tuple(self._told(target, answer, alone=not fits) for target, answer in found)

    def _told(self, target: Target, answer: Answer | OtherBase | Stale, *, alone: bool) -> Published:
        """Do what is to be done about one target. ``alone``: the run fits no target at all."""
        if isinstance(answer, Stale):
            return Published(f"{target.name}: nothing published: {answer}")
        if isinstance(answer, OtherBase):
            if alone:
                answer = self._error(target, Told(self.run.head_sha, self.run.url).with_misfit(str(answer)))
            else:
                return self._wait(target)
            if isinstance(answer, Stale):
                return Published(f"{target.name}: nothing published: {answer}")
        if self.dry_run:
            return Published(answer.body)
        failure = answer.failure
        words = f"{target.name}: {answer.state} on {answer.tip[:10]} for {target.base_branch}: {answer.said}."
        try:
            self.forge.set_status(answer.tip, answer.state, target.context, answer.said, self.run.url)
            for one in answer.models:
                self.forge.set_status(answer.tip, one.state, target.context_of(one.model), one.said, self.run.url)
        except ForgeError as error:
            failure = error
            words += f" The status could not be set: {error}."
        if target.number is not None:
            try:
                posted = put_comment(
                    self.forge,
                    self.server,
                    target.number,
                    answer.body,
                    label=target.label,
                    sha=answer.tip,
                    author=BOT[0],
                )
                by = "CML" if posted.by == "CML" else f"lockgate's own client ({posted.reason})"
                words += f" The comment was posted by {by}."
            except ForgeError as error:
                failure = error
                words += f" The comment could not be posted: {error}."
        return Published(words, failure)

    def _wait(self, target: Target) -> Published:
        """Say that a pull request of the same branch into another base waits for the run that is its own."""
        said = f"waits for the run for {target.base_branch}"
        if self.dry_run:
            return Published(f"{target.name} {said}")
        try:
            if target.context not in self.forge.status_contexts(self.run.head_sha):
                self.forge.set_status(self.run.head_sha, "pending", target.context, said, self.run.url)
        except ForgeError as error:
            return Published(f"{target.name} {said}: {error}", error)
        return Published(f"{target.name} {said}")

    def _answered(self, target: Target) -> Answer | OtherBase | Stale:
        """Return what to say. No error leaves this: what cannot be judged is answered with a status ``error``."""
        try:
            return self._answer(target)
        except (OtherBase, Stale) as reason:
            return reason
        except LockgateError as error:
            sys.stderr.write(f"{error}\n")
            refused = isinstance(error, ForgeError) or type(error) is git.GitError
            answer = self._error(target, self._unjudged(str(error)))
            return replace(answer, failure=error) if refused and isinstance(answer, Answer) else answer
        except Exception as error:  # noqa: BLE001 - hostile input may break anything, and must not go unanswered
            traceback.print_exc()
            return self._error(target, self._unjudged(f"{type(error).__name__}: {error}"))

    def _unjudged(self, reason: str) -> Told:
        return Told(self.run.head_sha, self.run.url).with_failure(reason)

    def _error(self, target: Target, told: Told) -> Answer | Stale:
        """Return the answer to what cannot be judged."""
        if target.tip != self.run.head_sha:
            return Stale(f"the branch has moved on to {target.tip[:10]}")
        told = replace(told, models=told.models or self._models(target))
        return Answer(target, target.tip, *self.status(told), comment.text(told, Written()), self.statuses(told))

    def _models(self, target: Target) -> tuple[str, ...]:
        """Return the models of a run that cannot be judged, as far as git knows its commits."""
        with suppress(Exception):  # it is hostile input, and the status that says so must not fail on it
            fork = git.merge_base(self.root, target.start, self.run.head_sha)
            sides = (Commit(self.root, "", fork, lfs=False), Commit(self.root, "", self.run.head_sha, lfs=False))
            return model_names(*sides)
        return ()

    def _answer(self, target: Target) -> Answer:
        """Judge what the run left, and bring the lock to the branch. Raises whatever hostile input makes it raise."""
        credentials = self.forge.push_credentials(self.server, os.environ.get(PUSH_TOKEN, ""))
        git.fetch(self.root, self.run.head_sha, credentials)
        head = Commit(self.root, self.run.head_branch, self.run.head_sha, lfs=False)
        fork = git.merge_base(self.root, target.start, self.run.head_sha)
        base = Commit(self.root, target.base_branch, fork, lfs=False)
        told = Told(self.run.head_sha, self.run.url, measuring(self.root, base, head), models=model_names(base, head))
        told, files = self.judged(told, base, head)
        made = None
        if files:
            try:
                made = git.commit_on(self.root, self.run.head_sha, files, MESSAGE, BOT)
            except git.GitError as error:  # such as a folder that is a link: what dvc.yaml says is written cannot be
                told = replace(told, result=None).with_misfit(str(error))
        if target.number is None:
            return self._of_group(target, self._counted(target, told), files)
        commit = made if target.own else None
        if target.tip not in (self.run.head_sha, commit):
            raise Stale(f"the branch has moved on to {target.tip[:10]}")
        if (
            commit
            and commit != target.tip
            and not self.dry_run
            and not git.push(self.root, commit, self.run.head_branch, self.run.head_sha, credentials)
        ):
            raise Stale("the branch has moved on")
        patch = "" if target.own or not made else git.difference(self.root, self.run.head_sha, made)
        told = self._counted(target, told)
        body = comment.text(told, Written(commit, patch))
        return Answer(target, commit or self.run.head_sha, *self.status(told), body, self.statuses(told))

    def _of_group(self, target: Target, told: Told, files: dict[str, bytes]) -> Answer:
        """Answer a merge group: nothing can be added to its branch, so its lock has to be the one that came out."""
        state, said = self.status(told)
        if state == "success" and files:
            state, said = "failure", "the lock does not belong to what is merged: update the branch of the pull request"
        models = self.statuses(told)
        if state == "failure" and files:
            models = tuple(replace(one, state=state, said=said) if one.state == "success" else one for one in models)
        return Answer(target, self.run.head_sha, state, said, comment.text(told, Written()), models)

    def _counted(self, target: Target, told: Told) -> Told:
        """Write down that these figures are looked at, and say which look it is."""
        if told.result is None or not told.looks:
            return told
        ledger = Ledger(self.root, self.forge.push_credentials(self.server))
        said = {one.look.model: self._look(ledger, one, target) for one in told.looks}
        each = tuple(looks.told(one, said[one.model]) if one.model in said else one for one in told.result.each)
        if not isinstance(told.result, Results):
            return replace(told, result=each[0])
        verdict = told.result.verdict if each == told.result.models else overall(each, told.result.removed)
        return replace(told, result=replace(told.result, models=each, verdict=verdict))

    def _look(self, ledger: Ledger, one: LookAt, target: Target) -> Looks:
        look = replace(one.look, pull_request=target.number)
        try:
            return one.told(ledger.record(look, write=not self.dry_run))
        except LedgerError as error:
            sys.stderr.write(f"{error}\n")
            return one.told(None, str(error))

    def judged(self, told: Told, base: Commit, head: Commit) -> tuple[Told, dict[str, bytes]]:
        """Return what there is to tell, and the files that belong on the branch."""
        try:
            archive = self.forge.artifact(self.run.id, artifact.NAME, artifact.LIMIT)
            if archive is None:
                if self.run.path.endswith("repeats.yml") and self.run.conclusion == "success":
                    raise Stale("no training was repeated")
                return told, {}
            left = artifact.unpack(archive)
            if left.result is None:
                return told.with_error(left.error), {}
            told = replace(told, withheld=write_back.withheld(head, left))
            return self._bound(told, base, head, left, left.result)
        except OtherBase:
            raise
        except (Unfit, TooLarge) as error:
            return told.with_misfit(str(error)), {}

    def _bound(
        self, told: Told, base: Commit, head: Commit, left: Artifact, result: AnyResult
    ) -> tuple[Told, dict[str, bytes]]:
        """Hold the result to what git and the recorded files say, and show what was computed here."""
        bound.check_base(result, base)
        if result.execution:
            told = replace(told, measuring=told.measuring.with_opened(result.execution.opened))
        files = write_back.changes(base, head, left)
        computed = self._computed(Sides(self.root, base, head), left)
        if computed.result is None:
            bound.check_unverified(result, base, write_back.after_run(head, left))
        else:
            bound.check(result, computed.result)
        shown = computed.result or result.uncounted()
        if computed.unverified or any(one.comparison.test_set for one in shown.each):
            before, after = base_state(base)[0], read_state(write_back.after_run(head, left))
            scopes = judged(Whole(self.root, before, after))
            policies = {scope.model: read_policies(scope.base, scope.head).policy for scope in scopes}
            takes = {name: one.unverified == "allow" for name, one in policies.items()}
            refused = {name: said[0] for name, said in computed.whose.items() if not takes.get(name)}
            allowed = bool(computed.unverified) and (not refused if computed.whose else all(takes.values()))
            found = {one.model: one for one in shown.each}
            looks_at = (
                look_at(found[policies[scope.model].model], policies[scope.model], scope.base, scope.head)
                for scope in scopes
                if policies[scope.model].model in found
            )
            told = replace(
                told,
                unverified=computed.unverified,
                allowed=allowed,
                refused=refused,
                looks=tuple(look for look in looks_at if look is not None),
            )
        return told.with_result(shown, *(readable(revision(side)) for side in (base, head))), files

    def _computed(self, sides: Sides, left: Artifact) -> Computed:
        """Compute the result again. What did not travel with the artifact is looked for in the remotes, by its hash."""
        computed = self.compute(sides, left)
        for _ in range(2):  # a folder's list, then its file
            if computed.result is not None or not computed.lacking:
                break
            try:
                found = quarantine.read(self.root, computed.lacking)
            except LockgateError as error:
                sys.stderr.write(f"What did not travel with the run cannot be looked for: {error}\n")
                break
            if not found:
                break
            left = replace(left, objects={**left.objects, **found})
            computed = self.compute(sides, left)
        return computed

    def status(self, told: Told) -> tuple[State, str]:
        """Return the status of the commit in our own words: nothing that an author wrote is in it."""
        if told.result is None:
            if told.failure:
                return "error", "the run could not be judged"
            return "error", "the artifact failed validation" if told.misfit else "the run left no result"
        state, said = _status_of(told.result)
        if state == "success" and told.unverified and not told.allowed:
            return "failure", f"rests on the run's word: {told.unverified[0]}"
        return state, said

    def statuses(self, told: Told) -> tuple[ModelStatus, ...]:
        """Return the status of each of several models; none where the repository has one."""
        if told.result is None:
            return tuple(ModelStatus(name, *self.status(told)) for name in told.models)
        if not isinstance(told.result, Results):
            return ()
        found = {one.model: _status_of(one) for one in told.result.models}
        found |= dict.fromkeys(told.result.untouched, ("success", "not touched by this change"))
        found |= dict.fromkeys(told.result.removed, ("success", "removed by this change"))
        for name, why in told.refused.items():
            if found.get(name, ("error", ""))[0] == "success":
                found[name] = "failure", f"rests on the run's word: {why}"
        return tuple(ModelStatus(name, *status) for name, status in found.items())


def model_names(base: Commit, head: Commit) -> tuple[str, ...]:
    """Return the models of both policies, where one of them names several."""
    found: dict[str, None] = {}
    several = False
    for side in (head, base):
        with suppress(LockgateError):
            if (text := side.read(policy.FILE)) is not None:
                models = policy.read_models(text)
                found |= dict.fromkeys(models.names)
                several = several or models.several
    return tuple(found) if several else ()


def _status_of(result: AnyResult) -> tuple[State, str]:
    gates = [gate for one in result.each for gate in one.gates]
    outcome = result.verdict.outcome
    state, said = STATES[outcome], f"{OUTCOMES[outcome]}; {sum(one.holds for one in gates)} of {len(gates)} gates hold"
    if isinstance(result, Results):
        said = f"{said}; {len(result.models)} of {len(result.models) + len(result.untouched)} models touched"
    if state == "success" and any(one.training is not None and one.training.pending for one in result.each):
        return "pending", f"{said} for this model; its training is being repeated"
    return state, said
