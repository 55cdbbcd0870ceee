import importlib
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.lockgate.factory import Project

import lockgate as lockgate_package
from lockgate import __version__, cli
from lockgate.commands.completion import SHELLS
from lockgate.errors import DONE, NO, NOT_ASKED, USAGE, LockgateError, causes

Lockgate = Callable[..., tuple[int, str, str]]
SOURCE = str(Path(cli.__file__).parents[1])
ROOT = Path(__file__).parents[2]


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
    """Of the processor's time: how long it has to wait for a processor is the machine's affair."""

    def once() -> float:
        command = [sys.executable, "-m", "lockgate", "--help"]
        environment = {**os.environ, "PYTHONPATH": SOURCE}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, process.communicate()[1]
        return used.ru_utime + used.ru_stime

    assert min(once() for _ in range(5)) <= 0.2


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


EVERY = [*((name,) for name in cli.COMMANDS), *(("ci", name) for name in cli.CI)]


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit):
        cli.main([*command, "--help"])
    return capsys.readouterr().out


def examples_in(text: str) -> list[list[str]]:
    """Return the examples of a help as arguments of ``lockgate``, without comments, pipes and redirections."""
    block = text.partition("examples:\n")[2].partition("\n\n")[0].replace("\\\n", "")
    lines = [re.split(r"\s{2,}| \| | > ", line.strip())[0] for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("lockgate ")]


@pytest.mark.parametrize("command", EVERY, ids=" ".join)
def test_every_help_has_examples_that_its_own_parser_accepts(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    examples = examples_in(help_of(capsys, *command))

    assert examples
    modules = {cli.build_parser(*example[:2]).parse_args(example).module for example in examples}
    assert cli.COMMANDS[command[-1]][0] in modules


def test_without_a_command_the_overview_is_shown_by_who_uses_what(lockgate: Lockgate) -> None:
    code, out, err = lockgate()

    assert (code, err) == (0, "")
    for name, (_, summary) in cli.COMMANDS.items():
        assert len(re.findall(rf"^  {name} +{re.escape(summary)}$", out, re.MULTILINE)) == 1
    titles = [*cli.GROUPS, "shell", "workflows (lockgate ci COMMAND)"]
    assert [line for line in out.splitlines() if line.rstrip(":") in titles] == [f"{title}:" for title in titles]
    assert max(map(len, out.splitlines())) <= 110


@pytest.mark.parametrize("name", cli.CI)
def test_what_workflows_call_is_the_same_command_under_its_old_name(name: str) -> None:
    old, new = cli.build_parser(name), cli.build_parser("ci", name)
    words = {
        "pull-request": ["--base", "main", "--into", "out"],
        "merge-lock": ["base", "ours", "theirs"],
    }.get(name, ["--dry-run"])

    one, other = vars(old.parse_args([name, *words])), vars(new.parse_args(["ci", name, *words]))

    assert {k: v for k, v in one.items() if k not in ("command", "parser")} == {
        k: v for k, v in other.items() if k not in ("command", "ci_command", "parser")
    }


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["paln"], "plan"),
        (["relase", "delay@v1.0.0"], "release"),
        (["ci", "admitt"], "admit"),
        (["--verbose", "chekc"], "check"),
        (["plan", "--bse", "main"], "--base"),
        (["ci", "admit", "--dryrun"], "--dry-run"),
        (["report", "--format", "htm"], "html"),
        (["completion", "bsh"], "bash"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest_one(lockgate: Lockgate, arguments: list[str], meant: str) -> None:
    code, out, err = lockgate(*arguments)

    assert (code, out) == (2, "")
    assert f"Did you mean '{meant}'?" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["zzz"],
        ["plan", "--base"],
        ["plan", "--js"],
        ["run", "extra"],
        ["ci"],
        ["ci", "plan"],
        ["render"],
    ],
)
def test_wrong_usage_is_exit_code_2_and_points_to_the_help(lockgate: Lockgate, arguments: list[str]) -> None:
    code, out, err = lockgate(*arguments)

    assert (code, out) == (2, "")
    assert "--help`" in err


def test_what_cannot_be_asked_is_exit_code_3_in_two_lines_without_a_traceback(
    lockgate: Lockgate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    code, out, err = lockgate("plan")

    assert (code, out) == (3, "")
    assert len(err.splitlines()) == 2
    assert str(tmp_path.resolve()) in err


def test_verbose_adds_the_chain_of_causes_with_the_place_of_each(lockgate: Lockgate, tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere.json")

    code, _, brief = lockgate("render", missing)
    again, _, full = lockgate("render", missing, "--verbose")

    assert code == again == 3
    assert full.startswith(brief)
    raised, caused = full.removeprefix(brief).splitlines()
    assert re.fullmatch(r"  raised lockgate\.errors\.NotAskedError, at .*render\.py:\d+", raised)
    assert re.fullmatch(r"  caused by FileNotFoundError: .*nowhere\.json.*, at .*:\d+", caused)


def test_a_cause_that_was_hidden_on_purpose_stays_hidden_with_verbose() -> None:
    def fail() -> None:
        try:
            int("secret")
        except ValueError:
            raise LockgateError("fact") from None

    with pytest.raises(LockgateError) as raised:
        fail()

    assert causes(raised.value) == []


def test_an_output_that_nobody_reads_to_its_end_is_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m lockgate completion zsh | true; echo ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": SOURCE},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr == ""
    assert done.stdout == f"{cli.CLOSED}\n"


SITUATIONS: dict[str, tuple[list[str], int]] = {
    "nothing to do": (["run"], 0),
    "a release that is not there": (["show", "v1.0.0", "--store", "nowhere", "--public-key", "lockgate.pub"], 3),
    "an unknown revision": (["report", "--base", "nowhere"], 3),
    "a file that cannot be read": (["render", "nowhere.json"], 3),
    "a file that is not a result": (["render", "dvc.yaml"], 1),
    "a policy without a model": (["check"], 1),
    "a remote that is not declared": (["ci", "quarantine", "--remote", "nowhere"], 3),
    "an option that does not exist": (["plan", "--pull"], 2),
    "a version where an environment is meant": (["history", "v1.0.0"], 2),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_exit_code_tells_no_from_could_not_be_asked(situation: str, ran: Project, lockgate: Lockgate) -> None:
    arguments, expected = SITUATIONS[situation]
    if "policy" in situation:
        ran.write("lockgate.yaml", "metrics: {}")

    code, _, err = lockgate(*arguments)

    assert code == expected, err
    assert ("lockgate: " in err) is (expected != 0)


def subclasses(error: type[LockgateError]) -> Iterator[type[LockgateError]]:
    for one in error.__subclasses__():
        yield one
        yield from subclasses(one)


def test_every_error_has_one_of_the_documented_exit_codes() -> None:
    for module in pkgutil.walk_packages(lockgate_package.__path__, "lockgate."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    page = (ROOT / "docs" / "exit-codes.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| (\d) \|", page, re.MULTILINE)}

    assert documented == {DONE, NO, USAGE, NOT_ASKED} == {0, 1, 2, 3}
    assert {error.exit_code for error in subclasses(LockgateError)} == {NO, USAGE, NOT_ASKED}


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("lockgate pl", "plan"), ("lockgate ci ad", "admit"), ("lockgate report --for", "--format"),
     ("lockgate report --format ht", "html")],
)  # fmt: skip
def test_bash_completes_commands_options_and_choices(typed: str, offered: str, lockgate: Lockgate) -> None:
    _, script, _ = lockgate("completion", "bash")
    words = " ".join(f"'{word}'" for word in typed.split())
    ask = f"COMP_WORDS=({words}); COMP_CWORD={len(typed.split()) - 1}; _shtab_lockgate; echo ${{COMPREPLY[@]}}"

    done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], capture_output=True, text=True, check=True)

    assert done.stdout.split() == [offered]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_completion_of_each_shell_knows_every_command_and_its_options(lockgate: Lockgate, shell: str) -> None:
    code, script, _ = lockgate("completion", shell)

    assert code == 0
    for word in [*cli.COMMANDS, "ci", "seeds", "private-key"]:
        assert word in script


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
