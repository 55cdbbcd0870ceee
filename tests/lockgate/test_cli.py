import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.lockgate.factory import Project

from lockgate import __version__, cli

Lockgate = Callable[..., tuple[int, str, str]]
SOURCE = str(Path(cli.__file__).parents[1])


def modules_after(folder: Path, *arguments: str) -> set[str]:
    """Return the modules that a command has imported when it is done."""
    program = (
        "import sys; from lockgate.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print('\\n'.join(['modules:', *sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": SOURCE},
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.partition("modules:\n")[2].split())


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    heavy = {"numpy", "pyarrow", "pydantic", "dvc", "obstore", "ruamel", "yaml", "lockgate.dvc", "subprocess"}

    assert not modules_after(tmp_path, "--help") & heavy


def test_a_plan_needs_no_repository_of_dvc_and_no_number_cruncher(ran: Project) -> None:
    heavy = {"numpy", "pyarrow", "pydantic", "dvc.repo", "dvc.fs", "networkx", "lockgate.report"}

    assert not modules_after(ran.root, "plan") & heavy


def test_help_answers_in_a_fifth_of_a_second() -> None:
    def once() -> float:
        started = time.perf_counter()
        command = [sys.executable, "-m", "lockgate", "--help"]
        subprocess.run(command, env={**os.environ, "PYTHONPATH": SOURCE}, check=True, capture_output=True)
        return time.perf_counter() - started

    assert min(once() for _ in range(15)) <= 0.2


@pytest.mark.parametrize("command", list(cli.COMMANDS))
def test_every_command_says_what_it_is_for(
    lockgate: Lockgate, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit) as left:
        lockgate(command, "--help")

    out = capsys.readouterr().out
    assert left.value.code == 0
    assert out.startswith(f"usage: lockgate {command}")
    summary = cli.COMMANDS[command][1]
    assert summary[1:].split(":")[0] in out


@pytest.mark.parametrize("command", ["plan", "run", "report"])
def test_the_daily_commands_come_with_examples(
    lockgate: Lockgate, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit):
        lockgate(command, "--help")

    examples = capsys.readouterr().out.partition("examples:\n")[2]
    assert examples.count(f"  lockgate {command}") >= 3


def test_without_a_command_the_overview_is_shown(lockgate: Lockgate) -> None:
    code, out, err = lockgate()

    assert (code, err) == (0, "")
    for name, (_, summary) in cli.COMMANDS.items():
        assert name in out
        assert summary.split()[0] in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["paln"], "invalid choice: 'paln'"),
        (["plan", "--bse", "main"], "unrecognized arguments: --bse main"),
        (["plan", "--base"], "argument --base: expected one argument"),
        (["run", "extra"], "unrecognized arguments: extra"),
        (["plan", "--js"], "unrecognized arguments: --js"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_points_to_the_help(lockgate: Lockgate, arguments: list[str], said: str) -> None:
    code, out, err = lockgate(*arguments)

    assert (code, out) == (2, "")
    assert said in err
    assert "--help` shows how it is used" in err


def test_an_expected_failure_is_exit_code_1_in_two_lines_without_a_traceback(
    lockgate: Lockgate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    code, out, err = lockgate("plan")

    assert (code, out) == (1, "")
    assert err.splitlines()[0] == f"lockgate: {tmp_path.resolve()} is not inside a git repository"
    assert err.splitlines()[1].startswith("  Go to your repository")


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])

    assert capsys.readouterr().out == f"lockgate {__version__}\n"


def test_the_module_is_the_console_script(ran: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lockgate", "plan"],
        cwd=ran.root / "src",
        env={**os.environ, "PYTHONPATH": SOURCE},
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout == "Nothing to run: all 4 stages are as dvc.lock has them.\n"
