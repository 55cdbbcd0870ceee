"""``plots``: curves to draw."""

from dataclasses import dataclass

from lockgate import policy_values as values
from lockgate.policy_values import Key


@dataclass(frozen=True, slots=True)
class Plot:
    """A curve to draw: the columns ``x`` and ``y`` of a file of points. ``diagonal`` draws the line on which a good
    model's points lie, ``rows`` is the column that says how many rows stand behind a point."""

    file: str
    title: str
    x: str
    y: str
    diagonal: bool = False
    rows: str | None = None


KEYS = {
    "file": Key(values.path, help="the file of points"),
    "title": Key(values.text, help="what the curve is called"),
    "x": Key(values.text, help="the column of x"),
    "y": Key(values.text, help="the column of y"),
    "diagonal": Key(values.flag, False, "draw the line on which a good model's points lie"),
    "rows": Key(values.text, False, "the column that says how many rows stand behind a point"),
}

SECTION = Key(values.list_of(values.noun(Plot, KEYS)), False, "curves to draw")
