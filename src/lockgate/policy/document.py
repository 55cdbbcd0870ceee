"""The whole file: which sections ``lockgate.yaml`` has, in which order, and what they come to: :class:`Policy`.

A section is a module of this package, named like its key. To add one:

1. write ``policy/NAME.py``: its frozen dataclass, its table of ``KEYS`` (each with its reader of
   :mod:`lockgate.policy_values` and its help, which the schema and docs/reference.md show), the ``SECTION`` that is
   made of them and, where it has to fit other sections, ``check(policy)``;
2. here, give it a line in ``_SECTIONS``, a field with a default in :class:`Policy` and, if it has a check, a line in
   ``_CHECKS``. Where ``models:`` names several, it is each model's own, unless :mod:`lockgate.policy.models` has it
   among those of the repository;
3. name its dataclass in ``policy/__init__.py``, if others import it, and run ``pytest --refresh-golden`` on
   tests/lockgate/policy and tests/test_pages.py, which write the schema and the reference.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from lockgate import policy_values as values
from lockgate.errors import NotAskedError
from lockgate.gates import Gate
from lockgate.policy import (
    alarms,
    data,
    dependencies,
    environments,
    gates,
    importance,
    metrics,
    model,
    models,
    operating_point,
    outcomes,
    plots,
    predictions,
    rebuild,
    reference,
    retrain,
    serving,
    stages,
    staleness,
    test_set,
    train,
)
from lockgate.policy.alarms import AlarmSettings
from lockgate.policy.data import Table
from lockgate.policy.dependencies import Dependencies
from lockgate.policy.environments import Environment
from lockgate.policy.importance import ImportanceFile
from lockgate.policy.metrics import Metric
from lockgate.policy.models import Models
from lockgate.policy.operating_point import OperatingAt
from lockgate.policy.outcomes import OutcomeSettings
from lockgate.policy.plots import Drawn, Plot
from lockgate.policy.predictions import Predictions
from lockgate.policy.rebuild import Rebuilding
from lockgate.policy.reference import ReferenceSettings
from lockgate.policy.retrain import Retraining
from lockgate.policy.serving import Serving
from lockgate.policy.stages import Stages
from lockgate.policy.staleness import Staleness
from lockgate.policy.test_set import TestSet
from lockgate.policy.train import Training
from lockgate.policy_values import FILE, Key, PolicyError
from lockgate.strict_yaml import load, position

_SECTIONS = {
    "model": model.SECTION,
    "metrics": metrics.SECTION,
    "predictions": predictions.SECTION,
    "validation": Key(values.path, False, "the file of the data checks"),
    "plots": plots.SECTION,
    "operating_point": operating_point.SECTION,
    "importance": importance.SECTION,
    "data": data.SECTION,
    "train": train.SECTION,
    "test_set": test_set.SECTION,
    "seed": train.OLDER,
    "gates": gates.SECTION,
    "environments": environments.SECTION,
    "lock": Key(
        values.one_of("reproduced", "claimed"), False, "whether a check computes the author's lock again, or shows it"
    ),
    "withdrawn": Key(values.one_of("warn", "refuse"), False, "what those who use a withdrawn release are to do"),
    "unverified": Key(
        values.one_of("refuse", "allow"), False, "whether figures that only the run itself computed may pass"
    ),
    "ignored": Key(
        values.list_of(values.path),
        False,
        "folders and files that no stage reads, such as notebooks: no warning of them",
    ),
    "serving": serving.SECTION,
    "outcomes": outcomes.SECTION,
    "reference": reference.SECTION,
    "alarms": alarms.SECTION,
    "stages": stages.SECTION,
    "dependencies": dependencies.SECTION,
    "rebuild": rebuild.SECTION,
    "retrain": retrain.SECTION,
    "staleness": staleness.SECTION,
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What ``lockgate.yaml`` says. ``train`` is about the luck of training, ``test_set`` about looking at the same
    test rows often, see docs/statistics.md.

    ``lock`` says what a pull request's check does with the lock that its author brings: compute it again, or (where
    that is too dear) show it as claimed. ``withdrawn`` says what those who use a withdrawn release are to do.
    ``unverified`` says whether a pull request may pass on figures that only its own run could compute. ``ignored``
    are folders and files that no stage reads: base's word, so that no pull request can hide what it changes.

    ``drawn`` are the curves of ``plots`` that are drawn from the predictions; ``None`` where it does not say so.

    ``opaque`` (``model: {name: …, opaque: true}``) says that the model file is a pickle, or something else that runs
    code when it is loaded: it is released and signed as it is, and nothing of Lockgate ever loads it.
    """

    model: str
    metrics: tuple[Metric, ...]
    predictions: Predictions | None
    validation: str | None
    plots: tuple[Plot, ...]
    train: Training | None
    gates: tuple[Gate, ...]
    environments: tuple[Environment, ...]
    lock: Literal["reproduced", "claimed"] = "reproduced"
    serving: Serving | None = None
    dependencies: Dependencies | None = None
    withdrawn: Literal["warn", "refuse"] = "warn"
    opaque: bool = False
    rebuild: Rebuilding = field(default_factory=Rebuilding)
    stages: Stages = field(default_factory=Stages)
    unverified: Literal["refuse", "allow"] = "refuse"
    operating_point: OperatingAt | None = None
    importance: ImportanceFile | None = None
    data: tuple[Table, ...] = ()
    drawn: tuple[Drawn, ...] | None = None
    test_set: TestSet | None = None
    outcomes: OutcomeSettings = field(default_factory=OutcomeSettings)
    reference: ReferenceSettings = field(default_factory=ReferenceSettings)
    retrain: Retraining | None = None
    alarms: AlarmSettings | None = None
    staleness: Staleness | None = None
    ignored: tuple[str, ...] = ()

    @property
    def weights(self) -> tuple[str, ...]:
        """The columns of the predictions that say how much each row counts, in some metric."""
        return tuple(dict.fromkeys(metric.weights for metric in self.metrics if metric.weights))

    def metric(self, name: str) -> Metric:
        """Return the metric of that name. Raises ``KeyError``: gates only name metrics that exist."""
        return {metric.name: metric for metric in self.metrics}[name]


class NoPolicy(NotAskedError):  # noqa: N818 - named for what the user reads
    """Neither base nor head has a policy."""

    def __init__(self) -> None:
        """Say what is to be written."""
        super().__init__(
            f"there is no {FILE}, so there are no rules to judge by",
            "Write one: the model's name, its metrics and the gates they have to pass.",
        )


_CHECKS: tuple[Callable[[Policy], None], ...] = (
    metrics.check,
    serving.check,
    operating_point.check,
    predictions.check,
    plots.check,
    rebuild.check_rebuild,
    reference.check,
    gates.check,
    environments.check,
    retrain.check,
    alarms.check,
)
"""What has to fit together, in the order in which it is looked at."""


@lru_cache(maxsize=64)  # a check asks for the same few again and again: nothing of a policy can be changed
def read_models(text: str | bytes) -> Models:
    """Return the policies written in ``text``: one for each model that it has.

    Raises :class:`~lockgate.strict_yaml.YamlError` if it is no unambiguous YAML, :class:`PolicyError` naming line,
    column and place of the first key that is unknown, missing, mistyped or impossible.
    """
    document = load(text, FILE) or {}
    try:
        if isinstance(document, dict) and "models" in document:
            return _several(document)
        read = values.section("", document, _SECTIONS)
        name, opaque = read.pop("model")
        return Models((_made(name, read, opaque=opaque),))
    except PolicyError as error:
        raise error.at(position(text, values.keys_of(error.place, document), FILE)) from None


def read_policy(text: str | bytes, model: str | None = None) -> Policy:
    """Return the policy of one model that is written in ``text``; without a name, of the only one.

    Raises what :func:`read_models` raises, :class:`~lockgate.policy.models.NoSuchModel` and
    :class:`~lockgate.policy.models.SeveralModels`.
    """
    return read_models(text).of(model)


def _several(document: dict[str, Any]) -> Models:
    found = []
    for name, own, top in models.read_each(document, _SECTIONS):
        read = top | own
        try:
            found.append(_made(name, read, opaque=read.pop("opaque", False)))
        except PolicyError as error:
            raise models.placed(error, name, own) from None
    models.check_apart(tuple(found))
    return Models(tuple(found), several=True)


def _made(name: str, read: dict[str, Any], *, opaque: bool) -> Policy:
    empty = {"predictions": None, "validation": None, "plots": (), "train": None, "gates": (), "environments": ()}
    read = plots.with_drawn(metrics.with_kind(train.with_older_seed(read)))
    policy = Policy(model=name, opaque=opaque, **empty | read)
    for check in _CHECKS:
        check(policy)
    return policy


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, as published in docs/lockgate.schema.json, by which editors complete it.

    What has to fit together (a gate names a metric that exists) is checked when the file is read.
    """
    found = values.schema_of_section(_SECTIONS)
    one = {"required": found.pop("required")}
    of_a_model = [name for name in _SECTIONS if name not in (*models.REPOSITORY, *models.INHERITED)]
    found["properties"]["models"] = models.schema(_SECTIONS)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": FILE,
        "description": "The policy of a repository: what is judged, and what has to hold.",
        **found,
        "if": {"required": ["models"]},
        "then": {"properties": dict.fromkeys(of_a_model, False)},
        "else": one,
    }


def older_words(policy: Policy) -> tuple[str, ...]:
    """Say which words of the policy have newer ones, and what was taken from a name: neither counts for a number that
    no predictions give again, which has no other words."""
    asked = [*policy.gates, *(gate for place in policy.environments for gate in place.gates)]
    compared = {metric.name for metric in policy.metrics if metric.statistic and policy.predictions}
    newer = {
        gate.kind: gate.replaced_by
        for gate in asked
        if gate.replaced_by and getattr(gate, "metric", None) in {None, *compared}
    }
    named = ", ".join(f"`{kind}` (now `{word}`)" for kind, word in newer.items())
    assumed = ", ".join(
        f"`statistic: {metric.statistic}`" for metric in policy.metrics if metric.assumed and metric.name in compared
    )
    said = []
    if named:
        said.append(f"The policy uses older kinds of gates, which keep their meaning: {named}; see docs/gates.md.")
    if assumed:
        said.append(
            f"A metric's name is taken for the way it is computed, because the policy does not say it: add {assumed}."
        )
    return tuple(said)
