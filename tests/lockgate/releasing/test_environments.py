"""Logs that hold entries which nobody believes, and environments that are retired."""

import json
from pathlib import Path

import pytest
from tests.lockgate.frozen import frozen_registry
from tests.lockgate.releases import (
    ACTOR,
    NAME,
    PRODUCTION,
    STAGING,
    Keys,
    a_build,
    contents,
    make_keys,
    promoted,
    publish,
    versions_of,
)

from lockgate.errors import LockgateError
from lockgate.releasing.environments import EntryRefused, Environment, NeverPromoted, Retired
from lockgate.releasing.promotion import promote, retire
from lockgate.releasing.registry import Refused, Registry
from lockgate.releasing.rollback import rollback
from lockgate.releasing.signing import KeyVerifier

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")


@pytest.fixture
def released(registry: Registry, keys: Keys, tmp_path: Path) -> Registry:
    """Three releases, the first two promoted to staging."""
    for number, seed in enumerate(("one", "two", "three")):
        publish(registry, keys, a_build(tmp_path / seed, seed), f"v1.{number}.0")
    promoted(registry, keys, "v1.0.0", STAGING)
    promoted(registry, keys, "v1.1.0", STAGING)
    return registry


def bar(registry: Registry, by: Keys, version: str = "v1.2.0") -> int:
    """Append an entry as a registry would that trusts somebody else, and return its number."""
    theirs = Registry(registry.store, NAME, KeyVerifier(registry.verifier.public_key, (by.verifier.public_key,)))  # type: ignore[attr-defined]
    return promoted(theirs, by, version, STAGING).number


def path_of(registry: Registry, number: int) -> Path:
    return Path(registry.store.url) / Environment(registry, "staging")._path(number)


def test_a_log_that_was_barred_before_this_was_checked_is_used_again(tmp_path: Path, keys: Keys) -> None:
    """The entry is of the code of 2026-11, which wrote it and never read the log again."""
    registry = frozen_registry(tmp_path, keys, barred=True)
    production = Environment(registry, "production")
    with pytest.raises(EntryRefused):
        production.history()
    held = contents(registry.store)
    [refusal] = production.refusals()
    assert refusal.number == 4
    entry = production.repair([4], keys.signer, ACTOR, "the wrong key")
    assert (entry.number, entry.action, entry.version) == (5, "repair", "v1.0.0")
    assert [one.number for one in production.verify()] == [1, 2, 3, 5]
    assert production.history() == production.verify()
    assert production.current()[1].release.version == "v1.0.0"
    written = contents(registry.store)
    assert held.items() <= written.items()
    assert len(written) == len(held) + 1


def test_what_ran_before_the_refused_entries_runs_again_and_the_log_goes_on(
    released: Registry, keys: Keys, stranger: Keys
) -> None:
    staging = Environment(released, "staging")
    number = bar(released, stranger)
    with pytest.raises(EntryRefused):
        promote(released, "v1.2.0", STAGING, keys.signer, ACTOR)
    staging.repair([number], keys.signer, ACTOR, "")
    assert staging.current()[0].version == "v1.1.0"
    assert promoted(released, keys, "v1.2.0", STAGING).number == number + 2
    assert versions_of(released, "staging") == ["v1.0.0", "v1.1.0", "v1.1.0", "v1.2.0"]
    assert rollback(released, "staging", keys.signer, ACTOR)[2] == "v1.1.0"
    assert len(staging.verify()) == 5


@pytest.mark.parametrize("junk", [b"", b"{}", b"\xff\xfe", b'{"payload":{},"signature":""}', b"[" * 10_000])
def test_garbage_in_the_place_of_an_entry_is_passed_over(released: Registry, keys: Keys, junk: bytes) -> None:
    path_of(released, 3).write_bytes(junk)
    staging = Environment(released, "staging")
    with pytest.raises(EntryRefused):
        staging.head()
    staging.repair([3], keys.signer, ACTOR, "garbage")
    assert [entry.number for entry in staging.verify()] == [1, 2, 4]
    assert staging.history() == staging.verify()


def test_only_entries_that_are_refused_can_be_passed_over(released: Registry, keys: Keys, stranger: Keys) -> None:
    staging = Environment(released, "staging")
    with pytest.raises(LockgateError):
        staging.repair([2], keys.signer, ACTOR, "I do not like it")
    number = bar(released, stranger)
    with pytest.raises(LockgateError):
        staging.repair([2, number], keys.signer, ACTOR, "")
    with pytest.raises(LockgateError):
        staging.repair([], keys.signer, ACTOR, "")
    assert [one.number for one in staging.refusals()] == [number]


def test_a_repair_needs_a_trusted_key(released: Registry, stranger: Keys) -> None:
    number = bar(released, stranger)
    held = contents(released.store)
    with pytest.raises(LockgateError):
        Environment(released, "staging").repair([number], stranger.signer, ACTOR, "")
    assert contents(released.store) == held


def test_a_strangers_repair_passes_over_nothing(released: Registry, keys: Keys, stranger: Keys) -> None:
    """A stranger writes entry 3, then has a repair of his own pass over our entries."""
    staging = Environment(released, "staging")
    theirs = Environment(Registry(released.store, NAME, stranger.verifier), "staging")
    entry = staging.history()[-1]
    forged = theirs._entry(
        {**entry.payload(), "schema": "lockgate.entry/2", "number": 3, "action": "repair", "version": "v1.0.0"}
        | {"refused": [[2, "0" * 64]], "judged": [], "previous": staging.history()[0].digest},
        3,
    )
    theirs.registry.write_signed(staging._path(3), forged.payload(), stranger.signer)
    with pytest.raises(EntryRefused):
        staging.history()
    staging.repair([3], keys.signer, ACTOR, "")
    assert [one.number for one in staging.verify()] == [1, 2, 4]
    assert staging.current()[0].version == "v1.1.0"


def test_an_entry_changed_after_it_was_passed_over_is_named(released: Registry, keys: Keys, stranger: Keys) -> None:
    number = bar(released, stranger)
    Environment(released, "staging").repair([number], keys.signer, ACTOR, "")
    path_of(released, number).write_bytes(b"{}")
    with pytest.raises(Refused, match="after a repair passed over it"):
        Environment(released, "staging").verify()


@pytest.mark.parametrize("where", [2, 3, 4])
def test_pages_and_repairs_live_together(
    registry: Registry, keys: Keys, stranger: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: int
) -> None:
    monkeypatch.setattr("lockgate.releasing.environments.PAGE", 3)
    for number, seed in enumerate(("one", "two", "three")):
        publish(registry, keys, a_build(tmp_path / seed, seed), f"v1.{number}.0")
    staging = Environment(registry, "staging")
    for number in range(1, where):
        promoted(registry, keys, f"v1.{number % 2}.0", STAGING)
    assert bar(registry, stranger) == where
    staging.repair([where], keys.signer, ACTOR, "")
    for number in range(8):
        promoted(registry, keys, f"v1.{number % 2}.0", STAGING) if number % 2 else promoted(
            registry, keys, "v1.2.0", STAGING
        )
    assert staging.history() == staging.verify()
    numbers = [one.number for one in staging.history()]
    assert where not in numbers
    assert sorted({*numbers, where}) == list(range(1, max(numbers) + 1))
    page = json.loads(Path(registry.store.url, staging._page_path(1 + (where - 1) // 3)).read_bytes())
    assert page[(where - 1) % 3] is None


def test_a_retired_environment_runs_nothing_until_it_is_opened_again(released: Registry, keys: Keys) -> None:
    entry, appended = retire(released, "staging", keys.signer, ACTOR, reason="replaced", tag=f"{NAME}#staging!#3")
    assert appended
    assert entry is not None
    staging = Environment(released, "staging")
    with pytest.raises(Retired):
        staging.current()
    with pytest.raises(Retired):
        promote(released, "v1.2.0", STAGING, keys.signer, ACTOR)
    with pytest.raises(Retired):
        rollback(released, "staging", keys.signer, ACTOR)
    with pytest.raises(Retired):  # as for a promoter who looked before it was retired
        staging.append(released.release("v1.2.0"), keys.signer, ACTOR, "promote")
    assert retire(released, "staging", keys.signer, ACTOR) == (entry, False)
    assert [one.action for one in staging.verify()] == ["promote", "promote", "retire"]
    assert promote(released, "v1.1.0", STAGING, keys.signer, ACTOR, reopen=True)[1] is True
    assert staging.current()[0].version == "v1.1.0"


def test_what_ran_in_a_retired_environment_may_go_on_to_the_next(released: Registry, keys: Keys) -> None:
    retire(released, "staging", keys.signer, ACTOR)
    assert promoted(released, keys, "v1.1.0", PRODUCTION).number == 1


def test_nothing_is_retired_where_nothing_ever_ran(released: Registry, keys: Keys) -> None:
    with pytest.raises(NeverPromoted):
        retire(released, "production", keys.signer, ACTOR)
    with pytest.raises(LockgateError):
        retire(released, "staging", make_keys(Path(released.store.url).parent / "other").signer, ACTOR)
