"""A throw-away project whose lock pins a tiny package, and whose output depends on that package's version."""

from pathlib import Path

import pytest
from tests.lockgate import wheels
from tests.lockgate.factory import Project

POLICY = """\
model: delay
metrics:
  auc: {file: reports/metrics.json, key: auc, better: higher}
dependencies: {lock: requirements/pipeline.lock, python: "3.11"}
"""
TRAIN = """\
import json, tiny
open("models/model.json", "w").write(json.dumps({"made by": tiny.VERSION}))
json.dump({"auc": tiny.AUC}, open("reports/metrics.json", "w"))
"""


def make(project: Project) -> None:
    """Fill an empty project; :func:`lock` runs it."""
    for folder in ("models", "reports"):
        project.write(f"{folder}/.gitkeep", "")
    project.write("train.py", TRAIN)
    project.write("lockgate.yaml", POLICY)


def publish(packages: Path, version: str) -> wheels.File:
    """Add a version of the package to an index."""
    return wheels.wheel(packages, "tiny", version, f"VERSION = {version!r}\nAUC = 0.{version[0]}")


def lock(project: Project, file: wheels.File) -> str:
    """Pin a version, write what the stage would make with it to ``dvc.lock``, and commit; return the commit.

    The package itself is on PYTHONPATH for that: it is installed nowhere.
    """
    project.write("requirements/pipeline.lock", file.pin)
    project.stage(
        "train",
        deps=["train.py", "requirements/pipeline.lock"],
        outs=["models/model.json"],
        metrics=[{"reports/metrics.json": {"cache": False}}],
        cmd="python train.py",
    )
    with (project.root / "dvc.yaml").open("a") as yaml:
        yaml.write("artifacts:\n  delay: {path: models/model.json, type: model}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(file.path))
        _, failure = project.repro()
    assert failure is None, failure
    return project.commit(f"with {file.name} {file.version}")
