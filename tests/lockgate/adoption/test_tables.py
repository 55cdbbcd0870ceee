"""Which columns of a table are predictions, and why a table holds none."""

import pytest

from lockgate.adoption.found import FoundMetric
from lockgate.adoption.tables import Table, predictions_in
from lockgate.policy import Predictions

ROWS = "".join(f"{n},{n % 2},{(n * 37 % 100) / 100},{'ab'[n % 2]},2024-01-{n % 5 + 1:02}\n" for n in range(50))


def test_label_score_key_group_and_slices_are_found_by_their_values() -> None:
    table = predictions_in("p.csv", f"row_id,late,probability,side,date\n{ROWS}".encode())

    assert isinstance(table, Table)
    found = table.predictions
    assert (found.label, found.score, found.key) == ("late", "probability", ("row_id",))
    assert (found.cluster, found.slices) == (("date",), ("side",))
    assert {"roc_auc", "log_loss", "accuracy"} <= set(table.statistics)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"id,late,score\n1,0,0.5\n", "fewer than two rows"),
        (b"id,late,score\n1,0,0.5\n2,3,0.5\n", "0 and 1"),
        (b"id,late,size\n1,0,0.5\n2,1,0.7\n", "no column looks like a score"),
        (b"late,score\n0,0.5\n1,0.5\n", "no column names its rows"),
        (b"id,late,score\n1,0,0.5\n2,1,nan\n", "score"),
    ],
)
def test_a_table_without_usable_predictions_says_what_it_lacks(content: bytes, reason: str) -> None:
    told = predictions_in("p.csv", content)

    assert isinstance(told, str)
    assert reason in told


@pytest.mark.parametrize(
    ("written", "statistic"),
    [(0.019338, "calibration_error"), (0.0193, "calibration_error"), (0.019, "calibration_error"), (0.019164, None)],
)
def test_a_metric_is_a_statistic_of_the_rows_only_as_far_as_it_was_rounded(
    written: float, statistic: str | None
) -> None:
    table = Table(Predictions("p.csv", ("id",), "label", "score", (), None), {}, {"calibration_error": 0.019338})

    found = table.recognise(FoundMetric("m", "m.json", "calibration_error.month", written, "lower"))

    assert found.statistic == statistic
