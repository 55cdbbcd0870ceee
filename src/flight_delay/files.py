"""Reading and writing what passes between stages.

A stage's files are written together: all under temporary names beside their places, flushed to the disk, and only then
renamed, so that a full disk leaves the outputs of the last good run as they were and a reader sees the old file or the
whole new one. Bytes depend on the content alone: Parquet without a writer's clock or host, JSON with sorted keys.
"""

import json
import math
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from flight_delay.errors import StageError

if TYPE_CHECKING:
    import pandas as pd  # takes a second, which a service has no use for

FIGURE_DECIMALS = 6
COMPRESSION_LEVEL = 15  # of zstd: 19 takes twice the time for a file of 0.4 % less


def write_files(files: Mapping[Path, bytes]) -> None:
    """Write every file, or none. Raises :class:`StageError` naming the file that cannot be written."""
    partial = {path: path.with_name(f".{path.name}.partial") for path in files}
    path = Path()
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial[path].open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, written in partial.items():
            written.replace(path)
    except OSError as error:
        raise StageError(f"{path}: cannot be written: {error.strerror}. No output was changed.") from error
    finally:
        for left in partial.values():
            with suppress(OSError):
                left.unlink()


def as_json(content: Any, indent: int | None = 2) -> bytes:
    """Return ``content`` as canonical JSON. Raises ``ValueError`` on NaN and infinity, which are not JSON."""
    return (json.dumps(content, sort_keys=True, indent=indent, allow_nan=False) + "\n").encode()


def as_parquet(table: "pa.Table | pd.DataFrame", varied: Collection[str] = ()) -> bytes:
    """Return a table or frame as Parquet, without a frame's index and the metadata that other libraries leave.

    Small files, because they travel: times are stored as steps from row to row, which repeat where times do not;
    ``varied`` names columns of numbers for which a dictionary of the values does not pay, their bytes are stored apart,
    all first ones, all second ones, and so on; every other column has its dictionary.
    Encodings: https://parquet.apache.org/docs/file-format/data-pages/encodings/
    """
    if not isinstance(table, pa.Table):
        table = pa.Table.from_pandas(table, preserve_index=False)
    times = [field.name for field in table.schema if pa.types.is_timestamp(field.type)]
    encoding = dict.fromkeys(times, "DELTA_BINARY_PACKED") | dict.fromkeys(varied, "BYTE_STREAM_SPLIT")
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(None),
        sink,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        row_group_size=1 << 20,
        use_dictionary=[name for name in table.column_names if name not in encoding],
        column_encoding=encoding,
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as canonical JSON, whole or not at all."""
    write_files({path: as_json(content)})


def write_table(path: Path, table: pa.Table) -> None:
    """Write ``table`` as Parquet, whole or not at all."""
    write_files({path: as_parquet(table)})


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises :class:`StageError` where it is missing or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise StageError(f"{path}: there is no such file. `dvc repro` makes it.") from error
    except ValueError as error:  # neither JSON nor UTF-8
        raise StageError(f"{path}: not whole JSON ({error}). Remove it; `dvc repro` makes it anew.") from error


def read_table(path: Path) -> pa.Table:
    """Read a Parquet file. Raises :class:`StageError` where it is missing, cut off or no Parquet at all."""
    try:
        return pq.read_table(path)
    except FileNotFoundError as error:
        raise StageError(f"{path}: there is no such file. `dvc repro` makes it.") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise StageError(
            f"{path}: not a whole Parquet file ({error}). Remove it; `dvc repro` makes it anew."
        ) from error


def read_frame(path: Path) -> "pd.DataFrame":
    """Read a Parquet file as a pandas frame (see :func:`read_table`)."""
    frame: pd.DataFrame = read_table(path).to_pandas()
    return frame


def figure(value: float) -> float | None:
    """Round a figure for a report to six decimals; ``None`` where it is undefined.

    The last bits of ``exp`` and ``log`` differ between processors (see docs/reproducibility.md); reported figures
    carry none of those bits.
    """
    return None if math.isnan(value) else round(float(value), FIGURE_DECIMALS) + 0.0
