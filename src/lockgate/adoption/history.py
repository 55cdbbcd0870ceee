"""What the proposed policy would have said to the last merged pull requests, from what their commits recorded.

Nothing is run. Where a commit recorded no metrics, or where its files are out of reach, that is the answer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lockgate import git, policy
from lockgate.dvc.objects import DvcError
from lockgate.dvc.pipeline import State, read_state
from lockgate.errors import LockgateError
from lockgate.evaluation import report, several
from lockgate.git import Commit, Overlay
from lockgate.power import smallest_shown
from lockgate.result import Outcome

LAST = 10
LOOKED_AT = 500
"""Commits of the default branch that are looked through, at most."""


@dataclass(frozen=True, slots=True)
class Merged:
    """A change that was merged: its title, the commit it made, and the commit that it was merged into."""

    title: str
    commit: str
    into: str


@dataclass(frozen=True, slots=True)
class WouldHave:
    """What a change would have got; ``outcome`` is ``unknown`` where its commits do not say."""

    merged: Merged
    outcome: Outcome | Literal["unknown"]
    reason: str


def last_merged(root: Path, tip: str, limit: int = LAST) -> tuple[tuple[Merged, ...], bool]:
    """Return the last pull requests merged into ``tip``, newest first, and whether they are that.

    Where there are none, the last commits that changed what a pipeline records stand for them.
    """
    commits = list(_first_parents(root, tip))
    pulls = [one for one, parents in commits if len(parents) > 1 or re.search(r"\(#\d+\)$", one.title)]
    if pulls:
        return tuple(pulls[:limit]), True
    paths = ("*dvc.lock", "*dvc.yaml", "*params.yaml", "*.dvc")
    changing = set(git.git(root, "log", "--first-parent", f"-{LOOKED_AT}", "--format=%H", tip, "--", *paths).split())
    return tuple([one for one, _ in commits if one.commit in changing][:limit]), False


def _first_parents(root: Path, tip: str) -> Iterator[tuple[Merged, list[str]]]:
    told = git.git(root, "log", "--first-parent", f"-{LOOKED_AT}", "--format=%H%x00%P%x00%s%x00%b%x1e", tip)
    for record in told.split("\x1e"):
        commit, _, rest = record.strip("\n").partition("\0")
        parents, _, text = rest.partition("\0")
        title, _, body = text.partition("\0")
        if commit and parents:
            number = re.match(r"Merge pull request (#\d+)", title)
            first = next((line for line in body.splitlines() if line.strip()), "")
            yield (
                Merged(f"{first} ({number[1]})" if number and first else title, commit, parents.split()[0]),
                parents.split(),
            )


def would_have(root: Path, changes: tuple[Merged, ...], policy_text: str, declared: str = "") -> tuple[WouldHave, ...]:
    """Return what each change would have got by this policy; ``declared`` is what ``dvc.yaml`` lacked for it."""
    found = []
    out_of_reach = ""
    for change in changes:
        if out_of_reach:
            found.append(WouldHave(change, "unknown", out_of_reach))
            continue
        try:
            found.append(_judged(root, change, policy_text, declared))
        except DvcError as error:
            out_of_reach = str(error)
            found.append(WouldHave(change, "unknown", out_of_reach))
        except LockgateError as error:
            found.append(WouldHave(change, "unknown", str(error)))
    return tuple(found)


def _judged(root: Path, change: Merged, policy_text: str, declared: str) -> WouldHave:
    base, head = (_with(Commit(root, sha[:10], sha), policy_text, declared) for sha in (change.into, change.commit))
    result = several.build(root, base, head)
    metrics = [metric for one in result.each for metric in one.metrics]
    if not metrics:
        return WouldHave(change, result.verdict.outcome, result.verdict.reason)
    if all(metric.head is None for metric in metrics):
        notes = [metric.note for metric in metrics if metric.note]
        return WouldHave(change, "unknown", notes[0] if notes else "it recorded no metric")
    if all(metric.base is None for metric in metrics):
        return WouldHave(change, "unknown", "the commit before it recorded no metric to compare with")
    failing = [gate for one in result.each for gate in one.gates if not gate.passed]
    if failing and all(gate.reason.startswith("cannot be") for gate in failing):
        return WouldHave(change, "unknown", f"{failing[0].rule}: {failing[0].reason}")
    return WouldHave(change, result.verdict.outcome, result.verdict.reason)


def _with(commit: Commit, policy_text: str, declared: str) -> Overlay:
    """Return the commit as it would be with the proposal."""
    added = {policy.FILE: policy_text.encode()}
    pipeline = commit.read("dvc.yaml")
    if declared and pipeline is not None and b"artifacts:" not in pipeline:
        added["dvc.yaml"] = pipeline.rstrip(b"\n") + b"\n" + declared.lstrip("\r\n").encode()
    return Overlay(commit, added)


def margins(root: Path, tip: str, policy_text: str, file: str, model: str | None = None) -> dict[str, float]:
    """Return the margin of each metric that an equally good model keeps four times in five on these test rows.

    It is measured with the newest commits whose predictions (in ``file``) differ from those of ``tip``: where two
    models give a metric the same value to the last row, the pair says nothing. Empty where none can be had.
    """
    found: dict[str, float] = {}
    head = _with(Commit(root, tip[:10], tip), policy_text, "")
    try:
        now = read_state(head)
        seen = {_digest(now, file)}
        for change, _ in _first_parents(root, tip):
            base = _with(Commit(root, change.into[:10], change.into), policy_text, "")
            digest = _digest(read_state(base), file)
            if digest is None or len(seen) > PAIRS:
                break
            if digest in seen:
                continue
            seen.add(digest)
            for metric in report.build(root, base, head, model=model).metrics:
                least = smallest_shown(metric)
                if least is not None:
                    found.setdefault(metric.name, least)
            if found:
                break
    except LockgateError:
        return found
    return found


PAIRS = 5
"""Older models that are compared with today's, at most."""


def _digest(state: State, file: str) -> str | None:
    record = state.pipeline.recorded(state.lock, file)
    return record.digest if record else None
