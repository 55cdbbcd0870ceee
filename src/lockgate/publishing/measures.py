"""Which changed files decide how a change is measured: what the check's own steps read, beside the pipeline's inputs.

A stage's dependencies are listed with the change itself. The files here are none, and yet may decide what runs, with
which packages, by which rules it is judged, or what git and DVC make of a file: a reviewer reads them first.

Three things are said, each of files that git says are changed:

- *by rule*: a closed list of names that the steps of a check read. Nothing that a pull request holds can shorten it.
- *opened*: the run saw the file opened while stages ran (:mod:`lockgate.dvc.opened`), although no stage names it as a
  dependency. That is the run's word, which changed code can falsify: it only ever adds a file.
- *unknown*: neither an input or output of a stage, nor by rule, nor a document that people alone read. Whether
  anything reads it is not known, so it is named. So is a changed value of a params file that no stage names.
  Base's policy may say of folders that no stage reads them (``ignored: [notebooks]``): what lies there is not named,
  unless a run opened it, or it is there by rule.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from lockgate import git
from lockgate.dvc.documents import read_params, template_files
from lockgate.dvc.ignore import Ignores
from lockgate.dvc.pipeline import is_address, read_pipeline, with_parents
from lockgate.errors import LockgateError
from lockgate.git import Commit
from lockgate.policy import FILE, read_models

FOLDERS = (".github", ".dvc", "requirements")
"""All that is below these, in the project or at the top of the repository, and what stands in their place."""
NAMES = re.compile(
    r"""
    (?:GNU)?[Mm]akefile | .+\.mk                      # what the steps call
    | pyproject\.toml | (?:hatch|pdm)_build\.py | MANIFEST\.in | setup\.(?:cfg|py)
    | tox\.ini | noxfile\.py | pytest\.ini | .*\.lock | uv\.toml
    | .*requirements.*\.(?:txt|in) | Pipfile | environment\.ya?ml | package(?:-lock)?\.json
    | \.python-version | \.tool-versions | \.nvmrc | pip\.conf | \.netrc | \.npmrc
    | \.gitattributes | \.gitmodules | \.gitconfig | \.lfsconfig | \.dvcignore
    | lockgate\.ya?ml | lockgate.*\.pub
    | sitecustomize\.py | usercustomize\.py | conftest\.py | .+\.pth | \.env(?:\..+)? | \.envrc
    | Dockerfile | \.dockerignore
    """,
    re.VERBOSE | re.DOTALL,
)
"""File names that are read wherever they lie; ``dvc.lock`` is not among them, for it is checked entry by entry."""
PACKAGES = ("sitecustomize", "usercustomize", "conftest")
"""Modules that Python or pytest imports by itself, and that may as well be folders."""
DOCUMENTS = re.compile(
    r".+\.(?:md|rst|adoc|png|jpe?g|gif|svg|webp|drawio)|(?:LICEN[CS]E|NOTICE|COPYING|AUTHORS|CHANGELOG)(?:\.txt)?"
    r"|CITATION\.cff|\.editorconfig|\.git(?:keep|-blame-ignore-revs)",
    re.IGNORECASE,
)
"""File names that no step of a check reads by itself. Who finds one opened by a stage says so: see :func:`unlisted`."""
TEMPLATE = re.compile(r"\$\{\s*([\w.-]+)")
"""What of a params file the templates of a ``dvc.yaml`` name: it is told with what comes of it, such as a command."""
PIPELINE = re.compile(r"dvc\.(?:yaml|lock)|.+\.dvc|\.gitignore")
"""What DVC writes and reads; what it says of stages and data is told with the change."""


@dataclass(frozen=True, slots=True)
class Measuring:
    """The changed files that decide how a change is measured, or may do so; paths are from the top of the repository.

    ``others`` are those for which neither rule nor pipeline accounts, ``opened`` those of them that the run saw opened.
    ``values`` are pairs of a params file and a key in it that differs, and that neither a stage nor a template names.
    ``ignored`` are those of the others of which base's policy says that no stage reads them.
    """

    by_rule: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def unknown(self) -> tuple[str, ...]:
        """Those of which it is not known whether anything reads them."""
        known = {*self.opened, *self.ignored}
        return tuple(name for name in self.others if name not in known and not is_document(name))

    def with_opened(self, said: Iterable[str]) -> Self:
        """Add what a run says was opened, as far as git says that it changed."""
        opened = set(said)
        return replace(self, opened=tuple(name for name in self.others if name in opened))


NOTHING = Measuring()


def measuring(root: Path, base: Commit, head: Commit) -> Measuring:
    """Return what differs between two commits and decides how the change is measured, or may do so."""
    changed = git.changed_files(root, base.commit, head.commit)
    prefix = git.git(root, "rev-parse", "--show-prefix").rstrip("\n")
    own = _own_code(root)
    by_rule = tuple(name for name in changed if measures(name, prefix) or (own and name.startswith(own)))
    before, after = (_Named.of(side, prefix) for side in (base, head))
    others = [name for name in changed if name not in by_rule and not PIPELINE.fullmatch(posixpath.basename(name))]
    others = [name for name in others if not (before.tells(name) or after.tells(name) or before.writes(name))]
    # What only head calls an output is one if it is new: a file of base's cannot be hidden by that.
    others = [name for name in others if not after.writes(name) or before.has(name)]
    values = [(name, key) for name in changed if name not in others for key in _unnamed(before, after, name)]
    declared = {posixpath.normpath(f"{prefix}{path}") for path in _ignored(base)}
    ignored = tuple(name for name in others if not declared.isdisjoint(with_parents(name)))
    return Measuring(by_rule, tuple(others), values=tuple(values), ignored=ignored)


def _ignored(base: Commit) -> tuple[str, ...]:
    """Return the folders and files of which base's policy says that no stage reads them; a policy that cannot be read
    says nothing, and is answered where it is judged."""
    text = base.read(FILE)
    try:
        return read_models(text).ignored if text is not None else ()
    except LockgateError:
        return ()


def _unnamed(before: "_Named", after: "_Named", path: str) -> Iterator[str]:
    """Yield the keys of a params file that differ, and that neither a stage nor a template of either side names."""
    if path not in before.values or path not in after.values:
        return
    try:
        sides = [dict(_leaves("", read_params(side.side, side.inner(path)) or {})) for side in (before, after)]
    except LockgateError:  # said where it is judged
        return
    named = before.values[path] | after.values[path]
    for key in dict.fromkeys(key for key in (*sides[0], *sides[1]) if sides[0].get(key) != sides[1].get(key)):
        if key and not any(not one or key.startswith(f"{one}.") or fnmatchcase(key, one) for one in named):
            yield key


def _leaves(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the values of a params file that hold no others, by key, as text."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}" if key else str(name), inner)
    else:
        yield key, repr(value)


def measures(path: str, prefix: str = "") -> bool:
    """Say whether the file at ``path`` decides how a change is measured. ``prefix`` is the project's folder."""
    *folders, name = path.split("/")
    inner = path.removeprefix(prefix)
    if any(one == folder or one.startswith(f"{folder}/") for folder in FOLDERS for one in (path, inner)):
        return True
    if ".dvc" in (*folders, name) or any(folder in PACKAGES for folder in (*folders, name)):
        return True
    return name != "dvc.lock" and NAMES.fullmatch(name) is not None


def is_document(path: str) -> bool:
    """Say whether a file is one that people read and no step of a check does by itself."""
    return DOCUMENTS.fullmatch(posixpath.basename(path)) is not None


@dataclass(frozen=True)
class _Named:
    """What the stages and tracked data of one side name, from the top of the repository."""

    side: Commit
    prefix: str
    read: frozenset[str] = frozenset()
    written: frozenset[str] = frozenset()
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Params file → keys that stages and templates name, among them an empty one where a stage reads all of it."""

    @classmethod
    def of(cls, side: Commit, prefix: str) -> Self:
        """Read the pipeline; one that cannot be read names nothing, and is answered where it is judged."""
        try:
            pipeline = read_pipeline(side)
            values = {path for stage in pipeline.stages for path in template_files(side, stage.file)}
        except LockgateError:
            return cls(side, prefix)
        values.update(item.file for stage in pipeline.stages for item in stage.params)
        values = {path for path in values if not path.endswith(".py")}  # whose values are told, and not its code
        deps = {dep for stage in pipeline.stages for dep in stage.deps if not is_address(dep)}
        outs = {out.path for stage in pipeline.stages for out in stage.outs if not is_address(out.path)}
        found = [frozenset(posixpath.normpath(f"{prefix}{path}") for path in paths) for paths in (deps | values, outs)]
        written = found[1] | {posixpath.normpath(f"{prefix}{path}") for path in pipeline.data}
        templates = {key for stage in pipeline.stages for key in TEMPLATE.findall(_text(side, stage.file))}
        named = {path: set(templates) for path in values}
        for item in (item for stage in pipeline.stages for item in stage.params if item.file in values):
            named[item.file].update(item.keys or ("",))
        keys = {posixpath.normpath(f"{prefix}{path}"): frozenset(of) for path, of in named.items() if path not in deps}
        return cls(side, prefix, found[0], written, keys)

    def inner(self, path: str) -> str:
        """Return a path as the project has it."""
        return posixpath.relpath(path, self.prefix or ".")

    @cached_property
    def _ignores(self) -> Ignores:
        return Ignores(self.side)

    def tells(self, path: str) -> bool:
        """Say whether a file goes into a stage, so that its change is told and the stage runs again for it."""
        if "." not in self.read and self.read.isdisjoint(with_parents(path)):
            return False
        inner = path.removeprefix(self.prefix)
        return not path.startswith(self.prefix) or bool(self._ignores.visible([inner]))

    def writes(self, path: str) -> bool:
        """Say whether a file comes out of a stage, or is data that DVC tracks."""
        return not self.written.isdisjoint(with_parents(path))

    def has(self, path: str) -> bool:
        """Say whether the file is there."""
        return self.side.exists(self.inner(path))


def _text(side: Commit, path: str) -> str:
    return (side.read(path) or b"").decode(errors="replace")


def _own_code(root: Path) -> str:
    """Return the folder of lockgate's own code, if this is the repository that it lives in."""
    top = Path(git.git(root, "rev-parse", "--show-toplevel").rstrip("\n"))
    own = Path(__file__).resolve().parents[1]
    return f"{own.relative_to(top).as_posix()}/" if own.is_relative_to(top) else ""
