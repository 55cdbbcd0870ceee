"""Earlier revisions that a gate is held against instead of base: the last release, and the best so far.

Ten changes that each lose a little pass one by one, for each is judged by the one before it. A gate that names the last
release or the best commit of the default branch sees their sum. Which commit that is, git alone says: the tags that
base's history has, and the metrics files in it. So both halves of a pull request's check find the same one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lockgate import git
from lockgate.dvc.pipeline import PipelineError, State, read_state
from lockgate.evaluation.compare import value_in
from lockgate.gates import NoRegression
from lockgate.gates.gate import harm
from lockgate.policy import Metric, Policy

MOST = 300
"""Commits that changed the metrics file, of which the best is looked for."""
TRIED = 3
"""The best of them that are compared until one has the rows of head; base is the last that is tried."""


@dataclass(frozen=True, slots=True)
class Reference:
    """What a gate is held against: the first of ``states`` that has the rows of head. ``missing`` is why there is none
    although there should be, ``none`` why there is nothing to compare with, which is nobody's fault."""

    states: tuple[State, ...] = ()
    missing: str = ""
    none: str = ""


def references(base: State | None, judging: Policy) -> Mapping[NoRegression, Reference]:
    """Return what each gate that names an earlier revision is held against; nothing where there is no base."""
    asked = [gate for gate in judging.gates if isinstance(gate, NoRegression) and gate.against != "base"]
    commit = _commit(base.snapshot) if base else None
    if base is None or commit is None:
        return {}
    found: dict[tuple[str, str], Reference] = {}
    for gate in asked:
        which = gate.against, gate.metric if gate.against == "best" else ""
        if which not in found:
            found[which] = (
                _best(base, commit, judging.metric(gate.metric))
                if gate.against == "best"
                else _release(commit, judging)
            )
    return {gate: found[gate.against, gate.metric if gate.against == "best" else ""] for gate in asked}


def _commit(snapshot: git.Snapshot) -> git.Commit | None:
    while isinstance(snapshot, git.Overlay):
        snapshot = snapshot.under
    return snapshot if isinstance(snapshot, git.Commit) else None


def _release(base: git.Commit, judging: Policy) -> Reference:
    """Return the release of the highest version that base's history has and that was not withdrawn."""
    name = judging.model.replace(":", "=")
    form = "--format=%(objecttype) %(refname:strip=2)"
    listed = git.git(base.root, "for-each-ref", f"--merged={base.commit}", form, f"refs/tags/{name}@v*").splitlines()
    tags = {tag for kind, tag in (line.split(" ", 1) for line in listed) if kind == "tag"}
    versions = {
        tuple(int(part) for part in match.groups()): tag
        for tag in tags
        if f"{tag}!" not in tags and (match := re.fullmatch(rf"{re.escape(name)}@v(\d+)\.(\d+)\.(\d+)", tag))
    }
    if not versions:
        if git.is_shallow(base.root):
            return Reference(missing="this clone is shallow, so the releases are not known: fetch the whole history")
        return Reference(none=f"base's history has no release of {judging.model} yet")
    tag = versions[max(versions)]
    return _states([git.Commit(base.root, tag, git.resolve(base.root, f"refs/tags/{tag}"), base.lfs)])


def _best(base: State, commit: git.Commit, metric: Metric) -> Reference:
    """Return the commits of the default branch on which the metrics file has the best values, base among them."""
    if commit.read(metric.file) is None:
        return Reference(missing=f"git does not keep {metric.file}, so earlier values of {metric.name} are not known")
    if git.is_shallow(commit.root):
        return Reference(missing="this clone is shallow, so the best so far is not known: fetch the whole history")
    history = git.git(commit.root, "log", "--first-parent", "--format=%H", f"-{MOST}", commit.commit, "--", metric.file)
    values: dict[str, float] = {}
    for sha in history.split():
        with git.Commit(commit.root, sha[:7], sha, commit.lfs) as earlier:
            told = value_in(earlier.read(metric.file), metric)
        if told is not None and told not in values.values():  # the newest of those that are as good
            values[sha] = told
    own = value_in(commit.read(metric.file), metric)
    ranked = sorted(values, key=lambda sha: harm(metric, values[sha]))
    better = [sha for sha in ranked if own is None or harm(metric, values[sha]) < harm(metric, own)][:TRIED]
    found = _states([git.Commit(commit.root, sha[:7], sha, commit.lfs) for sha in better])
    return found if found.missing else Reference((*found.states, base))


def _states(commits: list[git.Commit]) -> Reference:
    found = []
    for commit in commits:
        try:
            found.append(read_state(commit))
        except PipelineError as error:
            return Reference(missing=f"the pipeline of {commit.label} cannot be read: {error}")
    return Reference(tuple(found))
