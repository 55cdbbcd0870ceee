"""``lockgate retire ENVIRONMENT``: say in the log of an environment that nothing runs there any more."""

import argparse
import sys

from lockgate.releasing.options import add_reader_options, add_writer_options, parse_environment, writer_of
from lockgate.releasing.promotion import retire, tell

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
    model, environment = parse_environment(arguments.environment, "A release is withdrawn: `lockgate withdraw`.")
    by = writer_of(arguments, model)
    entry, appended = retire(
        by.registry,
        environment,
        by.signer,
        by.actor,
        reason=arguments.reason,
        dry_run=arguments.dry_run,
    )
    sys.stdout.write(tell(entry, appended, f"{environment} would be retired", as_json_=arguments.json))
    return 0
