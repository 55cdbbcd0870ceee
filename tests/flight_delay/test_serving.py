"""The model at work gives the pipeline's own answers, to the last bit."""

import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.pipeline import Pipeline
from tests.flight_delay.serving_flights import flights, trained
from tests.flight_delay.small_pipeline import ROOT

from flight_delay import serving, trees
from flight_delay.model_file import ModelFileError, dump_model, save_model
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


@pytest.mark.parametrize("count", [1, 2, trees.FEW_ROWS, trees.FEW_ROWS + 1, trees.BLOCK_ROWS * 2 + 3])
def test_probabilities_equal_the_pipelines_to_the_last_bit(
    model: serving.Model, pipeline: Pipeline, count: int
) -> None:
    frame = flights(count, seed=2)
    assert np.array_equal(model.predict(batch(frame)), pipeline.predict_proba(frame)[:, 1])


@pytest.mark.parametrize("leaves", [15, 60, 200])
def test_trees_of_any_size_give_the_pipelines_probabilities(leaves: int, tmp_path: Path) -> None:
    pipeline = trained(max_leaf_nodes=leaves, max_iter=8, min_samples_leaf=1, l2_regularization=0.0)
    save_model(tmp_path / "model.skops", pipeline)
    model, frame = serving.load(tmp_path / "model.skops"), flights(1500, seed=7)
    assert (model.tables is None) == (leaves > 64)  # larger trees are walked, in blocks
    assert np.array_equal(model.predict(batch(frame)), pipeline.predict_proba(frame)[:, 1])


def test_a_tree_that_is_one_leaf_adds_its_value(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline = trained(min_samples_leaf=3000, max_iter=3)
    save_model(tmp_path / "model.skops", pipeline)
    frame = flights(100, seed=8)
    assert len(set(pipeline.predict_proba(frame)[:, 1])) == 1
    for rows in (frame, frame.head(3)):
        assert np.array_equal(
            serving.load(tmp_path / "model.skops").predict(batch(rows)), pipeline.predict_proba(rows)[:, 1]
        )


def test_no_rows_are_no_probabilities(model: serving.Model) -> None:
    assert model.predict(batch(flights(5, seed=3)).slice(0, 0)).tolist() == []


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
        "environment", "errors", "feature_columns", "files", "model_file", "request", "serving", "tables", "trees"
    }  # fmt: skip


def test_a_service_loads_a_model_and_answers_without_what_fitted_it(pipeline: Pipeline, tmp_path: Path) -> None:
    """What fits it takes seconds to import, in every process; nothing of a model's file is built but arrays."""
    save_model(tmp_path / "model.skops", pipeline)
    pa.ipc.new_file(tmp_path / "rows", SCHEMA).close()
    with pa.OSFile(str(tmp_path / "rows"), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_batch(batch(flights(70, seed=9)))
    ask = """
import sys, pathlib, pyarrow as pa
from flight_delay.serving import load
rows = pa.ipc.open_file(sys.argv[2]).get_batch(0)
assert len(load(pathlib.Path(sys.argv[1])).predict(rows)) == 70
print(*({"pandas", "sklearn", "skops", "scipy.stats"} & set(sys.modules)))
"""
    command = [sys.executable, "-c", ask, tmp_path / "model.skops", tmp_path / "rows"]
    done = subprocess.run(command, env={"PYTHONPATH": "src"}, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(b"\x80\x04N.")
    with pytest.raises(ModelFileError):
        serving.load(tmp_path / "model.skops")


def test_a_pipeline_of_other_parts_is_refused(pipeline: Pipeline, tmp_path: Path) -> None:
    other = Pipeline([("classifier", pipeline[-1]), ("features", pipeline[0])])
    save_model(tmp_path / "model.skops", other)
    with pytest.raises(ModelFileError, match="HistGradientBoostingClassifier where flight_delay"):
        serving.load(tmp_path / "model.skops")


def entries(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


def array_file(array: np.ndarray) -> bytes:
    target = io.BytesIO()
    np.save(target, array, allow_pickle=array.dtype == object)
    return target.getvalue()


def tree_file(files: dict[str, bytes]) -> str:
    """The entry that holds the nodes of a tree."""
    return next(name for name in files if name.endswith(".npy") and b"num_threshold" in files[name][:1000])


def circular(files: dict[str, bytes]) -> None:
    nodes = np.load(io.BytesIO(files[tree_file(files)]))
    nodes["left"][0] = 0
    files[tree_file(files)] = array_file(nodes)


def unknown_feature(files: dict[str, bytes]) -> None:
    nodes = np.load(io.BytesIO(files[tree_file(files)]))
    nodes["feature_idx"][0] = 999
    files[tree_file(files)] = array_file(nodes)


def of_categories(files: dict[str, bytes]) -> None:
    nodes = np.load(io.BytesIO(files[tree_file(files)]))
    nodes["is_categorical"][0] = 1
    files[tree_file(files)] = array_file(nodes)


def pickled(files: dict[str, bytes]) -> None:
    files[tree_file(files)] = array_file(np.array([{}], dtype=object))


def unlisted(files: dict[str, bytes]) -> None:
    files["schema.json"] = files["schema.json"].replace(b'"LabelEncoder"', b'"Another"')


def without_an_array(files: dict[str, bytes]) -> None:
    del files[tree_file(files)]


@pytest.mark.parametrize("alter", [circular, unknown_feature, of_categories, pickled, unlisted, without_an_array])
def test_an_altered_file_is_refused(
    alter: Callable[[dict[str, bytes]], None], pipeline: Pipeline, tmp_path: Path
) -> None:
    path = tmp_path / "model.skops"
    files = entries(dump_model(pipeline))
    path.write_bytes(archive_of(files))
    serving.load(path)
    alter(files)
    path.write_bytes(archive_of(files))
    with pytest.raises(ModelFileError, match=re.escape(str(path))):
        serving.load(path)
