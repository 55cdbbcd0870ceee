"""What a reader is told of each class of a multiclass model, and of which are taken for each other."""

from lockgate import formatting
from lockgate.rendering.document import (
    BASE,
    CHANGE,
    DASH,
    HEAD,
    Block,
    Bullets,
    Cell,
    Code,
    Column,
    Paragraph,
    Section,
    Table,
)
from lockgate.rendering.figures import figures, judged_word, tally
from lockgate.result import Result


def by_class(result: Result) -> Section | None:
    """Return each class with its recall, precision and F1; folded unless one got worse."""
    if not result.classes:
        return None
    reach = max((abs(end) for one in result.classes for end in (one.low, one.high) if end is not None), default=0.0)
    columns = (
        Column("class"),
        Column("judgement"),
        Column("rows", figures=True),
        BASE,
        HEAD,
        CHANGE,
    )
    rows = tuple(
        (
            Cell((Code(one.name),), one.name),
            Cell((judged_word(one),), one.judgement),
            Cell((f"{one.rows:,}",), one.rows),
            *figures(one, reach),
        )
        for one in result.classes
    )
    blocks: list[Block] = [Table("F1 of each class", columns, rows)]
    notes = tuple((Code(one.name), ": ", one.note) for one in result.classes if one.note)
    blocks += [Bullets(notes)] if notes else []
    blocks.append(Paragraph((_BASIS,)))
    blocks.append(_shares(result))
    if result.confused:
        blocks.append(_confused(result))
    worse = any(one.judgement == "worse" for one in result.classes)
    return Section("classes", "By class", tally(result.classes), tuple(blocks), folded=not worse)


_BASIS = "The figures are F1. Better and worse are corrected for looking at every class (Benjamini and Hochberg)."


def _shares(result: Result) -> Table:
    columns = (Column("class"), Column("recall", figures=True), Column("precision", figures=True))
    rows = tuple(
        (
            Cell((Code(one.name),), one.name),
            Cell((_both(one.recall_base, one.recall_head),), one.recall_head),
            Cell((_both(one.precision_base, one.precision_head),), one.precision_head),
        )
        for one in result.classes
    )
    return Table("Recall and precision of each class, base and head", columns, rows)


def _both(base: float | None, head: float | None) -> str:
    """Write two shares: ``0.71 → 0.74``."""
    told = [DASH if value is None else formatting.fixed(value, 3) for value in (base, head)]
    return told[0] if told[0] == told[1] else " → ".join(told)


def _confused(result: Result) -> Table:
    columns = (Column("rows of"), Column("predicted as"), BASE, HEAD, Column("change", figures=True))
    rows = tuple(
        (
            Cell((Code(one.label),), one.label),
            Cell((Code(one.predicted),), one.predicted),
            Cell((f"{one.base:,}",), one.base),
            Cell((f"{one.head:,}",), one.head),
            Cell((formatting.fixed(one.head - one.base, 0, sign=True),), one.head - one.base),
        )
        for one in result.confused
    )
    return Table("The classes that are taken for others most often", columns, rows)
