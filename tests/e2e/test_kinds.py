"""A repository of every kind of model, small, from a pull request to its comment: the workflows of this repository."""

import os
import shutil
import subprocess

import pytest
from tests.e2e.forge import git
from tests.e2e.world import HERE, PERSON, REPOSITORY, VENV, World
from tests.length import length

pytestmark = pytest.mark.slow

KEPT = {".git", ".dvc", ".dvcignore", ".github", ".python-version", "Makefile", "requirements", ".gitignore"}


def make(world: World, kind: str) -> None:
    """Put an example in the place of the project, run it once, and push it to the default branch."""
    clone = world.clone()
    for path in clone.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(HERE / "kinds" / kind, clone, dirs_exist_ok=True)
    (clone / ".gitignore").write_text(".venv\nhandover/\n__pycache__/\n")
    environment = {**os.environ, **PERSON, "PATH": f"{VENV}/bin:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}
    subprocess.run(["dvc", "repro", "-q"], cwd=clone, env=environment, check=True, capture_output=True)
    git(clone, "add", "-A")
    git(clone, "add", "-f", "models", "reports")  # kept by git, which DVC makes it ignore otherwise
    git(clone, "commit", "-q", "-m", f"a model: {kind}")
    git(clone, "push", "-q", "origin", "HEAD:main")


@pytest.mark.parametrize(
    ("kind", "headline", "words", "by_act"),
    [
        (
            "multiclass",
            "### ✅ species passed: better for this model, luck of the seed not known: macro `F1` rose by 0.05",
            ("<b>By class</b>: 4 better", "| `wren` | 🟢 better | 322 |", "Reliability of the predicted class"),
            True,
        ),
        (
            "regression",
            "### ✅ price passed: better for this model, luck of the seed not known: RMSE fell by 7,9",
            ("2,000 test rows in 100 groups by street", "Residuals by prediction", "mean of the targets"),
            False,
        ),
        (
            "ranking",
            "### ✅ search passed: better for this model, luck of the seed not known: NDCG rose by 0.0439",
            ("800 test rows in 200 groups by session", "| `language = de` | 🟢 better |"),
            False,
        ),
    ],
    ids=["multiclass", "regression", "ranking"],
)
def test_a_pull_request_on_a_model_of_each_kind_gets_a_comment_in_its_words(
    world: World, kind: str, headline: str, words: tuple[str, ...], by_act: bool
) -> None:
    by_act = by_act or length(0, 1) == 1  # in a study the workflows run whole for each
    make(world, kind)
    number = world.propose("less-noise", world.edited("params.yaml", "noise: 1.0", "noise: 0.6"))

    run = world.check(number) if by_act else world.check_here(number)
    done = world.publish(run) if by_act else world.publish_here(run)

    assert (run.code, done.code) == (0, 0), run.log + done.log
    (comment,) = world.comments(number)
    assert comment.startswith(headline)
    for said in words:
        assert said in comment
    assert "positives" not in comment
    assert world.status(world.forge.tip(REPOSITORY, "less-noise")) == "success"
