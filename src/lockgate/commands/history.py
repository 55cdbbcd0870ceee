"""``lockgate history [ENVIRONMENT]``: what ran where, since when, by whom and why, and what monitors found of it."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lockgate import git
from lockgate.envelope import envelope
from lockgate.errors import UsageError
from lockgate.formatting import count, table
from lockgate.monitoring.kept import Kept, kept
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
    found: list[Kept] = []
    current: set[tuple[str, int]] = set()
    for name in [ref.environment] if ref and ref.environment else known:
        entries = Environment(registry, name).history()
        if not entries and ref:
            raise NeverPromoted(registry.name, name, known)
        if entries and entries[-1].action != "retire":
            current.add((name, entries[-1].number))
        mine = entries[-arguments.limit :] if arguments.limit else entries
        shown += mine
        first = mine[0].time[:10] if arguments.limit and mine else ""
        found += [one for one in kept(registry, name) if str(one.finding["end"]) > first]
    rows = [(entry, (entry.environment, entry.number) in current) for entry in shown]
    if arguments.json:
        said = [asdict(entry) | {"current": now, "asked_by_tag": bool(entry.tag)} for entry, now in rows]
        told = [{"number": one.number, "actor": one.actor, "time": one.time, **_summary(one)} for one in found]
        sys.stdout.write(envelope("history", {"model": registry.name, "entries": said, "findings": told}))
    else:
        sys.stdout.write(as_text(rows, found) + _disagreements(registry.name, [entry for entry, now in rows if now]))
    return 0


def as_text(rows: Sequence[tuple[Entry, bool]], found: Sequence[Kept] = ()) -> str:
    """Return a table of entries, environment by environment, the newest first; ``*`` marks what runs now. Between them
    stands what monitors found meanwhile."""
    if not rows:
        return "No release was promoted yet. `lockgate promote VERSION ENVIRONMENT` does that.\n"
    ordered = sorted(rows, key=lambda row: (row[0].environment, -row[0].number))
    left = sorted(found, key=lambda one: (str(one.finding["environment"]), str(one.finding["end"])))
    cells: list[tuple[str, ...]] = []
    for place, (entry, now) in enumerate(ordered):
        since = [one for one in left if one.finding["environment"] == entry.environment]
        oldest = place + 1 == len(ordered) or ordered[place + 1][0].environment != entry.environment
        since = [one for one in since if oldest or str(one.finding["end"]) > entry.time[:10]]
        left = [one for one in left if one not in since]
        cells += _found(since)
        cells.append(
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
        )
    by_hand = f"{NO_TAG}: by hand, no tag asked for it\n" if any(not entry.tag for entry, _ in rows) else ""
    return table(HEAD, cells, right={"entry"}) + "* runs now\n" + by_hand


def _found(findings: Sequence[Kept]) -> list[tuple[str, ...]]:
    """Return the lines of findings, the newest first; calm windows that follow each other are one line."""
    groups: list[list[Kept]] = []
    for one in findings:
        calm = one.finding["verdict"] == "calm"
        if calm and groups and all(_alike(one, other) for other in groups[-1]):
            groups[-1].append(one)
        else:
            groups.append([one])
    return [_line(group) for group in reversed(groups)]


def _alike(one: Kept, other: Kept) -> bool:
    return one.finding["verdict"] == other.finding["verdict"] and _releases(one) == _releases(other)


def _line(group: Sequence[Kept]) -> tuple[str, ...]:
    first, last = group[0], group[-1]
    rows = sum(int(one.finding["rows"]) for one in group)
    windows = f"{len(group)} {first.finding['kind']} windows from {first.finding['start']}" if len(group) > 1 else ""
    said = f"{windows or first.finding['window']}: {first.finding['verdict']}, {count(rows, 'score')}"
    about = [f"{alarm['kind']} {alarm['of']}".strip() for alarm in first.finding["alarms"]]
    told = visible(said + (f" ({', '.join(about)})" if about else ""))
    environment = visible(str(first.finding["environment"]))
    versions = visible(", ".join(_releases(first)))
    return ("", environment, "", "monitor", versions, visible(last.time), visible(last.actor), NO_TAG, told)


def _releases(one: Kept) -> list[str]:
    return [str(part["release"]).rpartition("@")[2] for part in one.finding["parts"]]


def _summary(one: Kept) -> dict[str, object]:
    names = ("environment", "kind", "window", "name", "start", "end", "verdict", "rows", "labelled", "alarms", "notes")
    return {name: one.finding[name] for name in names} | {"releases": _releases(one)}


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
