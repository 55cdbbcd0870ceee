"""Figures over time as a picture: what is promised, judged and alarmed is drawn, and nothing of a value is markup."""

import re
from xml.etree import ElementTree as ET

from hypothesis import given
from tests.lockgate.rendering.test_escape import NASTY

from lockgate.rendering.document import Moment, Timeline
from lockgate.rendering.html_timeline import HEIGHT, WIDTH, timeline

MOMENTS = (
    Moment("11-04", 0.70, 0.66, 0.74, estimate=0.72),
    Moment("11-11", None, estimate=0.71),
    Moment("11-18", 0.61, 0.58, 0.64, judged=True, alarm=True),
)


def drawn(chart: Timeline) -> list[ET.Element]:
    html = str(timeline(chart, 1))
    [svg] = re.findall(r'<svg class="plot timeline".*?</svg>', html, re.DOTALL)
    return list(ET.fromstring(svg))


def test_each_window_its_interval_the_promise_and_the_alarm_are_drawn_within_the_picture() -> None:
    parts = drawn(Timeline("ROC AUC", "", MOMENTS, (0.68, 0.71, 0.74)))
    kinds = [part.get("class") for part in parts]
    assert kinds.count("live") == 1
    assert kinds.count("live judged") == 1
    assert kinds.count("bar") == 2
    assert kinds.count("estimate") == 2
    assert kinds.count("alarmed") == 1
    assert kinds.count("promise") == 2  # the band and its line
    for part in parts:
        for name, most in (("cx", WIDTH), ("x1", WIDTH), ("x2", WIDTH), ("cy", HEIGHT), ("y1", HEIGHT), ("y2", HEIGHT)):
            assert 0 <= float(part.get(name, "0")) <= most
    live = [float(part.get("cy", "")) for part in parts if (part.get("class") or "").startswith("live")]
    assert live[0] < live[1]  # the higher figure stands higher


def test_figures_that_are_all_equal_and_a_picture_without_a_figure_are_drawn_too() -> None:
    assert drawn(Timeline("rows", "", (Moment("a", 5.0), Moment("b", 5.0))))
    assert drawn(Timeline("none moved", "", (Moment("a", 0.0), Moment("b", 0.0)), from_zero=True))
    assert "nothing to draw" in timeline(Timeline("ROC AUC", "", (Moment("a", None),)), 1)


@given(NASTY)
def test_no_value_is_markup(value: str) -> None:
    html = timeline(Timeline(value, value, (Moment(value, 1.0),), (None, 1.0, None), live=value), 1)
    ET.fromstring(html)
    assert "<script" not in html
