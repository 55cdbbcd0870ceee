"""The five raw tables and the types of their columns, as ``ingest`` writes them and every later stage reads them."""

import pyarrow as pa

RAW_TABLES: dict[str, pa.Schema] = {
    "flights": pa.schema(
        {
            "year": pa.int16(),
            "month": pa.int8(),
            "day": pa.int8(),
            "dep_time": pa.int16(),
            "sched_dep_time": pa.int16(),
            "dep_delay": pa.int16(),
            "arr_time": pa.int16(),
            "sched_arr_time": pa.int16(),
            "arr_delay": pa.int16(),
            "carrier": pa.string(),
            "flight": pa.int16(),
            "tailnum": pa.string(),
            "origin": pa.string(),
            "dest": pa.string(),
            "air_time": pa.int16(),
            "distance": pa.int16(),
            "hour": pa.int8(),
            "minute": pa.int8(),
            "time_hour": pa.timestamp("s", tz="UTC"),
        }
    ),
    "weather": pa.schema(
        {
            "origin": pa.string(),
            "year": pa.int16(),
            "month": pa.int8(),
            "day": pa.int8(),
            "hour": pa.int8(),
            "temp": pa.float64(),
            "dewp": pa.float64(),
            "humid": pa.float64(),
            "wind_dir": pa.float64(),
            "wind_speed": pa.float64(),
            "wind_gust": pa.float64(),
            "precip": pa.float64(),
            "pressure": pa.float64(),
            "visib": pa.float64(),
            "time_hour": pa.timestamp("s", tz="UTC"),
        }
    ),
    "planes": pa.schema(
        {
            "tailnum": pa.string(),
            "year": pa.int16(),
            "type": pa.string(),
            "manufacturer": pa.string(),
            "model": pa.string(),
            "engines": pa.int8(),
            "seats": pa.int16(),
            "speed": pa.int16(),
            "engine": pa.string(),
        }
    ),
    "airports": pa.schema(
        {
            "faa": pa.string(),
            "name": pa.string(),
            "lat": pa.float64(),
            "lon": pa.float64(),
            "alt": pa.int16(),
            "tz": pa.int8(),
            "dst": pa.string(),
            "tzone": pa.string(),
        }
    ),
    "airlines": pa.schema({"carrier": pa.string(), "name": pa.string()}),
}

MONTHLY_TABLES = ("flights", "weather")  # they grow by a month; the others are looked up
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
FLIGHT_KEY = ("year", "month", "day", "carrier", "flight", "origin")
