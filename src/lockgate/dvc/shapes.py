"""Whether ``dvc.yaml``, ``dvc.lock`` and ``.dvc`` files have the shape that DVC wants: DVC's own schema decides.

Importing that schema costs half a second. So a file that consists of nothing but the usual entries is let through by
:data:`_USUAL`, which never accepts what the schema refuses (a generated test holds that); everything else goes to DVC.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

Kind = Literal["dvc.yaml", "dvc.lock", ".dvc"]
Place = tuple[Any, ...]

_SHOWN = 60  # characters of a value in a message


def problem(kind: Kind, content: Any) -> tuple[str, Place] | None:
    """Return what is wrong with a file's content and where in it, as keys and indices; ``None`` if DVC accepts it."""
    if _usual(content, _USUAL[kind]):
        return None
    from dvc import schema
    from voluptuous import Invalid, MultipleInvalid

    compiled = {
        "dvc.yaml": schema.COMPILED_MULTI_STAGE_SCHEMA,
        "dvc.lock": schema.COMPILED_LOCKFILE_SCHEMA,
        ".dvc": schema.COMPILED_SINGLE_STAGE_SCHEMA,
    }[kind]
    try:
        compiled(content)
    except MultipleInvalid as error:
        return _told(max(error.errors, key=lambda one: len(one.path)), content)
    except Invalid as error:
        return _told(error, content)
    return None


def stage_problem(stage: Mapping[str, Any]) -> tuple[str, Place] | None:
    """Return what is wrong with a stage whose templates are filled in, and where in it; ``None`` if it can be run.

    DVC asks its schema before it fills in templates, and then fails in many ways on what came out of them.
    """
    for key, value in stage.items():
        if key in _RESOLVED and (found := _unlike(value, _RESOLVED[key], (key,))) is not None:
            return found
    if not stage.get("cmd"):
        return "is missing or empty", ("cmd",)
    return None


def unsupported(value: Any, place: Place = ()) -> tuple[str, Place] | None:
    """Return what of some parameters DVC has no values for (a date, a set), and where; ``None`` if there is nothing."""
    if isinstance(value, Mapping):
        items: Iterator[tuple[Any, Any]] = iter(value.items())
    elif isinstance(value, list):
        items = iter(enumerate(value))
    elif value is None or isinstance(value, str | int | float | bytes):
        return None
    else:
        kind = _KINDS.get(type(value).__name__, type(value).__name__)
        return f"is a {kind} ({_shown(value)}), for which DVC has no value; write it in quotes, as text", place
    return _first(unsupported(inner, (*place, key)) for key, inner in items)


def dotted(place: Place) -> str:
    """Return a place as a reader of the file would say it: ``stages.train.outs[0]``."""
    text = ""
    for key in place:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else str(key)
    return text


_KINDS = {"date": "date", "datetime": "time", "time": "time", "set": "set", "tuple": "tuple"}


def _told(error: Any, content: Any) -> tuple[str, Place]:
    """Return one of voluptuous' errors in words, with the value that stands at its place."""
    place = tuple(key if isinstance(key, str | int) else str(key) for key in error.path)
    words = str(error.error_message)
    value = content
    for key in place:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return words, place
    if value is None:
        return f"{words}; it is empty", place
    if isinstance(value, Mapping | list):
        return f"{words}; it is a {'mapping' if isinstance(value, Mapping) else 'list'}", place
    return f"{words}; it is {_shown(value)}", place


def _shown(value: Any) -> str:
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


# --- the usual entries. A type or text is itself; a tuple is one of several; [x] a list of x; {str: x} a mapping to x
# that is not empty; a mapping with names may have any of them, and has to have those of _NEEDED
_ANYTHING, _DIGEST = object(), object()
_OUT = (str, {str: {"cache": bool, "persist": bool, "push": bool, "desc": str, "type": str, "remote": str}})
_STAGE = {
    "cmd": (str, list),
    "matrix": {str: (str, list)},
    "wdir": str,
    "deps": [str],
    "params": [(str, dict)],
    "outs": [_OUT],
    "metrics": [_OUT],
    "plots": [_OUT],
    "frozen": bool,
    "always_changed": bool,
    "desc": str,
    "meta": _ANYTHING,
    "vars": [(str, dict)],
}
_HASHED = {"path": str, "hash": str, "md5": _DIGEST, "size": int, "nfiles": int, "isexec": bool}
_USUAL: dict[Kind, Any] = {
    "dvc.yaml": {
        "stages": {str: (_STAGE, {"foreach": (dict, list, str), "do": _STAGE})},
        "vars": [(str, dict)],
        "params": [str],
        "metrics": [str],
        "plots": [(str, {str: {"x": str, "y": str, "title": str, "template": str}})],
        "artifacts": {str: {"path": str, "type": str, "desc": str, "labels": [str], "meta": _ANYTHING}},
    },
    "dvc.lock": {
        "schema": "2.0",
        "stages": {
            str: {"cmd": (str, list), "deps": [_HASHED], "outs": [_HASHED], "params": {str: {str: _ANYTHING}}},
        },
    },
    ".dvc": {"md5": _DIGEST, "frozen": bool, "wdir": str, "desc": str, "meta": _ANYTHING, "outs": [_HASHED]},
}
_NEEDED = ({"cmd"}, {"foreach", "do"}, {"path"}, {"schema"})

_FLAGS: Any = {str: dict}
_RESOLVED: dict[str, Any] = {
    "cmd": (str, [str]),
    "wdir": str,
    "deps": [str],
    "params": [(str, {str: (None, [str])})],
    "outs": [(str, _FLAGS)],
    "metrics": [(str, _FLAGS)],
    "plots": [(str, _FLAGS)],
}


def _usual(value: Any, shape: Any) -> bool:  # noqa: PLR0911 - one for each kind of shape
    if shape is _ANYTHING:
        return True
    if shape is _DIGEST:
        return type(value) is str and len(value) > 2
    if isinstance(shape, tuple):
        return any(_usual(value, one) for one in shape)
    if isinstance(shape, list):
        return type(value) is list and all(_usual(item, shape[0]) for item in value)
    if not isinstance(shape, dict):
        return type(value) is shape or (isinstance(shape, str) and value == shape)
    if type(value) is not dict:
        return False
    if str in shape:
        return bool(value) and all(type(key) is str and _usual(item, shape[str]) for key, item in value.items())
    needed = next((needed for needed in _NEEDED if needed <= shape.keys()), set())
    return needed <= value.keys() and all(key in shape and _usual(item, shape[key]) for key, item in value.items())


def _unlike(value: Any, shape: Any, place: Place) -> tuple[str, Place] | None:  # noqa: PLR0911 - as above
    """Return where a value does not have ``shape``, and what it should be."""
    if isinstance(shape, tuple):
        inner = [found for one in shape if (found := _unlike(value, one, place)) is not None]
        if len(inner) < len(shape):
            return None
        deepest = max(inner, key=lambda found: len(found[1]))
        expected = " or ".join(_name(one) for one in shape)
        return deepest if len(deepest[1]) > len(place) else (f"expected {expected}; it is {_shown(value)}", place)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"expected a list; it is {_shown(value)}", place
        return _first(_unlike(item, shape[0], (*place, index)) for index, item in enumerate(value))
    if isinstance(shape, dict):
        if not isinstance(value, Mapping):
            return f"expected a mapping; it is {_shown(value)}", place
        if any(not isinstance(key, str) for key in value):
            return "its keys must be text", place
        return _first(_unlike(item, shape[str], (*place, key)) for key, item in value.items())
    if value is None if shape is None else isinstance(value, shape):
        return None
    return f"expected {_name(shape)}; it is {_shown(value)}", place


def _first(found: Iterator[tuple[str, Place] | None]) -> tuple[str, Place] | None:
    return next((one for one in found if one is not None), None)


def _name(shape: Any) -> str:
    if isinstance(shape, list):
        return "a list"
    return "nothing" if shape is None else "text" if shape is str else "a mapping"
