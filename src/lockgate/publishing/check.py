"""``lockgate pull-request``: what a pull request's check does, on the runner that executes the author's code.

It runs what the change changed, starting from the base, and leaves a folder for ``lockgate publish`` to judge and show.
Nothing of the author's is taken on trust that a change of data alone could fake: not the lock, not where the remote is,
not a cache. What changed *code* can fake is for the reviewer, who sees which code changed.
"""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from lockgate import git, policy
from lockgate.dependencies.commit import Choice, locked_by
from lockgate.dvc import quarantine
from lockgate.dvc.objects import DvcError, WorkspaceFiles, fetch_tracked, read_anonymously, remotes
from lockgate.dvc.opened import watching
from lockgate.dvc.pipeline import Recorded, read_lock, read_pipeline, read_state
from lockgate.dvc.plan import needed_pipeline, plan
from lockgate.dvc.remotes import QUARANTINE
from lockgate.dvc.scopes import Scope
from lockgate.dvc.stages import DvcProcess
from lockgate.errors import LockgateError
from lockgate.evaluation import report, run
from lockgate.evaluation.findings import read_policies
from lockgate.evaluation.seeded import Place, content_key
from lockgate.evaluation.seeds import repeat
from lockgate.evaluation.several import Whole, judged
from lockgate.evaluation.training import Repeats
from lockgate.files import progress, write_whole
from lockgate.formatting import size
from lockgate.git import Commit, Workspace
from lockgate.publishing import bound
from lockgate.publishing.artifact import Artifact
from lockgate.publishing.measures import measuring
from lockgate.result import Execution

CONFIG = ".dvc/config"
COMMITTED = re.compile(r"\.dvc/(config|\.gitignore|plots/[^/]+\.json)")
"""What of DVC's own folder may be in git: a committed cache or configuration would decide what runs."""
OUTPUT_LIMIT = 3 << 20
"""Bytes of the outputs that git keeps and that are handed over, those that are text and those that are not each."""


def judge(
    root: Path,
    target: str,
    dvc: DvcProcess,
    *,
    fork: bool = False,
    dependencies: Choice = "current",
    repeats: bool = False,
) -> Artifact:
    """Run what changed since the working tree left ``target`` and return what came out.

    A ``fork`` has no credentials; what it needs of the store it reads as anybody may. With ``dependencies`` ``locked``,
    stages run with the packages that the head's policy locks, where it locks any. With ``repeats``, base and head are
    trained again under other seeds, as often as the policy says.
    """
    base = Commit(root, target, git.merge_base(root, target, "HEAD"))
    with _settings_of(root, base):
        if fork:
            read_anonymously(root)
        elif new := _new_data(root, base):
            fetch_tracked(root, new, QUARANTINE)
        head = Commit(root, "head", git.resolve(root, "HEAD"))
        if _is_claimed(root, base):
            return _claimed(root, base, head)
        top = Path(git.git(root, "rev-parse", "--show-toplevel").rstrip("\n"))
        with watching(top, measuring(root, base, head).others) as opened:
            try:
                packages = _packages(head) if dependencies == "locked" else None
                _, execution = run.run(root, base.commit, dvc, judge=False, dependencies=packages)
            except run.StageFailed as failure:
                return Artifact(bound.failed(base, head, replace(failure.execution, opened=opened())))
            execution = replace(execution, opened=opened())
        notes = _quarantined(root, base, fork=fork)
        kept = KeptOutputs.of(root)
        notes = (*notes, kept.note()) if kept.left_out else notes
        left = Artifact(None, Workspace(root).read("dvc.lock"), kept.texts, binaries=kept.binaries)
        if repeats:
            folders = tuple(_packages(one) if dependencies == "locked" else None for one in (base, head))
            left = replace(left, repeats=_repeated(root, base, (folders[0], folders[1])))
        left = replace(left, objects=bound.collect(root, base, head, left))
        return _judged(root, base, head, left, execution=replace(execution, notes=notes))


def nothing_to_repeat(root: Path, target: str) -> str:
    """Say why a pull request into ``target`` asks for no repeats of the training; empty if it does."""
    base = Commit(root, target, git.merge_base(root, target, "HEAD"))
    for side in (base, Workspace(root)):  # where base's policy says nothing of it, head's counts
        text = side.read(policy.FILE)
        try:
            trains = [one.train for one in policy.read_models(text).policies if one.train] if text is not None else []
        except LockgateError:
            return ""  # what is wrong with it is told by the run
        if trains:
            return "" if any(train.repeats for train in trains) else "`train:` of the policy has no `repeats:`"
    return "the policy has no `train:`"


def _repeated(root: Path, base: Commit, dependencies: tuple[Path | None, Path | None]) -> dict[str, Repeats]:
    """Train both sides of each model again that is touched: see :func:`_repeated_of`."""
    scopes = judged(Whole(root, report.base_state(base)[0], read_state(Workspace(root))))
    found = {scope.model: _repeated_of(root, base, dependencies, scope) for scope in scopes}
    return {name: repeats for name, repeats in found.items() if repeats is not None}


def _repeated_of(
    root: Path, base: Commit, dependencies: tuple[Path | None, Path | None], scope: Scope
) -> Repeats | None:
    """Train both sides again; ``None`` where they train the same model. A repeat that fails is told in words."""
    before, after = scope.base, scope.head
    judging = read_policies(before, after).policy
    if judging.train is None or not judging.train.repeats:
        return None
    place = Place.of(judging.train.seed)
    if before and content_key(before.lock, place) == content_key(after.lock, place):
        return None
    try:
        return repeat(
            root, judging, base, Workspace(root), judging.train.repeats, tell=progress, dependencies=dependencies,
            model=after.model,
        )  # fmt: skip
    except run.Interrupted:
        raise
    except LockgateError as error:
        progress(f"The training was not repeated: {error}")
        return Repeats(failure=str(error))


def _packages(head: Commit) -> Path | None:
    """Return the folder of an environment that holds what ``head`` locks, ``None`` if it locks nothing."""
    locked = locked_by(head)
    return locked.install(tell=progress).folder if locked else None


def _judged(root: Path, base: Commit, head: Commit, left: Artifact, *, execution: Execution | None) -> Artifact:
    """Add the result, computed as the half that publishes will: see :mod:`lockgate.publishing.bound`."""
    computed = bound.compute(base, head, left, root, claimed=execution is None, execution=execution)
    assert computed.result is not None  # noqa: S101 - with a root there is one
    return replace(left, result=computed.result)


def _new_data(root: Path, base: Commit) -> dict[str, tuple[Recorded, ...]]:
    """Return the ``.dvc`` files that track other data than in ``base``, with what they record of it, if there is a
    quarantine to bring it from.

    Such data is what its digest says, whoever wrote it there, and nothing is claimed of how it came to be.
    """
    if QUARANTINE not in remotes(root):
        return {}
    before, _ = report.base_state(base)
    known = {item.file: item.outs for item in before.pipeline.tracked} if before else {}
    return {
        item.file: item.outs for item in read_pipeline(Workspace(root)).tracked if known.get(item.file) != item.outs
    }


@dataclass(frozen=True)
class KeptOutputs:
    """What a run left of the outputs that git keeps, and of locks in subfolders, where ``HEAD`` does not have it.

    ``left_out`` are those that are too large to be handed over, with their sizes in bytes.
    """

    texts: dict[str, str] = field(default_factory=dict)
    binaries: dict[str, bytes] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> Self:
        """Read the working tree, the smallest files first."""
        current, head = Workspace(root), Commit(root, "HEAD", git.resolve(root, "HEAD"))
        kept = [out.path for stage in read_pipeline(current).stages for out in stage.outs if not out.cached]
        names = {name for name in current.list() for path in kept if name == path or name.startswith(f"{path}/")}
        names |= {name for name in current.list("/dvc.lock") if name != "dvc.lock"}
        found = cls()
        texts, binaries = 0, 0
        for name in sorted(names, key=lambda name: ((root / name).stat().st_size, name)):
            content = current.read(name)
            if content is None or content == head.read(name):
                continue
            try:
                text = content.decode()
            except UnicodeDecodeError:
                binaries += len(content)
                if binaries <= OUTPUT_LIMIT:
                    found.binaries[name] = content
            else:
                texts += len(json.dumps(text))
                if texts <= OUTPUT_LIMIT:
                    found.texts[name] = text
            if name not in found.texts and name not in found.binaries:
                found.left_out[name] = len(content)
        return found

    def note(self) -> str:
        """Return what a reviewer should know of the outputs that are left out."""
        named = ", ".join(f"{name} ({size(number)})" for name, number in list(self.left_out.items())[:5])
        more = f" and {len(self.left_out) - 5} more" if len(self.left_out) > 5 else ""
        return (
            f"Too large to be written to the branch: {named}{more}. Have DVC keep such outputs "
            "(without `cache: false`), or commit them with dvc.lock after `lockgate run`."
        )


def outputs_in_git(root: Path) -> dict[str, str]:
    """Return the text of each output that git keeps and each lock in a subfolder, unless ``HEAD`` has it, by path."""
    return KeptOutputs.of(root).texts


@contextmanager
def _settings_of(root: Path, base: Commit) -> Iterator[None]:
    """Have the DVC configuration of ``base``. Raises :class:`LockgateError` if git brought more of DVC's folder."""
    tracked = git.git(root, "ls-files", "-z", "--", ".dvc").split("\0")
    if strange := [name for name in tracked if name and not COMMITTED.fullmatch(name)]:
        raise LockgateError(
            f"git tracks {strange[0]}: a cache or a configuration of one machine, which would decide what runs",
            f"`git rm --cached {strange[0]}`; what is meant for all goes into {CONFIG}.",
        )
    config, ours, theirs = root / CONFIG, Workspace(root).read(CONFIG), base.read(CONFIG)
    if ours == theirs and not config.is_symlink():
        yield
        return
    sys.stderr.write(f"{CONFIG} is not as in the base: the base's is used.\n")
    write_whole(config, (theirs or b"").decode())
    try:
        yield
    finally:
        write_whole(config, (ours or b"").decode())


def _is_claimed(root: Path, base: Commit) -> bool:
    """Say whether base's policy takes the author's lock as it is, and there is a whole one to take."""
    text = base.read(policy.FILE)
    if text is None or policy.read_models(text).lock != "claimed":
        return False
    current, pipeline = Workspace(root), needed_pipeline(Workspace(root))
    plans = plan(pipeline, read_lock(current, pipeline), WorkspaceFiles(root), current)
    return all(item.verdict == "same" for item in plans)


def _quarantined(root: Path, base: Commit, *, fork: bool) -> tuple[str, ...]:
    """Push what is not of ``base`` to the quarantine, if there is one; return what a reviewer should know of it.

    Raises :class:`~lockgate.dvc.listing.BrokenList` for a folder that would not be admitted after the merge.
    """
    before, _ = report.base_state(base)
    quarantine.check_lists(root, before)
    if fork or QUARANTINE not in remotes(root):
        return ()
    try:
        quarantine.push(root, base=before)
    except DvcError as error:
        return (f"What was made here could not be pushed, so it will be made again after the merge: {error}",)
    return ()


def _claimed(root: Path, base: Commit, head: Commit) -> Artifact:
    with suppress(LockgateError):  # what is not there is told by the report
        state = read_state(head)
        for one in policy.read_models(base.read(policy.FILE) or b"").policies:
            for path in one.predictions.files if one.predictions else ():
                if record := state.pipeline.recorded(state.lock, path):
                    fetch_tracked(root, {path: (record,)}, QUARANTINE)
    left = Artifact(objects=bound.collect(root, base, head, Artifact()))
    return _judged(root, base, head, left, execution=None)
