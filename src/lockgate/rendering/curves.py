"""Two curves on one grid, so that they can be compared point by point and drawn where charts know only equal steps."""

from bisect import bisect_right
from dataclasses import dataclass

from lockgate import formatting
from lockgate.rendering.escape import Markdown, label
from lockgate.result import Curve

Points = tuple[tuple[float, float], ...]
STEPS = 40
BASE_COLOUR, HEAD_COLOUR, DIAGONAL_COLOUR = "#8b949e", "#1f6feb", "#d29922"


@dataclass(frozen=True, slots=True)
class Sampled:
    """``y`` of base and of head at equal steps from ``low`` to ``high``; ``base`` is empty where there is none."""

    low: float
    high: float
    base: tuple[float, ...]
    head: tuple[float, ...]

    @property
    def xs(self) -> tuple[float, ...]:
        """The grid."""
        steps = len(self.base or self.head) - 1
        return tuple(self.low + (self.high - self.low) * step / steps for step in range(steps + 1))

    def y_range(self, level: float | None = None) -> tuple[float, float]:
        """The y axis: 0 to 1 for what lies within, else the values (and the ``level`` that is drawn) with a little
        air."""
        ys = (*self.base, *self.head, *(() if level is None else (level,)))
        low, high = min(ys), max(ys)
        if low >= 0 and high <= 1 and level is None:
            return 0.0, 1.0
        air = (high - low) * 0.05 or abs(high) * 0.05
        return low - air, high + air


def sample(curve: Curve, steps: int = STEPS) -> Sampled | None:
    """Put both sides on one grid of ``steps`` equal steps over the range of x that they share.

    A side that shares no range with the other, or has a single point, is left out (head stays); ``None`` if nothing
    can be drawn. Between points the curve is a straight line; where it rises vertically its upper end counts.
    """
    base, head = (tuple(sorted(side, key=lambda point: point[0])) for side in (curve.base, curve.head))
    for sides in ((base, head), ((), head), (base, ())):
        drawn = [side for side in sides if side]
        if not drawn:
            continue
        low, high = max(side[0][0] for side in drawn), min(side[-1][0] for side in drawn)
        if low < high:
            grid = [low + (high - low) * step / steps for step in range(steps + 1)]
            return Sampled(low, high, *(tuple(_at(side, x) for x in grid) if side else () for side in sides))
    return None


def _at(points: Points, x: float) -> float:
    after = bisect_right(points, x, key=lambda point: point[0])
    x0, y0 = points[max(0, after - 1)]
    if after in (0, len(points)) or x == x0:
        return y0
    x1, y1 = points[after]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def xychart(curve: Curve) -> Markdown | None:
    """Return a curve as a Mermaid chart, which GitHub draws itself; ``None`` if there is nothing to draw."""
    sampled = sample(curve)
    if sampled is None:
        return None
    low, high = sampled.y_range(curve.level)
    diagonal = sampled.xs if curve.diagonal else () if curve.level is None else (curve.level,) * len(sampled.xs)
    sides = [(diagonal, DIAGONAL_COLOUR), (sampled.base, BASE_COLOUR), (sampled.head, HEAD_COLOUR)]
    palette = ", ".join(colour for ys, colour in sides if ys)
    y_places = formatting.decimals((high - low) / 100)
    lines = "\n".join(f"  line [{', '.join(_plain(y, y_places) for y in ys)}]" for ys, _ in sides if ys)
    x_places = formatting.decimals((sampled.high - sampled.low) / 100)
    return Markdown(
        "```mermaid\n"
        "---\n"
        "config:\n"
        "  xyChart:\n"
        "    width: 640\n"
        "    height: 400\n"
        "  themeVariables:\n"
        "    xyChart:\n"
        f'      plotColorPalette: "{palette}"\n'
        "---\n"
        "xychart-beta\n"
        f'  x-axis "{label(curve.x)}" {_plain(sampled.low, x_places)} --> {_plain(sampled.high, x_places)}\n'
        f'  y-axis "{label(curve.y)}" {_plain(low, y_places)} --> {_plain(high, y_places)}\n'
        f"{lines}\n"
        "```"
    )


def _plain(value: float, places: int) -> str:
    """A figure as Mermaid reads it: ASCII, no exponent, no trailing zeros."""
    digits = f"{value:.{places}f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
