"""GitHub keeps the promises of the port."""

from collections.abc import Iterator, Mapping

import pytest
from tests.e2e import forge as forges
from tests.e2e.forge import git
from tests.e2e.world import finished
from tests.lockgate.forge.conformance import Conformance, Side

from lockgate.forge.github import GitHub

REPOSITORY = "lab/model"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[forges.Forge]:
    folder = tmp_path_factory.mktemp("forge")
    with forges.running(folder) as forge:
        hub = forge.repository(REPOSITORY)
        tree = git(hub, "mktree")
        person = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        commit = git(hub, *person, "commit-tree", tree, "-m", "a model")
        for branch in ("main", "change"):
            git(hub, "update-ref", f"refs/heads/{branch}", commit)
        yield forge


class TestGitHub(Conformance):
    @pytest.fixture
    def side(self, running: forges.Forge, monkeypatch: pytest.MonkeyPatch) -> Iterator[Side]:
        monkeypatch.setenv("SSL_CERT_FILE", str(running.certificate))

        def opened(repository: str, branch: str) -> int:
            number = running.next_id()
            running.pulls[number] = {"head": repository, "branch": branch, "base": REPOSITORY, "state": "open"}
            return number

        def speaking(rights: Mapping[str, str]) -> GitHub:
            return GitHub(f"{running.address}/api/v3", REPOSITORY, running.token(rights))

        def strange(title: str, body: str) -> None:
            number = running.next_id()
            person = {"user": {"login": "eve", "type": "User"}, "author_association": "NONE"}
            told = {"number": number, "title": title, "body": body, "state": "open", "html_url": "x"}
            running.issues[number] = {**told, **person}

        pull = {"head": {"sha": "a" * 40, "ref": "change", "repo": {"full_name": REPOSITORY}}}
        yield Side(
            forge=speaking,
            tip=running.tip(REPOSITORY, "main"),
            branch="change",
            open=opened,
            comment=running.add_comment,
            leave=lambda run, name, archive: running.artifacts.setdefault(run, {}).update({name: archive}),
            state=running.state,
            refuse=lambda part, status, headers: running.refusals.append((part, status, dict(headers))),
            asked=lambda part: sum(part in f"{method} {path}" for method, path, _ in running.requests),
            dispatched=lambda: running.dispatched,
            raise_as_stranger=strange,
            event=finished(pull, 7, "success", running.address),
        )
        for known in (running.pulls, running.comments, running.statuses, running.artifacts, running.issues):
            known.clear()
        running.requests.clear()
        running.refusals.clear()
