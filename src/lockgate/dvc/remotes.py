"""DVC's remotes as sets of objects that are only ever added to.

Remotes are opened by DVC itself, so every kind of remote that DVC knows works, with its configuration and credentials.
An object is known by the digest that is its name, and never trusted for it: whoever takes one hashes it. Writing is
create-only by the store's own means where DVC's file system offers them (a folder, S3, Google Cloud Storage), otherwise
by asking first.
"""

import inspect
import os
import posixpath
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar

from lockgate.dvc.objects import DvcError, file_digest, words
from lockgate.dvc.pipeline import Recorded
from lockgate.dvc.reach import out_of_reach, reaching
from lockgate.store import Rights

QUARANTINE = "quarantine"
"""The remote to which pull requests may write, and which nobody trusts."""
AT_ONCE = 8
"""Objects that are copied at the same time."""
FEW = 64
"""Objects up to which a remote is asked for each by its name."""
DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")

T = TypeVar("T")
R = TypeVar("R")


class RemoteError(DvcError):
    """A remote that is not there, does not answer, or may not be used so."""


class ObjectDiffers(RemoteError):  # noqa: N818 - named for what the user reads
    """A remote holds other bytes under a name than the name says."""

    exit_code = 1

    def __init__(self, remote: str, digest: str, found: str) -> None:
        """Name the remote, the object and what it hashes to."""
        super().__init__(
            f"the object {digest} in the remote '{remote}' is corrupt: its content hashes to {found}",
            "Find out who wrote it, remove it by hand, and run this again. Nothing was overwritten.",
        )


@dataclass(frozen=True, slots=True, order=True)
class Object:
    """A file, or the list of a folder's files (``.dir``), by its digest. ``legacy`` as in :class:`Recorded`."""

    digest: str
    legacy: bool = False

    @classmethod
    def of(cls, record: Recorded) -> "Object":
        """Return the object that a record names."""
        return cls(record.digest, record.legacy)

    @property
    def is_valid(self) -> bool:
        """Whether the digest is one: what else a lock or a list names is no name of an object, but maybe a path."""
        return DIGEST.fullmatch(self.digest) is not None


PROBES = "lockgate-doctor"
"""The folder of a remote in which :meth:`Remote.probe` leaves its objects."""


@dataclass(frozen=True)
class Remote:
    """A remote of the project. ``address`` is its URL (and its server, where configured)."""

    name: str
    address: str
    _remote: Any = field(repr=False)

    def has(self, objects: Iterable[Object]) -> set[Object]:
        """Return those of ``objects`` that are here, by name. Raises :class:`RemoteError`."""
        found = set()
        wanted = set(objects)
        for legacy in (False, True):
            digests = sorted(item.digest for item in wanted if item.legacy is legacy)
            if digests:
                store = self._store(legacy=legacy)
                # DVC's own question lists a part of the remote first, which a few objects are not worth; and it hashes
                # what it finds in a folder, and deletes what differs
                one_by_one = store.fs.protocol == "local" or len(digests) <= FEW
                ask = store.list_oids_exists if one_by_one else store.oids_exist
                with self._complaining():
                    found |= {Object(digest, legacy) for digest in ask(digests)}
        return found

    def get(self, item: Object, target: Path, limit: int | None = None) -> str:
        """Copy an object to ``target`` and return the digest of what came: hold it against the name.

        What is larger than ``limit`` (bytes) is not copied, and its digest is ``too large``. Raises
        ``FileNotFoundError`` if there is no such object, :class:`RemoteError`.
        """
        store = self._store(legacy=item.legacy)
        path = store.oid_to_path(item.digest)
        with self._complaining():
            size = store.fs.size(path)
            if limit is not None and size is not None and size > limit:
                return "too large"
            store.fs.get_file(path, str(target))
        return file_digest(target, legacy=item.legacy) + (".dir" if item.digest.endswith(".dir") else "")

    def create(self, item: Object, source: Path) -> bool:
        """Add an object whose bytes are those of ``source``; return whether it was not here before.

        Raises :class:`ObjectDiffers` if the remote has other bytes under its name, and leaves them; or
        :class:`RemoteError`.
        """
        store = self._store(legacy=item.legacy)
        if self._create(store, store.oid_to_path(item.digest), source):
            return True
        with NamedTemporaryFile() as there:
            if (found := self.get(item, Path(there.name))) != item.digest:
                raise ObjectDiffers(self.name, item.digest, found)
        return False

    def probe(self, name: str) -> Rights:
        """Try what may be done here with one fresh object of this name, outside of what DVC keeps, and nothing else: it
        is created, then replaced. It stays, because removing it would ask for one right more."""
        store = self._store(legacy=False)
        path = store.fs.join(self._remote.path, PROBES, name)
        with NamedTemporaryFile() as source:
            source.write(b"lockgate doctor\n")
            source.flush()
            try:
                self._create(store, path, Path(source.name))
            except DvcError as error:
                return Rights(create=False, replace=False, said=str(error))
            source.write(b"again\n")
            source.flush()
            try:
                with self._complaining():
                    store.fs.put_file(source.name, path)
            except (DvcError, FileNotFoundError):
                return Rights(create=True, replace=False)
        return Rights(create=True, replace=True)

    def create_run(self, key: str, value: str, source: Path) -> bool:
        """Add an entry of the run cache; return whether it was not here before. Raises :class:`RemoteError`."""
        store = self._store(legacy=True)  # where DVC has it
        return self._create(store, store.fs.join(store.path, "runs", key[:2], key, value), source)

    def _create(self, store: Any, path: str, source: Path) -> bool:
        with self._complaining():
            store.makedirs(store.fs.parent(path))
            if store.fs.protocol == "local":
                return _link(source, Path(path))
            if store.fs.exists(path):
                return False
            try:
                store.fs.put_file(str(source), path, **_exclusively(store.fs.fs))
            except OSError:
                store.fs.fs.invalidate_cache(store.fs.parent(path))
                if store.fs.exists(path):  # another writer was first, or the answer to our own success was lost
                    return False
                raise
        return True

    def _store(self, *, legacy: bool) -> Any:
        return self._remote.legacy_odb if legacy else self._remote.odb

    @contextmanager
    def _complaining(self) -> Iterator[None]:
        """Turn what a store may raise into :class:`RemoteError`, except that a file is not there."""
        from dvc.exceptions import DvcException

        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:
            if found := out_of_reach(self.name, self.address, error):
                raise found from error
            if not isinstance(error, OSError | DvcException):
                raise
            raise RemoteError(
                f"the remote '{self.name}' ({self.address}) failed: {words(error)}",
                "Check its address, and whether it may be read and written.",
            ) from error


@contextmanager
def open_remotes(root: Path, trusted: str | None, quarantine: str) -> Iterator[tuple[Remote, Remote | None]]:
    """Give the trusted remote (default: DVC's default remote), and the quarantine, ``None`` if there is no such remote.

    Raises :class:`RemoteError` where there is no trusted one, or where one is inside the other.
    """
    from dvc.exceptions import DvcException

    from lockgate.dvc.repo import open_repo

    with open_repo(root) as repo:
        name = trusted or repo.config["core"].get("remote")
        known = repo.config["remote"]
        if name not in known:
            missing = f"there is no remote '{name}'" if name else "there is no default remote"
            raise RemoteError(f"{missing}", "`dvc remote add --default NAME URL` declares it.")
        try:
            found = []
            for each in (name, quarantine):
                if each in known:
                    with reaching(repo.config, each):
                        found.append(_remote(repo, each))
        except (DvcException, OSError, ImportError) as error:
            raise RemoteError(
                f"the remotes cannot be opened: {words(error)}", "`dvc remote list` shows them."
            ) from error
        if len(found) == 2 and _is_inside(*found):
            raise RemoteError(
                f"'{name}' ({found[0].address}) and '{quarantine}' ({found[1].address}) are not separate",
                "Give each its own prefix: whoever may write to one must not be able to write to the other.",
            )
        yield found[0], found[1] if len(found) == 2 else None


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Do some work for each item, a few at a time; return the outcomes in order. The first error is raised."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))


def _remote(repo: Any, name: str) -> Remote:
    remote = repo.cloud.get_remote(name)
    if remote.fs.version_aware or remote.worktree:
        raise RemoteError(
            f"'{name}' is a cloud-versioned remote: it has no objects by digest", "Use a plain remote for this."
        )
    server = remote.config.get("endpointurl") or ""
    place = remote.fs.unstrip_protocol(remote.path)
    return Remote(name, f"{place} at {server}" if server else place, remote)


def _is_inside(one: Remote, other: Remote) -> bool:
    (place, _, server), (other_place, _, other_server) = (each.address.partition(" at ") for each in (one, other))
    shorter, longer = sorted((f"{posixpath.normpath(each)}/" for each in (place, other_place)), key=len)
    return server == other_server and longer.startswith(shorter)


def _link(source: Path, target: Path) -> bool:
    """Create a file whole and only if there is none; read-only, as DVC has them."""
    with NamedTemporaryFile(dir=target.parent, prefix=".", delete=False) as partial, source.open("rb") as stream:
        shutil.copyfileobj(stream, partial)
    try:
        Path(partial.name).chmod(0o444)
        os.link(partial.name, target)
    except FileExistsError:
        return False
    finally:
        Path(partial.name).unlink()
    return True


def _exclusively(fs: Any) -> dict[str, str]:
    """Return the options by which fsspec's ``put_file`` creates and never replaces, where this store can."""
    put = getattr(fs, "_put_file", fs.put_file)
    return {"mode": "create"} if "mode" in inspect.signature(put).parameters else {}
