"""``outcomes``: what really happened to a scored request, and how long it takes to be known."""

from dataclasses import dataclass
from datetime import timedelta

from lockgate import policy_values as values
from lockgate.policy_values import Key


@dataclass(frozen=True, slots=True)
class OutcomeSettings:
    """Scores of a day are judged ``after`` so much time: then their outcomes are known, as far as they ever will be.
    ``label`` is the column of the outcome in what ``lockgate outcomes add`` reads (``None``: it is called as in the
    predictions)."""

    after: timedelta = timedelta()
    label: str | None = None


KEYS = {
    "after": Key(values.duration, False, "how long after a score its outcome is known, such as 2d (default: at once)"),
    "label": Key(values.text, False, "the column of the outcome (default: as the predictions call it)"),
}

SECTION = Key(values.noun(OutcomeSettings, KEYS), False, "when and under which name the outcomes of scores come")
