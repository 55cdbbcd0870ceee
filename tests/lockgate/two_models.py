"""A throw-away project with two models: a shared stage on top, and a ``dvc.yaml`` of its own for each model.

``arrivals`` is an artifact of the top ``dvc.yaml``, ``cancellations:risk`` one of its own folder's.
"""

from typing import Any

import yaml
from tests.lockgate.factory import Project, quiet

ARRIVALS, RISK = "arrivals", "cancellations:risk"

POLICY = """\
models:
  arrivals:
    metrics:
      roc_auc: {file: arrivals/metrics.json, key: roc_auc, better: higher, statistic: roc_auc}
    predictions:
      {file: arrivals/predictions.parquet, key: [row], label: late, score: score}
    gates:
      - {kind: min, metric: roc_auc, value: 0.6}
      - {kind: no-regression, metric: roc_auc, margin: 0.02}
    environments: {staging: {}, production: {after: staging}}
  cancellations:risk:
    metrics:
      roc_auc: {file: cancellations/metrics.json, key: roc_auc, better: higher, statistic: roc_auc}
    predictions:
      {file: cancellations/predictions.parquet, key: [row], label: late, score: score}
    gates:
      - {kind: min, metric: roc_auc, value: 0.55}
stages: {isolation: best-effort}
environments: {production: {}}
"""

PREPARE = """\
import json, yaml
rows = yaml.safe_load(open("params.yaml"))["rows"]
json.dump({"rows": rows}, open("shared.json", "w"))
"""
TRAIN = """\
import json, yaml
json.dump(yaml.safe_load(open("params.yaml"))["train"], open("model.json", "w"))
"""
EVALUATE = """\
import json
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
train, n = json.load(open("model.json")), json.load(open("../shared.json"))["rows"]
world, luck = np.random.default_rng(0), np.random.default_rng(train["seed"])
truth = world.normal(size=n)
late = world.random(n) < 1 / (1 + np.exp(-truth))
score = 1 / (1 + np.exp(-(truth + luck.normal(size=n) * train["noise"])))
ranked = late[np.argsort(score, kind="stable")]
auc = ((~ranked).cumsum() * ranked).sum() / (late.sum() * (~late).sum())
json.dump({"roc_auc": round(auc, 6)}, open("metrics.json", "w"))
pq.write_table(pa.table({"row": np.arange(n), "late": late, "score": score}), "predictions.parquet")
"""


def make(project: Project) -> None:
    """Fill an empty project with both pipelines, run them and commit all on ``main``."""
    project.write("lockgate.yaml", POLICY)
    project.write("prepare.py", PREPARE)
    project.write("params.yaml", "rows: 1500\n")
    top = {"prepare": {"cmd": "python prepare.py", "deps": ["prepare.py"], "params": ["rows"], "outs": ["shared.json"]}}
    artifacts = {"arrivals": {"path": "arrivals/model.json", "type": "model"}}
    project.write("dvc.yaml", yaml.safe_dump({"stages": top, "artifacts": artifacts}))
    for folder in ("arrivals", "cancellations"):
        project.write(f"{folder}/train.py", TRAIN)
        project.write(f"{folder}/evaluate.py", EVALUATE)
        set_params(project, folder)
        stages: dict[str, Any] = {
            "train": {"cmd": "python train.py", "deps": ["train.py"], "params": ["train"], "outs": ["model.json"]},
            "evaluate": {
                "cmd": "python evaluate.py",
                "deps": ["evaluate.py", "model.json", "../shared.json"],
                "outs": ["predictions.parquet"],
                "metrics": [{"metrics.json": {"cache": False}}],
            },
        }
        told: dict[str, Any] = {"stages": stages}
        if folder == "cancellations":
            told["artifacts"] = {"risk": {"path": "model.json", "type": "model"}}
        project.write(f"{folder}/dvc.yaml", yaml.safe_dump(told))
    run(project)
    project.commit("two models")


def set_params(project: Project, folder: str, **train: Any) -> None:
    """Write a model's ``params.yaml``: ``noise`` (smaller is better) and ``seed``."""
    project.write(f"{folder}/params.yaml", yaml.safe_dump({"train": {"noise": 1.0, "seed": 1, **train}}))


def run(project: Project) -> None:
    """Reproduce every pipeline."""
    from dvc.repo import Repo

    quiet()
    with Repo(str(project.root)) as repo:
        repo.reproduce(all_pipelines=True)
