import re
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from tests.lockgate import samples
from tests.lockgate.github import elements
from tests.lockgate.poison import poisoned
from tests.lockgate.rendering.test_escape import NASTY, PAYLOADS

from lockgate.rendering.document import Bullets, Paragraph, Table
from lockgate.rendering.html_chart import ticks
from lockgate.rendering.render import render
from lockgate.rendering.result_document import document
from lockgate.result import Curve, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

GOLDEN = Path(__file__).parents[1] / "golden"
AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]
SCREENS = {"desktop": (1280, 800), "phone": (360, 740)}


@contextmanager
def opened(chromium: "Browser", folder: Path, result: Result, **context: Any) -> "Iterator[Page]":
    """Open a result's page from a file; on leaving, it must have complained of nothing and asked for nothing."""
    path = folder / "report.html"
    path.write_text(render(result, "html"), encoding="utf-8")
    page = chromium.new_context(offline=True, **context).new_page()
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    yield page
    page.context.close()
    assert complaints == []
    assert requests == [path.as_uri()]


def body(page: str) -> str:
    return page[page.index("<body>") : page.rindex("<script>")]


def test_the_page_is_the_one_that_was_approved(refresh_golden: bool) -> None:
    shown = body(render(samples.docs_only(), "html"))
    golden = GOLDEN / "docs_only.html"
    if refresh_golden:
        golden.write_text(shown, encoding="utf-8", newline="\n")
    assert shown == golden.read_bytes().decode()


@given(NASTY.filter(lambda value: value.strip() != ""))
def test_no_value_makes_an_element_or_an_attribute(value: str) -> None:
    hostile, harmless = (elements(render(poisoned(samples.failing_gate(), text), "html")) for text in (value, "x"))
    assert [one for one in hostile if one != ("code",)] == [one for one in harmless if one != ("code",)]


@pytest.mark.slow
@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("sample", sorted(samples.SAMPLES.keys() - {"huge"}))
def test_a_page_is_quiet_and_never_wider_than_its_screen(
    chromium: "Browser", tmp_path: Path, sample: str, screen: str
) -> None:
    width, height = SCREENS[screen]
    with opened(chromium, tmp_path, samples.SAMPLES[sample](), viewport={"width": width, "height": height}) as page:
        page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.inner_text("h1").strip() != ""


@pytest.mark.slow
@pytest.mark.parametrize(("sample", "script"), [("better_model", True), ("noise", False), ("failing_gate", False)])
def test_a_phone_shows_the_decision_on_four_screens_until_something_is_opened(
    chromium: "Browser", tmp_path: Path, sample: str, script: bool
) -> None:
    phone = {"viewport": {"width": 390, "height": 740}, "java_script_enabled": script}
    with opened(chromium, tmp_path, samples.SAMPLES[sample](), **phone) as page:
        box = page.locator("html").bounding_box()
        assert box is not None
        assert box["height"] <= 3_000
        assert not page.locator("details[open]").count()


@pytest.mark.slow
def test_the_longest_values_do_not_widen_a_phone(chromium: "Browser", tmp_path: Path) -> None:
    result = poisoned(samples.failing_gate(), "W" * 300)
    with opened(chromium, tmp_path, result, viewport={"width": 360, "height": 740}) as page:
        page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("sample", ["carrier_hurt", "failing_gate", "failing_stage"])
def test_no_rule_of_accessibility_is_broken(
    chromium: "Browser", tmp_path: Path, sample: str, screen: str, scheme: Any
) -> None:
    width, height = SCREENS[screen]
    path = tmp_path / "page"
    path.mkdir()
    view = {"width": width, "height": height}
    with opened(chromium, path, samples.SAMPLES[sample](), viewport=view, color_scheme=scheme, bypass_csp=True) as page:
        page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found = page.evaluate(
            "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice'] })"
        )
        assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]] == []
        checked = {rule["id"] for rule in found["passes"]}
        assert {"color-contrast", "button-name", "region", "aria-valid-attr"} <= checked


@pytest.mark.slow
def test_a_hostile_value_runs_nothing(chromium: "Browser", tmp_path: Path) -> None:
    attack = "</script><script>document.title='owned'</script><img src=http://x.test onerror=alert(1)>\"'>"
    result = poisoned(samples.better_model(), attack)
    with opened(chromium, tmp_path, result) as page:
        assert "owned" not in page.evaluate("document.title").replace(attack, "")
        assert page.locator("img").count() == 0
        assert attack in page.inner_text("h1").replace("\n", "")


@pytest.mark.slow
def test_script_that_the_page_did_not_bring_is_refused(chromium: "Browser", tmp_path: Path) -> None:
    path = tmp_path / "injected.html"
    page = render(samples.noise(), "html")
    path.write_text(page.replace("</main>", "<script>document.title = 'owned'</script></main>"), encoding="utf-8")
    tab = chromium.new_page()
    refused: list[str] = []
    tab.on("console", lambda message: refused.append(message.text))
    tab.goto(path.as_uri())
    assert tab.title() == "flight-delay needs a look"
    assert any("Content Security Policy" in text for text in refused)


@pytest.mark.slow
def test_tables_sort_up_down_and_back_by_mouse_and_keyboard(chromium: "Browser", tmp_path: Path) -> None:
    with opened(chromium, tmp_path, samples.carrier_hurt()) as page:
        table = page.locator("#slices table")
        names = "rows => rows.map((row) => row.cells[0].textContent.slice(-2))"

        def order() -> list[str]:
            return list(table.locator("tbody tr").evaluate_all(names))

        given = order()
        rows = table.locator("thead th", has_text="rows")
        assert rows.get_attribute("aria-sort") == "none"
        rows.get_by_role("button").click()
        assert order() == ["HA", "AA", "DL", "EV", "UA"]
        assert rows.get_attribute("aria-sort") == "ascending"
        page.keyboard.press("Enter")
        assert order() == ["UA", "EV", "DL", "AA", "HA"]
        assert rows.get_attribute("aria-sort") == "descending"
        page.keyboard.press("Space")
        assert order() == given
        table.locator("thead th", has_text="change").get_by_role("button").click()
        assert order()[-1] == "UA"
        assert rows.get_attribute("aria-sort") == "none"


@pytest.mark.slow
def test_what_has_no_figure_is_sorted_last_either_way(chromium: "Browser", tmp_path: Path) -> None:
    with opened(chromium, tmp_path, samples.failing_gate()) as page:
        head = page.locator("#metrics thead th", has_text="head, shared").get_by_role("button")
        for _ in range(2):
            head.click()
            assert page.locator("#metrics tbody tr").first.inner_text().startswith("roc_auc")


@pytest.mark.slow
def test_a_curve_is_read_by_keyboard_and_pointer(chromium: "Browser", tmp_path: Path) -> None:
    with opened(chromium, tmp_path, samples.better_model()) as page:
        roc = page.locator("figure").first
        slider = roc.get_by_role("slider")
        slider.focus()
        page.keyboard.press("Home")
        for _ in range(20):
            page.keyboard.press("ArrowRight")
        read = roc.locator("output").inner_text()
        base, head, change = map(float, re.findall(r"(?:base|head|change) ([+-]?[\d.]+)", read))
        assert read.startswith("false positive rate 0.20 → true positive rate")
        assert head - base == pytest.approx(change, abs=0.0011)
        assert slider.get_attribute("aria-valuetext") == read
        box = roc.locator(".plot").bounding_box()
        assert box is not None
        roc.locator(".plot").hover(position={"x": box["width"] * 0.9, "y": box["height"] / 2})
        assert roc.locator("output").inner_text().startswith("false positive rate 0.92")


@pytest.mark.slow
def test_a_line_can_be_hidden_and_is_then_not_read(chromium: "Browser", tmp_path: Path) -> None:
    with opened(chromium, tmp_path, samples.better_model()) as page:
        roc = page.locator("figure").first
        base = roc.get_by_role("button", name="base")
        base.focus()
        page.keyboard.press("Enter")
        assert base.get_attribute("aria-pressed") == "false"
        assert not roc.locator("path.base").is_visible()
        assert roc.locator("path.head").is_visible()
        assert "base" not in roc.locator("output").inner_text()
        base.click()
        assert "base" in roc.locator("output").inner_text()


@pytest.mark.slow
def test_colours_follow_the_system_until_the_reader_chooses(chromium: "Browser", tmp_path: Path) -> None:
    with opened(chromium, tmp_path, samples.noise(), color_scheme="dark") as page:
        paper = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(paper)
        page.get_by_role("button", name="Switch to light colours").click()
        light = page.evaluate(paper)
        page.get_by_role("button", name="Switch to dark colours").click()
        assert (dark, light) == ("rgb(16, 20, 24)", "rgb(255, 255, 255)")
        assert page.evaluate(paper) == dark


@pytest.mark.slow
def test_the_first_tab_leads_past_the_header(chromium: "Browser", tmp_path: Path) -> None:
    with opened(chromium, tmp_path, samples.noise()) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the result"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")


@pytest.mark.slow
@pytest.mark.parametrize("sample", ["carrier_hurt", "failing_gate", "failing_stage", "first_commit"])
def test_the_page_tells_all_that_the_comment_tells_also_without_its_script(
    chromium: "Browser", tmp_path: Path, sample: str
) -> None:
    result = samples.SAMPLES[sample]()
    with opened(chromium, tmp_path, result, java_script_enabled=False) as page:
        shown = " ".join((page.text_content("body") or "").split())
    for section in document(result).sections:
        assert section.title in shown
        assert section.aside in shown
        for block in section.blocks:
            lines = [block.line] if isinstance(block, Paragraph) else []
            lines += list(block.items) if isinstance(block, Bullets) else []
            lines += [cell.line for row in block.rows for cell in row] if isinstance(block, Table) else []
            for line in lines:
                told = "".join(part if isinstance(part, str) else getattr(part, "value", "") for part in line)
                assert all(word in shown for word in told.split())


@pytest.mark.slow
def test_a_printed_page_shows_what_the_screen_folds(chromium: "Browser", tmp_path: Path) -> None:
    with opened(chromium, tmp_path, samples.better_model()) as page:
        hashes = page.locator("#hashes table")
        assert not hashes.is_visible()
        page.emulate_media(media="print")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert hashes.is_visible()


@pytest.mark.slow
def test_a_huge_result_is_still_a_page_that_sorts(chromium: "Browser", tmp_path: Path) -> None:
    with opened(chromium, tmp_path, samples.huge()) as page:
        assert page.locator("#changes li").count() == 10_000 + 3
        assert page.locator(":is(#slices, #hurt) tbody tr").count() == 2_040
        page.locator("#slices thead button").first.click()
        assert page.locator("#slices tbody tr").first.inner_text().startswith("carrier = AA0")


def test_a_curve_with_one_side_or_nothing_is_drawn_as_far_as_it_goes() -> None:
    curves = (
        Curve("one", "x", "y", (), ((0.0, 0.0), (1.0, 1.0))),
        Curve("point", "x", "y", ((0.0, 0.0),), ((0.5, 1.0),)),
        Curve("apart", "x", "y", ((0.0, 0.0), (1.0, 1.0)), ((2.0, 2.0), (3.0, 3.0))),
        Curve("none", "x", "y", (), (), "not found"),
    )
    page = render(replace(samples.noise(), curves=curves), "html")
    assert page.count("<figure") == 3
    assert "point: too few points to draw" in page
    assert "not found" in page


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (0.04, 0.85, [0.2, 0.4, 0.6, 0.8]),
        (-3.0, 4.0, [-2.0, 0.0, 2.0, 4.0]),
        (990.0, 1010.0, [990.0, 995.0, 1000.0, 1005.0, 1010.0]),
        (1e-9, 3e-9, [1e-9, 1.5e-9, 2e-9, 2.5e-9, 3e-9]),
    ],
)
def test_ticks_are_round_figures_within_the_axis(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_all_payloads_together_leave_the_page_whole() -> None:
    page = render(poisoned(samples.failing_stage(), " ".join(PAYLOADS)), "html")
    assert page.count("<main") == page.count("</main>") == page.count("<h1") == 1
