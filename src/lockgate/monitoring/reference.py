"""What a release promised, ``reference.json`` in its build: how requests and scores were spread on the test rows, how
well the model did there and for whom, and a fixed baseline that later losses are judged against.

It is made from the rows alone, so the same commit gives the same bytes. Fractions have six significant digits. A
release that an older Lockgate made has none.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from lockgate.errors import LockgateError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]

FILE: Final = "reference.json"
SCHEMA: Final = "lockgate.reference/1"
MOST_CLUSTERS: Final = 400
PRIOR: Final = 20  # rows


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
        raise NotImplementedError

    def count(self, column: "pa.ChunkedArray | pa.Array") -> "tuple[Indices, int]":
        """Return how many values of a live column fall into each bin of :attr:`counts`, and how many are missing."""
        raise NotImplementedError


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
    """

    columns: tuple[str, ...]
    number: int
    names: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    labels: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    losses: "dict[str, tuple[float, ...]] | None" = None  # statistic (log_loss, brier) → the sum of the model's loss
    baseline_losses: "dict[str, tuple[float, ...]] | None" = None  # the same of the baseline, on the same rows
    baseline_scores: tuple[float, ...] = ()
    ranks: Ranks | None = None
    slice_ranks: "dict[tuple[str, str], Ranks] | None" = None  # column and value of a slice → the same of its rows


@dataclass(frozen=True, slots=True)
class Baseline:
    """A forecast that never changes: the share of true rows of the cell that a request falls into.

    ``columns`` are those of the request, or a part of one of its timestamps (``hour of scheduled_departure``), that
    make up a cell; without any there is one cell, the ``overall`` share. ``table`` names the rows it was learnt from.
    A cell's rate is drawn towards the overall one as if it had :data:`PRIOR` rows more; a cell that was never seen
    gets the overall one.
    """

    columns: tuple[str, ...]
    table: str
    rows: int
    overall: float
    rates: "dict[tuple[str, ...], float]"

    def forecast(self, table: "pa.Table") -> "Floats":
        """Return the baseline's probability for each row of a table with the columns of the request, as
        :func:`~lockgate.monitoring.joined.joined` gives it. A column that the table lacks counts as missing."""
        raise NotImplementedError


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
    raise NotImplementedError
