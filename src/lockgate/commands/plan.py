"""``lockgate plan``: which stages would run and why, from hashes alone."""

import argparse
import sys

from lockgate.dvc.objects import WorkspaceFiles
from lockgate.dvc.pipeline import read_lock
from lockgate.dvc.plan import as_json, as_text, needed_pipeline, plan
from lockgate.evaluation.report import add_model
from lockgate.evaluation.run import of_model
from lockgate.git import Workspace, project_root, snapshot

EXAMPLES = """\
examples:
  lockgate plan                what `lockgate run` would do in this working tree, and why
  lockgate plan --base main    the same, starting from main's dvc.lock: what a pull request's check will do
  lockgate plan --json | jq -r '.stages[] | select(.verdict == "will").name'

will: the stage has a reason of its own. may: it reads what another stage may rewrite. same: nothing to do.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lockgate plan``."""
    parser.epilog = EXAMPLES
    parser.add_argument("--base", metavar="REV", help="start from the dvc.lock of this revision (default: your own)")
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def main(arguments: argparse.Namespace) -> int:
    """Print the plan of the working tree. Exit code 0, whatever it is."""
    root = project_root()
    current, files = Workspace(root), WorkspaceFiles(root)
    pipeline = needed_pipeline(current)
    base = snapshot(root, arguments.base) if arguments.base else current
    plans = plan(pipeline, read_lock(base, pipeline), files, current)
    plans = of_model(root, arguments.base, arguments.model, plans)
    files.remember()
    sys.stdout.write(as_json(plans, base) if arguments.json else as_text(plans))
    return 0
