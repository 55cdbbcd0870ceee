"""The HTTP server: uvicorn, with bounds on how long and how large the head of a request may be."""

import asyncio
import contextlib
import logging
import resource
import signal
from collections.abc import Iterator
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
        self._head_bytes = 0
        self._late: asyncio.TimerHandle | None = None
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._have_head()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Wait for the rest of a head."""
        super().on_message_begin()
        self._have_head()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """Wait no longer."""
        self._have_head()
        super().on_headers_complete()

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


async def serve(app: Any, host: str, port: int, connections: int) -> None:
    """Answer until SIGTERM or SIGINT, then finish what was begun."""
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
    )
    server = Server(config)
    sock = config.bind_socket()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    LOG.info("listening on http://%s:%d", *sock.getsockname()[:2])
    await server.serve([sock])


def _allow_files(wanted: int) -> None:
    """Raise the limit of open files as far as this user may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
