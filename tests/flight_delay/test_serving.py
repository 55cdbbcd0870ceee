"""The model at work gives the pipeline's own answers, to the last bit."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.pipeline import Pipeline
from tests.flight_delay.serving_flights import flights, trained
from tests.flight_delay.small_pipeline import ROOT

from flight_delay import serving
from flight_delay.model_file import ModelFileError, save_model
from flight_delay.request import CATEGORIES, DUE, HISTORY, OPTIONAL, QUEUE, REQUEST, SCHEDULE
from flight_delay.tables import WEATHER

COUNTED = (*SCHEDULE, *DUE, *QUEUE)
TYPES = {"string": pa.string(), "integer": pa.int64(), "number": pa.float64(), "timestamp": pa.timestamp("us")}
SCHEMA = pa.schema([(column["name"], TYPES[column["type"]]) for column in serving.schema()["columns"]])


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return trained()


@pytest.fixture(scope="module")
def model(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> serving.Model:
    path = tmp_path_factory.mktemp("model") / "model.skops"
    save_model(path, pipeline)
    return serving.load(path)


def batch(frame: pd.DataFrame) -> pa.RecordBatch:
    return pa.RecordBatch.from_pandas(frame, schema=SCHEMA, preserve_index=False)


@pytest.mark.parametrize("count", [1, 2, serving.FEW_ROWS, serving.FEW_ROWS + 1, serving.BLOCK_ROWS * 2 + 3])
def test_probabilities_equal_the_pipelines_to_the_last_bit(
    model: serving.Model, pipeline: Pipeline, count: int
) -> None:
    frame = flights(count, seed=2)
    assert np.array_equal(model.predict(batch(frame)), pipeline.predict_proba(frame)[:, 1])


def test_one_by_one_and_all_at_once_are_equal(model: serving.Model) -> None:
    requests = batch(flights(300, seed=3))
    together = model.predict(requests)
    apart = [model.predict(requests.slice(row, 1))[0] for row in range(300)]
    assert np.array_equal(together, apart)
    assert len(np.unique(together)) > 100


def test_features_equal_the_pipelines_to_the_last_bit(model: serving.Model, pipeline: Pipeline) -> None:
    frame = flights(2000, seed=4)
    assert np.array_equal(model.features(batch(frame)), pipeline[0].transform(frame), equal_nan=True)
    assert np.isnan(model.features(batch(frame))).any(axis=0).sum() >= len(WEATHER) + 2


def test_infinite_and_extreme_numbers_go_the_same_way(model: serving.Model, pipeline: Pipeline) -> None:
    frame = flights(40, seed=5)
    frame["temp"] = [1e308, -1e308, 5e-324, -0.0] * 10
    assert np.array_equal(model.predict(batch(frame)), pipeline.predict_proba(frame)[:, 1])


def test_every_column_of_a_request_is_described() -> None:
    told = serving.schema()
    assert [column["name"] for column in told["columns"]] == list(REQUEST)
    assert {column["name"] for column in told["columns"] if column["optional"]} == set(OPTIONAL)
    assert all(column["description"] for column in told["columns"])
    assert set(told["example"]) <= set(REQUEST)
    assert set(CATEGORIES) <= set(told["example"])


VERSION_1 = {  # what the first releases required; such requests are sent until every client is changed
    "carrier": "string", "origin": "string", "dest": "string", "flight": "integer", "scheduled_departure": "timestamp",
    "scheduled_arrival": "timestamp", "distance": "number",
}  # fmt: skip


def test_a_request_of_version_1_is_a_request_of_today() -> None:
    told = serving.schema()
    columns = {column["name"]: column for column in told["columns"]}
    assert told["version"] == 2
    assert {name: columns[name]["type"] for name in VERSION_1} == VERSION_1
    assert {name for name, column in columns.items() if not column["optional"]} == set(VERSION_1)
    assert {"tailnum", *WEATHER} < set(columns)


def test_a_request_without_history_is_answered_as_on_a_usual_day(model: serving.Model) -> None:
    untold = flights(200, seed=6)
    untold[list(HISTORY)] = np.nan
    hour = untold["scheduled_departure"].dt.hour.to_numpy()
    told = untold.copy()
    told[list(HISTORY)] = model.usual[hour]
    rounded = batch(told.assign(**{name: told[name].round().astype("Int64") for name in COUNTED}))
    assert np.array_equal(model.predict(batch(untold)), model.predict(rounded))


def test_serving_imports_no_stage_and_nothing_that_only_a_stage_needs() -> None:
    ask = "import sys, flight_delay.serving; print(*(name for name in sys.modules if name.startswith('flight_delay.')))"
    command = [sys.executable, "-c", ask]
    done = subprocess.run(command, env={"PYTHONPATH": "src"}, cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name.partition(".")[2] for name in done.stdout.split()} == {
        "environment", "errors", "features", "files", "model_file", "request", "serving", "tables"
    }  # fmt: skip


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(b"\x80\x04N.")
    with pytest.raises(ModelFileError):
        serving.load(tmp_path / "model.skops")


def test_a_pipeline_that_cannot_be_taken_apart_is_refused(pipeline: Pipeline) -> None:
    from sklearn.linear_model import LogisticRegression

    with pytest.raises(AttributeError):
        serving.Model(Pipeline([("features", pipeline[0]), ("classifier", LogisticRegression())]))
