"""Looking into a table for predictions on test rows: which column is the label, the score, the name of a row, a group.

Names propose, values decide: a label holds 0 and 1 alone, a score finite numbers that are not just 0 and 1, the key
differs in every row. Where that is not so, there are no predictions to compare row by row.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from lockgate.adoption import kinds
from lockgate.evaluation.predictions import File, Refused, read_scored
from lockgate.policy import STATISTICS, Predictions, Statistic

if TYPE_CHECKING:
    from lockgate.adoption.found import FoundMetric

LABEL = re.compile(
    r"(y_?)?(label|target|true|actual|truth|ground_?truth|observed|outcome|class|gt)s?|y|y_?test|churn|late|is_\w+"
)
SCORE = re.compile(
    r"(y_?)?(score|prob|proba|probability|prediction|pred|predicted|predict|y_?hat|p)s?(_?1|_positive)?|\w+_(proba|probability|score|prob)"
)
KEY = re.compile(r"(id|key|index|idx|uuid|row|row_id|rowid|unnamed: 0)|\w+_(id|key|uuid)")
GROUP = re.compile(
    r"(\w+_)?(date|day|user|user_id|customer|customer_id|patient|patient_id|session|session_id|group|store|subject)"
)
SLICES = range(2, 31)
"""Distinct values that a column to slice by has."""
SAME = 5e-4
"""How far a statistic of the rows may be, at most, from the metric that the pipeline wrote, which may be rounded."""


def _rounding(written: float) -> float:
    """Return how far the number that was written may be from what was rounded to it, by its decimals: 0.019164 is not
    what 0.019338 was rounded to, 0.019 is."""
    digits, _, power = repr(written).partition("e")
    return max(1e-9, 0.51 * 10.0 ** (int(power or 0) - len(digits.partition(".")[2])))


@dataclass(frozen=True)
class Table:
    """Predictions, as the policy has them, why each column was chosen, and the statistics of its rows."""

    predictions: Predictions
    reasons: Mapping[str, str]
    statistics: Mapping[Statistic, float] = field(default_factory=dict)

    def recognise(self, metric: "FoundMetric") -> "FoundMetric":
        """Return the metric with the statistic that it is, if the rows give the number that its file holds."""
        if metric.of_training:
            return metric
        words = re.sub(r"[^a-z]+", "_", metric.key.lower()) + " " + re.sub(r"[^a-z0-9]+", "_", metric.key.lower())
        close = [
            name
            for name, value in self.statistics.items()
            if abs(value - metric.value) <= min(_rounding(metric.value), SAME * max(1.0, abs(value) / 100))
        ]
        named = [name for name in close if name in words or _ALIASES.get(name, "~") in words]
        exact = [name for name in close if abs(self.statistics[name] - metric.value) < 1e-9]
        for name in [*named, *exact]:
            return replace(metric, statistic=name, better=STATISTICS[name] or metric.better)
        return metric

    def without_slices(self) -> "Table":
        """Return the table for a policy that has no metric to show of slices."""
        return replace(self, predictions=replace(self.predictions, slices=()))


_ALIASES: Mapping[str, str] = {
    "roc_auc": "auc", "average_precision": "av", "accuracy": "acc", "log_loss": "loss", "calibration_error": "ece",
}  # fmt: skip


def predictions_in(path: str, content: bytes) -> Table | str:  # noqa: PLR0911 - one for each reason
    """Return the predictions that a CSV or Parquet file holds, or why it holds none that can be compared."""
    import pyarrow as pa

    file = File("head", path, content)
    try:
        names = _names(file)
        table = file.columns(tuple(names))
    except Refused as error:
        return str(error)
    except (pa.ArrowException, ValueError, KeyError) as error:
        return f"it cannot be read ({str(error).splitlines()[0]})"
    if table.num_rows < 2:
        return "it has fewer than two rows"
    found = _binary(table, path, names) or kinds.other_kind(table, path, names)
    if found is None:
        return _lacking(table, names)
    what, reasons = found
    taken = (*kinds.columns_of(what), *_of_prefix(what, names))
    key = _key(table, [name for name in names if name not in taken])
    if key is None:
        said = what.score or what.predicted or what.prediction or "…"
        return f"no column names its rows (labels are in '{what.label}', scores in '{said}'): add one, such as an id"
    rest = [name for name in names if name not in taken]
    cluster = next((name for name in rest if GROUP.fullmatch(name.lower()) and _repeats(table.column(name))), None)
    slices = tuple(name for name in rest if (name,) != key and name != cluster and _is_category(table.column(name)))[:5]
    what = replace(what, key=key, slices=slices, cluster=(cluster,) if cluster else ())
    try:
        scored = read_scored(what, file)
    except Refused as error:
        return str(error)
    reasons = {"key": f"differs in each of the {table.num_rows:,} rows", **reasons}
    if cluster:
        reasons["cluster"] = "rows with the same value were probably drawn together, so intervals count them together"
    if slices:
        reasons["slices"] = f"have {SLICES.start} to {SLICES.stop - 1} values each"
    return Table(what, reasons, kinds.statistics_of(what, scored))


def _of_prefix(what: Predictions, names: list[str]) -> list[str]:
    prefix = what.probabilities.prefix if what.probabilities else ""
    return [name for name in names if prefix and name.startswith(prefix)]


def _binary(table: Any, path: str, names: list[str]) -> tuple[Predictions, Mapping[str, str]] | None:
    label, score = _label_and_score(table, names)
    if label is None or score is None:
        return None
    found = Predictions(path, (), label, score, (), None)
    return found, {"label": "holds 0 and 1 alone", "score": "holds a number for each row"}


def _label_and_score(table: Any, names: list[str]) -> tuple[str | None, str | None]:
    label = _best([name for name in names if _is_binary(table.column(name))], LABEL)
    scores = [
        name for name in names if name != label and _is_score(table.column(name)) and not KEY.fullmatch(name.lower())
    ]
    return label, _best([name for name in scores if SCORE.fullmatch(name.lower())], SCORE)


def _lacking(table: Any, names: list[str]) -> str:
    if _label_and_score(table, names)[0] is None:
        return "no column holds labels that are 0 and 1 alone, and none classes or numbers beside their prediction"
    return "no column looks like a score (a number for each row, named score, probability, prediction …)"


def _names(file: File) -> list[str]:
    import io

    if file.is_csv:
        from pyarrow import csv

        assert isinstance(file.source, bytes)  # noqa: S101
        return list(
            csv.open_csv(io.BytesIO(file.source), parse_options=csv.ParseOptions(newlines_in_values=True)).schema.names
        )
    from pyarrow import parquet

    return list(
        parquet.ParquetFile(
            io.BytesIO(file.source) if isinstance(file.source, bytes) else file.source
        ).schema_arrow.names
    )


def _best(names: list[str], pattern: "re.Pattern[str]") -> str | None:
    """Return the first name that says what the column is, else the only one there is."""
    said = [name for name in names if pattern.fullmatch(name.lower())]
    return said[0] if said else names[0] if len(names) == 1 else None


def _is_binary(column: Any) -> bool:
    import pyarrow as pa
    from pyarrow import compute

    if pa.types.is_boolean(column.type):
        return not column.null_count
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)) or column.null_count:
        return False
    return set(compute.unique(column).to_pylist()[:3]) <= {0, 1}


def _is_score(column: Any) -> bool:
    import pyarrow as pa
    from pyarrow import compute

    if not pa.types.is_floating(column.type) or column.null_count:
        return False
    return bool(compute.all(compute.is_finite(column)).as_py())


def _distinct(column: Any) -> int:
    from pyarrow import compute

    return int(compute.count_distinct(column, mode="all").as_py())


def _key(table: Any, names: list[str]) -> tuple[str, ...] | None:
    import pyarrow as pa

    plain = [
        name
        for name in names
        if not pa.types.is_floating(table.column(name).type) and not table.column(name).null_count
    ]
    for name in sorted(plain, key=lambda name: not KEY.fullmatch(name.lower())):
        if _distinct(table.column(name)) == table.num_rows:
            return (name,)
    for count in (2, 3, 4):
        chosen = tuple(plain[:count])
        if len(chosen) == count and table.group_by(list(chosen)).aggregate([]).num_rows == table.num_rows:
            return chosen
    return None


def _repeats(column: Any) -> bool:
    return 1 < _distinct(column) < len(column)


def _is_category(column: Any) -> bool:
    import pyarrow as pa

    kind = column.type
    named = (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_dictionary(kind)
        or pa.types.is_boolean(kind)
    )
    return bool(named) and _distinct(column) in SLICES
