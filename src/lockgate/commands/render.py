"""``lockgate render``: show a recorded result as text, Markdown, an HTML page or canonical JSON.

Every format is a pure function of the result: the same bytes on every machine.
"""

import argparse
import os
import sys
from pathlib import Path

from lockgate.errors import NotAskedError
from lockgate.files import hand_over
from lockgate.rendering.render import FORMATS, render
from lockgate.result import read_results

EXAMPLES = """\
examples:
  lockgate render result.json
  lockgate render result.json --format html --output report.html
  lockgate report --format json | lockgate render - --format md
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("result", metavar="RESULT", help="a result.json, or - for stdin")
    parser.add_argument("--format", choices=FORMATS, default="text", help="how to show it (default: text)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to FILE instead of stdout")
    parser.add_argument("--no-timings", action="store_true", help="leave out times, which differ between machines")


def main(arguments: argparse.Namespace) -> int:
    """Show a recorded result; in colour on a terminal only."""
    result = read_results(_read(arguments.result))
    color = arguments.output is None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    hand_over(render(result, arguments.format, timings=not arguments.no_timings, color=color), arguments.output)
    return 0


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        advice = "`lockgate report --format json --output result.json` writes one."
        raise NotAskedError(f"cannot read {path}: {error.strerror}", advice) from error
