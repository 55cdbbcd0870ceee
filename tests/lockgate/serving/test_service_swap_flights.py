"""A service between two releases of the flights model, one whose request is version 1 and one of version 2."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.flight_delay.serving_flights import flights, trained
from tests.lockgate.releases import ACTOR, STAGING, Keys
from tests.lockgate.serving.test_service_swap import UnderLoad
from tests.lockgate.serving_builds import ROOT, as_requests, flight_build
from tests.lockgate.serving_harness import command, roll_back, serving
from tests.lockgate.serving_load import post

from flight_delay.model_file import save_model
from flight_delay.request import HISTORY, REQUEST
from flight_delay.serving import schema
from lockgate.releasing.promotion import promote
from lockgate.releasing.registry import Registry

pytest_plugins = ("tests.lockgate.release_fixtures",)

FORMER = ROOT / "tests/fixtures/frozen/flights-request-1/build.zip"


def publish(registry: Registry, keys: Keys, build: Path, version: str) -> None:
    registry.publish(build, version, {}, signer=keys.signer, actor=ACTOR)
    promote(registry, version, STAGING, keys.signer, ACTOR)


def frame_of(requests: list[dict[str, Any]]) -> pd.DataFrame:
    """Return requests as the pipeline takes them."""
    kinds = {column["name"]: column["type"] for column in schema()["columns"]}
    frame = pd.DataFrame(requests).reindex(columns=list(REQUEST))
    for name, kind in kinds.items():
        if kind == "timestamp":
            frame[name] = pd.to_datetime(frame[name])
        elif kind == "integer":
            frame[name] = frame[name].astype("Int64")
    return frame


@pytest.mark.slow
def test_from_request_version_1_to_2_and_back_no_request_fails_and_each_release_answers_as_itself(
    registry: Registry, keys: Keys, tmp_path: Path
) -> None:
    """Old clients tell nothing of the hours before, new ones do; neither notices which release there is."""
    with zipfile.ZipFile(FORMER) as archive:
        archive.extractall(tmp_path / "former")
    former = json.loads((tmp_path / "former/samples.json").read_text())
    old: list[dict[str, Any]] = former["requests"]
    assert not set(HISTORY) & {name for request in old for name in request}
    known = as_requests(flights(len(old), seed=1)[list(HISTORY)])
    new = [request | more for request, more in zip(old, known, strict=True)]
    assert any(set(HISTORY) & set(request) for request in new)

    pipeline = trained(max_iter=20)
    save_model(tmp_path / "model.skops", pipeline)
    later = flight_build(tmp_path / "later", tmp_path / "model.skops", frame_of(old + new))
    expected = {
        "flight-delay@v1.0.0": former["probabilities"] * 2,
        "flight-delay@v2.0.0": json.loads((later / "samples.json").read_text())["probabilities"],
    }
    assert json.loads((later / "request.json").read_text())["version"] == 2

    publish(registry, keys, tmp_path / "former", "v1.0.0")
    both = post("/v1/predict", json.dumps(old + new).encode())
    ignoring = command(registry, keys, tmp_path / "cache", "--unknown-fields", "ignore")
    with serving(ignoring, tmp_path / "log") as served:

        def runs(number: int) -> bool:
            return bool(served.ready()["release"] == f"flight-delay@v{number}.0.0")

        loaded = UnderLoad(served.port, connections=2, requests=[both])
        try:
            publish(registry, keys, later, "v2.0.0")
            served.until(lambda: runs(2))
            roll_back(registry, keys, 1)
            served.until(lambda: runs(1))
        finally:
            seen = loaded.end()
    assert seen.errors == []
    assert set(seen.statuses) == {200}
    answers = [json.loads(body) for body in seen.bodies]
    assert {answer["release"] for answer in answers} == set(expected)
    for answer in answers:
        assert answer["probabilities"] == expected[answer["release"]]
