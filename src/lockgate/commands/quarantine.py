"""``lockgate ci quarantine``: push objects that were made here, and are not trusted yet, to the quarantine remote.

For the runs of pull requests from branches of the repository itself, and for whoever adds data: their credentials may
write there and nowhere else. It pushes objects that the lock and the ``.dvc`` files of the working tree name and that
are in the cache here but not in the trusted remote. ``lockgate ci admit`` copies them from there once they are merged.
"""

import argparse
import sys

from lockgate.dvc.quarantine import push
from lockgate.dvc.remotes import QUARANTINE
from lockgate.git import project_root
from lockgate.waiting import doing

EXAMPLES = """\
examples:
  lockgate ci quarantine             after `lockgate run`, or after `dvc add`
  lockgate ci quarantine --dry-run   only count what would be pushed
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--remote", metavar="NAME", default=QUARANTINE, help=f"the remote to push to (default: {QUARANTINE})"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say how much would be pushed")


def main(arguments: argparse.Namespace) -> int:
    """Push and say how much it was."""
    doing("asking the remotes what they have")
    count, size = push(project_root(), arguments.remote, dry_run=arguments.dry_run)
    would = "would be " if arguments.dry_run else ""
    sys.stdout.write(f"{count} objects ({size:,} bytes) {would}pushed to the remote '{arguments.remote}'\n")
    return 0
