"""What the rows of one release come to in a window, by the clusters that rows belong to.

One day's table is in memory at a time. What is kept of it does not grow with its rows: sums by cluster
(:class:`~lockgate.monitoring.series.Sums`), and counts of each column by bin. Clusters beyond :data:`MOST_GROUPS` share
a group with others: the spread between groups of whole clusters estimates the same variance as that between clusters,
on fewer degrees of freedom.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zlib import crc32

from lockgate.monitoring.joined import RECORDED, request_column
from lockgate.monitoring.reference import cells_of
from lockgate.monitoring.series import BINS, SLICE_BINS, Day, SliceName, Sums, codes_of, score_bins, summarise, total

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from lockgate.monitoring.reference import ColumnReference, Reference
    from lockgate.policy import RequestPart

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

MOST_GROUPS = 128
MOST_VALUES = 200  # of a column to slice by; one with more is no column of slices
LATENCIES, A_TENFOLD = 140, 20  # bins of the logarithm of milliseconds, from 0.001 ms on


@dataclass(slots=True, eq=False)
class ColumnCounts:
    """A column's rows by group of clusters and bin, and the sum of the scores in each bin. Bin 0 holds the rows where
    the value is missing; bin ``i + 1`` is bin ``i`` of the reference."""

    reference: "ColumnReference"
    counts: "Counts"
    scores: "Floats"
    squares: float = 0.0  # of the scores, all bins together

    @property
    def variance(self) -> float:
        """The variance of the scores of its rows."""
        rows = int(self.counts.sum())
        return self.squares / rows - (float(self.scores.sum()) / rows) ** 2 if rows else 0.0


@dataclass(slots=True, eq=False)
class Served:
    """What one release scored in one window.

    ``clusters`` are what of a request makes a cluster; without any it is the day of the score, or each row by
    itself where ``alone`` is true. ``slices`` are the columns to slice by; those that the record lacks are left out.
    """

    release: str
    build: str
    reference: "Reference | None" = None
    slices: tuple[str, ...] = ()
    clusters: "tuple[RequestPart, ...]" = ()
    alone: bool = False
    days: list[Day] = field(default_factory=list)
    sums: dict[SliceName | None, dict[int, Sums]] = field(default_factory=dict)
    columns: dict[str, ColumnCounts] = field(default_factory=dict)  # that of the score is called ""
    all_scores: Any = 0  # rows by bin of the score, labelled or not
    labelled_scores: Any = 0
    latencies: Any = 0
    hours: Any = 0  # rows by hour of the day
    longest_gap: float = 0.0  # seconds between two scores that follow each other
    first: datetime | None = None
    last: datetime | None = None
    wrong_labels: int = 0
    no_score: int = 0
    repeated: int = 0
    absent: set[str] = field(default_factory=set)
    extra: set[str] = field(default_factory=set)
    groups: dict[Any, int] = field(default_factory=dict)
    seen: int = 0

    @property
    def rows(self) -> int:
        """Rows that were scored."""
        return sum(day.rows for day in self.days)

    @property
    def labelled(self) -> int:
        """Rows whose outcome is known."""
        return sum(day.labelled for day in self.days)

    @property
    def whole(self) -> Sums:
        """All rows."""
        return total(self.days)

    def parts(self, name: SliceName | None = None) -> list[Sums]:
        """Return the sums of each group of clusters, of all rows or of a slice."""
        return list(self.sums.get(name, {}).values())

    def add(self, table: "pa.Table") -> None:
        """Add rows of one day, or of a part of it, all of this release's. Rows without a score are counted only."""
        import numpy as np

        table = self._usable(table)
        if not table.num_rows:
            return
        scores = np.asarray(table["probability"].to_numpy(), dtype=np.float64)
        labels, wrong = labels_of(table["label"])
        self.wrong_labels += wrong
        codes, groups = self._groups(table)
        baseline = None if self.reference is None else self.reference.baseline.forecast(table)
        sliced = {name: codes_of(table[name]) for name in self.slices if name in table.column_names}
        sliced = {name: found for name, found in sliced.items() if len(found[1]) <= MOST_VALUES}
        whole, by_slice = summarise(scores, labels, baseline, sliced)
        if len(groups) == 1:  # a day that is a cluster
            self._put(None, groups[0], _coarse(whole))
            for name, part in by_slice.items():
                self._put(name, groups[0], part)
        else:
            self._add_by_cluster(scores, labels, baseline, sliced, codes, groups)
        places = score_bins(scores)
        known = ~np.isnan(labels)
        self.all_scores = self.all_scores + np.bincount(places, minlength=BINS)
        self.labelled_scores = self.labelled_scores + np.bincount(places[known], minlength=BINS)
        missing, unknown = self._add_columns(table, scores, codes, groups)
        day = self._add_times(table)
        said = {name: getattr(whole, name) for name in Sums.__slots__}
        told: dict[str, Any] = {"slices": by_slice, "missing": missing, "unknown": unknown}
        told["absent"] = tuple(sorted(self.absent))
        self.days.append(Day(**said, day=day, release=self.release, build=self.build, **told))

    def _usable(self, table: "pa.Table") -> "pa.Table":
        """Return the rows that have a score and that were not delivered twice."""
        import pyarrow.compute as pc

        rows = table.num_rows
        if rows > 1:
            ids, places = table["id"].combine_chunks(), table["row"].combine_chunks()
            same: Any = pc.and_(pc.equal(ids[1:], ids[:-1]), pc.equal(places[1:], places[:-1]))
            if pc.any(same).as_py():
                import numpy as np

                first = np.append(True, ~pc.fill_null(same, False).to_numpy(zero_copy_only=False))
                table = table.filter(first)
                self.repeated += rows - table.num_rows
        if table["probability"].null_count:
            rows = table.num_rows
            table = table.filter(pc.is_valid(table["probability"]))
            self.no_score += rows - table.num_rows
        return table

    def _groups(self, table: "pa.Table") -> "tuple[Counts, list[int]]":
        """Return the number of each row's cluster among those of this table, and the group that each belongs to."""
        import numpy as np

        names: list[Any]
        codes: Any
        if self.clusters:
            names, codes = cells_of(self.clusters, table)
        elif self.alone:
            codes = (np.arange(table.num_rows) + self.seen) % MOST_GROUPS
            self.seen += table.num_rows
            names = list(range(MOST_GROUPS))
        else:
            days = table["time"].to_numpy().astype("datetime64[D]").astype(np.int64)
            found, codes = (days[:1], np.zeros(len(days))) if (days == days[0]).all() else np.unique(
                days, return_inverse=True
            )  # fmt: skip
            names = found.tolist()
        return codes.astype(np.int64), [self._group(name) for name in names]

    def _group(self, name: Any) -> int:
        known = self.groups.get(name)
        if known is None:
            full = len(self.groups) >= MOST_GROUPS
            known = crc32(repr(name).encode()) % MOST_GROUPS if full else len(self.groups)
            if not full:
                self.groups[name] = known
        return known

    def _add_by_cluster(
        self,
        scores: "Floats",
        labels: "Floats",
        baseline: "Floats | None",
        sliced: "dict[str, tuple[Counts, list[str]]]",
        codes: "Counts",
        groups: Sequence[int],
    ) -> None:
        """Add the sums of each cluster of the table, of all rows and of each slice."""
        import numpy as np

        where = np.array(groups)[codes]  # few groups, however many clusters
        there, dense = np.unique(where, return_inverse=True)
        for column, (mine, values) in {"": (np.zeros(len(scores), dtype=np.int64), [""]), **sliced}.items():
            pairs = np.where(mine < 0, -1, mine * len(there) + dense)
            names = [f"{value}\0{group}" for value in values for group in there]
            _, parts = summarise(scores, labels, baseline, {"": (pairs, names)})
            for (_, name), part in parts.items():
                value, _, group = name.rpartition("\0")
                self._put((column, value) if column else None, int(group), part)

    def _put(self, name: SliceName | None, group: int, part: Sums) -> None:
        cell = self.sums.setdefault(name, {})
        cell[group] = total([cell[group], part]) if group in cell else part

    def _add_columns(
        self, table: "pa.Table", scores: "Floats", codes: "Counts", groups: Sequence[int]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Count the columns of the request, and the score, by bin; return missing and unknown values by column."""
        import numpy as np

        if self.reference is None:
            return {}, {}
        missing: dict[str, int] = {}
        unknown: dict[str, int] = {}
        there = set(table.column_names)
        self.absent |= {one.name for one in self.reference.columns if request_column(one.name) not in there}
        self.extra |= there - {request_column(one.name) for one in self.reference.columns} - set(RECORDED)
        score, squares = self.reference.score, float(scores @ scores)
        for one in (*self.reference.columns, score):
            key, name = ("", "probability") if one is score else (one.name, request_column(one.name))
            if name not in there:
                continue
            places, width = one.place(table[name]) + 1, len(one.counts) + 1
            cells = places if len(groups) == 1 else codes * width + places
            counts = np.bincount(cells, minlength=len(groups) * width).reshape(len(groups), width)
            kept = self.columns.get(key)
            if kept is None:
                nothing = np.zeros((MOST_GROUPS, width), dtype=np.int64)
                kept = self.columns[key] = ColumnCounts(one, nothing, np.zeros(width))
            np.add.at(kept.counts, np.array(groups), counts)
            kept.scores = kept.scores + np.bincount(places, scores, width)
            kept.squares += squares
            if key:
                missing[key] = int(counts[:, 0].sum())
                if one.type == "string" and one.values is not None and one.categories is None:
                    unknown[key] = int(counts[:, -1].sum())
        return missing, unknown

    def _add_times(self, table: "pa.Table") -> Any:
        """Count the rows by hour, note the longest gap and the latencies; return the day."""
        import numpy as np

        times = np.sort(table["time"].to_numpy().astype("datetime64[us]"))
        first, last = times[0].item(), times[-1].item()
        gaps = np.diff(times)
        longest = float(gaps.max() / np.timedelta64(1, "s")) if len(gaps) else 0.0
        if self.last is not None:
            longest = max(longest, (first - self.last).total_seconds())
        self.longest_gap = max(self.longest_gap, longest)
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)
        hours = (times - times.astype("datetime64[D]")).astype("timedelta64[h]").astype(np.int64)
        self.hours = self.hours + np.bincount(hours, minlength=24)
        latency = table["latency_ms"] if "latency_ms" in table.column_names else None
        if latency is not None and latency.null_count < len(latency):
            spent = np.asarray(latency.drop_null().to_numpy(), dtype=np.float64)
            placed = (np.log10(np.maximum(spent, 1e-3)) + 3) * A_TENFOLD
            self.latencies = self.latencies + np.bincount(
                np.minimum(placed.astype(np.int64), LATENCIES - 1), minlength=LATENCIES
            )
        return first.date()


def _coarse(sums: Sums) -> Sums:
    """Return the same sums with as few bins as those of clusters and slices."""
    by_class = {name: getattr(sums, name).reshape(SLICE_BINS, -1).sum(axis=1) for name in ("positives", "negatives")}
    return replace(sums, **by_class)


def labels_of(column: "pa.ChunkedArray") -> "tuple[Floats, int]":
    """Return labels as 1, 0 and NaN (no outcome), and how many were none of these: they count as no outcome."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    nothing = np.full(len(column), np.nan)
    if column.null_count == len(column):
        return nothing, 0
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.float64())
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return nothing, len(column) - column.null_count
    filled = pc.fill_null(column.cast(pa.float64()), float("nan"))
    labels = np.array(filled.to_numpy(), dtype=np.float64)
    wrong = ~((labels == 0.0) | (labels == 1.0) | np.isnan(labels))
    number = int(wrong.sum())
    if number:
        labels[wrong] = np.nan
    return labels, number


def latency(counts: Any, share: float) -> float | None:
    """Return the latency in milliseconds below which ``share`` of the requests were answered, to about 6 %."""
    import numpy as np

    if not np.any(counts):
        return None
    place = int(np.searchsorted(np.cumsum(counts), share * np.sum(counts)))
    return float(10 ** ((min(place, LATENCIES - 1) + 0.5) / A_TENFOLD - 3))
