"""What a gate that names the last release, or the best so far, is held against."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lockgate import git
from lockgate.dvc.pipeline import read_state
from lockgate.evaluation.findings import find
from lockgate.evaluation.statistics import value
from lockgate.publishing import bound
from lockgate.publishing.artifact import Artifact
from lockgate.result import Execution, GateOutcome
from lockgate.strict_yaml import load

ROWS = 1500
POLICY = """\
model: delay
metrics: {roc_auc: {file: m.json, key: auc, better: higher, statistic: roc_auc}}
predictions: {file: p.parquet, key: [id], label: y, score: s, slices: [half], slice_metric: roc_auc}
gates:
  - {kind: no-regression, metric: roc_auc, margin: 0.01}
  - {kind: no-regression, metric: roc_auc, margin: 0.01, against: best}
  - {kind: no-regression, metric: roc_auc, margin: 0.01, against: release}
  - {kind: no-regression, metric: roc_auc, margin: 0.03, against: best, slices: [half], rows: 100}
"""

Commit = Callable[..., str]


@pytest.fixture
def commit(tmp_path: Path) -> Commit:
    """Return a function that commits a model of some noise, for the test rows of some world."""

    def run(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    def make(noise: float, world: int = 0, tag: str = "") -> str:
        generator, luck = np.random.default_rng(world), np.random.default_rng(9)
        truth, late = generator.normal(size=ROWS) * 2, generator.random(ROWS)
        label = late < 1 / (1 + np.exp(-truth))
        score = 1 / (1 + np.exp(-(truth + noise * luck.normal(size=ROWS))))
        rows = np.arange(ROWS)
        table = {"id": rows + 10_000 * world, "y": label, "s": score, "half": np.where(rows % 2, "odd", "even")}
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(table), sink)
        content = sink.getvalue().to_pybytes()
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        kept = tmp_path / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content)
        (tmp_path / "p.parquet.dvc").write_text(
            f"outs: [{{md5: {digest}, size: {len(content)}, hash: md5, path: p.parquet}}]\n"
        )
        (tmp_path / "m.json").write_text(json.dumps({"auc": value("roc_auc", label, score)}))
        run("add", "-A")
        run("commit", "-q", "--allow-empty", "-m", f"noise {noise}")
        if tag:
            run("tag", "-a", tag, "-m", "why")
        return run("rev-parse", "HEAD")

    run("init", "-q", "-b", "main")
    run("config", "user.name", "a")
    run("config", "user.email", "a@example.org")
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("")
    (tmp_path / ".gitignore").write_text("/.dvc/cache\n")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "lockgate.yaml").write_text(POLICY)
    return make


def judged(root: Path, base: str, head: str) -> tuple[GateOutcome, ...]:
    states = [read_state(git.Commit(root, name, sha)) for name, sha in (("base", base), ("head", head))]
    return find(root, states[0], states[1]).gates


def test_small_losses_that_pass_one_by_one_are_seen_together(commit: Commit, tmp_path: Path) -> None:
    steps = [commit(0.3 + 0.07 * step, tag="delay@v1.0.0" if step == 1 else "") for step in range(8)]

    outcomes = [judged(tmp_path, *pair) for pair in pairwise(steps)]
    _, by_best, by_release, by_slice = outcomes[-1]

    assert all(one[0].passed for one in outcomes), "each loses little"
    assert outcomes[0][1].passed
    assert not by_best.passed
    assert f"since {steps[0][:7]}, the best so far" in by_best.measured
    assert by_best.headline.startswith(f"since {steps[0][:7]}, the best so far: ROC AUC fell by")
    assert by_best.rule == "roc_auc is shown to fall by at most 0.01 from the best so far"
    assert not by_release.passed
    assert "since delay@v1.0.0" in by_release.measured
    assert not by_slice.passed
    assert "the best so far" in by_slice.measured
    assert outcomes[0][2].reason == "base's history has no release of delay yet"
    assert outcomes[0][2].passed


def test_the_best_on_other_test_rows_is_left_out_and_said(commit: Commit, tmp_path: Path) -> None:
    commit(0.01, world=1)
    good, base, head = commit(0.3), commit(0.5), commit(0.9)

    best = judged(tmp_path, base, head)[1]

    assert not best.passed
    assert f"since {good[:7]}" in best.measured
    assert best.reason.endswith("1 better commit had other test rows")


def test_a_release_that_was_withdrawn_or_is_not_in_bases_history_is_not_the_last_one(
    commit: Commit, tmp_path: Path
) -> None:
    first = commit(0.9, tag="delay@v1.2.0")
    commit(0.2, tag="delay@v1.10.0")
    base, head = commit(0.9), commit(0.9, tag="delay@v2.0.0")

    assert "since delay@v1.10.0" in judged(tmp_path, base, head)[2].measured
    subprocess.run(["git", "tag", "-a", "delay@v1.10.0!", "-m", "bad", "main~2"], cwd=tmp_path, check=True)
    assert "since delay@v1.2.0" in judged(tmp_path, base, head)[2].measured
    assert "since delay@v1.2.0" in judged(tmp_path, first, head)[2].measured


def test_the_half_that_publishes_finds_the_same_and_gets_the_predictions_of_the_best(
    commit: Commit, tmp_path: Path
) -> None:
    commit(0.2)
    sides = [git.Commit(tmp_path, name, sha) for name, sha in (("base", commit(0.5)), ("head", commit(0.55)))]
    clone = tmp_path.with_name("hub")
    subprocess.run(["git", "clone", "-q", "--bare", str(tmp_path), str(clone)], check=True)

    left = Artifact(objects=bound.collect(tmp_path, *sides, Artifact()))
    run = Execution((), 0.0, 0, 0)
    here = bound.compute(*sides, left, tmp_path, execution=run)
    there = bound.compute(*(git.Commit(clone, one.label, one.commit) for one in sides), left, execution=run)

    assert there.unverified == ()
    assert there.result is not None
    assert there.result == here.result
    assert [gate.passed for gate in there.result.gates] == [True, False, True, True]
    fewer = Artifact(objects=dict(list(left.objects.items())[:-1]))
    assert bound.compute(*sides, fewer, execution=run).result is None


def test_a_best_whose_predictions_are_lost_is_not_passed_over(commit: Commit, tmp_path: Path) -> None:
    commit(0.2)
    lost = load((tmp_path / "p.parquet.dvc").read_text(), "p.parquet.dvc")["outs"][0]["md5"]
    base, head = commit(0.5), commit(0.55)
    (tmp_path / ".dvc/cache/files/md5" / lost[:2] / lost[2:]).unlink()

    best = judged(tmp_path, base, head)[1]

    assert not best.passed
    assert best.reason.startswith("cannot be evaluated: the predictions of")


def test_a_shallow_clone_does_not_know_the_best(commit: Commit, tmp_path: Path) -> None:
    commit(0.1)
    base, head = commit(0.5), commit(0.5)
    clone = tmp_path.with_name("clone")
    subprocess.run(["git", "clone", "-q", "--depth", "2", f"file://{tmp_path}", str(clone)], check=True)
    shutil.copytree(tmp_path / ".dvc/cache", clone / ".dvc/cache")

    outcomes = judged(clone, base, head)

    assert outcomes[0].passed
    assert not outcomes[1].passed
    assert not outcomes[2].passed
    assert "shallow" in outcomes[1].reason
