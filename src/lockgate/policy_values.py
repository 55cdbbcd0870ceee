"""How the values of ``lockgate.yaml`` are read: each reader checks one value, and says in JSON Schema what it takes.

A reader takes the place of the value (for the message) and the YAML value, and returns the checked value or raises
:class:`PolicyError`. The schema that editors use is put together from the same readers: docs/lockgate.schema.json.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any, TypeVar

from lockgate.errors import LockgateError, nearest

FILE = "lockgate.yaml"

T = TypeVar("T")
Reader = Callable[[str, Any], T]
Schema = dict[str, Any]

_NO_VALUE = object()


class PolicyError(LockgateError):
    """A policy that says something unknown, incomplete or impossible. ``position`` is its line and column, from 1."""

    def __init__(
        self,
        place: str,
        problem: str,
        value: Any = _NO_VALUE,
        hint: str = "",
        *,
        position: tuple[int, int] | None = None,
    ) -> None:
        """Name the key (``place``), what is wrong, the value that stands there and what was probably meant."""
        self.place, self.problem, self.value, self.hint = place, problem, value, hint
        self.position = position
        where = f"line {position[0]}, column {position[1]}: " if position else ""
        shown = "" if value is _NO_VALUE else f" (it is {_shown(value)})"
        super().__init__(
            f"{FILE}: {where}{place + ': ' if place else ''}{problem}{shown}{'; ' + hint if hint else ''}",
            f"Correct {FILE}; nothing was judged.",
        )

    def moved(self, place: str, more: str = "") -> "PolicyError":
        """Return the same error at another place, with ``more`` behind what is wrong."""
        return PolicyError(place, f"{self.problem}{more}", self.value, self.hint)

    def at(self, position: tuple[int, int] | None) -> "PolicyError":
        """Return the same error with the line and column of its place."""
        return PolicyError(self.place, self.problem, self.value, self.hint, position=position)


def _shown(value: Any) -> str:
    text = "empty" if value is None else f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def keys_of(place: str, document: Any) -> list[Any]:
    """Return the keys that lead to ``place`` (``metrics.roc_auc.file``, ``gates[2].kind``) in a document.

    A key may hold dots itself, so the longest one that the document has is taken. What it does not have is left out.
    """
    keys: list[Any] = []
    rest = place
    while rest:
        indexed = re.match(r"\[(\d+)\]\.?", rest)
        if indexed and isinstance(document, list):
            keys.append(int(indexed[1]))
            document = document[keys[-1]] if keys[-1] < len(document) else None
            rest = rest[indexed.end() :]
            continue
        known = [key for key in document if isinstance(key, str)] if isinstance(document, dict) else []
        fitting = [key for key in known if rest == key or rest.startswith((f"{key}.", f"{key}["))]
        if not fitting:
            return keys
        keys.append(max(fitting, key=len))
        document = document[keys[-1]]
        rest = rest[len(keys[-1]) :].removeprefix(".")
    return keys


# --- what a reader says of itself


def takes(schema: Schema) -> Callable[[Reader[T]], Reader[T]]:
    """Say in JSON Schema what a reader takes."""

    def described(read: Reader[T]) -> Reader[T]:
        read.schema = schema  # type: ignore[attr-defined]
        return read

    return described


def schema_of(read: Reader[Any]) -> Schema:
    """Return what a reader takes. Raises ``AttributeError`` for a reader that does not say it."""
    found: Schema = read.schema  # type: ignore[attr-defined]
    return found


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a section: how its value is read, whether it has to be there, and what it means."""

    read: Reader[Any]
    required: bool = True
    help: str = ""


def schema_of_section(keys: Mapping[str, Key]) -> Schema:
    """Return what :func:`section` takes with these keys."""
    properties = {
        name: schema_of(key.read) | ({"description": key.help} if key.help else {}) for name, key in keys.items()
    }
    required = [name for name, key in keys.items() if key.required]
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": required} if required else {})


def section(place: str, value: Any, keys: Mapping[str, Key]) -> dict[str, Any]:
    """Return the checked values of a mapping with these keys and no others."""
    given = mapping(place, value)
    prefix = f"{place}." if place else ""
    for name, item in given.items():
        if name not in keys:
            allowed = ", ".join(one for one in keys if one not in given) or "no other key"
            hint = f"{nearest(name, list(keys))} allowed here: {allowed}".lstrip()
            raise PolicyError(prefix + name, "unknown key", item, hint)
    for name, rule in keys.items():
        if rule.required and name not in given:
            raise PolicyError(prefix + name, "is missing")
    return {name: rule.read(prefix + name, given[name]) for name, rule in keys.items() if name in given}


def noun(make: Callable[..., T], keys: Mapping[str, Key]) -> Reader[T]:
    """Return the reader of a mapping whose values are the arguments of ``make``."""

    @takes(schema_of_section(keys))
    def read(place: str, value: Any) -> T:
        return make(**section(place, value, keys))

    return read


# --- single values


@takes({"type": "string", "pattern": r"\S"})
def text(place: str, value: Any) -> str:
    """Read text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(place, "must be text", value)
    return value


@takes({"anyOf": [{"type": "string", "pattern": r"\S"}, {"type": "integer"}, {"type": "boolean"}]})
def label(place: str, value: Any) -> str:
    """Read the name of a class as a file's values are written: text, a whole number, ``true`` or ``false``."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(place, "must be text, a whole number, or true or false", value)
    return value


@takes({"type": "string", "pattern": r"^(?!/)(?!(.*/)?\.\.(/|$))[^\\]*[^\\\s][^\\]*$"})
def path(place: str, value: Any) -> str:
    """Read a path inside the repository."""
    found = PurePosixPath(text(place, value))
    if found.is_absolute() or ".." in found.parts or "\\" in value:
        raise PolicyError(place, "must be a path inside the repository, with '/'", value)
    return str(found)


@takes({"type": "number"})
def number(place: str, value: Any) -> float:
    """Read a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PolicyError(place, "must be a finite number", value)
    return float(value)


@takes({"type": "number", "minimum": 0})
def amount(place: str, value: Any) -> float:
    """Read a number that is not negative."""
    found = number(place, value)
    if found < 0:
        raise PolicyError(place, "must be 0 or more", value)
    return found


@takes({"type": "number", "minimum": 0, "maximum": 1})
def share(place: str, value: Any) -> float:
    """Read a number from 0 to 1."""
    found = number(place, value)
    if not 0 <= found <= 1:
        raise PolicyError(place, "must be between 0 and 1", value)
    return found


@takes({"type": "integer", "minimum": 1})
def count(place: str, value: Any) -> int:
    """Read a whole number from 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PolicyError(place, "must be a whole number from 1", value)
    return value


@takes({"type": "string", "pattern": r"^[1-9][0-9]*[mhdw]$"})
def duration(place: str, value: Any) -> timedelta:
    """Read a length of time with a unit."""
    units = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", value) if isinstance(value, str) else None
    if match is None:
        raise PolicyError(place, "must be a length of time such as 90m, 26h, 2d or 8w", value)
    return timedelta(**{units[match[2]]: int(match[1])})


_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


@takes({"type": "string", "pattern": rf"^(?!0+(\.0+)?\D)[0-9]+(\.[0-9]+)? ?({'|'.join(_UNITS)})$"})
def size(place: str, value: Any) -> int:
    """Read a number of bytes with a unit."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)", value) if isinstance(value, str) else None
    if match is None or match[2] not in _UNITS or float(match[1]) == 0:
        raise PolicyError(place, f"must be a size such as '20 MB' (units: {', '.join(_UNITS)})", value)
    return round(float(match[1]) * _UNITS[match[2]])


def one_of(*words: str) -> Reader[str]:
    """Return the reader of one of these words."""

    @takes({"enum": list(words)})
    def read(place: str, value: Any) -> str:
        if value not in words:
            hint = nearest(value, list(words)) if isinstance(value, str) else ""
            raise PolicyError(place, f"must be one of {', '.join(words)}", value, hint)
        return str(value)

    return read


def or_nothing(inner: Reader[T]) -> Reader[T | None]:
    """Return a reader that takes ``null`` too."""

    @takes({"anyOf": [schema_of(inner), {"type": "null"}]})
    def read(place: str, value: Any) -> T | None:
        return None if value is None else inner(place, value)

    return read


@takes({"type": "boolean"})
def flag(place: str, value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise PolicyError(place, "must be true or false", value)
    return value


def list_of(inner: Reader[T]) -> Reader[tuple[T, ...]]:
    """Return the reader of a list without duplicates."""

    @takes({"type": "array", "items": schema_of(inner), "uniqueItems": True})
    def read(place: str, value: Any) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise PolicyError(place, "must be a list", value)
        items = tuple(inner(f"{place}[{index}]", item) for index, item in enumerate(value))
        if len(set(items)) < len(items):
            double = next(index for index, item in enumerate(items) if item in items[:index])
            raise PolicyError(f"{place}[{double}]", "is a duplicate entry")
        return items

    return read


@takes({"type": "object"})
def mapping(place: str, value: Any) -> dict[str, Any]:
    """Read a mapping whose keys are text."""
    if not isinstance(value, dict):
        raise PolicyError(place, "must be a mapping", value)
    for key in value:
        if not isinstance(key, str) or not key.strip():
            raise PolicyError(place, "its keys must be text", f"{key}")
    return value


def mapping_of(inner: Callable[[str, str, Any], T], schema: Schema, names: str = "") -> Reader[tuple[T, ...]]:
    """Return the reader of a mapping from names to nouns: ``inner`` takes the place, the name and the value.
    ``schema`` is what a value has to be, ``names`` a pattern that every name has to match."""

    @takes(
        {"type": "object", "additionalProperties": schema} | ({"propertyNames": {"pattern": names}} if names else {})
    )
    def read(place: str, value: Any) -> tuple[T, ...]:
        return tuple(inner(f"{place}.{name}", name, item) for name, item in mapping(place, value).items())

    return read


# --- values of one kind of thing

TAGGED = r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?"
"""What GTO takes as a name, without its '/'."""
_ARTIFACT = rf"([A-Za-z0-9_-][A-Za-z0-9._/-]*:)?{TAGGED}"
_WITHHELD = re.compile(
    "HOME|PATH|SSH_AUTH_SOCK|GH_TOKEN|GITHUB_TOKEN|GITLAB_TOKEN|CI_JOB_TOKEN|REPO_TOKEN|DVC_STUDIO_TOKEN|"
    "GOOGLE_APPLICATION_CREDENTIALS|(AWS|AZURE|ACTIONS|LOCKGATE)_.*"
)
"""Variables that no stage gets: keys of a store and tokens of a forge, and the two that lockgate sets."""
_NAME = "[A-Za-z_][A-Za-z0-9_]*"


@takes({"type": "string", "pattern": f"^(?!({_WITHHELD.pattern})$){_NAME}$"})
def variable(place: str, value: Any) -> str:
    """Read the name of an environment variable that a stage may get."""
    if not isinstance(value, str) or not re.fullmatch(_NAME, value):
        raise PolicyError(place, "must be the name of an environment variable", value)
    if _WITHHELD.fullmatch(value):
        hint = "lockgate sets it" if value in ("HOME", "PATH") else "give the stage a key of its own by another name"
        raise PolicyError(place, "is never passed to a stage", value, hint)
    return value


_FUNCTION = rf"{_NAME}(\.{_NAME})*:{_NAME}"


@takes({"type": "string", "pattern": f"^{_FUNCTION}$"})
def function(place: str, value: Any) -> str:
    """Read the name of a Python function."""
    if not isinstance(value, str) or not re.fullmatch(_FUNCTION, value):
        raise PolicyError(place, "must name a function as package.module:function", value)
    return value


_FILE_FUNCTION = rf"(?!/)(?!(.*/)?\.\.(/|:))[^\\:\s][^\\:]*\.py:{_NAME}"


@takes({"type": "string", "pattern": f"^{_FILE_FUNCTION}$"})
def function_of_file(place: str, value: Any) -> str:
    """Read the name of a function in a Python file of the repository."""
    if not isinstance(value, str) or not re.fullmatch(_FILE_FUNCTION, value):
        raise PolicyError(place, "must name a function of a file in the repository, as metrics.py:function", value)
    file, _, name = value.partition(":")
    return f"{PurePosixPath(file)}:{name}"


@takes({"type": "string", "pattern": f"^{_ARTIFACT}$"})
def artifact_name(place: str, value: Any) -> str:
    """Return the name of an artifact, which GTO's tags have to be able to write: ``model`` or ``folder:model``."""
    if not re.fullmatch(_ARTIFACT, text(place, value)):
        rule = "letters, digits, '_' and '-', with a letter or digit at both ends; its folder may come before a ':'"
        raise PolicyError(place, f"GTO cannot tag this name: it must have {rule}", value)
    return str(value)


@takes({"type": "string", "pattern": r"^3\.[0-9]+(\.[0-9]+)?$"})
def python_version(place: str, value: Any) -> str:
    """Read a version of Python, in quotes."""
    if not isinstance(value, str) or not re.fullmatch(r"3\.[0-9]+(\.[0-9]+)?", value):
        raise PolicyError(place, "must be a version of Python in quotes, such as '3.11'", value)
    return value
