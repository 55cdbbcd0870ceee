"""One issue a model, and a webhook that hears of each alarm once."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.e2e import forge as forges

from lockgate.errors import NotAskedError
from lockgate.forge.github import GitHub
from lockgate.forge.webhook import NotTold
from lockgate.monitoring.alarms import Alarm
from lockgate.monitoring.announce import (
    as_told,
    body,
    change,
    keep_issue,
    read_told,
    send,
    title,
    told_in,
    untold,
)

ABOUT = ("flight-delay", "production")
REPOSITORY = "lab/model"
DECAY = Alarm(
    kind="roc_auc", form="relative", severity="page", of="", since=date(2026, 11, 2), raised=date(2026, 11, 20),
    over=None, days=18, rows=16_000, promised=-0.02, margin=0.01, change=0.041, low=0.02, high=0.06,
    text="flight-delay: ROC AUC fell since 2026-11-02.\nLook at `lockgate monitor`.",
)  # fmt: skip
SLICE = replace(DECAY, kind="slices", of="carrier: --AA", text="a slice fell\nask")


@pytest.fixture
def forge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[forges.Forge, GitHub]]:
    with forges.running(tmp_path) as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.certificate))
        token = running.token({"issues": "write", "pull-requests": "write"})
        yield running, GitHub(f"{running.address}/api/v3", REPOSITORY, token)


class Heard(BaseHTTPRequestHandler):
    bodies: list[dict[str, Any]]
    status = 200

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def webhook() -> Iterator[tuple[str, type[Heard]]]:
    handler = type("Here", (Heard,), {"bodies": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook?secret=s3cret", handler
        server.shutdown()


def test_an_alarm_has_one_issue_which_is_kept_up_to_date_and_closed_when_it_is_over(
    forge: tuple[forges.Forge, GitHub],
) -> None:
    running, github = forge
    assert untold(github, *ABOUT, [DECAY]).begun == (DECAY,)
    address = keep_issue(github, *ABOUT, [DECAY])
    assert not untold(github, *ABOUT, [replace(DECAY, rows=17_000, since=date(2026, 11, 3))])
    assert keep_issue(github, *ABOUT, [DECAY, SLICE]) == address
    (issue,) = running.issues.values()
    assert issue["title"] == title(*ABOUT)
    assert DECAY.text in issue["body"]
    assert "a slice fell" in issue["body"]
    assert untold(github, *ABOUT, [DECAY]).ended == ("slices relative carrier: - -AA",)
    assert keep_issue(github, *ABOUT, []) == address
    assert issue["state"] == "closed"
    assert keep_issue(github, *ABOUT, []) == ""
    assert keep_issue(github, *ABOUT, [DECAY]) != address


def test_what_was_told_is_read_from_the_issue_and_of_any_other_text_nothing_is_believed() -> None:
    assert told_in(body([DECAY, SLICE], "production")) == ["roc_auc relative", "slices relative carrier: - -AA"]
    for text in ("", "hello", "<!-- lockgate-alarms: [1, -->", '<!-- lockgate-alarms: [{"a": 1} -->'):
        assert told_in(text) == []
    assert body([SLICE], "production").count("-->") == 1


def test_a_webhook_hears_of_each_alarm_once_and_of_its_end(webhook: tuple[str, type[Heard]], tmp_path: Path) -> None:
    address, heard = webhook
    told = tmp_path / "told.json"
    for pages in ([DECAY], [DECAY], [DECAY, SLICE], []):
        new = change(read_told(told), pages)
        if new:
            send(address, new, *ABOUT)
        told.write_text(as_told(pages))
    assert [len(one["alarms"]) for one in heard.bodies] == [1, 1, 0]
    first = heard.bodies[0]
    assert first["text"] == DECAY.text
    assert first["alarms"][0] | {"text": ""} == {
        "kind": "roc_auc", "of": "", "since": "2026-11-02", "raised": "2026-11-20", "rows": 16_000, "change": 0.041,
        "low": 0.02, "high": 0.06, "text": "",
    }  # fmt: skip
    assert heard.bodies[2]["over"] == ["roc_auc relative", "slices relative carrier: --AA"]


def test_a_webhook_that_fails_is_an_error_that_does_not_tell_its_address(webhook: tuple[str, type[Heard]]) -> None:
    address, heard = webhook
    heard.status = 500
    new = change([], [DECAY])
    for wrong in (address, "http://127.0.0.1:1/s3cret", "file:///s3cret", "s3cret"):
        with pytest.raises(NotTold) as caught:
            send(wrong, new, *ABOUT)
        assert "s3cret" not in f"{caught.value} {caught.value.advice}"


def test_a_file_of_what_was_told_that_is_broken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "told").write_text("{")
    with pytest.raises(NotAskedError):
        read_told(tmp_path / "told")
    assert read_told(tmp_path / "none") == []
