import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from tests.lockgate.frozen import FROZEN

from lockgate.gates import Ceiling, DataChecksPass, Floor, MetricsComplete, ModelSize, NoWorse, SlicesNoWorse
from lockgate.policy import (
    Dependencies,
    Environment,
    OutcomeSettings,
    PolicyError,
    Rebuilding,
    ReferenceSettings,
    Serving,
    Stages,
    Training,
    json_schema,
    older_words,
    read_policy,
)
from lockgate.strict_yaml import load

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "docs/lockgate.schema.json"


def test_a_model_is_named_alone_or_with_what_it_is() -> None:
    assert (read_policy(TEXT).model, read_policy(TEXT).opaque) == ("flight-delay", False)
    opaque = read_policy(TEXT.replace("model: flight-delay", "model: {name: flight-delay, opaque: true}"))
    assert (opaque.model, opaque.opaque) == ("flight-delay", True)
    for wrong in ("{name: x, opaque: yes-please}", "{opaque: true}", "{name: x, sealed: true}", "[x]"):
        with pytest.raises(PolicyError, match="model"):
            read_policy(TEXT.replace("model: flight-delay", f"model: {wrong}"))


def test_an_opaque_model_is_not_served() -> None:
    served = "serving: {code: src/m, entry: 'm:load', request: 'm:schema', samples: data/x.parquet}\n"
    assert read_policy(TEXT + served).serving is not None
    with pytest.raises(PolicyError, match="serving"):
        read_policy(TEXT.replace("model: flight-delay", "model: {name: flight-delay, opaque: true}") + served)


TEXT = """\
model: flight-delay
metrics:
  roc_auc: {file: reports/metrics.json, key: roc_auc.model, better: higher, statistic: roc_auc}
  log_loss: {file: reports/metrics.json, key: log_loss.model, better: lower}
  revenue: {file: reports/metrics.json, key: revenue, better: higher}
predictions:
  file: reports/predictions.parquet
  key: [date, carrier, flight]
  label: late
  score: probability
  slices: [carrier, month]
  slice_metric: roc_auc
validation: reports/validation.json
plots: [{file: reports/plots/roc.json, title: ROC, x: fpr, y: tpr}]
seed: train.seed
gates:
  - {kind: floor, metric: roc_auc, value: 0.69}
  - {kind: ceiling, metric: log_loss, value: 1}
  - {kind: no-worse, metric: roc_auc, tolerance: 0.002}
  - {kind: slices-no-worse, metric: roc_auc, tolerance: 0.01, rows: 1000, columns: [carrier]}
  - {kind: data-checks}
  - {kind: model-size, at_most: 20 MB}
  - {kind: metrics-complete}
environments:
  staging: {}
  production: {after: staging, rebuilt: full, gates: [{kind: floor, metric: roc_auc, value: 0.7}]}
"""


def test_a_whole_policy_is_read_as_written() -> None:
    policy = read_policy(TEXT)

    assert policy.model == "flight-delay"
    assert [metric.statistic for metric in policy.metrics] == ["roc_auc", "log_loss", None]
    assert policy.predictions is not None
    assert policy.predictions.key == ("date", "carrier", "flight")
    assert policy.gates == (
        Floor("roc_auc", 0.69),
        Ceiling("log_loss", 1.0),
        NoWorse("roc_auc", 0.002),
        SlicesNoWorse("roc_auc", 0.01, 1000, ("carrier",)),
        DataChecksPass(),
        ModelSize(20_000_000),
        MetricsComplete(),
    )
    assert policy.environments == (
        Environment("staging", None, "none", ()),
        Environment("production", "staging", "full", (Floor("roc_auc", 0.7),)),
    )


def test_what_a_policy_leaves_out_is_empty_not_guessed() -> None:
    policy = read_policy("model: m\nmetrics: {cost: {file: m.json, key: cost, better: lower}}\n")

    empty = {
        field.name: getattr(policy, field.name) for field in fields(policy) if field.name not in ("model", "metrics")
    }
    assert empty == {
        "predictions": None,
        "validation": None,
        "plots": (),
        "train": None,
        "gates": (),
        "environments": (),
        "lock": "reproduced",
        "withdrawn": "warn",
        "serving": None,
        "dependencies": None,
        "rebuild": Rebuilding(),
        "unverified": "refuse",
        "ignored": (),
        "opaque": False,
        "stages": Stages(),
        "operating_point": None,
        "importance": None,
        "data": (),
        "alarms": None,
        "test_set": None,
        "retrain": None,
        "staleness": None,
        "outcomes": OutcomeSettings(),
        "drawn": None,
        "reference": ReferenceSettings(),
    }


SERVING = "serving: {code: src/m, entry: m.serving:load, request: m.serving:schema, samples: data/test.parquet}\n"


def test_what_makes_a_release_servable_is_read() -> None:
    assert read_policy(TEXT + SERVING).serving == Serving(
        "src/m", "m.serving:load", "m.serving:schema", "data/test.parquet"
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("code: src/m", "code: ../m", "serving.code: must be a path inside the repository"),
        ("entry: m.serving:load", "entry: m.serving", "serving.entry: must name a function as package.module:function"),
        ("entry: m.serving:load", "entry: 'os:system(1)'", "serving.entry: must name a function"),
        (", samples: data/test.parquet", "", "serving.samples: is missing"),
        ("samples:", "sample:", "serving.sample: unknown key (it is 'data/test.parquet'); did you mean 'samples'?"),
    ],
)
def test_a_serving_section_that_says_too_little_or_something_else_is_refused(old: str, new: str, said: str) -> None:
    with pytest.raises(PolicyError) as caught:
        read_policy(TEXT + SERVING.replace(old, new))
    assert said in str(caught.value)


def test_a_statistic_can_be_switched_off() -> None:
    text = "model: m\nmetrics: {roc_auc: {file: m.json, key: a, better: higher, statistic: null}}\n"

    assert read_policy(text).metrics[0].statistic is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("model: flight-delay", "", "model: is missing"),
        ("model: flight-delay", "model:", "model: must be text (it is empty)"),
        (
            "model: flight-delay",
            "modell: flight-delay",
            "modell: unknown key (it is 'flight-delay'); did you mean 'model'?",
        ),
        (
            "better: lower}",
            "beter: lower}",
            "metrics.log_loss.beter: unknown key (it is 'lower'); did you mean 'better'?",
        ),
        ("better: lower}", "better: down}", "metrics.log_loss.better: must be one of higher, lower (it is 'down')"),
        ("better: lower}", "better: higher}", "metrics.log_loss.better: log_loss is better lower (it is 'higher')"),
        ("statistic: roc_auc", "statistic: rocauc", "(it is 'rocauc'); did you mean 'roc_auc'?"),
        ("key: log_loss.model", "key: roc_auc.model", "metrics: two metrics have the same key of the same file"),
        (
            "file: reports/predictions.parquet",
            "file: /etc/passwd",
            "predictions.file: must be a path inside the repository",
        ),
        ("file: reports/predictions.parquet", "file: ../x.parquet", "predictions.file: must be a path inside"),
        ("key: [date, carrier, flight]", "key: []", "predictions.key: must name at least one column"),
        ("key: [date, carrier, flight]", "key: date", "predictions.key: must be a list (it is 'date')"),
        ("slices: [carrier, month]", "slices: [carrier, carrier]", "predictions.slices[1]: is a duplicate"),
        ("slice_metric: roc_auc", "slice_metric: revenue", "slice_metric: has no `statistic:` by which"),
        ("  slice_metric: roc_auc\n", "", "predictions.slice_metric: is missing"),
        ("kind: floor, metric: roc_auc, value: 0.69", "kind: flor", "did you mean 'floor'?"),
        ("kind: floor, metric: roc_auc, value: 0.69", "kind: [floor]", "gates[0].kind: must be one of"),
        ("kind: floor, metric: roc_auc, value: 0.69", "metric: roc_auc", "gates[0].kind: is missing"),
        ("{kind: floor, metric: roc_auc, value: 0.69}", "floor", "gates[0]: must be a mapping (it is 'floor')"),
        ("value: 0.69", "value: true", "gates[0].value: must be a finite number (it is True)"),
        ("value: 0.69", "value: .nan", "gates[0].value: must be a finite number (it is nan)"),
        ("value: 0.69", "value: '0.69'", "gates[0].value: must be a finite number (it is '0.69')"),
        ("metric: roc_auc, value: 0.69", "metric: roc_au, value: 0.69", "(it is 'roc_au'); did you mean 'roc_auc'?"),
        ("tolerance: 0.002", "tolerance: -1", "gates[2].tolerance: must be 0 or more (it is -1)"),
        (
            "tolerance: 0.002",
            "tolerence: 0.002",
            "gates[2].tolerence: unknown key (it is 0.002); did you mean 'tolerance'?",
        ),
        ("rows: 1000", "rows: 0", "gates[3].rows: must be a whole number from 1 (it is 0)"),
        (
            "columns: [carrier]",
            "columns: [carriers]",
            "gates[3].columns: not a slice column (it is 'carriers'); did you mean",
        ),
        ("at_most: 20 MB", "at_most: 20", "gates[5].at_most: must be a size such as '20 MB'"),
        ("at_most: 20 MB", "at_most: 20 megs", "gates[5].at_most: must be a size such as '20 MB'"),
        ("validation: reports/validation.json\n", "", "gates[4]: data checks need `validation:`"),
        (
            "after: staging",
            "after: stagin",
            "must name an environment that is listed before this one (it is 'stagin'); did you mean",
        ),
        (
            "after: staging",
            "after: production",
            "environments.production.after: must name an environment that is listed before this one",
        ),
        ("rebuilt: full", "rebuilt: half", "environments.production.rebuilt: must be one of full, none (it is 'half')"),
        (
            "environments:",
            "dependencies: {lock: a.lock, python: 3.11}\nenvironments:",
            "dependencies.python: must be a version of Python in quotes, such as '3.11' (it is 3.11)",
        ),
        (
            "environments:",
            "dependencies: {lock: ../a.lock, python: '3.11'}\nenvironments:",
            "dependencies.lock: must be a path inside the repository",
        ),
        (
            "environments:",
            "stages: {network: maybe}\nenvironments:",
            "stages.network: must be true or false (it is 'maybe')",
        ),
        ("environments:", "stages: {pas: [A]}\nenvironments:", "stages.pas: unknown key"),
        (
            "environments:",
            "stages: {isolation: none}\nenvironments:",
            "stages.isolation: must be one of required, best-effort",
        ),
        ("environments:", "stages: {pass: [A B]}\nenvironments:", "stages.pass[0]: must be the name of an environment"),
        ("environments:", "stages: {pass: [A, HOME]}\nenvironments:", "stages.pass[1]: is never passed to a stage"),
        ("environments:", "stages: {pass: [AWS_PROFILE]}\nenvironments:", "stages.pass[0]: is never passed to a stage"),
        ("environments:", "dependencies: {python: '3.11'}\nenvironments:", "dependencies.lock: is missing"),
        ("environments:", "outcomes: {after: 2}\nenvironments:", "outcomes.after: must be a length of time such as"),
        (
            "environments:",
            "reference: {baseline: [{day: x}]}\nenvironments:",
            "reference.baseline[0]: must be a column",
        ),
        ("environments:", "reference: {baseline: [a]}\nenvironments:", "reference.baseline: needs `serving:`"),
        (
            "environments:",
            "reference: {baseline: [date, {date: x}]}\nenvironments:",
            "reference.baseline[1]: is a second column of the name date",
        ),
        ("  staging: {}", "  prod.eu: {}", "environments.prod.eu: GTO cannot tag this name"),
        ("model: flight-delay", "model: my model", "model: GTO cannot tag this name"),
        ("model: flight-delay", "model: a:b:c", "model: GTO cannot tag this name"),
        ("model: flight-delay", "model: delay-", "model: GTO cannot tag this name"),
        ("  staging: {}", "  'a b': {}", "environments.a b: GTO cannot tag this name"),
        ("  staging: {}", "  1: {}", "environments: its keys must be text (it is '1')"),
    ],
)
def test_what_is_unknown_missing_or_impossible_is_named_with_the_nearest_key(old: str, new: str, said: str) -> None:
    assert old in TEXT

    with pytest.raises(PolicyError) as caught:
        read_policy(TEXT.replace(old, new, 1))

    assert str(caught.value).startswith("lockgate.yaml: ")
    if caught.value.position:
        line, column = caught.value.position
        assert TEXT.replace(old, new, 1).splitlines()[line - 1][column - 1 :].strip()
    else:
        assert caught.value.problem.startswith("is missing")  # at the top, where there is nothing to point at
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "just text", "metrics: {}\nmodel: m"])
def test_a_file_that_holds_no_policy_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        read_policy(text)


def test_what_stages_get_from_outside_is_named() -> None:
    found = read_policy("stages: {pass: [HF_HOME, WAREHOUSE], network: true, isolation: best-effort}\n" + TEXT).stages
    assert found == Stages(("HF_HOME", "WAREHOUSE"), network=True, isolation="best-effort")
    assert read_policy(TEXT).stages == Stages()


def test_the_locked_dependencies_are_a_lock_a_python_and_what_sources_are_built_with() -> None:
    line = "dependencies: {lock: requirements/p.lock, python: '3.11', build: requirements/b.lock}\n"
    found = read_policy(line + TEXT).dependencies
    assert found == Dependencies("requirements/p.lock", "3.11", "requirements/b.lock")
    assert read_policy(TEXT).dependencies is None


@pytest.mark.parametrize(
    ("old", "new", "position"),
    [
        ("model: flight-delay", "model: my model", (1, 1)),
        ("better: lower}", "better: down}", (4, 63)),
        ("roc_auc: {file", "roc_auc: {fil", (3, 13)),
        ("kind: ceiling, metric: log_loss", "kind: ceiling, metric: logloss", (18, 21)),
        ("at_most: 20 MB}", "at_most: 20}", (22, 24)),
        ("rebuilt: full", "rebuilt: half", (26, 32)),
        ("value: 0.7}]", "valeu: 0.7}]", (26, 86)),
        ("{kind: model-size, at_most: 20 MB}", "{kind: model-size}", (22, 5)),
    ],
)
def test_an_error_names_the_line_and_column_of_its_key(old: str, new: str, position: tuple[int, int]) -> None:
    with pytest.raises(PolicyError) as caught:
        read_policy(TEXT.replace(old, new, 1))

    assert caught.value.position == position
    assert f"line {position[0]}, column {position[1]}: " in str(caught.value)


def test_an_unknown_key_is_told_what_is_allowed_in_its_place() -> None:
    with pytest.raises(PolicyError, match=r"allowed here: value$"):
        read_policy(TEXT.replace("metric: roc_auc, value: 0.69", "metric: roc_auc, valu: 0.69"))


def test_a_name_with_dots_is_no_path_of_keys() -> None:
    text = "model: m\nmetrics:\n  a.b: {file: m.json, key: a, better: up}\n"

    with pytest.raises(PolicyError, match="line 3, column 31"):
        read_policy(text)


def test_the_published_schema_is_what_the_reader_takes(refresh_golden: bool) -> None:
    text = json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"
    if refresh_golden:
        PUBLISHED.write_text(text)

    jsonschema.Draft7Validator.check_schema(json_schema())
    assert PUBLISHED.read_text() == text


@pytest.mark.parametrize("text", [TEXT, (ROOT / "lockgate.yaml").read_text(), (FROZEN / "policy.yaml").read_text()])
def test_an_editor_accepts_what_is_read(text: str) -> None:
    read_policy(text)
    jsonschema.Draft7Validator(json_schema()).validate(load(text, "lockgate.yaml"))


WRONG: list[tuple[str, Any]] = [
    ("modell", "x"),
    ("model", "my model"),
    ("metrics.roc_auc.better", "up"),
    ("metrics.roc_auc.threshold", 2),
    ("metrics.roc_auc.statistic", "rocauc"),
    ("predictions.file", "../x.parquet"),
    ("predictions.file", "/x.parquet"),
    ("predictions.file", "a\\b"),
    ("predictions.key", "date"),
    ("predictions.missing", 1.5),
    ("predictions.period", "year"),
    ("gates.0.kind", "flor"),
    ("gates.0.value", "0.69"),
    ("gates.0.margin", 1),
    ("gates.2.tolerance", -1),
    ("gates.3.rows", 0),
    ("gates.3.rows", True),
    ("gates.3.columns", ["carrier", "carrier"]),
    ("gates.5.at_most", 20),
    ("gates.5.at_most", "20 megs"),
    ("gates.5.at_most", "0 MB"),
    ("environments.production.rebuilt", "half"),
    ("environments.a b", {}),
    ("stages", {"pass": ["HOME"]}),
    ("dependencies", {"lock": "a.lock", "python": "3"}),
    ("serving", {"code": "src/m", "entry": "m", "request": "m:s", "samples": "x"}),
]


@pytest.mark.parametrize(("place", "value"), WRONG)
def test_the_reader_and_an_editor_refuse_the_same(place: str, value: Any) -> None:
    document = load(TEXT, "lockgate.yaml")
    *keys, last = place.split(".")
    inner = document
    for key in keys:
        inner = inner[int(key) if key.isdigit() else key]
    inner[last] = value

    with pytest.raises(PolicyError):
        read_policy(json.dumps(document))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(json_schema()).validate(document)


def test_every_key_of_the_policy_reaches_it() -> None:
    chosen = {"lock": "claimed", "withdrawn": "refuse", "unverified": "allow"}
    text = TEXT + "".join(f"{key}: {value}\n" for key, value in chosen.items())

    assert {key: getattr(read_policy(text), key) for key in chosen} == chosen
    assert read_policy(TEXT + "ignored: [notebooks, tests/]\n").ignored == ("notebooks", "tests")


def test_the_seed_of_training_is_named_in_its_section_or_by_the_older_key() -> None:
    bare = TEXT.replace("seed: train.seed\n", "")

    assert read_policy(TEXT).train == Training("train.seed")
    assert read_policy(bare + "train: {seed: train.seed, repeats: 5}\n").train == Training("train.seed", 5)
    assert read_policy(bare).train is None
    for wrong in ("{repeats: 5}", "{seed: train.seed, repeats: 1}", "{seed: train.seed, repeats: two}", "train.seed"):
        with pytest.raises(PolicyError, match="train"):
            read_policy(f"{bare}train: {wrong}\n")
    with pytest.raises(PolicyError, match="seed"):
        read_policy(TEXT + "train: {seed: other.seed}\n")


def test_older_words_are_told_with_the_new_ones() -> None:
    kinds, statistics = older_words(read_policy(TEXT))

    assert "`floor` (now `min`), `ceiling` (now `max`), `no-worse` (now `no-regression`)" in kinds
    assert statistics.endswith("add `statistic: log_loss`.")
    assert older_words(read_policy((ROOT / "lockgate.yaml").read_text())) == ()


def test_a_number_that_no_predictions_give_again_has_no_newer_words() -> None:
    bare = "model: m\nmetrics: {log_loss: {file: m.json, key: l, better: lower}}\n"
    bare += "gates: [{kind: no-worse, metric: log_loss, tolerance: 0.1}]\n"

    assert older_words(read_policy(bare)) == ()
