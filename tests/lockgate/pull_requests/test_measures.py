"""Which changed files a reviewer is told of first: those that decide what runs, with what, and how it is judged."""

import pytest
from tests.e2e.forge import git
from tests.lockgate.pull_requests.conftest import REPOSITORY, Scene

from lockgate.pull_requests.measures import measures, measuring_files

MEASURING = (
    *(".github/workflows/ci.yml", ".github/actions/setup/action.yml", "Makefile", "rules.mk", "pyproject.toml"),
    *("requirements/pipeline.lock", "requirements.txt", "uv.lock", ".python-version", ".gitattributes"),
    *("data/.gitattributes", ".dvcignore", "src/.dvcignore", "lockgate.pub", "keys/lockgate.old.pub"),
    *("sitecustomize.py", "src/sitecustomize.py", "conftest.py", "tests/conftest.py", "lockgate.yaml"),
    *(".dvc/config", "team/.dvc/config", "src/extra.pth", ".env"),
)
ORDINARY = ("README.md", "src/train.py", "params.yaml", "dvc.yaml", "dvc.lock", "reports/metrics.json", "docs/a.md")


@pytest.mark.parametrize("path", MEASURING)
def test_a_file_of_each_kind_that_decides_the_measurement_is_named(path: str) -> None:
    assert measures(path)
    assert measures(f"project/{path}", "project/")


@pytest.mark.parametrize("path", ORDINARY)
def test_an_input_or_output_of_the_pipeline_is_no_such_file(path: str) -> None:
    assert not measures(path)


def test_the_comment_names_every_changed_file_that_measures_however_many(scene: Scene) -> None:
    clone = scene.folder / "measuring"
    git(scene.folder, "clone", "-q", str(scene.forge.repository(REPOSITORY)), str(clone))
    for path in MEASURING:
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        (clone / path).write_text("# changed\n")
    git(clone, "add", "-f", *MEASURING)
    git(clone, "commit", "-q", "-m", "all of them")

    assert measuring_files(clone, scene.main, git(clone, "rev-parse", "HEAD")) == tuple(sorted(MEASURING))
