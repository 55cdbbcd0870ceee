"""The files that DVC reads, read as DVC reads them: YAML by its parser, params files, the templates of ``dvc.yaml``.

All errors name the file and, where the parser says it, the line and column.
"""

import posixpath
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from lockgate.dvc import shapes
from lockgate.errors import LockgateError
from lockgate.git import Snapshot
from lockgate.strict_yaml import YamlError, load, position


class PipelineError(LockgateError):
    """A pipeline file that cannot be used as it stands."""


class BrokenFile(PipelineError):  # noqa: N818 - named for what the user reads
    """A YAML, JSON or TOML file that does not parse or does not have the right shape."""

    def __init__(self, path: str, problem: str, line: int | None = None, column: int | None = None) -> None:
        """Name the file, the place in it where known (counted from 1), and what is wrong."""
        self.line = line
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
    """Say whether ``path`` is not a path at all but an address: a remote file or a dataset."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path) is not None


def read_yaml(text: bytes, path: str, kind: shapes.Kind) -> dict[str, Any]:
    """Parse a file of DVC and check its shape by DVC's schema. Raises :class:`BrokenFile`."""
    value = load_yaml(text, path)
    check_shape(value, text, path, kind)
    found: dict[str, Any] = value
    return found


def check_shape(value: Any, text: bytes, path: str, kind: shapes.Kind) -> None:
    """Raise :class:`BrokenFile` with the place where parsed ``text`` is not what DVC's schema of ``kind`` wants."""
    if not isinstance(value, dict):
        raise BrokenFile(path, f"a mapping was expected, this is a {type(value).__name__}")
    found = shapes.problem(kind, value)
    if found is not None:
        raise _misshapen(path, text, *found)


def _misshapen(path: str, text: bytes, words: str, place: shapes.Place) -> BrokenFile:
    """Return the error that names a key of a file, and its line and column."""
    where = position(text, place, path)
    return BrokenFile(path, f"{shapes.dotted(place)}: {words}" if place else words, *(where or (None, None)))


@lru_cache(maxsize=256)  # the locks of past runs are among them
def load_yaml(text: bytes, path: str) -> Any:
    """Parse YAML; nothing at all is an empty mapping. Raises :class:`BrokenFile`. Do not change what it returns."""
    if marker := re.search(rb"^(<{7}|>{7})( |$)", text, re.MULTILINE):
        line = text.count(b"\n", 0, marker.start()) + 1
        raise BrokenFile(path, "a conflict marker of git: the merge is not finished", line)
    try:
        return load(text, path) or {}
    except YamlError as error:
        raise BrokenFile(path, error.problem, error.line, error.column) from error


@lru_cache(maxsize=64)
def _parse_params(text: bytes, path: str) -> Mapping[str, Any]:
    suffix = posixpath.splitext(path)[1].lower()
    if suffix in (".json", ".toml", ".py"):
        from dvc.utils.serialize import PARSERS, ParseError

        try:
            values = PARSERS[suffix](text.decode(), path)
        except (ParseError, ValueError) as error:
            raise BrokenFile(path, str(error.__cause__ or error)) from error
        except RecursionError as error:
            raise BrokenFile(path, "nested too deeply") from error
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

        read_params(self.snapshot, path)  # its own error names the place, and bounds what aliases stand for
        return StringIO((self.snapshot.read(path) or b"").decode())


def _parsing(snapshot: Snapshot) -> dict[str, str]:
    """Return the ``[parsing]`` section of DVC's configuration: how templates turn booleans and lists into a command.

    What the commit holds counts, over what this machine's user and system have configured; of the working tree its
    own ``config.local`` too.
    """
    from dvc.config import Config, ConfigError
    from dvc.dirs import global_config_dir, system_config_dir

    texts = []
    for folder in (system_config_dir(), global_config_dir()):
        with suppress(OSError):
            texts.append(Path(folder, "config").read_bytes())
    files = [".dvc/config"] if snapshot.commit else [".dvc/config", ".dvc/config.local"]
    texts += [snapshot.read(file) or b"" for file in files]
    found: dict[str, str] = {}
    for text in texts:
        if b"parsing" not in text:  # DVC's reader brings its file systems along, which takes longer than planning does
            continue
        with suppress(ConfigError):  # DVC itself refuses such a configuration, and says why
            section = Config.load_file("config", fs=_Text(text)).get("parsing", {})
            found.update({str(key): str(value).lower() for key, value in section.items()})
    return found


@dataclass(frozen=True)
class _Text:
    """A file system with one text in it, which DVC's reader of configurations opens."""

    text: bytes

    def open(self, _path: str) -> Any:
        from io import BytesIO

        return BytesIO(self.text)


def resolve(snapshot: Snapshot, path: str, text: bytes) -> Resolved:
    """Return one ``dvc.yaml`` with its templates filled in by DVC's own resolver. Raises :class:`BrokenFile`."""
    from types import SimpleNamespace

    from dvc.exceptions import DvcException
    from dvc.parsing import DataResolver

    content = read_yaml(text, path, "dvc.yaml")
    folder = posixpath.dirname(path)
    _check_vars(snapshot, path, folder, text, content.get("vars", []))
    try:
        settings = {"parsing": _parsing(snapshot)}
        resolver = DataResolver(SimpleNamespace(fs=_Files(snapshot), config=settings), folder, content)
        resolved = {name: resolver.resolve_one(name)[name] for name in resolver.get_keys()}
        metrics = resolver.resolve_metrics()
        plots = [plot for item in resolver.resolve_plots() for plot in ([item] if isinstance(item, str) else item)]
        artifacts = {name: value or {} for name, value in resolver.resolve_artifacts().items()}
    except DvcException as error:
        raise BrokenFile(path, " ".join(str(error).split())) from error
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        # DVC's resolver raises these for values that it does not expect in a place, such as a number to iterate over
        raise BrokenFile(path, f"its templates cannot be filled in: {' '.join(str(error).split())}") from error
    _check_resolved(path, text, resolved, metrics, plots, artifacts)
    return Resolved(resolved, metrics, plots, artifacts)


def template_files(snapshot: Snapshot, path: str) -> tuple[str, ...]:
    """Return the files from which the templates of one ``dvc.yaml`` are filled in, whether they are there or not."""
    folder, content = posixpath.dirname(path), read_yaml(snapshot.read(path) or b"", path, "dvc.yaml")
    items = ["params.yaml", *content.get("vars", [])]
    for stage in (group.get("do", group) for group in content.get("stages", {}).values()):
        items += [join(stage.get("wdir") or ".", item) for item in stage.get("vars", []) if isinstance(item, str)]
    return tuple(join(folder, item.partition(":")[0]) for item in items if isinstance(item, str))


def _check_vars(snapshot: Snapshot, path: str, folder: str, text: bytes, items: list[Any]) -> None:
    """Refuse parameters that DVC cannot fill in, with the place that DVC does not name."""
    for index, item in enumerate(("params.yaml", *items), -1):
        if isinstance(item, str):
            file = join(folder, item.partition(":")[0])
            if (values := read_params(snapshot, file)) and (found := shapes.unsupported(values)) is not None:
                raise _misshapen(file, snapshot.read(file) or b"", *found)
        elif (found := shapes.unsupported(item, ("vars", index))) is not None:
            raise _misshapen(path, text, *found)


def _check_resolved(
    path: str,
    text: bytes,
    stages: Mapping[str, Any],
    metrics: list[Any],
    plots: list[Any],
    artifacts: Mapping[str, Any],
) -> None:
    """Refuse what templates made of a ``dvc.yaml`` where it is no longer what DVC can run."""
    for name, stage in stages.items():
        if (found := shapes.stage_problem(stage)) is not None:
            words, place = found
            group = name.partition("@")[0]
            inner = place if group == name else ("do", *place)
            where = position(text, ("stages", group, *inner), path)
            raise BrokenFile(path, f"stage '{name}': {shapes.dotted(place)}: {words}", *(where or (None, None)))
    named = [("metrics", metrics), ("plots", plots), ("artifacts", [one.get("path") for one in artifacts.values()])]
    for key, values in named:
        for value in values:
            if not isinstance(value, str):
                where = position(text, (key,), path)
                raise BrokenFile(path, f"{key}: expected a path, it is {value!r}", *(where or (None, None)))
