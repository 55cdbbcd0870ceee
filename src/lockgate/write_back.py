"""What a pull request's run may add to the author's branch: the lock that came out, and the small outputs git keeps.

The run executed the author's code, so its lock is a claim. It is taken only if it says of the head commit nothing but
what a run could have found out: hashes and sizes of what ``dvc.yaml`` declares, with every parameter, command and file
that git holds exactly as the head commit has them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from lockgate.artifact import Artifact, Unfit
from lockgate.dvc import CommitFiles
from lockgate.dvc_files import load_yaml
from lockgate.git import Snapshot
from lockgate.pipeline import LockedStage, Pipeline, PipelineError, Stage, State, is_address, read_lock, read_pipeline
from lockgate.plan import describe, plan
from lockgate.result import Reason

LOCK = "dvc.lock"
WRITABLE = {".json", ".csv", ".tsv", ".txt", ".md", ".svg", ".html"}
"""Endings of outputs that may be written to a branch: figures and plots, nothing that is run."""
ENTRY = {"cmd", "deps", "params", "outs"}
ITEM = {"path", "hash", "md5", "size", "nfiles", "isexec", "etag", "checksum"}
DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Overlay:
    """A commit with some files replaced or added. ``list`` and ``read`` are those of a snapshot."""

    under: Snapshot
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What the commit is called."""
        return self.under.label

    @property
    def commit(self) -> str | None:
        """The commit underneath."""
        return self.under.commit

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, ``None`` if there is no such file."""
        return self.files[path] if path in self.files else self.under.read(path)

    def list(self, *patterns: str) -> tuple[str, ...]:
        """Return the sorted paths of all files; with ``patterns``, those with one of the endings."""
        new = {path for path in self.files if path.endswith(patterns or ("",))}
        return tuple(sorted({*self.under.list(*patterns), *new}))


def after_run(head: Snapshot, left: Artifact) -> Overlay:
    """Return the head commit as the run left it: its lock and the outputs that git keeps in their places."""
    if left.lock is None:
        return Overlay(head)
    return Overlay(head, {LOCK: left.lock, **{path: text.encode() for path, text in left.outputs.items()}})


def changes(base: Snapshot | None, head: Snapshot, left: Artifact) -> dict[str, bytes]:
    """Return the files to write to the branch that ``head`` is the tip of; none if it has them all.

    Raises :class:`~lockgate.artifact.Unfit` naming the stage or file that is not what a run of ``head`` writes.
    """
    if left.lock is None:
        return {}
    overlay = after_run(head, left)
    try:
        pipeline = read_pipeline(head)
        state = State(overlay, pipeline, read_lock(overlay, pipeline))
    except PipelineError as error:
        raise Unfit(str(error)) from error
    content = _content(left.lock)
    known = [_content(text) for side in (head, base) if side and (text := side.read(LOCK))]
    for name, entry in content["stages"].items():
        if name in pipeline.by_name:
            _check_entry(name, entry)
            _check_paths(pipeline.by_name[name], state.lock.stages[name])
        elif all(entry != other["stages"].get(name) for other in known):
            raise Unfit(f"{LOCK} has stage '{name}', which dvc.yaml does not have")
    for path in left.outputs:
        _check_output(path, pipeline)
    _check_settled(state)
    same = bool(known) and head.read(LOCK) is not None and content == known[0]
    files = {} if same else {LOCK: _dumped(content)}
    files.update({path: text.encode() for path, text in left.outputs.items() if head.read(path) != text.encode()})
    return files


def _content(text: bytes) -> dict[str, Any]:
    """Return a lock's content. Raises :class:`Unfit` if it has anything beside stages."""
    try:
        content = load_yaml(text, LOCK)
    except PipelineError as error:
        raise Unfit(str(error)) from error
    if not isinstance(content, dict) or not content.keys() <= {"schema", "stages"}:
        raise Unfit(f"{LOCK} has something beside its schema and stages")
    return {"schema": "2.0", "stages": {}, **content}


def _dumped(content: dict[str, Any]) -> bytes:
    """Return the lock as DVC writes it: nothing of another's spelling, such as a comment, comes along."""
    from dvc.utils.serialize import dumps_yaml

    return str(dumps_yaml(content)).encode()


def _check_entry(name: str, entry: Any) -> None:
    place = f"{LOCK}: stage '{name}'"
    if not isinstance(entry, dict) or not entry.keys() <= ENTRY:
        raise Unfit(f"{place} has something beside {', '.join(sorted(ENTRY))}")
    for kind in ("deps", "outs"):
        for item in entry.get(kind, ()):
            path = item.get("path")
            if not item.keys() <= ITEM:
                raise Unfit(f"{place}: '{path}' has something beside hashes and sizes")
            if not is_address(str(path)) and not DIGEST.fullmatch(str(item.get("md5"))):
                raise Unfit(f"{place}: '{path}' has no hash")
            if not all(type(item.get(number, 0)) is int for number in ("size", "nfiles")):
                raise Unfit(f"{place}: '{path}' has a size that is none")


def _check_paths(stage: Stage, entry: LockedStage) -> None:
    declared = {*stage.deps, *(out.path for out in stage.outs)}
    for path in {*entry.deps, *entry.outs} ^ declared:
        raise Unfit(f"{LOCK}: stage '{stage.name}': '{path}' is not in both {LOCK} and dvc.yaml")
    if stray := set(entry.params) - {item.file for item in stage.params}:
        raise Unfit(f"{LOCK}: stage '{stage.name}' does not read {', '.join(stray)}")
    for item in stage.params:
        if item.keys and (unknown := set(entry.params.get(item.file, ())) - set(item.keys)):
            raise Unfit(f"{LOCK}: stage '{stage.name}' does not read {', '.join(map(str, unknown))}")


def _check_output(path: str, pipeline: Pipeline) -> None:
    whole = PurePosixPath(path)
    kept = {out.path for stage in pipeline.stages for out in stage.outs if not out.cached}
    if not kept & {path, *(str(folder) for folder in whole.parents)}:
        raise Unfit(f"'{path}' is no output that dvc.yaml leaves to git")
    hidden = any(part.startswith(".") for part in whole.parts)
    if hidden or whole.is_absolute() or str(whole) != path or whole.suffix not in WRITABLE:
        raise Unfit(
            f"'{path}' is not written to a branch: only {', '.join(sorted(WRITABLE))} outside hidden folders are"
        )


def _check_settled(state: State) -> None:
    """Check that with this lock nothing would be left to run, so that each input it names is the head commit's."""
    for planned in plan(state.pipeline, state.lock, CommitFiles(state.snapshot), state.snapshot):
        for reason in planned.reasons:
            if not _is_unknowable(reason):
                raise Unfit(f"{LOCK} is not what a run of this commit writes: {planned.name}: {describe(reason)}")


def _is_unknowable(reason: Reason) -> bool:
    """Say whether a stage that has just run would have this reason to run again."""
    return reason.kind in ("always", "upstream", "cache") or is_address(reason.subject)
