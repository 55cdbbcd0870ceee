"""A result whose every free text is one hostile value: what the author of a pull request could write at worst."""

import types
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def poisoned(noun: T, value: str) -> T:
    """Return the dataclass with ``value`` in place of every string that is not one of a fixed set of words."""
    assert is_dataclass(noun)
    assert not isinstance(noun, type)
    hints = get_type_hints(type(noun))
    changed = {field.name: _swap(getattr(noun, field.name), hints[field.name], value) for field in fields(noun)}
    return replace(noun, **changed)


def _swap(old: Any, hint: Any, value: str) -> Any:
    if is_dataclass(old):
        return poisoned(old, value)
    if get_origin(hint) is tuple:
        return tuple(_swap(one, get_args(hint)[0], value) for one in old)
    words = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return value if isinstance(old, str) and old and str in words else old
