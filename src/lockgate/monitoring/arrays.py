"""Arrow columns as NumPy arrays, without pandas, whose import takes longer than most of what is asked here."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]


def chunked(column: Any) -> Any:
    """Return a column as a ``ChunkedArray`` of plain values: a dictionary is decoded."""
    import pyarrow as pa

    found = pa.chunked_array([column]) if isinstance(column, pa.Array) else column
    return found.cast(found.type.value_type) if pa.types.is_dictionary(found.type) else found


def floats(column: Any) -> "Floats":
    """Return a column of numbers, NaN where one is missing. Raises ``pyarrow.ArrowException`` for other columns."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute

    found = chunked(column)
    if pa.types.is_boolean(found.type):
        found = found.cast(pa.int8())
    plain = compute.fill_null(found.cast(pa.float64()), math.nan)
    parts = [np.from_dlpack(chunk) for chunk in plain.chunks if len(chunk)]
    return np.concatenate(parts) if parts else np.empty(0)


def integers(column: Any) -> "Indices":
    """Return a column of whole numbers without a missing one."""
    import numpy as np
    import pyarrow as pa

    parts = [np.from_dlpack(chunk) for chunk in chunked(column).cast(pa.int64()).chunks if len(chunk)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def coded(column: Any) -> "tuple[Indices, list[str]]":
    """Return the number of each value of a column, -1 where it is missing, and the text of the values by number."""
    import numpy as np
    import pyarrow as pa

    encoded = chunked(column).dictionary_encode().unify_dictionaries()
    parts = [integers(chunk.indices.fill_null(-1)) for chunk in encoded.chunks if len(chunk)]
    if not parts:
        return np.empty(0, dtype=np.int64), []
    values = encoded.chunk(0).dictionary
    if is_midnight(values):
        values = values.cast(pa.date32())
    return np.concatenate(parts), values.cast(pa.string()).to_pylist()


def is_midnight(values: Any) -> bool:
    """Say whether a column has timestamps and all of them are midnight: dates, as pandas keeps them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_timestamp(values.type):
        return False
    return pc.all(pc.equal(values.cast(pa.date32()).cast(values.type), values)).as_py() is not False
