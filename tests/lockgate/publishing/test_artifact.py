"""What a run hands over: bounded, and refused in one sentence where it is anything else."""

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lockgate.samples import better_model

from lockgate.publishing.artifact import Artifact, Unfit, unpack, write

NAMES = st.sampled_from(["result.json", "dvc.lock", "outputs.json", "error.json", "../x", "/x", "a\\b", "result.json/"])


def zipped(files: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def folder_as_archive(folder: Path) -> bytes:
    return zipped([(path.name, path.read_bytes()) for path in sorted(folder.iterdir())])


@pytest.mark.parametrize(
    "artifact",
    [
        Artifact(better_model(), b"schema: '2.0'\n", {"reports/metrics.json": "{}"}),
        Artifact(better_model()),
        Artifact(better_model(), b"schema: '2.0'\n", binaries={"reports/plot.png": b"\x89PNG\xff\x00"}),
        Artifact(error="params.yaml, line 3: no\nCorrect it."),
    ],
    ids=["whole", "result alone", "binaries", "error"],
)
def test_what_is_written_is_read_again(tmp_path: Path, artifact: Artifact) -> None:
    write(tmp_path, artifact)

    assert unpack(folder_as_archive(tmp_path)) == artifact


def test_nothing_of_an_earlier_run_is_left(tmp_path: Path) -> None:
    write(tmp_path, Artifact(better_model(), b"schema: '2.0'\n", {"reports/metrics.json": "{}"}))

    write(tmp_path, Artifact(error="stopped"))

    assert [path.name for path in tmp_path.iterdir()] == ["error.json"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(st.binary(max_size=200) | st.lists(st.tuples(NAMES, st.binary(max_size=60)), max_size=6).map(zipped))
def test_what_is_no_artifact_is_refused_and_raises_nothing_else(archive: bytes) -> None:
    with pytest.raises(Unfit, match=r"\w"):  # none of these holds a result
        unpack(archive)


@given(st.integers(0, 2_000), st.integers(0, 255))
def test_a_damaged_archive_is_read_as_it_was_or_refused(at: int, byte: int) -> None:
    whole = zipped([("result.json", replace(better_model(), notes=()).to_json().encode()), ("dvc.lock", b"x" * 100)])
    damaged = bytearray(whole)
    damaged[at % len(whole)] = byte
    try:
        found = unpack(bytes(damaged))
    except Unfit:
        return
    assert found.result == replace(better_model(), notes=())
