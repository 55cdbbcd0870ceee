"""What the pull request of a retraining says: what moved, whether the new model is better than what serves, and what
waiting costs."""

from collections.abc import Sequence

from lockgate.formatting import count, decimals, fixed, interval
from lockgate.rendering.escape import code, text
from lockgate.result import MetricChange
from lockgate.retraining.champion import Duel
from lockgate.retraining.parameters import Moved

TRAILER = "Proposed-by: lockgate retrain"
_WORDS = {"better": "✅ better", "worse": "❌ worse", "noise": "no change shown", "unjudged": "not judged"}


def title(model: str, moves: Sequence[Moved]) -> str:
    """Return the title of the pull request, and of its commit."""
    return f"Retrain {model}: " + ", ".join(f"{one.key} {one.before} → {one.after}" for one in moves)


def describe(
    model: str,
    moves: Sequence[Moved],
    duel: Duel | None,
    no_duel: str,
    *,
    because: str = "",
    environment: str | None = None,
) -> str:
    """Return the description as Markdown. ``no_duel`` says why there is no comparison with what serves, if so;
    ``because`` is the alarm that asked for the retraining, in its own words."""
    parts = [_first(model, moves, duel)]
    if because:
        parts.append("## Why now\n\n" + "\n".join(f"> {text(line)}" for line in because.splitlines() if line.strip()))
    parts.append(_moved(moves))
    if duel is not None:
        parts.append(_compared(duel, environment or ""))
        if waiting := cost_of_waiting(duel):
            parts.append(f"## What waiting costs\n\n{text(waiting)}")
    else:
        parts.append(f"## Against what serves\n\nNot compared: {text(no_duel)}.")
    parts.append(
        "## What happens next\n\nThe check of this pull request runs as for any other: its comment compares with the "
        "default branch, and the gates decide. Merged, it is admitted like any change; what serves changes with a "
        "release and a promotion. The next retraining replaces this branch; close the pull request if you do not want "
        "it."
    )
    return "\n\n".join(parts) + f"\n\n{TRAILER}\n"


def _first(model: str, moves: Sequence[Moved], duel: Duel | None) -> str:
    newer = ", ".join(f"{code(one.key)} = {code(one.after)}" for one in moves)
    said = f"{code(model)} was trained anew with {newer}, and the whole pipeline was run and locked."
    if duel is None:
        return said
    judged = [one for one in duel.metrics if one.judgement in ("better", "worse")]
    if not judged:
        return f"{said} On the newest rows it is **not shown to differ** from what serves, {code(duel.champion)}."
    listed = ", ".join(f"{one.judgement} in {code(one.name)} ({_change(one)})" for one in judged[:3])
    return f"{said} On the newest rows it is **{listed}** than what serves, {code(duel.champion)}."


def _moved(moves: Sequence[Moved]) -> str:
    rows = [f"| {code(one.file)} | {code(one.key)} | {code(one.before)} | {code(one.after)} |" for one in moves]
    return "## What moved\n\n| file | parameter | before | now |\n|---|---|---|---|\n" + "\n".join(rows)


def _compared(duel: Duel, environment: str) -> str:
    """Return the table of champion and challenger."""
    fixed_at = {one.name: one for one in duel.against_baseline}

    def of_baseline(name: str) -> str:
        return f"{_value(fixed_at[name].base, fixed_at[name])} | " if name in fixed_at else "– | " if fixed_at else ""

    rows = [
        f"| {code(one.name)} | {of_baseline(one.name)}{_value(one.base, one)} | {_value(one.head, one)} "
        f"| {_change(one)} | {_WORDS[one.judgement]} |"
        for one in duel.metrics
    ]
    column, line = ("baseline | ", "---:|") if fixed_at else ("", "")
    shared = duel.comparison.rows_shared or 0
    said = count(shared, "row")
    if duel.comparison.clusters is not None:
        said += f" in {duel.comparison.clusters:,} groups by {duel.comparison.cluster}"
    place = f"serves in {environment}" if environment else "is the newest release"
    lines = [
        "## Against what serves",
        f"{code(duel.champion)} {text(place)}. Its released build answered the same {text(said)} that the new model is "
        f"judged on{_older(duel)}. Changes are new minus serving, with their 95 % interval.",
        f"| metric | {column}serving | new | change | |\n|---|{line}---:|---:|---:|---|\n" + "\n".join(rows),
    ]
    if fixed_at:
        lines.append(
            "The baseline is the fixed forecast that the release keeps: where serving and baseline are both worse than "
            "they were, these rows are hard for every model."
        )
    if short := rows_missing(duel):
        lines.append(text(short))
    if duel.slices:
        worst = [
            f"| {code(one.column)} | {code(one.value)} | {one.rows:,} | {code(one.metric)} "
            f"| {_plain(one.change)} | {_WORDS[one.judgement]} |"
            for one in duel.slices[:8]
        ]
        lines.append("| slice | | rows | metric | change | |\n|---|---|---:|---|---:|---|\n" + "\n".join(worst))
    return "\n\n".join(lines)


def rows_missing(duel: Duel, margin: float | None = None) -> str:
    """Say how many more rows it takes to show a change as large as is seen now, or ``margin``, where the first
    metric is not judged to have changed; empty where it is, or where nothing is known of its interval."""
    one = duel.metrics[0]
    rows = duel.comparison.rows_shared or 0
    if one.judgement != "noise" or one.low is None or one.high is None or not one.change or not rows:
        return ""
    wanted = margin or abs(one.change)
    half = (one.high - one.low) / 2
    needed = round(rows * (half / wanted) ** 2)
    if needed <= rows:
        return ""
    places = decimals(half, wanted)
    said = (
        f"{count(rows, 'row')} show a change of {one.name} from ±{fixed(half, places)} on; to show one of "
        f"{fixed(wanted, places)} takes about {needed:,}, {needed - rows:,} more"
    )
    if duel.weeks:
        said += f", which come in about {count(max(1, round((needed - rows) / (rows / duel.weeks))), 'week')}"
    return f"{said}."


def _older(duel: Duel) -> str:
    """Say how it is known that the champion was not trained on the rows either."""
    told = ", ".join(f"{code(one.key)} = {code(one.before)}" for one in duel.made_with)
    return f", and was made with {told}, before them" if told else ""


def cost_of_waiting(duel: Duel) -> str:
    """Say what each week without the new model costs, as far as the rows show it; empty where they do not."""
    told = [
        f"{one.name} stays {fixed(abs(one.change), decimals(_spread(one), one.change))} worse"
        for one in duel.metrics
        if one.judgement == "better" and one.change is not None
    ]
    at = duel.operating_point
    if at is not None and duel.weeks:
        wrong = [side.false_positives + side.false_negatives for side in (at.base, at.head)]
        if more := round((wrong[0] - wrong[1]) / duel.weeks):
            word = "more" if more > 0 else "fewer"
            told.append(f"{abs(more):,} {word} of {round((duel.comparison.rows_shared or 0) / duel.weeks):,} rows are "
                        f"told wrong at the threshold {at.threshold:.4g}")  # fmt: skip
    return f"Each week with {duel.champion}: {'; '.join(told)}." if told else ""


def _spread(one: MetricChange) -> float | None:
    return None if one.low is None or one.high is None else (one.high - one.low) / 2


def _value(value: float | None, one: MetricChange) -> str:
    return "–" if value is None else fixed(value, decimals(_spread(one), value))


def _change(one: MetricChange) -> str:
    if one.change is None:
        return "–"
    places = decimals(_spread(one), one.change)
    bounds = f" {interval(one.low, one.high, places)}" if one.low is not None and one.high is not None else ""
    return f"{fixed(one.change, places, sign=True)}{bounds}"


def _plain(value: float | None) -> str:
    return "–" if value is None else fixed(value, 4, sign=True)
