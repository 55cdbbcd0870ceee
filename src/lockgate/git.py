"""Everything lockgate asks of git: revisions, merge bases, and files as they were.

git is run as a program with a list of arguments, never through a shell, so that a branch named ``$(id)`` is only a
name. Paths are relative to the project's folder (where ``.dvc`` is), which may be a folder inside the git repository,
with ``/`` between the parts on every platform. Names that are not UTF-8 survive as surrogate escapes.
"""

import os
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Mapping
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


def git(
    root: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    input: bytes | None = None,  # noqa: A002
) -> str:
    """Run git in ``root`` and return what it printed. Raises :class:`GitError` with git's own words if it fails.

    ``environment`` is added to that of this process.
    """
    done = _run(root, *arguments, environment=environment, input=input)
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


# --- another's branch, without ever checking it out


def authorization(server: str, token: str) -> dict[str, str]:
    """Return the environment that lets git speak to ``server`` with a token: on no command line, in no file."""
    basic = b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"http.{server}/.extraheader",
        "GIT_CONFIG_VALUE_0": f"AUTHORIZATION: basic {basic}",
        "GIT_TERMINAL_PROMPT": "0",
    }


def fetch(root: Path, commit: str, access: Mapping[str, str]) -> None:
    """Have a commit of ``origin`` and its history here, as data: no branch, tag or file of this clone changes."""
    git(root, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "origin", commit, environment=access)


def commit_on(root: Path, parent: str, files: Mapping[str, bytes], message: str, author: tuple[str, str]) -> str:
    """Return the commit that has ``files`` (paths in the project) on top of ``parent``. Nothing points at it yet.

    The same arguments give the same sha: its time is that of the parent. Raises :class:`GitError` where a path is
    something else than a plain file in ``parent``.
    """
    top = Path(git(root, "rev-parse", "--show-toplevel").rstrip("\n"))
    prefix = git(root, "rev-parse", "--show-prefix").rstrip("\n")
    date = git(root, "show", "--no-patch", "--format=%ct +0000", parent).strip()
    name, email = author
    people = {f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in
              (("NAME", name), ("EMAIL", email), ("DATE", date))}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        git(top, "read-tree", parent, environment=index)
        for path, content in files.items():
            there = git(top, "ls-tree", parent, "--", f":(top,literal){prefix}{path}")
            if there and not there.startswith("100644 blob "):
                raise GitError(f"'{path}' is no plain file in {parent[:10]}, so it is not replaced")
            blob = git(top, "hash-object", "-w", "--stdin", input=content).strip()
            git(top, "update-index", "--add", "--cacheinfo", f"100644,{blob},{prefix}{path}", environment=index)
        tree = git(top, "write-tree", environment=index).strip()
    return git(top, "commit-tree", tree, "-p", parent, "-m", message, environment=people).strip()


def difference(root: Path, before: str, after: str) -> str:
    """Return what differs between two commits as a patch for ``git apply``."""
    return git(root, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", before, after)


def push(root: Path, commit: str, branch: str, expected: str, access: Mapping[str, str]) -> bool:
    """Have ``branch`` of ``origin`` point at ``commit`` if it stands at ``expected``; return whether it now does.

    Raises :class:`GitError` if the push failed although the branch stands where it should.
    """
    ref = f"refs/heads/{branch}"
    lease = f"--force-with-lease={ref}:{expected}"
    try:
        git(root, "push", "--quiet", "--no-verify", lease, "origin", f"{commit}:{ref}", environment=access)
    except GitError:
        now = git(root, "ls-remote", "origin", ref, environment=access).partition("\t")[0]
        if now == expected:
            raise
        return now == commit
    return True


def _run(
    root: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    input: bytes | None = None,  # noqa: A002
) -> "subprocess.CompletedProcess[bytes]":
    settings = None if environment is None else {**os.environ, **environment}
    try:
        return subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, check=False, env=settings, input=input
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed, or not on PATH", "Install git 2.30 or newer.") from error
