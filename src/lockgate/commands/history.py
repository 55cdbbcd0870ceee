"""``lockgate history [ENVIRONMENT]``: what ran where, since when, by whom and why."""

import argparse
import sys
from dataclasses import asdict

from lockgate.errors import UsageError
from lockgate.releasing.environments import Entry, Environment, NeverPromoted
from lockgate.releasing.options import add_reader_options, parse_ref, registry_of
from lockgate.releasing.registry import as_json


def as_text(entries: list[Entry]) -> str:
    """Return a line for each entry: environment by environment, the newest first."""
    lines = []
    for entry in sorted(entries, key=lambda entry: (entry.environment, -entry.number)):
        arrow = "←" if entry.action == "rollback" else "→"
        why = f"  {_plain(entry.reason)}" if entry.reason else ""
        tag = f"  {_plain(entry.tag)}" if entry.tag else ""
        who = f"{entry.time}  {_plain(entry.actor)}"
        lines.append(f"{entry.environment} {entry.number:>6} {arrow} {entry.version:<10} {who}{tag}{why}\n")
    return "".join(lines)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("environment", nargs="?", metavar="ENVIRONMENT", help="default: every environment")
    parser.add_argument("--limit", type=int, metavar="N", help="the newest N entries of each; default: all")
    add_reader_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Show logs of environments, checked by their signatures and chains."""
    ref = parse_ref(arguments.environment) if arguments.environment else None
    if (ref and ref.environment is None) or (arguments.limit is not None and arguments.limit < 1):
        raise UsageError("history shows an environment, the newest N of its entries with --limit N, N from 1")
    registry = registry_of(arguments, ref.name if ref else None)
    names = [ref.environment] if ref and ref.environment else registry.store.folders(f"{registry.name}/environments")
    shown: list[Entry] = []
    for name in names:
        entries = Environment(registry, name).history()
        if not entries and ref:
            raise NeverPromoted(registry.name, name)
        shown += entries[-arguments.limit :] if arguments.limit else entries
    sys.stdout.write(as_json([asdict(entry) for entry in shown]) if arguments.json else as_text(shown))
    return 0


def _plain(text: str) -> str:
    """Return text that cannot move the cursor or colour the terminal."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
