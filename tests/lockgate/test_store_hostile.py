"""A store that answers with too much, too slowly, or with secrets in its text: a server of our own on 127.0.0.1."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lockgate.errors import LockgateError
from lockgate.store import Patience, Piece, Store, StoreError, open_store

KEY, SECRET, TOKEN = "AKIAEXAMPLEEXAMPLE00", "secret/of+forty0letters", "SessionTokenThatIsSecret"
HUGE = 20 * 10**9
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    answer: Answer
    sent = 0
    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        with contextlib.suppress(OSError):
            type(self).answer(self)

    do_PUT = do_GET  # noqa: N815 - a name of http.server

    def begin(self, status: int, length: int, **headers: str) -> None:
        self.send_response_only(status)
        for name, value in {"Content-Length": str(length), "ETag": '"x"', **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        self.end_headers()

    def pour(self, data: bytes, pause: float = 0.0) -> None:
        self.wfile.write(data)
        type(self).sent += len(data)
        time.sleep(pause)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - a name of http.server
        """Say nothing."""


@contextlib.contextmanager
def answering(answer: Answer) -> Iterator[type[Handler]]:
    handler = type("H", (Handler,), {"answer": answer})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    handler.port = server.server_port  # type: ignore[attr-defined]
    try:
        yield handler  # type: ignore[misc]
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
    """Return the store of a server, with credentials that must not be told."""

    def make(handler: type[Handler], **patience: float) -> Store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{handler.port}")  # type: ignore[attr-defined]
        monkeypatch.setenv("AWS_REGION", "eu-central-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
        options = {"tries": 3, "first": 0.001, "longest": 0.01, **patience}
        return open_store("s3://bucket/prefix", patience=Patience(**options))  # type: ignore[arg-type]

    return make


def endless(handler: Handler) -> None:
    """Answer a range of ten bytes with 20 GB (of which a reader that takes them all gets 300 MB)."""
    handler.begin(206, HUGE, Content_Range="bytes 0-9/10")
    while type(handler).sent < 300 * 2**20:
        handler.pour(b"x" * 2**16)
    handler.close_connection = True


def test_a_range_answered_with_more_than_was_asked_for_is_cut_off_at_once(connect: Callable[..., Store]) -> None:
    begin = time.monotonic()
    with answering(endless) as handler:
        with pytest.raises(StoreError):
            list(connect(handler).stream([Piece("big", 0, 10)]))
        assert handler.sent < 64 * 2**20
    assert time.monotonic() - begin < 20


def test_a_document_longer_than_its_own_head_says_is_cut_off(connect: Callable[..., Store]) -> None:
    def answer(handler: Handler) -> None:
        handler.begin(200, HUGE)
        while True:
            handler.pour(b"x" * 2**16)

    with answering(answer) as handler:
        with pytest.raises(StoreError):
            connect(handler).read("document")
        assert handler.sent < 64 * 2**20


def drip(handler: Handler) -> None:
    """Send one byte every tenth of a second."""
    handler.begin(206 if handler.headers.get("Range") else 200, 10_000, Content_Range="bytes 0-9999/10000")
    while True:
        handler.pour(b"x", 0.1)


def test_an_answer_that_drips_ends_within_the_limit_that_was_set(connect: Callable[..., Store]) -> None:
    with answering(drip) as handler:
        for act in (
            lambda store: store.read("document"),
            lambda store: list(store.stream([Piece("big", 0, 10_000)])),
            lambda store: store.objects("folder"),
        ):
            begin = time.monotonic()
            with pytest.raises(StoreError):
                act(connect(handler, answer=0.5, transfer=0.5, altogether=0.5))
            assert time.monotonic() - begin < 4


AWS_ERRORS = {
    "InvalidAccessKeyId": (403, f"<AWSAccessKeyId>{KEY}</AWSAccessKeyId>"),
    "SignatureDoesNotMatch": (403, f"<StringToSign>AWS4 {TOKEN}</StringToSign><AWSAccessKeyId>{KEY}</AWSAccessKeyId>"),
    "ExpiredToken": (400, f"<Token-0>{TOKEN}</Token-0>"),
    "InvalidToken": (400, f"<Token-0>{TOKEN}</Token-0>"),
    "TokenRefreshRequired": (400, f"<Message>{SECRET}</Message>"),
    "AccessDenied": (403, f"<Message>User arn:aws:iam::1:user/{KEY} with {SECRET}</Message>"),
    "AuthorizationHeaderMalformed": (400, f"<Message>{TOKEN}</Message>"),
    KEY: (403, ""),
    TOKEN: (400, ""),
    "InternalError": (500, f"<Message>{SECRET} {TOKEN}</Message>"),
}


@pytest.mark.parametrize("code", AWS_ERRORS)
def test_no_key_and_no_token_of_a_stores_answer_is_ever_told(
    connect: Callable[..., Store], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, more = AWS_ERRORS[code]

    def answer(handler: Handler) -> None:
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code>{more}</Error>".encode()
        handler.begin(status, len(text), Content_Type="application/xml")
        handler.pour(text)

    from lockgate.cli import main

    with answering(answer) as handler:
        store = connect(handler)
        for act in (lambda: store.read("a"), lambda: store.create("a", b""), lambda: store.objects("a")):
            with pytest.raises(LockgateError) as caught:
                act()
            told = f"{caught.value} {caught.value.advice} {caught.value.__cause__!r} {caught.value.__context__!r}"
            assert not [secret for secret in (KEY, SECRET, TOKEN) if secret in told]
        main(["history", "--verbose", "--store", "s3://bucket/prefix", "--public-key", __file__])
        printed = capsys.readouterr()
        assert not [secret for secret in (KEY, SECRET, TOKEN) if secret in printed.out + printed.err]


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidToken", "TokenRefreshRequired", "ExpiredTokenException"])
def test_an_expired_token_is_not_tried_again_and_not_called_a_passing_fault(
    connect: Callable[..., Store], code: str
) -> None:
    def answer(handler: Handler) -> None:
        text = f"<Error><Code>{code}</Code></Error>".encode()
        handler.begin(400, len(text))
        handler.pour(text)

    with answering(answer) as handler:
        with pytest.raises(StoreError) as caught:
            connect(handler).read("a")
        assert handler.asked == 1
    assert "again later" not in caught.value.advice
    assert "AWS_SESSION_TOKEN" in caught.value.advice


def test_a_connection_that_nobody_answers_ends_within_the_limit_too(
    connect: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        handler = type("H", (), {"port": silent.getsockname()[1]})
        begin = time.monotonic()
        with pytest.raises(StoreError):
            connect(handler, answer=0.5, altogether=0.5).read("a")  # type: ignore[arg-type]
        assert time.monotonic() - begin < 4
