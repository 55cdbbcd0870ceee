"""Write the pages that are made from the code: docs/commands.md, and the output of ``lockgate --help`` in README.

``make pages`` runs it. ``tests/test_pages.py`` fails where a page is not what the code says.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools import reference

from lockgate import cli

ROOT = Path(__file__).parents[1]
README, COMMANDS = ROOT / "README.md", ROOT / "docs" / "commands.md"
REFERENCE = ROOT / "docs" / "reference.md"
HEAD = """\
# Commands

The help of every command, as `lockgate COMMAND --help` prints it. This page is made from the code by `make pages`.

Every command also takes `--verbose`, which adds the causes of an error. What the exit codes mean is in
[exit-codes.md](exit-codes.md). Every `--json` prints one object whose `schema` names its form, such as
`lockgate.history/1`; within one version of a schema, fields are only added. `lockgate run --json` and
`lockgate report --format json` print the result, whose schema is published:
[`result.schema.json`](../src/lockgate/result.schema.json).
"""


def main() -> int:
    """Write both pages, and say which of them changed."""
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    return 0


def pages() -> dict[Path, str]:
    """Return each page with its text."""
    os.environ["COLUMNS"] = "100"
    return {
        REFERENCE: reference.reference(ROOT),
        COMMANDS: "\n".join([HEAD, *_commands()]),
        README: _readme(README.read_text(encoding="utf-8")),
    }


def _readme(text: str) -> str:
    block = re.compile(r"(?<=^\$ lockgate --help\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
    help_text = cli.build_parser().format_help()
    return block.sub(lambda _: help_text, text, count=1)


def _commands() -> Iterator[str]:
    groups = {**cli.GROUPS, "shell": cli.SHELL, "workflows": cli.CI}
    for title, commands in groups.items():
        yield f"## {title[0].upper()}{title[1:]}\n"
        for name in commands:
            words = ("ci", name) if title == "workflows" else (name,)
            yield f"### `lockgate {' '.join(words)}`\n\n```\n{_help(words)}```\n"


def _help(words: tuple[str, ...]) -> str:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        cli.build_parser(*words).parse_args([*words, "--help"])
    return shown.getvalue()


if __name__ == "__main__":
    sys.exit(main())
