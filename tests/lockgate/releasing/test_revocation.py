"""Keys with a life: several at once, rotated, lost, stolen and revoked."""

from pathlib import Path

import pytest
from tests.lockgate.releases import ACTOR, NAME, STAGING, Keys, a_build, make_keys, promoted, publish, versions_of

from lockgate.cli import main
from lockgate.errors import LockgateError
from lockgate.releasing.environments import EntryRefused, Environment
from lockgate.releasing.registry import Registry
from lockgate.releasing.revocation import NoSuchKey, find_key, revoke
from lockgate.releasing.signing import KeysDoNotFit, KeyVerifier, SignatureRefused
from lockgate.releasing.trusted_keys import NotTrustedKeys, Revocation, read_keys, with_revocation, write_keys

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")


@pytest.fixture
def second(tmp_path: Path) -> Keys:
    return make_keys(tmp_path / "second")


@pytest.fixture
def both(registry: Registry, keys: Keys, second: Keys, tmp_path: Path) -> Registry:
    """A registry that trusts two keys by one file; the first signed two releases and promotions of them, the second
    one of each."""
    file = tmp_path / "trusted.pub"
    file.write_bytes(keys.verifier.public_key.read_bytes() + second.verifier.public_key.read_bytes())
    found = Registry(registry.store, NAME, KeyVerifier(file))
    for number, signer in enumerate((keys, keys, second)):
        publish(found, signer, a_build(tmp_path / f"build{number}", f"seed{number}"), f"v1.{number}.0")
        promoted(found, signer, f"v1.{number}.0", STAGING)
    return found


def fresh(registry: Registry) -> Registry:
    """Return the registry as another process would see it."""
    return Registry(registry.store, registry.name, registry.verifier)


def key_of(registry: Registry, keys: Keys) -> str:
    return read_keys(keys.verifier.public_key.read_bytes(), "")[0].fingerprint


def test_what_either_of_two_trusted_keys_signed_is_believed(both: Registry, stranger: Keys) -> None:
    assert versions_of(both, "staging") == ["v1.0.0", "v1.1.0", "v1.2.0"]
    assert len(Environment(both, "staging").verify()) == 3
    for version in both.versions():
        both.verify_files(both.release(version))
    with pytest.raises(KeysDoNotFit):
        promoted(both, stranger, "v1.0.0", STAGING)


def revoked(both: Registry, keys: Keys, second: Keys, **more: object) -> Registry:
    """Revoke the first key, signed with the second, and return the registry as others see it then."""
    assert isinstance(both.verifier, KeyVerifier)
    key = find_key(key_of(both, keys)[:12], both.verifier.trusted_keys())
    options: dict[str, object] = {"entries_from": {}, "not_releases": frozenset(), **more}
    revoke(both, key, second.signer, ACTOR, "stolen", **options)  # type: ignore[arg-type]
    return fresh(both)


def test_a_rotated_key_keeps_its_past_and_loses_its_future(
    both: Registry, keys: Keys, second: Keys, tmp_path: Path
) -> None:
    after = revoked(both, keys, second)
    assert len(Environment(after, "staging").verify()) == 3
    for version in after.versions():
        after.verify_files(after.release(version))
    with pytest.raises(KeysDoNotFit, match="revoked: stolen"):
        promoted(after, keys, "v1.0.0", STAGING)
    with pytest.raises(SignatureRefused):
        publish(after, keys, a_build(tmp_path / "new", "new"), "v2.0.0")
    assert promoted(after, second, "v1.0.0", STAGING).number == 4


def test_what_a_stolen_key_signs_after_its_revocation_is_refused_although_it_was_written(
    both: Registry, keys: Keys, second: Keys
) -> None:
    after = revoked(both, keys, second)
    thief = Registry(both.store, NAME, keys.verifier)
    head = Environment(both, "staging").head()
    assert head is not None
    payload = {**head.payload(), "number": 4, "version": "v1.0.0", "previous": head.digest}
    payload["manifest"] = both.release("v1.0.0").release.manifest
    thief.write_signed(Environment(both, "staging")._path(4), payload, keys.signer)
    staging = Environment(after, "staging")
    with pytest.raises(EntryRefused, match="revoked: stolen"):
        staging.current()
    staging.repair([4], second.signer, ACTOR, "by the thief")
    assert staging.current()[0].version == "v1.2.0"


def test_from_an_entry_on_nothing_of_a_stolen_key_is_believed(both: Registry, keys: Keys, second: Keys) -> None:
    after = revoked(both, keys, second, entries_from={"staging": 2})
    staging = Environment(after, "staging")
    assert [one.number for one in staging.refusals()] == [2]
    with pytest.raises(EntryRefused):
        staging.verify()
    staging.repair([2], second.signer, ACTOR, "the thief's")
    assert [entry.number for entry in staging.verify()] == [1, 3, 4]
    assert staging.current()[0].version == "v1.2.0"


def test_a_release_of_the_thief_is_not_believed_and_the_others_are(both: Registry, keys: Keys, second: Keys) -> None:
    after = revoked(both, keys, second, not_releases=frozenset({"v1.1.0"}))
    after.verify_files(after.release("v1.0.0"))
    with pytest.raises(SignatureRefused, match="revoked"):
        after.release("v1.1.0")


def test_a_key_does_not_revoke_itself_and_a_stranger_revokes_nobody(both: Registry, keys: Keys, stranger: Keys) -> None:
    assert isinstance(both.verifier, KeyVerifier)
    key = find_key(key_of(both, keys), both.verifier.trusted_keys())
    with pytest.raises(LockgateError, match="is the key that is to be revoked"):
        revoke(both, key, keys.signer, ACTOR, "x", entries_from={}, not_releases=frozenset())
    theirs = Registry(both.store, NAME, KeyVerifier(keys.verifier.public_key, (stranger.verifier.public_key,)))
    revoke(theirs, key, stranger.signer, ACTOR, "x", entries_from={}, not_releases=frozenset())
    assert promoted(fresh(both), keys, "v1.0.0", STAGING).number == 4


def test_git_decides_where_a_stolen_key_revokes_the_good_one(
    both: Registry, keys: Keys, second: Keys, tmp_path: Path
) -> None:
    """The thief is quicker in the store. Whoever has git's newer file does not listen to him."""
    assert isinstance(both.verifier, KeyVerifier)
    good = find_key(key_of(both, second), both.verifier.trusted_keys())
    revoke(both, good, keys.signer, ACTOR, "a lie", entries_from={}, not_releases=frozenset())
    with pytest.raises(KeysDoNotFit):
        promoted(fresh(both), second, "v1.0.0", STAGING)
    told = [
        with_revocation(key, Revocation("stolen", {f"{NAME}#staging": 3})) if key != good else key
        for key in both.verifier.trusted_keys()
    ]
    (tmp_path / "newer.pub").write_text(write_keys(told))
    newer = Registry(both.store, NAME, KeyVerifier(tmp_path / "newer.pub"))
    assert promoted(newer, second, "v1.2.0", STAGING).number == 3
    assert len(Environment(newer, "staging").verify()) == 3


def test_the_file_of_keys_is_read_as_it_was_written(both: Registry) -> None:
    assert isinstance(both.verifier, KeyVerifier)
    first, other = both.verifier.trusted_keys()
    told = (
        with_revocation(first, Revocation("lost", {"m#production": 6}, {"m/releases/v1.0.0.json": "1" * 64})),
        other,
    )
    assert read_keys(write_keys(told).encode(), "here") == told
    crlf = write_keys(told).replace("\n", "\r\n").encode()
    assert read_keys(crlf, "here") == told


@pytest.mark.parametrize(
    "line", ["Trusted: yes", "Revoked", "Believed: m#production six", "Believed: m/x.json 12", "hello"]
)
def test_a_line_that_is_not_understood_is_refused_and_not_passed_over(keys: Keys, line: str) -> None:
    text = f"Revoked: x\n{line}\n{keys.verifier.public_key.read_bytes().decode()}"
    with pytest.raises(NotTrustedKeys):
        read_keys(text.encode(), "here")


def test_a_key_that_is_not_trusted_cannot_be_named(both: Registry, stranger: Keys) -> None:
    assert isinstance(both.verifier, KeyVerifier)
    for word in (key_of(both, stranger), key_of(both, stranger)[:7], "", "nobody"):
        with pytest.raises(NoSuchKey):
            find_key(word, both.verifier.trusted_keys())


def test_a_key_is_lost_and_everything_goes_on_with_a_new_one(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What docs/keys.md tells, command by command."""
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    for variable in ("LOCKGATE_PUBLIC_KEY", "LOCKGATE_PRIVATE_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("LOCKGATE_STORE", registry.store.url)
    Path("lockgate.yaml").write_text(
        "model: m\nmetrics: {a: {file: f.json, key: a, better: higher}}\nenvironments: {staging: }\n"
    )
    assert main(["keys"]) == 0
    from lockgate.releasing.signing import KeySigner

    old = Keys(KeySigner(Path("lockgate.key").absolute()), KeyVerifier(Path("lockgate.pub").absolute()))
    mine = Registry(registry.store, NAME, old.verifier)
    publish(mine, old, a_build(tmp_path / "build"), "v1.0.0")
    assert main(["promote", "v1.0.0", "staging"]) == 0
    Path("lockgate.key").unlink()
    capsys.readouterr()
    assert main(["rollback", "staging"]) == 2
    assert "lockgate.key is not here" in capsys.readouterr().err
    assert main(["keys"]) == 1
    told = capsys.readouterr().err
    assert "lockgate.key is not here" in told
    assert "lockgate keys trust new.pub" in told
    assert main(["keys", "new", "--private-key", "new.key", "--public-key", "new.pub"]) == 0
    assert main(["keys", "trust", "new.pub", "--name", "second"]) == 0
    assert main(["keys", "trust", "new.pub"]) == 0
    capsys.readouterr()
    assert main(["keys", "list"]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert "trusted" in first
    assert "second" in last
    words = ["--private-key", "new.key", "--reason", "lost"]
    assert main(["keys", "revoke", first.split()[0], *words]) == 0
    assert "Revoked: lost" in Path("lockgate.pub").read_text()
    assert main(["retire", "staging", "--private-key", "new.key"]) == 0
    assert main(["history", "staging"]) == 0
    assert main(["verify", "v1.0.0", "--no-git"]) == 0


def test_keys_that_are_both_there_are_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["keys"]) == 0
    held = Path("lockgate.key").read_bytes(), Path("lockgate.pub").read_bytes()
    assert main(["keys"]) == 1
    Path("lockgate.pub").unlink()
    assert main(["keys"]) == 1
    assert Path("lockgate.key").read_bytes() == held[0]


def test_an_identity_and_a_key_are_not_both_trusted(both: Registry, keys: Keys) -> None:
    words = ["--identity", "ana@example.org", "--public-key", str(keys.verifier.public_key)]
    assert main(["show", "v1.0.0", "--store", both.store.url, *words]) == 2
