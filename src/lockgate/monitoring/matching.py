"""Which rows of two tables have the same key: both are numbered together, column by column."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]


def numbered(left: "pa.Table", right: "pa.Table") -> "tuple[Indices, Indices, int]":
    """Number the keys of two tables with the same columns: equal numbers, equal keys. A key with a missing value has
    the number -1. The last figure is how many numbers there are."""
    import numpy as np
    import pyarrow as pa

    rows = left.num_rows + right.num_rows
    keys = np.zeros(rows, dtype=np.int64)
    missing = np.zeros(rows, dtype=np.bool_)
    spread = 1
    for name in left.column_names:
        kind = left.schema.field(name).type
        both = pa.chunked_array([*left.column(name).chunks, *right.column(name).cast(kind).chunks], type=kind)
        codes, values = _codes(both)
        missing |= codes < 0
        if spread * (values + 1) >= 2**62:
            distinct, keys = np.unique(keys, return_inverse=True)
            spread = len(distinct)
        keys = keys * (values + 1) + np.where(codes < 0, values, codes)
        spread *= values + 1
    if spread > 4 * rows + 1000:
        distinct, keys = np.unique(keys, return_inverse=True)
        keys, spread = keys.astype(np.int64), len(distinct)
    keys[missing] = -1
    return keys[: left.num_rows], keys[left.num_rows :], spread


def _codes(column: Any) -> "tuple[Indices, int]":
    """Return a number for each value, -1 where it is missing, and how many numbers there may be."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from lockgate.monitoring.arrays import integers

    kind = column.type
    if len(column) > column.null_count and (pa.types.is_integer(kind) or pa.types.is_date32(kind)):
        plain = column.cast(pa.int32()) if pa.types.is_date32(kind) else column
        ends = pc.min_max(plain).as_py()
        if max(abs(ends["min"]), abs(ends["max"])) < 2**62 and ends["max"] - ends["min"] < 2 * len(column):
            codes = integers(pc.fill_null(plain, ends["min"])) - ends["min"]  # close together: nothing to look up
            if column.null_count:
                codes[pc.is_null(column).to_numpy()] = -1
            return codes, ends["max"] - ends["min"] + 1
    whole = column.combine_chunks()
    encoded = pa.chunked_array(whole if isinstance(whole, list) else [whole]).dictionary_encode().unify_dictionaries()
    parts: Any = [integers(chunk.indices.fill_null(-1)) for chunk in encoded.chunks if len(chunk)]
    codes = np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
    return codes, len(encoded.chunk(0).dictionary) if encoded.num_chunks else 0


def last_places(wanted: "Indices", offered: "Indices", numbers: int) -> "Indices":
    """Return for each number of ``wanted`` the last place in ``offered`` that has it, -1 for none."""
    import numpy as np

    place = np.full(numbers + 1, -1, dtype=np.int64)  # the last one stands for a key with a missing value
    there = np.flatnonzero(offered >= 0)
    place[offered[there]] = there  # of several the last counts: NumPy assigns in order
    place[-1] = -1
    return place[wanted]
