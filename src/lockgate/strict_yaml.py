"""YAML as a reviewer reads it: YAML 1.2 scalars (as DVC reads them), no duplicate keys, every complaint with its place.

``no`` and ``on`` are words, ``1e-3`` is a number, ``12:30`` is text. Only plain data is built, never objects.
"""

import re
from typing import Any, Never

import yaml

from lockgate.errors import LockgateError

DEEPEST = 100  # levels of nesting; more is refused

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# the YAML 1.2 core schema, chapter 10.3, in the order in which it is tried; and merge keys, which DVC allows
_SCALARS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("null", re.compile(r"null|Null|NULL|~|"), "nN~"),
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("merge", re.compile(r"<<"), "<"),
)


class YamlError(LockgateError):
    """A YAML file that cannot be read as one unambiguous document."""

    def __init__(self, file: str, problem: str) -> None:
        """Name the file and what is wrong with it."""
        super().__init__(f"{file}: {problem}", "Correct the file; nothing was read from it.")


class _Loader(yaml.CSafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own way of configuring a loader


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node).lower().replace("+", "")
    return int(text, 0) if text.startswith(("0o", "0x")) else int(text)


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(loader.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan"))


for _name, _pattern, _first in _SCALARS:
    _whole = re.compile(rf"(?:{_pattern.pattern})\Z")
    _Loader.add_implicit_resolver(_TAG + _name, _whole, [*_first, *([""] if _name == "null" else [])])
_Loader.add_constructor(_TAG + "int", _int)
_Loader.add_constructor(_TAG + "float", _float)


def load(text: str | bytes, file: str) -> Any:
    """Return the data of one YAML document (``None`` for an empty one).

    Raises :class:`YamlError` naming ``file`` and the line and column of what cannot be parsed, or both lines of a key
    that stands twice in one mapping.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise YamlError(file, f"byte {error.start} is not UTF-8") from error
    try:
        _refuse_depth(text, file)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _refuse_duplicates(node, file)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        _complain(file, error)
    except yaml.reader.ReaderError as error:
        raise YamlError(file, f"character {error.position} is not allowed in YAML") from error
    except ValueError as error:
        raise YamlError(file, str(error)) from error


def _complain(file: str, error: yaml.MarkedYAMLError) -> Never:
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    raise YamlError(file, f"{where}{error.problem or error.context}") from error


def _refuse_depth(text: str, file: str) -> None:
    # composing is recursive in C: deep nesting would end the process. Events are not.
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                line = event.start_mark.line + 1 if event.start_mark else 1
                raise YamlError(file, f"line {line}: nested more than {DEEPEST} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refuse_duplicates(root: yaml.Node, file: str) -> None:
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            lines: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                waiting.extend((key, value))
                if not isinstance(key, yaml.ScalarNode) or key.tag == _TAG + "merge":
                    continue
                line = key.start_mark.line + 1
                if (key.tag, key.value) in lines:
                    first = lines[key.tag, key.value]
                    raise YamlError(file, f"'{key.value}' stands twice in one mapping: lines {first} and {line}")
                lines[key.tag, key.value] = line
