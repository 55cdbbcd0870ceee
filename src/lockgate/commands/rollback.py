"""``lockgate rollback ENVIRONMENT``: return to the release that ran before, verified again, as a new entry."""

import argparse
import sys
from typing import TYPE_CHECKING

from lockgate.releasing.options import (
    StderrProgress,
    add_reader_options,
    add_writer_options,
    parse_environment,
    writer_of,
)
from lockgate.releasing.promotion import follow_up, tag_of, tell
from lockgate.releasing.registry import Build
from lockgate.releasing.rollback import rollback

if TYPE_CHECKING:
    from lockgate.releasing.tags import Follow

EXAMPLES = """\
examples:
  lockgate rollback production --reason "late flights doubled"
  lockgate rollback production --to v1.1.0
  lockgate rollback production --tag              and make the tag that says so in git
  lockgate rollback production --dry-run          say which release would run, write nothing
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("environment", metavar="ENVIRONMENT", help="production, or NAME#production")
    parser.add_argument(
        "--to", metavar="VERSION", help="go back to this version (default: the release that ran before)"
    )
    parser.add_argument("--tag", action="store_true", help="make the git tag that keeps `gto show` true")
    parser.add_argument("--reason", default="", help="why, for whoever reads the log")
    add_reader_options(parser)
    add_writer_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Roll an environment back."""
    model, environment = parse_environment(arguments.environment, "Name an environment; the version goes with --to.")
    by = writer_of(arguments, model)
    follow: Follow | None = None

    def tag(build: Build) -> str:
        nonlocal follow
        follow = tag_of(by.registry, environment, build.release.version)
        return follow.tag if arguments.tag and follow else ""

    entry, appended, version = rollback(
        by.registry,
        environment,
        by.signer,
        by.actor,
        to=arguments.to,
        reason=arguments.reason,
        tag=tag,
        dry_run=arguments.dry_run,
        progress=StderrProgress(),
    )
    would = f"{environment} would go back to {version}"
    sys.stdout.write(tell(entry, appended, would, as_json_=arguments.json))
    if entry is not None and appended:
        (sys.stderr if arguments.json else sys.stdout).write(follow_up(entry, follow, make=arguments.tag))
    return 0
