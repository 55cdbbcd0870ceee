"""``models``: several models in one repository, each with a policy of its own.

A file has either ``model:`` and its sections on top, or ``models:``, which gives each model its name and its sections.
Beside ``models:``, what is the repository's stands on top (:data:`REPOSITORY`: one run, one lock, one set of packages),
and what a model does not say for itself is taken from there (:data:`INHERITED`). All else is about the figures of one
model, and stands with it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lockgate import policy_values as values
from lockgate.errors import UsageError, nearest
from lockgate.policy.dependencies import Dependencies
from lockgate.policy.stages import Stages
from lockgate.policy_values import FILE, Key, PolicyError, Schema

if TYPE_CHECKING:
    from lockgate.policy.document import Policy

REPOSITORY = ("lock", "stages", "dependencies", "ignored")
"""Sections that are given once, on top: one run of the pipeline goes by them."""
INHERITED = ("train", "environments", "withdrawn", "unverified", "rebuild")
"""Sections that may stand on top, for each model that has none of its own."""
HELP = (
    "several models, instead of `model:`: each NAME (as `artifacts:` of dvc.yaml has it) with the sections of a model; "
    f"{', '.join(f'`{name}`' for name in REPOSITORY)} stay on top, "
    f"{', '.join(f'`{name}`' for name in INHERITED)} may, for every model without its own"
)


class NoSuchModel(UsageError):  # noqa: N818 - named for what the user reads
    """The policy has no model of this name."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        """Name the model, and those that there are."""
        hint = nearest(name, known)
        super().__init__(
            f"{FILE} has no model '{name}'{'; ' + hint if hint else ''}", f"It has: {', '.join(sorted(known))}."
        )


class SeveralModels(UsageError):  # noqa: N818
    """The policy has several models, and none was named."""

    def __init__(self, known: tuple[str, ...]) -> None:
        """Name the models."""
        super().__init__(f"{FILE} has several models: {', '.join(sorted(known))}", "Say which with --model NAME.")


@dataclass(frozen=True, slots=True)
class Models:
    """What ``lockgate.yaml`` says, a policy for each model. ``several``: it has ``models:``, be it with one entry."""

    policies: tuple["Policy", ...]
    several: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The models' names, in the file's order."""
        return tuple(one.model for one in self.policies)

    def find(self, name: str) -> "Policy | None":
        """Return the policy of a model, ``None`` if there is no such model. Both spellings of a name are known: that of
        an artifact (``folder:model``) and that of a release (``folder=model``)."""
        return next((one for one in self.policies if plain(one.model) == plain(name)), None)

    def of(self, name: str | None) -> "Policy":
        """Return the policy of a model; without a ``name``, of the only one. Raises :class:`NoSuchModel`,
        :class:`SeveralModels`."""
        if name is None:
            if len(self.policies) > 1:
                raise SeveralModels(self.names)
            return self.policies[0]
        found = self.find(name)
        if found is None:
            raise NoSuchModel(name, self.names)
        return found

    def belonging_to(self, release: str) -> "Policy":
        """Return the policy for a release of this name: the only one, unless ``models:`` names several. Raises
        :class:`NoSuchModel`."""
        return self.of(release if self.several else None)

    @property
    def stages(self) -> Stages:
        """What stages get from outside: the repository's."""
        return self.policies[0].stages

    @property
    def dependencies(self) -> Dependencies | None:
        """What stages run with: the repository's."""
        return self.policies[0].dependencies

    @property
    def ignored(self) -> tuple[str, ...]:
        """The folders and files that no stage reads: the repository's."""
        return self.policies[0].ignored

    @property
    def lock(self) -> Literal["reproduced", "claimed"]:
        """What a check does with the author's lock: the repository's."""
        return self.policies[0].lock


def plain(name: str) -> str:
    """Return the one spelling of a name: ``a/b:model`` of DVC and GTO is ``a=b=model`` in a store."""
    return name.replace(":", "=").replace("/", "=")


def own_keys(sections: Mapping[str, Key]) -> dict[str, Key]:
    """Return the keys of one model."""
    opaque = Key(values.flag, False, "the model file runs code when it is loaded, so Lockgate never loads it")
    left_out = ("model", "seed", *REPOSITORY)
    return {"opaque": opaque} | {name: key for name, key in sections.items() if name not in left_out}


def schema(sections: Mapping[str, Key]) -> Schema:
    """Return what ``models:`` takes."""
    return {
        "type": "object",
        "minProperties": 1,
        "propertyNames": values.schema_of(values.artifact_name),
        "additionalProperties": values.schema_of_section(own_keys(sections)),
        "description": HELP,
    }


def read_each(
    document: Mapping[str, Any], sections: Mapping[str, Key]
) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield the name, the model's own sections and those from the top of each model. Raises :class:`PolicyError`."""
    _check_top(document, sections)
    named = Key(values.mapping, help=HELP)
    top = values.section("", document, {"models": named} | {name: sections[name] for name in (*INHERITED, *REPOSITORY)})
    given = top.pop("models")
    if not given:
        raise PolicyError("models", "must name at least one model")
    for name, content in given.items():
        place = f"models.{name}"
        values.artifact_name(place, name)
        for key in REPOSITORY:
            if key in values.mapping(place, content):
                raise PolicyError(f"{place}.{key}", "is the repository's: it stands on top, once for all models")
        yield name, values.section(place, content, own_keys(sections)), top


def _check_top(document: Mapping[str, Any], sections: Mapping[str, Key]) -> None:
    for name in document:
        if name == "model":
            raise PolicyError("model", "stands beside `models:`: give this model its place there", document[name])
        if name in sections and name not in (*INHERITED, *REPOSITORY):
            raise PolicyError(name, "is about one model: move it into one of those under `models:`")


def placed(error: PolicyError, name: str, own: Mapping[str, Any]) -> PolicyError:
    """Return an error of one model's policy with the place that it has in the whole file."""
    first = re.split(r"[.\[:]", error.place, maxsplit=1)[0]
    if first in (*INHERITED, *REPOSITORY) and first not in own:
        return error.moved(error.place, f" (for the model '{name}')")
    return error.moved(f"models.{name}.{error.place}")


def check_apart(policies: tuple["Policy", ...]) -> None:
    """Raise :class:`PolicyError` where two models claim one number, or one column of scores."""
    numbers: dict[tuple[str, str], str] = {}
    scores: dict[tuple[object, ...], str] = {}
    for policy in policies:
        for metric in policy.metrics:
            other = numbers.setdefault((metric.file, metric.key), policy.model)
            if other != policy.model:
                said = f"the model '{other}' has this number, {metric.key} of {metric.file}: each has its own"
                raise PolicyError(f"models.{policy.model}.metrics.{metric.name}", said)
        if told := policy.predictions:
            other = scores.setdefault((told.file, told.score, told.predicted, told.prediction), policy.model)
            if other != policy.model:
                said = f"the model '{other}' has the scores of this file: each has its own"
                raise PolicyError(f"models.{policy.model}.predictions.file", said, told.file)
