"""Real flights for the tests: all of them as tables, and a small pipeline that each test may spoil a copy of."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from sklearn.pipeline import Pipeline
from tests.flight_delay.small_pipeline import ROOT, SmallPipeline, make_small_pipeline

from flight_delay.files import read_frame
from flight_delay.ingest import ingest
from flight_delay.model_file import load_model
from flight_delay.params import load_params
from flight_delay.request import REQUEST


@pytest.fixture(scope="session")
def raw() -> dict[str, pa.Table]:
    """The five raw tables of the package, as ``ingest`` returns them."""
    return ingest(load_params(ROOT / "params.yaml").ingest)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> SmallPipeline:
    """A small pipeline with all its outputs. Only to be read."""
    return make_small_pipeline(tmp_path_factory.mktemp("pipeline") / "made")


@pytest.fixture
def small(made: SmallPipeline, tmp_path: Path) -> SmallPipeline:
    """A copy of the small pipeline that a test may change."""
    shutil.copytree(made.root, tmp_path / "small")
    return SmallPipeline(tmp_path / "small")


@pytest.fixture(scope="session")
def model(made: SmallPipeline) -> Pipeline:
    """The model of the small pipeline."""
    return load_model(made.root / "models" / "flight-delay.skops")


@pytest.fixture(scope="session")
def requests(made: SmallPipeline) -> pd.DataFrame:
    """Real requests of the months after the small model's training window."""
    return read_frame(made.root / "data" / "prepared" / "test.parquet")[list(REQUEST)]
