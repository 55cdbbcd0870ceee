"""``lockgate init`` in a stranger's repository: what is proposed, that it holds, that it can be taken back."""

import gc
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.e2e import forge as forges
from tests.lockgate import two_models
from tests.lockgate.factory import Project

from lockgate import git
from lockgate.gates import NoRegression
from lockgate.policy import read_models, read_policy

Lockgate = Callable[..., tuple[int, str, str]]
PINNED = ("--pin", "a" * 40, "--no-lock")


def state(project: Project) -> str:
    return (
        project.git("status", "--porcelain")
        + project.git("rev-parse", "HEAD")
        + project.git("branch", "--show-current")
    )


def test_a_policy_is_proposed_from_what_is_there_and_the_working_tree_is_not_touched(
    stranger: Project, lockgate: Lockgate
) -> None:
    before = state(stranger)

    code, out, err = lockgate("init", "--no-push", *PINNED)

    assert code == 0, err
    assert state(stranger) == before
    policy = read_policy(stranger.git("show", "lockgate-init:lockgate.yaml"))
    (accuracy, training) = policy.metrics
    assert (accuracy.name, accuracy.better, accuracy.statistic) == ("test_accuracy", "higher", "accuracy")
    assert training.name == "train_accuracy"  # shown, but no gate asks it
    assert policy.predictions is not None
    assert (policy.predictions.key, policy.predictions.cluster) == (("id",), ("date",))
    assert policy.opaque
    assert policy.train is not None
    assert policy.train.seed == "train.seed"
    (gate,) = [gate for gate in policy.gates if isinstance(gate, NoRegression)]
    assert gate.metric == "test_accuracy"
    assert 0 < gate.margin < 0.5
    assert "churniness" in out  # whose direction nobody knows
    assert "artifacts:\n  model:\n    path: model.pkl\n" in stranger.git("show", "lockgate-init:dvc.yaml")


def test_the_description_explains_each_line_and_what_the_last_merges_would_have_got(
    stranger: Project, lockgate: Lockgate
) -> None:
    lockgate("init", "--no-push", *PINNED)

    told = stranger.git("log", "-1", "--format=%B", "lockgate-init")
    added = stranger.git("diff", "main", "lockgate-init", "--", "lockgate.yaml")
    for key in ("cluster", "label", "score", "no-regression", "metrics-present"):
        assert key in added
        assert key in told
    assert "Shift more (`#4`)" in told or "Shift more (#4)" in told
    assert "2 merged pull requests" in told


def test_a_dry_run_prints_a_patch_that_git_applies_and_makes_no_branch(
    stranger: Project, lockgate: Lockgate, tmp_path: Path
) -> None:
    _, out, _ = lockgate("init", "--dry-run", *PINNED)

    assert "lockgate-init" not in stranger.git("branch", "--all")
    (tmp_path / "change.patch").write_text(out[: out.index("\nWith this merged")])
    stranger.git("status")  # the project is a copy: git has to look at its files once
    stranger.git("apply", "--index", str(tmp_path / "change.patch"))
    lockgate("init", "--no-push", *PINNED)
    assert stranger.git("diff", "--cached", "lockgate-init") == ""


def test_run_again_it_makes_the_same_commit_and_after_the_merge_nothing(stranger: Project, lockgate: Lockgate) -> None:
    lockgate("init", "--no-push", *PINNED)
    first = stranger.git("rev-parse", "lockgate-init")

    _, again, _ = lockgate("init", "--no-push", *PINNED)
    assert "as before" in again
    assert stranger.git("rev-parse", "lockgate-init") == first

    stranger.git("merge", "-q", "lockgate-init")
    assert lockgate("init", "--no-push", *PINNED)[1] == "nothing to propose: everything is there\n"
    _, moved, _ = lockgate("init", "--no-push", "--pin", "b" * 40, "--no-lock")
    assert "lockgate-publish.yml" in moved  # the pin moves, and nothing else
    assert "lockgate.yaml" not in moved.split("open:")[0]


def test_what_was_laid_down_is_taken_back_to_the_last_byte_and_what_is_not_ours_stays(
    stranger: Project, lockgate: Lockgate
) -> None:
    before = stranger.git("ls-tree", "-r", "HEAD")
    lockgate("init", "--no-push", *PINNED)
    assert lockgate("init", "--remove")[1] == "deleted the branch lockgate-init, which was not merged\n"
    assert "lockgate-init" not in stranger.git("branch", "--all")

    lockgate("init", "--no-push", *PINNED)
    stranger.git("merge", "-q", "lockgate-init")
    stranger.write(".github/workflows/own.yml", "name: own\n")
    stranger.commit("Ours")
    code, _, err = lockgate("init", "--remove", "--no-push")

    assert code == 0, err
    gone = stranger.git("ls-tree", "-r", "lockgate-remove").splitlines()
    assert [line for line in gone if not line.endswith("/own.yml")] == before.splitlines()
    assert any(line.endswith("/own.yml") for line in gone)


@pytest.mark.parametrize("squashed", [False, True])
def test_the_artifact_that_was_added_is_taken_back_and_those_of_others_stay(
    stranger: Project, lockgate: Lockgate, squashed: bool
) -> None:
    before = stranger.read("dvc.yaml")
    lockgate("init", "--no-push", *PINNED)
    if squashed:  # with a message of somebody's own
        stranger.git("merge", "-q", "--squash", "lockgate-init")
        stranger.commit("Adopt Lockgate")
    else:
        stranger.git("merge", "-q", "lockgate-init")
    merged = stranger.git("rev-parse", "HEAD").strip()
    lockgate("init", "--remove", "--no-push")
    assert stranger.git("show", "lockgate-remove:dvc.yaml") == before
    if not squashed:  # DVCLive writes the file again, without comments
        stranger.write("dvc.yaml", stranger.read("dvc.yaml").replace("# Proposed by `lockgate init`\n", ""))
        stranger.commit("DVCLive")
        lockgate("init", "--remove", "--no-push")
        assert stranger.git("show", "lockgate-remove:dvc.yaml") == before
        stranger.git("reset", "-q", "--hard", merged)
        stranger.git("branch", "-q", "-D", "lockgate-remove")

    stranger.write("dvc.yaml", stranger.read("dvc.yaml") + "  mine:\n    path: other.pkl\n")
    stranger.commit("One more")
    code, out, err = lockgate("init", "--remove", "--no-push")
    assert code == 0, err
    assert "changed  dvc.yaml" in out
    assert stranger.git("show", "lockgate-remove:dvc.yaml") == f"{before}artifacts:\n  mine:\n    path: other.pkl\n"

    own = f"{before}artifacts:\n  model:\n    path: model.pkl\n    type: model\n"  # as init writes it, but not by init
    stranger.git("reset", "-q", "--hard", f"{merged}~1")
    stranger.git("branch", "-q", "-D", "lockgate-init", "lockgate-remove")
    stranger.write("dvc.yaml", own)
    stranger.commit("An artifact of my own")
    lockgate("init", "--no-push", *PINNED)
    stranger.git("merge", "-q", "lockgate-init")
    lockgate("init", "--remove", "--no-push")
    assert stranger.git("show", "lockgate-remove:dvc.yaml") == own


def test_figures_that_git_ignores_are_added_from_the_run_that_the_lock_records_and_are_taken_back(
    stranger: Project, lockgate: Lockgate
) -> None:
    figures = stranger.read("metrics.json")
    stranger.write(".gitignore", "/metrics.json\n")
    stranger.git("rm", "-q", "--cached", "metrics.json")
    stranger.git("add", ".gitignore")
    stranger.git("commit", "-q", "-m", "Figures are not kept")
    before = stranger.git("ls-tree", "-r", "HEAD")

    stranger.write("metrics.json", figures + " ")  # of another run than the lock's
    code, _, err = lockgate("init", "--no-push", *PINNED)
    assert code == 3
    assert (
        "git ignores it (.gitignore:1: /metrics.json): run the pipeline (`dvc repro`), `git add -f metrics.json" in err
    )

    stranger.write("metrics.json", figures)
    code, out, err = lockgate("init", "--no-push", *PINNED)
    assert code == 0, err
    assert "written  metrics.json" in out
    assert stranger.git("show", "lockgate-init:metrics.json") == figures
    (stranger.root / "metrics.json").unlink()
    stranger.git("merge", "-q", "lockgate-init")
    lockgate("init", "--remove", "--no-push")
    assert stranger.git("ls-tree", "-r", "lockgate-remove") == before


def test_a_repository_that_has_half_of_it_keeps_its_half(stranger: Project, lockgate: Lockgate) -> None:
    own = "model: mine\ntrain: {seed: train.seed, repeats: 3}\n"
    own += "metrics:\n  a: {file: metrics.json, key: test.accuracy, better: higher}\n"
    stranger.write("lockgate.yaml", own)
    stranger.write(".github/workflows/lockgate-main.yml", "name: mine\n")
    stranger.commit("Half")

    code, _, err = lockgate("init", "--no-push", *PINNED)

    assert code == 0
    assert "lockgate.yaml is there already and is left as it is" in err
    assert stranger.git("show", "lockgate-init:lockgate.yaml") == own
    assert stranger.git("show", "lockgate-init:.github/workflows/lockgate-main.yml") == "name: mine\n"
    assert "uses:" in stranger.git("show", "lockgate-init:.github/workflows/lockgate-publish.yml")
    assert "repeats: true" in stranger.git("show", "lockgate-init:.github/workflows/lockgate-repeats.yml")


def test_metrics_that_are_declared_as_an_output_like_any_other_are_found_too(
    stranger: Project, lockgate: Lockgate
) -> None:
    stranger.write(
        "dvc.yaml", stranger.read("dvc.yaml").replace("    metrics:\n    - metrics.json", "    - metrics.json")
    )
    stranger.commit()
    assert "metrics:" not in stranger.read("dvc.yaml")

    assert lockgate("init", "--no-push", *PINNED)[0] == 0
    policy = read_policy(stranger.git("show", "lockgate-init:lockgate.yaml"))
    assert [metric.file for metric in policy.metrics] == ["metrics.json"] * 2


def test_a_branch_with_somebody_elses_commit_is_left_alone(stranger: Project, lockgate: Lockgate) -> None:
    lockgate("init", "--no-push", *PINNED)
    stranger.git("checkout", "-q", "lockgate-init")
    stranger.write("lockgate.yaml", stranger.read("lockgate.yaml") + "# mine\n")
    mine = stranger.commit("Mine")
    stranger.git("checkout", "-q", "main")

    for arguments in (("--no-push", "--pin", "b" * 40, "--no-lock"), ("--remove",)):
        assert lockgate("init", *arguments)[0] == 3
        assert stranger.git("rev-parse", "lockgate-init").strip() == mine


def bare(project: Project, _: Path) -> None:
    shutil.rmtree(project.root / ".git")


def no_commit(project: Project, _: Path) -> None:
    shutil.rmtree(project.root / ".git")
    project.git("init", "-q", "-b", "main")


def no_dvc(project: Project, _: Path) -> None:
    shutil.rmtree(project.root / ".dvc")


def no_stage(project: Project, _: Path) -> None:
    project.write("dvc.yaml", "stages: {}\n")
    (project.root / "dvc.lock").unlink()
    project.commit()


def old_lock(project: Project, _: Path) -> None:
    project.write("dvc.lock", "train:\n  cmd: python train.py\n")
    project.commit()


def future_policy(project: Project, _: Path) -> None:
    project.write("lockgate.yaml", "model: m\nfederated: true\nmetrics: {}\n")
    project.commit()


def detached(project: Project, _: Path) -> None:
    project.git("checkout", "-q", "--detach")
    project.git("branch", "-q", "-D", "main")


def no_metrics(project: Project, _: Path) -> None:
    (project.root / "metrics.json").unlink()
    project.commit()


@pytest.mark.parametrize(
    "damage", [bare, no_commit, no_dvc, no_stage, old_lock, future_policy, detached, no_metrics],
    ids=lambda damage: damage.__name__,
)  # fmt: skip
def test_a_repository_that_cannot_be_proposed_to_is_told_in_one_sentence_and_nothing_is_made(
    stranger: Project, lockgate: Lockgate, tmp_path: Path, damage: Callable[[Project, Path], None]
) -> None:
    damage(stranger, tmp_path)
    files = {path: path.read_bytes() for path in stranger.root.iterdir() if path.is_file()}

    code, out, err = lockgate("init", *PINNED)

    assert code in (1, 3)
    assert out == ""
    fact, advice = err.splitlines()
    assert fact.startswith("lockgate: ")
    assert advice.strip()
    assert {path: path.read_bytes() for path in stranger.root.iterdir() if path.is_file()} == files
    if damage is not bare:
        assert "lockgate-init" not in stranger.git("for-each-ref")


def test_without_the_right_to_push_the_branch_stays_here_and_the_way_on_is_told(
    stranger: Project, lockgate: Lockgate, tmp_path: Path
) -> None:
    stranger.git("remote", "set-url", "origin", str(tmp_path / "nowhere.git"))

    code, _, err = lockgate("init", *PINNED)

    assert code == 3
    assert "fork" in err
    assert "lockgate-init" in stranger.git("branch", "--all")


def test_without_a_remote_or_a_name_for_git_the_way_on_is_told(
    stranger: Project, lockgate: Lockgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger.git("remote", "remove", "origin")
    code, out, _ = lockgate("init", *PINNED)
    assert code == 0
    assert "next: git push" in out
    assert ".github" not in stranger.git("ls-tree", "-r", "--name-only", "lockgate-init")

    stranger.git("branch", "-q", "-D", "lockgate-init")
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"):
        monkeypatch.delenv(name)
    code, _, err = lockgate("init", *PINNED)
    assert code == 3
    assert "user.name" in err
    assert "lockgate-init" not in stranger.git("for-each-ref")


def test_a_token_opens_the_pull_request_and_a_second_run_opens_no_other(
    stranger: Project, lockgate: Lockgate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with forges.running(tmp_path) as forge:
        hub = forge.repository("lab/stranger")
        stranger.git("push", "-q", str(hub), "main")
        stranger.git("config", f"url.{hub}.insteadOf", "https://github.com/lab/stranger.git")
        monkeypatch.setenv("SSL_CERT_FILE", str(forge.certificate))
        monkeypatch.setenv("GITHUB_API_URL", f"{forge.address}/api/v3")
        monkeypatch.setenv("GITHUB_TOKEN", forge.token({"pull-requests": "write", "contents": "write"}))
        for _ in range(2):
            code, out, err = lockgate("init", *PINNED)
            assert code == 0, err
            assert "/lab/stranger/pull/" in out
        (pull,) = forge.pulls.values()
        assert (pull["branch"], pull["into"]) == ("lockgate-init", "main")
        assert "## Each line, and why" in pull["body"]


def test_on_another_forge_what_works_there_and_what_does_not_is_said(stranger: Project, lockgate: Lockgate) -> None:
    stranger.git("remote", "set-url", "origin", "https://gitlab.com/group/sub/model.git")

    code, out, _ = lockgate("init", "--no-push", "--no-lock", "--no-history")

    assert code == 0
    assert ".github" not in out
    assert "The repository is on GitLab: there are workflows for GitHub alone, so none is proposed" in out
    assert "`lockgate ci pull-request --base origin/BRANCH --into handover`" in out
    assert "on GitLab" in stranger.git("log", "-1", "--format=%B", "lockgate-init")


def test_the_branch_is_pushed_and_a_second_run_pushes_nothing_new(
    stranger: Project, lockgate: Lockgate, tmp_path: Path
) -> None:
    stranger.git("init", "-q", "--bare", str(tmp_path / "origin.git"))
    stranger.git("remote", "set-url", "origin", str(tmp_path / "origin.git"))

    code, out, err = lockgate("init", *PINNED)
    assert code == 0, err
    assert "GitHub alone" in out  # no workflow for a forge that has none
    pushed = stranger.git("ls-remote", "origin", "lockgate-init").split()[0]
    assert pushed == stranger.git("rev-parse", "lockgate-init").strip()
    assert lockgate("init", *PINNED)[0] == 0


def test_a_metric_of_unknown_direction_is_named_on_the_command_line(stranger: Project, lockgate: Lockgate) -> None:
    assert lockgate("init", "--better", "churnines=lower", *PINNED)[0] == 2
    assert lockgate("init", "--no-push", "--better", "churniness=lower", *PINNED)[0] == 0
    policy = read_policy(stranger.git("show", "lockgate-init:lockgate.yaml"))
    assert policy.metric("churniness").better == "lower"


def test_a_command_leaves_no_process_of_git_behind_and_those_of_its_caller_alone(
    stranger: Project, lockgate: Lockgate, tmp_path: Path
) -> None:
    def readers() -> set[int]:
        return {one.pid for one in psutil.Process().children() if "cat-file" in one.cmdline()}

    lockgate("init", "--no-push", *PINNED)
    stranger.git("merge", "-q", "lockgate-init")
    stranger.write("params.yaml", stranger.read("params.yaml").replace("0.021", "0.022"))
    stranger.commit("Change")
    git.end_readers()
    mine = git.snapshot(stranger.root, "HEAD")
    assert mine.read("dvc.yaml")
    own = readers()
    gc.disable()
    try:
        code, _, said = lockgate("ci", "pull-request", "--base", "HEAD~1", "--into", str(tmp_path / "left"))
        left = readers()
    finally:
        gc.enable()

    assert code in (0, 1), said
    assert left == own
    assert own
    assert mine.read("params.yaml")


def test_a_project_in_a_folder_gets_workflows_that_name_it_and_they_are_taken_back(
    tmp_path: Path, lockgate: Lockgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project.create(tmp_path / "repo/ml/delay", repository=tmp_path / "repo")
    project.git("remote", "add", "origin", "https://github.com/lab/model.git")
    project.write("metrics.json", '{"accuracy": 0.5}')
    project.stage("evaluate", deps=["stage.sh"], metrics=[{"metrics.json": {"cache": False}}], cmd="true")
    project.commit("a pipeline")
    monkeypatch.chdir(project.root)

    code, out, err = lockgate("init", "--no-push", "--no-history", *PINNED)

    assert code == 0, out + err
    added = project.git("diff", "--name-only", "main", "lockgate-init").split()
    assert {name for name in added if name.startswith(".github")} == {
        f".github/workflows/lockgate-ml-delay-{name}.yml" for name in ("pull-request", "publish", "main")
    }
    assert "ml/delay/lockgate.yaml" in added
    assert "project: ml/delay" in project.git("show", "lockgate-init:.github/workflows/lockgate-ml-delay-main.yml")
    project.git("merge", "-q", "lockgate-init")
    project.git("branch", "-D", "lockgate-init")
    _, shown, _ = lockgate("init", "--remove", "--dry-run")
    (tmp_path / "remove.patch").write_text(shown[shown.index("--- a/") :])
    project.git("-C", str(tmp_path / "repo"), "apply", "--check", str(tmp_path / "remove.patch"))
    assert "--- a/.github/workflows/lockgate-ml-delay-publish.yml" in shown


def test_several_pipelines_with_metrics_are_proposed_as_several_models(
    tmp_path: Path, lockgate: Lockgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    project = Project.create(tmp_path / "project")
    monkeypatch.chdir(project.root)
    two_models.make(project)
    (project.root / "lockgate.yaml").unlink()
    project.commit("no policy yet")
    two_models.set_params(project, "arrivals", noise=0.9)
    two_models.run(project)
    project.commit("less noise")

    code, out, err = lockgate("init", "--no-push", *PINNED)

    assert code == 0, out + err
    models = read_models(project.git("show", "lockgate-init:lockgate.yaml"))
    assert models.names == (two_models.ARRIVALS, two_models.RISK)
    for one in models.policies:
        assert [metric.statistic for metric in one.metrics] == ["roc_auc"]
        assert one.predictions is not None
        assert any(isinstance(gate, NoRegression) and 0 < gate.margin < 0.1 for gate in one.gates)
    assert "arrivals: better" in out  # what the last commits would have got
    project.git("merge", "-q", "lockgate-init")
    assert "problem  policy" not in lockgate("doctor")[1]
