"""``lockgate render``: a recorded result as text, Markdown, a page or canonical JSON.

Every format is a pure function of the result: the same bytes on every machine.
"""

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lockgate.errors import LockgateError
from lockgate.output import hand_over
from lockgate.rendering.document import Document
from lockgate.rendering.telling import document
from lockgate.result import Result, read_result

FORMATS = ("text", "md", "html", "json")


def render(result: Result, format: str, *, timings: bool = True, color: bool = False) -> str:  # noqa: A002
    """Return ``result`` in one of :data:`FORMATS`.

    Without ``timings``, all that one machine measured (its run's seconds, transfers and log) is left out. ``color``
    is for ``text`` alone: the caller knows whether a terminal will show it.
    """
    if not timings:
        result = replace(result, execution=None)
    if format == "json":
        return result.to_json()
    if format == "text":
        from lockgate.rendering.text import render_text

        return render_text(document(result), color=color)
    return _renderer(format)(document(result))


def _renderer(format: str) -> Callable[[Document], str]:  # noqa: A002
    if format == "md":
        from lockgate.rendering.markdown import render_markdown

        return render_markdown
    if format == "html":
        from lockgate.rendering.html import render_html

        return render_html
    raise ValueError(f"no such format: {format}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("result", metavar="RESULT", help="a result.json, or - for stdin")
    parser.add_argument("--format", choices=FORMATS, default="text", help="how to show it (default: text)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to FILE instead of stdout")
    parser.add_argument("--no-timings", action="store_true", help="leave out what only one machine measured")


def main(arguments: argparse.Namespace) -> int:
    """Show a recorded result; in colour on a terminal only."""
    result = read_result(_read(arguments.result))
    color = arguments.output is None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    hand_over(render(result, arguments.format, timings=not arguments.no_timings, color=color), arguments.output)
    return 0


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        advice = "Make it with `lockgate report --format json --output result.json`."
        raise LockgateError(f"cannot read {path}: {error.strerror}", advice) from error
