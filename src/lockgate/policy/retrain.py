"""``retrain``: how the data move on when a model is trained again, and when a pull request is worth opening."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lockgate import policy_values as values
from lockgate.errors import nearest
from lockgate.policy_values import Key, PolicyError

if TYPE_CHECKING:
    from lockgate.policy.document import Policy

Open = Literal["better", "not worse", "always"]
RULES = ("next day", "next week", "next month", "next year", "next number")
"""How a parameter moves on; anything else in ``retrain: {set: …}`` is no rule."""


@dataclass(frozen=True, slots=True)
class Retraining:
    """``moves`` are the parameters that a retraining moves on, each with its rule of :data:`RULES`: the dotted key,
    or ``FILE:KEY`` where it is not in ``params.yaml``.

    ``environment`` is the one whose release the new model is held against, on the same rows; without one it is the
    last environment of the policy. ``open`` says when there is a pull request: the new model has to be shown to be
    better in ``metric`` (by default the first), or not to be shown to be worse, or it is opened always. ``requests`` is
    the table of the requests of the test rows, with the columns of their key; without one it is ``serving.samples``.
    """

    moves: tuple[tuple[str, str], ...]
    environment: str | None = None
    metric: str | None = None
    open: Open = "better"
    requests: str | None = None


def _rule(place: str, name: str, value: Any) -> tuple[str, str]:
    if value not in RULES:
        raise PolicyError(place, f"must be one of {', '.join(RULES)}", value)
    return name, str(value)


def _moves(place: str, value: Any) -> tuple[tuple[str, str], ...]:
    found = _EACH(place, value)
    if not found:
        raise PolicyError(place, "must name a parameter: with none, nothing moves on")
    return found


_EACH = values.mapping_of(_rule, {"enum": list(RULES)})
KEYS = {
    "set": Key(
        values.takes({**values.schema_of(_EACH), "minProperties": 1})(_moves),
        help="the parameters that move on, each with how: `{ingest.through: next month}`",
    ),
    "environment": Key(
        values.text, False, "the environment whose release the new model is compared with (default: the last one)"
    ),
    "metric": Key(values.text, False, "the metric in which it has to be better (default: the first one)"),
    "open": Key(
        values.one_of("better", "not worse", "always"),
        False,
        "when a pull request is opened: the new model is shown to be better (the default), is not shown to be worse, "
        "or always",
    ),
    "requests": Key(
        values.path, False, "the table of the test rows' requests, with their key (default: `serving.samples`)"
    ),
}


def _retraining(**given: Any) -> Retraining:
    return Retraining(moves=given.pop("set"), **given)


SECTION = Key(
    values.noun(_retraining, KEYS), False, "how a model is trained again on newer data: see docs/retraining.md"
)


def check(policy: "Policy") -> None:
    """Raise :class:`PolicyError` where it names an environment or a metric that the policy does not have."""
    asked = policy.retrain
    if asked is None:
        return
    for key, wanted, known in (
        ("environment", asked.environment, [one.name for one in policy.environments]),
        ("metric", asked.metric, [one.name for one in policy.metrics]),
    ):
        if wanted is not None and wanted not in known:
            raise PolicyError(f"retrain.{key}", f"names no {key} of this policy", wanted, nearest(wanted, known))
