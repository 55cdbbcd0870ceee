"""The model at work: requests as Arrow record batches in, probabilities out, bit for bit those of the fitted pipeline.

:func:`load` is the entry that a build names; :func:`schema` says what a request looks like. The pipeline itself spends
most of a single request on scaffolding: a pandas frame, 300 calls, one for each tree, a team of threads for each; and
seconds on importing what fitted it. Here the features are computed from the columns alone and the trees are arrays
(:mod:`flight_delay.trees`): the same operations on the same numbers in the same order as ``Pipeline.predict_proba``, so
the answers are equal, not close.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flight_delay.feature_columns import FEATURES, with_usual
from flight_delay.request import ARRIVED_DAYS, CATEGORIES, LEFT_HOURS, OPTIONAL, REQUEST, WAITING, WAITING_HOURS
from flight_delay.tables import WEATHER
from flight_delay.trees import BLOCK_ROWS, FEW_ROWS, Fitted, Floats, Tables, Walk, read_fitted

VERSION = 2  # of the request: 1 had no history, and its weather was that of the hour of departure


class Model:
    """The fitted model, ready to answer."""

    def __init__(self, fitted: Fitted) -> None:
        """Make ready what a model's file holds."""
        from scipy.special import expit  # numpy has none whose last bit is scikit-learn's

        self.expit = expit
        self.usual = fitted.usual
        self.ranks = [{str(name): float(rank) for rank, name in enumerate(known)} for known in fitted.categories]
        self.walk = Walk(fitted.trees, fitted.baseline)
        self.tables: Tables | None = None
        with suppress(ValueError):  # too large for tables: it is walked, in blocks
            self.tables = Tables(fitted.trees, fitted.baseline)

    def predict(self, requests: pa.RecordBatch) -> Floats:
        """Return the probability that each flight is late: one number a row, equal to the pipeline's own."""
        features = self.features(requests)
        if self.tables is not None and len(features) > FEW_ROWS:
            raw = self.tables.raw(features)
        else:
            blocks = range(0, max(len(features), 1), BLOCK_ROWS)
            raw = np.concatenate([self.walk.raw(features[start : start + BLOCK_ROWS]) for start in blocks])
        probabilities: Floats = self.expit(raw)
        return probabilities

    def features(self, requests: pa.RecordBatch) -> Floats:
        """Return the matrix that :meth:`RequestFeatures.transform` makes of the same requests."""
        given = dict(zip(requests.schema.names, requests.columns, strict=True))
        departure = _minute(given["scheduled_departure"])
        arrival = _minute(given["scheduled_arrival"])
        day = departure // 1440
        distance = _numbers(given["distance"])
        scheduled = (arrival - departure).astype(np.float64)
        columns = {
            "departure_minute": departure - day * 1440,
            "arrival_minute": arrival % 1440,
            "weekday": (day + 3) % 7,
            "scheduled_minutes": scheduled,
            "distance": distance,
            "minutes_per_mile": scheduled / np.where(distance > 0, distance, np.nan),
        }
        for name, ranks in zip(CATEGORIES, self.ranks, strict=True):
            columns[name] = _looked_up(given[name], ranks)
        features = np.empty((requests.num_rows, len(FEATURES)))
        for place, name in enumerate(FEATURES):
            features[:, place] = columns[name] if name in columns else _numbers(given[name])
        return with_usual(features, self.usual)


def load(path: Path) -> Model:
    """Read a model file. Raises :class:`~flight_delay.model_file.ModelFileError` before an unlisted type is built."""
    return Model(read_fitted(path))


def schema() -> dict[str, Any]:
    """Return what a request looks like: its columns in order, each with its type, and an example."""
    columns = [{"name": name, **_COLUMNS[name], "optional": name in OPTIONAL} for name in REQUEST]
    return {"version": VERSION, "columns": columns, "example": dict(_EXAMPLE)}


_NUMBER, _WHOLE, _TIME = pa.float64(), pa.int64(), pa.timestamp("us")
# pyarrow's own ways to NumPy import pandas, a second for every process: hence by the buffers


def _minute(times: pa.Array) -> npt.NDArray[np.int64]:
    ticks = np.from_dlpack((times if times.type == _TIME else times.cast(_TIME)).view(_WHOLE))
    minutes: npt.NDArray[np.int64] = np.floor_divide(ticks, 60_000_000)
    return minutes


def _numbers(values: pa.Array) -> Floats:
    """Return float64, with NaN for null."""
    numbers = values if values.type == _NUMBER else values.cast(_NUMBER, safe=False)
    if not numbers.null_count:
        return np.asarray(np.from_dlpack(numbers))
    if numbers.null_count == len(numbers):
        return np.full(len(numbers), np.nan)
    here = slice(numbers.offset, numbers.offset + len(numbers))
    valid, content = numbers.buffers()
    there = np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[here]
    return np.where(there, np.frombuffer(content, np.float64)[here], np.nan)


def _looked_up(names: pa.Array, ranks: Mapping[str, float]) -> Floats:
    """Return the rank of each name, NaN where it is unknown or missing."""
    if len(names) == 1:
        return np.array([ranks.get(names[0].as_py(), np.nan)])
    encoded = names.dictionary_encode(null_encoding="encode")
    found = np.array([ranks.get(name, np.nan) for name in encoded.dictionary.to_pylist()], np.float64)
    places = np.asarray(np.from_dlpack(encoded.indices), np.intp)
    return found.take(places) if len(names) else np.empty(0)


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
