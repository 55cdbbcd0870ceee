import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.lockgate.factory import Project

from lockgate.dvc import stages as reproduction
from lockgate.dvc.objects import Cache
from lockgate.dvc.pipeline import read_state
from lockgate.evaluation import run
from lockgate.git import Workspace
from lockgate.result import Result, read_result

Lockgate = Callable[..., tuple[int, str, str]]

LR = {"prepare": {"share": 0.2}, "train": {"lr": 0.05, "depth": 3}}
POLICY = "model: m\nmetrics:\n  n: {file: reports/metrics.json, key: n, better: higher}\n"
SOURCE = str(Path(run.__file__).parents[2])


def statuses(result: Result) -> dict[str, str]:
    assert result.execution is not None
    return {stage.name: stage.status for stage in result.execution.stages}


def with_policy(project: Project) -> Project:
    project.write("lockgate.yaml", POLICY)
    project.commit("policy")
    return project


def start(project: Project, *arguments: str) -> "subprocess.Popen[str]":
    """Start lockgate in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "lockgate", "run", *arguments],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": SOURCE},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def slow_train(project: Project) -> Path:
    """Let stage train say its process id and then wait, until there is a file ``go``."""
    script = "set -e\necho $$ > pid\necho thinking hard\nwhile ! test -e go; do sleep 0.05; done\nsh stage.sh train\n"
    project.write("slow.sh", script)
    project.write(".gitignore", "/pid\n/go\n")
    project.stages["train"]["cmd"] = "sh slow.sh"
    project.save()
    return project.root / "pid"


def wait_for(path: Path, process: "subprocess.Popen[str]") -> int:
    """Wait until a stage has written its process id; return the number that the same process has out here."""
    while not (path.exists() and path.read_text().strip()):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)  # polls a file that another process writes
    inside = path.read_text().strip()
    for entry in Path("/proc").iterdir():
        with suppress(OSError, StopIteration):
            if (entry / "cwd").readlink() == path.parent and (entry / "cmdline").read_text() == "sh\0slow.sh\0":
                numbers = next(line for line in (entry / "status").read_text().splitlines() if "NSpid" in line).split()
                if numbers[-1] == inside:
                    return int(entry.name)
    raise AssertionError(f"no process is number {inside} of a namespace")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def clean_run(project: Project, tmp_path: Path) -> str:
    """Return the lock of a run of the same project that nothing disturbed."""
    other = tmp_path / "undisturbed" / "project"
    shutil.copytree(project.root, other, ignore=shutil.ignore_patterns("tmp", "pid"), symlinks=True)
    shutil.copytree(project.remote, tmp_path / "undisturbed" / "remote")
    (other / "go").touch()
    done = subprocess.run(
        [sys.executable, "-m", "lockgate", "run"],
        cwd=other,
        env={**os.environ, "PYTHONPATH": SOURCE},
        check=True,
        capture_output=True,
    )
    assert done.returncode == 0
    return (other / "dvc.lock").read_text()


def test_only_what_changed_runs_and_the_rest_is_left_alone(ran: Project, lockgate: Lockgate) -> None:
    ran.write_params(LR)

    code, out, err = lockgate("run")

    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[:4]] == [
        ["ingest", "up"],
        ["prepare", "up"],
        ["train", "ran"],
        ["evaluate", "up"],
    ]
    assert "] train: train.lr 0.1 → 0.05" in err
    assert "[3/4 " in err
    assert "> sh stage.sh train" in err
    assert ran.lock()["train"]["params"] == {"params.yaml": {"train.depth": 3, "train.lr": 0.05}}
    assert lockgate("plan")[1].startswith("Nothing to run")


def test_a_second_run_does_nothing_and_does_not_even_ask_dvc(
    ran: Project, lockgate: Lockgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "run_stages", lambda *_, **__: pytest.fail("DVC was asked"))

    code, out, _ = lockgate("run")

    assert code == 0
    assert out.count("up to date") == 4


def test_a_change_that_is_taken_back_is_taken_from_the_run_cache(ran: Project, lockgate: Lockgate) -> None:
    before = ran.read("dvc.lock"), ran.read("params.yaml")
    ran.write_params(LR)
    lockgate("run")
    ran.write("params.yaml", before[1])

    _, out, _ = lockgate("run")

    assert "train     taken from the run cache" in out
    assert ran.read("dvc.lock") == before[0]


def test_a_fresh_clone_pulls_what_the_changed_stages_need_and_counts_it(
    ran: Project, lockgate: Lockgate, tmp_path: Path
) -> None:
    with_policy(ran)
    ran.forget()
    ran.write_params(LR)

    code, out, _ = lockgate("run", "--json")

    result = read_result(out)
    assert code == 0
    assert statuses(result) == {"ingest": "untouched", "prepare": "untouched", "train": "ran", "evaluate": "untouched"}
    assert not (ran.root / "data/raw.csv").exists()
    assert not (ran.root / "data/table").exists()
    state = read_state(Workspace(ran.root))
    cache = Cache.of(ran.root)
    made = state.lock.stages["train"].outs["models/model.bin"].digest
    objects = {path.parent.name + path.name: path for path in cache.folder.glob("files/md5/*/*")}
    runs = [
        path for path in (cache.folder / "runs").glob("*/*/*") if (ran.remote / path.relative_to(cache.folder)).exists()
    ]
    expected = sum(path.stat().st_size for digest, path in objects.items() if digest != made)
    assert result.execution is not None
    assert result.execution.stages[2].pulled == expected > 0
    assert result.execution.pulled == expected + sum(path.stat().st_size for path in runs)
    assert result.execution.tracked == state.lock.tracked_bytes() + 8


def test_a_complete_run_pulls_every_output_and_runs_nothing(ran: Project, lockgate: Lockgate) -> None:
    ran.forget()

    code, out, _ = lockgate("run", "--complete")

    assert code == 0
    assert out.count("up to date") == 4
    assert "pulled" in out.splitlines()[0]
    assert (ran.root / "data/table").exists()
    assert (ran.root / "models/model.bin").exists()


def test_a_complete_run_makes_again_what_the_remote_does_not_have(ran: Project, lockgate: Lockgate) -> None:
    with_policy(ran)
    before = ran.read("dvc.lock")
    digest = ran.lock()["train"]["outs"][0]["md5"]
    (ran.remote / "files/md5" / digest[:2] / digest[2:]).unlink()
    shutil.rmtree(ran.remote / "runs")
    ran.forget()

    code, out, _ = lockgate("run", "--complete", "--json")

    assert code == 0
    assert statuses(read_result(out))["train"] == "ran"
    assert statuses(read_result(out))["ingest"] == "untouched"
    assert (ran.root / "models/model.bin").exists()
    assert ran.read("dvc.lock") == before


def test_a_failing_stage_is_named_with_the_end_of_its_log_and_the_next_run_goes_on(
    ran: Project, lockgate: Lockgate
) -> None:
    ran.write("src/prepare.py", "changed")
    ran.stages["train"]["cmd"] = "echo almost there && echo no memory left >&2 && false"
    ran.save()

    code, out, err = lockgate("run")

    assert code == 1
    assert "train     failed" in out
    assert "evaluate  not reached" in out
    assert "lockgate: stage 'train' failed; the end of its log:" in err
    assert "  | no memory left\n" in err
    assert "lockgate run" in err.splitlines()[-1]

    ran.stages["train"]["cmd"] = "sh stage.sh train"
    ran.save()
    code, out, _ = lockgate("run")
    assert code == 0
    assert "prepare   up to date" in out


def test_a_failed_run_still_writes_a_result_that_says_so(ran: Project, lockgate: Lockgate) -> None:
    with_policy(ran)
    ran.stages["train"]["cmd"] = "echo no memory left; false"
    ran.save()

    code, _, err = lockgate("run", "--output", "result.json")

    result = read_result(ran.read("result.json"))
    assert code == 1
    assert "stage 'train' failed" in err
    assert (result.verdict.outcome, result.verdict.reason) == ("failed", "stage train failed")
    assert statuses(result) == {
        "ingest": "untouched",
        "prepare": "untouched",
        "train": "failed",
        "evaluate": "not reached",
    }
    assert result.execution is not None
    assert result.execution.failed_stage == "train"
    assert "no memory left" in result.execution.log
    assert (result.metrics, result.gates, result.slices, result.curves, result.checks) == ((), (), (), (), None)
    assert not [one for one in result.files if one.role == "output"]


def test_a_stage_that_does_not_write_what_it_declares_fails_and_is_not_recorded(
    ran: Project, lockgate: Lockgate
) -> None:
    ran.stages["train"]["outs"].append("models/extra.bin")
    ran.save()
    ran.write("spec/train.outs", "models/model.bin\n")

    code, _, err = lockgate("run")

    assert code == 1
    assert "models/extra.bin" in err
    assert [out["path"] for out in ran.lock()["train"]["outs"]] == ["models/model.bin"]


def test_a_stage_that_declares_a_new_output_runs_though_bare_dvc_passes_over_it(
    ran: Project, lockgate: Lockgate
) -> None:
    ran.stages["train"]["outs"].append("models/extra.bin")
    ran.save()
    assert ran.repro() == ([], None)

    code, out, _ = lockgate("run")

    assert code == 0
    assert "train     ran" in out
    assert [item["path"] for item in ran.lock()["train"]["outs"]] == ["models/extra.bin", "models/model.bin"]


def test_a_stage_that_needs_nothing_runs_when_it_is_new(project: Project, lockgate: Lockgate) -> None:
    project.stage("download", outs=["raw"])

    assert lockgate("run")[0] == 0
    assert (project.root / "raw").exists()


def test_a_folder_is_pulled_whole_where_another_stage_reads_it(project: Project, lockgate: Lockgate) -> None:
    project.write("raw/f", "1")
    project.write("raw/g", "2")
    project.add("raw")
    project.write("code.py", "1")
    project.stage("one", deps=["raw/f", "code.py"], outs=["out/one"])
    project.stage("all", deps=["raw"], outs=["out/all"])
    assert project.repro()[1] is None
    project.push()
    project.forget()
    before = project.lock()["all"]
    project.write("code.py", "2")

    code, out, _ = lockgate("run")

    assert code == 0
    assert "all  up to date" in out
    assert project.lock()["all"] == before


def test_what_a_stage_reads_is_pulled_at_once(project: Project, lockgate: Lockgate) -> None:
    for name in ("a", "b", "c"):
        project.write(f"raw/{name}", name)
        project.add(f"raw/{name}")
    project.write("code.py", "1")
    project.stage("join", deps=["raw/a", "raw/b", "raw/c", "code.py"], outs=["out/joined"])
    assert project.repro()[1] is None
    project.push()
    project.forget()
    project.write("code.py", "2")
    # what the child says of each call that pulls, beside what it prints of stages
    project.write(
        "sitecustomize.py",
        "from dvc.data_cloud import DataCloud\n"
        "from dvc.repo import Repo\n"
        "pull = DataCloud.pull\n"
        "def told(self, objs, **options):\n"
        "    print('pulling', len(objs), flush=True)\n"
        "    return pull(self, objs, **options)\n"
        "DataCloud.pull = told\n"
        "Repo.pull = lambda self, targets, **_: print('pulling', targets, flush=True)\n",
    )

    done = subprocess.run(
        [sys.executable, "-m", "lockgate", "run"],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(project.root), SOURCE])},
        capture_output=True,
        text=True,
        check=True,
    )

    assert [line for line in done.stderr.splitlines() if line.startswith("pulling")] == ["pulling 3"]
    assert (project.root / "out/joined").exists()


def test_data_that_is_nowhere_fails_the_stage_that_needs_it_by_name(ran: Project, lockgate: Lockgate) -> None:
    ran.forget()
    shutil.rmtree(ran.remote)
    ran.remote.mkdir()
    ran.write_params(LR)

    code, _, err = lockgate("run")

    assert code == 1
    assert "stage 'train' failed" in err
    assert "data/ready" in err


def test_a_project_without_a_remote_runs(ran: Project, lockgate: Lockgate) -> None:
    ran.write(".dvc/config", "")
    ran.write_params(LR)
    assert lockgate("run")[0] == 0
    ran.git("checkout", "-q", "params.yaml", "dvc.lock")
    ran.write("src/evaluate.py", "changed")

    assert lockgate("run")[0] == 0


def test_stages_of_subfolders_run_too(project: Project, lockgate: Lockgate) -> None:
    project.stage("top", outs=["a"])
    project.write("sub/dvc.yaml", "stages:\n  s:\n    cmd: cp ../a b\n    deps: [../a]\n    outs: [b]\n")

    code, out, _ = lockgate("run")

    assert code == 0
    assert (project.root / "sub/b").exists()
    assert "sub/dvc.yaml:s  ran" in out


def test_a_command_inherits_neither_our_pipes_nor_our_input(project: Project, lockgate: Lockgate) -> None:
    project.stage("s", cmd="cd /proc/self/fd && readlink 0 $(ls | grep -v '^[012]$') > $DVC_ROOT/x || true", outs=["x"])

    assert lockgate("run")[0] == 0
    assert project.read("x") == "/dev/null\n"


def test_commands_find_the_python_of_this_environment(project: Project, lockgate: Lockgate) -> None:
    project.stage("s", cmd="python -c 'import sys; print(sys.executable)' > x", outs=["x"])

    assert lockgate("run")[0] == 0
    assert Path(project.read("x").strip()).parent == Path(sys.executable).parent


def test_a_dry_run_shows_the_plan_and_runs_nothing(ran: Project, lockgate: Lockgate) -> None:
    ran.write_params(LR)
    before = ran.read("dvc.lock")

    code, out, _ = lockgate("run", "--dry-run")

    assert code == 0
    assert out == lockgate("plan")[1]
    assert ran.read("dvc.lock") == before


def test_the_text_at_the_end_is_the_report(ran: Project, lockgate: Lockgate) -> None:
    with_policy(ran)
    ran.write_params(LR)

    code, out, _ = lockgate("run", "--output", "result.json")

    assert code == 0
    from lockgate.rendering.render import render

    assert out == render(read_result(ran.read("result.json")), "text")


# --- from a base


@pytest.fixture
def branch(ran: Project) -> Project:
    """A branch whose author changed a parameter and committed the lock that came out."""
    with_policy(ran)
    ran.git("checkout", "-q", "-b", "feature")
    ran.write_params(LR)
    assert ran.repro()[1] is None
    ran.commit("lr")
    return ran


def lock_status(lockgate: Lockgate) -> tuple[str, tuple[str, ...]]:
    code, out, err = lockgate("run", "--base", "main", "--json")
    assert code == 0, err
    found = read_result(out).lock
    return found.status, found.stages


def test_an_honest_lock_is_reproduced_by_running_again(branch: Project, lockgate: Lockgate) -> None:
    author = branch.read("dvc.lock")
    shutil.rmtree(branch.root / ".dvc/cache/runs")

    code, out, _ = lockgate("run", "--base", "main", "--json")

    result = read_result(out)
    assert code == 0
    assert statuses(result)["train"] == "ran"
    assert result.lock.status == "reproduced"
    assert branch.read("dvc.lock") == author


def test_an_author_without_a_lock_gets_one_written(branch: Project, lockgate: Lockgate) -> None:
    author = branch.read("dvc.lock")
    branch.git("checkout", "-q", "main", "--", "dvc.lock")
    branch.commit("only the parameter")

    assert lock_status(lockgate) == ("written", ())
    assert branch.read("dvc.lock") == author


def test_a_forged_output_hash_is_found_out_and_its_stage_named(branch: Project, lockgate: Lockgate) -> None:
    lock = branch.lock()
    digest = "0123456789abcdef0123456789abcdef"
    for entry in (lock["train"]["outs"][0], lock["evaluate"]["deps"][1]):
        entry["md5"] = digest
    branch.write_lock(lock)
    (branch.root / "models/model.bin").unlink()
    branch.commit("forged")

    status, stages = lock_status(lockgate)

    assert status == "differs"
    assert stages == ("train",)
    assert branch.lock()["train"]["outs"][0]["md5"] != digest


def test_a_broken_lock_of_the_author_is_no_obstacle_and_of_the_base_means_from_nothing(
    branch: Project, lockgate: Lockgate
) -> None:
    branch.write("dvc.lock", "<<<<<<< ours\n")
    assert lock_status(lockgate) == ("written", ())

    branch.git("checkout", "-q", "main")
    branch.write("dvc.lock", "<<<<<<< ours\n")
    branch.commit("broken main")
    branch.git("checkout", "-q", "feature")
    assert lock_status(lockgate)[0] in ("reproduced", "written")


def test_the_authors_lock_is_put_back_when_a_stage_fails(branch: Project, lockgate: Lockgate) -> None:
    branch.write("dvc.lock", branch.read("dvc.lock") + "# not committed anywhere\n")
    author = branch.read("dvc.lock")
    branch.stages["train"]["cmd"] = "false"
    branch.save()

    code, _, err = lockgate("run", "--base", "main", "--output", "result.json")

    assert code == 1
    assert "stage 'train' failed" in err
    assert branch.read("dvc.lock") == author
    assert read_result(branch.read("result.json")).verdict.outcome == "failed"


# --- disturbed


@pytest.mark.slow
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_names_the_stage_leaves_no_process_and_can_be_continued(
    ran: Project, tmp_path: Path, lockgate: Lockgate, which: signal.Signals
) -> None:
    ran.write("src/prepare.py", "changed")
    pid_file = slow_train(ran)
    process = start(ran)
    pid = wait_for(pid_file, process)

    process.send_signal(which)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 3
    assert out == ""
    assert "lockgate: interrupted in stage 'train'; the end of its log:" in err
    assert "  | thinking hard\n" in err
    assert not is_alive(pid)

    expected = clean_run(ran, tmp_path)
    (ran.root / "go").touch()
    code, out, _ = lockgate("run")
    assert code == 0
    assert "prepare   up to date" in out
    assert ran.read("dvc.lock") == expected


@pytest.mark.slow
def test_a_killed_run_takes_its_stage_along_and_the_next_run_equals_a_clean_one(
    ran: Project, tmp_path: Path, lockgate: Lockgate
) -> None:
    pid_file = slow_train(ran)
    process = start(ran)
    pid = wait_for(pid_file, process)

    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)  # polls for the end of a process that is nobody's child
    assert not is_alive(pid)

    expected = clean_run(ran, tmp_path)
    (ran.root / "go").touch()
    code, _, err = lockgate("run")
    assert code == 0, err
    assert ran.read("dvc.lock") == expected


@pytest.mark.slow
def test_after_a_kill_the_next_run_puts_the_authors_lock_back(branch: Project, lockgate: Lockgate) -> None:
    branch.write("dvc.lock", branch.read("dvc.lock") + "# not committed anywhere\n")
    author = branch.read("dvc.lock")
    pid_file = slow_train(branch)
    process = start(branch, "--base", "main")
    wait_for(pid_file, process)
    process.kill()
    process.communicate(timeout=60)
    assert branch.read("dvc.lock") != author

    code, _, err = lockgate("run", "--dry-run")

    assert code == 0
    assert "A killed run left dvc.lock changed: it is as before again" in err
    assert branch.read("dvc.lock") == author
    assert (branch.root / ".dvc/tmp/lockgate/replaced/dvc.lock").exists()


def test_files_that_a_dead_run_had_in_use_are_free_though_nobody_waited_for_its_process(
    ran: Project, lockgate: Lockgate
) -> None:
    zombie = subprocess.Popen(["true"])
    while is_alive(zombie.pid):
        time.sleep(0.01)  # polls for the end of a process without waiting for it
    user = {"pid": zombie.pid, "cmd": reproduction.NAME}
    blocked = str(ran.root / "models/model.bin")
    ran.write(".dvc/tmp/rwlock", json.dumps({"write": {blocked: user}, "read": {str(ran.root / "data/ready"): [user]}}))
    ran.write_params(LR)

    code, _, err = lockgate("run")
    zombie.wait()

    assert code == 0, err


def test_notes_of_dvc_that_a_kill_cut_short_are_no_obstacle(ran: Project, lockgate: Lockgate) -> None:
    ran.write(".dvc/tmp/rwlock", '{"write": {"a')
    ran.write_params(LR)

    assert lockgate("run")[0] == 0


def test_two_runs_at_once_are_refused(ran: Project, lockgate: Lockgate) -> None:
    pid_file = slow_train(ran)
    process = start(ran)
    wait_for(pid_file, process)

    code, _, err = lockgate("run")
    (ran.root / "go").touch()
    process.communicate(timeout=60)

    assert code == 3
    assert "another `lockgate run` is running" in err
    assert process.returncode == 0


def test_a_dvc_at_work_elsewhere_is_said(ran: Project, lockgate: Lockgate, monkeypatch: pytest.MonkeyPatch) -> None:
    import zc.lockfile

    (ran.root / ".dvc/tmp").mkdir(exist_ok=True)
    held: Any = zc.lockfile.LockFile(str(ran.root / ".dvc/tmp/lock"))
    ran.write_params(LR)
    try:
        code, _, err = lockgate("run")
    finally:
        held.close()

    assert code == 3
    assert "Unable to acquire lock" in err
    assert "Wait for the other DVC process" in err
