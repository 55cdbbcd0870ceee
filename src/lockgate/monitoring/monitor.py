"""What ``lockgate monitor`` does: the record of an environment, window by window, into findings and alarms.

The rows come day by day and are gone when the next day comes. Each release is judged by its own promise, on the rows
that it scored itself; a window in which a release was replaced has a part for each.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from lockgate.formatting import count
from lockgate.monitoring.drift import drift
from lockgate.monitoring.finding import Expected, Finding, Part, Raised, Skew, Traffic, Verdict
from lockgate.monitoring.quality import calibration, estimated, live_quality
from lockgate.monitoring.series import Day, joined_days
from lockgate.monitoring.served import Served, latency
from lockgate.monitoring.windows import Kind, Window, window_of

if TYPE_CHECKING:
    import pyarrow as pa

    from lockgate.monitoring.alarms import Judgement
    from lockgate.monitoring.reference import Reference
    from lockgate.monitoring.replay import Replay
    from lockgate.policy import RequestPart
    from lockgate.policy.alarms import AlarmSettings
    from lockgate.releasing.environments import Entry

SKEW = timedelta(minutes=5)  # by which clocks may differ


@dataclass(frozen=True)
class Asked:
    """What is to be judged: the windows of an environment from ``since`` on, with what is known at ``now`` (UTC).

    ``rows`` is the size of windows of rows. ``after`` is how long outcomes take. ``expect`` and ``skew`` look at the
    rows of a part of a day; they return what they found, which is added up over the window.
    """

    model: str
    environment: str
    kind: Kind
    since: date
    now: datetime
    rows: int = 0
    after: timedelta = timedelta()
    slices: tuple[str, ...] = ()
    clusters: "tuple[RequestPart, ...]" = ()
    alone: bool = False
    alarms: "AlarmSettings | None" = None
    importances: Mapping[str, float] = field(default_factory=dict)
    expect: "Callable[[pa.Table], Sequence[Expected]] | None" = None
    skew: "Callable[[pa.Table], Sequence[Skew]] | None" = None


@dataclass(frozen=True, slots=True)
class Report:
    """All windows, oldest first, what the alarms of each release say now, and what concerns the whole record."""

    model: str
    environment: str
    kind: Kind
    now: str
    findings: tuple[Finding, ...]
    judged: "tuple[tuple[str, Judgement], ...]" = ()
    notes: tuple[str, ...] = ()

    @property
    def pages(self) -> list[Any]:
        """The alarms that a person is to look at now."""
        return [alarm for _, judgement in self.judged for alarm in judgement.pages]


@dataclass(slots=True)
class _Open:
    """A window that is being read."""

    window: Window
    served: dict[tuple[str, str], Served] = field(default_factory=dict)
    expected: dict[tuple[str, str], list[Expected]] = field(default_factory=dict)
    skew: dict[tuple[str, str], list[Skew]] = field(default_factory=dict)


def monitor(
    tables: "Iterable[pa.Table]",
    asked: Asked,
    references: "Callable[[str, str], Reference | None]",
    log: "Sequence[Entry]",
) -> Report:
    """Return what the record says, which ``tables`` give by day. ``references`` finds the promise of a release and
    build; ``log`` is the environment's. Raises what these raise."""
    reader = _Reader(asked, references, log)
    findings: list[Finding] = []
    for window in reader.windows(tables):
        findings.append(reader.finding(window))  # noqa: PERF401 - the next window is read only then
    judged = reader.judge()
    findings = [_with_alarms(one, judged) for one in findings]
    notes = (*reader.notes(), *(note for _, judgement in judged for note in judgement.notes))
    return Report(
        asked.model,
        asked.environment,
        asked.kind,
        asked.now.isoformat(timespec="seconds"),
        tuple(findings),
        tuple(judged),
        tuple(dict.fromkeys(notes)),
    )


def replayed(
    tables: "Iterable[pa.Table]",
    asked: Asked,
    references: "Callable[[str, str], Reference | None]",
    log: "Sequence[Entry]",
    settings: "AlarmSettings",
) -> "list[tuple[str, Replay]]":
    """Return, for each release that the record has, which alarms ``settings`` would have given."""
    from lockgate.monitoring.replay import replay

    reader = _Reader(asked, references, log)
    for _ in reader.windows(tables):
        pass
    return [
        (release, replay(settings, reference, days, reader.past_traffic(), f"what {release} served"))
        for release, reference, days in reader.mature()
    ]


class _Reader:
    def __init__(
        self, asked: Asked, references: "Callable[[str, str], Reference | None]", log: "Sequence[Entry]"
    ) -> None:
        self.asked, self.log = asked, log
        self.days: dict[tuple[str, str], list[Day]] = {}
        self.traffic: dict[date, int] = {}
        self.known: dict[tuple[str, str], Reference | None] = {}
        self._references = references
        self.foreign: dict[str, int] = {}
        self.future = 0
        self.left = 0
        self.promoted: dict[str, datetime] = {}
        for entry in log:
            if entry.action in ("promote", "rollback"):
                self.promoted.setdefault(entry.version, utc(entry.time))

    def windows(self, tables: "Iterable[pa.Table]") -> Iterator[_Open]:
        """Yield each window when its last row was read; one that is not over yet is left out and told."""
        usable = self._each_usable(tables)
        current = (
            yield from self._by_rows(usable) if self.asked.kind == "rows" else self._by_time(usable, self.asked.kind)
        )
        if current is not None:
            self.left = self._held(current)

    def _by_time(
        self, tables: "Iterable[pa.Table]", kind: Literal["day", "week"]
    ) -> "Generator[_Open, None, _Open | None]":
        current = None
        for table in tables:
            window = window_of(table["time"][0].as_py().date(), kind)
            if current is not None and current.window != window:
                yield current
                current = None
            current = current or _Open(window)
            self._add(current, table)
            del table
        if current is not None and date.fromisoformat(current.window.end) <= self.asked.now.date():
            yield current
            return None
        return current

    def _by_rows(self, tables: "Iterable[pa.Table]") -> "Generator[_Open, None, _Open | None]":
        size, current = self.asked.rows, None
        for table in tables:
            for piece in _cut(table, size - (self._held(current) if current else 0), size):
                first, last = (piece["time"][place].as_py().isoformat() for place in (0, piece.num_rows - 1))
                current = current or _Open(Window(first, last, "rows"))
                current.window = replace(current.window, end=last)
                self._add(current, piece)
                if self._held(current) >= size:
                    yield current
                    current = None
                del piece
            del table
        return current

    def _each_usable(self, tables: "Iterable[pa.Table]") -> "Iterator[pa.Table]":
        """Yield what is usable of each table. None is held while the next one is read: a day can be large."""
        for table in tables:
            usable = self._usable(table)
            del table
            if usable.num_rows:
                yield usable
            del usable

    def finding(self, open_window: _Open) -> Finding:
        """Return what one window comes to, without alarms."""
        asked, window = self.asked, open_window.window
        end = datetime.fromisoformat(window.end)
        mature = end + asked.after <= asked.now
        parts = tuple(
            _part(served, asked, mature, open_window.expected.get(key, []), open_window.skew.get(key, []))
            for key, served in sorted(open_window.served.items(), key=lambda item: (str(item[1].first), item[0]))
            if served.days
        )
        labelled = sum(part.labelled for part in parts)
        notes = [*_of_time(parts, window, self.traffic, self.promoted), *_of_rows(parts, open_window.served)]
        if not mature:
            notes.insert(0, "its outcomes are not complete yet: quality is shown, not judged")
        elif not labelled:
            notes.insert(0, f"no outcome of its {count(sum(p.rows for p in parts), 'score')} is known: not judged")
        return Finding(
            model=asked.model,
            environment=asked.environment,
            kind=window.kind,
            window=window.words,
            name=window.name,
            start=window.start,
            end=window.end,
            mature=mature,
            verdict=_verdict(parts) if mature and labelled else "not judged",
            parts=parts,
            notes=tuple(notes),
        )

    def judge(self) -> "list[tuple[str, Judgement]]":
        """Return what the alarms of each release say, in the order in which they served."""
        from lockgate.monitoring.alarms import examine

        asked = self.asked
        if asked.alarms is None:
            return []
        return [
            (release, examine(asked.alarms, reference, days, self.past_traffic()))
            for release, reference, days in self.mature()
        ]

    def mature(self) -> "Iterator[tuple[str, Reference | None, list[Day]]]":
        """Yield each release that has days whose outcomes had their time, with its promise and these days."""
        asked = self.asked
        for (release, build), days in self.days.items():
            mature = [
                day for day in joined_days(days)
                if datetime.combine(day.day, datetime.min.time()) + timedelta(days=1) + asked.after <= asked.now
            ]  # fmt: skip
            if mature:
                yield release, self.known[release, build], mature

    def past_traffic(self) -> dict[date, int]:
        """Return the scores of each day that is over, of all releases."""
        return {day: rows for day, rows in self.traffic.items() if day < self.asked.now.date()}

    def notes(self) -> list[str]:
        """Return what concerns the record as a whole."""
        told = [
            f"{count(rows, 'score')} of {release}, which was never promoted to {self.asked.environment}, "
            f"{'is' if rows == 1 else 'are'} left out: does another environment write to this record?"
            for release, rows in sorted(self.foreign.items())
        ]
        if self.future:
            told.append(
                f"{count(self.future, 'score')} with a time in the future {'is' if self.future == 1 else 'are'} left "
                "out: the clock of a machine that serves was wrong"
            )
        if self.left:
            told.append(f"the {count(self.left, 'score')} after the last window are not judged yet: it is not over")
        for release, _build in (key for key, found in self.known.items() if found is None):
            told.append(f"{release} carries no reference.json (an older Lockgate made it): nothing is promised of it")
        return told

    def _usable(self, table: "pa.Table") -> "pa.Table":
        """Return the rows of releases that were promoted here, and of the past."""
        import pyarrow as pa
        import pyarrow.compute as pc

        in_future = pc.greater(table["time"], pa.scalar(self.asked.now + SKEW, table["time"].type))
        if pc.any(in_future).as_py():
            self.future += int(pc.sum(in_future).as_py())
            table = table.filter(pc.invert(in_future))
        for one in pc.value_counts(table["release"].combine_chunks()).to_pylist():
            release, rows = one["values"], one["counts"]
            if str(release).rpartition("@")[2] not in self.promoted:
                self.foreign[release] = self.foreign.get(release, 0) + rows
                table = table.filter(pc.not_equal(table["release"], release))
        return table

    def _held(self, current: _Open) -> int:
        return sum(served.rows + served.no_score + served.repeated for served in current.served.values())

    def _add(self, current: _Open, table: "pa.Table") -> None:
        import pyarrow.compute as pc

        pairs = table.select(["release", "build"]).group_by(["release", "build"]).aggregate([]).to_pylist()
        for pair in sorted(pairs, key=lambda one: (one["release"], one["build"])):
            key = (str(pair["release"]), str(pair["build"]))
            mine = table
            if len(pairs) > 1:
                wanted: Any = pc.and_(pc.equal(table["release"], key[0]), pc.equal(table["build"], key[1]))
                mine = table.filter(wanted)
            if key not in self.known:
                self.known[key] = self._references(*key)
            served = current.served.get(key)
            if served is None:
                asked = self.asked
                served = Served(*key, self.known[key], asked.slices, asked.clusters, asked.alone)
                current.served[key] = served
            before = len(served.days)
            served.add(mine)
            for day in served.days[before:]:
                self.days.setdefault(key, []).append(day)
                self.traffic[day.day] = self.traffic.get(day.day, 0) + day.rows
            if self.asked.expect is not None:
                current.expected[key] = _added(current.expected.get(key, []), self.asked.expect(mine))
            if self.asked.skew is not None:
                current.skew[key] = _added_skew(current.skew.get(key, []), self.asked.skew(mine))


def _verdict(parts: Sequence[Part]) -> Verdict:
    return "look" if any(part.worse and not part.weather for part in parts) else "calm"


def _part(served: Served, asked: Asked, mature: bool, expected: list[Expected], skew: list[Skew]) -> Part:
    metrics, slices = live_quality(served)
    worse = any(one.found == "worse" for one in metrics) if mature and served.labelled else None
    if not mature:
        metrics, slices = ([replace(one, found="unknown") for one in some] for some in (metrics, slices))
    assert served.first is not None  # noqa: S101 - it has a day
    assert served.last is not None  # noqa: S101
    median, slowest = (latency(served.latencies, share) for share in (0.5, 0.99))
    by_day: dict[str, int] = {}
    for day in served.days:
        by_day[day.day.isoformat()] = by_day.get(day.day.isoformat(), 0) + day.rows
    traffic = Traffic(
        tuple(sorted(by_day.items())),
        tuple(int(rows) for rows in served.hours),
        round(served.longest_gap, 1),
        None if median is None else float(f"{median:.3g}"),
        None if slowest is None else float(f"{slowest:.3g}"),
        served.wrong_labels,
        served.repeated,
        served.no_score,
    )
    return Part(
        served.release,
        served.build,
        served.rows,
        served.labelled,
        served.first.isoformat(timespec="seconds"),
        served.last.isoformat(timespec="seconds"),
        served.reference is not None,
        tuple(metrics),
        tuple(slices[:200]),
        tuple(calibration(served)),
        tuple(estimated(served)),
        tuple(drift(served, worse, asked.importances)),
        traffic,
        tuple(expected),
        tuple(skew),
    )


def _of_time(
    parts: Sequence[Part], window: Window, traffic: Mapping[date, int], promoted: Mapping[str, datetime]
) -> list[str]:
    """Return what is to be said of when the scores of a window were given."""
    told = []
    if len(parts) > 1:
        swap = all(one.last <= other.first for one, other in pairwise(parts))
        spans = "; ".join(f"{p.release} ({p.rows:,} scores, {_short(p.first)} to {_short(p.last)})" for p in parts)
        together = "one after the other" if swap else "partly at the same time"
        told.append(f"{len(parts)} releases answered {together}, and each is judged by itself: {spans}")
    silent = [day for day in window.days if day not in traffic]
    if silent and window.kind != "rows":
        days = ", ".join(day.isoformat() for day in silent[:5]) + (" and more" if len(silent) > 5 else "")
        told.append(f"no score on {days}: nothing was asked, or a part of the record is missing")
    for part in parts:
        since = promoted.get(part.release.rpartition("@")[2])
        if since is not None and datetime.fromisoformat(part.first) < since - SKEW:
            told.append(
                f"{part.release} has scores of {_short(part.first)}, before it was promoted ({since:%Y-%m-%d %H:%M}): "
                "a clock was wrong"
            )
    return told


def _of_rows(parts: Sequence[Part], served: Mapping[tuple[str, str], Served]) -> list[str]:
    """Return what is to be said of rows that do not count, and of columns."""
    told = []
    for part in parts:
        one = served[part.release, part.build]
        if part.weather:
            told.append(
                "the loss is higher than promised, and would be for every model: beside the release's fixed baseline "
                "on the same rows it is as good as promised. Weather, not decay"
            )
        if one.repeated:
            told.append(f"{count(one.repeated, 'score')} recorded twice; each counts once")
        if one.wrong_labels:
            told.append(f"{count(one.wrong_labels, 'outcome')} neither 0 nor 1; they count as not known")
        if one.no_score:
            told.append(f"{count(one.no_score, 'answer')} of another kind than a probability, which nothing judges yet")
        if one.absent:
            told.append(f"the record lacks columns that {part.release} was tested with: {_some(one.absent)}")
    return told


def _with_alarms(finding: Finding, judged: "Sequence[tuple[str, Judgement]]") -> Finding:
    """Return the finding with the alarms that were on in its window and raised by its end."""
    releases = {part.release for part in finding.parts}
    first, last = finding.start[:10], finding.end[:10]
    on = tuple(
        Raised(a.kind, a.form, a.severity, a.of, release, a.since.isoformat(), a.raised.isoformat())
        for release, judgement in judged
        if release in releases
        for a in judgement.alarms
        if a.raised.isoformat() < last and (a.over is None or a.over.isoformat() > first)
    )
    paged = any(alarm.severity == "page" for alarm in on)
    return replace(finding, alarms=on, verdict="alarm" if paged else finding.verdict)


def _cut(table: "pa.Table", room: int, size: int) -> "Iterator[pa.Table]":
    start = 0
    while start < table.num_rows:
        piece = table.slice(start, room)
        yield piece
        start += piece.num_rows
        room = size if piece.num_rows == room else room - piece.num_rows


def _added(known: Sequence[Expected], more: Sequence[Expected]) -> list[Expected]:
    """Add up what two pieces of a window say of the same expectations."""
    if not known:
        return list(more)
    return [
        replace(
            one,
            rows=one.rows + other.rows,
            failures=one.failures + other.failures,
            success=one.success and other.success,
            examples=one.examples or other.examples,
        )
        for one, other in zip(known, more, strict=True)
    ]


def _added_skew(known: Sequence[Skew], more: Sequence[Skew]) -> list[Skew]:
    if not known:
        return list(more)
    return [
        replace(one, rows=one.rows + two.rows, differ=one.differ + two.differ, example=one.example or two.example)
        for one, two in zip(known, more, strict=True)
    ]


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:5]) + (f" and {len(ordered) - 5} more" if len(ordered) > 5 else "")


def _short(time: str) -> str:
    return time[:16].replace("T", " ")


def utc(time: str) -> datetime:
    """Return the time that ISO 8601 text says, in UTC without a zone. Raises ``ValueError``."""
    found = datetime.fromisoformat(time)
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo is not None else found
