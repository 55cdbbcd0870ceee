"""``lockgate init``: propose what this DVC repository needs to use Lockgate, as one pull request.

It reads the default branch as git has it and proposes a policy from what is there: metrics with their direction,
predictions, gates whose margin the test rows can show, the model, a lock of the packages; and the workflows. The change
is one commit on the branch ``lockgate-init``; the working tree is not touched, and nothing that is there is replaced.
"""

import argparse
import re
import sys

from lockgate import git
from lockgate.adoption import change
from lockgate.adoption.found import FoundMetric
from lockgate.adoption.init import Made, Plan, carry_out, forget_unmerged, plan_init, plan_removal
from lockgate.errors import UsageError
from lockgate.files import progress
from lockgate.result import Better
from lockgate.waiting import doing

EXAMPLES = """\
examples:
  lockgate init --dry-run              the change as a patch, and the description of the pull request
  lockgate init                        commit it on the branch lockgate-init, push that, open the pull request
  lockgate init --better churn=lower   say of a metric whose name does not tell which way is better
  lockgate init --remove               take back what was laid down, as a pull request too

It reads the default branch and leaves the working tree alone. With $GITHUB_TOKEN or $GH_TOKEN the pull request is
opened, else its address is printed. Run again, it changes nothing, or moves the workflows to this version of Lockgate.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lockgate init``."""
    parser.epilog = EXAMPLES
    parser.add_argument("--dry-run", action="store_true", help="print the change as a patch, write nothing")
    parser.add_argument("--no-push", action="store_true", help="leave the branch in this clone")
    parser.add_argument("--remove", action="store_true", help="propose to take back what was laid down")
    parser.add_argument(
        "--better", metavar="NAME=higher|lower", action="append", default=[], help="which way a metric is better"
    )
    parser.add_argument("--releases", action="store_true", help="propose the workflows of releases and promotions, too")
    parser.add_argument(
        "--monitoring", action="store_true", help="propose the workflows that watch what serves and train again, too"
    )
    parser.add_argument("--no-lock", action="store_true", help="make no lock of the packages, where there is none")
    parser.add_argument("--no-history", action="store_true", help="do not judge the last merged pull requests")
    parser.add_argument(
        "--pin",
        metavar="[OWNER/NAME@]COMMIT",
        help="the commit of Lockgate that workflows call, or the repository that it is in, or both (default: its own)",
    )


def main(arguments: argparse.Namespace) -> int:
    """Propose, and say what was proposed. Exit code 0 also where there is nothing left to propose."""
    better = dict(_direction(text) for text in arguments.better)
    root = git.project_root()
    if arguments.remove:
        plan = plan_removal(root)
        if not plan.changes:
            gone = not arguments.dry_run and forget_unmerged(root)
            done = f"deleted the branch {change.BRANCH}, which was not merged" if gone else "nothing of it is here"
            sys.stdout.write(f"{done}\n")
            return 0
    else:
        plan = plan_init(
            root,
            pin=arguments.pin,
            better=better,
            releases=arguments.releases,
            monitoring=arguments.monitoring,
            make_lock=not arguments.no_lock,
            past=not arguments.no_history,
            ask=_ask if sys.stdin.isatty() and sys.stderr.isatty() else lambda _: None,
            tell=doing,
        )
    for path in plan.left:
        progress(f"{path} is there already and is left as it is")
    if not plan.changes:
        sys.stdout.write("nothing to propose: everything is there\n")
        return 0
    if arguments.dry_run:
        snapshot = git.Commit(root, plan.at.branch, plan.at.commit)
        sys.stdout.write(f"{change.patch(snapshot, plan.changes)}\n{plan.description}")
        return 0
    push = not arguments.no_push and bool(git.git(root, "remote").split())
    sys.stdout.write(as_text(plan, carry_out(root, plan, push=push), push=push))
    return 0


def as_text(plan: Plan, made: Made, *, push: bool) -> str:
    """Return what was done, what is open, and what comes next."""
    lines = [f"{'made' if made.new else 'as before:'} {made.commit[:10]} on the branch {plan.branch}:"]
    done = "written" if plan.proposal else "changed"
    lines += [f"  {'removed' if content is None else done}  {path}" for path, content in plan.changes.items()]
    if plan.proposal:
        lines += [f"open: {one}" for one in plan.proposal.open]
    for one in plan.history:
        lines.append(f"{one.outcome:9}  {one.merged.commit[:10]}  {one.merged.title}: {one.reason}")
    if made.address:
        lines.append(f"the pull request: {made.address}")
    elif push:
        lines.append(f"pushed: open a pull (or merge) request from {plan.branch} into {plan.at.branch}")
    else:
        lines.append(f"next: git push -u origin {plan.branch}, and open a pull request into {plan.at.branch}")
    return "\n".join(lines) + "\n"


def _direction(text: str) -> tuple[str, Better]:
    found = re.fullmatch(r"(.+)=(higher|lower)", text)
    if found is None:
        raise UsageError(
            f"--better {text} is not NAME=higher or NAME=lower", "Write, for example, --better churn=lower."
        )
    return found[1], "higher" if found[2] == "higher" else "lower"


def _ask(metric: FoundMetric) -> Better | None:
    """Ask at the terminal; an empty answer leaves the metric out."""
    sys.stderr.write(
        f"{metric.name} is {metric.value:.6g} in {metric.file}. Is more of it better, or less? [higher/lower/skip] "
    )
    sys.stderr.flush()
    answer = sys.stdin.readline().strip().lower()
    return "higher" if answer.startswith("h") else "lower" if answer.startswith("l") else None
