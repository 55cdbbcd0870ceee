"""``lockgate plan``: which stages would run and why, from hashes alone.

Nothing is pulled and nothing is run. A stage that **will** run has a cause of its own that no other stage can take
away. A stage that **may** run has none, but reads what such a stage writes, or something that cannot be known here.
The measure of it is what ``dvc repro --pull --allow-missing`` does: it runs every "will", and nothing but "will" and
"may". A stage whose outputs come from the run cache counts as run there, and so it does here.

Files that are missing while the lock knows their hash are no cause, so the plan of a fresh clone is right.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lockgate.dvc.objects import Files, folder_digest
from lockgate.dvc.pipeline import (
    MISSING,
    Lock,
    LockedStage,
    Pipeline,
    PipelineError,
    Recorded,
    Stage,
    is_address,
    param,
    read_params,
    read_pipeline,
)
from lockgate.envelope import envelope
from lockgate.git import Snapshot
from lockgate.result import Reason

Verdict = Literal["will", "may", "same"]
Cause = tuple[Reason, bool]


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What would happen to one stage, and each cause that is known."""

    name: str
    verdict: Verdict
    reasons: tuple[Reason, ...] = ()


def plan(
    pipeline: Pipeline, lock: Lock, files: Files, current: Snapshot, *, always: bool = True
) -> tuple[StagePlan, ...]:
    """Compare the files of ``current`` (``files`` knows their digests) with ``lock``, stage by stage, in order.

    Without ``always`` a stage that runs each time, whatever changed, counts like any other: what remains is what the
    lock is behind with.
    """
    pulled: frozenset[str] = frozenset()
    while True:
        planner = _Planner(pipeline, lock, files, current, pulled, always=always)
        for stage in pipeline.stages:
            planner.add(stage)
        if (needed := planner.to_pull()) <= pulled:
            return tuple(planner.plans.values())
        pulled |= needed


def needed_pipeline(current: Snapshot) -> Pipeline:
    """Return the pipeline. Raises :class:`PipelineError` if no ``dvc.yaml`` declares anything."""
    pipeline = read_pipeline(current)
    if not (pipeline.stages or pipeline.artifacts or pipeline.metrics or pipeline.plots):
        raise PipelineError(
            "there is no stage here: no dvc.yaml declares one", "`dvc stage add --help` shows how to add one."
        )
    return pipeline


def as_json(plans: tuple[StagePlan, ...], base: Snapshot) -> str:
    """Return the plan as JSON text."""
    stages = [asdict(item) for item in plans]
    content = {"base": {"label": base.label, "commit": base.commit}, "stages": stages}
    return envelope("plan", content)


def as_text(plans: tuple[StagePlan, ...]) -> str:
    """Return the plan as a few lines for a terminal."""
    will = [item for item in plans if item.verdict == "will"]
    may = [item for item in plans if item.verdict == "may"]
    same = [item.name for item in plans if item.verdict == "same"]
    if not plans:
        return "Nothing to run: dvc.yaml declares no stage.\n"
    if not will and not may:
        return f"Nothing to run: all {len(plans)} stages are as dvc.lock has them.\n"
    width = max(len(item.name) for item in (*will, *may))
    lines = [f"{len(will)} of {len(plans)} stages will run" + (f", {len(may)} more may" if may else "") + "."]
    for item in (*will, *may):
        shown = [describe(reason) for reason in item.reasons[:4]]
        more = len(item.reasons) - len(shown)
        lines.append(f"  {item.verdict:4}  {item.name:{width}}  {'; '.join(shown)}{f'; {more} more' if more else ''}")
    if same:
        lines.append(f"  same  {', '.join(same)}")
    return "\n".join(lines) + "\n"


def describe(reason: Reason) -> str:
    """Return a reason in words: ``train.lr 0.1 → 0.05``, ``src/train.py changed``, ``depends on prepare``."""
    before, after = reason.before, reason.after
    if reason.kind == "parameter":
        if before is None and after is None:
            return f"{reason.subject} is in no params file"
        return f"{reason.subject} {'(none)' if before is None else before} → {'(none)' if after is None else after}"
    if is_address(reason.subject):
        return f"{reason.subject} may have changed: it is not asked"
    if reason.kind in ("code", "data", "environment") and before is None and after is None:
        return f"{reason.subject} does not exist: git does not hold it, no stage writes it and no .dvc file tracks it"
    change = "is new" if before is None else "is gone" if after is None else "changed"
    words = {
        "upstream": f"depends on {reason.subject}",
        "command": "its command changed",
        "new": "new stage",
        "always": "runs always",
        "lock": f"dvc.lock has no hash of {reason.subject}",
        "cache": f"{reason.subject} is not here, and its content cannot be known without it",
    }
    return words.get(reason.kind, f"{reason.kind} {reason.subject} {change}")


def json_text(value: Any) -> str:
    """Return a parameter's value as JSON text; dates and the like as strings."""
    return json.dumps(_plain(value), ensure_ascii=False)


def value_changes(key: str, before: Any, after: Any) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield ``key``, before and after (JSON text) of each leaf that differs; ``MISSING`` values become ``None``."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            inner = f"{key}.{name}" if key else str(name)
            yield from value_changes(inner, before.get(name, MISSING), after.get(name, MISSING))
    elif _differ(before, after):
        yield key, None if before is MISSING else json_text(before), None if after is MISSING else json_text(after)


class _Planner:
    """Collects the plans of stages in pipeline order. A cause is a reason and whether it alone makes the stage run.

    ``pulled`` are paths that stages found to be active in an earlier pass will pull: DVC pulls a single file of a
    folder, and the next stage that reads the folder finds it there, incomplete, or complete at last.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        lock: Lock,
        files: Files,
        current: Snapshot,
        pulled: frozenset[str],
        *,
        always: bool,
    ) -> None:
        self.pipeline, self.lock, self.files, self.current, self.pulled = pipeline, lock, files, current, pulled
        self.always = always
        self.plans: dict[str, StagePlan] = {}

    def to_pull(self) -> frozenset[str]:
        """Return what is missing of the dependencies of all stages that will or may run."""
        active = (stage for stage in self.pipeline.stages if self._active(stage.name))
        return frozenset(dep for stage in active for dep in stage.deps if self.files.digest(dep) is None)

    def add(self, stage: Stage) -> None:
        """Plan one stage whose upstream stages are planned already."""
        entry = self.lock.stages.get(stage.name)
        causes = [*self._definition(stage, entry)]
        upstream = []
        if not stage.frozen:
            causes += [*self._params(stage, entry), *self._deps(stage, entry)]
            upstream = [Reason("upstream", name) for name in self.pipeline.upstream[stage.name] if self._active(name)]
        causes += self._outputs(stage, entry)
        if entry is None and not stage.frozen:
            causes.append((Reason("new", stage.name), True))
        reasons = [*(r for r, sure in causes if sure), *(r for r, sure in causes if not sure), *upstream]
        verdict: Verdict = "will" if any(sure for _, sure in causes) else "may" if reasons else "same"
        if entry is None and reasons:
            absent = [reason for reason in reasons if _is_nowhere(reason)]
            reasons = [Reason("new", stage.name), *absent, *upstream]
        self.plans[stage.name] = StagePlan(stage.name, verdict, tuple(reasons))

    def _active(self, name: str) -> bool:
        return self.plans[name].verdict != "same"

    def _rewritten(self, path: str) -> bool:
        """Say whether a stage that will or may run writes ``path``, or something in or around it."""
        return any(self._active(name) for name in self.pipeline.writers(path))

    def _definition(self, stage: Stage, entry: LockedStage | None) -> Iterator[Cause]:
        if entry and entry.cmd != stage.cmd:
            before = entry.cmd if isinstance(entry.cmd, str) else "\n".join(entry.cmd)
            yield Reason("command", stage.name, before, stage.command), True
        nothing = not (stage.deps or stage.params or stage.outs)
        if self.always and not stage.frozen and (stage.always_changed or nothing):
            yield Reason("always", stage.name), True

    def _params(self, stage: Stage, entry: LockedStage | None) -> Iterator[Cause]:
        for item in stage.params:
            sure = not self._rewritten(item.file)
            values = read_params(self.current, item.file)
            if values is None and self._is_unknown(item.file):
                yield Reason("cache", item.file), False
                continue
            if values is None:  # DVC takes it for data not pulled yet, unless it tracks the file itself
                yield Reason("parameter", item.file), sure and self._tracked_as(item.file)
                continue
            known = entry.params.get(item.file) if entry else None
            for key in item.keys or dict.fromkeys([*values, *(known or ())]):
                before = MISSING if known is None else known.get(key, MISSING)
                after = param(values, key) if item.keys else values.get(key, MISSING)
                changes = list(value_changes(key, before, after))
                if before is MISSING and after is MISSING:
                    changes = [(key, None, None)]
                for name, old, new in changes:
                    yield Reason("parameter", name, old, new), sure
            if known is None and not item.keys and not values:
                yield Reason("lock", item.file), sure

    def _deps(self, stage: Stage, entry: LockedStage | None) -> Iterator[Cause]:
        for path in stage.deps:
            record = entry.deps.get(path) if entry else None
            if is_address(path):
                yield Reason("data", path, record.digest if record else None), False
            elif not self._rewritten(path):
                yield from self._dep(path, record)
            elif record is None:  # otherwise a stage upstream that runs is a cause of its own
                yield Reason("lock", path), self._will_be_there(path)

    def _dep(self, path: str, record: Recorded | None) -> Iterator[Cause]:
        if record is not None and not record.digest:
            yield Reason("lock", path), True
            return
        legacy = record is not None and record.legacy
        whole = self._is_whole(path)
        found = self.files.digest(path, legacy=legacy) if whole else self._completed(path, legacy=legacy)
        if not whole and found is None and record is None:
            yield Reason("lock", path), True
        elif (
            self.current.unknown(path)
            or (not whole and found is None)
            or (record is not None and found not in (None, record.digest) and self.files.has_pointer(path))
        ):
            yield Reason("cache", path), False
        elif found is None:
            yield from self._missing(path, record or Recorded(path, ""))
        elif record is None or found != record.digest:
            yield (
                Reason(self.pipeline.role(path), path, record.digest if record else None, found),
                not self._partly(path),
            )

    def _is_whole(self, path: str) -> bool:
        """Say whether nothing that DVC tracks inside ``path`` is missing."""
        return all(self.current.exists(inner) for inner in self.pipeline.tracked_inside(path))

    def _completed(self, path: str, *, legacy: bool) -> str | None:
        """Return the digest that a folder has once what DVC tracks in it is there; ``None`` if that is not known."""
        entries = dict(self.files.entries(path, legacy=legacy) or {})
        for inner in self.pipeline.tracked_inside(path):
            if self.current.exists(inner):
                continue
            record = self.pipeline.recorded(self.lock, inner)
            if record is None or not record.digest:
                return None
            digests = self._digests_of(record, legacy=legacy)
            if digests is None:
                return None
            start = inner[len(path) + 1 :] if path else inner
            entries.update({f"{start}/{name}" if name else start: digest for name, digest in digests.items()})
        return folder_digest(entries)

    def _digests_of(self, record: Recorded, *, legacy: bool) -> Mapping[str, str] | None:
        """Return the digest of a recorded file (by the empty path), or of each file of a recorded folder."""
        if record.is_folder:
            return self.files.listing(record) if record.legacy == legacy else None
        digest = record.digest if record.legacy == legacy else self.files.rehashed(record)
        return None if digest is None else {"": digest}

    def _missing(self, path: str, record: Recorded) -> Iterator[Cause]:
        """Compare what the lock recorded of a dependency that is not here with what would be pulled for it."""
        kind, before = self.pipeline.role(path), record.digest or None
        owner = self.pipeline.recorded(self.lock, path)
        if owner is None:
            if not self.pipeline.writers(path):  # gone, or kept where neither git nor DVC looks: DVC passes over it
                yield Reason(kind, path, before), False
        elif owner.path == path:
            found = self._as_recorded(owner, record)
            if found is not None and found != record.digest:
                yield Reason(kind, path, before, owner.digest), not self._partly(path)
            elif found is None or self._partly(path):
                yield Reason("cache", path), False
        elif (entries := self.files.listing(owner)) is not None:
            inside = _digest_inside(entries, path.removeprefix(f"{owner.path}/"))
            if inside != before:
                yield Reason(kind, path, before, inside), False
        elif owner.path in self.pipeline.data:
            yield Reason("cache", path), False

    def _as_recorded(self, owner: Recorded, record: Recorded) -> str | None:
        """Return the digest of what ``owner`` names in the kind that ``record`` has; ``None`` if it is not known.

        DVC 2 and DVC 3 hash text files with other line ends than those of Unix differently.
        """
        if owner.legacy == record.legacy or owner.digest == record.digest or not record.digest:
            return owner.digest
        return self.files.rehashed(owner)

    def _is_unknown(self, path: str) -> bool:
        """Say whether a commit cannot tell what is in a file: it is outside, or DVC has it."""
        return bool(self.current.unknown(path)) or (self.current.commit is not None and self._tracked_as(path))

    def _will_be_there(self, path: str) -> bool:
        """Say whether a path that stages rewrite exists in any case once they are done."""
        known = self.pipeline.recorded(self.lock, path)
        return (
            self.files.digest(path) is not None
            or (known is not None and known.path == path)
            or all(self.plans[name].verdict == "will" for name in self.pipeline.writers(path))
        )

    def _partly(self, path: str) -> bool:
        """Say whether something inside ``path`` may be pulled for another stage."""
        return any(other.startswith(f"{path}/") for other in self.pulled)

    def _outputs(self, stage: Stage, entry: LockedStage | None) -> Iterator[Cause]:
        for out in stage.outs:
            record = entry.outs.get(out.path) if entry else None
            found = self.files.digest(out.path, legacy=record is not None and record.legacy)
            if record is not None and not record.digest:
                yield Reason("lock", out.path), True
            elif record is None:  # DVC passes over it while the file does not exist; `lockgate run` does not
                yield Reason("lock", out.path), found is not None
            elif found is not None and found != record.digest and (not out.cached or self.files.in_cache(record)):
                yield Reason("output", out.path, record.digest, found), True

    def _tracked_as(self, path: str) -> bool:
        return path in self.pipeline.producers or path in self.pipeline.data


def _is_nowhere(reason: Reason) -> bool:
    """Say whether a reason is that a dependency does not exist, and nothing would bring it."""
    return reason.kind in ("code", "data", "environment") and reason.before is None and reason.after is None


def _digest_inside(entries: Mapping[str, str], path: str) -> str | None:
    """Return the digest of a file or subfolder of a folder with these files; ``None`` if there is none."""
    if path in entries:
        return entries[path]
    inner = {name.removeprefix(f"{path}/"): digest for name, digest in entries.items() if name.startswith(f"{path}/")}
    return folder_digest(inner) if inner else None


def _differ(before: Any, after: Any) -> bool:
    """Compare as DVC does: a Python tuple in a params file is the list that the lock made of it."""
    return bool(before != (list(after) if isinstance(after, tuple) else after))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | None) else str(value)
