"""A retraining by the real workflows: two jobs, one pull request, and the check that it was given."""

import pytest
from tests.e2e.forge import BOT, git
from tests.e2e.world import REPOSITORY, World

pytestmark = pytest.mark.slow


def test_a_retraining_opens_one_pull_request_whose_check_runs_and_is_answered(world: World) -> None:
    policy = world.read("lockgate.yaml") + "retrain: {set: {ingest.months: next number}, open: always}\n"
    world.push(REPOSITORY, "main", {"lockgate.yaml": policy})

    trained = world.retrain()

    assert trained.code == 0, trained.log
    [number] = world.forge.pulls
    pull = world.forge.pull(number)
    assert (pull["title"], pull["base"]["ref"]) == ("Retrain tiny: ingest.months 2 → 3", "main")
    assert "Not compared" in pull["body"]  # nothing serves yet
    repository = world.forge.repository(REPOSITORY)
    tip = pull["head"]["sha"]
    assert git(repository, "show", "--format=%an", "--name-only", tip).split("\n") == [
        BOT, "", "dvc.lock", "params.yaml", "reports/metrics.json",
    ]  # fmt: skip
    assert world.forge.dispatched == [("pull-request.yml", pull["head"]["ref"], {"base": "main"})]

    run = world.dispatched(number)
    assert run.code == 0, run.log
    done = world.publish(run)

    assert done.code == 0, done.log
    assert world.status(tip) == "success"
    (comment,) = world.comments(number)
    assert "`ingest.months`: `2` → `3`" in comment
    lock = world.result(run).lock
    assert lock is not None
    assert lock.status == "reproduced"  # what the retraining locked is what the check came to
    again = world.retrain()
    assert again.code == 0, again.log
    assert (list(world.forge.pulls), world.forge.tip(REPOSITORY, pull["head"]["ref"])) == ([number], tip)
    assert len(world.forge.dispatched) == 1
