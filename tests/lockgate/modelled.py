"""A throw-away DVC project with a model in it: train writes a model file, evaluate its metrics and predictions.

How good the model is are parameters, so that a test makes a better, a worse, or a noisy change in one line.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tests.lockgate.factory import Project

from lockgate.policy import Policy, read_policy

POLICY = """\
model: delay
metrics:
  roc_auc: {file: reports/metrics.json, key: roc_auc.model, better: higher}
  log_loss: {file: reports/metrics.json, key: log_loss.model, better: lower}
  rows: {file: reports/metrics.json, key: rows, better: higher}
predictions:
  file: reports/predictions.parquet
  key: [date, flight]
  label: late
  score: probability
  slices: [carrier, month]
  slice_metric: roc_auc
validation: reports/validation.json
plots: [{file: reports/plots/roc.json, title: ROC, x: fpr, y: tpr, diagonal: true, rows: rows}]
operating_point: {costs: {missed: 3, false_alarm: 1}}
importance: {file: reports/plots/importance.json, column: column, value: lost, error: error}
data: [{file: reports/predictions.parquet, date: date}]
seed: train.seed
gates:
  - {kind: floor, metric: roc_auc, value: 0.6}
  - {kind: no-worse, metric: roc_auc, tolerance: 0.002}
  - {kind: slices-no-worse, metric: roc_auc, tolerance: 0.01, rows: 100}
  - {kind: data-checks}
  - {kind: model-size, at_most: 1 kB}
  - {kind: metrics-complete}
"""

TRAIN = """\
import json, yaml
train = yaml.safe_load(open("params.yaml"))["train"]
open("models/model.json", "w").write(json.dumps(train))
"""

EVALUATE = """\
import json
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
train = json.load(open("models/model.json"))
n = 2000
world, luck = np.random.default_rng(0), np.random.default_rng(train["seed"])
truth = world.normal(size=n)
late = world.random(n) < 1 / (1 + np.exp(-truth))
carrier = np.array(["AA", "B6", "HA", "UA"])[np.arange(n) % 4]
noise = luck.normal(size=n) * train["noise"]
hurt = carrier == train.get("hurts")
noise[hurt] = luck.normal(size=hurt.sum()) * 9
score = 1 / (1 + np.exp(-(truth + noise)))
ranked = late[np.argsort(score, kind="stable")]
auc = ((~ranked).cumsum() * ranked).sum() / (late.sum() * (~late).sum())
loss = -np.log(np.where(late, score, 1 - score)).mean()
metrics = {"roc_auc": {"model": round(auc, 6)}, "log_loss": {"model": round(loss, 6)}, "rows": n}
json.dump(metrics, open("reports/metrics.json", "w"))
roc = [{"fpr": i / 50, "tpr": (i / 50) ** 0.5, "rows": 10 * i} for i in range(51)]
json.dump(roc, open("reports/plots/roc.json", "w"))
lost = [{"column": name, "lost": round(auc / 10, 6), "error": 0.002} for name in ("carrier", "probability")]
json.dump(lost, open("reports/plots/importance.json", "w"))
dates = ["2013-%02d-%02d" % (10 + i % 3, 1 + i % 28) for i in range(n)]
table = {"date": dates, "flight": np.arange(n), "carrier": carrier, "month": 10 + np.arange(n) % 3}
table.update(late=late, probability=score)
pq.write_table(pa.table(table), "reports/predictions.parquet")
"""

VALIDATION = {
    "tables": [
        {
            "table": "flights",
            "expectations": 2,
            "results": [
                {
                    "rule": "distance is positive",
                    "column": "distance",
                    "severity": "critical",
                    "success": True,
                    "failures": 0,
                    "examples": [],
                }
            ],
        }
    ],
    "success": True,
}


def make(project: Project) -> None:
    """Fill an empty project with the pipeline, run it and commit it on ``main``."""
    for folder in ("models", "reports/plots"):
        project.write(f"{folder}/.gitkeep", "")
    project.write("train.py", TRAIN)
    project.write("evaluate.py", EVALUATE)
    project.write("lockgate.yaml", POLICY)
    project.write("reports/validation.json", json.dumps(VALIDATION))
    set_params(project)
    project.stage("train", deps=["train.py"], params=["train"], outs=["models/model.json"], cmd="python train.py")
    project.stage(
        "evaluate",
        deps=["evaluate.py", "models/model.json"],
        outs=["reports/predictions.parquet"],
        metrics=[{"reports/metrics.json": {"cache": False}}],
        cmd="python evaluate.py",
        plots=[{f"reports/plots/{name}.json": {"cache": False}} for name in ("roc", "importance")],
    )
    with (project.root / "dvc.yaml").open("a") as file:
        file.write("artifacts:\n  delay: {path: models/model.json, type: model}\n")
    run(project)
    project.commit("a model")


def set_params(project: Project, **train: Any) -> None:
    """Write ``params.yaml``: ``noise`` (smaller is better), ``seed``, and the carrier that the model ``hurts``."""
    project.write_params({"train": {"noise": 1.0, "seed": 1, **train}})


def run(project: Project) -> None:
    """Reproduce the pipeline; raises if a stage fails."""
    _, error = project.repro()
    if error:
        raise error


def copied(template: Project, root: Path) -> Project:
    """Return a copy of a made project, with its remote."""
    shutil.copytree(template.root, root, symlinks=True)
    if template.remote.exists():
        shutil.copytree(template.remote, root.parent / "remote", dirs_exist_ok=True)
    return Project(root, template.stages)


def policy(text: str = POLICY) -> Policy:
    """Return the policy of the model project."""
    return read_policy(text)


def predictions(rows: int = 400, **columns: Any) -> bytes:
    """Return a predictions file in Parquet; ``columns`` replace those it would have."""
    generator = np.random.default_rng(7)
    truth = generator.normal(size=rows)
    table: dict[str, Any] = {
        "date": ["2013-10-01"] * rows,
        "flight": np.arange(rows),
        "carrier": np.array(["AA", "HA"])[np.arange(rows) % 2],
        "month": np.full(rows, 10),
        "late": generator.random(rows) < 1 / (1 + np.exp(-truth)),
        "probability": 1 / (1 + np.exp(-(truth + generator.normal(size=rows)))),
        **columns,
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: column for name, column in table.items() if column is not None}), sink)
    return sink.getvalue().to_pybytes()
