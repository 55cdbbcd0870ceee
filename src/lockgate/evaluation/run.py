"""``lockgate run``: run what changed, watched, then show the result.

With ``--base`` it starts from that revision's locks, as a pull request's check does: the author's own lock is kept
aside and compared with what came out. It is put back if the run does not end well, by the next run if need be.
"""

import json
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Self

from lockgate.dvc.bring import REPLACED, Brought, bring
from lockgate.dvc.objects import DvcError, Files, WorkspaceFiles
from lockgate.dvc.pipeline import BrokenFile, BrokenLock, Lock, Pipeline, State, read_lock, read_state
from lockgate.dvc.plan import StagePlan, describe, needed_pipeline, plan
from lockgate.dvc.scopes import scoped
from lockgate.dvc.stages import DvcProcess, Progress, Sandbox, run_stages
from lockgate.errors import LockgateError, NotAskedError
from lockgate.evaluation import report, several, times
from lockgate.evaluation.prefetch import bringing
from lockgate.files import locked, progress, write_whole
from lockgate.formatting import size
from lockgate.git import Snapshot, Workspace, snapshot
from lockgate.policy import FILE as POLICY
from lockgate.policy import read_models
from lockgate.result import AnyResult, Execution, Isolation, LockStatus, Reason, StageRun

LOG_LINES = 40


class StageFailed(LockgateError):  # noqa: N818 - named for what the user reads
    """A stage's command, or getting at what it needs, failed. ``execution`` is what was done until then, ``result``
    what can be said all the same."""

    def __init__(self, execution: Execution, result: AnyResult | None) -> None:
        """Name the stage and show the end of what it said."""
        self.execution, self.result = execution, result
        quoted = "".join(f"\n  | {line}" for line in execution.log.splitlines())
        super().__init__(
            f"stage '{execution.failed_stage}' failed; the end of its log:{quoted}",
            "Correct it and run `lockgate run` again: the stages before it do not run twice.",
        )


class Interrupted(NotAskedError):  # noqa: N818
    """The user, or the machine, stopped the run."""

    def __init__(self, stage: str | None, log: str) -> None:
        """Name the stage that was at work, if one was, and show the end of what it said."""
        quoted = "".join(f"\n  | {line}" for line in log.splitlines())
        place = f" in stage '{stage}'; the end of its log:{quoted}" if stage else ""
        super().__init__(f"interrupted{place}", "`lockgate run` continues: stages that are done do not run twice.")


def run(
    root: Path,
    base: str | None,
    dvc: DvcProcess,
    *,
    complete: bool = False,
    judge: bool = True,
    dependencies: Path | None = None,
    model: str | None = None,
) -> tuple[AnyResult | None, Execution]:
    """Run what changed; return the result, ``None`` if nothing says what to judge by, and what was done.

    With ``model``, only the stages of that model are run, and it alone is judged.

    Without ``judge`` there is no result: the caller makes its own. Stages run in the Python environment in the folder
    ``dependencies``, by default in lockgate's own.

    Without a ``base``, what another commit has left in the working tree is replaced first by what the locks name, if
    that can be had: see :mod:`lockgate.dvc.bring`. Starts from the locks of ``base``, if that is given. Raises
    :class:`StageFailed`, with what can be said all the same, and :class:`Interrupted`; the author's locks are in their
    places then.
    """
    with alone(root):
        put_back(root)
        brought = _bring(root) if base is None else Brought()
        planned = Planned.of(root, base)
        current = Workspace(root)
        claimed = claims(planned.pipeline, planned.files, current) if planned.base else {}
        planned.files.remember()
        with _starting_from(root, planned.locks):
            recorder = Recorder(planned.pipeline, planned.plans, pulled=brought.pulled)
            with bringing(root, planned.base) as beside:
                sandbox = replace(_sandbox(planned.base or current), dependencies=dependencies)
                only = _stages_of(root, base, model)
                _reproduce(root, dvc, recorder, sandbox, complete=complete, beside=beside.digests, only=only)
            recorder.pulled += beside.pulled
            after = read_lock(current, planned.pipeline)
            execution = times.beside(root, recorder.execution(after), _lock_of_base(root, planned), after)
            lock = partial(_lock_status, claimed, after) if planned.base else None
            if not recorder.failed:
                return _result(root, base, execution, lock, model) if judge else None, execution
            result = None
            with suppress(LockgateError):
                result = _result(root, base, execution, lock, model) if judge else None
            raise StageFailed(execution, result)


def _bring(root: Path) -> Brought:
    """Lay out what the locks name where another commit's lies, and say so."""
    current, files = Workspace(root), WorkspaceFiles(root)
    pipeline = needed_pipeline(current)
    found = bring(root, pipeline, read_lock(current, pipeline), files)
    files.remember()
    for paths, words in (
        (found.paths, "brought as this commit has it; another commit's lay there"),
        (found.nowhere, "this commit's is neither in the cache nor in a remote (`lockgate run --complete` makes it "
         f"again); another commit's lay there and was removed (what the cache lacks is in {REPLACED})"),
    ):  # fmt: skip
        if paths:
            more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
            progress(f"{', '.join(paths[:5])}{more}: {words}")
    return found


@dataclass(frozen=True)
class Planned:
    """What a run starts from, and what it will do. ``locks`` are base's, if there is one: see :func:`_locks_of`."""

    pipeline: Pipeline
    files: WorkspaceFiles
    base: Snapshot | None
    locks: dict[str, str] | None
    plans: tuple[StagePlan, ...]

    @classmethod
    def of(cls, root: Path, revision: str | None) -> Self:
        """Read the pipeline and the locks of the revision to start from (``None``: the working tree's), and plan."""
        current, files = Workspace(root), WorkspaceFiles(root)
        pipeline = needed_pipeline(current)
        base = snapshot(root, revision) if revision else None
        locks = _locks_of(base, pipeline) if base else None
        start = Lock() if locks == {} else read_lock(base or current, pipeline)
        return cls(pipeline, files, base, locks, plan(pipeline, start, files, current))


@dataclass
class Recorder:
    """Hears of every step of a run and says it on stderr as it goes."""

    pipeline: Pipeline
    plans: tuple[StagePlan, ...]
    runs: dict[str, StageRun] = field(default_factory=dict)
    at_work: str | None = None
    failed: Progress | None = None
    pulled: int = 0
    isolation: Isolation | None = None
    contacts: tuple[str, ...] = ()
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    started: float = field(default_factory=time.monotonic)

    def progress(self, step: Progress) -> None:
        """Take note of one step."""
        self.pulled += step.pulled
        if step.event == "failed":
            self.failed = step
            self.runs[step.stage] = StageRun(step.stage, "failed", step.seconds, step.pulled)
            self.log.extend(line for line in step.error.splitlines() if line not in self.log)
        elif step.event == "began":
            self.at_work = step.stage
            self.log.clear()
            if reasons := self._reasons(step.stage):
                self._tell(step.stage, "; ".join(describe(reason) for reason in reasons[:3]))
        elif step.stage and step.status:
            self.at_work = None
            self.runs[step.stage] = StageRun(step.stage, step.status, step.seconds, step.pulled)
            if step.status != "untouched" or self._reasons(step.stage):
                self._tell(step.stage, _ended(step))

    def output(self, line: str) -> None:
        """Pass a line on that DVC or a stage printed."""
        self.log.append(line)
        sys.stderr.write(f"{line}\n")

    def execution(self, lock: Lock) -> Execution:
        """Return what was done, a line for each stage of the pipeline in its order."""
        stopped = self.failed or self.at_work
        runs = [
            self.runs.get(s.name, StageRun(s.name, "not reached" if stopped else "untouched", 0.0, 0))
            for s in self.pipeline.stages
        ]
        tracked = lock.tracked_bytes() + sum(record.size or 0 for record in self.pipeline.data.values())
        name = self.failed.stage if self.failed else self.at_work
        log = "\n".join(self.log) if name else ""
        seconds = time.monotonic() - self.started
        return Execution(
            tuple(runs), seconds, self.pulled, tracked, name, log, isolation=self.isolation, contacts=self.contacts
        )

    def _reasons(self, stage: str) -> tuple[Reason, ...]:
        return next((item.reasons for item in self.plans if item.name == stage), ())

    def _tell(self, stage: str, what: str) -> None:
        number = next((n for n, s in enumerate(self.pipeline.stages, 1) if s.name == stage), 0)
        elapsed = time.monotonic() - self.started
        sys.stderr.write(f"[{number}/{len(self.pipeline.stages)} {elapsed:.0f} s] {stage}: {what}\n")
        sys.stderr.flush()


def _lock_of_base(root: Path, planned: Planned) -> Lock | None:
    """Return the lock of what the run is compared with, ``None`` if it has none that can be read."""
    with suppress(LockgateError):
        base = planned.base or report.revisions(root, None, report.WORKSPACE)[0]
        return read_lock(base, planned.pipeline) if base else None
    return None


def _sandbox(judge: Snapshot) -> Sandbox:
    """Return what stages get from outside, by the policy that judges; by none, if it cannot be read."""
    with suppress(LockgateError):
        if text := judge.read(POLICY):
            return Sandbox.by_policy(read_models(text).stages, proving=False)
    return Sandbox()


def of_model(root: Path, base: str | None, model: str | None, plans: tuple[StagePlan, ...]) -> tuple[StagePlan, ...]:
    """Return the plans of the stages of one model, all of them where none is named."""
    only = _stages_of(root, base, model)
    return plans if only is None else tuple(one for one in plans if one.name in only)


def _stages_of(root: Path, base: str | None, model: str | None) -> tuple[str, ...] | None:
    """Return the stages of a model, ``None`` (all of them) where none is named."""
    if model is None:
        return None
    before, head = report.revisions(root, base, report.WORKSPACE)
    _, after = scoped(report.base_state(before)[0], read_state(head), model)
    return tuple(stage.name for stage in after.pipeline.stages)


def _reproduce(
    root: Path,
    dvc: DvcProcess,
    recorder: Recorder,
    sandbox: Sandbox,
    *,
    complete: bool,
    beside: Sequence[str],
    only: tuple[str, ...] | None,
) -> None:
    asked = [item for item in recorder.plans if only is None or item.name in only]
    if all(item.verdict == "same" for item in asked) and not complete:
        return
    everywhere = any(stage.file != "dvc.yaml" for stage in recorder.pipeline.stages)
    try:
        done = run_stages(
            root,
            sandbox=sandbox,
            only=only,
            everywhere=everywhere,
            complete=complete,
            beside=beside,
            on_progress=recorder.progress,
            on_output=recorder.output,
            process=dvc,
        )
    except KeyboardInterrupt as stop:
        raise Interrupted(recorder.at_work, "\n".join(recorder.log)) from stop
    if recorder.failed and recorder.failed.cure:
        raise DvcError(recorder.failed.error, recorder.failed.cure)
    recorder.isolation = done.isolation
    recorder.contacts = tuple(f"{stage}: {to}" for stage, addresses in done.contacts.items() for to in addresses)
    if done.isolation == "none":
        progress(f"The stages were not isolated ({done.reason}); docs/isolation.md says what that means.")
    if recorder.failed and not recorder.failed.stage:
        raise DvcError(f"DVC could not start: {recorder.failed.error}", _advice(recorder.failed.error))
    if not done.ok and not recorder.failed:
        if recorder.at_work is None:
            raise DvcError(f"DVC ended with code {done.code}: {' '.join(recorder.log)}", "Try `dvc repro -v`.")
        recorder.failed = Progress("failed", recorder.at_work, error=f"DVC ended with code {done.code}")


def has_policy(root: Path, base: str | None) -> bool:
    """Say whether the working tree or ``base`` has a policy to judge by."""
    return (root / POLICY).exists() or (base is not None and snapshot(root, base).read(POLICY) is not None)


def _lock_status(claimed: dict[str, dict[str, str]], lock: Lock, head: State) -> LockStatus:
    """Compare what the author's lock claimed of the stages of ``head`` with what came out."""
    own = {name: outs for name, outs in claimed.items() if name in head.pipeline.by_name}
    return lock_status(own, lock, head.pipeline)


def _result(
    root: Path, base: str | None, execution: Execution, lock: several.LockOf | None, model: str | None
) -> AnyResult | None:
    if not has_policy(root, base):
        return None
    before, head = report.revisions(root, base, report.WORKSPACE)
    if execution.failed_stage:
        return several.failed(root, report.base_state(before)[0], read_state(head), execution)
    return several.build(root, before, head, model=model, lock=lock, execution=execution)


def _ended(step: Progress) -> str:
    pulled = f", {size(step.pulled)} pulled" if step.pulled else ""
    if step.status == "untouched":
        return "up to date"
    if step.status == "restored":
        return f"taken from the run cache in {step.seconds:.1f} s{pulled}"
    return f"ran in {step.seconds:.1f} s{pulled}"


def _advice(error: str) -> str:
    if "lock" in error.lower():
        return "Wait for the other DVC process to end; if there is none, remove .dvc/tmp/rwlock and try again."
    return "`dvc repro -v` tells more."


# --- the lock to start from


def _locks_of(base: Snapshot, pipeline: Pipeline) -> dict[str, str]:
    """Return the text of each lock of the base. Broken ones count as none, so that a repair of them can be checked."""
    try:
        read_lock(base, pipeline)
    except (BrokenLock, BrokenFile) as error:
        sys.stderr.write(f"In {base.label}: {error}\nStarting without a lock.\n")
        return {}
    texts = {path: _text(base.read(path)) for path in base.list("dvc.lock") if Path(path).name == "dvc.lock"}
    return {path: text for path, text in texts.items() if text is not None}


def claims(pipeline: Pipeline, files: Files, current: Snapshot) -> dict[str, dict[str, str]]:
    """Return the outputs' digests of each stage that the author's lock says is up to date."""
    try:
        lock = read_lock(current, pipeline)
    except (BrokenLock, BrokenFile):
        return {}
    settled = [item.name for item in plan(pipeline, lock, files, current) if item.verdict == "same"]
    entries = {name: lock.stages[name] for name in settled if name in lock.stages}
    return {name: {path: out.digest for path, out in entry.outs.items()} for name, entry in entries.items()}


def lock_status(claims: dict[str, dict[str, str]], lock: Lock, pipeline: Pipeline) -> LockStatus:
    """Compare what the author's lock claimed with what came out."""
    entries = {stage.name: lock.stages[stage.name] for stage in pipeline.stages if stage.name in lock.stages}
    came = {name: {path: out.digest for path, out in entry.outs.items()} for name, entry in entries.items()}
    differing = tuple(name for name, outs in claims.items() if came.get(name) != outs)
    if differing:
        return LockStatus("differs", differing)
    return LockStatus("reproduced" if claims.keys() >= came.keys() else "written")


@contextmanager
def _starting_from(root: Path, locks: dict[str, str] | None) -> Iterator[None]:
    """Have these locks, and no other, in the working tree; put the author's back unless all ends well."""
    if locks is None:
        yield
        return
    current = Workspace(root)
    here = [path for path in current.list("dvc.lock") if Path(path).name == "dvc.lock"]
    kept = {path: _text(current.read(path)) for path in {*here, *locks}}
    note = _note(root)
    write_whole(note, json.dumps(kept))
    _write_locks(root, {path: locks.get(path) for path in kept})
    try:
        yield
    except BaseException:
        _write_locks(root, kept)
        note.unlink()
        raise
    note.unlink()


def put_back(root: Path) -> None:
    """Put back the locks that a killed run with ``--base`` left aside; what stands there now is kept beside."""
    note = _note(root)
    try:
        kept = json.loads(note.read_text())
    except FileNotFoundError:
        return
    current = Workspace(root)
    for path, text in kept.items():
        now = _text(current.read(path))
        if now is not None and now != text:
            aside = note.with_name("replaced") / path
            aside.parent.mkdir(parents=True, exist_ok=True)
            aside.write_text(now)
            sys.stderr.write(f"A killed run left {path} changed: it is as before again ({aside} has the other).\n")
    _write_locks(root, kept)
    note.unlink()


def _write_locks(root: Path, texts: dict[str, str | None]) -> None:
    for path, text in texts.items():
        if text is None:
            (root / path).unlink(missing_ok=True)
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            write_whole(root / path, text)


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode(errors="surrogateescape")


def _note(root: Path) -> Path:
    folder = root / ".dvc" / "tmp" / "lockgate"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "kept-locks.json"


# --- this process


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Refuse to run beside another ``lockgate run`` in the same project."""
    busy = DvcError("another `lockgate run` is running in this project", "Wait for it to end, then try again.")
    with locked(_note(root).with_name("run.lock"), busy):
        yield
