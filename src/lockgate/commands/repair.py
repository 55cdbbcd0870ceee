"""``lockgate repair ENVIRONMENT``: go on with a log that holds an entry which nobody believes."""

import argparse
import sys
from dataclasses import asdict

from lockgate.envelope import envelope
from lockgate.errors import LockgateError
from lockgate.releasing.environments import Environment
from lockgate.releasing.options import (
    actor_of,
    add_reader_options,
    add_writer_options,
    parse_environment,
    registry_of,
    signer_of,
)
from lockgate.releasing.registry import Actor

EXAMPLES = """\
examples:
  lockgate repair production                    which entries are refused, and why
  lockgate repair production --entry 4 --reason "promoted with the wrong key"

A repair is one more signed entry, by which every reader passes over the entries it names; nothing is rewritten or
removed. What ran before them runs again. Where the entries are signed with a key that you ought to trust, add that key
instead (`lockgate keys trust`).
"""


class StillRefused(LockgateError):  # noqa: N818 - named for what the user reads
    """Entries bar the log, and which to pass over was not said."""

    def __init__(self, environment: str, refusals: list[tuple[int, str]]) -> None:
        """List the entries and why they are refused."""
        lines = "".join(f"\n  entry {number}: {why}" for number, why in refusals)
        options = " ".join(f"--entry {number}" for number, _ in refusals)
        super().__init__(
            f"these entries of '{environment}' are refused, so nobody can use its log:{lines}",
            f"If nobody should believe them: `lockgate repair {environment} {options} --reason WHY`.",
        )


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("environment", metavar="ENVIRONMENT", help="production, or NAME#production")
    parser.add_argument("--entry", type=int, action="append", metavar="N", help="pass over this entry; may be repeated")
    parser.add_argument("--reason", default="", help="why, for whoever reads the log")
    add_reader_options(parser)
    add_writer_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Show which entries are refused, or pass over them."""
    model, environment = parse_environment(arguments.environment)
    log = Environment(registry_of(arguments, model), environment)
    refusals = log.refusals()
    if not refusals:
        text = f"nothing to do: every entry of {environment} is believed\n"
        sys.stdout.write(envelope("repair", {"appended": False, "entry": None}) if arguments.json else text)
        return 0
    if not arguments.entry or arguments.dry_run:
        raise StillRefused(environment, [(one.number, str(one)) for one in refusals])
    actor = Actor.now(actor_of(arguments))
    entry = log.repair(arguments.entry, signer_of(arguments), actor, arguments.reason)
    runs = f"{entry.environment} runs {entry.version}" if entry.version else f"nothing runs in {entry.environment}"
    text = f"{runs}: entry {entry.number} passes over {', '.join(str(number) for number, _ in entry.refused)}\n"
    sys.stdout.write(envelope("repair", {"appended": True, "entry": asdict(entry)}) if arguments.json else text)
    return 0
