"""Stage ``train``: one model from requests and labels, by the params, in one thread's order."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.pipeline import Pipeline
from tests.flight_delay.small_pipeline import SmallPipeline
from threadpoolctl import threadpool_limits

from flight_delay.baselines import count, read_counts
from flight_delay.errors import StageError
from flight_delay.files import read_frame
from flight_delay.model_file import dump_model
from flight_delay.params import Train, load_params
from flight_delay.request import LABEL, REQUEST
from flight_delay.train import train


@pytest.fixture(scope="session")
def rows(made: SmallPipeline) -> pd.DataFrame:
    return read_frame(made.root / "data/prepared/train.parquet")


@pytest.fixture(scope="session")
def params(made: SmallPipeline) -> Train:
    return load_params(made.root / "params.yaml").train


def test_the_same_rows_and_params_give_the_same_bytes_with_any_number_of_threads(
    rows: pd.DataFrame, params: Train, model: Pipeline
) -> None:
    for threads in (1, 2, 3):
        with threadpool_limits(limits=threads):
            assert dump_model(train(rows, params)) == dump_model(model)


def test_only_the_columns_of_a_request_are_learnt_from(rows: pd.DataFrame, params: Train, model: Pipeline) -> None:
    other = rows.assign(flight_was_late=rows[LABEL], date=pd.Timestamp("2000-01-01"))[
        [LABEL, "flight_was_late", *REQUEST]
    ]
    assert dump_model(train(other, params)) == dump_model(model)


def test_rows_are_not_changed(rows: pd.DataFrame, params: Train) -> None:
    before = rows.copy()
    train(rows, params)
    pd.testing.assert_frame_equal(rows, before)


OTHER = {
    "seed": 1,
    "learning_rate": 0.2,
    "max_iter": 4,
    "max_leaf_nodes": 5,
    "min_samples_leaf": 40,
    "l2_regularization": 0.0,
    "max_features": 1.0,
}


@pytest.mark.parametrize("name", Train.model_fields)
def test_every_param_changes_the_model(name: str, rows: pd.DataFrame, params: Train, model: Pipeline) -> None:
    changed = train(rows, params.model_copy(update={name: OTHER[name]}))
    assert not np.array_equal(changed.predict_proba(rows), model.predict_proba(rows))


def test_a_higher_past_rate_of_delay_is_a_higher_probability(rows: pd.DataFrame, params: Train) -> None:
    always = {name: [rows[name].dropna().iloc[0]] * 2000 for name in REQUEST}
    alike = pd.DataFrame(always | {"carrier": ["AA", "UA"] * 1000, LABEL: [0, 1] * 1000})
    scores = train(alike, params.model_copy(update={"max_features": 1.0})).predict_proba(alike)[:, 1]
    assert scores[1::2].min() > scores[::2].max()


@pytest.mark.parametrize("column", ["humid", "dest", "distance"])
def test_a_column_of_nothing_is_refused_by_name(column: str, rows: pd.DataFrame, params: Train) -> None:
    with pytest.raises(StageError, match=f"^the training rows have no value at all in {column}: "):
        train(rows.assign(**{column: None}), params)


def test_a_column_of_nothing_stops_the_stage_and_leaves_the_last_model(small: SmallPipeline) -> None:
    small.change_raw("weather", lambda table: table.set_column(
        table.column_names.index("humid"), "humid", pa.nulls(table.num_rows, pa.float64())
    ))  # fmt: skip
    small.run("prepare")
    assert small.refused_here("train").startswith("the training rows have no value at all in humid: ")


def test_the_baselines_are_counted_from_the_rows_that_the_model_is_fitted_on(
    small: SmallPipeline, rows: pd.DataFrame
) -> None:
    counted = read_counts(small.root / "models/baselines.json")
    for name, found in count(rows).items():
        assert found.to_dict("list") == counted[name].to_dict("list")
        assert (found["flights"].sum(), found["late"].sum()) == (len(rows), rows[LABEL].sum())
    small.change(("months: 9", "months: 2"))
    small.run("prepare", "train")
    past = read_frame(small.root / "data/prepared/train.parquet")
    assert read_counts(small.root / "models/baselines.json")["carrier_rate"]["flights"].sum() == len(past) < len(rows)


def test_progress_is_shown_and_a_tree_s_line_of_scikit_learn_is_not(
    rows: pd.DataFrame, params: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    train(rows, params.model_copy(update={"max_iter": 101}))
    assert capsys.readouterr().out == "train: tree 50/101\ntrain: tree 100/101\n"


def test_a_disk_that_fills_leaves_the_last_model_and_its_counts(small: SmallPipeline) -> None:
    small.change(("seed: 0\n  learning", "seed: 1\n  learning"))
    message = small.refused("train", largest_file=5000)
    assert message == "models/flight-delay.skops: cannot be written: File too large. No output was changed."


def test_prepared_rows_that_are_missing_are_named_with_what_makes_them(small: SmallPipeline) -> None:
    (small.root / "data/prepared/flights.parquet").unlink()
    assert small.refused_here("train") == "data/prepared/flights.parquet: there is no such file. `dvc repro` makes it."
