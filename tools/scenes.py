"""Draw the pictures of docs/scenarios.md from real runs, in a temporary clone of this repository.

    python tools/scenes.py            # what DVC keeps has to be in the cache: `make run` first

Each scene is what a person of that role types, and what was printed. The commands are run in the clone with this
environment's lockgate; the browser is that of the tests (``make tests/web/node_modules``).
"""

import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import cmarkgfm  # type: ignore[import-untyped]
from cmarkgfm.cmark import Options  # type: ignore[import-untyped]
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))
from pictures import BROWSER, COMMENT, IMAGES, WEB  # noqa: E402

TERMINAL = """
body { margin: 0; background: #0d1117; width: 900px }
pre { color: #e6edf3; font: 13px/1.45 "Liberation Mono", "DejaVu Sans Mono", monospace; margin: 0; padding: 14px 18px;
      white-space: pre-wrap; word-break: break-word }
b { color: #7ee787; font-weight: normal } i { color: #8b949e; font-style: normal }
"""
MOST = 16
"""Lines of an output that are shown; what is left out is said."""
SCIENTIST = (
    "sed -i 's/learning_rate: .*/learning_rate: 0.3/' params.yaml",
    "lockgate plan",
    "lockgate run 2>/dev/null",
    "lockgate check",
)
MANAGER = (
    "lockgate release flight-delay@v1.0.0 --rebuild none",
    "lockgate promote v1.0.0 staging --tag",
    "lockgate history staging",
    "lockgate show staging",
)
SCORING = (
    "curl -s localhost:8093/v1/predict -H 'Content-Type: application/json' -d @request.json",
    "lockgate score staging data/prepared/test.parquet ../scores",
)
REQUEST = """{"carrier": "UA", "origin": "EWR", "dest": "IAH", "flight": 252, "distance": 1400,
 "scheduled_departure": "2013-10-01T05:17:00", "scheduled_arrival": "2013-10-01T07:57:00"}"""


PASSED = re.compile(r"(?i)LANG|(https?|no|all)_proxy|SSL_CERT|REQUESTS_CA|PIP_INDEX|UV_")


class Clone:
    """A clone of this repository, with what DVC keeps."""

    def __init__(self, folder: Path) -> None:
        """Make it below ``folder``."""
        self.root = folder / "flights"
        (folder / "gitconfig").write_text(
            "[user]\n name = Ada\n email = ada@example.org\n[init]\n defaultBranch = main\n"
        )
        self.environment = {
            **{name: value for name, value in os.environ.items() if PASSED.match(name)},
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(folder / "site"),
            "COLUMNS": "100",
        }
        subprocess.run(["git", "clone", "-q", ROOT, self.root], check=True)
        shutil.copytree(ROOT / ".dvc/cache", self.root / ".dvc/cache", copy_function=os.link)
        self.run("git checkout -q -B main && git remote remove origin && dvc checkout -q")

    def run(self, line: str, *, may_fail: bool = False) -> str:
        """Run a line as a person types it; return what it prints."""
        done = subprocess.run(
            ["bash", "-c", line], cwd=self.root, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode > (1 if may_fail else 0):  # a gate may say no; what could not be asked is no scene
            raise SystemExit(f"$ {line}\n{done.stdout}{done.stderr}")
        code = f"exit code {done.returncode}\n" if done.returncode else ""
        return f"{done.stdout}{done.stderr}{code}"

    def typed(self, lines: tuple[str, ...]) -> str:
        """Return the terminal after these lines, as HTML."""
        parts = []
        for line in lines:
            said = self.run(line, may_fail=True).rstrip("\n").split("\n")
            more = [f"<i>… {len(said) - MOST} more lines</i>"] if len(said) > MOST else []
            shown = [html.escape(one) for one in said[:MOST] if said != [""]] + more
            parts.append("\n".join([f"<b>$ {html.escape(line)}</b>", *shown]))
        return "\n\n".join(parts)


def shot(browser: "Browser", name: str, page: str, *, width: int = 900, height: int | None = None) -> None:
    """Draw a page to docs/images, its whole length or its beginning."""
    drawn = browser.new_page(viewport={"width": width, "height": height or 100})
    drawn.set_content(page)
    drawn.screenshot(path=IMAGES / f"{name}.png", full_page=height is None)
    drawn.close()


def terminal(browser: "Browser", name: str, text: str) -> None:
    """Draw a terminal."""
    shot(browser, name, f"<style>{TERMINAL}</style><pre>{text}</pre>")


def served(clone: Clone) -> str:
    """Return the terminal of a scoring team, with the service running."""
    (clone.root / "request.json").write_text(REQUEST)
    command = ["lockgate", "serve", "staging", "--public-key", "lockgate.pub", "--port", "8093"]
    with subprocess.Popen(
        command, cwd=clone.root, env=clone.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as service:
        try:
            clone.run("curl -s --retry 60 --retry-connrefused --retry-delay 1 localhost:8093/readyz")
            return f"<b>$ {' '.join(command)} &amp;</b>\n\n{clone.typed(SCORING)}"
        finally:
            service.terminate()


def proposed(clone: Clone) -> str:
    """Return what `lockgate init` says in its pull request where nothing of Lockgate is, as HTML."""
    clone.run("git checkout -q . && git checkout -q -B stranger && git branch -q -D main")
    clone.run("git rm -rq .github lockgate.yaml .gitattributes && git commit -q -m 'A pipeline, and no Lockgate'")
    clone.run("git branch -q -m stranger main && git remote add origin https://github.com/lab/flights")
    clone.run(f"lockgate init --no-push --no-lock --no-history --pin {'a' * 40}")
    body = clone.run("git log -1 --format=%b lockgate-init")
    options = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_GITHUB_PRE_LANG
    shown = cmarkgfm.github_flavored_markdown_to_html(re.sub("a{40}", "4f1c…", body), options)
    author = "<div class=comment><div class=author><b>ada</b> wants to merge lockgate-init</div>"
    title = "<h3>Propose Lockgate for this repository</h3>"
    wide = "body { width: 1080px } table { font-size: 13px } td:first-child { white-space: nowrap }"
    return f"<style>{COMMENT}{wide}</style>{author}<div class=body>{title}{shown}</div></div>"


def main() -> None:
    """Run all scenes and draw them."""
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
        clone = Clone(Path(folder))
        clone.run("lockgate keys && git add lockgate.pub && git commit -q -m 'The key that verifies releases'")
        clone.run("git tag -a flight-delay@v1.0.0 -m 'The first'")
        terminal(browser, "scene-release", clone.typed(MANAGER))
        terminal(browser, "scene-scoring", served(clone))
        terminal(browser, "scene-scientist", clone.typed(SCIENTIST))
        shot(browser, "scene-adopt", proposed(clone), width=1104, height=820)
        browser.close()


if __name__ == "__main__":
    main()
