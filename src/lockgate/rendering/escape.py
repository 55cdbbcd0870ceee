"""Text that others wrote, made harmless: the only ways by which a value may enter a comment or a page.

Whoever opens a pull request chooses the names of metrics, parameters, branches and files, and what a log says. Here
such text becomes :data:`Markdown` or :data:`Html`: types that the renderers demand, and that nothing else makes of it.

The idea for Markdown: a word made of letters alone, or a plain number, means nothing to GitHub and stays as it is.
Every other word becomes inline code, where neither Markdown nor what GitHub looks for afterwards (mentions,
references, links, emoji codes, formulas) applies. The three characters that could leave inline code or a table's cell
are written as entities outside of it. So no ``<`` and no line break of a value is ever in the text, and with them no
HTML, no marker, no heading, no second verdict.
"""

import html
import re
from collections.abc import Iterator
from typing import NewType

Markdown = NewType("Markdown", str)
Html = NewType("Html", str)

CODE_LIMIT = 120  # characters of one value; a path or a parameter that is longer says nothing more to a reader
TEXT_LIMIT = 400  # characters of one sentence

# Default_Ignorable_Code_Point (Unicode 15) less what `str.isprintable` already refuses, and the blank Braille cell.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-_])")
_WORD = r"[^\W\d_]+(?:['’-][^\W\d_]+)*"  # noqa: RUF001
_NUMBER = r"[+−±-]?\d+(?:[.,]\d+)*(?:e[+-]\d+)?%?"
_DATE = r"\d{4}-\d{2}-\d{2}"
_SIGN = r"[-+=/%&<>≤≥≠×·→↑↓–—−±…]"
_PLAIN = re.compile(rf"(?P<lead>[(\[\"“]*)(?P<core>{_WORD}|{_DATE}|{_NUMBER}|{_SIGN}|)(?P<trail>[)\]\"”.,;:!?…]*)")
_QUOTED = re.compile("`[^`]+`")
_TOKEN = re.compile(r" |(?P<lead>\(*)(?P<quoted>`[^`]+`)(?P<trail>[.,;:!?)]*)(?= |$)|[^ ]+")
_AROUND = re.compile(r"(?P<lead>[(\[\"“]*)(?P<core>.*?)(?P<trail>[)\]\"”.,;:!?…]*)")


def visible(value: str) -> str:
    r"""Return ``value`` with every character that cannot be seen, or that moves others, written out: ``\u202e``."""
    if value.isprintable() and not _INVISIBLE.search(value):
        return value
    return "".join(c if c.isprintable() and not _INVISIBLE.match(c) else _written_out(c) for c in value)


def shorten(value: str, limit: int) -> str:
    """Return ``value``, or its beginning and an ellipsis if it has more than ``limit`` characters."""
    return value if len(value) <= limit else value[: limit - 1] + "…"


def words(value: str) -> Iterator[tuple[str, bool]]:
    """Split one sentence into runs ``(text, is_code)``: what may stand as prose, and what only as code.

    White space of any kind becomes single spaces, which belong to the prose. Joined, the runs are the sentence. What
    stands between two backticks, as a word or some words, is one run of code, with them: see :func:`within`.
    """
    sentence = shorten(visible(re.sub(r"\s+", " ", value)), TEXT_LIMIT)
    for found in _TOKEN.finditer(sentence):
        word = found[0]
        if found["quoted"]:
            yield found["lead"], False
            yield found["quoted"], True
            yield found["trail"], False
            continue
        if word == " " or _PLAIN.fullmatch(word):
            yield word, False
            continue
        around = _AROUND.fullmatch(word)
        assert around is not None  # noqa: S101 - its three parts match any text without a line break
        lead, core, trail = around.group("lead", "core", "trail")
        yield lead, False
        yield core, True
        yield trail, False


def within(run: str) -> str:
    """Return a run of code without the backticks by which a sentence marked it."""
    return run[1:-1] if _QUOTED.fullmatch(run) else run


def text(value: str) -> Markdown:
    """Return a sentence as Markdown that shows it and does nothing else."""
    return Markdown("".join(_code(within(run)) if is_code else _prose(run) for run, is_code in words(value)))


def code(value: str) -> Markdown:
    """Return a value as inline code, whole but for its length, harmless also in a table's cell."""
    return _code(shorten(visible(value), CODE_LIMIT)) if value else Markdown("(empty)")


def block(value: str, lines: int) -> Html:
    """Return the last ``lines`` lines of a log as preformatted HTML, which Markdown and GitHub leave alone."""
    return Html(f"<pre><code>{html.escape(log(value, lines))}</code></pre>")


def log(value: str, lines: int) -> str:
    """Return the end of a log as a terminal would show it: no colours, only the last state of a progress bar."""
    shown = (line.rstrip("\r").rsplit("\r", 1)[-1].expandtabs(4).rstrip() for line in _ANSI.sub("", value).split("\n"))
    last = "\n".join(shown).strip("\n").split("\n")[-lines:]
    return "\n".join(shorten(visible(line), 2 * CODE_LIMIT) for line in last)


def label(value: str) -> str:
    """Return a short text for a Mermaid string: letters, digits and a few harmless signs, the rest left out."""
    return shorten(re.sub(r"[^\w .,()+-]|_", " ", visible(value)), 60).strip()


def escaped(value: str) -> Html:
    """Return a value as HTML text that is also fit for a double-quoted attribute."""
    return Html(html.escape(visible(value)))


def _written_out(char: str) -> str:
    return {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(char) or f"\\u{ord(char):04x}"


def _prose(run: str) -> Markdown:
    """Escape a plain word: what could begin a list (``1.``), tick a box or define a link (``[x]:``), and ``<``."""
    shown = f"{run[:-1]}\\{run[-1]}" if re.fullmatch(r"[-+]|\d+[.)]", run) else run
    shown = re.sub(r"(?<!\d)\]|\](?=[\[(:])", r"\\]", shown)
    return Markdown(html.escape(shown, quote=False))


def _code(shown: str) -> Markdown:
    pieces = re.split(r"([|<`]+)", shown)
    return Markdown("".join(_entities(piece) if n % 2 else _span(piece) for n, piece in enumerate(pieces)))


def _entities(piece: str) -> str:
    return "".join(f"&#{ord(c)};" for c in piece)


def _span(piece: str) -> str:
    """One code span. Markdown takes a space off both ends when both have one: give it one to take."""
    if not piece:
        return ""
    pad = " " if piece.strip() and piece[0] == piece[-1] == " " else ""
    return f"`{pad}{piece}{pad}`"
