"""Laying a proposal down: one commit on a branch of its own, made without touching the working tree; taking it back.

A file that is there is not replaced, but for lines added at its end and for workflows that an older ``lockgate init``
laid down. What is laid down again is the same commit.
"""

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lockgate import git, policy
from lockgate.adoption.description import TITLE, TRAILER
from lockgate.adoption.proposal import LOCK, MARK
from lockgate.errors import LockgateError, NotAskedError
from lockgate.git import Snapshot

BRANCH = "lockgate-init"
REMOVING = "lockgate-remove"
LAID_DOWN = "Laid down by `lockgate init`."
APPENDED = ("dvc.yaml", ".gitattributes", ".gitignore")
"""Files of the repository's own that only get lines at their end."""

Changes = Mapping[str, bytes | None]


class Taken(NotAskedError):  # noqa: N818 - named for what the user reads
    """The branch has commits of somebody else's."""

    def __init__(self, branch: str, where: str) -> None:
        """Name the branch and what can be done with it."""
        super().__init__(
            f"the branch '{branch}' {where} has commits that `lockgate init` did not make, so it is left as it is",
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


def difference(snapshot: Snapshot, files: Mapping[str, str]) -> tuple[Changes, tuple[str, ...]]:
    """Return what of ``files`` is to be written, and the paths that are there already and are left as they are."""
    changes: dict[str, bytes | None] = {}
    left = []
    for path, content in files.items():
        before = snapshot.read(path)
        wanted = content.encode("utf-8", "surrogateescape")
        if before == wanted:
            continue
        if before is None or path in APPENDED or _is_ours(path, before):
            changes[path] = wanted
        else:
            left.append(path)
    return changes, tuple(left)


def _is_ours(path: str, content: bytes) -> bool:
    """Whether an older ``lockgate init`` wrote this workflow: its pin may be moved."""
    return path.startswith(".github/workflows/lockgate-") and LAID_DOWN.encode() in content


def patch(snapshot: Snapshot, changes: Changes) -> str:
    """Return the changes as a patch."""
    parts: list[str] = []
    for path, content in changes.items():
        before, after = snapshot.read(path), content
        old, new = ((side or b"").decode("utf-8", "replace").splitlines(keepends=True) for side in (before, after))
        names = ["/dev/null" if side is None else f"{mark}/{path}" for mark, side in (("a", before), ("b", after))]
        lines = difflib.unified_diff(old, new, names[0], names[1])
        parts += [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]
    return "".join(parts)


def removal(snapshot: Snapshot) -> Changes:
    """Return the change that takes back what ``lockgate init`` laid down, and leaves everything else."""
    changes: dict[str, bytes | None] = {}
    for path in snapshot.list(".yml"):
        if _is_ours(path, snapshot.read(path) or b""):
            changes[path] = None
    for path in (policy.FILE, LOCK):
        if (snapshot.read(path) or b"").startswith(MARK.encode()):
            changes[path] = None
    for path, pattern in _ADDED.items():
        before = snapshot.read(path)
        if before is not None and (after := re.sub(pattern, b"", before, flags=re.MULTILINE)) != before:
            changes[path] = after if after.strip() else None
    return changes


_ADDED = {
    ".gitattributes": rb"^\S+ merge=lockgate(-output)?\r?\n",
    ".gitignore": rb"^/(\.lockgate|handover)/\r?\n",
}


def commit(root: Path, at: Start, changes: Changes, description: str, *, title: str = TITLE) -> str:
    """Return the commit of the change on top of the start. Nothing points at it yet."""
    name, email = (
        git.git(root, "config", "--default", "", "--get", f"user.{what}").strip() for what in ("name", "email")
    )
    name, email = os.environ.get("GIT_AUTHOR_NAME", name), os.environ.get("GIT_AUTHOR_EMAIL", email)
    if not name or not email:
        raise NotAskedError(
            "git does not know who you are, so nothing can be committed",
            "`git config --global user.name NAME` and `git config --global user.email ADDRESS`.",
        )
    return git.commit_on(root, at.commit, changes, f"{title}\n\n{description}", (name, email))


def point(root: Path, branch: str, made: str, at: Start) -> bool:
    """Have the local ``branch`` point at the commit; return whether it did not before. Raises :class:`Taken`."""
    ref = f"refs/heads/{branch}"
    now = git.git(root, "for-each-ref", "--format=%(objectname)", ref).strip()
    if now == made:
        return False
    if now and not is_ours(root, now, at.commit):
        raise Taken(branch, "of this clone")
    if now and git.git(root, "rev-parse", "--abbrev-ref", "HEAD").strip() == branch:
        raise NotAskedError(
            f"the branch '{branch}' is checked out here, and a newer proposal cannot replace it under your hands",
            f"`git checkout {at.branch}`, and run this again.",
        )
    git.git(root, "update-ref", ref, made, now or "0" * 40)
    return True


def is_ours(root: Path, tip: str, base: str) -> bool:
    """Whether every commit of ``tip`` that ``base`` does not have was made by ``lockgate init``."""
    bodies = git.git(root, "log", "--format=%B%x1e", tip, f"^{base}").split("\x1e")
    return all(TRAILER in body for body in bodies if body.strip())


def publish(root: Path, branch: str, made: str, at: Start) -> bool:
    """Push the branch to ``origin``; return whether it was not there before as it is.

    Raises :class:`Taken` where the branch there has others' commits, :class:`NotAskedError` where it cannot be pushed.
    """
    ref = f"refs/heads/{branch}"
    quiet = {"GIT_TERMINAL_PROMPT": "0"}
    try:
        now = git.git(root, "ls-remote", "origin", ref, environment=quiet).partition("\t")[0]
        if now == made:
            return False
        if now:
            git.git(root, "fetch", "--quiet", "--no-tags", "origin", now, environment=quiet)
            if not is_ours(root, now, at.commit):
                raise Taken(branch, "at origin")
        if not git.push(root, made, branch, now, quiet):
            raise LockgateError(f"the branch '{branch}' was pushed by somebody else at the same time")
    except Taken:
        raise
    except LockgateError as error:
        raise NotAskedError(
            f"the branch '{branch}' is made, but could not be pushed to origin: {error}",
            f"If you may not push there, push it to your fork (`git push FORK {branch}`) and propose it from there.",
        ) from error
    return True
