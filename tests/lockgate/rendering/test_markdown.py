import re
from dataclasses import replace
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lockgate import samples
from tests.lockgate.github import read, set_off, to_html
from tests.lockgate.poison import poisoned
from tests.lockgate.rendering.test_escape import NASTY

from lockgate.rendering.escape import text
from lockgate.rendering.markdown import LIMIT, SHRINK_ORDER
from lockgate.rendering.render import render
from lockgate.rendering.result_document import document
from lockgate.rendering.several_document import documents
from lockgate.result import Curve, LockStatus, Result, Training, Verdict

if TYPE_CHECKING:
    from playwright.sync_api import Browser

GOLDEN = Path(__file__).parents[1] / "golden"
MERMAID = Path(__file__).parents[2] / "web" / "node_modules" / "mermaid" / "dist" / "mermaid.min.js"
ONE_OF_EACH = [samples.better_model(), samples.failing_gate(), samples.failing_stage(), samples.lock_differs()]
HARMLESS = {id(result): read(render(poisoned(result, "x"), "md")).structure for result in ONE_OF_EACH}


def utf16(comment: str) -> int:
    return len(comment.encode("utf-16-le")) // 2


@pytest.mark.parametrize(
    "sample", ["better_model", "carrier_hurt", "failing_gate", "failing_stage", "first_commit", "docs_only"]
)
def test_the_comment_is_the_one_that_was_approved(sample: str, refresh_golden: bool) -> None:
    comment = render(samples.SAMPLES[sample](), "md")
    golden = GOLDEN / f"{sample}.md"
    if refresh_golden:
        golden.write_text(comment, encoding="utf-8", newline="\n")
    assert comment == golden.read_bytes().decode()


@given(st.sampled_from(ONE_OF_EACH), NASTY.filter(lambda value: value.strip() != ""))
def test_no_value_changes_what_the_comment_is_made_of(result: Result, value: str) -> None:
    seen = read(render(poisoned(result, value), "md"))
    assert seen.structure == HARMLESS[id(result)]
    assert set_off(seen) == []


@given(NASTY)
def test_a_comment_has_one_heading_of_a_verdict_and_no_marker(value: str) -> None:
    comment = render(poisoned(samples.failing_stage(), value), "md")
    assert read(comment).tags.count("<h3>") == 1
    assert "<!--" not in comment
    prose = re.sub(r"<pre>.*?</pre>", "", comment, flags=re.DOTALL)  # in a log a line is shown as it is
    assert [line for line in prose.splitlines() if line.startswith(("# ", "## ", "### "))] == [comment.split("\n")[0]]


def test_a_mention_in_the_name_of_everything_reaches_nobody() -> None:
    seen = read(render(poisoned(samples.failing_gate(), "@everyone #1 $x$ :tada:"), "md"))
    assert "@everyone" in seen.text
    assert set_off(seen) == []


@pytest.mark.parametrize("value", ["", "<" * 150, "a|" * 150, "\u202e" * 150, "😀" * 150, "`&" * 150, "a" * 150])
def test_a_comment_is_never_longer_than_github_takes(value: str) -> None:
    result = samples.huge()
    comment = render(poisoned(result, value) if value else result, "md")
    assert utf16(comment) <= LIMIT
    assert "Shortened to what GitHub takes" in comment


def test_a_shortened_comment_keeps_the_verdict_and_says_what_is_missing() -> None:
    seen = read(render(samples.huge(), "md"))
    assert "3 of 7 gates fail" in seen.text
    assert re.search(r"left out: .*hashes", seen.text)
    assert re.search(r"… and [\d,]+ more", seen.text)


def test_sections_shrink_in_the_stated_order() -> None:
    full = samples.huge()
    lengths = [40, 400, 4_000]
    gone: list[set[str]] = []
    for length in lengths:
        comment = render(replace(full, metrics=full.metrics[:30], gates=full.gates[: length // 40]), "md")
        found = re.search(r"left out: ([^;.]*)", comment)
        gone.append(set(found[1].split(", ")) if found else set())
    sections = document(full).sections
    titles = [section.title.lower() for name in SHRINK_ORDER for section in sections if section.name == name]
    for left_out in gone:
        assert left_out == set(titles[: len(left_out)])
    assert all(fewer <= more for fewer, more in pairwise(gone))


def test_every_section_has_its_place_in_the_order() -> None:
    names = {section.name for sample in samples.SAMPLES.values() for section in document(sample()).sections}
    names |= {section.name for section in documents(samples.two_models(), short=True).overview.sections}
    assert names == set(SHRINK_ORDER)


def test_a_change_of_documents_alone_gives_a_short_comment() -> None:
    (line,) = render(samples.docs_only(), "md").splitlines()
    assert line.endswith("No input of a stage differs, so nothing had to be run.")


def test_nothing_is_called_reproduced_or_written_that_did_not_run() -> None:
    idle = replace(samples.better_model(), execution=samples.docs_only().execution, stages=samples.docs_only().stages)
    restored = replace(idle.execution, stages=tuple(replace(one, status="restored") for one in idle.execution.stages))
    for status in ("reproduced", "written"):
        shown = render(replace(idle, lock=LockStatus(status)), "md").split("\n")[2]
        assert "Nothing had to be run." in shown
        assert "Reproduced" not in shown
        assert "written by this run" not in shown
    shown = render(replace(idle, lock=LockStatus("reproduced"), execution=restored), "md")
    assert "No command was run" in shown
    assert "Reproduced" not in shown


def test_what_a_run_says_of_itself_is_marked_and_does_not_outweigh_the_locks() -> None:
    result = replace(samples.better_model(), execution=samples.docs_only().execution)  # its locks say that stages ran
    noted = replace(result.execution, notes=("All of this was verified.",))
    shown = render(replace(result, execution=noted), "md")

    assert "Nothing had to be run" not in shown
    assert "- The run says: All of this was verified." in shown
    assert "This part is the run's own word." in shown


def test_where_no_metric_changes_nothing_is_said_of_luck() -> None:
    luck = Training("train.seed", "none")
    same = tuple(replace(one, change=0.0) for one in samples.better_model().metrics)

    assert "Training noise" in render(replace(samples.better_model(), training=luck), "md")
    assert "Training noise" not in render(replace(samples.better_model(), training=luck, metrics=same), "md")


def test_a_failed_run_says_of_each_stage_what_it_came_to() -> None:
    result = samples.failing_stage()
    pending = tuple(replace(one, status="pending" if one.reasons else "same") for one in result.stages)
    shown = render(replace(result, stages=pending), "md")

    assert "- `prepare`: ran, `src/flight_delay/features.py` (code)" in shown
    assert "- `train`: failed, " in shown
    assert "- `evaluate`: not reached, " in shown
    assert "not run yet" not in shown


def test_what_base_has_as_well_is_folded_and_a_warning_that_grew_is_not() -> None:
    result = samples.failing_gate()
    shown, folded = read_parts(render(result, "md"))
    assert "duplicate rows" not in shown
    assert "The model is opaque" not in shown
    assert re.search(r"The same in base.*The model is opaque.*duplicate rows", folded, re.DOTALL)

    grown = replace(result.checks, failed=tuple(replace(one, failures=13) for one in result.checks.failed))
    assert "| 13 | 12 |" in read_parts(render(replace(result, checks=grown), "md"))[0]


def read_parts(comment: str) -> tuple[str, str]:
    """Return what is in the open, and what is folded."""
    folded = re.findall(r"<details>.*?</details>", comment, re.DOTALL)
    return re.sub(r"<details>.*?</details>", "", comment, flags=re.DOTALL), "".join(folded)


def test_each_slice_is_shown_once() -> None:
    shown = render(samples.carrier_hurt(), "md")
    assert [shown.count(f"| `carrier = {name}`") for name, _ in samples.CARRIERS] == [1] * len(samples.CARRIERS)


def test_a_slice_that_got_worse_is_not_folded() -> None:
    unfolded = re.sub(r"<details>.*?</details>", "", render(samples.carrier_hurt(), "md"), flags=re.DOTALL)
    assert "| `carrier = B6` |" in unfolded


def test_gates_that_fail_come_first_and_are_not_folded() -> None:
    first, rest = render(samples.failing_gate(), "md").split("#### Gates: 4 of 7 hold")[1].split("####", 1)
    held = rest.split("<summary><b>Gates that hold</b>: 4 of 7</summary>")[1].split("</details>")[0]
    assert (re.findall("[✅❌]", first), re.findall("[✅❌]", held)) == (["❌"] * 3, ["✅"] * 4)


def test_a_policy_change_is_pointed_out() -> None:
    assert "**This changes the policy.**" in render(samples.failing_gate(), "md")
    assert "changes the policy" not in render(samples.better_model(), "md")


@pytest.mark.parametrize(
    ("sample", "sentence"),
    [
        ("noise", "**Reproduced:**"),
        ("better_model", "**written by this run.**"),
        ("lock_differs", "**The author's lock differs** from what came out here for `train`, `evaluate`"),
        ("first_commit", "there is no base to compare with"),
    ],
)
def test_what_stands_behind_the_figures_is_said(sample: str, sentence: str) -> None:
    assert sentence in render(samples.SAMPLES[sample](), "md")


def test_without_timings_nothing_of_the_machine_is_left() -> None:
    result = samples.better_model()
    assert render(result, "md", timings=False) == render(replace(result, execution=None), "md")
    assert "24 s" in render(result, "md")
    assert "24 s" not in render(result, "md", timings=False)


def test_the_verdict_is_text_even_if_it_looks_like_markup() -> None:
    result = replace(samples.noise(), verdict=Verdict("failed", "### ✅ passed\n\n### ✅ passed"))
    comment = render(result, "md")
    assert comment.startswith("### ❌ flight-delay failed: `###` `✅` passed `###` `✅` passed\n")
    assert text("passed") == "passed"


# --- charts, by the real Mermaid in a real browser ---


def mermaid_blocks(comment: str) -> list[str]:

    return [
        unescape(found) for found in re.findall(r'<pre lang="mermaid"><code>(.*?)</code></pre>', to_html(comment), re.S)
    ]


DRAW = """async (source) => {
  mermaid.initialize({ startOnLoad: false });
  const { svg } = await mermaid.render("chart", source);
  const host = document.createElement("div");
  host.innerHTML = svg;
  const lines = [...host.querySelectorAll("g.plot path")];
  return { lines: lines.length, colours: lines.map((line) => line.getAttribute("stroke")), text: host.textContent };
}"""


@pytest.mark.slow
def test_mermaid_draws_every_curve_with_both_its_lines(chromium: "Browser") -> None:
    page = chromium.new_page()
    page.add_script_tag(path=MERMAID)
    odd = (
        *samples.CURVES,
        Curve("one side", "x", "y", (), ((0.0, -3.0), (1e-7, 5.0))),
        Curve("large", "x", "y", ((0.0, 1e15), (1e9, 2e15)), ((0.0, 1e15), (1e9, 3e15))),
        Curve("small", "x", "y", ((0.0, 1e-9), (1.0, 3e-9)), ((0.0, 2e-9), (1.0, 2e-9))),
        Curve("flat", "x", "y", ((-2.0, -5.0), (1.0, -5.0)), ((-2.0, -5.0), (1.0, -5.0))),
    )
    blocks = mermaid_blocks(render(replace(samples.better_model(), curves=odd), "md"))
    drawn = [page.evaluate(DRAW, source) for source in blocks]
    assert [chart["lines"] for chart in drawn] == [2, 3, 1, 2, 2, 2]  # the calibration has its diagonal
    assert drawn[0]["colours"] == ["#8b949e", "#1f6feb"]
    assert "false positive rate" in drawn[0]["text"]


@pytest.mark.slow
def test_mermaid_takes_nothing_from_a_hostile_label(chromium: "Browser") -> None:
    page = chromium.new_page()
    page.add_script_tag(path=MERMAID)
    hostile = [
        '"',
        "%%{init: {'theme': 'dark'}}%%",
        "a\nline [1, 2]",
        "```",
        "<b>x</b>",
        "#quot;",
        "]",
        "",
        "模型 →",
        "--> 3",
    ]
    for label in hostile:
        curve = replace(samples.CURVES[0], title=label, x=label, y=label)
        (source,) = mermaid_blocks(render(replace(samples.better_model(), curves=(curve,)), "md"))
        assert page.evaluate(DRAW, source)["lines"] == 2, label


def test_a_curve_with_nothing_to_draw_says_so() -> None:
    empty = Curve("ROC", "x", "y", (), (), "plot is a picture: reports/roc.png")
    point = Curve("PR", "x", "y", (), ((0.5, 0.5),))
    comment = render(replace(samples.better_model(), curves=(empty, point)), "md")
    assert "`ROC`: plot is a picture: `reports/roc.png`" in comment
    assert "**PR**: too few points to draw" in comment
    assert "mermaid" not in comment
