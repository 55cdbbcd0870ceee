"""What a reader is told of the results of several models: which the change touches, how each came out, then each one.

A model that the change does not touch has a line in the table and no more.
"""

from collections import Counter
from dataclasses import dataclass, replace

from lockgate.formatting import count
from lockgate.rendering.document import (
    DASH,
    Bullets,
    Cell,
    Code,
    Column,
    Document,
    Line,
    Mark,
    Section,
    Table,
    listed,
)
from lockgate.rendering.result_document import OUTCOMES, brief, document
from lockgate.result import SEVERAL, Outcome, Result, Results

_ORDER: tuple[Outcome, ...] = ("failed", "attention", "passed")


@dataclass(frozen=True, slots=True)
class Documents:
    """An ``overview`` of all models, and the document of each one that the change touches, the worst first."""

    overview: Document
    models: tuple[tuple[str, Document], ...]


def documents(results: Results, *, short: bool) -> Documents:
    """Lay the results out; ``short``: for a comment, see :func:`lockgate.rendering.result_document.brief`."""
    ordered = sorted(results.models, key=lambda one: _ORDER.index(one.verdict.outcome))
    each = tuple((one.model, brief(one) if short else document(one)) for one in ordered)
    return Documents(_overview(results, ordered), each)


def _overview(results: Results, ordered: list[Result]) -> Document:
    outcome = results.verdict.outcome
    number = Counter(OUTCOMES[one.verdict.outcome] for one in ordered)
    known = count(len(results.models) + len(results.untouched), "model")
    came = ", ".join(f"{times} {word}" for word, times in number.items())
    title = f"{came}; {len(ordered)} of {known} touched" if ordered else f"None of {known} is touched by this change"
    verdict: Line = (Mark(outcome), f" {title}")
    rows = [
        *(map(_row, ordered)),
        *((Cell((Code(name),)), Cell(("not touched",)), Cell((DASH,))) for name in results.untouched),
        *((Cell((Code(name),)), Cell(("removed",)), Cell((DASH,))) for name in results.removed),
    ]
    columns = (Column("model"), Column("verdict"), Column("why"))
    sections = [Section("models", "Models", "", (Table("The models of this repository", columns, tuple(rows)),))]
    if results.notes:
        sections.append(Section("notes", "Notes", "", (Bullets(tuple((note,) for note in results.notes)),)))
    if loose := _of_no_model(results):
        sections.append(Section("stages", "Stages of no one model", "", (Bullets((listed(loose),)),)))
    return Document(title, outcome, verdict, (), tuple(sections), SEVERAL)


def _row(one: Result) -> tuple[Cell, ...]:
    outcome = one.verdict.outcome
    return (Cell((Code(one.model),)), Cell((Mark(outcome), f" {OUTCOMES[outcome]}")), Cell((one.verdict.reason,)))


def _of_no_model(results: Results) -> tuple[str, ...]:
    """Return the stages that differ and are of none of the models that are touched."""
    known = {stage.name for one in results.models for stage in one.stages}
    return tuple(stage.name for stage in results.stages if stage.status != "same" and stage.name not in known)


def alone(results: Results, whole: Document) -> Document:
    """Return the document of the only model that is touched, with a word on the others."""
    if not results.untouched:
        return whole
    before: Line = (*whole.lead, " ") if whole.lead else ()
    return replace(whole, lead=(*before, "Not touched: ", *listed(results.untouched), "."))
