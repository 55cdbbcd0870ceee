"""What Lockgate asks of a forge: the event, the artifact, comments, a status, a push, a pull request, an issue.

GitHub is the first side of this port (:mod:`lockgate.forge.github`), CML an adapter of its comment
(:mod:`lockgate.forge.cml`). ``tests/lockgate/forge/conformance.py`` is what every side is held to.

What a side has to give besides these calls is a place that the author of a change cannot edit, from which the change is
judged and published. GitHub has one: a workflow of ``workflow_run`` is the default branch's, whatever the pull request
changes. **GitLab has none in a merge request's own pipeline**: its jobs, those with protected variables too where the
branch is protected, are what the ``.gitlab-ci.yml`` of the author's branch says, so a job there can publish anything
in Lockgate's name. A GitLab side therefore has to publish from elsewhere: a pipeline of another project that a webhook
triggers, a scheduled pipeline of the default branch, or a pipeline execution policy; and the status has to be required
as an external status check, which a job's token cannot set. Until then, nothing on GitLab is a verdict.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from lockgate.errors import LockgateError, NotAskedError

State = Literal["success", "failure", "error", "pending"]


class ForgeError(NotAskedError):
    """The forge refused a request, or could not be reached."""


class TooLarge(LockgateError):  # noqa: N818 - named for what the user reads
    """An answer has more bytes than it may have."""

    def __init__(self, what: str, limit: int) -> None:
        """Name what it is and the bound in bytes."""
        super().__init__(f"{what} has more than {limit:,} bytes")


class NotAnEvent(NotAskedError):  # noqa: N818 - named for what the user reads
    """The event is not that of a finished run."""

    def __init__(self, problem: str) -> None:
        """Say what is wrong with it."""
        super().__init__(
            f"this is not an event of a finished workflow run: {problem}",
            "`lockgate ci publish` runs in a workflow with `on: workflow_run`.",
        )


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run, as the forge's event tells of it. ``head_repository`` is ``owner/name``, empty if gone."""

    id: int
    event: str
    path: str
    conclusion: str
    head_sha: str
    head_branch: str
    head_repository: str
    url: str


@dataclass(frozen=True, slots=True)
class PullRequest:
    """An open pull request. ``head_repository`` is ``owner/name``, ``None`` if that repository is gone."""

    number: int
    head_sha: str
    head_repository: str | None
    base_branch: str


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a pull request."""

    id: int
    author: str
    body: str


@dataclass(frozen=True, slots=True)
class Issue:
    """An open issue."""

    number: int
    title: str
    body: str
    url: str


class Forge(Protocol):
    """One repository on a forge, spoken to with one token, which is in no message and follows no redirect.

    Every call raises :class:`ForgeError` where the forge refuses or does not answer. What only reads, and what may be
    done twice, is tried again where that may help; what may not, never.
    """

    @property
    def repository(self) -> str:
        """``owner/name``."""

    @property
    def token(self) -> str:
        """The token, for git and for programs that comment in its name."""

    def read_event(self, event: bytes) -> Run:
        """Return the finished run that an event tells of. Raises :class:`NotAnEvent`."""

    def open_pull_requests(self, head_repository: str, branch: str) -> tuple[PullRequest, ...]:
        """Return the open pull requests from ``branch`` of exactly that repository into this one."""

    def artifact(self, run: int, name: str, limit: int) -> bytes | None:
        """Return the newest artifact of this name that a run left, as a zip archive; ``None`` if there is none.

        Raises :class:`TooLarge` before more than ``limit`` bytes are read.
        """

    def comments(self, number: int) -> tuple[Comment, ...]:
        """Return all comments on a pull request, oldest first."""

    def add_comment(self, number: int, body: str) -> None:
        """Comment on a pull request. Never sent twice by itself."""

    def replace_comment(self, comment: int, body: str) -> None:
        """Replace the text of a comment."""

    def set_status(self, sha: str, state: State, context: str, description: str, url: str) -> None:
        """Set the status of this name on a commit; the last one counts."""

    def status_contexts(self, sha: str) -> frozenset[str]:
        """Return the names of the statuses that a commit has."""

    def push_credentials(self, server: str, token: str = "") -> Mapping[str, str]:
        """Return the environment that lets git push, by default with the forge's own token: on no command line, in no
        file."""

    def propose(self, branch: str, into: str, title: str, body: str) -> str:
        """Open a pull request from a branch of this repository, or update the open one; return its address."""

    def close_pull_request(self, number: int, word: str) -> None:
        """Close an open pull request, and say why in a comment. Done again, it stays closed."""

    def dispatch(self, workflow: str, branch: str, inputs: Mapping[str, str]) -> None:
        """Start the workflow of this file name on a branch: what is made with a workflow's own token starts none."""

    def find_issue(self, title: str) -> Issue | None:
        """Return the open issue of this title that an App or somebody with rights here opened, ``None`` if there is
        none: what a stranger writes is not believed."""

    def close_issue(self, number: int, why: str) -> None:
        """Comment on an issue, and close it."""

    def raise_issue(self, title: str, body: str) -> str:
        """Open an issue, or bring the open one of this title up to date; return its address."""
