"""Admission after a merge, on folders and on a real S3 server, with what an attacker would put into the quarantine."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import seaweed
from tests.lockgate.factory import Project
from tests.seaweed import Seaweed

from lockgate.dvc import admission as admit
from lockgate.dvc.objects import Cache, content_digest
from lockgate.dvc.remotes import Object, ObjectDiffers, Remote, open_remotes

Lockgate = Callable[..., tuple[int, str, str]]
SOURCE = str(Path(admit.__file__).parents[2])
OUTPUTS = ["data/raw.csv", "data/table", "data/ready", "models/model.bin"]


@pytest.fixture(scope="module")
def made(ran_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that each test takes a copy of, with the project of :func:`merged`."""
    from lockgate.dvc.quarantine import push

    folder = tmp_path_factory.mktemp("merged")
    shutil.copytree(ran_template, folder, dirs_exist_ok=True)
    project = Project(folder / "project")
    with (project.root / ".dvc/config").open("a") as config:
        config.write("['remote \"quarantine\"']\n    url = ../../quarantine\n")
    shutil.rmtree(project.remote / "runs")
    project.write("data/raw.csv", "x,y\n3,4\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.root)
        project.add("data/raw.csv")
        assert project.repro()[1] is None
        project.commit("new data")
        push(project.root)
    shutil.copytree(project.root / ".dvc/cache", folder / "cache of the author")
    project.forget()
    return folder


@pytest.fixture
def merged(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose new data came by a pull request: run there, pushed to the quarantine, merged; no cache here."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "project")
    return Project(tmp_path / "project", yaml.safe_load((tmp_path / "project/dvc.yaml").read_text())["stages"])


def quarantine(project: Project) -> Path:
    return project.root.parent / "quarantine"


def stored(folder: Path, digest: str) -> Path:
    return folder / "files/md5" / digest[:2] / digest[2:]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def plant(path: Path, content: bytes) -> None:
    """Put something into the quarantine, as anybody can who may write there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.chmod(stat.S_IRWXU)
    path.write_bytes(content)


def digest_of(project: Project, stage: str, number: int = 0) -> str:
    return str(project.lock()[stage]["outs"][number]["md5"])


def admitted(lockgate: Lockgate, *options: str) -> tuple[int, dict[str, Any], str]:
    """Run the command: exit code, rows by path, stderr."""
    code, out, err = lockgate("admit", "--json", *options)
    return code, {row["path"]: row for row in json.loads(out)["outputs"]} if out else {}, err


def statuses(rows: dict[str, Any]) -> dict[str, str]:
    return {path: row["status"] for path, row in rows.items()}


def test_what_was_merged_comes_from_the_quarantine_and_a_fresh_clone_can_pull_it(
    merged: Project, lockgate: Lockgate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(merged.remote)

    code, rows, err = admitted(lockgate)

    assert code == 0, err
    assert statuses(rows) == dict.fromkeys(OUTPUTS, "admitted")
    assert rows["data/ready"]["objects"] == 2, "the list and the one file in it that is new"
    assert rows["data/raw.csv"]["stage"] is None
    assert before.items() <= contents(merged.remote).items()
    shutil.rmtree(quarantine(merged))
    clone = Project(tmp_path / "clone")
    subprocess.run(["git", "clone", "-q", str(merged.root), str(clone.root)], check=True)
    monkeypatch.chdir(clone.root)
    subprocess.run([Path(sys.executable).with_name("dvc"), "pull", "-q"], check=True)
    assert clone.read("data/raw.csv") == "x,y\n3,4\n"
    assert (clone.root / "data/ready/two").exists()


def test_a_second_time_everything_is_trusted_and_nothing_is_written(merged: Project, lockgate: Lockgate) -> None:
    admitted(lockgate)
    before = contents(merged.remote)

    code, rows, _ = admitted(lockgate)

    assert code == 0
    assert statuses(rows) == dict.fromkeys(OUTPUTS, "trusted")
    assert contents(merged.remote) == before


def test_a_dry_run_tells_the_same_and_writes_nothing(merged: Project, lockgate: Lockgate) -> None:
    before = contents(merged.remote)

    code, rows, _ = admitted(lockgate, "--dry-run")

    assert code == 0
    assert contents(merged.remote) == before
    assert rows == admitted(lockgate)[1]


def test_the_table_names_each_output_with_its_stage_and_status(merged: Project, lockgate: Lockgate) -> None:
    code, out, _ = lockgate("admit")

    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["output", *OUTPUTS]
    assert out.splitlines()[1].split()[1:3] == ["(source", "data)"]
    assert out.splitlines()[4].split() == [
        "models/model.bin",
        "train",
        digest_of(merged, "train")[:12],
        "admitted",
        "1",
    ]


def test_it_admits_the_commit_and_not_what_lies_about_in_the_working_tree(merged: Project, lockgate: Lockgate) -> None:
    merged.write("dvc.lock", "schema: '2.0'\nstages: {}\n")
    merged.write("params.yaml", "{}\n")

    code, rows, _ = admitted(lockgate)

    assert (code, len(rows)) == (0, 4)


# --- in two jobs: one runs the model's code, the other may write


def test_what_has_to_be_rebuilt_is_rebuilt_without_rights_and_admitted_without_running_a_stage(
    merged: Project, lockgate: Lockgate, tmp_path: Path
) -> None:
    plant(stored(quarantine(merged), digest_of(merged, "prepare")), b"forged")
    plant(stored(quarantine(merged), digest_of(merged, "train")), b"a forged")
    before = contents(merged.remote), contents(quarantine(merged))

    code, rows, err = admitted(lockgate, "--prepare", str(tmp_path / "handover"))

    assert code == 0, err
    assert statuses(rows)["models/model.bin"] == statuses(rows)["data/ready"] == "rebuilt"
    assert (contents(merged.remote), contents(quarantine(merged))) == before
    assert [line for line in err.splitlines() if line.startswith(">")] == [
        "> sh stage.sh prepare",
        "> sh stage.sh train",
    ], "out of what is whole in the quarantine"
    told = json.loads((tmp_path / "handover/prepared.json").read_text())
    assert (told["stages"], told["isolation"]) == (["prepare", "train"], "namespaces")

    code, rows, err = admitted(lockgate, "--prepared", str(tmp_path / "handover"))

    assert code == 0, err
    assert statuses(rows)["models/model.bin"] == statuses(rows)["data/ready"] == "rebuilt"
    assert ">" not in err, "no stage"
    assert content_digest(stored(merged.remote, digest_of(merged, "train")).read_bytes()) == digest_of(merged, "train")
    assert statuses(admitted(lockgate)[1]) == dict.fromkeys(OUTPUTS, "trusted")


def test_where_nothing_has_to_be_rebuilt_nothing_is_handed_over(
    merged: Project, lockgate: Lockgate, tmp_path: Path
) -> None:
    assert admitted(lockgate, "--prepare", str(tmp_path / "handover"))[0] == 0
    assert [path.name for path in (tmp_path / "handover").rglob("*")] == ["prepared.json"]

    code, rows, _ = admitted(lockgate, "--prepared", str(tmp_path / "handover"))

    assert code == 0
    assert statuses(rows) == dict.fromkeys(OUTPUTS, "admitted")


def test_what_is_handed_over_is_hashed_again(merged: Project, lockgate: Lockgate, tmp_path: Path) -> None:
    digest = digest_of(merged, "train")
    stored(quarantine(merged), digest).unlink()
    assert admitted(lockgate, "--prepare", str(tmp_path / "handover"))[0] == 0
    plant(stored(tmp_path / "handover/objects", digest), b"a forged")

    code, rows, _ = admitted(lockgate, "--prepared", str(tmp_path / "handover"))

    assert code == 1
    assert (rows["models/model.bin"]["status"], rows["models/model.bin"]["where"]) == ("refused", "what was prepared")
    assert not stored(merged.remote, digest).exists()


def test_what_was_prepared_for_another_commit_is_refused_and_so_is_any_other_folder(
    merged: Project, lockgate: Lockgate, tmp_path: Path
) -> None:
    assert admitted(lockgate, "--prepare", str(tmp_path / "handover"))[0] == 0
    merged.commit("another")

    assert admitted(lockgate, "--prepared", str(tmp_path / "handover"))[0] == 3
    assert admitted(lockgate, "--prepared", str(tmp_path))[0] == 3
    assert admitted(lockgate, "--prepare", str(tmp_path / "handover"))[0] == 2, "it is not empty"


def test_a_rebuilt_stage_sees_no_key_and_can_plant_nothing_in_a_trusted_folder(
    merged: Project, lockgate: Lockgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an attack on `admit` did when it was tried: print the write key, write over an object, plant a run."""
    assert admitted(lockgate)[0] == 0
    trusted = stored(merged.remote, digest_of(merged, "ingest"))
    merged.stages["train"]["cmd"] = (
        f"env | grep confidential; cat /proc/*/environ | tr '\\0' '\\n' | grep confidential; "
        f"echo forged > {trusted}; mkdir -p {merged.remote}/runs/aa; sh stage.sh train"
    )
    merged.save()
    assert lockgate("run")[0] == 0
    merged.commit("an attack")
    merged.forget()
    shutil.rmtree(quarantine(merged))
    stored(merged.remote, digest_of(merged, "train")).unlink()
    kept = trusted.read_bytes()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "confidential")

    code, rows, err = admitted(lockgate)

    assert (code, rows["models/model.bin"]["status"]) == (0, "rebuilt"), err
    assert "confidential" not in err.replace("grep confidential", "")
    assert trusted.read_bytes() == kept
    assert not (merged.remote / "runs/aa").exists()


# --- attacks on the quarantine


def test_a_planted_object_is_refused_and_never_reaches_the_trusted_remote(merged: Project, lockgate: Lockgate) -> None:
    digest = digest_of(merged, "train")
    plant(stored(quarantine(merged), digest), b"a forged")

    code, rows, err = admitted(lockgate, "--no-rebuild")

    assert code == 1
    found = content_digest(b"a forged")
    row = rows["models/model.bin"]
    assert (row["status"], row["expected"], row["found"], row["where"]) == ("refused", digest, found, "quarantine")
    assert f"'models/model.bin' (stage 'train'): expected {digest}, quarantine has {found}" in err
    assert not stored(merged.remote, digest).exists()
    assert statuses(rows)["data/table"] == "admitted"


def test_a_planted_object_costs_no_more_than_a_rebuild(merged: Project, lockgate: Lockgate) -> None:
    digest = digest_of(merged, "train")
    plant(stored(quarantine(merged), digest), b"a forged")

    code, rows, err = admitted(lockgate)

    assert code == 0, err
    assert rows["models/model.bin"]["status"] == "rebuilt"
    assert rows["models/model.bin"]["found"] == content_digest(b"a forged")
    assert content_digest(stored(merged.remote, digest).read_bytes()) == digest
    assert "> sh stage.sh train" in err
    assert "> sh stage.sh prepare" not in err, "only what has to be"


def test_a_planted_file_of_a_folder_is_refused_and_the_folder_is_not_complete_without_it(
    merged: Project, lockgate: Lockgate
) -> None:
    digest = digest_of(merged, "prepare")
    (member,) = (e["md5"] for e in json.loads(stored(quarantine(merged), digest).read_bytes()) if e["relpath"] == "one")
    plant(stored(quarantine(merged), member), b"forged")

    code, rows, _ = admitted(lockgate, "--no-rebuild")

    assert code == 1
    assert (rows["data/ready"]["status"], rows["data/ready"]["expected"]) == ("refused", member)
    assert not stored(merged.remote, digest).exists()
    assert not stored(merged.remote, member).exists()


def test_a_planted_list_of_a_folder_is_refused(merged: Project, lockgate: Lockgate) -> None:
    digest = digest_of(merged, "prepare")
    plant(stored(quarantine(merged), digest), b"[]")

    code, rows, _ = admitted(lockgate, "--no-rebuild")

    assert code == 1
    assert rows["data/ready"]["found"] == content_digest(b"[]") + ".dir"
    assert not stored(merged.remote, digest).exists()


def test_an_object_larger_than_the_lock_says_is_not_even_fetched(merged: Project, lockgate: Lockgate) -> None:
    digest = digest_of(merged, "train")
    endless = stored(quarantine(merged), digest)
    plant(endless, b"")
    os.truncate(endless, 1 << 26)

    code, rows, _ = admitted(lockgate, "--no-rebuild")

    assert code == 1
    assert rows["models/model.bin"]["found"] == "too large"


def test_a_poisoned_run_cache_in_the_quarantine_is_never_copied(merged: Project, lockgate: Lockgate) -> None:
    poisoned = json.loads(json.dumps(merged.lock()["train"]))
    poisoned["outs"][0]["md5"] = content_digest(b"forged")
    plant(stored(quarantine(merged), content_digest(b"forged")), b"forged")
    own = contents(merged.root.parent / "cache of the author" / "runs")
    for path in own:
        plant(quarantine(merged) / "runs" / Path(path).with_name("f" * 64), json.dumps(poisoned).encode())

    assert admitted(lockgate)[0] == 0

    assert contents(merged.remote / "runs").items() <= own.items()
    assert not stored(merged.remote, content_digest(b"forged")).exists()


# --- attacks by the lock


def forge(project: Project, digest: str) -> None:
    """Have the lock claim another model, consistently, with code and parameters as they are."""
    lock = project.lock()
    lock["train"]["outs"][0]["md5"] = digest
    next(dep for dep in lock["evaluate"]["deps"] if dep["path"] == "models/model.bin")["md5"] = digest
    project.write_lock(lock)
    project.commit("forged")


def test_a_lock_that_names_an_object_nobody_has_is_found_out_by_a_rebuild(merged: Project, lockgate: Lockgate) -> None:
    true = digest_of(merged, "train")
    forge(merged, "0" * 32)

    code, rows, err = admitted(lockgate)

    assert code == 1
    assert (rows["models/model.bin"]["status"], rows["models/model.bin"]["found"]) == ("refused", true)
    assert f"'models/model.bin' (stage 'train'): expected {'0' * 32}, the rebuild of models/model.bin has {true}" in err
    assert not stored(merged.remote, "0" * 32).exists()
    assert not stored(merged.remote, true).exists(), "nothing of a stage that came out otherwise is taken"


def test_without_a_rebuild_an_object_nobody_has_is_named(merged: Project, lockgate: Lockgate) -> None:
    forge(merged, "0" * 32)

    code, rows, err = admitted(lockgate, "--no-rebuild")

    assert code == 1
    assert rows["models/model.bin"]["status"] == "missing"
    assert f"{'0' * 32} is neither in the trusted remote nor in the quarantine" in err


@pytest.mark.parametrize("digest", ["../../../elsewhere", "0" * 31, "G" * 32, "0" * 32 + "/x"])
def test_a_digest_that_is_none_is_refused_and_no_path_is_made_of_it(
    merged: Project, lockgate: Lockgate, digest: str
) -> None:
    forge(merged, digest)

    code, rows, _ = admitted(lockgate, "--no-rebuild")

    assert code == 1
    assert (rows["models/model.bin"]["status"], rows["models/model.bin"]["where"]) == ("refused", "dvc.lock")


NOWHERE = "0" * 32


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([{"md5": NOWHERE, "relpath": ".git/config"}]).encode(),
        json.dumps([{"md5": NOWHERE, "relpath": "A"}, {"md5": NOWHERE, "relpath": "a"}]).encode(),
        b"[" * 100_000,
    ],
    ids=["git's configuration", "twins", "deep"],
)
def test_a_list_that_is_not_held_to_the_rules_is_refused(merged: Project, lockgate: Lockgate, text: bytes) -> None:
    digest = content_digest(text) + ".dir"
    lock = merged.lock()
    for item in (lock["prepare"]["outs"][0], *lock["train"]["deps"], *lock["evaluate"]["deps"]):
        if item["path"] == "data/ready/":
            item["md5"] = digest
    merged.write_lock(lock)
    merged.commit("a list of its own")
    plant(stored(quarantine(merged), digest), text)

    code, rows, _ = admitted(lockgate, "--no-rebuild")

    assert code == 1
    assert rows["data/ready"]["status"] == "refused"
    assert "list of files" in rows["data/ready"]["found"]
    assert not stored(merged.remote, digest).exists()


@pytest.mark.parametrize(
    ("change", "stage"),
    [
        (lambda p: p.write("src/train.py", "other"), "train"),
        (lambda p: p.write_params({"prepare": {"share": 0.3}, "train": {"lr": 0.1, "depth": 3}}), "prepare"),
        (lambda p: p.write("reports/metrics.json", '{"n": 1000}'), "evaluate"),
        (lambda p: p.write_lock({k: v for k, v in p.lock().items() if k != "evaluate"}), "evaluate"),
    ],
)
def test_a_lock_that_does_not_belong_to_its_code_fails_with_the_stage_and_nothing_is_admitted(
    merged: Project, lockgate: Lockgate, change: Callable[[Project], None], stage: str
) -> None:
    change(merged)
    merged.commit("without a run")
    before = contents(merged.remote)

    code, rows, err = admitted(lockgate)

    assert (code, rows) == (1, {})
    assert f"stage '{stage}' would run again" in err
    assert contents(merged.remote) == before


# --- rebuilding


def test_without_a_quarantine_everything_new_is_rebuilt(merged: Project, lockgate: Lockgate) -> None:
    digests = [digest_of(merged, name) for name in ("ingest", "prepare", "train")]
    plant(stored(merged.remote, content_digest(b"x,y\n3,4\n")), b"x,y\n3,4\n")
    shutil.rmtree(quarantine(merged))

    code, rows, err = admitted(lockgate)

    assert code == 0, err
    assert list(statuses(rows).values()) == ["trusted", "rebuilt", "rebuilt", "rebuilt"]
    assert all(stored(merged.remote, digest).exists() for digest in digests)
    assert merged.git("status", "--porcelain") == ""


def test_source_data_that_is_nowhere_cannot_be_rebuilt(merged: Project, lockgate: Lockgate) -> None:
    shutil.rmtree(quarantine(merged))

    code, rows, err = admitted(lockgate)

    assert code == 1
    assert statuses(rows)["data/raw.csv"] == "missing"
    assert "'data/raw.csv' (source data)" in err
    assert "sh stage.sh" not in err


def test_a_stage_that_fails_when_it_is_rebuilt_is_named(merged: Project, lockgate: Lockgate) -> None:
    merged.write("stage.sh", merged.read("stage.sh") + "test $name != train\n")
    merged.commit("broken, where no hash looks")
    stored(quarantine(merged), digest_of(merged, "train")).unlink()

    code, _, err = admitted(lockgate)

    assert code == 1
    assert "stage 'train' had to be rebuilt" in err


# --- the run cache


def test_the_run_cache_that_is_written_is_dvcs_own(
    merged: Project, lockgate: Lockgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert admitted(lockgate)[0] == 0

    own = contents(merged.root.parent / "cache of the author" / "runs")
    written = contents(merged.remote / "runs")
    assert len(written) == 4
    assert written.items() <= own.items()
    merged.write_lock({})
    (merged.root / "stage.sh").write_text("exit 1\n")
    ran, failure = merged.repro()
    assert failure is None, "every stage is restored, none is run"
    assert len(ran) == 4


def test_no_run_cache_is_written_for_what_was_refused(merged: Project, lockgate: Lockgate) -> None:
    forge(merged, "0" * 32)

    admitted(lockgate)

    written = b"".join(contents(merged.remote / "runs").values())
    assert b"sh stage.sh prepare" in written
    assert b"sh stage.sh train" not in written


# --- remotes


def remotes(project: Project, trusted: str | None = None) -> Iterator[Remote]:
    with open_remotes(project.root, trusted, "quarantine") as found:
        yield from (remote for remote in found if remote is not None)


def test_an_object_of_the_trusted_remote_is_never_replaced(merged: Project, tmp_path: Path) -> None:
    trusted = next(remotes(merged))
    digest = content_digest(b"good")
    (tmp_path / "good").write_bytes(b"good")
    (tmp_path / "bad").write_bytes(b"bad")

    assert trusted.create(Object(digest), tmp_path / "good") is True
    assert trusted.create(Object(digest), tmp_path / "bad") is False
    assert stored(merged.remote, digest).read_bytes() == b"good"


def test_an_altered_object_of_the_trusted_remote_is_an_error_and_stays_for_whoever_looks(
    merged: Project, tmp_path: Path
) -> None:
    trusted = next(remotes(merged))
    digest = content_digest(b"good")
    plant(stored(merged.remote, digest), b"altered")
    (tmp_path / "good").write_bytes(b"good")

    assert trusted.has([Object(digest)]) == {Object(digest)}
    with pytest.raises(ObjectDiffers, match=content_digest(b"altered")):
        trusted.create(Object(digest), tmp_path / "good")
    assert stored(merged.remote, digest).read_bytes() == b"altered"


def test_of_many_that_create_one_object_exactly_one_does(merged: Project, tmp_path: Path) -> None:
    trusted = next(remotes(merged))
    (tmp_path / "good").write_bytes(b"good" * 100_000)
    item = Object(content_digest(b"good" * 100_000))

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: trusted.create(item, tmp_path / "good"), range(8)))

    assert made.count(True) == 1
    assert list(stored(merged.remote, item.digest).parent.glob(".*")) == []


@pytest.mark.parametrize("url", ["../../remote", "../../remote/inside", "../../remote/../remote/x", "../.."])
def test_remotes_that_are_not_apart_are_refused(merged: Project, lockgate: Lockgate, url: str) -> None:
    config = merged.read(".dvc/config").replace("../../quarantine", url)
    merged.write(".dvc/config", config)

    for command in (["admit"], ["quarantine"]):
        code, _, err = lockgate(*command)
        assert code == 3
        assert "are not separate" in err


def test_without_a_default_remote_there_is_nothing_to_trust(merged: Project, lockgate: Lockgate) -> None:
    merged.write(".dvc/config", merged.read(".dvc/config").replace("remote = local", "analytics = false"))

    code, _, err = lockgate("admit")

    assert code == 3
    assert "there is no default remote" in err
    assert lockgate("admit", "--trusted", "local")[0] == 0


# --- the way into the quarantine


def test_only_what_is_new_is_pushed_and_only_to_the_quarantine(ran: Project, lockgate: Lockgate) -> None:
    with (ran.root / ".dvc/config").open("a") as config:
        config.write("['remote \"quarantine\"']\n    url = ../../quarantine\n")
    before = contents(ran.remote)
    plant(Cache.of(ran.root).path("0" * 32), b"of another branch")
    assert lockgate("quarantine")[1] == "0 objects (0 bytes) pushed to the remote 'quarantine'\n"
    ran.write("data/raw.csv", "x,y\n3,4\n")
    ran.add("data/raw.csv")
    assert ran.repro()[1] is None

    planned = lockgate("quarantine", "--dry-run")[1]
    assert not quarantine(ran).exists()
    code, out, _ = lockgate("quarantine")

    assert code == 0
    assert out == planned.replace("would be ", "")
    pushed = {path.removeprefix("files/md5/").replace("/", "") for path in contents(quarantine(ran))}
    lock = ran.lock()
    named = {lock[stage]["outs"][0]["md5"] for stage in ("ingest", "prepare", "train")}
    assert named <= pushed
    assert len(pushed) == 5, "raw data, table, list and one file of the folder, model; no metrics, no run cache"
    assert contents(ran.remote) == before
    assert lockgate("quarantine")[1].startswith("0 objects")


def test_without_a_quarantine_remote_pushing_there_is_an_error(ran: Project, lockgate: Lockgate) -> None:
    code, _, err = lockgate("quarantine")

    assert code == 3
    assert "there is no remote 'quarantine'" in err


# --- a real S3 server, with credentials of different rights

BUCKET = "lab"
USERS = {
    "admin": ["Admin"],
    "main": [f"Read:{BUCKET}", f"List:{BUCKET}", f"Write:{BUCKET}/trusted/*"],
    "pull-request": [f"Read:{BUCKET}", f"List:{BUCKET}", f"Write:{BUCKET}/quarantine/*"],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    with seaweed.running(tmp_path_factory.mktemp("weed"), BUCKET, USERS) as found:
        yield found


@pytest.fixture
def on_s3(merged: Project, server: Seaweed) -> Project:
    """The merged project with both remotes on the server, the quarantine empty and the cache full."""
    prefix = merged.root.parent.name
    merged.write(
        ".dvc/config",
        "[core]\n    remote = trusted\n"
        + "".join(
            f"['remote \"{name}\"']\n    url = s3://{BUCKET}/{name}/{prefix}\n    endpointurl = {server.endpoint}\n"
            for name in ("trusted", "quarantine")
        ),
    )
    merged.commit("remotes on S3")
    shutil.copytree(merged.root.parent / "cache of the author", merged.root / ".dvc/cache")
    return merged


def as_user(server: Seaweed, project: Project, user: str, *command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *command],
        cwd=project.root,
        env={**os.environ, **server.environment(user), "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_on_s3_each_role_can_do_its_part_and_no_more(on_s3: Project, server: Seaweed) -> None:
    pushed = as_user(server, on_s3, "pull-request", "-m", "lockgate", "quarantine")
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.startswith("6 objects")
    on_s3.forget()

    refused = as_user(server, on_s3, "pull-request", "-m", "lockgate", "admit")
    assert refused.returncode == 3
    assert "the remote 'trusted' (s3://lab/trusted/" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert seaweed.secret("pull-request") not in refused.stderr

    done = as_user(server, on_s3, "main", "-m", "lockgate", "admit", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in json.loads(done.stdout)["outputs"]] == ["admitted"] * 4
    again = as_user(server, on_s3, "main", "-m", "lockgate", "admit", "--json")
    assert {row["status"] for row in json.loads(again.stdout)["outputs"]} == {"trusted"}
    pulled = as_user(server, on_s3, "main", "-m", "dvc", "pull", "-q", "--run-cache")
    assert pulled.returncode == 0, pulled.stderr
    assert len(contents(on_s3.root / ".dvc/cache/runs")) == 4


RACE = """
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, get_ident
from lockgate.dvc.remotes import Object, ObjectDiffers, open_remotes

files, item = [Path(name) for name in sys.argv[1:3]], Object(sys.argv[3])
with open_remotes(Path.cwd(), None, "quarantine") as (trusted, _):
    fs, start = trusted._store(legacy=False).fs, Barrier(8)
    exists, asked = fs.exists, Counter()

    def ask(path):  # all ask before any of them writes
        found, asked[get_ident()] = exists(path), asked[get_ident()] + 1
        if asked[get_ident()] == 1:
            start.wait()
        return found

    fs.exists = ask

    def create(number):
        try:
            return trusted.create(item, files[number % 2])
        except ObjectDiffers:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create, range(8)))
    there = trusted.get(item, Path(sys.argv[1] + ".there"))
    print(made.count(True), Path(sys.argv[1] + ".there").read_bytes() == files[made.index(True) % 2].read_bytes())
"""


@pytest.mark.slow
def test_on_s3_of_many_that_create_one_object_at_once_exactly_one_does(
    on_s3: Project, server: Seaweed, tmp_path: Path
) -> None:
    for name in ("good", "forged"):
        (tmp_path / name).write_text(name)
    arguments = [str(tmp_path / "good"), str(tmp_path / "forged"), content_digest(b"good")]

    done = as_user(server, on_s3, "main", "-c", RACE, *arguments)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "True"]


@pytest.mark.slow
def test_a_store_that_does_not_answer_is_named(on_s3: Project, server: Seaweed) -> None:
    on_s3.write(".dvc/config", on_s3.read(".dvc/config").replace(server.endpoint, "http://127.0.0.1:9"))

    done = as_user(server, on_s3, "main", "-m", "lockgate", "admit")

    assert done.returncode == 3
    assert "the remote 'trusted' (s3://lab/trusted/" in done.stderr
    assert "Traceback" not in done.stderr
