"""Two files of per-row predictions, joined on their key: which rows base and head share, and whether that is sound.

Only the columns that are needed are read, one at a time for both sides, and a key is a number per row, so that five
million rows take a few hundred megabytes.
"""

import math
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lockgate.evaluation.statistics import dense
from lockgate.formatting import count
from lockgate.policy import Predictions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Labels = NDArray[np.bool_]
    Indices = NDArray[np.int64]

FEWEST_GROUPS, FEWEST_OF_A_GROUP = 10, 5  # of a column by which rows may belong together
MOST_SLICES = 1000  # values of a slice column; a column with more is a key, not a way to slice


class Refused(Exception):  # noqa: N818  an answer, not an error of the program
    """Base and head cannot be compared row by row. ``str()`` is the reason in words."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One side: label and score of each row, in the file's order; and by column how much each row counts, or why that
    cannot be said."""

    label: "Labels"
    score: "Floats"
    weights: "Mapping[str, Floats | str]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slice:
    """The shared rows (as positions in :attr:`Shared.label`) that have ``value`` in ``column``."""

    column: str
    value: str
    rows: "Indices"


@dataclass(frozen=True, slots=True)
class Shared:
    """The rows that both sides have, in base's order: one label, two scores, and the slices of base's columns.

    ``cluster`` numbers the groups of rows that were drawn together, as the policy declares them. ``weights`` are those
    of the shared rows.
    ``file`` and ``rows_base`` are base's file, and which of its rows these are.
    """

    base: Scored
    head: Scored
    label: "Labels"
    score_base: "Floats"
    score_head: "Floats"
    slices: tuple[Slice, ...]
    notes: tuple[str, ...]
    file: "File"
    rows_base: "Indices"
    cluster: "Indices | None" = None
    weights: "Mapping[str, Floats | str]" = field(default_factory=dict)


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


def read_scored(what: Predictions, file: File, weights: tuple[str, ...] = ()) -> Scored:
    """Return label and score of every row, and these columns of weights.

    Raises :class:`Refused` for no rows, labels that are not two classes written 0 and 1, and scores
    that are no numbers.
    """
    import numpy as np
    import pyarrow as pa

    table = file.columns((what.label, what.score))
    if table.num_rows == 0:
        raise Refused(f"{file} has no rows")
    label, score = table.column(0), table.column(1)
    try:
        labels = _floats(label.cast(pa.int8()) if pa.types.is_boolean(label.type) else label)
        scores = _floats(score)
    except pa.ArrowException as error:
        raise Refused(f"'{what.label}' or '{what.score}' of {file} holds values that are not numbers") from error
    if not np.isin(labels, (0, 1)).all():
        raise Refused(f"'{what.label}' of {file} has values other than 0 and 1")
    wrong = int((~np.isfinite(scores)).sum())
    if wrong:
        raise Refused(f"{wrong:,} of {len(scores):,} scores of {file} are missing, NaN or infinite")
    return Scored(labels.astype(np.bool_), scores, {name: _weights(file, name) for name in weights})


def _floats(column: Any) -> "Floats":
    """Return a column of numbers, NaN where one is missing.

    Not by ``to_numpy``, which imports pandas: a tenth of a report's time.
    """
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute

    plain = compute.fill_null(_plain(column).cast(pa.float64()), math.nan)
    chunks = [np.from_dlpack(chunk) for chunk in plain.chunks if len(chunk)]
    return np.concatenate(chunks) if chunks else np.empty(0)


def _weights(file: File, name: str) -> "Floats | str":
    """Return how much each row counts by a column, or why it does not say."""
    import numpy as np
    import pyarrow as pa

    try:
        found = _floats(file.column(name))
    except Refused as reason:
        return str(reason)
    except pa.ArrowException:
        return f"'{name}' of {file} holds values that are not numbers"
    wrong = int((~np.isfinite(found) | (found < 0)).sum())
    if wrong:
        return f"{wrong:,} of {len(found):,} weights '{name}' of {file} are missing, negative or infinite"
    return found if found.any() else f"no row counts by '{name}' of {file}: every weight is 0"


def join(what: Predictions, base: File, head: File, scored: tuple[Scored, Scored]) -> Shared:
    """Return the rows that base and head share.

    Raises :class:`Refused` where a key is missing or duplicated, where no row is shared, and where a shared row has
    another label on the other side: then one of the two was not scored against what happened.
    """

    rows_base, rows_head = _matched(what, base, head)
    if not len(rows_base):
        raise Refused(f"{base} and {head} share no row: no value of {', '.join(what.key)} occurs in both")
    label = scored[0].label[rows_base]
    other = int((label != scored[1].label[rows_head]).sum())
    if other:
        raise Refused(f"'{what.label}' differs between base and head on {other:,} of {len(label):,} shared rows")
    slices, notes = _slices(what, base, rows_base)
    return Shared(
        scored[0],
        scored[1],
        label,
        scored[0].score[rows_base],
        scored[1].score[rows_head],
        slices,
        tuple(notes),
        base,
        rows_base,
        _cluster(what, base, rows_base) if what.cluster else None,
        {name: _shared_weights(name, scored, (rows_base, rows_head)) for name in scored[0].weights},
    )


def matching_rows(what: Predictions, base: File, head: File) -> "tuple[Indices, Indices]":
    """Return the rows of two files that have the same key, in base's order. Raises :class:`Refused` where a key column
    is missing or partly empty, or a key is duplicated."""
    return _matched(what, base, head)


def _matched(what: Predictions, base: File, head: File) -> "tuple[Indices, Indices]":
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


def _shared_weights(name: str, scored: tuple[Scored, Scored], rows: "tuple[Indices, Indices]") -> "Floats | str":
    """Return the weights of the shared rows, or why there are none: a row must count the same on both sides."""
    found = []
    for side, chosen in zip(scored, rows, strict=True):
        weights = side.weights[name]
        if isinstance(weights, str):
            return weights
        found.append(weights[chosen])
    other = int((found[0] != found[1]).sum())
    if other:
        return f"the weights '{name}' differ between base and head on {other:,} of {len(found[0]):,} shared rows"
    return found[0] if found[0].any() else f"no shared row counts by '{name}': every weight is 0"


def _cluster(what: Predictions, base: File, rows: "Indices") -> "Indices":
    """Return the number of each row's cluster. Raises :class:`Refused` where a column is missing or partly empty."""
    import numpy as np

    found: Indices = np.zeros(len(rows), dtype=np.int64)
    for name in what.cluster:
        column = base.column(name)
        if column.null_count:
            raise Refused(
                f"'{name}' of {base}, by which rows belong together, is empty in {count(column.null_count, 'row')}"
            )
        groups = _numbered(_period(name, column, what.period) if what.period else column)[rows]
        found = dense(found * (int(groups.max()) + 1) + groups)
    return found


def _period(name: str, column: Any, period: str) -> Any:
    """Return the week (from Monday) or month of each date, as a number. Raises :class:`Refused` for other text."""
    import pyarrow as pa
    from pyarrow import compute

    try:
        days = _plain(column).cast(pa.date32())
    except pa.ArrowException as error:
        raise Refused(f"'{name}' holds values that are not dates, so there is no {period} of it") from error
    if period == "month":
        return compute.add(compute.multiply(compute.year(days), 12), compute.month(days))
    return compute.floor_temporal(days, unit="week").cast(pa.date32()).cast(pa.int32())


def _numbered(column: Any) -> "Indices":
    import numpy as np

    encoded = _plain(column).dictionary_encode().unify_dictionaries()
    return np.concatenate([np.from_dlpack(chunk.indices) for chunk in encoded.chunks]).astype(np.int64)


def groupings(what: Predictions, shared: Shared) -> "Iterator[tuple[str, Indices]]":
    """Yield each column of key and slices by which rows may belong together, with the number of each shared row."""
    for name in dict.fromkeys((*what.key, *what.slices)):
        try:
            column = shared.file.column(name)
        except Refused:
            continue
        if column.null_count:
            continue
        groups = _numbered(column)
        if FEWEST_GROUPS <= int(groups.max()) + 1 <= len(shared.rows_base) // FEWEST_OF_A_GROUP:
            yield name, groups[shared.rows_base]


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
            of_base, of_head = (_plain(column).cast(pa.large_string()) for column in (of_base, of_head))
        codes, values = _codes(name, of_base, of_head)
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


def _codes(name: str, base: Any, head: Any) -> "tuple[Indices, int]":
    """Number the values of one column, base's rows before head's; return the numbers and how many values there are."""
    import numpy as np
    import pyarrow as pa

    base, head = _plain(base), _plain(head)
    if base.type != head.type:
        try:
            head = head.cast(base.type)
        except pa.ArrowException as error:
            raise Refused(f"'{name}' is {base.type} in base and {head.type} in head") from error
    both = pa.chunked_array([*base.chunks, *head.chunks], type=base.type).dictionary_encode().unify_dictionaries()
    codes = np.concatenate([np.from_dlpack(chunk.indices) for chunk in both.chunks])
    return codes.astype(np.int64), max(1, len(both.chunk(0).dictionary))


def _plain(column: Any) -> Any:
    import pyarrow as pa

    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _refuse_duplicates(what: Predictions, file: File, keys: "Indices", order: "Indices") -> None:
    import numpy as np

    ranked = keys[order]
    double = np.flatnonzero(ranked[1:] == ranked[:-1])
    if len(double):
        row = file.columns(what.key, text=True).slice(int(order[double[0]]), 1).to_pylist()[0]
        example = ", ".join(f"{name} {value}" for name, value in row.items())
        raise Refused(f"the key of {count(len(double), 'row')} of {file} is duplicated, for example {example}")


def _slices(what: Predictions, base: File, rows: "Indices") -> tuple[tuple[Slice, ...], list[str]]:
    found: list[Slice] = []
    notes: list[str] = []
    for column in what.slices:
        try:
            values = base.column(column, text=True)
        except Refused as reason:
            notes.append(f"no slices by {column}: {reason}")
            continue
        slices = list(_values(column, values, rows))
        if len(slices) > MOST_SLICES:
            notes.append(f"no slices by {column}: it has {len(slices):,} values, more than {MOST_SLICES:,}")
            continue
        found += slices
    return tuple(found), notes


def _values(column: str, values: Any, rows: "Indices") -> "Iterator[Slice]":
    import numpy as np
    import pyarrow as pa

    encoded = _plain(values).dictionary_encode(null_encoding="encode").unify_dictionaries()
    codes = np.concatenate([np.from_dlpack(chunk.indices) for chunk in encoded.chunks])[rows]
    names = encoded.chunk(0).dictionary.cast(pa.string()).to_pylist()
    if len(names) < 2**15:
        codes = codes.astype(np.int16)  # which numpy sorts by digits
    order = np.argsort(codes, kind="stable")
    edges = np.searchsorted(codes[order], np.arange(len(names) + 1))
    for code, name in enumerate(names):
        chosen = order[edges[code] : edges[code + 1]]
        if len(chosen):
            yield Slice(column, "(missing)" if name is None else name, chosen)
