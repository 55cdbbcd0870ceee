"""What is known of a flight at the moment of asking, some hours before it is scheduled to leave.

One code for training and scoring: ``prepare`` calls :func:`known` for the flights of the past, and whoever asks a
service calls it for today's, with what has happened so far. It looks at moments, not at days: a departure counts from
the minute in which it happened, an arrival from the latest minute in which it can have happened, an observation of the
weather from the end of its hour, the schedule always. So nothing that happens after the moment of asking can change a
value (tests/flight_delay/test_as_of.py changes it all).

Every sum is one of whole numbers, and shares are rounded by whole numbers, too: no order of additions, no processor and
no order of the rows can move a bit.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from flight_delay.request import ARRIVED_DAYS, GROUPS, HISTORY, LEFT_HOURS, WAITING, WAITING_HOURS
from flight_delay.tables import WEATHER

LATE_MINUTES = 15
DELAYS = (-15, 240)  # minutes; a longer or shorter delay counts as this much, so that one flight is not an hour's mean
NEAR_MINUTES = 30  # flights scheduled so near to each other share a runway, a gate, a crew
BEFORE_MINUTES = 180  # flights scheduled so long before it: where they pile up, it waits
# Between leaving the gate and reaching the other one a flight spends its time in the air and at most this on the
# ground: 235 minutes in 2013. When exactly it arrived would take the time zones of all destinations.
MOST_TAXIING = 240
HIGHEST_WIND = 200.0  # mph; the strongest gust ever measured at the surface was 253, in a cyclone
HOUR = 60
DAY = 24 * HOUR
_GROUP = 1 << 32  # more minutes than there are since 1970

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def known(flights: pd.DataFrame, weather: pd.DataFrame, lead: int) -> pd.DataFrame:
    """Return for each flight its weather and :data:`HISTORY`, as known ``lead`` minutes before its departure.

    ``flights`` are rows of the raw table: those asked about, with all that were scheduled around and before them. What
    has not happened yet (``dep_delay``, ``arr_delay`` and ``air_time``) is missing there. Raises ``ValueError`` for two
    observations of one hour.
    """
    scheduled = departure_minute(flights)
    asked = scheduled - lead
    return pd.concat(
        [newest_weather(flights, weather, asked), _history(flights, scheduled, asked)[list(HISTORY)]], axis=1
    )


def departure_minute(flights: pd.DataFrame) -> Numbers:
    """Return the scheduled departure as minutes since 1970, in UTC."""
    minutes: Numbers = _minutes(flights["time_hour"]) + flights["sched_dep_time"].to_numpy(np.int64) % 100
    return minutes


def newest_weather(flights: pd.DataFrame, weather: pd.DataFrame, asked: Numbers) -> pd.DataFrame:
    """Return the observation at each flight's origin in the last hour that was over when it was asked about.

    A wind above hurricane force is a broken instrument. Weather is missing where that hour was not observed.
    """
    observed = weather[["origin", *WEATHER]].assign(hour=_minutes(weather["time_hour"]) // HOUR)
    wind = observed["wind_speed"]
    observed = observed.assign(wind_speed=wind.where(wind <= HIGHEST_WIND))
    at = pd.DataFrame({"origin": flights["origin"].to_numpy(), "hour": asked // HOUR - 1})
    joined = at.merge(observed, on=["origin", "hour"], how="left", validate="many_to_one")
    return joined[list(WEATHER)].set_axis(flights.index)


def _history(flights: pd.DataFrame, scheduled: Numbers, asked: Numbers) -> pd.DataFrame:
    has_left = flights["dep_delay"].notna().to_numpy()
    delay = flights["dep_delay"].fillna(0).to_numpy(np.int64)
    left = scheduled + delay
    # A flight is waiting from its schedule until it leaves; one that was cancelled is taken for waiting, too, because
    # nobody has to know yet, and no flight for longer than WAITING_HOURS.
    longest = scheduled + WAITING_HOURS * HOUR
    events: dict[str, npt.NDArray[Any]] = {
        "scheduled": scheduled,
        "asked": asked,
        "has_left": has_left,
        "left": left,
        "late": (delay >= LATE_MINUTES).astype(np.int64),
        "delay": np.clip(delay, *DELAYS),
        "left_or_waits": np.where(has_left, np.clip(left, scheduled, longest), longest),
        "has_arrived": (flights["arr_delay"].notna() & flights["air_time"].notna()).to_numpy(),
        "arrived": left + flights["air_time"].fillna(0).to_numpy(np.int64) + MOST_TAXIING,
        "came_late": (flights["arr_delay"].fillna(0) >= LATE_MINUTES).to_numpy().astype(np.int64),
    }
    columns: dict[str, npt.NDArray[np.generic]] = {}
    for name, by in GROUPS.items():
        group = _numbered(flights, by)
        # Moments that are looked up in their order are found four times as fast as in any other.
        order = np.argsort(group * _GROUP + scheduled, kind="stable")
        ordered = {event: values[order] for event, values in events.items()}
        for column, values in _of_group(name, group[order], ordered).items():
            columns[column] = np.empty_like(values)
            columns[column][order] = values
    columns["dest_arrivals"] = _near(_numbered(flights, ("dest",)), _arrival_minute(flights))
    return pd.DataFrame(columns, index=flights.index)


def _of_group(name: str, group: Numbers, e: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.generic]]:
    """Return the columns that look at the flights of one kind of group; ``e`` are the moments of each flight."""
    scheduled, asked = e["scheduled"], e["asked"]
    columns: dict[str, npt.NDArray[np.generic]] = {}
    if name in LEFT_HOURS:
        hours = LEFT_HOURS[name]
        counted = {"late": e["late"], "delay": e["delay"]}
        number, sums = _between(group, e["left"], e["has_left"], counted, asked - hours * HOUR, asked)
        columns[f"{name}_late_{hours}h"] = _ratio(sums["late"], number, 1000)
        columns[f"{name}_delay_{hours}h"] = _ratio(sums["delay"], number, 10)
    for days in ARRIVED_DAYS.get(name, ()):
        late = {"late": e["came_late"]}
        number, sums = _between(group, e["arrived"], e["has_arrived"], late, asked - days * DAY, asked)
        columns[f"{name}_arrived_late_{days}d"] = _ratio(sums["late"], number, 1000)
    if name in WAITING:
        begun = _until(group, scheduled, asked)
        columns[f"{name}_waiting"] = begun - _until(group, e["left_or_waits"], asked)
        columns[f"{name}_due"] = begun - _until(group, scheduled, asked - WAITING_HOURS * HOUR)
        columns[f"{name}_departures"] = _near(group, scheduled)
        columns[f"{name}_departures_before"] = _until(group, scheduled, scheduled) - _until(
            group, scheduled, scheduled - BEFORE_MINUTES
        )
    return columns


def _between(
    group: Numbers,
    moment: Numbers,
    happened: npt.NDArray[np.bool_],
    values: dict[str, Numbers],
    after: Numbers,
    until: Numbers,
) -> tuple[Numbers, dict[str, Numbers]]:
    """Return how many events of a row's group fell in (``after``, ``until``], and the sums of their values."""
    keys = group[happened] * _GROUP + moment[happened]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.searchsorted(keys, group * _GROUP + after, "right")
    last = np.searchsorted(keys, group * _GROUP + until, "right")
    sums = {}
    for name, numbers in values.items():
        total = np.concatenate([[0], np.cumsum(numbers[happened][order])])
        sums[name] = total[last] - total[first]
    return last - first, sums


def _until(group: Numbers, moment: Numbers, until: Numbers) -> Numbers:
    """Return how many events of a row's group and of those before it fell up to ``until``: only differences count."""
    places: Numbers = np.searchsorted(np.sort(group * _GROUP + moment), group * _GROUP + until, "right")
    return places


def _near(group: Numbers, moment: Numbers) -> Numbers:
    """Return how many events of a row's group lie within :data:`NEAR_MINUTES` of its own, itself among them."""
    return _until(group, moment, moment + NEAR_MINUTES) - _until(group, moment, moment - NEAR_MINUTES - 1)


def _ratio(total: Numbers, number: Numbers, steps: int) -> Floats:
    """Return ``total / number`` to the nearest of so many steps in one (halves go up); missing where there is none."""
    some = np.maximum(number, 1)
    rounded: Floats = (2 * steps * total + some) // (2 * some) / steps
    return np.where(number > 0, rounded, np.nan)


def _numbered(flights: pd.DataFrame, columns: tuple[str, ...]) -> Numbers:
    if not columns:
        return np.zeros(len(flights), np.int64)
    return np.asarray(flights.groupby(list(columns), dropna=False).ngroup(), dtype=np.int64)


def _arrival_minute(flights: pd.DataFrame) -> Numbers:
    """Return the scheduled arrival on the clock of the destination, which one destination's flights share."""
    date = _minutes(pd.to_datetime(flights[["year", "month", "day"]]))
    departs, arrives = (_clock(flights[f"sched_{end}_time"]) for end in ("dep", "arr"))
    return date + np.where(arrives < departs, arrives + DAY, arrives)


def _clock(hhmm: pd.Series) -> Numbers:
    numbers: Numbers = hhmm.to_numpy(np.int64)
    return numbers // 100 * HOUR + numbers % 100


def _minutes(times: pd.Series) -> Numbers:
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    minutes: Numbers = times.to_numpy("datetime64[m]").astype(np.int64)
    return minutes
