"""What a reader is told of the luck of training: both procedures over their seeds, and where the doubt comes from."""

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
    Dot,
    Judged,
    Line,
    Mark,
    Paragraph,
    Part,
    Section,
    Strip,
    Table,
    Whisker,
)
from lockgate.result import ProcedureChange, Result, Training


def training(result: Result) -> Section | None:
    """Base and head over the seeds they were trained with; nothing if the policy names no seed."""
    luck = result.training
    if luck is None or luck.source == "same":
        return None
    unknown = luck.source == "none" and not (luck.pending or luck.note)
    if unknown and not any(metric.change for metric in result.metrics):
        return None  # there is no change that could be luck
    blocks: list[Block] = [Paragraph(line) for line in _lead(luck)]
    if luck.changes:
        blocks += _tables(luck)
        notes = tuple((Code(one.metric), ": ", one.note) for one in luck.changes if one.note)
        blocks += [Bullets(notes)] if notes else []
    if luck.is_known:
        blocks.append(Paragraph(_basis(luck)))
    return Section("training", "Training noise", _aside(luck), tuple(blocks), folded=luck.is_known)


def _aside(luck: Training) -> str:
    if luck.source == "repeats":
        sides = (("base", luck.base_seeds), ("head", luck.head_seeds))
        return ", ".join(f"{formatting.count(len(seeds), 'seed')} of {side}" for side, seeds in sides if seeds)
    if luck.source == "history":
        return formatting.count(luck.trainings, "past run") + (", repeats follow" if luck.pending else "")
    return "not yet known" if luck.pending else "not known"


def _lead(luck: Training) -> tuple[Line, ...]:
    lines: list[Line] = []
    if luck.note:
        lines.append((luck.note,) if luck.is_known else (Mark("attention"), " ", luck.note))
    if luck.pending:
        known = "" if luck.is_known else "Base and head were trained once each: how much of the change is luck of "
        named: Line = () if luck.is_known else (Code(luck.parameter), " is not yet known. ")
        lines.append(
            (known, *named, "A further job repeats both trainings with other seeds and completes this comment.")
        )
    elif luck.source == "none" and not luck.note:
        lines.append(
            (
                "Base and head were trained once each: how much of the change is luck of ",
                Code(luck.parameter),
                " is not known. With ",
                Code("train: {repeats: 5}"),
                " in the policy, a pull request finds out.",
            )
        )
    return tuple(lines)


def _basis(luck: Training) -> Line:
    judged = "Judged is what to expect of the next training of each side, on other test rows"
    if luck.source == "repeats":
        judged += "; the committed models are not among these trainings"
    corrected = "Better and worse are corrected for looking at several metrics (Holm)."
    return (f"{judged}. Gates that compare use these intervals. {corrected}",)


def _tables(luck: Training) -> tuple[Block, ...]:
    """Return the judgement, and where the doubt comes from: two tables, so that each fits a terminal and a phone."""
    columns = (
        Column("metric"),
        Column("judgement"),
        BASE,
        HEAD,
        CHANGE,
    )
    judged = Table("Over the seeds", columns, tuple(map(_row, luck.changes)))
    parts = (
        Column("metric"),
        *((Column("○ base, ● head"),) if luck.source != "history" else ()),
        Column("rows", figures=True),
        Column("base's seeds", figures=True),
        Column("head's seeds", figures=True),
    )
    sources = tuple(_errors(one, luck) for one in luck.changes if one.low is not None or one.base_values)
    if not sources:
        return (judged,)
    caption = "The standard error of the change, by its source"
    return (judged, Paragraph((f"{caption}:",)), Table(caption, parts, sources))


def _errors(one: ProcedureChange, luck: Training) -> tuple[Cell, ...]:
    errors = (one.rows_error, one.base_error, one.head_error)
    places = formatting.decimals(max((error for error in errors if error), default=None)) + 1
    return (
        Cell((Code(one.metric),), one.metric),
        *((Cell((_picture(one),)),) if luck.source != "history" else ()),
        *(Cell((DASH if error is None else formatting.fixed(error, places),), error) for error in errors),
    )


def _row(one: ProcedureChange) -> tuple[Cell, ...]:
    known = one.low is not None and one.high is not None
    spread = ((one.high or 0.0) - (one.low or 0.0)) / 2 if known else None
    if spread is None:
        values = (*one.base_values, *one.head_values)
        spread = (max(values) - min(values)) if values else None
    value = one.head if one.head is not None else one.base
    places = formatting.decimals(spread, value) if value is not None else 4
    figures = [
        Cell((DASH if figure is None else formatting.fixed(figure, places),), figure) for figure in (one.base, one.head)
    ]
    change, whisker = DASH, None
    if one.change is not None:
        change = formatting.fixed(one.change, places, sign=True)
        if one.low is not None and one.high is not None:
            change += f" {formatting.interval(one.low, one.high, places)}"
            farthest = max(abs(one.low), abs(one.high))
            whisker = Whisker(one.low, one.change, one.high, farthest) if farthest else None
    arrow = "↑" if one.better == "higher" else "↓"
    return (
        Cell((Code(one.metric), f" {arrow}"), one.metric),
        Cell((Judged(one.judgement),), one.judgement),
        *figures,
        Cell((change,), one.change, whisker),
    )


def _picture(one: ProcedureChange) -> Part:
    """Draw each training of both sides on one line, from the lowest value to the highest."""
    values = (*one.base_values, *one.head_values)
    if not values:
        return DASH
    dots = (*(Dot("base", value) for value in one.base_values), *(Dot("head", value) for value in one.head_values))
    return Strip(min(values), max(values), dots)
