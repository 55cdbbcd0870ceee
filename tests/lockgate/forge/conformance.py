"""What every side of the port :mod:`lockgate.forge.port` promises.

A side is held to it by a class that inherits :class:`Conformance` and gives a fixture ``side``: a repository on a
stand-in of that forge, and ways to arrange there what the tests need. See ``test_github.py``.
"""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from lockgate.forge.port import Forge, ForgeError, NotAnEvent, Run, TooLarge

RIGHTS = {"actions": "write", "contents": "write", "pull-requests": "write", "statuses": "write", "issues": "write"}


@dataclass(frozen=True)
class Side:
    """One forge's stand-in. ``forge`` speaks to it with the rights given; the rest arranges and looks."""

    forge: Callable[[Mapping[str, str]], Forge]
    tip: str
    branch: str
    open: Callable[[str, str], int]
    """Opens a pull request from a repository's branch and returns its number."""
    comment: Callable[[int, str, str], None]
    """Comments as anybody: number, author, text."""
    leave: Callable[[int, str, bytes], None]
    """Leaves an artifact of a run: its id, its name, its archive."""
    state: Callable[[str, str], str]
    """The state of a commit's status of this name."""
    refuse: Callable[[str, int, Mapping[str, str]], None]
    """Refuses the next request whose method and path hold this text: status, headers."""
    asked: Callable[[str], int]
    """How many requests held this text so far."""
    raise_as_stranger: Callable[[str, str], None]
    """Opens an issue as somebody without rights: title, text."""
    dispatched: Callable[[], list[tuple[str, str, dict[str, str]]]]
    """The workflows that were dispatched: file, branch, inputs."""
    event: Mapping[str, Any]
    """The event of a finished run."""


class Conformance:
    """The promises, one test each."""

    def test_it_gives_all_that_the_port_asks_for(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        asked = [name for name in vars(Forge) if not name.startswith("_")]
        assert [name for name in asked if not hasattr(forge, name)] == []
        assert forge.token not in repr(forge)

    def test_the_event_of_a_finished_run_is_read_and_any_other_is_refused(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        run = forge.read_event(json.dumps(side.event).encode())
        assert isinstance(run, Run)
        assert run.head_sha
        for hostile in (b"", b"[]", b"{}", b'{"workflow_run": {"id": "x"}}', b"\xff"):
            with pytest.raises(NotAnEvent):
                forge.read_event(hostile)

    def test_only_open_pull_requests_of_that_very_repository_and_branch_are_found(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        number = side.open(forge.repository, side.branch)
        owner = forge.repository.partition("/")[0]
        assert [one.number for one in forge.open_pull_requests(forge.repository, side.branch)] == [number]
        assert forge.open_pull_requests(f"{owner}/another", side.branch) == ()
        assert forge.open_pull_requests(forge.repository, "another") == ()

    def test_every_comment_is_seen_however_many_there_are_the_oldest_first(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        number = side.open(forge.repository, side.branch)
        for index in range(230):
            side.comment(number, "ada", f"comment {index}")
        assert [one.body for one in forge.comments(number)] == [f"comment {index}" for index in range(230)]

    def test_a_comment_is_added_once_and_replaced_alone(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        number = side.open(forge.repository, side.branch)
        side.comment(number, "ada", "mine")
        forge.add_comment(number, "ours")
        forge.replace_comment(forge.comments(number)[-1].id, "ours again")
        assert [one.body for one in forge.comments(number)] == ["mine", "ours again"]

    def test_a_comment_whose_request_failed_is_not_sent_again_by_itself(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        number = side.open(forge.repository, side.branch)
        side.refuse("POST", 502, {})
        with pytest.raises(ForgeError):
            forge.add_comment(number, "ours")
        assert forge.comments(number) == ()

    def test_what_only_reads_is_tried_again_and_waits_as_long_as_it_is_told_to(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        number = side.open(forge.repository, side.branch)
        side.refuse("comments", 502, {})
        side.refuse("comments", 429, {"Retry-After": "0"})
        assert forge.comments(number) == ()
        assert side.asked("comments") == 3

    def test_the_last_status_of_a_name_counts_and_names_do_not_mix(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        for context, state in (("lockgate/main", "pending"), ("lockgate/main", "failure"), ("lockgate/lax", "success")):
            forge.set_status(side.tip, state, context, "x" * 500, "https://example.org")  # type: ignore[arg-type]
        assert side.state(side.tip, "lockgate/main") == "failure"
        assert side.state(side.tip, "lockgate/lax") == "success"
        assert forge.status_contexts(side.tip) == {"lockgate/main", "lockgate/lax"}

    def test_an_artifact_is_the_whole_archive_and_never_more_than_was_allowed(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("result.json", "{}")
        side.leave(7, "lockgate", buffer.getvalue())
        assert forge.artifact(7, "lockgate", 1 << 20) == buffer.getvalue()
        assert forge.artifact(8, "lockgate", 1 << 20) is None
        with pytest.raises(TooLarge):
            forge.artifact(7, "lockgate", 10)

    def test_a_pull_request_is_closed_with_a_word_and_stays_closed(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        number = side.open(forge.repository, side.branch)
        forge.close_pull_request(number, "nothing is gained any more")
        assert forge.open_pull_requests(forge.repository, side.branch) == ()
        assert forge.comments(number)[-1].body == "nothing is gained any more"

    def test_a_workflow_is_dispatched_on_a_branch_with_its_inputs(self, side: Side) -> None:
        side.forge(RIGHTS).dispatch("check.yml", side.branch, {"base": "main"})
        assert side.dispatched() == [("check.yml", side.branch, {"base": "main"})]

    def test_a_proposal_made_again_is_the_same_pull_request_with_its_new_text(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        first = forge.propose(side.branch, "main", "Propose", "text")
        assert forge.propose(side.branch, "main", "Propose", "text, later") == first
        assert len(forge.open_pull_requests(forge.repository, side.branch)) == 1

    def test_an_issue_raised_again_is_the_same_issue_with_its_new_text(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        first = forge.raise_issue("production got worse", "since Monday")
        assert forge.raise_issue("production got worse", "since Tuesday") == first
        assert forge.raise_issue("another", "text") != first

    def test_an_issue_is_found_by_its_title_while_it_is_open_and_raised_anew_once_it_is_closed(
        self, side: Side
    ) -> None:
        forge = side.forge(RIGHTS)
        assert forge.find_issue("production got worse") is None
        first = forge.raise_issue("production got worse", "since Monday")
        found = forge.find_issue("production got worse")
        assert found is not None
        assert (found.title, found.body, found.url) == ("production got worse", "since Monday", first)
        forge.close_issue(found.number, "it is over")
        assert forge.find_issue("production got worse") is None
        assert forge.comments(found.number)[-1].body == "it is over"
        assert forge.raise_issue("production got worse", "since Friday") != first

    def test_an_issue_of_a_stranger_is_not_taken_for_ours(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        side.raise_as_stranger("production got worse", "nothing to see")
        assert forge.find_issue("production got worse") is None
        first = forge.raise_issue("production got worse", "since Monday")
        assert forge.raise_issue("production got worse", "since Tuesday") == first

    def test_what_the_token_may_not_do_is_an_error_that_does_not_tell_the_token(self, side: Side) -> None:
        forge = side.forge({})
        for call in (
            lambda: forge.set_status(side.tip, "success", "lockgate/main", "", ""),
            lambda: forge.close_pull_request(1, "why"),
            lambda: forge.dispatch("check.yml", side.branch, {}),
            lambda: forge.propose(side.branch, "main", "t", "b"),
            lambda: forge.comments(1),
            lambda: forge.raise_issue("t", "b"),
            lambda: forge.close_issue(1, "why"),
        ):
            with pytest.raises(ForgeError) as caught:
                call()
            assert forge.token not in f"{caught.value} {caught.value.advice}"

    def test_credentials_of_a_push_are_in_the_environment_and_name_the_server(self, side: Side) -> None:
        forge = side.forge(RIGHTS)
        told = forge.push_credentials("https://example.org")
        assert "https://example.org" in "".join(told.values())
        assert forge.token not in "".join(told.values())  # encoded, so that no log shows it as it is
        assert told != forge.push_credentials("https://example.org", "another token")
