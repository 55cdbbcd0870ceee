"""The command line: one table of commands, one ``except``.

Each command is a module of its own name with two functions: ``configure(parser)`` declares its arguments and
``main(arguments)`` does the work and returns the exit code. A module is imported only when its command is asked for,
so that ``lockgate --help`` stays quick.
"""

import argparse
import gc
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from lockgate import __version__
from lockgate.errors import LockgateError, UsageError

# command → (module, one line for the overview), in the order a user meets them
COMMANDS: dict[str, tuple[str, str]] = {
    "plan": ("lockgate.commands.plan", "which stages would run and why, from hashes alone"),
    "run": ("lockgate.commands.run", "run what changed, then show the result"),
    "report": ("lockgate.commands.report", "what changed between two revisions, and whether it is noise"),
    "render": ("lockgate.commands.render", "a result.json as text, Markdown or HTML"),
    "check": ("lockgate.commands.check", "the policy's gates alone: exit 0 or 1"),
    "rebuild": ("lockgate.commands.rebuild", "run a commit's pipeline again in a clean place and compare every hash"),
    "keys": ("lockgate.commands.keys", "make the key pair that signs releases"),
    "release": ("lockgate.commands.release", "rebuild a tagged commit, sign the build, bring it to the store"),
    "promote": ("lockgate.commands.promote", "have an environment run a release"),
    "rollback": ("lockgate.commands.rollback", "have an environment run what it ran before"),
    "history": ("lockgate.commands.history", "what ran where, since when, by whom and why"),
    "show": ("lockgate.commands.show", "what a release is made of and how it came to be"),
    "verify": ("lockgate.commands.verify", "every byte, signature and log entry of a release or environment"),
    "fetch": ("lockgate.commands.fetch", "a release to a folder, every byte verified"),
    "pull-request": ("lockgate.commands.pull_request", "what a pull request's check does, and what it hands over"),
    "publish": ("lockgate.commands.publish", "comment, lock and status of a pull request, from what its check left"),
    "quarantine": ("lockgate.commands.quarantine", "push what was made here to the remote that nobody trusts"),
    "admit": ("lockgate.commands.admit", "bring what was merged into the trusted remote, every hash checked"),
    "merge-lock": ("lockgate.commands.merge_lock", "git's merge driver for dvc.lock: stage by stage"),
    "setup-git": ("lockgate.commands.setup_git", "have git merge dvc.lock stage by stage in this clone"),
    "serve": ("lockgate.commands.serve", "answer requests over HTTP with what an environment runs"),
    "score": ("lockgate.commands.score", "score a file or table with a release"),
    "store": ("lockgate.commands.store_gc", "collect builds that no release points at (lockgate store gc)"),
}

EXAMPLES = """\
examples:
  lockgate plan                       what would run in this working tree, and why
  lockgate run                        run it, then show the result
  lockgate report --format html --output report.html
  lockgate check                      the policy's gates alone

`lockgate COMMAND --help` teaches each command. Exit codes: 0 done, 1 an expected failure, 2 wrong usage.
"""


class _Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are :class:`UsageError`, so that there is one way out."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, f"`{self.prog} --help` shows how it is used.")


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """Return the parser of the whole command line; only ``command``'s own module is imported and configured."""
    parser = _Parser(
        prog="lockgate",
        description="GitOps for machine-learning models, on any DVC repository.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lockgate {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_Parser)
    for name, (module, summary) in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if name == command:
            importlib.import_module(module).configure(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 an expected failure, 2 wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in arguments if not word.startswith("-")), None)
    try:
        parser = build_parser(command)
        parsed = parser.parse_args(arguments)
        if parsed.command is None:
            parser.print_help()
            return 0
        module = importlib.import_module(COMMANDS[parsed.command][0])
        return int(module.main(parsed))
    except LockgateError as error:
        print(f"lockgate: {error}", file=sys.stderr)  # noqa: T201
        if error.advice:
            print(f"  {error.advice}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    finally:
        if argv is None:  # the process ends, and Python would look through all that DVC imported first: half a second
            gc.freeze()
