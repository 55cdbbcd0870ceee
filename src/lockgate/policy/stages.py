"""``stages``: what the commands of stages get from outside."""

from dataclasses import dataclass
from typing import Any, Literal

from lockgate import policy_values as values
from lockgate.policy_values import Key


@dataclass(frozen=True, slots=True)
class Stages:
    """What the commands of stages get from outside; docs/isolation.md says what they get without it.

    ``passed`` are environment variables. ``network`` is ``True``: always; ``False``: never; ``None``: with ``run`` and
    in pull requests, but not where something is rebuilt. With ``isolation`` ``required``, ``admit`` and ``release`` run
    no stage that this machine cannot isolate.
    """

    passed: tuple[str, ...] = ()
    network: bool | None = None
    isolation: Literal["required", "best-effort"] = "required"


KEYS = {
    "pass": Key(values.list_of(values.variable), False, "environment variables that the commands of stages get"),
    "network": Key(values.flag, False, "whether stages reach the network: always or never"),
    "isolation": Key(
        values.one_of("required", "best-effort"), False, "whether `admit` and `release` refuse a machine without it"
    ),
}


def _stages(**read: Any) -> Stages:
    if "pass" in read:
        read["passed"] = read.pop("pass")
    return Stages(**read)


SECTION = Key(values.noun(_stages, KEYS), False, "what the commands of stages get from outside")
