"""Tags become releases and promotions by the real workflows, in a bucket where each role may only create; what the
production environment then runs is verified, fetched and served from there."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests import seaweed
from tests.e2e.conftest import begin_again
from tests.e2e.forge import Forge, git
from tests.e2e.jobs import Settings, started_by
from tests.e2e.world import BUCKET, REPOSITORY, VENV, Done, Left, World, bucket, stored
from tests.fault_proxy import Answer, Fault, FaultProxy, Request, fault_proxy
from tests.lockgate.serving_harness import serving

from lockgate.releasing.signing import create_key_pair

pytestmark = pytest.mark.slow

STORE = f"s3://{BUCKET}/releases"
ROOT = "releases/tiny"
FILES = {
    "manifest.json", "model.sig", "model.json", "model-card.md", "report.html", "provenance.json",
    "components.cdx.json", "dvc.yaml", "dvc.lock", "params.yaml", "lockgate.yaml",
    "tiny_model-0.1.0-py2.py3-none-any.whl", "serving.json", "request.json", "samples.json",
    "reference.json",
}  # fmt: skip
STATIC = {"LOCKGATE_PROMOTE_KEY_ID": "promote-production", "LOCKGATE_PROMOTE_KEY": seaweed.secret("promote-production")}
OTHERS = {"LOCKGATE_PROMOTE_KEY_ID": "promote-staging", "LOCKGATE_PROMOTE_KEY": seaweed.secret("promote-staging")}


@dataclass
class Shipped:
    """A project whose first version was released and promoted by tags."""

    world: World
    door: FaultProxy
    private_key: Path
    public_key: Path
    runs: dict[str, Done] = field(default_factory=dict)
    held: dict[str, dict[str, str]] = field(default_factory=dict)  # after which run the store held which objects

    def ship(self, tag: str, label: str = "", **more: Any) -> Done:
        """Push a tag, if it is not there yet, and run the workflow that it starts."""
        if not git(self.world.forge.repository(REPOSITORY), "tag", "--list", tag):
            self.world.tag(tag, "main", f"because of {tag}")
        run = self.runs[label or tag] = self.world.tagged(tag, **more)
        self.held[label or tag] = self.objects()
        return run

    def objects(self) -> dict[str, str]:
        """Return the objects of the store of releases: path → what tells its content from another."""
        found = {path: tag for path, tag in stored(self.world.store).items() if path.startswith("releases/")}
        assert all(path.startswith(f"{ROOT}/") for path in found)
        return {path.removeprefix(f"{ROOT}/"): tag for path, tag in found.items()}

    def read(self, path: str) -> bytes:
        """Return the bytes of an object of the store of releases."""
        return bytes(bucket(self.world.store).get(f"{ROOT}/{path}").bytes())

    def document(self, path: str) -> Any:
        """Return what a signed document says."""
        return json.loads(self.read(path))["payload"]

    def samples(self, version: str) -> list[tuple[dict[str, Any], float]]:
        """Return the sample requests of a release, and the probabilities that were stored with them."""
        build = self.document(f"releases/{version}.json")["manifest"]
        told = json.loads(self.read(f"builds/{build}/samples.json"))
        return list(zip(told["requests"], told["probabilities"], strict=True))

    def environment(self, user: str) -> dict[str, str]:
        """Return the variables of somebody who knows the store, whom to trust, and nothing else."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LOCKGATE_"))},
            **self.world.store.environment(user, self.door.endpoint),
            "LOCKGATE_STORE": STORE,
            "LOCKGATE_PUBLIC_KEY": str(self.public_key),
        }

    def lockgate(self, *words: str, user: str = "scoring", folder: Path | None = None) -> tuple[int, str, str]:
        """Run a command, by default outside any repository: exit code, stdout, stderr."""
        done = subprocess.run(
            [VENV / "bin/lockgate", *words], cwd=folder or self.world.folder, env=self.environment(user),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr


def only_creates(request: Request) -> Fault:
    """Be the bucket's policy that the documentation asks for: nothing is replaced, nothing removed."""
    if request.method == "GET" or (request.writes() and request.headers.get("if-none-match") == "*"):
        return None
    return Answer(403, "AccessDenied")


@pytest.fixture(scope="module")
def first(
    scene: tuple[Path, Forge, seaweed.Seaweed],
    seeded: dict[str, tuple[str, bytes]],
    checked: Left,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Shipped]:
    """The first version: released, refused by production, then in staging and in production."""
    folder = tmp_path_factory.mktemp("shipped")
    private, public = folder / "lockgate.key", folder / "lockgate.pub"
    create_key_pair(private, public)
    _, forge, store = scene
    with fault_proxy(store.endpoint) as door:
        door.plan = only_creates
        world = World(folder, forge, store)
        key = {"LOCKGATE_PRIVATE_KEY": private.read_text()}
        world.variables |= {"LOCKGATE_STORE": STORE, "LOCKGATE_ENDPOINT": door.endpoint}
        world.variables |= {"LOCKGATE_PUBLIC_KEY": public.read_text()}
        world.environments["release"] = Settings({"LOCKGATE_RELEASE_ROLE": "role/release"}, key)
        world.environments["staging"] = Settings({"LOCKGATE_PROMOTE_ROLE": "role/promote-staging"}, key)
        shipped = Shipped(world, door, private, public)
        shipped.ship("tiny@v1.0.0")
        world.environments["production"] = Settings({}, key | STATIC)
        shipped.ship("tiny#production#1")
        shipped.ship("tiny#staging#1")
        world.environments["production"] = Settings({}, key | OTHERS)
        shipped.ship("tiny#production#2", "as another")
        world.environments["production"] = Settings({}, key | STATIC)
        shipped.ship("tiny#production#2")
        yield shipped
    begin_again(scene, seeded)


@pytest.fixture
def shipped(first: Shipped, tmp_path: Path) -> Iterator[Shipped]:
    """The first version; whatever a test adds to the store and the repository is taken away again."""
    world, held = first.world, stored(first.world.store)
    shutil.copytree(world.forge.folder, tmp_path / "forge")
    yield first
    shutil.rmtree(world.forge.folder)
    shutil.copytree(tmp_path / "forge", world.forge.folder)
    if gone := [path for path in stored(world.store) if path not in held]:
        bucket(world.store).delete(gone)


def test_a_pushed_tag_becomes_one_release_rebuilt_in_full_and_announced(shipped: Shipped) -> None:
    run, held = shipped.runs["tiny@v1.0.0"], shipped.held["tiny@v1.0.0"]
    assert run.code == 0, run.log
    record = shipped.document("releases/v1.0.0.json")
    build = record["manifest"]
    facts = json.loads(shipped.read(f"builds/{build}/manifest.json"))["facts"]
    assert set(held) == {f"builds/{build}/{name}" for name in FILES} | {f"claims/{build}.json", "releases/v1.0.0.json"}
    assert facts["commit"] == shipped.world.forge.tip(REPOSITORY, "main")
    assert {"level": "full", "outputs": 7}.items() <= facts["rebuild"].items()
    assert record["actor"] == "ada"
    announced = shipped.world.forge.releases["tiny@v1.0.0"]
    assert announced["body"].encode() == shipped.read(f"builds/{build}/model-card.md")
    assert "7 of 7 outputs are the same, byte for byte" in run.log  # act shows each job's summary
    assert "<pre><code>tiny@v1.0.0 of " in run.log


def test_the_store_was_never_asked_to_replace_or_remove_anything(shipped: Shipped) -> None:
    written = [request.path for request in shipped.door.requests if request.writes()]
    assert len(written) > len(FILES)
    assert shipped.door.faults == []


def test_production_before_staging_is_refused_with_the_reason_and_writes_nothing(shipped: Shipped) -> None:
    run = shipped.runs["tiny#production#1"]
    assert run.code == 1, run.log
    assert "lockgate: tiny@v1.0.0 may not be promoted to production: it was never in staging" in run.log
    assert "<pre><code>tiny@v1.0.0 may not be promoted to production: it was never in staging" in run.log
    assert shipped.held["tiny#production#1"] == shipped.held["tiny@v1.0.0"]


def test_the_role_of_another_environment_promotes_nothing_and_the_workflow_run_again_completes(
    shipped: Shipped,
) -> None:
    refused, run = shipped.runs["as another"], shipped.runs["tiny#production#2"]
    assert refused.code == 1, refused.log
    assert f"{STORE} refused these credentials, or does not let them do this (403 AccessDenied)" in refused.log
    assert seaweed.secret("promote-staging") not in refused.log
    assert shipped.held["as another"] == shipped.held["tiny#staging#1"]
    assert run.code == 0, run.log


def test_each_promotion_adds_one_entry_that_says_who_why_and_by_which_tag(shipped: Shipped) -> None:
    before = shipped.held["tiny@v1.0.0"]
    for tag, environment in (("tiny#staging#1", "staging"), ("tiny#production#2", "production")):
        after, run = shipped.held[tag], shipped.runs[tag]
        assert run.code == 0, run.log
        (path,) = set(after) - set(before)
        entry = shipped.document(path)
        assert path.startswith(f"environments/{environment}/")
        assert before.items() <= after.items()
        told = [entry[key] for key in ("version", "number", "actor", "tag", "reason", "action")]
        assert told == ["v1.0.0", 1, "ada", tag, f"because of {tag}", "promote"]
        assert f"<pre><code>{environment} runs v1.0.0: entry 1 by ada" in run.log
        before = after


def test_the_workflow_run_again_for_the_same_tag_changes_no_object(shipped: Shipped) -> None:
    before, announced = shipped.objects(), dict(shipped.world.forge.releases)

    run = shipped.ship("tiny@v1.0.0", "again")

    assert run.code == 0, run.log
    assert "nothing to do: it was released before, and every byte of it is as it was signed" in run.log
    assert shipped.objects() == before
    assert shipped.world.forge.releases == announced


def test_a_tag_that_is_not_on_the_default_branch_is_refused_before_anything_runs(shipped: Shipped) -> None:
    world, before = shipped.world, shipped.objects()
    clone = world.clone()
    git(clone, "checkout", "-q", "-b", "side")
    sha = world.push(REPOSITORY, "side", {"README.md": "not merged"}, clone=clone)
    world.tag("tiny@v1.1.0", sha)

    run = shipped.ship("tiny@v1.1.0")

    assert run.code == 1, run.log
    assert f"the tag 'tiny@v1.1.0' is at {sha[:12]}, which is not on origin/main" in run.log
    assert "Running stage" not in run.log
    assert "[release/release]" not in run.log
    assert shipped.objects() == before
    assert "tiny@v1.1.0" not in world.forge.releases


def test_without_a_key_pair_the_workflow_asks_sigstore_and_trusts_no_key(shipped: Shipped) -> None:
    before, variables = shipped.objects(), shipped.world.variables
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1"}
    key = variables.pop("LOCKGATE_PUBLIC_KEY")
    try:
        run = shipped.ship("tiny#staging#2", environment=nowhere)
    finally:
        variables["LOCKGATE_PUBLIC_KEY"] = key

    assert run.code == 1, run.log
    assert "Sigstore's trusted root could not be had" in run.log
    assert shipped.objects() == before


def test_a_reader_verifies_it_all_and_git_knows_of_the_promotion_that_was_refused(shipped: Shipped) -> None:
    clone = shipped.world.clone()
    git(clone, "fetch", "-q", "--tags")

    code, _, said = shipped.lockgate("verify", "production", folder=clone)
    assert (code, "the log of 'production' knows nothing of tiny#production#1" in said) == (1, True), said
    git(clone, "tag", "--delete", "tiny#production#1")
    code, told, said = shipped.lockgate("verify", "production", "--json", folder=clone)

    assert code == 0, said
    assert json.loads(told) | {"release": "tiny@v1.0.0", "entries": 1, "tags": 3, "verified": True} == json.loads(told)


def test_a_reader_sees_what_ran_where_and_fetches_what_was_signed(shipped: Shipped, tmp_path: Path) -> None:
    _, history, _ = shipped.lockgate("history")
    _, shown, _ = shipped.lockgate("show", "production", "--json")
    code, _, said = shipped.lockgate("fetch", "production", str(tmp_path / "model"))

    assert [line.split()[:5] for line in history.splitlines() if line.startswith("*  ")] == [
        ["*", "production", "1", "promote", "v1.0.0"],
        ["*", "staging", "1", "promote", "v1.0.0"],
    ]
    build = shipped.document("releases/v1.0.0.json")["manifest"]
    assert build in shown
    assert code == 0, said
    fetched = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert fetched == {name: shipped.read(f"builds/{build}/{name}") for name in FILES}


def test_the_service_answers_as_was_released_and_swaps_with_the_next_promotion_and_the_rollback(
    shipped: Shipped, checked: Left, tmp_path: Path
) -> None:
    world = shipped.world
    words = [str(VENV / "bin/lockgate"), "serve", "production", "--store", STORE, "--port", "0", "--poll", "0.5"]
    words += ["--cache", str(tmp_path / "cache")]
    request, expected = shipped.samples("v1.0.0")[-1]
    with serving(words, tmp_path / "log", **shipped.environment("scoring")) as service:
        answer = service.predict(request)
        assert answer["release"] == "tiny@v1.0.0"
        assert answer["probabilities"] == pytest.approx([expected], abs=1e-9)

        number = world.propose("less-noise", world.edited("params.yaml", "noise: 1.0", "noise: 0.5"))
        runs = [world.publish_here(world.repeat(number, checked))]
        world.merge(number)
        runs.append(world.main())
        runs += [shipped.ship(tag) for tag in ("tiny@v1.1.0", "tiny#staging#2", "tiny#production#3")]
        for run in runs:
            assert run.code == 0, run.log
        card = world.forge.releases["tiny@v1.1.0"]["body"]
        assert "v1.0.0" in card  # compared with the release before, whose rows the role reads from DVC's remote

        better = next(probability for asked, probability in shipped.samples("v1.1.0") if asked == request)
        assert abs(better - expected) > 0.01
        answer = service.until(lambda: (told := service.predict(request))["release"] == "tiny@v1.1.0" and told)
        assert answer["probabilities"] == pytest.approx([better], abs=1e-9)

        back = ("rollback", "production", "--reason", "as before", "--private-key", str(shipped.private_key))
        code, _, said = shipped.lockgate(*back, user="promote-production", folder=world.clone())
        assert code == 0, said
        answer = service.until(lambda: (told := service.predict(request))["release"] == "tiny@v1.0.0" and told)
        assert answer["probabilities"] == pytest.approx([expected], abs=1e-9)
        assert service.ready()["degraded"] is False


def test_a_withdrawn_release_is_promoted_no_more(shipped: Shipped) -> None:
    before = shipped.objects()

    run, again = shipped.ship("tiny@v1.0.0!"), shipped.ship("tiny@v1.0.0!", "withdrawn again")
    refused = shipped.ship("tiny#staging#2")

    assert (run.code, again.code) == (0, 0), run.log + again.log
    assert set(shipped.held["tiny@v1.0.0!"]) - set(before) == {"withdrawals/v1.0.0.json"}
    told = shipped.document("withdrawals/v1.0.0.json")
    assert [told[key] for key in ("version", "actor", "reason")] == ["v1.0.0", "ada", "because of tiny@v1.0.0!"]
    assert refused.code == 1, refused.log
    assert "tiny@v1.0.0 was withdrawn" in refused.log
    assert shipped.objects() == shipped.held["tiny@v1.0.0!"]


def test_every_hour_a_role_that_may_do_nothing_else_states_how_long_the_log_is(shipped: Shipped) -> None:
    world, before = shipped.world, shipped.objects()
    world.variables["LOCKGATE_HEARTBEAT"] = "production"
    key = world.environments["release"].secrets
    world.environments["heartbeat"] = Settings({"LOCKGATE_HEARTBEAT_ROLE": "role/heartbeat"}, key)
    try:
        run = world.scheduled("heartbeat.yml")
    finally:
        del world.variables["LOCKGATE_HEARTBEAT"], world.environments["heartbeat"]

    assert run.code == 0, run.log
    (path,) = set(shipped.objects()) - set(before)
    assert path.startswith("heartbeats/production/")
    assert {"environment": "production", "number": 1}.items() <= shipped.document(path).items()
    code, _, said = shipped.lockgate("verify", "production", "--max-age", "1h")
    assert code == 0, said
    code, _, said = shipped.lockgate("verify", "staging", "--max-age", "1h")
    assert code == 1, said


@pytest.mark.parametrize(
    ("tag", "workflows"),
    [
        ("tiny@v1.0.0", ["release.yml"]),
        ("tiny@v1.0.0-rc.1", ["release.yml"]),
        ("tiny#staging#1", ["promote.yml"]),
        ("tiny#production#12", ["promote.yml"]),
        ("models=tiny@v1.0.0", ["release.yml"]),
        ("models/late=tiny@v1.0.0-rc.1", ["release.yml"]),
        ("models/late=tiny#staging#1", ["promote.yml"]),
        ("tiny@v1.0.0!", ["withdraw.yml"]),
        ("models/late=tiny@v1.0.0-rc.1!", ["withdraw.yml"]),
        ("tiny#staging!#2", ["promote.yml"]),
        ("models/late=tiny#production!#2", ["promote.yml"]),
        ("tiny#staging!", []),
        ("tiny@v1.0.0!#2", []),
        ("tiny@v1.0", []),
        ("v1.0.0", ["package.yml"]),
        ("-x@v1.0.0", []),
        ("tiny/other@v1.0.0", []),
        ("tiny#elsewhere#1", []),
        ("tiny#production#$(id)", []),
    ],
)
def test_a_tag_starts_the_one_workflow_that_it_is_for_and_any_other_none(tag: str, workflows: list[str]) -> None:
    assert started_by(World.workflows, tag) == workflows
