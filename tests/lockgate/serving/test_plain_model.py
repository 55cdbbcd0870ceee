"""Plain models: a scikit-learn, LightGBM, XGBoost or ONNX file is served without code and answers as it did.

Each format is tried where its library is installed; the test's name says which one was not.
"""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lockgate.policy import PolicyError, read_policy
from lockgate.releasing.plain import NotPlain, config_of, make_plain_wheel
from lockgate.serving.process import start, unpack

POLICY = """\
model: m
metrics: {{cost: {{file: m.json, key: cost, better: lower}}}}
predictions: {predictions}
serving:
  samples: data/test.parquet
  plain: {{format: {format}, features: [x, y]{more}}}
"""
PREDICTIONS = {
    "binary": "{file: p.parquet, key: [id], label: l, score: s}",
    "multiclass": "{kind: multiclass, file: p.parquet, key: [id], label: l, predicted: c}",
    "regression": "{kind: regression, file: p.parquet, key: [id], label: l, prediction: p}",
}
CLASSES = ", classes: [cat, dog, eel]"
LUCK = np.random.default_rng(0)
X = LUCK.normal(size=(300, 2))
TARGETS: dict[str, Any] = {
    "binary": (X[:, 0] > 0).astype(int),
    "multiclass": np.array(["cat", "dog", "eel"])[(X[:, 0] > 0).astype(int) + (X[:, 1] > 0).astype(int)],
    "regression": 100 * X[:, 0] - X[:, 1],
}
SAMPLES = pa.table({"x": X[:, 0], "y": X[:, 1], "id": range(300)})


def needs(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")


def fitted(format_: str, kind: str, path: Path) -> Any:
    """Fit a model, write its file, and return what it says of all rows."""
    target = TARGETS[kind]
    numbers = np.unique(target, return_inverse=True)[1] if kind == "multiclass" else target
    if format_ in ("skops", "onnx"):
        from sklearn.linear_model import LinearRegression, LogisticRegression

        model = (LinearRegression() if kind == "regression" else LogisticRegression()).fit(X, target)
        if format_ == "skops":
            import skops.io

            skops.io.dump(model, path)
        else:
            import skl2onnx

            kinds = [("given", skl2onnx.common.data_types.FloatTensorType([None, 2]))]
            path.write_bytes(skl2onnx.to_onnx(model, initial_types=kinds, target_opset=15).SerializeToString())
        return model.predict(X) if kind == "regression" else model.predict_proba(X)
    objective = {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}[kind]
    if format_ == "lightgbm":
        import lightgbm

        options = {"objective": objective, "verbose": -1, "num_threads": 1}
        options |= {"num_class": 3} if kind == "multiclass" else {}
        model = lightgbm.train(options, lightgbm.Dataset(X, numbers), 10)
        model.save_model(path)
        return model.predict(X)
    import xgboost

    options = {"objective": {"binary": "binary:logistic", "multiclass": "multi:softprob"}.get(kind, "reg:squarederror")}
    options |= {"num_class": 3} if kind == "multiclass" else {}
    model = xgboost.train(options, xgboost.DMatrix(X, numbers), 10)
    model.save_model(path)
    return model.predict(xgboost.DMatrix(X))


FILES = {"skops": "model.skops", "lightgbm": "model.txt", "xgboost": "model.json", "onnx": "model.onnx"}
LIBRARIES = {
    "skops": ("skops",),
    "lightgbm": ("lightgbm",),
    "xgboost": ("xgboost",),
    "onnx": ("onnxruntime", "skl2onnx"),
}


@pytest.mark.parametrize("kind", PREDICTIONS)
@pytest.mark.parametrize("format_", FILES)
def test_a_plain_model_answers_in_its_process_as_it_did_where_it_was_trained(
    tmp_path: Path, format_: str, kind: str
) -> None:
    needs(*LIBRARIES[format_])
    expected = np.asarray(fitted(format_, kind, tmp_path / FILES[format_]), dtype=np.float64)
    if kind == "binary" and expected.ndim == 2:
        expected = expected[:, 1]
    more = CLASSES if kind == "multiclass" else ""
    policy = read_policy(POLICY.format(predictions=PREDICTIONS[kind], format=format_, more=more))
    config = config_of(policy, SAMPLES)
    wheel = make_plain_wheel(config, tmp_path)
    assert (tmp_path / wheel).read_bytes() == (
        tmp_path / "again" / make_plain_wheel(config, tmp_path / "again")
    ).read_bytes()
    rows = [{"x": float(x), "y": float(y)} for x, y in X[:50]]
    answers = expected[:50].reshape(50, -1).tolist()
    told = {"probabilities": [one for [one] in answers]} if kind == "binary" else {"answers": answers}
    (tmp_path / "request.json").write_text(json.dumps(config["schema"]))
    slack = 6 if format_ in ("onnx", "xgboost", "lightgbm") else 12  # these compute in single precision
    (tmp_path / "samples.json").write_text(
        json.dumps({"requests": rows[:1], **{key: one[:1] for key, one in told.items()}})
    )
    said = {"schema": "lockgate.serving/1", "wheel": wheel, "entry": "lockgate_plain:load", "model": FILES[format_]}
    (tmp_path / "serving.json").write_text(json.dumps({**said, "request": "request.json", "samples": "samples.json"}))
    loadable = unpack("m@v1", tmp_path)
    from lockgate.serving.process import ModelProcess

    process = ModelProcess(loadable)
    try:
        found = process.predict(loadable.contract.request.batch(rows)).reshape(50, -1)
    finally:
        process.close()
        loadable.discard()
    np.testing.assert_allclose(found, answers, rtol=10.0**-slack, atol=10.0**-slack)


def test_missing_values_and_text_reach_a_pipeline_as_it_was_trained(tmp_path: Path) -> None:
    needs("skops", "pandas")
    import pandas as pd
    import skops.io
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = pd.DataFrame({"x": X[:, 0], "y": np.where(X[:, 1] > 0, "up", "down")})
    frame.loc[::7, "x"] = np.nan
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["y"]), remainder="passthrough")
    model = make_pipeline(encoder, HistGradientBoostingClassifier(max_iter=5)).fit(frame, TARGETS["binary"])
    skops.io.dump(model, tmp_path / "model.skops")
    trusted = skops.io.get_untrusted_types(file=tmp_path / "model.skops")
    policy = read_policy(
        POLICY.format(
            predictions=PREDICTIONS["binary"],
            format="skops",
            more=f", trusted: {json.dumps(trusted)}" if trusted else "",
        )
    )
    config = config_of(policy, pa.Table.from_pandas(frame))
    assert [(one["type"], one.get("optional", False)) for one in config["schema"]["columns"]] == [
        ("number", True), ("string", False),
    ]  # fmt: skip
    wheel = make_plain_wheel(config, tmp_path)
    expected = model.predict_proba(frame)[:3, 1]
    rows: list[dict[str, Any]] = [
        {"y": str(frame["y"][0])},
        *({"x": float(frame["x"][n]), "y": str(frame["y"][n])} for n in (1, 2)),
    ]
    (tmp_path / "request.json").write_text(json.dumps(config["schema"]))
    (tmp_path / "samples.json").write_text(json.dumps({"requests": rows, "probabilities": expected.tolist()}))
    said = {"schema": "lockgate.serving/1", "wheel": wheel, "entry": "lockgate_plain:load", "model": "model.skops"}
    (tmp_path / "serving.json").write_text(json.dumps({**said, "request": "request.json", "samples": "samples.json"}))
    loadable = unpack("m@v1", tmp_path)
    start(loadable).close()  # it answers its samples, or this raises
    loadable.discard()


@pytest.mark.parametrize(
    ("predictions", "format_", "more", "samples", "said"),
    [
        ("binary", "onnx", "", pa.table({"x": [1.0]}), "no column 'y'"),
        ("binary", "lightgbm", "", pa.table({"x": [1.0], "y": ["a"]}), "'y' is string"),
        ("multiclass", "skops", "", SAMPLES, "`classes` has to name"),
        ("binary", "skops", "", SAMPLES.slice(0, 0), "has no rows"),
    ],
)
def test_what_cannot_be_served_plainly_is_refused_with_the_reason(
    predictions: str, format_: str, more: str, samples: pa.Table, said: str
) -> None:
    policy = read_policy(POLICY.format(predictions=PREDICTIONS[predictions], format=format_, more=more))
    with pytest.raises(NotPlain, match=said):
        config_of(policy, samples)


def test_code_of_ones_own_and_a_plain_model_exclude_each_other() -> None:
    text = POLICY.format(predictions=PREDICTIONS["binary"], format="onnx", more="")
    with pytest.raises(PolicyError, match=r"serving\.code"):
        read_policy(text + "  code: src/model\n")
    with pytest.raises(PolicyError, match=r"serving\.code: is missing"):
        read_policy(text.partition("  plain:")[0])
    with pytest.raises(PolicyError, match="format"):
        read_policy(text.replace("format: onnx", "format: pickle"))
