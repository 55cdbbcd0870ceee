"""Words that were given up stay out: they say nothing to a newcomer, or have a second meaning (docs/glossary.md)."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "lockgate"
# No name of a module, class, function, argument or attribute has one of these words in it.
NAMES = {
    "ahead", "telling", "evidence", "reproduction", "cleanplace", "errand", "doubt", "doubts", "trouble", "troubles",
}  # fmt: skip
# These are good English and poor names: no module, class or function is called so.
WHOLE_NAMES = {"access", "front", "numbers", "series", "access_", "clean_place"}
# In monitoring these are the field's own terms: the evidence of an e-detector, a series of days.
TERMS = {"evidence", "series"}
# Phrases in what people read: documentation, help, messages, docstrings, workflows.
PHRASES = {
    r"clean place": "fresh clone",
    r"\berrands?\b": "job",
    r"have (an|the) environment run": "promote a release to an environment",
    r"says? again what stands": "duplicate entry",
    r"\bcame to stand\b": "was kept",
    r"what (this|the) run left does not fit": "the artifact failed validation",
    r"holds other bytes than its name says": "object is corrupt: its content hashes to",
    r"\bnot of the agreed form\b": "does not have the expected form",
    r"\bis no (version|file|table|request|path|entry|event|environment|model|number|store)\b(?! more)": "is not a",
    r"whole in the quarantine": "complete in the quarantine",
    r"\bbelongs? into\b": "runs in",
    r"the author's word\b": "what the author says, unchecked",
}
PAGES = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Makefile", ROOT / "lockgate.yaml", ROOT / "dvc.yaml",
    *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / ".github").rglob("*.yml")), *sorted(SOURCE.rglob("*.py")),
]  # fmt: skip


def parts(name: str) -> set[str]:
    """Return the words of a name: ``fresh_clone`` and ``CleanPlace`` are clean, place and cleanplace."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"([A-Z])", r"_\1", name).lower())
    return {*words, *("".join(pair) for pair in pairwise(words))}


def names(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield each name that a module gives, and whether it is one of a module, class or function."""
    yield path.stem, True
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, True
        elif isinstance(node, ast.arg):
            yield node.arg, False
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield (node.id if isinstance(node, ast.Name) else node.attr), False


def test_no_name_has_a_word_that_was_given_up() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in SOURCE.rglob("*.py")
        for name, is_public in names(path)
        if parts(name) & NAMES or (is_public and name.strip("_").lower() in WHOLE_NAMES)
        if not (path.parent.name == "monitoring" and parts(name) & TERMS)
    }

    assert sorted(found) == []


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_that_was_given_up_is_nowhere(phrase: str) -> None:
    wanted = re.compile(rf"(?<!here )(?:{phrase})", re.IGNORECASE)

    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]} (rather: {PHRASES[phrase]})"
        for path in PAGES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if wanted.search(line)
    ]

    assert found == []


def test_the_lint_finds_what_it_is_there_to_find(tmp_path: Path) -> None:
    module = tmp_path / "errands.py"
    module.write_text("class Front:\n    def cleanPlace(self, doubts): self.trouble = 1\n")
    found = {name for name, public in names(module) if parts(name) & NAMES or (public and name.lower() in WHOLE_NAMES)}

    assert found == {"Front", "cleanPlace", "doubts", "trouble"}
