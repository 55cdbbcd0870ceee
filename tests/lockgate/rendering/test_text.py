import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from tests.lockgate import samples
from tests.lockgate.poison import poisoned
from tests.lockgate.rendering.test_escape import NASTY

from lockgate.rendering.escape import visible
from lockgate.rendering.render import render
from lockgate.rendering.text import WIDTH, width
from lockgate.result import LockStatus

GOLDEN = Path(__file__).parents[1] / "golden"
COLOR = re.compile(r"\x1b\[\d+m")


@pytest.mark.parametrize("sample", ["carrier_hurt", "failing_stage"])
def test_the_text_is_the_one_that_was_approved(sample: str, refresh_golden: bool) -> None:
    shown = render(samples.SAMPLES[sample](), "text")
    golden = GOLDEN / f"{sample}.txt"
    if refresh_golden:
        golden.write_text(shown, encoding="utf-8", newline="\n")
    assert shown == golden.read_bytes().decode()


@pytest.mark.parametrize("sample", sorted(samples.SAMPLES.keys() - {"huge"}))
def test_lines_fit_a_terminal(sample: str) -> None:
    assert max(width(line) for line in render(samples.SAMPLES[sample](), "text").split("\n")) <= WIDTH


@pytest.mark.parametrize("sample", sorted(samples.SAMPLES))
def test_colour_adds_colour_and_nothing_else(sample: str) -> None:
    plain = render(samples.SAMPLES[sample](), "text")
    colored = render(samples.SAMPLES[sample](), "text", color=True)
    assert "\x1b" not in plain
    assert "\x1b[31m" in colored or "\x1b[32m" in colored or "\x1b[33m" in colored
    assert " ".join(COLOR.sub("", colored).split()) == " ".join(plain.split())


@given(NASTY)
def test_no_value_reaches_the_terminal_as_a_control_character(value: str) -> None:
    shown = render(poisoned(samples.failing_gate(), value), "text")
    assert all(line == visible(line) for line in shown.split("\n"))


def test_the_columns_of_a_table_stand_under_each_other() -> None:
    lines = render(samples.better_model(), "text").split("\n")
    start = next(number for number, line in enumerate(lines) if line.startswith("METRICS"))
    table = lines[start + 1 : start + 7]
    ends = [line.index("]") for line in table[2:]]
    assert len(set(ends)) == 1
    assert table[0].endswith("change, 95 % interval")


def test_what_does_not_fit_a_cell_goes_on_below() -> None:
    shown = render(samples.carrier_hurt(), "text")
    assert "slices of" in shown
    assert "500 rows or more" in shown
    assert "13,402 rows" in shown


def test_a_claim_is_not_told_as_a_fact() -> None:
    shown = render(replace(samples.noise(), lock=LockStatus("claimed")), "text")
    assert "Claimed, not reproduced" in shown
