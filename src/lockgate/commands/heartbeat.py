"""``lockgate heartbeat ENVIRONMENT``: state, signed, how long the log of an environment is now."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from lockgate.envelope import envelope
from lockgate.releasing.heartbeats import beat
from lockgate.releasing.options import actor_of, add_reader_options, parse_environment, registry_of, signer_of
from lockgate.releasing.registry import Actor

EXAMPLES = """\
examples:
  lockgate heartbeat production            what a job on a schedule does, every hour say
  lockgate verify production --max-age 26h
  lockgate serve production --max-age 26h
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("environment", metavar="ENVIRONMENT", help="production, or NAME#production")
    add_reader_options(parser)
    parser.add_argument(
        "--private-key", type=Path, metavar="PEM", help="sign with this (default: $LOCKGATE_PRIVATE_KEY)"
    )
    parser.add_argument("--keyless", action="store_true", help="sign as the workflow that runs, by Sigstore")
    parser.add_argument("--actor", help="who does this (default: $GITHUB_ACTOR, else the login name)")


def main(arguments: argparse.Namespace) -> int:
    """Verify the whole log, and write a heartbeat."""
    model, environment = parse_environment(arguments.environment)
    registry = registry_of(arguments, model)
    made, new = beat(registry, environment, signer_of(arguments), Actor.now(actor_of(arguments)))
    said = f"{'' if new else 'nothing to do: '}{made.environment} ends with entry {made.number} at {made.time}\n"
    sys.stdout.write(envelope("heartbeat", {"written": new, "heartbeat": asdict(made)}) if arguments.json else said)
    return 0
