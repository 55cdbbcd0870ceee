"""A curve of base and head as an inline SVG: whole without a script, traced point by point with it."""

import json
from dataclasses import dataclass
from math import ceil, floor

from lockgate import formatting
from lockgate.rendering.curves import Points, Sampled, sample
from lockgate.rendering.escape import Html, escaped, visible
from lockgate.rendering.markup import tag
from lockgate.result import Curve

WIDTH, HEIGHT = 440, 310
STEPS = 100  # that a reader can stop at
DIGIT = 8.0  # how wide a digit is, at most
BAR, FOOT = 7.0, 46.0  # a bar's width, and the height of the tallest
MOST_POINTS = 500  # of a line; more cannot be told apart


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the axes stand in the drawing, and what they span."""

    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 46
    top: float = 30
    width: float = WIDTH - 46 - 14
    height: float = HEIGHT - 30 - 46

    def at(self, x: float, y: float) -> tuple[str, str]:
        """Where a point of the data is drawn."""
        across = self.left + (x - self.x[0]) / (self.x[1] - self.x[0]) * self.width
        down = self.top + (1 - (y - self.y[0]) / (self.y[1] - self.y[0])) * self.height
        return f"{across:.1f}", f"{down:.1f}"


def figure(curve: Curve, number: str) -> Html:
    """Return the chart with its legend and its reading; a curve that cannot be drawn says so."""
    name = f"curve-{number}"
    sampled = sample(curve, STEPS)
    if sampled is None:
        title = tag("span", escaped(f"{curve.title}: too few points to draw"))
        return tag("figure", tag("figcaption", title))
    sides = {side: _thinned(points) for side, points in (("base", curve.base), ("head", curve.head)) if len(points) > 1}
    every = [x for points in sides.values() for x, _ in points]
    frame = _framed((min(every), max(every)), sampled.y_range(curve.level))
    legend = (
        tag("button", _swatch(side), escaped(side), class_="legend", type="button", data_side=side, aria_pressed="true")
        for side in sides
    )
    slider = tag(
        "input",
        type="range",
        min="0",
        max=str(STEPS),
        value=str(STEPS // 2),
        data_low=repr(sampled.low),
        data_high=repr(sampled.high),
        aria_label=f"{curve.title}: read off at {curve.x}",
        hidden=True,
    )
    return tag(
        "figure",
        tag("figcaption", tag("span", escaped(curve.title), id=name), *legend, *_ideal(curve)),
        _plot(curve, sides, frame),
        slider,
        tag("output", hidden=True),
        tag("script", _data(curve, sampled, frame), type="application/json"),
        data_curve=True,
        aria_labelledby=name,
    )


def _framed(x: tuple[float, float], y: tuple[float, float]) -> Frame:
    """Return the frame, which leaves room for the longest figure of the y axis."""
    longest = max((len(_tick(value, y)) for value in ticks(*y)), default=0)
    left = max(46.0, 14 + DIGIT * longest)
    return Frame(x, y, left=left, width=WIDTH - left - 14)


def _plot(curve: Curve, sides: dict[str, Points], frame: Frame) -> Html:
    ends = {side: f"{side} from {points[0][1]:.3g} to {points[-1][1]:.3g}" for side, points in sides.items()}
    lines = (
        tag("path", class_=f"line {side}", d="M" + "L".join(" ".join(frame.at(x, y)) for x, y in points))
        for side, points in sides.items()
    )
    dots = (tag("circle", class_=f"dot {side}", r="4.5") for side in sides)
    low, high = (f"{frame.top + down:g}" for down in (0, frame.height))
    return tag(
        "svg",
        *_axes(curve, frame),
        *_diagonal(curve, frame),
        *_rows(curve, frame),
        *lines,
        *_marks(curve, sides, frame),
        tag("g", tag("line", class_="cross", y1=low, y2=high), *dots, class_="reading", hidden=True),
        class_="plot",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{curve.title}: {curve.y} over {curve.x}; {', '.join(ends.values())}",
    )


def _diagonal(curve: Curve, frame: Frame) -> list[Html]:
    """The line on which a good model's points lie, as far as both axes go."""
    if curve.level is not None:
        (x1, y1), (x2, y2) = (frame.at(x, curve.level) for x in frame.x)
        return [tag("line", class_="diagonal", x1=x1, y1=y1, x2=x2, y2=y2)]
    low, high = max(frame.x[0], frame.y[0]), min(frame.x[1], frame.y[1])
    if not curve.diagonal or low >= high:
        return []
    (x1, y1), (x2, y2) = frame.at(low, low), frame.at(high, high)
    return [tag("line", class_="diagonal", x1=x1, y1=y1, x2=x2, y2=y2)]


def _rows(curve: Curve, frame: Frame) -> list[Html]:
    """How many rows stand behind each point: bars at the foot, of both sides on one scale."""
    most = max((*curve.rows_base, *curve.rows_head), default=0)
    drawn = []
    for side, points, rows, shift in (
        ("base", curve.base, curve.rows_base, -BAR),
        ("head", curve.head, curve.rows_head, 0.0),
    ):
        for (x, _), number in zip(points, rows, strict=False):
            across, tall = float(frame.at(x, frame.y[0])[0]), FOOT * number / most if most else 0.0
            top = frame.top + frame.height - tall
            drawn.append(
                tag("rect", class_=f"rows {side}", x=f"{across + shift:.1f}", y=f"{top:.1f}", width=f"{BAR:g}",
                    height=f"{tall:.1f}")
            )  # fmt: skip
    return drawn


def _marks(curve: Curve, sides: dict[str, Points], frame: Frame) -> list[Html]:
    """The points themselves, where each stands for a number of rows."""
    marked = [side for side, rows in (("base", curve.rows_base), ("head", curve.rows_head)) if rows and side in sides]
    places = [(side, frame.at(x, y)) for side in marked for x, y in sides[side]]
    return [tag("circle", class_=f"point {side}", cx=across, cy=down, r="3") for side, (across, down) in places]


def _axes(curve: Curve, frame: Frame) -> list[Html]:
    left, right = f"{frame.left:g}", f"{frame.left + frame.width:g}"
    drawn = []
    for y in ticks(*frame.y):
        _, down = frame.at(frame.x[0], y)
        drawn.append(tag("line", class_="grid", x1=left, x2=right, y1=down, y2=down))
        drawn.append(_text(_tick(y, frame.y), f"{frame.left - 8:g}", down, "end", dy="0.33em"))
    for x in ticks(*frame.x):
        across, _ = frame.at(x, frame.y[0])
        drawn.append(_text(_tick(x, frame.x), across, f"{frame.top + frame.height + 18:g}", "middle"))
    drawn.append(_text(curve.y, "4", "14", "start"))
    drawn.append(_text(curve.x, right, f"{HEIGHT - 6}", "end"))
    return drawn


def ticks(low: float, high: float) -> list[float]:
    """Return three to seven round figures from ``low`` to ``high``: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 5
    power = 10.0 ** (formatting.exponent(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * 0.999)
    return [round(n * step, 12) for n in range(ceil(low / step - 1e-6), floor(high / step + 1e-6) + 1)]


def _tick(value: float, span: tuple[float, float]) -> str:
    return formatting.fixed(
        value, formatting.decimals((span[1] - span[0]) / 5, value) - 1 if span[1] - span[0] < 50 else 0
    )


def _text(words: str, x: str, y: str, anchor: str, dy: str | None = None) -> Html:
    return tag("text", escaped(words), x=x, y=y, text_anchor=anchor, dy=dy)


def _ideal(curve: Curve) -> list[Html]:
    """What the diagonal is, for the legend."""
    if not curve.diagonal and curve.level is None:
        return []
    return [tag("span", _swatch("", "diagonal"), escaped("as it should be"), class_="legend fixed")]


def _swatch(side: str, kind: str = "line") -> Html:
    line = tag("line", class_=f"{kind} {side}".strip(), x1="0", x2="32", y1="6", y2="6")
    return tag("svg", line, viewBox="0 0 32 12", aria_hidden="true")


def _thinned(points: Points) -> Points:
    ordered = tuple(sorted(points, key=lambda point: point[0]))
    every = -(-len(ordered) // MOST_POINTS)
    return (*ordered[:-1:every], ordered[-1])


def _data(curve: Curve, sampled: Sampled, frame: Frame) -> Html:
    """What the script reads; no ``<`` of a value may end the element it stands in."""
    low, high = frame.y
    read = {
        "x": visible(curve.x),
        "y": visible(curve.y),
        "frame": {"left": frame.left, "top": frame.top, "width": frame.width, "height": frame.height},
        "xs": frame.x,
        "range": frame.y,
        "places": [formatting.decimals((frame.x[1] - frame.x[0]) / 10), formatting.decimals((high - low) / 100)],
        "base": [round(y, 12) for y in sampled.base],
        "head": [round(y, 12) for y in sampled.head],
    }
    return Html(json.dumps(read, separators=(",", ":")).replace("<", "\\u003c"))
