"""Past rates that a model must beat, found by counting. No linear algebra, whose sums differ by processor.

Counted where models are fitted, from the same rows (``count``), kept as whole numbers beside the model, and turned into
rates where models are judged (``past_rate``).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from flight_delay.errors import StageError
from flight_delay.files import read_json
from flight_delay.request import LABEL

# name → the columns to count by, and what to fall back on, in turn, where they were never seen together: some of them
BASELINES: dict[str, Sequence[Sequence[str]]] = {
    "carrier_rate": (("carrier",),),
    "carrier_hour_rate": (("carrier", "hour"), ("hour",)),
}
COLUMNS = {"carrier": str, "hour": int, "flights": int, "late": int}


def count(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return for each baseline a row a group: the group's columns, its number of ``flights`` and of ``late`` ones."""
    rows = _with_clock(rows)
    return {
        name: rows.groupby(list(columns))[LABEL].agg(flights="count", late="sum").reset_index()
        for name, (columns, *_) in BASELINES.items()
    }


def past_rate(past: pd.DataFrame, test: pd.DataFrame, groups: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
    """Return for each test row the share of late flights in its group of the ``past``, as :func:`count` gives it.

    A group that was never seen falls back on the next of ``groups``, at last on the overall share.
    """
    test = _with_clock(test)
    rate = np.full(len(test), past["late"].sum() / past["flights"].sum())
    for columns in reversed(groups):
        counts = past.groupby(list(columns))[["flights", "late"]].sum()
        shares = (counts["late"] / counts["flights"]).rename("share").reset_index()
        found = test[list(columns)].merge(shares, on=list(columns), how="left")["share"].to_numpy()
        rate = np.where(np.isnan(found), rate, found)
    return rate


def as_columns(counts: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, list[Any]]]:
    """Return what :func:`count` found as JSON knows it: for each baseline its columns, each a list."""
    return {name: {str(column): frame[column].tolist() for column in frame} for name, frame in counts.items()}


def read_counts(path: Path) -> dict[str, pd.DataFrame]:
    """Read what :func:`count` found. Raises :class:`StageError` where it is missing, broken or something else."""
    content = read_json(path)
    try:
        if not isinstance(content, dict) or set(content) != set(BASELINES):
            raise ValueError(f"expected {' and '.join(BASELINES)}")
        counts = {name: _frame(name, content[name]) for name in BASELINES}
        if len({(frame["flights"].sum(), frame["late"].sum()) for frame in counts.values()}) > 1:
            raise ValueError("the baselines did not count the same flights")
    except ValueError as error:
        raise StageError(
            f"{path}: not what `train` counted ({error}). Remove it; `dvc repro` makes it anew."
        ) from error
    return counts


def _frame(name: str, columns: Any) -> pd.DataFrame:
    """Return one baseline's counts. Raises ``ValueError`` for anything that :func:`count` cannot have found."""
    by = list(BASELINES[name][0])
    expected = [*by, "flights", "late"]
    if not isinstance(columns, dict) or set(columns) != set(expected):
        raise ValueError(f"{name} needs the columns {', '.join(expected)}")
    for column, values in columns.items():
        if not isinstance(values, list) or any(type(value) is not COLUMNS[column] for value in values):
            raise ValueError(f"{name}, {column}: expected a list of {COLUMNS[column].__name__}")
    if len({len(values) for values in columns.values()}) > 1 or not columns["late"]:
        raise ValueError(f"{name}: its columns have no rows, or not as many each")
    frame = pd.DataFrame({column: columns[column] for column in expected})
    if frame.duplicated(by).any() or not (frame["late"].between(0, frame["flights"]) & (frame["flights"] > 0)).all():
        raise ValueError(f"{name}: a group stands twice, has no flights or more late ones than flights")
    return frame


def _with_clock(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(hour=rows["scheduled_departure"].dt.hour)
