"""``lockgate retrain`` on a project whose world changes in November: real git, DVC, a store and a signed release."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.e2e import forge as forges
from tests.lockgate import monthly
from tests.lockgate.factory import Project, working_in_a_copy
from tests.lockgate.releases import Keys, make_keys, promoted, publish

from lockgate import policy
from lockgate.cli import main
from lockgate.releasing.registry import Registry
from lockgate.releasing.signing import KeySigner, KeyVerifier
from lockgate.store import open_store

REPOSITORY = "lab/model"
BRANCH = "lockgate-retrain-delay"


@pytest.fixture(scope="module")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with its model of October, and a store in which that model is released and serves."""
    folder = tmp_path_factory.mktemp("monthly")
    with working_in_a_copy(template, folder) as project:
        monthly.make(project)
        keys = make_keys(folder / "keys")
        registry = Registry(open_store(str(folder / "store"), create=True), "delay", keys.verifier)
        publish(registry, keys, monthly.build(project, folder / "build"), "v1.0.0")
        for name in ("staging", "production"):
            promoted(registry, keys, "v1.0.0", policy.Environment(name, None, "none", ()))
    return folder


@dataclass
class World:
    """A clone of the project on a forge."""

    project: Project
    forge: forges.Forge
    folder: Path
    patch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]
    last: dict[str, Any] = field(default_factory=dict)

    def retrain(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        store = ["--store", str(self.folder / "store"), "--public-key", str(self.folder / "keys/lockgate.pub")]
        self.capsys.readouterr()
        ended = main(["retrain", "--json", "--cache", str(self.folder / "cache"), *store, *arguments])
        out, self.said = self.capsys.readouterr()
        assert ended == code, self.said
        return json.loads(out) if code == 0 else {}

    def merged(self, message: str = "merged") -> None:
        """Have somebody else merge a change into the default branch."""
        self.project.git("commit", "-q", "--allow-empty", "-m", message)
        self.project.git("push", "-q", "origin", "main")

    def open_pulls(self) -> list[int]:
        return [number for number, pull in self.forge.pulls.items() if pull["state"] == "open"]

    @property
    def tip(self) -> str:
        return self.forge.tip(REPOSITORY, BRANCH)


@pytest.fixture
def world(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[World]:
    shutil.copytree(made, tmp_path / "world", symlinks=True)
    project = Project(tmp_path / "world/project")
    (tmp_path / "forge").mkdir()
    with forges.running(tmp_path / "forge") as forge:
        monkeypatch.setenv("SSL_CERT_FILE", str(forge.certificate))
        monkeypatch.setenv("GIT_SSL_CAINFO", str(forge.certificate))
        token = forge.token({"contents": "write", "pull-requests": "write", "actions": "write", "statuses": "write"})
        for name, value in (
            ("API_URL", f"{forge.address}/api/v3"), ("SERVER_URL", forge.address), ("REPOSITORY", REPOSITORY),
            ("TOKEN", token),
        ):  # fmt: skip
            monkeypatch.setenv(f"GITHUB_{name}", value)
        forge.repository(REPOSITORY)
        project.git("remote", "add", "origin", str(forge.repository(REPOSITORY)))
        project.git("push", "-q", "origin", "main")
        project.git("fetch", "-q", "origin")
        monkeypatch.chdir(project.root)
        yield World(project, forge, tmp_path / "world", monkeypatch, capsys)


def test_a_better_model_is_proposed_once_with_all_that_it_takes_and_its_check_is_started(world: World) -> None:
    done = world.retrain("--set", "data.through=2013-12")
    assert done["outcome"] == "proposed"
    [number] = world.open_pulls()
    pull = world.forge.pulls[number]
    changed = world.project.git("diff", "--name-only", "origin/main", done["commit"]).split()
    assert sorted(changed) == ["dvc.lock", "params.yaml", "reports/metrics.json"]
    assert world.project.git("diff", "-U0", "origin/main", done["commit"], "--", "params.yaml").splitlines()[-2:] == [
        "-  through: 2013-10  # the last month to take",
        "+  through: 2013-12  # the last month to take",
    ]
    [loss, auc] = done["duel"]["metrics"]
    assert (loss["name"], loss["judgement"]) == ("log_loss", "better")
    assert loss["high"] < 0
    assert auc["change"] == 0  # the slope changes no ranking
    rows = [line for line in pull["body"].splitlines() if line.startswith("| `log_loss` |")]
    baseline, serving, new = (float(cell) for cell in rows[0].split("|")[2:5])
    assert new < baseline < serving  # what serves is worse than a forecast that knows nothing of the request
    assert done["duel"]["champion"] == "delay@v1.0.0"
    for said in ("2013-10", "2013-12", "better in `log_loss`", "`delay@v1.0.0`", "What waiting costs"):
        assert said in pull["body"]
    assert done["check"] == "dispatched"
    assert world.forge.dispatched == [("pull-request.yml", BRANCH, {"base": "main"})]
    assert world.project.git("status", "--porcelain") == ""

    again = world.retrain("--set", "data.through=2013-12")
    assert (again["commit"], again["address"]) == (done["commit"], done["address"])
    assert world.open_pulls() == [number]


def test_a_pull_request_that_somebody_added_to_is_left_alone_and_a_later_one_replaces_its_own(world: World) -> None:
    world.patch.setenv("LOCKGATE_PUSH_TOKEN", world.forge.token({"contents": "write", "pull-requests": "write"}))
    first = world.retrain("--set", "data.through=2013-12", "--no-champion")
    assert (first["check"], world.forge.dispatched) == ("by the forge", [])
    world.merged()
    second = world.retrain("--set", "data.through=2013-12", "--no-champion")
    assert second["address"] == first["address"]
    assert world.tip == second["commit"] != first["commit"]

    world.project.git("fetch", "-q", "origin", BRANCH)
    world.project.git("checkout", "-q", "-b", "mine", "FETCH_HEAD")
    world.project.git("commit", "-q", "--allow-empty", "-m", "a hand's change")
    world.project.git("push", "-q", "origin", f"mine:{BRANCH}")
    world.project.git("checkout", "-q", "main")
    world.merged("once more")
    world.retrain("--set", "data.through=2013-12", "--no-champion", code=3)
    assert "has commits that `lockgate retrain` did not make" in world.said
    assert world.project.git("log", "-1", "--format=%s", "mine").strip() == "a hand's change"


def test_where_nothing_is_gained_the_open_pull_request_is_closed_with_a_word(world: World) -> None:
    opened = world.retrain("--set", "data.through=2013-12")
    [number] = world.open_pulls()
    done = world.retrain("--set", "data.through=2013-09")  # the same world as the model that serves
    assert (done["outcome"], done["closed"]) == ("not better", [number])
    assert world.open_pulls() == []
    assert "is not shown to differ from delay@v1.0.0" in world.forge.comments[number][-1]["body"]
    assert opened["commit"]
    dry = world.retrain("--set", "data.through=2013-09", "--dry-run")
    assert (dry["outcome"], world.open_pulls()) == ("not better", [])
    same = world.retrain("--set", "data.through=2013-10")
    assert (same["outcome"], same["closed"], same["duel"]) == ("nothing new", [], None)


def test_data_that_are_not_there_yet_are_no_failure_and_a_stage_that_fails_is_one(world: World) -> None:
    done = world.retrain("--set", "data.through=2014-01")
    assert (done["outcome"], done["branch"]) == ("not there yet", "")
    assert "2014-01" in done["reason"]
    world.retrain("--set", "data.through=2013-07", code=1)
    assert "stage 'data' failed" in world.said
    world.retrain("--set", "data.thruogh=2013-11", code=3)
    assert "data.through" in world.said
    assert world.open_pulls() == []


def test_a_branch_that_moved_on_meanwhile_is_noticed_before_anything_is_pushed(world: World) -> None:
    ahead = world.project.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "merged meanwhile").strip()
    world.project.git("push", "-q", "origin", f"{ahead}:refs/heads/main")
    world.project.git("update-ref", "refs/remotes/origin/main", "main")
    world.retrain("--set", "data.through=2013-12", "--no-champion", code=1)
    assert "main has moved on" in world.said
    assert world.open_pulls() == []


def test_a_forge_that_fails_half_way_leaves_what_the_next_run_completes(world: World) -> None:
    world.forge.refusals += [("POST /api/v3/repos/lab/model/pulls", 500, {})]
    world.retrain("--set", "data.through=2013-12", "--no-champion", code=3)
    pushed = world.tip
    world.forge.refusals += [("dispatches", 500, {})]
    world.retrain("--set", "data.through=2013-12", "--no-champion", code=3)
    done = world.retrain("--set", "data.through=2013-12", "--no-champion")
    assert (done["commit"], len(world.open_pulls()), len(world.forge.dispatched)) == (pushed, 1, 1)


def test_a_release_that_may_have_been_trained_on_the_rows_is_not_compared_on_them(world: World) -> None:
    """A newer model serves than the one that is trained: its training rows may be among the test rows."""
    world.project.write("params.yaml", "data:\n  through: 2013-12\n")
    newer = world.project.commit("newer data")
    world.project.git("checkout", "-q", "main~1")
    keys = Keys(KeySigner(world.folder / "keys/lockgate.key"), KeyVerifier(world.folder / "keys/lockgate.pub"))
    registry = Registry(open_store(str(world.folder / "store")), "delay", keys.verifier)
    publish(registry, keys, monthly.build(world.project, world.folder / "newer"), "v1.1.0", commit=newer)
    promoted(registry, keys, "v1.1.0", policy.Environment("production", None, "none", ()))
    done = world.retrain("--set", "data.through=2013-12", "--dry-run")
    assert (done["outcome"], done["duel"]) == ("proposed", None)
    assert "may have been trained on these rows" in world.said


def test_the_half_that_trains_leaves_what_the_half_that_proposes_takes(world: World, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GITHUB_TOKEN")  # the half that trains has none
        told = world.retrain("--set", "data.through=2013-12", "--into", str(tmp_path / "handover"))
    assert (told["outcome"], told["branch"], world.open_pulls()) == ("proposed", "", [])
    done = world.retrain("--from", str(tmp_path / "handover"))
    assert (done["outcome"], len(world.open_pulls())) == ("proposed", 1)
    assert done["duel"] == told["duel"] is not None

    left = json.loads((tmp_path / "handover/retraining.json").read_text())
    for change, said in (
        ({"files": {".github/workflows/x.yml": "eA=="}}, "not a file that a retraining writes"),
        ({"files": {"lockgate.yaml": "eA=="}}, "not a file that a retraining writes"),
        ({"files": {"reports/../train.py": "eA=="}}, "not a clean path"),
        ({"files": {"/dvc.lock": "eA=="}}, "not a clean path"),
        ({"files": {"dvc.lock": "&"}}, "cannot be read"),
        ({"outcome": "merged"}, "has the outcome"),
        ({"model": "another"}, "is of the model 'another'"),
        ({"schema": "lockgate.retraining/9"}, "is no lockgate.retraining/1"),
        ({"files": []}, "cannot be read"),
    ):
        (tmp_path / "handover/retraining.json").write_text(json.dumps({**left, **change}))
        world.retrain("--from", str(tmp_path / "handover"), code=1)
        assert said in world.said
    assert len(world.open_pulls()) == 1


def test_a_policy_that_does_not_say_how_the_data_move_is_told_what_to_write(world: World) -> None:
    text = (world.project.root / "lockgate.yaml").read_text().partition("retrain:")[0]
    world.project.write("lockgate.yaml", text)
    world.project.commit("no retraining")
    world.project.git("push", "-q", "origin", "main")
    world.retrain(code=3)
    assert "retrain: {set:" in world.said
