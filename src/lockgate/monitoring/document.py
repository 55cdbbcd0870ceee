"""What a person reads of a report: the alarms first, then time, then the newest window in full."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from lockgate import formatting
from lockgate.formatting import count, fixed, title
from lockgate.monitoring.drift import Drift, Meaning
from lockgate.monitoring.finding import Finding, Part, Verdict
from lockgate.monitoring.monitor import Report
from lockgate.monitoring.quality import BETTER, EXCESS, Live
from lockgate.rendering.document import (
    DASH,
    Block,
    Bullets,
    Cell,
    Chart,
    Code,
    Column,
    Document,
    Judged,
    Line,
    Mark,
    Moment,
    Paragraph,
    Section,
    Strong,
    Table,
    Timeline,
    Whisker,
    cut,
)
from lockgate.result import Curve, Outcome

SCHEMA = "lockgate.monitor/1"
UNKNOWN = "unknown"
BRIEF_ROWS = 10  # of a table in a job's summary
SIGNS: dict[Verdict, Outcome] = {"calm": "passed", "look": "attention", "alarm": "failed", "not judged": "attention"}
MEANINGS: dict[Meaning, str] = {
    "unchanged": "unchanged",
    "harmless": "changed, no damage",
    "can cost": "changed, may cost",
    "beside a loss": "changed, beside a loss",
}


def document(report: Report) -> Document:
    """Return all of it, for the page and the terminal."""
    newest = report.findings[-1] if report.findings else None
    sections = [_alarms(report), _over_time(report), _windows(report)]
    if newest is not None:
        for part in newest.parts:
            sections += _of_part(newest, part, report)
    sections.append(_notes(report))
    pages = report.pages
    judged = [one for one in report.findings if one.verdict != "not judged"]
    verdict: Verdict = "alarm" if pages else "not judged"
    if judged and not pages:
        verdict = "look" if judged[-1].verdict == "look" else "calm"
    words = {
        "alarm": count(len(pages), "alarm"),
        "look": "no alarm, and the newest window is worse than promised",
        "not judged": "nothing could be judged yet",
    }.get(verdict, verdict)
    name = f"{report.model} in {report.environment}"
    return Document(
        title=f"{name}: {words}",
        outcome=SIGNS[verdict],
        verdict=(Mark(SIGNS[verdict]), f" {name}: {words}"),
        lead=_lead(report),
        sections=tuple(section for section in sections if section is not None),
        schema=SCHEMA,
    )


def plain(report: Report) -> Document:
    """Return what a terminal shows: no picture."""
    whole = document(report)
    kept = tuple(section for section in whole.sections if section.name not in ("time", "calibration"))
    return replace(whole, sections=kept)


def brief(report: Report) -> Document:
    """Return what a job's summary shows: no picture, and the first rows of each table."""
    whole = document(report)
    kept = [cut(section, BRIEF_ROWS) for section in plain(report).sections]
    return replace(whole, sections=tuple(kept))


def metric_title(metric: str) -> str:
    """Return what people call a metric."""
    return "log loss over the baseline" if metric == EXCESS else title(metric)


def _lead(report: Report) -> Line:
    if not report.findings:
        return ("No window is over yet: there is nothing to look at.",)
    first, last = report.findings[0], report.findings[-1]
    rows = sum(one.rows for one in report.findings)
    labelled = sum(one.labelled for one in report.findings)
    share = f"{labelled / rows:.0%} of them with an outcome" if rows else "none with an outcome"
    span = first.window if first is last else f"{first.window} to {last.window}"
    number = count(len(report.findings), "window")
    return (f"{number}, {span}: {count(rows, 'score')}, {share}. Asked on {report.now[:10]}.",)


def _alarms(report: Report) -> Section:
    pages = report.pages
    notes = [a for _, judgement in report.judged for a in judgement.alarms if a.open and a.severity == "note"]
    over = [a for _, judgement in report.judged for a in judgement.alarms if not a.open]
    blocks: list[Block] = []
    if pages:
        blocks.append(Bullets(tuple((alarm.text.replace("\n", " "),) for alarm in pages)))
    elif report.judged:
        blocks.append(Paragraph(("Nothing is worse than promised beyond what the policy tolerates.",)))
    else:
        blocks.append(
            Paragraph(
                ("No alarm was asked for: the policy has no `alarms:`. Below is what was seen, and nobody is woken.",)
            )
        )
    if notes:
        lead = "Worth knowing, and no reason to wake anybody: "
        blocks.append(Bullets(tuple((lead, alarm.text.replace("\n", " ")) for alarm in notes)))
    if over:
        said = tuple((f"Over since {alarm.over}: ", alarm.text.replace("\n", " ")) for alarm in over)
        blocks.append(Bullets(said))
    aside = count(len(pages), "alarm") if pages else "none"
    return Section("alarms", "Alarms", aside, tuple(blocks))


def _over_time(report: Report) -> Section | None:
    findings = report.findings[-60:]
    if len(findings) < 2:
        return None
    charts = []
    shown = [name for name in BETTER if any(_live(one, name) is not None for one in findings)]
    for name in shown:
        charts.append(_metric_over_time(name, findings))  # noqa: PERF401
    charts.append(
        Timeline("Scores", "", tuple(_moment(one, float(one.rows)) for one in findings), None, "scored", True)
    )
    moved = tuple(_moment(one, *_moved(one)) for one in findings)
    charts.append(Timeline("Change of the scores", "share of rows that moved", moved, None, "live", True))
    return Section("time", "Over time", "hollow: differs from the promise beyond chance", tuple(charts))


def _metric_over_time(name: str, findings: Sequence[Finding]) -> Timeline:
    moments, promised = [], None
    for finding in findings:
        live = _live(finding, name)
        estimate = next((e.figure for p in finding.parts[-1:] for e in p.estimates if e.metric == name), None)
        if live is None:
            moments.append(_moment(finding, None, estimate=estimate))
            continue
        moments.append(
            _moment(
                finding,
                live.figure,
                live.low,
                live.high,
                estimate=estimate,
                judged=live.found in ("worse", "better"),
            )
        )
        if live.promised is not None:
            promised = (live.promised_low, live.promised, live.promised_high)
    return Timeline(metric_title(name), "", tuple(moments), promised)


def _moment(
    finding: Finding,
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    *,
    estimate: float | None = None,
    judged: bool = False,
) -> Moment:
    label = finding.start[5:10]
    return Moment(label, value, low, high, estimate, judged, alarm=finding.verdict == "alarm")


def _moved(finding: Finding) -> tuple[float | None, float | None, float | None]:
    score = next((one for part in finding.parts[-1:] for one in part.drift if one.column == ""), None)
    return (None, None, None) if score is None else (score.share, score.low, score.high)


def _windows(report: Report) -> Section | None:
    if not report.findings:
        return None
    columns = (
        Column({"day": "day", "week": "week of", "rows": "rows from"}[report.kind]),
        Column("release"),
        Column("scores", figures=True),
        Column("outcomes", figures=True),
        Column("ROC AUC", figures=True),
        Column("over baseline", figures=True),
        Column("calibration error", figures=True),
        Column("verdict"),
    )
    rows = []
    for finding in reversed(report.findings):
        for part in finding.parts:
            share = part.labelled / part.rows if part.rows else 0.0
            rows.append(
                (
                    Cell((finding.start[:16].replace("T", " "),), finding.start),
                    Cell((Code(part.release.rpartition("@")[2]),), part.release),
                    Cell((f"{part.rows:,}",), part.rows),
                    Cell((f"{share:.0%}",), share),
                    *(_figure_cell(_of(part, name)) for name in ("roc_auc", EXCESS, "calibration_error")),
                    Cell(_verdict(finding), finding.verdict),
                )
            )
    several = {word: sum(1 for one in report.findings if one.verdict == word) for word in SIGNS}
    aside = ", ".join(f"{number} {word}" for word, number in several.items() if number)
    return Section("windows", "Windows", aside, (Table("Every window, the newest first", columns, tuple(rows)),))


def _verdict(finding: Finding) -> Line:
    if finding.verdict == "not judged" and not finding.mature:
        return (Mark("attention"), " too early")
    if finding.verdict == "look":
        worse = ", ".join(dict.fromkeys(metric_title(one.metric) for part in finding.parts for one in part.worse))
        return (Mark("attention"), f" worse in {worse}")
    weather = finding.verdict == "calm" and any(part.weather for part in finding.parts)
    return (Mark(SIGNS[finding.verdict]), f" {finding.verdict}" + (", bad for every model" if weather else ""))


def _figure_cell(live: Live | None) -> Cell:
    if live is None or live.figure is None:
        return Cell((DASH,))
    half = None if live.low is None or live.high is None else (live.high - live.low) / 2
    return Cell((fixed(live.figure, _places(half, live.figure)),), live.figure)


def _of_part(finding: Finding, part: Part, report: Report) -> list[Section | None]:
    return [
        _quality(finding, part),
        _slices(part),
        _calibration(part),
        _estimates(part, report),
        _drift(part),
        _traffic(part),
        _expected(part),
        _skew(part),
    ]


def _quality(finding: Finding, part: Part) -> Section:
    release = part.release.rpartition("@")[2]
    name = f"Live quality, {finding.window}"
    if not part.metrics:
        said = Paragraph(("No outcome of these scores is known, so nothing can be said of the quality.",))
        return Section("live", name, release, (said,))
    worse = [] if part.weather else [metric_title(one.metric) for one in part.worse]
    aside = f"{release}, {part.labelled:,} rows: " + (f"worse in {', '.join(worse)}" if worse else "as promised")
    if all(one.found == "unknown" for one in part.metrics):
        aside = f"{release}, {part.labelled:,} rows"
    blocks: list[Block] = [_quality_table("Live metrics beside the promise", part.metrics, _named)]
    if part.weather:
        blocks.append(
            Paragraph(
                (
                    Strong("Worse for every model: "),
                    "the loss is higher than promised, and beside that of the release's fixed baseline on the same "
                    "rows it is as good as promised. That is weather, not decay: retraining would change nothing.",
                )
            )
        )
    methods = {one.method for one in part.metrics if one.method}
    if "the release's clusters" in methods:
        told = (
            "This window has too few clusters of rows to say how they differ: its intervals rest on how those of the "
            "release's test rows did."
        )
        blocks.append(Paragraph((told,)))
    if any(one.metric == "calibration_error" and one.change is not None for one in part.metrics):
        told = (
            "The change of the calibration error is beside what so many rows would show of a model that is calibrated "
            "as promised: few rows show an error even of a perfect one."
        )
        blocks.append(Paragraph((told,)))
    reasons = {one.why for one in part.metrics if one.why and one.found == "unknown"}
    blocks += [Paragraph((f"{reason[:1].upper()}{reason[1:]}.",)) for reason in sorted(reasons)]
    return Section("live", name, aside, tuple(blocks))


def _named(one: Live) -> Line:
    return (metric_title(one.metric),)


def _quality_table(caption: str, lives: Sequence[Live], name: "Callable[[Live], Line]") -> Table:
    columns = (
        Column("metric"),
        Column("rows", figures=True),
        Column("promised", figures=True),
        Column("live", figures=True),
        Column("change, 95 % interval", figures=True),
        Column("is"),
    )
    return Table(caption, columns, tuple(_quality_row(one, name(one)) for one in lives))


def _quality_row(one: Live, name: Line) -> tuple[Cell, ...]:
    half = None if one.change_low is None or one.change_high is None else (one.change_high - one.change_low) / 2
    places = _places(half, one.figure)
    change = Cell((DASH,))
    if one.change is not None and one.change_low is not None and one.change_high is not None:
        text = f"{fixed(one.change, places, sign=True)} {formatting.interval(one.change_low, one.change_high, places)}"
        reach = max(abs(one.change_low), abs(one.change_high))
        change = Cell((text,), one.change, Whisker(one.change_low, one.change, one.change_high, reach))
    judged: Line = (Judged(one.found),) if one.found in ("better", "worse", "noise") else (DASH,)
    return (
        Cell(name, str(name[-1])),
        Cell((f"{one.rows:,}",), one.rows),
        Cell((DASH if one.promised is None else fixed(one.promised, places),), one.promised),
        Cell((DASH if one.figure is None else fixed(one.figure, places),), one.figure),
        change,
        Cell(judged),
    )


def _slices(part: Part) -> Section | None:
    if not part.slices:
        return None
    worse = [one for one in part.slices if one.found == "worse"]
    aside = f"{len(worse)} of {len(part.slices)} worse" if worse else f"none of {len(part.slices)} worse"
    metric = metric_title(part.slices[0].metric)
    table = _quality_table(
        f"{metric} by slice, the worst first", part.slices, lambda one: (f"{one.column} ", Code(str(one.value)))
    )
    return Section("slices", f"Slices, {metric}", aside, (table,), folded=not worse)


def _calibration(part: Part) -> Section | None:
    if len(part.calibration) < 2:
        return None
    live = tuple((one.mean_score, one.share) for one in part.calibration)
    rows = tuple(float(one.rows) for one in part.calibration)
    curve = Curve("Calibration of this window", "mean score", "share of true rows", (), live, "", True, (), rows)
    return Section("calibration", "Calibration", "", (Chart(curve),), folded=True)


def _estimates(part: Part, report: Report) -> Section | None:
    if not part.estimates:
        return None
    columns = (
        Column("metric"),
        Column("estimate", figures=True),
        Column("off by", figures=True),
        Column("off before, on average", figures=True),
        Column("off before, at most", figures=True),
    )
    rows = []
    for one in part.estimates:
        offs = [
            abs(e.off)
            for finding in report.findings
            for p in finding.parts
            if p.build == part.build and p is not part and finding.mature
            for e in p.estimates
            if e.metric == one.metric and e.off is not None
        ]
        rows.append(
            (
                Cell((metric_title(one.metric),), one.metric),
                Cell((fixed(one.figure, 3),), one.figure),
                Cell((DASH if one.off is None else fixed(one.off, 3, sign=True),), one.off),
                Cell((fixed(sum(offs) / len(offs), 3) if offs else DASH,), sum(offs) / len(offs) if offs else None),
                Cell((fixed(max(offs), 3) if offs else DASH,), max(offs) if offs else None),
            )
        )
    said = (
        "An estimate is what the scores alone make one expect, were they as well calibrated as on the release's test "
        "rows. It cannot see a change of what happens: rely on outcomes, and on an estimate as far as it was right "
        "before."
    )
    table = Table("Estimates before outcomes", columns, tuple(rows))
    return Section("estimates", "Estimated before outcomes", "a hint", (table, Paragraph((said,))), folded=True)


def _drift(part: Part) -> Section | None:
    if not part.drift:
        return None
    changed = [one for one in part.drift if one.meaning != "unchanged"]
    costly = [one for one in changed if one.meaning in ("can cost", "beside a loss")]
    aside = f"{len(changed)} of {count(len(part.drift), 'column')} changed, {len(costly)} may matter"
    columns: tuple[Column, ...] = (
        Column("column"),
        Column("rows moved, 95 % interval", figures=True),
        Column("importance", figures=True),
        Column("damage at most", figures=True),
        Column("missing", figures=True),
        Column(UNKNOWN, figures=True),
        Column("grew most"),
        Column("is"),
    )
    rows: list[tuple[Cell, ...]] = [_drift_row(one) for one in part.drift]
    if not any(one.unknown for one in part.drift):
        place = [column.title for column in columns].index(UNKNOWN)
        columns, rows = (*columns[:place], *columns[place + 1 :]), [(*r[:place], *r[place + 1 :]) for r in rows]
    table = Table("Change of requests and scores, by what it can cost", columns, tuple(rows))
    said = (
        "Rows moved is the share that would have to move for the column to look as it did on the release's test rows, "
        "beyond what days differ anyway. A column weighs as much as it decides the scores; damage is that times the "
        "share of rows that moved. "
        "Nobody is woken by a change: an alarm is given on what it does to the outcomes."
    )
    return Section("drift", "Change of requests and scores", aside, (table, Paragraph((said,))), folded=not costly)


def _drift_row(one: Drift) -> tuple[Cell, ...]:
    name: Line = (Code(one.column),) if one.column else ("the score",)
    missing = f"{one.missing:.1%}"
    if one.missing_changed:
        missing += f" (was {one.missing_promised:.1%})"
    return (
        Cell(name, one.column),
        Cell((f"{one.share:.1%} [{one.low:.1%}, {one.high:.1%}]",), one.share),
        Cell((DASH if one.importance is None else f"{one.importance:.1%}",), one.importance),
        Cell((DASH if one.damage is None else fixed(one.damage, 4),), one.damage),
        Cell((missing,), one.missing),
        Cell((DASH if one.unknown is None else f"{one.unknown:.1%}",), one.unknown),
        Cell((one.most or DASH,)),
        Cell((MEANINGS[one.meaning],), one.meaning),
    )


def _traffic(part: Part) -> Section:
    traffic = part.traffic
    days = [rows for _, rows in traffic.days]
    told = [f"{count(sum(days), 'score')} on {count(len(days), 'day')}, {min(days):,} to {max(days):,} a day"]
    told.append(f"the longest time without one was {formatting.duration(traffic.longest_gap)}")
    if traffic.latency_median is not None and traffic.latency_p99 is not None:
        told.append(f"half were answered within {traffic.latency_median:g} ms, 99 % within {traffic.latency_p99:g} ms")
    else:
        told.append("the record does not say how long answers took")
    return Section("traffic", "Requests", "", (Paragraph(("; ".join(told) + ".",)),))


def _expected(part: Part) -> Section | None:
    if not part.expected:
        return None
    failed = [one for one in part.expected if not one.success]
    critical = [one for one in failed if one.severity == "critical"]
    aside = f"{len(failed)} of {len(part.expected)} not met, {len(critical)} of them critical"
    columns = (
        Column("column"),
        Column("expectation"),
        Column("severity"),
        Column("rows", figures=True),
        Column("not met by", figures=True),
        Column("such as"),
    )
    rows = tuple(
        (
            Cell((Code(one.column),), one.column),
            Cell((Mark("passed" if one.success else "failed"), f" {one.rule}"), one.rule),
            Cell((one.severity,), one.severity),
            Cell((f"{one.rows:,}",), one.rows),
            Cell((f"{one.failures:,}",), one.failures),
            Cell((", ".join(one.examples) or DASH,)),
        )
        for one in sorted(part.expected, key=lambda one: (one.success, one.severity, -one.failures, one.column))
    )
    table = Table("Expectations asked of recorded requests", columns, rows)
    return Section("expected", "Expectations of requests", aside, (table,), folded=not failed)


def _skew(part: Part) -> Section | None:
    if not part.skew:
        return None
    differ = [one for one in part.skew if one.differ]
    rows = max((one.rows for one in part.skew), default=0)
    aside = f"{len(differ)} of {count(len(part.skew), 'column')} differ on {rows:,} rows that both have"
    columns = (Column("column"), Column("rows", figures=True), Column("differ", figures=True), Column("such as"))
    table = Table(
        "Recorded requests beside the training table",
        columns,
        tuple(
            (
                Cell((Code(one.column),), one.column),
                Cell((f"{one.rows:,}",), one.rows),
                Cell((f"{one.differ / one.rows:.2%}" if one.rows else DASH,), one.differ),
                Cell((one.example or DASH,)),
            )
            for one in sorted(part.skew, key=lambda one: (-one.differ, one.column))
        ),
    )
    return Section("skew", "Beside the training table", aside, (table,), folded=not differ)


def _notes(report: Report) -> Section | None:
    items: list[Line] = [(note,) for note in report.notes]
    items += [(f"{one.window}: {note}",) for one in reversed(report.findings) for note in one.notes]
    if not items:
        return None
    return Section("notes", "To know", "", (Bullets(tuple(items)),), folded=False)


def _of(part: Part, metric: str) -> Live | None:
    return next((one for one in part.metrics if one.metric == metric), None)


def _live(finding: Finding, metric: str) -> Live | None:
    found = [_of(part, metric) for part in finding.parts]
    known = [one for one in found if one is not None and one.figure is not None]
    return known[-1] if known else None


def _places(half: float | None, figure: float | None) -> int:
    return max(3, min(5, formatting.decimals(half, figure)))
