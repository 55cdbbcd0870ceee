"""The result of comparing base and head: the one thing every renderer, gate and workflow reads.

All of it is derived from what git and DVC have recorded of the two revisions, so that two machines give the same
bytes; what depends on the machine (seconds, bytes pulled, what a cache happened to hold) stands apart in
:class:`Execution`, which may be left out. Every string may have been written by the author of a pull request:
a renderer escapes all of them and trusts none.

The JSON form is canonical (sorted keys, no NaN, a newline at the end) and carries :data:`SCHEMA`; its JSON Schema is
``result.schema.json`` beside this file, made from these classes. Where the repository has several models, each has its
result, and :class:`Results` is what holds them, in the form :data:`SEVERAL`.
"""

import json
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, Final, Literal

from lockgate.errors import LockgateError

SCHEMA: Final = "lockgate.result/1"
SEVERAL: Final = "lockgate.result/2"
"""The form with several models: each of its ``models`` is a result in the first form."""

Outcome = Literal["passed", "failed", "attention"]
Judgement = Literal["better", "worse", "noise", "unjudged", "new", "removed"]
Better = Literal["higher", "lower"]
Kind = Literal["added", "removed", "changed"]
Isolation = Literal["namespaces", "none"]
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Revision:
    """One side of the comparison. ``label`` is what a person calls it (branch, tag, ``workspace``);
    ``commit`` is the full sha, ``None`` for the working tree. Subject, author and day (``2026-11-25``, in the author's
    own time zone) are the commit's; empty where there is none, and in results from before they were recorded."""

    label: str
    commit: str | None
    subject: str = ""
    author: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The first line a reviewer reads: the outcome and the one reason for it."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class ParamChange:
    """A parameter before and after, as JSON text of its value; ``None`` where it does not exist on that side."""

    file: str
    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that went in or came out of the pipeline and is not the same on both sides.

    ``role`` says what it is to the pipeline; sizes are bytes and digests are DVC's, where known.
    """

    path: str
    role: Literal["code", "data", "environment", "policy", "output"]
    kind: Kind
    size_before: int | None = None
    size_after: int | None = None
    digest_before: str | None = None
    digest_after: str | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause for a stage to run.

    ``kind`` is the sort of cause, ``subject`` the thing (a parameter's key, a path, a stage), ``before`` and ``after``
    its values where it has some. ``upstream`` is the "may run" cause: the subject is a stage whose outputs may change.
    """

    kind: Literal[
        "new", "command", "parameter", "code", "data", "environment", "output", "always", "upstream", "lock", "cache"
    ]
    subject: str
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, slots=True)
class StageChange:
    """What the difference between base and head means for one stage, in pipeline order.

    ``changed``: its inputs or outputs differ between the two locks. ``pending``: head's lock is behind head's files,
    so it will (or may) run at the next ``lockgate run``. ``same``: nothing of it differs.
    """

    name: str
    status: Literal["same", "changed", "added", "removed", "pending"]
    reasons: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A metric of the policy, base and head, and whether the change is more than chance.

    ``low`` and ``high`` bound the 95 % interval of ``change`` = head - base on the shared test rows; ``method`` names
    how they were found. ``note`` says in words why a value or an interval is missing.
    ``shared_base`` and ``shared_head`` are the values on the shared rows, where these are not all rows of both sides.
    ``p`` is the two-sided p-value of "no change", not adjusted for anything.
    """

    name: str
    better: Better
    base: float | None
    head: float | None
    change: float | None
    low: float | None
    high: float | None
    judgement: Judgement
    method: str = ""
    note: str = ""
    shared_base: float | None = None
    shared_head: float | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True)
class SliceChange:
    """One metric on the shared test rows that have ``value`` in ``column``.

    ``adjusted_p`` is the two-sided p-value of "no change" after the Benjamini-Hochberg correction over all slices
    looked at; ``judgement`` uses it. Figures are ``None`` where the metric is not defined on these rows (``note``).
    ``positives`` are the rows whose label is true.
    """

    column: str
    value: str
    metric: str
    rows: int
    base: float | None
    head: float | None
    change: float | None
    low: float | None
    high: float | None
    adjusted_p: float | None
    judgement: Judgement
    note: str = ""
    positives: int | None = None


@dataclass(frozen=True, slots=True)
class ClassChange:
    """One class on the shared test rows: ``rows`` that have it, and what base and head make of it.

    ``base``, ``head`` and ``change`` are F1, of which ``judgement`` is, by the p-value adjusted for looking at all
    classes. A figure is ``None`` where it is not defined; ``note`` says why there is no interval.
    """

    name: str
    rows: int
    recall_base: float | None
    recall_head: float | None
    precision_base: float | None
    precision_head: float | None
    base: float | None
    head: float | None
    change: float | None
    low: float | None
    high: float | None
    adjusted_p: float | None
    judgement: Judgement
    note: str = ""


@dataclass(frozen=True, slots=True)
class Confused:
    """How many of the shared rows that have the class ``label`` each side predicts as ``predicted``."""

    label: str
    predicted: str
    base: int
    head: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which rows the intervals rest on. ``refused`` says why base and head were not compared row by row, if so.

    ``incomplete`` says which of base's rows head lacks, where the policy does not allow it. ``cluster`` names the
    columns whose values tell which of the rows were drawn together, ``clusters`` is the number of those groups.
    ``positives`` are the rows of each side whose label is true; ``target`` is the mean target of a regression. ``kind``
    is what the model says of a row.
    ``confidence`` is that of each interval. ``test_set`` names base's test rows: a digest of their keys and labels.
    """

    rows_base: int | None
    rows_head: int | None
    rows_shared: int | None
    refused: str = ""
    incomplete: str = ""
    cluster: str = ""
    clusters: int | None = None
    positives_base: int | None = None
    positives_head: int | None = None
    confidence: float = 0.95
    test_set: str = ""
    kind: Literal["binary", "multiclass", "regression", "other"] = "binary"
    target_base: float | None = None
    target_head: float | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """``head - base`` of a figure on the shared rows, with its 95 % interval; ``None`` where it has none."""

    change: float
    low: float | None
    high: float | None
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Confusion:
    """How many of the shared rows a threshold sorts rightly and wrongly."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What the two models do at the threshold of the policy, on the shared rows.

    ``positives`` is what the policy calls a row whose label is true. ``found`` is the difference of true positives,
    ``false_alarms`` that of false positives. Costs are those of the policy: of one row that is missed, of one false
    alarm, and their mean over all rows; ``None`` where the policy names none.
    """

    threshold: float
    positives: str
    base: Confusion
    head: Confusion
    found: Difference
    false_alarms: Difference
    cost_missed: float | None = None
    cost_false_alarm: float | None = None
    cost_base: float | None = None
    cost_head: float | None = None
    cost: Difference | None = None


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The bytes of the model artifact as the locks of base and head record them."""

    path: str
    base: int | None
    head: int | None


@dataclass(frozen=True, slots=True)
class Importance:
    """What the model loses without a column, as the file of the policy says, with its standard error where it has one.

    ``loss`` names the figure.
    """

    column: str
    loss: str
    base: float | None
    head: float | None
    error_base: float | None = None
    error_head: float | None = None


@dataclass(frozen=True, slots=True)
class ColumnShift:
    """How far the values of one column moved from base to head.

    ``stability`` is the population stability index: the sum over bins (base's deciles, or the values of a column of
    text) of ``(head - base) * ln(head / base)`` of the shares; below 0.1 is small, above 0.25 large. ``before`` and
    ``after`` say it in words: the median, or the share of the value that moved most.
    """

    column: str
    stability: float
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class DataDiff:
    """A table of the policy that is not the same on both sides: its rows, its first and last day, and its columns.

    ``columns`` are those that moved most, first those that the model needs most. ``note`` says in words what could not
    be compared.
    """

    path: str
    rows_base: int | None
    rows_head: int | None
    first_base: str = ""
    last_base: str = ""
    first_head: str = ""
    last_head: str = ""
    columns: tuple[ColumnShift, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class GateOutcome:
    """One rule of the policy and what was measured. A gate that cannot be evaluated is not passed, and says why.

    ``look``: it holds by the policy's leave, and a person has to look at the reason. ``headline`` says why it does not
    hold, or what to look at, to someone who does not know the policy: amount and limit in one sentence.
    """

    rule: str
    measured: str
    passed: bool
    reason: str = ""
    look: bool = False
    headline: str = ""

    @property
    def holds(self) -> bool:
        """Whether it holds, and nobody has to look."""
        return self.passed and not self.look


@dataclass(frozen=True, slots=True)
class CheckFailure:
    """An expectation on the data that did not hold: ``rule`` in words, how many rows, some of them as text.

    ``failures_base`` is in how many rows the same expectation does not hold in base, ``None`` if it holds there.
    """

    table: str
    column: str
    rule: str
    severity: Literal["critical", "warning"]
    failures: int
    examples: tuple[str, ...] = ()
    failures_base: int | None = None


@dataclass(frozen=True, slots=True)
class DataChecks:
    """The validation file of head, summed up. ``note`` says in words why there is none."""

    suites: int
    expectations: int
    failed: tuple[CheckFailure, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """A plot of the policy as points ``(x, y)`` of base and head; empty where it could not be drawn (``note``).

    ``diagonal``: a good model's points lie on y = x; or they lie at the ``level``, if it has one.
    ``rows_base`` and ``rows_head`` are how many rows stand behind
    each point, where the policy names the column that says so.
    """

    title: str
    x: str
    y: str
    base: tuple[tuple[float, float], ...]
    head: tuple[tuple[float, float], ...]
    note: str = ""
    diagonal: bool = False
    rows_base: tuple[float, ...] = ()
    rows_head: tuple[float, ...] = ()
    level: float | None = None


@dataclass(frozen=True, slots=True)
class LockStatus:
    """Whether the lock that stands behind these figures was computed here.

    ``local``: a report on recorded revisions, nothing was re-run for it. ``reproduced``: this run came to the lock the
    author committed. ``written``: the author brought none that fits, this run wrote it. ``differs``: the author's lock
    claims other hashes for ``stages``. ``claimed``: policy says not to re-run; what the author committed, unchecked.
    """

    status: Literal["local", "reproduced", "written", "differs", "claimed"]
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """A metric over reruns of head's training under other seeds, as results had it before :class:`Training`."""

    metric: str
    seeds: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ProcedureChange:
    """A metric as the two *procedures* have it, over their trainings: what to expect of the next training of each.

    ``base`` and ``head`` are means over trainings (their values beside them), ``low`` and ``high`` bound the 95 %
    interval of ``change`` over other test rows and other seeds together. The errors are the parts of its standard error
    that come from the rows, from base's seeds and from head's; ``freedom`` are its degrees of freedom. ``judgement`` is
    corrected for looking at several metrics (Holm), the interval is not. ``note`` says why figures are missing.
    """

    metric: str
    better: Better
    base: float | None
    head: float | None
    change: float | None
    low: float | None
    high: float | None
    judgement: Judgement
    rows_error: float | None = None
    base_error: float | None = None
    head_error: float | None = None
    freedom: float | None = None
    base_values: tuple[float, ...] = ()
    head_values: tuple[float, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Training:
    """How much of a change is the luck of the seed ``parameter``.

    ``source``: ``repeats`` of both sides' training under other seeds, the spread of past runs in git's ``history``,
    ``none`` (``note`` says why), or ``same``: base and head train the same model. ``pending``: a further job repeats
    the training, and completes this. ``trainings`` is how many trainings, or past runs, the spread rests on.
    """

    parameter: str
    source: Literal["repeats", "history", "none", "same"]
    pending: bool = False
    base_seeds: tuple[int, ...] = ()
    head_seeds: tuple[int, ...] = ()
    trainings: int = 0
    changes: tuple[ProcedureChange, ...] = ()
    note: str = ""

    @property
    def is_known(self) -> bool:
        """Whether there is a verdict on the procedure."""
        return any(one.low is not None for one in self.changes)


@dataclass(frozen=True, slots=True)
class StageRun:
    """What one stage did on this machine. ``seconds`` is wall time, ``pulled`` bytes fetched from the remote.

    ``seconds_base`` is what the same stage took when base's was run on this machine, if it ever was.
    """

    name: str
    status: Literal["ran", "restored", "untouched", "failed", "not reached"]
    seconds: float
    pulled: int
    seconds_base: float | None = None


@dataclass(frozen=True, slots=True)
class Looks:
    """How often figures on this test set were published, this time included, as the half that publishes counts it.

    ``number`` is ``None`` where it could not be counted (``note`` says why). ``planned`` is how many looks the policy
    plans (``None``: it plans nothing), ``confidence`` that of all of them together. ``refreshed_by`` names the
    parameter whose new value brings other test rows, ``refreshed_value`` is its value in head, as JSON text.
    """

    number: int | None
    planned: int | None = None
    confidence: float = 0.95
    refreshed_by: str = ""
    refreshed_value: str = ""
    note: str = ""

    @property
    def spent(self) -> bool:
        """Whether more looks were taken than planned, or nobody can say how many were."""
        return self.planned is not None and (self.number is None or self.number > self.planned)


@dataclass(frozen=True, slots=True)
class Execution:
    """What a run did on one machine. The only part of a result that may differ between two machines.

    ``log`` is the end of a failed stage's output. ``isolation`` says how the commands of stages were run: in namespaces
    of their own, or not isolated; ``None`` where no command was run, and in results from before it was recorded.
    ``contacts`` are the addresses outside of the machine that stages tried to reach, as ``stage: address``.
    ``notes`` is what else the run has to say. ``opened`` are the changed files that no stage names, and that were
    opened while stages ran, from the top of the repository.
    """

    stages: tuple[StageRun, ...]
    seconds: float
    pulled: int
    tracked: int
    failed_stage: str | None = None
    log: str = ""
    isolation: Isolation | None = None
    contacts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """Everything known of one comparison base → head. ``base`` is ``None`` for a first commit.

    ``notes_of_base`` are those notes that say the same of base as of head: they are no news of this change.
    """

    model: str
    base: Revision | None
    head: Revision
    verdict: Verdict
    lock: LockStatus
    comparison: Comparison
    metrics: tuple[MetricChange, ...] = ()
    gates: tuple[GateOutcome, ...] = ()
    stages: tuple[StageChange, ...] = ()
    params: tuple[ParamChange, ...] = ()
    files: tuple[FileChange, ...] = ()
    checks: DataChecks | None = None
    slices: tuple[SliceChange, ...] = ()
    curves: tuple[Curve, ...] = ()
    seeds: tuple[SeedSpread, ...] = ()
    training: Training | None = None
    notes: tuple[str, ...] = ()
    execution: Execution | None = None
    operating_point: OperatingPoint | None = None
    model_file: ModelFile | None = None
    importance: tuple[Importance, ...] = ()
    data: tuple[DataDiff, ...] = ()
    notes_of_base: tuple[str, ...] = ()
    looks: Looks | None = None
    classes: tuple[ClassChange, ...] = ()
    confused: tuple[Confused, ...] = ()
    schema: Literal["lockgate.result/1"] = SCHEMA

    def to_json(self) -> str:
        """Return the canonical JSON text. Raises ``ValueError`` on NaN or infinity: absent figures are ``None``."""
        return json.dumps(asdict(self), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def each(self) -> "tuple[Result, ...]":
        """The results of the models: this one."""
        return (self,)

    def between(self, base: Revision | None, head: Revision) -> "Result":
        """Return the same result with other words for the two revisions."""
        return replace(self, base=base, head=head)

    def uncounted(self) -> "Result":
        """Return the same result without a count of looks."""
        return replace(self, looks=None)


@dataclass(frozen=True, slots=True)
class Results:
    """The results of a repository with several models: a :class:`Result` for each model that the change touches.

    ``untouched`` are the models of which nothing differs: they were not judged. ``removed`` are those that head no
    longer has. ``verdict`` is the worst of all. ``stages`` and ``lock`` are those of the whole pipeline, also of stages
    that are of no one model; ``execution`` is the run, of which each result holds what is its own. ``notes`` are about
    no model.
    """

    base: Revision | None
    head: Revision
    verdict: Verdict
    lock: LockStatus
    models: tuple[Result, ...]
    untouched: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    stages: tuple[StageChange, ...] = ()
    notes: tuple[str, ...] = ()
    execution: Execution | None = None
    schema: Literal["lockgate.result/2"] = SEVERAL

    def to_json(self) -> str:
        """Return the canonical JSON text. Raises ``ValueError`` on NaN or infinity: absent figures are ``None``."""
        return json.dumps(asdict(self), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def each(self) -> tuple[Result, ...]:
        """The results of the models."""
        return self.models

    def between(self, base: Revision | None, head: Revision) -> "Results":
        """Return the same results with other words for the two revisions."""
        return replace(self, base=base, head=head, models=tuple(one.between(base, head) for one in self.models))

    def uncounted(self) -> "Results":
        """Return the same results without counts of looks."""
        return replace(self, models=tuple(one.uncounted() for one in self.models))


AnyResult = Result | Results
"""What a comparison comes to: of one model, or of several."""


def read_result(text: str | bytes) -> Result:
    """Check JSON text against the schema and return the result of one model.

    Raises :class:`LockgateError` naming the first place that does not fit. Unknown keys do not fit.
    """
    found: Result = _checked(text, Result, SCHEMA)
    return found


def read_results(text: str | bytes) -> AnyResult:
    """Check JSON text against the schema that it names and return the result, of one model or of several.

    Raises :class:`LockgateError` naming the first place that does not fit. Unknown keys do not fit.
    """
    if _named_schema(text) != SEVERAL:
        return read_result(text)
    found: Results = _checked(text, Results, SEVERAL)
    return found


def _named_schema(text: str | bytes) -> Any:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content.get("schema") if isinstance(content, dict) else None


def _checked(text: str | bytes, noun: type, schema: str) -> Any:
    from pydantic import ValidationError

    try:
        return _adapter(noun).validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise LockgateError(
            f"this is not a {schema} file: {where}: {first['msg']}",
            "Make it with `lockgate report --format json --output result.json`.",
        ) from error


def json_schema(noun: type = Result) -> dict[str, Any]:
    """Return the JSON Schema of a result, as published in ``result.schema.json``; that of :class:`Results` is in
    ``results.schema.json``."""
    schema: dict[str, Any] = _adapter(noun).json_schema(mode="validation")
    title = SCHEMA if noun is Result else SEVERAL
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}


@cache
def _adapter(noun: type) -> Any:
    from pydantic import ConfigDict, TypeAdapter

    for one in (v for v in globals().values() if isinstance(v, type) and hasattr(v, "__dataclass_fields__")):
        one.__pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)  # type: ignore[attr-defined]
    return TypeAdapter(noun)
