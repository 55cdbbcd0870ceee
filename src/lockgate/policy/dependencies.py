"""``dependencies``: the locked packages that stages run with."""

from dataclasses import dataclass

from lockgate import policy_values as values
from lockgate.policy_values import Key


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The locked packages that a commit's stages run with: the file ``lock``, and the version of ``python`` it is for.

    ``build`` is a lock that pins what source distributions are built with, where ``lock`` itself does not.
    """

    lock: str
    python: str
    build: str | None = None


KEYS = {
    "lock": Key(values.path, help="the lock of the packages that the stages run with"),
    "python": Key(values.python_version, help="the version of Python it is for, in quotes"),
    "build": Key(values.path, False, "a lock of what source distributions are built with"),
}

SECTION = Key(values.noun(Dependencies, KEYS), False, "the locked packages that stages run with")
