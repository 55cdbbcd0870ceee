"""What a request is: everything the model may know, all of it known at the moment of asking.

The moment of asking lies `prepare.lead` before the scheduled departure. The schedule is public long before; the weather
is the newest observation; the columns of :data:`HISTORY` say what has happened until then (``as_of`` computes them).
"""

from flight_delay.tables import WEATHER

CATEGORIES = ("carrier", "origin", "dest")

# whose flights are looked at: name → the columns that they share with the flight that is asked about
GROUPS: dict[str, tuple[str, ...]] = {
    "all": (),
    "origin": ("origin",),
    "carrier": ("carrier",),
    "carrier_origin": ("carrier", "origin"),
    "dest": ("dest",),
    "route": ("carrier", "origin", "dest"),
    "flight": ("carrier", "flight", "origin"),
}
# departures of the last hours: in a narrow group it takes more hours to see any
LEFT_HOURS = {"all": 3, "origin": 4, "carrier": 6, "carrier_origin": 4, "dest": 12}
# arrivals of the last days
ARRIVED_DAYS: dict[str, tuple[int, ...]] = {
    "all": (1,),
    "origin": (1,),
    "carrier": (1,),
    "dest": (1,),
    "route": (1, 28),
    "flight": (28,),
}
WAITING = ("origin", "carrier_origin")  # groups whose flights are due and have not left
WAITING_HOURS = 3

SCHEDULE = (
    *(f"{group}_departures" for group in WAITING),
    *(f"{group}_departures_before" for group in WAITING),
    "dest_arrivals",
)
DUE = tuple(f"{group}_due" for group in WAITING)
QUEUE = tuple(f"{group}_waiting" for group in WAITING)
LEFT = (
    *(f"{group}_late_{hours}h" for group, hours in LEFT_HOURS.items()),
    *(f"{group}_delay_{hours}h" for group, hours in LEFT_HOURS.items()),
)
ARRIVED = tuple(f"{group}_arrived_late_{days}d" for group in ARRIVED_DAYS for days in ARRIVED_DAYS[group])
HISTORY = (*SCHEDULE, *DUE, *QUEUE, *LEFT, *ARRIVED)
TOLD_BY = "origin_due"  # a request that lacks it says nothing of the hours before

REQUEST = (
    *CATEGORIES,
    "flight",
    "tailnum",
    "scheduled_departure",
    "scheduled_arrival",
    "distance",
    *WEATHER,
    *HISTORY,
)
OPTIONAL = ("tailnum", *WEATHER, *HISTORY)

KEY = ("date", "carrier", "flight", "origin")  # one row per key, from raw data to predictions
LABEL = "late"

# what `prepare` writes: a flight's key, its request and its label, with the types as a Parquet file gives them back
ROW_TYPES: dict[str, str] = {
    "date": "timestamp[ms]",
    "carrier": "large_string",
    "flight": "int16",
    "origin": "large_string",
    "dest": "large_string",
    "tailnum": "large_string",
    "scheduled_departure": "timestamp[ms]",
    "scheduled_arrival": "timestamp[ms]",
    "distance": "int16",
    **dict.fromkeys(WEATHER, "double"),
    **dict.fromkeys((*SCHEDULE, *DUE, *QUEUE), "int64"),
    **dict.fromkeys((*LEFT, *ARRIVED), "double"),
    LABEL: "int8",
}
