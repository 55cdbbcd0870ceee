import json
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lockgate import samples
from tests.lockgate.poison import poisoned
from tests.lockgate.rendering.test_escape import NASTY

from lockgate.errors import LockgateError
from lockgate.result import SCHEMA, Result, Results, json_schema, read_result, read_results

PUBLISHED = Path(__file__).parents[2] / "src" / "lockgate" / "result.schema.json"


def test_the_published_schema_is_the_one_of_the_classes(refresh_golden: bool) -> None:
    made = json.dumps(json_schema(), indent=1, sort_keys=True) + "\n"
    if refresh_golden:
        PUBLISHED.write_text(made, encoding="utf-8")
    assert resources.files("lockgate").joinpath("result.schema.json").read_text(encoding="utf-8") == made


def test_the_published_schema_of_several_models_is_the_one_of_the_classes(refresh_golden: bool) -> None:
    made = json.dumps(json_schema(Results), indent=1, sort_keys=True) + "\n"
    if refresh_golden:
        PUBLISHED.with_name("results.schema.json").write_text(made, encoding="utf-8")
    assert resources.files("lockgate").joinpath("results.schema.json").read_text(encoding="utf-8") == made


def test_the_results_of_several_models_survive_their_json_form_and_are_not_taken_for_one() -> None:
    one, other = samples.better_model(), samples.failing_gate()
    several = Results(one.base, one.head, other.verdict, one.lock, (one, other), ("third",), ("gone",), one.stages)
    text = several.to_json()

    assert read_results(text) == several
    assert read_results(one.to_json()) == one
    jsonschema.Draft202012Validator(json_schema(Results)).validate(json.loads(text))
    with pytest.raises(LockgateError):
        read_result(text)
    with pytest.raises(LockgateError, match=r"models\.0\.verdict"):
        read_results(text.replace('"outcome": "passed"', '"outcome": "splendid"', 1))
    for wrong in ("[]", "{}", "[" * 5000, '{"schema": "lockgate.result/3"}'):
        with pytest.raises(LockgateError):
            read_results(wrong)


@pytest.mark.parametrize("sample", samples.SAMPLES.values(), ids=samples.SAMPLES.keys())
def test_a_result_survives_its_json_form(sample: Any) -> None:
    result: Result = sample()
    text = result.to_json()
    assert read_result(text) == result
    assert read_result(text).to_json() == text
    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(text))


@given(NASTY)
def test_any_text_survives_the_json_form(value: str) -> None:
    result = poisoned(samples.failing_gate(), value)
    assert read_result(result.to_json().encode("utf-8")) == result


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_figure_survives_the_json_form_exactly(value: float) -> None:
    result = samples.noise()
    changed = json.loads(result.to_json())
    changed["metrics"][0]["base"] = value
    assert read_result(json.dumps(changed)).metrics[0].base == value


@pytest.mark.parametrize("figure", ["NaN", "Infinity", "-Infinity", "1e999", '"0.5"', "true"])
def test_a_figure_that_is_none_is_refused(figure: str) -> None:
    text = samples.noise().to_json().replace('"base": 0.68871', f'"base": {figure}')
    with pytest.raises(LockgateError, match=r"metrics\.0\.base"):
        read_result(text)


def test_a_result_with_nan_cannot_be_written() -> None:
    from dataclasses import replace

    result = samples.noise()
    broken = replace(result, metrics=(replace(result.metrics[0], head=float("nan")),))
    with pytest.raises(ValueError, match="Out of range"):
        broken.to_json()


@pytest.mark.parametrize("path", [("surprise",), ("verdict", "surprise"), ("metrics", 0, "surprise")])
def test_an_unknown_key_is_refused_by_its_place(path: tuple[str | int, ...]) -> None:
    changed: Any = json.loads(samples.noise().to_json())
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = 1
    with pytest.raises(LockgateError, match="surprise") as caught:
        read_result(json.dumps(changed))
    assert ".".join(map(str, path)) in str(caught.value)


def test_another_version_of_the_schema_is_refused() -> None:
    text = samples.noise().to_json().replace(SCHEMA, "lockgate.result/2")
    with pytest.raises(LockgateError, match="schema"):
        read_result(text)
