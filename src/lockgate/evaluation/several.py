"""The result of a repository with several models: each that the change touches is judged by its own policy.

A model is touched if anything of its part of the pipeline (:mod:`lockgate.dvc.scopes`) differs between base and
head: a stage, a parameter, a file, its policy, or what the two locks say of it. Whatever differs elsewhere cannot reach
its figures, so they are neither computed nor shown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lockgate import policy
from lockgate.dvc.objects import Files
from lockgate.dvc.pipeline import State, read_state
from lockgate.dvc.scopes import Scope, Scopes, files, has_several, scoped, scopes
from lockgate.errors import LockgateError
from lockgate.evaluation import changes, report
from lockgate.evaluation.training import Repeats
from lockgate.evaluation.verdict import overall
from lockgate.git import Snapshot
from lockgate.policy import Policy
from lockgate.result import AnyResult, Execution, LockStatus, Result, Results

LockOf = Callable[[State], LockStatus]
"""Says of (a model's part of) head what became of the author's lock."""


@dataclass(frozen=True)
class Whole:
    """The two states that are compared, with the stages of every model. ``lock`` says what became of the author's lock,
    where something was run, and ``execution`` is that run."""

    root: Path
    before: State | None
    after: State
    lock: LockOf | None = None
    execution: Execution | None = None

    def status(self, head: State) -> LockStatus | None:
        """Return what became of the author's lock."""
        return self.lock(head) if self.lock else None


def build(  # noqa: PLR0913 - what a result is made of
    root: Path,
    base: Snapshot | None,
    head: Snapshot,
    *,
    model: str | None = None,
    intervals: bool = True,
    lock: LockOf | None = None,
    execution: Execution | None = None,
    repeats: Mapping[str, Repeats] | None = None,
) -> AnyResult:
    """Return the result of comparing ``base`` with ``head``: of one ``model``, or of all that the change touches.

    ``repeats`` are those of each model, with an empty name where there are not several. Raises what
    :func:`lockgate.evaluation.report.build` raises.
    """
    return measured(
        root, base, head, model=model, intervals=intervals, lock=lock, execution=execution, repeats=repeats
    )[0]


def measured(  # noqa: PLR0913 - what a result is made of
    root: Path,
    base: Snapshot | None,
    head: Snapshot,
    *,
    model: str | None = None,
    intervals: bool = True,
    lock: LockOf | None = None,
    execution: Execution | None = None,
    repeats: Mapping[str, Repeats] | None = None,
) -> tuple[AnyResult, dict[str, tuple[str, ...]]]:
    """Return what :func:`build` does, and in words which metrics of each model this machine cannot measure."""
    before, warnings = report.base_state(base)
    whole = Whole(root, before, read_state(head), lock, execution)
    unmeasured: dict[str, tuple[str, ...]] = {}

    def built(scope: Scope) -> Result:
        result, unmeasured[scope.model] = report.measured(
            root, scope.base, scope.head, warnings, intervals=intervals, lock=whole.status(scope.head),
            execution=execution, repeats=(repeats or {}).get(scope.head.model or ""),
        )  # fmt: skip
        return result

    if model is not None or not has_several(base, head):
        return built(Scope("", *scoped(before, whole.after, model))), unmeasured
    found, touched = touching(whole)
    return _together(whole, found, touched, tuple(map(built, touched))), unmeasured


def failed(root: Path, before: State | None, after: State, execution: Execution) -> AnyResult:
    """Return the result of a run in which a stage failed: see :func:`lockgate.evaluation.report.failed`."""
    if not has_several(before.snapshot if before else None, after.snapshot):
        return report.failed(root, before, after, execution)
    whole = Whole(root, before, after, execution=execution)
    found, touched = touching(whole)
    each = tuple(report.failed(root, scope.base, scope.head, execution) for scope in touched)
    return _together(whole, found, touched, each)


def judged(whole: Whole) -> tuple[Scope, ...]:
    """Return what is judged of two states: each model that the change touches; where there is one model, all of it."""
    if not has_several(whole.before.snapshot if whole.before else None, whole.after.snapshot):
        return (Scope("", whole.before, whole.after),)
    return touching(whole)[1]


def touching(whole: Whole) -> tuple[Scopes, tuple[Scope, ...]]:
    """Return the models of both sides, and those of them that the change touches."""
    found = scopes(whole.before, whole.after)
    files_before = report.files_of(whole.root, whole.before.snapshot) if whole.before else None
    files_after = report.files_of(whole.root, whole.after.snapshot)
    touched = (scope for scope in found.models if _is_touched(scope, files_before, files_after, whole.lock))
    return found, tuple(touched)


def _is_touched(scope: Scope, files_before: Files | None, files_after: Files, lock: LockOf | None) -> bool:
    before, after = scope.base, scope.head
    if before is None or files_before is None:
        return True
    policies = [_policy(state) for state in (before, after)]
    if policies[0] != policies[1]:
        return True
    if lock is not None and lock(after).status == "differs":
        return True
    if any(one.status != "same" for one in changes.stage_changes(before, after, files_after)):
        return True
    if changes.param_changes(before, after) or changes.file_changes(before, files_before, after, files_after):
        return True
    named = files(policies[1]) if policies[1] else ()
    kept = (path for path in named if not (_is_cached(before, path) or _is_cached(after, path)))
    return any(before.snapshot.read(path) != after.snapshot.read(path) for path in kept)


def _is_cached(state: State, path: str) -> bool:
    """Say whether DVC keeps a file, so that the lock says what it is; what git keeps may be edited beside that."""
    stage = state.pipeline.producers.get(path)
    if stage is not None:
        return any(out.cached for out in stage.outs if out.path == path)
    return state.pipeline.recorded(state.lock, path) is not None


def _policy(state: State) -> Policy | None:
    """Return the policy of a model as a side has it; ``None`` where it has none, or none that can be read."""
    try:
        text = state.snapshot.read(policy.FILE)
        return policy.read_models(text).find(state.model or "") if text is not None else None
    except LockgateError:
        return None


def _together(whole: Whole, found: Scopes, touched: tuple[Scope, ...], each: tuple[Result, ...]) -> Results:
    before, after = whole.before, whole.after
    names = {scope.model for scope in touched}
    gone = (f"Head removes the model '{name}' with its artifact: nothing of it is judged." for name in found.removed)
    return report.readable(
        Results(
            base=report.revision(before.snapshot) if before else None,
            head=report.revision(after.snapshot),
            verdict=overall(each, found.removed),
            lock=whole.status(after) or LockStatus("local"),
            models=each,
            untouched=tuple(scope.model for scope in found.models if scope.model not in names),
            removed=found.removed,
            stages=changes.stage_changes(before, after, report.files_of(whole.root, after.snapshot)),
            notes=tuple(gone),
            execution=whole.execution,
        )
    )
