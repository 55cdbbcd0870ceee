"""The wheel of a plain model: lockgate's own loader of its format, and what the policy and its samples say of requests.

Nobody writes a package for it. The wheel is a function of the policy and the table of samples, so that a release
rebuilt has the same bytes.
"""

import json
import math
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lockgate.errors import LockgateError
from lockgate.policy import Policy

if TYPE_CHECKING:
    import pyarrow as pa

PACKAGE: Final = "lockgate_plain"
NEEDS: Final = {
    "skops": ("skops", "scikit-learn", "numpy", "pandas", "pyarrow"),
    "lightgbm": ("lightgbm", "numpy", "pyarrow"),
    "xgboost": ("xgboost", "numpy", "pyarrow"),
    "onnx": ("onnxruntime", "numpy", "pyarrow"),
}
"""What a model of each format is served with."""
TEXT_FORMATS: Final = ("skops", "onnx")
"""Formats that take text as a feature."""
KINDS: Final = {"binary": "probability", "multiclass": "classes", "regression": "number"}


class NotPlain(LockgateError):  # noqa: N818 - named for what the user reads
    """A model cannot be served without code of its own."""

    def __init__(self, finding: str) -> None:
        """Say why."""
        super().__init__(
            f"the model cannot be served as a plain one: {finding}",
            "Correct `serving: {plain: …}`, or write the code that serves it: docs/serving.md.",
        )


def config_of(policy: Policy, samples: "pa.Table") -> dict[str, Any]:
    """Return what the wheel's loader is told: the format, the features in the model's order, and what a request and an
    answer look like. Raises :class:`NotPlain`."""
    serving = policy.serving
    assert serving is not None  # noqa: S101 - asked for by the caller
    plain = serving.plain
    assert plain is not None  # noqa: S101
    missing = [name for name in plain.features if name not in samples.column_names]
    if missing:
        raise NotPlain(f"{serving.samples} has no column '{missing[0]}', which `features` names")
    columns = [_column(name, samples.column(name), plain.format) for name in plain.features]
    known = samples.select(list(plain.features)).slice(0, 1).to_pylist()
    if not known:
        raise NotPlain(f"{serving.samples} has no rows")
    example = {name: value for name, value in known[0].items() if value is not None and not _is_nan(value)}
    kind = KINDS.get(policy.predictions.kind if policy.predictions is not None else "binary", "probability")
    answer: dict[str, Any] = {"kind": kind}
    if kind == "classes":
        if len(plain.classes) < 2:
            raise NotPlain("`classes` has to name the classes in the order of the model's probabilities")
        answer["classes"] = list(plain.classes)
    schema = {"columns": columns, "example": example}
    if kind != "probability":
        schema["answer"] = answer
    return {
        "format": plain.format,
        "features": list(plain.features),
        "trusted": list(plain.trusted),
        "schema": schema,
    }


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _column(name: str, values: "pa.ChunkedArray", format_: str) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    told: dict[str, Any] = {"name": name}
    if pa.types.is_boolean(kind):
        told["type"] = "boolean"
    elif pa.types.is_integer(kind):
        told["type"] = "integer"
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        told["type"] = "number"
    elif (pa.types.is_string(kind) or pa.types.is_large_string(kind)) and format_ in TEXT_FORMATS:
        told["type"] = "string"
    else:
        raise NotPlain(f"the feature '{name}' is {kind}, which a {format_} model does not take")
    if values.null_count or (pa.types.is_floating(kind) and pc.any(pc.is_nan(values)).as_py()):
        told["optional"] = True
    return told


def make_plain_wheel(config: dict[str, Any], folder: Path) -> str:
    """Write the wheel to ``folder`` and return its name. The same ``config`` gives the same bytes."""
    version = "1.0"
    name = f"{PACKAGE}-{version}-py3-none-any.whl"
    info = f"{PACKAGE}-{version}.dist-info"
    loader = (files("lockgate.serving") / "plain_model.py").read_bytes()
    requires = "".join(f"Requires-Dist: {one}\n" for one in NEEDS[config["format"]])
    content = {
        f"{PACKAGE}/__init__.py": loader,
        f"{PACKAGE}/config.json": json.dumps(config, indent=1, sort_keys=True, ensure_ascii=False).encode(),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: {version}\n{requires}".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: lockgate\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in content.items():
            entry = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            wheel.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return name
