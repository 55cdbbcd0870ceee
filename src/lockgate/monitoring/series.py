"""What one day of one release comes to: sums and counts from which every live figure is found again.

A day of a million scores becomes a few hundred kilobytes, and days are added up to a window of any length: the monitor
and its alarms read a day's rows once and never hold more than one day of them. Ranks do not survive adding up, so the
scores are counted by class in bins of equal width of their log odds. The AUC of these counts, where scores of one bin
count as tied, is that of the scores to about 0.00005 with :data:`BINS` bins and 0.0005 with :data:`SLICE_BINS` of them
(``tests/lockgate/monitoring/test_series.py``).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

BINS, SLICE_BINS = 4096, 512  # of the log odds from -REACH to REACH; what lies beyond counts in the first or the last
REACH = 9.21  # log odds of 0.9999
CALIBRATION_BINS = 10  # equal bins of the score, as calibration errors are computed everywhere in Lockgate

SliceName = tuple[str, str]
"""A column and one of its values, as text."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """What a set of scored rows comes to. ``rows`` were scored, ``labelled`` of them have an outcome.

    ``scores`` is the sum of all scores. Everything below it is over the labelled rows: the log loss and the squared
    error of the model, and of the release's fixed baseline on the same rows (NaN where the release has none); the
    sum of the squared differences of the two losses of a row; the sum of the baseline's scores; the ``pairs`` of a true
    and a false row, and in how many of them the true one scores higher, by the model and by the baseline, a tie
    counting half (added up over days these are pairs within a day); the labelled rows by class in bins of the score's
    log odds (``positives``, ``negatives``: :func:`score_bins`); and rows, scores and labels in ten equal bins of the
    score.
    """

    rows: int
    scores: float
    labelled: int
    label_sum: int
    score_sum: float
    loss_model_sum: float
    loss_baseline_sum: float
    loss_difference_squares: float
    brier_model_sum: float
    brier_baseline_sum: float
    score_baseline_sum: float
    pairs: float
    pairs_model_sum: float
    pairs_baseline_sum: float
    positives: "Counts"
    negatives: "Counts"
    bin_rows: "Counts"
    bin_scores: "Floats"
    bin_labels: "Floats"

    @property
    def log_loss(self) -> float:
        """The mean log loss of the model, NaN without a labelled row."""
        return _over(self.loss_model_sum, self.labelled)

    @property
    def excess(self) -> float:
        """The mean log loss of the model less that of the baseline on the same rows: below 0, the model is better."""
        return _over(self.loss_model_sum - self.loss_baseline_sum, self.labelled)

    @property
    def brier(self) -> float:
        """The mean squared error of the model."""
        return _over(self.brier_model_sum, self.labelled)

    @property
    def roc_auc(self) -> float:
        """The area under the ROC curve, NaN where only one class occurs."""
        return auc(self.positives, self.negatives)

    @property
    def calibration_error(self) -> float:
        """The mean over rows of the distance between mean score and share of true rows in the row's bin."""
        import numpy as np

        return _over(float(np.abs(self.bin_scores - self.bin_labels).sum()), self.labelled)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Day(Sums):
    """A day (UTC) of the rows that one release scored; a day on which two did is two of these.

    ``slices`` are the sums by the values of the columns that the policy slices by and the record has. ``missing`` and
    ``unknown`` count, by column of the request, values that are missing and values that the model was not trained on;
    ``absent`` are columns that the release knows and this day's record does not have.
    """

    day: date
    release: str
    build: str
    slices: Mapping[SliceName, Sums] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    unknown: Mapping[str, int] = field(default_factory=dict)
    absent: tuple[str, ...] = ()


def total(parts: Iterable[Sums]) -> Sums:
    """Return the sums of all the rows of several sets together. Raises ``ValueError`` for none."""
    several = list(parts)
    if not several:
        raise ValueError("nothing to add up")
    return Sums(**{name: sum(getattr(part, name) for part in several) for name in _FIELDS})


def joined_days(days: "Sequence[Day]") -> list[Day]:
    """Return the days in their order; what came of one day in several pieces is one day."""
    found: dict[date, list[Day]] = {}
    for one in days:
        found.setdefault(one.day, []).append(one)
    return [parts[0] if len(parts) == 1 else _one_day(parts) for _, parts in sorted(found.items())]


def _one_day(parts: "Sequence[Day]") -> Day:
    def counted(name: str) -> dict[str, int]:
        keys = sorted({key for part in parts for key in getattr(part, name)})
        return {key: sum(getattr(part, name).get(key, 0) for part in parts) for key in keys}

    whole = total(parts)
    names = sorted({name for part in parts for name in part.slices})
    return Day(
        **{name: getattr(whole, name) for name in _FIELDS},
        day=parts[0].day,
        release=parts[0].release,
        build=parts[0].build,
        slices={name: total(part.slices[name] for part in parts if name in part.slices) for name in names},
        missing=counted("missing"),
        unknown=counted("unknown"),
        absent=tuple(sorted({name for part in parts for name in part.absent})),
    )


def auc(positives: "Counts", negatives: "Counts") -> float:
    """Return how often a true row scores above a false one, rows of one bin counting half; NaN without both."""
    import numpy as np

    true, false = int(positives.sum()), int(negatives.sum())
    if not true or not false:
        return math.nan
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2.0)).sum()) / true / false


def score_bins(scores: "Floats", bins: int = BINS) -> "Counts":
    """Return the bin of each score by its log odds, rising with the score."""
    import numpy as np

    with np.errstate(divide="ignore"):
        odds = np.log(scores) - np.log1p(-scores)
    places = np.clip((odds + REACH) * (bins / (2 * REACH)), 0, bins - 1)
    return np.asarray(places, dtype=np.int64)


def summarise(
    scores: "Floats",
    labels: "Floats",
    baseline: "Floats | None",
    groups: "Mapping[str, tuple[Counts, Sequence[str]]] | None" = None,
) -> tuple[Sums, dict[SliceName, Sums]]:
    """Return what rows come to, and by the values of each column of ``groups``: codes of the rows, -1 for none, and
    what each code stands for.

    ``labels`` are 1, 0 or NaN where no outcome is known; ``baseline`` is the score that the release's fixed baseline
    gives each row.
    """
    import numpy as np

    known = ~np.isnan(labels)
    every = bool(known.all())
    label, score = (labels, scores) if every else (labels[known], scores[known])
    edge = np.finfo(np.float64).eps
    true = label == 1.0
    loss = -np.log(np.clip(np.where(true, score, 1.0 - score), edge, 1.0))
    squared = (score - label) ** 2
    if baseline is None:
        against = loss_baseline = squared_baseline = np.full(len(score), math.nan)
    else:
        against = baseline if every else baseline[known]
        loss_baseline = -np.log(np.clip(np.where(true, against, 1.0 - against), edge, 1.0))
        squared_baseline = (against - label) ** 2
    columns = {
        "label_sum": label,
        "score_sum": score,
        "loss_model_sum": loss,
        "loss_baseline_sum": loss_baseline,
        "loss_difference_squares": (loss - loss_baseline) ** 2,
        "brier_model_sum": squared,
        "brier_baseline_sum": squared_baseline,
        "score_baseline_sum": against,
    }
    places = score_bins(score)
    places_baseline = None if baseline is None else score_bins(against, SLICE_BINS)
    tenths = np.minimum((score * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)

    def of(codes: "Counts", known_codes: "Counts", count: int, bins: int) -> list[Sums]:
        place = known_codes * bins + (places // (BINS // bins))
        by_class = np.bincount(place * 2 + true, minlength=2 * count * bins).reshape(count, bins, 2)
        if places_baseline is None:
            in_order = np.full(count, math.nan)
        else:
            place = known_codes * SLICE_BINS + places_baseline
            in_order = _in_order(np.bincount(place * 2 + true, minlength=2 * count * SLICE_BINS).reshape(count, -1, 2))
        tenth = known_codes * CALIBRATION_BINS + tenths

        def by_tenth(weights: "Floats | None") -> Any:
            return np.bincount(tenth, weights, count * CALIBRATION_BINS).reshape(count, -1)

        shaped = {
            "positives": by_class[:, :, 1],
            "negatives": by_class[:, :, 0],
            "bin_rows": by_tenth(None),
            "bin_scores": by_tenth(score),
            "bin_labels": by_tenth(label),
        }
        summed: dict[str, Any] = {name: np.bincount(known_codes, values, count) for name, values in columns.items()}
        summed |= {
            "pairs": by_class[:, :, 0].sum(axis=1) * by_class[:, :, 1].sum(axis=1),
            "pairs_model_sum": _in_order(by_class),
            "pairs_baseline_sum": in_order,
        }
        rows, labelled = np.bincount(codes, minlength=count), np.bincount(known_codes, minlength=count)
        all_scores = np.bincount(codes, scores, count)
        return [
            Sums(
                rows=int(rows[one]),
                scores=float(all_scores[one]),
                labelled=int(labelled[one]),
                **{name: _plain(name, values[one]) for name, values in summed.items()},
                **{name: values[one].copy() for name, values in shaped.items()},
            )
            for one in range(count)
        ]

    nought = np.zeros(len(scores), dtype=np.int64)
    [whole] = of(nought, nought[: len(score)], 1, BINS)
    found: dict[SliceName, Sums] = {}
    for column, (codes, names) in (groups or {}).items():
        shifted = codes + 1  # rows without a value count as group 0, which is left out
        parts = of(shifted, shifted if every else shifted[known], len(names) + 1, SLICE_BINS)
        found |= {(column, name): part for name, part in zip(names, parts[1:], strict=True) if part.rows}
    return whole, found


def codes_of(column: "pa.ChunkedArray | pa.Array") -> "tuple[Counts, list[str]]":
    """Return the values of a column as codes, -1 for none, and what each stands for, as text, in rising order."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks)
    encoded = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
    names = [str(value) for value in encoded.dictionary.to_pylist()]
    order = sorted(range(len(names)), key=names.__getitem__)
    rank = np.empty(len(names) + 1, dtype=np.int64)
    rank[order] = np.arange(len(names))
    rank[-1] = -1
    indices = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return rank[indices], [names[place] for place in order]


def _in_order(by_class: "Counts") -> "Floats":
    """Return in how many pairs of a true and a false row the true one has the higher bin, the same bin counting half:
    of each group (the first axis), from counts by bin and class."""
    import numpy as np

    negatives = by_class[:, :, 0]
    below = np.cumsum(negatives, axis=1) - negatives
    return np.asarray((by_class[:, :, 1] * (below + negatives / 2.0)).sum(axis=1), dtype=np.float64)


_FIELDS = tuple(Sums.__slots__)


def _plain(name: str, value: Any) -> Any:
    return int(value) if name == "label_sum" else float(value)


def _over(value: float, count: int) -> float:
    return value / count if count else math.nan
