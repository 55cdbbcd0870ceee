"""What stands beside the metrics: operating point, importance of columns, data that differs, sizes and times."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from lockgate import formatting
from lockgate.rendering.document import (
    BASE,
    CHANGE,
    DASH,
    HEAD,
    Block,
    Cell,
    Code,
    Column,
    Dot,
    Judged,
    Line,
    Paragraph,
    Part,
    Section,
    Side,
    Strip,
    Table,
    Whisker,
)
from lockgate.rendering.figures import UNCHANGED, figures, methods, own_rows
from lockgate.result import DataDiff, Difference, MetricChange, OperatingPoint, Result

T = TypeVar("T")


def operating(result: Result) -> Section | None:
    """What the two models do at the threshold of the policy: in one sentence, and counted."""
    at = result.operating_point
    if at is None:
        return None
    positives = at.base.true_positives + at.base.false_negatives
    others = at.base.false_positives + at.base.true_negatives
    pairs = (
        (f"{at.positives} found, of {positives:,}", at.base.true_positives, at.head.true_positives, at.found),
        (f"false alarms, of {others:,} others", at.base.false_positives, at.head.false_positives, at.false_alarms),
    )
    columns = (
        Column("on the shared rows"),
        Column("judgement"),
        BASE,
        HEAD,
        CHANGE,
    )
    rows: list[tuple[Cell, ...]] = [
        (
            Cell((name,), name),
            Cell((_word(difference),), difference.judgement),
            Cell((f"{base:,}",), base),
            Cell((f"{head:,}",), head),
            _counted(difference),
        )
        for name, base, head, difference in pairs
    ]
    if at.cost is not None and at.cost_base is not None and at.cost_head is not None:
        rows.append(_cost_row(at, at.cost))
    table = Table(
        "What the threshold sorts rightly and wrongly", columns, tuple(rows), folded="counted, with intervals"
    )
    same = at.base == at.head
    aside = "unchanged" if same else ""
    blocks = (Paragraph((_in_words(at),)), table)
    return Section("operating", f"At the threshold {at.threshold:.4g}", aside, blocks, folded=same)


def _in_words(at: OperatingPoint) -> str:
    """Say what changes for those who act on the scores: ``212 more late flights found, 340 more false alarms``."""
    told = [_changed(at.found, f"{at.positives} found"), _changed(at.false_alarms, "false alarms")]
    told[0] = f"{told[0][0].upper()}{told[0][1:]}"
    if at.cost is None or at.cost_base is None:
        return f"{', '.join(told)}."
    if not at.cost.change:
        return f"{', '.join(told)}; the cost is the same."
    way = "rises" if at.cost.change > 0 else "falls"
    share = f" by {abs(at.cost.change) / at.cost_base:.1%}" if at.cost_base else ""
    return f"{', '.join(told)}; the cost {way}{share}{_chance(at.cost)}."


def _changed(difference: Difference, what: str) -> str:
    if not difference.change:
        return f"as many {what}"
    return f"{abs(difference.change):,.0f} {'more' if difference.change > 0 else 'fewer'} {what}{_chance(difference)}"


def _chance(difference: Difference) -> str:
    return " (may be chance)" if difference.judgement == "noise" else ""


def _word(of: Difference) -> Part:
    return Judged(of.judgement) if of.change or of.low or of.high else UNCHANGED


def _counted(of: Difference) -> Cell:
    if not (of.change or of.low or of.high):
        return Cell(("0",), 0.0)
    told = formatting.fixed(of.change, 0, sign=True)
    if of.low is None or of.high is None:
        return Cell((told,), of.change)
    farthest = max(abs(of.low), abs(of.high))
    whisker = Whisker(of.low, of.change, of.high, farthest) if farthest else None
    return Cell((f"{told} {formatting.interval(of.low, of.high, 0)}",), of.change, whisker)


def _cost_row(at: OperatingPoint, cost: Difference) -> tuple[Cell, ...]:
    each = f"{at.cost_missed or 0:.4g} for each missed, {at.cost_false_alarm or 0:.4g} for each false alarm"
    name = f"cost of 1,000 rows ({each})"
    thousand = MetricChange(
        "cost",
        "lower",
        1000 * (at.cost_base or 0.0),
        1000 * (at.cost_head or 0.0),
        1000 * cost.change,
        None if cost.low is None else 1000 * cost.low,
        None if cost.high is None else 1000 * cost.high,
        cost.judgement,
    )
    return (Cell((name,), name), Cell((_word(cost),), cost.judgement), *figures(thousand))


def importance(result: Result) -> Section | None:
    """What the model loses without each column, with error bars."""
    if not result.importance:
        return None
    ends = [
        (value - (error or 0.0), value + (error or 0.0))
        for one in result.importance
        for value, error in ((one.base, one.error_base), (one.head, one.error_head))
        if value is not None
    ]
    low, high = min(0.0, *(end for end, _ in ends)), max(end for _, end in ends)
    rows = []
    for one in result.importance:
        pairs: tuple[tuple[Side, float | None, float | None], ...] = (
            ("base", one.base, one.error_base),
            ("head", one.head, one.error_head),
        )
        dots = tuple(Dot(side, value, error or 0.0) for side, value, error in pairs if value is not None)
        rows.append(
            (
                Cell((Code(one.column),), one.column),
                Cell((_with_error(one.base, one.error_base),), one.base),
                Cell((_with_error(one.head, one.error_head),), one.head),
                Cell((Strip(low, high, dots),)),
            )
        )
    columns = (Column("column"), BASE, HEAD, Column("○ base, ● head"))
    loss = result.importance[0].loss
    known = any(one.error_head is not None for one in result.importance)
    bars = "± is one standard error." if known else "The file has no standard errors."
    told: Line = (Code(loss), " when the column is shuffled or left out. ", bars)
    blocks = (Paragraph(told), Table("What the model loses without each column", columns, tuple(rows)))
    return Section("importance", "Importance of columns", formatting.count(len(rows), "column"), blocks, folded=True)


def _with_error(value: float | None, error: float | None) -> str:
    if value is None:
        return DASH
    places = formatting.decimals(error, value) if error else min(4, formatting.decimals(None, value))
    return formatting.fixed(value, places) + (f" ± {formatting.fixed(error, places)}" if error else "")


_LARGE, _SMALL = 0.25, 0.1  # of the population stability index, as it is usually read


def data(result: Result) -> Section | None:
    """The tables that differ: rows, days, and the columns that moved."""
    if not result.data:
        return None
    blocks: list[Block] = []
    for one in result.data:
        blocks.append(Paragraph((Code(one.path), ": ", _table_in_words(one))))
        columns = (
            Column("column"),
            Column("shift"),
            BASE,
            HEAD,
            Column("stability index", figures=True),
        )
        moved = tuple(shift for shift in one.columns if shift.stability > _SMALL)
        rows = tuple(
            (
                Cell((Code(shift.column),), shift.column),
                Cell((_size_of(shift.stability),), shift.stability),
                Cell((shift.before,), shift.before),
                Cell((shift.after,), shift.after),
                Cell((formatting.fixed(shift.stability, 3),), shift.stability),
            )
            for shift in moved
        )
        blocks += [Table("The columns that moved", columns, rows)] if rows else []
        others = [shift for shift in one.columns if shift not in moved]
        if others:
            most = formatting.fixed(others[0].stability, 3)
            told = "No other column moved" if moved else "No column moved"
            blocks.append(Paragraph((f"{told}: the stability index is at most {most} (", Code(others[0].column), ").")))
    return Section(
        "data",
        "Data",
        f"{formatting.count(len(result.data), 'table')} differ{'s' * (len(result.data) == 1)}",
        tuple(blocks),
    )


def _table_in_words(one: DataDiff) -> str:
    if one.rows_base is None or one.rows_head is None:
        return f"not compared: {one.note}"
    rows = (
        f"{one.rows_base:,} → {one.rows_head:,} rows" if one.rows_base != one.rows_head else f"{one.rows_head:,} rows"
    )
    before, after = (f"{first} to {last}" if first else "" for first, last in
                     ((one.first_base, one.last_base), (one.first_head, one.last_head)))  # fmt: skip
    days = f", {before} → {after}" if before != after else f", {after}" if after else ""
    return f"{rows}{days}" + (f"; {one.note}" if one.note else "")


def _size_of(stability: float) -> str:
    return "large" if stability > _LARGE else "small"


def beside(result: Result) -> Section | None:
    """What else there is of the two models side by side, and how the intervals were found."""
    rows = list(_compared_rows(result))
    told = methods(result)
    if not rows and not told:
        return None
    blocks: list[Block] = []
    if rows:
        columns = (Column("figure"), BASE, HEAD)
        blocks.append(
            Table("Size, time and rows", columns, tuple(tuple(Cell((text,), text) for text in row) for row in rows))
        )
    own = own_rows(result)
    blocks += [own] if own else []
    blocks += [Paragraph(told)] if told else []
    ours = [row for row in rows if row[0] in ("model", "test rows")]  # no name of a repository may stand there
    aside = ", ".join(f"{name} {base} → {head}" if base != head else f"{name} {head}" for name, base, head in ours)
    return Section("beside", "Beside base", aside, tuple(blocks), folded=True)


def _compared_rows(result: Result) -> Iterable[tuple[str, str, str]]:
    file, rows = result.model_file, result.comparison
    if file is not None:
        yield "model", _or_dash(file.base, formatting.size), _or_dash(file.head, formatting.size)
    if rows.rows_head is not None:
        yield "test rows", _or_dash(rows.rows_base, "{:,}".format), _or_dash(rows.rows_head, "{:,}".format)
    if rows.positives_head is not None:
        base, head = _share(rows.positives_base, rows.rows_base), _share(rows.positives_head, rows.rows_head)
        yield "positives", base, head
    if rows.target_base is not None and rows.target_head is not None:
        places = formatting.decimals(None, rows.target_base)
        yield (
            "mean of the targets",
            formatting.fixed(rows.target_base, places),
            formatting.fixed(rows.target_head, places),
        )
    for stage in result.execution.stages if result.execution else ():
        if stage.status == "ran":
            before = _or_dash(stage.seconds_base, formatting.duration)
            yield f"time of {stage.name}", before, formatting.duration(stage.seconds)


def _or_dash(value: T | None, words: Callable[[T], str]) -> str:
    return DASH if value is None else words(value)


def _share(positives: int | None, rows: int | None) -> str:
    return f"{positives:,} ({positives / rows:.1%})" if positives is not None and rows else DASH
