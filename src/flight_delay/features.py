"""Feature building: a request frame in, a numeric matrix out. It is inside the model, so training and scoring share it."""

from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin

from flight_delay.request import CATEGORIES, REQUEST
from flight_delay.tables import WEATHER

FEATURES = (
    *CATEGORIES,
    "departure_minute",
    "arrival_minute",
    "weekday",
    "scheduled_minutes",
    "distance",
    "minutes_per_mile",
    *WEATHER,
)


class RequestFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn requests into the features of :data:`FEATURES`, all float64.

    Learns the categories of carrier, origin and destination; one that was never seen is a missing value, as is
    missing weather, and the trees know what to do with missing values. Only columns of a request are read: anything
    else in the frame is ignored.

    Attributes: ``categories_``: for each of :data:`CATEGORIES`, the sorted values seen in ``fit``.
    """

    def fit(self, requests: pd.DataFrame, _labels: Any = None) -> Self:
        """Learn the categories of ``requests``."""
        self.categories_ = [
            np.array(sorted(requests[column].dropna().unique()), dtype=np.str_) for column in CATEGORIES
        ]
        return self

    def transform(self, requests: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return an array (rows, ``len(FEATURES)``). Raises ``ValueError`` naming the columns a request lacks."""
        lacking = [column for column in REQUEST if column not in requests.columns]
        if lacking:
            raise ValueError(f"the request lacks {', '.join(lacking)}")
        features = np.empty((len(requests), len(FEATURES)), order="F")
        for n, (column, known) in enumerate(zip(CATEGORIES, self.categories_, strict=True)):
            codes = pd.Categorical(requests[column], categories=known).codes
            features[:, n] = np.where(codes < 0, np.nan, codes)
        departure = requests["scheduled_departure"].to_numpy("datetime64[m]")
        arrival = requests["scheduled_arrival"].to_numpy("datetime64[m]")
        distance = requests["distance"].to_numpy(np.float64)
        day = departure.astype("datetime64[D]")
        n = len(CATEGORIES)
        features[:, n] = _minutes(departure - day)
        features[:, n + 1] = _minutes(arrival - arrival.astype("datetime64[D]"))
        features[:, n + 2] = (day.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
        features[:, n + 3] = _minutes(arrival - departure)
        features[:, n + 4] = distance
        features[:, n + 5] = features[:, n + 3] / np.where(distance > 0, distance, np.nan)
        for column in WEATHER:
            features[:, FEATURES.index(column)] = requests[column].to_numpy(np.float64)
        return features

    def get_feature_names_out(self, _input_features: Any = None) -> npt.NDArray[np.str_]:
        """Return the names of the columns of the matrix."""
        return np.array(FEATURES)


def _minutes(span: npt.NDArray[np.timedelta64]) -> npt.NDArray[np.float64]:
    return span.astype("timedelta64[m]").astype(np.float64)
