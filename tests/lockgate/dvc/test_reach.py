"""Remotes that cannot be reached: what a user is told, in every command, whichever library it is that complains."""

import os
import shutil
from pathlib import Path

import pytest
from tests.lockgate import modelled
from tests.lockgate.evaluation.test_report import Run, project, template  # noqa: F401  fixtures
from tests.lockgate.factory import Project

from lockgate.dvc.reach import out_of_reach, without_credentials

GS = "gs://bucket/x"


def move_remote(made: Project, address: str, **settings: str) -> None:
    """Have the default remote at ``address``, and nothing of DVC's here."""
    config = made.root / ".dvc" / "config"
    lines = [f"    {key} = {value}\n" for key, value in settings.items()]
    config.write_text(config.read_text().replace("url = ../../remote\n", f"url = {address}\n{''.join(lines)}"))
    made.git("commit", "-qam", "another remote")
    shutil.rmtree(made.root / ".dvc" / "cache")
    for path in ("models/model.json", "reports/predictions.parquet"):
        (made.root / path).unlink()


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """None in the environment, in a file, or from the machine's own service."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def told(err: str) -> tuple[str, str]:
    """Return the sentence and the advice with which a command ended; there must be no traceback."""
    assert "Traceback" not in err
    fact, advice = err.splitlines()[-2:]
    return fact.removeprefix("lockgate: "), advice.strip()


COMMANDS = {
    "check": ["check", "--base", "main", "--head", "better"],
    "run": ["run"],
    "quarantine": ["ci", "quarantine"],
    "admit": ["ci", "admit"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_the_remote_the_reason_and_the_cure_in_one_sentence(
    project: Project,  # noqa: F811
    lockgate: Run,
    command: str,
) -> None:
    move_remote(project, GS)
    if command == "run":
        project.write("evaluate.py", modelled.EVALUATE + "\n")

    code, _, err = lockgate(*COMMANDS[command])

    assert code == 3
    fact, advice = told(err)
    assert fact == f"the remote 'local' ({GS}) cannot be reached: the plugin for gs:// is not installed"
    assert "pip install 'dvc-gs'" in advice


def test_a_report_is_made_of_what_can_be_had_and_says_what_cannot(project: Project, lockgate: Run) -> None:  # noqa: F811
    move_remote(project, GS)

    code, out, err = lockgate("report", "--base", "main", "--head", "better")

    assert (code, err) == (0, "")
    assert f"the remote 'local' ({GS}) cannot be reached" in " ".join(out.split())


def test_a_rebuild_whose_source_data_cannot_be_had_says_so(project: Project, lockgate: Run) -> None:  # noqa: F811
    project.write("data.csv", "1\n")
    project.add("data.csv")
    project.stages["train"]["deps"].append("data.csv")
    artifacts = "artifacts:\n  delay: {path: models/model.json, type: model}\n"
    project.save()
    project.write("dvc.yaml", project.read("dvc.yaml") + artifacts)
    modelled.run(project)
    project.commit("data")
    move_remote(project, GS)
    (project.root / "data.csv").unlink()

    code, _, err = lockgate("rebuild")

    assert code == 3
    assert told(err)[0].startswith(f"the remote 'local' ({GS}) cannot be reached")


@pytest.mark.parametrize(
    ("address", "settings", "reason", "cure"),
    [
        ("ssh://somebody@127.0.0.1:1/x", {}, "the plugin for ssh:// is not installed", "dvc-ssh"),
        ("azure://container/x", {}, "the plugin for azure:// is not installed", "dvc-azure"),
        ("webdav://127.0.0.1:1/x", {}, "the plugin for webdav:// is not installed", "dvc-webdav"),
        ("s3://bucket/x", {}, "there are no credentials for it", "AWS_ACCESS_KEY_ID"),
        ("s3://bucket/x", {"endpointurl": "http://127.0.0.1:1", "access_key_id": "a", "secret_access_key": "b"},
         "it does not answer", "Check the network"),
        ("http://127.0.0.1:1/x", {}, "it does not answer", "Check the network"),
    ],
    ids=["ssh", "azure", "webdav", "s3 without credentials", "s3 that does not answer", "http that does not answer"],
)  # fmt: skip
def test_each_kind_of_remote_is_told_in_the_same_words(
    project: Project,  # noqa: F811
    lockgate: Run,
    address: str,
    settings: dict[str, str],
    reason: str,
    cure: str,
) -> None:
    move_remote(project, address, **settings)

    code, _, err = lockgate("check", "--base", "main", "--head", "better")

    assert code == 3
    fact, advice = told(err)
    assert fact.startswith(f"the remote 'local' ({without_credentials(address)}) cannot be reached: {reason}")
    assert cure in advice


def test_verbose_shows_what_the_library_said(project: Project, lockgate: Run) -> None:  # noqa: F811
    move_remote(project, GS)

    _, _, err = lockgate("ci", "admit", "--verbose")

    assert "caused by ImportError: gs is supported, but requires 'dvc-gs' to be installed" in err


def test_gates_that_were_asked_and_fail_are_a_no_even_if_others_could_not_be_asked(
    project: Project,  # noqa: F811
    lockgate: Run,
) -> None:
    project.write("lockgate.yaml", modelled.POLICY.replace("value: 0.6}", "value: 0.99}"))
    project.commit("a stricter policy")
    move_remote(project, GS)

    code, out, _ = lockgate("check", "--base", "HEAD~1", "--head", "HEAD")

    assert code == 1
    assert "FAILS  roc_auc at least 0.99: 0." in out
    assert "FAILS  roc_auc may fall by at most 0.01 in each slice" in out


def test_an_address_is_told_without_its_password() -> None:
    assert without_credentials("webdav://user:secret@host:80/a@b") == "webdav://host:80/a@b"
    assert without_credentials("/folder@1") == "/folder@1"


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ValueError("ours"), FileNotFoundError(2, "")]
)
def test_what_is_not_the_remotes_fault_is_not_called_so(error: Exception) -> None:
    assert out_of_reach("local", GS, error) is None
