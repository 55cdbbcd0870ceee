"""From a model trained anew to at most one open pull request: opened, replaced, or closed with a word.

Whatever stops it half way, running it again comes to the same: the commit is the same commit for the same parent and
files, the branch is pushed only if it stands where it stood, and the pull request is found before one is opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lockgate import git
from lockgate.errors import LockgateError
from lockgate.forge.branches import OwnBranch, Start, author, start
from lockgate.forge.port import Forge
from lockgate.publishing.publish import BOT, MESSAGE, WORKFLOWS, project_of, workflows_of
from lockgate.retraining.description import TRAILER
from lockgate.retraining.handover import Handover
from lockgate.retraining.verdict import Outcome


class BaseMoved(LockgateError):  # noqa: N818 - named for what the user reads
    """The default branch has moved on while the model was trained."""

    def __init__(self, branch: str) -> None:
        """Say what to do."""
        super().__init__(
            f"{branch} has moved on while the model was trained, so what came out belongs to an older commit",
            "Run `lockgate retrain` again: stages that are not touched by the new commits do not run twice.",
        )


@dataclass(frozen=True, slots=True)
class Proposed:
    """What was done: why there is a pull request or none, the commit and branch, and where the pull request is.

    ``check`` says how its check is started: by the forge itself, or by us.
    """

    outcome: Outcome
    reason: str
    branch: str = ""
    commit: str = ""
    address: str = ""
    closed: tuple[int, ...] = ()
    check: Literal["", "by the forge", "dispatched"] = ""


def branch_of(root: Path, model: str) -> OwnBranch:
    """Return the branch that retrainings of a model are proposed from: one a model, so one open pull request."""
    return OwnBranch(root, f"lockgate-retrain-{model.replace(':', '-')}", "lockgate retrain", (TRAILER, MESSAGE))


@dataclass(frozen=True)
class Proposer:
    """Proposes from ``root``. ``forge`` is ``None`` where there is none to speak to: the branch stays in this clone.

    ``credentials`` let git push. ``own_token``: the forge starts no workflow for what was made with this token, so the
    check is dispatched.
    """

    root: Path
    forge: Forge | None
    credentials: Mapping[str, str] = field(default_factory=dict)
    own_token: bool = False

    def propose(self, told: Handover) -> Proposed:
        """Open or replace the pull request, or close the open one where there is nothing to propose any more.

        Raises :class:`BaseMoved`, :class:`~lockgate.forge.branches.Taken` and what the forge raises.
        """
        if told.outcome == "not there yet":
            return Proposed(told.outcome, told.reason)
        if told.outcome != "proposed":
            return Proposed(told.outcome, told.reason, closed=self.close(told.model, told.reason))
        if start(self.root) != told.at:
            raise BaseMoved(told.at.branch)
        branch = branch_of(self.root, told.model)
        person = author(self.root) if self.forge is None or not self.own_token else BOT
        commit = git.commit_on(self.root, told.at.commit, dict(told.files or {}), f"{told.title}\n\n{TRAILER}", person)
        if self.forge is None:
            branch.point(commit, told.at)
            return Proposed(told.outcome, told.reason, branch.name, commit)
        self._check_there(told.at)
        pushed = branch.publish(commit, told.at, dict(self.credentials))
        address = self.forge.propose(branch.name, told.at.branch, told.title, told.body)
        if not self.own_token:
            return Proposed(told.outcome, told.reason, branch.name, commit, address, check="by the forge")
        if pushed or self._unchecked(commit):
            self.forge.dispatch(self._workflow(told.at), branch.name, {"base": told.at.branch})
        return Proposed(told.outcome, told.reason, branch.name, commit, address, check="dispatched")

    def close(self, model: str, why: str) -> tuple[int, ...]:
        """Close the open pull request of a model's retraining, with a word; return the numbers of what was closed."""
        if self.forge is None:
            return ()
        branch = branch_of(self.root, model)
        closed = []
        for pull in self.forge.open_pull_requests(self.forge.repository, branch.name):
            self.forge.close_pull_request(pull.number, f"Closed by `lockgate retrain`: {why}.")
            closed.append(pull.number)
        return tuple(closed)

    def _check_there(self, at: Start) -> None:
        """Raise :class:`BaseMoved` where the default branch of ``origin`` stands elsewhere by now."""
        ref = f"refs/heads/{at.branch}"
        quiet = {"GIT_TERMINAL_PROMPT": "0", **self.credentials}
        now = git.git(self.root, "ls-remote", "origin", ref, environment=quiet).partition("\t")[0]
        if now and now != at.commit:
            raise BaseMoved(at.branch)

    def _unchecked(self, commit: str) -> bool:
        """Say whether no check has answered the commit: an earlier run was stopped between push and dispatch."""
        assert self.forge is not None  # noqa: S101 - asked of a forge
        return not any(name.startswith("lockgate/") for name in self.forge.status_contexts(commit))

    def _workflow(self, at: Start) -> str:
        """Return the file name of the workflow that checks pull requests."""
        if project := project_of(self.root):
            return Path(workflows_of(project)[0]).name
        snapshot = git.Commit(self.root, at.branch, at.commit)
        found = next((path for path in WORKFLOWS if snapshot.read(path) is not None), WORKFLOWS[0])
        return Path(found).name
