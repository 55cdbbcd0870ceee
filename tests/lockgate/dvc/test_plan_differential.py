"""Generated repositories and edits: the plan is what DVC says, in the tree, of the commit and in a fresh clone.

``make study`` tries many more: benchmarks/study_differential.py.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from tests.length import length
from tests.lockgate.generated import EDITS, Drawn, check, check_honest_run, drawn


@pytest.fixture(autouse=True)
def _back() -> Iterator[None]:
    here = Path.cwd()
    yield
    os.chdir(here)


@given(drawn())
@settings(
    max_examples=length(6, 60),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_the_plan_of_a_generated_repository_is_what_dvc_says(what: Drawn) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), what)
        os.chdir("/")


@pytest.mark.parametrize("feature", ["tracked", "ignored"])
def test_an_honest_run_of_a_generated_repository_fits(feature: str, tmp_path: Path) -> None:
    check_honest_run(tmp_path, Drawn((feature, "flags"), (EDITS[feature][0], "what a frozen stage reads")))
