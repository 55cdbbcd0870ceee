"""Builds as a release holds them, small: a toy model whose answers betray which release gave them, and the real one.

The toy's code and its model file both know the number of the release. An answer made of the code of one release and the
file of another is no probability, so a mixed state cannot pass unseen.
"""

import io
import json
import math
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate.serving.contract import SCHEMA, SERVING

if TYPE_CHECKING:
    import pandas as pd

ROOT = Path(__file__).parents[2]
TOY = {
    "columns": [
        {"name": "x", "type": "number", "minimum": -1000, "maximum": 1000, "description": "any number"},
        {"name": "when", "type": "timestamp"},
        {"name": "kind", "type": "string", "max_length": 20, "optional": True},
        {"name": "count", "type": "integer", "optional": True},
        {"name": "flag", "type": "boolean", "optional": True},
    ],
    "example": {"x": 0.25, "when": "2026-01-02T03:04:05"},
}
# the probability says the release; `kind` can ask the model to misbehave, or to answer with the request's own x instead
TOY_CODE = """
import json, os, time
import numpy as np

NUMBER = {number}

class Model:
    def __init__(self, number):
        self.number = number

    def predict(self, batch):
        kinds = batch.column("kind").to_pylist()
        if "die" in kinds:
            os._exit(9)
        if "raise" in kinds:
            raise ValueError("I was asked to, by " + ", ".join(map(str, batch.to_pylist())))
        if "slow" in kinds:
            time.sleep(0.1)
        if self.number != NUMBER:
            raise ValueError("code and file are of two releases")
        answer = np.full(batch.num_rows, NUMBER / 1000)
        if "x" in kinds:
            own = np.array([kind == "x" for kind in kinds])
            answer[own] = np.abs(batch.column("x").to_numpy(zero_copy_only=False)[own]) / 1000
        return answer

def load(path):
    {loading}
    return Model(json.loads(path.read_text())["number"])
"""


def toy_build(folder: Path, number: int, loading: str = "pass", request: dict[str, Any] = TOY, **more: Any) -> Path:
    """Write the build of release ``number``; ``loading`` is Python that runs when its model is loaded.

    ``more`` replaces what ``serving.json`` says; ``expected`` the probability its samples expect.
    """
    folder.mkdir(parents=True)
    wheel = f"toy_model-0.{number}-py3-none-any.whl"
    (folder / wheel).write_bytes(
        _wheel("toy_model", f"0.{number}", {"__init__.py": TOY_CODE.format(number=number, loading=loading)})
    )
    (folder / "model.json").write_text(json.dumps({"number": more.pop("file_number", number)}))
    (folder / "request.json").write_text(json.dumps(request))
    samples = {"requests": [request["example"]] * 2, "probabilities": [more.pop("expected", number / 1000)] * 2}
    (folder / "samples.json").write_text(json.dumps(samples))
    (folder / "model-card.md").write_text(f"# Toy {number}\n")
    _promise(folder, **{"wheel": wheel, "entry": "toy_model:load", "model": "model.json", **more})
    return folder


def plain_build(folder: Path, code: str, request: dict[str, Any], model: str, x: float) -> Path:
    """Write the build of a model ``delay_model`` whose file says its slope: the score is the logistic of slope × x."""
    folder.mkdir(parents=True)
    wheel = "delay_model-0.1-py3-none-any.whl"
    (folder / wheel).write_bytes(_wheel("delay_model", "0.1", {"__init__.py": code}))
    (folder / "model.json").write_text(model)
    (folder / "request.json").write_text(json.dumps(request))
    expected = 1 / (1 + math.exp(-json.loads(model)["noise"] * x))
    samples = {"requests": [{**request["example"], "x": x}], "probabilities": [expected]}
    (folder / "samples.json").write_text(json.dumps(samples))
    (folder / "model-card.md").write_text("# Delay\n")
    _promise(folder, wheel=wheel, entry="delay_model:load", model="model.json")
    return folder


def any_build(folder: Path, body: str, answer: Any, expected: list[float]) -> Path:
    """Write the build of a model that takes one number ``x`` and answers what the expression ``body`` says of it."""
    folder.mkdir(parents=True)
    wheel = "any_model-0.1-py3-none-any.whl"
    code = (
        "import numpy as np\n\nclass Model:\n    def predict(self, batch):\n"
        f"        x = batch.column('x').to_numpy()\n        return {body}\n\ndef load(path):\n    return Model()\n"
    )
    (folder / wheel).write_bytes(_wheel("any_model", "0.1", {"__init__.py": code}))
    (folder / "model.json").write_text("{}")
    request: dict[str, Any] = {"columns": [{"name": "x", "type": "number"}], "example": {"x": 0.5}}
    (folder / "request.json").write_text(json.dumps(request | ({"answer": answer} if answer is not None else {})))
    told: dict[str, Any] = {"answers": [expected]} if answer is not None else {"probabilities": expected}
    (folder / "samples.json").write_text(json.dumps({"requests": [{"x": 0.5}], **told}))
    (folder / "model-card.md").write_text("# Any\n")
    _promise(folder, wheel=wheel, entry="any_model:load", model="model.json")
    return folder


def flight_build(folder: Path, model: Path, frame: "pd.DataFrame") -> Path:
    """Write a build of the flight-delay model in the file ``model``, with the wheel of this checkout's code.

    The requests of ``frame`` become its samples, with what the pipeline says of them.
    """
    from flight_delay.model_file import load_model
    from flight_delay.serving import schema

    folder.mkdir(parents=True)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(ROOT / "src/flight_delay")]
    subprocess.run([*build, "-o", str(folder)], check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    (folder / "model.skops").write_bytes(model.read_bytes())
    (folder / "request.json").write_text(json.dumps(schema()))
    probabilities = load_model(model).predict_proba(frame)[:, 1].tolist()
    (folder / "samples.json").write_text(json.dumps({"requests": as_requests(frame), "probabilities": probabilities}))
    (folder / "model-card.md").write_text("# Flight delay\n")
    (folder / "pipeline.lock").write_bytes((ROOT / "requirements/pipeline.lock").read_bytes())
    _promise(folder, wheel=wheel.name, entry="flight_delay.serving:load", model="model.skops", lock="pipeline.lock")
    return folder


def as_requests(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return the rows of a frame as a caller would write them in JSON; what is missing is left out."""
    times = {name: frame[name].dt.strftime("%Y-%m-%dT%H:%M:%S") for name in frame.select_dtypes("datetime").columns}
    rows = json.loads(frame.assign(**times).to_json(orient="records"))
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def _promise(folder: Path, **more: Any) -> None:
    told = {"schema": SCHEMA, "request": "request.json", "samples": "samples.json", "card": "model-card.md"} | more
    (folder / SERVING).write_text(json.dumps({key: value for key, value in told.items() if value is not None}))


def _wheel(package: str, version: str, files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(f"{package}/{name}"), content)
        metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\nRequires-Dist: numpy\n"
        archive.writestr(zipfile.ZipInfo(f"{package}-{version}.dist-info/METADATA"), metadata)
    return out.getvalue()
