"""``lockgate merge-lock``: git's merge driver for ``dvc.lock``.

A lock is merged stage by stage. What one side changed is taken; a stage that both changed, each in its own way, is
dropped, so that DVC runs it. An entry that is left must stand among the same files and parameters as on the side it
comes from: it is dropped too if the other side changed something that it reads, or if it reads what a dropped stage
writes. So the merged lock never claims a combination that nobody ran.

The lock does not say in which folder (``wdir``) a stage's paths are meant, so paths are the same, or one is inside the
other, if the parts of one are a run of the parts of the other. A coincidence costs a run, never the truth.
"""

import posixpath
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lockgate.dvc.pipeline import Pipeline, PipelineError, read_lock
from lockgate.errors import LockgateError
from lockgate.git import Walked

Version = Mapping[str, Any]
Entry = Mapping[str, Any]
Entries = Mapping[str, Entry]
Input = tuple[str, str]
"""A path and "", or a params file and a key (``a.b.c``) in it."""
Facts = Mapping[Input, frozenset[Hashable]]
"""What one lock says of each path and parameter: digests or values, more than one if its entries disagree."""


class LockUnmergeable(LockgateError):  # noqa: N818 - named for what the user reads
    """A version of the lock that cannot be read, or a difference that only a person can settle."""

    def __init__(self, path: str, problem: str) -> None:
        """Name the lock and say why it cannot be merged."""
        super().__init__(
            f"{path} is left in conflict: {problem}",
            f"Take a complete version (`git checkout --theirs {path}`, or --ours), `git add` it, then `lockgate run`.",
        )


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged lock as DVC writes it, and why each stage that is not in it was dropped."""

    text: str
    dropped: Mapping[str, str]


def merge(base: bytes, ours: bytes, theirs: bytes, path: str = "dvc.lock") -> Merged:
    """Merge three versions of a lock; an empty ``base`` means that the sides have none in common.

    The stages are in the order of ``ours``, new ones of ``theirs`` after them. Raises :class:`LockUnmergeable`.
    """
    from dvc.utils.serialize import dumps_yaml

    before, one, other = _read(base, "base", path), _read(ours, "ours", path), _read(theirs, "theirs", path)
    _check_ends({"base": _stages(before), "ours": _stages(one), "theirs": _stages(other)}, path)
    merger = _Merger(_stages(before), _stages(one), _stages(other))
    merger.settle()
    merged = {**_top_level(before, one, other, path), "stages": merger.stages}
    return Merged(dumps_yaml(merged), merger.dropped)


class _Merger:
    """Merges the entries of three locks. ``stages`` are those that stand, ``dropped`` says why the others do not."""

    def __init__(self, base: Entries, ours: Entries, theirs: Entries) -> None:
        self.base, self.ours, self.theirs = base, ours, theirs
        self.stages: dict[str, Entry] = {}
        self.dropped: dict[str, str] = {}
        for name in dict.fromkeys([*ours, *theirs, *base]):
            before, one, other = base.get(name), ours.get(name), theirs.get(name)
            if one not in (before, other) and other != before:
                self.dropped[name] = "both branches changed it"
            elif chosen := (one if other in (one, before) else other):
                self.stages[name] = chosen

    def settle(self) -> None:
        """Drop entries until each that is left stands among what it was computed from."""
        base, ours, theirs = (_facts(entries.values()) for entries in (self.base, self.ours, self.theirs))
        sides = [(self.ours, _changes(base, ours, theirs)), (self.theirs, _changes(base, theirs, ours))]
        while True:
            rewritten = _Changes({}, {key: f"'{name}' runs again" for name in self.dropped for key in self._outs(name)})
            found = {}
            for name, entry in self.stages.items():
                inputs = [key for key, _ in _inputs(entry)]
                whys = [changes.among(inputs) for side, changes in sides if side.get(name) == entry]
                if why := min(whys) or rewritten.among(inputs):
                    found[name] = why
            if not found:
                return
            self.dropped.update(found)
            for name in found:
                del self.stages[name]

    def _outs(self, name: str) -> Iterator[Input]:
        for entries in (self.base, self.ours, self.theirs):
            for item in entries.get(name, {}).get("outs", ()):
                yield _path(item), ""


@dataclass(frozen=True)
class _Changes:
    """What one side changed, in words. Of what is in ``known`` it says more than paths that overlap can."""

    known: Facts
    changed: Mapping[Input, str]

    def among(self, inputs: Iterable[Input]) -> str:
        """Say which change touches one of ``inputs``; empty if none does."""
        for key in inputs:
            if key in self.known:
                if key in self.changed:
                    return self.changed[key]
            elif why := next((why for other, why in self.changed.items() if _overlap(key, other)), ""):
                return why
        return ""


def _changes(base: Facts, side: Facts, other: Facts) -> _Changes:
    """Return what the ``other`` side changed, and not in the way of this ``side``."""
    changed = {key: value for key, value in other.items() if value not in (base.get(key), side.get(key))}
    return _Changes(other, {key: f"{_name(key)} changed" for key in changed})


def _read(text: bytes, side: str, path: str) -> dict[str, Any]:
    """Parse one version; DVC's round-trip parser keeps its form. Raises :class:`LockUnmergeable`."""
    from dvc.utils.serialize import parse_yaml_for_update

    if not text.strip():
        if side == "base":
            return {}
        raise LockUnmergeable(path, f"the version of {side} is empty")
    try:
        read_lock(_Text(text), Pipeline())
    except PipelineError as error:
        problem = re.sub(r"^dvc\.lock(, | )?", "", str(error)).removeprefix(": ")
        raise LockUnmergeable(path, f"the version of {side} cannot be read: {problem}") from error
    content: dict[str, Any] = parse_yaml_for_update(text.decode(), path)
    return content


def _stages(version: Version) -> Entries:
    return version.get("stages") or {}


def _check_ends(versions: Mapping[str, Entries], path: str) -> None:
    """Refuse a version whose last entry has lost its end. Raises :class:`LockUnmergeable`."""
    for side, entries in versions.items():
        last = next(reversed(list(entries)), "")
        if last and "outs" not in entries[last] and any("outs" in v.get(last, ()) for v in versions.values()):
            raise LockUnmergeable(path, f"the version of {side} was cut short: stage '{last}' has lost its outputs")


@dataclass(frozen=True)
class _Text:
    """A snapshot of nothing but one lock."""

    text: bytes
    label: str = "lock"
    commit: str | None = None

    def read(self, path: str) -> bytes | None:
        return self.text if path == "dvc.lock" else None

    def list(self, *_patterns: str) -> tuple[str, ...]:
        return ("dvc.lock",)

    def exists(self, path: str) -> bool:
        return path == "dvc.lock"

    def walk(self, _path: str) -> Iterator[Walked]:
        return iter(())

    def unknown(self, _path: str) -> str:
        return ""


def _top_level(
    base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any], path: str
) -> dict[str, Any]:
    """Merge everything but the stages, key by key. What both sides changed, a person must settle."""
    merged = dict(ours)
    for key in dict.fromkeys([*ours, *theirs]):
        before, one, other = base.get(key), ours.get(key), theirs.get(key)
        if key == "stages" or other in (one, before):
            continue
        if one != before:
            raise LockUnmergeable(path, f"both branches changed '{key}'")
        merged[key] = other
    return {key: value for key, value in merged.items() if value is not None}


def _facts(entries: Iterable[Entry]) -> Facts:
    found: dict[Input, frozenset[Hashable]] = {}
    for entry in entries:
        outs = (((_path(item), ""), _digest(item)) for item in entry.get("outs", ()))
        for key, value in (*_inputs(entry), *outs):
            found[key] = found.get(key, frozenset()) | {value}
    return found


def _inputs(entry: Entry) -> Iterator[tuple[Input, Hashable]]:
    """Yield what an entry was computed from, with its digest or value."""
    for item in entry.get("deps", ()):
        yield (_path(item), ""), _digest(item)
    for file, values in entry.get("params", {}).items():
        for key, value in values.items():
            yield (_path({"path": file}), str(key)), _frozen(value)


def _path(item: Mapping[str, Any]) -> str:
    """Return a path without what depends on the folder it is meant in."""
    return re.sub(r"^(\.\./)+", "", posixpath.normpath(item["path"]))


def _digest(item: Mapping[str, Any]) -> Hashable:
    return _frozen({key: value for key, value in item.items() if key not in ("path", "size", "nfiles")})


def _frozen(value: Any) -> Hashable:
    if isinstance(value, Mapping):
        return frozenset((key, _frozen(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(_frozen(inner) for inner in value)
    return value if isinstance(value, Hashable) else str(value)


def _overlap(one: Input, other: Input) -> bool:
    """Say whether two inputs are the same, or one is inside the other."""
    a, b = f"/{one[0]}/", f"/{other[0]}/"
    if a not in b and b not in a:
        return False
    key, inner = sorted((one[1], other[1]), key=len)
    return not key or key == inner or inner.startswith(f"{key}.")


def _name(key: Input) -> str:
    return f"{key[0]}:{key[1]}" if key[1] else key[0]
