"""``lockgate record``: forget a request in the record of scores and in its outcomes, and keep the record in order.

``forget`` takes out every score of a request and every outcome of it, beside a running service, and leaves a note: the
HMAC of the key under a secret that is kept elsewhere, so that it can be proven that it was done. ``tidy`` removes what
is older than the policy keeps it (``serving.retention``) and puts the small files of past days together.
"""

import argparse
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockgate.envelope import envelope
from lockgate.errors import NotAskedError, UsageError
from lockgate.formatting import count
from lockgate.monitoring.environment import NotServed, add_environment_options, places_of, served_of
from lockgate.serving.options import ServiceMissing

EXAMPLES = """\
examples:
  lockgate record forget production --key date=2013-10-01,carrier=UA,flight=252,origin=EWR --forget-key forget.key
  lockgate record tidy production                    every night, after midnight UTC

The secret is made once: openssl rand -hex 32 > forget.key. `lockgate serve` should have it, too: else run `forget`
again once the service has delivered what it answered before (--record-every).
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("action", choices=("forget", "tidy"), help="forget requests, or keep the record in order")
    parser.add_argument("environment", metavar="ENVIRONMENT", help="the environment whose record it is")
    parser.add_argument(
        "--key",
        action="append",
        default=[],
        metavar="COLUMN=VALUE,…",
        help="forget: the request, by the whole key that the policy names; may be repeated",
    )
    parser.add_argument(
        "--forget-key",
        type=Path,
        metavar="FILE",
        default=os.environ.get("LOCKGATE_FORGET_KEY") or None,
        help="forget: the secret of the notes (default: $LOCKGATE_FORGET_KEY)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    add_environment_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Do what is asked."""
    try:
        import sqlalchemy
    except ImportError as error:
        raise ServiceMissing(str(error.name)) from None
    try:
        return _forget(arguments) if arguments.action == "forget" else _tidy(arguments)
    except sqlalchemy.exc.SQLAlchemyError as error:
        said = str(getattr(error, "orig", error)).splitlines()[0]
        raise NotAskedError(f"the database refused: {said}", "Check the URL and the credentials.") from None
    except OSError as error:
        raise NotAskedError(f"the record cannot be reached: {error.strerror or type(error).__name__}") from None


def _forget(arguments: argparse.Namespace) -> int:
    from lockgate.monitoring.forgetting import forget, parse_key
    from lockgate.serving.forgotten import read_secret

    places = places_of(arguments)
    if not arguments.key:
        raise UsageError("no request is named", "Name it by its key: --key COLUMN=VALUE,COLUMN=VALUE.")
    if not arguments.forget_key:
        raise UsageError("there is no secret for the note", "Make it once: openssl rand -hex 32 > forget.key.")
    secret = read_secret(Path(arguments.forget_key))
    served = served_of(arguments)
    if not served.described.key:
        raise NotServed(served.release, "names no key of a request (serving.key)")
    keys = [parse_key(text, served.described) for text in arguments.key]
    done = forget(places, served.name, served.described, keys, secret, dry_run=arguments.dry_run)
    if arguments.json:
        facts: dict[str, Any] = {"model": served.name, "dry_run": arguments.dry_run, **asdict(done)}
        sys.stdout.write(envelope("record-forget", facts))
        return 0
    if arguments.dry_run:
        sys.stdout.write(f"{count(done.scores, 'score')} would be forgotten, and their outcomes\n")
        return 0
    noted = ", ".join(mark[:12] for mark in done.marks)
    told = f"{count(done.scores, 'score')} and {count(done.outcomes, 'outcome')} forgotten; noted as {noted}\n"
    sys.stdout.write(told)
    return 0


def _tidy(arguments: argparse.Namespace) -> int:
    from lockgate.monitoring.forgetting import tidy
    from lockgate.serving.sinks import is_database

    places, served = places_of(arguments), served_of(arguments)
    retention = served.described.retention
    done = tidy(places, served.name, retention, now=datetime.now(UTC), dry_run=arguments.dry_run)
    if arguments.json:
        sys.stdout.write(envelope("record-tidy", {"model": served.name, "dry_run": arguments.dry_run, **asdict(done)}))
        return 0
    lines = []
    if retention is None:
        lines.append("nothing is too old: the policy keeps scores for ever")
    else:
        noun = "score" if is_database(places.record) else "day"
        verb = "are too old" if arguments.dry_run else "were too old, and are gone"
        lines.append(f"{count(done.expired, noun)} and {count(done.outcomes, 'addition')} of outcomes {verb}")
    if done.files:
        verb = "would be put" if arguments.dry_run else "were put"
        lines.append(f"{count(done.files, 'file')} of past days {verb} together, into {done.into:,}")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0
