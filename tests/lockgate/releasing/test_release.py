"""Releases of a throw-away project: real git, tags, stages, wheel and model; a folder as the store, once a server."""

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.lockgate import modelled, servable
from tests.lockgate.factory import Project
from tests.lockgate.servable import folder_files, improve, tag

from lockgate.releasing.environments import Environment
from lockgate.releasing.registry import Registry
from lockgate.releasing.signing import KeyVerifier, create_key_pair
from lockgate.store import open_store

if TYPE_CHECKING:
    from tests.seaweed import Seaweed

pytest_plugins = ("tests.seaweed",)
ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., tuple[int, str, str]]
CURRENT = {
    "dependencies": "current",
    "isolation": "namespaces",
    "network": "none",
    "python": platform.python_version(),
}

FILES = {
    "components.cdx.json",
    "delay_model-0.1.0-py2.py3-none-any.whl",
    "dvc.lock",
    "dvc.yaml",
    "lockgate.yaml",
    "model-card.md",
    "model.json",
    "params.yaml",
    "pipeline.lock",
    "provenance.json",
    "reference.json",
    "report.html",
    "request.json",
    "samples.json",
    "serving.json",
}


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    create_key_pair(folder / "lockgate.key", folder / "lockgate.pub")
    return folder


@pytest.fixture(scope="session")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The servable project, run, committed and tagged ``delay@v1.0.0``."""
    folder = tmp_path_factory.mktemp("servable")
    shutil.copytree(template, folder / "project")
    project = Project(folder / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        patch.chdir(project.root)
        servable.make(project)
    tag(project, "delay@v1.0.0", message="The first")
    return folder


@pytest.fixture
def home(made: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of that project; the store, the keys and who acts come from the environment."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True, symlinks=True)
    enter(tmp_path / "project", keys, tmp_path / "store", monkeypatch)
    project = Project(tmp_path / "project")
    project.stages = {}
    return project


def enter(root: Path, keys: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("LOCKGATE_STORE", str(store))
    monkeypatch.setenv("LOCKGATE_PRIVATE_KEY", str(keys / "lockgate.key"))
    monkeypatch.setenv("LOCKGATE_PUBLIC_KEY", str(keys / "lockgate.pub"))
    monkeypatch.setenv("GITHUB_ACTOR", "ana")


@pytest.fixture(scope="session")
def whole(made: Path, keys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the project and its first release, rebuilt in full; to be read, not changed."""
    from lockgate.cli import main

    folder = tmp_path_factory.mktemp("whole")
    shutil.copytree(made, folder, dirs_exist_ok=True, symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        enter(folder / "project", keys, folder / "store", patch)
        prepared = str(folder / "prepared")
        assert main(["release", "delay@v1.0.0", "--prepare", prepared]) == 0
        assert main(["release", "delay@v1.0.0", "--prepared", prepared, "--output", str(folder / "build")]) == 0
    return folder


@pytest.fixture
def released(home: Project, whole: Path, tmp_path: Path) -> Project:
    """A copy of the project, its first release in the store."""
    shutil.copytree(whole / "store", tmp_path / "store")
    return home


def registry(store: Path | str, keys: Path) -> Registry:
    return Registry(open_store(str(store)), "delay", KeyVerifier(keys / "lockgate.pub"))


def quickly(lockgate: Run, *more: str) -> tuple[int, str, str]:
    """Release the first version without running anything again."""
    return lockgate("release", "delay@v1.0.0", "--rebuild", "none", *more)


# --- what a release is


def test_an_opaque_model_is_released_sealed_and_said_to_be(home: Project, lockgate: Run, tmp_path: Path) -> None:
    """Its bytes are signed and fetched; whatever would load it refuses."""
    home.write("lockgate.yaml", modelled.POLICY.replace("model: delay", "model: {name: delay, opaque: true}"))
    home.commit("sealed")
    tag(home, "delay@v2.0.0")
    assert lockgate("release", "delay@v2.0.0", "--rebuild", "none", "--output", str(tmp_path / "build"))[0] == 0
    assert "opaque" in (tmp_path / "build/model-card.md").read_text()
    code, out, _ = lockgate("show", "v2.0.0")
    assert (code, "opaque" in out) == (0, True)
    code, out, err = lockgate("report", "--base", "delay@v2.0.0", "--head", "delay@v2.0.0", "--format", "md")
    assert "The model is opaque" in out, err
    for words in (["score", "v2.0.0", "data/requests.parquet", "out"], ["serve", "v2.0.0"]):
        code, _, err = lockgate(*words, "--cache", str(tmp_path / "cache"))
        assert (code, "opaque" in err) == (1, True)
    assert lockgate("fetch", "v2.0.0", str(tmp_path / "got"))[0] == 0


def test_a_build_holds_the_model_and_all_that_explains_and_serves_it(whole: Path, keys: Path) -> None:
    build = registry(whole / "store", keys).release("v1.0.0")
    assert {file.path for file in build.manifest.files} == FILES == set(folder_files(whole / "build"))
    assert (whole / "build/model.json").read_bytes() == (whole / "project/models/model.json").read_bytes()
    for name in ("dvc.lock", "dvc.yaml", "lockgate.yaml", "params.yaml"):
        assert (whole / "build" / name).read_bytes() == (whole / "project" / name).read_bytes()


def test_the_manifest_tells_how_the_build_came_to_be(whole: Path, keys: Path) -> None:
    project = Project(whole / "project")
    build = registry(whole / "store", keys).release("v1.0.0")
    facts = build.manifest.facts
    assert facts["commit"] == project.git("rev-parse", "HEAD").strip()
    assert facts["rebuild"] == {"level": "full", "outputs": 6, **CURRENT}
    assert facts["params"] == {"params.yaml": {"train": {"noise": 1, "seed": 1}}}
    assert facts["metrics"]["roc_auc"] == str(json.loads(project.read("reports/metrics.json"))["roc_auc"]["model"])
    assert facts["data"] == {"airports.csv": "db1e2a2ccb87beb12995a5c671a7c4b7"}
    assert facts["environment"].keys() == {".python-version", "requirements/pipeline.lock"}
    assert [gate["rule"] for gate in facts["gates"] if "environment" in gate] == ["log_loss at most 0.9"]
    assert all(gate["passed"] for gate in facts["gates"])
    assert (build.release.actor, facts["base"]) == ("ana", None)


def test_the_same_commit_elsewhere_is_the_same_build_byte_for_byte(
    whole: Path, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lockgate: Run
) -> None:
    subprocess.run(["git", "clone", "-q", str(whole / "project"), str(tmp_path / "elsewhere")], check=True)
    enter(tmp_path / "elsewhere", keys, tmp_path / "none", monkeypatch)
    shutil.copytree(whole / "project/.dvc/cache/files/md5/db", tmp_path / "remote/files/md5/db")  # source data alone
    for name, value in {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "USER": "bob", "COLUMNS": "40"}.items():
        monkeypatch.setenv(name, value)
    mask = os.umask(0o077)
    try:
        code, out, err = lockgate("release", "delay@v1.0.0", "--dry-run", "--json", "--output", "out")
    finally:
        os.umask(mask)
    assert code == 0, err
    assert folder_files(Path("out")) == folder_files(whole / "build")
    assert json.loads(out)["build"] == registry(whole / "store", keys).release("v1.0.0").manifest.digest


def test_no_signed_file_names_a_machine_a_person_or_a_place(whole: Path) -> None:
    words = [socket.gethostname(), tempfile.gettempdir(), str(whole), "ana", "ada@example.org", sys.prefix]
    for path, content in folder_files(whole / "build").items():
        if not path.endswith(".html"):
            found = [word for word in words if f"{word}" in content.decode("latin-1").replace("analys", "")]
            assert found == [], path


def test_a_fetched_release_loads_and_answers_as_it_did(whole: Path, keys: Path, tmp_path: Path, lockgate: Run) -> None:
    from lockgate.serving.process import start, unpack

    where = ("--store", str(whole / "store"), "--public-key", str(keys / "lockgate.pub"))
    assert lockgate("fetch", "delay@v1.0.0", str(tmp_path / "got"), *where)[0] == 0
    loadable = unpack("delay@v1.0.0", tmp_path / "got")
    try:
        assert (len(loadable.contract.samples.requests), loadable.contract.card) == (20, "model-card.md")
        start(loadable).close()
    finally:
        loadable.discard()


def test_the_provenance_is_about_every_other_file(whole: Path, keys: Path) -> None:
    manifest = registry(whole / "store", keys).release("v1.0.0").manifest
    told = json.loads((whole / "build/provenance.json").read_text())["subject"]
    assert {one["name"]: one["digest"]["sha256"] for one in told} == {
        file.path: file.sha256 for file in manifest.files if file.path != "provenance.json"
    }


def test_the_report_and_the_card_say_what_was_released(whole: Path) -> None:
    assert "# delay `v1.0.0`" in (whole / "build/model-card.md").read_text()
    assert "Reproduced" in (whole / "build/report.html").read_text()


# --- the command


def test_a_dry_run_says_what_it_would_write_and_writes_nothing(
    home: Project, lockgate: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("LOCKGATE_PRIVATE_KEY")
    monkeypatch.delenv("LOCKGATE_PUBLIC_KEY")
    code, out, _ = quickly(lockgate, "--dry-run")
    assert code == 0
    for name in FILES | {"manifest.json", "model.sig", "releases/v1.0.0.json"}:
        assert f"/{name}\n" in out
    assert out.endswith("dry run: these files would be written; nothing was\n")
    assert not (tmp_path / "store").exists()
    assert home.git("status", "--porcelain") == ""


def test_the_same_command_again_has_nothing_to_do(home: Project, lockgate: Run, tmp_path: Path) -> None:
    assert "released in" in quickly(lockgate)[1]
    held = folder_files(tmp_path / "store")
    code, out, _ = lockgate("release", "delay@v1.0.0", "--output", "out")
    assert (code, "nothing to do" in out) == (0, True)
    assert folder_files(Path("out")).keys() == FILES | {"manifest.json", "model.sig"}
    assert folder_files(tmp_path / "store") == held


def test_a_release_that_was_damaged_since_is_not_called_released(
    released: Project, lockgate: Run, tmp_path: Path
) -> None:
    [model] = (tmp_path / "store").rglob("model.json")
    model.write_bytes(model.read_bytes().replace(b"1", b"2"))
    code, _, err = quickly(lockgate)
    assert (code, "model.json was altered" in err) == (1, True)


def test_what_is_told_goes_to_the_summary_too_a_refusal_as_well(home: Project, lockgate: Run, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    quickly(lockgate, "--dry-run", "--summary", str(summary))
    lockgate("release", "delay@v9", "--summary", str(summary))
    lockgate("release", "<b>@v1", "--summary", str(summary))
    text = summary.read_text()
    assert "### Release `delay@v1.0.0`: done" in text
    assert "### Release `delay@v9`: refused" in text
    assert "nothing was run again" in text
    assert "NAME@vX.Y.Z" in text
    assert "<b>" not in text


def test_the_two_halves_come_to_the_same_build_and_the_second_runs_none_of_the_models_code(
    home: Project, whole: Path, keys: Path, lockgate: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.rmtree(home.root / ".dvc/cache")
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap/python").write_text("#!/bin/sh\necho a stage runs >&2; exit 9\n")
    (tmp_path / "trap/python").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "trap"), prepend=os.pathsep)
    monkeypatch.setenv("HOME", str(tmp_path))
    code, _, err = lockgate("release", "delay@v1.0.0", "--prepared", str(whole / "prepared"))
    assert code == 0, err
    assert not (tmp_path / "trap/ran").exists()
    here, there = (registry(folder / "store", keys).release("v1.0.0") for folder in (tmp_path, whole))
    assert here.manifest == there.manifest
    assert lockgate("release", "delay@v1.0.0", "--prepare", "half", "--rebuild", "none")[0] == 0
    assert (tmp_path / "trap/ran").exists()


# --- refusals


def unmerged(project: Project) -> None:
    project.git("checkout", "-q", "-b", "mine")
    project.write("note", "1")
    project.commit()
    tag(project, "delay@v1.1.0")


def stale(project: Project) -> None:
    project.write("train.py", modelled.TRAIN + "# more\n")
    project.commit()
    tag(project, "delay@v1.1.0")


def failing(project: Project) -> None:
    text = project.read("lockgate.yaml").replace("metric: roc_auc, value: 0.6}", "metric: roc_auc, value: 0.9}")
    project.write("lockgate.yaml", text)
    project.commit()
    tag(project, "delay@v1.1.0")


def without_policy(project: Project) -> None:
    project.git("rm", "-q", "lockgate.yaml")
    project.commit()
    tag(project, "delay@v1.1.0")


def broken_wheel(project: Project) -> None:
    project.write("src/delay_model/pyproject.toml", "[build-system]\nrequires = []\n")
    project.commit()
    tag(project, "delay@v1.1.0")


def broken_code(project: Project) -> None:
    project.write("src/delay_model/__init__.py", servable.CODE.replace("return 1 /", "raise ValueError('late') #"))
    project.commit()
    tag(project, "delay@v1.1.0")


def strange_sample(project: Project) -> None:
    project.write("src/delay_model/__init__.py", servable.CODE.replace('"maximum": 10}', '"maximum": 1}'))
    project.commit()
    tag(project, "delay@v1.1.0")


REFUSED: dict[str, tuple[Callable[[Project], object], str, int, str]] = {
    "not on the default branch": (unmerged, "delay@v1.1.0", 1, "which is not on main"),
    "stale lock": (stale, "delay@v1.1.0", 1, "stage 'train' would run again (code train.py changed)"),
    "failing gate": (failing, "delay@v1.1.0", 1, "does not pass its policy: roc_auc at least 0.9 (0.6683)"),
    "no policy": (without_policy, "delay@v1.1.0", 1, "has no lockgate.yaml"),
    "no build backend": (broken_wheel, "delay@v1.1.0", 1, "no wheel could be built from src/delay_model"),
    "model that fails": (broken_code, "delay@v1.1.0", 1, "delay_model:load: delay@v1.1.0: ValueError in __init__.py:"),
    "sample out of bounds": (strange_sample, "delay@v1.1.0", 1, "a row is not a request"),
    "lightweight": (lambda p: p.git("tag", "delay@v1.1.0"), "delay@v1.1.0", 1, "is lightweight"),
    "malformed": (lambda _: None, "delay@1.1.0", 1, "NAME@vX.Y.Z"),
    "no such tag": (lambda _: None, "delay@v7.0.0", 3, "git has no tag 'delay@v7.0.0'"),
    "unknown model": (lambda p: tag(p, "dealy@v1.1.0"), "dealy@v1.1.0", 1, "knows 'delay'; did you mean 'delay'?"),
    "promotion": (lambda p: tag(p, "delay#staging#1"), "delay#staging#1", 2, "lockgate promote --tag"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_must_not_be_released_is_refused_and_nothing_is_written(
    home: Project, lockgate: Run, tmp_path: Path, case: str
) -> None:
    spoil, name, exit_code, said = REFUSED[case]
    spoil(home)
    code, out, err = lockgate("release", name, "--rebuild", "none")
    assert said in err
    assert (code, out) == (exit_code, "")
    assert folder_files(tmp_path / "store") == {} if (tmp_path / "store").exists() else True


def test_a_rebuild_that_differs_is_refused_naming_stage_file_and_sizes(
    home: Project, lockgate: Run, tmp_path: Path
) -> None:
    lock = home.lock()
    [model] = lock["train"]["outs"]
    honest = model["md5"]
    for out in (model, *(dep for dep in lock["evaluate"]["deps"] if dep["path"] == "models/model.json")):
        out["md5"], out["size"] = "0" * 32, 99
    home.write_lock(lock)
    home.commit()
    tag(home, "delay@v1.1.0")
    code, _, err = lockgate("release", "delay@v1.1.0")
    assert code == 1
    assert (
        f"first in stage 'train': models/model.json ({'0' * 12}, 99 bytes in dvc.lock; {honest[:12]}, 25 bytes" in err
    )
    assert folder_files(tmp_path / "store") == {}


def test_a_version_that_is_not_above_the_last_is_refused(home: Project, lockgate: Run) -> None:
    home.commit("the next")  # v1.0.0 is tagged at the one before, and GTO takes one version a commit
    tag(home, "delay@v1.10.0")
    assert lockgate("release", "delay@v1.10.0", "--rebuild", "none")[0] == 0
    for version in ("v1.9.0", "v1.10.0-rc.1"):
        home.commit(version)
        tag(home, f"delay@{version}")
        code, _, err = lockgate("release", f"delay@{version}", "--rebuild", "none")
        assert (code, f"delay@{version} is not above v1.10.0" in err) == (1, True)


def test_a_tag_that_was_moved_after_its_release_is_refused_with_both_commits(released: Project, lockgate: Run) -> None:
    before = released.git("rev-parse", "HEAD").strip()
    after = released.commit("another")
    released.git("tag", "-a", "-f", "delay@v1.0.0", "-m", "moved")
    code, _, err = quickly(lockgate)
    assert (code, after[:12] in err, before[:12] in err, "the tag was moved" in err) == (1, True, True, True)


def test_a_key_that_readers_do_not_trust_is_refused_before_anything_runs(
    home: Project, lockgate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_key_pair(tmp_path / "other.key", tmp_path / "other.pub")
    code, _, err = quickly(lockgate, "--private-key", str(tmp_path / "other.key"))
    assert (code, "is not the private half of a key that is trusted here" in err) == (1, True)
    assert not (tmp_path / "store").exists()


def altered_object(folder: Path) -> None:
    victim = max((path for path in (folder / "objects").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    victim.chmod(0o644)
    victim.write_bytes(b"other")


def other_commit(folder: Path) -> None:
    told = json.loads((folder / "prepared.json").read_text())
    (folder / "prepared.json").write_text(json.dumps({**told, "commit": "f" * 40}))


def without_samples(folder: Path) -> None:
    (folder / "samples.json").unlink()


def strange_level(folder: Path) -> None:
    told = json.loads((folder / "prepared.json").read_text())
    (folder / "prepared.json").write_text(json.dumps({**told, "level": "fuller"}))


def half_a_sample(folder: Path) -> None:
    told = json.loads((folder / "samples.json").read_text())
    (folder / "samples.json").write_text(json.dumps({**told, "probabilities": told["probabilities"][1:]}))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (altered_object, "is corrupt: its content does not hash to"),
        (other_commit, "was prepared for ffffffffffff, not for"),
        (without_samples, "lacks samples.json"),
        (strange_level, "is not a prepared release"),
        (half_a_sample, "does not have one answer for each request"),
        (shutil.rmtree, "is not a prepared release"),
    ],
)
def test_what_was_prepared_is_believed_only_where_it_cannot_be_checked(
    home: Project, whole: Path, lockgate: Run, tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    shutil.rmtree(home.root / ".dvc/cache")
    shutil.copytree(whole / "prepared", tmp_path / "prepared")
    spoil(tmp_path / "prepared")
    code, _, err = lockgate("release", "delay@v1.0.0", "--prepared", str(tmp_path / "prepared"))
    assert said in err
    assert code == 1
    assert folder_files(tmp_path / "store") == {}


# --- one release after another, and what runs where


def test_a_release_is_compared_with_the_one_before_by_the_policy_of_today(released: Project, lockgate: Run) -> None:
    improve(released, noise=1.4)
    tag(released, "delay@v1.1.0")
    code, _, err = lockgate("release", "delay@v1.1.0", "--rebuild", "none")
    assert (code, "roc_auc may fall by at most" in err) == (1, True)
    kept = [line for line in released.read("lockgate.yaml").splitlines() if "no-worse" not in line]
    released.write("lockgate.yaml", "\n".join(kept).replace("value: 0.6}", "value: 0.5}") + "\n")
    released.commit()
    tag(released, "delay@v1.2.0")
    code, _, err = lockgate("release", "delay@v1.2.0", "--rebuild", "none", "--json", "--output", "out")
    assert code == 0, err
    assert "| metric | better | `v1.0.0` | `v1.2.0` | change |" in Path("out/model-card.md").read_text()
    assert json.loads(lockgate("show", "v1.2.0", "--json")[1])["manifest"]["facts"]["base"]["version"] == "v1.0.0"


def test_promotion_asks_how_far_a_release_was_rebuilt_and_the_environments_own_gates(
    home: Project, lockgate: Run, tmp_path: Path, keys: Path
) -> None:
    quickly(lockgate)
    assert lockgate("promote", "v1.0.0", "staging")[0] == 0
    code, _, err = lockgate("promote", "v1.0.0", "production")
    assert (code, "its rebuild level is 'none', 'full' is required" in err) == (1, True)
    home.write(
        "lockgate.yaml", home.read("lockgate.yaml").replace("rebuilt: full", "rebuilt: none").replace("0.9}", "0.1}")
    )
    home.commit()
    tag(home, "delay@v1.1.0")
    assert lockgate("release", "delay@v1.1.0", "--rebuild", "none")[0] == 0
    assert lockgate("promote", "v1.1.0", "staging")[0] == 0
    code, _, err = lockgate("promote", "v1.1.0", "production")
    assert (code, "the gate 'log_loss at most 0.1' does not hold" in err) == (1, True)


def test_a_tag_promotes_the_release_of_its_commit_with_its_message_as_the_reason(
    released: Project, lockgate: Run, tmp_path: Path, keys: Path
) -> None:
    tag(released, "delay#staging#1", message="Try it\n\nfor a week")
    assert "v1.0.0 would be promoted" in lockgate("promote", "--tag", "delay#staging#1", "--dry-run")[1]
    code, out, _ = lockgate("promote", "--tag", "delay#staging#1", "--json", "--summary", str(tmp_path / "summary"))
    entry = json.loads(out)["entry"]
    assert (code, entry["version"], entry["actor"]) == (0, "v1.0.0", "ana")
    assert (entry["tag"], entry["reason"]) == ("delay#staging#1", "Try it")
    assert "### Promotion `delay#staging#1`: done" in (tmp_path / "summary").read_text()
    assert lockgate("promote", "--tag", "delay#staging#1")[1].startswith("nothing to do")
    assert [one.tag for one in Environment(registry(tmp_path / "store", keys), "staging").verify()] == [entry["tag"]]
    assert "the chain is unbroken" in lockgate("verify", "staging")[1]


def later(project: Project) -> None:
    project.commit("nothing of a release here")
    tag(project, "delay#staging#1")


def twice(project: Project) -> None:
    tag(project, "delay@v1.1.0")
    tag(project, "delay#staging#1")


def moved(project: Project) -> None:
    project.commit("another")
    project.git("tag", "-a", "-f", "delay@v1.0.0", "-m", "moved")
    tag(project, "delay#staging#1")


UNBACKED: list[tuple[Callable[[Project], object], list[str], int, str]] = [
    (later, ["--tag", "delay#staging#1"], 1, "where no release of delay is tagged"),
    (twice, ["--tag", "delay#staging#1"], 1, "2 releases (v1.0.0, v1.1.0) of delay"),
    (moved, ["--tag", "delay#staging#1"], 1, "the release was made of"),
    (twice, ["--tag", "delay@v1.0.0"], 2, "asks for no promotion"),
    (twice, ["--tag", "delay#staging#7"], 3, "git has no tag"),
    (twice, ["--tag", "delay#$(id)#1"], 1, "is not in GTO's grammar"),
    (twice, [], 2, "no release was named"),
    (twice, ["v1.0.0"], 2, "no environment was named"),
    (twice, ["v1.0.0", "production", "--tag", "delay#staging#1"], 2, "does not ask for production"),
    (lambda p: tag(p, "delay#nowhere#1"), ["--tag", "delay#nowhere#1"], 2, "has no environment 'nowhere'"),
]


@pytest.mark.parametrize("case", UNBACKED, ids=[said for _, _, _, said in UNBACKED])
def test_a_promotion_that_git_does_not_back_is_refused(
    released: Project,
    lockgate: Run,
    keys: Path,
    tmp_path: Path,
    case: tuple[Callable[[Project], object], list[str], int, str],
) -> None:
    prepare, words, exit_code, said = case
    prepare(released)
    code, out, err = lockgate("promote", *words)
    assert said in err
    assert (code, out) == (exit_code, "")
    assert Environment(registry(tmp_path / "store", keys), "staging").history() == []


def test_a_key_pair_is_made_once_and_never_replaced(
    lockgate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "keep it secret" in lockgate("keys")[1]
    held = folder_files(tmp_path)
    code, _, err = lockgate("keys")
    assert (code, "lockgate.key is there already" in err) == (1, True)
    assert folder_files(tmp_path) == held


# --- crashes, and a real object store

KILLED = """\
import sys
from pathlib import Path
from tests.lockgate.disturbed import arm
arm(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
from lockgate.cli import main
sys.exit(main(sys.argv[4:]))
"""


@pytest.mark.slow
def test_killed_half_way_or_at_the_last_write_the_same_command_completes_with_the_same_outcome(
    home: Project, whole: Path, keys: Path, lockgate: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'src'}")
    count = tmp_path / "count"
    command = ["release", "delay@v1.0.0", "--prepared", str(whole / "prepared")]

    def run(place: Path, number: int, moment: str) -> int:
        program = [sys.executable, "-c", KILLED, str(number), moment, str(count), *command, "--store", str(place)]
        return subprocess.run(program, capture_output=True, check=False).returncode

    def held(place: Path) -> dict[str, bytes]:
        """What a store holds, but for signatures, no two of which are alike, and the time of the release."""
        files = {path: content for path, content in folder_files(place).items() if "#" not in path}
        return {path: b"" if path.endswith("model.sig") or "/releases/" in path else c for path, c in files.items()}

    assert run(tmp_path / "calm", -1, "") == 0
    calls = int(count.read_text())
    assert calls > 20
    release = registry(tmp_path / "calm", keys).release("v1.0.0").manifest
    for number, moment in ((calls // 3, "after"), (calls, "after")):
        place = tmp_path / f"{number}-{moment}"
        assert run(place, number, moment) == -9
        visible = registry(place, keys).versions()
        assert visible == (["v1.0.0"] if (number, moment) == (calls, "after") else [])
        assert lockgate(*command, "--store", str(place))[0] == 0
        assert registry(place, keys).release("v1.0.0").manifest == release
        assert held(place) == held(tmp_path / "calm")


@pytest.mark.slow
def test_released_promoted_by_tag_rolled_back_and_fetched_on_a_real_object_store(
    home: Project, whole: Path, seaweed: "Seaweed", lockgate: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in seaweed.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCKGATE_STORE", f"s3://models/releases/{tmp_path.name}")
    assert lockgate("release", "delay@v1.0.0", "--prepared", str(whole / "prepared"))[0] == 0
    improve(home)
    tag(home, "delay@v1.1.0")
    assert lockgate("release", "delay@v1.1.0", "--rebuild", "train")[0] == 0
    for number, version in enumerate(("v1.0.0", "v1.1.0"), 1):
        tag(home, f"delay#staging#{number}", f"delay@{version}^{{}}")
        assert lockgate("promote", "--tag", f"delay#staging#{number}")[0] == 0
    assert "staging runs v1.0.0" in lockgate("rollback", "staging", "--reason", "slow")[1]
    assert "3 entries, the chain is unbroken" in lockgate("verify", "staging")[1]
    assert lockgate("fetch", "staging", str(tmp_path / "got"))[0] == 0
    assert {path: data for path, data in folder_files(tmp_path / "got").items() if path in FILES} == folder_files(
        whole / "build"
    )
