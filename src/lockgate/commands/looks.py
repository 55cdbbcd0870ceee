"""``lockgate looks``: how often the figures of each test set were published, as the ledger in ``origin`` has it."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lockgate import git, policy
from lockgate.envelope import envelope
from lockgate.errors import LockgateError, UsageError
from lockgate.formatting import count, table
from lockgate.policy import TestSet
from lockgate.publishing.ledger import BRANCH, Ledger, Look, read_all, shortened
from lockgate.rendering.escape import visible

EXAMPLES = """\
examples:
  lockgate looks                 each test set: its looks, of how many that the policy plans
  lockgate looks 3fd1a09c        every look at one test set, by the beginning of its name
  lockgate looks --json | jq '.test_sets[] | select(.looks > .planned)'
"""


@dataclass(frozen=True, slots=True)
class Counted:
    """One model's looks at one test set."""

    model: str
    test_set: str
    looks: int
    first: str
    last: str
    planned: int | None


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("test_set", nargs="?", metavar="TEST_SET", help="show each look at this one")
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def main(arguments: argparse.Namespace) -> int:
    """Show the ledger of looks. Exit code 1 if lines were removed from it."""
    root = git.project_root()
    tip = Ledger(root, {}).tip()
    found = read_all(root, tip) if tip else ()
    chosen = [look for look in found if look.test_set.startswith(arguments.test_set or "")]
    if arguments.test_set and not chosen:
        raise UsageError(f"no test set begins with '{arguments.test_set}'", "`lockgate looks` lists them.")
    removed = shortened(root, tip) if tip else ()
    counted = summed(chosen, _planned(root))
    if arguments.json:
        said = {
            "branch": BRANCH,
            "commit": tip,
            "test_sets": [asdict(one) for one in counted],
            "looks": [asdict(look) for look in chosen],
            "removed_by": list(removed),
        }
        sys.stdout.write(envelope("looks", said))
    else:
        sys.stdout.write(each(chosen) if arguments.test_set else as_text(counted))
    for commit in removed:
        sys.stderr.write(f"lockgate: {commit[:10]} removed looks from the branch {BRANCH}: the count is too low\n")
    return 1 if removed else 0


def summed(found: Sequence[Look], planned: Mapping[str, TestSet | None]) -> tuple[Counted, ...]:
    """Return one line a model and test set, the one that was looked at last first."""
    of: dict[tuple[str, str], list[Look]] = {}
    for look in found:
        of.setdefault((look.model, look.test_set), []).append(look)
    most = {model: told.looks for model, told in planned.items() if told}
    lines = [
        Counted(model, name, max(one.number for one in some), some[0].time, some[-1].time, most.get(model))
        for (model, name), some in of.items()
    ]
    return tuple(sorted(lines, key=lambda one: (one.last, one.model, one.test_set), reverse=True))


def as_text(counted: Sequence[Counted]) -> str:
    """Return a table of test sets."""
    if not counted:
        return f"No look was counted yet: origin has no branch {BRANCH}. `lockgate ci publish` begins it.\n"
    rows = [
        (
            one.test_set[:12],
            visible(one.model),
            f"{one.looks:,}" if one.planned is None else f"{one.looks:,} of {one.planned:,}",
            visible(one.first),
            visible(one.last),
        )
        for one in counted
    ]
    told = table(("test set", "model", "looks", "first", "last"), rows, right={"looks"})
    if counted[0].planned is None:
        told += "The policy plans no number of looks (test_set: {looks: 50}), so nothing is corrected for them.\n"
    return told


def each(found: Sequence[Look]) -> str:
    """Return a table of the looks at one test set."""
    rows = [
        (
            f"{look.number:,}",
            visible(look.model),
            visible(look.time),
            f"#{look.pull_request}" if look.pull_request is not None else "-",
            visible(look.base[:10]),
            visible(look.head[:10]),
        )
        for look in found
    ]
    head = ("look", "model", "time", "pull request", "base", "head")
    return table(head, rows, right={"look"}) + f"{count(len(rows), 'look')}\n"


def _planned(root: Path) -> dict[str, TestSet | None]:
    text = git.Workspace(root).read(policy.FILE)
    try:
        return {one.model: one.test_set for one in policy.read_models(text).policies} if text is not None else {}
    except LockgateError:
        return {}
