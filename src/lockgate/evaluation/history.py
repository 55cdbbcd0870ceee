"""Past runs that differ in their seed alone, from git's history: what the seed is worth, at no cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lockgate import git
from lockgate.dvc.pipeline import Pipeline, PipelineError, read_lock
from lockgate.evaluation.compare import value_in
from lockgate.evaluation.seeded import Place, content_key, locked_seed
from lockgate.git import Commit, Snapshot
from lockgate.policy import Policy

MOST = 50  # commits that changed dvc.lock, the newest first: each takes some 20 ms to read


@dataclass(frozen=True)
class PastRuns:
    """Values of each metric in groups of runs that differ in their seed alone; ``runs`` is how many there are."""

    runs: int = 0
    groups: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)


def past_runs(base: Snapshot, place: Place, policy: Policy) -> PastRuns:
    """Return the runs behind ``base`` that have a twin: everything that the seed reaches is the same, but the seed.

    Metrics are read where git keeps them. The spread is that of whatever was trained then; that it is about today's is
    an assumption, which docs/statistics.md names.
    """
    if not isinstance(base, Commit):
        return PastRuns()
    found: dict[str, dict[str, dict[str, float]]] = {}
    try:
        listed = git.git(base.root, "log", f"-{MOST}", "--format=%H", base.commit, "--", "dvc.lock").split()
    except git.GitError:
        return PastRuns()
    for name in listed:
        with Commit(base.root, name, name) as commit:
            try:
                lock = read_lock(commit, Pipeline())
            except PipelineError:
                continue
            key = content_key(lock, place, seed=False)
            seed = repr(locked_seed(lock, place))
            if key is not None and seed not in found.setdefault(key, {}):
                values = {metric.name: value_in(commit.read(metric.file), metric) for metric in policy.metrics}
                found[key][seed] = {name: value for name, value in values.items() if value is not None}
    groups = [list(runs.values()) for runs in found.values() if len(runs) > 1]
    spread = {
        metric.name: [[run[metric.name] for run in group if metric.name in run] for group in groups]
        for metric in policy.metrics
    }
    return PastRuns(sum(map(len, groups)), {name: told for name, told in spread.items() if told})
