"""What a rebuild starts from: a temporary clone of one commit with its own cache, and the source data."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lockgate import git
from lockgate.dvc.objects import (
    Cache,
    DvcError,
    ObjectAltered,
    WorkspaceFiles,
    copy_objects,
    local_file,
    objects_of,
    words,
)
from lockgate.dvc.pipeline import Recorded, Stage, State
from lockgate.dvc.reach import reaching
from lockgate.temporary import temporary_folder


class SourceAltered(DvcError):  # noqa: N818
    """What was fetched to start from is not what was recorded."""

    exit_code = 1

    def __init__(self, record: Recorded, found: str | None) -> None:
        """Name the path and both digests."""
        super().__init__(
            f"'{record.path}' is an input of the rebuild, but its hash is {found}; dvc.lock records {record.digest}",
            "The cache or the remote was damaged or tampered with: `dvc fetch` it anew, or `dvc push` a good copy. "
            "What lies outside the repository has to be as it was when dvc.lock was written.",
        )


@contextmanager
def temporary_clone(root: Path, commit: str, *, keep: bool, tell: Callable[[str], None]) -> Iterator[Path]:
    """Give the project's folder in a clone of ``commit``; the clone is removed at the end, unless ``keep``."""
    with temporary_folder("rebuild", keep=keep) as place:
        top = Path(git.git(root, "rev-parse", "--show-toplevel").rstrip("\n"))
        clone = place / "clone"
        git.git(place, "clone", "--quiet", "--shared", "--no-checkout", str(top), str(clone))
        git.git(clone, "checkout", "--quiet", "--detach", commit)
        copy = clone / root.resolve().relative_to(top)
        _configure(root, copy)
        try:
            yield copy
        finally:
            if keep:
                tell(f"The clone is kept at {place}")


def _configure(root: Path, copy: Path) -> None:
    """Give the copy a cache of its own, and this project's remotes: where their relative addresses lead from here.

    With ``verify`` DVC would delete from the remote what it finds altered; :func:`fetch_sources` checks instead.
    """
    from dvc.config import Config

    remotes = Config(str(root / ".dvc"))["remote"]
    with Config(str(copy / ".dvc")).edit("local") as settings:
        settings["cache"] = {"dir": str(copy / ".dvc" / "cache"), "type": "reflink,copy"}
        settings["remote"] = {name: {**dict(remote), "verify": False} for name, remote in remotes.items()}
        settings["core"] = {"site_cache_dir": str(copy / ".dvc" / "tmp" / "site")}


def fetch_sources(root: Path, copy: Path, state: State, stages: tuple[Stage, ...]) -> dict[str, Recorded]:
    """Bring what DVC tracks of what ``stages`` read and none of them makes; check every hash. Returns it by path."""
    made = {out.path for stage in stages for out in stage.outs}
    read = dict.fromkeys(path for stage in stages for path in (*stage.deps, *(item.file for item in stage.params)))
    tracked = (*state.pipeline.data, *state.pipeline.producers)
    inside = (path for folder in read for path in tracked if path.startswith(f"{folder}/"))
    records = (state.pipeline.recorded(state.lock, path) for path in (*read, *inside))
    needed = {record.path: record for record in records if record and record.digest and record.path not in made}
    absent = [path for path in needed if not (copy / path).exists()]  # git holds the others
    if absent:
        _take_cached(Cache.of(root), Cache.of(copy), [needed[path] for path in absent])
        _pull(copy, state, [needed[path] for path in absent])
    files = WorkspaceFiles(copy)
    for record in needed.values():
        found = files.digest(record.path, legacy=record.legacy)
        if found != record.digest:
            raise SourceAltered(record, found)
    for record in _outside(state, stages):
        found = files.digest(record.path, legacy=record.legacy)
        if found != record.digest:
            raise SourceAltered(record, found)
    for path in made:
        _remove(copy / path)
    return needed


def _outside(state: State, stages: tuple[Stage, ...]) -> Iterator[Recorded]:
    """Yield what the lock records of files at absolute paths, which are read where they are on this machine."""
    for stage in stages:
        entry = state.lock.stages.get(stage.name)
        yield from (record for path, record in (entry.deps if entry else {}).items() if path.startswith("/"))


def _take_cached(source: Cache, target: Cache, records: list[Recorded]) -> None:
    """Copy from one cache to another what it has of ``records``; a corrupt object is left for the remote to give."""
    for record in records:
        with suppress(ValueError):  # a corrupt list of a folder's files
            for one in objects_of(record, source):
                with suppress(FileNotFoundError, ObjectAltered):
                    copy_objects(source, target, [one])


def _pull(copy: Path, state: State, records: list[Recorded]) -> None:
    from dvc.exceptions import DvcException
    from dvc_objects.errors import ObjectFormatError

    from lockgate.dvc.repo import open_repo

    try:
        with open_repo(copy) as repo, reaching(repo.config):
            repo.pull([str(copy / record.path) for record in records])
    except (DvcException, ObjectFormatError, OSError) as error:
        for record in records:  # one by one: this names the file, and whether it is missing or altered
            if not (copy / record.path).exists() and local_file(copy, state, record.path) and record.is_folder:
                for inside in Cache.of(copy).entries(record):
                    local_file(copy, state, f"{record.path}/{inside}")
        raise DvcError(f"DVC could not fetch what the stages read: {words(error)}") from error


def _remove(path: Path) -> None:
    """Remove an output that git holds, so that a stage that no longer writes it is found out."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
