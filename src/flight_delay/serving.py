"""The model at work: requests as Arrow record batches in, probabilities out, bit for bit those of the fitted pipeline.

:func:`load` is the entry that a build names; :func:`schema` says what a request looks like. The pipeline itself spends
most of a single request on scaffolding: a pandas frame, 300 calls, one for each tree, a team of threads for each. Here
the features are computed from the columns alone, and few rows walk down all trees at once. Both do the same operations
on the same numbers in the same order as ``Pipeline.predict_proba``, so the answers are equal, not close.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline

from flight_delay.features import FEATURES, RequestFeatures, with_usual
from flight_delay.model_file import load_model
from flight_delay.request import ARRIVED_DAYS, CATEGORIES, LEFT_HOURS, OPTIONAL, REQUEST, WAITING, WAITING_HOURS
from flight_delay.tables import WEATHER

FEW_ROWS = 64  # up to so many the walk below is quicker than one call a tree
VERSION = 2  # of the request: 1 had no history, and its weather was that of the hour of departure
BLOCK_ROWS = 4096  # more rows are taken in blocks whose features stay in the processor's cache

Floats = npt.NDArray[np.float64]


class Trees:
    """All trees of a boosted classifier in one set of arrays, walked level by level.

    Each node is two numbers in ``child``: where a row goes that is not, and is, at most ``threshold``. A leaf's
    children are itself. Missing values: ``feature`` of a node that sends them left points into a copy of the row in
    which missing is -inf; elsewhere NaN, which is never "at most", goes right.
    """

    def __init__(self, classifier: HistGradientBoostingClassifier) -> None:
        """Flatten the fitted trees. Raises ``ValueError`` for categorical splits or more than two classes."""
        trees = [predictor.nodes for [predictor] in classifier._predictors]  # noqa: SLF001 - what a fit leaves behind
        nodes = np.concatenate(trees)
        if nodes["is_categorical"].any():
            raise ValueError("a split on categories cannot be walked here")
        starts = np.cumsum([0, *map(len, trees)])[:-1]
        offset = np.repeat(starts, [len(tree) for tree in trees])
        leaf = nodes["is_leaf"].astype(bool)
        own = np.arange(len(nodes))
        self.roots = starts.astype(np.intp)
        self.depth = int(nodes["depth"].max())
        self.threshold = np.where(leaf, np.inf, nodes["num_threshold"])
        self.feature = np.where(leaf, 0, nodes["feature_idx"] + len(FEATURES) * (nodes["missing_go_to_left"] == 0))
        right, left = (np.where(leaf, own, offset + nodes[side]) for side in ("right", "left"))
        self.child = np.stack([right, left], axis=1).ravel()
        self.value = nodes["value"].copy()
        self.baseline = float(classifier._baseline_prediction[0, 0])  # noqa: SLF001

    def raw(self, features: Floats) -> Floats:
        """Return the sum of the leaves' values for each row of ``features`` (rows, features)."""
        rows = len(features)
        both = np.concatenate([np.where(np.isnan(features), -np.inf, features), features], axis=1)
        values, width = both.ravel(), both.shape[1]
        start = np.repeat(np.arange(rows) * width, len(self.roots))
        node = np.tile(self.roots, rows)
        for _ in range(self.depth):
            below = values.take(start + self.feature.take(node)) <= self.threshold.take(node)
            node = self.child.take(2 * node + below)
        leaves = np.empty((rows, len(self.roots) + 1))
        leaves[:, 0] = self.baseline
        leaves[:, 1:] = self.value.take(node).reshape(rows, -1)
        # one after the other, as scikit-learn adds them: a pairwise sum would round differently
        last: Floats = np.cumsum(leaves, axis=1)[:, -1]
        return last


class Model:
    """The fitted pipeline, ready to answer."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Take apart a pipeline of :class:`RequestFeatures` and a boosted classifier."""
        transformer: RequestFeatures = pipeline[0]
        self.classifier: HistGradientBoostingClassifier = pipeline[-1]
        self.usual: Floats = transformer.usual_
        self.known = [pa.array(known.tolist(), pa.string()) for known in transformer.categories_]
        self.trees = Trees(self.classifier)

    def predict(self, requests: pa.RecordBatch) -> Floats:
        """Return the probability that each flight is late: one number a row, equal to the pipeline's own."""
        features = self.features(requests)
        if len(features) <= FEW_ROWS:
            raw = self.trees.raw(features)
            probabilities: Floats = self.classifier._loss.predict_proba(raw.reshape(-1, 1))[:, 1]  # noqa: SLF001
            return probabilities
        blocks = (features[start : start + BLOCK_ROWS] for start in range(0, len(features), BLOCK_ROWS))
        return np.concatenate([self.classifier.predict_proba(block)[:, 1] for block in blocks])

    def features(self, requests: pa.RecordBatch) -> Floats:
        """Return the matrix that :meth:`RequestFeatures.transform` makes of the same requests."""
        departure = _minute(requests.column("scheduled_departure"))
        arrival = _minute(requests.column("scheduled_arrival"))
        day, departure_minute = np.divmod(departure, 1440)
        distance = _numbers(requests.column("distance"))
        scheduled = (arrival - departure).astype(np.float64)
        columns = {
            "departure_minute": departure_minute,
            "arrival_minute": arrival % 1440,
            "weekday": (day + 3) % 7,
            "scheduled_minutes": scheduled,
            "distance": distance,
            "minutes_per_mile": scheduled / np.where(distance > 0, distance, np.nan),
        }
        for name, known in zip(CATEGORIES, self.known, strict=True):
            columns[name] = _numbers(pc.index_in(requests.column(name), value_set=known))
        features = np.empty((requests.num_rows, len(FEATURES)))
        for place, name in enumerate(FEATURES):
            features[:, place] = columns[name] if name in columns else _numbers(requests.column(name))
        return with_usual(features, self.usual)


def load(path: Path) -> Model:
    """Read a model file. Raises :class:`~flight_delay.model_file.ModelFileError` before an unlisted type is built."""
    return Model(load_model(path))


def schema() -> dict[str, Any]:
    """Return what a request looks like: its columns in order, each with its type, and an example."""
    columns = [{"name": name, **_COLUMNS[name], "optional": name in OPTIONAL} for name in REQUEST]
    return {"version": VERSION, "columns": columns, "example": dict(_EXAMPLE)}


def _minute(times: pa.Array) -> npt.NDArray[np.int64]:
    minutes: npt.NDArray[np.int64] = times.to_numpy(zero_copy_only=False).astype("datetime64[m]").astype(np.int64)
    return minutes


def _numbers(values: pa.Array) -> Floats:
    """Return float64, with NaN for null."""
    numbers: Floats = values.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    return numbers


_COLUMNS: dict[str, dict[str, Any]] = {
    "carrier": {"type": "string", "max_length": 10, "description": "two-letter code of the airline"},
    "origin": {"type": "string", "max_length": 10, "description": "code of the airport it leaves: EWR, JFK or LGA"},
    "dest": {"type": "string", "max_length": 10, "description": "code of the airport it flies to"},
    "flight": {"type": "integer", "minimum": 0, "maximum": 99_999, "description": "flight number"},
    "tailnum": {"type": "string", "max_length": 20, "description": "registration of the aircraft"},
    "scheduled_departure": {"type": "timestamp", "description": "by the clock of the airport it leaves"},
    "scheduled_arrival": {"type": "timestamp", "description": "by the clock of the airport it flies to"},
    "distance": {"type": "number", "minimum": 0, "maximum": 20_000, "description": "miles"},
}
_UNITS = {
    "temp": "temperature, °F",
    "dewp": "dew point, °F",
    "humid": "relative humidity, %",
    "wind_dir": "wind direction, degrees",
    "wind_speed": "wind speed, mph",
    "wind_gust": "gusts, mph",
    "precip": "precipitation, inches in the hour",
    "pressure": "pressure at sea level, mbar",
    "visib": "visibility, miles",
}
_WHOSE = {
    "all": "all flights out of New York",
    "origin": "flights from its origin",
    "carrier": "flights of its carrier",
    "carrier_origin": "flights of its carrier from its origin",
    "dest": "flights to its destination",
    "route": "flights of its carrier from its origin to its destination",
    "flight": "flights of its number and carrier from its origin",
}
_COLUMNS |= {
    name: {"type": "number", "description": f"{_UNITS[name]}, at the origin, newest observation when asked"}
    for name in WEATHER
}
_COUNTS = {
    "origin_departures": f"{_WHOSE['origin']} scheduled within 30 minutes of it, itself counted",
    "carrier_origin_departures": f"{_WHOSE['carrier_origin']} scheduled within 30 minutes of it, itself counted",
    "origin_departures_before": f"{_WHOSE['origin']} scheduled in the 3 hours before it",
    "carrier_origin_departures_before": f"{_WHOSE['carrier_origin']} scheduled in the 3 hours before it",
    "dest_arrivals": "flights from New York scheduled to arrive there within 30 minutes of it, itself counted",
}
for _group in WAITING:
    _due = f"{_WHOSE[_group]} scheduled in the {WAITING_HOURS} hours before asking"
    _COUNTS |= {f"{_group}_due": _due, f"{_group}_waiting": f"{_due} that had not left when asked"}
_COLUMNS |= {
    name: {"type": "integer", "minimum": 0, "maximum": 100_000, "description": text} for name, text in _COUNTS.items()
}
for _group, _hours in LEFT_HOURS.items():
    _left = f"{_WHOSE[_group]} that left in the {_hours} hours before asking"
    _COLUMNS |= {
        f"{_group}_late_{_hours}h": {
            "type": "number", "minimum": 0, "maximum": 1, "description": f"{_left}: share that left 15 min late or more"
        },
        f"{_group}_delay_{_hours}h": {
            "type": "number", "minimum": -15, "maximum": 240, "description": f"{_left}: mean delay, each -15 to 240 min"
        },
    }  # fmt: skip
_COLUMNS |= {
    f"{_group}_arrived_late_{_days}d": {
        "type": "number", "minimum": 0, "maximum": 1,
        "description": f"{_WHOSE[_group]} that arrived in the {24 * _days} hours before asking: share late",
    }
    for _group, _all_days in ARRIVED_DAYS.items()
    for _days in _all_days
}  # fmt: skip
_EXAMPLE: dict[str, Any] = {
    "carrier": "UA",
    "origin": "EWR",
    "dest": "IAH",
    "flight": 252,
    "tailnum": "N556UA",
    "scheduled_departure": "2013-10-01T05:17:00",
    "scheduled_arrival": "2013-10-01T07:57:00",
    "distance": 1400,
    "temp": 53.06,
    "wind_speed": 4.6,
    "visib": 10.0,
}
