"""What is seen in a repository: which way a metric is better, where git's remote is."""

from pathlib import Path

import pytest
from tests.lockgate.factory import Project

from lockgate.adoption.found import FoundForge, FoundMetric, FoundPackages, direction, look, read_address
from lockgate.dependencies.compile import WITHDRAWN
from lockgate.git import Commit


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("roc_auc", "higher"), ("ROC AUC", "higher"), ("avg_prec", "higher"), ("f1", "higher"), ("val_acc", "higher"),
        ("precision@10", "higher"), ("testAccuracy", "higher"), ("r2", "higher"), ("mean_iou", "higher"),
        ("loss", "lower"), ("val_loss", "lower"), ("RMSE", "lower"), ("test_mae", "lower"), ("log_loss", "lower"),
        ("brier", "lower"), ("word_error", "lower"), ("churn", None), ("latency_budget", None), ("n", None),
        ("accuracy_full_data", "higher"), ("loss_on_new_users", "lower"),
        ("accuracy_threshold", None), ("recall_std", None),
    ],
)  # fmt: skip
def test_the_name_of_a_metric_says_which_way_is_better_or_nothing_is_said(name: str, better: str | None) -> None:
    assert direction(name) == better


@pytest.mark.parametrize(
    ("file", "key", "training"),
    [
        ("metrics/train_metrics.json", "accuracy", True), ("metrics/train_metrics.json", "accuracy_test", False),
        ("metrics.json", "train.accuracy", True), ("metrics.json", "accuracy", False),
        ("train.json", "train.accuracy_test", True),
    ],
)  # fmt: skip
def test_the_key_of_a_metric_says_more_of_its_rows_than_the_name_of_its_file(
    file: str, key: str, training: bool
) -> None:
    assert FoundMetric("m", file, key, 0.5, "higher").of_training is training


@pytest.mark.parametrize(
    ("address", "forge"),
    [
        ("https://github.com/lab/model.git", FoundForge("github", "https://github.com", "lab/model")),
        ("https://user:secret@github.com/lab/model", FoundForge("github", "https://github.com", "lab/model")),
        ("git@github.com:lab/model.git", FoundForge("github", "https://github.com", "lab/model")),
        ("ssh://git@github.lab.org/lab/model", FoundForge("github", "https://github.lab.org", "lab/model")),
        ("https://gitlab.com/group/sub/model.git", FoundForge("gitlab", "https://gitlab.com", "group/sub/model")),
        ("/srv/git/model.git", FoundForge("other", "", "/srv/git/model.git")),
    ],
)
def test_the_address_of_the_remote_says_which_forge_and_never_a_password(address: str, forge: FoundForge) -> None:
    assert read_address(address) == forge


def test_a_number_that_repeats_a_parameter_is_no_metric(stranger: Project) -> None:
    stranger.write("params.yaml", "train: {seed: 7, shift: 0.021}\nmodel: {depth: 5, accuracy: 3}\n")
    stranger.write("metrics.json", '{"accuracy": 0.9, "depth": 5, "echo": {"shift": 0.021, "seed": 8}}')
    commit = stranger.commit("Repeat what was asked for")

    found = look(stranger.root, Commit(stranger.root, "main", commit))

    assert [metric.name for metric in found.metrics] == ["accuracy"]


def test_a_project_in_a_folder_takes_the_packages_of_a_folder_above_it(stranger: Project, tmp_path: Path) -> None:
    stranger.write("requirements.txt", "numpy\n")
    stranger.write("pyproject.toml", "[project]\nname = 'x'\nrequires-python = '>=3.12'\ndependencies = ['numpy']\n")
    (stranger.root / "inner").mkdir()
    for name in (".dvc", "dvc.yaml", "dvc.lock", "metrics.json", "params.yaml"):
        (stranger.root / name).rename(stranger.root / "inner" / name)
    commit = stranger.commit("A project in a folder")
    inner = stranger.root / "inner"

    assert look(inner, Commit(inner, "main", commit)).packages == FoundPackages(None, ("../requirements.txt",), "3.12")
    stranger.git("rm", "-q", "requirements.txt")
    commit = stranger.commit()
    assert look(inner, Commit(inner, "main", commit)).packages.inputs == ("../pyproject.toml",)


@pytest.mark.parametrize(
    ("asked", "taken"),
    [
        (b"pandas\nsklearn\n", b"pandas\nscikit-learn\n"),
        (b"sklearn==0.0 # old", b"scikit-learn # old"),
        (b"sklearn; python_version > '3'", b"scikit-learn; python_version > '3'"),
        (b"sklearn\r\nnumpy", b"scikit-learn\r\nnumpy"),
        (b"sklearn-pandas\n", b"sklearn-pandas\n"),
        (b"sklearn_crfsuite>=1", b"sklearn_crfsuite>=1"),
        (b"# sklearn", b"# sklearn"),
    ],
)
def test_a_requirement_that_the_index_has_withdrawn_is_taken_for_what_it_brought(asked: bytes, taken: bytes) -> None:
    assert WITHDRAWN.sub(b"scikit-learn", asked) == taken


def test_folders_for_people_and_tests_that_no_stage_has_to_do_with_are_found(stranger: Project) -> None:
    for name in ("notebooks/look.ipynb", "tests/test_a.py", "docs/a.md", "lib/code.py", "examples/one.csv"):
        stranger.write(name, "1\n")
    stranger.write("dvc.yaml", stranger.read("dvc.yaml").replace("- train.py", "- train.py\n    - tests/test_a.py"))
    stranger.write("dvc.yaml", stranger.read("dvc.yaml").replace("python train.py", "python train.py examples/one.csv"))
    commit = stranger.commit()

    assert look(stranger.root, Commit(stranger.root, "main", commit)).unread == ("docs", "notebooks")


def test_the_seed_is_that_of_the_training_and_not_of_the_data(stranger: Project) -> None:
    stranger.write("params.yaml", "data: {seed: 3}\ntrain: {seed: 7, shift: 0.021}\n")
    text = stranger.read("dvc.yaml")
    data = "stages:\n  data:\n    cmd: python data.py\n    params: [data.seed]\n    outs: [data.csv]\n"
    stranger.write("dvc.yaml", text.replace("stages:\n", data))
    commit = stranger.commit()

    assert look(stranger.root, Commit(stranger.root, "main", commit)).seed == "train.seed"
