"""What is told of several models: the worst first, what passed folded, and a line for what is not touched."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.lockgate import samples
from tests.lockgate.github import read, set_off
from tests.lockgate.poison import poisoned

from lockgate.rendering.render import comment, render
from lockgate.result import Results, Verdict, read_results

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("form", ["md", "txt"])
def test_the_comment_on_two_models_reads_as_it_should(form: str, refresh_golden: bool) -> None:
    shown = render(samples.two_models(), "md" if form == "md" else "text")
    path = GOLDEN / f"two_models.{form}"
    if refresh_golden:
        path.write_text(shown, encoding="utf-8")

    assert shown == path.read_text(encoding="utf-8")


def test_the_worst_model_comes_first_and_what_passed_is_folded() -> None:
    shown = render(samples.two_models(), "md")

    assert shown.startswith("### ❌ 1 failed, 1 passed; 2 of 3 models touched\n")
    assert shown.index("### ❌ `cancellations:risk` failed") < shown.index(
        "<summary>✅ <code>arrivals</code> passed</summary>"
    )
    assert "| `delay` | not touched | — |" in shown
    assert "| `fuel` | removed | — |" in shown
    assert "`compare`" in shown  # of no one model
    assert shown.count("<details>") == shown.count("</details>")


def test_of_one_model_that_is_touched_its_own_comment_is_shown() -> None:
    two = samples.two_models()
    shown = comment(replace(two, models=two.models[:1], untouched=("delay", "cancellations:risk"), removed=()))

    assert shown.startswith("### ✅ arrivals passed")
    assert "Not touched: `delay`, `cancellations:risk`." in shown


def test_a_change_that_touches_no_model_is_a_line_and_a_table() -> None:
    nothing = Verdict("passed", "no model is touched by this change")
    idle = replace(samples.two_models(), models=(), untouched=("arrivals", "delay"), removed=(), notes=(), stages=())

    shown = render(replace(idle, verdict=nothing), "md")
    assert shown.startswith("### ✅ None of 2 models is touched by this change")


@pytest.mark.parametrize("limit", [3_000, 20_000, 65_000])
def test_a_comment_on_many_models_is_no_longer_than_it_may_be(limit: int) -> None:
    many = replace(samples.two_models(), models=tuple(replace(samples.huge(), model=f"m{n}") for n in range(3)))
    shown = comment(many, max(limit, 12_000))

    assert len(shown) <= max(limit, 12_000)
    assert all(f"m{n}" in shown for n in range(3))


def test_a_page_on_several_models_has_each_part_once() -> None:
    page = render(samples.two_models(), "html")
    names = [part.split('"')[0] for part in page.split(' id="')[1:]]

    assert len(names) == len(set(names))
    assert {"models", "model-1", "model-2", "model-1-metrics", "model-2-metrics"} <= set(names)


@pytest.mark.parametrize("evil", ["</details><script>x</script>", "@everyone #1 $x$ :tada:", "a|b\n### c", "`"])
def test_what_a_change_says_of_itself_steers_neither_comment_nor_page(evil: str) -> None:
    seen, harmless = (read(render(poisoned(samples.two_models(), value), "md")) for value in (evil, "x"))

    assert seen.structure == harmless.structure
    assert set_off(seen) == []
    assert "<script>x" not in render(poisoned(samples.two_models(), evil), "html")


def test_without_timings_no_model_has_them() -> None:
    told = read_results(render(samples.two_models(), "json", timings=False))

    assert isinstance(told, Results)
    assert told.execution is None
    assert [one.execution for one in told.models] == [None, None]
    assert json.loads(told.to_json())["schema"] == "lockgate.result/2"
