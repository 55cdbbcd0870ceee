"""What stands beside the metrics, in the words that a reviewer reads."""

from dataclasses import replace

import pytest
from tests.lockgate import samples

from lockgate.rendering.document import Dot, Strip
from lockgate.rendering.render import render
from lockgate.result import ColumnShift, Comparison, DataDiff, Difference, Result


def at(**changes: Difference | float | None) -> Result:
    result = samples.better_model()
    assert result.operating_point is not None
    return replace(result, operating_point=replace(result.operating_point, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (at(), "212 more late flights found, 340 more false alarms (may be chance); the cost falls by 0.4%."),
        (at(cost=None), "212 more late flights found, 340 more false alarms (may be chance)."),
        (at(found=Difference(-3.0, None, None, "unjudged")), "3 fewer late flights found, "),
        (at(found=Difference(0.0, 0.0, 0.0, "noise")), "As many late flights found, "),
        (at(cost=Difference(0.0, 0.0, 0.0, "noise")), "; the cost is the same."),
        (at(cost=Difference(0.1, -0.1, 0.3, "noise")), "; the cost rises by 7.6% (may be chance)."),
        (at(cost=Difference(0.1, -0.1, 0.3, "noise"), cost_base=0.0), "; the cost rises (may be chance)."),
    ],
)
def test_the_operating_point_is_told_in_one_sentence(result: Result, said: str) -> None:
    assert said in render(result, "md")


@pytest.mark.parametrize(
    ("diff", "said"),
    [
        (DataDiff("d", 10, 10, "2013-01-01", "2013-02-01", "2013-01-01", "2013-02-01"),
         "`d`: 10 rows, 2013-01-01 to 2013-02-01"),
        (DataDiff("d", 10, 20, "2013-01-01", "2013-02-01", "2013-01-01", "2013-03-01"),
         "`d`: 10 → 20 rows, 2013-01-01 to 2013-02-01 → 2013-01-01 to 2013-03-01"),
        (DataDiff("d", 10, 20), "`d`: 10 → 20 rows"),
        (DataDiff("d", None, None, note="there is no d of base"), "`d`: not compared: there is no d of base"),
        (DataDiff("d", 1, 1, columns=(ColumnShift("a", 0.3, "x", "y"),)), "| `a` | large | x | y | 0.300 |"),
        (DataDiff("d", 1, 1, columns=(ColumnShift("a", 0.2, "x", "y"),)), "| `a` | small | x | y | 0.200 |"),
        (DataDiff("d", 1, 1, columns=(ColumnShift("a", 0.01, "x", "y"),)),
         "No column moved: the stability index is at most 0.010 (`a`)."),
        (DataDiff("d", 1, 1, columns=(ColumnShift("a", 0.3, "x", "y"), ColumnShift("b", 0.05, "x", "y"))),
         "No other column moved: the stability index is at most 0.050 (`b`)."),
    ],
)  # fmt: skip
def test_a_table_that_differs_is_told_by_rows_days_and_columns(diff: DataDiff, said: str) -> None:
    assert said in render(replace(samples.better_model(), data=(diff,)), "md")


def test_figures_of_different_rows_are_in_a_table_that_says_so_and_never_beside_a_change() -> None:
    better = samples.better_model()
    metric = replace(better.metrics[1], shared_base=0.4561, shared_head=0.4484)
    rows = Comparison(55_589, 82_609, 55_589)
    comment = render(replace(better, metrics=(metric, better.metrics[3]), comparison=rows), "md")

    assert "| metric | this model | base, shared | head, shared | change, 95 % interval |" in comment
    assert "| 🟢 better | 0.45610 | 0.44840 | −0.00312 [−0.00371, −0.00254] |" in comment
    assert "| each side's own rows | base: 55,589 rows | head: 82,609 rows |" in comment
    assert "| `log_loss` | 0.54119 | 0.53807 |" in comment
    assert "| — | — |" in comment  # one that could not be computed on the shared rows


def test_what_the_first_line_says_is_no_note_again() -> None:
    result = replace(samples.failing_gate(), notes=("3 of 7 gates fail.", "Other."))

    assert render(result, "md").count("3 of 7 gates fail") == 1
    assert "- Other." in render(result, "md")


def test_the_lead_says_what_the_commit_is_by_whom_and_of_which_day() -> None:
    assert "**Learn more slowly** by Ada L., 2026-11-25. `main` a1b2c3d" in render(samples.better_model(), "md")
    assert "2026" not in render(samples.noise(), "md").split("####")[0]


def test_a_strip_shows_each_dot_in_its_place_and_where_both_sides_fall_together() -> None:
    dots = (Dot("base", 0.0), Dot("head", 0.5), Dot("head", 1.0), Dot("base", 1.0))

    assert str(Strip(0.0, 1.0, dots)) == "○·········●········◉"
    assert str(Strip(2.0, 2.0, (Dot("head", 2.0),))) == "●" + "·" * 19
    assert str(Strip(0.0, 1.0, (Dot("head", 7.0),))).endswith("·●")


def test_seeds_are_drawn_beside_base() -> None:
    (line,) = [line for line in render(samples.better_model(), "md").splitlines() if "0.6939 to 0.6951" in line]

    assert line.endswith("| `○··············●●●●●` |")


def test_where_trainings_were_repeated_each_metric_has_both_judgements() -> None:
    comment = render(samples.noise(), "md")

    assert "| metric | this model | over seeds | base | head | change, 95 % interval |" in comment
    assert "| `roc_auc` ↑ | noise | noise | 0.68871 |" in comment
    assert "<summary><b>Training noise</b>: 3 seeds of base, 3" in comment
    assert "over seeds" not in render(samples.better_model(), "md")
