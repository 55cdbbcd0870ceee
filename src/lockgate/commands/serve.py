"""``lockgate serve REF``: answer requests over HTTP with the release of an environment; follows promotions."""

import argparse
import asyncio
import hashlib
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lockgate.errors import UsageError
from lockgate.releasing.heartbeats import parse_age
from lockgate.releasing.options import add_reader_options, parse_ref
from lockgate.serving.source import Source

if TYPE_CHECKING:
    from lockgate.serving.record import Recorder

from lockgate.serving.options import (
    ServiceMissing,
    add_cache_option,
    add_dependencies_option,
    interpreters_of,
    source_of,
)

SHORTEST_TOKEN = 16
EXAMPLES = """\
examples:
  lockgate serve production --public-key lockgate.pub            on http://127.0.0.1:8080; follows promotions
  lockgate serve v1.2.0 --port 0                                 one version, on any free port
  lockgate serve production --record scores/                     keep each score, with the release that gave it

`make service` installs what serving needs.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("ref", metavar="REF", help="an environment (production), which is followed, or a version")
    add_reader_options(parser)
    add_cache_option(parser)
    add_dependencies_option(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8080, help="port to listen on; 0: any free one (default: %(default)s)"
    )
    parser.add_argument(
        "--poll",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how often to look for a promotion (default: %(default)s)",
    )
    parser.add_argument(
        "--max-age", type=parse_age, metavar="AGE", help="refuse a log without a heartbeat this young, such as 26h"
    )
    access = parser.add_argument_group("access, where nothing stands in front of the service")
    access.add_argument("--tls-certificate", type=Path, metavar="PEM", help="answer over TLS with this certificate")
    access.add_argument("--tls-key", type=Path, metavar="PEM", help="the private key of the certificate")
    access.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="ask for a bearer token, one of the lines of FILE (/healthz and /readyz stay open)",
    )
    record = parser.add_argument_group("record of scores")
    record.add_argument(
        "--record",
        metavar="WHERE",
        default=os.environ.get("LOCKGATE_RECORD"),
        help="a folder for Parquet files, s3://BUCKET/PREFIX, or a database's URL (default: $LOCKGATE_RECORD)",
    )
    record.add_argument(
        "--forget-key",
        type=Path,
        metavar="FILE",
        default=os.environ.get("LOCKGATE_FORGET_KEY") or None,
        help="the secret of `lockgate record forget`: what is forgotten is no longer recorded from the journal, either "
        "(default: $LOCKGATE_FORGET_KEY)",
    )
    record.add_argument(
        "--record-every",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="how often to write recorded scores (default: %(default)s)",
    )
    record.add_argument(
        "--record-limit",
        type=int,
        default=2**28,
        metavar="BYTES",
        help="how much may wait to be written (default: %(default)s)",
    )
    record.add_argument(
        "--record-full",
        choices=("shed", "wait"),
        default="shed",
        help="beyond that limit: refuse requests, or let them wait (default: %(default)s)",
    )
    record.add_argument(
        "--live-figures",
        type=Path,
        metavar="FILE",
        help="tell Prometheus, with the service's own figures, those that `lockgate monitor --prometheus FILE` found",
    )
    limits = parser.add_argument_group("limits")
    limits.add_argument(
        "--max-body",
        type=int,
        default=4 * 2**20,
        metavar="BYTES",
        help="the largest body of a call (default: %(default)s)",
    )
    limits.add_argument(
        "--max-rows", type=int, default=5_000, metavar="N", help="the most requests in a call (default: %(default)s)"
    )
    limits.add_argument(
        "--body-seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="how long sending a body may take (default: %(default)s)",
    )
    limits.add_argument(
        "--max-connections",
        type=int,
        default=4_000,
        metavar="N",
        help="connections open at once (default: %(default)s)",
    )
    limits.add_argument(
        "--unknown-fields",
        choices=["refuse", "ignore"],
        default="refuse",
        help="fields that the release does not know: refuse the request, or leave them out, so that a rollback to a "
        "release with fewer fields fails no request (default: %(default)s)",
    )
    limits.add_argument(
        "--max-held",
        type=int,
        default=64 * 2**20,
        metavar="BYTES",
        help="the bodies of all calls at once (default: %(default)s)",
    )


def main(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
        import uvloop
    except ImportError as error:
        raise ServiceMissing(str(error.name)) from None
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    source = replace(source_of(arguments, parse_ref(arguments.ref)), max_age=arguments.max_age)
    tokens, tls = _tokens(arguments.token_file), _tls(arguments.tls_certificate, arguments.tls_key)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(arguments, source, tokens, tls))
    return 0


def _tokens(file: Path | None) -> list[bytes]:
    """Return the SHA-256 of each token, a line of the file each. Raises :class:`UsageError` if there is none."""
    if file is None:
        return []
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", "Name a file with a token on each line.") from None
    tokens = [line.strip() for line in lines if line.strip()]
    if not tokens or any(len(token) < SHORTEST_TOKEN for token in tokens):
        raise UsageError(
            f"{file} holds {'a token that is too short' if tokens else 'no token'}",
            f"Write one of {SHORTEST_TOKEN} characters or more on a line: `openssl rand -hex 32 > {file}`.",
        )
    return [hashlib.sha256(token).digest() for token in tokens]


def _tls(certificate: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise UsageError("TLS needs both a certificate and its key", "Give --tls-certificate and --tls-key.")
    import ssl

    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"{certificate} and {key} are no certificate with its key: {said}", "Name PEM files."
        ) from None
    return certificate, key


async def _serve(
    arguments: argparse.Namespace, source: Source, tokens: list[bytes], tls: tuple[Path, Path] | None
) -> None:
    from lockgate.serving.app import CurrentApplication, make_app
    from lockgate.serving.server import serve
    from lockgate.serving.service import Limits, Service

    limits = Limits(
        arguments.max_body, arguments.max_rows, arguments.body_seconds, arguments.max_held, arguments.unknown_fields
    )
    recorder = _recorder(arguments, source.cache)
    service = Service(source, limits, recorder, make_app, interpreters_of(arguments, source))
    service.metrics.live = arguments.live_figures
    try:
        await service.begin()
        watching = asyncio.create_task(service.watch(arguments.poll))
        await serve(CurrentApplication(service, tokens), arguments.host, arguments.port, arguments.max_connections, tls)
        watching.cancel()
    finally:
        await service.close()
        if recorder is not None:
            await asyncio.to_thread(recorder.close)


def _recorder(arguments: argparse.Namespace, cache: Path) -> "Recorder | None":
    from lockgate.serving.forgotten import read_secret
    from lockgate.serving.record import Recorder
    from lockgate.serving.sinks import sink_of

    if not arguments.record:
        return None
    return Recorder(
        sink_of(arguments.record),
        cache / "journal",
        limit=arguments.record_limit,
        policy=arguments.record_full,
        every=arguments.record_every,
        secret=read_secret(Path(arguments.forget_key)) if arguments.forget_key else None,
    )
