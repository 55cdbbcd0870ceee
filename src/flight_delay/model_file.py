"""The model's file: skops format, the same bytes for the same fitted model, no type but the ones listed here.

skops names objects by their memory address and stamps zip entries with the clock. :func:`canonical` numbers the objects
in the order in which the file's schema names them, keys sorted, and fixes the stamp; what is loaded stays the same.
Format: https://skops.readthedocs.io/en/stable/persistence.html
"""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flight_delay.errors import StageError
from flight_delay.files import write_files

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

# every type that may stand in a model file: ours, scikit-learn's, and what they are made of
OWN_TYPES = (
    "flight_delay.features.RequestFeatures",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)
TYPES = frozenset(
    {
        *OWN_TYPES,
        "builtins.dict",
        "builtins.list",
        "builtins.str",
        "builtins.tuple",
        "numpy.ndarray",
        "numpy.random._generator.Generator",
        "numpy.uint64",
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss.link.Interval",
        "sklearn._loss.link.LogitLink",
        "sklearn._loss.loss.HalfBinomialLoss",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier",
        "sklearn.pipeline.Pipeline",
        "sklearn.preprocessing._label.LabelEncoder",
    }
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment a zip entry can name


class ModelFileError(StageError):
    """The file is no model, or holds a type that is not in :data:`TYPES`."""


def dump_model(model: "Pipeline") -> bytes:
    """Return the model as the canonical bytes of a skops file. Raises :class:`ModelFileError` on an unlisted type."""
    import skops.io  # takes two seconds

    content = canonical(skops.io.dumps(model))
    check_types(content, "this model")
    return content


def save_model(path: Path, model: "Pipeline") -> None:
    """Write the model to ``path``, whole or not at all."""
    write_files({path: dump_model(model)})


def load_model(path: Path) -> "Pipeline":
    """Read a model. Raises :class:`ModelFileError` before anything is built if it holds a type not in :data:`TYPES`."""
    import skops.io
    from sklearn.pipeline import Pipeline

    content = path.read_bytes()
    try:
        check_types(content, str(path))
        model = skops.io.loads(content, trusted=list(OWN_TYPES))
    except ModelFileError:
        raise
    except Exception as error:  # whatever a cut or altered file makes zip, JSON, numpy or skops stumble over
        raise ModelFileError(
            f"{path}: not a whole skops file ({type(error).__name__}: {error}). No other format is ever loaded."
        ) from error
    if not isinstance(model, Pipeline):
        raise ModelFileError(f"{path}: holds a {type(model).__name__}, not a model.")
    return model


def canonical(content: bytes) -> bytes:
    """Return a skops file with its objects numbered in order of appearance, its entries sorted, stored and undated."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = json.loads(archive.read("schema.json"))
        members = {name: archive.read(name) for name in archive.namelist() if name != "schema.json"}
    numbers: dict[int, int] = {}
    renamed: dict[str, str] = {}
    for node in _nodes(schema):
        if "__id__" in node:
            node["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
        if "file" in node:
            _, dot, ending = node["file"].partition(".")
            node["file"] = renamed.setdefault(node["file"], f"{len(renamed)}{dot}{ending}")
    entries = {renamed[name]: data for name, data in members.items()}
    entries["schema.json"] = json.dumps(schema, sort_keys=True, separators=(",", ":")).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:  # deflate's bytes differ between zlib builds
        for name in sorted(entries):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), entries[name])
    return target.getvalue()


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a schema, each before what it contains, in the order of the sorted keys."""
    if isinstance(value, dict):
        yield value
        for key in sorted(value):
            yield from _nodes(value[key])
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


def check_types(content: bytes, name: str) -> None:
    """Raise :class:`ModelFileError` if a skops file holds a type that is not in :data:`TYPES`."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = json.loads(archive.read("schema.json"))
    found = {f"{node['__module__']}.{node['__class__']}" for node in _nodes(schema) if "__class__" in node}
    if unlisted := sorted(found - TYPES):
        raise ModelFileError(f"{name}: holds types that are not on the list of trusted ones: {', '.join(unlisted)}.")
