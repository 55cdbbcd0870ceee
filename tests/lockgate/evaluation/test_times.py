"""What stages took on this machine, kept by what they ran with."""

from dataclasses import replace
from pathlib import Path

import pytest

from lockgate.dvc.pipeline import Lock, LockedStage, Recorded
from lockgate.evaluation import times
from lockgate.result import Execution, StageRun


def lock(rate: float) -> Lock:
    entry = LockedStage("train", "make", {"a": Recorded("a", "1" * 32)}, {"params.yaml": {"rate": rate}}, {})
    return Lock({"train": entry})


def ran(seconds: float, status: str = "ran") -> Execution:
    return Execution((StageRun("train", status, seconds, 0),), seconds, 0, 0)  # type: ignore[arg-type]


def of_base(execution: Execution) -> float | None:
    return execution.stages[0].seconds_base


def test_a_run_is_shown_beside_what_base_took_when_it_was_run_here(tmp_path: Path) -> None:
    assert of_base(times.beside(tmp_path, ran(12.0), None, lock(0.1))) is None

    second = times.beside(tmp_path, ran(20.0), lock(0.1), lock(0.2))

    assert of_base(second) == 12.0
    assert of_base(times.beside(tmp_path, ran(5.0), lock(0.2), lock(0.3))) == 20.0
    assert of_base(times.beside(tmp_path, ran(5.0), lock(0.9), lock(0.3))) is None


def test_a_stage_that_did_not_run_is_neither_compared_nor_remembered(tmp_path: Path) -> None:
    times.beside(tmp_path, ran(12.0), None, lock(0.1))
    times.beside(tmp_path, ran(0.1, "restored"), None, lock(0.2))

    assert of_base(times.beside(tmp_path, ran(1.0), lock(0.2), lock(0.3))) is None
    assert of_base(times.beside(tmp_path, ran(0.1, "untouched"), lock(0.1), lock(0.1))) is None


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": "y"}', "3"])
def test_a_file_that_something_else_wrote_counts_as_none(tmp_path: Path, content: str) -> None:
    times.beside(tmp_path, ran(12.0), None, lock(0.1))
    file = next(tmp_path.rglob("times.json"))
    file.write_text(content)

    assert of_base(times.beside(tmp_path, ran(2.0), lock(0.1), lock(0.2))) is None
    assert of_base(times.beside(tmp_path, ran(2.0), lock(0.2), lock(0.3))) == 2.0


def test_old_times_make_room_for_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "MOST", 2)
    for rate in (0.1, 0.2, 0.3):
        times.beside(tmp_path, replace(ran(rate * 10)), None, lock(rate))

    found = [of_base(times.beside(tmp_path, ran(9.0), lock(rate), lock(0.3))) for rate in (0.1, 0.2)]
    assert found == [None, 2.0]
