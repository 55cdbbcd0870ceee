"""Reading and writing what passes between stages.

Every file is written under a temporary name beside its place, flushed to the disk and renamed, so that a reader sees
the old file or the whole new one. Bytes depend on the content alone: Parquet without a writer's clock or host, JSON
with sorted keys.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from flight_delay.errors import StageError

FIGURE_DECIMALS = 6


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; move it into place if the block succeeds, remove it if not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as canonical JSON. Raises ``ValueError`` on NaN and infinity, which are not JSON."""
    write_bytes(path, (json.dumps(content, sort_keys=True, indent=2, allow_nan=False) + "\n").encode())


def write_table(path: Path, table: pa.Table) -> None:
    """Write ``table`` as Parquet, whole or not at all, without the metadata that other libraries leave in it."""
    with replacing(path) as temporary:
        pq.write_table(table.replace_schema_metadata(None), temporary, compression="zstd", row_group_size=1 << 20)


def read_table(path: Path) -> pa.Table:
    """Read a Parquet file. Raises :class:`StageError` where it is missing, cut off or no Parquet at all."""
    try:
        return pq.read_table(path)
    except FileNotFoundError as error:
        raise StageError(f"{path}: there is no such file. `dvc repro` makes it.") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise StageError(f"{path}: not a whole Parquet file ({error}). Remove it; `dvc repro` makes it anew.") from error


def read_frame(path: Path) -> pd.DataFrame:
    """Read a Parquet file as a pandas frame (see :func:`read_table`)."""
    frame: pd.DataFrame = read_table(path).to_pandas()
    return frame


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a pandas frame as Parquet (see :func:`write_table`); its index is left out."""
    write_table(path, pa.Table.from_pandas(frame, preserve_index=False))


def figure(value: float) -> float | None:
    """Round a figure for a report to six decimals; ``None`` where it is undefined.

    The last bits of ``exp`` and ``log`` differ between processors (see docs/reproducibility.md); reported figures
    carry none of those bits.
    """
    return None if math.isnan(value) else round(float(value), FIGURE_DECIMALS) + 0.0
