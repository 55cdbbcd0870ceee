"""A result as GitHub-flavoured Markdown: the comment on a pull request.

Every value goes through :mod:`lockgate.rendering.escape`; markup is written here alone.
"""

import html
from typing import assert_never

from lockgate.rendering.curves import xychart
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
    SectionName,
    Strip,
    Strong,
    Table,
    Timeline,
    cut,
)
from lockgate.rendering.escape import CODE_LIMIT, Markdown, block, code, escaped, shorten, text
from lockgate.rendering.several_document import Documents
from lockgate.result import Judgement, Outcome

LIMIT = 65_536  # GitHub's, in characters
ROOM = 2_048  # kept free for what a publisher adds: a hidden marker, a footer
USUAL_ROWS = 30  # of a table or list: more belongs on the page
# When a comment is too long, sections give up rows in this order until it fits: what a decision needs least goes first.
SHRINK_ORDER: tuple[SectionName, ...] = (
    "hashes",
    "curves",
    "run",
    "training",
    "importance",
    "slices",
    "held",
    "known",
    "beside",
    "notes",
    "checks",
    "data",
    "changes",
    "stages",
    "log",
    "classes",
    "hurt",
    "operating",
    "gates",
    "metrics",
    "models",
)
FEWER_ROWS = (10, 3, 0)

_OUTCOME: dict[Outcome, str] = {"passed": "✅", "failed": "❌", "attention": "⚠️"}
_JUDGED: dict[Judgement, str] = {"better": "🟢 better", "worse": "🔴 **worse**"}


def render_markdown(document: Document, limit: int = LIMIT - ROOM) -> str:
    """Return the comment, never longer than ``limit`` characters; what had to be left out is said at its end."""
    heading = f"### {_line(document.verdict)}\n"
    if document.lead:
        heading += f"\n{_line(document.lead)}\n"
    rows = {section.name: USUAL_ROWS for section in document.sections}
    drawn = {section.name: _section(cut(section, USUAL_ROWS)) for section in document.sections}
    steps = ((name, fewer) for name in SHRINK_ORDER if name in rows for fewer in FEWER_ROWS)
    sections = {section.name: section for section in document.sections}
    while _length(comment := "\n".join([heading, *drawn.values(), _left_out(sections, rows)])) > limit:
        step = next(steps, None)
        if step is None:  # the verdict alone is longer: an author's text, which is no reason to say nothing
            break
        name, rows[name] = step
        drawn[name] = _section(cut(sections[name], rows[name])) if rows[name] else Markdown("")
    return comment.rstrip("\n") + "\n"


def render_several(told: Documents, limit: int) -> str:
    """Return the comment on several models: the overview, then each model, folded where it passed."""
    overview = render_markdown(told.overview, limit // 2)
    room = (limit - _length(overview)) // len(told.models) if told.models else 0
    parts = [overview]
    for name, one in told.models:
        sign = f"{_OUTCOME[one.outcome]} <code>{escaped(shorten(name, CODE_LIMIT))}</code> {one.outcome}"
        summary = f"<details>\n<summary>{sign}</summary>\n\n"
        folded = one.outcome == "passed" and len(told.models) > 1
        drawn = render_markdown(one, room - _length(summary) - 64)
        parts.append(f"{summary}{drawn}\n</details>\n" if folded else f"---\n\n{drawn}")
    return "\n".join(parts)


def _length(comment: str) -> int:
    """Characters as the strictest counter sees them: UTF-16 code units."""
    return len(comment.encode("utf-16-le")) // 2


def _left_out(sections: dict[SectionName, Section], rows: dict[SectionName, int]) -> Markdown:
    gone = [sections[name].title.lower() for name, kept in rows.items() if not kept]
    fewer = [sections[name].title.lower() for name, kept in rows.items() if 0 < kept < USUAL_ROWS]
    if not (gone or fewer):
        return Markdown("")
    said = [f"left out: {', '.join(gone)}"] if gone else []
    said += [f"fewer rows of: {', '.join(fewer)}"] if fewer else []
    return Markdown(
        f"\n_Shortened to what GitHub takes; {'; '.join(said)}. The page (`--format html`) has all of it._\n"
    )


def _section(section: Section) -> Markdown:
    body = "\n\n".join(drawn for part in section.blocks if (drawn := _block(part)))
    if section.folded and body:
        # Nothing of a repository is in a title or an aside, so a line of HTML may carry them.
        summary = html.escape(f": {section.aside}") if section.aside else ""
        return Markdown(
            f"<details>\n<summary><b>{html.escape(section.title)}</b>{summary}</summary>\n\n{body}\n\n</details>\n"
        )
    aside = f": {text(section.aside)}" if section.aside else ""
    return Markdown(f"#### {text(section.title)}{aside}\n\n{body}\n" if body else f"#### {section.title}{aside}\n")


def _block(part: Block) -> Markdown:
    match part:
        case Paragraph():
            return _line(part.line)
        case Bullets():
            return Markdown("\n".join([*(f"- {_line(item)}" for item in part.items), *_more(part.more, "- ")]))
        case Table():
            return _table(part)
        case Log():
            return Markdown(block(part.text, part.lines))
        case Chart():
            return _chart(part)
        case Timeline():
            return Markdown("")  # the page draws it
        case _:
            assert_never(part)


def _table(table: Table) -> Markdown:
    rows = [
        "| " + " | ".join(text(column.title) for column in table.columns) + " |",
        "|" + "|".join("--:" if column.figures else ":--" for column in table.columns) + "|",
        *("| " + " | ".join(_line(cell.line) for cell in row) + " |" for row in table.rows),
    ]
    whole = "\n".join([*rows, *_more(table.more, "\n")])
    if table.folded:
        return Markdown(f"<details>\n<summary>{html.escape(table.folded)}</summary>\n\n{whole}\n\n</details>")
    return Markdown(whole)


def _more(number: int, before: str) -> list[str]:
    return [f"{before}… and {number:,} more"] if number else []


def _chart(chart: Chart) -> Markdown:
    title = _line((Strong(chart.curve.title),))
    drawn = xychart(chart.curve)
    if drawn is None:
        return Markdown(f"{title}: too few points to draw")
    sides = " grey: base, blue: head" if chart.curve.base and chart.curve.head else ""
    sides += (
        f"{',' if sides else ''} yellow: as it should be"
        if chart.curve.diagonal or chart.curve.level is not None
        else ""
    )
    return Markdown(f"{title}{sides}\n\n{drawn}")


def _line(line: Line) -> Markdown:
    """One line of text. Two values side by side are kept apart, or their code spans would run into one."""
    drawn = ""
    for part in line:
        piece = _part(part)
        drawn += " " + piece if drawn.endswith("`") and piece.startswith("`") else piece
    return Markdown(drawn.strip())


def _part(part: Part) -> Markdown:  # noqa: PLR0911 - one a kind of part
    match part:
        case str():
            return text(part)
        case Code():
            return code(part.value)
        case Strong():
            return Markdown(f"**{text(part.text.strip())}**")
        case Commit():
            return Markdown(part.short) if part.short else code(part.sha)
        case Mark():
            return Markdown(_OUTCOME[part.outcome])
        case Strip():
            return code(str(part))
        case Judged():
            return Markdown(_JUDGED.get(part.judgement, part.judgement))
        case _:
            assert_never(part)
