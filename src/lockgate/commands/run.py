"""``lockgate run``: run the stages that changed, then show the result.

With ``--base`` it starts from that revision's locks, as a pull request's check does: the author's own lock is kept
aside and compared with what came out. It is put back if the run does not end well, by the next run if need be.
"""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

from lockgate.dvc.plan import as_json, as_text
from lockgate.dvc.stages import DvcProcess, stoppable
from lockgate.errors import NotAskedError
from lockgate.evaluation.report import add_model
from lockgate.evaluation.run import Interrupted, Planned, StageFailed, alone, has_policy, of_model, put_back, run
from lockgate.files import write_whole
from lockgate.formatting import count, size
from lockgate.git import Workspace, project_root
from lockgate.policy import FILE as POLICY
from lockgate.rendering.escape import visible
from lockgate.result import AnyResult, Execution

EXAMPLES = """\
examples:
  lockgate run                                   run what changed here, then show the result
  lockgate run --dry-run                         only say what would run: `lockgate plan`
  lockgate run --complete                        also bring every output here: pull it, or run its stage
  lockgate run --base main --output result.json  as a pull request's check does: start from main's dvc.lock

Stopped or failed, it can be started again: stages that are done do not run twice.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``lockgate run``."""
    parser.epilog = EXAMPLES
    parser.add_argument("--base", metavar="REV", help="start from this revision's dvc.lock and compare with it")
    parser.add_argument(
        "--complete",
        action="store_true",
        help="bring every output here: pull what is missing, run the stages whose outputs the remote lacks",
    )
    add_model(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would run and why, run nothing")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of text")
    parser.add_argument("--output", metavar="FILE", type=Path, help="also write the result to FILE, as JSON")


def main(arguments: argparse.Namespace) -> int:
    """Run, then show the result. Exit code 1 (an error) if a stage failed or the run was stopped."""
    root = project_root()
    if arguments.dry_run:
        with alone(root):
            put_back(root)
            planned = Planned.of(root, arguments.base)
            plans = of_model(root, arguments.base, arguments.model, planned.plans)
        from_ = planned.base or Workspace(root)
        sys.stdout.write(as_json(plans, from_) if arguments.json else as_text(plans))
        return 0
    if (arguments.json or arguments.output) and not has_policy(root, arguments.base):
        raise NotAskedError(
            f"there is no {POLICY}, so there is no result to write",
            f"Add a {POLICY}, or run `lockgate run` without --json and --output.",
        )
    with stoppable(Interrupted(None, "")), DvcProcess(root) as dvc:
        try:
            result, execution = run(root, arguments.base, dvc, complete=arguments.complete, model=arguments.model)
        except StageFailed as failure:
            if failure.result and (arguments.json or arguments.output):
                _show(failure.result, arguments)
            else:
                sys.stdout.write(as_summary(failure.execution))
            raise
        if result:
            _show(result, arguments)
        else:
            sys.stdout.write(as_summary(execution))
            sys.stderr.write(
                f"There is no {POLICY}: with one that names your metrics, this ends with a report on them.\n"
            )
    return 0


def as_summary(execution: Execution) -> str:
    """Return what each stage did, for a project without a policy."""
    words = {"ran": "ran", "restored": "taken from the run cache", "untouched": "up to date"}
    width = max((len(run.name) for run in execution.stages), default=0)
    lines = [
        f"{run.name:{width}}  {words.get(run.status, run.status)}"
        + (f"  {run.seconds:.1f} s" if run.status in ("ran", "restored", "failed") else "")
        + (f"  {size(run.pulled)} pulled" if run.pulled else "")
        for run in execution.stages
    ]
    total = f"{execution.seconds:.1f} s, {size(execution.pulled)} of {size(execution.tracked)} pulled"
    return "\n".join([*lines, total]) + "\n"


FAILING = 5
"""Gates that do not hold, of a run that changed nothing, which are named before the report has to be asked for."""


def as_brief(result: AnyResult, execution: Execution) -> str:
    """Return what to say of a run that changed nothing: that, the verdict, and where the report is."""
    number = Counter(str(stage.status) for stage in execution.stages)
    did = ", ".join(f"{number[status]} {words}" for status, words in _DID.items() if number[status])
    base = f"nothing differs from {visible(result.base.label)}" if _is_same(result) and result.base else ""
    lines = [
        f"{count(len(execution.stages), 'stage')}: {did}{'; ' + base if base else ''}",
        f"{result.verdict.outcome}: {visible(result.verdict.reason)}",
    ]
    failing = [gate for one in result.each for gate in one.gates if not gate.passed]
    lines += [f"  FAILS  {visible(gate.rule)}: {visible(gate.measured or gate.reason)}" for gate in failing[:FAILING]]
    return "\n".join([*lines, "`lockgate report` shows the metrics, gates, data checks and slices."]) + "\n"


_DID = {"ran": "ran", "restored": "taken from the run cache", "untouched": "up to date"}


def _changed_nothing(result: AnyResult) -> bool:
    """Say whether a run was not needed, or came to what the base has, so that its report would show no change."""
    if result.execution is None or result.execution.failed_stage:
        return False
    return _is_same(result) or all(stage.status == "untouched" for stage in result.execution.stages)


def _is_same(result: AnyResult) -> bool:
    stages = all(stage.status == "same" for stage in result.stages)
    return result.base is not None and stages and not any(one.params or one.files for one in result.each)


def _show(result: AnyResult, arguments: argparse.Namespace) -> None:
    from lockgate.rendering.render import render

    if arguments.output:
        write_whole(arguments.output, result.to_json())
    if result.execution and not arguments.json and not arguments.output and _changed_nothing(result):
        sys.stdout.write(as_brief(result, result.execution))
        return
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    sys.stdout.write(render(result, "json" if arguments.json else "text", color=color))
    if arguments.output:
        sys.stderr.write(f"wrote {arguments.output}\n")
