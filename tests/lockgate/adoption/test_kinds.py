"""`lockgate init` finds which kind of model a table of predictions is of, and proposes a policy that can be read."""

import io
import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pytest

from lockgate.adoption import kinds
from lockgate.adoption.found import FoundMetric
from lockgate.adoption.proposal import scalar
from lockgate.adoption.tables import Table, predictions_in
from lockgate.policy import Interval, Probabilities

EXAMPLES = Path(__file__).parents[2] / "e2e/kinds"
ROWS = 200
WORLD = np.random.default_rng(0)


def example(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Table | str, dict[str, Any]]:
    """Run an example's own evaluation, and look into what it wrote."""
    (folder / "models").mkdir()
    (folder / "models/model.json").write_text('{"noise": 1.0}')
    shutil.copytree(EXAMPLES / kind / "src", folder / "src")
    monkeypatch.chdir(folder)
    runpy.run_path("src/evaluate.py")
    told = json.loads((folder / "reports/metrics.json").read_text())
    return predictions_in("p.parquet", (folder / "reports/predictions.parquet").read_bytes()), told


def recognised(table: Table, told: dict[str, Any]) -> dict[str, str | None]:
    found = {}
    for key, value in told.items():
        if isinstance(value, float):
            found[key] = table.recognise(FoundMetric(key, "m.json", key, value, None)).statistic
    return found


def test_several_classes_are_found_with_their_probabilities_and_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, told = example("multiclass", tmp_path, monkeypatch)

    assert isinstance(table, Table)
    what = table.predictions
    assert (what.kind, what.label, what.predicted) == ("multiclass", "species", "predicted")
    assert (what.probabilities, what.key, what.slices) == (Probabilities("p_"), ("photo",), ("camera",))
    names = ("accuracy", "macro_f1", "weighted_f1", "log_loss")
    assert recognised(table, told) == {name: name for name in names}
    assert "".join(f"  {key}: {value}\n" for key, value in kinds.lines(what, scalar)) == (
        "  kind: multiclass\n  label: species\n  predicted: predicted\n  probabilities: {prefix: p_}\n"
    )


def test_numbers_are_found_with_their_interval_and_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, told = example("regression", tmp_path, monkeypatch)

    assert isinstance(table, Table)
    what = table.predictions
    assert (what.kind, what.label, what.prediction) == ("regression", "price", "predicted")
    assert (what.interval, what.key) == (Interval("low", "high"), ("flat",))
    assert recognised(table, told) == {
        "rmse": "rmse", "mae": "mae", "r2": "r2", "coverage": "coverage", "loss_of_high": None
    }  # fmt: skip


def csv(**columns: Any) -> bytes:
    told = io.BytesIO()
    pc.write_csv(pa.table({"id": np.arange(ROWS), **columns}), told)
    return told.getvalue()


@pytest.mark.parametrize(
    ("columns", "kind", "chosen"),
    [
        (
            {"churned": WORLD.choice(["yes", "no"], ROWS), "score": WORLD.random(ROWS)},
            "binary", {"label": "churned", "score": "score", "positive": "yes"},
        ),
        (
            {"y_true": WORLD.choice(["a", "b", "c"], ROWS), "y_pred": WORLD.choice(["a", "b", "c"], ROWS)},
            "multiclass", {"label": "y_true", "predicted": "y_pred", "probabilities": None},
        ),
        (
            {"digit": WORLD.integers(0, 4, ROWS), **{f"proba_{n}": np.full(ROWS, 0.25) for n in range(4)}},
            "multiclass", {"label": "digit", "predicted": None, "probabilities": Probabilities("proba_")},
        ),
        (
            {"actual": WORLD.normal(size=ROWS), "forecast": WORLD.normal(size=ROWS), "load": WORLD.normal(size=ROWS)},
            "regression", {"label": "actual", "prediction": "forecast", "interval": None},
        ),
        (
            {name: WORLD.normal(size=ROWS) for name in ("price", "size", "predicted_price")},
            "regression", {"label": "price", "prediction": "predicted_price"},
        ),
        (
            {"late": WORLD.integers(0, 2, ROWS), "probability": WORLD.random(ROWS)},
            "binary", {"label": "late", "score": "probability", "positive": None},
        ),
    ],
    ids=["yes and no", "words", "digits", "numbers", "a prediction of", "0 and 1"],
)  # fmt: skip
def test_names_propose_and_values_decide(columns: dict[str, Any], kind: str, chosen: dict[str, Any]) -> None:
    table = predictions_in("p.csv", csv(**columns))

    assert isinstance(table, Table), table
    assert table.predictions.kind == kind
    assert {name: getattr(table.predictions, name) for name in chosen} == chosen
    assert table.predictions.key == ("id",)


def test_a_table_of_features_is_no_table_of_predictions() -> None:
    columns = {
        "width": WORLD.normal(size=ROWS),
        "height": WORLD.normal(size=ROWS),
        "colour": WORLD.choice(["r", "g"], ROWS),
    }

    assert isinstance(predictions_in("p.csv", csv(**columns)), str)
