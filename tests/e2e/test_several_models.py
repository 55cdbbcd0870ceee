"""A second model joins a repository: its pull request through the workflows, with a status for each model."""

import textwrap

import pytest
from tests.e2e.world import REPOSITORY, World

pytestmark = pytest.mark.slow

SECOND = """\
stages:
  train:
    cmd: >-
      python -c "import json; json.dump({'a': 1}, open('model.json', 'w'));
      json.dump({'accuracy': 0.9}, open('metrics.json', 'w'))"
    outs: [model.json]
    metrics:
      - metrics.json: {cache: false}
artifacts:
  second: {path: model.json, type: model}
"""
POLICY = """\
  second:second:
    metrics: {accuracy: {file: second/metrics.json, key: accuracy, better: higher}}
    gates: [{kind: min, metric: accuracy, value: 0.8}]
"""


def test_a_pull_request_that_adds_a_model_runs_and_judges_that_one_and_each_has_a_status(world: World) -> None:
    first = world.read("lockgate.yaml").removeprefix("model: tiny\n")
    policy = f"models:\n  tiny:\n{textwrap.indent(first, '    ')}{POLICY}"
    number = world.propose("second", {"lockgate.yaml": policy, "second/dvc.yaml": SECOND})

    run = world.check(number)
    assert run.code == 0, run.log
    published = world.publish(run)
    assert published.code == 0, published.log

    (comment,) = world.comments(number)
    assert "### ⚠️ `second:second` needs a look" in comment
    assert "Not touched: tiny." in comment or "Not touched: `tiny`." in comment
    head = world.forge.tip(REPOSITORY, "second")
    told = {one["context"]: one["state"] for one in world.forge.statuses[head]}
    assert told == dict.fromkeys(["lockgate/main", "lockgate/main/second:second", "lockgate/main/tiny"], "success")
    assert "train:" in world.read("second/dvc.lock", "second")  # the lock that came out is on the branch
