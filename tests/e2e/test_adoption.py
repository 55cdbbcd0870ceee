"""A repository that knows nothing of Lockgate: `lockgate init`, and what it lays down, through to production."""

import shutil
from pathlib import Path

import pytest
from tests.e2e.forge import git
from tests.e2e.jobs import Settings
from tests.e2e.test_pull_requests import LESS_NOISE
from tests.e2e.world import BUCKET, HERE, REPOSITORY, ROOT, World, bucket, stored

from lockgate.cli import main
from lockgate.releasing.signing import create_key_pair

pytestmark = pytest.mark.slow

COMMIT = "c0ffee" + "0" * 34


def adopt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what is Lockgate's out of the project, and have `lockgate init` propose it; merge that."""
    ours = (".github", "lockgate.yaml", "Makefile", ".python-version", "requirements")
    clone = world.clone()
    git(clone, "rm", "-rq", *ours)
    git(clone, "commit", "-q", "-m", "A pipeline, and no Lockgate")
    git(clone, "push", "-q", "origin", "main")
    origin = str(world.forge.repository(REPOSITORY))
    git(clone, "remote", "set-url", "origin", f"https://github.com/{REPOSITORY}")
    git(clone, "config", f"url.{origin}.insteadOf", f"https://github.com/{REPOSITORY}")
    for name, value in world.store.environment("seeder").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(world.folder / "site"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    monkeypatch.delenv("GH_TOKEN", raising=False)
    monkeypatch.chdir(clone)
    assert main(["init", "--releases", "--pin", COMMIT]) == 0
    git(clone, "merge", "-q", "--no-ff", "-m", "Merge pull request #1", "lockgate-init")
    policy = (clone / "lockgate.yaml").read_text()
    assert "train: {seed: train.seed}" in policy
    (clone / "lockgate.yaml").write_text(policy.replace("{seed: train.seed}", "{seed: train.seed, repeats: 2}"))
    git(clone, "commit", "-q", "-a", "-m", "Train again under other seeds")
    git(clone, "push", "-q", "origin", "main")
    assert main(["init", "--pin", COMMIT]) == 0  # once more: what the policy now asks for
    git(clone, "merge", "-q", "--no-ff", "-m", "Merge pull request #2", "lockgate-init")
    git(clone, "push", "-q", "origin", "main")
    program = world.folder / "program"
    shutil.copytree(ROOT / ".github", program / ".github")
    shutil.copy(HERE / "project/Makefile", program)
    world.prefix, world.program = "lockgate-", (COMMIT, program)
    world.workflows = clone / ".github/workflows"


def test_what_init_lays_down_takes_a_change_through_review_and_release_to_production(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    adopt(world, monkeypatch)
    assert "pull request: https://github.com/lab/model/compare/main...lockgate-init" in capsys.readouterr().out

    number = world.propose("less-noise", world.edited(*LESS_NOISE))
    run = world.check(number)
    assert run.code == 0, run.log
    published = world.publish(run)
    assert published.code == 0, published.log
    (comment,) = world.comments(number)
    assert "- `train.noise`: `1.0` → `0.5`" in comment
    head = world.forge.tip(REPOSITORY, "less-noise")
    assert world.status(head) == "pending"  # better for this model: whether it is luck of the seed is not known yet
    repeated = world.check(number, workflow="repeats")
    assert repeated.code == 0, repeated.log
    completed = world.publish(repeated)
    assert completed.code == 0, completed.log
    (comment,) = world.comments(number)
    assert "<b>Training noise</b>: 2 seeds of base, 2 seeds of head" in comment
    assert "older" not in comment  # the proposal is written in today's words
    assert world.status(head) == "success"

    before = world.objects("trusted")
    world.merge(number)
    admitted = world.main()
    assert admitted.code == 0, admitted.log
    assert world.objects("trusted") > before

    private, public = tmp_path / "lockgate.key", tmp_path / "lockgate.pub"
    create_key_pair(private, public)
    key = {"LOCKGATE_PRIVATE_KEY": private.read_text()}
    world.variables |= {
        "LOCKGATE_STORE": f"s3://{BUCKET}/releases",
        "LOCKGATE_ENDPOINT": world.store.endpoint,
        "LOCKGATE_PUBLIC_KEY": public.read_text(),
    }
    world.environments["release"] = Settings({"LOCKGATE_RELEASE_ROLE": "role/release"}, key)
    for environment in ("staging", "production"):
        world.environments[environment] = Settings({"LOCKGATE_PROMOTE_ROLE": f"role/promote-{environment}"}, key)
    for tag in ("tiny@v1.0.0", "tiny#staging#1", "tiny#production#2"):  # production takes what was rebuilt in full
        world.tag(tag)
        done = world.tagged(tag)
        assert done.code == 0, done.log
    for environment in ("staging", "production"):
        (entry,) = [
            path for path in stored(world.store) if path.startswith(f"releases/tiny/environments/{environment}/")
        ]
        assert b"v1.0.0" in bytes(bucket(world.store).get(entry).bytes())
