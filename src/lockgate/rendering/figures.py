"""What a reader is told of the figures: metrics, slices and curves, each to the digits that its interval allows."""

from dataclasses import replace

from lockgate import formatting
from lockgate.power import smallest_shown
from lockgate.rendering.document import (
    BASE,
    CHANGE,
    DASH,
    HEAD,
    Block,
    Bullets,
    Cell,
    Chart,
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
    Strong,
    Table,
    Whisker,
    listed,
)
from lockgate.result import (
    ClassChange,
    Comparison,
    Curve,
    Judgement,
    MetricChange,
    Result,
    SliceChange,
    Training,
)

Compared = MetricChange | SliceChange | ClassChange
WORST_SHOWN = 3
MANY_LOOKS = 50
"""Looks at one test set from which on a policy that plans none is warned."""
UNCHANGED = "unchanged"
OVER_SEEDS = "over seeds"  # the page knows the column by this title


def metrics(result: Result) -> Section | None:
    """Every metric of the policy, what the intervals rest on, and how much other seeds would move them."""
    if not result.metrics:
        return None
    compared = result.base is not None
    over_seeds = _over_seeds(result.training) if compared else {}
    apart = any(metric.shared_base is not None for metric in result.metrics)  # each side has rows of its own
    on = ", shared" if apart else ""
    columns = (
        Column("metric"),
        *((Column("this model"),) if compared else ()),  # a phone cuts what comes last
        *((Column(OVER_SEEDS),) if over_seeds else ()),
        *((Column(f"base{on}", figures=True),) if compared else ()),
        Column(f"head{on}", figures=True),
        *((CHANGE,) if compared else ()),
    )
    shown = tuple(_on_shared_rows(metric) if apart else metric for metric in result.metrics)
    rows = tuple(_metric_row(metric, over_seeds, compared=compared) for metric in shown)
    notes = tuple((Code(metric.name), ": ", metric.note) for metric in result.metrics if metric.note)
    blocks: list[Block] = [
        Table(f"Metrics, base and head{', on the rows that both have' if apart else ''}", columns, rows)
    ]
    blocks += [Bullets(notes)] if notes else []
    blocks += [Paragraph(line) for line in (*_basis(result), looks_at(result)) if line]
    blocks += _seeds(result)
    return Section("metrics", "Metrics", tally(shown), tuple(blocks))


def at_confidence(section: Section, confidence: float) -> Section:
    """Return a section with the confidence of the intervals in the titles of its columns."""
    if confidence == 0.95:
        return section
    change = replace(CHANGE, title=f"change, {formatting.percent(confidence)} interval")

    def told(block: Block) -> Block:
        if not isinstance(block, Table):
            return block
        return replace(block, columns=tuple(change if one == CHANGE else one for one in block.columns))

    return replace(section, blocks=tuple(map(told, section.blocks)))


def _over_seeds(luck: Training | None) -> dict[str, Judgement]:
    """Return the judgement on the procedures, where their trainings were repeated: rows and seeds together."""
    return {one.metric: one.judgement for one in luck.changes} if luck is not None and luck.is_known else {}


def _metric_row(metric: MetricChange, over_seeds: dict[str, Judgement], *, compared: bool) -> tuple[Cell, ...]:
    arrow = "↑" if metric.better == "higher" else "↓"
    name = Cell((Code(metric.name), f" {arrow}"), metric.name)
    base, head, change = figures(metric)
    if not compared:
        return (name, head)
    word = over_seeds.get(metric.name, "unjudged")
    seeds = (Cell((Judged(word),), word),) if over_seeds else ()
    return (name, Cell((judged_word(metric),), metric.judgement), *seeds, base, head, change)


def _on_shared_rows(metric: MetricChange) -> MetricChange:
    """Return a metric with the figures on the rows that both sides have, the only ones that can be compared."""
    return replace(metric, base=metric.shared_base, head=metric.shared_head)


def own_rows(result: Result) -> Table | None:
    """Show what each side's own file says where each is of other rows: no two of these figures are compared."""
    if all(metric.shared_base is None for metric in result.metrics):
        return None
    sides = (("base", result.comparison.rows_base), ("head", result.comparison.rows_head))
    columns = (
        Column("each side's own rows"),
        *(Column(f"{name}: {formatting.count(rows or 0, 'row')}", figures=True) for name, rows in sides),
    )
    rows = tuple((Cell((Code(metric.name),), metric.name), *figures(metric)[:2]) for metric in result.metrics)
    return Table("What each side's metrics file says", columns, rows)


def judged_word(of: Compared) -> Part:
    """Return the judgement; that of two equal figures is no judgement at all."""
    return UNCHANGED if _is_unchanged(of) else Judged(of.judgement)


def _is_unchanged(of: Compared) -> bool:
    """Say whether base and head are the same to the last digit, on every row that they were compared on."""
    return of.base is not None and of.base == of.head and not (of.change or of.low or of.high)


def figures(of: Compared, reach: float | None = None) -> tuple[Cell, Cell, Cell]:
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
        basis = f"Compared on the {shared} that both sides share{_clusters(rows)} ({sides})"
    if not any(metric.method for metric in result.metrics):
        return ((basis, "."),)
    known = result.training is not None and result.training.is_known
    covered = "The intervals cover chance in the choice of test rows, not chance in training"
    covered += ", which is below." if known else "."
    return ((basis, ". ", *_power(result), covered),)


def looks_at(result: Result) -> Line:
    """Say how often this test set was looked at, what that costs, and what brings another."""
    looks = result.looks
    if looks is None:
        return ()
    if looks.number is None:
        return (Mark("attention"), " How often this test set was looked at is not known: ", looks.note, ".")
    if looks.planned is None:
        return _unplanned(looks.number)
    said: list[Part] = [Mark("attention"), " "] if looks.spent else []
    said += [Strong(f"Look {looks.number:,} of {looks.planned:,}"), " at this test set"]
    each = formatting.percent(result.comparison.confidence)
    whole = formatting.percent(1 - looks.confidence)
    if looks.spent:
        said.append(": more than were planned, so better and worse are provisional.")
    else:
        said.append(
            f". The intervals are {each} intervals: of {looks.planned:,} changes that change nothing, one is called "
            f"better or worse with a probability of at most {whole}."
        )
    if looks.refreshed_by:
        now: Line = (" (now ", Code(looks.refreshed_value), ")") if looks.refreshed_value else ()
        said += [" A new value of ", Code(looks.refreshed_by), *now, " brings other test rows and starts a new count."]
    elif looks.spent:
        said.append(" Other test rows start a new count.")
    return tuple(said)


def _unplanned(number: int) -> Line:
    if number == 1:
        return ("Look 1 at this test set.",)
    warned: Line = (Mark("attention"), " ") if number > MANY_LOOKS else ()
    luck = formatting.percent(chance_of_one(number), 2)
    return (
        *warned,
        Strong(f"Look {number:,}"),
        f" at this test set. Nothing is corrected for that: of {number:,} changes that change nothing, at least one is "
        f"called better by chance with a probability of about {luck}. ",
        Code("test_set: {looks: 50}"),
        " in the policy corrects for it.",
    )


def chance_of_one(number: int) -> float:
    """Return how likely it is that one of so many independent changes that change nothing is called better in one
    metric, by 95 % intervals."""
    return float(1 - 0.975**number)


def methods(result: Result) -> Line:
    """Say by which method each interval was found."""
    found: dict[str, list[str]] = {}
    for metric in result.metrics:
        if metric.method:
            found.setdefault(metric.method, []).append(metric.name)
    parts: list[Part] = []
    for number, (method, names) in enumerate(found.items()):
        of: Line = (" for ", *listed(tuple(names))) if len(found) > 1 else ()
        parts += [("; " if number else "Intervals: ") + method, *of]
    return (*parts, ".") if parts else ()


def _clusters(rows: Comparison) -> str:
    """Say which of the rows were drawn together, if the policy declares it."""
    return f" in {rows.clusters:,} groups by {rows.cluster}" if rows.clusters is not None else ""


def _power(result: Result) -> Line:
    """Say which change this test set shows four times in five, so that noise is not read as "no change"."""
    for metric in result.metrics:
        if (least := smallest_shown(metric, result.comparison.confidence)) is not None:
            places = formatting.decimals(least)
            amount = formatting.fixed(least, places)
            return (f"They can show a change of {amount} or more in ", Code(metric.name), ". ")
    return ()


def _seeds(result: Result) -> list[Block]:
    """Draw each metric under the seeds that head was trained with again, beside base's and head's own value."""
    rows = []
    own = {metric.name: metric for metric in result.metrics}
    for spread in result.seeds:
        if not spread.values:
            continue
        metric = own.get(spread.metric)
        known = [value for value in (metric.base, metric.head) if value is not None] if metric else []
        low, high = min(*spread.values, *known), max(*spread.values, *known)
        places = formatting.decimals(max(spread.values) - min(spread.values), spread.values[0])
        ends = (formatting.fixed(end, places) for end in (min(spread.values), max(spread.values)))
        dots = tuple(Dot("head", value) for value in spread.values)
        if metric and metric.base is not None:
            dots = (Dot("base", metric.base), *dots)
        rows.append(
            (
                Cell((Code(spread.metric),), spread.metric),
                Cell((" to ".join(ends),), min(spread.values)),
                Cell((Strip(low, high, dots),)),
            )
        )
    if not rows:
        return []
    seeds = formatting.count(len(result.seeds[0].seeds), "seed")
    columns = (Column("metric"), Column(f"head under {seeds}"), Column("○ base, ● head"))
    return [Table("Head trained again under other seeds", columns, tuple(rows))]


def tally(metrics: tuple[Compared, ...]) -> str:
    """Say how many of these are worse, better, and so on."""
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
    known = any(one.positives is not None for one in slices)
    columns = (
        Column("slice"),
        Column("judgement"),
        *((Column("metric"),) if len(metrics) > 1 else ()),
        Column("rows", figures=True),
        *((Column("positives", figures=True),) if known else ()),
        BASE,
        HEAD,
        CHANGE,
        Column("p", figures=True),
    )
    rows = tuple(
        (
            Cell((Code(f"{one.column} = {one.value}"),), f"{one.column} = {one.value}"),
            Cell((judged_word(one),), one.judgement),
            *((Cell((Code(one.metric),), one.metric),) if len(metrics) > 1 else ()),
            Cell((f"{one.rows:,}",), one.rows),
            *((Cell((DASH if one.positives is None else f"{one.positives:,}",), one.positives),) if known else ()),
            *figures(one, reach[one.metric]),
            Cell((DASH if one.adjusted_p is None else formatting.probability(one.adjusted_p),), one.adjusted_p),
        )
        for one in slices[:shown]
    )
    return Table(caption, columns, rows, more=len(slices) - len(rows))


def _slice_notes(slices: tuple[SliceChange, ...]) -> list[Block]:
    notes = tuple((Code(f"{one.column} = {one.value}"), ": ", one.note) for one in slices if one.note)
    return [Bullets(notes)] if notes else []


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
    """Every slice that was looked at and is not among those that got worse, which :func:`hurt` shows."""
    shown = [one for one in result.slices if one.judgement == "worse"][:WORST_SHOWN]
    others = tuple(one for one in result.slices if one not in shown)
    if not others:
        return None
    table = _slice_table("Every other slice, the worst first" if shown else "Every slice", others, len(others))
    blocks = (table, *_slice_notes(others), _slice_basis(others))
    return Section("slices", "Other slices" if shown else "Slices", tally(others), blocks, folded=True)


def curves(result: Result) -> Section | None:
    """The plots of the policy."""
    if not result.curves:
        return None
    blocks: list[Block] = [Chart(curve) for curve in result.curves if curve.base or curve.head]
    blocks += [_points(curve) for curve in result.curves if curve.rows_base or curve.rows_head]
    notes = tuple((Code(curve.title), ": ", curve.note) for curve in result.curves if curve.note)
    blocks += [Bullets(notes)] if notes else []
    return Section("curves", "Curves", formatting.count(len(result.curves), "plot"), tuple(blocks), folded=True)


def _points(curve: Curve) -> Table:
    """The points themselves, and how many rows stand behind each."""
    sides = [
        (name, tuple((*point, number) for point, number in zip(points, rows, strict=False)))
        for name, points, rows in (("base", curve.base, curve.rows_base), ("head", curve.head, curve.rows_head))
        if rows
    ]
    rows = []
    largest = [max(abs(point[axis]) for _, points in sides for point in points) for axis in (0, 1)]
    places = [min(3, formatting.decimals(None, value)) for value in largest]
    for place in range(max(len(points) for _, points in sides)):
        cells = [Cell((f"{place + 1}",), place)]
        for _, points in sides:
            there = points[place] if place < len(points) else None
            written = tuple(map(formatting.fixed, there, (*places, 0))) if there else ()
            cells += [Cell((words,), value) for words, value in zip(written, there or (), strict=True)]
            cells += [Cell((DASH,))] * (3 - len(written))
        rows.append(tuple(cells))
    titles = (f"{name} {axis}" for name, _ in sides for axis in ("x", "y", "rows"))
    columns = (Column("point"), *(Column(title, figures=True) for title in titles))
    return Table(f"{curve.title}: {curve.y} (y) over {curve.x} (x), and rows", columns, tuple(rows))
