import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lockgate import store as store_module
from lockgate.errors import UsageError
from lockgate.store import ObjectDiffers, ObjectMissing, Patience, Piece, Store, StoreError, open_store

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")


def test_an_object_is_created_once_and_creating_it_again_with_the_same_bytes_is_no_change(store: Store) -> None:
    assert store.create("a/b.json", b"one") is True
    assert store.create("a/b.json", b"one") is False
    assert store.read("a/b.json") == b"one"


@pytest.mark.parametrize("other", [b"two", b"", b"one and more"])
def test_an_object_with_other_bytes_is_never_replaced(store: Store, other: bytes) -> None:
    store.create("a/b.json", b"one")
    with pytest.raises(ObjectDiffers, match=r"a/b\.json exists already, with other content"):
        store.create("a/b.json", other)
    assert store.read("a/b.json") == b"one"


def test_of_many_writers_of_one_object_exactly_one_wins(store: Store) -> None:
    start = threading.Barrier(8)

    def write(number: int) -> bool:
        start.wait()
        try:
            return store.create("raced", b"writer %d" % number)
        except ObjectDiffers:
            return False

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert won.count(True) == 1
    assert store.read("raced") == b"writer %d" % won.index(True)


def test_a_missing_object_is_named_in_full(store: Store) -> None:
    with pytest.raises(ObjectMissing, match="nowhere/at/all does not exist") as caught:
        store.read("nowhere/at/all")
    assert str(caught.value).startswith(store.url)


def test_a_document_larger_than_believable_is_not_read(store: Store) -> None:
    store.create("large", b"x" * 1000)
    with pytest.raises(StoreError, match="1000 bytes"):
        store.read("large", limit=999)


def test_many_documents_are_read_in_the_order_they_were_asked_for(store: Store) -> None:
    for number in range(40):
        store.create(f"many/{number}", b"%d" % number)
    read = store.read_all([f"many/{number}" for number in (7, 39, 99, 0)])
    assert read == [b"7", b"39", None, b"0"]


def test_the_first_object_is_the_one_whose_name_sorts_first(store: Store) -> None:
    assert store.first("log") is None
    for name in ("log/b.json", "log/a.json", "log/pages/00.json", "logs/0.json"):
        store.create(name, b"{}")
    assert store.first("log") == "log/a.json"
    assert [stored.path for stored in store.objects("log")] == ["log/a.json", "log/b.json", "log/pages/00.json"]
    assert store.folders("log") == ["pages"]
    assert store.folders() == ["log", "logs"]


def test_a_file_in_pieces_comes_back_byte_for_byte(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "RANGE", 1000)
    content = random.Random(1).randbytes(10_500)
    (tmp_path / "model").write_bytes(content)
    pieces = [
        Piece(f"model/{n:05d}", start, min(3000, 10_500 - start)) for n, start in enumerate(range(0, 10_500, 3000))
    ]
    sent: list[int] = []
    store.upload(tmp_path / "model", pieces, sent.append)
    chunks = [bytes(chunk) for chunk in store.stream(pieces)]
    assert b"".join(chunks) == content
    assert max(map(len, chunks)) == 1000
    assert sent == [3000, 3000, 3000, 1500]


def test_a_file_that_became_shorter_is_noticed_by_name(store: Store) -> None:
    store.create("short", b"12345")
    with pytest.raises(StoreError, match="short ends before its 8 bytes are full"):
        list(store.stream([Piece("short", 0, 8)]))


def test_reading_stops_asking_when_the_reader_stops(
    store: Store, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "RANGE", 10)
    store.create("long", b"x" * 10_000)
    asked.clear()
    stream = store.stream([Piece("long", 0, 10_000)])
    assert bytes(next(stream)) == b"x" * 10
    stream.close()  # type: ignore[attr-defined]
    assert len(asked) <= 2 * store_module.PARALLEL + 2


def test_what_a_killed_writer_left_half_written_in_a_folder_is_no_object(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"), create=True)
    store.create("log/b.json", b"{}")
    (tmp_path / "store/log/a.json#1").write_bytes(b"hal")
    assert store.first("log") == "log/b.json"
    assert [stored.path for stored in store.objects("log")] == ["log/b.json"]
    assert store.create("log/a.json", b"whole") is True


def test_a_store_that_is_not_there_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store at"):
        open_store(str(tmp_path / "absent"))
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("url", ["ftp://host/folder", "s3://", "gs://bucket"])
def test_an_unknown_kind_of_store_is_wrong_usage(url: str) -> None:
    with pytest.raises(UsageError, match="is not a store"):
        open_store(url)


def test_a_folder_without_rights_says_so(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"), create=True)
    (tmp_path / "store" / "a").write_bytes(b"a file where a folder is needed")
    with pytest.raises(StoreError, match="a/b: "):
        store.create("a/b", b"1")


def test_a_variable_that_is_empty_is_one_that_nobody_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-nobody")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match="s3://models/prefix/a: the store does not answer"):
        open_store("s3://models/prefix", patience=Patience(tries=1)).read("a")
