"""What a reader is told of the figures: metrics, slices and curves, each to the digits that its interval allows."""

from lockgate import formatting
from lockgate.power import smallest_shown
from lockgate.rendering.document import (
    DASH,
    Block,
    Bullets,
    Cell,
    Chart,
    Code,
    Column,
    Judged,
    Line,
    Mark,
    Paragraph,
    Part,
    Section,
    Strong,
    Table,
    Whisker,
    listed,
)
from lockgate.result import Comparison, MetricChange, Result, SliceChange

WORST_SHOWN = 5
UNCHANGED = "unchanged"


def metrics(result: Result) -> Section | None:
    """Every metric of the policy, what the intervals rest on, and how much other seeds would move them."""
    if not result.metrics:
        return None
    compared = result.base is not None
    columns = (
        Column("metric"),
        *((Column("judgement"), Column("base", figures=True)) if compared else ()),  # a phone cuts what comes last
        Column("head", figures=True),
        *((Column("change, 95 % interval", figures=True),) if compared else ()),
    )
    rows = tuple(_metric_row(metric, compared=compared) for metric in result.metrics)
    notes = tuple((Code(metric.name), ": ", metric.note) for metric in result.metrics if metric.note)
    blocks: list[Block] = [Table("Metrics, base and head", columns, rows)]
    blocks += [Bullets(notes)] if notes else []
    blocks += [Paragraph(line) for line in (*_basis(result), *_seeds(result)) if line]
    return Section("metrics", "Metrics", _tally(result.metrics), tuple(blocks))


def _metric_row(metric: MetricChange, *, compared: bool) -> tuple[Cell, ...]:
    arrow = "↑" if metric.better == "higher" else "↓"
    name = Cell((Code(metric.name), f" {arrow}"), metric.name)
    base, head, change = _figures(metric)
    if not compared:
        return (name, head)
    return (name, Cell((_judged(metric),), metric.judgement), base, head, change)


def _judged(of: MetricChange | SliceChange) -> Part:
    """Return the judgement; that of two equal figures is no judgement at all."""
    return UNCHANGED if _is_unchanged(of) else Judged(of.judgement)


def _is_unchanged(of: MetricChange | SliceChange) -> bool:
    """Say whether base and head are the same to the last digit, on every row that they were compared on."""
    return of.base is not None and of.base == of.head and not (of.change or of.low or of.high)


def _figures(of: MetricChange | SliceChange, reach: float | None = None) -> tuple[Cell, Cell, Cell]:
    """Base, head and change with its interval, to the digits that the interval allows."""
    spread = (of.high - of.low) / 2 if of.low is not None and of.high is not None else of.change
    known = of.head if of.head is not None else of.base
    places = formatting.decimals(spread, known)
    base, head = (
        Cell((DASH if value is None else formatting.fixed(value, places),), value) for value in (of.base, of.head)
    )
    if of.change is None:
        return base, head, Cell((DASH,))
    if not (of.change or of.low or of.high):
        return base, head, Cell(("0",), 0.0)
    words = formatting.fixed(of.change, places, sign=True)
    if of.low is None or of.high is None:
        return base, head, Cell((words,), of.change)
    farthest = max(abs(of.low), abs(of.high))
    whisker = Whisker(of.low, of.change, of.high, max(farthest, reach or 0)) if farthest else None
    return base, head, Cell((f"{words} {formatting.interval(of.low, of.high, places)}",), of.change, whisker)


def _basis(result: Result) -> tuple[Line, ...]:
    """What the intervals rest on."""
    rows = result.comparison
    if rows.refused:
        return ((Mark("attention"), " ", Strong("Not compared row by row:"), " ", rows.refused),)
    if rows.rows_shared is None:
        return ()
    shared = formatting.count(rows.rows_shared, "test row")
    if rows.rows_base == rows.rows_head == rows.rows_shared:
        basis = f"Paired on the same {shared}{_clusters(rows)}"
    else:
        sides = f"base has {rows.rows_base or 0:,}, head {rows.rows_head or 0:,}"
        basis = f"Compared on the {shared} that both sides share ({sides}){_clusters(rows)}"
    methods: dict[str, list[str]] = {}
    for metric in result.metrics:
        if metric.method:
            methods.setdefault(metric.method, []).append(metric.name)
    parts: list[Part] = [basis]
    for number, (method, names) in enumerate(methods.items()):
        of: Line = (" for ", *listed(tuple(names))) if len(methods) > 1 else ()
        parts += [("; " if number else ": ") + method, *of]
    return ((*parts, ". Chance in the choice of test rows is covered, chance in training is not."), *_power(result))


def _clusters(rows: Comparison) -> str:
    """Say which of the rows were drawn together, if the policy declares it."""
    return f" in {rows.clusters:,} groups by {rows.cluster}" if rows.clusters is not None else ""


def _power(result: Result) -> tuple[Line, ...]:
    """Say which change this test set shows four times in five, so that noise is not read as "no change"."""
    for metric in result.metrics:
        if (least := smallest_shown(metric)) is not None:
            places = formatting.decimals(least)
            return (
                ("These rows show a change of ", Code(metric.name), f" from {formatting.fixed(least, places)} on."),
            )
    return ()


def _seeds(result: Result) -> tuple[Line, ...]:
    return tuple(
        (
            f"Trained anew under {formatting.count(len(spread.seeds), 'seed')}, head's ",
            Code(spread.metric),
            f" came out between {formatting.fixed(min(spread.values), places)}"
            f" and {formatting.fixed(max(spread.values), places)}.",
        )
        for spread in result.seeds
        if spread.values
        for places in [formatting.decimals(max(spread.values) - min(spread.values), spread.values[0])]
    )


def _tally(metrics: tuple[MetricChange | SliceChange, ...]) -> str:
    told = [UNCHANGED if _is_unchanged(metric) else metric.judgement for metric in metrics]
    counted = [
        (word, told.count(word)) for word in ("worse", "better", "noise", UNCHANGED, "unjudged", "new", "removed")
    ]
    return ", ".join(f"{number:,} {word}" for word, number in counted if number)


def _slice_table(caption: str, slices: tuple[SliceChange, ...], shown: int) -> Table:
    """One row a slice; intervals of one metric are drawn on one scale. A single metric needs no column of its own."""
    metrics = {one.metric for one in slices}
    reach = dict.fromkeys(metrics, 0.0)
    for one in slices:
        reach[one.metric] = max([reach[one.metric], *(abs(end) for end in (one.low, one.high) if end is not None)])
    columns = (
        Column("slice"),
        Column("judgement"),
        *((Column("metric"),) if len(metrics) > 1 else ()),
        Column("rows", figures=True),
        Column("base", figures=True),
        Column("head", figures=True),
        Column("change, 95 % interval", figures=True),
        Column("p", figures=True),
    )
    rows = tuple(
        (
            Cell((Code(f"{one.column} = {one.value}"),), f"{one.column} = {one.value}"),
            Cell((_judged(one), *((f" ({one.note})",) if one.note else ())), one.judgement),
            *((Cell((Code(one.metric),), one.metric),) if len(metrics) > 1 else ()),
            Cell((f"{one.rows:,}",), one.rows),
            *_figures(one, reach[one.metric]),
            Cell((DASH if one.adjusted_p is None else formatting.probability(one.adjusted_p),), one.adjusted_p),
        )
        for one in slices[:shown]
    )
    return Table(caption, columns, rows, more=len(slices) - len(rows))


def _slice_basis(slices: tuple[SliceChange, ...]) -> Paragraph:
    names = tuple(dict.fromkeys(one.metric for one in slices))
    return Paragraph((*listed(names), " on each slice; p is adjusted for looking at many (Benjamini and Hochberg)."))


def hurt(result: Result) -> Section | None:
    """The slices that got significantly worse: what an average hides."""
    worse = tuple(one for one in result.slices if one.judgement == "worse")
    if not worse:
        return None
    table = _slice_table("The slices that got worse", worse, WORST_SHOWN)
    aside = f"{len(worse):,} of {formatting.count(len(result.slices), 'slice')}"
    return Section("hurt", "Worse on slices", aside, (table, _slice_basis(worse)))


def slices(result: Result) -> Section | None:
    """Every slice that was looked at."""
    if not result.slices:
        return None
    table = _slice_table("Every slice, the worst first", result.slices, len(result.slices))
    aside = _tally(result.slices)
    return Section("slices", "Slices", aside, (table, _slice_basis(result.slices)), folded=True)


def curves(result: Result) -> Section | None:
    """The plots of the policy."""
    if not result.curves:
        return None
    blocks: list[Block] = [Chart(curve) for curve in result.curves if curve.base or curve.head]
    notes = tuple((Code(curve.title), ": ", curve.note) for curve in result.curves if curve.note)
    blocks += [Bullets(notes)] if notes else []
    return Section("curves", "Curves", formatting.count(len(result.curves), "plot"), tuple(blocks), folded=True)
