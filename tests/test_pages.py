"""The pages of docs: those made from the code are what it says, all are listed, and each word has one meaning."""

import importlib.util
import re
from pathlib import Path

from tools import reference

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def test_pages_made_from_the_code_are_what_the_code_says() -> None:
    spec = importlib.util.spec_from_file_location("pages", ROOT / "tools" / "pages.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)

    stale = [str(path.relative_to(ROOT)) for path, text in made.pages().items() if path.read_text() != text]

    assert stale == [], "`make pages` writes them"


def test_the_reference_names_every_variable_that_the_code_or_a_workflow_reads() -> None:
    assert reference.named(ROOT) - set(reference.VARIABLES) == set()
    assert {name for name in reference.VARIABLES if name.startswith("LOCKGATE_")} - reference.named(ROOT) == set()


def test_the_reference_says_the_same_on_every_machine() -> None:
    page = (DOCS / "commands.md").read_text()

    assert str(Path.home()) + "/" not in page or str(Path.home()) == "/"
    assert not re.search(r"/(home|root|tmp|work)/", page)


def test_the_index_lists_every_page_once() -> None:
    listed = re.findall(r"\]\(([a-z-]+\.md)\)", (DOCS / "README.md").read_text())

    assert sorted(listed) == sorted(page.name for page in DOCS.glob("*.md") if page.name != "README.md")


def test_the_glossary_is_in_order_and_explains_each_word_once() -> None:
    words = re.findall(r"^\*\*(.+?)\*\*", (DOCS / "glossary.md").read_text(), re.MULTILINE)

    assert len(words) > 20
    assert words == sorted(set(words), key=str.lower)
