"""``lockgate report``: compare two revisions: what changed, and is it more than noise?

Derived from what git and DVC recorded of the two revisions, so that it is the same wherever it is made. Nothing is run
(but with ``--seeds``); of DVC's files only those that the policy names are read, fetched one by one where need be.
"""

import argparse
import os
import sys
from pathlib import Path

from lockgate import git
from lockgate.dvc.pipeline import read_state
from lockgate.dvc.scopes import Scope, scoped
from lockgate.errors import UsageError
from lockgate.evaluation.findings import read_policies
from lockgate.evaluation.report import add_revisions, base_state, revisions
from lockgate.evaluation.several import Whole, build, judged
from lockgate.files import hand_over, progress
from lockgate.rendering.render import FORMATS, render
from lockgate.waiting import doing

EXAMPLES = """\
examples:
  lockgate report                                this working tree against the default branch
  lockgate report --base HEAD~1 --head HEAD      two revisions: commits, branches, tags or DVC experiments
  lockgate report --format html --output report.html
  lockgate report --model delay                  one model, where lockgate.yaml has several
  lockgate report --seeds 5                      train both again under 5 other seeds: is it luck of the seed?
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lockgate report``."""
    parser.epilog = EXAMPLES
    add_revisions(parser)
    parser.add_argument("--format", choices=FORMATS, default="text", help="how to show it (default: text)")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write to FILE instead of stdout")
    parser.add_argument(
        "--seeds",
        metavar="N",
        type=int,
        default=0,
        help="train base and head again under N other seeds each, to judge the procedures and not two models",
    )


def main(arguments: argparse.Namespace) -> int:
    """Show the report. Exit code 0 whatever the verdict is: ``lockgate check`` asks the gates."""
    if arguments.seeds < 0 or arguments.seeds == 1:
        raise UsageError(f"--seeds {arguments.seeds} shows no spread", "Ask for 2 seeds or more.")
    root = git.project_root()
    base, head = revisions(root, arguments.base, arguments.head)
    repeats = None
    if arguments.seeds:
        from lockgate.evaluation.seeds import repeat

        repeats = {}
        for scope in _scopes(root, base, head, arguments.model):
            policy = read_policies(scope.base, scope.head).policy
            repeats[scope.head.model or ""] = repeat(
                root, policy, base, head, arguments.seeds, tell=progress, model=scope.head.model
            )
    doing("comparing base and head")
    result = build(root, base, head, model=arguments.model, intervals=not arguments.no_intervals, repeats=repeats)
    doing("writing it")
    color = arguments.output is None and sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    text = render(result, arguments.format, color=color)
    hand_over(text, arguments.output)
    return 0


def _scopes(root: Path, base: git.Snapshot | None, head: git.Snapshot, model: str | None) -> tuple[Scope, ...]:
    before, after = base_state(base)[0], read_state(head)
    if model is None:
        return judged(Whole(root, before, after))
    return (Scope(model, *scoped(before, after, model)),)
