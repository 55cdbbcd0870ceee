"""Making ``reference.json``: from the test rows of a release, as predictions and requests say them.

Nothing here runs the model's code: labels and scores are those of the predictions file, the columns of requests those
of the table that the sample requests come from, joined on the key of the predictions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from lockgate.errors import LockgateError
from lockgate.evaluation import predictions, statistics
from lockgate.evaluation.compare import answers_on, definition_on
from lockgate.evaluation.predictions import File, Refused, Shared, matching_rows
from lockgate.evaluation.statistics import Definition, Undefined, reported
from lockgate.formatting import count
from lockgate.monitoring.arrays import chunked, coded, floats
from lockgate.monitoring.reference import (
    MOST_CLUSTERS,
    PRIOR,
    Baseline,
    CalibrationBin,
    Clusters,
    ColumnReference,
    MetricReference,
    Ranks,
    Reference,
    cells_of,
    to_bytes,
)
from lockgate.monitoring.series import BINS as SCORE_BINS
from lockgate.monitoring.series import SLICE_BINS, score_bins
from lockgate.policy import Metric, Policy
from lockgate.serving.request_parts import check_part

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from lockgate.serving.contract import RequestSchema

    Floats = NDArray[np.float64]
    Indices = NDArray[np.int64]
    Labels = NDArray[np.bool_]

LARGEST: Final = 200_000  # bytes of the file
BINS: Final = 10  # of a column of numbers, as full as each other
FEW_VALUES: Final = 20  # whole numbers with so many values or fewer have a bin each
MOST_VALUES, MOST_TEXT = 200, 4_000  # values of a column of text that are listed, and their characters together
MOST_SLICES: Final = 300
MOST_CELLS: Final = 2_000  # of the baseline
SURE: Final = 1e-6  # a forecast is never nearer to 0 or 1: its log loss stays finite


class NoReference(LockgateError):  # noqa: N818 - named for what the user reads
    """The reference of a release cannot be made as the policy wants it."""

    def __init__(self, finding: str) -> None:
        """Say why."""
        super().__init__(
            f"the reference of the release cannot be made: {finding}", "Correct `reference:` or the table."
        )


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests of the reference rows: a table of the columns of ``schema``, typed, and of the key where it has
    those columns. ``why`` says of a column that is not in it what is wrong with it."""

    file: File
    table: "pa.Table"
    why: Mapping[str, str]


def read_requests(file: File, schema: "RequestSchema") -> Requests:
    """Return the requests of a table. A column that the table lacks, or that does not fit, is left out and said."""
    import pyarrow as pa

    from lockgate.serving.columns import Unfit, convert

    names = file.names()
    found: dict[str, Any] = {}
    why: dict[str, str] = {}
    for column in schema.columns:
        if column.name not in names:
            why[column.name] = f"{file.name} has no such column"
            continue
        try:
            found[column.name] = convert(file.column(column.name), column, "text" if file.is_csv else "typed")
        except (Unfit, Refused, pa.ArrowException) as error:
            why[column.name] = str(error).splitlines()[0]
    return Requests(file, pa.table(found), why)


def read_labels(file: File, name: str) -> "Floats":
    """Return the column of what happened, 0 or 1. Raises :class:`~lockgate.evaluation.predictions.Refused`."""
    import numpy as np
    import pyarrow as pa

    try:
        found = floats(file.column(name))
    except pa.ArrowException:
        found = np.array([np.nan])
    if not np.isin(found, (0, 1)).all():
        raise Refused(f"'{name}' of {file} has values other than 0 and 1")
    return found


def make_reference(
    policy: Policy,
    name: str,
    version: str,
    file: File,
    requests: Requests | None,
    learnt: "tuple[pa.Table | None, Floats] | None" = None,
    labels: File | None = None,
) -> Reference:
    """Return what a release promises by the predictions in ``file``.

    ``requests`` are those of the same rows, ``None`` where the policy names none; ``learnt`` is the table of requests
    that the baseline is learnt from and its labels, ``None``: the reference rows themselves. ``labels`` is the file
    that has the label, where the policy names one. Of a model that is not binary there are columns and metrics alone.

    Raises :class:`NoReference`, :class:`~lockgate.evaluation.predictions.Refused` for predictions that cannot be read,
    :class:`~lockgate.serving.request_parts.PartRefused` for a column of the baseline that a request does not have.
    """
    what = policy.predictions
    assert what is not None  # noqa: S101 - asked for by the caller
    averaged = tuple(dict.fromkeys(one.column for one in policy.metrics if one.column is not None))
    scored = predictions.read_scored(what, file, policy.weights, averaged, labels)
    with statistics.sorted_once():
        rows = predictions.join(what, file, file, (scored, scored))
        notes = list(rows.notes)
        table, cluster = _requests_of(rows, requests, policy, notes)
        told = _columns(requests, table, cluster, notes)
        metrics = tuple(_metrics(policy, rows, notes))
    reference = Reference(
        name=name,
        version=version,
        kind=what.kind,
        rows=len(rows.label),
        positives=0,
        columns=tuple(told),
        score=_of_numbers("score", "number", _spread(rows), rows.cluster),
        metrics=metrics,
        calibration=(),
        clusters=Clusters(what.cluster if rows.cluster is not None else (), _number(rows)),
        baseline=Baseline((), "", 0, 0.0, {}),
        notes=tuple(notes),
    )
    if what.kind == "binary":
        baseline = _baseline(policy, rows, table, learnt)
        reference = replace(
            reference,
            positives=int(rows.label.sum()),
            calibration=tuple(_calibration(rows)),
            clusters=_clusters(policy, rows, _forecast(baseline, rows, table, notes)),
            baseline=baseline,
        )
    elif policy.reference.baseline or policy.reference.table:
        raise NoReference("a baseline is learnt for binary models alone")
    size = len(to_bytes(reference))
    if size > LARGEST and reference.clusters.slice_ranks:
        notes.append("Slices are not ranked by cluster: the file would be too large.")
        reference = replace(reference, clusters=replace(reference.clusters, slice_ranks={}), notes=tuple(notes))
        size = len(to_bytes(reference))
    if size > LARGEST:
        raise NoReference(f"it has {size:,} bytes, at most {LARGEST:,} fit: name fewer columns for slices or baseline")
    return reference


def _forecast(baseline: Baseline, rows: Shared, table: "pa.Table | None", notes: Sequence[str]) -> "Floats":
    """Return the baseline's probability for each row. Raises :class:`NoReference` where it needs requests that are not
    those of the rows."""
    import numpy as np

    forecast = baseline.forecast(table) if table is not None else None
    if forecast is None or len(forecast) != len(rows.label):
        if baseline.columns:
            raise NoReference(f"the baseline needs {baseline.columns[0]}, and {notes[0]}")
        forecast = np.full(len(rows.label), baseline.overall)
    return forecast


def _spread(rows: Shared) -> "Floats":
    """Return the one number a row by which what a model says is described: its score, its prediction, or how sure it is
    of its class."""
    score = rows.score_base
    if score.ndim == 1:
        return score
    return score.max(axis=1) if rows.kind == "multiclass" else score[:, 0]


def _number(rows: Shared) -> int:
    return len(rows.label) if rows.cluster is None else int(rows.cluster.max()) + 1


def _requests_of(
    rows: Shared, requests: Requests | None, policy: Policy, notes: list[str]
) -> "tuple[pa.Table | None, Indices | None]":
    """Return the requests to be described, and their clusters: those of the rows of ``rows``, in their order, if the
    two can be joined; else all of the table, by themselves."""
    what = policy.predictions
    assert what is not None  # noqa: S101
    if requests is None:
        notes.append("Columns of requests are not described: the policy has no `serving:`.")
        return None, None
    try:
        ours, theirs = matching_rows(what, rows.file, requests.file)
        why = f"{len(ours):,} of the {len(rows.label):,} rows of {rows.file.name} are in {requests.file.name}"
        if len(ours) == len(rows.label):  # all of them, and in their order
            return requests.table.take(theirs), rows.cluster
    except Refused as reason:
        why = str(reason)
    notes.append(f"Columns of requests are described by {requests.file.name} as it is, row by row: {why}.")
    return requests.table, None


def _columns(
    requests: Requests | None, table: "pa.Table | None", cluster: "Indices | None", notes: list[str]
) -> "list[ColumnReference]":
    if requests is None or table is None:
        return []
    notes += [f"The column {name} is not described: {reason}." for name, reason in requests.why.items()]
    return [_column(name, table.column(name), cluster) for name in table.column_names]


def _column(name: str, column: Any, cluster: "Indices | None") -> ColumnReference:
    import numpy as np
    import pyarrow as pa

    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _of_numbers(name, "integer" if pa.types.is_integer(kind) else "number", floats(column), cluster)
    if pa.types.is_timestamp(kind):
        hours = tuple(str(hour) for hour in range(24))
        shell = ColumnReference(name, "timestamp", len(column), 0, 0.0, (0,) * 25, (), values=hours)
        return _counted(shell, shell.place(column), cluster)
    codes, texts = coded(column)
    sizes = np.bincount(codes[codes >= 0], minlength=len(texts))
    frequent = sorted(range(len(texts)), key=lambda code: (-int(sizes[code]), texts[code]))[:MOST_VALUES]
    kept: list[str] = []
    for code in frequent:
        if sum(map(len, kept)) + len(texts[code]) > MOST_TEXT:
            break
        kept.append(texts[code])
    known = {text: place for place, text in enumerate(sorted(kept))}
    place = np.array([*(known.get(text, len(known)) for text in texts), -1], dtype=np.int64)
    shell = ColumnReference(
        name,
        "boolean" if pa.types.is_boolean(kind) else "string",
        len(codes),
        0,
        0.0,
        (0,) * (len(known) + 1),
        (),
        values=tuple(known),
        categories=len(texts) if len(texts) > len(known) else None,
    )
    return _counted(shell, place[codes], cluster)


def _of_numbers(name: str, kind: Any, numbers: "Floats", cluster: "Indices | None") -> ColumnReference:
    import numpy as np

    there = numbers[~np.isnan(numbers)]
    few = np.unique(there)
    if kind == "integer" and len(few) <= FEW_VALUES:
        edges = few[1:]
    else:
        edges = np.quantile(there, np.arange(1, BINS) / BINS, method="lower") if len(there) else there
    cut = sorted({reported(float(edge)) for edge in edges} - ({float(few[0])} if len(few) else set()))
    shell = ColumnReference(name, kind, len(numbers), 0, 0.0, (0,) * (len(cut) + 1), (), edges=tuple(cut))
    places = np.searchsorted(np.asarray(cut), numbers, side="right").astype(np.int64)
    places[np.isnan(numbers)] = -1
    return _counted(shell, places, cluster)


def _counted(shell: ColumnReference, places: "Indices", cluster: "Indices | None") -> ColumnReference:
    """Return ``shell`` with the counts of ``places`` (-1: missing) and the standard errors of their shares."""
    import numpy as np

    bins = len(shell.counts) + 1
    shifted = places + 1
    counts = np.bincount(shifted, minlength=bins)
    errors = [reported(float(error)) for error in _errors(shifted, counts, cluster)]
    return replace(
        shell,
        missing=int(counts[0]),
        missing_error=errors[0],
        counts=tuple(int(one) for one in counts[1:]),
        errors=tuple(errors[1:]),
    )


def _errors(places: "Indices", counts: "Indices", cluster: "Indices | None") -> "Floats":
    """Return the standard error of each place's share of all rows: of rows drawn one by one, or cluster by cluster."""
    import numpy as np

    rows, bins = len(places), len(counts)
    shares = counts / max(1, rows)
    if cluster is None:
        return np.asarray(np.sqrt(shares * (1 - shares) / max(1, rows - 1)))
    sizes = np.bincount(cluster).astype(np.float64)
    cells, those = np.unique(cluster * bins + places, return_counts=True)
    of_cell, bin_of_cell = cells // bins, cells % bins
    squares = np.bincount(bin_of_cell, those.astype(np.float64) ** 2, bins)
    products = np.bincount(bin_of_cell, those * sizes[of_cell], bins)
    spread = squares - 2 * shares * products + shares**2 * (sizes**2).sum()
    clusters = len(sizes)
    return np.asarray(np.sqrt(np.maximum(0, spread) * clusters / max(1, clusters - 1)) / rows)


# --- metrics and calibration


def _metrics(policy: Policy, rows: Shared, notes: list[str]) -> "Sequence[MetricReference]":
    import numpy as np

    found = []
    everything = np.arange(len(rows.label))
    slices = rows.slices
    if len(slices) > MOST_SLICES:
        notes.append(f"Slices have no figures: there are {len(slices):,} of them, more than {MOST_SLICES}.")
        slices = ()
    for metric in policy.metrics:
        if metric.statistic is None:
            continue
        found.append(_metric(metric, rows, everything))
        found += [_metric(metric, rows, one.rows, one.column, one.value) for one in slices]
    return found


def _metric(
    metric: Metric, rows: Shared, chosen: "Indices", column: str | None = None, value: str | None = None
) -> MetricReference:
    statistic = metric.statistic
    assert statistic is not None  # noqa: S101 - asked for by the caller
    figure = low = high = None
    why = ""
    try:
        definition = definition_on(metric, rows, chosen)
        label, answers = rows.label[chosen], answers_on(metric, rows.answers[0], chosen)
        figure = statistics.value(statistic, label, answers, definition)
        cluster = None if rows.cluster is None else rows.cluster[chosen]
        low, high = interval(statistic, label, answers, cluster, definition)
    except Undefined as reason:
        why = str(reason)
    figure, low, high = (None if one is None else reported(one) for one in (figure, low, high))
    return MetricReference(metric.name, statistic, metric.better, len(chosen), figure, low, high, column, value, why)


def interval(
    name: str, label: "Labels", score: "Floats", cluster: "Indices | None", definition: Definition
) -> tuple[float, float]:
    """Return the 95 % interval of one model's statistic, by the influence of rows, or of clusters, on it.

    Of the calibration error it is too wide rather than too narrow, see
    :func:`~lockgate.evaluation.statistics.influence`. Raises :class:`~lockgate.evaluation.statistics.Undefined`.
    """
    import numpy as np

    if len(label) < statistics.FEWEST_ROWS:
        raise Undefined(f"{count(len(label), 'row')}: too few for an interval")
    rarer = min(int(label.sum()), int((~label).sum())) if definition.kind == "binary" else len(label)
    if rarer < statistics.FEWEST_OF_A_CLASS:
        raise Undefined(f"{count(rarer, 'row')} of the rarer class: too few for an interval")
    figure, influence = statistics.influence(name, label, score, definition)
    drawn, freedom = len(label), float("inf")
    if cluster is not None:
        cluster = statistics.dense(cluster)
        drawn = int(cluster.max()) + 1
        if drawn < statistics.FEWEST_CLUSTERS:
            raise Undefined(f"{drawn} clusters of rows: too few for an interval")
        freedom = statistics.cluster_freedom(cluster)
        influence = np.bincount(cluster, influence).astype(np.float64)
    error = float((influence**2).sum() * drawn / (drawn - 1)) ** 0.5
    reach = statistics.t_quantile((1 + statistics.CONFIDENCE) / 2, freedom) * error
    return figure - reach, figure + reach


def _calibration(rows: Shared) -> "Sequence[CalibrationBin]":
    import numpy as np

    score, label = rows.score_base, rows.label.astype(np.float64)
    if score.min() < 0 or score.max() > 1:
        return []
    places = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    sizes = np.bincount(places, minlength=BINS)
    found = []
    for one in range(BINS):
        if not sizes[one]:
            continue
        inside = places == one
        share = float(label[inside].mean())
        apart = label[inside] - share
        drawn = int(sizes[one])
        if rows.cluster is not None:
            apart = np.bincount(statistics.dense(rows.cluster[inside]), apart)
            drawn = len(apart)
        error = float((apart**2).sum() * drawn / max(1, drawn - 1)) ** 0.5 / int(sizes[one])
        bounds = (one / BINS, (one + 1) / BINS)
        mean = float(score[inside].mean())
        found.append(CalibrationBin(*bounds, int(sizes[one]), reported(mean), reported(share), reported(error)))
    return found


# --- the baseline, and sums by cluster


def _baseline(
    policy: Policy, rows: Shared, table: "pa.Table | None", learnt: "tuple[pa.Table | None, Floats] | None"
) -> Baseline:
    import numpy as np

    wanted = policy.reference
    source, label = learnt if learnt is not None else (table, rows.label.astype(np.float64))
    if not len(label):
        raise NoReference(f"{wanted.table} has no rows to learn the baseline from")
    overall = float(label.mean())
    named = wanted.table or rows.file.name
    if not wanted.baseline:
        return Baseline((), named, len(label), reported(_within(overall)), {})
    if source is None or len(label) != source.num_rows:
        raise NoReference(f"the baseline needs {wanted.baseline[0]}, and the rows of {named} have no request")
    for part in wanted.baseline:
        check_part("reference.baseline", part, source.schema)
    cells, number = cells_of(wanted.baseline, source)
    if len(cells) > MOST_CELLS:
        raise NoReference(f"the baseline has {len(cells):,} cells, at most {MOST_CELLS:,} fit: name fewer columns")
    sizes, sums = np.bincount(number, minlength=len(cells)), np.bincount(number, label, len(cells))
    rates = (sums + PRIOR * overall) / (sizes + PRIOR)
    told = {cell: reported(_within(float(rate))) for cell, rate in zip(cells, rates, strict=True)}
    return Baseline(wanted.baseline, named, len(label), reported(_within(overall)), told)


def _within(rate: float) -> float:
    return min(1 - SURE, max(SURE, rate))


def losses_of(label: "Floats", score: "Floats") -> "dict[str, Floats]":
    """Return the loss of each row by ``log_loss`` and ``brier``. A score counts as at least 1e-6 away from 0 and 1."""
    import numpy as np

    inside = np.clip(score, SURE, 1 - SURE)
    return {
        "brier": (score - label) ** 2,
        "log_loss": -np.log(np.where(label > 0.5, inside, 1 - inside)),
    }


def _clusters(policy: Policy, rows: Shared, forecast: "Floats") -> Clusters:
    import numpy as np

    what = policy.predictions
    assert what is not None  # noqa: S101
    cluster = rows.cluster
    if cluster is None:
        return Clusters((), len(rows.label))
    clusters = int(cluster.max()) + 1
    if clusters > MOST_CLUSTERS:
        return Clusters(what.cluster, clusters)
    parts = []
    first = np.full(clusters, -1, dtype=np.int64)
    first[cluster[::-1]] = rows.rows_base[::-1]
    for column in what.cluster:
        codes, texts = coded(chunked(rows.file.column(column)))
        parts.append([texts[code] for code in codes[first]])
    names = [", ".join(together) for together in zip(*parts, strict=True)]
    order = sorted(range(clusters), key=lambda one: names[one])
    label = rows.label.astype(np.float64)

    def whole(values: "Floats") -> "tuple[float, ...]":
        return tuple(reported(float(one)) for one in np.bincount(cluster, values, clusters)[order])

    everything = np.arange(len(label))
    ranked = _Ranked(np.argsort(order)[cluster], clusters, rows.label, rows.score_base, forecast)
    return Clusters(
        what.cluster,
        clusters,
        tuple(names[one] for one in order),
        tuple(int(one) for one in np.bincount(cluster)[order]),
        whole(label),
        whole(rows.score_base),
        {name: whole(loss) for name, loss in losses_of(label, rows.score_base).items()},
        {name: whole(loss) for name, loss in losses_of(label, forecast).items()},
        whole(forecast),
        ranked.ranks(everything, SCORE_BINS),
        {(one.column, one.value): ranked.ranks(one.rows, SLICE_BINS) for one in rows.slices[:MOST_SLICES]},
    )


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Rows that are ranked within their cluster."""

    cluster: "Indices"
    clusters: int
    label: "Labels"
    score: "Floats"
    forecast: "Floats"

    def ranks(self, chosen: "Indices", bins: int) -> Ranks:
        """Return how the chosen rows are ranked; scores of one of so many bins count as tied, as in live days."""
        import numpy as np

        cluster, label = self.cluster[chosen], self.label[chosen]
        true = np.bincount(cluster[label], minlength=self.clusters)
        pairs = true * (np.bincount(cluster, minlength=self.clusters) - true)
        by_model = _in_order(cluster, label, score_bins(self.score[chosen], bins), self.clusters)
        by_baseline = _in_order(cluster, label, score_bins(self.forecast[chosen], SLICE_BINS), self.clusters)
        return Ranks(tuple(int(one) for one in pairs), by_model, by_baseline)


def _in_order(cluster: "Indices", label: "Labels", place: "Indices", clusters: int) -> tuple[float, ...]:
    """Return in how many pairs of a true and a false row of a cluster the true one has the higher place; a tie is half
    a pair. Half numbers, so that they are exact."""
    import numpy as np

    found = [0.0] * clusters
    order = np.argsort(cluster, kind="stable")
    edges = np.searchsorted(cluster[order], np.arange(clusters + 1))
    for one in range(clusters):
        rows = order[edges[one] : edges[one + 1]]
        true = label[rows]
        places = place[rows]
        negatives = np.sort(places[~true])
        left, right = (np.searchsorted(negatives, places[true], side=side) for side in ("left", "right"))
        found[one] = float((left + right).sum()) / 2
    return tuple(found)
