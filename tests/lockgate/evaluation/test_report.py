import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.lockgate import modelled
from tests.lockgate.factory import Project

from lockgate.result import Result, read_result

Run = Callable[..., tuple[int, str, str]]
BRANCHES: dict[str, dict[str, Any]] = {
    "better": {"noise": 0.6},
    "luck": {"seed": 2},
    "hurt": {"noise": 0.6, "hurts": "HA"},
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a committed, pushed model on ``main``, and a branch each for three kinds of change."""
    environment = dict(os.environ)
    os.environ.update(
        GIT_CONFIG_NOSYSTEM="1",
        DVC_NO_ANALYTICS="1",
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **{f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    )
    from dvc.repo import Repo

    here = Path.cwd()
    try:
        project = Project.create(tmp_path_factory.mktemp("model") / "project")
        os.chdir(project.root)
        modelled.make(project)
        for branch, params in (
            ("better", {"noise": 0.6}),
            ("luck", {"seed": 2}),
            ("hurt", {"noise": 0.6, "hurts": "HA"}),
        ):
            project.git("checkout", "-q", "-b", branch, "main")
            modelled.set_params(project, **params)
            modelled.run(project)
            project.commit(branch)
        project.git("checkout", "-q", "main")
        with Repo(str(project.root)) as repo:
            repo.checkout(force=True)
        project.push()
        return project
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(environment)


@pytest.fixture
def project(template: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the template, the working directory in it."""
    made = modelled.copied(template, tmp_path / "project")
    monkeypatch.chdir(made.root)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return made


def report(run: Run, *arguments: str) -> Result:
    code, out, _ = run("report", "--format", "json", *arguments)
    assert code == 0
    return read_result(out)


def check_out(project: Project, branch: str) -> None:
    """Check a branch out as ``dvc checkout`` would."""
    from dvc.repo import Repo

    project.git("checkout", "-q", branch)
    with Repo(str(project.root)) as repo:
        repo.checkout(force=True)


# --- the three changes a reviewer has to tell apart


def test_a_better_model_passes_with_its_gain_and_interval(project: Project, lockgate: Run) -> None:
    result = report(lockgate, "--base", "main", "--head", "better")

    assert result.verdict.outcome == "passed"
    known = "better for this model, luck of the seed not known"
    assert result.verdict.reason == f"{known}: ROC AUC rose by 0.0377, log loss fell by 0.0639. 6 of 6 gates hold"
    assert [metric.judgement for metric in result.metrics] == ["better", "better", "unjudged"]
    assert (result.head.subject, result.head.author) == ("better", "ada@example.org")
    assert result.model_file is not None
    assert result.model_file.path == "models/model.json"
    late = result.comparison.positives_head
    assert late == sum(one.positives or 0 for one in result.slices if one.column == "carrier")
    assert [(one.column, one.error_head) for one in result.importance] == [("carrier", 0.002), ("probability", 0.002)]
    assert [(one.path, one.rows_head, one.first_head) for one in result.data] == [
        ("reports/predictions.parquet", 2000, "2013-10-01")
    ]
    assert [param.key for param in result.params] == ["train.noise"]
    assert (result.params[0].before, result.params[0].after) == ("1.0", "0.6")
    assert {stage.name: stage.status for stage in result.stages} == {"train": "changed", "evaluate": "changed"}
    assert result.checks is not None
    assert (result.checks.suites, result.checks.expectations) == (1, 2)
    assert len(result.curves[0].head) == 51
    assert result.notes == ()


def test_another_seed_is_called_noise(project: Project, lockgate: Run) -> None:
    result = report(lockgate, "--base", "main", "--head", "luck")

    assert result.verdict.outcome == "passed"
    assert result.verdict.reason.startswith("no change beyond chance: ROC AUC +0.006 [")
    assert [metric.judgement for metric in result.metrics] == ["noise", "noise", "unjudged"]


def test_a_carrier_that_is_hurt_fails_the_change_and_is_named(project: Project, lockgate: Run) -> None:
    result = report(lockgate, "--base", "main", "--head", "hurt")

    assert result.verdict.outcome == "failed"
    assert "carrier HA" in result.verdict.reason
    assert [gate.passed for gate in result.gates] == [True, True, False, True, True, True]
    assert (result.slices[0].column, result.slices[0].value, result.slices[0].judgement) == ("carrier", "HA", "worse")


def test_without_a_gate_on_slices_a_hurt_carrier_still_asks_for_a_look(project: Project, lockgate: Run) -> None:
    policy = [line for line in modelled.POLICY.splitlines() if "slices-no-worse" not in line]
    project.write("lockgate.yaml", "\n".join(policy))
    project.commit("no gate on slices")
    project.git("checkout", "-q", "-b", "judged")
    project.git("checkout", "-q", "hurt", "--", "params.yaml", "dvc.lock", "reports")

    result = report(lockgate, "--base", "main")

    assert result.verdict.outcome == "attention"
    assert result.verdict.reason.startswith("ROC AUC got worse for carrier HA")


# --- the same wherever it is made


def test_the_result_is_the_same_in_a_fresh_clone_with_an_empty_cache(
    project: Project, lockgate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_out(project, "better")
    here = lockgate("report", "--format", "json")
    subprocess.run(["git", "clone", "-q", str(project.root), str(tmp_path / "clone")], check=True)
    monkeypatch.chdir(tmp_path / "clone")
    subprocess.run(["git", "checkout", "-q", "--detach", "origin/better"], check=True)
    subprocess.run(["git", "remote", "set-head", "origin", "main"], check=True)
    monkeypatch.setenv("TZ", "Asia/Tokyo")

    there = lockgate("report", "--format", "json")

    assert not (tmp_path / "clone/reports/predictions.parquet").exists()
    assert there == here
    assert lockgate("report", "--format", "md") == _in(project.root, monkeypatch, lockgate, "report", "--format", "md")


def _in(root: Path, monkeypatch: pytest.MonkeyPatch, run: Run, *arguments: str) -> tuple[int, str, str]:
    monkeypatch.chdir(root)
    return run(*arguments)


def test_only_what_the_policy_names_is_fetched(project: Project, lockgate: Run) -> None:
    shutil.rmtree(project.root / ".dvc/cache")

    report(lockgate, "--base", "main", "--head", "better")

    fetched = {file.read_bytes()[:4] for file in (project.root / ".dvc/cache/files").rglob("*") if file.is_file()}
    assert fetched == {b"PAR1"}


def test_a_stale_working_tree_counts_for_what_its_lock_records(project: Project, lockgate: Run) -> None:
    check_out(project, "hurt")
    project.git("checkout", "-q", "better")  # without `dvc checkout`: predictions are still those of "hurt"

    result = report(lockgate)

    assert result.metrics[0].judgement == "better"
    assert result.verdict.outcome == "attention"
    assert "not everything has been run" in result.verdict.reason


def test_predictions_that_are_nowhere_fail_the_gates_that_need_them(project: Project, lockgate: Run) -> None:
    shutil.rmtree(project.root / ".dvc/cache")
    shutil.rmtree(project.remote)

    result = report(lockgate, "--base", "main", "--head", "better")

    assert result.verdict.outcome == "failed"
    assert "reports/predictions.parquet" in result.comparison.refused
    failed = [gate for gate in result.gates if not gate.passed]
    assert len(failed) == 2
    assert all("cannot be evaluated" in gate.reason for gate in failed)


# --- which base


def test_the_base_is_where_the_branch_left_main_and_is_called_main(project: Project, lockgate: Run) -> None:
    fork = project.git("rev-parse", "main").strip()
    project.git("checkout", "-q", "main")
    project.write("README.md", "later\n")
    project.commit("main moved on")
    check_out(project, "better")

    default = report(lockgate)
    named = report(lockgate, "--base", fork)

    assert default.base is not None
    assert (default.base.label, default.base.commit) == ("main", fork)
    assert named.base == default.base


def test_on_main_itself_a_commit_is_compared_with_the_one_before(project: Project, lockgate: Run) -> None:
    project.write("README.md", "text\n")
    project.commit("text")

    result = report(lockgate, "--head", "main")

    assert result.base is not None
    assert result.base.label == "main~1"
    assert result.verdict.reason == "no metric changes. 6 of 6 gates hold"


def test_a_first_commit_has_no_base_and_is_reported_without_changes(project: Project, lockgate: Run) -> None:
    result = report(lockgate, "--head", "main")

    assert result.base is None
    assert result.verdict.outcome == "passed"
    assert result.verdict.reason == "first result: ROC AUC is 0.6683. 6 of 6 gates hold"
    assert {metric.judgement for metric in result.metrics} == {"new"}
    assert (result.params, result.files, result.slices) == ((), (), ())


def test_a_base_without_pipeline_or_policy_is_told_in_words(project: Project, lockgate: Run) -> None:
    project.git("checkout", "-q", "--orphan", "old")
    project.git("rm", "-rfq", "--cached", "dvc.yaml", "dvc.lock", "lockgate.yaml", "reports", "params.yaml")
    project.git("commit", "-q", "-m", "before")
    project.git("clean", "-fdq")

    result = report(lockgate, "--base", "old", "--head", "main")

    assert {metric.judgement for metric in result.metrics} == {"new"}
    assert {stage.status for stage in result.stages} == {"added"}
    assert result.verdict.outcome == "attention"
    assert "Base has no policy: head's own judges it." in result.notes
    assert all(gate.passed for gate in result.gates)


def test_an_unknown_revision_is_named(project: Project, lockgate: Run) -> None:
    code, _, said = lockgate("report", "--base", "$(id)")

    assert code == 3
    assert "unknown revision '$(id)'" in said


# --- a change of the policy


def test_a_pull_request_cannot_weaken_the_gate_that_judges_it(project: Project, lockgate: Run) -> None:
    check_out(project, "hurt")
    weaker = [line for line in modelled.POLICY.splitlines() if "slices-no-worse" not in line]
    project.write("lockgate.yaml", "\n".join(weaker).replace("value: 0.6", "value: 0.1"))
    project.commit("weaken")

    result = report(lockgate)

    assert result.verdict.outcome == "failed"
    assert any("in each slice" in gate.rule and not gate.passed for gate in result.gates)
    assert "Gate changed: roc_auc at least 0.6 → roc_auc at least 0.1." in result.notes
    assert any(note.startswith("Gate removed: roc_auc may fall by at most 0.01 in each slice") for note in result.notes)
    assert [file.path for file in result.files if file.role == "policy"] == ["lockgate.yaml"]


def test_a_metric_pointed_elsewhere_is_still_read_where_base_says(project: Project, lockgate: Run) -> None:
    check_out(project, "luck")
    project.write("lockgate.yaml", modelled.POLICY.replace("roc_auc.model", "flattering"))
    project.write(
        "reports/metrics.json", project.read("reports/metrics.json").replace('"rows"', '"flattering": 0.99, "rows"')
    )

    result = report(lockgate)

    assert result.metrics[0].head == pytest.approx(0.674, abs=0.001)
    assert "Metric defined otherwise: roc_auc: key roc_auc.model → flattering." in result.notes


def test_a_new_metric_of_heads_policy_is_shown_and_judged_by_no_gate(project: Project, lockgate: Run) -> None:
    extra = "  brier: {file: reports/metrics.json, key: brier, better: lower}\npredictions:"
    project.write("lockgate.yaml", modelled.POLICY.replace("predictions:", extra, 1))

    result = report(lockgate)

    brier = result.metrics[-1]
    assert (brier.name, brier.head, brier.note) == (
        "brier",
        None,
        "base: reports/metrics.json has no 'brier'; head: reports/metrics.json has no 'brier'",
    )
    assert result.verdict.outcome == "failed"
    assert "1 metric without a value" in result.verdict.reason


@pytest.mark.parametrize(
    ("text", "outcome", "said"),
    [
        ("model: [", "failed", "lockgate.yaml: line "),
        ("model: delay\n", "failed", "lockgate.yaml: metrics: is missing (in head)"),
        (None, "attention", "head removes the policy"),
    ],
)
def test_a_policy_that_head_breaks_or_removes_never_just_passes(
    project: Project, lockgate: Run, text: str | None, outcome: str, said: str
) -> None:
    if text is None:
        (project.root / "lockgate.yaml").unlink()
    else:
        project.write("lockgate.yaml", text)

    result = report(lockgate)

    assert result.verdict.outcome == outcome
    assert said in result.verdict.reason


def test_without_any_policy_the_cure_is_named(project: Project, lockgate: Run) -> None:
    (project.root / "lockgate.yaml").unlink()
    project.commit("no policy")

    code, _, said = lockgate("report")

    assert code == 3
    assert "there is no lockgate.yaml" in said


# --- odd input


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "reports/metrics.json cannot be read: Expecting value"),
        (b'{"roc_auc": {"model": NaN}}', "'roc_auc.model' in reports/metrics.json is NaN"),
        (b'{"roc_auc": {"model": Infinity}}', "is infinite"),
        (b"\xff\xff", "byte 0 is not UTF-8"),
        (b"[" * 200_000, "it is nested too deeply"),
        (None, "there is no reports/metrics.json"),
    ],
)
def test_a_metrics_file_that_cannot_be_used_fails_its_gates_in_valid_json(
    project: Project, lockgate: Run, text: bytes | None, said: str
) -> None:
    if text is None:
        (project.root / "reports/metrics.json").unlink()
    else:
        project.write("reports/metrics.json", text)

    result = report(lockgate)

    assert result.verdict.outcome == "failed"
    assert said in result.metrics[0].note
    assert not result.gates[0].passed
    assert said in result.gates[0].reason


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            b"\x89PNG\r\n",
            "head: reports/plots/roc.json cannot be read: byte 0 is not UTF-8; JSON, YAML and TOML files are read",
        ),
        (b"[]", "head: reports/plots/roc.json has no records with 'fpr' and 'tpr'"),
        (b'[{"fpr": "a", "tpr": 1}]', "head: 'fpr' or 'tpr' in reports/plots/roc.json is not a number everywhere"),
        (b'[{"fpr": NaN, "tpr": 1}]', "head: no point of reports/plots/roc.json is finite"),
        (None, "head: there is no reports/plots/roc.json"),
    ],
)
def test_a_plot_that_cannot_be_drawn_is_told_in_words(
    project: Project, lockgate: Run, text: bytes | None, note: str
) -> None:
    if text is None:
        (project.root / "reports/plots/roc.json").unlink()
    else:
        project.write("reports/plots/roc.json", text)

    curve = report(lockgate).curves[0]

    assert curve.head == ()
    assert curve.note.startswith(note)
    assert len(curve.base) == 51


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{}", "'tables' is missing or no list"),
        (b'{"tables": [{"table": "t"}], "success": true}', "'expectations' is missing or no int"),
        (b"not json", "cannot be read"),
        (None, "there is no reports/validation.json"),
    ],
)
def test_a_validation_file_of_another_form_fails_the_data_gate(
    project: Project, lockgate: Run, text: bytes | None, said: str
) -> None:
    if text is None:
        (project.root / "reports/validation.json").unlink()
    else:
        project.write("reports/validation.json", text)

    result = report(lockgate)

    assert result.checks is not None
    assert said in result.checks.note
    assert not next(gate for gate in result.gates if gate.rule == "data checks pass").passed


def test_failed_expectations_are_listed_critical_ones_first(project: Project, lockgate: Run) -> None:
    validation: dict[str, Any] = json.loads(json.dumps(modelled.VALIDATION))
    critical = validation["tables"][0]["results"][0]
    critical |= {"success": False, "failures": 3, "examples": ["row 1", "row 2"]}
    warning = {**critical, "severity": "warning", "rule": "carrier is known", "column": "carrier"}
    validation["tables"][0]["results"] = [warning, critical]
    project.write("reports/validation.json", json.dumps(validation))

    result = report(lockgate)

    assert result.checks is not None
    assert [(failure.severity, failure.failures) for failure in result.checks.failed] == [
        ("critical", 3),
        ("warning", 3),
    ]
    assert result.checks.failed[0].examples == ("row 1", "row 2")
    assert result.verdict.outcome == "failed"


def test_an_expectation_that_does_not_hold_in_base_either_is_marked(project: Project, lockgate: Run) -> None:
    validation: dict[str, Any] = json.loads(json.dumps(modelled.VALIDATION))
    known = validation["tables"][0]["results"][0]
    known |= {"success": False, "failures": 3, "severity": "warning"}
    project.write("reports/validation.json", json.dumps(validation))
    project.commit("a warning")
    validation["tables"][0]["results"].append({**known, "column": "carrier"})
    known["failures"] = 5
    project.write("reports/validation.json", json.dumps(validation))

    checks = report(lockgate, "--base", "HEAD").checks

    assert checks is not None
    found = [(one.column, one.failures, one.failures_base) for one in checks.failed]
    assert found == [("carrier", 3, None), ("distance", 5, 3)]


def test_a_note_that_is_true_of_base_as_well_is_no_news_and_asks_for_no_look(project: Project, lockgate: Run) -> None:
    opaque = project.read("lockgate.yaml").replace("model: delay", "model: {name: delay, opaque: true}")
    project.write("lockgate.yaml", opaque)
    project.commit("an opaque model")
    check_out(project, "better")
    project.write("lockgate.yaml", opaque)
    project.commit("the same")

    result = report(lockgate, "--base", "main", "--head", "HEAD")

    assert result.verdict.outcome == "passed"
    assert any(note.startswith("The model is opaque") for note in result.notes_of_base)
    assert result.notes == ()


def test_ten_thousand_changed_parameters_are_all_in_the_result(project: Project, lockgate: Run) -> None:
    modelled.set_params(project, **{f"p{i}": i for i in range(10_000)})

    result = report(lockgate)

    assert len(result.params) == 10_000
    assert result.verdict.outcome == "attention"


def test_names_that_are_not_utf8_still_give_a_valid_result(project: Project, lockgate: Run) -> None:
    project.stage("extra", deps=["notes"], outs=["extra.txt"], cmd="true")
    name = os.fsdecode(b"notes/\xff.py")
    project.write(name, "x")

    result = report(lockgate)

    assert [file.path for file in result.files if file.role == "code"] == ["notes/\\udcff.py"]


def test_a_broken_lock_in_head_is_refused_and_in_base_is_told(project: Project, lockgate: Run) -> None:
    lock = project.read("dvc.lock")
    project.write("dvc.lock", lock[:60])
    project.commit("broken")

    code, _, said = lockgate("report", "--head", "main", "--base", "better")
    assert code == 1
    assert "dvc.lock" in said

    result = report(lockgate, "--base", "main", "--head", "better")
    assert any(note.startswith("Base's pipeline cannot be read") for note in result.notes)
    assert result.verdict.outcome in ("attention", "failed")


# --- the command


def test_output_is_written_whole_beside_and_renamed(project: Project, lockgate: Run) -> None:
    project.write("out.json", "old")

    code, out, _ = lockgate("report", "--format", "json", "--output", "out.json")

    assert (code, out) == (0, "")
    assert read_result(project.read("out.json")).model == "delay"
    assert [path.name for path in project.root.glob(".out*")] == []


def test_output_that_cannot_be_written_is_one_clear_message(project: Project, lockgate: Run) -> None:
    code, _, said = lockgate("report", "--output", "nowhere/out.json")

    assert code == 3
    assert said.startswith("lockgate: cannot write nowhere/out.json: No such file or directory")


def test_a_device_is_written_to_and_not_replaced(project: Project, lockgate: Run) -> None:
    os.mkfifo("pipe")
    reader = subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE)

    code, _, _ = lockgate("report", "--format", "json", "--output", "pipe")

    assert code == 0
    assert read_result(reader.communicate()[0]).model == "delay"
    assert Path("pipe").is_fifo()


@pytest.mark.slow
def test_repeats_judge_both_procedures_know_each_other_again_and_leave_the_project_alone(
    project: Project, lockgate: Run
) -> None:
    check_out(project, "better")
    project.write("evaluate.py", modelled.EVALUATE + "# edited, not committed\n")
    stale = lockgate("report", "--seeds", "2")
    modelled.run(project)
    before = project.git("status", "--porcelain", "--ignored")

    result = report(lockgate, "--seeds", "2")
    trained = lockgate("report", "--seeds", "2")[2]

    assert stale[0] == 3
    assert "dvc.lock of head is not that of its files" in stale[2]
    luck = result.training
    assert luck is not None
    assert (luck.source, luck.trainings, len({*luck.base_seeds, *luck.head_seeds, 1})) == ("repeats", 4, 5)
    auc = luck.changes[0]
    assert len(set(auc.base_values)) == len(set(auc.head_values)) == 2
    assert result.metrics[0].head not in auc.head_values
    assert auc.low is not None
    assert auc.low < (auc.change or 0)
    assert min(auc.rows_error or 0, auc.base_error or 0, auc.head_error or 0) > 0
    assert trained.count("2 of 2 repeats are known from before") == 2
    assert "train.seed =" not in trained
    assert project.git("status", "--porcelain", "--ignored") == before


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (modelled.POLICY.replace("seed: train.seed\n", ""), "the policy names no seed"),
        (modelled.POLICY.replace("train.seed", "train.sed"), "the seed 'train.sed' of params.yaml does not exist"),
        (modelled.POLICY.replace("train.seed", "train.noise"), "is 1.0, not a whole number"),
        (modelled.POLICY.replace("train.seed", "other.seed"), "no stage of dvc.lock in main has 'other.seed'"),
    ],
)
def test_a_seed_that_cannot_be_varied_is_named(project: Project, lockgate: Run, policy: str, said: str) -> None:
    project.write("lockgate.yaml", policy)
    project.write("params.yaml", (project.root / "params.yaml").read_text() + "other: {seed: 1}\n")
    project.commit("the policy")

    code, _, error = lockgate("report", "--seeds", "2", "--base", "HEAD")

    assert code == 3
    assert said in error


@pytest.mark.slow
def test_a_repeat_that_fails_names_stage_side_and_seed(project: Project, lockgate: Run) -> None:
    project.write("evaluate.py", modelled.EVALUATE + "assert train['seed'] < 2\n")
    project.repro()

    code, _, error = lockgate("report", "--seeds", "2")

    assert code == 3
    assert "stage 'evaluate' failed in head with train.seed = " in error


def test_past_runs_that_differ_in_their_seed_alone_say_what_the_seed_is_worth(project: Project, lockgate: Run) -> None:
    alone = report(lockgate, "--base", "main", "--head", "better")
    for seed in (11, 12, 13):
        modelled.set_params(project, seed=seed)
        modelled.run(project)
        project.commit(f"seed {seed}")
    project.git("checkout", "-q", "-b", "better-later")
    modelled.set_params(project, seed=13, noise=0.5)
    modelled.run(project)
    project.commit("better")

    result = report(lockgate, "--base", "main", "--head", "better-later")

    assert alone.training is not None
    assert alone.training.source == "none"
    assert "luck of the seed not known" in alone.verdict.reason
    assert result.training is not None
    assert (result.training.source, result.training.trainings) == ("history", 4)
    auc, own = result.training.changes[0], result.metrics[0]
    assert auc.low is not None
    assert own.low is not None
    assert auc.low < 0 < own.low  # few past runs, little known: what was better for this model is noise
    assert "no change beyond chance: rows and seeds together" in result.verdict.reason


def test_one_seed_is_no_spread(project: Project, lockgate: Run) -> None:
    code, _, error = lockgate("report", "--seeds", "1")

    assert code == 2
    assert "shows no spread" in error
