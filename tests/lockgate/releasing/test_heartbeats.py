from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.lockgate.releases import ACTOR, NAME, STAGING, Keys, a_build, contents, promoted, publish

from lockgate.cli import main
from lockgate.errors import LockgateError
from lockgate.releasing.environments import Environment, NeverPromoted
from lockgate.releasing.heartbeats import Stale, beat, check_fresh, parse_age
from lockgate.releasing.registry import Actor, Refused, Registry
from lockgate.releasing.signing import KeysDoNotFit, KeyVerifier

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")
NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def at(when: datetime) -> Actor:
    return Actor("job", when.isoformat(timespec="seconds"))


@pytest.fixture
def released(registry: Registry, keys: Keys, tmp_path: Path) -> Registry:
    """Two releases, both promoted to staging."""
    for number, seed in enumerate(("one", "two")):
        publish(registry, keys, a_build(tmp_path / seed, seed), f"v1.{number}.0")
        promoted(registry, keys, f"v1.{number}.0", STAGING)
    return registry


def fresh(registry: Registry, now: datetime = NOW, max_age: timedelta = DAY) -> int:
    return check_fresh(registry, "staging", Environment(registry, "staging").head(), max_age, now).number


def test_a_log_with_a_young_heartbeat_is_fresh_and_one_without_is_not(released: Registry, keys: Keys) -> None:
    with pytest.raises(Stale):
        fresh(released)
    made, new = beat(released, "staging", keys.signer, at(NOW))
    assert (made.number, new) == (2, True)
    assert fresh(released) == 2
    assert fresh(released, NOW + DAY) == 2
    with pytest.raises(Stale):
        fresh(released, NOW + DAY + timedelta(minutes=1))


def test_entries_taken_off_the_end_are_missed_by_the_heartbeat(released: Registry, keys: Keys) -> None:
    """The store alone shows a sound, shorter log."""
    beat(released, "staging", keys.signer, at(NOW))
    released.store.delete(Environment(released, "staging")._path(2))
    assert len(Environment(released, "staging").verify()) == 1
    with pytest.raises(Refused, match="ends before entry 2"):
        fresh(released)


def test_a_store_frozen_at_yesterday_is_noticed_by_its_age(released: Registry, keys: Keys) -> None:
    beat(released, "staging", keys.signer, at(NOW - DAY))
    frozen = contents(released.store)
    promoted(released, keys, "v1.0.0", STAGING)
    beat(released, "staging", keys.signer, at(NOW))
    assert fresh(released) == 3
    for path in contents(released.store).keys() - frozen.keys():
        released.store.delete(path)
    with pytest.raises(Stale):
        fresh(released, max_age=timedelta(hours=2))


def test_a_log_that_went_on_after_the_heartbeat_is_fresh(released: Registry, keys: Keys) -> None:
    beat(released, "staging", keys.signer, at(NOW))
    promoted(released, keys, "v1.0.0", STAGING)
    assert fresh(released) == 2


def test_two_heartbeats_of_a_minute_are_one(released: Registry, keys: Keys) -> None:
    beat(released, "staging", keys.signer, at(NOW))
    held = contents(released.store)
    assert beat(released, "staging", keys.signer, at(NOW + timedelta(seconds=30)))[1] is False
    assert contents(released.store) == held


def test_a_heartbeat_from_the_future_counts_for_nothing_and_bars_nothing(released: Registry, keys: Keys) -> None:
    """A machine whose clock was a year off: nothing can be deleted, and what it wrote sorts first for a year."""
    beat(released, "staging", keys.signer, at(NOW + 365 * DAY))
    with pytest.raises(Stale):
        fresh(released)
    beat(released, "staging", keys.signer, at(NOW))
    assert fresh(released) == 2


def test_nobody_elses_heartbeat_counts(released: Registry, keys: Keys, stranger: Keys) -> None:
    with pytest.raises(KeysDoNotFit):
        beat(released, "staging", stranger.signer, at(NOW))
    beat(released, "staging", keys.signer, at(NOW - 2 * DAY))
    [old] = [path for path in contents(released.store) if "/heartbeats/" in path]
    newer = old.replace(old[-13:], f"{int(old[-13:-5]) - 2880:08d}.json")
    Path(released.store.url, newer).write_bytes(Path(released.store.url, old).read_bytes())
    with pytest.raises(LockgateError, match="heartbeats/staging"):
        fresh(released)


def test_a_key_for_heartbeats_signs_nothing_else(
    released: Registry, keys: Keys, stranger: Keys, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted.pub"
    trusted.write_bytes(
        keys.verifier.public_key.read_bytes() + b"Only: heartbeats\n" + stranger.verifier.public_key.read_bytes()
    )
    both = Registry(released.store, NAME, KeyVerifier(trusted))
    assert KeyVerifier(trusted).trusted_keys()[1].only == "heartbeats"
    beat(both, "staging", keys.signer, at(NOW))
    both.write_signed(f"{NAME}/heartbeats/staging/1.json", {}, stranger.signer)
    with pytest.raises(KeysDoNotFit, match="heartbeats only"):
        both.write_signed(f"{NAME}/environments/staging/00000001.json", {}, stranger.signer)


def test_no_heart_beats_where_nothing_runs(released: Registry, keys: Keys) -> None:
    with pytest.raises(NeverPromoted):
        beat(released, "production", keys.signer, ACTOR)


def test_the_commands_beat_and_verify(released: Registry, keys: Keys) -> None:
    words = ["--store", released.store.url, "--public-key", str(keys.verifier.public_key)]
    assert main(["verify", "staging", "--no-git", "--max-age", "2h", *words]) == 1
    assert main(["heartbeat", "staging", *words, "--private-key", str(keys.signer.private_key)]) == 0
    assert main(["verify", "staging", "--no-git", "--max-age", "2h", *words]) == 0
    assert main(["verify", "v1.0.0", "--no-git", "--max-age", "2h", *words]) == 2
    assert main(["verify", "staging", "--no-git", "--max-age", "soon", *words]) == 2
    assert released.name == NAME


@pytest.mark.parametrize(
    ("text", "age"), [("26h", timedelta(hours=26)), ("90m", timedelta(minutes=90)), ("7d", 7 * DAY)]
)
def test_lengths_of_time_are_read(text: str, age: timedelta) -> None:
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "h", "26", "-1h", "0h", "1.5h", "26 h", "26w", "٣h"])
def test_other_lengths_of_time_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="length of time"):
        parse_age(text)
