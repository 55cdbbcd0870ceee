"""What lockgate asks of DVC's files: digests, the cache, the remote. (Running stages: :mod:`lockgate.dvc.stages`.)

Digests are computed as DVC computes them (MD5 of a file's bytes; of a folder, MD5 of the sorted list of its files), so
that planning hardly needs DVC, whose import costs more than the planning. Fetching is done by DVC's Python API.
"""

import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from lockgate.dvc import listing
from lockgate.dvc.ignore import FILE as IGNORE_FILE
from lockgate.dvc.ignore import Ignores
from lockgate.dvc.pipeline import Recorded, State, is_address
from lockgate.errors import NotAskedError
from lockgate.git import Snapshot, Workspace

REMEMBERED_FROM = 4 << 20
"""Digests of files from this size (bytes) on are remembered between calls, by size, time and inode."""


class DvcError(NotAskedError):
    """DVC, its cache or its remote failed."""


class ObjectMissing(DvcError):  # noqa: N818 - named for what the user reads
    """An output is neither here, nor in the cache, nor in the remote."""

    def __init__(self, path: str, digest: str, why: str, *, of: str = "", reader: str = "", maker: str = "") -> None:
        """Name the file, its digest and what DVC said; the output it is ``of``, the stage that reads and that makes
        it, where known."""
        needed = f", which stage '{reader}' reads," if reader else ""
        again = f"`dvc repro --force {maker}` makes it again" if maker else "`lockgate run` makes it again"
        super().__init__(
            f"'{path}' ({digest}){needed} is neither in the working tree nor in the cache, "
            f"and cannot be fetched: {why}",
            f"Where it still exists, `dvc push {of or path}` brings it to the remote"
            + (f"; otherwise {again}." if maker or not reader else "."),
        )


class ObjectAltered(DvcError):  # noqa: N818
    """An object of the cache or the remote holds other bytes than its hash says."""

    exit_code = 1

    def __init__(self, path: str, digest: str, *, of: str = "") -> None:
        """Name the file, the digest it should have, and the output it is ``of``."""
        super().__init__(
            f"the object of '{path}' is corrupt: its content does not hash to {digest}, so it was not used",
            f"Find out who wrote to the cache or the remote, remove the object {digest} from it, and "
            f"`dvc push {of or path}` from where a good copy is.",
        )


class Files(Protocol):
    """What is known of a snapshot's files without pulling anything."""

    def digest(self, path: str, *, legacy: bool = False) -> str | None:
        """Return DVC's digest of a file or folder (then ending in ``.dir``), ``None`` if it does not exist here."""

    def entries(self, path: str, *, legacy: bool = False) -> dict[str, str] | None:
        """Return relative path → digest of a folder's files as DVC counts them, ``None`` if there is no such folder."""

    def has_pointer(self, path: str) -> bool:
        """Say whether git-lfs keeps the file, or one in the folder, so that a checkout may have other bytes."""

    def in_cache(self, record: Recorded) -> bool:
        """Say whether the cache on this machine holds the content that ``record`` names."""

    def listing(self, record: Recorded) -> Mapping[str, str] | None:
        """Return relative path → digest of a recorded folder's files, ``None`` if that is not known here."""

    def rehashed(self, record: Recorded) -> str | None:
        """Return the other kind of digest (of DVC 3, if the record's is of DVC 2) of a file that the cache holds."""


class IgnoreFileInside(DvcError):  # noqa: N818 - named for what the user reads
    """A folder that DVC refuses to hash."""

    def __init__(self, path: str, folder: str) -> None:
        """Name the folder that a stage reads or writes, and the one in it that has a ``.dvcignore``."""
        super().__init__(
            f"'{folder}/{IGNORE_FILE}' is inside '{path}', which a stage names as a whole: DVC refuses such a folder",
            f"Move its patterns into the {IGNORE_FILE} of a folder above '{path}'.",
        )


POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins that stands in git for one that git-lfs keeps."""
DANGLING = "(a link that leads nowhere)"
"""What stands for the digest of a link that leads nowhere: DVC cannot hash it."""


@dataclass
class _Hashed:
    """Hashes the files of a snapshot as DVC does: a subclass says how a single file is hashed."""

    _found: dict[tuple[str, bool], str | None] = field(default_factory=dict, repr=False, kw_only=True)

    def digest(self, path: str, *, legacy: bool = False) -> str | None:
        """Return DVC's digest of what is at ``path``, ``None`` if nothing is."""
        if (path, legacy) not in self._found:
            value = self._file(path, legacy=legacy)
            if value is None and (entries := self.entries(path, legacy=legacy)) is not None:
                value = folder_digest(entries)
            self._found[path, legacy] = value
        return self._found[path, legacy]

    def entries(self, path: str, *, legacy: bool = False) -> dict[str, str] | None:
        """Return relative path → digest of a folder's files; those that ``.dvcignore`` hides are left out.

        Raises :class:`IgnoreFileInside`.
        """
        found: dict[str, str] | None = None
        start = len(path) + 1 if path else 0
        for folder, names in self._ignores.walk(path):
            found = {} if found is None else found
            if IGNORE_FILE in names:
                raise IgnoreFileInside(path, folder)
            for name in names:
                file = f"{folder}/{name}" if folder else name
                found[file[start:]] = self._file(file, legacy=legacy) or DANGLING
        return found

    @cached_property
    def _ignores(self) -> Ignores:
        return Ignores(self._snapshot)

    @property
    def _snapshot(self) -> Snapshot:
        raise NotImplementedError

    def _file(self, path: str, *, legacy: bool) -> str | None:
        raise NotImplementedError


@dataclass
class WorkspaceFiles(_Hashed):
    """The files of the working tree. Digests of big files are kept in ``.dvc/tmp/lockgate`` until they change."""

    root: Path
    _new: dict[str, list[Any]] = field(default_factory=dict, repr=False)

    def has_pointer(self, path: str) -> bool:  # noqa: ARG002 - part of the protocol
        """Say no: what lies here is what DVC hashes."""
        return False

    def in_cache(self, record: Recorded) -> bool:
        """Say whether the cache holds the file, or the folder with all its files."""
        return self._cache.holds(record)

    def listing(self, record: Recorded) -> Mapping[str, str] | None:
        """Return the files of a folder if the cache holds the list of them."""
        try:
            return self._cache.entries(record)
        except (FileNotFoundError, ValueError):
            return None

    def rehashed(self, record: Recorded) -> str | None:
        """Return the other kind of digest of a file that the cache holds."""
        held = self._cache.path(record.digest, legacy=record.legacy)
        if record.is_folder or not held.is_file():
            return None
        return file_digest(held, legacy=not record.legacy)

    def remember(self) -> None:
        """Write the digests of big files down for the next call. A folder that cannot be written to is no error."""
        if self._new:
            with suppress(OSError):
                self._notes.parent.mkdir(parents=True, exist_ok=True)
                partial = self._notes.with_suffix(f".{os.getpid()}")
                partial.write_text(json.dumps({**self._remembered, **self._new}))
                partial.replace(self._notes)

    @cached_property
    def _cache(self) -> "Cache":
        return Cache.of(self.root)

    @property
    def _snapshot(self) -> Snapshot:
        return Workspace(self.root)

    @property
    def _notes(self) -> Path:
        return self.root / ".dvc" / "tmp" / "lockgate" / "digests.json"

    @cached_property
    def _remembered(self) -> dict[str, list[Any]]:
        try:
            notes = json.loads(self._notes.read_text())
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}

    def _file(self, path: str, *, legacy: bool) -> str | None:
        file = self.root / path
        try:
            status = file.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size < REMEMBERED_FROM:
            return file_digest(file, legacy=legacy)
        key = f"{path}{'*' if legacy else ''}"
        state = [status.st_size, status.st_mtime_ns, status.st_ino]
        noted = self._remembered.get(key)
        if isinstance(noted, list) and noted[:3] == state:
            return str(noted[3])
        value = file_digest(file, legacy=legacy)
        if time.time_ns() - status.st_mtime_ns > 2_000_000_000:  # younger ones could change within one tick
            self._new[key] = [*state, value]
        return value


@dataclass
class CommitFiles(_Hashed):
    """The files that git itself holds of a commit; what DVC tracks is absent, as in a fresh clone."""

    snapshot: Snapshot
    _pointers: set[str] = field(default_factory=set, repr=False)

    def has_pointer(self, path: str) -> bool:
        """Say whether git holds a pointer of git-lfs at ``path``, or in it."""
        self.digest(path)
        return any(name == path or name.startswith(f"{path}/" if path else "") for name in self._pointers)

    def in_cache(self, record: Recorded) -> bool:  # noqa: ARG002 - part of the protocol
        """Say no: of a commit nothing is asked of this machine."""
        return False

    def listing(self, record: Recorded) -> None:
        """Return nothing, for the same reason."""

    def rehashed(self, record: Recorded) -> None:
        """Return nothing, for the same reason."""

    @property
    def _snapshot(self) -> Snapshot:
        return self.snapshot

    def _file(self, path: str, *, legacy: bool) -> str | None:
        content = self.snapshot.read(path)
        if content is None:
            return None
        if content.startswith(POINTER):
            self._pointers.add(path)
        return content_digest(content, legacy=legacy)


def file_digest(path: Path, *, legacy: bool = False) -> str:
    """Return DVC's digest of a file's bytes; ``legacy`` ignores the sort of line ends, as DVC before 3 did."""
    if legacy:
        from dvc_data.hashfile.hash import file_md5

        return str(file_md5(str(path), name="md5-dos2unix"))
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def content_digest(content: bytes, *, legacy: bool = False) -> str:
    """Return DVC's digest of ``content``."""
    if legacy:
        from io import BytesIO

        from dvc_data.hashfile.hash import fobj_md5

        return str(fobj_md5(BytesIO(content), name="md5-dos2unix"))
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def folder_digest(entries: dict[str, str]) -> str:
    """Return DVC's digest of a folder, from the digest of each file in it by relative path."""
    listing = [{"md5": entries[name], "relpath": name} for name in sorted(entries)]
    return content_digest(json.dumps(listing, sort_keys=True).encode()) + ".dir"


@dataclass(frozen=True)
class Cache:
    """DVC's cache on this machine: ``folder`` is what ``dvc cache dir`` prints."""

    folder: Path

    @classmethod
    def of(cls, root: Path) -> "Cache":
        """Return the cache of the project, wherever its configuration puts it."""
        from dvc.config import Config

        configured = Config(str(root / ".dvc"))["cache"].get("dir")
        return cls(root / ".dvc" / configured if configured else root / ".dvc" / "cache")

    def path(self, digest: str, *, legacy: bool = False) -> Path:
        """Return where the object of ``digest`` is, if it is there."""
        return self.folder / ("" if legacy else "files/md5") / digest[:2] / digest[2:]

    def entries(self, record: Recorded) -> dict[str, str]:
        """Return relative path → digest of the files of a folder. Raises ``FileNotFoundError`` if it is not here, and
        :class:`~lockgate.dvc.listing.BrokenList`."""
        return listing.read(self.path(record.digest, legacy=record.legacy).read_bytes())

    def holds(self, record: Recorded) -> bool:
        """Say whether the content is here, of a folder all of it."""
        if not self.path(record.digest, legacy=record.legacy).is_file():
            return False
        digests = self.entries(record).values() if record.is_folder else ()
        return all(self.path(digest, legacy=record.legacy).is_file() for digest in digests)

    @contextmanager
    def arriving(self, digest: str, *, legacy: bool = False) -> Iterator[Path]:
        """Give a file to write the object of ``digest`` to; it comes to its place whole and read-only, as DVC has it,
        unless the block raises. Whether it has the content of its name is for the block to find out."""
        place = self.path(digest, legacy=legacy)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f"{place.name}.{os.getpid()}")
        try:
            yield partial
            partial.chmod(0o444)
            partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)

    def keep(self, file: Path) -> str:
        """Copy a file into the cache, if it is not there, and return its digest."""
        digest = file_digest(file)
        if not self.path(digest).is_file():
            with self.arriving(digest) as partial:
                shutil.copyfile(file, partial)
        return digest


def objects_of(record: Recorded, cache: Cache) -> Iterable[Recorded]:
    """Yield the objects of a file or folder that ``cache`` has, as files: of a folder first the list of its files."""
    if cache.path(record.digest, legacy=record.legacy).is_file():
        yield record
        for path, digest in cache.entries(record).items() if record.is_folder else ():
            yield Recorded(f"{record.path}/{path}", digest, legacy=record.legacy)


def copy_objects(source: Cache, target: Cache, objects: Iterable[Recorded]) -> None:
    """Copy from one cache to another what it lacks; nothing with another content than its hash says comes to stand.

    Raises :class:`ObjectAltered`.
    """
    for one in objects:
        if target.path(one.digest, legacy=one.legacy).is_file():
            continue
        with target.arriving(one.digest, legacy=one.legacy) as partial:
            shutil.copyfile(source.path(one.digest, legacy=one.legacy), partial)
            if file_digest(partial, legacy=one.legacy) != one.digest.removesuffix(".dir"):
                raise ObjectAltered(one.path, one.digest)


def local_file(root: Path, state: State, path: str) -> Path | None:
    """Return a file on this machine with the content that ``path`` has in ``state``; ``None`` if it has none there.

    Of the working tree it is the file itself, if it exists. Otherwise what DVC tracks comes from the cache, and into
    the cache from the remote, this one file only. What git holds of a commit has no such file: use the snapshot's
    ``read``. Raises :class:`ObjectMissing` and :class:`ObjectAltered`.
    """
    if state.snapshot.commit is None and (root / path).is_file():
        return root / path
    record = state.pipeline.recorded(state.lock, path)
    if record is None or not record.digest or is_address(path):
        return None
    cache = Cache.of(root)
    if record.path == path:
        _ensure(root, cache, record)
        return cache.path(record.digest, legacy=record.legacy)
    if not record.is_folder:
        return None
    _ensure(root, cache, record)
    digest = cache.entries(record).get(path.removeprefix(f"{record.path}/"))
    if digest is None:
        return None
    _ensure(root, cache, Recorded(path, digest, legacy=record.legacy))
    return cache.path(digest, legacy=record.legacy)


def read_file(root: Path, state: State, path: str) -> bytes | None:
    """Return the bytes that ``path`` has in ``state``, wherever they are kept: git, working tree, cache or remote.

    ``None`` if there is no such file. Raises as :func:`local_file` does.
    """
    content = state.snapshot.read(path)
    if content is None and (file := local_file(root, state, path)):
        content = file.read_bytes()
    return content


def _ensure(root: Path, cache: Cache, record: Recorded) -> None:
    """Bring one object (of a folder: its list) into the cache, and check what came."""
    target = cache.path(record.digest, legacy=record.legacy)
    if target.is_file():
        return
    from dvc.exceptions import DvcException
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_objects.errors import ObjectFormatError

    from lockgate.dvc.reach import reaching
    from lockgate.dvc.repo import open_repo

    name = "md5-dos2unix" if record.legacy else "md5"
    try:
        with _quiet(), open_repo(root) as repo, reaching(repo.config):
            odb = repo.cloud.get_remote_odb(None, "fetch", hash_name=name)
            source = odb.get(HashInfo(name, record.digest).value)
            local = repo.cache.legacy if record.legacy else repo.cache.local
            local.add(source.path, source.fs, record.digest)
    except (DvcException, ObjectFormatError, OSError) as error:
        raise ObjectMissing(record.path, record.digest, words(error)) from error
    if not _is_whole(cache, record):
        raise ObjectMissing(record.path, record.digest, "the remote does not have it")


def remotes(root: Path) -> dict[str, str]:
    """Return the address of each remote by its name; the default one also under the empty name."""
    from dvc.config import Config

    config = Config(str(root / ".dvc"))
    found = {str(name): str(remote["url"]) for name, remote in config["remote"].items()}
    return {**found, "": found[config["core"]["remote"]]} if config["core"].get("remote") in found else found


def read_anonymously(root: Path) -> None:
    """Have this clone read its S3 remotes without credentials, as anybody may."""
    from dvc.config import Config

    with Config(str(root / ".dvc")).edit("local") as local:
        for name, address in remotes(root).items():
            if name and address.startswith("s3://"):
                local["remote"].setdefault(name, {})["allow_anonymous_login"] = True


def fetch_tracked(root: Path, files: Mapping[str, Sequence[Recorded]], remote: str) -> None:
    """Bring what DVC tracks into the cache from one remote: by ``.dvc`` file or path, with what is recorded of it.

    Every object is hashed, and lists of folders are held to the rules of what comes from outside. What was altered is
    removed. Raises :class:`DvcError`, :class:`ObjectAltered` and :class:`~lockgate.dvc.listing.BrokenList`.
    """
    from dvc.exceptions import DvcException

    from lockgate.dvc.reach import reaching
    from lockgate.dvc.repo import open_repo

    try:
        with _quiet(), open_repo(root) as repo, reaching(repo.config, remote):
            repo.fetch(targets=[str(root / file) for file in files], remote=remote)
    except listing.BrokenList as error:
        raise listing.BrokenList(error.finding, ", ".join(files)) from error
    except DvcException as error:
        advice = f"`dvc push -r {remote} {' '.join(files)}` where the data is; then run this check again."
        raise DvcError(
            f"{', '.join(files)}: the data is not in the remote '{remote}': {words(error)}", advice
        ) from error
    for records in files.values():
        for record in records:
            check_arrived(Cache.of(root), record)


def check_arrived(cache: Cache, record: Recorded) -> None:
    """Hash what has come into a cache of a file or folder; of a folder, hold the list of its files to the rules of what
    comes from outside. What is not here is passed over.

    Raises :class:`ObjectAltered` and :class:`~lockgate.dvc.listing.BrokenList`, and removes the object.
    """
    if not _is_whole(cache, record):
        return
    if record.is_folder:
        place = cache.path(record.digest, legacy=record.legacy)
        try:
            entries = listing.read_strictly(place.read_bytes(), record.path)
        except listing.BrokenList:
            place.unlink()
            raise
        for path, digest in entries.items():
            _is_whole(cache, Recorded(f"{record.path}/{path}", digest, legacy=record.legacy))


def _is_whole(cache: Cache, record: Recorded) -> bool:
    """Say whether a cache has an object. Raises :class:`ObjectAltered`, and removes it, if it has other bytes."""
    place = cache.path(record.digest, legacy=record.legacy)
    if not place.is_file():
        return False
    if file_digest(place, legacy=record.legacy) != record.digest.removesuffix(".dir"):
        place.unlink()
        raise ObjectAltered(record.path, record.digest)
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep DVC's own log and progress bars off the terminal."""
    import logging

    logger, before = logging.getLogger("dvc"), logging.getLogger("dvc").level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def words(error: BaseException | None) -> str:
    """Return what an error and its causes say, on one line."""
    said: list[str] = []
    while error is not None:
        text = " ".join(str(error).split())
        if text and not any(text in earlier for earlier in said):
            said.append(text)
        error = error.__cause__
    return ": ".join(said) or "no reason given"
