"""``lockgate ci admit``: after a merge, copy to the trusted remote all that the merged lock names.

The trusted remote is DVC's default one; only this command, run for the default branch, writes to it. What pull requests
made lies in the remote named ``quarantine``, to which they can write anything: an object is fetched from there, hashed,
and copied only if it is what the lock names. What is missing or altered there is rebuilt, in a temporary clone, from
inputs that are trusted already. Nothing else is taken from the quarantine: the run cache is written from the lock.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lockgate.dvc.admission import ABSENT, Admission, AdmitError, admit, complaint, prepare
from lockgate.dvc.remotes import QUARANTINE
from lockgate.envelope import envelope
from lockgate.errors import UsageError
from lockgate.formatting import table
from lockgate.git import project_root
from lockgate.waiting import doing

EXAMPLES = """\
examples:
  lockgate ci admit                      copy what was merged, and rebuild what is in no remote
  lockgate ci admit --prepare handover   only rebuild, with no right to write: main.yml's first job
  lockgate ci admit --prepared handover  only copy, and run no stage: main.yml's second job
  lockgate ci admit --dry-run            fetch and hash, but copy and rebuild nothing
  lockgate ci admit --no-rebuild         refuse what is neither trusted nor complete in the quarantine
  lockgate ci admit --json | jq -r '.outputs[] | select(.status == "refused").path'

trusted: it was there before. admitted: hashed and copied. rebuilt: its stage ran again and gave the same hash.
refused: nothing was found that has the hash of dvc.lock.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("revision", metavar="REV", nargs="?", default="HEAD", help="the merged commit (default: HEAD)")
    parser.add_argument("--trusted", metavar="REMOTE", help="the remote to copy to (default: DVC's default remote)")
    parser.add_argument(
        "--quarantine", metavar="REMOTE", default=QUARANTINE, help=f"the remote to copy from (default: {QUARANTINE})"
    )
    parser.add_argument("--no-rebuild", action="store_true", help="refuse what would have to be rebuilt")
    parser.add_argument("--dry-run", action="store_true", help="fetch and hash, but copy and rebuild nothing")
    halves = parser.add_mutually_exclusive_group()
    halves.add_argument(
        "--prepare",
        metavar="FOLDER",
        type=Path,
        help="rebuild what is in no remote, and leave it in FOLDER for --prepared; write to no remote",
    )
    halves.add_argument(
        "--prepared", metavar="FOLDER", type=Path, help="run no stage: what was rebuilt is in FOLDER, hashed again"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def main(arguments: argparse.Namespace) -> int:
    """Admit and print what became of each output. An error (exit code 1) if one is not in the trusted remote then."""
    doing("comparing what is in the remotes with dvc.lock")
    remotes = {"trusted": arguments.trusted, "quarantine": arguments.quarantine}
    if arguments.prepare is not None:
        if arguments.no_rebuild or arguments.dry_run:
            raise UsageError("--prepare writes to no remote, and is there to rebuild", "Leave the other option out.")
        rows = prepare(project_root(), arguments.revision, arguments.prepare, **remotes)
    else:
        rows = admit(
            project_root(),
            arguments.revision,
            **remotes,
            may_rebuild=not arguments.no_rebuild,
            dry_run=arguments.dry_run,
            prepared=arguments.prepared,
        )
    sys.stdout.write(as_json(rows, dry_run=arguments.dry_run) if arguments.json else as_text(rows))
    bad = [row for row in rows if row.status in ABSENT]
    if bad and not (arguments.dry_run and all(row.stage for row in bad)):  # a real run would rebuild these
        raise AdmitError(
            "; ".join(complaint(row) for row in bad),
            "Find out how that dvc.lock was made; `lockgate run`, then merge the dvc.lock that it writes.",
        )
    return 0


def as_json(rows: Sequence[Admission], *, dry_run: bool = False) -> str:
    """Return the outcome as JSON text."""
    return envelope("admit", {"dry_run": dry_run, "outputs": [asdict(row) for row in rows]})


def as_text(rows: Sequence[Admission]) -> str:
    """Return the outcome as a table for a terminal."""
    head = ("output", "stage", "dvc.lock", "status", "objects", "")
    cells = [
        (row.path, row.stage or "(source data)", row.digest[:12], row.status, str(row.objects or "-"), _note(row))
        for row in rows
    ]
    return table(head, cells)


def _note(row: Admission) -> str:
    return f"{row.where} has {row.found} for {row.expected}" if row.found else ""
