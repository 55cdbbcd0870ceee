"""Two files of per-row predictions, joined on their key: which rows base and head share, and whether that is sound.

Only the columns that are needed are read, one at a time for both sides, and a key is a number per row, so that five
million rows take a few hundred megabytes.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lockgate.evaluation.row_keys import matching_rows
from lockgate.evaluation.scored import Answers, Scored, aligned, read_scored
from lockgate.evaluation.statistics import dense
from lockgate.evaluation.table_file import File, Refused, plain
from lockgate.formatting import count
from lockgate.policy import Kind, Predictions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lockgate.evaluation.statistics import Floats, Indices, Labels

__all__ = ["File", "Refused", "Scored", "Shared", "Slice", "groupings", "join", "matching_rows", "read_scored"]

FEWEST_GROUPS, FEWEST_OF_A_GROUP = 10, 5  # of a column by which rows may belong together
MOST_SLICES = 1000  # values of a slice column; a column with more is a key, not a way to slice


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
    of the shared rows; ``columns_base`` and ``columns_head`` are what else metrics are computed of. ``classes`` are
    those that labels and scores of a multiclass model number.
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
    columns_base: "Mapping[str, Floats | str]" = field(default_factory=dict)
    columns_head: "Mapping[str, Floats | str]" = field(default_factory=dict)
    classes: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """The kind of model that both are."""
        return self.base.kind

    @property
    def covered(self) -> float | None:
        """The share of targets that intervals are to hold."""
        return self.base.covered

    @property
    def answers(self) -> tuple[Answers, Answers]:
        """What base's and head's model say of the shared rows."""
        return Answers(self.score_base, self.columns_base), Answers(self.score_head, self.columns_head)


def join(what: Predictions, base: File, head: File, scored: tuple[Scored, Scored]) -> Shared:
    """Return the rows that base and head share.

    Raises :class:`Refused` where a key is missing or duplicated, where no row is shared, and where a shared row has
    another label on the other side: then one of the two was not scored against what happened.
    """

    scored = aligned(what, scored)
    rows_base, rows_head = matching_rows(what, base, head)
    if not len(rows_base):
        raise Refused(f"{base} and {head} share no row: no value of {', '.join(what.key)} occurs in both")
    label = scored[0].label[rows_base]
    other = int((label != scored[1].label[rows_head]).sum())
    if other:
        raise Refused(f"'{what.label}' differs between base and head on {other:,} of {len(label):,} shared rows")
    slices, notes = _slices(what, base, rows_base)
    columns = [
        {name: told if isinstance(told, str) else told[rows] for name, told in side.columns.items()}
        for side, rows in zip(scored, (rows_base, rows_head), strict=True)
    ]
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
        cluster_of(what, base, rows_base) if what.cluster else None,
        {name: _shared_weights(name, scored, (rows_base, rows_head)) for name in scored[0].weights},
        columns[0],
        columns[1],
        scored[0].classes,
    )


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


def cluster_of(what: Predictions, base: File, rows: "Indices") -> "Indices":
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
        days = plain(column).cast(pa.date32())
    except pa.ArrowException as error:
        raise Refused(f"'{name}' holds values that are not dates, so there is no {period} of it") from error
    if period == "month":
        return compute.add(compute.multiply(compute.year(days), 12), compute.month(days))
    return compute.floor_temporal(days, unit="week").cast(pa.date32()).cast(pa.int32())


def _numbered(column: Any) -> "Indices":
    import numpy as np

    encoded = plain(column).dictionary_encode().unify_dictionaries()
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

    encoded = plain(values).dictionary_encode(null_encoding="encode").unify_dictionaries()
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
