"""The nouns of what a reader is told: a document of sections, before any format.

It has no place for markup: every ``str`` in it is text to be shown, whoever wrote it, and each renderer escapes all of
it in one way. :mod:`lockgate.rendering.result_document` makes a document of a result, the renderers make it a comment,
a page and a terminal's text.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from lockgate.result import SCHEMA, Curve, Judgement, Outcome


@dataclass(frozen=True, slots=True)
class Code:
    """A value of the repository, shown letter by letter."""

    value: str


@dataclass(frozen=True, slots=True)
class Strong:
    """Words that a hurried reader must not miss."""

    text: str


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit's full sha; ``short`` is empty if it is no sha at all."""

    sha: str

    @property
    def short(self) -> str:
        """The first seven digits."""
        return self.sha[:7] if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", self.sha) else ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A sign for an outcome; the words beside it say the same."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Judged:
    """A judgement on a change, as one word with its colour."""

    judgement: Judgement


Side = Literal["base", "head"]
STRIP_WIDTH = 20  # characters


@dataclass(frozen=True, slots=True)
class Dot:
    """One figure of a strip, of base or of head, with its error bar if it has one."""

    side: Side
    value: float
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Strip:
    """Figures side by side on one scale from ``low`` to ``high``: a picture that a line may hold."""

    low: float
    high: float
    dots: tuple[Dot, ...]

    def __str__(self) -> str:
        """Draw it in characters of one width: ``·○·○○··◉●··●``, where ``○`` is base, ``●`` head and ``◉`` both."""
        span = self.high - self.low or 1.0
        marks = ["·"] * STRIP_WIDTH
        for dot in self.dots:
            place = round(min(max((dot.value - self.low) / span, 0.0), 1.0) * (STRIP_WIDTH - 1))
            mine = "○" if dot.side == "base" else "●"
            marks[place] = mine if marks[place] in ("·", mine) else "◉"
        return "".join(marks)


Part = str | Code | Strong | Commit | Mark | Judged | Strip
Line = tuple[Part, ...]
DASH = "—"  # where there is no figure


@dataclass(frozen=True, slots=True)
class Whisker:
    """An interval to be drawn on a scale from ``-reach`` to ``+reach``."""

    low: float
    change: float
    high: float
    reach: float


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: what it shows, what it is sorted by, and the interval that may be drawn in it."""

    line: Line
    key: float | str | None = None
    whisker: Whisker | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; figures stand to the right."""

    title: str
    figures: bool = False


BASE, HEAD = Column("base", figures=True), Column("head", figures=True)
CHANGE = Column("change, 95 % interval", figures=True)


@dataclass(frozen=True, slots=True)
class Paragraph:
    """One paragraph."""

    line: Line


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list; ``more`` items of it are not shown."""

    items: tuple[Line, ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose first column names the rows; ``more`` rows of it are not shown.

    ``folded`` is what stands, in our own words, in the place of a table that most readers need not see.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    more: int = 0
    folded: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """The end of a log."""

    text: str
    lines: int = 60


@dataclass(frozen=True, slots=True)
class Chart:
    """Two lines, base and head."""

    curve: Curve


@dataclass(frozen=True, slots=True)
class Moment:
    """One window of a timeline: its figure with its interval, what the scores alone made one expect, whether the figure
    is ``judged`` to differ from what was promised, and whether an alarm was on."""

    label: str
    value: float | None
    low: float | None = None
    high: float | None = None
    estimate: float | None = None
    judged: bool = False
    alarm: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """A figure over time, oldest window first; ``promised`` is what the release promised, with its interval."""

    title: str
    unit: str
    moments: tuple[Moment, ...]
    promised: tuple[float | None, float, float | None] | None = None
    live: str = "live"
    from_zero: bool = False


Block = Paragraph | Bullets | Table | Log | Chart | Timeline
SectionName = Literal[
    "models",
    "log",
    "metrics",
    "training",
    "operating",
    "hurt",
    "classes",
    "gates",
    "changes",
    "data",
    "stages",
    "checks",
    "notes",
    "known",
    "held",
    "slices",
    "beside",
    "importance",
    "curves",
    "hashes",
    "run",
    "alarms",
    "time",
    "windows",
    "live",
    "calibration",
    "estimates",
    "drift",
    "traffic",
    "expected",
    "skew",
]


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part. ``aside`` sums it up in our own words and figures: it may stand where only plain text can.

    ``folded``: most readers need the ``aside`` alone.
    """

    name: SectionName
    title: str
    aside: str
    blocks: tuple[Block, ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """The verdict (``title`` without its reason), what was compared with what, and the sections in reading order.
    ``schema`` is the format of what it was made of."""

    title: str
    outcome: Outcome
    verdict: Line
    lead: Line
    sections: tuple[Section, ...]
    schema: str = SCHEMA


def listed(names: tuple[str, ...], most: int = 8) -> Line:
    """Return the names side by side, and how many more there are."""
    parts: list[Part] = []
    for name in names[:most]:
        parts += [", ", Code(name)] if parts else [Code(name)]
    return (*parts, f" and {len(names) - most:,} more") if len(names) > most else tuple(parts)


def cut(section: Section, rows: int) -> Section:
    """Return the section with at most ``rows`` rows a table, items a list and lines a log."""
    return replace(section, blocks=tuple(_cut_block(block, rows) for block in section.blocks))


def _cut_block(block: Block, rows: int) -> Block:
    if isinstance(block, Table) and len(block.rows) > rows:
        return replace(block, rows=block.rows[:rows], more=block.more + len(block.rows) - rows)
    if isinstance(block, Bullets) and len(block.items) > rows:
        return replace(block, items=block.items[:rows], more=block.more + len(block.items) - rows)
    if isinstance(block, Log):
        return replace(block, lines=min(block.lines, rows))
    return block
