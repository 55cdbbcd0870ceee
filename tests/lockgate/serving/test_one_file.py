from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from lockgate.errors import NotAskedError
from lockgate.serving.one_file import pieces_of, write_file


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    """Two pieces of three rows, written out of order."""
    folder = tmp_path / "pieces"
    folder.mkdir()
    for number in (1, 0):
        rows = [number * 3 + place for place in range(3)]
        table = pa.table({"row": rows, "probability": [row / 10 for row in rows]})
        pq.write_table(table.replace_schema_metadata({"lockgate.input": "x"}), folder / f"part-{number:05d}.parquet")
    return folder


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "OUT.CSV"])
def test_what_was_named_as_a_file_becomes_one(pieces: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    write_file(str(pieces), str(target))
    read = pyarrow.csv.read_csv if name.lower().endswith(".csv") else pq.read_table
    assert read(target).column("row").to_pylist() == list(range(6))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "pieces"])


def test_a_folder_a_bucket_and_a_database_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    assert pieces_of(str(tmp_path / "folder.csv")) is None
    assert pieces_of("scores") is None
    assert pieces_of("s3://bucket/x.parquet") is None
    assert pieces_of("postgresql://host/x.csv") is None
    assert pieces_of("a/out.csv") == "a/out.csv.pieces"


def test_a_file_that_cannot_be_written_says_where_the_scores_are(pieces: Path, tmp_path: Path) -> None:
    with pytest.raises(NotAskedError) as caught:
        write_file(str(pieces), str(tmp_path / "none" / "out.csv"))
    assert str(pieces) in caught.value.advice
