"""What a model must beat: past rates, found by counting. No linear algebra, whose sums differ by processor."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from flight_delay.request import LABEL

# name → the columns to count by, and what to fall back on, in turn, where they were never seen together
BASELINES: dict[str, Sequence[Sequence[str]]] = {
    "carrier_rate": (("carrier",),),
    "origin_hour_month_rate": (("origin", "hour", "calendar_month"), ("origin", "hour")),
}


def past_rate(train: pd.DataFrame, test: pd.DataFrame, groups: Sequence[Sequence[str]]) -> npt.NDArray[np.float64]:
    """Return for each test row the share of late flights in its group of the training rows.

    A group that was never seen falls back on the next of ``groups``, at last on the overall share.
    """
    train, test = _with_clock(train), _with_clock(test)
    rate = np.full(len(test), train[LABEL].sum() / len(train))
    for columns in reversed(groups):
        counts = train.groupby(list(columns))[LABEL].agg(["sum", "count"])
        shares = (counts["sum"] / counts["count"]).rename("share").reset_index()
        found = test[list(columns)].merge(shares, on=list(columns), how="left")["share"].to_numpy()
        rate = np.where(np.isnan(found), rate, found)
    return rate


def _with_clock(rows: pd.DataFrame) -> pd.DataFrame:
    departure = rows["scheduled_departure"].dt
    return rows.assign(hour=departure.hour, calendar_month=departure.month)
