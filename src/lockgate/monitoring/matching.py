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

    from lockgate.monitoring.arrays import integers

    rows = left.num_rows + right.num_rows
    keys = np.zeros(rows, dtype=np.int64)
    missing = np.zeros(rows, dtype=np.bool_)
    spread = 1
    for name in left.column_names:
        kind = left.schema.field(name).type
        both = pa.chunked_array([*left.column(name).chunks, *right.column(name).cast(kind).chunks], type=kind)
        encoded = both.dictionary_encode().unify_dictionaries()
        codes: Any = [integers(chunk.indices.fill_null(-1)) for chunk in encoded.chunks if len(chunk)]
        codes = np.concatenate(codes) if codes else np.empty(0, dtype=np.int64)
        values = len(encoded.chunk(0).dictionary) if encoded.num_chunks else 0
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


def last_places(wanted: "Indices", offered: "Indices", numbers: int) -> "Indices":
    """Return for each number of ``wanted`` the last place in ``offered`` that has it, -1 for none."""
    import numpy as np

    place = np.full(numbers + 1, -1, dtype=np.int64)  # the last one stands for a key with a missing value
    there = np.flatnonzero(offered >= 0)
    place[offered[there]] = there  # of several the last counts: NumPy assigns in order
    place[-1] = -1
    return place[wanted]
