import numpy as np
import pytest
from tests.lockgate.evaluation.test_statistics import draw

from lockgate.evaluation import statistics
from lockgate.power import power, smallest_shown
from lockgate.result import Comparison, LockStatus, MetricChange, Result, Revision, Verdict


def change(low: float | None, high: float | None) -> MetricChange:
    return MetricChange("roc_auc", "higher", 0.7, 0.7, 0.0, low, high, "noise")


def result(*metrics: MetricChange, clusters: int | None = None) -> Result:
    return Result(
        "m", Revision("a", "0" * 40), Revision("b", "1" * 40), Verdict("passed", ""), LockStatus("local"),
        Comparison(1000, 1000, 1000, clusters=clusters), metrics,
    )  # fmt: skip


def test_a_change_of_the_size_it_names_is_shown_four_times_in_five() -> None:
    """Simulated: the labels are drawn again, the difference between the two models stays."""
    generator = np.random.default_rng(5)
    estimates = [statistics.compare("brier", *draw(generator, 800, 0.9, 0.6)) for _ in range(400)]
    true = abs(float(np.mean([one.change for one in estimates])))
    least = float(np.mean([smallest_shown(change(one.low, one.high)) for one in estimates]))
    shown = np.mean([one.low > 0 or one.high < 0 for one in estimates])

    assert 0.5 * least < true < 1.5 * least  # or the simulation would say nothing
    expected = 1 - statistics.NormalDist().cdf(1.96 - 2.8016 * true / least)
    assert shown == pytest.approx(expected, abs=0.06)


def test_half_the_change_takes_four_times_the_rows_and_the_groups() -> None:
    whole = result(change(-0.0196, 0.0196), clusters=30)
    (one,) = power(whole)

    (half,) = power(whole, one.smallest / 2)

    assert one.smallest == pytest.approx(0.028, abs=0.0001)
    assert (half.needed, half.needed_clusters) == (4000, 120)


@pytest.mark.parametrize("ends", [(None, None), (0.0, 0.0)])
def test_a_metric_without_an_interval_has_no_power_to_speak_of(ends: tuple[float | None, float | None]) -> None:
    assert power(result(change(*ends)), 0.01) == ()
