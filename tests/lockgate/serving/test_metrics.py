"""What Prometheus is told of scores and requests."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lockgate.serving.metrics import Metrics


def metrics() -> Metrics:
    found = SimpleNamespace(release="m@v1", digest="b", number=1)
    service: Any = SimpleNamespace(
        current=SimpleNamespace(found=found), problems={}, held=0, restarts=0, recorder=None, metrics=None
    )
    service.metrics = Metrics(service)
    return service.metrics  # type: ignore[no-any-return]


def sample(made: Metrics, name: str, **labels: str) -> float | None:
    return made.registry.get_sample_value(name, labels)


@pytest.mark.parametrize("rows", [3, 500])
def test_scores_and_missing_values_are_counted_one_by_one_and_many_at_once(rows: int) -> None:
    made = metrics()
    scores = np.random.default_rng(rows).random(rows)
    scores[:2] = 0.0, 1.0
    made.scored([{"x": 1, "y": None if n % 2 else 3} for n in range(rows)], scores.tolist(), ("x", "y"))
    assert sample(made, "lockgate_score_count") == rows
    assert sample(made, "lockgate_score_sum") == pytest.approx(scores.sum())
    assert sample(made, "lockgate_score_bucket", le="0.25") == (scores < 0.25).sum()
    assert sample(made, "lockgate_score_bucket", le="+Inf") == rows
    assert sample(made, "lockgate_missing_values_total", column="y") == rows // 2
    assert sample(made, "lockgate_missing_values_total", column="x") is None


def test_live_figures_are_told_and_a_file_of_anything_else_is_not(tmp_path: Path) -> None:
    made = metrics()
    before = made.text()
    made.live = tmp_path / "live.prom"
    assert made.text() == before
    live = '# HELP lockgate_live_rows rows\n# TYPE lockgate_live_rows gauge\nlockgate_live_rows{model="m"} 5\n'
    made.live.write_text(live)
    assert made.text().decode().endswith(live)
    for other in ("lockgate_rows_total 7\n", "# TYPE other gauge\nother 1\n", "lockgate_live_rows 1\n" * 60_000):
        made.live.write_text(other)
        assert made.text() == before
