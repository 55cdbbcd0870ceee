"""The command line: one table of commands, one ``except``.

Each command is a module of its own name with two functions: ``configure(parser)`` declares its arguments and
``main(arguments)`` does the work and returns the exit code. A module is imported only when its command is asked for,
so that ``lockgate --help`` stays quick.
"""

import argparse
import gc
import importlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NoReturn

from lockgate import __version__
from lockgate.errors import LockgateError, UsageError, causes, nearest
from lockgate.waiting import waiting

STOPPED, CLOSED = 130, 141
"""The exit codes of a program that Ctrl-C ended, and of one whose output nobody reads any more."""

UNWATCHED = ("serve", "merge-lock")
"""Commands that never end, or that git runs: no line says that they are still running."""

Commands = Mapping[str, tuple[str, str]]
"""command → (module, one line for the overview)"""

GROUPS: dict[str, Commands] = {
    "setting up": {
        "init": ("lockgate.commands.init", "propose Lockgate to this repository, as one pull request"),
        "doctor": (
            "lockgate.commands.doctor",
            "test the whole way, from this clone to a release, and say what mends it",
        ),
    },
    "everyday": {
        "plan": ("lockgate.commands.plan", "show which stages would run and why, from hashes alone"),
        "run": ("lockgate.commands.run", "run the stages that changed, then show the result"),
        "report": ("lockgate.commands.report", "compare two revisions: what changed, and is it more than noise?"),
        "check": ("lockgate.commands.check", "ask the policy's gates alone: exit code 0 or 1"),
        "setup-git": ("lockgate.commands.setup_git", "let git merge dvc.lock stage by stage in this clone"),
    },
    "review": {
        "render": ("lockgate.commands.render", "show a result.json as text, Markdown, HTML or JSON"),
        "power": ("lockgate.commands.power", "say which changes a test set can show, and how many rows others take"),
        "looks": ("lockgate.commands.looks", "show how often each test set was looked at, as CI counted it"),
        "rebuild": ("lockgate.commands.rebuild", "run a commit's whole pipeline in a fresh clone, compare every hash"),
    },
    "release": {
        "keys": ("lockgate.commands.keys", "create, list, trust and revoke the keys that sign releases"),
        "release": ("lockgate.commands.release", "rebuild a tagged commit, sign the build and upload it to the store"),
        "promote": ("lockgate.commands.promote", "promote a release to an environment"),
        "rollback": ("lockgate.commands.rollback", "return an environment to the release it ran before"),
        "heartbeat": ("lockgate.commands.heartbeat", "state, signed, how long an environment's log is now"),
        "withdraw": ("lockgate.commands.withdraw", "withdraw a release: it is never promoted again"),
        "retire": ("lockgate.commands.retire", "retire an environment: nothing runs there any more"),
        "repair": (
            "lockgate.commands.repair",
            "repair an environment's log by passing over entries that fail verification",
        ),
        "releases": ("lockgate.commands.releases", "list the releases, and where each runs"),
        "history": ("lockgate.commands.history", "list promotions: what ran where, since when, by whom and why"),
        "show": ("lockgate.commands.show", "show one release: files, metrics, gates, rebuild, where it runs"),
        "verify": ("lockgate.commands.verify", "verify every byte, signature and log entry of a release"),
        "fetch": ("lockgate.commands.fetch", "download a release to a folder, every byte verified"),
        "store": ("lockgate.commands.store_gc", "remove builds that no release refers to (lockgate store gc)"),
    },
    "afterwards": {
        "retrain": ("lockgate.commands.retrain", "train again on newer data, and propose it as one pull request"),
        "staleness": ("lockgate.commands.staleness", "measure how fast a model ages, on the same test rows"),
    },
    "scoring": {
        "serve": ("lockgate.commands.serve", "answer requests over HTTP with the release of an environment"),
        "score": ("lockgate.commands.score", "score a file, a folder or a table with a release"),
        "record": ("lockgate.commands.record", "forget a request in the record of scores, and keep it in order"),
        "outcomes": ("lockgate.commands.outcomes", "add what really happened to scored requests, and count it"),
        "monitor": ("lockgate.commands.monitor", "does what serves still do what its release promised?"),
    },
}
CI: Commands = {
    "pull-request": ("lockgate.commands.pull_request", "check a pull request: run what it changed, without any rights"),
    "publish": ("lockgate.commands.publish", "comment on a pull request, set its status, write dvc.lock back"),
    "quarantine": ("lockgate.commands.quarantine", "push new objects to the remote that nobody trusts yet"),
    "admit": ("lockgate.commands.admit", "copy merged objects to the trusted remote, every hash checked"),
    "merge-lock": ("lockgate.commands.merge_lock", "merge dvc.lock stage by stage (git calls this)"),
}
"""What workflows and git call: ``lockgate ci NAME``. ``lockgate NAME``, as it was before, still works."""

SHELL: Commands = {
    "completion": ("lockgate.commands.completion", "print the completion script for bash, zsh or fish"),
}

COMMANDS: Commands = {
    name: command for group in (*GROUPS.values(), SHELL, CI) for name, command in group.items()
}  # fmt: skip

EXAMPLES = """\
examples:
  lockgate plan                       which stages would run in this working tree, and why
  lockgate run                        run them, then show the result
  lockgate report --base main --format html --output report.html
  lockgate check                      do the policy's gates hold?

`lockgate COMMAND --help` explains each command, with examples. `--verbose` adds the causes of an error.
Exit codes: 0 done, 1 the answer is no, 2 wrong usage, 3 the question could not be asked (docs/exit-codes.md).
"""
_CHOICE = re.compile(r"invalid choice: '(?P<word>.*)' \(choose from (?P<known>.*)\)")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are :class:`UsageError`, so that there is one way out."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong, with the nearest of the words that would have been right."""
        advice = f"`{self.prog} --help` shows how it is used."
        if wrong := _CHOICE.search(message):
            hint = nearest(wrong["word"], [word.strip(" '") for word in wrong["known"].split(",")])
            advice = f"{_sentence(hint)} {advice}".lstrip()
        raise UsageError(message, advice)


def build_parser(*wanted: str, hidden: bool = True) -> argparse.ArgumentParser:
    """Return the parser of the whole command line; only the modules of the ``wanted`` commands are imported.

    The overview lists the commands by their groups, so argparse's own list is ``hidden``; shells complete from it.
    """
    parser = Parser(
        prog="lockgate",
        usage="lockgate COMMAND …",
        **_texts("GitOps for machine-learning models, on any DVC repository", EXAMPLES, overview()),
    )
    parser.add_argument("--version", action="version", version=f"lockgate {__version__}")
    _add_verbose(parser, default=False)
    commands = _add_commands(parser, "command", hidden=hidden)
    for name, command in COMMANDS.items():
        _add_command(commands, name, command, configure=name in wanted, hidden=hidden or name in CI)
    listing = "\n".join(["commands:", *_listing(CI, 14)])
    summary = "what workflows and git call"
    ci = commands.add_parser("ci", **_help(summary, hidden=hidden), **_texts(summary, _CI_EXAMPLES, listing))
    inner = _add_commands(ci, "ci_command", hidden=hidden)
    inner.required = True
    for name, command in CI.items():
        _add_command(inner, name, command, configure=name in wanted, hidden=hidden)
    return parser


def whole_parser() -> argparse.ArgumentParser:
    """Return the parser with every command listed and configured: what shells complete from."""
    return build_parser(*COMMANDS, hidden=False)


def overview() -> str:
    """Return the commands, grouped by who uses them."""
    width = max(map(len, COMMANDS)) + 2
    groups = {**GROUPS, "shell": SHELL}
    lines = []
    for title, commands in groups.items():
        lines += [f"{title}:", *_listing(commands, width), ""]
    lines += ["workflows (lockgate ci COMMAND):", *_listing(CI, width)]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 the answer is no, 2 wrong usage, 3 it could not be asked."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verbose = "--verbose" in arguments
    before = _readers()
    try:
        parser = build_parser(*_wanted(arguments))
        parsed, unknown = parser.parse_known_args(arguments)
        if unknown:
            _complain(getattr(parsed, "parser", parser), unknown)
        if parsed.command is None:
            parser.print_help()
            return 0
        name = getattr(parsed, "ci_command", None) or parsed.command
        with nullcontext() if name in UNWATCHED else waiting(name):
            code = int(importlib.import_module(parsed.module).main(parsed))
        sys.stdout.flush()  # here, where it is noticed that nobody reads any more
        return code
    except LockgateError as error:
        _tell(error, verbose=verbose)
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("lockgate: stopped\n")
        return STOPPED
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain at its end
        return CLOSED  # whoever reads our output has read enough of it, as `head` does
    finally:
        if "lockgate.git" in sys.modules:  # a caller in this process is left no process of git's
            sys.modules["lockgate.git"].end_readers(before)
        if argv is None:  # the process ends, and Python would look through all that DVC imported first: half a second
            gc.freeze()


def _readers() -> "frozenset[Any]":
    return sys.modules["lockgate.git"].readers() if "lockgate.git" in sys.modules else frozenset()


# --- how the parser is put together


_CI_EXAMPLES = """\
examples:
  lockgate ci pull-request --base origin/main --into handover
  lockgate ci publish --dry-run
  lockgate ci admit --dry-run

`lockgate ci COMMAND --help` explains each. The same commands without `ci` keep working.
"""


def _wanted(arguments: Sequence[str]) -> list[str]:
    """Return the command that the arguments name, for its module to be imported. Raises :class:`UsageError`."""
    words = [word for word in arguments if not word.startswith("-")]
    if not words:
        return []
    command, known, program = words[0], [*COMMANDS, "ci"], "lockgate"
    if command == "ci" and len(words) > 1:
        command, known, program = words[1], list(CI), "lockgate ci"
    if command not in known:
        hint = nearest(command, known)
        advice = f"{_sentence(hint)} `{program} --help` lists the commands.".lstrip()
        raise UsageError(f"there is no command '{program} {command}'", advice)
    return [command]


def _complain(command: argparse.ArgumentParser, unknown: Sequence[str]) -> NoReturn:
    """Raise :class:`UsageError` for arguments that the command does not have, with the nearest option."""
    options = re.findall(r"--[a-z-]+", command.format_usage())
    hints = [nearest(word, options) for word in unknown if word.startswith("--")]
    hint = f"{_sentence(hints[0])} " if any(hints[:1]) else ""
    raise UsageError(
        f"unrecognized arguments: {' '.join(unknown)}", f"{hint}`{command.prog} --help` shows how it is used."
    )


def _listing(commands: Commands, width: int) -> list[str]:
    return [f"  {name:{width}}{summary}" for name, (_, summary) in commands.items()]


def _add_commands(parser: argparse.ArgumentParser, name: str, *, hidden: bool) -> Any:
    shown = argparse.SUPPRESS if hidden else None
    program = parser.prog  # not argparse's guess, which repeats the usage line
    return parser.add_subparsers(dest=name, metavar="COMMAND", prog=program, parser_class=Parser, help=shown)


def _add_command(commands: Any, name: str, command: tuple[str, str], *, configure: bool, hidden: bool) -> None:
    module, summary = command
    parser = commands.add_parser(name, **_help(summary, hidden=hidden), **_texts(summary))
    _add_verbose(parser, default=argparse.SUPPRESS)
    parser.set_defaults(module=module, parser=parser, whole_parser=whole_parser)
    if configure:
        importlib.import_module(module).configure(parser)


def _add_verbose(parser: argparse.ArgumentParser, *, default: bool | str) -> None:
    parser.add_argument("--verbose", action="store_true", default=default, help="with an error, also show its causes")


def _help(summary: str, *, hidden: bool) -> dict[str, Any]:
    return {} if hidden else {"help": summary}


def _texts(summary: str, epilog: str = "", listing: str = "") -> dict[str, Any]:
    sentence = f"{summary[0].upper()}{summary[1:]}{'' if summary.endswith('?') else '.'}"
    return {
        "description": f"{sentence}\n\n{listing}" if listing else sentence,
        "epilog": epilog,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


# --- how an error is told


def _tell(error: LockgateError, *, verbose: bool) -> None:
    lines = [f"lockgate: {error}"]
    if error.advice:
        lines.append(f"  {error.advice}")
    if verbose:
        for one in (error, *causes(error)):
            name = f"{type(one).__module__}.{type(one).__qualname__}".removeprefix("builtins.")
            said = "" if one is error else ": " + (" ".join(str(one).split()) or "no reason given")
            lines.append(f"  {'raised' if one is error else 'caused by'} {name}{said}{_place(one)}")
    sys.stderr.write("\n".join(lines) + "\n")


def _place(error: BaseException) -> str:
    """Return where an error was raised: ``, at FILE:LINE``."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    return f", at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _sentence(clause: str) -> str:
    return f"{clause[:1].upper()}{clause[1:]}"


def _stdout_is_closed() -> bool:
    import select

    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):
        return False
    poll = select.poll()
    poll.register(output, select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))
