"""Brings what the locks and ``.dvc`` files of the working tree name, where another commit's still lies there.

``git switch``, ``git pull`` and ``git merge`` change ``dvc.lock`` and leave what DVC tracks as it was. DVC alone then
runs stages again that were run, on files that do not belong together, or passes over another commit's outputs. So each
such output whose stage has nothing to do is laid out anew before a run: from the cache, the default remote, or the
quarantine, where the run of a pull request has left what it made. Every object is hashed, whoever wrote it there.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from lockgate.dvc import listing
from lockgate.dvc.objects import Cache, DvcError, WorkspaceFiles, words
from lockgate.dvc.pipeline import Lock, Pipeline, Recorded, is_address
from lockgate.dvc.plan import plan
from lockgate.dvc.remotes import QUARANTINE, Object, Remote, in_parallel, open_remotes
from lockgate.git import Workspace
from lockgate.temporary import remove

ASIDE = ".dvc/tmp/lockgate/aside"
"""Where another commit's outputs are kept while it is found out whether this commit's can be had."""
REPLACED = ".dvc/tmp/lockgate/replaced"
"""Where a file that was replaced is kept, if the cache does not have it."""


@dataclass(frozen=True)
class Brought:
    """What was laid out anew, what is nowhere (its place is empty now), and the bytes that came from a remote."""

    paths: tuple[str, ...] = ()
    nowhere: tuple[str, ...] = ()
    pulled: int = 0


def bring(root: Path, pipeline: Pipeline, lock: Lock, files: WorkspaceFiles) -> Brought:
    """Lay out what ``lock`` and the ``.dvc`` files name, where something else lies there and nothing has to run for it.

    Data that the cache does not keep was changed by hand, and is left alone. Of outputs that it does not keep there is
    a copy in :data:`REPLACED` then. Raises :class:`~lockgate.dvc.remotes.RemoteError` and
    :class:`~lockgate.dvc.reach.OutOfReach` where a remote that has to be asked does not answer, and :class:`DvcError`
    where DVC does not lay something out.
    """
    cache = Cache.of(root)
    stale = list(_stale(pipeline, lock, files, cache))
    if not stale:
        return Brought()
    with _aside(root, [record.path for record in stale]) as aside:
        current = Workspace(root)
        plans = plan(pipeline, lock, WorkspaceFiles(root), current)
        settled = {item.name for item in plans if item.verdict == "same"}
        made = {out.path: stage.name for stage in pipeline.stages for out in stage.outs}
        wanted = [record for record in stale if record.path not in made or made[record.path] in settled]
        missing, pulled = _obtain(root, cache, wanted)
        found = [record for record in wanted if record not in missing]
        if found:
            _lay_out(root, [record.path for record in found])
        nowhere = [record for record in missing if record.path in made]
        aside.drop([*found, *nowhere], files, cache)
    return Brought(tuple(record.path for record in found), tuple(record.path for record in nowhere), pulled)


def _stale(pipeline: Pipeline, lock: Lock, files: WorkspaceFiles, cache: Cache) -> Iterator[Recorded]:
    """Yield what is recorded of outputs and data in whose place something else lies that may be replaced."""
    for stage in pipeline.stages:
        entry = lock.stages.get(stage.name)
        for out in stage.outs:
            record = entry.outs.get(out.path) if entry and out.cached and not out.persist else None
            if record is not None and _differs(record, files):
                yield record
    for record in pipeline.data.values():
        if _differs(record, files):
            here = files.digest(record.path, legacy=record.legacy) or ""
            if cache.holds(Recorded(record.path, here, legacy=record.legacy)):
                yield record


def _differs(record: Recorded, files: WorkspaceFiles) -> bool:
    if not Object.of(record).is_valid or is_address(record.path) or record.path.startswith(("/", "../")):
        return False
    return files.digest(record.path, legacy=record.legacy) not in (None, record.digest)


def _lay_out(root: Path, paths: list[str]) -> None:
    from dvc.exceptions import DvcException

    from lockgate.dvc.reach import reaching
    from lockgate.dvc.repo import open_repo

    try:
        with open_repo(root) as repo, reaching(repo.config):
            repo.checkout([str(root / path) for path in paths], force=True)
    except (DvcException, OSError) as error:
        raise DvcError(
            f"{', '.join(paths[:5])} could not be laid out as this commit has them: {words(error)}",
            "`dvc checkout` tells more; nothing was lost.",
        ) from error


# --- out of the remotes


def _obtain(root: Path, cache: Cache, records: list[Recorded]) -> tuple[list[Recorded], int]:
    """Bring into the cache what it lacks of some files and folders; return what is nowhere, and the bytes that came."""
    lacking = [record for record in records if not _is_held(cache, record)]
    if not lacking:
        return [], 0
    from dvc.config import Config

    if not Config(str(root / ".dvc"))["core"].get("remote"):
        return lacking, 0
    missing: list[Recorded] = []
    pulled = 0
    with open_remotes(root, None, QUARANTINE) as (trusted, quarantine):
        for record in lacking:
            try:
                pulled += _fetch(cache, record, [trusted, *([quarantine] if quarantine else [])])
            except FileNotFoundError:
                missing.append(record)
    return missing, pulled


def _is_held(cache: Cache, record: Recorded) -> bool:
    with suppress(listing.BrokenList):
        return cache.holds(record)
    return False


def _fetch(cache: Cache, record: Recorded, remotes: list[Remote]) -> int:
    """Bring one file, or a folder with all its files; return the bytes. Raises ``FileNotFoundError``."""
    item = Object.of(record)
    number, source = _get(cache, item, remotes)
    if not record.is_folder:
        return number
    content = cache.path(record.digest, legacy=record.legacy).read_bytes()
    entries = listing.read_strictly(content, record.path) if source is not remotes[0] else cache.entries(record)
    absent = {Object(digest, record.legacy) for digest in entries.values()}
    return number + sum(in_parallel(lambda one: _get(cache, one, remotes)[0], sorted(absent)))


def _get(cache: Cache, item: Object, remotes: list[Remote]) -> tuple[int, Remote]:
    """Bring an object from the first remote that has it whole; return its bytes, 0 if the cache had it."""
    place = cache.path(item.digest, legacy=item.legacy)
    if place.is_file():
        return 0, remotes[0]
    for remote in remotes:
        with suppress(FileNotFoundError):
            with cache.arriving(item.digest, legacy=item.legacy) as partial:
                if remote.get(item, partial, None) != item.digest:
                    raise FileNotFoundError(item.digest)
            return place.stat().st_size, remote
    raise FileNotFoundError(item.digest)


# --- what lay there


@dataclass
class _Aside:
    """Outputs that are out of their places, by path."""

    root: Path
    places: dict[str, Path]

    def drop(self, records: Iterable[Recorded], files: WorkspaceFiles, cache: Cache) -> None:
        """Do not put back what lay in the place of these; what the cache does not have of it is kept elsewhere."""
        for record in records:
            kept = self.places.pop(record.path)
            there = files.digest(record.path, legacy=record.legacy) or ""  # from before it was put aside
            if not _is_held(cache, Recorded(record.path, there, legacy=record.legacy)):
                elsewhere = self.root / REPLACED / record.path
                _remove(elsewhere)
                elsewhere.parent.mkdir(parents=True, exist_ok=True)
                kept.rename(elsewhere)
            else:
                _remove(kept)


@contextmanager
def _aside(root: Path, paths: list[str]) -> Iterator[_Aside]:
    """Have nothing at these paths; at the end, what was not dropped is back in its place."""
    folder = root / ASIDE
    if folder.exists():
        remove(folder)  # of a run that was killed: the cache has it, or the next run makes it
    aside = _Aside(root, {})
    folder.mkdir(parents=True)
    try:
        for number, path in enumerate(paths):
            aside.places[path] = (root / path).rename(folder / str(number))
        yield aside
    finally:
        for path, kept in aside.places.items():
            _remove(root / path)
            kept.rename(root / path)
        remove(folder)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        remove(path)
    else:
        path.unlink(missing_ok=True)
