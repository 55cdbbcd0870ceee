"""Whole pull requests: the real workflows, git over HTTPS, an object store with a role for each half."""

import hashlib
import html
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from tests import seaweed
from tests.e2e.conftest import run_once
from tests.e2e.forge import BOT, Forge, git
from tests.e2e.world import FORK, HERE, REPOSITORY, Done, Left, World, bucket

pytestmark = pytest.mark.slow

LESS_NOISE = ("params.yaml", "noise: 1.0", "noise: 0.5")


def statuses(world: World, run: object) -> dict[str, str]:
    execution = world.result(run).execution  # type: ignore[arg-type]
    assert execution is not None
    return {stage.name: stage.status for stage in execution.stages}


@pytest.fixture(scope="module")
def march(
    scene: tuple[Path, Forge, seaweed.Seaweed],
    seeded: dict[str, tuple[str, bytes]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Left:
    """A run for one more month of data."""
    return run_once(scene, seeded, tmp_path_factory.mktemp("march"), ("months: 2", "months: 3"))


def test_a_parameter_only_change_runs_two_stages_and_is_told_locked_and_marked(world: World, checked: Left) -> None:
    number = world.propose("less-noise", world.edited(*LESS_NOISE))
    head = world.forge.tip(REPOSITORY, "less-noise")

    run = world.repeat(number, checked)  # in a store without raw data, so whoever asks for it fails
    done = world.publish(run)

    assert (checked.run.code, done.code) == (0, 0), done.log
    assert statuses(world, run) == {
        "ingest": "untouched", "validate": "untouched", "prepare": "untouched", "train": "ran", "evaluate": "ran"
    }  # fmt: skip
    execution = world.result(run).execution
    assert execution is not None
    lock = yaml.safe_load(world.read("dvc.lock"))["stages"]
    of_base = [out["size"] for out in lock["evaluate"]["outs"] if out["path"] == "reports/predictions.parquet"]
    needed = sum([*of_base, *(out["size"] for out in lock["prepare"]["outs"])])
    assert needed <= execution.pulled < needed + 5_000  # and what DVC keeps of earlier runs
    assert "The comment was posted by CML." in done.log
    (comment,) = world.comments(number)
    known = "better for this model, luck of the seed not known"
    assert comment.startswith(f"### ✅ tiny passed: {known}: ROC AUC rose by 0.0154")
    assert "- `train.noise`: `1.0` → `0.5`" in comment
    assert "**written by this run.**" in comment
    tip = world.forge.tip(REPOSITORY, "less-noise")
    repository = world.forge.repository(REPOSITORY)
    assert git(repository, "rev-parse", f"{tip}^") == head
    assert git(repository, "show", "--format=%an", "--name-only", tip).split() == [
        BOT,
        "dvc.lock",
        "reports/metrics.json",
    ]
    assert world.status(tip) == "success"
    after = yaml.safe_load(world.read("dvc.lock", "less-noise"))["stages"]["train"]["params"]
    assert after == {"params.yaml": {"train": {"noise": 0.5, "seed": 1}}}


def test_what_was_published_is_published_again_as_the_same_comment_and_commit(world: World, checked: Left) -> None:
    number = world.propose("less-noise", world.edited(*LESS_NOISE))
    run = world.repeat(number, checked)
    world.publish_here(run)
    before = world.forge.tip(REPOSITORY, "less-noise"), world.comments(number)

    again = world.publish_here(run)

    assert again.code == 0, again.log
    tip = world.forge.tip(REPOSITORY, "less-noise")
    assert (tip, len(world.comments(number))) == (before[0], 1)
    assert [one["state"] for one in world.forge.statuses[tip]] == ["success", "success"]


def test_a_second_push_updates_the_comment_and_starts_from_the_base_again(world: World, checked: Left) -> None:
    number = world.propose("less-noise", world.edited(*LESS_NOISE))
    world.publish_here(world.repeat(number, checked))
    world.push(REPOSITORY, "less-noise", world.edited("params.yaml", "noise: 0.5", "noise: 0.4", "less-noise"))

    run = world.check_here(number)
    done = world.publish_here(run)

    assert done.code == 0, done.log
    (comment,) = world.comments(number)
    assert "- `train.noise`: `1.0` → `0.4`" in comment
    assert world.result(run).lock.status == "written"


def test_a_lock_that_the_author_ran_is_reproduced_and_nothing_is_committed(world: World, checked: Left) -> None:
    number = world.propose("less-noise", world.edited(*LESS_NOISE))
    world.publish_here(world.repeat(number, checked))  # its commit is what the author would have committed

    run = world.check_here(number)
    done = world.publish_here(run)

    head = world.forge.tip(REPOSITORY, "less-noise")
    assert (run.code, done.code) == (0, 0), run.log + done.log
    assert world.result(run).lock.status == "reproduced"
    assert git(world.forge.repository(REPOSITORY), "rev-list", "--count", f"main..{head}") == "2"
    assert "is on this branch" not in world.comments(number)[-1]


def test_a_change_of_code_names_the_file_and_runs_its_stage(world: World) -> None:
    number = world.propose("tidy", world.edited("src/prepare.py", "Scale the distance.", "Scale the distance by hand."))

    run = world.check_here(number)
    world.publish_here(run)

    assert run.code == 0, run.log
    assert statuses(world, run)["prepare"] == "ran"
    assert statuses(world, run)["train"] == "untouched"  # the same bytes came out
    assert "`src/prepare.py`" in world.comments(number)[0]


def test_a_new_month_of_data_runs_everything_and_compares_the_rows_both_have(world: World, march: Left) -> None:
    number = world.propose("march", world.edited("params.yaml", "months: 2", "months: 3"))

    run = world.repeat(number, march)
    world.publish_here(run)

    assert set(statuses(world, run).values()) == {"ran"}
    comparison = world.result(run).comparison
    assert (comparison.rows_base, comparison.rows_head, comparison.rows_shared) == (3000, 4500, 3000)
    assert "`ingest.months`" in world.comments(number)[0]


def test_a_change_of_documents_runs_nothing_and_says_so_shortly(world: World) -> None:
    number = world.propose("docs", {"README.md": "# A model\n"})
    head = world.forge.tip(REPOSITORY, "docs")

    run = world.check_here(number)
    world.publish_here(run)

    assert run.code == 0, run.log
    assert set(statuses(world, run).values()) == {"untouched"}
    (comment,) = world.comments(number)
    assert len(re.sub(r"<details>.*?</details>", "", comment, flags=re.DOTALL)) < 700
    assert world.forge.tip(REPOSITORY, "docs") == head
    assert world.status(head) == "success"


def test_a_gate_that_fails_fails_the_run_and_the_status_and_is_the_first_line(world: World) -> None:
    number = world.propose("noisy", world.edited("params.yaml", "noise: 1.0", "noise: 40.0"))

    run = world.check_here(number)
    world.publish_here(run)

    assert run.code == 1
    assert world.comments(number)[0].startswith("### ❌ tiny failed: ROC AUC is 0.")
    assert world.status(world.forge.tip(REPOSITORY, "noisy")) == "failure"


def test_a_stage_that_fails_is_named_with_its_log_and_no_lock_is_written(world: World) -> None:
    number = world.propose("broken", {"src/train.py": "print('no memory left')\nraise SystemExit(3)\n"})
    head = world.forge.tip(REPOSITORY, "broken")

    run = world.check_here(number)
    world.publish_here(run)

    assert run.code == 1
    (comment,) = world.comments(number)
    assert comment.startswith("### ❌ tiny failed: stage train failed")
    assert "no memory left" in comment
    assert world.forge.tip(REPOSITORY, "broken") == head
    assert world.status(head) == "failure"


def test_data_that_is_not_as_expected_fails_the_gate_and_the_rows_are_shown(world: World) -> None:
    number = world.propose("bad-data", {"source/02.csv": world.read("source/02.csv") + "29999,AA,-4.0,0\n"})

    run = world.check_here(number)
    world.publish_here(run)

    assert run.code == 1
    (comment,) = world.comments(number)
    assert "### ❌ tiny failed: 1 critical data check failed" in comment
    assert "`29999,AA,-4.0,0`" in comment


def test_the_first_pull_request_of_a_repository_without_figures_has_nothing_to_compare_with(world: World) -> None:
    gone = ("dvc.lock", "reports/metrics.json", "reports/validation.json", "reports/roc.json")
    world.push(REPOSITORY, "main", dict.fromkeys(gone))
    number = world.propose("first", world.edited(*LESS_NOISE))

    run = world.check_here(number)
    done = world.publish_here(run)

    assert done.code == 0, done.log
    assert set(statuses(world, run).values()) <= {"ran", "restored"}
    assert [one.judgement for one in world.result(run).metrics] == ["new", "new"]
    tip = world.forge.tip(REPOSITORY, "first")
    assert set(git(world.forge.repository(REPOSITORY), "show", "--format=", "--name-only", tip).split()) == set(gone)


def test_a_fork_runs_without_any_credential_and_gets_the_lock_as_a_patch(world: World) -> None:
    number = world.propose("less-noise", world.edited(*LESS_NOISE), fork=True)
    head = world.forge.tip(FORK, "less-noise")
    before = world.objects("quarantine")

    run = world.check(number)
    done = world.publish_here(run)

    assert (run.code, done.code) == (0, 0), run.log + done.log
    assert statuses(world, run)["train"] == "ran"
    assert world.forge.tip(FORK, "less-noise") == head
    assert world.objects("quarantine") == before
    assert world.status(head) == "success"
    patch = re.search(r"<pre><code>(diff --git a/dvc.lock.*?)</code></pre>", world.comments(number)[0], re.DOTALL)
    assert patch
    clone = world.clone(FORK, "less-noise")
    (clone / "lock.patch").write_text(html.unescape(patch[1]) + "\n")
    git(clone, "apply", "lock.patch")
    assert "noise: 0.5" in (clone / "dvc.lock").read_text()


def made(world: World, branch: str) -> set[str]:
    """Return the digests of what DVC keeps of the last two stages, as a branch's lock has them."""
    stages = yaml.safe_load(world.read("dvc.lock", branch))["stages"]
    outs = [*stages["train"]["outs"], *stages["evaluate"]["outs"]]
    return {out["md5"] for out in outs if out["path"] in ("models/model.json", "reports/predictions.parquet")}


def job_log(done: Done, job: str) -> str:
    """Return the lines of one job of a workflow's run."""
    return "\n".join(line for line in done.log.splitlines() if line.startswith(f"[main/{NAMES[job]}"))


NAMES = {"rebuild": "rebuild what is in no store", "admit": "admit what was merged"}


def test_what_a_run_made_waits_in_quarantine_and_is_admitted_once_it_is_merged(world: World, checked: Left) -> None:
    number = world.propose("less-noise", world.edited(*LESS_NOISE))
    world.publish_here(world.repeat(number, checked))
    new = made(world, "less-noise")
    assert new == world.objects("quarantine")
    assert not new & world.objects("trusted")
    world.merge(number)

    done = world.main()

    assert done.code == 0, done.log
    assert new <= world.objects("trusted")
    assert done.log.count("admitted") == 4, "once as what would be admitted, by the job that may only read"


def test_what_is_altered_in_quarantine_is_made_again(world: World, checked: Left) -> None:
    number = world.propose("less-noise", world.edited(*LESS_NOISE))
    world.publish_here(world.repeat(number, checked))
    for digest in made(world, "less-noise"):
        bucket(world.store).put(f"quarantine/files/md5/{digest[:2]}/{digest[2:]}", b"mine")
    world.merge(number)

    done = world.main()

    assert done.code == 0, done.log
    assert "> python src/train.py" in job_log(done, "rebuild"), "where nothing may be written"
    assert "> python" not in job_log(done, "admit"), "where there are rights to write"
    assert job_log(done, "admit").count("rebuilt") >= 2
    for digest in made(world, "main"):
        content = bytes(bucket(world.store).get(f"trusted/files/md5/{digest[:2]}/{digest[2:]}").bytes())
        assert hashlib.md5(content, usedforsecurity=False).hexdigest() == digest


def test_two_pull_requests_that_change_different_parameters_merge_one_after_the_other(
    world: World, checked: Left, march: Left
) -> None:
    one = world.propose("less-noise", world.edited(*LESS_NOISE))
    other = world.propose("march", world.edited("params.yaml", "months: 2", "months: 3"))
    for number, left in ((one, checked), (other, march)):
        done = world.publish_here(world.repeat(number, left))
        assert done.code == 0, done.log
    world.merge(one)
    assert world.main().code == 0

    world.update(other)  # as GitHub asks for: what is merged is what was run
    run = world.check_here(other)
    world.publish_here(run)
    world.merge(other)
    done = world.main()

    assert run.code == 0, run.log
    assert done.code == 0, done.log
    lock = yaml.safe_load(world.read("dvc.lock"))["stages"]
    assert lock["train"]["params"]["params.yaml"]["train"]["noise"] == 0.5
    assert lock["ingest"]["params"]["params.yaml"]["ingest"]["months"] == 3
    assert made(world, "main") <= world.objects("trusted")


def test_a_merged_lock_that_does_not_belong_to_its_code_fails_loudly_with_the_stage(world: World) -> None:
    world.push(REPOSITORY, "main", world.edited(*LESS_NOISE))  # past every check

    done = world.main()

    assert done.code == 1
    assert "train" in done.log
    assert "noise" in done.log


def test_data_that_an_author_added_and_pushed_to_quarantine_is_used_and_admitted(world: World) -> None:
    number, digest = add_data(world)

    run = world.check_here(number)
    world.publish_here(run)
    world.merge(number)
    done = world.main()

    assert (run.code, done.code) == (0, 0), run.log + done.log
    assert digest in world.objects("trusted")


def add_data(world: World) -> tuple[int, str]:
    """Open a pull request that has DVC track the source's files, pushed to quarantine as its author would."""
    content = {f"{n:02}.csv": world.read(f"source/{n:02}.csv").encode() for n in (1, 2, 3)}
    digests = {name: hashlib.md5(text, usedforsecurity=False).hexdigest() for name, text in content.items()}
    listing = json.dumps([{"md5": digests[name], "relpath": name} for name in sorted(content)], sort_keys=True).encode()
    whole = hashlib.md5(listing, usedforsecurity=False).hexdigest() + ".dir"
    objects = {whole: listing, **{digests[name]: text for name, text in content.items()}}
    for digest, text in objects.items():
        bucket(world.store).put(f"quarantine/files/md5/{digest[:2]}/{digest[2:]}", text)
    size = sum(map(len, content.values()))
    tracked = {"outs": [{"md5": whole, "size": size, "nfiles": 3, "hash": "md5", "path": "months"}]}
    files: dict[str, str | bytes | None] = {
        "months.dvc": yaml.safe_dump(tracked),
        ".gitignore": world.read(".gitignore") + "/months\n",
        **world.edited("dvc.yaml", "deps: [source,", "deps: [months,"),
        **world.edited("src/ingest.py", "source/", "months/"),
    }
    return world.propose("track", files), whole


def test_a_head_that_moved_while_its_run_was_at_work_gets_nothing_of_that_run(world: World, checked: Left) -> None:
    number = world.propose("less-noise", world.edited(*LESS_NOISE))
    run = world.repeat(number, checked)
    head = world.push(REPOSITORY, "less-noise", {"README.md": "later\n"})

    done = world.publish_here(run)

    assert done.code == 0
    assert "the branch has moved on" in done.log
    assert world.comments(number) == []
    assert world.forge.tip(REPOSITORY, "less-noise") == head
    assert world.forge.statuses == {}


def test_a_superseded_run_publishes_nothing(world: World) -> None:
    number = world.propose("less-noise", world.edited(*LESS_NOISE))

    done = world.publish_here(world.finish(number, {"error.json": b'{"error": "stopped"}'}, "cancelled"))

    assert done.code == 0
    assert "the run was cancelled" in done.log
    assert world.comments(number) == []


def test_a_newer_commit_cancels_the_run_of_a_pull_request_and_never_a_publish_or_a_main_run() -> None:
    concurrency = {}
    for name in ("pull-request", "publish", "main"):
        definition = yaml.safe_load((World.workflows / f"{name}.yml").read_text())
        concurrency[name] = definition["concurrency"]["cancel-in-progress"]

    assert concurrency == {"pull-request": True, "publish": False, "main": False}


def test_a_store_that_cannot_be_reached_is_named_in_the_comment(world: World) -> None:
    world.push(REPOSITORY, "main", world.edited(".dvc/config", world.store.endpoint, "http://127.0.0.1:1"))
    number = world.propose("less-noise", world.edited(*LESS_NOISE))

    run = world.check_here(number)
    world.publish_here(run)

    assert run.code == 3
    (comment,) = world.comments(number)
    assert comment.startswith("### ❌")
    assert "127.0.0.1:1" in comment


def test_a_pipeline_too_dear_to_run_twice_shows_the_authors_lock_as_claimed(world: World, checked: Left) -> None:
    number = world.propose("less-noise", world.edited(*LESS_NOISE))
    world.publish_here(world.repeat(number, checked))
    world.push(REPOSITORY, "main", {"lockgate.yaml": world.read("lockgate.yaml") + "lock: claimed\n"})
    clone = world.clone(REPOSITORY, "less-noise")
    git(clone, "merge", "-q", "-m", "main", "origin/main")
    git(clone, "push", "-q", "origin", "HEAD")

    run = world.check_here(number)
    world.publish_here(run)

    result = world.result(run)
    assert result.lock.status == "claimed", run.log
    assert result.execution is None
    assert "**Claimed, not reproduced:**" in world.comments(number)[0]


def test_keys_do_where_a_store_knows_no_oidc(world: World) -> None:
    world.variables = {"LOCKGATE_REGION": "us-east-1"}
    world.secrets = {
        "LOCKGATE_PULL_REQUEST_KEY_ID": "pull-request",
        "LOCKGATE_PULL_REQUEST_KEY": seaweed.secret("pull-request"),
    }
    number = world.propose("less-noise", world.edited(*LESS_NOISE))

    run = world.check(number)

    assert run.code == 0, run.log
    assert statuses(world, run)["train"] == "ran"


@pytest.mark.parametrize("right", ["actions", "contents", "pull-requests", "statuses"])
def test_each_right_of_the_trusted_half_is_needed(world: World, right: str, honest: dict[str, bytes]) -> None:
    text = world.read(".github/workflows/publish.yml")
    kept = [line for line in text.splitlines() if not line.strip().startswith(f"{right}: ")]
    assert len(kept) == len(text.splitlines()) - 1
    world.push(REPOSITORY, "main", {".github/workflows/publish.yml": "\n".join(kept)})
    number = world.propose("less-noise", world.edited(*LESS_NOISE))

    done = world.publish_here(world.finish(number, honest))

    assert done.code != 0


def test_a_merge_queue_judges_what_it_merges_and_not_what_was_never_run(world: World, checked: Left) -> None:
    number = world.propose("less-noise", world.edited(*LESS_NOISE))
    unrun, sha_unrun = world.queue(number)  # its lock was never brought to the branch
    world.publish_here(unrun)
    world.publish_here(world.repeat(number, checked))
    run, sha = world.queue(number)
    done = world.publish(run)

    assert (unrun.code, run.code, done.code) == (0, 0, 0), unrun.log + run.log + done.log
    assert world.result(run).lock.status == "reproduced"
    assert (world.status(sha_unrun), world.status(sha)) == ("failure", "success")


def test_a_pull_request_into_another_base_is_judged_by_the_policy_of_that_base(world: World) -> None:
    lax = world.read("lockgate.yaml").replace("value: 0.6", "value: 0.1").replace("0.01}", "0.9}")
    clone = world.clone()
    git(clone, "checkout", "-q", "-b", "lax")
    world.push(REPOSITORY, "lax", {"lockgate.yaml": lax}, clone=clone)
    number = world.propose("noisy", world.edited("params.yaml", "noise: 1.0", "noise: 8.0"))
    world.publish_here(world.check_here(number))
    head = world.forge.tip(REPOSITORY, "noisy")
    git(clone, "fetch", "-q", "origin", "noisy")
    git(clone, "merge", "-q", "-m", "lax", "FETCH_HEAD")
    git(clone, "push", "-q", "origin", "HEAD:refs/heads/noisy")
    world.forge.pulls[number]["into"] = "lax"  # retargeted: the event is `edited`

    run = world.check_here(number)
    done = world.publish_here(run)

    assert done.code == 0, done.log
    tip = world.forge.tip(REPOSITORY, "noisy")
    assert world.status(head) == "failure"
    assert (world.status(tip, "lax"), world.status(tip)) == ("success", "")


def test_a_pull_request_gets_its_comment_where_cml_cannot_be_had(world: World, honest: dict[str, bytes]) -> None:
    world.cml = None
    number = world.propose("less-noise", world.edited(*LESS_NOISE))

    run = world.finish(number, honest)
    first, again = world.publish(run), world.publish_here(run)

    assert (first.code, again.code) == (0, 0), first.log
    (comment,) = world.comments(number)
    tip = world.forge.tip(REPOSITORY, "less-noise")
    assert comment.startswith("### ✅")
    assert comment.endswith(f'![](https://cml.dev/watermark.png#{tip} "CML watermark lockgate")')
    assert "posted by lockgate's own client (CML did not comment: it is not installed)" in first.log


def test_a_pull_request_gets_its_comment_where_cml_fails(
    world: World, honest: dict[str, bytes], tmp_path: Path
) -> None:
    world.cml = tmp_path / "cml"
    shutil.copytree(HERE / "cml", world.cml)
    (world.cml / "bin/cml.js").write_text("#!/usr/bin/env node\nthrow new Error('comments.map is not a function')\n")
    number = world.propose("less-noise", world.edited(*LESS_NOISE))

    done = world.publish_here(world.finish(number, honest))

    assert done.code == 0, done.log
    assert world.comments(number)[0].startswith("### ✅")
    assert "own client (CML did not comment: " in done.log
