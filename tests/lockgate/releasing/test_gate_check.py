"""Releases judged by gates that changed since: on builds whose manifests hold the words of the gates, as of 2026-11."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.lockgate.frozen import FROZEN, frozen_registry
from tests.lockgate.releases import ACTOR, Keys

from lockgate import gates, policy
from lockgate.releasing.environments import Environment
from lockgate.releasing.gate_check import judge
from lockgate.releasing.promotion import GateClosed, promote
from lockgate.releasing.registry import Registry

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")
THEN = policy.read_policy((FROZEN / "policy.yaml").read_bytes())


@pytest.fixture
def old(tmp_path: Path, keys: Keys) -> Registry:
    return frozen_registry(tmp_path, keys)


def asked(*gates: gates.Gate, whole: policy.Policy = THEN) -> tuple[policy.Environment, policy.Policy]:
    """Return an environment with these gates, and a policy that it stands in."""
    place = policy.Environment("preview", None, "none", gates)
    return place, replace(whole, environments=(*whole.environments, place))


def test_the_gates_of_a_release_are_known_by_what_they_mean(old: Registry) -> None:
    build = old.release("v1.1.0")
    for gate in (*THEN.gates, *THEN.environments[1].gates):
        found = judge(old, build, gate, THEN)
        assert (found.passed, found.now) == (True, False), gate


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        (gates.Floor("roc_auc", 0.65), True),
        (gates.Floor("roc_auc", 0.99), False),
        (gates.Ceiling("log_loss", 0.7), True),
        (gates.Ceiling("log_loss", 0.5), False),
        (gates.ModelSize(25), True),
        (gates.ModelSize(24), False),
    ],
)
def test_a_limit_that_changed_is_judged_from_the_figures_in_the_build(
    old: Registry, gate: gates.Gate, passed: bool
) -> None:
    found = judge(old, old.release("v1.1.0"), gate, THEN)
    assert (found.passed, found.now) == (passed, True)


@pytest.mark.parametrize(
    "gate",
    [
        gates.NoWorse("roc_auc", 0.001),
        gates.SlicesNoWorse("roc_auc", 0.01, 50, ()),
    ],
)
def test_what_the_figures_do_not_say_is_not_judged(old: Registry, gate: gates.Gate) -> None:
    assert judge(old, old.release("v1.1.0"), gate, THEN).passed is None


def test_a_metric_that_means_something_else_today_is_not_judged_by_its_name(old: Registry) -> None:
    other = replace(THEN, metrics=tuple(replace(one, key=f"other.{one.key}") for one in THEN.metrics))
    gate = gates.Floor("roc_auc", 0.5)
    assert judge(old, old.release("v1.1.0"), gate, other).passed is None
    assert judge(old, old.release("v1.1.0"), gates.Floor("roc_auc", 0.6), other).passed is None


def test_a_metric_with_another_name_and_the_same_meaning_is_judged(old: Registry) -> None:
    renamed = replace(THEN, metrics=tuple(replace(one, name=f"my_{one.name}") for one in THEN.metrics))
    assert judge(old, old.release("v1.1.0"), gates.Floor("my_roc_auc", 0.6), renamed).now is False
    assert judge(old, old.release("v1.1.0"), gates.Floor("my_roc_auc", 0.99), renamed).passed is False


def test_a_stricter_gate_closes_the_environment_to_what_was_judged_by_a_laxer_one(old: Registry, keys: Keys) -> None:
    rules, whole = asked(gates.Floor("roc_auc", 0.99))
    with pytest.raises(GateClosed, match="roc_auc at least"):
        promote(old, "v1.1.0", rules, keys.signer, ACTOR, whole=whole)
    assert Environment(old, "preview").history() == []


def test_a_release_judged_now_enters_and_the_log_says_by_which_figures(old: Registry, keys: Keys) -> None:
    rules, whole = asked(gates.Floor("roc_auc", 0.65), gates.Floor("roc_auc", 0.6))
    entry, appended = promote(old, "v1.1.0", rules, keys.signer, ACTOR, whole=whole)
    assert appended
    assert entry is not None
    assert [(one["rule"], one["measured"]) for one in entry.judged] == [("roc_auc at least 0.65", "0.677277")]
    assert Environment(old, "preview").verify() == [entry]


def test_a_gate_that_the_figures_do_not_answer_closes_the_environment(old: Registry, keys: Keys) -> None:
    rules, whole = asked(gates.NoWorse("roc_auc", 0.001))
    with pytest.raises(GateClosed, match="do not suffice"):
        promote(old, "v1.1.0", rules, keys.signer, ACTOR, whole=whole)


def test_the_same_gate_elsewhere_in_the_policy_is_the_same_gate(old: Registry, keys: Keys) -> None:
    rules, whole = asked(gates.NoWorse("roc_auc", 0.002))
    entry, appended = promote(old, "v1.1.0", rules, keys.signer, ACTOR, whole=whole)
    assert appended
    assert entry is not None
    assert entry.judged == ()
