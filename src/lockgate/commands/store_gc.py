"""``lockgate store gc``: list, or remove, builds that no release refers to.

A build is garbage when its release was never made: the upload was given up. Before anything of it is removed the
build is claimed, create-only, under the name a release would have to claim it by: one of the two wins, so that no
release can ever refer to a build that is being removed. The claim stays: a build once given up does not come back.
"""

import argparse
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from lockgate.envelope import envelope
from lockgate.errors import UsageError
from lockgate.releasing.garbage import find_garbage, remove
from lockgate.releasing.options import add_reader_options, registry_of

EXAMPLES = """\
examples:
  lockgate store gc --dry-run              list them
  lockgate store gc --older-than 90        remove builds that were given up more than 90 days ago
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("action", choices=["gc"], help="gc: remove builds that no release refers to")
    parser.add_argument("--older-than", type=int, default=30, metavar="DAYS", help="default: %(default)s days")
    parser.add_argument("--dry-run", action="store_true", help="list them, remove nothing")
    add_reader_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """List or remove garbage."""
    if arguments.older_than < 1:
        raise UsageError(
            f"--older-than {arguments.older_than} is below 1 day", "Write a number of days: a release may be under way."
        )
    registry = registry_of(arguments)
    found = find_garbage(registry, timedelta(days=arguments.older_than), datetime.now(UTC))
    done = [garbage for garbage in found if arguments.dry_run or remove(registry, garbage)]
    if arguments.json:
        sys.stdout.write(
            envelope("store-gc", {"removed": not arguments.dry_run, "builds": [asdict(garbage) for garbage in done]})
        )
        return 0
    said = "would be removed" if arguments.dry_run else "removed"
    lines = [f"{g.digest}  {g.size:>14,} bytes in {g.objects} objects, since {g.newest}: {said}\n" for g in done]
    sys.stdout.write("".join(lines) or "nothing to do: every build belongs to a release, or is younger than that\n")
    return 0
