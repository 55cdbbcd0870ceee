"""Feature building: a request frame in, a numeric matrix out. It is inside the model: training and scoring share it."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from flight_delay.feature_columns import FEATURES, USED, with_usual
from flight_delay.request import CATEGORIES, HISTORY

PRIOR_FLIGHTS = 50  # a category counts as if it had been seen this often at the overall rate


class RequestFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn requests into the features of :data:`FEATURES`, all float64.

    Carrier, origin and destination become their rank by past late rate (Fisher's ordering: a split on the rank is the
    best two-way split of the categories, Breiman et al. 1984, section 4.2.2). A category that was never seen is a
    missing value, as is missing weather, and the trees know what to do with missing values. Only the columns of
    :data:`USED` are read: anything else in the frame is ignored.

    A request that says nothing of the hours before (:data:`~flight_delay.request.TOLD_BY` is missing) gets what is
    usual at its hour. Left missing it would be taken for an early flight, before which no other has left.

    Attributes: ``categories_``: for each of :data:`CATEGORIES`, the values seen in ``fit`` from rarely to often late.
    ``usual_``: (24, columns of the history): the median of each at each hour of the day, missing where it always was
    at that hour, and that of all hours where no flight was seen.
    """

    def fit(self, requests: pd.DataFrame, late: Any) -> Self:
        """Learn the order of the categories from requests and their labels (0 or 1, one a row)."""
        labels = np.asarray(late, dtype=np.int64)
        overall = int(labels.sum()) / len(labels)
        self.categories_ = []
        for column in CATEGORIES:
            counts = pd.Series(labels).groupby(requests[column].to_numpy()).agg(["sum", "count"])
            rate = (counts["sum"] + PRIOR_FLIGHTS * overall) / (counts["count"] + PRIOR_FLIGHTS)
            self.categories_.append(np.array(sorted(counts.index, key=lambda c: (rate[c], c)), dtype=np.str_))
        told = requests[list(HISTORY)].astype(np.float64)
        hour = _wall_clock(requests["scheduled_departure"]).astype(np.int64) // 60 % 24
        usual = told.groupby(hour).quantile(0.5, interpolation="lower")
        self.usual_ = np.tile(told.quantile(0.5, interpolation="lower").to_numpy(np.float64), (24, 1))
        self.usual_[usual.index.to_numpy()] = usual.to_numpy(np.float64)
        return self

    def transform(self, requests: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return an array (rows, ``len(FEATURES)``).

        Raises ``ValueError`` naming the columns a request lacks, or a scheduled time that is missing or has an offset.
        """
        lacking = [column for column in USED if column not in requests.columns]
        if lacking:
            raise ValueError(f"the request lacks {', '.join(lacking)}")
        departure = _wall_clock(requests["scheduled_departure"])
        arrival = _wall_clock(requests["scheduled_arrival"])
        distance = requests["distance"].to_numpy(np.float64)
        scheduled = _minutes(arrival - departure)
        columns = {
            "departure_minute": _minutes(departure - departure.astype("datetime64[D]")),
            "arrival_minute": _minutes(arrival - arrival.astype("datetime64[D]")),
            "weekday": (departure.astype("datetime64[D]").astype(np.int64) + 3) % 7,  # 1970-01-01 was a Thursday
            "scheduled_minutes": scheduled,
            "distance": distance,
            "minutes_per_mile": scheduled / np.where(distance > 0, distance, np.nan),
        }
        for column, known in zip(CATEGORIES, self.categories_, strict=True):
            columns[column] = _rank(requests[column], known)
        features = np.empty((len(requests), len(FEATURES)))
        for place, name in enumerate(FEATURES):
            features[:, place] = columns[name] if name in columns else requests[name].to_numpy(np.float64)
        return with_usual(features, self.usual_)

    def get_feature_names_out(self, _input_features: Any = None) -> npt.NDArray[np.str_]:
        """Return the names of the columns of the matrix."""
        return np.array(FEATURES)


def _wall_clock(times: pd.Series) -> npt.NDArray[np.datetime64]:
    if isinstance(times.dtype, pd.DatetimeTZDtype):  # numpy would turn it into UTC and say nothing
        raise ValueError(f"{times.name} has an offset from UTC; the time on the airport's clock is meant, without one")
    clock: npt.NDArray[np.datetime64] = times.to_numpy("datetime64[m]")
    if missing := int(np.isnat(clock).sum()):
        raise ValueError(f"{times.name} is missing in {missing:,} of {len(clock):,} requests")
    return clock


def _minutes(span: npt.NDArray[np.timedelta64]) -> npt.NDArray[np.float64]:
    return span.astype("timedelta64[m]").astype(np.float64)


def _rank(values: pd.Series, known: npt.NDArray[np.str_]) -> npt.NDArray[np.float64]:
    ranks = pd.Index(known).get_indexer(pd.Index(values))  # -1 where unknown or missing
    return np.where(ranks < 0, np.nan, ranks.astype(np.float64))
