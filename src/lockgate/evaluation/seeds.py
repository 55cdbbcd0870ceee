"""Trains again under other seeds: base and head, each in a throw-away copy, isolated as every stage is.

A copy shares this project's cache, as ``dvc exp run --temp`` does, so that nothing is computed twice and nothing of the
working tree is touched. What came of a training is kept beside the cache, under the digest of what it goes by: base is
repeated once, not for each pull request.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lockgate.dvc.copy import set_parameter, shared_copy
from lockgate.dvc.objects import Cache
from lockgate.dvc.pipeline import Lock, State, read_state
from lockgate.dvc.scopes import scoped
from lockgate.dvc.stages import Progress, Sandbox, run_stages
from lockgate.evaluation import training
from lockgate.evaluation.compare import Side, recorded_value
from lockgate.evaluation.findings import side
from lockgate.evaluation.metric_files import Unreadable
from lockgate.evaluation.seeded import Place, SeedError, content_key
from lockgate.evaluation.training import Repeat, Repeats
from lockgate.files import write_whole
from lockgate.git import Snapshot, Workspace
from lockgate.policy import Policy

KEPT = "lockgate/repeats"
"""The folder beside DVC's objects in the cache, with what came of repeats."""


def repeat(  # noqa: PLR0913 - what a repeat is told
    root: Path,
    policy: Policy,
    base: Snapshot | None,
    head: Snapshot,
    number: int,
    tell: Callable[[str], None],
    *,
    dependencies: tuple[Path | None, Path | None] = (None, None),
    model: str | None = None,
) -> Repeats:
    """Return ``number`` repeats of base, if there is one, and of head; those that are known are not made again.

    ``tell`` gets a line as each training begins and as its stages end. ``dependencies`` are the folders of the Python
    environments that base's and head's stages run with (``None``: that of lockgate). ``model`` is whose training is
    meant, where the repository has several. Raises :class:`SeedError` if the
    seed cannot be varied, if a stage fails, or if a repeat leaves no metric.
    """
    before, after = scoped(read_state(base) if base else None, read_state(head), model)
    of_base, of_head = training.wanted(policy, before, after, number)
    return Repeats(
        _of_side(root, policy, "base", before, of_base, tell, dependencies[0]) if before else (),
        _of_side(root, policy, "head", after, of_head, tell, dependencies[1]),
    )


def _of_side(
    root: Path,
    policy: Policy,
    name: str,
    state: State,
    seeds: tuple[int, ...],
    tell: Callable[[str], None],
    dependencies: Path | None,
) -> tuple[Repeat, ...]:
    assert policy.train is not None  # noqa: S101  its seeds are known
    place = Place.of(policy.train.seed)
    kept = _Kept.of(root, policy, state, place)
    found = {seed: one for seed in seeds if (one := kept.read(seed))}
    if found:
        tell(f"{name}: {len(found):,} of {len(seeds):,} repeats are known from before")
    missing = [seed for seed in seeds if seed not in found]
    if missing:
        sandbox = replace(Sandbox.by_policy(policy.stages, proving=False), dependencies=dependencies)
        with shared_copy(root, state.snapshot, "seeds") as copy:
            for seed in missing:
                called = f"{name} with {place.key} = {seed}"
                tell(f"{name}: {place.key} = {seed}")
                set_parameter(copy / place.file, place.key, seed)
                only = tuple(stage.name for stage in state.pipeline.stages) if state.model is not None else None
                _run(copy, sandbox, called, tell, only)
                came = read_state(Workspace(copy))
                _check(name, state, came, place)
                found[seed] = _result(root, copy, policy, came, seed, called)
                kept.write(found[seed])
    return tuple(found[seed] for seed in seeds)


def _check(name: str, state: State, came: State, place: Place) -> None:
    """Refuse a repeat that is no repeat of what the lock says: it would be taken for one later."""
    own = {name: entry for name, entry in came.lock.stages.items() if name in state.pipeline.by_name}
    lock = came.lock if state.model is None else Lock(own)
    if content_key(lock, place, seed=False) != content_key(state.lock, place, seed=False):
        raise SeedError(
            f"dvc.lock of {name} is not that of its files, so its training cannot be repeated",
            "Run `lockgate run`, and commit dvc.lock with what it belongs to.",
        )


def _result(root: Path, copy: Path, policy: Policy, came: State, seed: int, called: str) -> Repeat:
    """Read what a training left, and put its predictions into the cache."""
    offered: Side = side(copy, came, policy)
    values: dict[str, float] = {}
    reasons: list[str] = []
    for metric in policy.metrics:
        try:
            values[metric.name] = recorded_value(metric, offered)
        except Unreadable as reason:
            reasons.append(str(reason))
    if not values:
        raise SeedError(f"{called} left no metric: {reasons[0]}")
    if not isinstance(offered.predictions, Path):
        return Repeat(seed, values)
    return Repeat(seed, values, Cache.of(root).keep(offered.predictions))


class _Kept:
    """What came of the repeats of one training, in a file a seed."""

    def __init__(self, folder: Path, cache: Cache) -> None:
        self.folder, self.cache = folder, cache

    @classmethod
    def of(cls, root: Path, policy: Policy, state: State, place: Place) -> "_Kept":
        """Name the place by what the training goes by, and by what is read of it."""
        read = [[metric.name, metric.file, metric.key] for metric in policy.metrics]
        told = [content_key(state.lock, place), read, policy.predictions.file if policy.predictions else None]
        cache = Cache.of(root)
        return cls(cache.folder / KEPT / hashlib.sha256(json.dumps(told).encode()).hexdigest(), cache)

    def read(self, seed: int) -> Repeat | None:
        """Return a repeat that is known and whose predictions are still in the cache."""
        try:
            told: Any = json.loads((self.folder / f"{seed}.json").read_bytes())
            one = Repeat(seed, {str(name): float(value) for name, value in told["values"].items()}, told["predictions"])
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return one if one.predictions is None or self.cache.path(str(one.predictions)).is_file() else None

    def write(self, one: Repeat) -> None:
        """Keep a repeat."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"values": dict(one.values), "predictions": one.predictions}, sort_keys=True)
        write_whole(self.folder / f"{one.seed}.json", text)


def _run(copy: Path, sandbox: Sandbox, called: str, tell: Callable[[str], None], only: tuple[str, ...] | None) -> None:
    printed: list[str] = []

    def follow(step: Progress) -> None:
        if step.event == "ended" and step.status == "ran":
            tell(f"  {step.stage}: {step.seconds:.1f} s")

    done = run_stages(copy, sandbox=sandbox, only=only, on_progress=follow, on_output=printed.append)
    if not done.ok:
        stage = f"stage '{done.failed.stage}'" if done.failed and done.failed.stage else "the pipeline"
        end = "\n".join(printed[-20:])
        sys.stderr.write(end + "\n" if end else "")
        raise SeedError(f"{stage} failed in {called}", done.failed.error if done.failed else "")
