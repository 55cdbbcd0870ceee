"""The model's file: the same bytes for the same fit, no type but the listed ones, and no other format ever read."""

import io
import json
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from tests.flight_delay.small_pipeline import ROOT, SmallPipeline
from tests.length import length

from flight_delay.model_file import TYPES, ModelFileError, canonical, dump_model, load_model, save_model

MODEL = Path("models/flight-delay.skops")


@pytest.fixture(scope="session")
def content(made: SmallPipeline) -> bytes:
    return (made.root / MODEL).read_bytes()


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def archive_of(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def types_in(content: bytes) -> set[str]:
    found: set[str] = set()

    def note(node: dict[str, Any]) -> dict[str, Any]:
        if "__class__" in node:
            found.add(f"{node['__module__']}.{node['__class__']}")
        return node

    json.loads(members(content)["schema.json"], object_hook=note)
    return found


def refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as error:
        load_model(path)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value).removeprefix(f"{path}: ")


# Bytes


def test_the_list_of_types_is_exactly_what_stands_in_the_file(content: bytes) -> None:
    assert types_in(content) == TYPES


def test_canonical_changes_nothing_that_is_canonical(content: bytes, model: Pipeline) -> None:
    assert canonical(content) == content
    by_skops = skops.io.dumps(model)
    assert by_skops != canonical(by_skops) == canonical(canonical(by_skops))


def test_loading_and_saving_gives_the_same_bytes(model: Pipeline, content: bytes, tmp_path: Path) -> None:
    save_model(tmp_path / "again.skops", model)
    assert (tmp_path / "again.skops").read_bytes() == content


def test_the_canonical_file_scores_as_the_model_it_was_made_of(
    made: SmallPipeline, requests: pd.DataFrame, tmp_path: Path
) -> None:
    from flight_delay.files import read_frame
    from flight_delay.params import load_params
    from flight_delay.train import train

    fitted = train(read_frame(made.root / "data/prepared/train.parquet"), load_params(made.root / "params.yaml").train)
    save_model(tmp_path / "model.skops", fitted)
    assert np.array_equal(load_model(tmp_path / "model.skops").predict_proba(requests), fitted.predict_proba(requests))


def test_no_clock_no_address_and_no_compression_is_in_the_file(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
    assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
    assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
    assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
    assert '"__id__":0,' in members(content)["schema.json"].decode()
    ids = {int(number) for number in re.findall(r'"__id__":(\d+)', members(content)["schema.json"].decode())}
    assert ids == set(range(len(ids)))


def test_another_process_with_another_hash_seed_writes_the_same_bytes(small: SmallPipeline, content: bytes) -> None:
    (small.root / MODEL).unlink()
    done = small.command("train", PYTHONHASHSEED="4242")
    assert (done.returncode, done.stderr) == (0, "")
    assert (small.root / MODEL).read_bytes() == content


# Refusals


class Shout:
    """An object whose unpickling would be noticed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("unpickled"),))


def test_a_pickle_and_a_joblib_file_are_refused_and_not_unpickled(
    tmp_path: Path, model: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    joblib.dump([Shout(), model], "model.joblib")
    for content in (pickle.dumps(Shout()), pickle.dumps(model), Path("model.joblib").read_bytes()):
        assert refusal(Path("model.skops"), content).startswith("not a whole skops file (BadZipFile: ")
    assert not Path("unpickled").exists()


def test_a_pickle_inside_a_skops_file_is_refused_and_not_unpickled(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    array = io.BytesIO()
    np.save(array, np.array([Shout()]), allow_pickle=True)
    files = members(content)
    for planted in (array.getvalue(), pickle.dumps(Shout())):
        altered = {name: planted if name.endswith(".npy") else data for name, data in files.items()}
        assert refusal(Path("model.skops"), archive_of(altered)).startswith("not a whole skops file (ValueError: ")
    assert not Path("unpickled").exists()


def test_a_type_that_is_not_listed_is_refused_by_name_before_anything_is_built(
    tmp_path: Path, content: bytes, model: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = (
        "holds types that are not on the list of trusted ones: sklearn.linear_model._logistic.LogisticRegression."
    )
    assert refusal(tmp_path / "m.skops", skops.io.dumps(LogisticRegression())) == expected
    with pytest.raises(ModelFileError, match=r"^this model: holds types that are not on the list .*LogisticRegression"):
        dump_model(Pipeline([("classifier", LogisticRegression())]))
    files = members(content)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "planted.py").write_text(
        "from pathlib import Path\nPath('imported').touch()\nclass RequestFeatures: ...\n"
    )
    monkeypatch.chdir(tmp_path)
    files["schema.json"] = files["schema.json"].replace(b'"flight_delay.features"', b'"planted"')
    assert "trusted ones: planted.RequestFeatures." in refusal(tmp_path / "m.skops", archive_of(files))
    assert not Path("imported").exists()


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "subprocess.Popen"])
@pytest.mark.parametrize("loader", ["FunctionNode", "TypeNode", "ObjectNode", "MethodNode", "PartialNode"])
def test_no_loader_of_skops_brings_in_what_is_not_listed(
    name: str, loader: str, tmp_path: Path, content: bytes
) -> None:
    module, _, kind = name.rpartition(".")
    files = members(content)
    schema = json.loads(files["schema.json"])
    node = {
        "__class__": kind, "__module__": module, "__loader__": loader, "__id__": 10**6,
        "content": {"module_path": module, "function": kind, "func": kind, "obj": None, "attrs": {}}, "file": "0.npy",
    }  # fmt: skip
    files["schema.json"] = json.dumps(schema | {"content": node | {"content": node["content"]}}).encode()
    assert f"trusted ones: {name}." in refusal(tmp_path / "m.skops", archive_of(files))
    listed = node | {"__class__": "str", "__module__": "builtins"}  # a listed name over what is not
    files["schema.json"] = json.dumps(schema | {"content": listed}).encode()
    refusal(tmp_path / "m.skops", archive_of(files))


def test_a_file_of_listed_types_that_is_no_model_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "m.skops", skops.io.dumps([1, "a"])) == "holds a list, not a model."


def test_a_file_cut_anywhere_is_refused(content: bytes, tmp_path: Path) -> None:
    for size in (0, 1, 100, len(content) // 2, len(content) - 1):
        assert refusal(tmp_path / "m.skops", content[:size]).startswith("not a whole skops file (")


@settings(max_examples=length(25, 500))
@given(data=st.data())
def test_a_file_altered_anywhere_loads_equal_or_is_refused_in_one_way(
    data: st.DataObject, content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = data.draw(st.integers(0, len(content) - 1))
    altered = bytearray(content)
    altered[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "altered.skops"
    path.write_bytes(altered)
    try:
        model = load_model(path)
    except ModelFileError:
        return
    assert dump_model(model) == content  # the byte was of no consequence: zip keeps some that nobody reads


def test_a_model_that_is_missing_or_cut_stops_evaluate_and_leaves_the_last_reports(small: SmallPipeline) -> None:
    path = small.root / MODEL
    path.write_bytes(path.read_bytes()[:5000])
    assert small.refused_here("evaluate").startswith("models/flight-delay.skops: not a whole skops file (BadZipFile")
    path.unlink()
    assert small.refused_here("evaluate").startswith("models/flight-delay.skops: No such file or directory.")


LOADS_WITHOUT_PICKLE = """
import pickle, sys
import skops.io  # what it imports may unpickle tables of its own
from pathlib import Path
from flight_delay.model_file import load_model
def refuse(event, arguments):
    if event == "pickle.find_class":
        sys.exit(f"unpickled {arguments}")
sys.addaudithook(refuse)
print(type(load_model(Path("models/flight-delay.skops"))).__name__)
pickle.loads(pickle.dumps(Path()))
"""


def test_loading_a_model_unpickles_nothing(made: SmallPipeline) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADS_WITHOUT_PICKLE],
        cwd=made.root, env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "Pipeline\n"
    assert done.stderr == "unpickled ('pathlib', 'PosixPath')\n"  # the watch was kept: by the last line
