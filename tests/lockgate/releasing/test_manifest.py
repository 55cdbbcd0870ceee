import bz2
import gzip
import io
import json
import lzma
import pickle
import random
import tarfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lockgate.releases import a_build

from lockgate.errors import LockgateError
from lockgate.releasing.manifest import (
    BuildError,
    BuildFile,
    Manifest,
    NotCanonical,
    canonical,
    make_manifest,
    parse_canonical,
    read_manifest,
    sha256,
)
from lockgate.releasing.pickles import NotLookedInto, PickleFound, named_as_pickle, refuse_pickle

SOME = "0" * 64
ONE = Manifest("flight-delay", "v1.2.0", (BuildFile("model.skops", SOME, 3),), {"commit": "abc"})

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii")), inner),
    max_leaves=10,
)


@given(json_values)
def test_a_value_survives_its_canonical_spelling_and_has_only_one(value: Any) -> None:
    data = canonical(value)
    assert parse_canonical(data, "here") == value
    assert canonical(json.loads(data)) == data


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1}',
        b'{"b":1,"a":2}',
        b'{"a":1,"a":1}',
        b'{"a":1}\n',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b'{"a":NaN}',
        b'{"a":"\\u0041"}',
        b'{"a":9007199254740992}',
        b'{"a"',
        b"",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_any_other_spelling_is_refused_and_named(data: bytes) -> None:
    with pytest.raises(NotCanonical, match=r"store/manifest\.json was altered"):
        parse_canonical(data, "store/manifest.json")


@pytest.mark.parametrize(
    ("facts", "place"),
    [
        ({"metrics": {"auc": 0.5}}, "metrics.auc: a float"),
        ({"rows": [1, 2**53]}, r"rows\[1\]: 9007199254740992 is too large"),
        ({"ключ": 1}, "is not ASCII"),
        ({"name": "\ud800"}, "name: .* UTF-8"),
        ({"when": object()}, "when: a object"),
    ],
)
def test_a_fact_with_more_than_one_spelling_is_refused_by_its_place(facts: dict[str, Any], place: str) -> None:
    with pytest.raises(BuildError, match=place):
        canonical(facts)


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8}\.[a-z]{3})?", fullmatch=True), st.integers(0, 2**50)),
    st.dictionaries(st.text(st.characters(codec="ascii")), json_values),
)
def test_a_manifest_survives_the_round_trip(sizes: dict[str, int], facts: dict[str, Any]) -> None:
    sizes = {path: size for path, size in sizes.items() if not named_as_pickle(path)}
    tops = {path.partition("/")[0] for path in sizes if "/" in path}
    files = tuple(BuildFile(path, sha256(path.encode()), sizes[path]) for path in sorted(sizes) if path not in tops)
    manifest = Manifest("flight-delay", "v1.2.0", files or ONE.files, facts)
    assert read_manifest(manifest.to_bytes(), "here") == manifest
    assert manifest.digest == sha256(manifest.to_bytes())


def test_the_same_files_make_the_same_manifest_wherever_they_are(tmp_path: Path) -> None:
    one = make_manifest(a_build(tmp_path / "one"), "flight-delay", "v1.2.0", {"commit": "abc"})
    other = make_manifest(a_build(tmp_path / "else" / "where"), "flight-delay", "v1.2.0", {"commit": "abc"})
    assert one == other
    assert [file.path for file in one.files] == [
        "dvc.lock",
        "model-card.md",
        "model.skops",
        "wheels/flight_delay-1.0-py3-none-any.whl",
    ]
    card = (tmp_path / "one" / "model-card.md").read_bytes()
    assert one.files[1] == BuildFile("model-card.md", sha256(card), len(card))


@pytest.mark.parametrize("change", [{"version": "v1.2.1"}, {"name": "other"}, {"facts": {"commit": "abd"}}])
def test_another_name_version_or_fact_is_another_build(change: dict[str, Any]) -> None:
    assert replace(ONE, **change).digest != ONE.digest


@pytest.mark.parametrize("version", ["1.2.0", "v1.2", "v01.2.0", "v1.2.0/..", "v1.2.0\n", "latest", "v1.2.0+build", ""])
def test_what_is_no_version_is_refused(version: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="is not a version"):
        make_manifest(a_build(tmp_path), "flight-delay", version, {})


@pytest.mark.parametrize("name", ["", "../up", "a/b", "-a", "a-", "a b", "a@b", "a#b", "é"])
def test_what_is_no_model_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="is not a valid model name"):
        make_manifest(a_build(tmp_path), name, "v1.0.0", {})


@pytest.mark.parametrize("path", ["with space.txt", ".hidden", "née.md", "a#b", "-rf"])
def test_a_path_that_some_system_could_misread_is_refused(path: str, tmp_path: Path) -> None:
    (a_build(tmp_path) / path).write_text("x")
    with pytest.raises(BuildError, match="is not plain"):
        make_manifest(tmp_path, "flight-delay", "v1.0.0", {})


def test_links_reserved_names_and_empty_folders_are_refused(tmp_path: Path) -> None:
    (a_build(tmp_path / "link") / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(BuildError, match="passwd is not a plain file"):
        make_manifest(tmp_path / "link", "flight-delay", "v1.0.0", {})
    (a_build(tmp_path / "own") / "model.sig").write_text("x")
    with pytest.raises(BuildError, match=r"model\.sig is written by Lockgate"):
        make_manifest(tmp_path / "own", "flight-delay", "v1.0.0", {})
    (tmp_path / "empty").mkdir()
    with pytest.raises(BuildError, match="holds no file"):
        make_manifest(tmp_path / "empty", "flight-delay", "v1.0.0", {})


@pytest.mark.parametrize(
    "paths", [("A.md", "a.md"), ("a", "a/b"), ("A", "a/b"), ("b", "a"), ("a", "a"), ("../up",), ("/root",), ("a//b",)]
)
def test_a_manifest_whose_files_could_fall_on_one_another_is_refused(paths: tuple[str, ...]) -> None:
    manifest = replace(ONE, files=tuple(BuildFile(path, SOME, 1) for path in paths))
    with pytest.raises(BuildError):
        read_manifest(manifest.to_bytes(), "here")


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "lockgate.manifest/2"},
        {"more": 1},
        {"part_size": 0},
        {"files": [{"path": "a", "sha256": "0", "size": 1}]},
        {"files": [{"path": "a", "sha256": SOME, "size": -1}]},
        {"files": [{"path": "a", "sha256": SOME}]},
        {"files": "a"},
        {"facts": []},
        {"version": None},
    ],
)
def test_a_manifest_with_impossible_fields_is_refused(change: dict[str, Any]) -> None:
    data = canonical(json.loads(ONE.to_bytes()) | change)
    with pytest.raises(BuildError):
        read_manifest(data, "here")


def test_a_long_file_lies_in_parts_named_below_it() -> None:
    file = BuildFile("model", SOME, 25)
    pieces = list(replace(ONE, part_size=10).pieces(file, "root"))
    assert [(piece.path, piece.offset, piece.length) for piece in pieces] == [
        ("root/model/00001", 0, 10),
        ("root/model/00002", 10, 10),
        ("root/model/00003", 20, 5),
    ]
    [whole] = replace(ONE, part_size=25).pieces(file, "root")
    assert (whole.path, whole.length) == ("root/model", 25)


class Anything:
    def __init__(self) -> None:
        self.data = {"weights": [1.5] * 10, "name": "model"}


def _zipped(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", "{}")
        archive.writestr(name, content)
    return out.getvalue()


def _array(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def _header(header: bytes, version: int = 1) -> bytes:
    """Return an array file with this header, written by hand."""
    header += b" " * 10 + b"\n"
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + pickle.dumps([Anything()])


def _tarred(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def _compressed(kind: str, content: bytes) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, kind) as out:
        out.write(content)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _encrypted() -> bytes:
    """Return a zip whose member says that it is encrypted."""
    data = bytearray(_zipped("a.bin", b"x"))
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.rindex(magic)
        data[start + place] |= 1
    return bytes(data)


def _deep(depth: int) -> bytes:
    content = b"text"
    for _ in range(depth):
        content = _zipped("a.bin", content)
    return content


def test_a_sealed_pickle_is_let_in_as_the_model_and_as_nothing_else(tmp_path: Path) -> None:
    folder = a_build(tmp_path / "build")
    (folder / "model.skops").unlink()
    (folder / "model.pkl").write_bytes(pickle.dumps(Anything()))
    with pytest.raises(PickleFound):
        make_manifest(folder, "flight-delay", "v1.0.0", {})
    with pytest.raises(PickleFound):
        make_manifest(folder, "flight-delay", "v1.0.0", {"opaque": "yes"})
    made = make_manifest(folder, "flight-delay", "v1.0.0", {"opaque": True})
    assert read_manifest(made.to_bytes(), "here") == made
    for other in ("notes.pkl", "notes.txt", "model-card.pkl", "wheels/model.pkl"):
        (folder / other).write_bytes(pickle.dumps(Anything()))
        with pytest.raises(PickleFound):
            make_manifest(folder, "flight-delay", "v1.0.0", {"opaque": True})
        (folder / other).unlink()


NOT_LOOKED_INTO = {
    "a line before a zip": b"#!/bin/sh\n" + _zipped("a.bin", b"x"),
    "an encrypted zip": _encrypted(),
    "a damaged zip": _zipped("a.bin", b"x" * 1000)[:-30],
    "a damaged gzip": gzip.compress(b"x" * 1000)[:-12],
    "7-Zip": b"7z\xbc\xaf\x27\x1c" + b"\0" * 50,
    "RAR": b"Rar!\x1a\x07\x01\x00" + b"\0" * 50,
    "7-Zip in a zip": _zipped("a.bin", b"7z\xbc\xaf\x27\x1c" + b"\0" * 50),
    "a frame that zstd passes over, before a pickle": b"\x50\x2a\x4d\x18\0\0\0\0" + _compressed("zstd", b"x"),
    "archives in archives in archives": _deep(7),
    "an array with an endless header": _header(b"{" + b" " * 20_000 + b"}"),
    "an array whose header is a program": _header(b"{'descr': __import__('os').getcwd(), 'shape': (1,)}"),
    "an array of a later version": b"\x93NUMPY\x04\x00" + b"\0" * 100,
}


@pytest.mark.parametrize("content", NOT_LOOKED_INTO.values(), ids=NOT_LOOKED_INTO)
def test_what_cannot_be_looked_into_is_refused(content: bytes, tmp_path: Path) -> None:
    (a_build(tmp_path) / "notes.bin").write_bytes(content)
    with pytest.raises(NotLookedInto, match=r"notes\.bin"):
        make_manifest(tmp_path, "flight-delay", "v1.0.0", {})


@pytest.mark.parametrize("name", ["model", "model.dat", "model.so", "model.keras2", "model.json"])
def test_data_of_no_known_kind_is_refused_and_of_a_known_one_let_in(name: str, tmp_path: Path) -> None:
    data = bytes(range(200, 256)) * 100
    (a_build(tmp_path) / name).write_bytes(data)
    with pytest.raises(NotLookedInto):
        make_manifest(tmp_path, "flight-delay", "v1.0.0", {})
    (tmp_path / name).rename(tmp_path / "model.onnx")
    make_manifest(tmp_path, "flight-delay", "v1.0.0", {})


PICKLES = {f"protocol {n}": pickle.dumps(Anything(), n) for n in range(6)} | {
    "gzip": gzip.compress(pickle.dumps(Anything())),
    "zlib, as joblib does": zlib.compress(pickle.dumps(Anything())),
    "xz": lzma.compress(pickle.dumps(Anything())),
    "in a zip": _zipped("data.bin", pickle.dumps(Anything())),
    "in a zip, as torch does": _zipped("archive/data.pkl", b"whatever"),
    "array of objects": _array(np.array([{}], dtype=object)),
    "array of objects in a zip": _zipped("a.npy", _array(np.array([{}], dtype=object))),
    "array with double quotes": _header(b'{"descr": "|O", "fortran_order": False, "shape": (1,), }'),
    "array whose type comes late": _header(
        b"{'fortran_order': False, " + b" " * 2000 + b"'shape': (1,), 'descr': '|O', }"
    ),
    "array whose type is spelled with an escape": _header(
        b"{'descr': '\\x7c\\x4f', 'fortran_order': False, 'shape': (1,), }"
    ),
    "array with an object in a field": _array(np.array([(1, {})], dtype=[("a", "i4"), ("b", "O")])),
    "array with an object in a nested field": _header(
        b"{'descr': [('a', [('b', ('|O', (2,)))])], 'fortran_order': False, 'shape': (1,), }"
    ),
    "array of version 2": _header(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 2),
    "zip in zip": _zipped("a.bin", _zipped("b.bin", pickle.dumps(Anything()))),
    "pickle's name in a zip in a zip": _zipped("a.bin", _zipped("data.pkl", b"x")),
    "npz in zip": _zipped("a.npz", _zipped("b.npy", _array(np.array([{}], dtype=object)))),
    "gzip around a zip": gzip.compress(_zipped("a", pickle.dumps(Anything()))),
    "bzip2 around gzip": bz2.compress(gzip.compress(pickle.dumps(Anything()))),
    "tar": _tarred("a.bin", pickle.dumps(Anything())),
    "tar with a pickle's name": _tarred("model.joblib", b"x"),
    "tar in gzip": gzip.compress(_tarred("a.bin", pickle.dumps(Anything()))),
    "tar in xz in zip": _zipped("a", lzma.compress(_tarred("b", pickle.dumps(Anything())))),
    "zstd": _compressed("zstd", pickle.dumps(Anything())),
    "zstd around a tar": _compressed("zstd", _tarred("a", pickle.dumps(Anything()))),
    "lz4": _compressed("lz4", pickle.dumps(Anything())),
    "long": pickle.dumps([Anything() for _ in range(1000)], 0),
    "a shell command": b"cposix\nsystem\n(S'true'\ntR.",
    "a shell command, and then no pickle": b"cposix\nsystem\n(S'true'\ntR\xff\xff\xff",
    "a shell command behind a value": b"N." + b"cposix\nsystem\n(S'true'\ntR.",
    "values alone": pickle.dumps([1, 2.5, "three"], 0),
    "values alone, of a protocol that is marked, and more": pickle.dumps([1, 2.5, "three"], 2) + b"\xff" * 1000,
    "a long value that the part looked at cuts": pickle.dumps("a" * 200_000, 2),
}


@pytest.mark.parametrize("content", PICKLES.values(), ids=PICKLES)
def test_a_pickle_under_an_innocent_name_is_refused(content: bytes, tmp_path: Path) -> None:
    (a_build(tmp_path) / "notes.txt").write_bytes(content)
    with pytest.raises(PickleFound, match=r"notes\.txt is a pickle"):
        make_manifest(tmp_path, "flight-delay", "v1.0.0", {})


@pytest.mark.parametrize("name", ["model.pkl", "model.PT", "a/b.joblib", "model.pickle"])
def test_the_name_of_a_pickle_is_enough_when_written_and_when_read(name: str, tmp_path: Path) -> None:
    (a_build(tmp_path) / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(PickleFound, match="by its name"):
        make_manifest(tmp_path, "flight-delay", "v1.0.0", {})
    with pytest.raises(PickleFound, match="by its name"):
        read_manifest(replace(ONE, files=(BuildFile(name, SOME, 1),)).to_bytes(), "here")


INNOCENT = {
    "markdown": b"# A card\n\nN. B. this is text.\n",
    "a dot": b".",
    "json": b'{"a": [1, 2, 3]}\n',
    "yaml": b"ingest:\n  cmd: python -m ingest\n  deps: [a]\n",
    "html": b"<!doctype html><p>x",
    "csv": b"a,b\n1,2\n",
    "array": _array(np.arange(10.0)),
    "zip": _zipped("weights.npy", _array(np.arange(10.0))),
    "text": b"In the beginning\nwas the word\n.\n",
    "python": b"import numpy\n\nx = 1\n",
    "empty": b"",
    "gzip": gzip.compress(b"text"),
    "array with fields": _array(np.zeros(3, dtype=[("Origin", "<f8"), ("Other", "<i4", (2,))])),
    "text that begins like zlib": b"x^2 + 1\n",
    "text that begins like a zip": b"PK is a name\n",
    "zip in zip": _zipped("a.zip", _zipped("b.npy", _array(np.arange(3)))),
    "tar of text": _tarred("a.txt", b"text"),
    "zstd of text": _compressed("zstd", b"text" * 1000),
    "bytes that begin as None does": b"N." + bytes(range(200, 256)) * 100,
    "bytes that begin as two values do": b"].}." + bytes(range(200, 256)) * 100,
    "bytes that begin as a marked pickle does": b"\x80\x04" + bytes(range(200, 256)) * 100,
    "a column whose name begins with c": b"city\nBerlin\nRome\n",
    "text in Greek, cut in the middle of a letter": b"a" + "\u03b1".encode() * 40_000,
}


@pytest.mark.parametrize("content", INNOCENT.values(), ids=INNOCENT)
def test_what_is_no_pickle_is_let_in(content: bytes, tmp_path: Path) -> None:
    (a_build(tmp_path) / "notes.bin").write_bytes(content)
    manifest = make_manifest(tmp_path, "flight-delay", "v1.0.0", {})
    assert "notes.bin" in manifest.digests()


def test_random_bytes_are_no_pickle() -> None:
    """One in 2,000 was taken for one, and so was a file of weights that begins like it."""
    draw = random.Random(13)
    for _ in range(20_000):
        refuse_pickle("weights.bin", io.BytesIO(draw.choice(b"N])}KJ").to_bytes() + draw.randbytes(60)))


def test_a_zip_that_is_none_is_refused(tmp_path: Path) -> None:
    (a_build(tmp_path) / "model.skops").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(LockgateError, match=r"model\.skops begins as a zip file"):
        make_manifest(tmp_path, "flight-delay", "v1.0.0", {})
