"""Draw the pictures of docs/images/ from the result of a real run: the comment on a pull request, and the page.

    python tools/pictures.py result.json

``comment.png`` is the comment as GitHub's own Markdown parser and a browser show it, ``page.png`` is the first screens
of the page of ``lockgate report --format html``, on a desktop and on a phone. README and docs/reviewers.md show them.
The browser is that of the tests (``make tests/web/node_modules``).
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import cmarkgfm  # type: ignore[import-untyped]
from cmarkgfm.cmark import Options  # type: ignore[import-untyped]
from playwright.sync_api import sync_playwright

from lockgate.publishing.comment import Told, Written, text
from lockgate.rendering.render import render
from lockgate.result import Result, read_result

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
WEB, IMAGES = ROOT / "tests" / "web", ROOT / "docs" / "images"
BROWSER = WEB / "node_modules" / ".browser"
COMMENT = """
body { font: 14px/1.5 -apple-system, "Segoe UI", "Open Sans", sans-serif; color: #1f2328; margin: 12px; width: 840px }
.comment { border: 1px solid #d1d9e0; border-radius: 6px }
.author { background: #f6f8fa; border-bottom: 1px solid #d1d9e0; padding: 8px 16px; color: #59636e }
.body { padding: 16px } h3 { font-size: 1.25em; margin: 0 0 12px } h4 { margin: 20px 0 8px }
table { border-collapse: collapse; margin: 8px 0 } th, td { border: 1px solid #d1d9e0; padding: 5px 12px }
tr:nth-child(2n) { background: #f6f8fa } summary { margin: 6px 0 } p, ul { margin: 8px 0 }
code { background: #818b981f; border-radius: 6px; padding: .2em .4em; font: 85% "Liberation Mono", monospace }
"""
PAGE = """
body { margin: 0; display: flex; gap: 20px; align-items: start; background: #d5dae0; padding: 16px; width: max-content }
img { display: block; border-radius: 8px; box-shadow: 0 1px 6px #0004 }
"""
SIGNS = {"❌": ("✘", "#d1242f"), "✅": ("✔", "#1a7f37"), "⚠️": ("▲", "#9a6700"), "🔴": ("●", "#d1242f"),
         "🟢": ("●", "#1a7f37")}  # fmt: skip
"""What stands for an emoji, of which the tests' fonts have none."""
DESKTOP, PHONE = (1000, 780), (390, 780)


def comment(browser: "Browser", result: Result) -> None:
    """Draw the comment, its details folded."""
    head = result.head.commit or "0" * 40
    told = Told(head, "https://github.com/OWNER/NAME/actions/runs/1").with_result(
        result, result.base or result.head, result.head
    )
    options = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_GITHUB_PRE_LANG
    body = cmarkgfm.github_flavored_markdown_to_html(text(told, Written(head)), options)
    for emoji, (sign, colour) in SIGNS.items():
        body = body.replace(emoji, f"<b style='color: {colour}'>{sign}</b>")
    page = browser.new_page(viewport={"width": 864, "height": 200})
    author = "<div class=comment><div class=author><b>github-actions</b> bot commented</div>"
    page.set_content(f"<style>{COMMENT}</style>{author}<div class=body>{body}</div></div>")
    page.screenshot(path=IMAGES / "comment.png", full_page=True)


def report(browser: "Browser", result: Result, folder: Path) -> None:
    """Draw the first screen of the page, on a desktop and on a phone."""
    (folder / "report.html").write_text(render(result, "html"), encoding="utf-8")
    shots = []
    for name, (width, height) in (("desktop", DESKTOP), ("phone", PHONE)):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto((folder / "report.html").as_uri())
        page.screenshot(path=folder / f"{name}.png")
        shots.append(f"<img src={name}.png width={width} height={height}>")
    (folder / "both.html").write_text(f"<style>{PAGE}</style>{''.join(shots)}")
    page = browser.new_page(viewport={"width": DESKTOP[0] + PHONE[0] + 52, "height": DESKTOP[1] + 32})
    page.goto((folder / "both.html").as_uri())
    page.screenshot(path=IMAGES / "page.png")


def main(source: str) -> None:
    """Draw both pictures from the result in ``source``."""
    result = read_result(Path(source).read_bytes())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER / "chromium",
            args=["--no-sandbox", "--no-zygote", "--disable-gpu"],
            env={
                "LD_LIBRARY_PATH": str(BROWSER / "al2023" / "lib"),
                "FONTCONFIG_FILE": str(WEB / "fonts.conf"),
                "HOME": os.environ.get("HOME", "."),
            },
        )
        comment(browser, result)
        report(browser, result, Path(folder))
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
