"""A throw-away DVC project whose world changes month by month, so that a model trained on newer data may be better.

``data`` makes the rows of the month before the last one, to train on, and of the last one, to test on; it ends with
exit code 75 for a month that is not there yet. The model is one number: the slope of the score.
"""

from pathlib import Path

from tests.lockgate import serving_builds
from tests.lockgate.factory import Project
from tests.lockgate.modelled import run
from tests.lockgate.servable import CODE

from lockgate.evaluation.predictions import File
from lockgate.monitoring.reference import to_bytes
from lockgate.monitoring.reference_rows import make_reference
from lockgate.policy import read_policy

POLICY = """\
model: delay
metrics:
  log_loss: {file: reports/metrics.json, key: log_loss, better: lower, statistic: log_loss}
  roc_auc: {file: reports/metrics.json, key: roc_auc, better: higher, statistic: roc_auc}
predictions:
  {file: reports/predictions.parquet, key: [date, number], label: late, score: probability, cluster: [date],
   slices: [kind], slice_metric: log_loss}
operating_point: {positives: late flights, costs: {missed: 1, false_alarm: 1}}
serving:
  code: src/delay_model
  entry: delay_model:load
  request: delay_model:schema
  samples: data/test.parquet
environments: {staging: {}, production: {after: staging}}
retrain:
  set: {data.through: next month}
"""
PARAMS = "data:\n  through: 2013-10  # the last month to take\n"
DATA = """\
import datetime, json, sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq, yaml
through = yaml.safe_load(open("params.yaml"))["data"]["through"]
month = int(through[5:])
if through > "2013-12":
    print("there are no flights of", through)
    sys.exit(75)
SLOPES = {8: 2.0, 9: 2.0, 10: 2.0, 11: 0.5, 12: 0.5}

def rows(month):
    luck = np.random.default_rng(month)
    x = luck.normal(size=4000)
    late = luck.random(4000) < 1 / (1 + np.exp(-SLOPES[month] * x))
    days = [datetime.date(2013, month, 1 + i % 28) for i in range(4000)]
    when = [datetime.datetime(2013, month, 1 + i % 28, i % 24) for i in range(4000)]
    kind = [None if i % 2 else "a" for i in range(4000)]
    return pa.table({"date": days, "number": range(4000), "x": x, "when": when, "kind": kind, "late": late})

pq.write_table(rows(month), "data/test.parquet")
pq.write_table(rows(month - 1), "data/train.parquet")
"""
TRAIN = """\
import json
import numpy as np, pyarrow.parquet as pq
table = pq.read_table("data/train.parquet")
x, late = table["x"].to_numpy(), table["late"].to_numpy(zero_copy_only=False)
slopes = np.arange(0, 4, 0.125)
loss = [np.logaddexp(0, -np.where(late, 1, -1) * slope * x).mean() for slope in slopes]
json.dump({"noise": float(slopes[int(np.argmin(loss))])}, open("models/model.json", "w"))
"""
EVALUATE = """\
import json
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
slope = json.load(open("models/model.json"))["noise"]
table = pq.read_table("data/test.parquet")
x, late = table["x"].to_numpy(), table["late"].to_numpy(zero_copy_only=False)
score = 1 / (1 + np.exp(-slope * x))
ranked = late[np.argsort(score, kind="stable")]
auc = ((~ranked).cumsum() * ranked).sum() / (late.sum() * (~late).sum())
loss = -np.log(np.where(late, score, 1 - score)).mean()
json.dump({"log_loss": round(float(loss), 6), "roc_auc": round(float(auc), 6)}, open("reports/metrics.json", "w"))
kept = table.select(["date", "number", "kind", "late"]).append_column("probability", pa.array(score))
pq.write_table(kept, "reports/predictions.parquet")
"""


SCHEMA = {
    "columns": [
        {"name": "x", "type": "number", "minimum": -10, "maximum": 10},
        {"name": "when", "type": "timestamp"},
        {"name": "kind", "type": "string", "optional": True},
    ],
    "example": {"x": 0.5, "when": "2026-01-02T03:04:05"},
}


def make(project: Project) -> None:
    """Fill an empty project, run it to October, and commit it on ``main``."""
    for folder in ("models", "reports", "data"):
        project.write(f"{folder}/.gitkeep", "")
    for name, code in (("data.py", DATA), ("train.py", TRAIN), ("evaluate.py", EVALUATE)):
        project.write(name, code)
    project.write("src/delay_model/__init__.py", CODE)
    project.write("lockgate.yaml", POLICY)
    project.write("params.yaml", PARAMS)
    project.stage(
        "data", deps=["data.py"], params=["data"], outs=["data/test.parquet", "data/train.parquet"],
        cmd="python data.py",
    )  # fmt: skip
    project.stage("train", deps=["train.py", "data/train.parquet"], outs=["models/model.json"], cmd="python train.py")
    project.stage(
        "evaluate", deps=["evaluate.py", "models/model.json", "data/test.parquet"],
        outs=["reports/predictions.parquet"], metrics=[{"reports/metrics.json": {"cache": False}}],
        cmd="python evaluate.py",
    )  # fmt: skip
    run(project)
    project.commit("a model of October")


def build(project: Project, folder: Path) -> Path:
    """Write the build that a release of the project's model holds."""
    made = serving_builds.plain_build(folder, CODE, SCHEMA, (project.root / "models/model.json").read_text(), 0.5)
    file = File("release", "predictions.parquet", project.root / "reports/predictions.parquet")
    reference = make_reference(read_policy(POLICY), "delay", "v1.0.0", file, None)
    (made / "reference.json").write_bytes(to_bytes(reference))
    return made
