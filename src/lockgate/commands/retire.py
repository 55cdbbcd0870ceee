"""``lockgate retire ENVIRONMENT``: say in the log of an environment that nothing runs there any more."""

import argparse
import sys

from lockgate.errors import UsageError
from lockgate.releasing.options import (
    actor_of,
    add_reader_options,
    add_writer_options,
    parse_ref,
    registry_of,
    signer_of,
)
from lockgate.releasing.promotion import retire, tell
from lockgate.releasing.registry import Actor

EXAMPLES = """\
examples:
  lockgate retire staging --reason "replaced by preview"

By a tag: git tag -a 'flight-delay#staging!#4' -m 'replaced by preview'. The log stays, and with
`lockgate promote … --reopen` the environment is used again.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("environment", metavar="ENVIRONMENT", help="staging, or NAME#staging")
    parser.add_argument("--reason", default="", help="why, for whoever reads the log")
    add_reader_options(parser)
    add_writer_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Retire an environment, or say that it is retired already."""
    ref = parse_ref(arguments.environment)
    if ref.environment is None:
        raise UsageError(
            f"'{arguments.environment}' is not an environment", "A release is withdrawn: `lockgate withdraw`."
        )
    entry, appended = retire(
        registry_of(arguments, ref.name),
        ref.environment,
        None if arguments.dry_run else signer_of(arguments),
        Actor.now(actor_of(arguments)),
        reason=arguments.reason,
        dry_run=arguments.dry_run,
    )
    sys.stdout.write(tell(entry, appended, f"{ref.environment} would be retired", as_json_=arguments.json))
    return 0
