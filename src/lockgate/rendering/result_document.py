"""What a reader is told of a result, in which words and in which order: the same in every format.

The order is the one a reviewer decides in: the verdict and its one reason, the figures, who is hurt, the rules, what
changed and why it ran, the data; then, folded, what only some will want to see.
"""

from collections.abc import Iterable
from dataclasses import replace

from lockgate import formatting
from lockgate.rendering import beside, classes, figures
from lockgate.rendering.document import (
    DASH,
    Block,
    Bullets,
    Cell,
    Code,
    Column,
    Commit,
    Document,
    Line,
    Log,
    Mark,
    Paragraph,
    Part,
    Section,
    Strong,
    Table,
    listed,
)
from lockgate.rendering.training import training
from lockgate.result import (
    CheckFailure,
    FileChange,
    GateOutcome,
    LockStatus,
    Outcome,
    Reason,
    Result,
    Revision,
    StageChange,
)

OUTCOMES: dict[Outcome, str] = {"passed": "passed", "failed": "failed", "attention": "needs a look"}


def brief(result: Result) -> Document:
    """Lay a result out for a comment: as :func:`document`, but one line where nothing differs and nothing was run."""
    whole = document(result)
    if not (_nothing_differs(result) and _ran_nothing(result)):
        return whole
    verdict = (*whole.verdict, ". No input of a stage differs, so nothing had to be run.")
    return replace(whole, verdict=verdict, lead=(), sections=())


def document(result: Result) -> Document:
    """Lay a result out for reading. Where nothing differs, a line says so and the figures are folded."""
    sections = [
        _failed_stage(result),
        figures.metrics(result),
        training(result),
        beside.operating(result),
        figures.hurt(result),
        classes.by_class(result),
        _gates(result),
        _changes(result),
        beside.data(result),
        _stages(result),
        _checks(result),
        _notes(result),
        _known(result),
        _held(result),
        figures.slices(result),
        beside.beside(result),
        beside.importance(result),
        figures.curves(result),
        _hashes(result),
        _run(result),
    ]
    present = tuple(figures.at_confidence(section, result.comparison.confidence) for section in sections if section)
    same = _nothing_differs(result)
    if same:
        kept = {"metrics", "gates", "known", "held", "run"}
        kept |= {"training"} if result.training and result.training.changes else set()  # somebody asked for it
        present = tuple(replace(section, folded=True) for section in present if section.name in kept)
    title = f"{result.model} {OUTCOMES[result.verdict.outcome]}"
    verdict = (Mark(result.verdict.outcome), f" {title}: ", result.verdict.reason)
    return Document(title, result.verdict.outcome, verdict, _lead(result, same=same), present)


def _nothing_differs(result: Result) -> bool:
    return (
        result.verdict.outcome == "passed"
        and result.base is not None
        and not (result.params or result.files or result.notes)
        and all(stage.status == "same" for stage in result.stages)
        and all(metric.base == metric.head and not metric.change for metric in result.metrics)
        and all(gate.passed for gate in result.gates)
        and not any(not _is_known(one) for one in (result.checks.failed if result.checks else ()))
        and result.lock.status in ("local", "reproduced")
    )


def _lead(result: Result, *, same: bool) -> Line:
    compared: Line
    if result.base is None:
        compared = ("First result of ", *_revision(result.head), "; there is no base to compare with. ")
    else:
        compared = (*_revision(result.base), " → ", *_revision(result.head), ". ")
    compared = (*_about(result.head), *compared)
    nothing = "No stage, parameter, code or data of the pipeline differs. " if same else ""
    run = result.execution
    if _ran_nothing(result) and result.lock.status in ("reproduced", "written"):
        same_lock = "" if result.lock.status == "reproduced" else " The lock is that of base."
        return (*compared, nothing, f"Nothing had to be run.{same_lock}")
    if run and result.lock.status == "reproduced" and _ran_no_command(result):
        return (*compared, nothing, "No command was run: what earlier runs made came from their cache.")
    return (*compared, nothing, *_lock(result.lock, recorded=run is None))


def _ran_no_command(result: Result) -> bool:
    """Say whether there was a run in which no stage's command was run to its end."""
    run = result.execution
    return run is not None and not any(stage.status == "ran" for stage in run.stages)


def _ran_nothing(result: Result) -> bool:
    """Say whether there was a run that had nothing to do: by its own word, and by the two locks."""
    run = result.execution
    if run is None or run.failed_stage is not None or any(stage.status != "untouched" for stage in run.stages):
        return False
    return all(stage.status in ("same", "removed") for stage in result.stages)


def _revision(revision: Revision) -> Line:
    return (Code(revision.label), " ", Commit(revision.commit)) if revision.commit else (Code(revision.label),)


def _about(revision: Revision) -> Line:
    """Say what the commit says of itself, and by whom and when it was made."""
    if not revision.subject:
        return ()
    by = f" by {revision.author}" if revision.author else ""
    return (Strong(revision.subject), f"{by}, {revision.date}. " if revision.date else f"{by}. ")


def _lock(lock: LockStatus, *, recorded: bool) -> Line:
    if lock.status == "local":
        return ("Nothing was run for this report: it rests on what git and DVC recorded.",) if recorded else ()
    if lock.status == "reproduced":
        return (Strong("Reproduced:"), " a run here gave exactly the hashes that the author committed.")
    if lock.status == "written":
        return (
            "The lock was ",
            Strong("written by this run."),
        )
    if lock.status == "claimed":
        return (
            Mark("attention"),
            " ",
            Strong("Claimed, not reproduced:"),
            " the figures are what the author committed, unchecked.",
        )
    stages = listed(lock.stages)
    where: Line = (" for ", *stages) if stages else ()
    return (
        Mark("attention"),
        " ",
        Strong("The author's lock differs"),
        " from what came out here",
        *where,
        ". The figures below are those of this run.",
    )


def _failed_stage(result: Result) -> Section | None:
    run = result.execution
    if run is None or run.failed_stage is None:
        return None
    intro: Line = ("Stage ", Code(run.failed_stage), " failed. The end of its log:")
    return Section("log", "The stage that failed", "", (Paragraph(intro), Log(run.log)))


def _gates(result: Result) -> Section | None:
    """What does not hold, or asks for a look; the rest is told in a section of its own."""
    asked = [gate for gate in result.gates if not gate.holds]
    if not asked:
        return None
    holding = sum(gate.holds for gate in result.gates)
    table = Table("The gates that do not hold", (Column("rule"), Column("holds"), Column("measured")), _rows(asked))
    return Section("gates", "Gates", f"{holding:,} of {len(result.gates):,} hold", (table,))


def _held(result: Result) -> Section | None:
    asked = [gate for gate in result.gates if gate.holds]
    if not asked:
        return None
    table = Table("The gates that hold", (Column("rule"), Column("holds"), Column("measured")), _rows(asked))
    return Section("held", "Gates that hold", f"{len(asked):,} of {len(result.gates):,}", (table,), folded=True)


def _rows(gates: list[GateOutcome]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(
        (
            Cell((gate.rule,), gate.rule),
            Cell((Mark("attention" if gate.look else "passed" if gate.passed else "failed"),), gate.passed),
            Cell((": ".join(filter(None, (gate.measured, gate.reason))) or DASH,), gate.measured),
        )
        for gate in sorted(gates, key=lambda gate: gate.passed)
    )


def _changes(result: Result) -> Section | None:
    inputs = [one for one in result.files if one.role != "output"]
    if not (result.params or inputs):
        return None
    blocks: list[Block] = []
    policy = {one.kind for one in inputs if one.role == "policy"}
    if policy:
        judges = "This brings its own policy." if policy == {"added"} else "This changes the policy."
        rest = " There is none at base to judge it." if policy == {"added"} else " The gates are the base's."
        blocks.append(Paragraph((Mark("attention"), " ", Strong(judges), rest)))
    several = len({param.file for param in result.params}) > 1
    blocks += _bullets(
        (
            Code(param.key),
            ": ",
            *_before_after(param.before, param.after),
            *((" in ", Code(param.file)) if several else ()),
        )
        for param in result.params
    )
    roles = ("policy", "code", "data", "environment")
    blocks += _bullets(_file_line(one) for one in sorted(inputs, key=lambda one: roles.index(one.role)))
    counts = [formatting.count(len(result.params), "parameter")] if result.params else []
    counts += [formatting.count(len(inputs), "file")] if inputs else []
    return Section("changes", "What changed", ", ".join(counts), tuple(blocks))


def _bullets(items: Iterable[Line]) -> list[Block]:
    lines = tuple(items)
    return [Bullets(lines)] if lines else []


def _before_after(before: str | None, after: str | None) -> Line:
    if before is None:
        return ("new, ", Code(after or "")) if after is not None else ()
    return (Code(before), " → ", Code(after)) if after is not None else ("removed, was ", Code(before))


def _file_line(one: FileChange) -> Line:
    sizes = [formatting.size(amount) for amount in (one.size_before, one.size_after) if amount is not None]
    what = {"added": f"new {one.role}", "removed": f"{one.role} removed", "changed": f"{one.role} changed"}[one.kind]
    return (Code(one.path), f": {what}" + (f", {' → '.join(dict.fromkeys(sizes))}" if sizes else ""))


def _stages(result: Result) -> Section | None:
    if not result.stages:
        return None
    words = {"changed": "", "added": "", "removed": "removed", "pending": "not run yet"}
    touched = [stage for stage in result.stages if stage.status != "same"]
    here = _came_to(result)
    blocks = _bullets((Code(stage.name), *_why(stage, here.get(stage.name, words[stage.status]))) for stage in touched)
    same = tuple(stage.name for stage in result.stages if stage.status == "same")
    if same:
        blocks.append(Paragraph(("The same on both sides: ", *listed(same, 40), ".")))
    aside = f"{len(touched):,} of {len(result.stages):,} {'differs' if len(touched) == 1 else 'differ'}"
    ran = result.lock.status in ("reproduced", "written", "differs") and not _ran_no_command(result)
    folded = not any(stage.status == "pending" for stage in touched)
    return Section("stages", "What ran and why" if ran else "Stages", aside, tuple(blocks), folded=folded)


def _came_to(result: Result) -> dict[str, str]:
    """Say by stage what a run that failed did: its lock, which is not kept, is behind for all of them."""
    run = result.execution
    if run is None or run.failed_stage is None:
        return {}
    words = {"ran": "ran", "restored": "taken from the cache", "failed": "failed", "not reached": "not reached"}
    return {stage.name: words[stage.status] for stage in run.stages if stage.status in words}


def _why(stage: StageChange, status: str, most: int = 5) -> Line:
    parts: list[Part] = [f": {status}"] if status else []
    for reason in stage.reasons[:most]:
        parts += [", " if parts else ": ", *_reason(reason)]
    hidden = len(stage.reasons) - most
    return (*parts, f" and {hidden:,} more") if hidden > 0 else tuple(parts)


def _reason(reason: Reason) -> Line:
    """One cause. What values a parameter had is told where the changes are."""
    subject = Code(reason.subject)
    match reason.kind:
        case "new":
            return ("new stage",)
        case "always":
            return ("always runs",)
        case "upstream":
            return ("depends on ", subject)
        case "cache":
            return (subject, " is not in the cache")
        case "command":
            return ("command ", *_before_after(reason.before, reason.after))
        case _:
            return (subject, f" ({reason.kind})")


def _checks(result: Result) -> Section | None:
    checks = result.checks
    if checks is None:
        return None
    blocks: list[Block] = [Paragraph((checks.note,))] if checks.note else []
    known = sum(_is_known(one) for one in checks.failed)
    news = [one for one in checks.failed if not _is_known(one)]
    if news:
        blocks.append(_failures("Expectations that do not hold", news))
    looked = f"{formatting.count(checks.expectations, 'expectation')} in {formatting.count(checks.suites, 'suite')}"
    told = [f"{len(news):,} of {looked} {'fails' if len(news) == 1 else 'fail'}"] if news else [looked]
    told += [f"{known:,} {'fails' if known == 1 else 'fail'} as in base"] if known else [] if news else ["all hold"]
    aside = ", ".join(told) if checks.expectations else "none"
    return Section("checks", "Data checks", aside, tuple(blocks), folded=not blocks)


def _is_known(failure: CheckFailure) -> bool:
    """Say whether a warning is no news: base has it as well, in as many rows or more."""
    return failure.severity == "warning" and failure.failures <= (failure.failures_base or 0)


def _failures(title: str, failures: list[CheckFailure]) -> Table:
    before = any(one.failures_base is not None for one in failures)
    columns = (
        Column("table"),
        Column("expectation"),
        Column("rows", figures=True),
        *((Column("in base", figures=True),) if before else ()),
        Column("for example"),
        Column("severity"),
    )
    rows = tuple(
        (
            Cell((Code(".".join(filter(None, (one.table, one.column)))),), f"{one.table}.{one.column}"),
            Cell((one.rule,), one.rule),
            Cell((f"{one.failures:,}",), one.failures),
            *((Cell((f"{one.failures_base or 0:,}",), one.failures_base),) if before else ()),
            Cell(listed(one.examples, 3) or (DASH,)),
            Cell((Mark("failed" if one.severity == "critical" else "attention"), f" {one.severity}"), one.severity),
        )
        for one in failures
    )
    return Table(title, columns, rows)


def _known(result: Result) -> Section | None:
    """What is no news of this change, for it is true of base as well."""
    failures = [one for one in (result.checks.failed if result.checks else ()) if _is_known(one)]
    if not (failures or result.notes_of_base):
        return None
    blocks = _bullets((note,) for note in result.notes_of_base)
    blocks += [_failures("Expectations that do not hold in base either", failures)] if failures else []
    told = [formatting.count(len(result.notes_of_base), "note")] if result.notes_of_base else []
    told += [formatting.count(len(failures), "failed expectation")] if failures else []
    return Section("known", "The same in base", ", ".join(told), tuple(blocks), folded=True)


def _notes(result: Result) -> Section | None:
    said = result.verdict.reason  # what the first line says need not be said again
    notes = [note for note in result.notes if note.removesuffix(".")[1:] not in said]
    notes += tuple(f"The run says: {note}" for note in result.execution.notes) if result.execution else ()
    return Section("notes", "Notes", "", (Bullets(tuple((note,) for note in notes)),)) if notes else None


def _hashes(result: Result) -> Section | None:
    known = [one for one in result.files if one.digest_before or one.digest_after]
    if not known:
        return None
    columns = (Column("file"), Column("base"), Column("head"), Column("size", figures=True))
    rows = tuple(
        (
            Cell((Code(one.path),), one.path),
            *(Cell((Code(digest),) if digest else (DASH,), digest) for digest in (one.digest_before, one.digest_after)),
            Cell((DASH if one.size_after is None else formatting.size(one.size_after),), one.size_after),
        )
        for one in known
    )
    table = Table("Hashes of what went in and came out", columns, rows)
    return Section("hashes", "Hashes", formatting.count(len(rows), "file"), (table,), folded=True)


_NOT_ISOLATED = ", so the stages could see this machine as whoever ran them does: its files, network and processes."


def _run(result: Result) -> Section | None:
    run = result.execution
    if run is None:
        return None
    columns = (Column("stage"), Column("here"), Column("time", figures=True), Column("pulled", figures=True))
    rows = tuple(
        (
            Cell((Code(stage.name),), stage.name),
            Cell((stage.status,), stage.status),
            Cell((formatting.duration(stage.seconds) if stage.status in ("ran", "failed") else DASH,), stage.seconds),
            Cell((formatting.size(stage.pulled) if stage.pulled else DASH,), stage.pulled),
        )
        for stage in run.stages
    )
    pulled = f"{formatting.size(run.pulled)} of {formatting.size(run.tracked)} pulled"
    note: Line = ("This part is the run's own word. Times and transfers are its machine's; another has others.",)
    notes: list[Paragraph] = [Paragraph(note)]
    if run.isolation == "none":
        notes.insert(0, Paragraph((Mark("attention"), " ", Code("isolation: none"), _NOT_ISOLATED)))
    if run.contacts:
        notes.append(Paragraph(("Addresses that stages tried to reach: ", *listed(run.contacts), ".")))
    table = Table("What each stage did on this machine", columns, rows)
    headline = f"{formatting.duration(run.seconds)}, {pulled}" + (", not isolated" if run.isolation == "none" else "")
    return Section("run", "This run", headline, (table, *notes), folded=run.isolation != "none")
