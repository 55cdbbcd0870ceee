"""Several models: which of them a change touches, what is judged of a new and of a removed one, and the commands."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.lockgate import two_models
from tests.lockgate.factory import Project
from tests.lockgate.two_models import ARRIVALS, POLICY, RISK

from lockgate import cli
from lockgate.dvc.pipeline import read_state
from lockgate.dvc.scopes import OneArtifact, scopes
from lockgate.evaluation import several
from lockgate.git import Commit
from lockgate.result import Results


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, no_configuration_of_this_machine: None) -> Iterator[Project]:
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        project = Project.create(folder / "project")
        patch.chdir(project.root)
        two_models.make(project)
        yield project


@pytest.fixture
def project(made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the project with two models, on a branch of its own."""
    shutil.copytree(made.root, tmp_path / "project", symlinks=True)
    monkeypatch.chdir(tmp_path / "project")
    copy = Project(tmp_path / "project")
    copy.git("checkout", "-q", "-b", "change")
    return copy


def compared(project: Project, base: str = "main") -> Results:
    """Compare the branch, all of it committed, with its base."""
    head = project.commit()
    sides = [Commit(project.root, name, project.git("rev-parse", name).strip()) for name in (base, head)]
    result = several.build(project.root, *sides)
    assert isinstance(result, Results)
    return result


def without(policy: str, model: str) -> str:
    """Return a policy without one of its models."""
    told = yaml.safe_load(policy)
    del told["models"][model]
    return yaml.safe_dump(told, sort_keys=False)


def notes(project: Project) -> None:
    project.write("README.md", "# Two models\n")


def by_hand(project: Project) -> None:
    project.write("arrivals/metrics.json", '{"roc_auc": 0.9}')


def gate(project: Project) -> None:
    project.write("lockgate.yaml", POLICY.replace("value: 0.55", "value: 0.56"))


def shared_gate(project: Project) -> None:
    project.write("lockgate.yaml", POLICY.replace("environments: {production: {}}", "withdrawn: refuse"))


def comment(project: Project) -> None:
    project.write("lockgate.yaml", f"# a word\n{POLICY}")


def code(project: Project) -> None:
    project.write("cancellations/train.py", f"{two_models.TRAIN}# tidied\n")


def rows(project: Project) -> None:
    project.write("params.yaml", "rows: 1400\n")


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        (notes, []), (comment, []), (by_hand, [ARRIVALS]), (gate, [RISK]), (shared_gate, [ARRIVALS, RISK]),
        (code, [RISK]), (rows, [ARRIVALS, RISK]),
    ],
)  # fmt: skip
def test_a_change_touches_the_models_that_it_can_reach(
    project: Project, change: Callable[[Project], None], touched: list[str]
) -> None:
    change(project)
    result = compared(project)

    assert [one.model for one in result.models] == touched
    assert set(result.untouched) == {ARRIVALS, RISK} - set(touched)
    assert result.verdict.outcome != "passed" or not touched


def test_a_stage_that_both_need_runs_and_both_are_judged(project: Project) -> None:
    project.write("prepare.py", two_models.PREPARE.replace('"rows": rows', '"rows": rows, "seen": 1'))
    two_models.set_params(project, "cancellations", noise=30.0)
    two_models.run(project)
    result = compared(project)

    outcome = {one.model: one.verdict.outcome for one in result.models}
    assert outcome[RISK] == "failed"
    assert outcome[ARRIVALS] != "failed"
    assert result.verdict.outcome == "failed"
    assert result.verdict.reason.startswith(f"{RISK}: ")
    for one in result.models:
        assert "prepare" in {stage.name for stage in one.stages if stage.status == "changed"}


def test_a_new_model_is_judged_by_heads_policy_and_that_is_said(project: Project) -> None:
    project.write("lockgate.yaml", without(POLICY, RISK))
    project.commit("one of two")
    project.git("branch", "-f", "main")
    project.write("lockgate.yaml", POLICY)
    result = compared(project)

    (new,) = result.models
    assert (new.model, new.verdict.outcome) == (RISK, "attention")
    assert f"Base has no model '{RISK}': head's own policy judges it." in new.notes
    assert result.untouched == (ARRIVALS,)


def test_a_model_whose_policy_alone_is_removed_is_judged_by_bases(project: Project) -> None:
    project.write("lockgate.yaml", without(POLICY, RISK))
    (one,) = compared(project).models

    assert (one.model, one.verdict.outcome, len(one.gates)) == (RISK, "attention", 1)
    assert f"Head removes the model '{RISK}' from the policy." in one.notes


def test_a_model_that_is_removed_with_its_artifact_is_named_and_not_judged(project: Project) -> None:
    project.write("lockgate.yaml", without(POLICY, RISK))
    shutil.rmtree(project.root / "cancellations")
    result = compared(project)

    assert (result.models, result.removed, result.untouched) == ((), (RISK,), (ARRIVALS,))
    assert result.verdict.outcome == "attention"
    assert any("removes the model" in note for note in result.notes)


def test_a_policy_of_one_model_that_becomes_one_of_several_is_compared_by_name(project: Project) -> None:
    told = yaml.safe_load(POLICY)
    alone = {"model": ARRIVALS, **told["models"][ARRIVALS], "stages": told["stages"]}
    project.write("lockgate.yaml", yaml.safe_dump(alone, sort_keys=False))
    project.commit("one")
    project.git("branch", "-f", "main")
    project.write("lockgate.yaml", POLICY)
    result = compared(project)

    assert ([one.model for one in result.models], result.untouched) == ([RISK], (ARRIVALS,))


def test_a_policy_that_cannot_be_read_fails_for_every_model(project: Project) -> None:
    project.write("lockgate.yaml", POLICY.replace("min, metric", "minn, metric"))
    result = compared(project)

    assert [one.verdict.outcome for one in result.models] == ["failed", "failed"]


def test_two_models_that_are_one_artifact_are_refused(project: Project) -> None:
    told = yaml.safe_load(POLICY)
    told["models"]["risk"] = told["models"].pop(RISK)
    project.write("lockgate.yaml", yaml.safe_dump(told, sort_keys=False))
    assert [scope.model for scope in scopes(None, read_state(head(project))).models] == [ARRIVALS, "risk"]
    told["models"][RISK] = json.loads(json.dumps(told["models"]["risk"]).replace("cancellations/", "c/"))
    project.write("lockgate.yaml", yaml.safe_dump(told, sort_keys=False))

    with pytest.raises(OneArtifact, match=r"cancellations/model\.json"):
        scopes(None, read_state(head(project)))


def head(project: Project) -> Commit:
    return Commit(project.root, "head", project.commit())


def test_a_stage_that_no_policy_names_is_of_the_model_whose_stages_it_needs_or_of_none(project: Project) -> None:
    def add(path: str, name: str, *deps: str) -> None:
        told = yaml.safe_load(project.read(path))
        told["stages"][name] = {"cmd": "true", "deps": list(deps), "outs": [f"{name}.txt"]}
        project.write(path, yaml.safe_dump(told, sort_keys=False))

    add("dvc.yaml", "explain", "arrivals/model.json")
    add("dvc.yaml", "compare", "arrivals/metrics.json", "cancellations/metrics.json")
    add("cancellations/dvc.yaml", "lint", "train.py")
    found = {
        scope.model: {stage.name for stage in scope.head.pipeline.stages}
        for scope in scopes(None, read_state(head(project))).models
    }

    assert "explain" in found[ARRIVALS]
    assert "cancellations/dvc.yaml:lint" in found[RISK]
    assert not any("compare" in stages for stages in found.values())
    assert all("prepare" in stages for stages in found.values())
    assert "compare" in {stage.name for stage in compared(project).stages if stage.status != "same"}


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = cli.main([*words, "--json"] if words[0] in ("check", "plan", "run") else [*words, "--format", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_commands_take_the_name_of_a_model(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    two_models.set_params(project, "arrivals", noise=0.5)
    two_models.set_params(project, "cancellations", noise=0.5)

    _, planned = told(capsys, "plan", "--model", ARRIVALS)
    assert {one["name"] for one in planned["stages"]} == {
        "prepare", "arrivals/dvc.yaml:train", "arrivals/dvc.yaml:evaluate",
    }  # fmt: skip
    _, ran = told(capsys, "run", "--model", ARRIVALS)
    assert (ran["schema"], ran["model"]) == ("lockgate.result/1", ARRIVALS)
    assert {one["name"] for one in ran["execution"]["stages"] if one["status"] == "ran"} == {
        "arrivals/dvc.yaml:train", "arrivals/dvc.yaml:evaluate",
    }  # fmt: skip
    assert told(capsys, "check", "--model", ARRIVALS)[0] == 0  # what is pending of the other does not count
    code, asked = told(capsys, "check")
    assert (code, {one["model"] for one in asked["gates"]}) == (3, {ARRIVALS, RISK})
    _, report = told(capsys, "report")
    assert [one["model"] for one in report["models"]] == [ARRIVALS, RISK]
    assert cli.main(["report", "--model", "arival"]) == 2
    assert "did you mean 'arrivals'" in capsys.readouterr().err
    assert cli.main(["power"]) == 2
    assert "--model NAME" in capsys.readouterr().err


def test_a_stage_that_fails_is_the_failure_of_its_model(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.write("arrivals/train.py", "raise SystemExit(3)\n")
    code, result = told(capsys, "run")

    assert code == 1
    assert [(one["model"], one["verdict"]["outcome"]) for one in result["models"]] == [(ARRIVALS, "failed")]
    assert result["untouched"] == [RISK]
    assert result["execution"]["failed_stage"] == "arrivals/dvc.yaml:train"
