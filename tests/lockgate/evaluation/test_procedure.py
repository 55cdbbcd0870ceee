"""The statistics of procedures: rows and seeds together. The long simulation is benchmarks/study_seeds.py."""

import numpy as np
import pytest
from benchmarks import study_seeds
from scipy import stats

from lockgate.evaluation import procedure, statistics
from lockgate.evaluation.procedure import Models, Spread
from lockgate.evaluation.statistics import Undefined

METRICS = study_seeds.METRICS


def draw(rows: int = 400, clusters: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(4)
    known, label, cluster = study_seeds.world(generator, rows, clusters)
    return label, study_seeds.train(generator, known, cluster, study_seeds.SCENARIOS["seeds matter most"]), cluster


@pytest.mark.parametrize("metric", [*METRICS, "accuracy"])
def test_the_influence_of_a_row_is_the_derivative_of_the_metric_by_its_weight(metric: str) -> None:
    label, score, _ = draw()
    value, influence = statistics.influence(metric, label, score)
    assert value == pytest.approx(statistics.value(metric, label, score))
    assert influence.sum() == pytest.approx(0, abs=1e-9)
    for row in (int(np.flatnonzero(label)[3]), int(np.flatnonzero(~label)[5])):
        many = 2000  # copies of every row, so that one more is a small weight
        whole = np.append(np.repeat(label, many), label[row]), np.append(np.repeat(score, many), score[row])
        moved = (statistics.value(metric, *whole) - value) * len(label) * many
        assert moved == pytest.approx(influence[row] * len(label), rel=0.02, abs=2e-3)


def test_the_parts_of_the_variance_are_those_of_a_simulated_study() -> None:
    """Rows, seeds and what both share are drawn with known variances: the estimate finds each, on average."""
    generator, units, repeats = np.random.default_rng(0), 60, 4
    own, level, shared = 2.0, 0.3, 2.0  # standard deviations: a row's own, a seed's, a row's under one seed
    found = []
    for _ in range(500):
        of_rows = own * generator.normal(size=units)
        sides = []
        for sign in (0.0, 1.0):
            apart = shared * generator.normal(size=(units, repeats))
            values = level * generator.normal(size=repeats) + sign * of_rows.mean() + apart.mean(axis=0)
            influence = (sign * of_rows[:, None] + apart) / units
            sides.append(Models(tuple(values), influence - influence.mean(axis=0)))
        one = procedure.estimate(*sides, np.arange(units))
        found.append((one.rows, one.base_seeds, one.head_seeds, one.change))
    rows, base, head, _ = np.mean(found, axis=0)
    of_seed = (level**2 + shared**2 / units) / repeats
    assert (rows, base, head) == pytest.approx((own**2 / units, of_seed, of_seed), rel=0.12)
    assert rows + base + head == pytest.approx(np.var([one[3] for one in found]), rel=0.2)


def test_without_rows_it_is_the_test_of_welch() -> None:
    base, head = (0.70, 0.72, 0.71, 0.75, 0.69), (0.74, 0.73, 0.76, 0.77)
    sides = [Models(values, np.zeros((40, len(values)))) for values in (base, head)]
    found = procedure.estimate(*sides, np.arange(40))
    expected = stats.ttest_ind(head, base, equal_var=False)
    low, high = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6)
    assert found.freedom == pytest.approx(expected.df, rel=1e-6)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6)


def test_a_side_that_was_trained_once_borrows_the_spread_of_the_other_or_of_past_runs() -> None:
    base, once = Models((0.70, 0.72, 0.71), np.zeros((40, 3))), Models((0.75,), np.zeros((40, 1)))
    found = procedure.estimate(base, once, np.arange(40))
    assert found.freedom == pytest.approx(2)
    assert found.head_seeds == pytest.approx(3 * found.base_seeds)

    past = Spread.pooled([[0.70, 0.72], [0.60, 0.63, 0.61], [0.5]])
    assert past is not None
    assert past.freedom == 3
    assert procedure.estimate(once, Models((0.75,), np.zeros((40, 1))), None, past).change == 0
    with pytest.raises(Undefined):
        procedure.estimate(once, once)
    assert Spread.pooled([[0.5], []]) is None


def test_holm_multiplies_the_smallest_by_all_the_next_by_one_less_and_never_falls() -> None:
    assert procedure.holm([0.04, 0.001, 0.2, 0.013, 0.6]) == pytest.approx([0.12, 0.005, 0.4, 0.052, 0.6])
    assert procedure.holm([0.03, 0.02, 0.02]) == pytest.approx([0.06, 0.06, 0.06])
    assert procedure.holm([]) == []


def test_no_spread_at_all_is_no_certainty() -> None:
    alike = [Models((value, value), np.zeros((40, 2))) for value in (0.7, 0.8)]
    with pytest.raises(Undefined):
        procedure.estimate(*alike)
    same = procedure.estimate(alike[0], alike[0])
    assert (same.low, same.high, same.p) == (0, 0, 1)


def test_another_seed_alone_is_seldom_called_a_change() -> None:
    """The short version of the study: at most 5 % are meant, and 150 comparisons with 5 % have 13 or fewer in 98 %."""
    scenario = study_seeds.SCENARIOS["seeds matter most"]
    found = study_seeds.simulate(scenario, 150, rows=400, clusters=40, repeats=5)
    assert found["rows and seeds"]["called"] <= 13
    assert found["rows alone"]["called"] > found["rows and seeds"]["called"] / study_seeds.ASIDE
    assert max(found["each metric by itself"].values()) <= 0.12
