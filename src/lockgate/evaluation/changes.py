"""What differs between two states of a pipeline: stages, parameters, files. Pure; nothing is run or pulled.

What a lock records is compared with what the other lock records. Files that git holds are compared themselves, so that
an edit shows before anything was run for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from lockgate.dvc.objects import Files
from lockgate.dvc.pipeline import MISSING, LockedStage, Pipeline, Recorded, Role, State, param, read_params
from lockgate.dvc.plan import StagePlan, describe, plan, value_changes
from lockgate.errors import NotAskedError
from lockgate.formatting import count
from lockgate.result import FileChange, Kind, ParamChange, Reason, StageChange


@dataclass(frozen=True, slots=True)
class _File:
    role: Role | Literal["output"]
    digest: str | None
    size: int | None


_ABSENT = _File("code", None, None)


def stage_changes(base: State | None, head: State, head_files: Files) -> tuple[StageChange, ...]:
    """Return one entry for each stage of head, in its order, then those that only base has (``removed``).

    A stage is ``added`` if base does not have it or never ran it, ``pending`` if head's lock is behind head's files.
    """
    behind = plan(head.pipeline, head.lock, head_files, head.snapshot, always=False)  # what ran is not pending
    plans = {item.name: item for item in behind}
    pending: set[str] = set()
    changes = []
    for name, planned in plans.items():
        before = base.lock.stages.get(name) if base else None
        after = head.lock.stages.get(name)
        if _is_pending(planned, pending):
            pending.add(name)
        if base is None or before is None or name not in base.pipeline.by_name:
            changes.append(StageChange(name, "added", (Reason("new", name),)))
        elif name in pending:
            changes.append(StageChange(name, "pending", planned.reasons))
        else:
            reasons = tuple(_entry_changes(before, after, head.pipeline)) if after else ()
            changes.append(StageChange(name, "changed" if reasons else "same", reasons))
    removed = [stage.name for stage in base.pipeline.stages if stage.name not in plans] if base else []
    return (*changes, *(StageChange(name, "removed") for name in removed))


class LockBehind(NotAskedError):  # noqa: N818 - named for what the user reads
    """What there is to judge is not of this code: the lock is behind."""

    def __init__(self, label: str, plans: tuple[StagePlan, ...]) -> None:
        """Name the first stages that have yet to run, and why."""
        named = "; ".join(f"{one.name} ({describe(one.reasons[0])})" for one in plans[:3])
        more = f" and {len(plans) - 3} more" if len(plans) > 3 else ""
        super().__init__(
            f"dvc.lock of {label} is behind its files, so what was judged is not of this code: "
            f"{count(len(plans), 'stage')} would run: {named}{more}",
            "Run `lockgate run`, then ask again.",
        )


def pending(head: State, files: Files) -> tuple[StagePlan, ...]:
    """Return the stages that surely have something to do, other than what they do each time anyway.

    An output that lies in the working tree otherwise than the lock records it counts, wherever DVC keeps it: it is
    another commit's, or was changed by hand, and it is what is judged.
    """
    found = []
    for one in plan(head.pipeline, head.lock, files, head.snapshot, always=False):
        reasons = [reason for reason in one.reasons if one.verdict == "will" and reason.kind != "upstream"]
        stage, entry = head.pipeline.by_name[one.name], head.lock.stages.get(one.name)
        for out in stage.outs if head.snapshot.commit is None else ():
            record = entry.outs.get(out.path) if entry and out.cached else None
            here = files.digest(out.path, legacy=record.legacy) if record else None
            if record and here not in (None, record.digest) and all(out.path != known.subject for known in reasons):
                reasons.append(Reason("output", out.path, record.digest, here))
        if reasons:
            found.append(StagePlan(one.name, "will", tuple(reasons)))
    return tuple(found)


def param_changes(base: State, head: State) -> tuple[ParamChange, ...]:
    """Return every parameter that a stage of either side reads and that differs, leaf by leaf, by file and key."""
    before, after = _params(base), _params(head)
    changes = []
    for file, key in before.keys() | after.keys():
        pair = before.get((file, key), MISSING), after.get((file, key), MISSING)
        changes += [ParamChange(file, name, old, new) for name, old, new in _changes(key, *pair)]
    return tuple(sorted(set(changes), key=lambda change: (change.file, change.key)))


def file_changes(base: State, base_files: Files, head: State, head_files: Files) -> tuple[FileChange, ...]:
    """Return every file that goes into a stage or comes out of one and is not the same on both sides, by path.

    A folder that git holds is told file by file, one that DVC holds as a whole.
    """
    before, after = _files(base, base_files), _files(head, head_files)
    changes = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old and new and old.digest == new.digest:
            continue
        kind: Kind = "changed" if old and new else "added" if new else "removed"
        a, b = old or _ABSENT, new or _ABSENT
        changes.append(FileChange(path, (new or a).role, kind, a.size, b.size, a.digest, b.digest))
    return tuple(changes)


def _is_pending(planned: StagePlan, pending: set[str]) -> bool:
    """Say whether a stage surely has something to do, or waits for one that has. What cannot be known here is no.

    DVC runs a stage again whose parameter is NaN, for NaN equals nothing: its lock is not behind for that.
    """
    only_nan = all(_unchanged(reason) for reason in planned.reasons)
    return (planned.verdict == "will" and not only_nan) or any(
        reason.kind in ("new", "lock") or (reason.kind == "upstream" and reason.subject in pending)
        for reason in planned.reasons
    )


def _entry_changes(before: LockedStage, after: LockedStage, pipeline: Pipeline) -> Iterator[Reason]:
    """Yield why the second lock entry is not the first: its inputs, or if these are equal its outputs."""
    found = False
    if before.cmd != after.cmd:
        found = True
        yield Reason("command", after.name, _text(before.cmd), _text(after.cmd))
    for file in sorted(before.params.keys() | after.params.keys()):
        for key, old, new in _changes("", before.params.get(file, {}), after.params.get(file, {})):
            found = True
            yield Reason("parameter", key, old, new)
    for path, old_digest, new_digest in _differences(before.deps, after.deps):
        found = True
        yield Reason(pipeline.role(path), path, old_digest, new_digest)
    if not found:
        for path, old_digest, new_digest in _differences(before.outs, after.outs):
            yield Reason("output", path, old_digest, new_digest)


def _unchanged(reason: Reason) -> bool:
    return reason.kind == "parameter" and reason.before is not None and reason.before == reason.after


def _changes(key: str, before: object, after: object) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield the leaves that differ for a reader: NaN on both sides is no change, though DVC takes it for one."""
    yield from ((name, old, new) for name, old, new in value_changes(key, before, after) if old != new)


def _differences(
    before: Mapping[str, Recorded], after: Mapping[str, Recorded]
) -> Iterator[tuple[str, str | None, str | None]]:
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None or new is None or old.digest != new.digest:
            yield path, old.digest if old else None, new.digest if new else None


def _text(cmd: str | tuple[str, ...]) -> str:
    return cmd if isinstance(cmd, str) else "\n".join(cmd)


def _params(state: State) -> dict[tuple[str, str], object]:
    """Return the value of each parameter that a stage reads, by file and key."""
    found: dict[tuple[str, str], object] = {}
    for item in (item for stage in state.pipeline.stages for item in stage.params):
        values = read_params(state.snapshot, item.file)
        if values is not None:
            for key in item.keys or tuple(values):
                value = param(values, key) if item.keys else values[key]
                if value is not MISSING:
                    found[item.file, key] = value
    return found


def _files(state: State, files: Files) -> dict[str, _File]:
    pipeline = state.pipeline
    found: dict[str, _File] = {}
    for stage in pipeline.stages:
        entry = state.lock.stages.get(stage.name)
        for path in stage.deps:
            if path not in found and not pipeline.writers(path):
                found.update(_inputs(state, files, path, entry.deps.get(path) if entry else None))
    for path, record in pipeline.data.items():
        found[path] = _File("data", record.digest, record.size)
    for entry in state.lock.stages.values():
        found.update({path: _File("output", record.digest, record.size) for path, record in entry.outs.items()})
    return found


def _inputs(state: State, files: Files, path: str, record: Recorded | None) -> Iterator[tuple[str, _File]]:
    """Yield the files of one dependency that no stage writes."""
    tracked = state.pipeline.recorded(state.lock, path)
    inside = None if tracked else files.entries(path)
    if tracked or (inside is None and state.snapshot.read(path) is None):
        known = record or tracked
        digest = known.digest if known else files.digest(path)
        if digest is not None and not (tracked and tracked.path == path):  # told with the tracked data
            yield path, _File(state.pipeline.role(path), digest, known.size if known else None)
        return
    names = [path] if inside is None else [f"{path}/{name}" if path else name for name in sorted(inside)]
    for name in names:
        content = state.snapshot.read(name)
        told = name.endswith((".gitignore", ".dvc")) or state.pipeline.recorded(state.lock, name) is not None
        if content is not None and not told:
            yield name, _File(state.pipeline.role(name), files.digest(name), len(content))
