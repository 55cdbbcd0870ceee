"""``lockgate publish``: what is done about a pull request once its check has run, with the right to write.

It runs code of the default branch alone. Which pull request it is about, and which commit, comes from the event that
started it; the head commit is fetched as data and never checked out. The artifact of the check
(:mod:`lockgate.pull_requests.artifact`) may have been made by the author: it is bounded, validated against what git
says of the two commits, and shown escaped.

Safe to run again: the comment is updated in place, the commit with the lock is the same commit each time.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate import git, policy
from lockgate.errors import NotAskedError
from lockgate.forge.comments import put_comment
from lockgate.forge.github import GitHub, PullRequest, State, TooLarge
from lockgate.git import Commit
from lockgate.pull_requests import artifact, binding, comment, write_back
from lockgate.pull_requests.artifact import Unfit
from lockgate.pull_requests.comment import Told, Written
from lockgate.rendering.result_document import OUTCOMES
from lockgate.result import Outcome

WORKFLOW = ".github/workflows/pull-request.yml"
CONTEXT = "lockgate"
"""The commit status that branch protection can require, and the name in the comment's hidden watermark."""
BOT = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")
"""Who comments and commits: the user behind a workflow's own token."""
MESSAGE = "Lock what this change's run came to"
PUSH_TOKEN = "LOCKGATE_PUSH_TOKEN"  # noqa: S105 - the name of a variable
"""The variable with another token to commit with: a push made with a workflow's own starts no workflow."""
MACHINERY = (".github/", ".dvc/", policy.FILE)
STATES: dict[Outcome, State] = {"passed": "success", "attention": "success", "failed": "failure"}


class NotAnEvent(NotAskedError):  # noqa: N818 - named for what the user reads
    """The event is not that of a finished workflow run."""

    def __init__(self, problem: str) -> None:
        """Say what is wrong with it."""
        super().__init__(
            f"this is no event of a finished workflow run: {problem}",
            "`lockgate publish` belongs into a workflow with `on: workflow_run`.",
        )


@dataclass(frozen=True, slots=True)
class Run:
    """A finished workflow run, as GitHub's event tells of it. ``head_repository`` is ``owner/name``, empty if gone."""

    id: int
    event: str
    path: str
    conclusion: str
    head_sha: str
    head_branch: str
    head_repository: str
    url: str


def read_run(event: bytes) -> Run:
    """Return the workflow run of a ``workflow_run`` event. Raises :class:`NotAnEvent`."""
    try:
        item: Any = json.loads(event)["workflow_run"]
        return Run(
            id=int(item["id"]),
            event=str(item["event"]),
            path=str(item["path"]).partition("@")[0],
            conclusion=str(item["conclusion"]),
            head_sha=str(item["head_sha"]),
            head_branch=str(item["head_branch"]),
            head_repository=str((item["head_repository"] or {}).get("full_name", "")),
            url=str(item["html_url"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise NotAnEvent(repr(error)) from error


def find_pull_request(github: GitHub, run: Run) -> PullRequest | str:
    """Return the open pull request that a run was for, or in words why there is nothing to publish."""
    if run.event != "pull_request" or run.path != WORKFLOW:
        return f"{run.path} ran for '{run.event}'; only {WORKFLOW} for a pull request is published"
    if run.conclusion in ("cancelled", "skipped"):
        return f"the run was {run.conclusion}"
    found = github.open_pull_requests(run.head_repository, run.head_branch) if run.head_repository else ()
    if not found:
        return "its pull request is no longer open"
    if len(found) > 1:
        numbers = ", ".join(f"#{pull.number}" for pull in found)
        return f"{numbers} are open for one branch, and the run does not say for which it was: close all but one"
    return found[0]


@dataclass
class Publisher:
    """Publishes one run for one pull request."""

    root: Path
    github: GitHub
    run: Run
    pull: PullRequest
    server: str
    dry_run: bool = False

    def publish(self) -> str:
        """Write the lock to the branch if it fits, comment, set the status. Return what was done, in words."""
        access = git.authorization(self.server, os.environ.get(PUSH_TOKEN) or self.github.token)
        git.fetch(self.root, self.run.head_sha, access)
        head = Commit(self.root, self.run.head_branch, self.run.head_sha)
        fork = git.merge_base(self.root, f"origin/{self.pull.base_branch}", self.run.head_sha)
        base = Commit(self.root, self.pull.base_branch, fork)
        told, files = self._judged(base, head)
        own = self.pull.head_repository == self.github.repository
        made = git.commit_on(self.root, self.run.head_sha, files, MESSAGE, BOT) if files else None
        commit = made if own else None
        if self.pull.head_sha not in (self.run.head_sha, commit):
            return f"nothing published: the branch has moved on to {self.pull.head_sha[:10]}"
        if (
            commit
            and commit != self.pull.head_sha
            and not self.dry_run
            and not git.push(self.root, commit, self.run.head_branch, self.run.head_sha, access)
        ):
            return "nothing published: the branch has moved on"
        written = Written(commit, "" if own or not made else git.difference(self.root, self.run.head_sha, made))
        body = comment.text(told, written)
        if self.dry_run:
            return body
        tip = commit or self.run.head_sha
        state, said = self._status(told)
        self.github.set_status(tip, state, CONTEXT, said, self.run.url)
        posted = put_comment(self.github, self.server, self.pull.number, body, label=CONTEXT, sha=tip, author=BOT[0])
        by = "CML" if posted.by == "CML" else f"lockgate's own client ({posted.reason})"
        return f"#{self.pull.number}: {state} on {tip[:10]}: {said}. The comment was posted by {by}."

    def _judged(self, base: Commit, head: Commit) -> tuple[Told, dict[str, bytes]]:
        """Return what there is to tell, and the files that belong on the branch."""
        told = Told(base, head, self.run.url, self._machinery(base))
        try:
            archive = self.github.artifact(self.run.id, artifact.NAME, artifact.LIMIT)
            if archive is None:
                return told, {}
            left = artifact.unpack(archive)
            if left.result is None:
                return told.with_error(left.error), {}
            binding.check(left.result, base, write_back.after_run(head, left))
            return told.with_result(left.result), write_back.changes(base, head, left)
        except (Unfit, TooLarge) as error:
            return told.with_misfit(str(error)), {}

    def _machinery(self, base: Commit) -> tuple[str, ...]:
        """Return the files of the pull request that decide how it is measured."""
        names = git.git(self.root, "diff", "--name-only", "--no-renames", "-z", base.commit, self.run.head_sha)
        top = Path(git.git(self.root, "rev-parse", "--show-toplevel").rstrip("\n"))
        own = Path(__file__).resolve().parents[1]
        prefix = git.git(self.root, "rev-parse", "--show-prefix").rstrip("\n")
        watched = [*MACHINERY, *(f"{prefix}{name}" for name in MACHINERY)]
        watched += [f"{own.relative_to(top).as_posix()}/"] if own.is_relative_to(top) else []
        return tuple(name for name in names.split("\0") if name.startswith(tuple(watched)))

    def _status(self, told: Told) -> tuple[State, str]:
        """Return the status of the commit in our own words: nothing that an author wrote is in it."""
        if told.result is None:
            return "error", "what the run left does not fit" if told.misfit else "the run left no result"
        held = sum(gate.passed for gate in told.result.gates)
        outcome = told.result.verdict.outcome
        return STATES[outcome], f"{OUTCOMES[outcome]}; {held} of {len(told.result.gates)} gates hold"
