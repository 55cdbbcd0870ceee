"""Which features there are, in which order, and how a request that says nothing of the hours before is completed.

Apart from :mod:`flight_delay.features`, so that a service that scores needs neither pandas nor scikit-learn.
"""

import numpy as np
import numpy.typing as npt

from flight_delay.request import CATEGORIES, HISTORY, TOLD_BY
from flight_delay.tables import WEATHER

# Temperature, dew point and pressure say which week of the year it is as well as how the day is: trees learnt the weeks
# of the training window by heart from them (docs/studies/model.json). A request may have them; they are not looked at.
WEATHER_USED = tuple(name for name in WEATHER if name not in ("temp", "dewp", "pressure"))
FEATURES = (
    *CATEGORIES,
    "departure_minute",
    "arrival_minute",
    "weekday",
    "scheduled_minutes",
    "distance",
    "minutes_per_mile",
    *WEATHER_USED,
    *HISTORY,
)
# the columns of a request that features are made of; it may have others
USED = (*CATEGORIES, "scheduled_departure", "scheduled_arrival", "distance", *WEATHER_USED, *HISTORY)
HISTORY_FROM = len(FEATURES) - len(HISTORY)
DEPARTURE_MINUTE, TOLD = FEATURES.index("departure_minute"), FEATURES.index(TOLD_BY)


def with_usual(features: npt.NDArray[np.float64], usual: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Fill, in place, the history of rows that say nothing of it with what is usual at their hour; return the same."""
    untold = np.flatnonzero(np.isnan(features[:, TOLD]))
    if len(untold):
        features[untold, HISTORY_FROM:] = usual[(features[untold, DEPARTURE_MINUTE] // 60).astype(np.int64)]
    return features
