"""The workflows of the tags: who may do what in them, and what their commands do with hostile tags, in a real shell."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.lockgate.conftest import no_configuration_of_this_machine, project, template  # noqa: F401 - fixtures
from tests.lockgate.factory import Project

from lockgate.cli import build_parser

WORKFLOWS = Path(__file__).parents[1] / ".github/workflows"
NAMES = ("release", "promote", "withdraw")
HOSTILE = [
    "$(touch${IFS}pwned)@v1.0.0",
    "`touch${IFS}pwned`@v1.0.0",
    'x";touch${IFS}pwned;"@v1.0.0',
    "${{github.token}}@v1.0.0",
    "<img/src=x>@v1.0.0",
    "x@v1.0.0-$(touch${IFS}pwned)",
    "x@v1.0.0\u202e",
    "x$(touch${IFS}pwned)#production#1",
    "-x@v1.0.0",
    "x$(touch${IFS}pwned)@v1.0.0!",
    "x$(touch${IFS}pwned)#production!#1",
]


def jobs(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text())["jobs"]
    return found


def commands(name: str) -> list[tuple[str, str]]:
    """Return the job and the command line of every step that runs lockgate."""
    steps = [(job, step) for job, told in jobs(name).items() for step in told["steps"]]
    return [(job, step["run"]) for job, step in steps if "lockgate" in step.get("run", "")]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_the_workflow_is_one_that_the_command_line_knows(name: str) -> None:
    for _, line in commands(name):
        program, *words = shlex.split(line)
        assert program == "lockgate"
        assert build_parser(words[0]).parse_args(words).command == name


def test_where_the_models_code_runs_there_is_no_identity_and_no_right_to_write() -> None:
    [(job, _)] = [(job, line) for job, line in commands("release") if "--prepare " in line]
    assert jobs("release")[job]["permissions"] == {"contents": "read"}


@pytest.mark.parametrize("name", NAMES)
def test_an_identity_is_given_only_in_a_protected_environment_that_runs_none_of_the_models_code(name: str) -> None:
    lines = dict(commands(name))
    for job, told in jobs(name).items():
        if "id-token" in told["permissions"]:
            assert told["environment"]
            assert told["permissions"] == {"contents": "read", "id-token": "write"}
            assert "--identity" in lines[job]
            assert name in {"promote", "withdraw"} or "--prepared " in lines[job]


@pytest.mark.parametrize("name", NAMES)
def test_no_value_of_the_event_is_put_into_a_command(name: str) -> None:
    told = yaml.safe_load((WORKFLOWS / f"{name}.yml").read_text())
    assert told["permissions"] == {}
    assert [step["run"] for job in jobs(name).values() for step in job["steps"] if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("tag", HOSTILE)
def test_a_tag_with_a_hostile_name_does_nothing(project: Project, tag: str, tmp_path: Path) -> None:  # noqa: F811
    project.commit()
    subprocess.run(["git", "update-ref", f"refs/tags/{tag}", "HEAD"], cwd=project.root, check=False)
    before = {path for path in project.root.rglob("*") if ".git/" not in str(path)}
    summary = tmp_path / "summary.md"
    variables = {
        "TAG": tag,
        "GITHUB_STEP_SUMMARY": str(summary),
        "IDENTITY": "repository=https://example.org/x,workflow=a.yml,ref=tags",
    }
    program = str(Path(sys.executable).parent)
    for _, line in commands("promote" if "#" in tag else "withdraw" if tag.endswith("!") else "release"):
        done = subprocess.run(
            ["bash", "-e", "-c", line],
            cwd=project.root,
            env={**variables, "PATH": f"{program}:/usr/bin:/bin", "HOME": str(tmp_path), "LOCKGATE_STORE": "store"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (1, 2), done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert {path for path in project.root.rglob("*") if ".git/" not in str(path)} == before
    assert "<img" not in (summary.read_text() if summary.exists() else "")
