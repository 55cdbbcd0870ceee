"""Which rows of two files have the same key. A key is a number a row, so that five million rows take little memory."""

from typing import TYPE_CHECKING, Any

from lockgate.evaluation.table_file import File, Refused, plain
from lockgate.formatting import count
from lockgate.policy import Predictions

if TYPE_CHECKING:
    from lockgate.evaluation.statistics import Indices


def matching_rows(what: Predictions, base: File, head: File) -> "tuple[Indices, Indices]":
    """Return the rows of base and of head that have the same key, in base's order. Raises :class:`Refused`."""
    import numpy as np

    key_base, key_head = _keys(what, base, head)
    most = max(int(key_base.max()), int(key_head.max())) + 1
    if most > 4 * (len(key_base) + len(key_head)):
        distinct = np.unique(np.concatenate([key_base, key_head]))
        key_base, key_head = np.searchsorted(distinct, key_base), np.searchsorted(distinct, key_head)
        most = len(distinct)
    places = []
    for file, keys in ((base, key_base), (head, key_head)):
        place = np.full(most, -1, dtype=np.int64)
        place[keys] = np.arange(len(keys))
        if int((place >= 0).sum()) < len(keys):
            _refuse_duplicates(what, file, keys, np.argsort(keys, kind="stable"))
        places.append(place)
    of_head = places[1][key_base]
    rows_base = np.flatnonzero(of_head >= 0)
    return rows_base, of_head[rows_base]


def _keys(what: Predictions, base: File, head: File) -> "tuple[Indices, Indices]":
    """Number the rows of both sides so that two rows have the same number exactly if all key columns are equal."""
    import numpy as np
    import pyarrow as pa

    keys: Indices | None = None
    spread = 1
    rows = 0
    for name in what.key:
        of_base, of_head = base.column(name, text=True), head.column(name, text=True)
        for file, column in ((base, of_base), (head, of_head)):
            if column.null_count:
                raise Refused(f"'{name}' of {file}, part of the key, is empty in {count(column.null_count, 'row')}")
        if base.is_csv or head.is_csv:  # never the other way: as numbers, 07 and 7 would be one
            of_base, of_head = (plain(column).cast(pa.large_string()) for column in (of_base, of_head))
        codes, values = _codes(name, (base, head), of_base, of_head)
        rows = len(of_base)
        if keys is None:
            keys = codes
        else:
            if spread * values >= 2**62:
                distinct, keys = np.unique(keys, return_inverse=True)
                spread = len(distinct)
            keys = keys * values + codes
        spread *= values
    assert keys is not None  # noqa: S101  the policy names at least one key column
    return keys[:rows], keys[rows:]


def _codes(name: str, files: tuple[File, File], base: Any, head: Any) -> "tuple[Indices, int]":
    """Number the values of one column, base's rows before head's; return the numbers and how many values there are."""
    import numpy as np
    import pyarrow as pa

    base, head = plain(base), plain(head)
    if base.type != head.type:
        try:
            head = head.cast(base.type)
        except pa.ArrowException as error:
            sides = [one.side for one in files]
            where = sides if sides[0] != sides[1] else [one.name for one in files]
            raise Refused(f"'{name}' is {base.type} in {where[0]} and {head.type} in {where[1]}") from error
    both = pa.chunked_array([*base.chunks, *head.chunks], type=base.type).dictionary_encode().unify_dictionaries()
    codes = np.concatenate([np.from_dlpack(chunk.indices) for chunk in both.chunks])
    return codes.astype(np.int64), max(1, len(both.chunk(0).dictionary))


def _refuse_duplicates(what: Predictions, file: File, keys: "Indices", order: "Indices") -> None:
    import numpy as np

    ranked = keys[order]
    double = np.flatnonzero(ranked[1:] == ranked[:-1])
    if len(double):
        row = file.columns(what.key, text=True).slice(int(order[double[0]]), 1).to_pylist()[0]
        example = ", ".join(f"{name} {value}" for name, value in row.items())
        raise Refused(f"the key of {count(len(double), 'row')} of {file} is duplicated, for example {example}")
