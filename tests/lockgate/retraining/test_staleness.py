"""The staleness curve on a project whose world changes in November: real DVC, models kept in its cache."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.lockgate import monthly
from tests.lockgate.factory import Project, working_in_a_copy

from lockgate.cli import main

# the month that a model is trained on, while every one is tested on December
DATA = monthly.DATA.replace("rows(month - 1)", "rows(month - age)").replace(
    "month = int(through[5:])", 'month = int(through[5:])\nage = yaml.safe_load(open("params.yaml"))["data"]["age"]'
)
STALENESS = "staleness: {parameter: data.age, ages: [1, 2, 3], set: {data.through: 2013-12}, unit: month}\n"


@pytest.fixture(scope="module")
def aging(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aging")
    with working_in_a_copy(template, folder) as project, pytest.MonkeyPatch.context() as patch:
        patch.setattr(monthly, "DATA", DATA)
        patch.setattr(monthly, "POLICY", monthly.POLICY + STALENESS)
        patch.setattr(monthly, "PARAMS", "data:\n  through: 2013-10\n  age: 1\n")
        monthly.make(project)
    return folder


@pytest.fixture
def project(aging: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    shutil.copytree(aging, tmp_path / "world", symlinks=True)
    monkeypatch.chdir(tmp_path / "world/project")
    return Project(tmp_path / "world/project")


def curve(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["staleness", "--json", *arguments]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_models_of_each_age_are_compared_with_the_freshest_on_the_same_month_and_kept(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    told = curve(capsys, "--jobs", "2")
    loss = {one["steps"]: next(m for m in one["metrics"] if m["name"] == "log_loss") for one in told["aged"]}
    # trained on November (slope 0.5, as December has), then on October and September (slope 2)
    assert sorted(loss) == [1, 2]
    assert all(one["judgement"] == "worse" and one["low"] > 0 for one in loss.values())
    assert {one["rows"] for one in told["aged"]} == {4000}
    assert (told["suggested"], told["margin"]) == (1, 0.0)
    assert [one["known"] for one in told["models"]] == [False] * 3
    assert project.git("status", "--porcelain") == ""

    again = curve(capsys)
    assert [one["known"] for one in again["models"]] == [True] * 3
    assert again["aged"] == told["aged"]

    project.write("train.py", monthly.TRAIN + "# another way to train\n")
    project.commit("another way")
    assert [one["known"] for one in curve(capsys)["models"]] == [False] * 3


def test_an_age_that_cannot_be_made_is_told_with_the_end_of_its_log_and_what_is_done_is_kept(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("lockgate.yaml", (monthly.POLICY + STALENESS).replace("[1, 2, 3]", "[1, 9]"))
    project.commit("a model of March")
    assert main(["staleness"]) == 3
    said = capsys.readouterr().err
    assert "stage 'data' failed with data.age = 9" in said
    assert "KeyError" in said


def test_without_a_word_in_the_policy_it_says_what_to_write(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    project.write("lockgate.yaml", monthly.POLICY)
    project.commit("no ages")
    assert main(["staleness"]) == 3
    assert "staleness: {parameter:" in capsys.readouterr().err
