import json
import re
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.lockgate.releases import (
    ACTOR,
    FACTS,
    NAME,
    PRODUCTION,
    STAGING,
    Keys,
    a_build,
    contents,
    promoted,
    publish,
    versions_of,
)

from lockgate import gates, policy
from lockgate.cli import main
from lockgate.errors import LockgateError
from lockgate.releasing.environments import Environment
from lockgate.releasing.promotion import GateClosed, promote
from lockgate.releasing.registry import NoSuchRelease, Refused, Registry
from lockgate.releasing.rollback import NothingBefore, RolledBackAlready, rollback
from lockgate.releasing.signing import KeysDoNotFit

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")

POLICY = """\
model: model
metrics:
  roc_auc: {file: metrics.json, key: roc_auc, better: higher}
environments:
  staging:
  production: {after: staging, rebuilt: full}
"""


@pytest.fixture
def released(registry: Registry, keys: Keys, tmp_path: Path) -> Registry:
    """Three releases and nothing promoted."""
    for number, seed in enumerate(("one", "two", "three")):
        publish(registry, keys, a_build(tmp_path / seed, seed), f"v1.{number}.0")
    return registry


def test_a_promotion_says_who_what_when_why_and_for_which_tag(released: Registry, keys: Keys) -> None:
    entry = promoted(released, keys, "v1.0.0", STAGING, reason="first try", tag=f"{NAME}#staging#1")
    assert (entry.version, entry.actor, entry.time, entry.reason, entry.tag) == (
        "v1.0.0",
        ACTOR.name,
        ACTOR.time,
        "first try",
        f"{NAME}#staging#1",
    )
    assert entry.manifest == released.release("v1.0.0").manifest.digest
    assert Environment(released, "staging").head() == entry


def test_the_same_promotion_twice_is_nothing_to_do(released: Registry, keys: Keys) -> None:
    entry = promoted(released, keys, "v1.0.0", STAGING)
    held = contents(released.store)
    assert promote(released, "v1.0.0", STAGING, keys.signer, ACTOR) == (entry, False)
    assert contents(released.store) == held


def test_an_old_tags_workflow_run_again_does_not_promote_again(released: Registry, keys: Keys) -> None:
    old = promoted(released, keys, "v1.0.0", STAGING, tag=f"{NAME}#staging#1")
    promoted(released, keys, "v1.1.0", STAGING, tag=f"{NAME}#staging#2")
    assert promote(released, "v1.0.0", STAGING, keys.signer, ACTOR, tag=f"{NAME}#staging#1") == (old, False)
    assert versions_of(released, "staging") == ["v1.0.0", "v1.1.0"]


def test_two_promoters_of_one_tag_make_one_entry(released: Registry, keys: Keys) -> None:
    start = threading.Barrier(4)

    def run(_: int) -> bool:
        start.wait()
        return promote(released, "v1.0.0", STAGING, keys.signer, ACTOR, tag=f"{NAME}#staging#1")[1]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))).count(True) == 1
    assert versions_of(released, "staging") == ["v1.0.0"]


def test_production_is_closed_to_what_was_never_in_staging(released: Registry, keys: Keys) -> None:
    promoted(released, keys, "v1.1.0", STAGING)
    with pytest.raises(
        GateClosed, match=r"flight-delay@v1\.0\.0 may not be promoted to production: it was never in staging"
    ):
        promote(released, "v1.0.0", PRODUCTION, keys.signer, ACTOR)
    assert promoted(released, keys, "v1.1.0", PRODUCTION).version == "v1.1.0"
    assert versions_of(released, "production") == ["v1.1.0"]


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"rebuild": {"level": "none"}}, "its rebuild level is 'none', 'full' is required"),
        ({"rebuild": {"level": "train"}}, "its rebuild level is 'train'"),
        ({"rebuild": {"level": "entire"}}, "its rebuild level is 'entire'"),
        ({"rebuild": None}, "its rebuild level is 'none'"),
        ({"gates": [{"rule": "auc", "measured": "0.5", "passed": False}]}, "the gate 'auc' did not hold"),
        ({"gates": [{"rule": "auc", "measured": "0.5"}]}, "the gate 'auc' did not hold"),
    ],
)
def test_a_closed_gate_is_named(
    registry: Registry, keys: Keys, tmp_path: Path, facts: dict[str, Any], why: str
) -> None:
    publish(registry, keys, a_build(tmp_path / "build"), "v1.0.0", **facts)
    rules = replace(PRODUCTION, after=None)
    with pytest.raises(GateClosed, match=why):
        promote(registry, "v1.0.0", rules, keys.signer, ACTOR)
    assert versions_of(registry, "production") == []


def test_a_full_rebuild_in_current_packages_is_not_enough_once_the_policy_names_a_lock(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    plain = policy.read_policy(POLICY)
    locked = replace(plain, dependencies=policy.Dependencies("p.lock", "3.11"))
    rules = replace(PRODUCTION, after=None)
    told = {"level": "full", "dependencies": "current", "python": "3.11.7", "network": "none"}
    publish(registry, keys, a_build(tmp_path / "one", "one"), "v1.0.0", rebuild=told)
    with pytest.raises(GateClosed, match="rebuilt with whatever packages were installed"):
        promote(registry, "v1.0.0", rules, keys.signer, ACTOR, whole=locked)
    assert promote(registry, "v1.0.0", rules, keys.signer, ACTOR, whole=plain)[1]
    publish(registry, keys, a_build(tmp_path / "two", "two"), "v1.1.0", rebuild=told | {"dependencies": "locked"})
    assert promote(registry, "v1.1.0", rules, keys.signer, ACTOR, whole=locked)[1]
    publish(registry, keys, a_build(tmp_path / "old", "old"), "v1.2.0")  # from before a manifest said with what
    assert promote(registry, "v1.2.0", rules, keys.signer, ACTOR, whole=locked)[1]


def test_gates_of_one_environment_do_not_close_another(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    gates = [*FACTS["gates"], {"rule": "size", "measured": "9 MB", "passed": False, "environment": "production"}]
    publish(registry, keys, a_build(tmp_path / "build"), "v1.0.0", gates=gates)
    assert promoted(registry, keys, "v1.0.0", STAGING).number == 1
    with pytest.raises(GateClosed, match="'size' did not hold"):
        promote(registry, "v1.0.0", PRODUCTION, keys.signer, ACTOR)


def test_a_release_that_an_environments_gates_never_judged_is_not_let_in(released: Registry, keys: Keys) -> None:
    metric = policy.Metric("auc", "metrics.json", "auc", "higher", None)
    whole = replace(policy.read_policy(POLICY), metrics=(metric,), gates=(gates.Floor("auc", 0.5),))
    rules = replace(STAGING, gates=whole.gates)
    with pytest.raises(GateClosed, match="never judged by the gate 'auc at least"):
        promote(released, "v1.0.0", rules, keys.signer, ACTOR, whole=whole)
    with pytest.raises(GateClosed, match="not at hand"):
        promote(released, "v1.0.0", rules, keys.signer, ACTOR)


def test_a_release_damaged_since_is_not_promoted(released: Registry, keys: Keys, tmp_path: Path) -> None:
    build = released.release("v1.0.0")
    victim = tmp_path / "store" / NAME / "builds" / build.manifest.digest / "model.skops"
    victim.write_bytes(victim.read_bytes()[:-1] + b"!")
    with pytest.raises(Refused, match=r"model\.skops was altered"):
        promote(released, "v1.0.0", STAGING, keys.signer, ACTOR)
    assert versions_of(released, "staging") == []


def test_what_was_never_released_cannot_be_promoted(released: Registry, keys: Keys) -> None:
    with pytest.raises(NoSuchRelease):
        promote(released, "v7.0.0", STAGING, keys.signer, ACTOR)


def test_a_rollback_is_a_new_entry_with_what_ran_before(released: Registry, keys: Keys) -> None:
    for version in ("v1.0.0", "v1.1.0", "v1.2.0"):
        promoted(released, keys, version, STAGING)
    assert rollback(released, "staging", keys.signer, ACTOR, reason="slow")[2] == "v1.1.0"
    with pytest.raises(RolledBackAlready) as caught:
        rollback(released, "staging", keys.signer, ACTOR)
    assert caught.value.further == "v1.0.0"
    assert rollback(released, "staging", keys.signer, ACTOR, to=caught.value.further)[2] == "v1.0.0"
    with pytest.raises(RolledBackAlready) as caught:
        rollback(released, "staging", keys.signer, ACTOR)
    assert caught.value.further is None
    log = Environment(released, "staging").verify()
    assert [(entry.action, entry.version) for entry in log] == [
        ("promote", "v1.0.0"),
        ("promote", "v1.1.0"),
        ("promote", "v1.2.0"),
        ("rollback", "v1.1.0"),
        ("rollback", "v1.0.0"),
    ]
    assert log[3].reason == "slow"


def test_a_rollback_to_a_version_is_done_once_and_only_to_one_that_ran_there(released: Registry, keys: Keys) -> None:
    promoted(released, keys, "v1.0.0", STAGING)
    promoted(released, keys, "v1.1.0", STAGING)
    assert rollback(released, "staging", keys.signer, ACTOR, to="v1.0.0")[1] is True
    assert rollback(released, "staging", keys.signer, ACTOR, to="v1.0.0")[1] is False
    with pytest.raises(NothingBefore, match=r"never ran v1\.2\.0"):
        rollback(released, "staging", keys.signer, ACTOR, to="v1.2.0")
    assert versions_of(released, "staging") == ["v1.0.0", "v1.1.0", "v1.0.0"]


def test_a_rollback_finds_what_ran_before_although_one_was_taken_back(released: Registry, keys: Keys) -> None:
    promoted(released, keys, "v1.0.0", STAGING)
    promoted(released, keys, "v1.1.0", STAGING)
    rollback(released, "staging", keys.signer, ACTOR)
    rollback(released, "staging", keys.signer, ACTOR, to="v1.1.0")
    promoted(released, keys, "v1.2.0", STAGING)
    assert rollback(released, "staging", keys.signer, ACTOR)[2] == "v1.1.0"


def test_an_entry_that_nobody_would_believe_is_refused_before_it_is_written(
    released: Registry, keys: Keys, stranger: Keys
) -> None:
    promoted(released, keys, "v1.0.0", STAGING)
    held = contents(released.store)
    with pytest.raises(KeysDoNotFit):
        promote(released, "v1.1.0", STAGING, stranger.signer, ACTOR)
    with pytest.raises(KeysDoNotFit):
        Environment(released, "staging").append(released.release("v1.1.0"), stranger.signer, ACTOR, "promote")
    with pytest.raises(LockgateError):
        promote(released, "v1.1.0", STAGING, keys.signer, ACTOR, reason="x" * 2**20)
    assert contents(released.store) == held
    assert promoted(released, keys, "v1.1.0", STAGING).number == 2


def test_a_signer_whose_signatures_are_refused_only_when_they_are_read_writes_nothing(
    released: Registry, keys: Keys, stranger: Keys
) -> None:
    """As a workflow's identity, which nobody knows before it signs."""

    class Late:
        def sign(self, digests: Mapping[str, str]) -> bytes:
            return stranger.signer.sign(digests)

    with pytest.raises(KeysDoNotFit):
        promote(released, "v1.0.0", STAGING, Late(), ACTOR)
    assert versions_of(released, "staging") == []


def test_a_rollback_to_a_damaged_release_is_refused(released: Registry, keys: Keys, tmp_path: Path) -> None:
    promoted(released, keys, "v1.0.0", STAGING)
    promoted(released, keys, "v1.1.0", STAGING)
    victim = tmp_path / "store" / NAME / "builds" / released.release("v1.0.0").manifest.digest / "dvc.lock"
    victim.unlink()
    with pytest.raises(Refused, match=r"dvc\.lock is missing"):
        rollback(released, "staging", keys.signer, ACTOR)
    assert versions_of(released, "staging") == ["v1.0.0", "v1.1.0"]


# --- as commands


@pytest.fixture
def at_home(released: Registry, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A folder with a policy, both keys where they are looked for, and the store named by the environment."""
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    (tmp_path / "home" / policy.FILE).write_text(POLICY)
    monkeypatch.setenv("LOCKGATE_STORE", released.store.url)
    monkeypatch.setenv("LOCKGATE_PUBLIC_KEY", str(keys.verifier.public_key))
    monkeypatch.setenv("LOCKGATE_PRIVATE_KEY", str(keys.signer.private_key))
    monkeypatch.delenv("GITHUB_ACTOR", raising=False)
    return released


def test_the_commands_promote_show_and_roll_back(at_home: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> str:
        assert main(words) == 0
        return capsys.readouterr().out

    assert run("promote", "v1.0.0", "staging", "--actor", "ana").startswith("staging runs v1.0.0: entry 1 by ana")
    assert run("promote", "v1.0.0", "staging").startswith("nothing to do: staging has v1.0.0 since entry 1")
    assert "v1.0.0 would be promoted to production" in run("promote", f"{NAME}@v1.0.0", "production", "--dry-run")
    assert versions_of(at_home, "production") == []
    told = json.loads(run("promote", "v1.0.0", "production", "--reason", "go", "--json"))
    assert (told["appended"], told["entry"]["version"], told["entry"]["reason"]) == (True, "v1.0.0", "go")
    run("promote", "v1.1.0", "staging")
    assert "staging would go back to v1.0.0" in run("rollback", "staging", "--dry-run")
    assert run("rollback", "staging", "--actor", "bob").startswith("staging runs v1.0.0: entry 3 by bob")
    head, *lines, legend, _ = run("history").splitlines()
    assert head.split() == ["environment", "entry", "action", "version", "time", "by", "tag", "reason"]
    assert legend == "* runs now"
    assert [line.split()[: 5 if line.startswith("*") else 4] for line in lines] == [
        ["*", "production", "1", "promote", "v1.0.0"],
        ["*", "staging", "3", "rollback", "v1.0.0"],
        ["staging", "2", "promote", "v1.1.0"],
        ["staging", "1", "promote", "v1.0.0"],
    ]
    assert len(run("history", "staging", "--limit", "1").splitlines()) == 4
    told = json.loads(run("history", "staging", "--json"))
    assert (told["schema"], told["model"]) == ("lockgate.history/1", NAME)
    assert [(entry["number"], entry["current"]) for entry in told["entries"]] == [(1, False), (2, False), (3, True)]
    shown = run("show", "production")
    for line in [
        f"{NAME}@v1.0.0",
        "model.skops",
        "roc_auc  0.6948",
        "holds  roc_auc at least 0.68  0.6948    release",
    ]:
        assert line in shown
    assert re.search(r"^  runs in +production, staging$", shown, re.MULTILINE)
    assert "{" not in shown
    told = json.loads(run("show", "v1.1.0", "--json"))
    assert (told["schema"], told["manifest"]["facts"]) == ("lockgate.show/1", FACTS)
    assert "runs in       no environment" in run("show", "v1.1.0")
    assert [line.split()[::4] for line in run("releases").splitlines()[1:]] == [
        [f"{NAME}@v1.2.0", "-"],
        [f"{NAME}@v1.1.0", "-"],
        [f"{NAME}@v1.0.0", "production,"],
    ]
    told = json.loads(run("releases", "--json", "--limit", "1"))
    assert (told["schema"], [one["version"] for one in told["releases"]]) == ("lockgate.releases/1", ["v1.2.0"])
    assert "nothing to do" in run("store", "gc", "--dry-run")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["promote", "v1.0.0", "production"], 1, "it was never in staging"),
        (["promote", "v1.0.0", "prod"], 2, "has no environment 'prod'"),
        (["promote", "staging", "production"], 2, "is not a version"),
        (["promote", "v1.0.0", "staging", "--policy", "none.yaml"], 2, "there is no policy at none.yaml"),
        (["promote", "other@v1.0.0", "staging"], 3, "there is no release other@v1.0.0"),
        (["promote", "v8.0.0", "staging"], 3, "there is no release flight-delay@v8.0.0"),
        (["promote", "v1.0.0", "staging", "--private-key", "none"], 3, "none is not an usable private key"),
        (["rollback", "v1.0.0"], 2, "is a version"),
        (["rollback", "staging"], 3, "was ever promoted"),
        (["history", "staging"], 3, "was ever promoted"),
        (["history", "staging", "--limit", "0"], 2, "below 1"),
        (["releases", "--limit", "-1"], 2, "below zero"),
        (["show", "v1"], 3, "was ever promoted"),
        (["show", "v1.0.0@x"], 2, "names neither"),
        (["show", "v1.0.0", "--store", "ftp://x"], 2, "is not a store"),
        (["show", "a@v1.0.0", "--model", "b"], 2, "--model names b"),
        (["store", "gc", "--older-than", "0"], 2, "below 1 day"),
    ],
)
def test_what_cannot_be_done_says_so_and_changes_nothing(
    at_home: Registry, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    held = contents(at_home.store)
    assert main(words) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == ""
    assert contents(at_home.store) == held


def test_without_a_key_nobody_is_trusted(
    at_home: Registry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCKGATE_PUBLIC_KEY")
    assert main(["show", "v1.0.0"]) == 2
    assert "lockgate.pub is not here" in capsys.readouterr().err


def test_text_from_the_store_cannot_steer_the_terminal(
    at_home: Registry, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    promoted(at_home, keys, "v1.0.0", STAGING, reason="\x1b[2Jgone\r\n")
    assert main(["history"]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert len(printed.splitlines()) == 4
