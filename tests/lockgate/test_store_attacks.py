"""Whoever can write to the bucket: every file and every entry, changed in every way, and none of it accepted.

Each case starts from a sound store with two releases of two builds and two environments, changes one thing with the
rights of the store's owner, and asks the three consumers: ``verify``, ``fetch`` and ``promote``.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.lockgate.releases import FACTS, NAME, PRODUCTION, STAGING, Keys, a_build, promoted, publish

from lockgate.errors import LockgateError
from lockgate.releasing.environments import Entry, EntryRefused, Environment
from lockgate.releasing.fetch import fetch
from lockgate.releasing.manifest import canonical, sha256
from lockgate.releasing.registry import Refused, Registry
from lockgate.releasing.signing import SignatureRefused
from lockgate.store import open_store

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")

FILES = [
    "dvc.lock",
    "manifest.json",
    "model-card.md",
    "model.sig",
    "model.skops",
    "wheels/flight_delay-1.0-py3-none-any.whl",
]
ENTRIES = 5


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, keys: Keys) -> Path:
    """A store with v1.0.0, v1.1.0 and v1.2.0, of builds of the same size, and five promotions to staging."""
    folder = tmp_path_factory.mktemp("sound")
    registry = Registry(open_store(str(folder / "store"), create=True), NAME, keys.verifier)
    for number, seed in enumerate(("aaa", "bbb", "ccc")):
        publish(registry, keys, a_build(folder / seed, seed), f"v1.{number}.0")
    for tag, number in enumerate((0, 1, 2, 1, 2), 1):
        promoted(registry, keys, f"v1.{number}.0", STAGING, tag=f"{NAME}#staging#{tag}", reason="as asked")
    promoted(registry, keys, "v1.0.0", PRODUCTION)
    return folder / "store"


@pytest.fixture
def stolen(sound: Path, tmp_path: Path, keys: Keys) -> Registry:
    """A copy of the sound store, for one case to change."""
    shutil.copytree(sound, tmp_path / "store")
    return Registry(open_store(str(tmp_path / "store")), NAME, keys.verifier)


def root_of(registry: Registry) -> Path:
    return Path(registry.store.url) / NAME


def build_of(registry: Registry, version: str) -> Path:
    record = json.loads((root_of(registry) / "releases" / f"{version}.json").read_bytes())
    return root_of(registry) / "builds" / str(record["payload"]["manifest"])


def consumers(
    registry: Registry, tmp_path: Path, keys: Keys, version: str
) -> Iterator[tuple[str, Callable[[], object]]]:
    yield "verify", lambda: registry.verify_files(registry.release(version))
    yield "fetch", lambda: fetch(registry, registry.release(version), tmp_path / "got")
    yield "promote", lambda: promoted(registry, keys, version, PRODUCTION)


def assert_all_refuse(registry: Registry, tmp_path: Path, keys: Keys, version: str, named: str) -> None:
    log = Environment(registry, "production").history()
    for who, consume in consumers(registry, tmp_path, keys, version):
        with pytest.raises(LockgateError) as caught:
            consume()
        assert named in str(caught.value), f"{who} does not name it: {caught.value}"
    assert not (tmp_path / "got").exists()
    assert Environment(registry, "production").history() == log


def flip(path: Path, registry: Registry) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x01
    path.write_bytes(data)


def flip_first(path: Path, registry: Registry) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 0x20]) + path.read_bytes()[1:])


def flip_last(path: Path, registry: Registry) -> None:
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 0x01]))


def truncate(path: Path, registry: Registry) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path, registry: Registry) -> None:
    path.write_bytes(b"")


def lengthen(path: Path, registry: Registry) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def swap(path: Path, registry: Registry) -> None:
    """Put another build's file of the same name there."""
    relative = path.relative_to(build_of(registry, "v1.1.0"))
    path.write_bytes((build_of(registry, "v1.0.0") / relative).read_bytes())


def delete(path: Path, registry: Registry) -> None:
    path.unlink()


def as_folder(path: Path, registry: Registry) -> None:
    """Have the file lie there in parts, as a longer one would."""
    data = path.read_bytes()
    path.unlink()
    path.mkdir()
    (path / "00001").write_bytes(data)


ON_FILES = [flip, flip_first, flip_last, truncate, empty, lengthen, swap, delete, as_folder]


@pytest.mark.parametrize("attack", ON_FILES, ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("file", FILES)
def test_no_changed_file_of_a_build_is_accepted(
    stolen: Registry, tmp_path: Path, keys: Keys, file: str, attack: Callable[[Path, Registry], None]
) -> None:
    path = build_of(stolen, "v1.1.0") / file
    before = path.read_bytes()
    attack(path, stolen)
    assert not path.is_file() or path.read_bytes() != before
    assert_all_refuse(stolen, tmp_path, keys, "v1.1.0", file)


@pytest.mark.parametrize("extra", ["model.skops.bak", "extra.py", "wheels/evil.whl", ".hidden", "model.pkl"])
def test_no_additional_file_is_accepted(stolen: Registry, tmp_path: Path, keys: Keys, extra: str) -> None:
    (build_of(stolen, "v1.1.0") / extra).write_bytes(b"x")
    assert_all_refuse(stolen, tmp_path, keys, "v1.1.0", extra)


def test_two_files_exchanged_within_a_build_are_not_accepted(stolen: Registry, tmp_path: Path, keys: Keys) -> None:
    one, other = build_of(stolen, "v1.1.0") / "dvc.lock", build_of(stolen, "v1.1.0") / "model-card.md"
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)
    assert_all_refuse(stolen, tmp_path, keys, "v1.1.0", "dvc.lock")


RECORD_ATTACKS: dict[str, Callable[[Path], None]] = {
    "flip": lambda path: flip(path, None),  # type: ignore[arg-type]
    "flip first": lambda path: flip_first(path, None),  # type: ignore[arg-type]
    "flip last": lambda path: flip_last(path, None),  # type: ignore[arg-type]
    "truncate": lambda path: truncate(path, None),  # type: ignore[arg-type]
    "lengthen": lambda path: lengthen(path, None),  # type: ignore[arg-type]
    "delete": lambda path: path.unlink(),
    "an older release under this name": lambda path: shutil.copy(path.with_name("v1.0.0.json"), path),  # type: ignore[dict-item]
    "a newer release under this name": lambda path: shutil.copy(path.with_name("v1.2.0.json"), path),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("attack", RECORD_ATTACKS.values(), ids=RECORD_ATTACKS)
def test_no_changed_record_of_a_release_is_accepted(
    stolen: Registry, tmp_path: Path, keys: Keys, attack: Callable[[Path], None]
) -> None:
    attack(root_of(stolen) / "releases" / "v1.1.0.json")
    assert_all_refuse(stolen, tmp_path, keys, "v1.1.0", "v1.1.0")


@pytest.mark.parametrize("field", ["version", "manifest", "signature", "actor", "time", "name", "schema"])
def test_no_field_of_a_record_can_be_edited(stolen: Registry, tmp_path: Path, keys: Keys, field: str) -> None:
    path = root_of(stolen) / "releases" / "v1.1.0.json"
    document = json.loads(path.read_bytes())
    document["payload"][field] += "0"
    path.write_bytes(canonical(document))
    assert_all_refuse(stolen, tmp_path, keys, "v1.1.0", "v1.1.0.json was altered, or belongs elsewhere")


def test_a_record_that_names_an_older_build_of_ours_is_not_accepted_even_if_signed(
    stolen: Registry, tmp_path: Path, keys: Keys
) -> None:
    """A signing service tricked into signing a record for another build: the manifest says for what it was made."""
    path = root_of(stolen) / "releases" / "v1.1.0.json"
    old = json.loads(path.with_name("v1.0.0.json").read_bytes())["payload"]
    path.unlink()
    stolen.write_signed(f"{NAME}/releases/v1.1.0.json", old | {"version": "v1.1.0"}, keys.signer)
    assert_all_refuse(stolen, tmp_path, keys, "v1.1.0", "was made for flight-delay@v1.0.0, not for v1.1.0")


def test_a_build_with_its_files_manifest_and_digest_all_made_anew_is_not_accepted(
    stolen: Registry, stranger: Keys, tmp_path: Path, keys: Keys
) -> None:
    """The strongest forgery without the key: everything consistent, signed by another."""
    theirs = Registry(open_store(str(tmp_path / "theirs"), create=True), NAME, stranger.verifier)
    publish(theirs, stranger, a_build(tmp_path / "evil", "bbb!"), "v1.1.0")
    shutil.rmtree(build_of(stolen, "v1.1.0"))
    shutil.copytree(tmp_path / "theirs", root_of(stolen).parent, dirs_exist_ok=True)
    assert_all_refuse(stolen, tmp_path, keys, "v1.1.0", "releases/v1.1.0.json")


def test_the_signature_of_another_build_is_not_accepted_even_where_the_record_names_it(
    stolen: Registry, tmp_path: Path, keys: Keys
) -> None:
    signature = (build_of(stolen, "v1.0.0") / "model.sig").read_bytes()
    (build_of(stolen, "v1.1.0") / "model.sig").write_bytes(signature)
    path = root_of(stolen) / "releases" / "v1.1.0.json"
    payload = json.loads(path.read_bytes())["payload"]
    path.unlink()
    stolen.write_signed(f"{NAME}/releases/v1.1.0.json", payload | {"signature": sha256(signature)}, keys.signer)
    assert_all_refuse(stolen, tmp_path, keys, "v1.1.0", "model.sig")


def test_no_single_flipped_bit_anywhere_in_the_store_is_accepted(stolen: Registry, tmp_path: Path) -> None:
    """Every object that consumers of v1.1.0 and of staging rely on, one bit at a time, at many places."""
    accepted, tried = [], 0
    root = root_of(stolen)
    paths = [path for path in sorted(build_of(stolen, "v1.1.0").rglob("*")) if path.is_file()]
    paths += [root / "releases" / "v1.1.0.json", *sorted((root / "environments" / "staging").glob("*.json"))]
    for path in paths:
        data = path.read_bytes()
        for position in range(0, len(data), max(1, len(data) // 23)):
            path.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
            tried += 1
            try:
                stolen.verify_files(stolen.release("v1.1.0"))
                Environment(stolen, "staging").verify()
            except LockgateError:
                continue
            accepted.append((path.name, position))
        path.write_bytes(data)
    assert accepted == []
    assert tried > 250
    stolen.verify_files(stolen.release("v1.1.0"))
    Environment(stolen, "staging").verify()


# --- the log


def entry_of(registry: Registry, number: int, environment: str = "staging") -> Path:
    return Path(registry.store.url) / Environment(registry, environment)._path(number)


def edit(field: str) -> Callable[[Registry, int], None]:
    def attack(registry: Registry, number: int) -> None:
        path = entry_of(registry, number)
        document = json.loads(path.read_bytes())
        value = document["payload"][field]
        document["payload"][field] = value + 1 if isinstance(value, int) else value + "x"
        path.write_bytes(canonical(document))

    return attack


def drop(registry: Registry, number: int) -> None:
    entry_of(registry, number).unlink()


def reorder(registry: Registry, number: int) -> None:
    one, other = entry_of(registry, number), entry_of(registry, number % ENTRIES + 1)
    held = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(held)


def repeat_at_the_end(registry: Registry, number: int) -> None:
    shutil.copy(entry_of(registry, number), entry_of(registry, ENTRIES + 1))


def repeat_renumbered(registry: Registry, number: int) -> None:
    document = json.loads(entry_of(registry, number).read_bytes())
    document["payload"]["number"] = ENTRIES + 1
    entry_of(registry, ENTRIES + 1).write_bytes(canonical(document))


def over_another(registry: Registry, number: int) -> None:
    shutil.copy(entry_of(registry, number), entry_of(registry, number % ENTRIES + 1))


def of_another_environment(registry: Registry, number: int) -> None:
    shutil.copy(entry_of(registry, 1, "production"), entry_of(registry, number))


def drop_and_close_the_gap(registry: Registry, number: int) -> None:
    """Take an entry out and move those behind it up."""
    for later in range(number, ENTRIES):
        shutil.copy(entry_of(registry, later + 1), entry_of(registry, later))
    entry_of(registry, ENTRIES).unlink()


def garble(registry: Registry, number: int) -> None:
    entry_of(registry, number).write_bytes(b"{}")


def something_else_beside(registry: Registry, number: int) -> None:
    (entry_of(registry, number).parent / f"{number}.json").write_bytes(b"{}")


FIELDS = [
    "name",
    "environment",
    "number",
    "action",
    "version",
    "manifest",
    "actor",
    "time",
    "reason",
    "tag",
    "previous",
]
ON_ENTRIES = {f"edit {field}": edit(field) for field in [*FIELDS, "schema"]} | {
    attack.__name__: attack
    for attack in (
        drop,
        reorder,
        repeat_at_the_end,
        repeat_renumbered,
        over_another,
        of_another_environment,
        drop_and_close_the_gap,
        garble,
        something_else_beside,
    )
}


@pytest.mark.parametrize("number", range(1, ENTRIES + 1))
@pytest.mark.parametrize("attack", ON_ENTRIES.values(), ids=ON_ENTRIES)
def test_no_changed_log_is_accepted(
    stolen: Registry, keys: Keys, attack: Callable[[Registry, int], None], number: int
) -> None:
    staging = Environment(stolen, "staging")
    length = len(staging.verify())
    attack(stolen, number)
    at_the_end = number == ENTRIES and attack in {drop, drop_and_close_the_gap}
    if at_the_end:  # the one thing a store cannot show by itself: see test_verify.py for git's tags
        assert len(staging.verify()) == length - 1
        return
    with pytest.raises((Refused, SignatureRefused, LockgateError)) as caught:
        staging.verify()
    assert "environments/staging/" in str(caught.value)


@pytest.mark.parametrize("number", range(1, ENTRIES + 1))
@pytest.mark.parametrize("field", FIELDS)
def test_nobody_appends_to_a_log_whose_history_was_edited(
    stolen: Registry, keys: Keys, number: int, field: str
) -> None:
    edit(field)(stolen, number)
    with pytest.raises(LockgateError, match="environments/staging/"):
        promoted(stolen, keys, "v1.0.0", STAGING)
    assert not entry_of(stolen, ENTRIES + 1).exists()


def test_an_entry_appended_without_the_key_is_not_what_runs(stolen: Registry, stranger: Keys) -> None:
    staging = Environment(stolen, "staging")
    head = staging.head()
    assert head is not None
    theirs = Registry(stolen.store, NAME, stranger.verifier)
    forged = Entry(
        NAME, "staging", ENTRIES + 1, "rollback", "v1.0.0", head.manifest, "eve", head.time, "", "", head.digest
    )
    theirs.write_signed(staging._path(forged.number), forged.payload(), stranger.signer)
    with pytest.raises(EntryRefused, match="environments/staging/"):
        staging.current()


def test_a_page_that_lies_is_found_by_history_and_named_by_verify(
    stolen: Registry, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockgate.releasing.environments.PAGE", 2)
    promoted(stolen, keys, "v1.0.0", STAGING)
    promoted(stolen, keys, "v1.1.0", STAGING)
    staging = Environment(stolen, "staging")
    sound = staging.history()
    page = Path(stolen.store.url) / staging._page_path(3)
    payloads = json.loads(page.read_bytes())
    payloads[1]["version"] = "v6.6.6"
    page.write_bytes(canonical(payloads))
    with pytest.raises(Refused, match="was altered"):
        staging.history()
    with pytest.raises(Refused, match=r"pages/00000003\.json is not a copy"):
        staging.verify()
    page.unlink()
    assert staging.history() == staging.verify() == sound


def test_the_sound_store_is_accepted_as_it_is(stolen: Registry, tmp_path: Path, keys: Keys) -> None:
    assert FACTS["rebuild"] == {"level": "full"}
    assert len(Environment(stolen, "staging").verify()) == ENTRIES
    for _, consume in consumers(stolen, tmp_path, keys, "v1.1.0"):
        consume()
    assert (tmp_path / "got" / "model.skops").is_file()
