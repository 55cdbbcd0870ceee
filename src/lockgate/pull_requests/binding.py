"""Whether a result can be about these two commits: what git itself says of them must be what the result says.

A result comes from where the author's code ran. All of it that git and base's policy decide (which parameters changed,
which gates were asked, what the committed metrics files say) is computed again here, and a result that says otherwise
is not shown. What is left to the author's honesty are figures that only a run can give; the code that gave them is in
the pull request for the reviewer to read.
"""

from collections.abc import Iterable

from lockgate.dvc.pipeline import Lock, State, read_pipeline
from lockgate.evaluation.changes import param_changes
from lockgate.evaluation.compare import Side, recorded_value
from lockgate.evaluation.findings import read_policies
from lockgate.evaluation.metric_files import Unreadable
from lockgate.evaluation.report import base_state, readable
from lockgate.git import Snapshot
from lockgate.policy import Metric, Policy
from lockgate.pull_requests.artifact import Unfit
from lockgate.result import MetricChange, ParamChange, Result


class OtherBase(Unfit):
    """The result compares with another commit than this pull request starts from: it may be another one's."""


def check(result: Result, base: Snapshot, head: Snapshot) -> None:
    """Check ``result`` against both commits, ``head`` as the run left it.

    Raises :class:`~lockgate.pull_requests.artifact.Unfit`, and :class:`~lockgate.errors.LockgateError` where head
    cannot be read.
    """
    if result.base is None or result.base.commit != base.commit:
        there = result.base.commit if result.base else None
        raise OtherBase(f"it compares with {there or 'nothing'}, this pull request starts from {base.commit}")
    before, _ = base_state(base)
    after = State(head, read_pipeline(head), Lock())
    policy = read_policies(before, after).policy
    made = {readable(path) for state in (before, after) if state for path in state.pipeline.producers}
    if before and _kept(param_changes(before, after), made) != _kept(result.params, made):
        raise Unfit("it reports other parameters than this pull request changes")
    _check_judgement(result, policy)
    failed = result.execution is not None and result.execution.failed_stage is not None
    told = {one.name: one for one in result.metrics}
    for metric in policy.metrics:
        if one := told.get(readable(metric.name)):
            sides = [(before, one.base)] if before else []
            _check_metric(one, metric, sides if failed else [*sides, (after, one.head)])


def _kept(changes: tuple[ParamChange, ...], made: set[str]) -> tuple[ParamChange, ...]:
    """Return the changes in files that no stage makes: git alone decides those."""
    return tuple(change for change in readable(changes) if change.file not in made)


def _check_judgement(result: Result, policy: Policy) -> None:
    if tuple(gate.rule for gate in result.gates) != readable(tuple(gate.sentence(policy) for gate in policy.gates)):
        raise Unfit("it was not judged by the gates of the base branch's policy")
    if result.model != readable(policy.model):
        raise Unfit(f"it is about the model '{result.model}', the policy's is '{policy.model}'")
    hurt = [gate.rule for gate in result.gates if not gate.passed]
    if result.lock.status == "differs":
        hurt.append("the author's lock differs")
    if result.execution and result.execution.failed_stage:
        hurt.append(f"stage {result.execution.failed_stage} failed")
    if hurt and result.verdict.outcome != "failed":
        raise Unfit(f"it says '{result.verdict.outcome}' although {hurt[0]}")


def _check_metric(told: MetricChange, metric: Metric, sides: Iterable[tuple[State, float | None]]) -> None:
    """Compare a metric with its file on each side, where git keeps that file."""
    for state, value in sides:
        stage = state.pipeline.producers.get(metric.file)
        kept = stage is None or any(out.path == metric.file and not out.cached for out in stage.outs)
        content = state.snapshot.read(metric.file) if kept else None
        if content is None or value is None:
            continue
        try:
            recorded: float | str = recorded_value(metric, Side({metric.file: content}))
        except Unreadable as reason:
            recorded = str(reason)
        if recorded != value:
            raise Unfit(f"it says that {told.name} is {value}, but {metric.file} says {recorded}")
