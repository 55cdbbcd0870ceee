"""The code of a release whose model needs none of its own: a scikit-learn, LightGBM, XGBoost or ONNX model in its file.

This file is the package of the wheel that a release with ``serving: {plain: …}`` carries, ``config.json`` beside it
(:mod:`lockgate.releasing.plain`). So it takes NumPy, pyarrow and the library of the format, and nothing of lockgate.
Each format is one that holds no code: skops refuses types that it does not know, the others are trees and tensors.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

CONFIG = Path(__file__).with_name("config.json")


def schema() -> dict[str, Any]:
    """Return what a request looks like, and what the model answers."""
    told: dict[str, Any] = json.loads(CONFIG.read_text(encoding="utf-8"))["schema"]
    return told


def load(path: Path) -> "Model":
    """Read the model in the file ``path``. Raises what its library raises for a file that it cannot read."""
    return Model(path, json.loads(CONFIG.read_text(encoding="utf-8")))


class Model:
    """The model at work."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        """Read the file by the format's own library."""
        self.features: list[str] = config["features"]
        self.answer: dict[str, Any] = config["schema"].get("answer") or {"kind": "probability"}
        self.ask = _FORMATS[config["format"]](path, config)

    def predict(self, batch: Any) -> Any:
        """Return the answer to each request: numbers, or the probabilities of the classes in their order."""
        answers = np.asarray(self.ask(batch.select(self.features)), dtype=np.float64)
        kind = self.answer["kind"]
        if kind == "classes":
            return answers
        if answers.ndim == 2 and answers.shape[1] == 1:
            answers = answers[:, 0]
        if kind == "probability" and answers.ndim == 2 and answers.shape[1] == 2:
            answers = answers[:, 1]  # of the class that is true
        return answers


def _matrix(batch: Any) -> Any:
    """Return the columns of a batch as float64, NaN where a value is missing."""
    columns = [np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64) for column in batch.columns]
    return np.stack(columns, axis=1) if columns else np.empty((batch.num_rows, 0))


def _skops(path: Path, config: dict[str, Any]) -> Any:
    skops = importlib.import_module("skops.io")
    model = skops.load(path, trusted=config["trusted"])  # raises before an unlisted type is built
    named = hasattr(model, "feature_names_in_")
    kind = (config["schema"].get("answer") or {}).get("kind", "probability")
    places = None
    if kind == "classes":
        known = [str(one) for one in model.classes_]
        places = [known.index(name) for name in config["schema"]["answer"]["classes"]]

    def ask(batch: Any) -> Any:
        rows = batch.to_pandas() if named else _matrix(batch)
        if kind == "number":
            return model.predict(rows)
        found = model.predict_proba(rows)
        return found if places is None else found[:, places]

    return ask


def _lightgbm(path: Path, config: dict[str, Any]) -> Any:  # noqa: ARG001 - all formats are read alike
    booster = importlib.import_module("lightgbm").Booster(model_file=str(path))
    return lambda batch: booster.predict(_matrix(batch), num_threads=1)


def _xgboost(path: Path, config: dict[str, Any]) -> Any:  # noqa: ARG001
    xgboost = importlib.import_module("xgboost")
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(path)
    names = booster.feature_names
    return lambda batch: booster.predict(xgboost.DMatrix(_matrix(batch), feature_names=names, nthread=1))


def _onnx(path: Path, config: dict[str, Any]) -> Any:
    onnx = importlib.import_module("onnxruntime")
    options = onnx.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnx.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), [one.name for one in session.get_outputs()]
    kind = (config["schema"].get("answer") or {}).get("kind", "probability")
    wanted = next((name for name in outputs if kind != "number" and "prob" in name.lower()), outputs[-1])
    if kind == "number":
        wanted = outputs[0]
    types = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64}

    def given(batch: Any) -> dict[str, Any]:
        if len(inputs) == 1 and len(batch.columns) != 1:
            return {inputs[0].name: _matrix(batch).astype(types[inputs[0].type])}
        told = {}
        for one in inputs:
            column = batch.column(one.name) if len(inputs) > 1 else batch.columns[0]
            if one.type == "tensor(string)":
                values = np.array(column.to_pylist(), dtype=object)
            else:
                values = np.asarray(column.to_numpy(zero_copy_only=False)).astype(types[one.type])
            told[one.name] = values.reshape(-1, 1)
        return told

    def ask(batch: Any) -> Any:
        [found] = session.run([wanted], given(batch))
        if isinstance(found, list):  # a mapping from class to probability for each row
            order = (config["schema"].get("answer") or {}).get("classes")
            named = [{str(key): value for key, value in row.items()} for row in found]
            return [[row[name] for name in (order or sorted(row))] for row in named]
        return found

    return ask


_FORMATS = {"skops": _skops, "lightgbm": _lightgbm, "xgboost": _xgboost, "onnx": _onnx}
