from tests.lockgate.factory import Project

from lockgate import git
from lockgate.dvc.objects import WorkspaceFiles
from lockgate.dvc.pipeline import read_state
from lockgate.evaluation.changes import param_changes, stage_changes


def test_nan_on_both_sides_is_no_change(project: Project) -> None:
    project.write("params.yaml", "lr: .nan\ngrid: [1, .nan]\nseed: 1\n")
    project.stage("train", params=["lr", "grid", "seed"], outs=["model"])
    project.save()
    project.repro()
    project.commit()
    state = read_state(git.Workspace(project.root))

    assert param_changes(state, state) == ()
    assert [one.status for one in stage_changes(state, state, WorkspaceFiles(project.root))] == ["same"]
