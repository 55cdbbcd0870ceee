"""What a pull request's run may add to the author's branch: the lock that came out, and the small outputs git keeps.

The run executed the author's code, so its lock is a claim. It is taken only if it says of the head commit nothing but
what a run could have found out: hashes and sizes of what ``dvc.yaml`` declares, with every parameter, command and file
that git holds exactly as the head commit has them.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from lockgate.dvc.documents import load_yaml
from lockgate.dvc.objects import CommitFiles
from lockgate.dvc.pipeline import (
    LockedStage,
    Pipeline,
    PipelineError,
    Stage,
    State,
    is_address,
    name_prefix,
    read_lock,
    read_pipeline,
)
from lockgate.dvc.plan import describe, plan
from lockgate.git import Overlay, Snapshot
from lockgate.publishing.artifact import Artifact, Unfit
from lockgate.result import Reason

LOCK = "dvc.lock"
WRITABLE = {
    *(".json", ".jsonl", ".yaml", ".yml", ".toml", ".csv", ".tsv", ".txt", ".md", ".svg", ".html"),
    *(".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf"),
}
"""Endings of outputs that may be written to a branch: figures, plots and pictures, nothing that is run or unpickled."""
STEERING = {"dvc.yaml", "lockgate.yaml", "pyproject.toml", ".gitattributes", ".gitignore"}
"""Names of files that decide what is run or how it is measured: not written, whatever the pipeline declares."""
ENTRY = {"cmd", "deps", "params", "outs"}
ITEM = {"path", "hash", "md5", "size", "nfiles", "isexec", "etag", "checksum"}
DIGEST = re.compile(r"[0-9a-f]{32}(\.dir)?")


def after_run(head: Snapshot, left: Artifact) -> Overlay:
    """Return the head commit as the run left it: its lock and the outputs that git keeps in their places.

    An output that the lock records otherwise than head has it, and that was not handed over, is absent.
    """
    files = {**{path: text.encode() for path, text in left.outputs.items()}, **left.binaries}
    overlay = Overlay(head, files if left.lock is None else {**files, LOCK: left.lock})
    return Overlay(head, {**overlay.files, **dict.fromkeys(_not_handed_over(overlay))})


def withheld(head: Snapshot, left: Artifact) -> tuple[str, ...]:
    """Return the outputs that git keeps and that are not written to the branch, so that the lock is not either: they
    were not handed over, or are of a kind that nobody but the author should commit."""
    files = after_run(head, left).files
    outputs = (path for path, content in files.items() if content is not None and PurePosixPath(path).name != LOCK)
    return tuple(
        sorted({*(path for path, content in files.items() if content is None), *filter(_is_unwritable, outputs)})
    )


def _not_handed_over(overlay: Overlay) -> Iterator[str]:
    """Yield the files of outputs that the run changed, as its lock says, and did not hand over whole."""
    try:
        pipeline = read_pipeline(overlay.under)
        lock = read_lock(overlay, pipeline)
    except PipelineError:
        return  # it is told when the lock is checked
    files = CommitFiles(overlay)
    for stage in pipeline.stages:
        entry = lock.stages.get(stage.name)
        for out in stage.outs:
            record = entry.outs.get(out.path) if entry else None
            if out.cached or record is None or out.path in overlay.files:
                continue
            if files.digest(out.path, legacy=record.legacy) not in (None, record.digest):
                inside = files.entries(out.path)
                yield from [out.path] if inside is None else (f"{out.path}/{name}" for name in inside)


def changes(base: Snapshot | None, head: Snapshot, left: Artifact) -> dict[str, bytes]:
    """Return the files to write to the branch that ``head`` is the tip of; none if it has them all.

    Raises :class:`~lockgate.publishing.artifact.Unfit` naming the stage or file that no run of ``head`` writes.
    """
    overlay = after_run(head, left)
    if not overlay.files:
        return {}
    try:
        pipeline = read_pipeline(head)
        state = State(overlay, pipeline, read_lock(overlay, pipeline))
    except PipelineError as error:
        raise Unfit(str(error)) from error
    files = {}
    for path, text in overlay.files.items():
        if PurePosixPath(path).name == LOCK:
            content = _checked_lock(path, base, state)
            if head.read(path) is None or content != _content(path, head.read(path) or b""):
                files[path] = _dumped(content)
        elif text is not None:
            _check_output(path, pipeline)
            if head.read(path) != text:
                files[path] = text
    _check_settled(state)
    return {} if withheld(head, left) else files


def _checked_lock(path: str, base: Snapshot | None, state: State) -> dict[str, Any]:
    """Return the content of one lock, each entry of it checked by itself."""
    content = _content(path, state.snapshot.read(path) or b"")
    under = state.snapshot.under if isinstance(state.snapshot, Overlay) else None
    known = [_content(path, text) for side in (under, base) if side and (text := side.read(path))]
    prefix = name_prefix(posixpath.dirname(path))
    for local, entry in content["stages"].items():
        name = f"{prefix}{local}"
        if name in state.pipeline.by_name:
            _check_entry(name, entry)
            _check_paths(state.pipeline.by_name[name], state.lock.stages[name])
        elif all(entry != other["stages"].get(local) for other in known):
            raise Unfit(f"{path} has stage '{name}', which dvc.yaml does not have")
    return content


def _content(path: str, text: bytes) -> dict[str, Any]:
    """Return a lock's content. Raises :class:`Unfit` if it has anything beside stages."""
    try:
        content = load_yaml(text, path)
    except PipelineError as error:
        raise Unfit(str(error)) from error
    if not isinstance(content, dict) or not content.keys() <= {"schema", "stages"}:
        raise Unfit(f"{path} has entries other than its schema and stages")
    return {"schema": "2.0", "stages": {}, **content}


def _dumped(content: dict[str, Any]) -> bytes:
    """Return the lock as DVC writes it: nothing of another's spelling, such as a comment, comes along."""
    from dvc.utils.serialize import dumps_yaml

    return str(dumps_yaml(content)).encode()


def _check_entry(name: str, entry: Any) -> None:
    place = f"{LOCK}: stage '{name}'"
    if not isinstance(entry, dict) or not entry.keys() <= ENTRY:
        raise Unfit(f"{place} has entries other than {', '.join(sorted(ENTRY))}")
    for kind in ("deps", "outs"):
        for item in entry.get(kind, ()):
            path = item.get("path")
            if not item.keys() <= ITEM:
                raise Unfit(f"{place}: '{path}' has entries other than hashes and sizes")
            if not is_address(str(path)) and not DIGEST.fullmatch(str(item.get("md5"))):
                raise Unfit(f"{place}: '{path}' has no hash")
            if not all(type(item.get(number, 0)) is int for number in ("size", "nfiles")):
                raise Unfit(f"{place}: '{path}' has a size that is not a number")


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
        raise Unfit(f"'{path}' is not an output that dvc.yaml leaves to git")
    if whole.is_absolute() or str(whole) != path:
        raise Unfit(f"'{path}' is not a clean path")


def _is_unwritable(path: str) -> bool:
    """Say whether an output is of a kind that is not written to a branch."""
    whole = PurePosixPath(path)
    hidden = any(part.startswith(".") for part in whole.parts)
    return hidden or whole.suffix not in WRITABLE or whole.name in STEERING or path.endswith(".dvc")


def _check_settled(state: State) -> None:
    """Check that with this lock nothing would be left to run, so that each input it names is the head commit's."""
    for planned in plan(state.pipeline, state.lock, CommitFiles(state.snapshot), state.snapshot):
        for reason in planned.reasons:
            if not _is_unknowable(reason):
                raise Unfit(f"{LOCK} is not what a run of this commit writes: {planned.name}: {describe(reason)}")


def _is_unknowable(reason: Reason) -> bool:
    """Say whether this is no reason that a run would have removed, or one that the commit alone cannot judge.

    DVC passes over a dependency that is not there, so a run leaves what the lock says of it.
    """
    is_gone = reason.kind in ("code", "data", "environment") and reason.after is None and reason.before is not None
    return reason.kind in ("always", "upstream", "cache") or is_gone or is_address(reason.subject)
