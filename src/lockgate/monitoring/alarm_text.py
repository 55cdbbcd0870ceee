"""What an on-call person reads: two lines an alarm."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lockgate.monitoring.alarms import Alarm

WORDS: Final = {
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration",
    "slices": "ROC AUC",
    "schema": "the requests",
    "volume": "the number of requests",
}
FIRST: Final = {
    "roc_auc": "Look at `lockgate monitor` for the columns that moved and matter; if a release or a feed changed on "
    "that day, undo it (`lockgate rollback`), else retrain.",
    "log_loss": "Look at `lockgate monitor` for the columns that moved and matter; if a release or a feed changed on "
    "that day, undo it (`lockgate rollback`), else retrain.",
    "brier": "Look at `lockgate monitor` for the columns that moved and matter; if a release or a feed changed on "
    "that day, undo it (`lockgate rollback`), else retrain.",
    "calibration_error": "Whoever acts on a threshold acts too often or too seldom: tell them, check that outcomes are "
    "complete, and retrain or recalibrate.",
    "slices": "Ask what changed for these rows alone on that day (a feed, a rule, a new partner); the others are as "
    "promised.",
    "schema": "Ask whoever sends the requests what they changed on that day; the model answers as if it did not know "
    "the column.",
    "volume": "Ask whoever sends the requests; look at the service's `/readyz`, its refusals and its log.",
}


def text_of(alarm: "Alarm", model: str) -> str:
    """Return what is worse, for whom, since when, by how much and on how many rows; and what to do first."""
    since = f"since {alarm.since.isoformat()}"
    on = f"on {alarm.rows:,} labelled rows of {_days(alarm.days)}"
    ended = f" It was over on {alarm.over.isoformat()}." if alarm.over else ""
    if alarm.weather:
        return (
            f"{model}: {_worse(alarm)} {since}, {on}. The baseline of the release is worse too, by "
            f"{alarm.baseline:.3f} on the same rows: a bad time for every model, not decay of this one.{ended}\n"
            "Nobody needs to get up. If it stays, the world has changed for good: retrain."
        )
    if alarm.severity == "note" and alarm.kind != "slices":
        return (
            f"{model}: {_worse(alarm)} {since}, {on}. Against the baseline on the same rows it is not shown to be "
            f"worse yet.{ended}\nNobody needs to get up: if it is decay, the comparison with the baseline will page."
        )
    if alarm.kind in ("schema", "volume"):
        on = f"on {alarm.rows:,} requests of {_days(alarm.days)}"
    return f"{model}: {_worse(alarm)} {since}, {on}.{ended}\n{FIRST[alarm.kind]}"


def title_of(alarm: "Alarm") -> str:
    """Return the alarm in a few words."""
    of = f" ({alarm.of})" if alarm.of else ""
    return f"{WORDS[alarm.kind]}{of} since {alarm.since.isoformat()}"


def _worse(alarm: "Alarm") -> str:
    interval = f"({alarm.low:.3f} to {alarm.high:.3f})"
    if alarm.kind == "schema":
        column, _, what = alarm.of.rpartition(" ")
        said = "is missing" if what == "missing" else "has a value that the model never saw"
        now = alarm.promised + alarm.change
        more = f" (and {alarm.others} more)" if alarm.others else ""
        return (
            f"`{column}`{more} {said} in {now:.1%} of the requests, "
            f"where up to {alarm.promised + alarm.margin:.1%} is usual,"
        )
    if alarm.kind == "volume":
        if alarm.of == "fewer":
            return f"{alarm.change:.0%} of the usual requests do not come"
        return f"{alarm.change:.0%} of the requests are more than usual"
    if alarm.kind == "calibration_error":
        return (
            f"scores are {alarm.of} by {abs(alarm.promised + alarm.change):.3f} on average, "
            f"{alarm.change:.3f} {interval} more than promised,"
        )
    against = ", against the baseline on the same rows," if alarm.form == "relative" else ""
    verb = "fell" if alarm.kind in ("roc_auc", "slices") else "rose"
    whose = f" of {alarm.of}" if alarm.of else ""
    whose += f" (and {alarm.others} more)" if alarm.of and alarm.others else ""
    tolerated = f"; {alarm.margin:g} is tolerated" if alarm.form == "relative" else ""
    return f"{WORDS[alarm.kind]}{whose} {verb}{against} by {alarm.change:.3f} {interval}{tolerated},"


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"
