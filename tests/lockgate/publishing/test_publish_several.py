"""Two models in one repository, from pull request to promotion: what touches one neither runs nor judges the other."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e import forge as forges
from tests.e2e.forge import git
from tests.lockgate import two_models
from tests.lockgate.factory import Project
from tests.lockgate.publishing.conftest import REPOSITORY, Scene
from tests.lockgate.two_models import ARRIVALS, RISK

from lockgate import cli
from lockgate.dvc.stages import DvcProcess
from lockgate.publishing import artifact
from lockgate.publishing.check import judge
from lockgate.releasing.environments import Environment
from lockgate.releasing.registry import Registry
from lockgate.releasing.signing import KeyVerifier, create_key_pair
from lockgate.result import Results, read_results
from lockgate.store import open_store


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, no_configuration_of_this_machine: None) -> Iterator[Project]:
    """The project with two models, a clone of it on a forge, and what was made on its way."""
    folder = tmp_path_factory.mktemp("several")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        project = Project.create(folder / "project")
        patch.chdir(project.root)
        two_models.make(project)
        project.push()
        yield project


@pytest.fixture(scope="module")
def changed(world: Project) -> Iterator[Scene]:
    """A pull request that makes ``arrivals`` better, with what its run left."""
    folder = world.root.parent
    with pytest.MonkeyPatch.context() as patch, forges.running(folder) as forge:
        patch.setenv("SSL_CERT_FILE", str(forge.certificate))
        patch.setenv("GIT_SSL_CAINFO", str(forge.certificate))
        bare = forge.repository(REPOSITORY)
        world.git("push", "-q", str(bare), "main")
        world.git("remote", "add", "origin", str(bare))
        world.git("fetch", "-q", "origin")
        world.git("checkout", "-q", "-b", "change")
        two_models.set_params(world, "arrivals", noise=0.5)
        head = world.commit("less noise")
        world.git("push", "-q", "origin", "change")
        honest = left_by(world)
        git(folder, "clone", "-q", str(bare), "hub")
        git(folder / "hub", "remote", "set-url", "origin", f"{forge.address}/{REPOSITORY}")
        yield Scene(forge, folder, folder / "hub", world.git("rev-parse", "main").strip(), head, honest)


def left_by(project: Project) -> dict[str, bytes]:
    """Check the pull request of the working tree; return what the run leaves."""
    folder = project.root.parent / "handover"
    with DvcProcess(project.root) as dvc:
        artifact.write(folder, judge(project.root, "origin/main", dvc))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def result_of(scene: Scene) -> Results:
    found = read_results(scene.honest["result.json"])
    assert isinstance(found, Results)
    return found


def statuses(scene: Scene) -> dict[str, str]:
    """Return the status of each name on the tip of the branch."""
    tip = scene.forge.tip(REPOSITORY, "change")
    return {one["context"]: one["state"] for one in reversed(scene.forge.statuses[tip])}


def publish(scene: Scene, files: Any) -> str:
    """Publish what a run left, and return the comment."""
    scene.begin_again()
    number = scene.propose()
    scene.publish(scene.run(files), apart=files is scene.honest)
    (comment,) = [one["body"] for one in scene.forge.comments[number]]
    return str(comment)


def test_what_touches_one_model_runs_and_judges_that_one_alone(changed: Scene) -> None:
    result = result_of(changed)

    assert [one.model for one in result.models] == [ARRIVALS]
    assert result.untouched == (RISK,)
    assert result.execution is not None
    ran = {run.name for run in result.execution.stages if run.status == "ran"}
    assert ran == {"arrivals/dvc.yaml:train", "arrivals/dvc.yaml:evaluate"}
    assert {stage.name for stage in result.models[0].stages} == ran | {"prepare"}


def test_each_model_has_a_status_beside_the_one_that_sums_up(changed: Scene) -> None:
    comment = publish(changed, changed.honest)

    assert comment.startswith("### ✅ arrivals passed")
    assert "Not touched: `cancellations:risk`." in comment
    assert statuses(changed) == {
        "lockgate/main": "success",
        "lockgate/main/arrivals": "success",
        "lockgate/main/cancellations:risk": "success",
    }
    tip = changed.forge.tip(REPOSITORY, "change")  # with the lock of the run
    bare = changed.forge.repository(REPOSITORY)
    assert git(bare, "show", "--name-only", "--format=", tip).split() == ["arrivals/dvc.lock", "arrivals/metrics.json"]


def forged(change: Callable[[dict[str, Any]], None]) -> Callable[[Scene], dict[str, bytes]]:
    def files(scene: Scene) -> dict[str, bytes]:
        told = json.loads(scene.honest["result.json"])
        change(told)
        return {**scene.honest, "result.json": json.dumps(told).encode()}

    return files


def hidden(told: dict[str, Any]) -> None:
    told["untouched"] = [ARRIVALS, RISK]
    told["models"] = []


@pytest.mark.parametrize(
    "change",
    [
        hidden,
        lambda told: told["untouched"].clear(),
        lambda told: told["models"][0].update(model=RISK),
        lambda told: told["models"][0]["metrics"][0].update(head=0.99),
        lambda told: told["verdict"].update(reason="splendid"),
        lambda told: told["removed"].append(RISK),
    ],
    ids=[
        "hidden",
        "no other",
        "another name",
        "a better figure",
        "another verdict",
        "removed",
    ],
)
def test_a_result_that_says_something_else_of_the_models_fails_for_all_of_them(
    changed: Scene, change: Callable[[dict[str, Any]], None]
) -> None:
    comment = publish(changed, forged(change)(changed))

    assert "failed validation" in comment
    assert set(statuses(changed).values()) == {"error"}
    assert len(statuses(changed)) == 3


def test_a_result_of_one_model_is_none_of_a_repository_with_two(changed: Scene) -> None:
    one = result_of(changed).models[0]

    assert "failed validation" in publish(changed, {**changed.honest, "result.json": one.to_json().encode()})


def test_one_model_is_released_and_promoted_without_the_other(
    world: Project, changed: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    create_key_pair(tmp_path / "lockgate.key", tmp_path / "lockgate.pub")
    shutil.copytree(world.root, tmp_path / "project", symlinks=True)
    shutil.copytree(world.remote, tmp_path / "remote")
    merged = Project(tmp_path / "project")
    monkeypatch.chdir(merged.root)
    for name, value in (
        ("LOCKGATE_STORE", str(tmp_path / "store")),
        ("LOCKGATE_PRIVATE_KEY", str(tmp_path / "lockgate.key")),
        ("LOCKGATE_PUBLIC_KEY", str(tmp_path / "lockgate.pub")),
        ("GITHUB_ACTOR", "ana"),
    ):
        monkeypatch.setenv(name, value)
    merged.git("checkout", "-q", "-B", "main")
    two_models.run(merged)
    merged.write("cancellations/params.yaml", "train: {noise: 5.0, seed: 1}\n")  # whose lock is behind: not released
    merged.commit("merged")
    merged.git("update-ref", "refs/remotes/origin/main", "main")
    for tag in ("arrivals@v1.0.0", "cancellations=risk@v1.0.0", "arivals@v1.0.0"):
        merged.git("tag", "-a", tag, "-m", "the first")

    assert cli.main(["release", "arrivals@v1.0.0", "--dependencies", "current"]) == 0
    assert "cancellations" not in capsys.readouterr().out
    assert cli.main(["release", "cancellations=risk@v1.0.0", "--dependencies", "current"]) == 1
    assert "does not belong to its code: stage 'cancellations/dvc.yaml:train'" in capsys.readouterr().err
    assert cli.main(["release", "arivals@v1.0.0"]) == 1
    assert "did you mean 'arrivals'" in capsys.readouterr().err
    merged.git("tag", "-a", "arrivals#staging#1", "-m", "to staging")
    assert cli.main(["promote", "--tag", "arrivals#staging#1"]) == 0
    assert cli.main(["promote", "arrivals@v1.0.0", "production"]) == 0  # after staging, as its own policy has it

    store = open_store(str(tmp_path / "store"))
    registry = Registry(store, "arrivals", KeyVerifier(tmp_path / "lockgate.pub"))
    assert store.folders() == ["arrivals"]
    assert [entry.version for entry in Environment(registry, "production").history()] == ["v1.0.0"]
    facts = registry.release("v1.0.0").manifest.facts
    assert sorted(facts["outputs"]) == [  # type: ignore[call-overload]
        "arrivals/metrics.json", "arrivals/model.json", "arrivals/predictions.parquet", "shared.json",
    ]  # fmt: skip
    assert facts["metrics"].keys() == {"roc_auc"}  # type: ignore[attr-defined]
