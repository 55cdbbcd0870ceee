"""Where the files of a judgement come from."""

import hashlib
from pathlib import Path

import yaml
from tests.lockgate.factory import Project

from lockgate import git
from lockgate.dvc.pipeline import read_state
from lockgate.evaluation import findings
from lockgate.policy import read_policy

POLICY = """\
model: m
metrics: {auc: {file: m.json, key: auc, better: higher, statistic: roc_auc}}
predictions: {file: p.csv, key: [id], label: late, score: score, labels: labels.csv}
"""


def test_predictions_and_labels_that_git_keeps_are_read_from_the_commit(tmp_path: Path) -> None:
    """A stage may leave them to git (`cache: false`): then no cache and no remote has them."""
    project = Project.create(tmp_path / "project")
    project.stage("evaluate", outs=[{"p.csv": {"cache": False}}, {"labels.csv": {"cache": False}}])
    recorded = []
    for path, text in (("p.csv", b"id,score\n1,0.5\n"), ("labels.csv", b"id,late\n1,0\n")):
        project.write(path, text)
        digest = hashlib.md5(text, usedforsecurity=False).hexdigest()
        recorded.append({"path": path, "hash": "md5", "md5": digest, "size": len(text)})
    stages = {"evaluate": {"cmd": project.stages["evaluate"]["cmd"], "outs": recorded}}
    project.write("dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": stages}))
    project.write("m.json", "{}")
    commit = project.commit("first")
    project.write("p.csv", "id,score\n1,0.9\n")

    found = findings.side(project.root, read_state(git.snapshot(project.root, commit)), read_policy(POLICY))

    assert (found.predictions, found.labels) == (b"id,score\n1,0.5\n", b"id,late\n1,0\n")
    assert (found.no_predictions, found.absent) == ("", False)
