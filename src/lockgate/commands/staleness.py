"""``lockgate staleness``: how fast does a model age? Models of different ages on the same test rows, pair by pair.

The policy says what makes a model older (``staleness: {parameter: prepare.test.months, ages: [1, 2, 3]}``). Each model
is trained from the default branch in a copy, isolated, and kept: run again, nothing is trained twice.
"""

import argparse
import os
import sys

from lockgate import git
from lockgate.dependencies.commit import CHOICES
from lockgate.envelope import envelope
from lockgate.errors import NotAskedError
from lockgate.evaluation.report import add_model
from lockgate.files import progress
from lockgate.formatting import count, decimals, fixed, interval, table
from lockgate.policy import FILE, read_policy
from lockgate.retraining.staleness import Curve, as_facts, measure

EXAMPLES = """\
examples:
  lockgate staleness               the curve of the working tree's HEAD, by the ages of its policy
  lockgate staleness --jobs 4      four models at once, each in a copy of its own
  lockgate staleness --json        the figures, for a script

A schedule is suggested, never set: what one test month shows need not hold for another.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("--commit", metavar="REV", default="HEAD", help="the commit to train from (default: HEAD)")
    parser.add_argument(
        "--jobs", type=int, metavar="N", default=1, help="train so many models at once (default: %(default)s)"
    )
    parser.add_argument(
        "--stage-dependencies",
        choices=CHOICES,
        default="current",
        help="locked: stages run with the packages that the policy locks; current: with those installed here",
    )
    add_model(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(arguments: argparse.Namespace) -> int:
    """Train what is not known, compare, show the curve."""
    root = git.project_root()
    at = git.Commit(root, arguments.commit, git.resolve(root, arguments.commit))
    text = at.read(FILE)
    policy = read_policy(text, arguments.model) if text is not None else None
    if policy is None or policy.staleness is None:
        raise NotAskedError(
            f"{FILE} of {arguments.commit} does not say what makes a model older",
            "Add it: `staleness: {parameter: prepare.test.months, ages: [1, 2, 3], unit: month}`.",
        )
    found = measure(
        root,
        policy,
        at,
        policy.staleness,
        jobs=max(1, min(arguments.jobs, os.cpu_count() or 1)),
        dependencies=arguments.stage_dependencies,
        tell=progress,
    )
    sys.stdout.write(envelope("staleness", as_facts(found)) if arguments.json else as_text(found))
    return 0


def as_text(found: Curve) -> str:
    """Return the curve as a table: what each age costs against the freshest model, with 95 % intervals."""
    rows = []
    for one in found.aged:
        cells = [f"{count(one.steps, found.unit)} older", f"{one.age}", f"{one.comparison.rows_shared or 0:,}"]
        for change in one.metrics:
            if change.change is None or change.low is None or change.high is None:
                cells.append(change.note or "not judged")
                continue
            places = decimals((change.high - change.low) / 2, change.change)
            told = f"{fixed(change.change, places, sign=True)} {interval(change.low, change.high, places)}"
            cells.append(f"{told} {'' if change.judgement == 'noise' else change.judgement}".rstrip())
        rows.append(cells)
    names = [change.name for change in found.aged[0].metrics]
    shown = table(["age", found.parameter, "rows", *names], rows)
    beyond = f" by more than {found.margin:g}" if found.margin else ""
    if found.suggested is not None:
        steps = count(found.suggested, found.unit)
        said = (
            f"In {found.metric} a model that is {steps} older is shown to be worse than a fresh one{beyond}: a "
            f"retraining every {steps} would forestall that."
        )
    else:
        steps = count(found.aged[-1].steps, found.unit)
        said = (
            f"In {found.metric} no age up to {steps} is shown to be worse than a fresh model{beyond}: these rows ask "
            "for no schedule."
        )
    shared = f"Changes are old minus fresh ({found.parameter} = {found.fresh}), on the rows that all share."
    return f"{shown}\n{said}\n{shared}\n"
