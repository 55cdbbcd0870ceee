"""Whole pull requests: the real workflows, git over HTTPS, an object store with a role for each half."""

import pytest
from tests.e2e.world import REPOSITORY, World

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("e2e")]


def test_a_parameter_only_change_runs_two_stages_and_is_told_locked_and_marked(world: World) -> None:
    number = world.propose("less-noise", world.edited("params.yaml", "noise: 1.0", "noise: 0.5"))
    head = world.forge.tip(REPOSITORY, "less-noise")

    run = world.check(number)
    done = world.publish(run)

    assert run.code == 0, run.log
    assert done.code == 0, done.log
    (comment,) = world.comments(number)
    assert comment.startswith("### ✅")
    assert "`train.noise`" in comment
    new = world.forge.tip(REPOSITORY, "less-noise")
    assert world.status(new) == "success"
