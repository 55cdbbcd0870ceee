"""What a release promised, ``reference.json`` in its build: how requests and scores were spread on the test rows, how
well the model did there and for whom, and a fixed baseline that later losses are judged against.

It is made from the rows alone, so the same commit gives the same bytes. Fractions have six significant digits. A
release that an older Lockgate made has none.
"""

import json
from dataclasses import MISSING as MISSING_DEFAULT
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from lockgate.errors import LockgateError
from lockgate.monitoring.arrays import chunked, coded, floats
from lockgate.serving.request_parts import part_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from lockgate.policy import RequestPart

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

FILE: Final = "reference.json"
SCHEMA: Final = "lockgate.reference/1"
MOST_CLUSTERS: Final = 400
MISSING: Final = "(missing)"  # the value of a cell of the baseline
PRIOR: Final = 20  # rows


T = TypeVar("T")


class ReferenceRefused(LockgateError):  # noqa: N818 - named for what the user reads
    """A file is not the reference of a release."""

    def __init__(self, place: str, finding: str) -> None:
        """Name the file and what is wrong with it."""
        super().__init__(f"{place} {finding}", "Fetch the build again, or use the Lockgate that made the release.")


@dataclass(frozen=True, slots=True)
class ColumnReference:
    """How the values of one column, or of the score, were spread over the reference rows.

    A column of numbers has ``edges``: bin ``i`` holds the values from ``edges[i - 1]`` up to, and without,
    ``edges[i]``; the first and the last bin are open, so there is one bin more than edges. Any other column has
    ``values``, the most frequent ones, and one more count for all others together (``counts[-1]``). Of a timestamp the
    values are the hours of the day, ``0`` to ``23``: its date is another one every day.

    ``missing`` and ``counts`` add up to ``rows``. ``missing_error`` and ``errors`` are the standard errors of the
    shares of all rows, clusters respected where the policy names them.
    """

    name: str
    type: Literal["string", "integer", "number", "boolean", "timestamp"]
    rows: int
    missing: int
    missing_error: float
    counts: tuple[int, ...]
    errors: tuple[float, ...]
    edges: tuple[float, ...] | None = None
    values: tuple[str, ...] | None = None
    categories: int | None = None  # how many values there were in all, where ``values`` is not all of them

    def place(self, column: "pa.ChunkedArray | pa.Array") -> "Indices":
        """Return the bin of each value of a live column, -1 where it is missing. A value that the reference does not
        list has the last bin, where this column has ``values``."""
        import numpy as np

        if self.edges is not None:
            numbers = floats(column)
            places = np.searchsorted(np.asarray(self.edges), numbers, side="right").astype(np.int64)
            places[np.isnan(numbers)] = -1
            return places
        codes, texts = coded(chunked(column)) if self.type != "timestamp" else _hours(column)
        known = {value: place for place, value in enumerate(self.values or ())}
        of_code = np.array([*(known.get(text, len(known)) for text in texts), -1], dtype=np.int64)
        return of_code[codes]

    def count(self, column: "pa.ChunkedArray | pa.Array") -> "tuple[Indices, int]":
        """Return how many values of a live column fall into each bin of :attr:`counts`, and how many are missing."""
        import numpy as np

        places = self.place(column)
        there = places[places >= 0]
        return np.bincount(there, minlength=len(self.counts)), len(places) - len(there)


@dataclass(frozen=True, slots=True)
class MetricReference:
    """A metric of the release on the reference rows, or on those that have ``value`` in the slice ``column`` (both
    ``None``: on all), with its 95 % interval (``None`` where there are too few rows for one: ``why`` says it)."""

    metric: str
    statistic: str
    better: Literal["higher", "lower"]
    rows: int
    figure: float | None
    low: float | None
    high: float | None
    column: str | None = None
    value: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The reference rows whose score is from ``low`` up to ``high``: their number, mean score and share of true rows
    with its standard error."""

    low: float
    high: float
    rows: int
    mean_score: float
    share: float
    error: float


@dataclass(frozen=True, slots=True)
class Ranks:
    """Within each cluster: the number of pairs of a true and a false row, and in how many of them the true one scores
    higher, by the model and by the baseline, a tie counting half. One number a cluster in each array."""

    pairs: tuple[int, ...]
    model: tuple[float, ...]
    baseline: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Clusters:
    """Sums over the rows of each cluster, by which blocks are drawn later: one number a cluster in each array.

    ``columns`` are those of the policy's ``cluster:`` (none: every row stands for itself, and there are no arrays),
    ``names`` the values, in their order (of several columns joined by a comma and a space). With more clusters than
    :data:`MOST_CLUSTERS` there are no arrays either.

    ``losses`` are sums of the model's loss by statistic (``log_loss``, ``brier``), ``baseline_losses`` those of the
    baseline on the same rows; ``slice_ranks`` are the ranks of the rows that have a value (second) in a column (first).
    """

    columns: tuple[str, ...]
    number: int
    names: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    labels: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    losses: "dict[str, tuple[float, ...]]" = field(default_factory=dict)
    baseline_losses: "dict[str, tuple[float, ...]]" = field(default_factory=dict)
    baseline_scores: tuple[float, ...] = ()
    ranks: Ranks | None = None
    slice_ranks: "dict[tuple[str, str], Ranks]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A forecast that never changes: the share of true rows of the cell that a request falls into.

    ``columns`` are those of the request, or a part of one of its timestamps (``hour of scheduled_departure``), that
    make up a cell; without any there is one cell, the ``overall`` share. ``table`` names the rows it was learnt from.
    A cell's rate is drawn towards the overall one as if it had :data:`PRIOR` rows more; a cell that was never seen
    gets the overall one.
    """

    columns: "tuple[RequestPart, ...]"
    table: str
    rows: int
    overall: float
    rates: "dict[tuple[str, ...], float]"  # the text of a value, :data:`MISSING` where there is none

    def forecast(self, table: "pa.Table") -> "Floats":
        """Return the baseline's probability for each row of a table with the columns of the request, as
        :func:`~lockgate.monitoring.joined.joined` gives it. A column that the table lacks counts as missing."""
        import numpy as np

        if not self.columns:
            return np.full(table.num_rows, self.overall)
        cells, number = cells_of(self.columns, table)
        rates = np.array([self.rates.get(cell, self.overall) for cell in cells] or [self.overall])
        return rates[number] if len(number) else np.empty(0)


@dataclass(frozen=True, slots=True)
class Reference:
    """The content of ``reference.json``."""

    name: str
    version: str
    rows: int
    positives: int
    columns: tuple[ColumnReference, ...]
    score: ColumnReference
    metrics: tuple[MetricReference, ...]
    calibration: tuple[CalibrationBin, ...]
    clusters: Clusters
    baseline: Baseline
    kind: str = "binary"  # of model; where it is another one there is no baseline, nor are there sums by cluster
    notes: tuple[str, ...] = ()  # what is not in it, and why: sentences

    def column(self, name: str) -> ColumnReference | None:
        """Return a column of the request, ``None`` where the reference has none of that name."""
        return next((one for one in self.columns if one.name == name), None)

    def metric(self, metric: str, column: str | None = None, value: str | None = None) -> MetricReference | None:
        """Return a metric on all rows, or on a slice."""
        found = (one for one in self.metrics if (one.metric, one.column, one.value) == (metric, column, value))
        return next(found, None)


def read_reference(build: Path | bytes) -> Reference | None:
    """Return what a release promised, from the folder of its build or from the bytes of :data:`FILE`.

    ``None`` for a build without one, which an older Lockgate made. Raises
    :class:`~lockgate.monitoring.reference.ReferenceRefused` for a file that is not a :data:`SCHEMA`.
    """
    place = FILE
    if isinstance(build, Path):
        place = str(build / FILE)
        try:
            build = (build / FILE).read_bytes()
        except FileNotFoundError:
            return None
    try:
        said = json.loads(build)
        if said["schema"] != SCHEMA:
            raise ReferenceRefused(place, f"is not a {SCHEMA} file")
        return _read(said)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ReferenceRefused(place, f"does not have the fields of a {SCHEMA} file ({type(error).__name__})") from None


def to_bytes(reference: Reference) -> bytes:
    """Return the content of :data:`FILE`: JSON in one spelling, keys sorted, no spaces, fractions as short as they read
    back. :func:`read_reference` reads it again, and it writes the same bytes."""
    told = {"schema": SCHEMA, **asdict(reference)}
    baseline = reference.baseline
    told["baseline"]["columns"] = [part.told() for part in baseline.columns]
    told["baseline"]["rates"] = [[*cell, rate] for cell, rate in sorted(baseline.rates.items())]
    slices = sorted(reference.clusters.slice_ranks.items())
    told["clusters"]["slice_ranks"] = [[*name, asdict(ranks)] for name, ranks in slices]
    text = json.dumps(_plain(told), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def cells_of(columns: "Sequence[RequestPart]", table: "pa.Table") -> "tuple[list[tuple[str, ...]], Indices]":
    """Return the cells that the rows of a table fall into, and the number of each row's cell.

    A column that the table lacks is missing in every row.
    """
    import numpy as np

    number = np.zeros(table.num_rows, dtype=np.int64)
    cells: list[tuple[str, ...]] = [()]
    for part in columns:
        if part.column in table.column_names:
            codes, texts = coded(part_of(part, chunked(table.column(part.column))))
        else:
            codes, texts = np.full(table.num_rows, -1, dtype=np.int64), []
        texts = [*texts, MISSING]
        both = number * len(texts) + np.where(codes < 0, len(texts) - 1, codes)
        there, number = np.unique(both, return_inverse=True)
        cells = [(*cells[one // len(texts)], texts[one % len(texts)]) for one in there.tolist()]
    return cells, number


def _hours(column: Any) -> "tuple[Indices, list[str]]":
    from lockgate.policy import RequestPart

    return coded(part_of(RequestPart("", "hour"), chunked(column)))


def _plain(value: Any) -> Any:
    """Return what JSON writes: no tuples, and nothing that is ``None``, which reads back as it is."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _read(said: Any) -> Reference:
    from lockgate.policy import RequestPart

    def part(told: Any) -> RequestPart:
        return RequestPart(*reversed(*told.items())) if isinstance(told, dict) else RequestPart(told)

    baseline = said["baseline"]
    rates = {tuple(str(one) for one in row[:-1]): float(row[-1]) for row in baseline["rates"]}
    clusters = said["clusters"]
    sums: dict[str, Any] = {key: {k: tuple(v) for k, v in clusters[key].items()} for key in _BY_STATISTIC}
    sums["ranks"] = _of(Ranks, clusters["ranks"]) if "ranks" in clusters else None
    sums["slice_ranks"] = {(column, value): _of(Ranks, told) for column, value, told in clusters["slice_ranks"]}
    return Reference(
        name=said["name"],
        version=said["version"],
        rows=said["rows"],
        positives=said["positives"],
        columns=tuple(_of(ColumnReference, one) for one in said["columns"]),
        score=_of(ColumnReference, said["score"]),
        metrics=tuple(_of(MetricReference, one) for one in said["metrics"]),
        calibration=tuple(_of(CalibrationBin, one) for one in said["calibration"]),
        clusters=_of(Clusters, {**clusters, **sums}),
        baseline=_of(Baseline, {**baseline, "columns": tuple(map(part, baseline["columns"])), "rates": rates}),
        kind=said.get("kind", "binary"),
        notes=tuple(said["notes"]),
    )


_BY_STATISTIC = ("losses", "baseline_losses")


def _of(kind: type[T], said: Any) -> T:
    """Return the dataclass that was written as a mapping: lists are tuples, and what is not there is ``None`` where
    its field has no other default."""
    absent = {one.name: None for one in fields(kind) if one.default is MISSING_DEFAULT}  # type: ignore[arg-type]
    return kind(**absent | {key: tuple(item) if isinstance(item, list) else item for key, item in said.items()})
