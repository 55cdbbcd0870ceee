"""Outputs that a rebuild compares by value, because they differ from run to run: numbers within what the policy allows.

Everything but numbers has to be the same: keys, their order apart, the length of lists, text. NaN equals NaN.
"""

import csv
import json
import math
import tomllib
from pathlib import PurePosixPath
from typing import Any

from lockgate.errors import LockgateError
from lockgate.policy import Tolerance
from lockgate.strict_yaml import load


def beyond(locked: bytes, rebuilt: bytes, allowed: Tolerance) -> str:
    """Return where two versions of a file differ by more than is allowed, and how; empty if they do not."""
    values = []
    for name, content in (("dvc.lock's", locked), ("the rebuilt", rebuilt)):
        try:
            values.append(_values(content, allowed.path))
        except (csv.Error, RecursionError, ValueError, LockgateError) as error:
            return f"{name} {allowed.path} cannot be read: {error}"
    return _beyond(values[0], values[1], allowed, "")


def _values(content: bytes, path: str) -> Any:
    suffix = PurePosixPath(path).suffix.lower()
    text = content.decode("utf-8-sig")
    if suffix == ".json":
        return json.loads(text)
    if suffix in (".yaml", ".yml"):
        return load(text, path)
    if suffix == ".toml":
        return tomllib.loads(text)
    rows = csv.reader(text.splitlines(), delimiter="\t" if suffix == ".tsv" else ",")
    return [[_cell(cell) for cell in row] for row in rows]


def _cell(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def _beyond(one: Any, other: Any, allowed: Tolerance, place: str) -> str:
    if _is_number(one) and _is_number(other):
        same = one == other or (math.isnan(one) and math.isnan(other))
        near = same or math.isclose(one, other, rel_tol=allowed.relative, abs_tol=allowed.absolute)
        return "" if near else f"{place or 'it'} is {one} in dvc.lock's version and {other} in the rebuilt one"
    if isinstance(one, dict) and isinstance(other, dict):
        if one.keys() != other.keys():
            return f"{place or 'it'} has other keys"
        pairs = [(f"{place}.{key}" if place else str(key), one[key], other[key]) for key in one]
    elif isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{place or 'it'} has {len(other)} entries, not {len(one)}"
        pairs = [(f"{place}[{index}]", *pair) for index, pair in enumerate(zip(one, other, strict=True))]
    else:
        return "" if type(one) is type(other) and one == other else f"{place or 'it'} has another value"
    return next((found for name, *pair in pairs if (found := _beyond(pair[0], pair[1], allowed, name))), "")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
