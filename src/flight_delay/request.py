"""What a request is: everything the model may know, and nothing that follows the departure."""

from flight_delay.tables import WEATHER

CATEGORIES = ("carrier", "origin", "dest")
REQUEST = (
    *CATEGORIES,
    "flight",
    "tailnum",
    "scheduled_departure",
    "scheduled_arrival",
    "distance",
    *WEATHER,
)
OPTIONAL = ("tailnum", *WEATHER)

KEY = ("date", "carrier", "flight", "origin")  # one row per key, from raw data to predictions
LABEL = "late"
