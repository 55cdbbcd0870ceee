"""Which alarms a history would have given, and what it can say of a budget: asked before alarms are switched on.

A history is the days that a release served, or, before there are any, the test rows of its reference by day: the first
half of them promises, the second half is lived. A replay can refute a budget, never prove it: of a quiet history of
fourteen weeks one knows no more than that there are fewer than about eleven false alarms a year.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from lockgate.monitoring import alarm_series
from lockgate.monitoring.alarm_series import Form
from lockgate.monitoring.alarms import Judgement, examine
from lockgate.monitoring.detector import (
    FEWEST_DAYS,
    LONGEST,
    YEAR,
    crossing_level,
    days_until_seen,
    lower_rate,
    promise_of,
    upper_rate,
)
from lockgate.monitoring.reference import Clusters, Ranks, Reference
from lockgate.monitoring.series import CALIBRATION_BINS, Day, Sums
from lockgate.policy.alarms import AlarmSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

DROPS = (0.02, 0.05)


@dataclass(frozen=True, slots=True)
class Delay:
    """After how many days half of all drops of ROC AUC of this size are seen, ``None``: not within a year."""

    form: Form
    drop: float
    days: int | None


@dataclass(frozen=True, slots=True)
class Replay:
    """What a history gave. ``low`` and ``high`` are the 95 % limits, one-sided each, of the yearly rate of alarms that
    page, if nothing was really wrong in it. ``history`` says what it was."""

    history: str
    first: date | None
    last: date | None
    days: int
    labelled: int
    budget: float
    judgement: Judgement
    low: float
    high: float
    delays: tuple[Delay, ...]

    @property
    def pages(self) -> int:
        """How many alarms would have paged somebody."""
        return sum(alarm.severity == "page" for alarm in self.judgement.alarms)

    @property
    def refuted(self) -> bool:
        """Whether the history gave more alarms than the budget allows, beyond luck."""
        return self.low > self.budget


def replay(
    settings: AlarmSettings,
    reference: Reference | None,
    days: Sequence[Day],
    traffic: Mapping[date, int] | None = None,
    history: str = "what was served",
) -> Replay:
    """Return what the days that a release served would have given."""
    judgement = examine(settings, reference, days, traffic)
    pages = sum(alarm.severity == "page" for alarm in judgement.alarms)
    dates = sorted({day.day for day in days})
    years = len(dates) / YEAR
    return Replay(
        history,
        dates[0] if dates else None,
        dates[-1] if dates else None,
        len(dates),
        sum(day.labelled for day in days),
        settings.budget,
        judgement,
        lower_rate(pages, years) if years else 0.0,
        upper_rate(pages, years) if years else math.inf,
        delays(settings, reference) if reference is not None and "roc_auc" in settings.on else (),
    )


def replay_of_reference(settings: AlarmSettings, reference: Reference) -> Replay:
    """Return what the test rows of a reference would have given: their first half promises, the second is lived.

    Requests are not judged: nobody sent these.
    """
    quality = tuple(kind for kind in settings.on if kind not in ("schema", "volume"))
    asked = replace(settings, on=quality, budget=settings.share * len(quality)) if quality else settings
    days = days_of_clusters(reference) if quality else []
    half = len(days) // 2
    promised = replace(reference, clusters=_part(reference.clusters, half)) if days else reference
    found = replay(asked, promised, days[half:], history="the second half of the release's test rows, by day")
    return replace(found, delays=delays(settings, reference) if "roc_auc" in settings.on else ())


def delays(settings: AlarmSettings, reference: Reference) -> tuple[Delay, ...]:
    """Return, for both forms of the alarm on ROC AUC, how soon drops would be seen; none for a form that is not
    judged."""
    found = []
    forms: tuple[Form, ...] = ("relative", "absolute")
    for form in forms:
        for series in alarm_series.promised("roc_auc", form, reference):
            promise = promise_of(series.values, series.weights, settings.margin("roc_auc"))
            if promise is not None:
                level = crossing_level(promise.drawn[:, None], settings.share)
                found += [Delay(form, drop, days_until_seen(promise, level, drop)) for drop in DROPS]
    return tuple(found)


def days_of_clusters(reference: Reference) -> list[Day]:
    """Return the days of a reference as if they had been served; none where its rows do not go together by day."""
    clusters, dates = reference.clusters, alarm_series.days_of(reference)
    ranks = clusters.ranks
    if ranks is None:
        return []
    nothing = (math.nan,) * len(dates)
    model, baseline = clusters.losses, clusters.baseline_losses
    found = []
    for place, day in enumerate(dates):

        def of(sums: "Mapping[str, Sequence[float]]", name: str, at: int = place) -> float:
            return float(sums.get(name, nothing)[at])

        whole = _sums(
            clusters.rows[place],
            label_sum=int(clusters.labels[place]),
            score_sum=clusters.scores[place],
            loss_model_sum=of(model, "log_loss"),
            loss_baseline_sum=of(baseline, "log_loss"),
            brier_model_sum=of(model, "brier"),
            brier_baseline_sum=of(baseline, "brier"),
            score_baseline_sum=clusters.baseline_scores[place] if clusters.baseline_scores else math.nan,
            **_pairs(ranks, place),
        )
        slices = {name: _sums(0, **_pairs(mine, place)) for name, mine in clusters.slice_ranks.items()}
        said = {name: getattr(whole, name) for name in Sums.__slots__}
        found.append(Day(**said, day=day, release=f"{reference.name}@{reference.version}", build="", slices=slices))
    return found


def text_of(found: Replay) -> str:
    """Return what a person reads."""
    if not found.days:
        return f"There is no history to replay: {'; '.join(found.judgement.notes) or 'no day with scores'}.\n"
    alarms = found.judgement.alarms
    lines = [
        f"Replayed {found.history}: {found.first} to {found.last}, {found.days} days, {found.labelled:,} labelled "
        "rows.",
        f"It would have given {_count(found.pages, 'alarm')} and {_count(len(alarms) - found.pages, 'note')}.",
    ]
    for alarm in alarms:
        word = "alarm" if alarm.severity == "page" else "note"
        lines.append(f"  {alarm.raised} {word}: {alarm.text.splitlines()[0]}")
    if found.refuted:
        lines.append(
            f"If nothing was wrong then, the budget of {found.budget:g} a year is refuted: there are more than "
            f"{found.low:.1f} false alarms a year. Widen `alarms.margins`, or look at what these alarms say."
        )
    else:
        lines.append(
            f"This history bounds false alarms below {found.high:.1f} a year (95 %). The budget is {found.budget:g}: "
            "it is "
            + ("confirmed." if found.high <= found.budget else "not refuted; so short a history cannot prove it.")
        )
    for delay in found.delays:
        against = "against the baseline" if delay.form == "relative" else "in absolute terms"
        seen = f"seen after {delay.days} days" if delay.days else f"not detectable within {LONGEST} days"
        lines.append(f"  a drop of ROC AUC by {delay.drop:g}, {against}: {seen} (half of the time)")
    lines += [f"  {note}" for note in found.judgement.notes]
    return "\n".join(lines) + "\n"


def as_json(found: Replay) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    return {
        "history": found.history,
        "first": found.first.isoformat() if found.first else None,
        "last": found.last.isoformat() if found.last else None,
        "days": found.days,
        "labelled": found.labelled,
        "budget": found.budget,
        "pages": found.pages,
        "rate": {"low": found.low, "high": found.high if math.isfinite(found.high) else None},
        "refuted": found.refuted,
        "delays": [{"form": one.form, "drop": one.drop, "days": one.days} for one in found.delays],
        "alarms": [
            {
                "kind": alarm.kind,
                "form": alarm.form,
                "severity": alarm.severity,
                "of": alarm.of,
                "since": alarm.since.isoformat(),
                "raised": alarm.raised.isoformat(),
                "over": alarm.over.isoformat() if alarm.over else None,
                "text": alarm.text,
            }
            for alarm in found.judgement.alarms
        ],
        "notes": list(found.judgement.notes),
    }


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"


def _pairs(ranks: Ranks, place: int) -> dict[str, float]:
    return {
        "pairs": float(ranks.pairs[place]),
        "pairs_model_sum": float(ranks.model[place]),
        "pairs_baseline_sum": float(ranks.baseline[place]),
    }


def _sums(rows: int, **known: Any) -> Sums:
    import numpy as np

    counts: NDArray[np.int64] = np.zeros(1, dtype=np.int64)
    tenths = np.zeros(CALIBRATION_BINS)
    empty: dict[str, Any] = dict.fromkeys(Sums.__slots__, math.nan)
    empty |= {"rows": rows, "labelled": rows, "label_sum": 0, "positives": counts, "negatives": counts}
    empty |= {"scores": known.get("score_sum", math.nan), "bin_rows": tenths.astype(np.int64)}
    return Sums(**(empty | {"bin_scores": tenths, "bin_labels": tenths} | known))


def _part(clusters: Clusters, number: int) -> Clusters:
    """Return the first clusters."""

    def ranks(one: Ranks) -> Ranks:
        return Ranks(one.pairs[:number], one.model[:number], one.baseline[:number])

    def each(sums: "dict[str, tuple[float, ...]]") -> "dict[str, tuple[float, ...]]":
        return {name: values[:number] for name, values in sums.items()}

    return replace(
        clusters,
        number=number,
        names=clusters.names[:number],
        rows=clusters.rows[:number],
        labels=clusters.labels[:number],
        scores=clusters.scores[:number],
        losses=each(clusters.losses),
        baseline_losses=each(clusters.baseline_losses),
        baseline_scores=clusters.baseline_scores[:number],
        ranks=ranks(clusters.ranks) if clusters.ranks else None,
        slice_ranks={name: ranks(one) for name, one in clusters.slice_ranks.items()},
    )


__all__ = ["DROPS", "FEWEST_DAYS", "Delay", "Replay", "as_json", "delays", "replay", "replay_of_reference", "text_of"]
