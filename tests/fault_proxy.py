"""A proxy between a program and an HTTP service that fails on purpose, one request at a time.

The service behind is real; only the line is bad. :class:`FaultProxy` asks its ``plan`` about each request and does what
it says: pass it on, answer with an error instead, cut the connection while the body comes in, pass it on and lose the
answer, or break the answer off in the middle.
"""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Request:
    """A request as it reached the proxy; ``number`` counts from 1."""

    number: int
    method: str
    path: str
    headers: dict[str, str]

    def writes(self) -> bool:
        return self.method == "PUT"


@dataclass(frozen=True)
class Answer:
    """Do not pass the request on: answer with ``status`` and S3's error ``code``."""

    status: int
    code: str


@dataclass(frozen=True)
class Cut:
    """Close the connection: while the request's body comes in, when its answer is ready, or in the answer's middle."""

    where: str  # "request", "answer" or "middle"


Fault = Answer | Cut | None
Plan = Callable[[Request], Fault]


@dataclass
class FaultProxy:
    """A running proxy. ``plan`` may be changed at any time; ``requests`` are all that came, ``faults`` those spoilt."""

    endpoint: str = ""
    plan: Plan = lambda _: None
    requests: list[Request] = field(default_factory=list)
    faults: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reset(self, plan: Plan) -> None:
        """Forget what was seen and follow ``plan`` from now on."""
        with self.lock:
            self.plan = plan
            self.requests.clear()
            self.faults.clear()

    def see(self, method: str, path: str, headers: dict[str, str]) -> Fault:
        with self.lock:
            request = Request(len(self.requests) + 1, method, path, headers)
            self.requests.append(request)
            fault = self.plan(request)
            if fault is not None:
                self.faults.append(request)
            return fault


@contextlib.contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """Run a proxy on the loopback interface before the service at the URL ``upstream``."""
    proxy = FaultProxy()
    target = urlsplit(upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            headers = {key.lower(): value for key, value in self.headers.items()}
            fault = proxy.see(self.command, self.path, headers)
            length = int(headers.get("content-length", 0))
            if fault == Cut("request"):
                self.rfile.read(length // 2)
                self.close_connection = True
                return
            body = self.rfile.read(length)
            if isinstance(fault, Answer):
                text = f"<Error><Code>{fault.code}</Code><Message>on purpose</Message></Error>".encode()
                self.reply(fault.status, [("Content-Type", "application/xml")], text, len(text))
                return
            connection = http.client.HTTPConnection(target, timeout=60)
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for key, value in self.headers.items():
                connection.putheader(key, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            if fault == Cut("answer"):
                self.close_connection = True
                return
            shown = content[: len(content) // 2] if fault == Cut("middle") else content
            kept = [(k, v) for k, v in answer.getheaders() if k.lower() not in {"content-length", "transfer-encoding"}]
            size = int(answer.getheader("Content-Length") or 0) if self.command == "HEAD" else len(content)
            self.reply(answer.status, kept, shown, size)
            if fault is not None:
                self.close_connection = True

        def reply(self, status: int, headers: list[tuple[str, str]], content: bytes, size: int) -> None:
            self.send_response_only(status)
            for key, value in headers:
                self.send_header(key, value)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815 - names of http.server

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - a name of http.server
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
