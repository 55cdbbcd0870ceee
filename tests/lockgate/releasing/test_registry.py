import json
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.lockgate.releases import ACTOR, FACTS, NAME, Keys, a_build, contents, publish

from lockgate.errors import LockgateError
from lockgate.releasing import environments
from lockgate.releasing.environments import Entry, Environment, before, missing_tags
from lockgate.releasing.garbage import find_garbage, remove
from lockgate.releasing.registry import Actor, NoSuchRelease, Refused, Registry, ReleaseTaken
from lockgate.releasing.signing import SignatureRefused
from lockgate.store import Store

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")


@pytest.fixture
def on_any_store(store: Store, keys: Keys) -> Registry:
    return Registry(store, NAME, keys.verifier)


def test_a_published_release_reads_back_as_it_was_made(on_any_store: Registry, keys: Keys, tmp_path: Path) -> None:
    folder = a_build(tmp_path / "build")
    build, made = on_any_store.publish(folder, "v1.2.0", FACTS, signer=keys.signer, actor=ACTOR)
    assert made
    assert on_any_store.release("v1.2.0") == build
    assert build.manifest.facts == FACTS
    assert (build.release.actor, build.release.time) == (ACTOR.name, ACTOR.time)
    for file in build.manifest.files:
        assert b"".join(map(bytes, on_any_store.stream(build.manifest, file))) == (folder / file.path).read_bytes()
    on_any_store.verify_files(build)


def test_the_store_has_the_layout_that_the_design_promises(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    build = publish(registry, keys, a_build(tmp_path / "build"), "v1.2.0")
    root = f"{NAME}/builds/{build.manifest.digest}"
    files = ["dvc.lock", "manifest.json", "model-card.md", "model.sig", "model.skops"]
    assert list(contents(registry.store)) == [
        *(f"{root}/{file}" for file in files),
        f"{root}/wheels/flight_delay-1.0-py3-none-any.whl",
        f"{NAME}/claims/{build.manifest.digest}.json",
        f"{NAME}/releases/v1.2.0.json",
    ]


def test_publishing_again_does_nothing_and_changes_no_byte(on_any_store: Registry, keys: Keys, tmp_path: Path) -> None:
    folder = a_build(tmp_path / "build")
    publish(on_any_store, keys, folder, "v1.2.0")
    held = contents(on_any_store.store)
    later = Actor("bob", "2027-01-01T00:00:00+00:00")
    build, made = on_any_store.publish(folder, "v1.2.0", FACTS, signer=keys.signer, actor=later)
    assert not made
    assert build.release.actor == ACTOR.name
    assert contents(on_any_store.store) == held


def test_a_version_is_one_build_for_ever(on_any_store: Registry, keys: Keys, tmp_path: Path) -> None:
    first = publish(on_any_store, keys, a_build(tmp_path / "one", "one"), "v1.2.0")
    held = contents(on_any_store.store)
    with pytest.raises(ReleaseTaken, match=rf"v1\.2\.0 was released before as build {first.manifest.digest[:12]}"):
        publish(on_any_store, keys, a_build(tmp_path / "two", "two"), "v1.2.0")
    assert contents(on_any_store.store) == held


def test_versions_are_listed_in_the_order_of_semantic_versions(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    folder = a_build(tmp_path / "build")
    for version in ("v1.10.0", "v1.9.0", "v2.0.0-rc.1", "v1.9.1", "v2.0.0"):
        publish(registry, keys, folder, version)
    assert registry.versions() == ["v1.9.0", "v1.9.1", "v1.10.0", "v2.0.0-rc.1", "v2.0.0"]


def test_a_release_that_does_not_exist_is_named(registry: Registry) -> None:
    with pytest.raises(NoSuchRelease, match=r"flight-delay@v9\.0\.0"):
        registry.release("v9.0.0")


def test_a_release_signed_by_a_stranger_is_not_believed_nor_made(
    registry: Registry, keys: Keys, stranger: Keys, tmp_path: Path
) -> None:
    theirs = Registry(registry.store, NAME, stranger.verifier)
    publish(theirs, stranger, a_build(tmp_path / "build"), "v1.2.0")
    with pytest.raises(SignatureRefused, match=r"releases/v1\.2\.0\.json"):
        registry.release("v1.2.0")
    with pytest.raises(SignatureRefused):
        publish(registry, stranger, a_build(tmp_path / "other", "two"), "v1.3.0")
    assert not [path for path in contents(registry.store) if "v1.3.0" in path or path.endswith("model.sig")][1:]


def test_a_model_larger_than_a_part_is_released_in_parts_and_verified(
    on_any_store: Registry, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockgate.releasing.registry.make_manifest.__defaults__", (4096,))
    folder = a_build(tmp_path / "build")
    (folder / "weights.bin").write_bytes(random.Random(1).randbytes(10_000))
    build = publish(on_any_store, keys, folder, "v1.2.0")
    root = f"{NAME}/builds/{build.manifest.digest}"
    parts = [o.path for o in on_any_store.store.objects(f"{root}/weights.bin")]
    assert parts == [f"{root}/weights.bin/{n:05d}" for n in (1, 2, 3)]
    on_any_store.verify_files(on_any_store.release("v1.2.0"))


@pytest.mark.slow
def test_a_large_upload_and_its_verification_stay_within_bounded_memory(tmp_path: Path, keys: Keys) -> None:
    """600 MB go through a process whose peak grows by less than 450 MB: parts in flight, not the file."""
    program = """
import resource, sys
from pathlib import Path
from lockgate.releasing.registry import Actor, Registry
from lockgate.releasing.signing import KeySigner, KeyVerifier
from lockgate.store import open_store
folder, store, key, public = map(Path, sys.argv[1:])
registry = Registry(open_store(str(store), create=True), "m", KeyVerifier(public))
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
registry.publish(folder, "v1.0.0", {}, signer=KeySigner(key), actor=Actor("a", "t"))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) // 1024)
"""
    (tmp_path / "build").mkdir()
    draw = random.Random(1)
    with (tmp_path / "build" / "weights.bin").open("wb") as file:
        for _ in range(600):
            file.write(draw.randbytes(1000) * 1000)
    where = [tmp_path / "build", tmp_path / "store", keys.signer.private_key, keys.verifier.public_key]
    done = subprocess.run([sys.executable, "-c", program, *map(str, where)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 450


def test_racing_publishers_of_one_build_make_one_release(on_any_store: Registry, keys: Keys, tmp_path: Path) -> None:
    folder = a_build(tmp_path / "build")
    start = threading.Barrier(4)

    def run(number: int) -> bool:
        start.wait()
        actor = Actor(f"actor {number}", ACTOR.time)
        return on_any_store.publish(folder, "v1.0.0", FACTS, signer=keys.signer, actor=actor)[1]

    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(run, range(4)))
    assert made.count(True) == 1
    assert on_any_store.release("v1.0.0").release.actor == f"actor {made.index(True)}"
    on_any_store.verify_files(on_any_store.release("v1.0.0"))


# --- the log of an environment


def _append(environment: Environment, keys: Keys, version: str, **more: str) -> Entry:
    build = environment.registry.release(version)
    entry, appended = environment.append(build, keys.signer, ACTOR, "promote", **more)  # type: ignore[arg-type]
    assert appended
    return entry


def test_entries_are_numbered_chained_and_read_back_in_order(
    on_any_store: Registry, keys: Keys, tmp_path: Path
) -> None:
    folder = a_build(tmp_path / "build")
    for version in ("v1.0.0", "v1.1.0"):
        publish(on_any_store, keys, folder, version)
    production = Environment(on_any_store, "production")
    assert (production.head(), production.history()) == (None, [])
    first = _append(production, keys, "v1.0.0", reason="first", tag="flight-delay#production#1")
    second = _append(production, keys, "v1.1.0")
    third = _append(production, keys, "v1.0.0")
    assert production.history() == production.verify() == [first, second, third]
    assert [entry.number for entry in production.history()] == [1, 2, 3]
    assert (first.previous, second.previous, third.previous) == ("", first.digest, second.digest)
    assert production.current() == (third, on_any_store.release("v1.0.0"))


def test_racing_promoters_get_ordered_entries_and_none_is_lost(
    on_any_store: Registry, keys: Keys, tmp_path: Path
) -> None:
    folder = a_build(tmp_path / "build")
    for number in range(4):
        publish(on_any_store, keys, folder, f"v1.{number}.0")
    start = threading.Barrier(4)

    def run(number: int) -> Entry:
        start.wait()
        return _append(Environment(on_any_store, "production"), keys, f"v1.{number}.0")

    with ThreadPoolExecutor(4) as pool:
        entries = list(pool.map(run, range(4)))
    log = Environment(on_any_store, "production").verify()
    assert log == sorted(entries, key=lambda entry: entry.number)
    assert [entry.number for entry in log] == [1, 2, 3, 4]


def test_a_long_log_is_paged_and_a_log_without_its_pages_reads_the_same(
    registry: Registry, keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "PAGE", 5)
    folder = a_build(tmp_path / "build")
    for number in range(3):
        publish(registry, keys, folder, f"v1.{number}.0")
    production = Environment(registry, "production")
    entries = [_append(production, keys, f"v1.{number % 3}.0") for number in range(13)]
    pages = [o.path for o in registry.store.objects(f"{NAME}/environments/production/pages")]
    assert len(pages) == 2
    assert production.history() == production.verify() == entries
    registry.store.delete(pages[0])
    assert production.history() == production.verify() == entries


@pytest.mark.slow
def test_finding_what_runs_takes_as_many_requests_after_500_promotions_as_after_one(
    on_any_store: Registry, keys: Keys, tmp_path: Path, asked: list[str]
) -> None:
    publish(on_any_store, keys, a_build(tmp_path / "build"), "v1.0.0")
    production = Environment(on_any_store, "production")

    def requests() -> int:
        asked.clear()
        production.current()
        return len(asked)

    build = on_any_store.release("v1.0.0")
    head = _append(production, keys, "v1.0.0")
    after_one = requests()
    for number in range(2, 501):
        head = replace(head, number=number, previous=head.digest, version=build.release.version)
        on_any_store.write_signed(production._path(number), head.payload(), keys.signer)
    assert requests() == after_one <= 5
    assert production.current()[0].number == 500


def test_an_environment_cannot_leave_its_folder(registry: Registry) -> None:
    for name in ("../staging", "a/b", "", ".hidden"):
        with pytest.raises(LockgateError, match="is not a valid environment name"):
            Environment(registry, name)


def test_going_back_takes_off_what_lies_above_the_target() -> None:
    def log(*steps: str) -> list[Entry]:
        return [
            Entry(
                NAME, "p", n, "rollback" if step[0] == "-" else "promote", step.strip("-"), step.strip("-"), *[""] * 5
            )
            for n, step in enumerate(steps, 1)
        ]

    def target(*steps: str) -> str | None:
        entry = before(log(*steps))
        return entry.version if entry else None

    assert target() is None
    assert target("a") is None
    assert target("a", "b", "c") == "b"
    assert target("a", "b", "c", "-b") == "a"
    assert target("a", "b", "c", "-b", "-a") is None
    assert target("a", "b", "-a", "c") == "a"
    assert target("a", "b", "-a", "b") == "a"


def test_tags_that_no_entry_was_written_for_are_named_and_no_others(registry: Registry) -> None:
    entry = Entry(NAME, "production", 1, "promote", "v1.0.0", "d", "a", "t", "", f"{NAME}#production#1", "")
    tags = [f"{NAME}#production#{n}" for n in (1, 2)] + [f"{NAME}#staging#3", "other#production#4", f"{NAME}@v1.0.0"]
    assert missing_tags([entry], tags, NAME, "production") == [f"{NAME}#production#2"]


# --- garbage


def _abandoned(registry: Registry, keys: Keys, folder: Path, version: str) -> str:
    """Leave a build in the store whose release was never written, and return its digest."""
    build = publish(Registry(registry.store, "scratch", keys.verifier), keys, folder, version)
    for path, data in contents(registry.store).items():
        if path.startswith("scratch/builds/"):
            registry.store.create(path.replace("scratch/", f"{NAME}/", 1), data)
    return build.manifest.digest


def test_only_old_builds_without_a_release_are_garbage(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    publish(registry, keys, a_build(tmp_path / "one", "one"), "v1.0.0")
    digest = _abandoned(registry, keys, a_build(tmp_path / "two", "two"), "v1.1.0")
    now = datetime.now(UTC)
    assert find_garbage(registry, timedelta(days=30), now) == []
    [garbage] = find_garbage(registry, timedelta(days=30), now + timedelta(days=31))
    assert (garbage.digest, garbage.objects) == (digest, 6)
    assert remove(registry, garbage) is True
    assert not [path for path in contents(registry.store) if path.startswith(f"{NAME}/builds/{digest}")]
    registry.verify_files(registry.release("v1.0.0"))


def test_a_build_that_a_release_has_claimed_is_never_removed(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    digest = _abandoned(registry, keys, a_build(tmp_path / "two", "two"), "v1.1.0")
    [garbage] = find_garbage(registry, timedelta(0), datetime.now(UTC) + timedelta(days=1))
    registry._claim(digest)
    held = contents(registry.store)
    assert remove(registry, garbage) is False
    assert contents(registry.store) == held
    assert find_garbage(registry, timedelta(0), datetime.now(UTC) + timedelta(days=1)) == []


def test_a_build_under_collection_cannot_become_a_release(registry: Registry, keys: Keys, tmp_path: Path) -> None:
    folder = a_build(tmp_path / "build")
    build = publish(Registry(registry.store, "elsewhere", keys.verifier), keys, folder, "v1.0.0")
    del build
    from lockgate.releasing.manifest import make_manifest
    from lockgate.releasing.registry import COLLECTION, claim_path

    digest = make_manifest(folder, NAME, "v1.0.0", FACTS).digest
    registry.store.create(claim_path(NAME, digest), COLLECTION)
    with pytest.raises(LockgateError, match="was given up and is being removed"):
        publish(registry, keys, folder, "v1.0.0")
    with pytest.raises(NoSuchRelease):
        registry.release("v1.0.0")


def test_a_store_that_holds_something_else_under_the_builds_name_makes_no_release(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    from lockgate.releasing.manifest import make_manifest

    folder = a_build(tmp_path / "build")
    digest = make_manifest(folder, NAME, "v1.0.0", FACTS).digest
    size = (folder / "model.skops").stat().st_size
    registry.store.create(f"{NAME}/builds/{digest}/model.skops", b"x" * size)
    with pytest.raises(Refused, match=r"model\.skops was altered"):
        publish(registry, keys, folder, "v1.0.0")
    registry.store.create(f"{NAME}/builds/{digest}/more", b"x")
    with pytest.raises(Refused, match="more is not in the manifest"):
        publish(registry, keys, folder, "v1.0.0")
    with pytest.raises(NoSuchRelease):
        registry.release("v1.0.0")


def test_every_document_in_the_store_is_json_that_any_program_reads(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    publish(registry, keys, a_build(tmp_path / "build"), "v1.0.0")
    _append(Environment(registry, "production"), keys, "v1.0.0")
    documents = [data for path, data in contents(registry.store).items() if path.endswith((".json", ".sig"))]
    assert len(documents) == 5
    assert all(isinstance(json.loads(data), dict) for data in documents)


def test_a_signed_document_is_read_under_its_own_path_alone(registry: Registry, keys: Keys) -> None:
    registry.write_signed(f"{NAME}/notes/one.json", {"said": "this"}, keys.signer)
    registry.store.create(f"{NAME}/notes/two.json", registry.store.read(f"{NAME}/notes/one.json"))
    assert registry.read_signed(f"{NAME}/notes/one.json") == {"said": "this"}
    with pytest.raises(Refused, match="belongs elsewhere"):
        registry.read_signed(f"{NAME}/notes/two.json")
