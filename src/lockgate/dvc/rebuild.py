"""``lockgate rebuild``: run a commit's pipeline in a temporary clone and compare every hash with its ``dvc.lock``.

What ``dvc repro`` relies on is not relied on here. The commit is cloned to a new folder with a cache of its own, the
outputs that git holds are removed, and each stage is run whatever any lock, run cache or remote says of it. Source data
that no stage makes (``dvc add``, ``dvc import``) is fetched and must have the hash of its ``.dvc`` file.
"""

import platform
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lockgate import git
from lockgate.dependencies.commit import Choice, Locked, locked_by
from lockgate.dependencies.install import Wheels
from lockgate.dvc.checkout import fetch_sources, temporary_clone
from lockgate.dvc.objects import CommitFiles, DvcError, WorkspaceFiles, read_file
from lockgate.dvc.pipeline import Recorded, Stage, State, is_address, read_state
from lockgate.dvc.plan import describe, needed_pipeline, plan
from lockgate.dvc.scopes import scoped
from lockgate.dvc.stages import Progress, Sandbox, StagesRun, run_stages
from lockgate.dvc.tolerance import beyond
from lockgate.errors import LockgateError, nearest
from lockgate.policy import FILE as POLICY
from lockgate.policy import Policy, Stages, check_rebuild, read_models, read_policy
from lockgate.result import Isolation, Reason

Level = Literal["full", "train", "none"]
LEVELS: tuple[Level, ...] = ("full", "train", "none")


class RebuildError(LockgateError):
    """A commit that cannot be rebuilt as it stands."""


class LockStale(RebuildError):  # noqa: N818 - named for what the user reads
    """The lock is not the lock of this code, data and parameters."""

    def __init__(self, commit: str, stage: str, why: str) -> None:
        """Name the first stage it does not fit, and the cause."""
        super().__init__(
            f"dvc.lock of {commit[:7]} does not belong to its code: stage '{stage}' would run again ({why})",
            "Run `lockgate run`, commit dvc.lock and the reports with the change, and rebuild that commit.",
        )


class RebuildDiffers(RebuildError):  # noqa: N818
    """The same source gave other bytes."""


@dataclass(frozen=True, slots=True)
class Compared:
    """An output beside what the lock says of it. Digests are DVC's, sizes bytes.

    ``stage`` is the stage that writes it, ``None`` for source data that no stage makes. ``fetched`` outputs were
    started from: what came had the locked hash. ``rebuilt`` is ``None`` where it was neither made nor fetched.
    ``taken`` says why an output with other bytes is no difference, by the policy.
    """

    path: str
    stage: str | None
    locked: str
    locked_size: int | None
    rebuilt: str | None = None
    rebuilt_size: int | None = None
    fetched: bool = False
    taken: Literal["", "within tolerance", "left out"] = ""
    beyond: str = ""  # what goes beyond the policy's tolerance


@dataclass(frozen=True, slots=True)
class RanWith:
    """What the stages of a rebuild ran with.

    ``dependencies`` is ``locked`` where they were those of the commit's own ``lock`` (its path; ``lock_digest`` is the
    SHA-256 of its pins and hashes), ``current`` where they were whatever is installed with lockgate. ``python`` is the
    full version of the interpreter. ``network`` says whether the stages could reach one, ``isolation`` whether each was
    run apart from the machine, and ``contacts`` the addresses that stages tried to reach, as ``stage: address``.
    """

    dependencies: Choice
    python: str
    network: bool
    lock: str | None = None
    lock_digest: str | None = None
    isolation: Isolation | None = None
    contacts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rebuild:
    """What a rebuild showed, ``outputs`` in pipeline order. ``differing`` are those that came out with other bytes.

    ``ran_with`` is ``None`` where no stage was run. ``frozen`` stages were not run: their locked outputs were started
    from.
    """

    commit: str
    level: Level
    outputs: tuple[Compared, ...]
    seconds: float = 0.0
    ran_with: RanWith | None = None
    frozen: tuple[str, ...] = ()

    @property
    def differing(self) -> tuple[Compared, ...]:
        """Return the outputs that came out with other bytes: those of the stage that differs first come first."""
        return tuple(out for out in self.outputs if out.rebuilt is not None and not _same(out) and not out.taken)

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.differing

    def difference(self) -> RebuildDiffers:
        """Return the error that names the first stage that differs, its outputs and their sizes."""
        stage = self.differing[0].stage
        outs = [
            f"{out.path} ({_digest(out.locked)}, {_bytes(out.locked_size)} in dvc.lock; "
            f"{_digest(out.rebuilt)}, {_bytes(out.rebuilt_size)} rebuilt{f'; {out.beyond}' if out.beyond else ''})"
            for out in self.differing
            if out.stage == stage
        ]
        return RebuildDiffers(
            f"the rebuild of {self.commit[:7]} differs, first in stage '{stage}': {'; '.join(outs)}",
            f"{self._suspect()} `lockgate rebuild {self.commit[:7]} --keep` leaves the files.",
        )

    def _suspect(self) -> str:
        other = "The lock was made with other inputs than it records, or the stage depends on something undeclared"
        if self.ran_with is not None and self.ran_with.dependencies == "locked":
            return f"{other} (clock, order, processor), or it was run with other packages than the locked ones."
        return f"{other} (clock, order, processor), or other packages are installed here than were there."


def rebuild(  # noqa: PLR0913 - one way in, for all that callers want of it
    root: Path,
    revision: str,
    level: Level,
    *,
    dependencies: Choice | None = None,
    kept: Callable[[str, Locked, Path], Wheels | None] = lambda _name, _locked, _folder: None,
    isolated: bool = False,
    keep: bool = False,
    model: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
    take: Callable[[Path], None] = lambda _: None,
) -> Rebuild:
    """Rebuild ``revision`` in a temporary clone up to ``level`` and compare; ``tell`` gets progress, a line at a time.

    ``full`` runs every stage, ``train`` the stage of the model and what follows it (everything else is fetched),
    ``none`` runs nothing. ``dependencies`` says what the stages run with: ``locked``, the packages of the commit's own
    lock, or ``current``, those that lockgate runs with; by default ``locked`` where the commit's policy names a lock.
    With ``isolated`` no stage runs that this machine cannot isolate, unless the commit's policy allows it.
    ``kept`` is asked for files of a model's packages, before an index is. With ``model``, only what is of that model is
    rebuilt, where the repository has several.

    Raises :class:`LockStale` where the lock does not belong to the code, whatever the level; :class:`RebuildError`
    where a stage fails or cannot be rebuilt; what git, DVC, the pipeline's files and the installation of dependencies
    may raise. A difference is no error: ask :attr:`Rebuild.ok`. If nothing differs, ``take`` is given the place while
    it stands. It is removed on every way out, unless ``keep``.
    """
    started = time.monotonic()
    commit = git.resolve(root, revision)
    with git.Commit(root, revision, commit) as snapshot:
        needed_pipeline(snapshot)
        state = _state(snapshot, model)
        _check_lock(state, commit)
        _check_rebuilding(state)
        stages = _stages(state, level)
        if not stages:
            return Rebuild(commit, level, _rows(state, {}))
        sandbox, ran_with = _prepare(state, commit, dependencies, kept, tell)
        sandbox = replace(sandbox, required=isolated and _stages_policy(state).isolation == "required")
        with temporary_clone(root, commit, keep=keep, tell=tell) as copy:
            sources = fetch_sources(root, copy, state, stages)
            ran_with = _with_isolation(ran_with, _run(copy, stages, sandbox, tell))
            rows = _rows(state, sources, {out.path for stage in stages for out in stage.outs}, WorkspaceFiles(copy))
            rows = _taken(root, copy, state, rows)
            frozen = _frozen(state, level)
            done = Rebuild(commit, level, rows, time.monotonic() - started, ran_with, frozen)
            if done.ok:
                take(copy)
    return done


def as_text(done: Rebuild) -> str:
    """Return the comparison as a table for a terminal, ending with the verdict."""
    if done.level == "none":
        return f"dvc.lock of {done.commit[:7]} belongs to its code. Nothing was run.\n"
    head = ("output", "stage", "size", "dvc.lock", "rebuilt", "same?")
    rows = [
        (
            out.path,
            out.stage or "(source data)",
            _size(out),
            _digest(out.locked),
            _digest(out.rebuilt),
            "not run"
            if out.rebuilt is None
            else "fetched"
            if out.fetched
            else "yes"
            if _same(out)
            else out.taken or "NO",
        )
        for out in done.outputs
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(cell.rjust(width) if column == 2 else cell.ljust(width) for column, (cell, width) in enumerate(cells))
        for cells in (zip(row, widths, strict=True) for row in (head, *rows))
    ]
    return "\n".join(line.rstrip() for line in [*lines, "", _verdict(done)]) + "\n"


def _verdict(done: Rebuild) -> str:
    made = [out for out in done.outputs if out.rebuilt is not None and not out.fetched]
    fetched = sum(out.fetched for out in done.outputs)
    start = "from its source" if done.level == "full" else "from the locked inputs of the model's stage"
    same = f"{sum(_same(out) for out in made)} of {len(made)} outputs are the same, byte for byte"
    taken = [out for out in made if out.taken and not _same(out)]
    same += f", {len(taken)} differ as the policy allows" if taken else ""
    note = f"; {fetched} fetched to start from, hashes verified" if fetched else ""
    note += f"; frozen, so not run: {', '.join(done.frozen)}" if done.frozen else ""
    return f"{done.commit[:7]} rebuilt {start} in {done.seconds:.0f} s: {same}{note}.\n{_surroundings(done.ran_with)}"


def _surroundings(ran: RanWith | None) -> str:
    """Return what a rebuild ran with, as a sentence."""
    if ran is None:
        return ""
    packages = f"those of {ran.lock}" if ran.dependencies == "locked" else "whatever is installed here (current)"
    network = "the stages could reach the network" if ran.network else "without a network"
    isolation = "; not isolated (isolation: none)" if ran.isolation == "none" else ""
    asked = f" These tried to reach an address: {', '.join(ran.contacts)}." if ran.contacts else ""
    return f"Dependencies: {packages}, Python {ran.python}; {network}{isolation}.{asked}"


def _same(out: Compared) -> bool:
    return out.rebuilt == out.locked


def _size(out: Compared) -> str:
    before, after = (f"{size:,}" if size is not None else "?" for size in (out.locked_size, out.rebuilt_size))
    return before if out.rebuilt is None or before == after else f"{before} → {after}"


def _digest(digest: str | None) -> str:
    """Return what is enough of a digest to tell two apart."""
    return "-" if digest is None else digest[:12]


def _bytes(size: int | None) -> str:
    return "size unknown" if size is None else f"{size:,} bytes"


def _check_lock(state: State, commit: str) -> None:
    """Refuse a lock that is absent or would not stand ``dvc repro``."""
    if not state.lock.stages:
        raise RebuildError(
            f"{commit[:7]} has no dvc.lock: there is nothing to compare a rebuild with",
            "Run `lockgate run` and commit dvc.lock.",
        )
    for item in plan(state.pipeline, state.lock, CommitFiles(state.snapshot), state.snapshot):
        if causes := [cause for cause in item.reasons if _speaks_of_lock(cause)]:
            raise LockStale(commit, item.name, "; ".join(describe(cause) for cause in causes[:3]))


def _speaks_of_lock(cause: Reason) -> bool:
    """Say whether a reason to run is one that ``dvc repro`` would have had before the commit, with all data there."""
    return cause.kind not in ("always", "upstream", "cache") and not is_address(cause.subject)


def _stages(state: State, level: Level) -> tuple[Stage, ...]:
    """Return the stages to run, in order. Refuses those that cannot be run in another place."""
    chosen: set[str] = set()
    if level == "full":
        chosen = set(state.pipeline.by_name)
    elif level == "train":
        model = _model_stage(state)
        if model.frozen:
            raise RebuildError(
                f"stage '{model.name}', which makes the model, is frozen: DVC does not run it, so it cannot be rebuilt",
                f"`dvc unfreeze {model.name}`, then `lockgate run`.",
            )
        chosen = {model.name}
        for stage in state.pipeline.stages:
            if chosen.intersection(state.pipeline.upstream[stage.name]):
                chosen.add(stage.name)
    stages = tuple(stage for stage in state.pipeline.stages if stage.name in chosen and not stage.frozen)
    for stage in stages:
        outside = [out.path for out in stage.outs if is_address(out.path) or out.path.startswith(("/", "../"))]
        if outside:
            raise RebuildError(
                f"stage '{stage.name}' writes '{outside[0]}', outside the repository: a rebuild would write over it",
                "Let the stage write inside the repository.",
            )
    return stages


def _frozen(state: State, level: Level) -> tuple[str, ...]:
    """Return the stages that a full rebuild would run if they were not frozen."""
    return tuple(stage.name for stage in state.pipeline.stages if stage.frozen) if level == "full" else ()


def _model_stage(state: State) -> Stage:
    """Return the stage that writes the model: the policy's ``model``, else the only artifact of type ``model``."""
    text = state.snapshot.read(POLICY)
    models = {name: item for name, item in state.pipeline.artifacts.items() if item.get("type") == "model"}
    if text is not None:
        name = read_policy(text, state.model).model
        models = dict([state.pipeline.artifact(name) or (name, {})])
    if len(models) != 1:
        raise RebuildError(
            f"which stage makes the model? dvc.yaml declares {len(models)} artifacts of type model",
            f"Name one as `model:` in {POLICY}, or rebuild with --level full.",
        )
    ((name, artifact),) = models.items()
    path = str(artifact.get("path", ""))
    makers = state.pipeline.writers(path) if path else ()
    if len(makers) != 1:
        raise RebuildError(
            f"no stage makes the model '{name}': dvc.yaml declares {repr(path) if path else 'no path'} as its artifact",
            f"Correct `artifacts:` of dvc.yaml or `model:` of {POLICY}, or rebuild with --level full.",
        )
    return state.pipeline.by_name[makers[0]]


# --- doing it


def _prepare(
    state: State,
    commit: str,
    choice: Choice | None,
    kept: Callable[[str, Locked, Path], Wheels | None],
    tell: Callable[[str], None],
) -> tuple[Sandbox, RanWith]:
    """Return what the stages are to run in. Dependencies are installed if need be."""
    locked = None if choice == "current" else locked_by(state.snapshot, state.model)
    if locked is None:
        if choice == "locked":
            raise RebuildError(
                f"{POLICY} of {commit[:7]} names no lock under `dependencies:`, so there is nothing to install",
                "Rebuild it with the packages that are installed here: --dependencies current.",
            )
        sandbox = Sandbox.by_policy(_stages_policy(state), proving=True)
        return sandbox, RanWith("current", platform.python_version(), sandbox.network)
    installed = locked.install(wheels=lambda folder: kept(locked.model, locked, folder), tell=tell)
    sandbox = replace(Sandbox.by_policy(_stages_policy(state), proving=True), dependencies=installed.folder)
    return sandbox, RanWith("locked", installed.python, sandbox.network, locked.lock.place, locked.lock.digest)


def _stages_policy(state: State) -> Stages:
    """Return what the commit's policy says of stages."""
    text = state.snapshot.read(POLICY)
    return Stages() if text is None else read_models(text).stages


def _with_isolation(ran: RanWith, done: StagesRun) -> RanWith:
    """Add how the stages were run. What was not isolated had whatever network the machine has."""
    contacts = tuple(f"{stage}: {to}" for stage, addresses in done.contacts.items() for to in addresses)
    return replace(ran, isolation=done.isolation, network=ran.network or done.isolation == "none", contacts=contacts)


def _run(copy: Path, stages: tuple[Stage, ...], sandbox: Sandbox, tell: Callable[[str], None]) -> StagesRun:
    """Run the stages, whatever is known of them. Raises :class:`RebuildError` naming the one that failed."""
    started = time.monotonic()
    number = {stage.name: place for place, stage in enumerate(stages, 1)}

    def follow(step: Progress) -> None:
        if step.stage and step.event != "failed":
            what = f"ran, {step.seconds:.1f} s" if step.event == "ended" else "runs"
            tell(f"[{number[step.stage]}/{len(stages)} {time.monotonic() - started:.0f} s] {step.stage}: {what}")

    done = run_stages(copy, list(number), sandbox=sandbox, on_progress=follow, on_output=tell)
    if done.failed and done.failed.stage:
        asked = done.contacts.get(done.failed.stage)
        raise RebuildError(
            f"stage '{done.failed.stage}' failed in the clone: {done.failed.error}",
            f"It tried to reach {', '.join(asked)}, and a rebuild has no network unless the policy says "
            "`stages: {network: true}`."
            if asked and not sandbox.network
            else "It may need a file that is not committed, or one that it does not declare; --keep keeps the clone. "
            "A variable that it needs has to be named in the policy: `stages: {pass: [NAME]}`.",
        )
    if done.failed and done.failed.cure:
        raise DvcError(done.failed.error, done.failed.cure)
    if not done.ok:
        raise DvcError(f"DVC ended with code {done.code}{f': {done.failed.error}' if done.failed else ''}")
    return done


def _rows(
    state: State, sources: Mapping[str, Recorded], made: Collection[str] = (), files: WorkspaceFiles | None = None
) -> tuple[Compared, ...]:
    """Return source data, then every output of every stage, beside what was ``made`` or fetched (``sources``) of it."""
    outs = {
        path: (stage.name, state.lock.stages[stage.name].outs[path]) for path, stage in state.pipeline.producers.items()
    }
    rows = [(None, record) for path, record in sources.items() if path not in outs]
    in_order = [outs[out.path] for stage in state.pipeline.stages for out in stage.outs]
    return tuple(_row(stage, record, sources, made, files) for stage, record in [*rows, *in_order])


def _row(
    stage: str | None,
    record: Recorded,
    sources: Mapping[str, Recorded],
    made: Collection[str],
    files: WorkspaceFiles | None,
) -> Compared:
    row = Compared(record.path, stage, record.digest, record.size)
    if record.path in sources:
        return replace(row, rebuilt=record.digest, rebuilt_size=record.size, fetched=True)
    if record.path not in made or files is None:
        return row
    path = files.root / record.path
    inside = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in inside)
    digest = files.digest(record.path, legacy=record.legacy)
    return replace(row, rebuilt=digest or "absent", rebuilt_size=size)  # a later stage may have removed it


def _state(snapshot: git.Commit, model: str | None) -> State:
    """Return the commit's pipeline and lock, or what of them is of one model."""
    state = read_state(snapshot)
    return state if model is None else scoped(None, state, model)[1]


def _policies(state: State) -> tuple[Policy, ...]:
    """Return the policies of the models that are rebuilt."""
    text = state.snapshot.read(POLICY)
    if text is None:
        return ()
    found = read_models(text)
    return found.policies if state.model is None else (found.of(state.model),)


def _check_rebuilding(state: State) -> None:
    """Refuse a policy that leaves the model out of the comparison, or names what no stage writes."""
    for policy in _policies(state):
        if policy.rebuild.paths:
            artifact = state.pipeline.artifact(policy.model)
            check_rebuild(policy, str(artifact[1]["path"]) if artifact else None)
    for path in (path for policy in _policies(state) for path in policy.rebuild.paths):
        if path not in state.pipeline.producers:
            raise RebuildError(
                f"{POLICY} names '{path}' under `rebuild:`, which no stage writes",
                f"Name an output of dvc.yaml as it is declared there; {nearest(path, list(state.pipeline.producers))}",
            )


def _taken(root: Path, copy: Path, state: State, rows: tuple[Compared, ...]) -> tuple[Compared, ...]:
    """Mark the outputs that came out with other bytes and that the policy takes for the same."""
    policies = _policies(state)
    tolerated = {one.path: one for policy in policies for one in policy.rebuild.tolerate}
    left_out = {path for policy in policies for path in policy.rebuild.leave_out}

    def judged(out: Compared) -> Compared:
        if out.rebuilt is None or _same(out):
            return out
        if out.path in left_out:
            return replace(out, taken="left out")
        if out.path not in tolerated:
            return out
        try:
            locked = read_file(root, state, out.path)
        except DvcError as error:
            return replace(out, beyond=str(error))
        file = copy / out.path
        if locked is None or not file.is_file():
            return replace(out, beyond="it cannot be compared by value: one of the two is missing or a folder")
        why = beyond(locked, file.read_bytes(), tolerated[out.path])
        return replace(out, beyond=why) if why else replace(out, taken="within tolerance")

    return tuple(judged(out) for out in rows)


# --- this process


def interrupted() -> RebuildError:
    """Return what to say of a rebuild that was stopped."""
    return RebuildError("interrupted; nothing is left behind", "A rebuild starts from the beginning.")
