"""Models that answer something else than a probability: a number, an interval, the probabilities of classes."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.lockgate.releases import QUICK, make_keys, promoted, publish
from tests.lockgate.serving_builds import any_build
from tests.lockgate.serving_harness import command, serving

from lockgate import policy
from lockgate.cli import main
from lockgate.releasing.registry import Registry
from lockgate.serving.answers import Answer, AnswerError
from lockgate.serving.contract import ContractError, read_contract
from lockgate.serving.process import ModelFailed, start, unpack
from lockgate.store import open_store

STAGING = policy.Environment("staging", None, "none", ())
KINDS: dict[str, tuple[dict[str, Any] | None, str, list[float]]] = {
    "number": ({"kind": "number"}, "1000 * x", [500.0]),
    "interval": ({"kind": "number", "interval": 0.9}, "np.stack([x, x - 1, x + 2], axis=1)", [0.5, -0.5, 2.5]),
    "classes": (
        {"kind": "classes", "classes": ["cat", "dog", "eel"]}, "np.stack([x / 2, x / 4, 1 - 0.75 * x], axis=1)",
        [0.25, 0.125, 0.625],
    ),
    "lists": ({"kind": "classes", "classes": ["a", "b"]}, "[[v, 1 - v] for v in x.tolist()]", [0.5, 0.5]),
    "columns": (
        {"kind": "number", "interval": 0.5}, "np.asfortranarray(np.stack([x, x, x + 1], axis=1).astype('float32'))",
        [0.5, 0.5, 1.5],
    ),
}  # fmt: skip


def predicted(folder: Path) -> Any:
    loadable = unpack("m@v1", folder)
    process = start(loadable)
    try:
        request = loadable.contract.request
        return process.predict(request.batch([{"x": 0.5}, {"x": 0.25}])), request.answer
    finally:
        process.close()
        loadable.discard()


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_each_kind_answers_as_its_build_promises(tmp_path: Path, kind: str) -> None:
    answer, body, expected = KINDS[kind]
    numbers, told = predicted(any_build(tmp_path / "build", body, answer, expected))
    assert numbers.reshape(2, -1)[0].tolist() == pytest.approx(expected)
    assert told.table(numbers).num_rows == 2


@pytest.mark.parametrize(
    ("answer", "body", "expected", "said"),
    [
        ({"kind": "number"}, "x * np.inf", [0.5], "not a finite number"),
        ({"kind": "number", "interval": 0.9}, "np.stack([x, x + 1, x], axis=1)", [0.5, 0.0, 1.0], "low end is above"),
        ({"kind": "number", "interval": 0.9}, "x", [0.5, 0.0, 1.0], "shape"),
        ({"kind": "classes", "classes": ["a", "b"]}, "np.stack([x, x], axis=1) / 3", [0.5, 0.5], "do not sum to 1"),
        ({"kind": "classes", "classes": ["a", "b"]}, "np.stack([x, -x], axis=1)", [0.5, 0.5], "not a probability"),
        ({"kind": "classes", "classes": ["a", "b"]}, "np.stack([x, x, x], axis=1)", [0.5, 0.5], "shape"),
        ({"kind": "number"}, "1000 * x + 0.001", [500.0], "is expected"),
        (None, "2 * x + 1", [0.5], "not a probability"),
    ],
)
def test_an_answer_that_is_none_of_its_kind_is_refused_and_says_what_it_was(
    tmp_path: Path, answer: Any, body: str, expected: list[float], said: str
) -> None:
    with pytest.raises(ModelFailed, match=said):
        predicted(any_build(tmp_path / "build", body, answer, expected))


@pytest.mark.parametrize(
    "answer",
    [
        {"kind": "ranks"},
        {"kind": "classes"},
        {"kind": "classes", "classes": ["a"]},
        {"kind": "classes", "classes": ["a", "a"]},
        {"kind": "classes", "classes": ["a", 1]},
        {"kind": "number", "classes": ["a", "b"]},
        {"kind": "probability", "interval": 0.5},
        {"kind": "number", "interval": 1.5},
        {"kind": "number", "interval": True},
        {"kind": "number", "more": 1},
        ["number"],
    ],
)
def test_what_no_answer_can_be_is_refused_where_the_build_is_read(tmp_path: Path, answer: Any) -> None:
    with pytest.raises(AnswerError):
        Answer.of(answer)
    with pytest.raises(ContractError, match=r"answer"):
        read_contract(any_build(tmp_path / "build", "x", answer, [0.5]))


def test_a_service_a_batch_and_the_record_say_the_classes_by_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = make_keys(tmp_path / "keys")
    registry = Registry(open_store(str(tmp_path / "store"), create=True, patience=QUICK), "pets", keys.verifier)
    answer, body, expected = KINDS["classes"]
    publish(registry, keys, any_build(tmp_path / "build", body, answer, expected), "v1.0.0")
    promoted(registry, keys, "v1.0.0", STAGING)
    words = command(registry, keys, tmp_path / "cache", "--record", str(tmp_path / "record"))
    with serving(words, tmp_path / "log") as served:
        told = served.predict([{"x": 0.5}, {"x": 1.0}])
        openapi = served.http.get("/openapi.json").json()
    assert told["predictions"] == ["eel", "cat"]
    assert told["probabilities"] == [
        {"cat": 0.25, "dog": 0.125, "eel": 0.625},
        {"cat": 0.5, "dog": 0.25, "eel": 0.25},
    ]
    schema = openapi["paths"]["/v1/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema["properties"]["predictions"]["items"] == {"enum": ["cat", "dog", "eel"]}
    [file] = (tmp_path / "record").rglob("day=*/*.parquet")
    recorded = pq.read_table(file).to_pylist()
    assert [one["probability"] for one in recorded] == [None, None]
    assert json.loads(recorded[1]["answer"]) == {
        "prediction": "cat", "probabilities": {"cat": 0.5, "dog": 0.25, "eel": 0.25},
    }  # fmt: skip

    (tmp_path / "in.csv").write_text("pet,x\n7,0.5\n8,1\n")
    asked = ["--store", registry.store.url, "--public-key", str(keys.verifier.public_key), "--key", "pet"]
    where = ["--cache", str(tmp_path / "cache"), "--processes", "1"]
    assert main(["score", "staging", str(tmp_path / "in.csv"), str(tmp_path / "scores"), *asked, *where]) == 0
    [part] = (tmp_path / "scores").glob("part-*.parquet")
    scores = pq.read_table(part).to_pylist()
    assert [(one["pet"], one["prediction"], one["probability_cat"]) for one in scores] == [
        (7, "eel", 0.25), (8, "cat", 0.5),
    ]  # fmt: skip
    database = f"sqlite:///{tmp_path}/scores.db"
    for _ in range(2):  # the second time everything is there
        ended = main(["score", "staging", str(tmp_path / "in.csv"), database, "--table", "scores", *asked, *where])
        assert ended == 0
    with sqlite3.connect(tmp_path / "scores.db") as connection:
        found = connection.execute("SELECT pet, prediction, probability_eel FROM scores ORDER BY pet").fetchall()
    assert found == [(7, "eel", 0.625), (8, "cat", 0.25)]
