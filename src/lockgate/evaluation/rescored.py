"""Two files of predictions compared by a policy, whose metrics are computed here from the files themselves.

A comparison of commits holds metrics files against predictions; where a model was scored anew there is no such file.
"""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lockgate.evaluation import compare, statistics
from lockgate.evaluation.compare import Judged, Side, answers_on, definition_on, read_side
from lockgate.evaluation.predictions import File, Refused
from lockgate.evaluation.statistics import Undefined, reported
from lockgate.policy import Policy

FIGURES = "figures.json"
"""Where the figures of a side stand in what is compared."""


def judge_files(policy: Policy, base: Path | bytes, head: Path | bytes) -> Judged:
    """Compare two predictions files on the rows that they share, in every metric that has a statistic.

    The values of base and head are those of the shared rows. Raises
    :class:`~lockgate.evaluation.predictions.Refused` where the files cannot be read, or not be joined.
    """
    what = policy.predictions
    if what is None:
        raise Refused("the policy names no predictions, so there are no rows to compare on")
    metrics = tuple(
        replace(metric, file=FIGURES, key=f"m{number}")
        for number, metric in enumerate(policy.metrics)
        if metric.statistic is not None
    )
    if not metrics:
        raise Refused("no metric of the policy has a `statistic`, so none can be computed from scores")
    names = {metric.name for metric in metrics}
    told = what if what.slice_metric in names else replace(what, slice_metric=None)
    judging = replace(policy, metrics=metrics, predictions=told, gates=())
    sides = [_side(judging, name, content) for name, content in (("base", base), ("head", head))]
    judged = compare.compare(judging, sides[0], sides[1])
    if judged.comparison.rows_shared is None:
        raise Refused(judged.comparison.refused or "they share no rows")
    changes = (
        one if one.shared_base is None else replace(one, base=one.shared_base, head=one.shared_head)
        for one in judged.metrics
    )
    return replace(judged, metrics=tuple(changes))


def _side(judging: Policy, name: str, content: Path | bytes) -> Side:
    """Return predictions with the figures that they give."""
    what = judging.predictions
    assert what is not None  # noqa: S101 - said before
    scored = read_side(judging, what, File(name, what.file, content), Side({}))
    figures = {}
    for metric in judging.metrics:
        with suppress(Undefined):
            answers = answers_on(metric, scored.answers)
            value = statistics.value(str(metric.statistic), scored.label, answers, definition_on(metric, scored))
            figures[metric.key] = reported(value)
    return Side({FIGURES: json.dumps(figures).encode()}, content)
