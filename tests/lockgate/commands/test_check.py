import json
from pathlib import Path

import pytest
from tests.lockgate import modelled
from tests.lockgate.evaluation.test_report import Run, project, template  # noqa: F401  fixtures
from tests.lockgate.factory import Project


def test_gates_that_hold_are_exit_code_0(project: Project, lockgate: Run) -> None:  # noqa: F811
    code, out, _ = lockgate("check", "--base", "main", "--head", "better")

    assert code == 0
    assert len(out.splitlines()) == 6
    assert all(line.startswith("holds  ") for line in out.splitlines())


def test_a_gate_that_fails_is_exit_code_1_and_stands_last(project: Project, lockgate: Run) -> None:  # noqa: F811
    code, out, _ = lockgate("check", "--base", "main", "--head", "hurt")

    assert code == 1
    assert out.splitlines()[-1].startswith("FAILS  roc_auc may fall by at most 0.01 in each slice")
    assert "carrier HA" in out.splitlines()[-1]


def test_a_gate_that_cannot_be_evaluated_fails_with_the_reason(project: Project, lockgate: Run) -> None:  # noqa: F811
    project.write("reports/metrics.json", "{}")

    code, out, _ = lockgate("check")

    assert code == 1
    assert "FAILS  roc_auc at least 0.6: cannot be evaluated: head: reports/metrics.json has no 'roc_auc.model'" in out


def test_json_says_the_same_as_the_exit_code(project: Project, lockgate: Run) -> None:  # noqa: F811
    code, out, _ = lockgate("check", "--base", "main", "--head", "hurt", "--json")

    said = json.loads(out)
    assert (code, said["schema"], said["passed"]) == (1, "lockgate.check/1", False)
    assert [gate["passed"] for gate in said["gates"]] == [True, True, False, True, True, True]


def test_a_policy_that_head_breaks_fails_though_every_gate_of_base_holds(
    project: Project,  # noqa: F811
    lockgate: Run,
) -> None:
    project.write("lockgate.yaml", modelled.POLICY + "gatez: []\n")

    code, out, _ = lockgate("check")

    assert code == 1
    assert "lockgate.yaml: gatez: unknown key" in out


def test_a_policy_without_gates_passes_and_says_so(project: Project, lockgate: Run) -> None:  # noqa: F811
    project.write("lockgate.yaml", modelled.POLICY.split("gates:")[0])
    project.commit("no gates")

    assert lockgate("check")[:2] == (0, "The policy has no gates.\n")


def test_it_works_from_a_folder_inside_the_project(
    project: Project,  # noqa: F811
    lockgate: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(Path(project.root, "reports"))

    assert lockgate("check")[0] == 0


def test_gates_that_hold_for_what_other_code_has_made_are_exit_code_3(project: Project, lockgate: Run) -> None:  # noqa: F811
    modelled.set_params(project, noise=0.9)

    code, out, err = lockgate("check")

    assert code == 3
    assert "holds  " in out
    assert "dvc.lock of workspace is behind" in err
