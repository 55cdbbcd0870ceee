"""A result as text for a terminal: what the comment says, in aligned columns."""

import re
import textwrap
from typing import assert_never
from unicodedata import combining, east_asian_width

from lockgate.rendering.document import (
    Block,
    Bullets,
    Chart,
    Code,
    Commit,
    Document,
    Judged,
    Line,
    Log,
    Mark,
    Paragraph,
    Part,
    Section,
    Strip,
    Strong,
    Table,
    Timeline,
    cut,
)
from lockgate.rendering.escape import CODE_LIMIT, TEXT_LIMIT, log, shorten, visible
from lockgate.result import Judgement, Outcome

WIDTH = 100
USUAL_ROWS, FOLDED_ROWS = 40, 10  # of a table or list; the page has all of them
SCREEN = 24  # lines: after more than these, the end says the verdict again
_COLOR = re.compile(r"\x1b\[\d+m")
NARROWEST = 8  # columns of a table are squeezed to fit, but never below this
_OUTCOME: dict[Outcome, tuple[str, str]] = {"passed": ("✓", "32"), "failed": ("✗", "31"), "attention": ("!", "33")}
_JUDGED: dict[Judgement, str] = {"better": "32", "worse": "31", "noise": "2"}


def render_text(document: Document, *, color: bool = False) -> str:
    """Return the text, at most :data:`WIDTH` columns wide but for words that are longer; colour only on demand."""
    verdict = _wrap(_line(document.verdict, color=color), "")
    sections = (cut(section, FOLDED_ROWS if section.folded else USUAL_ROWS) for section in document.sections)
    lead = _wrap(_line(document.lead, color=color), "")
    text = "\n\n".join([verdict, *([lead] if lead else []), *(_section(section, color=color) for section in sections)])
    return "\n\n".join([text, verdict] if text.count("\n") > SCREEN else [text]) + "\n"


def _section(section: Section, *, color: bool) -> str:
    title = _paint(section.title.upper(), "1", color=color) + (f"  {visible(section.aside)}" if section.aside else "")
    return "\n".join([title, *(_block(block, color=color) for block in section.blocks)])


def _block(block: Block, *, color: bool) -> str:
    match block:
        case Paragraph():
            return _wrap(_line(block.line, color=color), "  ")
        case Bullets():
            items = [_line(item, color=color) for item in block.items] + _more(block.more)
            return "\n".join(_wrap(item, "  - ", "    ") for item in items)
        case Table():
            return _table(block, color=color)
        case Log():
            return textwrap.indent(log(block.text, block.lines), "  | ")
        case Chart():
            points = f"{len(block.curve.base)} points of base, {len(block.curve.head)} of head"
            return _wrap(f"{_line((block.curve.title,), color=False)}: {points}; `--format html` draws it", "  ")
        case Timeline():
            return _wrap(f"{block.title}: `--format html` draws it", "  ")
        case _:
            assert_never(block)


def _table(table: Table, *, color: bool) -> str:
    plain = [[_line(cell.line, color=False) for cell in row] for row in table.rows]
    titles = [column.title for column in table.columns]
    widths = _fit([max(map(width, cells)) for cells in zip(titles, *plain, strict=True)])
    right = [column.figures for column in table.columns]
    lines = [_row([_pad(title, size, right=r) for title, size, r in zip(titles, widths, right, strict=True)])]
    lines.append(_row(["─" * size for size in widths]))
    for row, texts in zip(table.rows, plain, strict=True):
        cells = [
            [_line(cell.line, color=color)] if width(shown) <= size else _folded(shown, size)
            for cell, shown, size in zip(row, texts, widths, strict=True)
        ]
        for level in range(max(map(len, cells))):
            here = [cell[level] if level < len(cell) else "" for cell in cells]
            lines.append(_row([_pad(text, size, right=r) for text, size, r in zip(here, widths, right, strict=True)]))
    return "\n".join(lines + [f"  {more}" for more in _more(table.more)])


def _folded(text: str, size: int) -> list[str]:
    """A cell that is too wide: words on several lines; a word that is too long loses its end."""
    return [
        _clip(line, size) for line in textwrap.wrap(text, size, break_long_words=False, break_on_hyphens=False)
    ] or [""]


def _row(cells: list[str]) -> str:
    return ("  " + "  ".join(cells)).rstrip()


def _fit(widths: list[int]) -> list[int]:
    """Take from the widest columns until the table fits."""
    fitted = list(widths)
    while sum(fitted) + 2 * len(fitted) > WIDTH and max(fitted) > NARROWEST:
        fitted[fitted.index(max(fitted))] -= 1
    return fitted


def width(text: str) -> int:
    """Return how many columns of a terminal ``text`` takes: two for wide letters, none for combining ones."""
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _clip(text: str, size: int) -> str:
    if width(text) <= size:
        return text
    while width(text) > size - 1:
        text = text[:-1]
    return text + "…"


def _pad(text: str, size: int, *, right: bool) -> str:
    space = " " * (size - width(_COLOR.sub("", text)))
    return space + text if right else text + space


def _more(number: int) -> list[str]:
    return [f"… and {number:,} more"] if number else []


def _wrap(text: str, first: str, rest: str | None = None) -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _line(line: Line, *, color: bool) -> str:
    return "".join(_part(part, color=color) for part in line).strip()


def _part(part: Part, *, color: bool) -> str:  # noqa: PLR0911 - one a kind of part
    match part:
        case str():
            return shorten(visible(part.replace("\n", " ")), TEXT_LIMIT)
        case Code():
            return shorten(visible(part.value), CODE_LIMIT) or "(empty)"
        case Strong():
            return _paint(visible(part.text), "1", color=color)
        case Commit():
            return part.short or visible(part.sha)
        case Mark():
            sign, code = _OUTCOME[part.outcome]
            return _paint(sign, code, color=color)
        case Strip():
            return str(part)
        case Judged():
            return _paint(part.judgement, _JUDGED.get(part.judgement, ""), color=color)
        case _:
            assert_never(part)


def _paint(text: str, code: str, *, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color and code else text
