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

    from lockgate.evaluation.statistics import Indices

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
    import numpy as np
    from pyarrow import compute

    table = file.columns(what.key, text=True)
    columns = [_as_text(table.column(name)) for name in what.key]
    label = label_beside(what, file, labels)
    columns += [] if label is None else [_label_as_text(label)]
    digest = hashlib.sha256(f"{table.num_rows} rows by {len(columns)}\n".encode())
    ranked, spread = [], 1
    for column in columns:  # the values of a column in their order, and for each row the place of its value among them
        ranks, values = _ranked(column)
        ranked.append(ranks)
        spread *= max(1, len(values))
        lengths = ",".join(map(str, compute.binary_length(values).to_pylist()))
        digest.update(f"{len(values)} values of the lengths {lengths}\n".encode())
        digest.update(b"".join(values.to_pylist()))
    if spread < 2**62:
        numbers = np.zeros(table.num_rows, np.int64)
        for ranks in ranked:
            numbers = numbers * (int(ranks.max(initial=0)) + 1) + ranks
        digest.update(np.sort(numbers).astype("<i8").tobytes())
    else:
        order = np.lexsort(ranked[::-1])
        for ranks in ranked:
            digest.update(ranks[order].astype("<i8").tobytes())
    return digest.hexdigest()[:TEST_SET]


def _ranked(column: "pa.ChunkedArray") -> "tuple[Indices, pa.Array]":
    """Return the place of each text among the distinct ones, and these, sorted."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute

    whole = column.combine_chunks()
    coded = (pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole).dictionary_encode()
    values = coded.dictionary.cast(pa.large_binary())
    order = compute.sort_indices(values)
    ranks = np.empty(len(values), np.int64)
    ranks[np.from_dlpack(order)] = np.arange(len(values))
    return ranks[np.from_dlpack(coded.indices)], values.take(order)


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
