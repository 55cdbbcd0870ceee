"""A figure of each window over time as an inline SVG: its interval, what was promised, and where an alarm was on."""

from dataclasses import dataclass

from lockgate import formatting
from lockgate.rendering.document import Moment, Timeline
from lockgate.rendering.escape import Html, escaped
from lockgate.rendering.html_chart import ticks
from lockgate.rendering.markup import tag

WIDTH, HEIGHT = 440, 230
LEFT, RIGHT, TOP, FOOT = 52.0, 12.0, 28.0, 34.0
LABELS = 5  # of the windows, at most


def timeline(chart: Timeline, number: str) -> Html:
    """Return the figure with its legend; one without a figure says so."""
    name = f"timeline-{number}"
    values = [value for moment in chart.moments for value in _values(moment)] + [
        value for value in (chart.promised or ()) if value is not None
    ]
    if not values:
        return tag("figure", tag("figcaption", tag("span", escaped(f"{chart.title}: nothing to draw"))))
    low, high = min(values), max(values)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    low, high = (0.0 if chart.from_zero else low - room), high + room
    legend = [tag("span", _key("head"), escaped(chart.live), class_="legend fixed")]
    if chart.promised is not None:
        legend.append(tag("span", _key("promise"), escaped("promised"), class_="legend fixed"))
    if any(moment.estimate is not None for moment in chart.moments):
        legend.append(tag("span", _key("estimate"), escaped("estimated from scores"), class_="legend fixed"))
    if any(moment.alarm for moment in chart.moments):
        legend.append(tag("span", _key("alarm"), escaped("alarm"), class_="legend fixed"))
    return tag(
        "figure",
        tag("figcaption", tag("span", escaped(chart.title), id=name), *legend),
        _plot(chart, low, high),
        aria_labelledby=name,
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where windows and figures stand in the drawing."""

    low: float
    high: float
    step: float

    def across(self, place: float) -> float:
        return LEFT + (place + 0.5) * self.step

    def down(self, value: float) -> float:
        return TOP + (1 - (value - self.low) / (self.high - self.low)) * (HEIGHT - TOP - FOOT)


def _plot(chart: Timeline, low: float, high: float) -> Html:
    scale = _Scale(low, high, (WIDTH - LEFT - RIGHT) / len(chart.moments))
    every = max(1, -(-len(chart.moments) // LABELS))
    labels = [
        _text(moment.label, scale.across(place), HEIGHT - 12, "middle")
        for place, moment in enumerate(chart.moments)
        if place % every == 0
    ]
    drawn = [*_axis(scale), *_alarmed(chart, scale), *_promised(chart, scale), *labels]
    for place, moment in enumerate(chart.moments):
        drawn += _moment(moment, scale.across(place), scale)
    drawn.append(_text(chart.unit, 4, 14, "start"))
    known = [moment for moment in chart.moments if moment.value is not None]
    ends = f"{known[0].value:.3g} in {known[0].label}, {known[-1].value:.3g} in {known[-1].label}" if known else "none"
    told = f"{chart.title}, {len(chart.moments)} windows: {ends}"
    return tag("svg", *drawn, class_="plot timeline", viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=told)


def _axis(scale: _Scale) -> list[Html]:
    drawn, span = [], scale.high - scale.low
    for y in ticks(scale.low, scale.high):
        drawn.append(_line("grid", LEFT, scale.down(y), WIDTH - RIGHT, scale.down(y)))
        places = max(0, formatting.decimals(span / 5, y) - 1) if span < 50 else 0
        drawn.append(_text(formatting.fixed(y, places), LEFT - 8, scale.down(y), "end", dy="0.33em"))
    return drawn


def _alarmed(chart: Timeline, scale: _Scale) -> list[Html]:
    size = {"y": f"{TOP:g}", "width": f"{scale.step:.1f}", "height": f"{HEIGHT - TOP - FOOT:g}"}
    lefts = [scale.across(place) - scale.step / 2 for place, moment in enumerate(chart.moments) if moment.alarm]
    return [tag("rect", class_="alarmed", x=f"{left:.1f}", **size) for left in lefts]


def _promised(chart: Timeline, scale: _Scale) -> list[Html]:
    if chart.promised is None:
        return []
    least, figure, most = chart.promised
    drawn = [_line("promise", LEFT, scale.down(figure), WIDTH - RIGHT, scale.down(figure))]
    if least is not None and most is not None:
        top = scale.down(most)
        size = {"width": f"{WIDTH - LEFT - RIGHT:g}", "height": f"{scale.down(least) - top:.1f}"}
        drawn.insert(0, tag("rect", class_="promise", x=f"{LEFT:g}", y=f"{top:.1f}", **size))
    return drawn


def _moment(moment: Moment, x: float, scale: _Scale) -> list[Html]:
    radius = f"{min(4.0, max(1.5, scale.step / 3)):.1f}"
    drawn = []
    if moment.estimate is not None:
        drawn.append(tag("circle", class_="estimate", cx=f"{x:.1f}", cy=f"{scale.down(moment.estimate):.1f}", r=radius))
    if moment.value is not None:
        if moment.low is not None and moment.high is not None:
            drawn.append(_line("bar", x, scale.down(moment.low), x, scale.down(moment.high)))
        kind = "live judged" if moment.judged else "live"
        drawn.append(tag("circle", class_=kind, cx=f"{x:.1f}", cy=f"{scale.down(moment.value):.1f}", r=radius))
    return drawn


def _values(moment: Moment) -> list[float]:
    return [value for value in (moment.value, moment.low, moment.high, moment.estimate) if value is not None]


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Html:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    return tag("line", class_=kind, **ends)


def _text(words: str, x: float, y: float, anchor: str, dy: str | None = None) -> Html:
    return tag("text", escaped(words), x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, dy=dy)


def _key(kind: str) -> Html:
    shapes = {
        "head": tag("circle", class_="live", cx="16", cy="6", r="4"),
        "promise": tag("rect", class_="promise", x="0", y="1", width="32", height="10"),
        "estimate": tag("circle", class_="estimate", cx="16", cy="6", r="4"),
        "alarm": tag("rect", class_="alarmed", x="0", y="0", width="32", height="12"),
    }
    return tag("svg", shapes[kind], viewBox="0 0 32 12", class_="timeline", aria_hidden="true")
