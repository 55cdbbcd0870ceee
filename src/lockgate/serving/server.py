"""The HTTP server: uvicorn, with bounds on how long and how large the head of a request may be."""

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lockgate.serving.service import LOG

HEAD_SECONDS = 10.0  # to send a request's first line and headers
HEAD_BYTES = 32 * 2**10


class Protocol(HttpToolsProtocol):
    """One connection. uvicorn waits for ever for a head and lets it grow; here it ends after a time or a size."""

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._head_bytes = self._parsed = 0
        self._late: asyncio.TimerHandle | None = None
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._have_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Wait for the rest of a head."""
        super().on_message_begin()
        self._parsed = 0
        self._have_head()
        self._expect_head()

    def on_url(self, url: bytes) -> None:
        """Count the bytes of a head."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count the bytes of a head, which may come in one piece."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Wait no longer."""
        self._have_head()
        super().on_headers_complete()

    def _count(self, size: int) -> None:
        self._parsed += size
        if self._parsed > HEAD_BYTES:  # the parser takes it for a bad request, and answers so
            raise ValueError("the head of the request is too large")

    def data_received(self, data: bytes) -> None:
        """Count what came of a head that is not complete yet."""
        super().data_received(data)
        if self._late is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

    def _expect_head(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _have_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
        self._head_bytes = 0


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to :func:`serve`, which has more to end than connections."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so then: whoever waits for that line connects at once."""
        await super().startup(sockets)
        for sock in sockets or ():
            LOG.info("listening on %s://%s:%d", "https" if self.config.is_ssl else "http", *sock.getsockname()[:2])


async def serve(app: Any, host: str, port: int, connections: int, tls: tuple[Path, Path] | None = None) -> None:
    """Answer until SIGTERM or SIGINT, then finish what was begun. ``tls`` are a certificate and its private key."""
    _allow_files(connections + 256)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=30,
        limit_concurrency=connections,
        backlog=2048,
        ssl_certfile=str(tls[0]) if tls else None,
        ssl_keyfile=str(tls[1]) if tls else None,
    )
    server = Server(config)
    sock = config.bind_socket()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    await server.serve([sock])


def _allow_files(wanted: int) -> None:
    """Raise the limit of open files as far as this user may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
