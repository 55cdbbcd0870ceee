"""Scores as the one file that was named, ``scores.csv`` or ``scores.parquet``.

Scoring writes in pieces, so that it can be interrupted and goes on where it was: the pieces lie in a folder beside the
file, and become the file at the end, whole or not at all.
"""

import os
from pathlib import Path

from lockgate.errors import NotAskedError

ENDINGS = (".csv", ".parquet")


def pieces_of(output: str) -> str | None:
    """Return the folder of the pieces, if ``output`` names one file; ``None`` for a folder or a database."""
    path = Path(output)
    if "://" in output or path.suffix.lower() not in ENDINGS or path.is_dir():
        return None
    return str(path.with_name(f"{path.name}.pieces"))


def write_file(pieces: str, output: str) -> None:
    """Write the pieces, in their order, to the file. Raises :class:`NotAskedError` if it cannot be written."""
    import pyarrow.csv
    import pyarrow.parquet as pq

    target = Path(output)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    writer = None
    try:
        for piece in sorted(Path(pieces).glob("part-*.parquet")):
            with pq.ParquetFile(piece) as source:
                table = source.read().replace_schema_metadata(None)
            if writer is None:
                kind = pyarrow.csv.CSVWriter if target.suffix.lower() == ".csv" else pq.ParquetWriter
                writer = kind(str(part), table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
            part.replace(target)
    except OSError as error:
        raise NotAskedError(
            f"cannot write {output}: {error.strerror or error}", f"The scores are in {pieces}; name another file."
        ) from None
    finally:
        part.unlink(missing_ok=True)
