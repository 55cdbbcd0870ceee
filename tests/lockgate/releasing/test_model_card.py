from dataclasses import replace
from typing import Any

import pytest
from markdown_it import MarkdownIt

from lockgate.releasing.model_card import ENOUGH, SLICES, About, card
from lockgate.result import (
    CheckFailure,
    Comparison,
    DataChecks,
    GateOutcome,
    LockStatus,
    MetricChange,
    Result,
    Revision,
    SliceChange,
    Verdict,
)

ABOUT = About(
    name="delay",
    version="v1.2.0",
    description="how late a flight is",
    labels=("boosted",),
    commit="0123456789abcdef0123456789abcdef01234567",
    date="2026-01-02",
    level="full",
    previous=None,
    files={"model.skops": 1_674_120},
    params={"params.yaml": {"train.depth": "3"}},
    data={"raw.csv": "d" * 32},
    environment={"requirements/pipeline.lock": "e" * 64},
)
RESULT = Result(
    model="delay",
    base=None,
    head=Revision("delay@v1.2.0", "0" * 40),
    verdict=Verdict("passed", "all gates hold"),
    lock=LockStatus("reproduced"),
    comparison=Comparison(None, 82_609, None),
    metrics=(
        MetricChange("roc_auc", "higher", 0.61, 0.6934, 0.0834, 0.08, 0.087, "better"),
        MetricChange("rows", "higher", 2000, 2000, 0, None, None, "unjudged"),
    ),
    gates=(GateOutcome("roc_auc at least 0.6", "0.6934", True),),
    checks=DataChecks(5, 173, (CheckFailure("weather", "wind", "is below 200", "warning", 1),)),
)


def a_slice(value: str, head: float | None, rows: int = 500, metric: str = "roc_auc") -> SliceChange:
    return SliceChange("carrier", value, metric, rows, 0.6, head, 0.0, None, None, None, "noise")


def rows(markdown: str, title: str) -> list[list[str]]:
    """Return the cells of the first table below the heading ``title``, as a reader sees them."""
    section = markdown.split(f"\n{title}\n")[1].split("\n## ", maxsplit=1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_a_first_release_shows_its_figures_without_changes() -> None:
    text = card(ABOUT, RESULT, [])
    assert rows(text, "## How good it is") == [["roc_auc", "↑", "0.6934"], ["rows", "↑", "2,000"]]
    assert "On 82,609 test rows. The first release." in text


def test_a_later_release_shows_what_changed_since_the_one_before() -> None:
    text = card(replace(ABOUT, previous="v1.1.0"), RESULT, [])
    assert rows(text, "## How good it is")[0] == [
        "roc_auc",
        "↑",
        "0.6100",
        "0.6934",
        "+0.0834 [+0.0800, +0.0870]",
        "better",
    ]


@pytest.mark.parametrize(("better", "first"), [("higher", "low"), ("lower", "high")])
def test_the_slices_on_which_the_model_is_worst_come_first(better: Any, first: str) -> None:
    result = replace(RESULT, metrics=(replace(RESULT.metrics[0], better=better),))
    shown = rows(card(ABOUT, result, [a_slice("high", 0.9), a_slice("low", 0.5)]), "## Where it is worse")
    assert shown[0] == ["carrier", first, "500", "0.5000" if first == "low" else "0.9000"]


def test_small_slices_and_those_without_a_figure_are_left_out_and_the_rest_is_counted() -> None:
    many = [a_slice(f"s{number}", 0.5 + number / 100) for number in range(20)]
    text = card(ABOUT, RESULT, [*many, a_slice("small", 0.1, ENOUGH - 1), a_slice("none", None)])
    assert [row[1] for row in rows(text, "## Where it is worse")] == [f"s{number}" for number in range(SLICES)]
    assert "the 12 worst of 20" in text


def test_the_rules_the_data_and_the_inputs_are_there() -> None:
    text = card(ABOUT, RESULT, [])
    assert rows(text, "## Gates") == [["roc_auc` at least 0.6", "0.6934", "holds"]]
    assert "173 expectations on 5 tables, 1 not met." in text
    assert ["train.depth", "3"] in rows(text, "## How it was made")
    for word in (
        "raw.csv",
        "d" * 32,
        "requirements/pipeline.lock",
        ABOUT.commit,
        "1.7 MB",
        "lockgate fetch delay@v1.2.0",
    ):
        assert word in text


@pytest.mark.parametrize(
    ("level", "said"), [("full", "Every stage"), ("train", "The model's stage"), ("none", "Nothing")]
)
def test_how_far_it_was_rebuilt_is_said(level: str, said: str) -> None:
    assert f"| {said}" in card(replace(ABOUT, level=level), RESULT, [])


def test_what_others_wrote_is_shown_and_does_nothing() -> None:
    evil = "a|b <img src=x> @team [x](http://e.vil) `c` \n# heading"
    about = replace(ABOUT, description=evil, labels=(evil,), params={evil: {evil: evil}}, data={evil: evil})
    metric = replace(RESULT.metrics[0], name=evil)
    result = replace(RESULT, metrics=(metric,), gates=(GateOutcome(evil, evil, True),))
    page = MarkdownIt("gfm-like", {"linkify": False}).render(card(about, result, [a_slice(evil, 0.5, metric=evil)]))
    assert "<img" not in page
    assert "<a " not in page
    assert page.count("<h1>") == 1
    assert page.count("<h2>") == 6


def test_every_table_has_as_many_cells_in_each_row_as_in_its_head() -> None:
    for line in card(replace(ABOUT, previous="v1.1.0"), RESULT, [a_slice("AA", 0.5)]).split("\n\n"):
        lengths = {row.count("|") for row in line.splitlines() if row.startswith("|")}
        assert len(lengths) <= 1, line
