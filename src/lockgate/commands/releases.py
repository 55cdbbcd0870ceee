"""``lockgate releases``: which releases the store holds, and where each runs now."""

import argparse
import sys
from dataclasses import asdict

from lockgate.envelope import envelope
from lockgate.errors import UsageError
from lockgate.formatting import table
from lockgate.releasing.listing import Listed, list_releases
from lockgate.releasing.options import add_reader_options, registry_of
from lockgate.rendering.escape import visible
from lockgate.waiting import doing

EXAMPLES = """\
examples:
  lockgate releases                    the newest 20 releases of .lockgate/store, and where each runs
  lockgate releases --limit 0          all of them
  lockgate releases --store s3://bucket/prefix --model flight-delay
  lockgate releases --json | jq -r '.releases[] | select(.environments == []).version'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--limit", type=int, default=20, metavar="N", help="the newest N; 0: all (default: %(default)s)"
    )
    add_reader_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """List releases; the signature of each is verified."""
    if arguments.limit < 0:
        raise UsageError(f"--limit {arguments.limit} is below zero", "Write the number of releases to list; 0: all.")
    registry = registry_of(arguments)
    doing("verifying signatures")
    listed = list_releases(registry, arguments.limit or None)
    if arguments.json:
        rows = [asdict(one.release) | {"commit": one.commit, "environments": one.environments} for one in listed]
        sys.stdout.write(envelope("releases", {"model": registry.name, "releases": rows}))
    else:
        sys.stdout.write(as_text(listed))
    return 0


def as_text(listed: list[Listed]) -> str:
    """Return the releases as a table, the newest version first."""
    if not listed:
        return "No release yet. `lockgate release NAME@vX.Y.Z` makes the first one.\n"
    rows = [
        (
            f"{one.release.name}@{one.release.version}",
            visible(one.release.time),
            visible(one.release.actor),
            visible(one.commit[:10]),
            visible(", ".join(one.environments)) or "-",
        )
        for one in listed
    ]
    return table(("release", "released", "by", "commit", "runs in"), rows)
