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
from lockgate.forge.branches import OwnBranch, author, start
from lockgate.forge.port import Forge
from lockgate.policy import Policy
from lockgate.publishing.publish import MESSAGE, WORKFLOWS
from lockgate.retraining.champion import Duel
from lockgate.retraining.description import TRAILER, describe, title
from lockgate.retraining.train import Trained

Outcome = Literal["proposed", "nothing new", "not better", "not there yet"]


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


def verdict(policy: Policy, trained: Trained, duel: Duel | None) -> tuple[Outcome, str]:
    """Say whether there is something to propose, and why."""
    asked = policy.retrain
    assert asked is not None  # noqa: S101 - there is no retraining without
    moves = ", ".join(f"{one.key} {one.before} → {one.after}" for one in trained.moves)
    if trained.same:
        return "nothing new", f"with {moves} every output has the bytes that it had"
    metric = asked.metric or policy.metrics[0].name
    if duel is None or asked.open == "always":
        return "proposed", f"{moves}: trained anew"
    try:
        change = duel.change(metric)
    except KeyError:
        return "proposed", f"{moves}: trained anew; {metric} cannot be computed for {duel.champion}"
    words = {"better": "is better than", "worse": "is worse than", "noise": "is not shown to differ from"}
    said = f"the model of {moves} {words.get(change.judgement, 'could not be judged against')} {duel.champion}"
    if change.low is not None and change.high is not None and change.change is not None:
        said += f" in {metric}: {change.change:+.4g}, 95 % interval {change.low:+.4g} to {change.high:+.4g}"
    wanted = ("better",) if asked.open == "better" else ("better", "noise", "unjudged")
    return ("proposed" if change.judgement in wanted else "not better"), said


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

    def propose(self, trained: Trained, duel: Duel | None, no_duel: str, because: str = "") -> Proposed:
        """Open or replace the pull request, or close the open one where there is nothing to propose any more.

        Raises :class:`BaseMoved`, :class:`~lockgate.forge.branches.Taken` and what the forge raises.
        """
        policy = trained.policy
        outcome, reason = verdict(policy, trained, duel)
        branch = branch_of(self.root, policy.model)
        if outcome != "proposed":
            return Proposed(outcome, reason, closed=self.close(policy.model, reason))
        if start(self.root) != trained.at:
            raise BaseMoved(trained.at.branch)
        environment = environment_of(policy)
        text = describe(policy.model, trained.moves, duel, no_duel, because=because, environment=environment)
        named = title(policy.model, trained.moves)
        commit = git.commit_on(
            self.root, trained.at.commit, dict(trained.files), f"{named}\n\n{TRAILER}", author(self.root)
        )
        if self.forge is None:
            branch.point(commit, trained.at)
            return Proposed(outcome, reason, branch.name, commit)
        self._check_there(trained)
        pushed = branch.publish(commit, trained.at, dict(self.credentials))
        address = self.forge.propose(branch.name, trained.at.branch, named, text)
        if not self.own_token:
            return Proposed(outcome, reason, branch.name, commit, address, check="by the forge")
        if pushed or self._unchecked(commit):
            self.forge.dispatch(self._workflow(trained), branch.name, {"base": trained.at.branch})
        return Proposed(outcome, reason, branch.name, commit, address, check="dispatched")

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

    def _check_there(self, trained: Trained) -> None:
        """Raise :class:`BaseMoved` where the default branch of ``origin`` stands elsewhere by now."""
        ref = f"refs/heads/{trained.at.branch}"
        quiet = {"GIT_TERMINAL_PROMPT": "0", **self.credentials}
        now = git.git(self.root, "ls-remote", "origin", ref, environment=quiet).partition("\t")[0]
        if now and now != trained.at.commit:
            raise BaseMoved(trained.at.branch)

    def _unchecked(self, commit: str) -> bool:
        """Say whether no check has answered the commit: an earlier run was stopped between push and dispatch."""
        assert self.forge is not None  # noqa: S101 - asked of a forge
        return not any(name.startswith("lockgate/") for name in self.forge.status_contexts(commit))

    def _workflow(self, trained: Trained) -> str:
        """Return the file name of the workflow that checks pull requests."""
        snapshot = git.Commit(self.root, trained.at.branch, trained.at.commit)
        found = next((path for path in WORKFLOWS if snapshot.read(path) is not None), WORKFLOWS[0])
        return Path(found).name


def environment_of(policy: Policy) -> str | None:
    """Return the environment whose release is the champion: the policy's own word, else its last environment."""
    asked = policy.retrain
    if asked is not None and asked.environment is not None:
        return asked.environment
    return policy.environments[-1].name if policy.environments else None
