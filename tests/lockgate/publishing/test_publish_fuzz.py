"""A short campaign of broken and forged artifacts; ``make study`` runs the long one."""

import runpy
from pathlib import Path

STUDY = Path(__file__).parents[3] / "benchmarks/study_artifact_fuzz.py"


def test_every_mutated_artifact_is_answered_and_none_is_green_for_another_result() -> None:
    found = runpy.run_path(str(STUDY))["study"](250)

    assert found["escapes"] == []
    assert found["mutations"] == 250
    assert sum(number for answer, number in found["answers"].items() if answer.endswith(": error")) > 150
