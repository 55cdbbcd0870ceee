"""The second workflow of a pull request: base and head trained again, and what of it is believed."""

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.lockgate import modelled
from tests.lockgate.factory import Project

from lockgate import cli
from lockgate.evaluation.training import Repeat, Repeats
from lockgate.git import Commit
from lockgate.publishing import artifact, bound
from lockgate.publishing.artifact import Artifact, Unfit
from lockgate.publishing.publish import _status_of
from lockgate.result import Result

Change = Callable[[Artifact], Artifact]


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, no_configuration_of_this_machine: None
) -> tuple[Commit, Commit, Artifact]:
    """A pull request for less noise, with what its run with ``--repeats`` left."""
    into = tmp_path_factory.mktemp("handover")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        patch.delenv("GITHUB_EVENT_PATH", raising=False)
        project = Project.create(tmp_path_factory.mktemp("repeats") / "project")
        patch.chdir(project.root)
        modelled.make(project)
        repeats = "train: {seed: train.seed, repeats: 3}\n"
        project.write("lockgate.yaml", modelled.POLICY.replace("seed: train.seed\n", repeats))
        project.commit("repeats")
        project.push()
        project.git("checkout", "-q", "-b", "change")
        modelled.set_params(project, noise=0.5)
        project.commit("less noise")
        assert cli.main(["ci", "pull-request", "--base", "main", "--into", str(into), "--repeats"]) == 0
    left = artifact.read({path.name: path.read_bytes() for path in into.iterdir()})
    root = project.root
    base, head = (Commit(root, name, project.git("rev-parse", name).strip()) for name in ("main", "change"))
    return base, head, left


def computed(made: tuple[Commit, Commit, Artifact], left: Artifact | None = None) -> Result:
    base, head, honest = made
    left = left or honest
    result = bound.compute(base, head, left, execution=left.result.execution if left.result else None).result
    assert result is not None
    return result


@pytest.mark.slow
def test_the_repeats_complete_what_one_run_of_each_left_open(made: tuple[Commit, Commit, Artifact]) -> None:
    left = made[2]
    first, whole = computed(made, replace(left, repeats={})), computed(made)

    assert left.result is not None
    bound.check(left.result, whole)
    assert first.training is not None
    assert first.training.pending
    assert "for this model, luck of the seed not yet known" in first.verdict.reason
    assert _status_of(first)[0] == "pending"
    assert whole.training is not None
    assert not whole.training.pending
    assert (whole.training.source, whole.training.is_known) == ("repeats", True)
    assert whole.training.changes[0].judgement == "better"
    assert "better over 3 and 3 seeds" in whole.verdict.reason
    assert _status_of(whole)[0] == "success"
    gate = next(gate for gate in whole.gates if "roc_auc may fall" in gate.rule)
    assert gate.measured != next(one for one in first.gates if one.rule == gate.rule).measured


def chosen_seed(left: Artifact) -> Artifact:
    own = left.repeats[""]
    first, *others = own.head
    return replace(left, repeats={"": replace(own, head=(replace(first, seed=first.seed + 1), *others))})


def fewer(left: Artifact) -> Artifact:
    own = left.repeats[""]
    return replace(left, repeats={"": replace(own, head=own.head[:2])})


def other_predictions(left: Artifact) -> Artifact:
    one, two = (str(repeat.predictions) for repeat in left.repeats[""].head[:2])
    return replace(left, objects={**left.objects, one: left.objects[two]})


@pytest.mark.slow
@pytest.mark.parametrize("change", [chosen_seed, fewer, other_predictions], ids=lambda change: change.__name__)
def test_repeats_that_are_not_those_that_follow_from_the_locks_are_not_believed(
    made: tuple[Commit, Commit, Artifact], change: Change
) -> None:
    with pytest.raises(Unfit):
        computed(made, change(made[2]))


@pytest.mark.slow
def test_a_repeat_that_failed_is_told_and_asks_for_a_look(made: tuple[Commit, Commit, Artifact]) -> None:
    left = made[2]
    failed = replace(left.repeats[""], base=(), head=(), failure="stage 'train' failed in head with train.seed = 7")
    result = computed(made, replace(left, repeats={"": failed}))

    assert result.verdict.outcome == "attention"
    assert "stage 'train' failed in head with train.seed = 7" in result.verdict.reason
    assert result.training is not None
    assert not result.training.is_known


@pytest.mark.slow
def test_a_training_that_ignores_its_seed_leaves_the_luck_unknown(made: tuple[Commit, Commit, Artifact]) -> None:
    left = made[2]
    own = left.repeats[""]
    same = tuple(replace(own.head[0], seed=one.seed) for one in own.head)
    result = computed(made, replace(left, repeats={"": replace(own, head=same)}))

    assert result.training is not None
    assert not result.training.is_known
    assert "All 3 repeats of head gave the same model" in result.training.note
    assert result.verdict.outcome == "attention"


@pytest.mark.parametrize(
    "text",
    [
        b"[]",
        b"{",
        b'{"base": [], "head": []}',
        b'{"base": [], "head": [], "failure": 1}',
        b'{"base": [1], "head": [], "failure": ""}',
        b'{"base": [{"seed": true, "values": {}, "predictions": null}], "head": [], "failure": ""}',
        b'{"base": [{"seed": 1, "values": {"a": NaN}, "predictions": null}], "head": [], "failure": ""}',
        b'{"base": [{"seed": 1, "values": {}, "predictions": "../x"}], "head": [], "failure": ""}',
        b'{"base": [{"seed": 1, "values": [], "predictions": null}], "head": [], "failure": ""}',
        b'{"models": []}',
        b'{"models": {"": {"base": [], "head": [], "failure": ""}}}',
        b'{"models": {"delay": []}}',
    ],
)
def test_a_file_of_repeats_of_another_form_is_refused(text: bytes) -> None:
    with pytest.raises(Unfit):
        artifact.read({"error.json": b'{"error": "x"}', "repeats.json": text})


@pytest.mark.parametrize("names", [("",), ("delay", "folder:risk")])
def test_what_repeats_are_survives_the_way(tmp_path: Path, names: tuple[str, ...]) -> None:
    one = Repeats((Repeat(1, {"roc_auc": 0.7}, "a" * 32),), (Repeat(2, {"roc_auc": 0.8}),))
    repeats = dict.fromkeys(names, one)
    artifact.write(tmp_path, Artifact(error="x", repeats=repeats))
    assert artifact.read({path.name: path.read_bytes() for path in tmp_path.iterdir()}).repeats == repeats
