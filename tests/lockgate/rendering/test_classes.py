"""What a reviewer reads of classes and of numbers: words and figures that fit the kind of model."""

from dataclasses import replace

import pytest
from tests.lockgate import samples

from lockgate.rendering.render import render
from lockgate.result import read_result


@pytest.mark.parametrize("kind", ["md", "text", "html"])
def test_a_class_that_got_worse_is_shown_open_with_what_it_is_taken_for(kind: str) -> None:
    told = render(samples.several_classes(), kind)

    for words in ("1 worse, 1 noise, 1 unjudged", "0.700 → 0.600", "— → 0.950", "−0.058", "too few"):
        assert words in told
    if kind == "md":
        assert "#### By class: 1 worse, 1 noise, 1 unjudged" in told
        assert "| `owl` | `cat` | 20 | 31 | +11 |" in told
        assert "| `owl` | 🔴 **worse** | 120 | 0.747 | 0.689 | −0.058 [−0.081, −0.035] |" in told


def test_classes_of_which_none_got_worse_are_folded() -> None:
    told = render(replace(samples.several_classes(), classes=samples.CLASSES[1:]), "md")

    assert "<summary><b>By class</b>: 1 noise, 1 unjudged</summary>" in told


@pytest.mark.parametrize("kind", ["md", "text", "html"])
def test_a_regression_is_told_in_numbers_and_has_no_positives(kind: str) -> None:
    told = render(samples.regression(), kind)

    told = told.replace("BY CLASS", "By class")
    for words in ("33,949", "−7,940", "mean of the targets", "240,148", "12,000", "By class", "positives"):
        assert (words in told) == (words not in ("By class", "positives")), words
    if kind == "md":
        assert "yellow: as it should be" in told
        assert "  line [0, 0, 0, " in told
    if kind == "html":
        assert 'class="diagonal"' in told


def test_what_is_told_of_kinds_is_read_back() -> None:
    for result in (samples.several_classes(), samples.regression()):
        assert read_result(result.to_json()) == result
