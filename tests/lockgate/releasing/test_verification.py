import json
import subprocess
from pathlib import Path

import pytest
from tests.lockgate.releases import NAME, STAGING, Keys, a_build, promoted, publish

from lockgate.cli import main
from lockgate.releasing.environments import Environment
from lockgate.releasing.registry import Registry

pytest_plugins = ("tests.seaweed", "tests.lockgate.release_fixtures")


def git(folder: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=ana", "-c", "user.email=ana@example.org", *words]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with one commit, the current folder."""
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def words(registry: Registry, keys: Keys, repository: Path, tmp_path: Path) -> list[str]:
    """Two releases of the repository's commit, both promoted to staging for tags; the command's options."""
    commit = git(repository, "rev-parse", "HEAD")
    for number, seed in enumerate(("one", "two"), 1):
        publish(registry, keys, a_build(tmp_path / seed, seed), f"v{number}.0.0", commit=commit)
        git(repository, "tag", "-a", f"{NAME}@v{number}.0.0", "-m", "release")
        git(repository, "tag", "-a", f"{NAME}#staging#{number}", "-m", "promote")
        promoted(registry, keys, f"v{number}.0.0", STAGING, tag=f"{NAME}#staging#{number}")
    return ["--store", registry.store.url, "--public-key", str(keys.verifier.public_key)]


def test_a_sound_environment_is_verified_and_what_was_looked_at_is_counted(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "staging", *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["release"], told["verified"]) == (f"{NAME}@v2.0.0", True)
    assert (told["files"], told["entries"], told["tags"]) == (4, 2, 4)
    assert main(["verify", "v1.0.0", *words]) == 0
    assert "4 files are valid" in capsys.readouterr().out


def test_entries_taken_off_the_end_of_a_log_are_missed_by_gits_tags(
    words: list[str], registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store alone cannot show it: what is left is a sound, shorter log."""
    staging = Environment(registry, "staging")
    registry.store.delete(staging._path(2))
    assert len(staging.verify()) == 1
    assert main(["verify", "staging", *words, "--no-git"]) == 0
    assert main(["verify", "staging", *words]) == 1
    assert f"knows nothing of {NAME}#staging#2" in capsys.readouterr().err


def test_a_tag_moved_after_the_release_is_noticed(
    words: list[str], repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(repository, "commit", "-q", "--allow-empty", "-m", "two")
    git(repository, "tag", "-f", f"{NAME}@v1.0.0")
    assert main(["verify", "v1.0.0", *words]) == 1
    assert f"the tag {NAME}@v1.0.0 is at {git(repository, 'rev-parse', 'HEAD')[:12]}" in capsys.readouterr().err
    assert main(["verify", "v2.0.0", *words]) == 0


def test_after_a_tag_moved_its_release_is_not_promoted_by_its_version_either(
    words: list[str], repository: Path, registry: Registry, keys: Keys
) -> None:
    (repository / "lockgate.yaml").write_text(
        "model: m\nmetrics: {a: {file: f.json, key: a, better: higher}}\nenvironments: {staging: }\n"
    )
    words = [*words, "--private-key", str(keys.signer.private_key)]
    git(repository, "commit", "-q", "--allow-empty", "-m", "two")
    git(repository, "tag", "-a", "-f", f"{NAME}@v1.0.0", "-m", "moved")
    assert main(["promote", "v1.0.0", "staging", *words]) == 1
    assert len(Environment(registry, "staging").history()) == 2
    git(repository, "tag", "-a", "-f", f"{NAME}@v1.0.0", "-m", "back", "HEAD~1")
    assert main(["promote", "v1.0.0", "staging", *words]) == 0


def test_the_end_of_an_environment_that_was_asked_for_by_a_tag_is_missed_too(
    words: list[str], repository: Path
) -> None:
    assert main(["verify", "staging", *words]) == 0
    git(repository, "tag", "-a", f"{NAME}#staging!#3", "-m", "replaced")
    assert main(["verify", "staging", *words]) == 1


def test_outside_a_repository_it_says_that_no_tags_were_compared(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert main(["verify", "staging", *words]) == 0
    assert "no tags here to compare with" in capsys.readouterr().out


@pytest.mark.parametrize("ref", ["v1.0.0", "staging"])
def test_a_strangers_key_verifies_nothing(
    words: list[str], stranger: Keys, ref: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", ref, *words[:2], "--public-key", str(stranger.verifier.public_key)]) == 1
    assert "not by the one key trusted" in capsys.readouterr().err
