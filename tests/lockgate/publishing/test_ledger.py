"""The ledger of looks: what counts, what does not, two jobs at once, and a ledger that somebody tampered with."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.e2e.forge import git as run_git
from tests.lockgate import modelled, samples
from tests.lockgate.publishing.conftest import REPOSITORY, Scene

from lockgate import git
from lockgate.cli import main
from lockgate.dvc.pipeline import read_state
from lockgate.forge.github import GitHub
from lockgate.policy import TestSet
from lockgate.publishing.comment import Told
from lockgate.publishing.ledger import BRANCH, Ledger, LedgerError, Look, LookAt, read, shortened
from lockgate.publishing.publish import Publisher, Target
from lockgate.result import Looks, read_result

SET, OTHER = "a" * 32, "b" * 32


def look(number: int, test_set: str = SET, **other: object) -> Look:
    """The look of a change: its own commit and its own predictions."""
    told = Look("delay", test_set, "0" * 40, f"{number:040x}", "f" * 32, f"{number:032x}")
    return replace(told, **other)  # type: ignore[arg-type]


@pytest.fixture
def clones(tmp_path: Path) -> tuple[Path, Path]:
    """Two clones of one bare origin, with a project in each."""
    first = tmp_path / "first"
    for command in (
        ["git", "init", "-q", "--bare", "-b", "main", str(tmp_path / "origin.git")],
        ["git", "init", "-q", "-b", "main", str(first)],
        ["git", "-C", str(first), "remote", "add", "origin", str(tmp_path / "origin.git")],
        ["git", "-C", str(first), "commit", "-q", "--allow-empty", "-m", "begin"],
        ["git", "-C", str(first), "push", "-q", "origin", "main"],
        ["git", "clone", "-q", str(tmp_path / "origin.git"), str(tmp_path / "second")],
    ):
        subprocess.run(command, check=True)
    for name in ("first", "second"):
        (tmp_path / name / ".dvc").mkdir()
    return first, tmp_path / "second"


def tip(clone: Path) -> str:
    found = Ledger(clone, {}).tip()
    assert found
    return found


def test_each_change_that_is_published_is_one_look_and_nothing_else_is(clones: tuple[Path, Path]) -> None:
    ledger = Ledger(clones[0], {})
    assert ledger.tip() is None
    assert ledger.record(look(1), write=False) == 1
    assert ledger.tip() is None

    assert ledger.record(look(1)) == 1
    assert ledger.record(look(1)) == 1  # published again, as after a restart
    assert ledger.record(look(1, head="e" * 40, base="d" * 40)) == 1  # the same predictions on another commit
    assert ledger.record(look(2)) == 2
    assert ledger.record(look(3, model="other")) == 1  # what another model is told says nothing of this one
    assert ledger.record(look(4, OTHER)) == 1  # the test set was refreshed
    assert ledger.record(look(1)) == 1

    kept = read(clones[1], tip(clones[1]), SET)
    assert [(one.model, one.number, one.head_predictions[-1]) for one in kept] == [
        ("delay", 1, "1"), ("delay", 2, "2"), ("other", 1, "3"),
    ]  # fmt: skip
    assert all(one.time.endswith("Z") for one in kept)
    assert shortened(clones[1], tip(clones[1])) == ()
    assert git.git(clones[0], "status", "--porcelain", "-uno") == ""  # nothing of the clone is touched


def test_two_jobs_at_once_lose_no_look_and_give_no_number_twice(clones: tuple[Path, Path]) -> None:
    with ThreadPoolExecutor(2) as pool:
        numbers = list(pool.map(lambda number: Ledger(clones[number % 2], {}).record(look(number)), range(6)))

    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    assert sorted(one.number for one in read(clones[0], tip(clones[0]), SET)) == [1, 2, 3, 4, 5, 6]


def write(clone: Path, content: bytes) -> None:
    made = git.commit_on(
        clone, git.remote_tip(clone, BRANCH, {}), {f"looks/{SET}.jsonl": content}, "by hand", ("a", "b")
    )
    git.git(clone, "push", "-q", "-f", "origin", f"{made}:refs/heads/{BRANCH}")


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"{",
        b"\xff",
        b"null",
        look(1).line().replace(b'"number": 0', b'"number": "1"'),
        look(1).line().replace(b'"delay"', b"7"),
        look(1).line().replace(b"look/1", b"look/9"),
        look(1).line().replace(b'"time"', b'"hour"'),
    ],
)
def test_a_ledger_that_cannot_be_read_is_said_and_not_begun_anew(clones: tuple[Path, Path], line: bytes) -> None:
    write(clones[0], line + b"\n")
    before = tip(clones[0])

    with pytest.raises(LedgerError, match=BRANCH):
        Ledger(clones[0], {}).record(look(2))
    assert tip(clones[0]) == before


def test_without_the_right_to_push_a_look_is_not_counted_and_that_is_said(clones: tuple[Path, Path]) -> None:
    hook = clones[0].parent / "origin.git/hooks/pre-receive"
    hook.write_text("#!/bin/sh\necho this branch is protected >&2\nexit 1\n")
    hook.chmod(0o755)

    with pytest.raises(LedgerError, match="protected"):
        Ledger(clones[0], {}).record(look(1))


def test_the_command_shows_the_ledger_and_says_where_it_was_shortened(
    clones: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(clones[1])
    assert main(["looks"]) == 0
    assert "No look was counted yet" in capsys.readouterr().out
    for number in (1, 2):
        Ledger(clones[0], {}).record(look(number, pull_request=7))
    (clones[1] / "lockgate.yaml").write_text(f"{modelled.POLICY}test_set: {{looks: 20}}\n")

    assert main(["looks"]) == 0
    assert f"{SET[:12]}  delay  2 of 20" in capsys.readouterr().out
    assert main(["looks", "aaaa"]) == 0
    assert "#7" in capsys.readouterr().out
    assert main(["looks", "ffff"]) == 2
    capsys.readouterr()
    assert main(["looks", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["removed_by"]) == ("lockgate.looks/1", [])
    assert (told["test_sets"][0]["looks"], told["test_sets"][0]["planned"]) == (2, 20)

    write(clones[0], look(2).line())
    assert main(["looks"]) == 1
    assert "removed looks" in capsys.readouterr().err


# --- where a verdict is published


def ledger_of(scene: Scene) -> list[dict[str, object]]:
    bare = scene.forge.repository(REPOSITORY)
    names = run_git(bare, "ls-tree", "-r", "--name-only", BRANCH).split()
    files = [name for name in names if name.endswith(".jsonl")]
    return [json.loads(line) for name in files for line in run_git(bare, "show", f"{BRANCH}:{name}").splitlines()]


def test_publishing_takes_a_look_once_and_the_comment_says_which(scene: Scene) -> None:
    number = scene.propose()
    for _ in range(2):
        scene.publish(scene.run(scene.honest), apart=False)
        (comment,) = [one["body"] for one in scene.forge.comments[number]]
        assert "Look 1 at this test set." in comment

    (kept,) = ledger_of(scene)
    assert (kept["head"], kept["base"], kept["pull_request"], kept["number"]) == (scene.head, scene.main, number, 1)
    assert kept["test_set"] == read_result(scene.honest["result.json"]).comparison.test_set


def test_a_run_that_counts_its_own_looks_is_not_believed(scene: Scene) -> None:
    forged = replace(read_result(scene.honest["result.json"]), looks=Looks(1, 50))

    status, comment = scene.answer({**scene.honest, "result.json": forged.to_json().encode()})

    assert status == "error"
    assert "how often the test set was looked at" in comment


def test_the_look_after_the_last_one_makes_a_verdict_provisional(scene: Scene) -> None:
    head = git.Commit(scene.hub, "change", scene.head)
    git.fetch(scene.hub, scene.head, {})
    policy = replace(modelled.policy(), test_set=TestSet(looks=1, refreshed_by="train.seed"))
    github = GitHub(f"{scene.forge.address}/api/v3", REPOSITORY, scene.forge.token({"contents": "write"}))
    publisher = Publisher(scene.hub, github, scene.run(), scene.forge.address)
    target = Target(7, "main", "origin/main", scene.head, own=True)
    at = LookAt(look(1), policy, read_state(head))
    bare, name = Told(scene.head, "", result=samples.better_model()), samples.better_model().model
    said = []
    for number in (1, 2):
        told = publisher._counted(target, replace(bare, looks=(replace(at, look=look(number, OTHER, model=name)),)))
        assert told.result
        said.append((told.result.verdict.outcome, told.result.looks))

    assert said[0] == ("passed", Looks(1, 1, 0.95, "train.seed", "1"))
    assert said[1] == ("attention", Looks(2, 1, 0.95, "train.seed", "1"))

    unable = replace(publisher, forge=replace_token(github, scene.forge.token({"contents": "read"})))
    told = unable._counted(target, replace(bare, looks=(replace(at, look=look(3, model=name)),)))
    assert told.result
    assert told.result.looks
    assert told.result.looks.number is None
    assert told.result.verdict.outcome == "attention"


def replace_token(github: GitHub, token: str) -> GitHub:
    return GitHub(github.api, github.repository, token)
