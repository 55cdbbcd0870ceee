"""Everything lockgate asks of git: revisions, merge bases, and files as they were.

git is run as a program with a list of arguments, never through a shell, so that a branch named ``$(id)`` is only a
name. Paths are relative to the project's folder (where ``.dvc`` is), which may be a folder inside the git repository,
with ``/`` between the parts on every platform. Names that are not UTF-8 survive as surrogate escapes.
"""

import os
import posixpath
import re
import secrets
import subprocess
import tempfile
import weakref
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, Self

from lockgate.errors import NotAskedError, nearest

Names = list[str]
Walked = tuple[str, Names, Names]
"""A folder, the names of the folders in it, and of the files."""


class GitError(NotAskedError):
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
    """No commit, branch, tag or experiment has this name here."""

    def __init__(self, revision: str, known: list[str], *, shallow: bool) -> None:
        """Name the revision, and the nearest of the ``known`` ones."""
        advice = "This clone is shallow: `git fetch --unshallow` (in a workflow: fetch-depth: 0) brings all history."
        if not shallow:
            hint = nearest(revision, known)
            listing = "`git branch -a`, `git tag` and `dvc exp list` list what there is."
            advice = f"{hint[0].upper()}{hint[1:]}" if hint else listing
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
    """The project's files at one moment, as a checkout has them: a commit or the working tree.

    Paths are relative to the project's folder and may lead above it (``../lib``). Symbolic links are followed.
    """

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

    def exists(self, path: str) -> bool:
        """Say whether there is a file or a folder at ``path``."""

    def walk(self, path: str) -> Iterator[Walked]:
        """Walk a folder as ``os.walk`` does, from the top: folder, names of folders (to prune in place), of files.

        A link to a folder is among the folders and is not entered; one that leads nowhere is among the files.
        """

    def unknown(self, path: str) -> str:
        """Say why nothing can be known of what is at ``path``, as a clause; empty if it can."""


@dataclass
class Commit:
    """The files of one commit as a checkout would lay them out, without one.

    Line endings, ``ident``, encodings and smudge filters are applied as this clone is configured: ``.gitattributes``
    of the commit names a filter, but only the configuration of this clone (or machine) says which program that is.
    Links are followed inside the repository; one that leads out of it leads nowhere. Files of submodules are absent.
    Without ``lfs`` what git-lfs keeps is left as the pointer that git holds, as in a clone without git-lfs: nothing is
    downloaded.
    """

    root: Path
    label: str
    commit: str
    lfs: bool = True
    _blobs: "Blobs | None" = field(default=None, repr=False, compare=False)

    def read(self, path: str) -> bytes | None:
        """Return the content of the file at ``path``, ``None`` if the commit has none there."""
        place = self._place(path)
        entry = self._tree.entries.get(place) if place is not None else None
        if place is None or entry is None or not entry.is_file:
            return None
        return self._reader.content(entry.oid, place)

    def list(self, *patterns: str) -> tuple[str, ...]:
        """Return the sorted paths of the commit's files under the project's folder."""
        prefix = self._tree.prefix
        inside = (name.removeprefix(prefix) for name in self._tree.entries if name.startswith(prefix))
        chosen = [name for name in inside if name.endswith(patterns or ("",))]
        return tuple(sorted(name for name in chosen if self._is_file(prefix + name)))

    def exists(self, path: str) -> bool:
        """Say whether the commit has a file or a folder at ``path``."""
        place = self._place(path)
        return place is not None and (place in self._tree.entries or place in self._tree.folders)

    def walk(self, path: str) -> Iterator[Walked]:
        """Walk a folder of the commit."""
        place = self._place(path)
        if place is None or place not in self._tree.folders:
            return
        folders: Names = []
        files: Names = []
        for name in self._tree.folders[place]:
            inner = f"{place}/{name}" if place else name
            entry = self._tree.entries.get(inner)
            is_folder = entry is None or entry.is_submodule or (entry.is_link and self._leads_to_folder(inner))
            (folders if is_folder else files).append(name)
        yield path, folders, files
        for name in folders:
            inner = f"{place}/{name}" if place else name
            if inner in self._tree.folders:
                yield from self.walk(f"{path}/{name}" if path else name)

    def unknown(self, path: str) -> str:
        """Say why the commit cannot tell what is at ``path``: it lies outside the repository, or in a submodule."""
        place = self._place(path)
        if place is None:
            return "it lies outside the repository"
        for folder in (place, *map(str, PurePosixPath(place).parents)):
            entry = self._tree.entries.get(folder)
            if entry is not None and entry.is_submodule:
                return f"it lies in the submodule '{folder}', whose files the commit does not hold"
        return ""

    def close(self) -> None:
        """End the processes that read blobs."""
        if self._blobs is not None:
            self._blobs.close()
            self._blobs = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    __del__ = close

    @property
    def _tree(self) -> "Tree":
        return read_tree(self.root, self.commit)

    @property
    def _reader(self) -> "Blobs":
        if self._blobs is None:
            self._blobs = Blobs(self.root, self._tree.attributes, lfs=self.lfs)
        return self._blobs

    def _place(self, path: str) -> str | None:
        """Return where in the repository ``path`` leads, links followed; ``None`` if it leads out of it."""
        if path.startswith("/"):
            return None
        todo = list(reversed(f"{self._tree.prefix}{path}".split("/")))
        here: list[str] = []
        hops = 0
        while todo:
            part = todo.pop()
            if part == ".." and not here:
                return None
            if part == "..":
                here.pop()
            elif part not in ("", "."):
                here.append(part)
                entry = self._tree.entries.get("/".join(here)) if self._tree.has_links else None
                if entry is not None and entry.is_link:
                    hops += 1
                    target = os.fsdecode(self._reader.raw(entry.oid))
                    if target.startswith("/") or hops > LINKS:
                        return None
                    here.pop()
                    todo.extend(reversed(target.split("/")))
        return "/".join(here)

    def _resolved(self, place: str) -> str | None:
        """Return where a path of the repository leads, links followed."""
        back = "../" * self._tree.prefix.count("/")
        return self._place(f"{back}{place}")

    def _is_file(self, place: str) -> bool:
        entry = self._tree.entries[place]
        if entry.is_link:
            target = self._resolved(place)
            entry = self._tree.entries.get(target or "", entry)
        return entry.is_file

    def _leads_to_folder(self, place: str) -> bool:
        target = self._resolved(place)
        return target is not None and target in self._tree.folders


def held_link(snapshot: Snapshot, path: str) -> str | None:
    """Return where the symbolic link at ``path`` leads, if git holds it; ``None`` if git holds no link there."""
    if isinstance(snapshot, Overlay):
        return held_link(snapshot.under, path)
    if isinstance(snapshot, Workspace):
        place = snapshot.root / path
        held = place.is_symlink() and git(snapshot.root, "ls-files", "-s", "--", f":(literal){path}")
        return str(place.readlink()) if held and held.startswith("120000") else None
    if isinstance(snapshot, Commit):
        tree = read_tree(snapshot.root, snapshot.commit)
        entry = tree.entries.get(f"{tree.prefix}{path}")
        return git(snapshot.root, "cat-file", "blob", entry.oid) if entry and entry.is_link else None
    return None


LINKS = 40
"""Links that are followed for one path, as Linux does."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, link or submodule in a commit: git's mode and the name of the object."""

    mode: str
    oid: str

    @property
    def is_file(self) -> bool:
        """Whether this is a file."""
        return self.mode.startswith("100")

    @property
    def is_link(self) -> bool:
        """Whether this is a symbolic link."""
        return self.mode == "120000"

    @property
    def is_submodule(self) -> bool:
        """Whether this is a submodule."""
        return self.mode == "160000"


@dataclass(frozen=True)
class Tree:
    """All that a commit holds, by path from the top of the repository. ``prefix`` leads to the project's folder."""

    prefix: str
    entries: Mapping[str, Entry]

    @cached_property
    def has_links(self) -> bool:
        """Whether there is any symbolic link."""
        return any(entry.is_link for entry in self.entries.values())

    @cached_property
    def folders(self) -> Mapping[str, tuple[str, ...]]:
        """The names in each folder, sorted."""
        found: dict[str, set[str]] = {"": set()}
        for path in self.entries:
            while True:
                folder, _, name = path.rpartition("/")
                known = folder in found
                found.setdefault(folder, set()).add(name)
                if known:
                    break
                path = folder  # noqa: PLW2901 - up to the top
        return {folder: tuple(sorted(names)) for folder, names in found.items()}

    @cached_property
    def attributes(self) -> Mapping[str, str]:
        """The objects of the ``.gitattributes`` files, by path."""
        return {
            path: entry.oid
            for path, entry in self.entries.items()
            if entry.is_file and posixpath.basename(path) == ".gitattributes"
        }


@lru_cache(maxsize=16)
def read_tree(root: Path, commit: str) -> Tree:
    """Return all that a commit holds."""
    prefix = _prefix(root)
    listed = git(root, "ls-tree", "-r", "-z", "--full-tree", commit).split("\0")
    entries = {}
    for line in listed:
        if line:
            about, _, path = line.partition("\t")
            mode, _, oid = about.split(" ")
            entries[path] = Entry(mode, oid)
    return Tree(prefix, entries)


@lru_cache(maxsize=16)
def _prefix(root: Path) -> str:
    return git(root, "rev-parse", "--show-prefix").rstrip("\n")


SMALL, MANY = 1 << 16, 256
"""Bytes of a blob that is kept in memory once it has been read, and how many of them are kept."""


_INHERITED: list["Blobs"] = []
_STARTED: "weakref.WeakSet[Blobs]" = weakref.WeakSet()


def readers() -> frozenset["Blobs"]:
    """Return the readers that have a process of git's running."""
    return frozenset(_STARTED)


def end_readers(but: frozenset["Blobs"] = frozenset()) -> None:
    """End the processes by which files of commits were read, but those in ``but``. A reader that is asked again starts
    its process again."""
    for reader in readers() - but:
        reader.close()


class Blobs:
    """Reads blobs through ``git cat-file``: as they are stored, or as a checkout with these attributes has them.

    git takes attributes from a working tree; it is given one that has nothing but the commit's ``.gitattributes``.
    """

    def __init__(self, root: Path, attributes: Mapping[str, str], *, lfs: bool = True) -> None:
        """Start nothing yet. ``attributes`` are the commit's ``.gitattributes``, object by path."""
        self.root, self.attributes, self.lfs = root, attributes, lfs
        self._raw: subprocess.Popen[bytes] | None = None
        self._converting: subprocess.Popen[bytes] | None = None
        self._place: tempfile.TemporaryDirectory[str] | None = None
        self._mark = secrets.token_hex(16).encode()
        self._known: dict[str, bytes] = {}
        self._owner = os.getpid()

    def raw(self, oid: str) -> bytes:
        """Return a blob as it is stored. Small ones are asked for once: the files of the pipeline are read often."""
        if oid in self._known:
            return self._known[oid]
        if self._raw is None:
            self._raw = self._start(["git", "cat-file", "--batch"], self.root, None)
        stdin, stdout = _pipes(self._raw)
        stdin.write(f"{oid}\n".encode())
        stdin.flush()
        header = stdout.readline().split()
        if len(header) != 3:
            raise GitError(f"git has no object {oid}", "`git fsck` shows what is missing in this clone.")
        found = stdout.read(int(header[2]) + 1)[:-1]
        if len(found) <= SMALL and len(self._known) < MANY:
            self._known[oid] = found
        return found

    def content(self, oid: str, path: str) -> bytes:
        """Return what a checkout has at ``path`` (from the top of the repository). Raises :class:`GitError`."""
        if not self._may_convert:
            return self.raw(oid)
        if "\n" in path:  # the protocol is one request a line
            return self._one(oid, path)
        if self._converting is None:
            self._converting = self._start(*self._command("--batch", "--filters"))
        stdin, stdout = _pipes(self._converting)
        # git announces the size before the conversion: the end is known by the answer to a second question
        stdin.write(os.fsencode(f"{oid} {path}\n") + self._mark + b"\n")
        stdin.flush()
        end = b"\n" + self._mark + b" missing\n"
        found = bytearray()
        while not found.endswith(end):
            chunk = os.read(stdout.fileno(), 1 << 20)
            if not chunk:
                raise GitError(
                    f"git could not lay out '{path}' as a checkout has it: a filter of .gitattributes failed",
                    "`git check-attr -a -- PATH` names the filter, `git config --get-regexp filter` its program.",
                )
            found += chunk
        _, _, body = bytes(found).partition(b"\n")
        return body[: -len(end)]

    def close(self) -> None:
        """End the processes. A forked copy of the process that started them leaves them alone: it would wait for ever,
        because the other copy holds their other end."""
        if self._owner != os.getpid():
            _INHERITED.append(self)  # so that nothing of it is collected, and ended, here either
            return
        for process in (self._raw, self._converting):
            if process is not None:
                process.communicate()
        self._raw = self._converting = None
        _STARTED.discard(self)
        if self._place is not None:
            self._place.cleanup()
            self._place = None

    @cached_property
    def _may_convert(self) -> bool:
        """Whether a checkout may have other bytes than git stores."""
        if self.attributes:
            return True
        common = Path(self.root, git(self.root, "rev-parse", "--git-common-dir").rstrip("\n"))
        wanted = "^core\\.(autocrlf|eol|attributesfile)$"
        configured = _run(self.root, "config", "--get-regexp", wanted).stdout.strip()
        usual = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "git", "attributes")
        return bool(configured) or (common / "info" / "attributes").exists() or usual.exists()

    def _one(self, oid: str, path: str) -> bytes:
        command, place, settings = self._command("--filters", f"--path={path}", oid)
        done = subprocess.run(command, cwd=place, env=settings, capture_output=True, check=False)
        if done.returncode != 0:
            raise GitError(f"git could not lay out {path!r}: {os.fsdecode(done.stderr).strip()}")
        return done.stdout

    def _command(self, *arguments: str) -> "tuple[list[str], Path, dict[str, str]]":
        """Return the command that converts, the folder to run it in, and its environment."""
        if self._place is None:
            self._place = tempfile.TemporaryDirectory(prefix="lockgate-attributes-")
            for path, oid in self.attributes.items():
                parts = path.split("/")
                if not {"", ".", "..", ".git"} & set(parts):
                    target = Path(self._place.name, *parts)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(self.raw(oid))
        folder = Path(self._place.name)
        where = git(self.root, "rev-parse", "--absolute-git-dir").rstrip("\n")
        command = ["git", f"--git-dir={where}", f"--work-tree={folder}", "cat-file", *arguments]
        settings = {**os.environ, "GIT_INDEX_FILE": str(folder / ".git-no-index"), "GIT_TERMINAL_PROMPT": "0"}
        return command, folder, settings if self.lfs else {**settings, "GIT_LFS_SKIP_SMUDGE": "1"}

    def _start(
        self, command: "list[str]", folder: Path, settings: "dict[str, str] | None"
    ) -> "subprocess.Popen[bytes]":
        _STARTED.add(self)
        return subprocess.Popen(command, cwd=folder, env=settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _pipes(process: "subprocess.Popen[bytes]") -> tuple[IO[bytes], IO[bytes]]:
    assert process.stdin is not None  # noqa: S101 - asked for when it was started
    assert process.stdout is not None  # noqa: S101
    return process.stdin, process.stdout


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

    def exists(self, path: str) -> bool:
        """Say whether there is a file or a folder at ``path``."""
        return (self.root / path).exists()

    def walk(self, path: str) -> Iterator[Walked]:
        """Walk a folder of the working tree."""
        top = self.root / path
        for folder, folders, files in os.walk(top):
            inner = Path(folder).relative_to(top).as_posix()
            yield posixpath.normpath(posixpath.join(path, inner)) if path or inner != "." else "", folders, files

    def unknown(self, path: str) -> str:  # noqa: ARG002 - part of the protocol
        """Say nothing: what is not here is not there."""
        return ""


@dataclass(frozen=True)
class Overlay:
    """A snapshot with some files replaced or added; those that are ``None`` are gone."""

    under: Snapshot
    files: Mapping[str, bytes | None] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What the snapshot is called."""
        return self.under.label

    @property
    def commit(self) -> str | None:
        """The commit underneath."""
        return self.under.commit

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, ``None`` if there is no such file."""
        return self.files[path] if path in self.files else self.under.read(path)

    def list(self, *patterns: str) -> tuple[str, ...]:
        """Return the sorted paths of all files; with ``patterns``, those with one of the endings."""
        names = {path for path in self.files if path.endswith(patterns or ("",))}
        there = {*self.under.list(*patterns), *names}
        return tuple(sorted(path for path in there if self.files.get(path, b"") is not None))

    def exists(self, path: str) -> bool:
        """Say whether there is a file or a folder at ``path``."""
        if path in self.files:
            return self.files[path] is not None
        return any(name.startswith(f"{path}/") for name in self._added) or self.under.exists(path)

    def walk(self, path: str) -> Iterator[Walked]:
        """Walk a folder, with what was added to it."""
        start = f"{path}/" if path else ""
        added = {name.removeprefix(start) for name in self._added if name.startswith(start)}
        seen = set()
        for folder, folders, files in self.under.walk(path):
            seen.add(folder)
            inner = folder.removeprefix(start) if folder != path else ""
            new = {posixpath.basename(name) for name in added if posixpath.dirname(name) == inner}
            kept = {name for name in files if self.files.get(f"{folder}/{name}" if folder else name, b"") is not None}
            yield folder, folders, sorted(kept | new)
        for inner in sorted({posixpath.dirname(name) for name in added}):
            folder = posixpath.join(path, inner) if inner else path
            if folder not in seen:  # a folder that only the added files make
                yield folder, [], sorted(posixpath.basename(name) for name in added if posixpath.dirname(name) == inner)

    def unknown(self, path: str) -> str:
        """Say why nothing can be known of ``path``."""
        return "" if path in self.files else self.under.unknown(path)

    @property
    def _added(self) -> Names:
        return [path for path, content in self.files.items() if content is not None]


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
    names = git(top, "ls-files", "-z", "-co", "--exclude-standard", "--", "*/.dvc/config").split("\0")
    if inside := sorted({name.rpartition("/.dvc/")[0] for name in names if name}):
        named = ", ".join(inside[:10]) + (" …" if len(inside) > 10 else "")
        raise NotAskedError(
            f"{start} is in no DVC project; this repository has projects in: {named}",
            f"Go into one of them: `cd {top / inside[0]}`.",
        )
    raise NotAskedError(f"{top} is not a DVC repository: it has no .dvc folder", "Make it one with `dvc init`.")


def resolve(root: Path, revision: str) -> str:
    """Return the full sha of the commit that ``revision`` names: a commit, branch, tag or the name of a DVC experiment.

    Raises :class:`UnknownRevision`, and :class:`GitError` for an experiment's name that several commits have.
    """
    done = _run(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if done.returncode == 0:
        return os.fsdecode(done.stdout).strip()
    experiments = _experiments(root)
    found = experiments.get(revision, {})
    here = head(root)
    if here in found or len(found) == 1:
        return found[here] if here in found else next(iter(found.values()))
    if found:
        commits = ", ".join(sorted(base[:7] for base in found))
        raise GitError(
            f"the experiment '{revision}' exists for several commits: {commits}",
            "Check out the commit that you mean, or name the experiment by its sha: `dvc exp list --all-commits`.",
        )
    names = git(root, "for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes")
    raise UnknownRevision(revision, [*names.split(), *experiments], shallow=is_shallow(root))


def _experiments(root: Path) -> dict[str, dict[str, str]]:
    """Return DVC's experiments: name → the commit that it started from → its own commit."""
    found: dict[str, dict[str, str]] = {}
    for line in git(root, "for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines():
        sha, _, ref = line.partition(" ")
        parts = ref.split("/")  # refs/exps/ab/cdef.../NAME
        if len(parts) == 5 and re.fullmatch("[0-9a-f]{40}", parts[2] + parts[3]):
            found.setdefault(parts[4], {})[parts[2] + parts[3]] = sha
    return found


def snapshot(root: Path, revision: str) -> Snapshot:
    """Return the files of ``revision``; ``workspace`` names the working tree. Raises :class:`UnknownRevision`."""
    return Workspace(root) if revision == "workspace" else Commit(root, revision, resolve(root, revision))


@dataclass(frozen=True)
class About:
    """What a commit says of itself: its first line, who wrote it, and on which day, in the author's own time zone."""

    subject: str = ""
    author: str = ""
    date: str = ""


def about(snapshot: Snapshot) -> About:
    """Return what the commit of a snapshot says of itself; nothing for the working tree."""
    while isinstance(snapshot, Overlay):
        snapshot = snapshot.under
    if not isinstance(snapshot, Commit):
        return About()
    told = git(
        snapshot.root, "show", "-s", "--no-show-signature", "--encoding=UTF-8", "--format=%s%x00%an%x00%as",
        snapshot.commit,
    )  # fmt: skip
    return About(*told.rstrip("\n").split("\0"))


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


def ignored_by(root: Path, path: str) -> str:
    """Return the rule by which git ignores ``path``, as ``.gitignore:18: /metrics/``; empty if it does not."""
    done = _run(root, "check-ignore", "--verbose", "--no-index", "--", path)
    return os.fsdecode(done.stdout).partition("\t")[0].replace(":", "\0", 1).replace(":", ": ", 1).replace("\0", ":")


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


def fetch(root: Path, commit: str, credentials: Mapping[str, str]) -> None:
    """Have a commit of ``origin`` and its history here, as data: no branch, tag or file of this clone changes."""
    git(root, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "origin", commit, environment=credentials)


def commit_on(
    root: Path,
    parent: str | None,
    files: Mapping[str, bytes | None],
    message: str,
    author: tuple[str, str],
    seconds: int | None = None,
) -> str:
    """Return the commit that has ``files`` (paths in the project) on top of ``parent``; ``None`` removes one. Without a
    ``parent`` it is the first of a history of its own.

    Nothing points at it yet.

    The same arguments give the same sha: its time is that of the parent, unless ``seconds`` since 1970 are given.
    Raises :class:`GitError` where a path is something else than a plain file in ``parent``.
    """
    top = Path(git(root, "rev-parse", "--show-toplevel").rstrip("\n"))
    prefix = git(root, "rev-parse", "--show-prefix").rstrip("\n")
    date = f"@{seconds or 0} +0000"
    if seconds is None and parent is not None:
        date = git(root, "show", "--no-patch", "--format=%ct +0000", parent).strip()
    name, email = author
    people = {f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in
              (("NAME", name), ("EMAIL", email), ("DATE", date))}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        git(top, "read-tree", parent or "--empty", environment=index)
        for path, content in files.items():
            whole = posixpath.normpath(f"{prefix}{path}")
            if whole.startswith(("../", "/")):
                raise GitError(f"'{path}' lies outside the repository")
            there = git(top, "ls-tree", parent, "--", f":(top,literal){whole}") if parent else ""
            if there and not there.startswith("100644 blob "):
                raise GitError(f"'{path}' is not a plain file in {(parent or '')[:10]}, so it is not replaced")
            if content is None:
                git(top, "update-index", "--force-remove", "--", whole, environment=index)
                continue
            blob = git(top, "hash-object", "-w", "--stdin", input=content).strip()
            git(top, "update-index", "--add", "--cacheinfo", f"100644,{blob},{whole}", environment=index)
        tree = git(top, "write-tree", environment=index).strip()
    parents = ("-p", parent) if parent else ()
    return git(top, "commit-tree", tree, *parents, "-m", message, environment=people).strip()


def remote_tip(root: Path, branch: str, credentials: Mapping[str, str]) -> str | None:
    """Return the commit that a branch of ``origin`` stands at now; ``None`` if there is no such branch."""
    found = git(root, "ls-remote", "origin", f"refs/heads/{branch}", environment=credentials)
    return found.partition("\t")[0] or None


def difference(root: Path, before: str, after: str) -> str:
    """Return what differs between two commits as a patch for ``git apply``."""
    return git(root, "diff", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", before, after)


def changed_files(root: Path, before: str, after: str) -> tuple[str, ...]:
    """Return the paths, from the top of the repository, of the files that differ between two commits."""
    exact = ("--no-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none")
    names = git(root, "diff", "--name-only", *exact, "-z", before, after)
    return tuple(sorted(name for name in names.split("\0") if name))


def push(root: Path, commit: str, branch: str, expected: str, credentials: Mapping[str, str]) -> bool:
    """Have ``branch`` of ``origin`` point at ``commit`` if it stands at ``expected`` (empty: if it is not there);
    return whether it now does.

    Raises :class:`GitError` if the push failed although the branch stands where it should.
    """
    ref = f"refs/heads/{branch}"
    lease = f"--force-with-lease={ref}:{expected}"
    try:
        git(root, "push", "--quiet", "--no-verify", lease, "origin", f"{commit}:{ref}", environment=credentials)
    except GitError:
        now = remote_tip(root, branch, credentials) or ""
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
