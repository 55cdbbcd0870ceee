"""``lockgate admit``: after a merge, bring into the trusted remote all that the merged lock names.

The trusted remote is DVC's default one; only this command, run for the default branch, writes to it. What pull requests
made lies in the remote named ``quarantine``, to which they can write anything: an object is fetched from there, hashed,
and copied only if it is what the lock names. What is missing or altered there is rebuilt, in a temporary clone, from
inputs whose hashes were checked. Nothing else is taken from the quarantine: the run cache is written from the lock.

A stage is the model's code, so a job that may write to the trusted remote runs none: one job prepares (:func:`prepare`
runs what has to be rebuilt, and writes to a folder), the other admits from there too, with every object hashed again.
"""

import json
import posixpath
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from lockgate.dvc import listing
from lockgate.dvc.checkout import fetch_sources, temporary_clone
from lockgate.dvc.documents import load_yaml
from lockgate.dvc.listing import BrokenList
from lockgate.dvc.objects import Cache, WorkspaceFiles, file_digest
from lockgate.dvc.pipeline import Recorded, Stage, State, is_address, read_state
from lockgate.dvc.quarantine import named
from lockgate.dvc.rebuild import rebuild
from lockgate.dvc.remotes import QUARANTINE, Object, Remote, in_parallel, open_remotes
from lockgate.dvc.stages import Progress, Sandbox, run_stages
from lockgate.errors import LockgateError, NotAskedError, UsageError
from lockgate.files import progress, write_whole
from lockgate.git import Commit, resolve
from lockgate.policy import FILE as POLICY
from lockgate.policy import Stages, read_models
from lockgate.result import Isolation
from lockgate.temporary import temporary_folder

Status = Literal["trusted", "admitted", "rebuilt", "refused", "missing"]
ABSENT: tuple[Status, ...] = ("refused", "missing")


PREPARED, OBJECTS = "prepared.json", "objects"
SCHEMA: Final = "lockgate.prepared-admission/1"


class AdmitError(LockgateError):
    """What was merged cannot be admitted."""


class NotPrepared(NotAskedError):  # noqa: N818 - named for what the user reads
    """The folder is not what a prepared admission of this commit leaves."""

    def __init__(self, folder: Path, finding: str) -> None:
        """Name the folder and what is wrong."""
        super().__init__(f"{folder} {finding}", "Make it with `lockgate ci admit --prepare FOLDER`.")


@dataclass(frozen=True, slots=True)
class Admission:
    """What became of one output, or of source data (``stage`` is ``None``).

    ``missing`` ones are neither trusted nor complete in quarantine, and not rebuilt (yet). ``objects`` were copied, of
    a folder several. ``found`` is a digest met in the place of ``expected`` (of a folder, in that of one of its files),
    ``where`` it was met.
    """

    path: str
    stage: str | None
    digest: str
    status: Status
    objects: int = 0
    expected: str | None = None
    found: str | None = None
    where: str | None = None


@dataclass(frozen=True)
class Source:
    """Where objects are taken from: the quarantine, or a cache with what was rebuilt."""

    name: str
    remote: Remote | None = None
    cache: Cache | None = None

    def get(self, item: Object, target: Path, limit: int | None) -> str:
        """Copy an object and return the digest of what came. Raises ``FileNotFoundError``."""
        if self.remote is not None:
            return self.remote.get(item, target, limit)
        if self.cache is None:
            raise FileNotFoundError
        shutil.copyfile(self.cache.path(item.digest, legacy=item.legacy), target)
        found = file_digest(target, legacy=item.legacy)
        return f"{found}.dir" if item.digest.endswith(".dir") else found


def admit(
    root: Path,
    revision: str,
    *,
    trusted: str | None = None,
    quarantine: str = QUARANTINE,
    may_rebuild: bool = True,
    dry_run: bool = False,
    prepared: Path | None = None,
) -> tuple[Admission, ...]:
    """Admit what the lock of ``revision`` names; return what became of each output, source data first.

    With ``prepared`` no stage runs: what is neither trusted nor complete in quarantine comes from that folder, which
    :func:`prepare` filled. Raises :class:`NotPrepared` if it was filled for another commit.

    Raises :class:`lockgate.dvc.rebuild.LockStale` naming the stage if the lock does not belong to the code,
    :class:`AdmitError` if a stage that must be rebuilt fails, :class:`~lockgate.dvc.stages.NotIsolated` if it cannot be
    isolated, and what remotes raise. A refused output is no error.
    """
    commit = resolve(root, revision)
    if prepared is not None:
        _check_prepared(prepared, commit)
    rebuild(root, commit, "none")  # which only asks whether the lock belongs to the code
    with Commit(root, revision, commit) as snapshot, open_remotes(root, trusted, quarantine) as (safe, unsafe):
        state = read_state(snapshot)
        with temporary_folder("admit") as folder:
            admitter = _Admitter(safe, folder, dry_run=dry_run)
            source = Source(quarantine, remote=unsafe)
            rows = [admitter.admit(stage, record, source) for stage, record in named(state)]
            absent = {row.stage for row in rows if row.status in ABSENT}
            stages = tuple(stage for stage in state.pipeline.stages if stage.name in absent)
            if prepared is not None:
                rows = _handed_over(state, admitter, rows, prepared)
            elif stages and may_rebuild and not dry_run and None not in absent:
                rows, _ = _rebuilt(root, commit, state, stages, admitter, rows)
            if not dry_run:
                _write_run_cache(state, safe, rows, folder)
    return tuple(rows)


def prepare(
    root: Path, revision: str, folder: Path, *, trusted: str | None = None, quarantine: str = QUARANTINE
) -> tuple[Admission, ...]:
    """Do what :func:`admit` needs the model's code for, and leave it in ``folder``; no remote is written to.

    What is not whole in a remote is rebuilt, out of what is. Raises as :func:`admit` does, and
    :class:`~lockgate.errors.UsageError` if the folder is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty", "Name another folder, or remove this one.")
    commit = resolve(root, revision)
    rebuild(root, commit, "none")
    with Commit(root, revision, commit) as snapshot, open_remotes(root, trusted, quarantine) as (safe, unsafe):
        state = read_state(snapshot)
        with temporary_folder("admit") as place:
            good = Cache(place / "good")  # what is complete in the quarantine: a stage may read it
            looker = _Admitter(safe, place, dry_run=True, keep=good)
            rows = [looker.admit(stage, record, Source(quarantine, remote=unsafe)) for stage, record in named(state)]
            absent = {row.stage for row in rows if row.status in ABSENT}
            stages = tuple(stage for stage in state.pipeline.stages if stage.name in absent)
            isolation: Isolation | None = None
            if stages and None not in absent:
                keeper = _Admitter(safe, place, dry_run=True, keep=Cache(folder / OBJECTS))
                rows, isolation = _rebuilt(root, commit, state, stages, keeper, rows, good)
    folder.mkdir(parents=True, exist_ok=True)
    names = [stage.name for stage in stages]
    told = {"schema": SCHEMA, "commit": commit, "stages": names, "isolation": isolation}
    write_whole(folder / PREPARED, json.dumps(told, indent=1) + "\n")
    return tuple(rows)


def _check_prepared(folder: Path, commit: str) -> None:
    try:
        told = json.loads((folder / PREPARED).read_bytes())
        schema, found = told["schema"], told["commit"]
    except (OSError, ValueError, KeyError, TypeError):
        schema, found = None, None
    if schema != SCHEMA:
        raise NotPrepared(folder, "is not a prepared admission")
    if found != commit:
        raise NotPrepared(folder, f"was prepared for {str(found)[:12]}, not for {commit[:12]}")


def _handed_over(state: State, admitter: "_Admitter", rows: list[Admission], prepared: Path) -> list[Admission]:
    """Admit what a job without rights rebuilt; what came out with another hash than the lock's is not there."""
    source = Source("what was prepared", cache=Cache(prepared / OBJECTS))
    judged = []
    for row in rows:
        if row.status in ABSENT and row.stage is not None:
            again = admitter.admit(row.stage, state.lock.stages[row.stage].outs[row.path], source)
            if again.status not in ABSENT:
                again = replace(again, status="rebuilt", expected=row.expected, found=row.found, where=row.where)
            elif again.status == "missing":
                again = row
            judged.append(again)
        else:
            judged.append(row)
    return judged


def complaint(row: Admission) -> str:
    """Return why an object was not admitted, as a clause."""
    of = f"stage '{row.stage}'" if row.stage else "source data"
    if row.found:
        return f"'{row.path}' ({of}): expected {row.expected}, {row.where} has {row.found}"
    return f"'{row.path}' ({of}): {row.digest} is neither in the trusted remote nor in the quarantine"


class _Admitter:
    """Brings records into the trusted remote, one at a time, through files in ``folder``. With ``dry_run`` it only
    looks; what it would bring comes to the cache ``keep`` then, if there is one."""

    def __init__(self, trusted: Remote, folder: Path, *, dry_run: bool, keep: Cache | None = None) -> None:
        self.trusted, self.folder, self.dry_run, self.keep = trusted, folder, dry_run, keep

    def admit(self, stage: str | None, record: Recorded, source: Source) -> Admission:
        """Bring what a record names into the trusted remote: of a folder its files first, the list of them last."""
        row = Admission(record.path, stage, record.digest, "missing")
        item = Object.of(record)
        if not item.is_valid:
            return replace(row, status="refused", expected="an MD5", found=record.digest or "nothing", where="dvc.lock")
        try:
            copied = self._copy_folder(item, record, source) if record.is_folder else self._copy(item, record, source)
        except FileNotFoundError:
            return row
        except _Altered as altered:
            return replace(row, status="refused", expected=altered.expected, found=altered.found, where=altered.where)
        status: Status = "trusted" if not copied else "admitted"
        return replace(row, status=status, objects=copied)

    def _copy(self, item: Object, record: Recorded, source: Source) -> int:
        if self.trusted.has([item]):
            return 0
        with self._fetched(item, source, record.size) as file:
            return self._create(item, file)

    def _copy_folder(self, item: Object, record: Recorded, source: Source) -> int:
        is_known = bool(self.trusted.has([item]))
        origin = Source(self.trusted.name, remote=self.trusted) if is_known else source
        with self._fetched(item, origin, listing.LIMIT) as file:
            members = _members(file.read_bytes(), item, origin)
            absent = sorted(members - self.trusted.has(members))

            def copy(member: Object) -> int:
                with self._fetched(member, source, record.size) as content:
                    return self._create(member, content)

            copied = sum(in_parallel(copy, absent))
            return copied if is_known else copied + self._create(item, file)

    def _create(self, item: Object, file: Path) -> int:
        if self.keep is not None:
            kept = self.keep.path(item.digest, legacy=item.legacy)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, kept)
        return 1 if self.dry_run else int(self.trusted.create(item, file))

    @contextmanager
    def _fetched(self, item: Object, source: Source, limit: int | None) -> Iterator[Path]:
        """Give a copy of an object whose bytes are what its name says. Raises :class:`_Altered` if they are not."""
        target = self.folder / f"{item.digest}{'.legacy' if item.legacy else ''}"
        try:
            if (found := source.get(item, target, limit)) != item.digest:
                raise _Altered(item.digest, found, source.name)
            yield target
        finally:
            target.unlink(missing_ok=True)


class _Altered(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, expected: str, found: str, where: str) -> None:
        self.expected, self.found, self.where = expected, found, where


def _members(text: bytes, item: Object, source: Source) -> set[Object]:
    """Return the files that a folder's list names. A list that is not held to the rules is refused."""
    try:
        return {Object(digest, item.legacy) for digest in listing.read_strictly(text).values()}
    except BrokenList as error:
        raise _Altered(item.digest, f"a list of files that is not admitted: {error.finding}", source.name) from error


# --- what has to be made again


def _rebuilt(
    root: Path,
    commit: str,
    state: State,
    stages: tuple[Stage, ...],
    admitter: _Admitter,
    rows: list[Admission],
    known: Cache | None = None,
) -> tuple[list[Admission], Isolation | None]:
    """Run ``stages`` in a temporary clone and admit their outputs, if all that a stage makes has the locked hash.

    They may read what the cache ``known`` has. Returns how they were isolated, too.
    """
    with temporary_clone(root, commit, keep=False, tell=progress) as copy:
        if known is not None and known.folder.is_dir():
            shutil.copytree(known.folder, Cache.of(copy).folder, dirs_exist_ok=True)
        fetch_sources(root, copy, state, stages)
        isolation = _run(copy, state, stages)
        files, source = WorkspaceFiles(copy), Source("the rebuild", cache=Cache.of(copy))
        judged = {row.path: row for row in rows}
        for stage in stages:
            records = state.lock.stages[stage.name].outs
            made = {path: files.digest(path, legacy=record.legacy) or "nothing" for path, record in records.items()}
            altered = [path for path, digest in made.items() if digest != records[path].digest]
            for row in (row for row in rows if row.stage == stage.name):
                if altered:
                    path = row.path if row.path in altered else altered[0]
                    judged[row.path] = replace(
                        row,
                        status="refused",
                        expected=records[path].digest,
                        found=made[path],
                        where=f"the rebuild of {path}",
                    )
                elif row.status in ABSENT:
                    again = admitter.admit(row.stage, records[row.path], source)
                    judged[row.path] = replace(row, status="rebuilt", objects=again.objects)
    return list(judged.values()), isolation


def _run(copy: Path, state: State, stages: tuple[Stage, ...]) -> Isolation | None:
    def follow(step: Progress) -> None:
        if step.event == "began":
            progress(
                f"{step.stage}: rebuilt, because it is neither in the trusted remote nor complete in the quarantine"
            )

    text = state.snapshot.read(POLICY)
    allowed = read_models(text).stages if text is not None else Stages()
    sandbox = Sandbox.by_policy(allowed, proving=True, required=True)
    done = run_stages(copy, [stage.name for stage in stages], sandbox=sandbox, on_progress=follow, on_output=progress)
    if not done.ok:
        unsaid = Progress("failed", stages[-1].name, error=f"DVC ended with code {done.code}")
        name, why = (done.failed or unsaid).stage, (done.failed or unsaid).error
        raise AdmitError(
            f"stage '{name}' had to be rebuilt, for its outputs are in no remote, and failed: {why}",
            "Push the outputs there (`lockgate ci quarantine`), or correct the stage.",
        )
    if done.isolation == "none":
        progress(f"The stages were not isolated, as the policy allows ({done.reason}).")
    return done.isolation


# --- the run cache


def _write_run_cache(state: State, trusted: Remote, rows: Sequence[Admission], folder: Path) -> None:
    """Write a run-cache entry for each stage whose outputs are all in the trusted remote, from the lock itself.

    Small outputs that git keeps are part of what the run cache gives back, so they become objects too.
    """
    from dvc.utils import dict_sha256
    from dvc.utils.serialize import dumps_yaml

    bad = {row.stage for row in rows if row.status in ABSENT}
    for stage in state.pipeline.stages:
        entry = _lock_entry(state, stage)
        if stage.name in bad or not _is_cacheable(stage, entry):
            continue
        uncached = [state.lock.stages[stage.name].outs[out.path] for out in stage.outs if not out.cached]
        texts = {Object.of(record): state.snapshot.read(record.path) for record in uncached}
        if None in texts.values():  # a folder
            continue
        file = folder / "entry"
        for item, text in texts.items():
            file.write_bytes(text or b"")
            trusted.create(item, file)
        file.write_text(dumps_yaml(entry))
        without = ["size", "nfiles"]
        key = dict_sha256({**entry, "outs": [out["path"] for out in entry["outs"]]}, exclude=without)
        trusted.create_run(key, dict_sha256(entry, exclude=without), file)


def _lock_entry(state: State, stage: Stage) -> dict[str, Any]:
    lock = posixpath.join(posixpath.dirname(stage.file), "dvc.lock")
    entry: dict[str, Any] = load_yaml(state.snapshot.read(lock) or b"", lock)["stages"][stage.local_name]
    return entry


def _is_cacheable(stage: Stage, entry: dict[str, Any]) -> bool:
    """Say whether DVC itself would keep this stage in the run cache (``dvc.stage.cache``)."""
    inside = not any(is_address(path) or path.startswith(("/", "../")) for path in (out.path for out in stage.outs))
    local = not any(is_address(dep) for dep in stage.deps)
    reads = bool(entry.get("deps") or entry.get("params"))
    return reads and inside and local and not stage.always_changed and not any(out.persist for out in stage.outs)
