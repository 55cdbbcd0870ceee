"""A result as one page that needs nothing else: no request leaves it, and it reads without its script too.

Elements are made by :func:`tag` alone, whose children are :data:`Html` and whose attributes are escaped there.
"""

from base64 import b64encode
from hashlib import sha256
from importlib import resources
from typing import assert_never

from lockgate.rendering.document import (
    Block,
    Bullets,
    Cell,
    Chart,
    Code,
    Column,
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
    Whisker,
    cut,
)
from lockgate.rendering.escape import CODE_LIMIT, Html, escaped, log, shorten, within, words
from lockgate.rendering.html_chart import figure
from lockgate.rendering.html_timeline import timeline
from lockgate.rendering.markup import tag
from lockgate.result import Outcome

USUAL_ROWS = 10_000  # of a table or list: more than that a browser does not sort with ease

_SIGNS: dict[Outcome, str] = {"passed": "✓", "failed": "✗", "attention": "!"}


def render_html(document: Document, models: tuple[tuple[str, Document], ...] = ()) -> str:
    """Return the page, of the same content as the comment, whole; below it a part for each of several ``models``."""
    sections = [cut(section, USUAL_ROWS) for section in document.sections]
    css, js = (
        resources.files("lockgate.rendering.page").joinpath(name).read_text("utf-8") for name in ("page.css", "page.js")
    )
    policy = (
        f"default-src 'none'; style-src '{_digest(css)}'; script-src '{_digest(js)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", escaped(document.title)),
        tag("link", rel="icon", href="data:,"),
        tag("style", Html(css)),
    )
    theme = tag("button", type="button", class_="theme", hidden=True)
    verdict = tag("div", tag("h1", _line(document.verdict)), theme, tag("p", _line(document.lead)))
    contents = [tag("li", tag("a", escaped(section.title), href=f"#{section.name}")) for section in sections]
    contents += [tag("li", tag("a", escaped(name), href=f"#model-{n}")) for n, (name, _) in enumerate(models, 1)]
    parts = [*map(_section, sections), *(_model(number, one) for number, (_, one) in enumerate(models, 1))]
    body = tag(
        "body",
        tag("a", escaped("Skip to the result"), class_="skip", href="#result"),
        tag("header", verdict, class_=f"verdict {document.outcome}"),
        tag(
            "div",
            tag("nav", tag("ol", *contents), aria_label="Contents"),
            tag("main", *parts, id="result"),
            class_="sheet",
        ),
        tag("footer", escaped(f"Lockgate, {document.schema}")),
        tag("script", Html(js)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _digest(content: str) -> str:
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"


def _model(number: int, document: Document) -> Html:
    """The part of one model among several: its verdict as a heading, then its sections."""
    name = f"model-{number}"
    heading = tag("h2", _line(document.verdict), id=f"{name}-title")
    lead = [tag("p", _line(document.lead))] if document.lead else []
    sections = (_section(cut(section, USUAL_ROWS), f"{name}-") for section in document.sections)
    return tag("section", heading, *lead, *sections, id=name, class_="model", aria_labelledby=f"{name}-title")


def _section(section: Section, prefix: str = "") -> Html:
    name = f"{prefix}{section.name}-title"
    title = tag("h2", escaped(section.title), id=name)
    aside = tag("span", escaped(section.aside), class_="aside") if section.aside else Html("")
    blocks = _blocks(section.blocks, prefix)
    if section.folded:
        wide = section.name not in ("hashes", "run")  # where there is room, the script opens these
        blocks = [tag("details", tag("summary", title, aside), *blocks, data_wide=wide)]
    else:
        blocks = [title, aside, *blocks]
    return tag("section", *blocks, id=f"{prefix}{section.name}", aria_labelledby=name)


def _blocks(blocks: tuple[Block, ...], prefix: str) -> list[Html]:
    """Draw the blocks; charts that follow each other share a grid."""
    charts = [
        figure(block.curve, f"{prefix}{number}") if isinstance(block, Chart) else timeline(block, f"{prefix}{number}")
        for number, block in enumerate(blocks)
        if isinstance(block, Chart | Timeline)
    ]
    others = [_block(block) for block in blocks if not isinstance(block, Chart | Timeline)]
    return ([tag("div", *charts, class_="charts")] if charts else []) + others


def _block(block: Paragraph | Bullets | Table | Log) -> Html:
    match block:
        case Paragraph():
            return tag("p", _line(block.line))
        case Bullets():
            return tag("ul", *(tag("li", _line(item)) for item in block.items), *_more("li", block.more))
        case Table():
            return _table(block)
        case Log():
            return tag("pre", tag("code", _lines(log(block.text, block.lines))), tabindex="0")
        case _:
            assert_never(block)


def _lines(text: str) -> Html:
    return Html("\n".join(escaped(line) for line in text.split("\n")))


def _more(name: str, number: int) -> list[Html]:
    return [tag(name, escaped(f"… and {number:,} more"), class_="more")] if number else []


def _table(table: Table) -> Html:
    titles = (
        tag("th", escaped(column.title), scope="col", role="columnheader", class_="figure" if column.figures else None)
        for column in table.columns
    )
    # The roles are those of the elements: on a phone rows are laid out as cards, and some browsers then forget them.
    whole = tag(
        "table",
        tag("caption", escaped(table.caption), class_="spoken"),
        tag("thead", tag("tr", *titles, role="row"), role="rowgroup"),
        tag("tbody", *(_row(row, table.columns) for row in table.rows), role="rowgroup"),
        role="table",
    )
    scroll = tag("div", whole, class_="scroll", role="region", aria_label=table.caption, tabindex="0")
    drawn = Html(scroll + "".join(_more("p", table.more)))
    if table.folded:
        return tag("details", tag("summary", escaped(table.folded)), drawn, data_wide=True)
    return drawn


def _row(row: tuple[Cell, ...], columns: tuple[Column, ...]) -> Html:
    judged = [part.judgement for cell in row for part in cell.line if isinstance(part, Judged)]
    name, *cells = (
        {
            "class_": "figure" if column.figures else None,
            "data_key": None if cell.key is None else _key(cell.key),
            "data_title": column.title,
        }
        for cell, column in zip(row, columns, strict=True)
    )
    return tag(
        "tr",
        tag("th", _line(row[0].line), scope="row", role="rowheader", **name),
        *(tag("td", _drawn(cell), role="cell", **attributes) for cell, attributes in zip(row[1:], cells, strict=True)),
        role="row",
        class_=judged[0] if judged else None,
    )


def _drawn(cell: Cell) -> Html:
    if cell.whisker is None:
        return _line(cell.line)
    return tag("div", _whisker(cell.whisker), tag("span", _line(cell.line)), class_="interval")


def _strip(strip: Strip) -> Html:
    """Figures of base and of head on one scale, base's above."""
    span = strip.high - strip.low or 1.0

    def across(value: float) -> str:
        return f"{6 + 132 * (min(max(value, strip.low), strip.high) - strip.low) / span:.1f}"

    drawn = []
    for dot in strip.dots:
        down = "6" if dot.side == "base" else "14"
        if dot.error:
            ends = {"x1": across(dot.value - dot.error), "x2": across(dot.value + dot.error)}
            drawn.append(tag("line", class_=dot.side, y1=down, y2=down, **ends))
        drawn.append(tag("circle", class_=dot.side, cx=across(dot.value), cy=down, r="3.5"))
    told = f"base (above) and head on a scale from {strip.low:.4g} to {strip.high:.4g}"
    return tag("svg", *drawn, class_="whisker strip", viewBox="0 0 144 20", role="img", aria_label=told)


def _key(key: float | str) -> str:
    return str(int(key)) if isinstance(key, bool) else str(key)


def _whisker(whisker: Whisker) -> Html:
    """An interval on a scale with zero in its middle; the figures stand beside it in words."""
    low, change, high = (f"{72 + 66 * end / whisker.reach:.1f}" for end in (whisker.low, whisker.change, whisker.high))
    return tag(
        "svg",
        tag("line", class_="zero", x1="72", x2="72", y1="0", y2="20"),
        tag("line", x1=low, x2=high, y1="10", y2="10"),
        tag("line", x1=low, x2=low, y1="6", y2="14"),
        tag("line", x1=high, x2=high, y1="6", y2="14"),
        tag("circle", cx=change, cy="10", r="4"),
        class_="whisker",
        viewBox="0 0 144 20",
        aria_hidden="true",
    )


def _line(line: Line) -> Html:
    return Html("".join(map(_part, line)).strip())


def _part(part: Part) -> Html:  # noqa: PLR0911 - one a kind of part
    match part:
        case str():
            return _sentence(part)
        case Code():
            return tag("code", escaped(shorten(part.value, CODE_LIMIT) or "(empty)"))
        case Strong():
            return tag("strong", _sentence(part.text))
        case Commit():
            return tag("code", escaped(part.short or shorten(part.sha, CODE_LIMIT)))
        case Mark():
            sign = tag("span", escaped(_SIGNS[part.outcome]), aria_hidden="true")
            word = tag("span", escaped(part.outcome), class_="spoken")
            return tag("span", sign, word, class_=f"sign {part.outcome}")
        case Strip():
            return _strip(part)
        case Judged():
            return tag("span", escaped(part.judgement), class_=f"judged {part.judgement}")
        case _:
            assert_never(part)


def _sentence(sentence: str) -> Html:
    return Html(
        "".join(tag("code", escaped(within(run))) if code and run else escaped(run) for run, code in words(sentence))
    )
