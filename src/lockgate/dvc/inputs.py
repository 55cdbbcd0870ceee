"""What a stage reads, brought before it starts, and hashed by us.

This runs in the process that has DVC run the stages (:mod:`lockgate.dvc.stages`), beside DVC's own objects. DVC alone
would pull by the piece, would start a stage whose folder lacks what DVC tracks in it, and trusts the remote unless that
is configured with ``verify``.
"""

import os
import posixpath
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from lockgate.dvc.objects import (
    Cache,
    DvcError,
    ObjectAltered,
    ObjectMissing,
    WorkspaceFiles,
    file_digest,
    folder_digest,
    words,
)
from lockgate.dvc.pipeline import Recorded


class DependencyNowhere(DvcError):  # noqa: N818 - named for what the user reads
    """A dependency that does not exist, and that nothing would make or bring."""

    def __init__(self, path: str, stage: str) -> None:
        """Name the path and the stage that reads it."""
        super().__init__(
            f"'{path}', which stage '{stage}' reads, does not exist: no stage writes it and no .dvc file tracks it",
            f"Add it (`git add {path}`, or `dvc add {path}` for data), or remove it from the stage's deps.",
        )


class Inputs:
    """Brings what stages read, out of the cache or the remote."""

    def __init__(self, repo: Any) -> None:
        """Have all that DVC brings into the cache from now on hashed. Nothing is brought yet."""
        self.repo, self.root = repo, Path(repo.root_dir)
        self.cache = Cache(Path(repo.cache.local_cache_dir))
        self.remote = bool(repo.config["core"].get("remote"))
        _hash_what_comes(repo, self._altered)

    @cached_property
    def _outs(self) -> dict[str, Any]:
        """What is made or tracked, by path. Read once a run, when DVC has read it all anyway."""
        return {out.fs_path: out for stage in self.repo.index.stages for out in stage.outs}

    @cached_property
    def _read(self) -> Set[str]:
        """Those of the outs that a stage reads as a whole."""
        return self._outs.keys() & {dep.fs_path for stage in self.repo.index.stages for dep in stage.deps}

    def settle(self, stage: Any, *, pull: bool) -> None:
        """Have DVC judge the folders that a stage reads as if all that is tracked in them were there.

        What decides is the hash that the folder will have. Where that cannot be known, what is missing is brought.
        """
        for dep in stage.deps:
            absent = [] if stage.frozen or not dep.hash_info else [out for out in self._inside(dep) if not out.exists]
            if not absent:
                continue
            found = self._completed(dep, absent)
            if found is None:
                self._bring(stage, absent, pull=pull)
            elif found == dep.hash_info.value:
                dep.status = dict  # nothing to tell
            else:
                stage.cmd_changed = True

    def complete(self, stage: Any, *, pull: bool) -> None:
        """Bring all that DVC tracks at, in or around what the stage reads, if it is not here.

        Raises :class:`DependencyNowhere`, and as :class:`ObjectMissing` or :class:`ObjectAltered` what cannot be had.
        """
        from dvc.dependency import Dependency

        wanted: dict[str, Any] = {}
        for dep in stage.deps:
            if dep.protocol != "local":
                continue
            whole = next((folder for folder in self._read if dep.fs_path.startswith(f"{folder}{os.sep}")), None)
            candidates = [
                *self._inside(dep),
                *(self._outs[path] for path in (dep.fs_path, whole) if path in self._outs),
            ]
            wanted.update({out.fs_path: out for out in candidates if not out.exists})
            if type(dep) is Dependency and not dep.exists and not candidates and not self._around(dep.fs_path):
                raise DependencyNowhere(str(dep), stage.addressing)
        self._bring(stage, wanted.values(), pull=pull)
        for dep in stage.deps:
            if pull and dep.protocol == "local" and not dep.exists and self._around(dep.fs_path):
                self.repo.pull(dep.fs_path)  # a part of a folder that no stage reads as a whole

    def _inside(self, dep: Any) -> Iterator[Any]:
        """Yield what DVC keeps strictly inside a dependency."""
        if dep.protocol == "local":
            start = f"{dep.fs_path}{os.sep}"
            yield from (out for path, out in self._outs.items() if path.startswith(start) and out.use_cache)

    def _around(self, path: str) -> Any:
        """Return the output that is or holds a path, ``None`` if there is none."""
        folders = (path, *map(str, Path(path).parents))
        return next((self._outs[folder] for folder in folders if folder in self._outs), None)

    def _completed(self, dep: Any, absent: Iterable[Any]) -> str | None:
        """Return the digest that a folder will have once all that is tracked in it is there, ``None`` if unknown."""
        files = WorkspaceFiles(self.root)
        path = Path(os.path.relpath(dep.fs_path, self.root)).as_posix()
        legacy = dep.hash_name != "md5"
        entries = dict(files.entries(path, legacy=legacy) or {})
        for out in absent:
            record, start = self._record(out), posixpath.relpath(out.fs_path, dep.fs_path)
            if not record.digest or record.legacy != legacy:
                return None
            listing = files.listing(record) if record.is_folder else {"": record.digest}
            if listing is None:
                return None
            entries.update({posixpath.join(start, name) if name else start: digest for name, digest in listing.items()})
        return folder_digest(entries)

    def _bring(self, stage: Any, outs: Iterable[Any], *, pull: bool) -> None:
        """Bring outputs into the cache, all at once, and lay them out."""
        wanted = [out for out in outs if out.hash_info and out.use_cache]
        lacking = [out for out in wanted if not self.cache.holds(self._record(out))]
        why = "no remote is configured" if not self.remote else "the remote does not have it"
        if lacking and pull:
            simple = [out for out in lacking if not (out.hash_info.isdir or out.remote or out.stage.is_repo_import)]
            others = [out for out in lacking if out not in simple]
            try:
                if simple:
                    self.repo.cloud.pull([out.hash_info for out in simple])
                if others:
                    self.repo.fetch([out.fs_path for out in others])
            except DvcError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a store raises: what it is about is named below
                why = words(error)
        for out in wanted:
            self._check(stage, out, why)
            out.checkout()

    def _check(self, stage: Any, out: Any, why: str) -> None:
        """Raise :class:`ObjectMissing` naming what is not in the cache of an output, of a folder the file."""
        record = self._record(out)
        if out.stage.is_repo_import or self.cache.holds(record):
            return
        path, digest = self._path(out), record.digest
        for name, one in self._members(record).items():
            if not self.cache.path(one, legacy=record.legacy).is_file():
                path, digest = posixpath.join(path, name), one
                break
        raise ObjectMissing(path, digest, why, of=self._path(out), reader=stage.addressing, maker=_maker(out))

    def _altered(self, digest: str) -> ObjectAltered:
        """Return the error that says of which file an object with other bytes than its name says is."""
        for out in self._outs.values():
            if not out.hash_info:
                continue
            record, path = self._record(out), self._path(out)
            if record.digest == digest:
                return ObjectAltered(path, digest, of=path)
            for name, one in self._members(record).items():
                if one == digest:
                    return ObjectAltered(posixpath.join(path, name), digest, of=path)
        return ObjectAltered(digest, digest)

    def _members(self, record: Recorded) -> dict[str, str]:
        """Return the files of a folder by their paths in it, from the cache or the remote; none if not to be had."""
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.tree import Tree

        found: dict[str, str] = {}
        if record.is_folder:
            with suppress(FileNotFoundError, ValueError):
                return self.cache.entries(record)
            with suppress(Exception):  # it is only asked to name a file: the folder is named in any case
                name = "md5-dos2unix" if record.legacy else "md5"
                remote = self.repo.cloud.get_remote_odb(None, "fetch", hash_name=name)
                tree = Tree.load(remote, HashInfo(name, record.digest))
                found = {"/".join(key): str(info.value) for key, _, info in tree}
        return found

    def _path(self, out: Any) -> str:
        return Path(os.path.relpath(out.fs_path, self.root)).as_posix()

    def _record(self, out: Any) -> Recorded:
        return Recorded(self._path(out), out.hash_info.value or "", legacy=out.hash_info.name == "md5-dos2unix")


def _maker(out: Any) -> str:
    """Return the stage that makes an output; empty if none does."""
    return str(out.stage.addressing) if out.stage.cmd else ""


def _hash_what_comes(repo: Any, altered: Callable[[str], ObjectAltered]) -> None:
    """Have each object hashed that comes into the caches from elsewhere, before anything is made of it.

    What a stage has just written is hashed by DVC itself, on its way into the cache. A remote is asked what it has, not
    searched for what is corrupt: DVC would hash all of a folder that is a remote, and delete from it.
    """
    from dvc_data.hashfile.db import HashFileDB
    from dvc_data.hashfile.db.local import LocalHashFileDB

    caches = {repo.cache.local.path: False, repo.cache.legacy.path: True}
    own, tracked = f"{repo.root_dir}{os.sep}", f"{repo.dvc_dir}{os.sep}"
    add, check = HashFileDB.add, LocalHashFileDB.check

    def is_made_here(path: str, fs: Any) -> bool:
        return bool(fs.protocol == "memory" or (path.startswith(own) and not path.startswith(tracked)))

    def add_hashed(self: Any, path: Any, fs: Any, oid: Any, **options: Any) -> int:
        if self.path not in caches:
            return add(self, path, fs, oid, **options)
        pairs = [(path, oid)] if isinstance(path, str) else list(zip(path, oid, strict=True))
        new = [
            one for source, one in pairs if not is_made_here(source, fs) and not Path(self.oid_to_path(one)).exists()
        ]
        count = add(self, path, fs, oid, **{**options, "verify": False if new else options.get("verify")})
        for one in new:
            came = Path(self.oid_to_path(one))
            if came.exists() and file_digest(came, legacy=caches[self.path]) != one.removesuffix(".dir"):
                came.unlink()
                raise altered(one)
        return count

    def check_own(self: Any, oid: str, check_hash: bool = True, _info: Any = None) -> Any:
        return check(self, oid, check_hash and self.path in caches, _info)

    HashFileDB.add = add_hashed  # type: ignore[method-assign, assignment]
    LocalHashFileDB.check = check_own  # type: ignore[method-assign]
