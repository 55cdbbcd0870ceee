"""``lockgate history [ENVIRONMENT]``: what ran where, since when, by whom and why."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lockgate import git
from lockgate.envelope import envelope
from lockgate.errors import UsageError
from lockgate.formatting import table
from lockgate.releasing import tags
from lockgate.releasing.environments import Entry, Environment, NeverPromoted, environments
from lockgate.releasing.options import add_reader_options, parse_ref, registry_of
from lockgate.rendering.escape import visible

EXAMPLES = """\
examples:
  lockgate history                       every environment, its newest entry first
  lockgate history production            one environment
  lockgate history production --limit 5
  lockgate history --json | jq -r '.entries[] | select(.current) | "\\(.environment) \\(.version)"'
"""
NO_TAG = "-"
HEAD = ("", "environment", "entry", "action", "version", "time", "by", "tag", "reason")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("environment", nargs="?", metavar="ENVIRONMENT", help="default: every environment")
    parser.add_argument("--limit", type=int, metavar="N", help="the newest N entries of each; default: all")
    add_reader_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Show logs of environments, checked by their signatures and chains."""
    ref = parse_ref(arguments.environment) if arguments.environment else None
    if ref and ref.environment is None:
        raise UsageError(f"'{arguments.environment}' is a version", "Name an environment, such as production.")
    if arguments.limit is not None and arguments.limit < 1:
        raise UsageError(f"--limit {arguments.limit} is below 1", "Write how many entries to show, from 1.")
    registry = registry_of(arguments, ref.name if ref else None)
    known = environments(registry)
    shown: list[Entry] = []
    current: set[tuple[str, int]] = set()
    for name in [ref.environment] if ref and ref.environment else known:
        entries = Environment(registry, name).history()
        if not entries and ref:
            raise NeverPromoted(registry.name, name, known)
        if entries and entries[-1].action != "retire":
            current.add((name, entries[-1].number))
        shown += entries[-arguments.limit :] if arguments.limit else entries
    rows = [(entry, (entry.environment, entry.number) in current) for entry in shown]
    if arguments.json:
        said = [asdict(entry) | {"current": now, "asked_by_tag": bool(entry.tag)} for entry, now in rows]
        sys.stdout.write(envelope("history", {"model": registry.name, "entries": said}))
    else:
        sys.stdout.write(as_text(rows) + _disagreements(registry.name, [entry for entry, now in rows if now]))
    return 0


def as_text(rows: Sequence[tuple[Entry, bool]]) -> str:
    """Return a table of entries, environment by environment, the newest first; ``*`` marks what runs now."""
    if not rows:
        return "No release was promoted yet. `lockgate promote VERSION ENVIRONMENT` does that.\n"
    ordered = sorted(rows, key=lambda row: (row[0].environment, -row[0].number))
    cells = [
        (
            "*" if now else "",
            entry.environment,
            str(entry.number),
            entry.action,
            entry.version,
            visible(entry.time),
            visible(entry.actor),
            visible(entry.tag) or NO_TAG,
            visible(entry.reason),
        )
        for entry, now in ordered
    ]
    by_hand = f"{NO_TAG}: by hand, no tag asked for it\n" if any(not entry.tag for entry, _ in rows) else ""
    return table(HEAD, cells, right={"entry"}) + "* runs now\n" + by_hand


def _disagreements(name: str, current: list[Entry]) -> str:
    """Say where git's tags ask for another version than an environment runs; nothing outside a repository."""
    try:
        asked = tags.asked_for(tags.listed(Path.cwd())).get(name)
    except git.GitError:
        return ""
    except tags.SeveralVersions as error:
        return f"{error}\n"
    lines = []
    for entry in current:
        wanted = asked.environments.get(entry.environment) if asked else None
        if wanted != entry.version:
            says = f"git's tags ask for {wanted}" if wanted else "no tag of git asks for that"
            lines.append(f"{entry.environment} runs {entry.version}; {says} (`gto show`)\n")
    return "".join(lines)
