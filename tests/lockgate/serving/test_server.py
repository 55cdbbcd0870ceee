import asyncio
import logging
import os
import re
import signal
import socket
from typing import Any

from lockgate.serving.server import serve
from lockgate.serving.service import LOG


class Connecting(logging.Handler):
    """Connects as soon as the service says where it listens, and then ends it."""

    def __init__(self) -> None:
        super().__init__()
        self.connected = False

    def emit(self, record: logging.LogRecord) -> None:
        if found := re.search(r"listening on http://([\d.]+):(\d+)", record.getMessage()):
            try:
                with socket.create_connection((found[1], int(found[2])), timeout=5):
                    self.connected = True
            finally:
                os.kill(os.getpid(), signal.SIGTERM)


async def never_asked(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError(scope)


def test_the_service_listens_when_it_says_so() -> None:
    handler, level = Connecting(), LOG.level
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        asyncio.run(asyncio.wait_for(serve(never_asked, "127.0.0.1", 0, 10), 30))
    finally:
        LOG.removeHandler(handler)
        LOG.setLevel(level)
    assert handler.connected
