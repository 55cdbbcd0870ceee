"""``lockgate ci merge-lock``: git's merge driver for ``dvc.lock``.

A lock is merged stage by stage. What one side changed is taken; a stage that both changed, each in its own way, is
dropped, so that DVC runs it. An entry that is left must stand among the same files and parameters as on the side it
comes from: it is dropped too if the other side changed something that it reads, or if it reads what a dropped stage
writes. So the merged lock never claims a combination that nobody ran.

The lock does not say in which folder (``wdir``) a stage's paths are meant, so paths are the same, or one is inside the
other, if the parts of one are a run of the parts of the other. A coincidence costs a run, never the truth.
"""

import argparse
import sys
from pathlib import Path

from lockgate.dvc.merge import LockUnmergeable, merge

EXAMPLES = """\
examples:
  lockgate ci merge-lock base.lock ours.lock theirs.lock --dry-run     print the merged lock, change nothing
  lockgate ci merge-lock %O %A %B %P                                   the line that `lockgate setup-git` gives git

git calls it during `git merge`, `git rebase`, `git cherry-pick`. The result is written to OURS.
Exit code 0: OURS is a valid lock; stages that it does not know are run by `lockgate run`.
Exit code 1: a version cannot be read; OURS then holds both sides, between git's conflict markers.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("base", metavar="BASE", type=Path, help="the common ancestor's lock, empty if there is none")
    parser.add_argument("ours", metavar="OURS", type=Path, help="this branch's lock; the result replaces it")
    parser.add_argument("theirs", metavar="THEIRS", type=Path, help="the other branch's lock")
    parser.add_argument("path", metavar="PATH", nargs="?", default="dvc.lock", help="what to call it in messages")
    parser.add_argument("--dry-run", action="store_true", help="print the result, write nothing")


def main(arguments: argparse.Namespace) -> int:
    """Merge into OURS and say on stderr which stages will run again, and why."""
    try:
        base, ours, theirs = (file.read_bytes() for file in (arguments.base, arguments.ours, arguments.theirs))
    except OSError as error:
        raise LockUnmergeable(arguments.path, str(error)) from error
    try:
        merged = merge(base, ours, theirs, arguments.path)
    except LockUnmergeable:
        if not arguments.dry_run:
            arguments.ours.write_bytes(_in_conflict(ours, theirs))
        raise
    if arguments.dry_run:
        sys.stdout.write(merged.text)
    else:
        arguments.ours.write_text(merged.text, encoding="utf-8", newline="\n")
    for stage, why in merged.dropped.items():
        sys.stderr.write(f"{arguments.path}: stage '{stage}' will run again: {why}\n")
    return 0


def _in_conflict(ours: bytes, theirs: bytes) -> bytes:
    """Return both versions between git's markers: nothing is lost, and nothing can take it for a lock."""
    ours, theirs = (text if text.endswith(b"\n") or not text else text + b"\n" for text in (ours, theirs))
    return b"<<<<<<< ours\n" + ours + b"=======\n" + theirs + b">>>>>>> theirs\n"
