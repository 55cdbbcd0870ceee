"""The examples of each ``--help`` are run as they stand, in a project with a model, a policy and two remotes."""

from pathlib import Path

import pytest
from tests.lockgate.evaluation.test_report import Run, project, template  # noqa: F401  fixtures
from tests.lockgate.factory import Project
from tests.lockgate.test_cli import examples_in

from lockgate import cli

RUN: dict[tuple[str, ...], tuple[str, ...]] = {
    ("plan",): (),
    ("run",): (),
    ("report",): ("--seeds",),  # trains five times: held by tests/test_readme.py
    ("check",): (),
    ("setup-git",): (),
    ("render",): (),
    ("rebuild",): (),
    ("ci", "quarantine"): (),
    ("ci", "admit"): ("--prepared",),  # the second half, of another job
}


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN, ids=" ".join)
def test_the_examples_of_a_help_work(
    project: Project,  # noqa: F811
    lockgate: Run,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    with (project.root / ".dvc/config").open("a") as config:
        config.write("['remote \"quarantine\"']\n    url = ../../quarantine\n")
    project.git("checkout", "-q", "-b", "more")
    project.commit("a quarantine")
    Path("result.json").write_text(lockgate("report", "--base", "main", "--format", "json")[1])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main([*command, "--help"])
    examples = examples_in(capsys.readouterr().out)
    assert examples

    for example in examples:
        if not set(example) & set(RUN[command]) and "-" not in example:
            code, _, err = lockgate(*example)
            assert code == 0, f"lockgate {' '.join(example)}: {err}"
