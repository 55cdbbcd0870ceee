"""What a comment says of the luck of training, known or not."""

from dataclasses import replace

import pytest
from tests.lockgate import samples

from lockgate.rendering.render import render
from lockgate.result import Result, Training

KNOWN = samples.noise()


def told(training: Training | None) -> str:
    result: Result = replace(KNOWN, training=training)
    return " ".join(render(result, "md").split())


@pytest.mark.parametrize(
    ("training", "said"),
    [
        (Training("train.seed", "none", pending=True), "luck of `train.seed` is not yet known"),
        (Training("train.seed", "none"), "`train: {repeats: 5}` in the policy"),
        (Training("train.seed", "none", note="a stage failed"), "a stage failed"),
        (KNOWN.training, "Judged is what to expect of the next training of each side"),
    ],
)
def test_the_comment_says_what_is_known_of_the_luck_of_the_seed(training: Training, said: str) -> None:
    text = told(training)
    assert "Training noise" in text
    assert said in text
    assert ("The standard error of the change, by its source" in text) == training.is_known


@pytest.mark.parametrize("training", [None, Training("train.seed", "same")])
def test_where_no_seed_is_named_or_one_model_is_evaluated_there_is_no_section(training: Training | None) -> None:
    assert "Training noise" not in told(training)
