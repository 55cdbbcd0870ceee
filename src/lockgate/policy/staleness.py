"""``staleness``: how models of different ages are made, so that it can be measured how fast a model ages."""

from dataclasses import dataclass
from typing import Any

from lockgate import policy_values as values
from lockgate.policy_values import Key, PolicyError


@dataclass(frozen=True, slots=True)
class Staleness:
    """``parameter`` (``KEY`` or ``FILE:KEY``) is what makes a model older, ``ages`` its values from the freshest model
    on; ``given`` are parameters that all of the models have. ``unit`` is what one age is called."""

    parameter: str
    ages: tuple[Any, ...]
    given: tuple[tuple[str, Any], ...] = ()
    unit: str = "step"


@values.takes({"type": ["string", "number", "boolean"]})
def _value(place: str, value: Any) -> Any:
    if not isinstance(value, str | int | float | bool):
        raise PolicyError(place, "must be a single value", value)
    return value


@values.takes({"type": "array", "items": values.schema_of(_value), "minItems": 2, "uniqueItems": True})
def _ages(place: str, value: Any) -> tuple[Any, ...]:
    found = values.list_of(_value)(place, value)
    if len(found) < 2 or len(set(found)) < len(found):
        raise PolicyError(place, "must be two or more different values, from the freshest model on", value)
    return found


def _given(place: str, name: str, value: Any) -> tuple[str, Any]:
    return name, _value(place, value)


KEYS = {
    "parameter": Key(values.text, help="the parameter that makes a model older: the dotted key, or `FILE:KEY`"),
    "ages": Key(_ages, help="its values, from the freshest model on"),
    "set": Key(values.mapping_of(_given, values.schema_of(_value)), False, "parameters that all of these models have"),
    "unit": Key(values.text, False, "what one age is called, such as `month`"),
}


def _staleness(**read: Any) -> Staleness:
    return Staleness(given=read.pop("set", ()), **read)


SECTION = Key(
    values.noun(_staleness, KEYS), False, "how fast a model ages, for `lockgate staleness`: see docs/retraining.md"
)
