"""The few requests that lockgate makes of GitHub's REST API.

The token goes with requests to the API alone, never along with a redirect, and is in no message. What GitHub answers
is read up to a bound that the caller names.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

from lockgate.forge.port import Comment, ForgeError, Issue, NotAnEvent, PullRequest, Run, State, TooLarge
from lockgate.git import authorization

VERSION = "2022-11-28"
ANSWER_LIMIT = 8 << 20
"""Bytes of one JSON answer."""
TIMEOUT = 30.0
"""Seconds without a byte."""
TRIES = 4
PATIENCE = 600.0
"""Seconds that one request waits in all where GitHub says to come again later."""
PAGES = 20


class GitHubError(ForgeError):
    """GitHub refused a request, or could not be reached."""

    def __init__(self, method: str, path: str, problem: str, advice: str = "", code: int = 0) -> None:
        """Name the request and what came back; ``code`` is the status, 0 without an answer."""
        super().__init__(f"GitHub: {method} {path}: {problem}", advice)
        self.code = code


@dataclass(frozen=True, slots=True)
class GitHub:
    """One repository, spoken to with one token. ``api`` is the address that ``GITHUB_API_URL`` names."""

    api: str
    repository: str
    token: str

    def __repr__(self) -> str:
        """Leave the token out."""
        return f"GitHub({self.api!r}, {self.repository!r})"

    def read_event(self, event: bytes) -> Run:
        """Return the workflow run of a ``workflow_run`` event."""
        return read_run(event)

    def push_credentials(self, server: str, token: str = "") -> Mapping[str, str]:
        """Return the environment that lets git push to ``server``."""
        return authorization(server, token or self.token)

    def find_issue(self, title: str) -> Issue | None:
        """Return the open issue of this title that an App or somebody with rights here has opened, ``None`` if there is
        none: what a stranger writes is not believed."""
        for item in self._pages("issues?state=open&per_page=100"):
            if str(item["title"]) == title and "pull_request" not in item and _is_own(item):
                return Issue(int(item["number"]), title, str(item["body"] or ""), str(item["html_url"]))
        return None

    def close_issue(self, number: int, why: str) -> None:
        """Comment on an issue, and close it."""
        self.add_comment(number, why)
        self._ask("PATCH", f"issues/{number:d}", {"state": "closed"})

    def raise_issue(self, title: str, body: str) -> str:
        """Open an issue, or bring the open one of this title up to date; return its address."""
        found = self.find_issue(title)
        if found is None:
            return str(self._ask("POST", "issues", {"title": title, "body": body})["html_url"])
        if found.body != body:
            self._ask("PATCH", f"issues/{found.number:d}", {"body": body})
        return found.url

    def open_pull_requests(self, head_repository: str, branch: str) -> tuple[PullRequest, ...]:
        """Return the open pull requests from ``branch`` of ``head_repository`` into this repository."""
        owner = head_repository.partition("/")[0]
        query = urlencode({"state": "open", "head": f"{owner}:{branch}", "per_page": 100})
        found = (_pull_request(item) for item in self._pages(f"pulls?{query}"))
        return tuple(pull for pull in found if pull.head_repository == head_repository)

    def propose(self, branch: str, into: str, title: str, body: str) -> str:
        """Open a pull request from a branch of this repository, unless one is open; return its address."""
        query = urlencode({"state": "open", "head": f"{self.repository.partition('/')[0]}:{branch}", "base": into})
        for item in self._pages(f"pulls?{query}&per_page=100"):
            number = int(item["number"])
            if str(item["body"] or "") != body:
                self._ask("PATCH", f"pulls/{number:d}", {"title": title, "body": body})
            return str(item["html_url"])
        made = self._ask("POST", "pulls", {"head": branch, "base": into, "title": title, "body": body})
        return str(made["html_url"])

    def close_pull_request(self, number: int, word: str) -> None:
        """Say why, then close the pull request."""
        self.add_comment(number, word)
        self._ask("PATCH", f"pulls/{number:d}", {"state": "closed"})

    def dispatch(self, workflow: str, branch: str, inputs: Mapping[str, str]) -> None:
        """Start a workflow that has ``on: workflow_dispatch``."""
        path = f"actions/workflows/{quote(workflow)}/dispatches"
        self._send("POST", path, {"ref": branch, "inputs": dict(inputs)}, f"the answer to POST {path}", ANSWER_LIMIT)

    def artifact(self, run: int, name: str, limit: int) -> bytes | None:
        """Return the newest artifact ``name`` of a workflow run as the zip archive it is, ``None`` if there is none.

        Raises :class:`TooLarge` before more than ``limit`` bytes are read.
        """
        found = self._ask("GET", f"actions/runs/{run:d}/artifacts?{urlencode({'name': name, 'per_page': 100})}")
        artifacts = [one for one in found["artifacts"] if one["name"] == name and not one["expired"]]
        if not artifacts:
            return None
        newest = max(artifacts, key=lambda one: int(one["id"]))
        what = f"the artifact '{name}'"
        if int(newest["size_in_bytes"]) > limit:
            raise TooLarge(what, limit)
        return self._send("GET", f"actions/artifacts/{int(newest['id']):d}/zip", None, what, limit)[0]

    def comments(self, number: int) -> tuple[Comment, ...]:
        """Return the comments on a pull request, oldest first."""
        return tuple(
            Comment(int(item["id"]), str((item["user"] or {}).get("login", "")), str(item["body"] or ""))
            for item in self._pages(f"issues/{number:d}/comments?per_page=100")
        )

    def add_comment(self, number: int, body: str) -> None:
        """Comment on a pull request."""
        self._ask("POST", f"issues/{number:d}/comments", {"body": body})

    def replace_comment(self, comment: int, body: str) -> None:
        """Replace the text of a comment."""
        self._ask("PATCH", f"issues/comments/{comment:d}", {"body": body})

    def set_status(self, sha: str, state: State, context: str, description: str, url: str) -> None:
        """Set a commit status; of the description GitHub takes 140 characters."""
        content = {"state": state, "context": context, "description": description[:140], "target_url": url}
        self._ask("POST", f"statuses/{quote(sha)}", content, repeatable=True)

    def status_contexts(self, sha: str) -> frozenset[str]:
        """Return the names of the statuses that a commit has."""
        return frozenset(str(item["context"]) for item in self._pages(f"commits/{quote(sha)}/statuses?per_page=100"))

    def settings(self, path: str) -> Any:
        """Return what GitHub says of a part of the repository, such as ``branches/main/protection``; ``None`` where it
        has none, or shows this token none. Raises :class:`GitHubError` where it refuses to say."""
        try:
            return self._ask("GET", path)
        except GitHubError as error:
            if error.code == 404:
                return None
            raise

    def _pages(self, path: str) -> Iterator[Any]:
        for page in range(1, PAGES + 1):
            found = self._ask("GET", f"{path}&page={page}")
            yield from found
            if len(found) < 100:
                return

    def _ask(
        self, method: str, path: str, content: Mapping[str, Any] | None = None, *, repeatable: bool = False
    ) -> Any:
        what = f"the answer to {method} {path}"
        body, _ = self._send(method, path, content, what, ANSWER_LIMIT, repeatable=repeatable)
        try:
            return json.loads(body)
        except ValueError as error:
            raise GitHubError(method, path, f"the answer is not JSON: {error}") from error

    def _send(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | None,
        what: str,
        limit: int,
        *,
        repeatable: bool = False,
    ) -> tuple[bytes, int]:
        """Send one request. Where GitHub refuses it for now (429, or 403 with ``Retry-After``), it is sent again when
        GitHub says so; where GitHub fails, what only reads or is ``repeatable`` is tried again."""
        request = Request(  # noqa: S310 - the address comes from the runner
            f"{self.api}/repos/{self.repository}/{path}",
            data=None if content is None else json.dumps(content).encode(),
            method=method,
            headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": VERSION},
        )
        request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        once = method == "POST" and not repeatable
        # heavy where no forge is spoken to: it brings asyncio
        from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random

        told = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, _Passing) and error.pause > 0),
            wait=_told_pause,
            stop=lambda state: (state.seconds_since_start or 0.0) + _told_pause(state) > PATIENCE,
            reraise=True,
        )
        failed = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, _Passing) and not error.pause and not once),
            wait=wait_random(0.5, 2.0),
            stop=stop_after_attempt(TRIES),
            reraise=True,
        )
        try:
            answer: tuple[bytes, int] = told(failed, _sent, request, what, limit)
        except _Passing as passing:
            raise GitHubError(method, path, passing.problem, passing.advice) from passing
        except HTTPError as error:
            raise GitHubError(method, path, f"{error.code} {_said(error)}", _advice(error.code), error.code) from error
        return answer


def read_run(event: bytes) -> Run:
    """Return the workflow run of a ``workflow_run`` event. Raises :class:`NotAnEvent`."""
    try:
        item: Any = json.loads(event)["workflow_run"]
        return Run(
            id=int(item["id"]),
            event=str(item["event"]),
            path=str(item["path"]).partition("@")[0],
            conclusion=str(item["conclusion"]),
            head_sha=str(item["head_sha"]),
            head_branch=str(item["head_branch"]),
            head_repository=str((item["head_repository"] or {}).get("full_name", "")),
            url=str(item["html_url"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise NotAnEvent(repr(error)) from error


class _Passing(Exception):  # noqa: N818 - never seen by a caller
    """A failure after which another try may help, ``pause`` seconds from now where GitHub says when."""

    def __init__(self, problem: str, pause: float = 0.0, advice: str = "") -> None:
        super().__init__(problem)
        self.problem, self.pause, self.advice = problem, pause, advice


def _told_pause(state: Any) -> float:
    return float(state.outcome.exception().pause)


def _sent(request: Request, what: str, limit: int) -> tuple[bytes, int]:
    """Send a request once. Raises :class:`_Passing`, and ``HTTPError`` where another try would not help."""
    try:
        with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - the address comes from the runner
            body = answer.read(limit + 1)
            if len(body) > limit:
                raise TooLarge(what, limit)
            return body, answer.status
    except HTTPError as error:
        pause = _told_to_wait(error)
        if not pause and error.code < 500:
            raise
        raise _Passing(f"{error.code} {_said(error)}", pause, _advice(error.code)) from error
    except (URLError, HTTPException, OSError) as error:
        raise _Passing(str(getattr(error, "reason", error))) from error


def _told_to_wait(error: HTTPError) -> float:
    """Return the seconds that GitHub asks to wait before the same request, 0 if it does not: its limits of rate."""
    if error.code not in (403, 429):
        return 0.0
    after, left, reset = (
        error.headers.get(name) for name in ("Retry-After", "X-RateLimit-Remaining", "X-RateLimit-Reset")
    )
    try:
        if after is not None:
            return max(1.0, float(after))
        if left == "0" and reset is not None:
            return max(1.0, float(reset) - time.time())
    except ValueError:
        pass
    return 60.0 if error.code == 429 else 0.0  # as GitHub's documentation advises where it names no time


def _is_own(item: Any) -> bool:
    """Say whether an App opened an issue, or a person with rights in the repository."""
    author = (item.get("user") or {}).get("type")
    return author == "Bot" or item.get("author_association") in ("OWNER", "MEMBER", "COLLABORATOR")


def _pull_request(item: Any) -> PullRequest:
    repository = item["head"]["repo"]
    return PullRequest(
        number=int(item["number"]),
        head_sha=str(item["head"]["sha"]),
        head_repository=str(repository["full_name"]) if repository else None,
        base_branch=str(item["base"]["ref"]),
    )


def _said(error: HTTPError) -> str:
    try:
        return str(json.loads(error.read(ANSWER_LIMIT))["message"])[:200]
    except (ValueError, KeyError, TypeError, OSError):
        return str(error.reason)


def _advice(code: int) -> str:
    return "Look at the job's `permissions:`, and at what the organisation lets a workflow do." if code == 403 else ""
