"""Draw ``comment.png``: the comment on a result, as GitHub's Markdown parser and a browser show it.

python tests/e2e/picture.py handover/result.json docs/images/comment.png
"""

import os
import sys
from pathlib import Path

import cmarkgfm  # type: ignore[import-untyped]
from cmarkgfm.cmark import Options  # type: ignore[import-untyped]
from playwright.sync_api import sync_playwright

from lockgate.git import Commit
from lockgate.pull_requests import comment
from lockgate.result import read_result

ROOT = Path(__file__).resolve().parents[2]
BROWSER = ROOT / "tests/web/node_modules/.browser"
STYLE = """
body { font: 14px/1.5 -apple-system, "Segoe UI", "Open Sans", sans-serif; color: #1f2328; margin: 16px; width: 860px }
.comment { border: 1px solid #d1d9e0; border-radius: 6px }
.author { background: #f6f8fa; border-bottom: 1px solid #d1d9e0; padding: 8px 16px; color: #59636e }
.body { padding: 16px } h3 { font-size: 1.25em; margin: 0 0 16px } h4 { margin: 24px 0 12px }
table { border-collapse: collapse; margin: 12px 0 } th, td { border: 1px solid #d1d9e0; padding: 6px 13px }
tr:nth-child(2n) { background: #f6f8fa } summary { margin: 8px 0 }
code { background: #818b981f; border-radius: 6px; padding: .2em .4em; font: 85% "Liberation Mono", monospace }
"""


def main(source: str, target: str) -> None:
    """Draw the comment."""
    result = read_result(Path(source).read_bytes())
    base = Commit(ROOT, "main", (result.base and result.base.commit) or "0" * 40)
    head = Commit(ROOT, "faster-learning", "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432")
    told = comment.Told(base, head, "https://github.com/OWNER/NAME/actions/runs/1", ()).with_result(result)
    text = comment.text(told, comment.Written("1b2a39485766758493a2b1c0d9e8f70615243342"))
    options = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_GITHUB_PRE_LANG
    body = cmarkgfm.github_flavored_markdown_to_html(text, options)
    page = f"<style>{STYLE}</style><div class=comment><div class=author><b>github-actions</b> bot</div>"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=BROWSER / "chromium",
            args=["--no-sandbox", "--no-zygote", "--disable-gpu"],
            env={
                "LD_LIBRARY_PATH": str(BROWSER / "al2023" / "lib"),
                "FONTCONFIG_FILE": str(ROOT / "tests/web/fonts.conf"),
                "HOME": os.environ.get("HOME", "."),
            },
        )
        view = browser.new_page(viewport={"width": 900, "height": 200})
        view.set_content(f"{page}<div class=body>{body}</div></div>")
        view.screenshot(path=target, full_page=True)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
