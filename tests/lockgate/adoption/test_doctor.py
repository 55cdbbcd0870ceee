"""``lockgate doctor``: each damage is a finding with its mend; what cannot be seen is not called well."""

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests import seaweed
from tests.lockgate.factory import Project

from lockgate.adoption.doctor import protected

Lockgate = Callable[..., tuple[int, str, str]]


@contextmanager
def answering(answers: dict[str, Any]) -> Iterator[str]:
    """Serve JSON by the end of the path on 127.0.0.1; a number is a status."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = next((value for end, value in answers.items() if self.path.endswith(end)), 404)
            content = json.dumps({} if isinstance(found, int) else found).encode()
            self.send_response(found if isinstance(found, int) else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the names are the base class's

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def adopted(stranger: Project, lockgate: Lockgate) -> Project:
    lockgate("init", "--no-push", "--no-history", "--no-lock", "--pin", "a" * 40)
    stranger.git("merge", "-q", "lockgate-init")
    return stranger


def levels(lockgate: Lockgate, *arguments: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    code, out, err = lockgate("doctor", "--json", *arguments)
    assert err == ""
    found: dict[str, list[dict[str, str]]] = {}
    for one in json.loads(out)["findings"]:
        found.setdefault(one["check"], []).append(one)
    return code, found


def test_a_repository_that_merged_the_proposal_has_no_problem_and_what_was_not_seen_is_said(
    adopted: Project, lockgate: Lockgate
) -> None:
    code, found = levels(lockgate)

    assert code == 0
    assert [one for several in found.values() for one in several if one["level"] == "problem"] == []
    assert {one["level"] for one in found["forge"] + found["store"] + found["vulnerabilities"]} == {"unknown"}
    assert found["locks"][-1]["level"] == "advice"  # no lock of packages


DAMAGES: dict[str, tuple[str, Callable[[Project], object]]] = {
    "no policy": ("policy", lambda project: (project.root / "lockgate.yaml").unlink()),
    "a policy that cannot be read": ("policy", lambda project: project.write("lockgate.yaml", "model: x\nfuture: 1\n")),
    "a metric of no file": (
        "policy",
        lambda project: project.write(
            "lockgate.yaml", "model: m\nmetrics:\n  a: {file: x.json, key: a, better: lower}\n"
        ),
    ),
    "two pins in one workflow": (
        "workflows",
        lambda project: project.write(
            ".github/workflows/lockgate-publish.yml",
            project.read(".github/workflows/lockgate-publish.yml").replace(
                "lockgate: " + "a" * 40, "lockgate: " + "b" * 40
            ),
        ),
    ),
    "no remote": ("remotes", lambda project: project.write(".dvc/config", "")),
    "objects that were not pushed": (
        "remotes",
        lambda project: [path.unlink() for path in project.remote.rglob("*") if path.is_file()],
    ),
    "a key that others can read": ("keys", lambda project: project.write("lockgate.key", "x")),
    "a key in git": ("keys", lambda project: (project.write("lockgate.key", "x"), project.commit())),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_is_a_problem_of_its_check_that_says_why_it_matters_and_how_it_is_mended(
    adopted: Project, lockgate: Lockgate, damage: str
) -> None:
    check, do = DAMAGES[damage]
    do(adopted)

    code, found = levels(lockgate)

    problems = [one for one in found[check] if one["level"] == "problem"]
    assert code == 1
    assert problems
    assert all(one["why"] and one["mend"] for one in problems)


def test_what_is_safe_is_mended_on_demand_and_stays_mended(adopted: Project, lockgate: Lockgate) -> None:
    assert levels(lockgate)[1]["clone"][0]["level"] == "advice"
    lockgate("doctor", "--fix")
    assert levels(lockgate)[1]["clone"][0]["level"] == "ok"


def test_a_lightweight_tag_of_a_release_is_told_before_it_is_refused(adopted: Project, lockgate: Lockgate) -> None:
    adopted.git("tag", "model@v1.0.0")
    adopted.git("tag", "-a", "-m", "why", "model@v1.0.1")

    (finding,) = levels(lockgate)[1]["tags"]
    assert finding["level"] == "advice"
    assert "model@v1.0.0" in finding["what"]


def test_a_known_vulnerability_is_told_only_if_a_feed_was_named(adopted: Project, lockgate: Lockgate) -> None:
    adopted.write("p.lock", f"late==1.0 --hash=sha256:{'0' * 64}\nfine==2.0 --hash=sha256:{'1' * 64}\n")
    adopted.write("lockgate.yaml", adopted.read("lockgate.yaml") + '\ndependencies: {lock: p.lock, python: "3.11"}\n')
    with answering({"/v1/querybatch": {"results": [{}, {"vulns": [{"id": "PYSEC-1"}]}]}}) as feed:
        code, found = levels(lockgate, "--advisories", feed)
    assert code == 1
    assert [one["what"] for one in found["vulnerabilities"]] == ["late==1.0: PYSEC-1"]

    with answering({"/v1/querybatch": {"results": []}}) as feed:
        assert levels(lockgate, "--advisories", feed)[1]["vulnerabilities"][0]["level"] == "unknown"


@pytest.mark.parametrize(
    ("protection", "problems"),
    [
        (None, 1),
        ({"required_status_checks": {"contexts": ["lockgate/main"], "strict": True}}, 0),
        ({"required_status_checks": {"contexts": ["lockgate"], "strict": True}}, 2),
        ({"required_status_checks": {"checks": [{"context": "lockgate/main"}], "strict": False}}, 0),
        ({"required_status_checks": {"contexts": ["lockgate/main"]}, "allow_force_pushes": {"enabled": True}}, 1),
        ({}, 1),
    ],
)
def test_the_protection_of_a_branch_is_read_and_an_old_rule_is_told_how_to_migrate(
    protection: object, problems: int
) -> None:
    found = list(protected("main", protection))

    assert sum(one.level == "problem" for one in found) == problems
    if isinstance(protection, dict) and "lockgate" in protection.get("required_status_checks", {}).get("contexts", ()):
        assert any("'lockgate/main' instead" in one.mend for one in found)


def test_what_a_token_does_not_see_of_github_is_unknown_and_never_well(
    adopted: Project, lockgate: Lockgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "t")
    answers = {
        "/actions/permissions/workflow": {"default_workflow_permissions": "write"},
        "/branches/main/protection": 403,
    }
    with answering(answers) as api:
        monkeypatch.setenv("GITHUB_API_URL", api)
        code, found = levels(lockgate)

    assert code == 1
    assert [one["level"] for one in found["forge"]] == ["problem", "unknown"]


@pytest.mark.slow
def test_a_probe_writes_one_object_of_its_own_and_tells_rights_that_are_too_many(
    adopted: Project, lockgate: Lockgate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = {
        "person": ["Read:lab", "List:lab", "Write:lab/quarantine/*"],
        "everything": ["Read:lab", "List:lab", "Write:lab/*"],
    }
    (tmp_path / "weed").mkdir()
    with seaweed.running(tmp_path / "weed", "lab", users) as store:
        config = "[core]\n    remote = trusted\n" + "".join(
            f"['remote \"{name}\"']\n    url = s3://lab/{name}\n    endpointurl = {store.endpoint}\n"
            for name in ("trusted", "quarantine")
        )
        adopted.write(".dvc/config", config)
        for user, code in (("person", 0), ("everything", 1)):
            for name, value in store.environment(user).items():
                monkeypatch.setenv(name, value)
            asked, found = levels(lockgate, "--probe")
            problems = [one["what"] for one in found["rights"] if one["level"] == "problem"]
            assert problems == (["'trusted' lets you add objects"] if code else [])
            assert asked == 1  # the objects of the lock are in no remote here
            if code:
                as_main = levels(lockgate, "--probe", "--as", "main")[1]["rights"]
                assert [one["what"] for one in as_main if one["level"] == "problem"] == [
                    "'trusted' lets you replace objects",
                    "'quarantine' lets you add objects",
                ]
        from obstore.store import S3Store

        bucket = S3Store(
            "lab", endpoint=store.endpoint, access_key_id="everything", region="us-east-1",
            secret_access_key=seaweed.secret("everything"), client_options={"allow_http": True},
        )  # fmt: skip
        paths = [str(one["path"]) for page in bucket.list() for one in page]
        assert paths
        assert all("/lockgate-doctor/" in path for path in paths)


def test_a_folder_as_the_store_of_releases_is_told_that_it_can_be_written_over_and_holds_no_new_model(
    adopted: Project, lockgate: Lockgate
) -> None:
    (adopted.root.parent / "store/model/builds").mkdir(parents=True)
    found = levels(lockgate, "--probe", "--store", str(adopted.root.parent / "store"))[1]["store"]

    assert [one["level"] for one in found] == ["ok", "problem"]
    assert [path.name for path in (adopted.root.parent / "store").iterdir()] == ["model"]


@pytest.mark.parametrize("cloud", ["aws", "gcs", "azure"])
def test_the_roles_are_printed_with_the_names_of_the_project(adopted: Project, lockgate: Lockgate, cloud: str) -> None:
    adopted.write(".dvc/config", "[core]\n    remote = r\n['remote \"r\"']\n    url = s3://bucket-of-lab/x\n")

    code, out, _ = lockgate("doctor", "--print", cloud)

    assert code == 0
    assert 'default = "bucket-of-lab"' in out
    assert 'default = "lab/stranger"' in out
    assert "@" not in "".join(line for line in out.splitlines() if "default" in line)
    assert out.count("{") == out.count("}")


def test_the_doctor_says_where_there_is_no_repository(tmp_path: Path, lockgate: Lockgate) -> None:
    subprocess.run(["git", "init", "-q", tmp_path / "empty"], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path / "empty")
        assert lockgate("doctor")[0] == 3
