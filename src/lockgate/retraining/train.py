"""The retraining itself: parameters moved on, the pipeline run and locked, in a copy of the default branch's tip."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lockgate.dependencies.commit import Choice, locked_by
from lockgate.dvc.copy import shared_copy
from lockgate.dvc.pipeline import read_state
from lockgate.dvc.stages import DvcProcess
from lockgate.errors import LockgateError, NotAskedError
from lockgate.evaluation.run import StageFailed, run
from lockgate.files import write_whole
from lockgate.forge.branches import Start, start
from lockgate.git import Commit, Workspace
from lockgate.policy import FILE, Policy, read_models
from lockgate.publishing.check import KeptOutputs
from lockgate.result import Result
from lockgate.retraining.parameters import Moved, moved

NOT_THERE = 75
"""The exit code of a stage whose data are not there yet: EX_TEMPFAIL of sysexits.h, "try again later"."""
_NOT_THERE = re.compile(rf"exited with {NOT_THERE}\b")


class NotThereYet(LockgateError):  # noqa: N818 - an answer
    """The newer data are not there yet: a stage ended with the exit code that says so."""

    def __init__(self, stage: str, moves: tuple[Moved, ...]) -> None:
        """Name the stage and the parameters."""
        told = ", ".join(f"{one.key} = {one.after}" for one in moves)
        super().__init__(
            f"stage '{stage}' says that the data of {told} are not there yet (exit code {NOT_THERE})",
            "Nothing was changed. The next run asks again.",
        )


@dataclass(frozen=True)
class Trained:
    """A model trained anew. ``at`` is the commit that it was trained from, ``files`` what a commit on top of it takes:
    parameter files, locks, and outputs that git keeps. ``copy`` is where it was trained, for as long as that is there.

    ``same`` says that every output has the bytes that it had.
    """

    at: Start
    policy: Policy
    moves: tuple[Moved, ...]
    files: Mapping[str, bytes]
    result: Result
    copy: Path
    same: bool


def policy_at(root: Path, at: Start, model: str | None = None) -> tuple[Policy, str | None]:
    """Return the policy of a commit, and whose it is where there are several models. Raises :class:`NotAskedError` if
    it has none, or none about retraining."""
    snapshot = Commit(root, at.branch, at.commit)
    text = snapshot.read(FILE)
    models = read_models(text) if text is not None else None
    policy = models.of(model if models.several else None) if models is not None else None
    if models is None or policy is None or policy.retrain is None:
        raise NotAskedError(
            f"{FILE} of {at.branch} does not say how the data move on",
            "Add the parameters that follow the data: `retrain: {set: {ingest.through: next month}}`.",
        )
    return policy, policy.model if models.several else None


@contextmanager
def trained(
    root: Path,
    *,
    moves: Mapping[str, str] | None = None,
    dependencies: Choice = "current",
    model: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Trained]:
    """Give the model trained on the data that ``moves`` name, by default those of the policy of the default branch.

    The stages are isolated as those of a pull request are. With ``dependencies`` ``locked`` they run with the packages
    that the commit locks. ``model`` is whose training is meant, where the repository has several. Raises
    :class:`NotThereYet`, :class:`~lockgate.retraining.parameters.ParameterError`,
    :class:`~lockgate.evaluation.run.StageFailed`.
    """
    at = start(root)
    snapshot = Commit(root, at.branch, at.commit)
    policy, own = policy_at(root, at, model)
    assert policy.retrain is not None  # noqa: S101 - said there
    files, told = moved(snapshot, moves or dict(policy.retrain.moves))
    packages = None
    if dependencies == "locked" and (locked := locked_by(snapshot)):
        packages = locked.install(tell=tell).folder
    with shared_copy(root, snapshot, "retraining") as copy:
        for path, content in files.items():
            write_whole(copy / path, content)
        for one in told:
            tell(f"{one.key}: {one.before} → {one.after}")
        try:
            with DvcProcess(copy) as dvc:
                result, _ = run(copy, at.commit, dvc, dependencies=packages, model=own)
        except StageFailed as failure:
            log = f"{failure.execution.log}\n{failure}"
            if failure.execution.failed_stage and _NOT_THERE.search(log):
                raise NotThereYet(failure.execution.failed_stage, told) from failure
            raise
        assert isinstance(result, Result)  # noqa: S101 - the commit has a policy, and one model was named
        yield Trained(at, policy, told, _files(copy, files), result, copy, _is_same(copy, snapshot))


def _files(copy: Path, parameters: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return what a commit takes of the copy."""
    kept = KeptOutputs.of(copy)
    if kept.left_out:
        raise LockgateError(
            f"{', '.join(kept.left_out)}: too large for a commit that Lockgate makes",
            "Have DVC keep such outputs: leave `cache: false` out.",
        )
    files = {**parameters, **{path: text.encode() for path, text in kept.texts.items()}, **kept.binaries}
    if (lock := Workspace(copy).read("dvc.lock")) is not None:
        files["dvc.lock"] = lock
    return files


def _is_same(copy: Path, before: Commit) -> bool:
    """Say whether no output of any stage has other bytes than before."""
    old, new = (
        {
            (name, path): record.digest
            for name, entry in read_state(snapshot).lock.stages.items()
            for path, record in entry.outs.items()
        }
        for snapshot in (before, Workspace(copy))
    )
    return old == new
