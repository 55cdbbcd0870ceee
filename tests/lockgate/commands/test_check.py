import json
from collections.abc import Callable
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
    assert "gatez: unknown key" in out


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


@pytest.mark.parametrize(
    ("change", "stage", "why"),
    [
        (lambda p: modelled.set_params(p, noise=0.9), "train", "noise"),
        (lambda p: p.write("params.yaml", p.read("params.yaml").replace("seed: 1", "seed: 3O0")), "train", "3O0"),
        (lambda p: p.write("reports/predictions.parquet", b"another commit's"), "evaluate", "predictions.parquet"),
        (lambda p: p.write("evaluate.py", p.read("evaluate.py") + "\n"), "evaluate", "evaluate.py"),
    ],
    ids=["parameter", "typing error", "stale output", "code"],
)
def test_what_was_not_run_never_passes_and_is_named(
    project: Project,  # noqa: F811
    lockgate: Run,
    change: Callable[[Project], None],
    stage: str,
    why: str,
) -> None:
    change(project)

    code, out, err = lockgate("check")
    again, text, _ = lockgate("check", "--json")

    said = json.loads(text)
    assert (code, again) in [(3, 3), (1, 1)]
    assert code == 3 or why == "predictions.parquet"
    assert code == 1 or "dvc.lock of workspace is behind" in err
    assert f"NOT RUN  {stage}: " in out
    assert said["passed"] is False
    assert why in str(next(one["reasons"] for one in said["pending"] if one["stage"] == stage))
