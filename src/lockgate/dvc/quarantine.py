"""``lockgate quarantine``: push what was made here, and is not trusted yet, to the quarantine remote.

For the runs of pull requests from branches of the repository itself, and for whoever adds data: their credentials may
write there and nowhere else. It pushes objects that the lock and the ``.dvc`` files of the working tree name and that
are in the cache here but not in the trusted remote. ``lockgate admit`` brings them from there once they are merged.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from lockgate.dvc import listing
from lockgate.dvc.objects import Cache
from lockgate.dvc.pipeline import Recorded, State, is_address, read_state
from lockgate.dvc.remotes import QUARANTINE, Object, RemoteError, in_parallel, open_remotes
from lockgate.git import Workspace
from lockgate.temporary import temporary_folder


def push(root: Path, name: str = QUARANTINE, *, base: State | None = None, dry_run: bool = False) -> tuple[int, int]:
    """Push what is new; return the number of objects and their bytes. Nothing that is there is written again.

    New is what the trusted remote lacks; with ``base``, all that ``base`` does not name, and no question is asked.
    Raises :class:`RemoteError` if there is no such remote, if it is the trusted one, or if it fails;
    :class:`~lockgate.dvc.listing.BrokenList` for a folder that would not be admitted.
    """
    state, cache = read_state(Workspace(root)), Cache.of(root)
    with open_remotes(root, None, name) as (trusted, quarantine):
        if quarantine is None:
            raise RemoteError(f"there is no remote '{name}'", f"`dvc remote add {name} URL` declares it.")
        here = _held(cache, state)
        new = here - (_held(cache, base) if base else trusted.has(here))
        new -= quarantine.has(new)
        _check(cache, (record for _, record in named(state) if Object.of(record) in new))
        files = {item: cache.path(item.digest, legacy=item.legacy) for item in new}
        if not dry_run:
            # a list of a folder's files goes last: where it is, they are
            for is_list in (False, True):
                some = [item for item in sorted(new) if item.digest.endswith(".dir") is is_list]
                in_parallel(lambda item: quarantine.create(item, files[item]), some)
        return len(new), sum(file.stat().st_size for file in files.values())


READ_LIMIT = 512 << 20
"""Bytes of all objects that :func:`read` returns."""


def read(root: Path, objects: Iterable[Object], name: str = QUARANTINE) -> dict[str, bytes]:
    """Return by digest those of ``objects`` that the trusted remote or the quarantine has.

    Every one is hashed, so it is what it is named for, whoever put it there; what is not is left out.

    Raises :class:`RemoteError` and :class:`~lockgate.dvc.reach.OutOfReach`.
    """
    found: dict[str, bytes] = {}
    room = READ_LIMIT
    with open_remotes(root, None, name) as remotes, temporary_folder("objects") as folder:
        for item in objects:
            for remote in remotes if item.is_valid else ():
                with suppress(FileNotFoundError):
                    if remote and remote.get(item, folder / "object", room) == item.digest:
                        found[item.digest] = (folder / "object").read_bytes()
                        room -= len(found[item.digest])
                        break
    return found


def check_lists(root: Path, base: State | None) -> None:
    """Raise :class:`~lockgate.dvc.listing.BrokenList` naming a folder that ``base`` does not have and that would not be
    admitted after a merge, because of the names of its files. Folders that are not in the cache here are passed over.
    """
    known = {record.digest for _, record in named(base)} if base else set()
    _check(Cache.of(root), (record for _, record in named(read_state(Workspace(root))) if record.digest not in known))


def _check(cache: Cache, records: Iterable[Recorded]) -> None:
    for record in records:
        place = cache.path(record.digest, legacy=record.legacy)
        if record.is_folder and Object.of(record).is_valid and place.is_file():
            listing.read_strictly(place.read_bytes(), record.path)


def named(state: State) -> Iterator[tuple[str | None, Recorded]]:
    """Yield all that is meant to be in a remote, with its stage: source data (no stage), then outputs in order."""
    for item in state.pipeline.tracked:
        yield from ((None, record) for record in item.outs if item.pushed)
    for stage in state.pipeline.stages:
        entry = state.lock.stages.get(stage.name)
        for out in stage.outs:
            if entry and out.cached and out.pushed and not is_address(out.path) and out.path in entry.outs:
                yield stage.name, entry.outs[out.path]


def _held(cache: Cache, state: State) -> set[Object]:
    """Return the objects of ``state`` that the cache here holds."""
    return {item for _, record in named(state) for item in _objects(cache, record)}


def _objects(cache: Cache, record: Recorded) -> Iterator[Object]:
    """Yield the objects of a record that the cache here holds as a whole; nothing if it does not."""
    if Object.of(record).is_valid and cache.holds(record):
        yield Object.of(record)
        if record.is_folder:
            yield from (Object(digest, record.legacy) for digest in cache.entries(record).values())
