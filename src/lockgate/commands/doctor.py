"""``lockgate doctor``: test the whole way, from this clone to a release, and say what mends it."""

import argparse
import os
import sys
import uuid
from dataclasses import asdict

from lockgate import git
from lockgate.adoption.doctor import MAY_CREATE, Asked, Finding, examine
from lockgate.adoption.found import forge_of
from lockgate.adoption.init import api_of
from lockgate.adoption.roles import CLOUDS, terraform
from lockgate.dependencies.advisories import OSV
from lockgate.envelope import envelope
from lockgate.formatting import count
from lockgate.waiting import doing

EXAMPLES = """\
examples:
  lockgate doctor                        what can be seen from here
  lockgate doctor --probe --as main      and what may be done: one object of its own in each store, created, replaced
  lockgate doctor --advisories           and whether a locked package has a known vulnerability (asks osv.dev)
  lockgate doctor --print aws > roles.tf the roles of the bucket, as Terraform

Exit code 1 if a check found a problem. With $GITHUB_TOKEN, permissions and branch protection are looked at, too. What
--probe writes stays, under the name lockgate-doctor: removing it would need one right more.
"""
_MARKS = {"ok": "ok     ", "advice": "advice ", "problem": "PROBLEM", "unknown": "unknown"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lockgate doctor``."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--probe", action="store_true", help="write one object to each store and try to replace that one"
    )
    parser.add_argument(
        "--as", dest="role", choices=tuple(MAY_CREATE), default="person", help="whose rights they should be"
    )
    parser.add_argument(
        "--advisories",
        metavar="URL",
        nargs="?",
        const=OSV,
        default="",
        help="ask a feed in OSV's form about the packages",
    )
    parser.add_argument("--store", metavar="URL", help="the store of releases (default: $LOCKGATE_STORE)")
    parser.add_argument("--fix", action="store_true", help="mend what is safe to mend: settings of this clone")
    parser.add_argument(
        "--print", dest="cloud", choices=CLOUDS, help="print the roles of a store as Terraform, check nothing"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def main(arguments: argparse.Namespace) -> int:
    """Print what was found. Exit code 1 if there is a problem."""
    root = git.project_root()
    if arguments.cloud:
        sys.stdout.write(terraform(root, arguments.cloud))
        return 0
    asked = Asked(
        root,
        role=arguments.role,
        probe=uuid.uuid4().hex if arguments.probe else "",
        advisories=arguments.advisories,
        store=arguments.store or os.environ.get("LOCKGATE_STORE", ""),
        token=os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN") or "",
        api=api_of(forge_of(root)),
        fix=arguments.fix,
    )
    found = examine(asked, doing)
    problems = sum(one.level == "problem" for one in found)
    if arguments.json:
        content = {"problems": problems, "findings": [asdict(one) for one in found], "mended": asked.mended}
        sys.stdout.write(envelope("doctor", content))
    else:
        sys.stdout.write(as_text(found, asked.mended))
    return 1 if problems else 0


def as_text(found: tuple[Finding, ...], mended: list[str]) -> str:
    """Return the findings as lines for a terminal."""
    lines = []
    for one in found:
        lines.append(f"{_MARKS[one.level]}  {one.check}: {one.what}")
        lines += [f"         {one.why}"] if one.why and one.level != "ok" else []
        lines += [f"         → {one.mend}"] if one.mend and one.level != "ok" else []
    lines += [f"mended: {one}" for one in mended]
    problems = sum(one.level == "problem" for one in found)
    unknown = sum(one.level == "unknown" for one in found)
    lines.append(f"{count(problems, 'problem')}, {count(unknown, 'check')} could not be made")
    return "\n".join(lines) + "\n"
