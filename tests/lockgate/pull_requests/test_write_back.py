"""What of a run's outcome belongs on the branch: all of it, and nothing that a run of that commit cannot write."""

from collections.abc import Callable

import pytest
from tests.lockgate.factory import Project

from lockgate.git import Commit
from lockgate.pull_requests.artifact import Artifact, Unfit
from lockgate.pull_requests.check import outputs_in_git
from lockgate.pull_requests.write_back import changes


def handed_over(project: Project) -> tuple[Commit, Commit, Artifact]:
    """Run what the last commit changed, and return base, head and what is left of the run."""
    base, head = (project.git("rev-parse", name).strip() for name in ("HEAD~1", "HEAD"))
    _, failure = project.repro()
    assert failure is None
    left = Artifact(lock=(project.root / "dvc.lock").read_bytes(), outputs=outputs_in_git(project.root))
    return Commit(project.root, "main", base), Commit(project.root, "change", head), left


def test_a_run_adds_its_lock_and_the_figures_that_git_keeps(ran: Project) -> None:
    ran.write_params({"prepare": {"share": 0.2}, "train": {"lr": 0.05, "depth": 3}})
    ran.write("src/evaluate.py", "# evaluate, and more\n")
    ran.commit()
    base, head, left = handed_over(ran)

    files = changes(base, head, left)

    assert files == {
        "dvc.lock": left.lock,
        **{path: text.encode() for path, text in left.outputs.items()},
    }
    assert "reports/metrics.json" in left.outputs


def test_a_run_of_what_was_run_adds_nothing(ran: Project) -> None:
    ran.write("README.md", "x")
    ran.commit()
    base, head, left = handed_over(ran)

    assert changes(base, head, left) == {}


def test_a_lock_spelt_otherwise_is_written_as_dvc_spells_it_and_only_if_it_says_something_else(ran: Project) -> None:
    ran.write("README.md", "x")
    ran.commit()
    base, head, left = handed_over(ran)
    assert left.lock is not None
    spelt = b"# @team, approved\n" + left.lock

    assert changes(base, head, Artifact(lock=spelt)) == {}


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda text: text.replace("lr: 0.05", "lr: 0.9"), "train.lr"),
        (lambda text: text.replace("stages:", "vars: {}\nstages:"), "vars"),
        (lambda text: text.replace("md5: ", "md5: ../", 1), "no hash"),
        (lambda text: text[:-200] + "\n", "dvc.lock"),
    ],
    ids=["parameter", "key", "hash", "cut"],
)
def test_a_lock_that_a_run_of_the_commit_does_not_write_is_refused(
    ran: Project, edit: Callable[[str], str], reason: str
) -> None:
    ran.write_params({"prepare": {"share": 0.2}, "train": {"lr": 0.05, "depth": 3}})
    ran.commit()
    base, head, left = handed_over(ran)
    assert left.lock is not None

    with pytest.raises(Unfit, match=reason):
        changes(base, head, Artifact(lock=edit(left.lock.decode()).encode(), outputs=left.outputs))


def test_figures_that_the_lock_does_not_name_are_refused(ran: Project) -> None:
    ran.write("src/evaluate.py", "# evaluate, and more\n")
    ran.write("src/ingest.py", "# ingest, and more\n")
    ran.commit()
    base, head, left = handed_over(ran)

    with pytest.raises(Unfit, match=r"reports/metrics\.json"):
        changes(base, head, Artifact(lock=left.lock, outputs={"reports/metrics.json": '{"n": 0.99}'}))


def test_locks_of_subfolders_are_written_too_each_beside_its_pipeline(ran: Project) -> None:
    ran.write("team/in.txt", "1\n")
    ran.write("team/.gitignore", "/out.txt\n")
    ran.write(
        "team/dvc.yaml", "stages:\n  copy:\n    cmd: cp in.txt out.txt\n    deps: [in.txt]\n    outs: [out.txt]\n"
    )
    ran.commit()
    from dvc.repo import Repo

    with Repo(str(ran.root)) as repo:
        repo.reproduce(all_pipelines=True)
    ran.commit()
    ran.write("team/in.txt", "2\n")
    head = ran.commit()
    with Repo(str(ran.root)) as repo:
        repo.reproduce(all_pipelines=True)
    left = Artifact(lock=(ran.root / "dvc.lock").read_bytes(), outputs=outputs_in_git(ran.root))

    files = changes(Commit(ran.root, "main", f"{head}~1"), Commit(ran.root, "change", head), left)

    assert files == {"team/dvc.lock": (ran.root / "team/dvc.lock").read_bytes()}


def test_a_path_outside_what_git_keeps_of_the_pipeline_is_refused(ran: Project) -> None:
    ran.write("README.md", "x")
    ran.commit()
    base, head, left = handed_over(ran)

    for path in ("src/train.py", "../x.json", ".github/x.json", "models/model.bin", "reports/other.json"):
        with pytest.raises(Unfit, match="leaves to git"):
            changes(base, head, Artifact(lock=left.lock, outputs={path: "{}"}))
