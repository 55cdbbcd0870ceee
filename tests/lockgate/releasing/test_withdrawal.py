from pathlib import Path

import pytest
from tests.lockgate.releases import (
    ACTOR,
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

from lockgate import policy
from lockgate.cli import main
from lockgate.errors import LockgateError
from lockgate.releasing.promotion import promote
from lockgate.releasing.registry import NoSuchRelease, Registry
from lockgate.releasing.rollback import NothingBefore, rollback
from lockgate.releasing.signing import KeysDoNotFit
from lockgate.releasing.withdrawal import ReleaseWithdrawn, check_withdrawn, withdraw, withdrawal_of

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")


@pytest.fixture
def released(registry: Registry, keys: Keys, tmp_path: Path) -> Registry:
    """Three releases, all of them promoted to staging."""
    for number, seed in enumerate(("one", "two", "three")):
        publish(registry, keys, a_build(tmp_path / seed, seed), f"v1.{number}.0")
        promoted(registry, keys, f"v1.{number}.0", STAGING)
    return registry


def test_a_withdrawn_release_is_never_promoted_again(released: Registry, keys: Keys) -> None:
    made, new = withdraw(released, "v1.1.0", keys.signer, ACTOR, reason="wrong month", use="warn")
    assert new
    assert made is not None
    assert made.manifest == released.release("v1.1.0").release.manifest
    for rules in (STAGING, PRODUCTION):
        with pytest.raises(ReleaseWithdrawn, match="wrong month"):
            promote(released, "v1.1.0", rules, keys.signer, ACTOR)
    with pytest.raises(ReleaseWithdrawn):
        rollback(released, "staging", keys.signer, ACTOR, to="v1.1.0")
    assert versions_of(released, "staging") == ["v1.0.0", "v1.1.0", "v1.2.0"]


def test_a_rollback_passes_over_what_was_withdrawn(released: Registry, keys: Keys) -> None:
    withdraw(released, "v1.1.0", keys.signer, ACTOR, reason="wrong month", use="warn")
    assert rollback(released, "staging", keys.signer, ACTOR)[2] == "v1.0.0"


def test_with_everything_before_withdrawn_there_is_nothing_to_go_back_to(released: Registry, keys: Keys) -> None:
    for version in ("v1.0.0", "v1.1.0"):
        withdraw(released, version, keys.signer, ACTOR, reason="bad", use="warn")
    with pytest.raises(NothingBefore):
        rollback(released, "staging", keys.signer, ACTOR)


def test_a_withdrawal_is_made_once_and_stays(released: Registry, keys: Keys) -> None:
    first, _ = withdraw(released, "v1.1.0", keys.signer, ACTOR, reason="wrong month", use="warn")
    held = contents(released.store)
    assert withdraw(released, "v1.1.0", keys.signer, ACTOR, reason="other", use="refuse") == (first, False)
    assert contents(released.store) == held
    with pytest.raises(NoSuchRelease):
        withdraw(released, "v7.0.0", keys.signer, ACTOR, reason="x", use="warn")


def test_nobody_withdraws_without_a_trusted_key(released: Registry, stranger: Keys) -> None:
    with pytest.raises(KeysDoNotFit):
        withdraw(released, "v1.1.0", stranger.signer, ACTOR, reason="x", use="refuse")
    assert withdrawal_of(released, "v1.1.0") is None
    theirs = Registry(released.store, NAME, stranger.verifier)
    theirs.write_signed(f"{NAME}/withdrawals/v1.1.0.json", {"schema": "lockgate.withdrawal/1"}, stranger.signer)
    with pytest.raises(LockgateError, match="withdrawals/v1"):
        withdrawal_of(released, "v1.1.0")


def test_users_are_warned_or_refused_as_the_policy_said(released: Registry, keys: Keys) -> None:
    withdraw(released, "v1.0.0", keys.signer, ACTOR, reason="old", use="warn")
    withdraw(released, "v1.1.0", keys.signer, ACTOR, reason="wrong", use="refuse")
    found = check_withdrawn(released, released.release("v1.0.0"))
    assert found is not None
    assert found.reason == "old"
    with pytest.raises(ReleaseWithdrawn):
        check_withdrawn(released, released.release("v1.1.0"))
    assert check_withdrawn(released, released.release("v1.2.0")) is None


def test_the_commands_withdraw_warn_and_refuse(
    released: Registry,
    keys: Keys,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "model: m\nmetrics: {a: {file: f.json, key: a, better: higher}}\nwithdrawn: refuse\n"
    words = ["--store", released.store.url, "--public-key", str(keys.verifier.public_key)]
    signed = [*words, "--private-key", str(keys.signer.private_key)]
    assert main(["withdraw", "v1.0.0", *signed]) == 2
    assert main(["withdraw", "v1.0.0", "--reason", "old", "--dry-run", *signed]) == 0
    assert withdrawal_of(released, "v1.0.0") is None
    assert main(["withdraw", "v1.0.0", "--reason", "old", *signed]) == 0
    Path(policy.FILE).write_text(text)
    assert main(["withdraw", "v1.1.0", "--reason", "wrong", *signed]) == 0
    capsys.readouterr()
    assert main(["verify", "v1.0.0", "--no-git", *words]) == 0
    assert "warning" in capsys.readouterr().err
    assert main(["fetch", "v1.1.0", "got", *words]) == 1
    assert not Path("got").exists()
    capsys.readouterr()
    assert main(["show", "v1.1.0", *words]) == 0
    assert "WITHDRAWN" in capsys.readouterr().out
