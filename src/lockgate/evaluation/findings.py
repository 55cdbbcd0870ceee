"""What two revisions offer for judgement, and what the policy says to it: metrics, slices, data checks, gates.

Files come from git, the working tree, DVC's cache or (only those that are named by the policy) its remote. What cannot
be had is told in words; a broken revision never stops the judgement of the other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lockgate import git, policy
from lockgate.dvc.objects import DvcError, WorkspaceFiles, content_digest, local_file, read_file
from lockgate.dvc.pipeline import LockedStage, PipelineError, Stage, State
from lockgate.errors import LockgateError
from lockgate.evaluation import compare, gates, generic, looks, statistics, training
from lockgate.evaluation.compare import Judged, Side
from lockgate.evaluation.metric_files import Unreadable, document
from lockgate.evaluation.references import references
from lockgate.evaluation.training import Compared, Repeats
from lockgate.formatting import count
from lockgate.gates import Earlier, Gate, GateInputs
from lockgate.policy import Drawn, Policy
from lockgate.result import CheckFailure, DataChecks, Execution, FileChange, GateOutcome, MetricChange, Training


@dataclass(frozen=True, slots=True)
class PolicyOfBoth:
    """The policy that judges, which is base's wherever base has one; what head changes about it, and the warnings.

    ``broken`` is why head's own policy cannot be used, which no head may pass with. ``of_base`` says that base's
    alone judges: what it lacks is no news of this change.
    """

    policy: Policy
    change: FileChange | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    broken: str
    of_base: bool = True


@dataclass(frozen=True, slots=True)
class Findings:
    """The judgement: by which policy, what was compared, one outcome a gate, and why files could not be had.
    ``unmeasured`` are the metrics of which this machine cannot say whether they changed, and why."""

    policies: PolicyOfBoth
    judged: Judged
    checks: DataChecks | None
    gates: tuple[GateOutcome, ...]
    missed: tuple[DvcError, ...] = ()
    training: Training | None = None
    unmeasured: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[MetricChange, ...]:
        """The changes to judge: those of the procedures, where the luck of training is known."""
        return training.with_training(self.judged.metrics, self.training, gates=False)

    @property
    def policy(self) -> Policy:
        """The policy that judged."""
        return self.policies.policy


def find(
    root: Path,
    base: State | None,
    head: State,
    *,
    intervals: bool = True,
    more: tuple[Gate, ...] = (),
    execution: Execution | None = None,
    repeats: Repeats | None = None,
) -> Findings:
    """Judge ``head`` against ``base`` (``None``: a first commit), by the policy's gates and then by ``more``.

    ``execution`` is a run's word on itself, if one stands behind head; ``repeats`` are trainings of both under other
    seeds. Raises :class:`LockgateError` if there is no policy at all, or none that can be read.
    """
    policies = read_policies(base, head)
    judging = replace(policies.policy, gates=policies.policy.gates + more)
    with statistics.at_confidence(looks.confidence(judging)):
        found = _found(root, judging, base, head, intervals=intervals, execution=execution, repeats=repeats)
    judged = found.judged if policies.of_base else replace(found.judged, of_base=())
    return replace(found, policies=policies, judged=judged)


def _found(
    root: Path,
    judging: Policy,
    base: State | None,
    head: State,
    *,
    intervals: bool,
    execution: Execution | None,
    repeats: Repeats | None,
) -> Findings:
    missed: list[DvcError] = []
    sides = [side(root, state, judging, missed) if state else None for state in (base, head)]
    assert sides[1] is not None  # noqa: S101  head is given
    judged = compare.compare(judging, sides[0], sides[1], intervals=intervals)
    if sides[0] and judged.comparison.rows_shared is not None:
        rows_of = looks.name_of(judging.predictions, sides[0])
        named = replace(judged.comparison, confidence=statistics.confidence(), test_set=rows_of)
        judged = replace(judged, comparison=named)
    unmeasured: tuple[str, ...] = ()
    if intervals and base and sides[0]:
        judged, unmeasured = generic.judge(judging, base.snapshot, head.snapshot, (sides[0], sides[1]), judged)
    checks = _checks(root, base, head, judging.validation, missed) if judging.validation else None
    model_bytes, no_model = model_size(root, head, judging.model, missed)
    compared = Compared(base, head, (sides[0], sides[1]), judged.metrics)
    luck = training.judge(root, judging, compared, repeats) if intervals else None
    inputs = GateInputs(
        has_base=base is not None,
        metrics=training.with_training(judged.metrics, luck, gates=True),
        slices=judged.slices or judged.slices_of_head,
        comparison=judged.comparison,
        checks=checks,
        model_bytes=model_bytes,
        no_model=no_model,
        base_model_bytes=model_size(root, base, judging.model, [])[0] if base else None,
        disagree=judged.disagree,
        execution=execution,
        unchanged=frozenset(name for name, entry in head.lock.stages.items() if _entry(base, name) == entry),
        earlier={} if not intervals else _earlier(root, (base, head), sides[1], judging, missed),
        unsliced="base has no predictions to compare with" if sides[0] and sides[0].absent else "",
    )
    judged = replace(judged, metrics=looks.called_together(judging, judged.metrics))
    policies = PolicyOfBoth(judging, None, (), (), "")
    return Findings(policies, judged, checks, gates.evaluate(judging, inputs), tuple(missed), luck, unmeasured)


def _entry(state: State | None, name: str) -> LockedStage | None:
    return state.lock.stages.get(name) if state else None


def _earlier(
    root: Path, states: tuple[State | None, State], head: Side, judging: Policy, missed: list[DvcError]
) -> dict[Gate, Earlier]:
    """Hold head against the earlier revisions that gates name."""
    base, after = states
    found: dict[Gate, Earlier] = {}
    for gate, reference in references(base, judging).items():
        if reference.missing or reference.none:
            found[gate] = Earlier(missing=reference.missing, none=reference.none)
            continue
        asked = replace(
            judging,
            gates=(gate,),
            metrics=(judging.metric(gate.metric),),
            predictions=judging.predictions and replace(judging.predictions, slice_metric=None, slices=gate.slices),
            operating_point=None,
        )
        for tried, state in enumerate(reference.states):
            offered = side(root, state, asked, missed)
            label = "base" if state is base else state.snapshot.label
            if offered.no_predictions:
                found[gate] = Earlier(missing=f"the predictions of {label} cannot be had: {offered.no_predictions}")
                break
            judged = compare.compare(asked, offered, head)
            if base:
                judged, _ = generic.judge(asked, base.snapshot, after.snapshot, (offered, head), judged)
            comparable = judged.comparison.rows_shared is not None and not judged.comparison.incomplete
            if comparable or tried == len(reference.states) - 1:
                found[gate] = Earlier(
                    f"{label}, the best so far" if gate.against == "best" else label,
                    judged.metrics,
                    judged.slices,
                    judged.comparison,
                    note=f"{count(tried, 'better commit')} had other test rows" if tried else "",
                )
                break
    return found


def read_policies(base: State | None, head: State) -> PolicyOfBoth:
    """Return the policy that judges, of the model that the states are of. Metrics, predictions and plots that only
    head's policy names are shown too, but no definition or gate of base's is replaced by head's."""
    texts = [state.snapshot.read(policy.FILE) if state else None for state in (base, head)]
    problems: list[str] = []
    read: list[Policy | None] = []
    for name, text in zip(("base", "head"), texts, strict=True):
        try:
            read.append(None if text is None else _policy_of(text, head.model))
            problems.append("")
        except LockgateError as error:
            read.append(None)
            problems.append(f"{error} (in {name})")
    before, after = read
    if before is None and after is None:
        if base is None or texts[0] is None:
            _no_policy(texts[1], head.model)
        raise LockgateError(problems[0] or problems[1], f"Correct {policy.FILE} in base and head.")
    change = _file_change(texts[0], texts[1])
    if head.model is not None and before == after:
        change = None  # what differs is another model's
    warnings = [f"{problems[0]}: head's own policy judges."] if problems[0] else []
    if before is None or after is None:
        if base is not None and before is None and not problems[0]:
            lacks = "no policy" if texts[0] is None or head.model is None else f"no model '{head.model}'"
            warnings.append(
                f"Base has {lacks}: head's own {'judges it' if head.model is None else 'policy judges it'}."
            )
        if after is None and not problems[1]:
            gone = "the policy" if head.model is None else f"the model '{head.model}' from the policy"
            warnings.append(f"Head removes {gone}.")
        only = before or after
        assert only is not None  # noqa: S101  one of them was read
        return PolicyOfBoth(only, change, (), tuple(warnings), problems[1], of_base=before is not None)
    notes = gates.policy_changes(before, after)
    weaker = ("The policy changes; base's policy judges.",) if notes else ()
    widened = _widened(before, after)
    of_base = (widened.metrics, widened.predictions) == (before.metrics, before.predictions)
    return PolicyOfBoth(widened, change, notes, weaker, "", of_base)


def _policy_of(text: bytes, model: str | None) -> Policy | None:
    return policy.read_policy(text) if model is None else policy.read_models(text).find(model)


def side(root: Path, state: State, judging: Policy, missed: list[DvcError] | None = None) -> Side:
    """Return what ``state`` offers to a comparison by the policy ``judging``; why a file cannot be had is appended to
    ``missed``."""
    missed = [] if missed is None else missed
    files = {metric.file: _or_reason(root, state, metric.file, missed) for metric in judging.metrics}
    if judging.predictions is None:
        return Side(files)
    path = judging.predictions.file
    try:
        kept = as_recorded(root, state, path)
        stage = kept.pipeline.producers.get(path)
        of_git = stage is not None and not _is_cached(stage, path) and kept.snapshot.commit is not None
        found = (kept.snapshot.read(path) if of_git else None) or local_file(root, kept, path)
        found = found or kept.snapshot.read(path)
    except DvcError as error:
        missed.append(error)
        return Side(files, None, str(error))
    labels = None
    if judging.predictions.labels is not None:
        named = _or_reason(root, state, judging.predictions.labels, missed)
        if isinstance(named, Unreadable):
            return Side(files, None, f"the labels cannot be had: {named}")
        labels = named
    return Side(files, found, "", absent=found is None, labels=labels)


def read(root: Path, state: State, path: str) -> bytes | None:
    """Return the bytes of a file as ``state`` has it, ``None`` if it has none. Raises :class:`DvcError`.

    What a stage leaves to git is git's (or the working tree's) alone: DVC may still hold an old run's copy of it.
    """
    stage = state.pipeline.producers.get(path)
    if stage is not None and not _is_cached(stage, path):
        return state.snapshot.read(path)
    return read_file(root, as_recorded(root, state, path), path)


def as_recorded(root: Path, state: State, path: str) -> State:
    """Return the state to read ``path`` from: the working tree's own, unless its file is not the one that its lock
    records. Then the recorded one counts (in the cache or the remote), as it would in a fresh clone."""
    stage = state.pipeline.producers.get(path)
    record = state.pipeline.recorded(state.lock, path)
    if state.snapshot.commit or stage is None or record is None or not _is_cached(stage, path):
        return state
    if WorkspaceFiles(root).digest(path, legacy=record.legacy) in (record.digest, None) or git.head(root) is None:
        return state
    return replace(state, snapshot=git.snapshot(root, "HEAD"))


def _is_cached(stage: Stage, path: str) -> bool:
    return next(out.cached for out in stage.outs if out.path == path)


def _checks(root: Path, base: State | None, head: State, path: str, missed: list[DvcError]) -> DataChecks:
    """Sum up head's validation file, and mark what does not hold in base either."""
    found = data_checks(root, head, path, missed)
    before = data_checks(root, base, path, []).failed if base and found.failed else ()
    known = {(one.table, one.column, one.rule, one.severity): one.failures for one in before}
    failed = [
        replace(one, failures_base=known.get((one.table, one.column, one.rule, one.severity))) for one in found.failed
    ]
    return replace(found, failed=tuple(failed))


def data_checks(root: Path, state: State, path: str, missed: list[DvcError]) -> DataChecks:
    """Sum up the validation file of ``state``; an absent file, or one of another form, gives a note."""
    data = _or_reason(root, state, path, missed)
    try:
        if isinstance(data, Unreadable):
            raise data
        if data is None:
            raise Unreadable(f"there is no {path}")
        tables = _tables(document(data, path), path)
    except Unreadable as reason:
        return DataChecks(0, 0, (), str(reason))
    failed = [failure for _, failures in tables for failure in failures]
    order = sorted(failed, key=lambda one: (one.severity != "critical", one.table, one.column, one.rule))
    return DataChecks(len(tables), sum(count for count, _ in tables), tuple(order))


def model_size(root: Path, state: State, name: str, missed: list[DvcError]) -> tuple[int | None, str]:
    """Return the bytes of the artifact ``name`` of ``dvc.yaml``, or ``None`` and the reason."""
    try:
        artifact = state.pipeline.artifact(name)
    except PipelineError as error:
        return None, str(error)
    if artifact is None:
        return None, f"no dvc.yaml declares an artifact '{name}'"
    path = artifact[1]["path"]
    record = state.pipeline.recorded(state.lock, path)
    if record is not None and record.path == path and record.size is not None:
        return record.size, ""
    try:
        data = _or_reason(root, state, path, missed)
    except IsADirectoryError:
        return None, f"'{path}' is a folder of unknown size"
    if data is None or isinstance(data, Unreadable):
        return None, str(data) if data else f"there is no '{path}'"
    return len(data), ""


def _or_reason(root: Path, state: State, path: str, missed: list[DvcError]) -> bytes | Unreadable | None:
    try:
        return read(root, state, path)
    except DvcError as error:
        missed.append(error)
        return Unreadable(str(error))


def _no_policy(text: bytes | None, model: str | None) -> None:
    if text is None:
        raise policy.NoPolicy
    policy.read_policy(text, model)  # head's own error, with its place


def _file_change(before: bytes | None, after: bytes | None) -> FileChange | None:
    if before == after:
        return None
    return FileChange(
        policy.FILE,
        "policy",
        "added" if before is None else "removed" if after is None else "changed",
        size_before=None if before is None else len(before),
        size_after=None if after is None else len(after),
        digest_before=None if before is None else content_digest(before),
        digest_after=None if after is None else content_digest(after),
    )


def _drawn_by(base: Policy, head: Policy) -> tuple[Drawn, ...] | None:
    """Return the curves that head's policy asks for, if its predictions are of base's kind, which judges."""
    judging = base.predictions or head.predictions
    same = head.predictions is not None and judging is not None and head.predictions.kind == judging.kind
    return head.drawn if same else base.drawn


def _widened(base: Policy, head: Policy) -> Policy:
    names = {metric.name for metric in base.metrics}
    new = tuple(metric for metric in head.metrics if metric.name not in names)
    return replace(
        base,
        metrics=base.metrics + new,
        predictions=base.predictions or head.predictions,
        validation=base.validation or head.validation,
        plots=head.plots,
        drawn=_drawn_by(base, head),
        train=base.train or head.train,
        operating_point=base.operating_point or (head.operating_point if base.predictions else None),
        importance=base.importance or head.importance,
        data=base.data or head.data,
    )


# --- the validation file


def _tables(value: Any, path: str) -> list[tuple[int, list[CheckFailure]]]:
    """Return for each table its number of expectations and those that failed. Raises :class:`Unreadable`."""
    take = _Taker(path)
    found = []
    tables = take(value, "tables", list)
    take(value, "success", bool)
    for table in tables:
        name = take(table, "table", str)
        count = take(table, "expectations", int)
        results = [_result(take, name, result) for result in take(table, "results", list)]
        if count < len(results):
            raise Unreadable(f"{path} does not have the expected form: '{name}' has more results than expectations")
        found.append((count, [failure for failure in results if failure is not None]))
    return found


def _result(take: "_Taker", table: str, result: Any) -> CheckFailure | None:
    severity = take(result, "severity", str)
    if severity not in ("critical", "warning"):
        raise Unreadable(f"{take.path} does not have the expected form: severity '{severity}'")
    examples = tuple(str(example) for example in take(result, "examples", list))
    failure = CheckFailure(
        table,
        take(result, "column", str),
        take(result, "rule", str),
        "critical" if severity == "critical" else "warning",
        take(result, "failures", int),
        examples,
    )
    return None if take(result, "success", bool) else failure


@dataclass(frozen=True, slots=True)
class _Taker:
    path: str

    def __call__(self, value: Any, key: str, kind: type | Callable[..., Any]) -> Any:
        """Return ``value[key]`` if it has the type ``kind``. Raises :class:`Unreadable` naming the key."""
        found = value.get(key) if isinstance(value, dict) else None
        if key == "column" and found is None and isinstance(value, dict):
            return ""  # an expectation on a whole table
        if type(found) is not kind:
            raise Unreadable(f"{self.path} does not have the expected form: '{key}' is missing or no {kind.__name__}")
        return found
