"""``plots``: curves to draw."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lockgate import policy_values as values
from lockgate.policy_values import Key, PolicyError

if TYPE_CHECKING:
    from lockgate.policy.document import Policy


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

Drawn = Literal["reliability", "residuals"]
DRAWN: tuple[Drawn, ...] = ("reliability", "residuals")
"""Curves that are drawn from the predictions themselves."""

_file = values.noun(Plot, KEYS)


@values.takes({"anyOf": [{"enum": list(DRAWN)}, values.schema_of(_file)]})
def _plot(place: str, value: Any) -> Plot | str:
    return _file(place, value) if isinstance(value, dict) else values.one_of(*DRAWN)(place, value)


SECTION = Key(
    values.list_of(_plot), False, "curves to draw: of a file, or `reliability` or `residuals` of the predictions"
)


def with_drawn(read: dict[str, Any]) -> dict[str, Any]:
    """Tell the curves of the predictions from those of files."""
    if "plots" not in read:
        return read
    drawn = tuple(one for one in read["plots"] if isinstance(one, str))
    return {**read, "plots": tuple(one for one in read["plots"] if isinstance(one, Plot)), "drawn": drawn}


def check(policy: "Policy") -> None:
    """Raise :class:`PolicyError` where a curve is asked for that the kind of model does not have."""
    kinds = {"reliability": ("binary", "multiclass"), "residuals": ("regression",)}
    for one in policy.drawn or ():
        if policy.predictions is None:
            raise PolicyError("plots", f"`{one}` needs `predictions:`, from which it is drawn")
        if policy.predictions.kind not in kinds[one]:
            raise PolicyError("plots", f"`{one}` is of the kind {' or '.join(kinds[one])}", policy.predictions.kind)
