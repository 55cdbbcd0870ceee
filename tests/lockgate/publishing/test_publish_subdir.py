"""A DVC project in a folder of its repository is published as a project of its own: its status, comment and lock."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.e2e import forge as forges
from tests.e2e.forge import git
from tests.lockgate.factory import Project
from tests.lockgate.publishing.conftest import REPOSITORY, RIGHTS, computed_here, zipped

from lockgate.dvc.stages import DvcProcess
from lockgate.forge.github import GitHub
from lockgate.publishing import artifact
from lockgate.publishing.check import judge
from lockgate.publishing.publish import Publisher, Run, find_targets, project_of

POLICY = """\
model: delay
metrics: {accuracy: {file: metrics.json, key: n, better: higher}}
gates: [{kind: metrics-present}]
stages: {isolation: best-effort}
"""


def test_a_project_in_a_folder_has_a_status_a_comment_and_a_lock_of_its_own(
    tmp_path: Path, no_configuration_of_this_machine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    with forges.running(tmp_path) as forge:
        monkeypatch.setenv("SSL_CERT_FILE", str(forge.certificate))
        monkeypatch.setenv("GIT_SSL_CAINFO", str(forge.certificate))
        bare = forge.repository(REPOSITORY)
        project = Project.create(tmp_path / "repo/ml", repository=tmp_path / "repo")
        monkeypatch.chdir(project.root)
        project.write("lockgate.yaml", POLICY)
        project.write("data.txt", "one")
        project.stage("evaluate", deps=["data.txt"], metrics=[{"metrics.json": {"cache": False}}])
        project.repro()
        project.commit("a pipeline")
        project.git("push", "-q", str(bare), "main")
        project.git("remote", "add", "origin", str(bare))
        project.git("fetch", "-q", "origin")
        project.git("checkout", "-q", "-b", "change")
        project.write("data.txt", "one and two")
        head = project.commit("more data")
        project.git("push", "-q", "origin", "change")
        with DvcProcess(project.root) as dvc:
            artifact.write(tmp_path / "handover", judge(project.root, "origin/main", dvc))
        git(tmp_path, "clone", "-q", str(bare), "hub")
        git(tmp_path / "hub", "remote", "set-url", "origin", f"{forge.address}/{REPOSITORY}")
        number, run_id = forge.next_id(), forge.next_id()
        forge.pulls[number] = {
            "head": REPOSITORY, "branch": "change", "base": REPOSITORY, "state": "open", "into": "main",
        }  # fmt: skip
        left = {path.name: path.read_bytes() for path in (tmp_path / "handover").iterdir()}
        forge.artifacts[run_id] = {"lockgate": zipped(left)}
        github = GitHub(f"{forge.address}/api/v3", REPOSITORY, forge.token(RIGHTS))
        path = ".github/workflows/lockgate-ml-pull-request.yml"
        run = Run(run_id, "pull_request", path, "success", head, "change", REPOSITORY, "https://example.org/run")

        assert project_of(tmp_path / "hub/ml") == ""  # set up by hand: called as a whole repository is
        by_hand = replace(run, path=".github/workflows/pull-request.yml")
        (target,) = find_targets(github, by_hand, project_of(tmp_path / "hub/ml"))
        assert target.context == "lockgate/main"
        (tmp_path / "hub/.github/workflows").mkdir(parents=True)
        (tmp_path / "hub" / path).write_text("on: {}\n")
        assert project_of(tmp_path / "hub/ml") == "ml"
        assert project_of(tmp_path / "hub") == ""

        assert isinstance(find_targets(github, run), str)  # it is not the whole repository's
        targets = find_targets(github, run, "ml")
        assert not isinstance(targets, str), targets
        Publisher(tmp_path / "hub/ml", github, run, forge.address, compute=computed_here).publish(targets)

        tip = forge.tip(REPOSITORY, "change")
        assert {one["context"]: one["state"] for one in forge.statuses[tip]} == {"lockgate/main (ml)": "success"}
        (comment,) = [one["body"] for one in forge.comments[number]]
        assert "CML watermark lockgate-ml" in comment
        changed = git(bare, "show", "--name-only", "--format=", tip).split()
        assert changed == ["ml/dvc.lock", "ml/metrics.json"]
