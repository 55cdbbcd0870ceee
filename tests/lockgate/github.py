"""GitHub's Markdown as far as a comment depends on it: its real parser, and what its later passes look for."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

import cmarkgfm  # type: ignore[import-untyped]
from cmarkgfm.cmark import Options  # type: ignore[import-untyped]

# What GitHub turns into something after Markdown, in text outside of code.
LATER_PASSES = {
    "mention": re.compile(r"(?<![\w`])@[a-z\d]", re.I),
    "reference": re.compile(r"(?:^|[^&\w])(?:[\w.-]+/[\w.-]+)?#\d|\bGH-\d", re.I),
    "emoji code": re.compile(r":[a-z\d_+-]+:", re.I),
    "formula": re.compile(r"\$"),
    "link": re.compile(r"https?:|ftp:|mailto:|xmpp:|\bwww\.|\w@\w", re.I),
    "commit of another repository": re.compile(r"@[0-9a-f]{7,}"),
}


@dataclass
class Rendered:
    """What a reader gets: every tag in order, all text, and the text outside of code."""

    tags: list[str] = field(default_factory=list)
    text: str = ""
    prose: list[str] = field(default_factory=list)

    @property
    def structure(self) -> list[str]:
        """The tags but for inline code, in which a value may stand whole, in parts, or not at all."""
        return [tag for tag in self.tags if tag not in ("<code>", "</code>")]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.seen = Rendered()
        self.code = 0
        self.named: list[tuple[str, ...]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.code += tag == "code"
        self.named.append((tag, *(name for name, _ in attrs)))
        self.seen.tags.append(f"<{' '.join([tag, *(f'{name}={value}' for name, value in attrs)])}>")

    def handle_endtag(self, tag: str) -> None:
        self.code -= tag == "code"
        self.seen.tags.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.seen.text += data
        if not self.code:
            self.seen.prose.append(data)

    def handle_comment(self, data: str) -> None:
        self.seen.tags.append("<!---->")

    def handle_decl(self, decl: str) -> None:
        self.seen.tags.append("<!>")

    def handle_pi(self, data: str) -> None:
        self.seen.tags.append("<?>")


def elements(page: str) -> list[tuple[str, ...]]:
    """Name every element of a page in order, each with the names of its attributes."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return reader.named


def to_html(markdown: str) -> str:
    """Render as GitHub's parser does, with footnotes, and with raw HTML kept so that it can be seen."""
    options = Options.CMARK_OPT_UNSAFE | Options.CMARK_OPT_FOOTNOTES | Options.CMARK_OPT_GITHUB_PRE_LANG
    return str(cmarkgfm.github_flavored_markdown_to_html(markdown, options))


def read(markdown: str) -> Rendered:
    reader = _Reader()
    reader.feed(to_html(markdown))
    reader.close()
    return reader.seen


def set_off(seen: Rendered) -> list[str]:
    """Name the later passes that would find something to change."""
    prose = [*seen.prose, "".join(seen.prose)]
    return [name for name, pattern in LATER_PASSES.items() if any(pattern.search(text) for text in prose)]
