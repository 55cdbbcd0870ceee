"""``lockgate report``: what changed between two revisions, and whether it is noise.

Derived from what git and DVC recorded of the two revisions, so that it is the same wherever it is made. Nothing is run
(but with ``--seeds``); of DVC's files only those that the policy names are read, fetched one by one where need be.
"""

import argparse
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from lockgate import git
from lockgate.dvc.objects import CommitFiles, DvcError, Files, WorkspaceFiles
from lockgate.dvc.pipeline import Lock, Pipeline, PipelineError, State, read_state
from lockgate.dvc.scopes import scoped
from lockgate.evaluation import changes
from lockgate.evaluation.data_diff import data_diff
from lockgate.evaluation.findings import Findings, find, read, read_policies
from lockgate.evaluation.metric_files import curve, importance
from lockgate.evaluation.predictions import Refused
from lockgate.evaluation.training import Repeats
from lockgate.evaluation.verdict import verdict
from lockgate.git import Snapshot
from lockgate.policy import Plot, Policy, older_words
from lockgate.result import (
    Comparison,
    Curve,
    DataDiff,
    Execution,
    Importance,
    LockStatus,
    ModelFile,
    Result,
    Revision,
    Verdict,
)

WORKSPACE = "workspace"


def add_revisions(parser: argparse.ArgumentParser) -> None:
    """Declare which revisions to compare: shared by the commands that judge."""
    parser.add_argument("--base", metavar="REV", help="compare with this (default: merge base with the default branch)")
    parser.add_argument("--head", metavar="REV", default=WORKSPACE, help="what to judge (default: workspace)")
    parser.add_argument("--no-intervals", action="store_true", help="leave the row by row comparison out: quicker")
    add_model(parser)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Declare which model is meant."""
    parser.add_argument(
        "--model", metavar="NAME", help="only this model, where lockgate.yaml has several (default: all that changed)"
    )


def revisions(root: Path, base: str | None, head: str) -> tuple[Snapshot | None, Snapshot]:
    """Return base and head. Without ``base``: where head left the default branch; if head is on it, the commit before;
    ``None`` if there is none. The label of a base that is a merge base is the branch's name, whoever named it how."""
    current = git.snapshot(root, head)
    tip = current.commit or git.head(root)
    if tip is None:
        return (git.snapshot(root, base) if base else None), current
    try:
        branch = git.default_branch(root)
        fork = git.merge_base(root, tip, branch)
    except git.GitError:
        if base is None:
            raise
        return git.snapshot(root, base), current
    label = branch.removeprefix("origin/")
    if base is not None:
        chosen = git.snapshot(root, base)
        return (git.Commit(root, label, fork) if chosen.commit == fork else chosen), current
    if fork != current.commit:
        return git.Commit(root, label, fork), current
    try:
        return git.Commit(root, f"{head}~1", git.resolve(root, f"{tip}~1")), current
    except git.UnknownRevision:
        return None, current


def build(  # noqa: PLR0913 - what a result is made of
    root: Path,
    base: Snapshot | None,
    head: Snapshot,
    *,
    intervals: bool = True,
    lock: LockStatus | None = None,
    execution: Execution | None = None,
    repeats: Repeats | None = None,
    model: str | None = None,
) -> Result:
    """Return the result of comparing ``base`` (``None``: a first commit) with ``head``, of one ``model``.

    ``lock`` and ``execution`` are a run's, if one stands behind head; ``repeats`` are trainings of both sides under
    other seeds. Raises :class:`LockgateError` where head's pipeline or both policies cannot be read, and
    :class:`~lockgate.policy.SeveralModels` where there are several and none is named; a broken base is told in the
    notes.
    """
    before, warnings = base_state(base)
    before, after = scoped(before, read_state(head), model)
    return measured(
        root, before, after, warnings, intervals=intervals, lock=lock, execution=execution, repeats=repeats
    )[0]


def measured(  # noqa: PLR0913 - what a result is made of
    root: Path,
    before: State | None,
    after: State,
    warnings: Sequence[str],
    *,
    intervals: bool = True,
    lock: LockStatus | None = None,
    execution: Execution | None = None,
    repeats: Repeats | None = None,
) -> tuple[Result, tuple[str, ...]]:
    """Return the result of comparing two states, of one model, and in words which metrics this machine cannot measure;
    ``warnings`` are about reading them."""
    base, head = before.snapshot if before else None, after.snapshot
    findings = find(root, before, after, intervals=intervals, execution=execution, repeats=repeats)
    files_before = files_of(root, base) if base else None
    files_after = files_of(root, head)
    stages = changes.stage_changes(before, after, files_after)
    params = changes.param_changes(before, after) if before else ()
    files = changes.file_changes(before, files_before, after, files_after) if before and files_before else ()
    if findings.policies.change and before:
        files = (findings.policies.change, *(one for one in files if one.path != findings.policies.change.path))
    if isinstance(files_after, WorkspaceFiles):
        files_after.remember()
    every_warning = (*warnings, *findings.policies.warnings)
    judged = findings.judged
    notes, of_base = _notes(findings, every_warning), _of_base(findings)
    columns = _importance(root, findings, before, after)
    result = readable(
        Result(
            model=findings.policy.model,
            base=revision(base) if base else None,
            head=revision(head),
            verdict=verdict(findings, stages, every_warning, first=base is None),
            lock=lock or LockStatus("local"),
            comparison=judged.comparison,
            metrics=judged.metrics,
            gates=findings.gates,
            stages=stages,
            params=params,
            files=files,
            checks=findings.checks,
            slices=judged.slices,
            curves=(*judged.curves, *(_curve(root, plot, before, after) for plot in findings.policy.plots)),
            classes=judged.classes,
            confused=judged.confused,
            notes=tuple(note for note in notes if note not in of_base),
            notes_of_base=tuple(note for note in notes if note in of_base),
            training=findings.training,
            execution=execution and own_execution(execution, after),
            operating_point=judged.operating_point,
            model_file=_model_file(findings, before, after),
            importance=columns,
            data=_data(root, findings, before, after, columns),
        )
    )
    return result, findings.unmeasured


def failed(root: Path, before: State | None, after: State, execution: Execution) -> Result:
    """Return the result of a run in which a stage failed: what changed, and no figure of head, for there is none.

    ``after`` is head with the lock as far as the run came, or base's. Where the stage is not one of the model's, the
    run stopped before the model could be judged.
    """
    base = before.snapshot if before else None
    files_after = files_of(root, after.snapshot)
    files = changes.file_changes(before, files_of(root, base), after, files_after) if before and base else ()
    other = after.model is not None and execution.failed_stage not in after.pipeline.by_name
    unjudged = ", so the run ended before this model was judged" if other else ""
    return readable(
        Result(
            model=read_policies(before, after).policy.model,
            base=revision(base) if base else None,
            head=revision(after.snapshot),
            verdict=Verdict("failed", f"stage {execution.failed_stage} failed{unjudged}"),
            lock=LockStatus("local"),
            comparison=Comparison(None, None, None),
            stages=changes.stage_changes(before, after, files_after),
            params=changes.param_changes(before, after) if before else (),
            files=tuple(one for one in files if one.role != "output"),
            notes=("A stage failed, so there are no figures of this change.",),
            execution=own_execution(execution, after),
        )
    )


def own_execution(execution: Execution, state: State) -> Execution:
    """Return what a run says of the stages of one model: all of it where the repository has one model."""
    if state.model is None:
        return execution
    own = state.pipeline.by_name
    failed = execution.failed_stage if execution.failed_stage in own else None
    return replace(
        execution,
        stages=tuple(run for run in execution.stages if run.name in own),
        failed_stage=failed,
        log=execution.log if failed else "",
        contacts=tuple(one for one in execution.contacts if one.partition(": ")[0] in own),
        notes=(),
        opened=(),
    )


def revision(snapshot: Snapshot) -> Revision:
    """Return what a result says of one side."""
    told = git.about(snapshot)
    return Revision(snapshot.label, snapshot.commit, told.subject, told.author, told.date)


OPAQUE_MODEL = "The model is opaque: loading it may run any code that it holds. Lockgate never loads it."
T = TypeVar("T")


def readable(value: T) -> T:
    """Return ``value`` with every text in it fit for UTF-8: what is none in a file's name is written as an escape."""
    found: Any = value
    if isinstance(value, str):
        found = value.encode("utf-8", "backslashreplace").decode()
    elif isinstance(value, tuple):
        found = tuple(readable(item) for item in value)
    elif is_dataclass(value) and not isinstance(value, type):
        found = replace(value, **{field.name: readable(getattr(value, field.name)) for field in fields(value)})
    return cast("T", found)


def base_state(base: Snapshot | None) -> tuple[State | None, list[str]]:
    """Return what base's files say. A base whose pipeline is broken counts as one without stages, and that is said."""
    if base is None:
        return None, []
    try:
        return read_state(base), []
    except PipelineError as error:
        return State(base, Pipeline(), Lock()), [
            f"Base's pipeline cannot be read, so nothing of it is compared: {error}"
        ]


def files_of(root: Path, snapshot: Snapshot) -> Files:
    """Return what is known of the files of a snapshot."""
    return WorkspaceFiles(root) if snapshot.commit is None else CommitFiles(snapshot)


def _curve(root: Path, plot: Plot, base: State | None, head: State) -> Curve:
    contents: list[bytes | None] = []
    missing: list[str] = []
    for name, state in (("base", base), ("head", head)):
        try:
            contents.append(read(root, state, plot.file) if state else None)
        except DvcError as error:
            contents.append(None)
            missing.append(f"{name}: {error}")
    drawn = curve(plot, contents[0], contents[1], has_base=base is not None)
    return replace(drawn, note="; ".join(missing)) if missing else drawn


def _model_file(findings: Findings, base: State | None, head: State) -> ModelFile | None:
    """Return the sizes that the locks record of the model; nothing is read for it."""
    name = findings.policy.model
    path = head.pipeline.artifacts.get(name, {}).get("path")
    if not isinstance(path, str):
        return None
    sizes = []
    for state in (base, head):
        record = state.pipeline.recorded(state.lock, path) if state else None
        sizes.append(record.size if record and record.path == path else None)
    return None if sizes == [None, None] else ModelFile(path, *sizes)


def _importance(root: Path, findings: Findings, base: State | None, head: State) -> tuple[Importance, ...]:
    what = findings.policy.importance
    if what is None:
        return ()
    contents: list[bytes | None] = []
    for state in (base, head):
        try:
            contents.append(read(root, state, what.file) if state else None)
        except DvcError:
            contents.append(None)
    return importance(what, *contents)


def _data(
    root: Path, findings: Findings, base: State | None, head: State, columns: tuple[Importance, ...]
) -> tuple[DataDiff, ...]:
    def content(state: State, path: str) -> bytes | None:
        try:
            return read(root, state, path)
        except DvcError as error:
            raise Refused(str(error)) from error

    return data_diff(findings.policy, base, head, content, columns)


def _notes(findings: Findings, warnings: tuple[str, ...]) -> tuple[str, ...]:
    judged = findings.judged
    gone = [f"Metric {one.name} is gone: {one.note}." for one in judged.metrics if one.judgement == "removed"]
    broken = (findings.policies.broken,) if findings.policies.broken else ()
    policy = _notes_on(findings.policy)
    told = (*broken, *policy, *warnings, *findings.policies.notes, *judged.warnings, *judged.notes, *gone)
    return tuple(dict.fromkeys(told))


def _notes_on(policy: Policy) -> tuple[str, ...]:
    """Return what a reader should know of a policy, whatever changes."""
    opaque = (OPAQUE_MODEL,) if policy.opaque else ()
    rebuild = policy.rebuild
    loose = (f"Not compared byte for byte by a rebuild, as the policy says: {rebuild}.",) if rebuild.paths else ()
    return (*opaque, *loose, *older_words(policy))


def _of_base(findings: Findings) -> tuple[str, ...]:
    """Return the notes that say the same of base."""
    return (*(_notes_on(findings.policy) if findings.policies.of_base else ()), *findings.judged.of_base)
