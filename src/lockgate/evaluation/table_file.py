"""A file with a row for each test row: Parquet, or CSV by its ending, of which only the columns asked for are read."""

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockgate.evaluation.statistics import Floats, Indices


class Refused(Exception):  # noqa: N818  an answer, not an error of the program
    """Base and head cannot be compared row by row. ``str()`` is the reason in words."""


@dataclass(frozen=True)
class File:
    """A predictions file: Parquet, or CSV by its ending. ``side`` is ``base`` or ``head``, for the messages."""

    side: str
    name: str
    source: Path | bytes

    @property
    def is_csv(self) -> bool:
        """Whether the file is CSV, which has no types."""
        return PurePosixPath(self.name).suffix.lower() == ".csv"

    def column(self, name: str, *, text: bool = False) -> Any:
        """Return one column as a pyarrow ``ChunkedArray``. Raises :class:`Refused`."""
        return self.columns((name,), text=text).column(0)

    def columns(self, names: tuple[str, ...], *, text: bool = False) -> Any:
        """Return some columns as a pyarrow ``Table``, in the order of ``names``. Raises :class:`Refused`.

        CSV has no types. With ``text`` its values stay as they are written, ``07`` and ``7`` apart, and only an empty
        field is missing; without, they are what they look like.
        """
        import pyarrow as pa

        source = BytesIO(self.source) if isinstance(self.source, bytes) else str(self.source)
        try:
            if self.is_csv:
                missing, table = _from_csv(source, names, text=text)
            else:
                from pyarrow import parquet

                opened = parquet.ParquetFile(source)
                missing = [name for name in names if name not in opened.schema_arrow.names]
                table = opened.read(columns=[] if missing else list(names))
        except (pa.ArrowException, OSError) as error:
            raise Refused(f"{self} cannot be read: {str(error).splitlines()[0]}") from error
        if missing:
            raise Refused(f"{self} has no column '{missing[0]}'")
        return table.select(list(names))

    def names(self) -> tuple[str, ...]:
        """Return the names of the columns. Raises :class:`Refused`."""
        import pyarrow as pa

        source = BytesIO(self.source) if isinstance(self.source, bytes) else str(self.source)
        try:
            if self.is_csv:
                from pyarrow import csv

                return tuple(csv.open_csv(source).schema.names)
            from pyarrow import parquet

            return tuple(parquet.ParquetFile(source).schema_arrow.names)
        except (pa.ArrowException, OSError) as error:
            raise Refused(f"{self} cannot be read: {str(error).splitlines()[0]}") from error

    def __str__(self) -> str:
        """Say which file it is, as a message does."""
        return f"{self.name} of {self.side}"


def _from_csv(source: BytesIO | str, names: tuple[str, ...], *, text: bool) -> tuple[list[str], Any]:
    """Return which of ``names`` a CSV file does not have, and a table of the others."""
    import pyarrow as pa
    from pyarrow import csv

    parse = csv.ParseOptions(newlines_in_values=True)
    there = csv.open_csv(source, parse_options=parse).schema.names
    found = [name for name in names if name in there]
    options = csv.ConvertOptions(include_columns=found or there[:1])
    if text:
        options.column_types = dict.fromkeys(found, pa.string())
        options.strings_can_be_null, options.quoted_strings_can_be_null, options.null_values = True, False, [""]
    if isinstance(source, BytesIO):
        source = BytesIO(source.getvalue())  # what was opened before has read some of it
    table = csv.read_csv(source, parse_options=parse, convert_options=options)
    return [name for name in names if name not in there], table


def floats(column: Any) -> "Floats":
    """Return a column of numbers, NaN where one is missing.

    Not by ``to_numpy``, which imports pandas: a tenth of a report's time.
    """
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute

    dense = compute.fill_null(plain(column).cast(pa.float64()), math.nan)
    chunks = [np.from_dlpack(chunk) for chunk in dense.chunks if len(chunk)]
    return np.concatenate(chunks) if chunks else np.empty(0)


def plain(column: Any) -> Any:
    """Return a column without its dictionary, if it has one."""
    import pyarrow as pa

    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def numbered(column: Any) -> "tuple[Indices, list[Any]]":
    """Return for each row the number of its value, and the values by number, as Python has them; a missing one is
    ``None``."""
    import numpy as np

    encoded = plain(column).dictionary_encode(null_encoding="encode").unify_dictionaries()
    if not encoded.num_chunks:
        return np.empty(0, dtype=np.int64), []
    numbers: NDArray[np.int64] = np.concatenate([np.from_dlpack(chunk.indices) for chunk in encoded.chunks])
    return numbers, encoded.chunk(0).dictionary.to_pylist()
