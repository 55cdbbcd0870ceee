"""A pull request on a forge, with what an honest run of it leaves: to be published as it is, or altered."""

import io
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.e2e import forge as forges
from tests.e2e.forge import Forge, git
from tests.lockgate import modelled
from tests.lockgate.factory import Project

from lockgate.dvc.stages import DvcProcess
from lockgate.forge.github import GitHub
from lockgate.publishing import artifact
from lockgate.publishing.apart import Sides, answer, heard
from lockgate.publishing.artifact import Artifact
from lockgate.publishing.bound import Computed
from lockgate.publishing.check import judge
from lockgate.publishing.ledger import BRANCH
from lockgate.publishing.publish import Published, Publisher, Run, find_targets

REPOSITORY = "lab/model"
RIGHTS = {"actions": "read", "contents": "write", "pull-requests": "write", "statuses": "write"}


@dataclass
class Scene:
    """A forge with one repository: ``main``, and the branch ``change`` with ``honest`` as what its run left."""

    forge: Forge
    folder: Path
    hub: Path
    main: str
    head: str
    honest: Mapping[str, bytes]
    number: int = 0
    pulls: list[int] = field(default_factory=list)

    def propose(self, into: str = "main", branch: str = "change", *, fork: bool = False) -> int:
        """Open a pull request; return its number."""
        head = "stranger/model" if fork else REPOSITORY
        number = self.forge.next_id()
        self.forge.pulls[number] = {"head": head, "branch": branch, "base": REPOSITORY, "state": "open", "into": into}
        return number

    def run(self, files: Mapping[str, bytes] | bytes | None = None, *, branch: str = "change") -> Run:
        """Return a finished run, made by the author, that left these files (or this archive)."""
        number = self.forge.next_id()
        if files is not None:
            self.forge.artifacts[number] = {"lockgate": files if isinstance(files, bytes) else zipped(files)}
        return Run(
            number, "pull_request", ".github/workflows/pull-request.yml", "success", self.head, branch, REPOSITORY,
            "https://example.org/run",
        )  # fmt: skip

    def publish(self, run: Run, *, apart: bool = True) -> tuple[Published, ...]:
        """Publish a run as the job with rights does; if not ``apart``, its result is computed again in this process."""
        token = self.forge.token(RIGHTS)
        github = GitHub(f"{self.forge.address}/api/v3", REPOSITORY, token)
        targets = find_targets(github, run)
        assert not isinstance(targets, str), targets
        publisher = Publisher(self.hub, github, run, self.forge.address)
        return (publisher if apart else replace(publisher, compute=computed_here)).publish(targets)

    def answer(self, files: Mapping[str, bytes] | bytes | None) -> tuple[str, str]:
        """Publish what a run left for the one open pull request; return the status and the comment."""
        self.begin_again()
        number = self.propose()
        self.publish(self.run(files))
        (comment,) = [one["body"] for one in self.forge.comments[number]]
        return self.state(), comment

    def state(self, base: str = "main") -> str:
        """Return the status of the branch's tip for a base."""
        return self.forge.state(self.forge.tip(REPOSITORY, "change"), f"lockgate/{base}")

    def begin_again(self) -> None:
        """Forget what was published."""
        for known in (self.forge.pulls, self.forge.comments, self.forge.statuses, self.forge.artifacts):
            known.clear()
        self.forge.refusals.clear()
        git(self.forge.repository(REPOSITORY), "update-ref", "refs/heads/change", self.head)
        git(self.forge.repository(REPOSITORY), "update-ref", "-d", f"refs/heads/{BRANCH}")


def computed_here(sides: Sides, left: Artifact) -> Computed:
    """Compute what a result has to be as the process without rights does, which takes a second to start."""
    with tempfile.TemporaryDirectory() as folder:
        artifact.write(Path(folder), left)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return heard(answer(sides, files).encode(), "", 0)


@pytest.fixture(scope="session")
def scene_made(tmp_path_factory: pytest.TempPathFactory, no_configuration_of_this_machine: None) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("published")
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch, forges.running(folder) as forge:
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("SSL_CERT_FILE", str(forge.certificate))
        patch.setenv("GIT_SSL_CAINFO", str(forge.certificate))
        bare = forge.repository(REPOSITORY)
        project = Project.create(folder / "project")
        os.chdir(project.root)
        modelled.make(project)
        project.push()
        project.git("push", "-q", str(bare), "main")
        project.git("remote", "add", "origin", str(bare))
        project.git("fetch", "-q", "origin")
        project.git("checkout", "-q", "-b", "change")
        modelled.set_params(project, noise=0.6)
        project.write("evaluate.py", project.read("evaluate.py") + "# tidied\n")
        project.commit("less noise")
        project.git("push", "-q", "origin", "change")
        head = project.git("rev-parse", "HEAD").strip()
        with DvcProcess(project.root) as dvc:
            artifact.write(folder / "handover", judge(project.root, "origin/main", dvc))
        os.chdir(before)
        honest = {path.name: path.read_bytes() for path in (folder / "handover").iterdir()}
        shutil.copytree(bare, forge.repository("stranger/model"), dirs_exist_ok=True)
        git(folder, "clone", "-q", str(bare), "hub")
        hub = folder / "hub"
        git(hub, "remote", "set-url", "origin", f"{forge.address}/{REPOSITORY}")
        yield Scene(forge, folder, hub, project.git("rev-parse", "main").strip(), head, honest)


@pytest.fixture
def scene(scene_made: Scene) -> Iterator[Scene]:
    scene_made.begin_again()
    yield scene_made
    scene_made.begin_again()


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return an archive as a runner uploads it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
