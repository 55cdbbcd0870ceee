"""What of a run's outcome belongs on the branch: all of it, and nothing that a run of that commit cannot write."""

import sys
from collections.abc import Callable
from dataclasses import replace

import pytest
import yaml
from tests.lockgate.factory import Project

from lockgate.git import Commit
from lockgate.publishing.artifact import Artifact, Unfit
from lockgate.publishing.check import OUTPUT_LIMIT, KeptOutputs, outputs_in_git
from lockgate.publishing.write_back import after_run, changes, withheld


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


@pytest.fixture
def drawing(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with a stage that leaves git a picture, YAML metrics and a file of another kind."""
    monkeypatch.chdir(project.root)
    project.write_params({"lr": 1, "bytes": 10})
    project.write(
        "draw.py",
        "import sys, yaml\n"
        "p = yaml.safe_load(open('params.yaml'))\n"
        "open('plot.png', 'wb').write(b'\\x89PNG\\xff' + str(p['lr']).encode())\n"
        "open('metrics.yaml', 'w').write('a: %d\\n' % p['lr'])\n"
        "open('rows.json', 'w').write('[' + '1' * p['bytes'] + ']')\n"
        "open('kept.bin', 'wb').write(b'\\xff' + str(p['lr'] > 2).encode())\n",
    )
    uncached = {"cache": False}
    project.stages["draw"] = {
        "cmd": f"{sys.executable} draw.py",
        "deps": ["draw.py"],
        "params": ["lr", "bytes"],
        "outs": [{"kept.bin": uncached}, {"rows.json": uncached}],
        "metrics": [{"metrics.yaml": uncached}],
        "plots": [{"plot.png": uncached}],
    }
    project.write("dvc.yaml", yaml.safe_dump({"stages": project.stages}))
    assert project.repro()[1] is None
    project.commit()
    return project


def left_of(project: Project, **params: int) -> tuple[Commit, Commit, Artifact]:
    project.write_params({"lr": 1, "bytes": 10, **params})
    project.commit()
    base, head, _ = handed_over(project)
    kept = KeptOutputs.of(project.root)
    return base, head, Artifact(None, (project.root / "dvc.lock").read_bytes(), kept.texts, binaries=kept.binaries)


def test_a_picture_and_yaml_metrics_that_git_keeps_are_written_back(drawing: Project) -> None:
    base, head, left = left_of(drawing, lr=2)

    files = changes(base, head, left)

    assert set(files) == {"dvc.lock", "plot.png", "metrics.yaml"}
    assert files["plot.png"] == b"\x89PNG\xff2"
    assert withheld(head, left) == ()


def test_what_is_too_large_to_be_handed_over_is_named_and_the_lock_stays_with_it(drawing: Project) -> None:
    base, head, left = left_of(drawing, lr=2, bytes=OUTPUT_LIMIT + 1)

    assert "rows.json (3.1 MB)" in KeptOutputs.of(drawing.root).note()
    assert withheld(head, left) == ("rows.json",)
    assert changes(base, head, left) == {}
    assert after_run(head, left).read("metrics.yaml") == b"a: 2\n"


def test_a_kind_that_nobody_but_the_author_should_commit_is_named_and_the_lock_stays_with_it(drawing: Project) -> None:
    base, head, left = left_of(drawing, lr=3)

    assert withheld(head, left) == ("kept.bin",)
    assert changes(base, head, left) == {}


def test_a_picture_that_the_lock_does_not_name_is_refused(drawing: Project) -> None:
    base, head, left = left_of(drawing, lr=2)

    with pytest.raises(Unfit, match="plot"):
        changes(base, head, replace(left, binaries={"plot.png": b"\x89PNG\xff9"}))
