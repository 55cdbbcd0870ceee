"""A throw-away DVC project whose model can be released and served: :mod:`tests.lockgate.modelled` with a package.

The package ``delay_model`` loads ``models/model.json``; its one stage of data makes the table that samples come from.
"""

import json
from pathlib import Path

from tests.lockgate import modelled
from tests.lockgate.factory import Project

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "delay-model"
version = "0.1.0"
dependencies = ["numpy"]

[tool.hatch.build.targets.wheel]
include = ["*.py"]

[tool.hatch.build.targets.wheel.sources]
"" = "delay_model"
"""
CODE = """\
import json, os
import numpy as np

if os.path.isdir(os.path.expanduser("~/trap")):  # a test wants to know that this code ran
    open(os.path.expanduser("~/trap/ran"), "w").close()

class Model:
    def __init__(self, noise):
        self.noise = noise

    def predict(self, batch):
        return 1 / (1 + np.exp(-self.noise * batch.column("x").to_numpy()))

def load(path):
    return Model(json.loads(path.read_text())["noise"])

def schema():
    columns = [{"name": "x", "type": "number", "minimum": -10, "maximum": 10}, {"name": "when", "type": "timestamp"}]
    columns.append({"name": "kind", "type": "string", "optional": True})
    return {"columns": columns, "example": {"x": 0.5, "when": "2026-01-02T03:04:05"}}
"""
REQUESTS = """\
import datetime, pyarrow as pa, pyarrow.parquet as pq
when = [datetime.datetime(2026, 1, 1, hour % 24) for hour in range(50)]
table = {"x": [i / 10 for i in range(50)], "when": when, "kind": [None, "a"] * 25, "late": [True, False] * 25}
pq.write_table(pa.table(table), "data/requests.parquet")
"""
SERVING = """\
serving:
  code: src/delay_model
  entry: delay_model:load
  request: delay_model:schema
  samples: data/requests.parquet
environments:
  staging: {}
  production: {after: staging, rebuilt: full, gates: [{kind: ceiling, metric: log_loss, value: 0.9}]}
"""
LOCK = "numpy==2.1.0 \\\n    --hash=sha256:00\n    # via -r pipeline.in\nsix==1.16.0\n    # via numpy\n"


def make(project: Project) -> None:
    """Fill an empty project, run it and commit it on ``main``."""
    project.write("data/.gitkeep", "")
    project.write("requirements/pipeline.lock", LOCK)
    project.write("rows.py", REQUESTS)
    project.write("src/delay_model/pyproject.toml", PYPROJECT)
    project.write("src/delay_model/__init__.py", CODE)
    project.write("airports.csv", "code\nEWR\n")
    project.add("airports.csv")
    project.stage(
        "requests",
        deps=["airports.csv", "rows.py", "requirements/pipeline.lock"],
        outs=["data/requests.parquet"],
        cmd="python rows.py",
    )
    modelled.make(project)
    project.write("lockgate.yaml", modelled.POLICY + SERVING)
    project.write(".python-version", "3.11\n")
    project.commit("a model that can be served")


def tag(project: Project, name: str, commit: str = "HEAD", message: str = "why") -> None:
    """Make an annotated tag."""
    project.git("tag", "-a", name, "-m", message, commit)


def improve(project: Project, noise: float = 0.9) -> None:
    """Make a better model and commit it."""
    modelled.set_params(project, noise=noise)
    modelled.run(project)
    project.commit("better")


def facts(text: str) -> dict[str, object]:
    """Return the JSON that a command printed."""
    found: dict[str, object] = json.loads(text)
    return found


def folder_files(folder: Path) -> dict[str, bytes]:
    """Return path → bytes of all files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
