"""Several models in one policy: what is a model's own, what is the repository's, and what is refused."""

import re

import jsonschema
import pytest
from tests.lockgate import two_models

from lockgate.gates import Min
from lockgate.policy import NoSuchModel, PolicyError, SeveralModels, json_schema, read_models, read_policy
from lockgate.strict_yaml import YamlError, load

TWO = """\
models:
  delay:
    metrics:
      auc: {file: delay/metrics.json, key: auc, better: higher}
    predictions: {file: delay/p.csv, key: [id], label: y, score: p}
  folder:risk:
    opaque: true
    metrics:
      auc: {file: risk/metrics.json, key: auc, better: higher}
    predictions: {file: risk/p.csv, key: [id], label: y, score: p}
    gates: [{kind: min, metric: auc, value: 0.5}]
    environments: {live: {}}
environments: {staging: {gates: [{kind: min, metric: auc, value: 0.6}]}}
dependencies: {lock: requirements.lock, python: "3.11"}
stages: {network: false}
lock: claimed
withdrawn: refuse
"""


def test_each_model_has_its_own_sections_and_what_the_repository_has() -> None:
    models = read_models(TWO)
    delay, risk = models.policies

    assert models.several
    assert models.names == ("delay", "folder:risk")
    assert (delay.opaque, risk.opaque) == (False, True)
    assert (delay.gates, risk.gates) == ((), (Min("auc", 0.5),))
    for one in (delay, risk):
        assert (one.lock, one.withdrawn, one.stages.network) == ("claimed", "refuse", False)
        assert one.dependencies is not None
    assert [place.name for place in delay.environments] == ["staging"]  # inherited
    assert [place.name for place in risk.environments] == ["live"]  # its own instead


def test_a_model_is_found_by_the_name_of_its_artifact_and_by_that_of_its_releases() -> None:
    models = read_models(TWO)

    assert models.of("folder:risk") == models.of("folder=risk") == models.belonging_to("folder=risk")
    with pytest.raises(SeveralModels, match="delay, folder:risk"):
        models.of(None)
    with pytest.raises(NoSuchModel, match="did you mean 'delay'"):
        read_policy(TWO, "dealy")


def test_one_model_is_found_without_its_name_and_by_no_other() -> None:
    text = TWO.replace("  folder:risk:", "unused:").split("unused:")[0]
    assert read_policy(text).model == "delay"

    alone = read_models("model: m\nmetrics: {a: {file: m.json, key: a, better: higher}}\n")
    assert not alone.several
    assert alone.belonging_to("another").model == "m"  # as it was before there could be several
    with pytest.raises(NoSuchModel):
        alone.of("another")


@pytest.mark.parametrize(
    ("old", "new", "place", "said"),
    [
        ("models:\n", "model: delay\nmodels:\n", "model", "beside `models:`"),
        ("lock: claimed", "gates: []", "gates", "is about one model"),
        ("    opaque: true", "    lock: claimed", "models.folder:risk.lock", "is the repository's"),
        ("    opaque: true", "    opak: true", "models.folder:risk.opak", "did you mean 'opaque'"),
        ("risk/metrics.json", "delay/metrics.json", "models.folder:risk.metrics.auc", "the model 'delay' has"),
        ("risk/p.csv", "delay/p.csv", "models.folder:risk.predictions.file", "the model 'delay' has the scores"),
        ("metric: auc, value: 0.5", "metric: acu, value: 0.5", "models.folder:risk.gates[0].metric", "no such metric"),
        ("metric: auc, value: 0.6", "metric: acu, value: 0.6", "environments.staging.gates[0].metric", "'delay'"),
        ("  delay:\n", "  my delay:\n", "models.my delay", "GTO cannot tag"),
        ("lock: claimed", "horizon: 3", "horizon", "unknown key"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place_in_the_whole_file(old: str, new: str, place: str, said: str) -> None:
    assert old in TWO
    with pytest.raises(PolicyError, match=re.escape(said)) as caught:
        read_models(TWO.replace(old, new, 1))

    assert caught.value.place == place
    assert caught.value.position is not None


def test_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(YamlError, match="delay"):
        read_models(TWO.replace("  folder:risk:\n", "  delay:\n"))


@pytest.mark.parametrize("text", ["models: {}", "models:", "models: [a]"])
def test_models_without_a_model_are_refused(text: str) -> None:
    with pytest.raises(PolicyError, match="models"):
        read_models(text)


@pytest.mark.parametrize("text", [TWO, two_models.POLICY])
def test_an_editor_accepts_what_is_read_and_marks_what_is_misplaced(text: str) -> None:
    read_models(text)
    validator = jsonschema.Draft7Validator(json_schema())
    validator.validate(load(text, "lockgate.yaml"))
    for wrong in ("model: x\n", "gates: []\n", "horizon: 3\n"):
        assert not validator.is_valid(load(text + wrong, "lockgate.yaml"))
