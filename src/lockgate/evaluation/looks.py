"""How often one test set was looked at, and what that does to the judgement. Pure.

Whoever proposes the best of many changes, each compared on the same test rows, proposes luck. So the policy plans how
many comparisons a test set has to stand (``test_set: {looks: 50, confidence: 0.95}``), and what may go wrong is spent
in equal parts: each comparison has the confidence ``1 - (1 - 0.95) / 50`` (Bonferroni's inequality; ease.ml/ci, Renggli
et al. 2019, SysML, spends it so for changes that do not depend on what was reported before). The share is the same for
every look, so that a figure does not depend on how many were there before, and everybody who has the two commits
computes the same.

Within one comparison several metrics are looked at: *better* and *worse* are corrected for that after Holm (1979),
where looks are planned. Gates ask the interval, each of a metric that it names in advance.

What it does not cover: changes that were chosen by what earlier reports said (Dwork et al. 2015, Science 349:636-638;
Blum and Hardt 2015, ICML), and comparisons that nobody reports. See docs/statistics.md.
"""

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lockgate.evaluation import statistics
from lockgate.evaluation.compare import Side
from lockgate.evaluation.predictions import File, Refused
from lockgate.evaluation.procedure import holm
from lockgate.evaluation.scored import label_beside
from lockgate.policy import Policy, Predictions
from lockgate.result import Looks, MetricChange, Result, Verdict

if TYPE_CHECKING:
    import pyarrow as pa

TEST_SET = 32
"""Hexadecimal digits of the name of a test set."""


def confidence(policy: Policy) -> float:
    """Return the confidence of each interval."""
    return statistics.CONFIDENCE if policy.test_set is None else policy.test_set.of_one


def called_together(policy: Policy, metrics: tuple[MetricChange, ...]) -> tuple[MetricChange, ...]:
    """Correct *better* and *worse* for looking at several metrics, where looks are planned."""
    if policy.test_set is None:
        return metrics
    known = [one for one in metrics if one.p is not None and one.low is not None]
    adjusted = dict(zip((one.name for one in known), holm([one.p or 0.0 for one in known]), strict=True))
    most = 1 - policy.test_set.of_one

    def called(one: MetricChange) -> MetricChange:
        moved = one.judgement in ("better", "worse")
        return replace(one, judgement="noise") if moved and adjusted.get(one.name, 0.0) > most else one

    return tuple(map(called, metrics))


# --- which test set it is


def identity(what: Predictions, file: File, labels: File | None = None) -> str:
    """Return the name of the test set that a predictions file is of: a digest of the keys and labels of its rows.

    ``labels`` is the file that has the labels, where the policy names one. Neither the order of the rows, nor the
    format of the file, nor any other column (the scores) is in it. Raises :class:`Refused` where there is no such
    column.
    """
    import pyarrow as pa
    from pyarrow import compute

    table = file.columns(what.key, text=True)
    told = [_as_text(table.column(name)) for name in what.key]
    if what.label and what.labels is None:
        label = label_beside(what, file, labels)
    told += [] if label is None else [_label_as_text(label)]
    rows = told[0]
    if len(told) > 1:  # a length before each text: no two rows are written alike
        sized = [compute.binary_join_element_wise(_lengths(one), one, ":") for one in told]
        rows = compute.binary_join_element_wise(*sized, ",")
    whole = pa.chunked_array([rows]) if isinstance(rows, pa.Array) else rows
    ordered = whole.combine_chunks().cast(pa.large_binary())
    ordered = ordered.take(compute.sort_indices(ordered))
    digest = hashlib.sha256(f"{len(ordered)} rows by {len(told)}\n".encode())
    for buffer in ordered.buffers()[1:]:  # where each text begins, and the texts
        if buffer is not None:
            digest.update(memoryview(buffer))
    return digest.hexdigest()[:TEST_SET]


def _lengths(texts: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa
    from pyarrow import compute

    return compute.binary_length(texts).cast(pa.string())


def _as_text(column: Any) -> "pa.ChunkedArray":
    import pyarrow as pa
    from pyarrow import compute

    plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    return compute.fill_null(plain.cast(pa.string()), "")


def _label_as_text(column: Any) -> "pa.ChunkedArray":
    """Write a label so that ``true``, ``1`` and ``1.0`` are the same."""
    import pyarrow as pa

    plain = column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
    if pa.types.is_boolean(plain.type):
        plain = plain.cast(pa.int8())
    try:
        return _as_text(plain.cast(pa.float64()))
    except pa.ArrowException:
        return _as_text(plain)


def name_of(what: Predictions | None, side: Side) -> str:
    """Return the name of base's test set; empty where it has none that can be told."""
    if what is None or side.predictions is None:
        return ""
    labels = None if what.labels is None or side.labels is None else File("base", what.labels, side.labels)
    try:
        return identity(what, File("base", what.file, side.predictions), labels)
    except Refused:
        return ""


# --- what is said of a look


def told(result: Result, looks: Looks) -> Result:
    """Return a result with its looks; once more were taken than planned, what passes is provisional."""
    verdict = result.verdict
    if looks.spent and verdict.outcome == "passed":
        verdict = Verdict("attention", f"provisional ({_spent(looks)}): {verdict.reason}")
    return replace(result, looks=looks, verdict=verdict)


def _spent(looks: Looks) -> str:
    if looks.number is None:
        return "it is not known how often this test set was looked at"
    return f"look {looks.number:,} of {looks.planned or 0:,} that were planned at this test set"
