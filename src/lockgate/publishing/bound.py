"""What git and the recorded files alone say of a pull request: the result that both halves compute.

The run that executed the author's code and the half that publishes call the same function on the same things: the two
commits, the lock and the outputs that the run left, and the bytes of those recorded files that a report reads
(predictions, metrics, plots, data checks). Each of these files is held to the hash that its lock gives it: base's to
base's lock, head's to the lock that will be committed. So nothing of a result has to be believed but what only the
machine knows that ran it (:class:`lockgate.result.Execution`).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lockgate import policy
from lockgate.dvc import listing
from lockgate.dvc.listing import BrokenList
from lockgate.dvc.objects import Cache, CommitFiles, DvcError, content_digest, local_file
from lockgate.dvc.pipeline import BrokenFile, BrokenLock, Lock, Recorded, State, read_pipeline, read_state
from lockgate.dvc.remotes import Object
from lockgate.dvc.scopes import Scope, has_several
from lockgate.errors import LockgateError
from lockgate.evaluation import changes, report, several, training
from lockgate.evaluation.data_diff import differing
from lockgate.evaluation.findings import read_policies
from lockgate.evaluation.references import references
from lockgate.evaluation.run import claims, lock_status
from lockgate.evaluation.seeded import SeedError
from lockgate.evaluation.several import LockOf, Whole, judged
from lockgate.evaluation.training import Repeats
from lockgate.evaluation.verdict import overall
from lockgate.gates.files import ModelGrowth, ModelSize, TrainingTime
from lockgate.git import Overlay, Snapshot
from lockgate.policy import Policy
from lockgate.publishing.artifact import OBJECTS_LIMIT, Artifact, Unfit
from lockgate.publishing.write_back import after_run
from lockgate.result import AnyResult, Execution, LockStatus, Result, Results, Verdict

TOLERANCE = 1e-6
"""Relative: two machines may differ in the last digits of a figure, which are not reported."""
SMALLEST = 1e-9
"""Absolute: below this, two figures are the same."""


class OtherBase(Unfit):
    """The result compares with another commit than this pull request starts from: it may be another one's."""


@dataclass(frozen=True)
class Computed:
    """The result, and what of it rests on the word of the run, in words: empty if all of it was computed anew.

    ``lacking`` are the objects that were needed and did not travel. ``whose`` says of several models what rests on the
    word of the run for each.
    """

    result: AnyResult | None
    unverified: tuple[str, ...] = ()
    lacking: tuple[Object, ...] = ()
    whose: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


# --- computing


def collect(root: Path, base: Snapshot | None, head: Snapshot, left: Artifact) -> dict[str, bytes]:
    """Return by digest the recorded files that :func:`compute` reads, as far as they can be had and may travel."""
    found: dict[str, bytes] = {}
    room = OBJECTS_LIMIT

    def fetch(state: State, path: str, record: Recorded) -> bytes | None:
        nonlocal room
        if record.digest not in found:
            try:
                file = _object(root, state, path, record)
            except (DvcError, OSError):
                return None
            if file is None or file.stat().st_size > room:
                return None
            found[record.digest] = file.read_bytes()
            room -= len(found[record.digest])
        return found[record.digest]

    before, after = _states(base, after_run(head, left))
    for scope in judged(Whole(root, before, after, partial(_lock, head))):
        for _ in _needed(scope.base, scope.head, fetch):
            pass
    repeats = (one for told in left.repeats.values() for one in (*told.base, *told.head))
    for digest in (one.predictions for one in repeats if one.predictions):
        file = Cache.of(root).path(digest)
        if digest not in found and file.is_file() and file.stat().st_size <= room:
            found[digest] = file.read_bytes()
            room -= len(found[digest])
    return found


def compute(
    base: Snapshot | None,
    head: Snapshot,
    left: Artifact,
    root: Path | None = None,
    *,
    claimed: bool = False,
    execution: Execution | None = None,
) -> Computed:
    """Return what a result of these commits and of what the run left has to be.

    ``claimed``: nothing was run, and the figures are those of the lock that the author committed. ``execution`` is the
    run's word on itself, and the one thing that is taken over.

    With ``root``, what did not travel is read from that project's cache and remotes, as the run itself does; without,
    there is no result where something is missing, or where a metric's function cannot be run here. Raises
    :class:`Unfit` where a file is not what a lock says of it, and :class:`LockgateError` where head cannot be read.
    """
    over = execution is not None and execution.failed_stage is not None
    if (over or claimed) and (left.lock is not None or left.outputs):
        raise Unfit("it brings a lock although no run came to one")
    if claimed and execution is not None:
        raise Unfit("it says that the lock was claimed by the author, and that there was a run")
    if execution is not None and over:
        return Computed(failed(base, head, execution))
    overlay = after_run(head, Artifact() if claimed else left)
    before, after = _states(base, overlay)
    if claimed and not takes_claims(before, after):
        raise Unfit("nothing was run for it, and the policy does not take the author's lock")
    status: LockOf = (lambda _: LockStatus("claimed")) if claimed else partial(_lock, head)
    scopes = judged(Whole(Path(), before, after, status))
    _check_repeats(left, scopes)
    lacking: dict[Object, None] = {}
    travelled = _from(left.objects)

    def fetch(state: State, path: str, record: Recorded) -> bytes | None:
        content = travelled(state, path, record)
        if content is None:
            lacking[Object.of(record)] = None
        return content

    missing = {
        scope.model: tuple(dict.fromkeys(said for said in _needed(scope.base, scope.head, fetch) if said))
        for scope in scopes
    }
    if any(missing.values()) and root is None:
        return _computed(None, missing, tuple(lacking))
    with _place(left.objects, scopes) as place:
        where = root if any(missing.values()) and root else place
        result, unmeasured = several.measured(
            where, base, overlay, lock=status, execution=execution, repeats=left.repeats
        )
    if any(unmeasured.values()) and root is None:
        return _computed(None, {name: (*missing[name], *unmeasured[name]) for name in missing}, ())
    for scope, one in zip(scopes, result.each, strict=True):
        missing[scope.model] += tuple(_by_the_clock(read_policies(scope.base, scope.head).policy, one))
    return _computed(_with_lock_judged(result), missing, ())


def _computed(
    result: AnyResult | None, missing: Mapping[str, tuple[str, ...]], lacking: tuple[Object, ...]
) -> Computed:
    """Return what was computed; ``missing`` is what rests on the word of the run, by model."""
    every = tuple(dict.fromkeys(said for told in missing.values() for said in told))
    return Computed(result, every, lacking, {name: told for name, told in missing.items() if name and told})


def takes_claims(before: State | None, after: State) -> bool:
    """Say whether the policy, which is base's wherever base has one, takes the author's lock as it is."""
    if not has_several(before.snapshot if before else None, after.snapshot):
        return read_policies(before, after).policy.lock == "claimed"
    for state in (before, after):
        text = state.snapshot.read(policy.FILE) if state else None
        with suppress(LockgateError):
            if text is not None:
                return policy.read_models(text).lock == "claimed"
    return False


def _check_repeats(left: Artifact, scopes: tuple[Scope, ...]) -> None:
    """Hold the repeats to the seeds that follow from the two locks, and their predictions to their digests."""
    known = {scope.model: scope for scope in scopes}
    for name, repeats in left.repeats.items():
        if name not in known:
            raise Unfit("it repeats the training of a model that this pull request does not touch")
        _check_repeats_of(left, repeats, known[name].base, known[name].head)


def _check_repeats_of(left: Artifact, repeats: Repeats, before: State | None, after: State) -> None:
    judging = read_policies(before, after).policy
    if judging.train is None or not judging.train.repeats or judging.lock == "claimed":
        raise Unfit("it repeats the training, which the policy does not ask for")
    told = tuple(tuple(one.seed for one in side) for side in (repeats.base, repeats.head))
    try:
        wanted = training.wanted(judging, before, after, judging.train.repeats)
    except SeedError as error:
        if not repeats.failure:
            raise Unfit(f"it repeats the training, which cannot be: {error}") from error
        wanted = ((), ())
    if told != ((), ()) if repeats.failure else told != wanted:
        raise Unfit("its repeats have other seeds than follow from what is trained")
    for digest in {one.predictions for one in (*repeats.base, *repeats.head) if one.predictions}:
        content = left.objects.get(digest)
        if content is not None and content_digest(content) != digest:
            raise Unfit(f"the predictions of a repeat are not the file whose hash is {digest}")


def _by_the_clock(judging: Policy, result: Result) -> Iterator[str]:
    """Yield the times by which a gate holds: nobody but the run knows them."""
    for gate, outcome in zip(judging.gates, result.gates, strict=True):
        if isinstance(gate, TrainingTime) and outcome.passed and outcome.measured:
            yield f"the seconds of {gate.stage}"


def failed(base: Snapshot | None, head: Snapshot, execution: Execution) -> AnyResult:
    """Return the result of a run in which a stage failed: see :func:`lockgate.evaluation.report.failed`."""
    before, _ = report.base_state(base)
    after = State(head, read_pipeline(head), before.lock if before else Lock())
    return several.failed(Path(), before, after, execution)


def _states(base: Snapshot | None, head: Snapshot) -> tuple[State | None, State]:
    return report.base_state(base)[0], read_state(head)


def _lock(head: Snapshot, after: State) -> LockStatus:
    """Compare the lock that the author committed with the one that came out."""
    try:
        return lock_status(claims(after.pipeline, CommitFiles(head), head), after.lock, after.pipeline)
    except (BrokenLock, BrokenFile):
        return LockStatus("written")


def _with_lock_judged(result: AnyResult) -> AnyResult:
    if isinstance(result, Results):
        each = tuple(_with_the_lock_of_one_judged(one) for one in result.models)
        verdict = result.verdict if each == result.models else overall(each, result.removed)
        return replace(result, models=each, verdict=_verdict_on_lock(result.lock, verdict))
    return _with_the_lock_of_one_judged(result)


def _with_the_lock_of_one_judged(result: Result) -> Result:
    return replace(result, verdict=_verdict_on_lock(result.lock, result.verdict))


def _verdict_on_lock(lock: LockStatus, verdict: Verdict) -> Verdict:
    if lock.status != "differs" or verdict.outcome == "failed":
        return verdict
    return Verdict("failed", f"the author's lock claims other outputs than came out: {', '.join(lock.stages)}")


# --- the recorded files that a report reads

Fetch = Callable[[State, str, Recorded], bytes | None]
"""Returns the content of what a state records of a path, ``None`` if it cannot be had."""


def _needed(before: State | None, after: State, fetch: Fetch) -> Iterator[str]:
    """Ask for every recorded file that a report of these states reads; yield in words what cannot be had."""
    judging = read_policies(before, after).policy
    for side, state in (("base", before), ("head", after)):
        for path in _paths(judging) if state else ():
            assert state is not None  # noqa: S101 - said a line above
            yield from (f"{path} of {side}" for record in _missing(state, path, fetch))
    for gate, reference in references(before, judging).items():
        predictions = judging.predictions.files if judging.predictions else ()
        for state in reference.states:
            for path in (judging.metric(gate.metric).file, *predictions):
                yield from (f"{path} of {state.snapshot.label}" for record in _missing(state, path, fetch))
    if any(isinstance(gate, ModelSize | ModelGrowth) for gate in judging.gates):
        yield from _model(before, after, judging, fetch)
    for table in (table for table, why in differing(judging, before, after) if not why):  # last: figures need the room
        for side, state in (("base", before), ("head", after)):
            yield from (f"{table.file} of {side}" for record in _missing(state, table.file, fetch)) if state else ()


def _paths(judging: Policy) -> tuple[str, ...]:
    predictions = judging.predictions.files if judging.predictions else ()
    checks = (judging.validation,) if judging.validation else ()
    metrics = (metric.file for metric in judging.metrics)
    importance = (judging.importance.file,) if judging.importance else ()
    plots = (plot.file for plot in judging.plots)
    return tuple(dict.fromkeys((*predictions, *metrics, *checks, *plots, *importance)))


def _missing(state: State, path: str, fetch: Fetch) -> Iterator[Recorded]:
    """Yield the records of ``path`` whose content cannot be had; nothing where git has the file, or nobody has."""
    record = state.pipeline.recorded(state.lock, path)
    if record is None or not record.digest or state.snapshot.read(path) is not None:
        return
    content = fetch(state, path, record)
    if content is None:
        yield record
    elif record.path != path and record.is_folder:
        digest = _members(content).get(path.removeprefix(f"{record.path}/"))
        if digest is not None:
            member = Recorded(path, digest, legacy=record.legacy)
            if fetch(state, path, member) is None:
                yield member
    elif record.size is not None and not record.is_folder and record.size != len(content):
        raise Unfit(f"dvc.lock says that '{path}' has {record.size:,} bytes, it has {len(content):,}")


def _model(before: State | None, after: State, judging: Policy, fetch: Fetch) -> Iterator[str]:
    """Yield that the size of the model is the run's word, where neither base's lock nor its content says it."""
    path = after.pipeline.artifacts.get(judging.model, {}).get("path")
    record = after.pipeline.recorded(after.lock, path) if isinstance(path, str) else None
    if record is None or record.path != path or record.size is None:
        return
    known = before.pipeline.recorded(before.lock, path) if before else None
    if known is not None and (known.digest, known.size) == (record.digest, record.size):
        return
    if record.is_folder or any(True for _ in _missing(after, record.path, fetch)):
        yield f"the size of {path}"


def _members(content: bytes) -> dict[str, str]:
    try:
        return listing.read(content)
    except BrokenList as error:
        raise Unfit(str(error)) from error


def _object(root: Path, state: State, path: str, record: Recorded) -> Path | None:
    """Return where the content of a record is on this machine, brought from the remote if need be."""
    if state.snapshot.commit is not None and record.is_folder:
        local_file(root, state, path)  # brings the list and the one file
        found = Cache.of(root).path(record.digest, legacy=record.legacy)
        return found if found.is_file() else None
    return local_file(root, state, path)


def _from(objects: Mapping[str, bytes]) -> Fetch:
    checked: set[tuple[str, bool]] = set()

    def fetch(_state: State, path: str, record: Recorded) -> bytes | None:
        content = objects.get(record.digest)
        if content is not None and (record.digest, record.legacy) not in checked:
            if content_digest(content, legacy=record.legacy) != record.digest.removesuffix(".dir"):
                raise Unfit(f"'{path}' is not the file whose hash is {record.digest}")
            checked.add((record.digest, record.legacy))
        return content

    return fetch


@contextmanager
def _place(objects: Mapping[str, bytes], scopes: tuple[Scope, ...]) -> Iterator[Path]:
    """Give a folder that is a project to DVC and has these objects in its cache, and no remote."""
    with TemporaryDirectory(prefix="lockgate-bound-") as folder:
        root = Path(folder)
        (root / ".dvc").mkdir()
        (root / ".dvc/config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
        cache = Cache.of(root)
        contents = dict(objects)
        for scope in scopes:
            judging = read_policies(scope.base, scope.head).policy
            if judging.predictions:  # those that git keeps are looked for in the cache too
                earlier = [state for one in references(scope.base, judging).values() for state in one.states]
                for state in (scope.base, scope.head, *earlier):
                    for kept in judging.predictions.files if state else ():
                        content = state.snapshot.read(kept) if state else None
                        if content is not None:
                            contents[content_digest(content)] = content
        for digest, content in contents.items():
            for legacy in (False, True):
                path = cache.path(digest, legacy=legacy)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        yield root


# --- comparing

SAID = {
    "model": "it is about another model than the policy's",
    "params": "it tells of other parameters than this pull request changes",
    "files": "it tells of other files than this pull request changes",
    "stages": "it tells of other stages than this pull request changes",
    "metrics": "its metrics are not those of the committed files and the predictions",
    "gates": "its gates are not the policy's, or not what comes out of them",
    "verdict": "its verdict is not what comes out of the gates",
    "lock": "it says something else of the lock than the two locks do",
    "slices": "its slices are not those of the predictions",
    "classes": "what it says of classes is not what comes out of the predictions",
    "confused": "it confuses other classes than the predictions do",
    "curves": "its plots are not those of the recorded files",
    "comparison": "it compares other rows than the predictions have",
    "checks": "its data checks are not those of the recorded file",
    "notes": "it has other notes than come out here",
    "notes_of_base": "it has other notes on base than come out here",
    "training": "what it says of other seeds is not what comes out of the repeats or of past runs",
    "seeds": "it has a spread over seeds, which no check computes",
    "operating_point": "what it says of the threshold is not what comes out of the predictions",
    "model_file": "it has other sizes of the model than the locks",
    "importance": "its importance of columns is not that of the recorded files",
    "data": "what it says of the data is not what comes out of the recorded tables",
}
"""Field of a result → what is wrong if it differs."""
SAID_OF_SEVERAL = {
    "untouched": "it says of other models that they are not touched",
    "removed": "it says of other models that they are removed",
    **{name: SAID[name] for name in ("stages", "verdict", "lock", "notes")},
}
"""Field of the result of several models → what is wrong if it differs."""


def check_base(told: AnyResult, base: Snapshot) -> None:
    """Raise :class:`OtherBase` if a result is about another base."""
    if told.base is None or told.base.commit != base.commit:
        there = told.base.commit if told.base else None
        raise OtherBase(f"it compares with {there or 'nothing'}, this pull request starts from {base.commit}")


def check(told: AnyResult, computed: AnyResult) -> None:
    """Raise :class:`Unfit` naming the first thing in which a result differs from the computed one, its execution apart:
    whoever ran it is asked for that."""
    _check_execution(told, computed)
    if any(one.looks is not None for one in told.each):
        raise Unfit("it counts how often the test set was looked at, which the half that publishes does")
    if [one.model for one in told.each] != [one.model for one in computed.each]:
        raise Unfit(SAID["model"])
    if isinstance(computed, Results):
        _check_said(told, computed, SAID_OF_SEVERAL)
    for mine, other in zip(told.each, computed.each, strict=True):
        _check_said(mine, other, SAID)


def _check_said(told: AnyResult, computed: AnyResult, sentences: Mapping[str, str]) -> None:
    if told.schema != computed.schema:
        raise Unfit("it has another schema")
    for name, sentence in sentences.items():
        where = _difference(getattr(told, name), getattr(computed, name))
        if where is not None:
            raise Unfit(f"{sentence}{f' ({where})' if where else ''}")


def check_unverified(told: AnyResult, base: Snapshot, head: Snapshot) -> None:
    """Check of a result whose files did not travel what git alone says: see :data:`SAID`. ``head`` is as the run left
    it."""
    before, _ = report.base_state(base)
    author = head.under if isinstance(head, Overlay) else head
    status: LockOf | None = None if told.lock.status == "claimed" else partial(_lock, author)
    scopes = judged(Whole(Path(), before, read_state(head), status))
    if len(scopes) != len(told.each):
        raise Unfit(SAID["model"])
    for scope, one in zip(scopes, told.each, strict=True):
        _check_unverified(one, scope.base, scope.head)


def _check_unverified(told: Result, before: State | None, after: State) -> None:
    after_files = CommitFiles(after.snapshot)
    computed = {
        "params": changes.param_changes(before, after) if before else (),
        "stages": changes.stage_changes(before, after, after_files),
        "model": read_policies(before, after).policy.model,
        "seeds": (),
    }
    for name, value in computed.items():
        if _difference(getattr(told, name), report.readable(value)) is not None:
            raise Unfit(SAID[name])
    failing = [gate.rule for gate in told.gates if not gate.passed]
    if failing and told.verdict.outcome != "failed":
        raise Unfit(f"it says '{told.verdict.outcome}' although {failing[0]}")


def _check_execution(told: AnyResult, computed: AnyResult) -> None:
    run = told.execution
    if run is None:
        if computed.lock.status != "claimed":
            raise Unfit("it does not say what was run")
        return
    names = [stage.name for stage in run.stages]
    known = {stage.name for stage in computed.stages if stage.status != "removed"}
    if len(set(names)) < len(names) or not set(names) <= known:
        raise Unfit("it says that other stages ran than there are")
    if run.failed_stage is not None and run.failed_stage not in names:
        raise Unfit("it names a stage as failed that there is not")


def _difference(one: Any, other: Any, place: str = "") -> str | None:
    """Return where two values differ (empty: as a whole), ``None`` if they are the same but for rounding."""
    if isinstance(one, float) and isinstance(other, int | float) and not isinstance(other, bool):
        return None if math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=SMALLEST) else place
    if type(one) is not type(other):
        return place
    if is_dataclass(one):
        called = getattr(one, "name", "") or getattr(one, "path", "") or getattr(one, "rule", "")
        named = [(f"{called}: {item.name}" if called else item.name, item.name) for item in fields(one)]
        pairs = [(inner, getattr(one, name), getattr(other, name)) for inner, name in named]
    elif isinstance(one, tuple) and len(one) == len(other):
        pairs = [(place, a, b) for a, b in zip(one, other, strict=True)]
    elif isinstance(one, tuple):
        return f"{len(one):,} where there are {len(other):,}"
    else:
        return None if one == other else place
    found = (_difference(a, b, inner) for inner, a, b in pairs)
    return next((where for where in found if where is not None), None)
