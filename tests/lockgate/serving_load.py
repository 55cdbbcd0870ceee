"""Load on an HTTP service: some connections, each sending its next request as soon as it has the answer to the last.

Plain sockets and a loop: what is measured should be the service, not the program that measures.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Load:
    """What came back: per request its status, its body and its seconds; ``errors`` are requests without an answer."""

    statuses: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wall: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.statuses) / self.wall

    def percentile(self, share: float) -> float:
        """Seconds within which ``share`` of the requests were answered."""
        return sorted(self.seconds)[min(int(share * len(self.seconds)), len(self.seconds) - 1)]


def post(path: str, body: bytes) -> bytes:
    """Return a whole HTTP request."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def load(port: int, requests: list[bytes], connections: int, enough: Callable[[Load], bool]) -> Load:
    """Send ``requests`` (whole ones, in turn) over so many connections until ``enough`` says so."""
    seen = Load()
    begin = time.perf_counter()
    await asyncio.gather(
        *(_connection(port, requests[i::connections] or requests, seen, enough) for i in range(connections))
    )
    seen.wall = time.perf_counter() - begin
    return seen


async def _connection(port: int, requests: list[bytes], seen: Load, enough: Callable[[Load], bool]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    number = 0
    try:
        while not enough(seen):
            begin = time.perf_counter()
            writer.write(requests[number % len(requests)])
            number += 1
            try:
                status, body = await read_answer(reader)
            except (OSError, EOFError) as error:
                seen.errors.append(repr(error))
                return
            seen.seconds.append(time.perf_counter() - begin)
            seen.statuses.append(status)
            seen.bodies.append(body)
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return status and body of one HTTP answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return int(head[9:12]), await reader.readexactly(length)
