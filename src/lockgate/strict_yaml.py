"""The one YAML reader: what DVC reads (ruamel.yaml, YAML 1.2), with bounds, and every complaint with its place.

``no`` and ``on`` are words, ``1e-3`` and ``1_000`` are numbers, ``12:30`` is text, ``2024-01-01`` is a date. Only plain
data is built, never objects. A file may come from anybody: nesting, and what aliases stand for, are bounded.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from lockgate.errors import LockgateError

if TYPE_CHECKING:
    from ruamel.yaml import YAML
    from ruamel.yaml.nodes import Node

DEEPEST = 100  # levels of nesting; more is refused
MOST = 50_000  # values that aliases may stand for, beside those that are written
LARGEST = 50_000_000  # characters of a document

_MERGE = "tag:yaml.org,2002:merge"


class YamlError(LockgateError):
    """A YAML file that cannot be read as one unambiguous document. ``line`` and ``column`` are counted from 1."""

    def __init__(self, file: str, problem: str, line: int | None = None, column: int | None = None) -> None:
        """Name the file, the place in it where known, and what is wrong."""
        self.problem, self.line, self.column = problem, line, column
        place = "" if line is None else f"line {line}: " if column is None else f"line {line}, column {column}: "
        super().__init__(f"{file}: {place}{problem}", "Correct the file; nothing was read from it.")


def load(text: str | bytes, file: str) -> Any:
    """Return the data of one YAML document (``None`` for an empty one).

    Raises :class:`YamlError` naming ``file`` and the line and column of what cannot be parsed, both lines of a key that
    is given twice in one mapping, nesting beyond :data:`DEEPEST` and aliases that stand for more than :data:`MOST`
    values.
    """
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    decoded = _decoded(text, file)
    try:
        return _reader().load(decoded)
    except _Refused as refused:
        raise YamlError(file, refused.problem, refused.line, refused.column) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = _first_line(error.problem or error.context)
        if "maximum depth" in problem:
            problem = f"nested more than {DEEPEST} levels deep"
        raise YamlError(file, problem, mark and mark.line + 1, mark and mark.column + 1) from error
    except YAMLError as error:
        position = getattr(error, "position", None)
        if position is None:
            raise YamlError(file, _first_line(error)) from error
        raise YamlError(
            file,
            f"character {position} is not allowed in YAML",
            decoded.count("\n", 0, position) + 1,
        ) from error
    except RecursionError as error:
        raise YamlError(file, f"nested more than {DEEPEST} levels deep") from error


def position(text: str | bytes, keys: Sequence[Any], file: str = "") -> tuple[int, int] | None:
    """Return line and column (counted from 1) of what stands at ``keys`` in a document that :func:`load` reads.

    Of a value inside a mapping it is the place of its key. Where the document does not go that deep, it is the place of
    the last of ``keys`` that it has; ``None`` if it has none of them.
    """
    from ruamel.yaml.nodes import MappingNode, SequenceNode

    reader = _reader()
    node = reader.compose(_decoded(text, file))
    place: tuple[int, int] | None = None
    for key in keys:
        found = None
        if isinstance(node, MappingNode):
            found = next(((name, value) for name, value in node.value if name.value == str(key)), None)
        elif isinstance(node, SequenceNode) and isinstance(key, int) and 0 <= key < len(node.value):
            found = node.value[key], node.value[key]
        if found is None:
            break
        place = found[0].start_mark.line + 1, found[0].start_mark.column + 1
        node = found[1]
    return place


def span(text: str, keys: Sequence[str], file: str = "") -> tuple[int, int] | None:
    """Return where the single value at ``keys`` starts and ends in ``text``, counted in characters from 0.

    ``None`` where there is no such value, where it is no single value, or where it is an alias of one elsewhere.
    """
    from ruamel.yaml.nodes import MappingNode, ScalarNode

    node = _reader().compose(_decoded(text, file))
    for key in keys:
        if not isinstance(node, MappingNode):
            return None
        found = next(((name, value) for name, value in node.value if name.value == key), None)
        if found is None or found[1].start_mark.index < found[0].end_mark.index:  # what an alias names is elsewhere
            return None
        node = found[1]
    if not isinstance(node, ScalarNode) or node.style in ("|", ">"):
        return None
    return node.start_mark.index, node.end_mark.index


class _Refused(Exception):  # noqa: N818  an answer inside this module
    """What is wrong with a node, and where it is."""

    def __init__(self, problem: str, node: "Node") -> None:
        super().__init__(problem)
        self.problem, self.line, self.column = problem, node.start_mark.line + 1, node.start_mark.column + 1


def _decoded(text: str | bytes, file: str) -> str:
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise YamlError(file, f"byte {error.start} is not UTF-8", line) from error
    if len(decoded) > LARGEST:
        raise YamlError(file, f"{len(decoded):,} characters are more than the {LARGEST:,} that are read")
    return decoded


def _reader() -> "YAML":
    """Return DVC's reader with our bounds: the parser in Python, which checks the depth before it goes on."""
    from ruamel.yaml import YAML

    reader = YAML(typ="safe", pure=True)
    reader.max_depth = DEEPEST
    reader.Constructor = _constructor()
    reader.composer.warn_double_anchors = False  # an anchor that is set again is allowed, and no warning of ours
    return reader


@lru_cache(maxsize=1)
def _constructor() -> Any:
    """Return ruamel's constructor of plain data, which looks at the whole document first and names every place."""
    from ruamel.yaml.constructor import SafeConstructor
    from ruamel.yaml.error import YAMLError

    class Constructor(SafeConstructor):
        def get_single_data(self) -> Any:
            node = self.composer.get_single_node()
            if node is None:
                return None
            _refuse_duplicates(node)
            _refuse_expansion(node)
            return self.construct_document(node)

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                value = super().construct_object(node, deep)
            except (YAMLError, _Refused, RecursionError):
                raise
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                # what ruamel's own readers of single values raise: a month 13, `!!bool maybe`
                raise _Refused(f"'{_shown(node)}' cannot be read ({_first_line(error)})", node) from error
            if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
                raise _Refused("text with half of a surrogate pair, which is no Unicode", node)
            return value

    return Constructor


def _refuse_duplicates(root: "Node") -> None:
    from ruamel.yaml.nodes import MappingNode, ScalarNode

    for node in _nodes(root):
        if not isinstance(node, MappingNode):
            continue
        lines: dict[tuple[str | None, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or key.tag == _MERGE:
                continue
            line = key.start_mark.line + 1
            if (first := lines.get((key.tag, key.value))) is not None:
                raise _Refused(f"duplicate key '{key.value}' in one mapping: lines {first} and {line}", key)
            lines[key.tag, key.value] = line


def _refuse_expansion(root: "Node") -> None:
    """Refuse a document that aliases blow up, or that holds itself."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()
    waiting: list[tuple[Node, bool]] = [(root, False)]
    while waiting:
        node, done = waiting.pop()
        if done:
            open_.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in _children(node))
            if sizes[id(node)] - len(sizes) > MOST:
                raise _Refused(f"its aliases stand for more than {MOST:,} values", node)
        elif id(node) in open_:
            raise _Refused("it holds itself through an alias", node)
        elif id(node) not in sizes:
            open_.add(id(node))
            waiting.append((node, True))
            waiting.extend((child, False) for child in _children(node))


def _nodes(root: "Node") -> "list[Node]":
    """Return every node of a document, each once."""
    seen: dict[int, Node] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen[id(node)] = node
            waiting.extend(_children(node))
    return list(seen.values())


def _children(node: "Node") -> "list[Node]":
    from ruamel.yaml.nodes import MappingNode, SequenceNode

    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, SequenceNode) else []


def _shown(node: Any) -> str:
    value = node.value if isinstance(node.value, str) else str(node.tag)
    return value if len(value) <= 60 else value[:57] + "…"


def _first_line(text: object) -> str:
    return (str(text).splitlines() or [type(text).__name__])[0]
