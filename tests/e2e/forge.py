"""Stands in for GitHub: the REST endpoints that are used, git over HTTPS, a runner's artifacts. Loopback only.

A token has the rights of the job that it is made for, and each endpoint demands GitHub's, so that a missing right is a
failing test. Repositories are real bare ones, served by git's own ``http-backend``.
"""

import base64
import datetime as dt
import ipaddress
import json
import os
import re
import ssl
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BOT = "github-actions[bot]"


@dataclass
class Forge:
    """What GitHub knows. ``requests`` are method, path and status of each call of the API, in order."""

    folder: Path
    certificate: Path
    address: str = ""
    tokens: dict[str, dict[str, str]] = field(default_factory=dict)
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    comments: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    statuses: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    artifacts: dict[int, dict[str, bytes]] = field(default_factory=dict)
    releases: dict[str, dict[str, str]] = field(default_factory=dict)
    issues: dict[int, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    dispatched: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Workflows that were started by a dispatch: the file, the branch, the inputs."""
    refusals: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)
    """What is refused next: a part of the path, the status and the headers of the answer."""
    last_id: int = 1000

    def next_id(self) -> int:
        """Return a number not used yet."""
        self.last_id += 1
        return self.last_id

    def token(self, rights: Mapping[str, str]) -> str:
        """Return a token with these rights: ``contents`` → ``read`` or ``write``, and so on."""
        token = f"ghs_{self.next_id():036d}"
        self.tokens[token] = dict(rights)
        return token

    def run_token(self, rights: Mapping[str, Mapping[str, str]]) -> str:
        """Return the one token that ``act`` gives all jobs of a run.

        Stand-ins put ``-JOB`` behind it, which is the job's own; by itself it is as good as the only job's, if there
        is one job, else good for nothing.
        """
        (only,) = rights.values() if len(rights) == 1 else ({},)
        token = self.token(only)
        self.tokens |= {f"{token}-{job}": dict(of_job) for job, of_job in rights.items()}
        return token

    def repository(self, name: str) -> Path:
        """Return the bare repository ``owner/name``, made if it is new."""
        path = self.folder / f"{name}.git"
        if not path.exists():
            git(self.folder, "init", "-q", "--bare", "-b", "main", str(path))
            for setting in ("http.receivepack", "uploadpack.allowAnySHA1InWant"):
                git(path, "config", setting, "true")
        return path

    def tip(self, name: str, branch: str) -> str:
        """Return the sha at the tip of a branch."""
        return git(self.repository(name), "rev-parse", f"refs/heads/{branch}")

    def add_comment(self, number: int, author: str, body: str) -> None:
        """Comment as anybody."""
        self.comments.setdefault(number, []).append({"id": self.next_id(), "user": {"login": author}, "body": body})

    def state(self, sha: str, context: str) -> str:
        """Return the state that a commit's status of this name has, empty if there is none."""
        found = [one["state"] for one in self.statuses.get(sha, []) if one["context"] == context]
        return found[-1] if found else ""

    def pull(self, number: int) -> dict[str, Any]:
        """Return a pull request as the API tells of it; its head is wherever the branch now is."""
        pull = self.pulls[number]
        head = self.tip(pull["head"], pull["branch"])
        git(
            self.repository(pull["base"]),
            "fetch",
            "-q",
            str(self.repository(pull["head"])),
            f"+{head}:refs/pull/{number}/head",
        )
        return {
            "number": number,
            "state": pull["state"],
            "title": pull.get("title", ""),
            "body": pull.get("body", ""),
            "html_url": f"{self.address}/{pull['base']}/pull/{number}",
            "head": {"sha": head, "ref": pull["branch"], "repo": {"full_name": pull["head"]}},
            "base": {"ref": pull.get("into", "main"), "repo": {"full_name": pull["base"]}},
        }


def git(folder: Path, *arguments: str) -> str:
    """Run git and return what it printed."""
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    forge: Forge
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PATCH = do_PUT = do_GET  # noqa: N815 - the names are the base class's

    def _answer(self) -> None:
        body = self._body()
        path, _, query = self.path.partition("?")
        if path.startswith("/api/v3/"):
            headers = {"Content-Type": "application/json; charset=utf-8"}
            refusals = self.forge.refusals
            if refused := next((one for one in refusals if one[0] in f"{self.command} {path}"), None):
                refusals.remove(refused)
                status, content, headers = refused[1], {"message": "later"}, {**headers, **refused[2]}
            else:
                status, content = self._api(path.removeprefix("/api/v3"), urllib.parse.parse_qs(query), body)
            self.forge.requests.append((self.command, path.removeprefix("/api/v3"), status))
            self._send(status, json.dumps(content).encode(), headers)
        elif match := re.fullmatch(r"/_runner/artifacts/(\d+)/([\w-]+)", path):
            handed_over = self.forge.artifacts.setdefault(int(match[1]), {})
            if self.command == "PUT":
                handed_over[match[2]] = body
            self._send(200, handed_over[match[2]])
        elif path.startswith("/_blob/"):
            _, _, run, name = path.rsplit("/", 3)
            leaked = "Authorization" in self.headers
            self._send(400 if leaked else 200, self.forge.artifacts[int(run)][name])
        else:
            self._git(path, query, body)

    def _api(self, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
        rights = self.forge.tokens.get(
            self.headers.get("Authorization", "").removeprefix("Bearer ").removeprefix("token ")
        )
        for method, pattern, right, answer in ROUTES:
            match = re.fullmatch(rf"/repos/([\w-]+/[\w-]+){pattern}", path)
            if match and method == self.command:
                if rights is None:
                    return 401, {"message": "Bad credentials"}
                if not _allows(rights, right, "read" if method == "GET" else "write"):
                    return 403, {"message": "Resource not accessible by integration"}
                return answer(self, match, query, json.loads(body or b"null"))
        return 404, {"message": "Not Found"}

    def _pulls(self, match: Any, query: dict[str, list[str]], _body: Any) -> tuple[int, Any]:
        owner, _, branch = query["head"][0].partition(":")
        found = [self.forge.pull(number) for number in self.forge.pulls]
        return 200, [
            pull for pull in found
            if pull["state"] == "open" and pull["head"]["ref"] == branch
            and pull["head"]["repo"]["full_name"].startswith(f"{owner}/")
        ]  # fmt: skip

    def _propose(self, match: Any, _query: Any, body: Any) -> tuple[int, Any]:
        number = self.forge.next_id()
        self.forge.pulls[number] = {
            "head": match[1], "branch": body["head"], "base": match[1], "state": "open", "into": body["base"],
            "title": body["title"], "body": body["body"],
        }  # fmt: skip
        return 201, self.forge.pull(number)

    def _edit_pull(self, match: Any, _query: Any, body: Any) -> tuple[int, Any]:
        self.forge.pulls[int(match[2])] |= body
        return 200, self.forge.pull(int(match[2]))

    def _dispatch(self, match: Any, _query: Any, body: Any) -> tuple[int, Any]:
        self.forge.dispatched.append((match[2], body["ref"], dict(body["inputs"])))
        return 204, {}

    def _issues(self, _match: Any, query: Any, _body: Any) -> tuple[int, Any]:
        state = query.get("state", ["open"])[0]
        return 200, [one for one in self.forge.issues.values() if state in ("all", one["state"])]

    def _issue(self, _match: Any, _query: Any, body: Any) -> tuple[int, Any]:
        number = self.forge.next_id()
        address = f"{self.forge.address}/issues/{number}"
        author = {"user": {"login": BOT, "type": "Bot"}, "author_association": "NONE"}
        self.forge.issues[number] = {"number": number, "html_url": address, "state": "open", **author, **body}
        return 201, self.forge.issues[number]

    def _edit_issue(self, match: Any, _query: Any, body: Any) -> tuple[int, Any]:
        self.forge.issues[int(match[2])] |= body
        return 200, self.forge.issues[int(match[2])]

    def _artifacts(self, match: Any, query: dict[str, list[str]], _body: Any) -> tuple[int, Any]:
        found = self.forge.artifacts.get(int(match[2]), {})
        return 200, {"artifacts": [
            {"id": int(match[2]), "name": name, "expired": False, "size_in_bytes": len(content)}
            for name, content in found.items() if name == query["name"][0]
        ]}  # fmt: skip

    def _zip(self, match: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        self.redirect = f"{self.forge.address}/_blob/{match[2]}/lockgate"
        return 302, {}

    def _comments(self, match: Any, query: dict[str, list[str]], _body: Any) -> tuple[int, Any]:
        size, page = int(query.get("per_page", ["30"])[0]), int(query.get("page", ["1"])[0])
        return 200, self.forge.comments.get(int(match[2]), [])[(page - 1) * size : page * size]

    def _comment(self, match: Any, _query: Any, body: Any) -> tuple[int, Any]:
        assert len(body["body"]) <= 65_536
        self.forge.add_comment(int(match[2]), BOT, body["body"])
        return 201, {"html_url": f"{self.forge.address}/comment"}

    def _edit(self, match: Any, _query: Any, body: Any) -> tuple[int, Any]:
        comments = [one for several in self.forge.comments.values() for one in several]
        next(one for one in comments if one["id"] == int(match[2]))["body"] = body["body"]
        return 200, {"html_url": f"{self.forge.address}/comment"}

    def _status(self, match: Any, _query: Any, body: Any) -> tuple[int, Any]:
        self.forge.statuses.setdefault(match[2], []).append(body)
        return 201, {}

    def _statuses(self, match: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        return 200, self.forge.statuses.get(match[2], [])[::-1]

    def _release(self, match: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        release = self.forge.releases.get(urllib.parse.unquote(match[2]))
        return (200, release) if release else (404, {"message": "Not Found"})

    def _ref(self, match: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        tags = git(self.forge.repository(match[1]), "for-each-ref", "--format=%(refname:strip=2)", "refs/tags")
        found = urllib.parse.unquote(match[2]) in tags.splitlines()
        return (200, {}) if found else (404, {"message": "Not Found"})

    def _new_release(self, match: Any, _query: Any, body: Any) -> tuple[int, Any]:
        if body["tag_name"] in self.forge.releases:
            return 422, {"message": "Validation Failed"}
        self.forge.releases[body["tag_name"]] = body
        return 201, {"html_url": f"{self.forge.address}/release"}

    redirect = ""

    def _send(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.redirect)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _git(self, path: str, query: str, body: bytes) -> None:
        """Serve git's smart protocol as ``git http-backend`` speaks it, to those whose token allows it."""
        owner, name, rest = path.lstrip("/").split("/", 2)
        pushes = "git-receive-pack" in path or "git-receive-pack" in query
        basic = self.headers.get("Authorization", "").lower().removeprefix("basic ")
        given = self.headers.get("Authorization", "")[6:] if basic else ""
        token = base64.b64decode(given).decode().partition(":")[2]
        if token not in self.forge.tokens:
            self._send(401, b"", {"WWW-Authenticate": 'Basic realm="forge"'})
            return
        if not _allows(self.forge.tokens[token], "contents", "write" if pushes else "read"):
            self._send(403, b"Permission denied to github-actions[bot].")
            return
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.forge.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{owner}/{name.removesuffix('.git')}.git/{rest}",
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": BOT,
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")  # an exit code may only mean that the client hung up
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self._send(int(headers.pop("Status", "200").split()[0]), content, headers)


ROUTES = [
    ("GET", "/pulls", "pull-requests", Handler._pulls),
    ("POST", "/pulls", "pull-requests", Handler._propose),
    ("PATCH", r"/pulls/(\d+)", "pull-requests", Handler._edit_pull),
    ("GET", "/issues", "issues", Handler._issues),
    ("POST", "/issues", "issues", Handler._issue),
    ("PATCH", r"/issues/(\d+)", "issues", Handler._edit_issue),
    ("POST", r"/actions/workflows/([^/]+)/dispatches", "actions", Handler._dispatch),
    ("GET", r"/actions/runs/(\d+)/artifacts", "actions", Handler._artifacts),
    ("GET", r"/actions/artifacts/(\d+)/zip", "actions", Handler._zip),
    ("GET", r"/issues/(\d+)/comments", "pull-requests", Handler._comments),
    ("POST", r"/issues/(\d+)/comments", "pull-requests", Handler._comment),
    ("PATCH", r"/issues/comments/(\d+)", "pull-requests", Handler._edit),
    ("POST", r"/statuses/([0-9a-f]{40})", "statuses", Handler._status),
    ("GET", r"/commits/([0-9a-f]{40})/statuses", "statuses", Handler._statuses),
    ("GET", r"/releases/tags/([^/]+)", "contents", Handler._release),
    ("GET", r"/git/ref/tags/([^/]+)", "contents", Handler._ref),
    ("POST", "/releases", "contents", Handler._new_release),
]


def _allows(rights: Mapping[str, str], name: str, wanted: str) -> bool:
    return rights.get(name) in ({"read", "write"} if wanted == "read" else {"write"})


@contextmanager
def running(folder: Path) -> Iterator[Forge]:
    """Run a forge whose repositories live in ``folder``."""
    certificate, key = _certificate(folder)
    repositories = folder / "repositories"
    repositories.mkdir()
    forge = Forge(repositories, certificate)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"forge": forge}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    forge.address = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield forge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that is its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "forge of the tests")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "forge.pem", folder / "forge.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file
