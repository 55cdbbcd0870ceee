"""A DVC pipeline as facts: what ``dvc.yaml``, ``.dvc`` files, ``dvc.lock`` and params files of one snapshot say.

Nothing is run, pulled or looked at but these files, so the same code reads a commit and the working tree. YAML is read
by DVC's own parser, templates (``vars``, ``${…}``, ``foreach``, ``matrix``) by DVC's own resolver: one reading, DVC's.
All paths are relative to the project's folder, with ``/`` between the parts.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heapify, heappop, heappush
from typing import Any, Literal

from lockgate.dvc import shapes
from lockgate.dvc.documents import (
    MISSING,
    BrokenFile,
    PipelineError,
    is_address,
    join,
    load_yaml,
    param,
    read_params,
    read_yaml,
    resolve,
)
from lockgate.dvc.ignore import Ignores
from lockgate.git import LINKS, Snapshot, held_link
from lockgate.names import reserved, shown
from lockgate.strict_yaml import position

__all__ = [
    "MISSING",
    "BrokenFile",
    "BrokenLock",
    "Cycle",
    "Lock",
    "LockedStage",
    "Output",
    "Params",
    "Pipeline",
    "PipelineError",
    "Recorded",
    "Role",
    "Stage",
    "State",
    "Tracked",
    "is_address",
    "param",
    "read_lock",
    "read_params",
    "read_pipeline",
    "read_state",
    "with_parents",
]

Role = Literal["code", "data", "environment"]

ENVIRONMENT_FILE = re.compile(
    r".*\.lock|pyproject\.toml|setup\.(cfg|py)|(.*[-_])?requirements([-_.].*)?\.(txt|in)|environment\.ya?ml"
    r"|Pipfile|Dockerfile|\.python-version|renv\.lock|DESCRIPTION"
)
DATA_FILE = re.compile(
    r".*\.(csv|tsv|parquet|feather|arrow|orc|avro|json|jsonl|ndjson|npy|npz|h5|hdf5|pkl|joblib|skops|onnx|pt|safetensors"
    r"|xlsx?|sqlite|db|zip|gz|bz2|xz|zst|tar|txt|png|jpe?g|wav|mp3)",
    re.IGNORECASE,
)


CUT = "it was cut short: its last line has no end"
RECORDED = re.compile(r"[0-9a-f]{32}(\.dir)?")


class BrokenLock(PipelineError):  # noqa: N818
    """A lock that was cut short, is in conflict, or misses what every lock of DVC has."""

    def __init__(self, path: str, problem: str, stage: str | None) -> None:
        """Name the lock, what is wrong with it, and the stage whose entry it is in, where known."""
        where = f" (stage '{stage}')" if stage else ""
        super().__init__(
            f"{path}{where}: {problem}",
            f"Restore a complete lock (`git checkout HEAD -- {path}`), or delete the stage's entry, so that it runs.",
        )


class UnknownSchema(BrokenLock):
    """A lock of a DVC that is too old or too new to be read."""

    def __init__(self, path: str, content: Any) -> None:
        """Name the schema, and what writes one that can be read."""
        found = content.get("schema") if isinstance(content, dict) else None
        old = (
            found is None
            and isinstance(content, dict)
            and all(isinstance(entry, dict) and "cmd" in entry for entry in content.values())
        )
        said = f"its schema is '{'1.0' if old or found == '1.0' else found or 'none'}'"
        super().__init__(path, f"{said}, only '2.0' (which DVC 2 and 3 write) can be read", None)
        if old or found == "1.0":
            self.advice = (
                f"DVC 1 wrote it. `dvc repro` of DVC 2 (`pip install 'dvc<3'`) still reads it and writes it anew; "
                f"`dvc repro` of DVC 3 does so after {path} is deleted, but runs every stage."
            )


class Cycle(PipelineError):  # noqa: N818
    """Stages that wait for one another."""

    def __init__(self, stages: list[str]) -> None:
        """Name the stages of the cycle, the first one again at the end."""
        super().__init__(
            "the pipeline has a cycle: " + " → ".join(stages), "Break it: one of them must not need the next."
        )


@dataclass(frozen=True, slots=True)
class Output:
    """A path that a stage writes. ``cached`` files are kept by DVC, the others by git; ``persist`` survives a run.

    ``pushed`` ones are meant to be in the remote.
    """

    path: str
    cached: bool = True
    kind: Literal["output", "metric", "plot"] = "output"
    persist: bool = False
    pushed: bool = True


@dataclass(frozen=True, slots=True)
class Params:
    """What a stage reads of one params file: these keys (``a.b.c``), or all of it if there are none."""

    file: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """A DVC stage, templates resolved. ``file`` is its ``dvc.yaml``; ``cmd`` is one command or several in order."""

    name: str
    file: str
    cmd: str | tuple[str, ...]
    deps: tuple[str, ...] = ()
    params: tuple[Params, ...] = ()
    outs: tuple[Output, ...] = ()
    wdir: str = ""
    frozen: bool = False
    always_changed: bool = False

    @property
    def command(self) -> str:
        """The command as one text, a line for each."""
        return self.cmd if isinstance(self.cmd, str) else "\n".join(self.cmd)

    @property
    def local_name(self) -> str:
        """The name inside its own ``dvc.yaml``."""
        return self.name.rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A file or folder as a lock or ``.dvc`` file records it.

    ``digest`` is DVC's (a folder's ends in ``.dir``), ``size`` in bytes, ``files`` the number of files in a folder;
    ``legacy`` marks digests of DVC before 3, which ignore the sort of line ends.
    """

    path: str
    digest: str
    size: int | None = None
    files: int | None = None
    legacy: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether this is a folder."""
        return self.digest.endswith(".dir")


@dataclass(frozen=True, slots=True)
class LockedStage:
    """A stage's entry in the lock: what it last ran with and what came out. Keys are paths; params are per file."""

    name: str
    cmd: str | tuple[str, ...]
    deps: Mapping[str, Recorded]
    params: Mapping[str, Mapping[str, Any]]
    outs: Mapping[str, Recorded]


@dataclass(frozen=True)
class Lock:
    """All lock entries of a snapshot, by stage name; empty where there is no lock."""

    stages: Mapping[str, LockedStage] = field(default_factory=dict)

    def tracked_bytes(self) -> int:
        """Return the size in bytes of all outputs named, each content once."""
        sizes = {out.digest: out.size or 0 for stage in self.stages.values() for out in stage.outs.values()}
        return sum(sizes.values())


@dataclass(frozen=True, slots=True)
class Tracked:
    """Data added with ``dvc add`` or ``dvc import``: its ``.dvc`` file and what it records.

    ``pushed`` data is meant to be in the remote; what comes from another repository is fetched from there.
    """

    file: str
    outs: tuple[Recorded, ...]
    pushed: bool = True


@dataclass(frozen=True)
class Pipeline:
    """All stages in an order in which they can run, the tracked data, and the top level of ``dvc.yaml``.

    ``upstream`` names, for each stage, the stages whose outputs it reads. ``metrics`` and ``plots`` are paths (a plot
    may be an id of DVC's), those of the stages included; ``artifacts`` have the names
    that GTO gives them (``folder:name`` outside the top folder), and their paths are joined to that folder.
    """

    stages: tuple[Stage, ...] = ()
    tracked: tuple[Tracked, ...] = ()
    upstream: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    plots: tuple[str, ...] = ()
    artifacts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> Mapping[str, Stage]:
        """Stages by name."""
        return {stage.name: stage for stage in self.stages}

    @cached_property
    def producers(self) -> Mapping[str, Stage]:
        """The stage that writes each output."""
        return {out.path: stage for stage in self.stages for out in stage.outs}

    @cached_property
    def data(self) -> Mapping[str, Recorded]:
        """What the ``.dvc`` files record, by path."""
        return {out.path: out for item in self.tracked for out in item.outs}

    @cached_property
    def _writers(self) -> "_Writers":
        return _Writers(self.stages)

    def writers(self, path: str) -> tuple[str, ...]:
        """Return the stages that write ``path``, something inside it, or a folder around it."""
        return tuple(dict.fromkeys(self._writers.of(path)))

    @cached_property
    def _tracked(self) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        outs = (out.path for stage in self.stages for out in stage.outs if out.cached)
        for path in (*self.data, *outs):
            for folder in ("", *list(with_parents(path))[1:]):
                found.setdefault(folder, []).append(path)
        return {folder: tuple(dict.fromkeys(paths)) for folder, paths in found.items()}

    def tracked_inside(self, folder: str) -> tuple[str, ...]:
        """Return the paths inside a folder that DVC keeps: outputs of stages, and what ``.dvc`` files track."""
        return self._tracked.get(folder, ())

    def role(self, path: str) -> Role:
        """Say what a dependency is to the pipeline: made or tracked by DVC is data; of the rest the name decides."""
        if any(p in self.producers or p in self.data for p in with_parents(path)):
            return "data"
        name = posixpath.basename(path)
        if ENVIRONMENT_FILE.fullmatch(name):
            return "environment"
        return "data" if DATA_FILE.fullmatch(name) else "code"

    def artifact(self, name: str) -> tuple[str, Mapping[str, Any]] | None:
        """Return the artifact ``name`` with its whole name (``folder:name``), ``None`` if there is none.

        Its folder may be left out where one folder alone has such an artifact. Raises :class:`PipelineError` where
        several have.
        """
        found = [one for one in self.artifacts if one == name] or [
            one for one in self.artifacts if one.rpartition(":")[2] == name
        ]
        if len(found) > 1:
            raise PipelineError(
                f"there are {len(found)} artifacts '{name}': {', '.join(sorted(found))}",
                "Write the one that is meant with its folder.",
            )
        return (found[0], self.artifacts[found[0]]) if found else None

    def recorded(self, lock: Lock, path: str) -> Recorded | None:
        """Return what is recorded of an output or tracked file, or of the folder that holds it; ``None`` if nothing."""
        for candidate in with_parents(path):
            if candidate in self.data:
                return self.data[candidate]
            if stage := self.producers.get(candidate):
                entry = lock.stages.get(stage.name)
                return entry.outs.get(candidate) if entry else None
        return None


@dataclass(frozen=True)
class State:
    """A snapshot with its pipeline and lock read. ``model`` is whose part of them this is, where the repository has
    several models; ``None``: all of it."""

    snapshot: Snapshot
    pipeline: Pipeline
    lock: Lock
    model: str | None = None


def read_state(snapshot: Snapshot) -> State:
    """Read everything the pipeline files of ``snapshot`` say. Raises :class:`PipelineError`."""
    pipeline = read_pipeline(snapshot)
    return State(snapshot, pipeline, read_lock(snapshot, pipeline))


def name_prefix(folder: str) -> str:
    """Return what stands before the names of the stages of ``folder``'s ``dvc.yaml``: nothing in the root."""
    return f"{folder}/dvc.yaml:" if folder else ""


def read_pipeline(snapshot: Snapshot) -> Pipeline:
    """Read every ``dvc.yaml`` and ``.dvc`` file of ``snapshot``; an empty pipeline if there are none.

    Raises :class:`BrokenFile` (with line and column where the YAML is at fault) and :class:`Cycle`.
    """
    stages: list[Stage] = []
    metrics: list[str] = []
    plots: list[str] = []
    artifacts: dict[str, Mapping[str, Any]] = {}
    tracked: list[Tracked] = []
    inside: set[str] = set()
    for path in sorted(Ignores(snapshot).visible(snapshot.list("dvc.yaml", ".dvc")), key=_from_the_top):
        text = snapshot.read(path)
        if text is None or inside.intersection(with_parents(posixpath.dirname(path))):
            continue  # as DVC does, which does not look into what it has found to be an output
        if path.endswith(".dvc"):
            tracked.append(_tracked(snapshot, path, read_yaml(text, path, ".dvc")))
            inside.update(out.path for out in tracked[-1].outs)
        elif posixpath.basename(path) == "dvc.yaml":
            folder = posixpath.dirname(path)
            resolved = resolve(snapshot, path, text)
            prefix = name_prefix(folder)
            found = [
                _stage(snapshot, path, f"{prefix}{name}", definition) for name, definition in resolved.stages.items()
            ]
            inside.update(out.path for stage in found for out in stage.outs)
            stages += found
            metrics += [join(folder, metric) for metric in resolved.metrics]
            plots += resolved.plots
            artifacts.update(_artifacts(folder, resolved.artifacts))
    metrics += [out.path for stage in stages for out in stage.outs if out.kind == "metric"]
    plots += [out.path for stage in stages for out in stage.outs if out.kind == "plot"]
    upstream = _upstream(stages, _Writers(stages))
    return Pipeline(
        tuple(_in_order(stages, upstream)),
        tuple(tracked),
        upstream,
        tuple(dict.fromkeys(metrics)),
        tuple(dict.fromkeys(plots)),
        artifacts,
    )


def read_lock(snapshot: Snapshot, pipeline: Pipeline) -> Lock:
    """Read the lock beside every ``dvc.yaml``. ``pipeline`` says in which folder a stage's paths are meant.

    Raises :class:`BrokenLock`: conflict markers, cut short, an entry without command or hashes, an unknown schema.
    """
    stages: dict[str, LockedStage] = {}
    for path in Ignores(snapshot).visible(snapshot.list("dvc.lock")):
        text = snapshot.read(path)
        if text and posixpath.basename(path) == "dvc.lock":
            stages.update(_locked(path, text, pipeline))
    return Lock(stages)


def _from_the_top(path: str) -> list[tuple[bool, str]]:
    """Return what sorts paths as a walk from the top comes across them: a folder's files before its folders."""
    *folders, name = path.split("/")
    return [*((True, folder) for folder in folders), (False, name)]


def with_parents(path: str) -> Iterator[str]:
    """Yield ``path`` and each folder above it, nearest first."""
    while path:
        yield path
        path = posixpath.dirname(path) if posixpath.dirname(path) != path else ""


def _stage(snapshot: Snapshot, path: str, name: str, definition: Mapping[str, Any]) -> Stage:
    wdir = join(posixpath.dirname(path), definition.get("wdir") or ".")
    outs = [
        Output(join(wdir, out), flags.get("cache", True), kind, flags.get("persist", False), flags.get("push", True))
        for key, kind in _OUTPUT_KINDS
        for item in definition.get(key, [])
        for out, flags in ([(item, {})] if isinstance(item, str) else item.items())
    ]
    _check_places(snapshot, path, (out.path for out in outs))
    params: dict[str, list[str] | None] = {}
    for item in definition.get("params", []):
        for file, keys in [("params.yaml", [item])] if isinstance(item, str) else item.items():
            target = join(wdir, file)
            known = params.get(target, [])
            params[target] = None if not keys or known is None else [*known, *keys]
    cmd = definition["cmd"]
    return Stage(
        name,
        path,
        cmd if isinstance(cmd, str) else tuple(cmd),
        tuple(join(wdir, dep) for dep in definition.get("deps", [])),
        tuple(Params(file, tuple(dict.fromkeys(keys or ()))) for file, keys in params.items()),
        tuple(outs),
        wdir,
        bool(definition.get("frozen", False)),
        bool(definition.get("always_changed", False)),
    )


_OUTPUT_KINDS: tuple[tuple[str, Literal["output", "metric", "plot"]], ...] = (
    ("outs", "output"),
    ("metrics", "metric"),
    ("plots", "plot"),
)


def _artifacts(folder: str, declared: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the artifacts of one ``dvc.yaml`` under the names that GTO gives them, their paths joined to its folder."""
    for name, item in declared.items():
        yield f"{folder}:{name}" if folder else name, {**item, "path": join(folder, item["path"])}


def _tracked(snapshot: Snapshot, path: str, content: Mapping[str, Any]) -> Tracked:
    folder = join(posixpath.dirname(path), content.get("wdir") or ".")
    outs = content.get("outs") or []
    if not all("path" in out for out in outs):
        raise BrokenFile(path, "an entry of 'outs' has no 'path'")
    _check_places(snapshot, path, (join(folder, str(out["path"])) for out in outs))
    elsewhere = any(isinstance(dep, dict) and "repo" in dep for dep in content.get("deps") or [])
    pushed = not elsewhere and all(out.get("push", True) for out in outs)
    return Tracked(path, tuple(_recorded(folder, out) for out in outs), pushed)


def _check_places(snapshot: Snapshot, file: str, paths: Iterable[str]) -> None:
    """Raise :class:`BrokenFile` where an output would be laid out over what git, DVC or Lockgate have for themselves,
    or outside of the project, through a link that git holds."""
    for path in paths:
        if not is_address(path) and _is_taken(snapshot, path, LINKS):
            raise BrokenFile(
                file,
                f"'{shown(path)}' is an output in a folder of git's, DVC's or Lockgate's own, or a link leads there",
            )


def _is_taken(snapshot: Snapshot, path: str, links: int) -> bool:
    if any(map(reserved, path.split("/"))):
        return True
    for folder in list(with_parents(path))[1:] if not path.startswith(("/", "../")) else ():
        target = held_link(snapshot, folder)
        if target is not None:
            led = join(posixpath.dirname(folder), target)
            return (
                not links
                or led.startswith(("/", ".."))
                or _is_taken(snapshot, f"{led}{path[len(folder) :]}", links - 1)
            )
    return False


def _recorded(folder: str, item: Mapping[str, Any]) -> Recorded:
    digest = next((str(item[key]) for key in ("md5", "etag", "checksum") if item.get(key)), "")
    legacy = "hash" not in item and "md5" in item
    return Recorded(join(folder, item["path"]), digest, item.get("size"), item.get("nfiles"), legacy)


def _locked(path: str, text: bytes, pipeline: Pipeline) -> Iterator[tuple[str, LockedStage]]:
    if marker := re.search(rb"^(<{7}|>{7})( |$)", text, re.MULTILINE):
        raise BrokenLock(path, "it has conflict markers of git in it", _entry_before(text[: marker.start()]))
    try:
        content = load_yaml(text, path)
    except BrokenFile as error:
        if not text.endswith(b"\n"):
            raise BrokenLock(path, CUT, _entry_before(text)) from error
        before = b"\n".join(text.splitlines()[: error.line]) if error.line else text
        problem = str(error).removeprefix(path).lstrip(",: ")
        raise BrokenLock(path, problem, _entry_before(before)) from error
    if not isinstance(content, dict) or content.get("schema") != "2.0":
        if not text.endswith(b"\n"):
            raise BrokenLock(path, CUT, None)
        raise UnknownSchema(path, content)
    folder = posixpath.dirname(path)
    prefix = name_prefix(folder)
    if (wrong := shapes.problem("dvc.lock", content)) is not None:
        if not text.endswith(b"\n"):
            raise BrokenLock(path, CUT, _entry_before(text))
        words, place = wrong
        where = position(text, place, path)
        problem = f"{f'line {where[0]}: ' if where else ''}{shapes.dotted(place)}: {words}"
        raise BrokenLock(path, problem, f"{prefix}{place[1]}" if place[:1] == ("stages",) and place[1:] else None)
    entries = content.get("stages", {})
    if entries and (cut := _cut(text, entries, pipeline.by_name.get(f"{prefix}{list(entries)[-1]}"))):
        raise BrokenLock(path, cut, f"{prefix}{list(entries)[-1]}")
    for local, entry in entries.items():
        stage = pipeline.by_name.get(f"{prefix}{local}")
        found = _entry(path, f"{prefix}{local}", entry, stage.wdir if stage else folder)
        yield found.name, found


def _cut(text: bytes, entries: Mapping[str, Any], stage: Stage | None) -> str:
    """Say what shows that a lock has lost its end; empty if nothing does. ``stage`` is the one of its last entry.

    A lock that ends between two items can still be read: what it has lost of a stage is unknown then, so that the stage
    runs. What would pass for whole is an item that has lost its size, and a number of which only a part is left.
    """
    last = list(entries.values())[-1]
    items = [item for entry in entries.values() for key in ("deps", "outs") for item in entry.get(key, ())]
    sized = [item for item in items if "size" in item]
    key = list(last)[-1]
    final = last[key][-1] if key in ("deps", "outs") and last[key] else {}
    if sized and RECORDED.fullmatch(str(final.get("md5", ""))) and final is not sized[0]:
        expected = ["size", "nfiles"] if final["md5"].endswith(".dir") else ["size"]
        if lacking := [name for name in expected if name not in final]:
            return f"it was cut short: '{final['path']}' has no '{lacking[-1]}'"
    may_end = key == "outs" or not (stage and stage.outs)
    is_hashed = RECORDED.fullmatch(str(final.get("md5", ""))) and "size" in final
    if not text.endswith(b"\n") and not (may_end and is_hashed):
        return CUT
    return ""


def _entry(path: str, name: str, entry: Mapping[str, Any], wdir: str) -> LockedStage:
    cmd = entry["cmd"]
    if not cmd or not all(isinstance(line, str) for line in cmd):
        raise BrokenLock(path, "its entry is incomplete: its 'cmd' is no command", name)
    files: dict[str, dict[str, Recorded]] = {"deps": {}, "outs": {}}
    for key, found in files.items():
        for item in entry.get(key, []):
            record = _recorded(wdir, item)
            found[record.path] = record
    return LockedStage(
        name,
        cmd if isinstance(cmd, str) else tuple(cmd),
        files["deps"],
        {join(wdir, file): values for file, values in entry.get("params", {}).items()},
        files["outs"],
    )


def _entry_before(text: bytes) -> str | None:
    """Return the last stage whose entry begins in ``text``, the head of a lock that may not parse."""
    names = re.findall(rb"^  ([^\s#:][^:\n]*):", text, re.MULTILINE)
    return names[-1].decode(errors="replace").strip("'\"") if names else None


class _Writers:
    """Which stages write a path, something inside it, or a folder around it. Refuses outputs that overlap."""

    def __init__(self, stages: Iterable[Stage]) -> None:
        self.owners: dict[str, str] = {}
        self.inside: dict[str, list[str]] = {}
        for stage in stages:
            for out in stage.outs:
                if owner := self.owners.get(out.path):
                    problem = f"two stages write '{out.path}': {owner} and {stage.name}"
                    raise PipelineError(problem, "Give one of them another output.")
                self.owners[out.path] = stage.name
        for path, owner in self.owners.items():
            for folder in list(with_parents(path))[1:]:
                if folder in self.owners:
                    problem = f"'{path}' ({owner}) is inside '{folder}' ({self.owners[folder]})"
                    raise PipelineError(problem, "Outputs must not overlap.")
                self.inside.setdefault(folder, []).append(owner)

    def of(self, path: str) -> Iterator[str]:
        """Yield names of stages, some more than once."""
        yield from (self.owners[candidate] for candidate in with_parents(path) if candidate in self.owners)
        yield from self.inside.get(path, ()) if path else self.owners.values()


def _upstream(stages: Iterable[Stage], writers: _Writers) -> dict[str, tuple[str, ...]]:
    """Return for each stage the stages whose outputs it reads."""
    return {
        stage.name: tuple(
            dict.fromkeys(
                name for path in (*stage.deps, *(item.file for item in stage.params)) for name in writers.of(path)
            )
        )
        for stage in stages
    }


def _in_order(stages: list[Stage], upstream: Mapping[str, tuple[str, ...]]) -> Iterator[Stage]:
    """Yield each stage after those it reads from, otherwise in the order of the file. Raises :class:`Cycle`."""
    from graphlib import CycleError, TopologicalSorter

    place = {stage.name: number for number, stage in enumerate(stages)}
    sorter = TopologicalSorter(upstream)
    try:
        sorter.prepare()
    except CycleError as error:
        raise Cycle(error.args[1]) from error
    ready = [place[name] for name in sorter.get_ready()]
    heapify(ready)
    while ready:
        stage = stages[heappop(ready)]
        yield stage
        sorter.done(stage.name)
        for name in sorter.get_ready():
            heappush(ready, place[name])
