"""Publishing: each pull request of a branch is answered by a status of its own base and a comment, whatever came."""

import io
import zipfile
from dataclasses import replace

import pytest
from tests.e2e.forge import BOT, git
from tests.lockgate import samples
from tests.lockgate.publishing.conftest import REPOSITORY, Scene, zipped

from lockgate.forge.github import GitHubError
from lockgate.publishing.publish import _status_of, find_targets
from lockgate.rendering.render import render
from lockgate.result import read_result


def test_what_an_honest_run_left_is_shown_and_the_status_names_the_base(scene: Scene) -> None:
    status, comment = scene.answer(scene.honest)

    assert status == "success", comment
    assert comment.startswith("### ✅")
    tip = scene.forge.tip(REPOSITORY, "change")
    assert {one["context"] for one in scene.forge.statuses[tip]} == {"lockgate/main"}


# --- a verdict belongs to a head and a base


def test_both_pull_requests_of_one_branch_into_bases_of_one_commit_are_answered(scene: Scene) -> None:
    git(scene.forge.repository(REPOSITORY), "branch", "-f", "stable", scene.main)
    git(scene.hub, "update-ref", "refs/remotes/origin/stable", scene.main)
    one, other = scene.propose(), scene.propose("stable")

    scene.publish(scene.run(scene.honest), apart=False)

    assert (scene.state("main"), scene.state("stable")) == ("success", "success")
    assert all(scene.forge.comments[number][0]["body"].startswith("### ✅") for number in (one, other))


def test_a_laxer_base_gets_a_status_of_its_own_and_none_for_main(scene: Scene) -> None:
    lax = laxer(scene)
    scene.propose()
    scene.propose("lax")
    result = read_result(scene.honest["result.json"])
    assert result.base is not None
    forged = replace(result, base=replace(result.base, commit=lax))

    scene.publish(scene.run({**scene.honest, "result.json": forged.to_json().encode()}))

    assert scene.state("main") in ("pending", "error")


def laxer(scene: Scene) -> str:
    """Make a branch `lax` that the pull request's branch starts from, and main does not have; return its commit."""
    git(scene.hub, "update-ref", "refs/remotes/origin/lax", scene.head)
    git(scene.forge.repository(REPOSITORY), "branch", "-f", "lax", scene.head)
    return scene.head


def test_a_run_of_the_pull_request_into_another_base_leaves_the_status_that_is_there(scene: Scene) -> None:
    laxer(scene)
    scene.propose()
    scene.propose("lax")
    scene.forge.statuses[scene.head] = [{"context": "lockgate/lax", "state": "failure"}]

    scene.publish(scene.run(scene.honest), apart=False)

    assert scene.forge.state(scene.head, "lockgate/lax") == "failure"
    assert scene.state("main") == "success"


def test_a_base_that_is_gone_is_an_error_for_its_pull_request_alone(scene: Scene) -> None:
    one, other = scene.propose(), scene.propose("gone")

    scene.publish(scene.run(scene.honest))

    assert scene.state("main") == "success"
    assert scene.forge.state(scene.head, "lockgate/gone") == "error"
    assert "could not be judged" in scene.forge.comments[other][0]["body"]
    assert scene.forge.comments[one][0]["body"].startswith("### ✅")


def test_a_merge_group_gets_the_status_that_its_base_asks_for_and_no_comment(scene: Scene) -> None:
    run = replace(scene.run(scene.honest), event="merge_group", head_branch=f"gh-readonly-queue/main/pr-7-{scene.main}")

    (done,) = scene.publish(run)

    assert scene.forge.state(scene.head, "lockgate/main") == "failure", done.words  # its lock is not what came out
    assert scene.forge.comments == {}
    assert scene.forge.tip(REPOSITORY, "change") == scene.head


def test_a_check_that_was_dispatched_on_an_own_branch_is_answered_like_any_other(scene: Scene) -> None:
    scene.propose()

    scene.publish(replace(scene.run(scene.honest), event="workflow_dispatch"))

    assert scene.state("main") == "success"
    github = type("Hub", (), {"repository": REPOSITORY})()
    foreign = replace(scene.run(), event="workflow_dispatch", head_repository="o/fork")
    assert isinstance(find_targets(github, foreign), str)


@pytest.mark.parametrize(
    ("branch", "repository"),
    [("gh-readonly-queue/main/pr-7", REPOSITORY), ("change", REPOSITORY), ("gh-readonly-queue/main/pr-7-{}", "o/fork")],
)
def test_a_branch_that_is_none_of_the_merge_queue_gets_nothing(scene: Scene, branch: str, repository: str) -> None:
    run = replace(scene.run(), event="merge_group", head_branch=branch.format("a" * 40), head_repository=repository)
    github = type("Hub", (), {"repository": REPOSITORY})()

    assert isinstance(find_targets(github, run), str)


# --- an answer in any case


def damaged() -> list[tuple[str, bytes]]:
    lzma = io.BytesIO()
    with zipfile.ZipFile(lzma, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("result.json", b"{}" * 500)
    broken = bytearray(lzma.getvalue())
    broken[60:90] = b"\xff" * 30
    nameless = io.BytesIO()
    with zipfile.ZipFile(nameless, "w") as archive:
        archive.writestr("x", b"{}")
    return [
        ("lzma", bytes(broken)),
        ("no name", nameless.getvalue().replace(b"x", b"\0", 1)),
        ("no archive", b"PK"),
        ("surrogate in an error", zipped({"error.json": b'{"error": "\\ud800"}'})),
        ("surrogate in a result", zipped({"result.json": b'{"model": "\\ud800"}'})),
        ("surrogate in an output", zipped({"error.json": b'{"error": "x"}', "outputs.json": b'{"\\ud800": "x"}'})),
        ("a number too long", zipped({"result.json": b'{"gates": ' + b"9" * 5_000 + b"}"})),
        ("deep", zipped({"outputs.json": b"[" * 50_000, "error.json": b'{"error": "x"}'})),
    ]


@pytest.mark.parametrize(("name", "archive"), damaged(), ids=[name for name, _ in damaged()])
def test_whatever_arrives_is_answered_by_a_status_error_and_a_comment(scene: Scene, name: str, archive: bytes) -> None:
    status, comment = scene.answer(archive)

    assert status == "error"
    assert comment.startswith(("### ⚠️", "### ❌"))


def test_a_surrogate_in_an_honest_result_is_answered(scene: Scene) -> None:
    spelt = scene.honest["result.json"].replace(b'"model": "delay"', b'"model": "\\ud800"')
    assert spelt != scene.honest["result.json"]

    status, _ = scene.answer({**scene.honest, "result.json": spelt})

    assert status == "error"


def test_a_run_that_left_nothing_is_answered(scene: Scene) -> None:
    status, comment = scene.answer(None)

    assert status == "error"
    assert comment.startswith("### ❌ The run left no result")


def test_a_lock_of_aliases_that_multiply_is_answered_in_time(scene: Scene) -> None:
    levels = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))
    bomb = f"a0: &a0 [x, x, x, x, x, x, x, x, x]\n{levels}\n".encode()

    status, _ = scene.answer({**scene.honest, "dvc.lock": bomb})

    assert status == "error"


def test_the_status_is_set_although_the_comment_is_refused(scene: Scene) -> None:
    number = scene.propose()
    scene.forge.refusals += [("POST /api/v3/repos/lab/model/issues", 500, {})] * 9

    (done,) = scene.publish(scene.run(scene.honest), apart=False)

    assert isinstance(done.failure, GitHubError)
    assert scene.state() == "success"
    assert number not in scene.forge.comments


def test_a_comment_that_github_fails_to_take_at_first_is_posted_once(scene: Scene) -> None:
    number = scene.propose()
    scene.publish(scene.run(scene.honest), apart=False)
    scene.forge.refusals += [("PATCH /api/v3/repos/lab/model/issues", 502, {})] * 4

    (done,) = scene.publish(scene.run(scene.honest), apart=False)

    assert done.failure is None
    assert [one["user"]["login"] for one in scene.forge.comments[number]] == [BOT]


@pytest.mark.parametrize(("status", "headers"), [(429, {"Retry-After": "1"}), (403, {"Retry-After": "1"}), (503, {})])
@pytest.mark.parametrize("request_", ["GET /api/v3/repos/lab/model/pulls", "POST /api/v3/repos/lab/model/statuses"])
def test_a_limit_of_rate_is_waited_for(scene: Scene, status: int, headers: dict[str, str], request_: str) -> None:
    number = scene.propose()
    scene.forge.refusals.append((request_, status, headers))

    (done,) = scene.publish(scene.run(scene.honest), apart=False)

    assert done.failure is None
    assert scene.state() == "success"
    assert len(scene.forge.comments[number]) == 1


def test_a_limit_that_lasts_longer_than_the_job_is_an_error(scene: Scene) -> None:
    scene.propose()
    scene.forge.refusals.append(("GET /api/v3/repos/lab/model/pulls", 429, {"Retry-After": "86400"}))

    with pytest.raises(GitHubError, match="429"):
        scene.publish(scene.run(scene.honest), apart=False)


def test_a_gate_that_asks_for_a_look_holds_neither_in_the_status_nor_in_the_comment() -> None:
    better = samples.better_model()
    first, *others = better.gates
    result = replace(better, gates=(replace(first, look=True, reason="too few rows"), *others))

    assert _status_of(better)[1].endswith("; 7 of 7 gates hold")
    assert _status_of(result)[1].endswith("; 6 of 7 gates hold")
    assert "Gates: 6 of 7 hold" in render(result, "md")
