"""``environments``: the places that releases are promoted to."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lockgate import policy_values as values
from lockgate.errors import nearest
from lockgate.gates import Gate
from lockgate.policy.gates import check_gates, gate
from lockgate.policy_values import Key, PolicyError

if TYPE_CHECKING:
    from lockgate.policy.document import Policy


@dataclass(frozen=True, slots=True)
class Environment:
    """A place releases are promoted to. ``after`` is the environment a release has to be in before; ``rebuilt`` says
    what rebuild a release needs to enter, and ``tolerated`` whether one counts in which an output was compared by
    value or left out; ``gates`` are asked in addition to the policy's own."""

    name: str
    after: str | None
    rebuilt: Literal["full", "none"]
    gates: tuple[Gate, ...]
    tolerated: bool = False


KEYS = {
    "after": Key(values.text, False, "the environment that a release has to be in before"),
    "rebuilt": Key(values.one_of("full", "none"), False, "which rebuild a release needs to enter"),
    "tolerated": Key(values.flag, False, "whether a rebuild counts in which an output was compared by value"),
    "gates": Key(values.list_of(gate), False, "gates asked in addition to the policy's own"),
}


def _environment(place: str, name: str, value: Any) -> Environment:
    if not re.fullmatch(values.TAGGED, name):
        rule = "letters, digits, '_' and '-', with a letter or digit at both ends"
        raise PolicyError(place, f"GTO cannot tag this name: an environment's name must have {rule}")
    read = values.section(place, value or {}, KEYS)
    return Environment(name, **{"after": None, "rebuilt": "none", "gates": (), **read})


SECTION = Key(
    values.mapping_of(
        _environment,
        {"anyOf": [values.schema_of_section(KEYS), {"type": "null"}]},
        f"^{values.TAGGED}$",
    ),
    False,
    "the places that releases are promoted to, in their order",
)


def check(policy: "Policy") -> None:
    """Raise :class:`PolicyError` where an environment names a later one, or a gate cannot be asked."""
    before: list[str] = []
    for environment in policy.environments:
        place = f"environments.{environment.name}"
        if environment.after is not None and environment.after not in before:
            hint = nearest(environment.after, before)
            raise PolicyError(
                f"{place}.after", "must name an environment that is listed before this one", environment.after, hint
            )
        before.append(environment.name)
        check_gates(policy, f"{place}.gates", environment.gates)
