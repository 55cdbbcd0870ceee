"""``lockgate power``: what this test set can show, and how many rows another change would take."""

import argparse
import sys
from dataclasses import asdict

from lockgate import git
from lockgate.envelope import envelope
from lockgate.errors import NotAskedError, UsageError
from lockgate.evaluation.report import add_revisions, build, revisions
from lockgate.formatting import decimals, fixed, table
from lockgate.power import Power, power

EXAMPLES = """\
examples:
  lockgate power                              which changes the test rows of this comparison show
  lockgate power --base v1.2.0 --head v1.3.0  from two models that differ as yours usually do
  lockgate power --change 0.002               how many rows would show a change of 0.002
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lockgate power``."""
    parser.epilog = EXAMPLES
    add_revisions(parser)
    parser.add_argument("--change", metavar="X", type=float, help="say how many rows would show a change of X")
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def main(arguments: argparse.Namespace) -> int:
    """Print the smallest change of each metric that these rows show with a probability of 80 %."""
    if arguments.change is not None and not arguments.change > 0:
        raise UsageError(f"--change {arguments.change} is not above 0", "Write the size of the change, such as 0.002.")
    root = git.project_root()
    base, head = revisions(root, arguments.base, arguments.head)
    found = power(build(root, base, head, model=arguments.model), arguments.change)
    if not found:
        raise NotAskedError(
            "no metric has an interval here: base and head are the same, have no predictions or too few rows",
            "Name two revisions whose models differ: --base REV --head REV.",
        )
    if arguments.json:
        sys.stdout.write(envelope("power", {"change": arguments.change, "metrics": [asdict(one) for one in found]}))
    else:
        sys.stdout.write(as_text(found, arguments.change))
    return 0


def as_text(found: tuple[Power, ...], wanted: float | None) -> str:
    """Return the table for a terminal."""
    head = ["metric", "smallest change shown"] + ([f"rows to show {wanted:g}"] if wanted is not None else [])
    grouped = found[0].clusters is not None
    if wanted is not None and grouped:
        head.append("groups of rows")
    rows = []
    for one in found:
        row = [one.metric, fixed(one.smallest, decimals(one.smallest))]
        row += [f"{one.needed:,}"] if one.needed is not None else []
        row += [f"{one.needed_clusters:,}"] if one.needed_clusters is not None else []
        rows.append(tuple(row))
    groups = f" in {found[0].clusters:,} groups" if grouped else ""
    return (
        f"{table(head, rows, right=head[1:])}\n"
        f"Shown with a probability of 80 % on these {found[0].rows:,} rows{groups}. It is also the smallest margin of\n"
        "no-regression that an equally good model is shown to keep.\n"
    )
