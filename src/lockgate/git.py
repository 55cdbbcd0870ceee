"""Everything lockgate asks of git: revisions, merge bases, and files as they were.

git is run as a program with a list of arguments, never through a shell, so that a branch named ``$(id)`` is only a
name. Paths are relative to the project's folder (where ``.dvc`` is), which may be a folder inside the git repository,
with ``/`` between the parts on every platform. Names that are not UTF-8 survive as surrogate escapes.
"""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from lockgate.errors import LockgateError, nearest


class GitError(LockgateError):
    """git refused, or the repository lacks what was asked of it."""


class NotARepository(GitError):  # noqa: N818 - named for what the user reads
    """The folder is not inside a git repository."""

    def __init__(self, folder: Path) -> None:
        """Name the folder."""
        super().__init__(
            f"{folder} is not inside a git repository",
            "Go to your repository, or make one with `git init` and `dvc init`.",
        )


class UnknownRevision(GitError):  # noqa: N818
    """No commit, branch or tag has this name here."""

    def __init__(self, revision: str, known: list[str], *, shallow: bool) -> None:
        """Name the revision, and the nearest of the ``known`` ones."""
        advice = "This clone is shallow: `git fetch --unshallow` (in a workflow: fetch-depth: 0) brings all history."
        if not shallow:
            hint = nearest(revision, known)
            advice = f"{hint[0].upper()}{hint[1:]}" if hint else "`git branch -a` and `git tag` list what there is."
        super().__init__(f"unknown revision '{revision}'", advice)


class NoMergeBase(GitError):  # noqa: N818
    """Two revisions share no commit that this clone knows of."""

    def __init__(self, one: str, other: str, *, shallow: bool) -> None:
        """Name both revisions."""
        advice = (
            "This clone is shallow: `git fetch --unshallow` (in a workflow: fetch-depth: 0) brings all history."
            if shallow
            else "Their histories are unrelated; name the revision to compare with: --base REV."
        )
        super().__init__(f"'{one}' and '{other}' have no commit in common here", advice)


class Snapshot(Protocol):
    """The project's files at one moment: a commit or the working tree."""

    @property
    def label(self) -> str:
        """What a person calls it: a branch, a tag, a short sha, ``workspace``."""

    @property
    def commit(self) -> str | None:
        """The full sha; ``None`` for the working tree."""

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, ``None`` if there is no such file."""

    def list(self, *patterns: str) -> tuple[str, ...]:
        """Return the sorted paths that git knows (or would add); with ``patterns``, those with one of the endings."""


@dataclass
class Commit:
    """The files of one commit, read through one ``git cat-file --batch`` process. Use as a context manager, or not:
    the process ends with the object."""

    root: Path
    label: str
    commit: str
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False, compare=False)

    def read(self, path: str) -> bytes | None:
        """Return the blob at ``path``, ``None`` if the commit has none there."""
        if self._process is None:
            self._process = subprocess.Popen(
                ["git", "cat-file", "--batch"], cwd=self.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        if "\n" in path:  # the protocol is one request a line
            return None
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None  # noqa: S101 - asked for above
        assert stdout is not None  # noqa: S101
        stdin.write(os.fsencode(f"{self.commit}:./{path}\n"))
        stdin.flush()
        header = stdout.readline().rsplit(b" ", 2)
        if len(header) < 3 or not header[2].strip().isdigit():  # "<name> missing"
            return None
        content = stdout.read(int(header[2]) + 1)[:-1]
        return content if header[1] == b"blob" else None

    def list(self, *patterns: str) -> tuple[str, ...]:
        """Return the sorted paths of the commit under the project's folder."""
        names = git(self.root, "ls-tree", "-r", "-z", "--name-only", self.commit).split("\0")
        return tuple(sorted(name for name in names if name and name.endswith(patterns or ("",))))

    def close(self) -> None:
        """End the process that reads blobs."""
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    __del__ = close


@dataclass(frozen=True)
class Workspace:
    """The working tree as it is now."""

    root: Path
    label: str = "workspace"
    commit: None = None

    def read(self, path: str) -> bytes | None:
        """Return the file's bytes, ``None`` if there is no such file."""
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def list(self, *patterns: str) -> tuple[str, ...]:
        """Return the sorted paths of files that exist and that git tracks or would add."""
        wanted = [f":(glob)**/*{pattern}" for pattern in patterns]
        names = git(self.root, "ls-files", "-z", "-co", "--exclude-standard", "--", *wanted).split("\0")
        return tuple(sorted({name for name in names if name and (self.root / name).is_file()}))


def git(root: Path, *arguments: str) -> str:
    """Run git in ``root`` and return what it printed. Raises :class:`GitError` with git's own words if it fails."""
    done = _run(root, *arguments)
    if done.returncode != 0:
        said = os.fsdecode(done.stderr).strip().removeprefix("fatal: ") or f"exit code {done.returncode}"
        raise GitError(f"git {arguments[0]} failed: {said}")
    return os.fsdecode(done.stdout)


def project_root(start: Path | None = None) -> Path:
    """Return the folder of the DVC project that ``start`` (default: here) is in, inside a git repository.

    Raises :class:`NotARepository`, or :class:`LockgateError` where no folder up to git's own has a ``.dvc``.
    """
    start = (start or Path.cwd()).resolve()
    done = _run(start, "rev-parse", "--show-toplevel")
    if done.returncode != 0:
        raise NotARepository(start)
    top = Path(os.fsdecode(done.stdout).rstrip("\n"))
    for folder in (start, *start.parents):
        if (folder / ".dvc").is_dir():
            return folder
        if folder == top:
            break
    raise LockgateError(f"{top} is not a DVC repository: it has no .dvc folder", "Make it one with `dvc init`.")


def resolve(root: Path, revision: str) -> str:
    """Return the full sha of the commit that ``revision`` names. Raises :class:`UnknownRevision`."""
    done = _run(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if done.returncode != 0:
        names = git(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")
        raise UnknownRevision(revision, names.split(), shallow=is_shallow(root))
    return os.fsdecode(done.stdout).strip()


def snapshot(root: Path, revision: str) -> Snapshot:
    """Return the files of ``revision``; ``workspace`` names the working tree. Raises :class:`UnknownRevision`."""
    return Workspace(root) if revision == "workspace" else Commit(root, revision, resolve(root, revision))


def merge_base(root: Path, one: str, other: str) -> str:
    """Return the sha of the best common ancestor. Raises :class:`NoMergeBase`, :class:`UnknownRevision`."""
    done = _run(root, "merge-base", resolve(root, one), resolve(root, other))
    if done.returncode != 0:
        raise NoMergeBase(one, other, shallow=is_shallow(root))
    return os.fsdecode(done.stdout).strip()


def default_branch(root: Path) -> str:
    """Return the name of the default branch: what ``origin/HEAD`` points at, else ``main``, else ``master``.

    Raises :class:`GitError` if there is none of them.
    """
    done = _run(root, "symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD")
    if done.returncode == 0:
        return os.fsdecode(done.stdout).strip()
    for name in ("origin/main", "main", "origin/master", "master"):
        if _run(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").returncode == 0:
            return name
    raise GitError("this repository has no default branch that can be found", "Name the base yourself: --base REV.")


def head(root: Path) -> str | None:
    """Return the sha of ``HEAD``, ``None`` before the first commit."""
    done = _run(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    return os.fsdecode(done.stdout).strip() if done.returncode == 0 else None


def is_shallow(root: Path) -> bool:
    """Say whether part of the history was never fetched."""
    return git(root, "rev-parse", "--is-shallow-repository").strip() == "true"


def _run(root: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    try:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise GitError("git is not installed, or not on PATH", "Install git 2.30 or newer.") from error
