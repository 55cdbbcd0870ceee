"""Laying a proposal down: one commit on a branch of its own, made without touching the working tree; taking it back.

A file that is there is not replaced, but for lines added at its end and for workflows that an older ``lockgate init``
laid down. What is laid down again is the same commit.
"""

import difflib
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

from lockgate import git, policy
from lockgate.adoption.description import TITLE, TRAILER
from lockgate.adoption.proposal import LOCK, MARK
from lockgate.adoption.workflows import EVERY, path_of
from lockgate.forge.branches import OwnBranch, Start, author
from lockgate.git import Commit, Snapshot

BRANCH = "lockgate-init"
REMOVING = "lockgate-remove"
LAID_DOWN = "Laid down by `lockgate init`."
APPENDED = ("dvc.yaml", ".gitattributes", ".gitignore")
"""Files of the repository's own that only get lines at their end."""

Changes = Mapping[str, bytes | None]


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
    return re.match(r"(\.\./)*\.github/workflows/lockgate-", path) is not None and LAID_DOWN.encode() in content


def patch(snapshot: Commit, changes: Changes) -> str:
    """Return the changes as a patch; of a project in a folder, whose workflows lie above it, one for the whole
    repository."""
    parts: list[str] = []
    above = any(path.startswith("../") for path in changes)
    prefix = git.git(snapshot.root, "rev-parse", "--show-prefix").rstrip("\n") if above else ""
    for path, content in changes.items():
        before, after = snapshot.read(path), content
        old, new = ((side or b"").decode("utf-8", "replace").splitlines(keepends=True) for side in (before, after))
        whole = posixpath.normpath(f"{prefix}{path}")
        names = ["/dev/null" if side is None else f"{mark}/{whole}" for mark, side in (("a", before), ("b", after))]
        lines = difflib.unified_diff(old, new, names[0], names[1])
        parts += [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines]
    return "".join(parts)


def removal(root: Path, snapshot: Commit) -> Changes:
    """Return the change that takes back what ``lockgate init`` laid down, and leaves everything else."""
    changes: dict[str, bytes | None] = {}
    project = git.git(root, "rev-parse", "--show-prefix").rstrip("/\n")
    of_project = [path_of(name, project) for name in EVERY] if project else []
    for path in (*snapshot.list(".yml"), *of_project):
        if _is_ours(path, snapshot.read(path) or b""):
            changes[path] = None
    for path in (policy.FILE, LOCK):
        if (snapshot.read(path) or b"").startswith(MARK.encode()):
            changes[path] = None
    for path, pattern in _ADDED.items():
        before = snapshot.read(path)
        if before is not None and (after := re.sub(pattern, b"", before, flags=re.MULTILINE)) != before:
            changes[path] = after if after.strip() else None
    own = _own_commits(root, snapshot.commit)
    text = snapshot.read("dvc.yaml")
    if text is not None and (without := _without_artifact(root, text, own)) != text:
        changes["dvc.yaml"] = without
    changes |= dict.fromkeys(_figures_added(snapshot, own, root))
    return changes


def _own_commits(root: Path, tip: str) -> tuple[str, ...]:
    """Return the commits of a history that ``lockgate init`` made, the newest first."""
    return tuple(git.git(root, "log", "--format=%H", f"--grep=^{TRAILER}$", tip).split())


def _without_artifact(root: Path, text: bytes, own: tuple[str, ...]) -> bytes:
    """Return ``dvc.yaml`` without the artifact that was added to it: what our own commit appended, where history has it
    (a squashed merge may not), else the entry under our mark. Entries that somebody added below it stay."""
    for commit in own:
        before, after = (Commit(root, one, git.resolve(root, one)).read("dvc.yaml") for one in (f"{commit}^", commit))
        if before is not None and after is not None and after != before and after.startswith(before):
            added = after[len(before) :]
            for block in (added, re.sub(_MARKED, b"", added)):  # DVCLive, which writes dvc.yaml again, drops a comment
                if text.count(block) == 1 and not text.partition(block)[2].startswith((b" ", b"\t")):
                    return text.replace(block, b"")
    entry = re.search(_ARTIFACT, text, re.MULTILINE)
    if entry is None:
        return text
    more = re.match(rb"[ \t]*\S", text[entry.end() :]) and text[entry.end() :][:1] in (b" ", b"\t")
    return text[: entry.start()] + (b"artifacts:" + entry["end"] if more else b"") + text[entry.end() :]


_MARKED = re.escape(MARK.encode()) + rb"\r?\n"
_ARTIFACT = (
    rb"^"
    + re.escape(MARK.encode())
    + rb"(?P<end>\r?\n)artifacts:\r?\n  \S[^\r\n]*:\r?\n    path: [^\r\n]*\r?\n    type: model(\r?\n|\Z)"
)


def _figures_added(snapshot: Commit, own: tuple[str, ...], root: Path) -> list[str]:
    """Return the files of figures that our own commits added to git, where stages left them to git and git ignored
    them: they are ignored again."""
    found: list[str] = []
    for commit in own:
        listed = git.git(
            root, "diff-tree", "--no-commit-id", "--name-only", "--diff-filter=A", "-r", "--relative", "-z", commit
        )
        found += [path for path in listed.split("\0") if path and git.ignored_by(root, path)]
    return [path for path in dict.fromkeys(found) if snapshot.read(path) is not None]


_ADDED = {
    ".gitattributes": rb"^\S+ merge=lockgate(-output)?\r?\n",
    ".gitignore": rb"^/(\.lockgate|handover)/\r?\n",
}


def commit(root: Path, at: Start, changes: Changes, description: str, *, title: str = TITLE) -> str:
    """Return the commit of the change on top of the start. Nothing points at it yet."""
    return git.commit_on(root, at.commit, changes, f"{title}\n\n{description}", author(root))


def own_branch(root: Path, name: str) -> OwnBranch:
    """Return a branch that ``lockgate init`` proposes from."""
    return OwnBranch(root, name, "lockgate init", (TRAILER,))
