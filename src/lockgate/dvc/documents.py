"""The files that DVC reads, read as DVC reads them: YAML by its parser, params files, the templates of ``dvc.yaml``.

All errors name the file and, where the parser says it, the line and column.
"""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lockgate.errors import LockgateError
from lockgate.git import Snapshot


class PipelineError(LockgateError):
    """A pipeline file that cannot be used as it stands."""


class BrokenFile(PipelineError):  # noqa: N818 - named for what the user reads
    """A YAML, JSON or TOML file that does not parse or does not have the right shape."""

    def __init__(self, path: str, problem: str, line: int | None = None, column: int | None = None) -> None:
        """Name the file, the place in it where known (counted from 1), and what is wrong."""
        place = "" if line is None else f", line {line}" + ("" if column is None else f", column {column}")
        super().__init__(f"{path}{place}: {problem}", f"Correct {path} and try again.")


def read_params(snapshot: Snapshot, path: str) -> Mapping[str, Any] | None:
    """Return a params file's content as DVC reads it, ``None`` if it does not exist. Raises :class:`BrokenFile`."""
    text = snapshot.read(path)
    return None if text is None else _parse_params(text, path)


MISSING: Any = object()


def param(values: Mapping[str, Any], key: str) -> Any:
    """Return the value at ``a.b.c``, :data:`MISSING` if there is none. Patterns are resolved as DVC does."""
    node: Any = values
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            break
        node = node[part]
    else:
        return node
    from dpath import get

    try:
        return get(values, key, separator=".")  # type: ignore[arg-type]
    except (KeyError, ValueError):
        return MISSING


def join(folder: str, path: str) -> str:
    """Return ``path``, meant in ``folder``, as one clean path; addresses (``s3://…``, ``ds://…``) stay as they are."""
    if is_address(path):
        return path
    joined = posixpath.normpath(posixpath.join(folder, path))
    return "" if joined == "." else joined


def is_address(path: str) -> bool:
    """Say whether ``path`` is no path at all but an address: a remote file or a dataset."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path) is not None


def read_yaml(text: bytes, path: str) -> dict[str, Any]:
    """Parse YAML that is a mapping. Raises :class:`BrokenFile`."""
    value = load_yaml(text, path)
    if not isinstance(value, dict):
        raise BrokenFile(path, f"a mapping was expected, this is a {type(value).__name__}")
    return value


@lru_cache(maxsize=64)
def load_yaml(text: bytes, path: str) -> Any:
    """Parse YAML; nothing at all is an empty mapping. Raises :class:`BrokenFile`. Do not change what it returns."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if marker := re.search(rb"^(<{7}|>{7})( |$)", text, re.MULTILINE):
        line = text.count(b"\n", 0, marker.start()) + 1
        raise BrokenFile(path, "a conflict marker of git: the merge is not finished", line)
    try:
        return YAML(typ="safe").load(text.decode()) or {}
    except UnicodeDecodeError as error:
        raise BrokenFile(path, "this is not UTF-8 text", text.count(b"\n", 0, error.start) + 1) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = str(error.problem or error.context).splitlines()[0]
        raise BrokenFile(path, problem, mark and mark.line + 1, mark and mark.column + 1) from error
    except (YAMLError, ValueError) as error:
        raise BrokenFile(path, str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise BrokenFile(path, "nested too deeply") from error


@lru_cache(maxsize=64)
def _parse_params(text: bytes, path: str) -> Mapping[str, Any]:
    suffix = posixpath.splitext(path)[1].lower()
    if suffix in (".json", ".toml", ".py"):
        from dvc.utils.serialize import PARSERS, ParseError

        try:
            values = PARSERS[suffix](text.decode(), path)
        except (ParseError, ValueError) as error:
            raise BrokenFile(path, str(error.__cause__ or error)) from error
    else:
        values = load_yaml(text, path)
    if not isinstance(values, Mapping):
        raise BrokenFile(path, f"a mapping was expected, this is a {type(values).__name__}")
    return values


@dataclass(frozen=True)
class Resolved:
    """A ``dvc.yaml`` without templates: stage definitions by name, and its top level."""

    stages: Mapping[str, Mapping[str, Any]]
    metrics: list[str]
    plots: list[str]
    artifacts: Mapping[str, Mapping[str, Any]]


class _Files:
    """The few file-system calls that DVC's resolver makes, answered from a snapshot."""

    join = staticmethod(posixpath.join)
    normpath = staticmethod(posixpath.normpath)
    relpath = staticmethod(posixpath.relpath)

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def exists(self, path: str) -> bool:
        return self.snapshot.read(path) is not None

    def isdir(self, _path: str) -> bool:
        return False

    def suffix(self, path: str) -> str:
        return posixpath.splitext(path)[1]

    def open(self, path: str, *_: object, **__: object) -> Any:
        from io import StringIO

        return StringIO((self.snapshot.read(path) or b"").decode())


def resolve(snapshot: Snapshot, path: str, content: dict[str, Any]) -> Resolved:
    """Resolve the templates of one ``dvc.yaml`` with DVC's own resolver."""
    from types import SimpleNamespace

    from dvc.exceptions import DvcException
    from dvc.parsing import DataResolver

    _check_shape(path, content)
    folder = posixpath.dirname(path)
    for item in ("params.yaml", *content.get("vars", [])):
        if isinstance(item, str):
            read_params(snapshot, join(folder, item.partition(":")[0]))  # its own error names the place, DVC's does not
    try:
        resolver = DataResolver(SimpleNamespace(fs=_Files(snapshot), config={}), folder, content)
        resolved = {name: resolver.resolve_one(name)[name] for name in resolver.get_keys()}
        metrics = resolver.resolve_metrics()
        plots = [plot for item in resolver.resolve_plots() for plot in ([item] if isinstance(item, str) else item)]
        artifacts = {name: value or {} for name, value in resolver.resolve_artifacts().items()}
    except DvcException as error:
        raise BrokenFile(path, " ".join(str(error).split())) from error
    return Resolved(resolved, metrics, plots, artifacts)


def _check_shape(path: str, content: dict[str, Any]) -> None:
    """Refuse what is no ``dvc.yaml`` at all; the finer points are left to DVC's resolver and to DVC itself."""
    stages = content.get("stages") or {}
    if not isinstance(stages, dict):
        raise BrokenFile(path, "'stages' is not a mapping of names to stages")
    content["stages"] = stages
    if not isinstance(content.setdefault("vars", []), list):
        raise BrokenFile(path, "'vars' is not a list")
    for name, stage in stages.items():
        if not isinstance(stage, dict):
            raise BrokenFile(path, f"stage '{name}' is not a mapping")
        body = stage.get("do", stage) if "foreach" in stage else stage
        if not isinstance(body, dict) or not isinstance(body.get("cmd"), str | list) or not body["cmd"]:
            raise BrokenFile(path, f"stage '{name}' has no 'cmd'")
        for key in ("deps", "params", "outs", "metrics", "plots"):
            if not isinstance(body.get(key, []), list) or not all(isinstance(v, str | dict) for v in body.get(key, [])):
                raise BrokenFile(path, f"stage '{name}': '{key}' is not a list of paths or names")
        if "frozen" in body and not isinstance(body["frozen"], bool):
            raise BrokenFile(path, f"stage '{name}': 'frozen' is neither true nor false")
