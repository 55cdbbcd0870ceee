"""A branch that a command proposes from: one commit on the tip of the default branch, made without touching the working
tree. The branch belongs to the command: it is replaced as long as nobody else has added to it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from lockgate import git
from lockgate.errors import LockgateError, NotAskedError

QUIET = {"GIT_TERMINAL_PROMPT": "0"}


class Taken(NotAskedError):  # noqa: N818 - named for what the user reads
    """The branch has commits of somebody else's."""

    def __init__(self, branch: str, where: str, command: str) -> None:
        """Name the branch and what can be done with it."""
        super().__init__(
            f"the branch '{branch}' {where} has commits that `{command}` did not make, so it is left as it is",
            f"Merge it, or delete it (`git branch -D {branch}`, `git push origin --delete {branch}`), then try again.",
        )


@dataclass(frozen=True, slots=True)
class Start:
    """What a proposal is made against: the default branch and its commit."""

    branch: str
    commit: str


def start(root: Path) -> Start:
    """Return the default branch and its tip. Raises :class:`NotAskedError` before the first commit."""
    if git.head(root) is None:
        raise NotAskedError(
            f"{root} has no commit yet, so there is nothing to propose a change to",
            "Commit what you have: `git add -A && git commit -m 'First'`, and run this again.",
        )
    try:
        named = git.default_branch(root)
    except git.GitError:
        named = git.git(root, "rev-parse", "--abbrev-ref", "HEAD").strip()
        if named == "HEAD":
            raise NotAskedError(
                "HEAD is detached, and there is no branch main, master or origin/HEAD to propose a change to",
                "Check out the branch that pull requests go into, and run this again.",
            ) from None
    return Start(named.removeprefix("origin/"), git.resolve(root, named))


def author(root: Path) -> tuple[str, str]:
    """Return the name and address that commits are made with. Raises :class:`NotAskedError` where git knows none."""
    name, email = (
        git.git(root, "config", "--default", "", "--get", f"user.{what}").strip() for what in ("name", "email")
    )
    name, email = os.environ.get("GIT_AUTHOR_NAME", name), os.environ.get("GIT_AUTHOR_EMAIL", email)
    if not name or not email:
        raise NotAskedError(
            "git does not know who you are, so nothing can be committed",
            "`git config --global user.name NAME` and `git config --global user.email ADDRESS`.",
        )
    return name, email


@dataclass(frozen=True, slots=True)
class OwnBranch:
    """The branch ``name``, which ``command`` proposes from. A commit whose message has one of the ``marks`` is its
    own."""

    root: Path
    name: str
    command: str
    marks: tuple[str, ...]

    @property
    def ref(self) -> str:
        """The branch as git's plumbing names it."""
        return f"refs/heads/{self.name}"

    def here(self) -> str:
        """Return the commit that the branch of this clone stands at; empty if there is none."""
        return git.git(self.root, "for-each-ref", "--format=%(objectname)", self.ref).strip()

    def is_ours(self, tip: str, base: str) -> bool:
        """Whether the command made every commit of ``tip`` that ``base`` does not have."""
        bodies = git.git(self.root, "log", "--format=%B%x1e", tip, f"^{base}").split("\x1e")
        return all(any(mark in body for mark in self.marks) for body in bodies if body.strip())

    def point(self, made: str, at: Start) -> bool:
        """Have the branch of this clone point at the commit; return whether it did not before. Raises
        :class:`Taken`."""
        now = self.here()
        if now == made:
            return False
        if now and not self.is_ours(now, at.commit):
            raise Taken(self.name, "of this clone", self.command)
        if now and git.git(self.root, "rev-parse", "--abbrev-ref", "HEAD").strip() == self.name:
            raise NotAskedError(
                f"the branch '{self.name}' is checked out here, and a newer proposal cannot replace it under your "
                "hands",
                f"`git checkout {at.branch}`, and run this again.",
            )
        git.git(self.root, "update-ref", self.ref, made, now or "0" * 40)
        return True

    def there(self, credentials: dict[str, str] | None = None) -> str:
        """Return the commit that the branch of ``origin`` stands at; empty if there is none."""
        return git.git(
            self.root, "ls-remote", "origin", self.ref, environment={**QUIET, **(credentials or {})}
        ).partition("\t")[0]

    def publish(self, made: str, at: Start, credentials: dict[str, str] | None = None) -> bool:
        """Push the commit to the branch of ``origin``; return whether it was not there before.

        Raises :class:`Taken` where the branch there has others' commits, :class:`NotAskedError` where it cannot be
        pushed.
        """
        environment = {**QUIET, **(credentials or {})}
        try:
            now = self.there(credentials)
            if now == made:
                return False
            if now:
                git.git(self.root, "fetch", "--quiet", "--no-tags", "origin", now, environment=environment)
                if not self.is_ours(now, at.commit):
                    raise Taken(self.name, "at origin", self.command)
            if not git.push(self.root, made, self.name, now, environment):
                raise LockgateError(f"the branch '{self.name}' was pushed by somebody else at the same time")
        except Taken:
            raise
        except LockgateError as error:
            raise NotAskedError(
                f"the branch '{self.name}' is made, but could not be pushed to origin: {error}",
                f"If you may not push there, push it to your fork (`git push FORK {self.name}`) and propose it from "
                "there.",
            ) from error
        return True
