"""Made-up flights with everything that is awkward in them, and a small model fitted on some."""

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from flight_delay.params import Train
from flight_delay.request import DUE, HISTORY, QUEUE, REQUEST, SCHEDULE
from flight_delay.tables import WEATHER
from flight_delay.train import train

PARAMS = Train(
    seed=0,
    learning_rate=0.3,
    max_iter=60,
    max_leaf_nodes=31,
    min_samples_leaf=5,
    l2_regularization=1.0,
    max_features=0.5,
)


def flights(count: int, seed: int) -> pd.DataFrame:
    """Return requests with everything that is awkward: what is unknown or missing, no distance, midnight."""
    random = np.random.default_rng(seed)
    departure = np.datetime64("2013-01-01", "m") + random.integers(0, 525_600, count)
    frame = pd.DataFrame(
        {
            "carrier": random.choice(["UA", "AA", "B6", "never seen" if seed > 1 else "DL"], count),
            "origin": random.choice(["EWR", "JFK", "LGA"], count),
            "dest": random.choice(["IAH", "MIA", "ORD", "BOS", "SFO"], count),
            "flight": random.integers(1, 9999, count),
            "tailnum": np.where(random.random(count) < 0.1, None, "N12345"),
            "scheduled_departure": departure,
            "scheduled_arrival": departure + random.integers(0, 600, count),
            "distance": np.where(random.random(count) < 0.05, 0, random.integers(80, 3000, count)),
        }
    )
    for name in WEATHER:
        frame[name] = np.where(random.random(count) < 0.3, np.nan, np.round(random.normal(20, 30, count), 2))
    untold = random.random(count) < 0.2
    for name in HISTORY:
        if name in (*SCHEDULE, *DUE, *QUEUE):
            frame[name] = pd.array(random.integers(0, 60, count), dtype="Int64")
        else:
            frame[name] = np.where(random.random(count) < 0.2, np.nan, np.round(random.random(count), 3))
        frame[name] = frame[name].mask(untold)
    return frame[list(REQUEST)]


def trained(**changed: float) -> Pipeline:
    """Return a small model, perhaps of other params. A carrier of any seed but 1 is unknown to it."""
    rows = flights(4000, seed=1)
    late = (rows["wind_speed"].fillna(0) + rows["distance"] / 100 + rows["flight"] % 7 > 40).astype("int8")
    return train(rows.assign(late=late), PARAMS.model_copy(update=changed))
