"""What a stage's command sees, asked from inside real stages that DVC runs."""

import inspect
import json
import sys
from pathlib import Path

import pytest
from tests.lockgate.factory import Project

from lockgate.dvc.stages import PASSED, PROXIES, Sandbox, StagesRun, run_stages


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "work" / "project")


def asked(project: Project, program: str, sandbox: Sandbox | None = None) -> tuple[StagesRun, dict[str, object]]:
    """Have a stage run a Python program that puts what it finds into ``found``; return that."""
    project.write("ask.py", f"import json, os\nfound = {{}}\n{program}\njson.dump(found, open('found.json', 'w'))\n")
    project.stage("ask", cmd="python ask.py", outs=["found.json"])
    printed: list[str] = []
    done = run_stages(project.root, ["ask"], sandbox=sandbox or Sandbox(), on_output=printed.append)
    assert done.ok, "\n".join(printed)
    return done, json.loads(project.read("found.json"))


def test_a_stage_does_not_see_the_variables_of_whoever_runs_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "confidential")
    monkeypatch.setenv("GITHUB_TOKEN", "confidential")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")

    _, found = asked(project, "found.update(os.environ)")

    assert "confidential" not in found.values()
    assert found["LC_ALL"] == "C.UTF-8"
    assert found["DVC_STAGE"] == "ask"
    added = {"DVC_ROOT", "DVC_STAGE", "HOME", "PATH", "PYTHONUNBUFFERED"}
    assert found.keys() <= {*added, *PASSED, *PROXIES, "PWD", "OLDPWD", "SHLVL", "_"}


def test_a_stage_sees_the_variables_that_are_named_for_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAREHOUSE", "here")

    assert asked(project, "found['it'] = os.environ.get('WAREHOUSE')")[1] == {"it": None}
    assert asked(project, "found['it'] = os.environ.get('WAREHOUSE')", Sandbox(passed=("WAREHOUSE",)))[1] == {
        "it": "here"
    }


def test_the_home_of_a_stage_is_empty_and_can_be_written_to(project: Project) -> None:
    _, found = asked(
        project,
        "home = os.path.expanduser('~')\nfound['files'] = os.listdir(home)\nopen(home + '/x', 'w').write('1')\n"
        "found['home'] = home",
    )

    assert found["files"] == []
    assert not Path(str(found["home"])).exists(), "it is gone afterwards"


def test_the_python_of_the_dependencies_comes_first(project: Project, tmp_path: Path) -> None:
    other = tmp_path / "other" / "bin"
    other.mkdir(parents=True)
    (other / "python").write_text(f'#!/bin/sh\nMARK=other exec "{sys.executable}" "$@"\n')
    (other / "python").chmod(0o755)

    _, found = asked(
        project, "found['it'] = os.environ.get('MARK')", Sandbox(dependencies=other.parent, passed=("MARK",))
    )

    assert found["it"] == "other"
    assert asked(project, "found['it'] = os.environ.get('MARK')")[1] == {"it": None}


def test_the_private_door_of_dvc_through_which_a_command_is_run_is_as_we_know_it() -> None:
    from dvc.stage import run

    parameters = inspect.signature(run._run).parameters
    assert [(name, item.kind.name) for name, item in parameters.items()] == [
        ("executable", "POSITIONAL_OR_KEYWORD"),
        ("cmd", "POSITIONAL_OR_KEYWORD"),
        ("kwargs", "VAR_KEYWORD"),
    ]
    assert "_run(executable, cmd, **kwargs)" in inspect.getsource(run.cmd_run)
    assert inspect.getsource(run).count("subprocess.Popen(") == 1
