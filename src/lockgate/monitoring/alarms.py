"""Alarms with a budget: is what serves worse than its release promised? See docs/alarms.md.

Everything here is a function of the policy's ``alarms:``, of the reference of the release and of the days since it
serves (:mod:`lockgate.monitoring.series`); nothing is remembered. Who asks every day is told each day what is known on
it: looking often costs nothing (:mod:`lockgate.monitoring.detector`). The policy's budget of false alarms is split
evenly over the kinds of alarms.

Quality is judged twice. *Relative* to the fixed baseline of the release, on the same rows: this is what pages. And in
*absolute* terms: where that alone is worse, every model would be, which is told as a note and pages nobody. A release
without a baseline has the absolute form alone, and it pages.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Literal

from lockgate.monitoring import alarm_series
from lockgate.monitoring.alarm_series import DailyValues, Form
from lockgate.monitoring.alarm_text import text_of
from lockgate.monitoring.detector import (
    FEWEST_DAYS,
    YEAR,
    EDetector,
    Promise,
    ShareDetector,
    crossing_level,
    excesses,
    gains,
    onset,
    promise_of,
    share_gains,
)
from lockgate.monitoring.reference import Reference
from lockgate.monitoring.series import Day
from lockgate.policy.alarms import AlarmSettings, Kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CALM_DAYS = {"schema": 3, "volume": 3}
USUALLY_CALM = 14  # days within the bound, on average, after which an alarm is over
REACH = 1.96
LARGEST_ERROR = 0.05  # of the promise of a slice: with a larger one there is nothing to hold it to
Severity = Literal["page", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Something is worse than promised. ``change`` is by how much, with its 95 % interval, over the days from ``since``
    to the last one of the alarm; ``rows`` is on how many labelled rows (requests, where no outcome is asked for).

    ``of`` is for whom, or of what: a slice, a column, a side; empty where it is everything. ``others`` is how many
    other ones were as bad on the day it was raised. ``severity`` ``note`` is for what is no reason to wake anybody: it
    is bad for every model, or not shown to be worse than the baseline, which is worse than on the reference by
    ``baseline`` (``None``: the comparison is with it already, or there is none). ``over`` is the first day on which it
    is over, ``None`` while it lasts. ``text`` is two lines: what is known, and what to do first.
    """

    kind: Kind
    form: Form
    severity: Severity
    of: str
    others: int = 0
    since: date
    raised: date
    over: date | None
    days: int
    rows: int
    promised: float
    margin: float
    change: float
    low: float
    high: float
    baseline: float | None = None
    text: str = field(default="", compare=False)

    @property
    def weather(self) -> bool:
        """Whether it is as bad for the baseline, at least by half."""
        return self.baseline is not None and self.baseline >= self.change / 2

    @property
    def open(self) -> bool:
        """Whether it lasts."""
        return self.over is None


@dataclass(frozen=True, slots=True)
class Watch:
    """What was looked at: the evidence of each day over what raises an alarm (``ratios``), which of the series has most
    of it on the last day (``leading``), and how many there are."""

    kind: Kind
    form: Form
    days: tuple[date, ...]
    ratios: tuple[float, ...]
    leading: str
    series: int
    level: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """All alarms there were, what was looked at, and what could not be, in sentences."""

    alarms: tuple[Alarm, ...]
    watches: tuple[Watch, ...]
    notes: tuple[str, ...]

    @property
    def pages(self) -> tuple[Alarm, ...]:
        """The alarms that a person is to look at now."""
        return tuple(alarm for alarm in self.alarms if alarm.open and alarm.severity == "page")


def judge(
    settings: AlarmSettings,
    reference: Reference | None,
    days: Sequence[Day],
    traffic: Mapping[date, int] | None = None,
) -> tuple[Alarm, ...]:
    """Return the alarms of the days on which one release served, oldest first, those that are over too.

    ``days`` are its own complete days, of which outcomes are mature. ``traffic`` is how many requests all releases
    together answered on each day, also before; without it, what ``days`` say.
    """
    return examine(settings, reference, days, traffic).alarms


def examine(
    settings: AlarmSettings,
    reference: Reference | None,
    days: Sequence[Day],
    traffic: Mapping[date, int] | None = None,
) -> Judgement:
    """Return the alarms, and what they rest on. See :func:`judge`."""
    ordered = sorted(days, key=lambda day: day.day)
    found = _Findings(settings, reference, ordered)
    for kind in settings.on:
        if kind == "volume":
            found.volume(traffic or {day.day: day.rows for day in ordered})
        elif reference is None:
            found.notes.append(f"{kind}: not judged, because the release carries no reference.json")
        elif kind == "schema":
            found.schema(reference)
        else:
            found.quality(kind, reference)
    alarms = sorted(found.alarms, key=lambda alarm: (alarm.raised, alarm.kind, alarm.form))
    return Judgement(tuple(_without_echoes(alarms)), tuple(found.watches), tuple(found.notes))


@dataclass(frozen=True, slots=True)
class Family:
    """Series that share a level. ``moves`` (days × series) is what evidence is gathered from, ``above`` by how much the
    bound is exceeded."""

    days: tuple[date, ...]
    names: tuple[str, ...]
    moves: "Floats"
    above: "Floats"
    begin: "Callable[[], EDetector | ShareDetector]"
    won: "Callable[[int, Floats], list[list[float]]]"
    level: float
    calm: int


@dataclass(frozen=True, slots=True)
class Episode:
    """An alarm by the places of its days: ``over`` is ``None`` while it lasts. ``others`` is how many other series
    would have raised it by themselves."""

    series: int
    others: int
    since: int
    raised: int
    over: int | None


def run(family: Family) -> tuple[list[Episode], list[float], int]:
    """Return when a family gives alarms, its evidence of each day as a share of the level, and its leading series.

    While an alarm lasts no second one is given. Once it is over evidence is gathered anew.
    """
    detector, begin = family.begin(), 0
    episodes: list[Episode] = []
    shares: list[float] = []
    leading = 0
    for place in range(len(family.days)):
        each = detector.day(family.moves[place])
        shares.append(float(each.mean()) / family.level)
        leading = int(each.argmax())
        if episodes and episodes[-1].over is None:
            last = episodes[-1]
            if _is_over(family.above[last.raised + 1 : place + 1, last.series], family.calm):
                episodes[-1] = replace(last, over=place)
                detector, begin = family.begin(), place + 1
        elif shares[-1] >= 1.0:
            won = family.won(leading, family.moves[begin : place + 1, leading])
            others = int((each >= family.level).sum()) - int(each[leading] >= family.level)
            episodes.append(Episode(leading, others, begin + onset(won), place, None))
    return episodes, shares, leading


def _is_over(above: "Floats", calm: int) -> bool:
    import numpy as np

    known = above[np.isfinite(above)]
    return len(known) >= calm and float(known[-calm:].mean()) <= 0.0


def quality_family(
    days: tuple[date, ...],
    lived: Sequence[DailyValues],
    promises: Sequence[Promise],
    rate: float,
    calm: int = USUALLY_CALM,
) -> Family:
    """Return the family of series that are held to promises, calibrated to ``rate`` false alarms a year."""
    import numpy as np

    drawn = np.column_stack([promise.drawn for promise in promises])
    level = crossing_level(drawn, rate)
    moves = np.column_stack(
        [excesses(promise, one.values, one.weights) for promise, one in zip(promises, lived, strict=True)]
    )
    return Family(
        days,
        tuple(one.name for one in lived),
        moves,
        moves,
        lambda: EDetector((len(promises),)),
        lambda _, z: gains(z.tolist()),
        level,
        calm,
    )


def shares_family(
    days: tuple[date, ...], lived: Sequence[DailyValues], bounds: Sequence[float], rate: float, calm: int
) -> Family:
    """Return the family of shares that are held to bounds; the theorem gives the level."""
    import numpy as np

    limits = np.asarray(bounds)
    moves = np.column_stack([one.values for one in lived])
    return Family(
        days,
        tuple(one.name for one in lived),
        moves,
        moves - limits,
        lambda: ShareDetector(limits),
        lambda series, shares: share_gains(shares.tolist(), bounds[series]),
        YEAR / rate,
        calm,
    )


class _Findings:
    """The alarms of all kinds, gathered one kind after the other."""

    def __init__(self, settings: AlarmSettings, reference: Reference | None, days: Sequence[Day]) -> None:
        self.settings, self.days = settings, days
        self.model = reference.name if reference else days[-1].release.partition("@")[0] if days else "the model"
        self.dates = tuple(day.day for day in days)
        self.alarms: list[Alarm] = []
        self.watches: list[Watch] = []
        self.notes: list[str] = []

    def quality(self, kind: Kind, reference: Reference) -> None:
        """Judge by outcomes."""
        if not alarm_series.days_of(reference):
            self.notes.append(
                f"{kind}: not judged, because the reference does not have the test rows by day: a policy with "
                "`predictions: {cluster: [DATE]}` and a new release give it"
            )
            return
        if kind in ("slices", "calibration_error"):
            self._held(kind, "relative" if kind == "slices" else "absolute", reference)
            return
        relative = self._held(kind, "relative", reference)
        self._held(kind, "absolute", reference, note=relative)
        if not relative:
            self.notes.append(
                f"{kind}: judged in absolute terms alone, because no baseline is known: a bad month is not told from "
                "decay"
            )

    def schema(self, reference: Reference) -> None:
        """Judge missing values and values that the model does not know."""
        lived, bounds = alarm_series.shares_of_columns(self.days, reference, self.settings.margin("schema"))
        if lived and self.days:
            self._shares("schema", self.dates, lived, bounds)

    def volume(self, traffic: Mapping[date, int]) -> None:
        """Judge the number of requests."""
        days, lived = alarm_series.shares_of_requests(traffic)
        if len(days) <= 7 * alarm_series.FEWEST_WEEKS:
            weeks = alarm_series.FEWEST_WEEKS
            self.notes.append(f"volume: not judged yet, because there are not {weeks} weeks of requests before a day")
            return
        self._shares("volume", tuple(days), lived, [self.settings.margin("volume")] * 2, traffic)

    def _held(self, kind: Kind, form: Form, reference: Reference, *, note: bool = False) -> bool:
        """Hold series to what was promised of them; return whether there was any."""
        import numpy as np

        names = alarm_series.slice_names(reference) if kind == "slices" else ()
        lived = alarm_series.live(kind, form, self.days, alarm_series.ratio_of(reference), names)
        margin = self.settings.margin(kind)
        pairs = [
            (one, promise)
            for one, before in zip(lived, alarm_series.promised(kind, form, reference), strict=False)
            if (promise := promise_of(before.values, before.weights, margin)) is not None
            and (kind != "slices" or promise.error <= LARGEST_ERROR)
        ]
        if not pairs:
            if form == "absolute" or kind == "slices":
                self.notes.append(
                    f"{kind}: not judged, because the reference has not {FEWEST_DAYS} days of it"
                    + (" by slice with a baseline" if kind == "slices" else "")
                )
            return False
        if not self.days:
            return True
        if form == "relative" and not any((one.weights > 0).any() for one, _ in pairs):
            return not any(day.labelled for day in self.days)
        series, promises = [one for one, _ in pairs], [promise for _, promise in pairs]
        family = quality_family(self.dates, series, promises, self.settings.share)
        episodes, shares, leading = run(family)
        self._watched(kind, form, family, shares, leading)
        for episode in episodes:
            of, promise = series[episode.series], promises[episode.series]
            end = (episode.over or len(self.days) - 1) + 1
            value, weight = of.values[episode.since : end], of.weights[episode.since : end]
            known = weight > 0
            mean = float((value[known] * weight[known]).sum() / weight[known].sum())
            share = np.minimum(weight[known] / promise.weight, 1.0)
            error = math.hypot(promise.spread * math.sqrt(known.sum()) / float(share.sum()), promise.error)
            over = self.days[episode.since : end]
            baseline = None
            if form == "absolute":
                worse = alarm_series.baseline_worse(kind, of.name, over, reference)
                baseline = None if math.isnan(worse) else worse
            weather = note or (baseline is not None and baseline >= (mean - promise.mean) / 2)
            self._add(
                episode,
                family,
                kind=kind,
                form=form,
                severity="note" if weather else "page",
                days=int(known.sum()),
                rows=_labelled(over, of.name) if kind == "slices" else sum(day.labelled for day in over),
                promised=promise.mean,
                margin=margin,
                change=mean - promise.mean,
                low=mean - promise.mean - REACH * error,
                high=mean - promise.mean + REACH * error,
                baseline=baseline,
            )
        return True

    def _shares(
        self,
        kind: Kind,
        days: tuple[date, ...],
        lived: Sequence[DailyValues],
        bounds: Sequence[float],
        traffic: Mapping[date, int] | None = None,
    ) -> None:
        import numpy as np

        family = shares_family(days, lived, bounds, self.settings.share, CALM_DAYS[kind])
        episodes, shares, leading = run(family)
        self._watched(kind, "absolute", family, shares, leading)
        rows = traffic or {day.day: day.rows for day in self.days}
        for episode in episodes:
            end = (episode.over or len(days) - 1) + 1
            values = lived[episode.series].values[episode.since : end]
            values = values[np.isfinite(values)]
            mean = float(values.mean())
            error = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
            margin = self.settings.margin(kind)
            expected = max(0.0, bounds[episode.series] - margin) if kind == "schema" else 0.0
            self._add(
                episode,
                family,
                kind=kind,
                form="absolute",
                severity="page",
                days=len(values),
                rows=sum(rows.get(day, 0) for day in days[episode.since : end]),
                promised=expected,
                margin=margin,
                change=mean - expected,
                low=mean - expected - REACH * error,
                high=mean - expected + REACH * error,
            )

    def _add(self, episode: Episode, family: Family, **figures: object) -> None:
        made = Alarm(
            of=family.names[episode.series],
            others=episode.others,
            since=family.days[episode.since],
            raised=family.days[episode.raised],
            over=None if episode.over is None else family.days[episode.over],
            **figures,  # type: ignore[arg-type]
        )
        self.alarms.append(_with_text(made, self.model))

    def _watched(self, kind: Kind, form: Form, family: Family, shares: list[float], leading: int) -> None:
        names = family.names
        self.watches.append(Watch(kind, form, family.days, tuple(shares), names[leading], len(names), family.level))


def _labelled(days: Sequence[Day], name: str) -> int:
    column, _, value = name.partition(": ")
    return sum(part.labelled for day in days if (part := day.slices.get((column, value))) is not None)


def _with_text(alarm: Alarm, model: str) -> Alarm:
    return replace(alarm, text=text_of(alarm, model))


def _without_echoes(alarms: Sequence[Alarm]) -> list[Alarm]:
    """Leave out an absolute alarm beside a relative one of the same kind, and have slices page nobody who is paged for
    all rows: both are the same news."""
    kept = []
    for alarm in alarms:
        others = [one for one in alarms if one.form == "relative" and one.severity == "page" and _together(one, alarm)]
        if alarm.form == "absolute" and any(one.kind == alarm.kind for one in others):
            continue
        if alarm.kind == "slices" and any(one.kind != "slices" for one in others):
            kept.append(replace(alarm, severity="note"))
            continue
        kept.append(alarm)
    return kept


def _together(one: Alarm, other: Alarm) -> bool:
    """Whether both lasted at one time."""
    return one.raised <= (other.over or date.max) and other.since <= (one.over or date.max)
