"""A function of a metric is run again where a verdict is published, or its figures are said to rest on the run."""

from tests.lockgate import modelled
from tests.lockgate.publishing.conftest import Scene, zipped

from lockgate import git
from lockgate.git import Commit
from lockgate.publishing import apart, artifact, bound
from lockgate.publishing.apart import Sides

LOSS = """\
import numpy as np


def loss(predictions):
    right = np.where(predictions["late"], predictions["probability"], 1 - predictions["probability"])
    return {"log_loss": -np.log(right).mean()}
"""
POLICY = modelled.POLICY.replace("key: log_loss.model,", 'key: log_loss.model, function: "code/metrics.py:loss",')
assert POLICY != modelled.POLICY


def sides(scene: Scene, base_code: str, head_code: str) -> Sides:
    """The two commits of the scene, each with a policy that names a function, and the code of it."""
    made = []
    for name, commit, code in (("main", scene.main, base_code), ("change", scene.head, head_code)):
        git.fetch(scene.hub, commit, {})
        files = {"lockgate.yaml": POLICY.encode(), "code/metrics.py": code.encode()}
        made.append(Commit(scene.hub, name, git.commit_on(scene.hub, commit, files, "a function", ("a", "b"))))
    return Sides(scene.hub, made[0], made[1])


def test_the_half_without_rights_runs_bases_function_and_comes_to_what_the_run_does(scene: Scene) -> None:
    left = artifact.unpack(zipped(scene.honest))
    of = sides(scene, LOSS, LOSS.replace("-np.log", "-0.1 * np.log"))

    found = apart.compute(of, left)

    assert found.unverified == ()
    assert found.result is not None
    one = next(metric for metric in found.result.metrics if metric.name == "log_loss")
    assert (one.method, one.judgement) == ("bootstrap of rows", "better")
    assert any(
        note.startswith("This changes code/metrics.py, by which log_loss is computed") for note in found.result.notes
    )
    assert left.result is not None
    here = bound.compute(of.base, of.head, left, execution=left.result.execution)
    assert here.result is not None
    bound.check(here.result, found.result)


def test_a_function_that_cannot_be_run_where_it_is_published_leaves_the_figures_to_the_runs_word(scene: Scene) -> None:
    left = artifact.unpack(zipped(scene.honest))
    assert left.result is not None
    of = sides(scene, f"import lifelines\n{LOSS}", f"import lifelines\n{LOSS}")

    found = bound.compute(of.base, of.head, left, execution=left.result.execution)

    assert found.result is None
    (said,) = found.unverified
    assert said.startswith("log_loss (code/metrics.py:loss: ")
    assert "needs the package 'lifelines', which is not installed here" in said
