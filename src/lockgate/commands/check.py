"""``lockgate check``: ask the gates alone. Exit code 0: all hold; 1: one does not; 3: stages have yet to run."""

import argparse
import sys
from dataclasses import asdict

from lockgate import git
from lockgate.dvc.pipeline import State, read_state
from lockgate.dvc.plan import StagePlan, describe
from lockgate.dvc.scopes import Scope, has_several, scoped, scopes
from lockgate.envelope import envelope
from lockgate.errors import NOT_ASKED, LockgateError
from lockgate.evaluation.changes import LockBehind, pending
from lockgate.evaluation.findings import Findings, find
from lockgate.evaluation.report import add_revisions, base_state, files_of, readable, revisions
from lockgate.result import GateOutcome
from lockgate.waiting import doing

EXAMPLES = """\
examples:
  lockgate check                         do the gates hold in this working tree?
  lockgate check --base main             compared with main
  lockgate check --base HEAD~1 --head HEAD --json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lockgate check``."""
    parser.epilog = EXAMPLES
    add_revisions(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def main(arguments: argparse.Namespace) -> int:
    """Print one line a gate, and one a stage that has yet to run; return 1 if a gate does not hold or head's policy
    cannot be read.

    Raises :class:`~lockgate.evaluation.changes.LockBehind` where they hold, but for what other code has made.
    Raises the error (exit code 3) that kept files from being read, if that is all that keeps the gates from holding.
    """
    root = git.project_root()
    base, head = revisions(root, arguments.base, arguments.head)
    state = read_state(head)
    doing("comparing base and head")
    asked_of = _scopes(base_state(base)[0], state, arguments.model)
    found = [
        (scope.model, find(root, scope.base, scope.head, intervals=not arguments.no_intervals)) for scope in asked_of
    ]
    asked = tuple((name, readable(findings.gates)) for name, findings in found)
    broken = readable(next((one.policies.broken for _, one in found if one.policies.broken), ""))
    names = {stage.name for scope in asked_of for stage in scope.head.pipeline.stages}
    unrun = tuple(one for one in pending(state, files_of(root, head)) if one.name in names or arguments.model is None)
    held = not broken and all(gate.passed for _, gates in asked for gate in gates)
    sys.stdout.write(as_json(asked, broken, unrun) if arguments.json else as_text(asked, broken, unrun))
    if held and unrun:
        raise LockBehind(head.label, unrun)
    if not broken and (unasked := _unasked([findings for _, findings in found])):
        raise unasked
    return 0 if held else 1


def _scopes(base: State | None, head: State, model: str | None) -> tuple[Scope, ...]:
    """Return what is asked: the named model, or every one; without a name where there is one."""
    if model is None and has_several(base.snapshot if base else None, head.snapshot):
        return scopes(base, head).models
    before, after = scoped(base, head, model)
    return (Scope(after.model or "", before, after),)


def _unasked(found: list[Findings]) -> LockgateError | None:
    """Return why the gates that do not hold could not be asked; ``None`` if one was asked and fails, or all hold."""
    reasons = [error for one in found for error in one.missed if error.exit_code == NOT_ASKED]
    failing = [gate for one in found for gate in one.gates if not gate.passed]
    if failing and all(any(str(error) in gate.reason for error in reasons) for gate in failing):
        return reasons[0]
    return None


Asked = tuple[tuple[str, tuple[GateOutcome, ...]], ...]
"""The gates of each model; its name is empty where there is one."""


def as_json(asked: Asked, broken: str, unrun: tuple[StagePlan, ...] = ()) -> str:
    """Return the outcomes as JSON text; ``broken`` is why head's policy cannot be used, if so, ``unrun`` what has yet
    to run: nothing passes then."""
    passed = not broken and not unrun and all(gate.passed for _, gates in asked for gate in gates)
    stages = [{"stage": one.name, "reasons": [describe(reason) for reason in one.reasons]} for one in unrun]
    told = [({"model": name} if name else {}) | asdict(gate) for name, gates in asked for gate in gates]
    content = {"passed": passed, "broken": broken, "gates": told, "pending": stages}
    return envelope("check", content)


def as_text(asked: Asked, broken: str, unrun: tuple[StagePlan, ...] = ()) -> str:
    """Return the outcomes as lines for a terminal, what fails and what has yet to run last."""
    lines = [broken] if broken else []
    every = [(f"{name}: " if name else "", gate) for name, gates in asked for gate in gates]
    for place, gate in sorted(every, key=lambda one: not one[1].passed):
        said = "; ".join(part for part in (gate.measured, gate.reason) if part)
        lines.append(f"{'holds' if gate.passed else 'FAILS'}  {place}{gate.rule}{': ' + said if said else ''}")
    lines = lines or ["The policy has no gates."]
    lines += [f"NOT RUN  {one.name}: {'; '.join(describe(reason) for reason in one.reasons[:3])}" for one in unrun]
    return "\n".join(lines) + "\n"
