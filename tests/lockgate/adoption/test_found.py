"""What is seen in a repository: which way a metric is better, where git's remote is."""

import pytest

from lockgate.adoption.found import FoundForge, direction, read_address


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("roc_auc", "higher"), ("ROC AUC", "higher"), ("avg_prec", "higher"), ("f1", "higher"), ("val_acc", "higher"),
        ("precision@10", "higher"), ("testAccuracy", "higher"), ("r2", "higher"), ("mean_iou", "higher"),
        ("loss", "lower"), ("val_loss", "lower"), ("RMSE", "lower"), ("test_mae", "lower"), ("log_loss", "lower"),
        ("brier", "lower"), ("word_error", "lower"), ("churn", None), ("latency_budget", None), ("n", None),
    ],
)  # fmt: skip
def test_the_name_of_a_metric_says_which_way_is_better_or_nothing_is_said(name: str, better: str | None) -> None:
    assert direction(name) == better


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
