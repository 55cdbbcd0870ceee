"""Stage ``prepare``: raw tables → requests with their labels, split by month, under ``data/prepared/``.

Beside the requests (``train.parquet``, ``test.parquet``) it writes what they are made of, ``flights.parquet``, which
takes a fifth of the bytes: the stages that follow read it and make the same rows again (:func:`window_rows`).

Decisions, each with its reason in docs/data.md: a request holds what was known `prepare.lead` before the scheduled
departure (see ``as_of``); cancelled and diverted flights have no arrival and so no label, they are left out and
counted, but what they were seen to do counts for others; rows come in the order of what is in the schedule, because the
source's own order is that of the actual departures, an outcome.
"""

import sys

import pandas as pd
import pyarrow as pa

from flight_delay.as_of import LATE_MINUTES, known
from flight_delay.errors import StageError, run_stage
from flight_delay.files import as_parquet, read_frame, read_table, write_files
from flight_delay.params import Params, Prepare, Window, load_params
from flight_delay.paths import PREPARED, RAW
from flight_delay.request import KEY, LABEL, REQUEST

ORDER = ("date", "origin", "scheduled_departure", "carrier", "flight")  # holds the key: no two rows tie
MADE_OF = PREPARED / "flights.parquet"
# What of a flight is looked at. In the order of the key a schedule repeats from row to row.
LOOKED_AT = (
    *("carrier", "flight", "origin", "year", "month", "day", "dest", "distance"),
    *("sched_dep_time", "sched_arr_time", "time_hour", "dep_delay", "arr_delay", "air_time"),
)
VARIED = ("dep_delay", "arr_delay", "air_time")


def label(flights: pd.DataFrame) -> pd.DataFrame:
    """Return the flights that arrived, with ``late``: 1 where ``arr_delay`` is 15 minutes or more, else 0."""
    arrived = flights[flights["arr_delay"].notna()]
    return arrived.assign(**{LABEL: (arrived["arr_delay"] >= LATE_MINUTES).astype("int8")})


def scheduled_times(flights: pd.DataFrame) -> pd.DataFrame:
    """Return ``date``, ``scheduled_departure`` and ``scheduled_arrival`` as local wall-clock times.

    The raw columns are hhmm; 2400 is midnight at the end of the day. An arrival before the departure on the clock is
    on the next day. Times are local and carry no offset: passengers and schedules follow the clock on the wall, so the
    days of the clock change need nothing special (weather is joined on UTC).
    """
    date = pd.to_datetime(flights[["year", "month", "day"]]).astype("datetime64[s]")
    departure = date + _clock(flights["sched_dep_time"])
    arrival = date + _clock(flights["sched_arr_time"])
    arrival = arrival.where(arrival >= departure, arrival + pd.Timedelta(days=1))
    return pd.DataFrame({"date": date, "scheduled_departure": departure, "scheduled_arrival": arrival})


def prepare(flights: pd.DataFrame, weather: pd.DataFrame, lead: int) -> pd.DataFrame:
    """Return one row per arrived flight: the key, the request as known ``lead`` minutes before, and the label.

    Where the flights have no ``tailnum``, the requests have none: nothing is made of it.

    The rows are in :data:`ORDER`, whatever the order of the flights: no trace of who really left first is left in it.
    And neighbours that share an airport and an hour share their weather, so the files are less than half the size.
    """
    flights = flights.reset_index(drop=True)
    rows = label(pd.concat([flights, known(flights, weather, lead), scheduled_times(flights)], axis=1))
    rows = rows[[name for name in dict.fromkeys([*KEY, *REQUEST, LABEL]) if name in rows]]
    return rows.sort_values(list(ORDER), ignore_index=True)


def windows(rows: pd.DataFrame, through: str, params: Prepare) -> dict[str, Window]:
    """Return the months to train on and to test on: both end with ``through`` and move with it.

    The test window is the last months; the training window the months before it, or as many of them as there are.
    Raises :class:`StageError` where none is left.
    """
    last = pd.Period(through, freq="M")
    test = last - (params.test.months - 1)
    first = pd.Period(rows["date"].min(), freq="M")
    begin = max(test - params.train.months, first)
    if begin >= test:
        raise StageError(
            f"prepare.test: {params.test.months} months up to {through} leave none to train on: the data begins in "
            f"{first}. See ingest.through."
        )
    return {
        "train": Window.model_construct(first=str(begin), last=str(test - 1)),
        "test": Window.model_construct(first=str(test), last=through),
    }


def window(rows: pd.DataFrame, months: Window, name: str) -> pd.DataFrame:
    """Return the rows of a window. Raises :class:`StageError` for a month without rows or a window with one label."""
    month = rows["date"].dt.strftime("%Y-%m")
    inside = rows[(month >= months.first) & (month <= months.last)]
    expected = pd.period_range(months.first, months.last, freq="M").astype(str)
    empty = sorted(set(expected) - set(month[inside.index].unique()))
    if empty:
        raise StageError(
            f"prepare.{name}: no arrived flights in {', '.join(empty)}. See ingest.through and the window."
        )
    if inside[LABEL].nunique() < 2:
        raise StageError(
            f"prepare.{name}: all {len(inside):,} flights have the same label ({inside[LABEL].iloc[0]}); "
            "nothing can be learnt or judged on them."
        )
    selected: pd.DataFrame = inside.reset_index(drop=True)
    return selected


def made_of(flights: pa.Table) -> pa.Table:
    """Return what of the raw flights is looked at, in the order of the key."""
    return flights.select(list(LOOKED_AT)).sort_by([(name, "ascending") for name in LOOKED_AT[:6]])


def window_rows(name: str, params: Params) -> pd.DataFrame:
    """Read what `prepare` left and return the rows of a window: those of its file, without their ``tailnum``."""
    weather = read_frame(RAW / "weather.parquet")
    rows = prepare(read_frame(MADE_OF), weather, params.prepare.lead_minutes)
    return window(rows, windows(rows, params.ingest.through, params.prepare)[name], name)


def main() -> None:
    """Read ``data/raw/``, write ``data/prepared/``."""
    params = load_params()
    table = read_table(RAW / "flights.parquet")
    flights: pd.DataFrame = table.to_pandas()
    rows = prepare(flights, read_frame(RAW / "weather.parquet"), params.prepare.lead_minutes)
    chosen = windows(rows, params.ingest.through, params.prepare)
    parts = {name: window(rows, months, name) for name, months in chosen.items()}
    write_files(
        {PREPARED / f"{name}.parquet": as_parquet(part, varied=["flight"]) for name, part in parts.items()}
        | {MADE_OF: as_parquet(made_of(table), varied=VARIED)}
    )
    sys.stdout.write(f"prepare: {len(flights) - len(rows):,} cancelled or diverted flights left out\n")
    for name, months in chosen.items():
        sys.stdout.write(f"prepare: {len(parts[name]):,} to {name} on, {months.first} to {months.last}\n")


def _clock(hhmm: pd.Series) -> pd.Series:
    hours, minutes = hhmm.astype("int64") // 100, hhmm.astype("int64") % 100
    return pd.to_timedelta(hours * 60 + minutes, unit="min").astype("timedelta64[s]")


if __name__ == "__main__":
    sys.exit(run_stage(main))
