"""Training noise: head's metrics when the same training is repeated under other seeds.

Each rerun happens in a throw-away copy of head's files that shares this project's cache, as ``dvc exp run --temp``
does, so that nothing is computed twice and nothing of the working tree is touched.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lockgate import git
from lockgate.dvc.objects import Cache
from lockgate.dvc.pipeline import MISSING, param, read_params, read_state
from lockgate.dvc.stages import Progress, Sandbox, run_stages
from lockgate.errors import NotAskedError
from lockgate.evaluation.compare import recorded_value
from lockgate.evaluation.findings import read_policies, side
from lockgate.evaluation.metric_files import Unreadable
from lockgate.git import Snapshot, Workspace
from lockgate.policy import FILE, Policy
from lockgate.result import SeedSpread
from lockgate.temporary import temporary_folder

PARAMS = "params.yaml"  # where DVC looks for a parameter that names no file


class SeedError(NotAskedError):
    """The reruns cannot be made."""


def spread(
    root: Path, head: Snapshot, count: int, tell: Callable[[str], None]
) -> tuple[tuple[SeedSpread, ...], tuple[str, ...]]:
    """Return every metric of the policy under ``count`` seeds, from the one of ``head`` upwards, and notes in words.

    Runs what depends on the seed, ``count - 1`` times or more. ``tell`` gets a line as each rerun begins and ends.
    Raises :class:`SeedError` if the policy names no seed, if it is no whole number, or if a stage fails.
    """
    policy = read_policies(None, read_state(head)).policy
    file, key, first = _seed(policy, head)
    seeds = tuple(range(first, first + count))
    values: dict[str, list[float]] = {metric.name: [] for metric in policy.metrics}
    notes: list[str] = []
    with _copy(root, head) as copy:
        for seed in seeds:
            tell(f"{key} = {seed}")
            _write(copy / file, key, seed)
            _run(copy, Sandbox.by_policy(policy.stages, proving=False), key, seed, tell)
            offered = side(copy, read_state(Workspace(copy)), policy)
            for metric in policy.metrics:
                try:
                    values[metric.name].append(recorded_value(metric, offered))
                except Unreadable as reason:
                    notes.append(f"No spread of {metric.name} over seeds: with {key} = {seed}, {reason}.")
    whole = {name: found for name, found in values.items() if len(found) == count}
    return tuple(SeedSpread(name, seeds, tuple(found)) for name, found in whole.items()), tuple(notes)


def _seed(policy: Policy, head: Snapshot) -> tuple[str, str, int]:
    if policy.seed is None:
        raise SeedError("the policy names no seed", f"Say in {FILE} which parameter it is, e.g. `seed: train.seed`.")
    named, _, key = policy.seed.rpartition(":")
    file = named or PARAMS
    value = param(read_params(head, file) or {}, key)
    if value is MISSING or isinstance(value, bool) or not isinstance(value, int):
        said = "does not exist" if value is MISSING else f"is {value!r}, not a whole number"
        raise SeedError(f"the seed '{key}' of {file} {said}", f"Correct `seed:` in {FILE}, or the parameter.")
    return file, key, value


@contextmanager
def _copy(root: Path, head: Snapshot) -> Iterator[Path]:
    """Give a folder with the files of ``head``, in a clone of its own that uses this project's cache and remotes."""
    with temporary_folder("seeds") as folder:
        top, clone = Path(git.git(root, "rev-parse", "--show-toplevel").rstrip("\n")), folder / "clone"
        git.git(root, "clone", "--quiet", "--shared", "--no-checkout", str(top), str(clone))
        commit = head.commit or git.head(root)
        if commit is not None:
            git.git(clone, "checkout", "--quiet", "--detach", commit)
        copy = clone / root.relative_to(top)
        if head.commit is None:
            _overlay(root, head, copy)
        _share_cache(root, copy)
        yield copy


def _overlay(root: Path, head: Snapshot, copy: Path) -> None:
    """Make the clone's files those of the working tree: changed, new and deleted ones alike."""
    wanted = set(head.list())
    for path in git.git(copy, "ls-files", "-z").split("\0"):
        if path and path not in wanted:
            (copy / path).unlink(missing_ok=True)
    for path in wanted:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).unlink(missing_ok=True)
        shutil.copy2(root / path, copy / path, follow_symlinks=False)


def _share_cache(root: Path, copy: Path) -> None:
    """Point the copy at this project's cache, and its remotes at where this project's relative addresses lead."""
    from dvc.config import Config

    remotes = Config(str(root / ".dvc"))["remote"]
    with Config(str(copy / ".dvc")).edit("local") as settings:
        settings["cache"] = {"dir": str(Cache.of(root).folder.resolve())}
        settings["remote"] = {name: dict(remote) for name, remote in remotes.items()}


def _write(path: Path, key: str, value: int) -> None:
    from dvc.utils.serialize import MODIFIERS

    with MODIFIERS[path.suffix.lower()](str(path)) as content:
        *sections, last = key.split(".")
        for section in sections:
            content = content[section]  # noqa: PLW2901 - going down
        content[last] = value


def _run(copy: Path, sandbox: Sandbox, key: str, seed: int, tell: Callable[[str], None]) -> None:
    printed: list[str] = []

    def follow(step: Progress) -> None:
        if step.event == "ended" and step.status == "ran":
            tell(f"  {step.stage}: {step.seconds:.1f} s")

    done = run_stages(copy, sandbox=sandbox, on_progress=follow, on_output=printed.append)
    if not done.ok:
        stage = f"stage '{done.failed.stage}'" if done.failed and done.failed.stage else "the pipeline"
        end = "\n".join(printed[-20:])
        sys.stderr.write(end + "\n" if end else "")
        raise SeedError(f"{stage} failed with {key} = {seed}", done.failed.error if done.failed else "")
