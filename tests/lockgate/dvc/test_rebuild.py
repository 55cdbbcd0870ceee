"""A rebuild believes nothing but the source: real git and DVC, a throw-away project, each lie told to DVC in turn."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from tests.lockgate.factory import Project, chain, working_in_a_copy

from lockgate.dvc.objects import content_digest
from lockgate.dvc.rebuild import rebuild
from lockgate.errors import LockgateError

Lockgate = Callable[..., tuple[int, str, str]]
POLICY = "model: other\nmetrics:\n  auc: {file: reports/metrics.json, key: auc, better: higher}\n"
ARTIFACT = "artifacts:\n  delay: {path: models/model.bin, type: model}\n"


@pytest.fixture(scope="module")
def honest(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of four stages whose lock, cache and remote tell the truth, committed."""
    folder = tmp_path_factory.mktemp("honest")
    with working_in_a_copy(template, folder) as project:
        chain(project)
        with (project.root / "dvc.yaml").open("a") as file:
            file.write(ARTIFACT)
        ran, error = project.repro()
    assert (len(ran), error) == (4, None)
    project.push()
    project.commit("an honest lock")
    return folder


@pytest.fixture
def project(honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    shutil.copytree(honest, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "project")
    return Project(tmp_path / "project", yaml.safe_load((tmp_path / "project/dvc.yaml").read_text())["stages"])


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where clones are made: nothing may be left in it."""
    folder = tmp_path / "places"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def relock(project: Project, stage: str, path: str, content: bytes) -> None:
    """Forge: the lock and the cache say that ``stage`` made ``content``."""
    digest = content_digest(content)
    project.write(f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}", content)
    stages = project.lock()
    for entry in stages.values():
        for record in [*entry.get("outs", []), *entry.get("deps", [])]:
            if record["path"] == path:
                record.update(md5=digest, size=len(content))
    project.write_lock(stages)


def running(*command: str) -> list[int]:
    """Return the processes of this machine that are that command."""
    found = []
    for process in (path for path in Path("/proc").iterdir() if path.name.isdigit()):
        with suppress(FileNotFoundError, ProcessLookupError):
            if (process / "cmdline").read_text().rstrip("\0").split("\0") == list(command):
                found.append(int(process.name))
    return found


def ran(stderr: str) -> list[str]:
    return [line.split("] ")[1].split(":")[0] for line in stderr.splitlines() if ": ran, " in line]


def test_an_honest_lock_is_confirmed_and_nothing_is_touched(project: Project, places: Path, lockgate: Lockgate) -> None:
    before = files_below(project.root / ".dvc/cache"), files_below(project.remote)
    code, out, err = lockgate("rebuild")
    assert code == 0, err
    assert ran(err) == ["ingest", "prepare", "train", "evaluate"]
    assert "4 of 4 outputs are the same, byte for byte; 1 fetched to start from, hashes verified." in out
    rows = {line.split("  ")[0]: line for line in out.splitlines()}
    assert rows["data/raw.csv"].endswith("fetched")
    assert "(source data)" in rows["data/raw.csv"]
    assert rows["models/model.bin"].endswith("yes")
    assert (files_below(project.root / ".dvc/cache"), files_below(project.remote)) == before
    assert project.git("status", "--porcelain") == ""
    assert list(places.iterdir()) == []


def test_json_names_every_output_with_both_hashes(project: Project, lockgate: Lockgate) -> None:
    code, out, _ = lockgate("rebuild", "--json", "main")
    content = json.loads(out)
    assert (code, content["schema"], content["level"], content["ok"]) == (0, "lockgate.rebuild/1", "full", True)
    assert content["commit"] == project.git("rev-parse", "HEAD").strip()
    model = next(out for out in content["outputs"] if out["path"] == "models/model.bin")
    (locked,) = project.lock()["train"]["outs"]
    assert model["stage"] == "train"
    assert model["locked"] == model["rebuilt"] == locked["md5"]
    assert model["locked_size"] == model["rebuilt_size"] == locked["size"]


def test_a_forged_output_that_dvc_believes_is_named_with_stage_and_sizes(project: Project, lockgate: Lockgate) -> None:
    relock(project, "train", "models/model.bin", b"a model from nowhere")
    (project.root / "models/model.bin").unlink()
    project.write("models/model.bin", b"a model from nowhere")
    project.commit("forged")
    assert project.repro() == ([], None)  # DVC calls it up to date
    code, out, err = lockgate("rebuild")
    assert code == 1
    assert "differs, first in stage 'train': models/model.bin" in err
    assert "20 bytes in dvc.lock" in err
    assert "9 bytes rebuilt" in err
    row = next(line for line in out.splitlines() if line.startswith("models/model.bin"))
    assert "20 → 9" in row
    assert row.endswith("NO")


def test_a_poisoned_run_cache_is_not_used(project: Project, lockgate: Lockgate) -> None:
    """``dvc repro`` of a fresh clone takes the poisoned entry; a rebuild of the honest lock still succeeds."""
    poison = b"poisoned"
    digest = content_digest(poison)
    (locked,) = project.lock()["train"]["outs"]
    for folder in (project.root / ".dvc/cache", project.remote):
        target = folder / "files/md5" / digest[:2] / digest[2:]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(poison)
        for entry in (folder / "runs").rglob("*"):
            if entry.is_file():
                entry.chmod(0o644)
                entry.write_text(entry.read_text().replace(locked["md5"], digest))
    code, out, err = lockgate("rebuild")
    assert code == 0, err
    assert "4 of 4 outputs are the same" in out


def test_the_first_stage_that_differs_is_blamed_not_those_after_it(project: Project) -> None:
    project.stages["prepare"]["cmd"] = "sh stage.sh prepare; cat /proc/sys/kernel/random/uuid > data/ready/one"
    project.save()
    project.repro()
    project.commit("a random number in prepare")
    done = rebuild(project.root, "HEAD", "full")
    assert not done.ok
    assert {out.stage for out in done.differing} >= {"prepare", "train"}
    assert "first in stage 'prepare': data/ready" in str(done.difference())


def test_a_metric_that_git_holds_but_the_stage_no_longer_writes_is_found_out(project: Project) -> None:
    project.stages["evaluate"]["metrics"] = [{"reports/metrics.json": {"cache": False, "persist": True}}]
    project.save()
    project.repro()
    project.write("spec/evaluate.outs", "reports/other\n")  # no declared dependency, so DVC does not notice
    project.commit("metrics come from nowhere")
    with pytest.raises(LockgateError, match=r"stage 'evaluate' failed in the clone: .*metrics.json.* not exist"):
        rebuild(project.root, "HEAD", "full")


@pytest.mark.parametrize("level", ["full", "train", "none"])
def test_a_lock_that_is_behind_its_code_is_refused_naming_the_stage(project: Project, level: str) -> None:
    project.write("src/train.py", "# other\n")
    project.commit("the lock was forgotten")
    with pytest.raises(LockgateError, match=r"stage 'train' would run again \(code src/train.py changed\)"):
        rebuild(project.root, "HEAD", level)  # type: ignore[arg-type]


def test_a_changed_parameter_a_changed_report_and_a_missing_entry_are_refused_too(project: Project) -> None:
    project.write_params({"prepare": {"share": 0.3}, "train": {"lr": 0.1, "depth": 3}})
    project.commit()
    with pytest.raises(LockgateError, match=r"stage 'prepare' would run again \(prepare.share 0.2 → 0.3\)"):
        rebuild(project.root, "HEAD", "none")
    project.git("checkout", "-q", "HEAD~1", "--", "params.yaml")
    project.write("reports/metrics.json", '{"auc": 1}')
    project.commit()
    with pytest.raises(
        LockgateError, match=r"stage 'evaluate' would run again \(output reports/metrics.json changed\)"
    ):
        rebuild(project.root, "HEAD", "none")
    project.git("checkout", "-q", "HEAD~2", "--", "reports/metrics.json")
    stages = project.lock()
    del stages["train"]
    project.write_lock(stages)
    project.commit()
    with pytest.raises(LockgateError, match=r"stage 'train' would run again \(new stage\)"):
        rebuild(project.root, "HEAD", "none")


def test_an_absent_lock_and_an_uncommitted_one_are_refused(project: Project, lockgate: Lockgate) -> None:
    project.write("dvc.lock", project.read("dvc.lock") + "# mine\n")
    code, _, err = lockgate("rebuild")
    assert code == 1
    assert "dvc.lock has uncommitted changes" in err
    assert lockgate("rebuild", "HEAD", "--level", "none")[0] == 0
    (project.root / "dvc.lock").unlink()
    project.commit("no lock")
    code, _, err = lockgate("rebuild")
    assert code == 1
    assert "has no dvc.lock: there is nothing to compare a rebuild with" in err


def test_the_commit_is_rebuilt_not_the_working_tree(project: Project, lockgate: Lockgate) -> None:
    first = project.git("rev-parse", "HEAD").strip()
    project.write("src/train.py", "# not committed\n")
    code, _, err = lockgate("rebuild", "--level", "none")
    assert code == 0
    assert "without your uncommitted changes (src/train.py)" in err
    project.commit("the lock was forgotten")
    assert lockgate("rebuild", "--level", "none")[0] == 1
    assert lockgate("rebuild", first, "--level", "none")[0] == 0


def test_from_the_model_on_only_the_model_and_what_follows_is_run(project: Project, lockgate: Lockgate) -> None:
    code, out, err = lockgate("rebuild", "--level", "train")
    assert code == 0, err
    assert ran(err) == ["train", "evaluate"]
    rows = {line.split("  ")[0]: line for line in out.splitlines()}
    assert [rows[path].split()[-1] for path in ("data/ready", "models/model.bin")] == ["fetched", "yes"]
    assert rows["data/table"].endswith("not run")
    assert "rebuilt from the locked inputs of the model's stage" in out


def test_which_stage_makes_the_model_must_be_clear(project: Project) -> None:
    project.save()  # dvc.yaml without its artifact
    project.commit()
    with pytest.raises(LockgateError, match=r"dvc\.yaml declares 0 artifacts of type model"):
        rebuild(project.root, "HEAD", "train")
    project.write("lockgate.yaml", POLICY)
    project.commit()
    with pytest.raises(LockgateError, match="no stage makes the model 'other'"):
        rebuild(project.root, "HEAD", "train")


def test_source_data_comes_from_the_remote_and_must_have_its_hash(project: Project, lockgate: Lockgate) -> None:
    project.forget()
    assert lockgate("rebuild")[0] == 0
    digest = content_digest(b"a,b\n1,2\n")
    project.forget()
    remote = project.remote / "files/md5" / digest[:2] / digest[2:]
    remote.chmod(0o644)
    remote.write_bytes(b"a,b\n6,6\n")
    remote.chmod(0o444)
    code, _, err = lockgate("rebuild")
    assert code == 1
    assert "'data/raw.csv' is an input of the rebuild, but its hash is" in err
    assert digest in err
    assert remote.read_bytes() == b"a,b\n6,6\n"  # the evidence stays
    remote.unlink()
    code, _, err = lockgate("rebuild")
    assert code == 3
    assert f"'data/raw.csv' ({digest}) is neither in the working tree nor in the cache, and cannot be fetched" in err


def test_a_damaged_object_of_the_cache_is_not_started_from(project: Project) -> None:
    """The remote's good copy is taken instead; without one it is named."""
    digest = content_digest(b"a,b\n1,2\n")
    cached = project.root / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    cached.chmod(0o644)
    cached.write_bytes(b"a,b\n6,6\n")
    cached.chmod(0o444)  # DVC trusts what is protected
    assert rebuild(project.root, "HEAD", "full").ok
    shutil.rmtree(project.remote)
    with pytest.raises(LockgateError, match=f"'data/raw.csv' .*{digest}"):
        rebuild(project.root, "HEAD", "full")


def test_a_stage_that_needs_what_is_not_committed_fails_with_its_name(project: Project, places: Path) -> None:
    project.stages["train"]["cmd"] = "cat secret.txt && sh stage.sh train"
    project.save()
    project.write("secret.txt", "only here\n")
    project.write(".git/info/exclude", "secret.txt\n")
    assert project.repro()[1] is None
    project.commit()
    with pytest.raises(LockgateError, match="stage 'train' failed in the clone"):
        rebuild(project.root, "HEAD", "full")
    assert list(places.iterdir()) == []


def test_what_cannot_be_run_elsewhere_is_refused_before_anything_runs(project: Project, tmp_path: Path) -> None:
    outside = str(tmp_path / "outside.txt")
    project.stage("publish", deps=["models/model.bin"], outs=[{outside: {"cache": False}}], cmd=f"echo 1 > {outside}")
    assert project.repro()[1] is None
    project.commit()
    Path(outside).write_text("mine")
    with pytest.raises(LockgateError, match=r"stage 'publish' writes '.*outside\.txt', outside the repository"):
        rebuild(project.root, "HEAD", "full")
    assert Path(outside).read_text() == "mine"


def test_a_place_that_is_kept_is_named_and_holds_what_was_built(
    project: Project, places: Path, lockgate: Lockgate
) -> None:
    code, _, err = lockgate("rebuild", "--keep")
    (place,) = places.iterdir()
    assert code == 0
    assert str(place) in err
    assert (place / "clone/models/model.bin").read_bytes() == (project.root / "models/model.bin").read_bytes()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_rebuild_leaves_no_folder_and_no_process(
    project: Project, places: Path, stop: signal.Signals
) -> None:
    seconds = f"600.{time.time_ns()}"  # names the process: what it calls itself is another number out here
    project.stages["train"]["cmd"] = (
        f"sh stage.sh train; test $PWD = {project.root} || {{ touch at-work; sleep {seconds}; }}"
    )
    project.save()
    assert project.repro()[1] is None
    project.commit()
    source = Path(__file__).resolve().parents[3] / "src"
    process = subprocess.Popen(
        [sys.executable, "-m", "lockgate", "rebuild"],
        env={**os.environ, "PYTHONPATH": str(source)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(places.glob("*/clone/at-work")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)  # polls a file that another process writes
    assert running("sleep", seconds)
    process.send_signal(stop)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.splitlines()[-2:] == [
        "lockgate: interrupted; nothing is left behind",
        "  A rebuild starts from the beginning.",
    ]
    assert list(places.iterdir()) == []
    assert not running("sleep", seconds)


def test_a_project_in_a_subfolder_is_rebuilt_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.create(tmp_path / "git/models/delay", tmp_path / "git")
    monkeypatch.chdir(project.root)
    project.write("code.py", "# code\n")
    project.stage("one", deps=["code.py"], outs=["out/one"])
    assert project.repro()[1] is None
    project.commit()
    done = rebuild(project.root, "HEAD", "full")
    assert done.ok
    assert [(out.path, out.stage) for out in done.outputs] == [("out/one", "one")]


def test_a_shallow_clone_as_workflows_make_it_can_be_rebuilt(project: Project, tmp_path: Path) -> None:
    project.write("README.md", "second commit\n")
    sha = project.commit()
    clone = tmp_path / "shallow"
    subprocess.run(["git", "init", "-q", str(clone)], check=True)
    for command in (
        ["fetch", "-q", "--depth=1", f"file://{project.root}", sha],
        ["checkout", "-q", "--detach", "FETCH_HEAD"],
    ):
        subprocess.run(["git", *command], cwd=clone, check=True)
    assert rebuild(clone, "HEAD", "full").ok  # its data comes from the remote


def test_tracked_data_inside_a_folder_that_a_stage_reads_is_fetched(project: Project) -> None:
    project.write("extra/tracked", "by dvc\n")
    project.add("extra/tracked")
    project.write("extra/plain", "by git\n")
    project.stage("sum", deps=["extra"], outs=["out/sum"])
    assert project.repro()[1] is None
    project.commit()
    done = rebuild(project.root, "HEAD", "full")
    assert done.ok
    assert [out.path for out in done.outputs if out.fetched] == ["data/raw.csv", "extra/tracked"]


def test_an_output_that_a_later_stage_removes_is_found_out(project: Project) -> None:
    project.stages["evaluate"]["cmd"] = "sh stage.sh evaluate; rm -f data/table"
    project.save()
    project.repro()
    project.commit()
    done = rebuild(project.root, "HEAD", "full")
    assert [(out.path, out.rebuilt) for out in done.differing] == [("data/table", "absent")]
