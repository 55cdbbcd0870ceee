import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.length import length

from lockgate.evaluation import statistics
from lockgate.evaluation.statistics import Definition, Undefined, benjamini_hochberg, compare, judge, reported, value

EVERY = ("roc_auc", "average_precision", "accuracy", "log_loss", "brier", "calibration_error")

ROWS = {"calibration_error": 4000, "average_precision": 800}
PAIRS = {"calibration_error": length(200, 1000), "average_precision": length(400, 1000)}
"""How many pairs are simulated: fewer where a pair takes long. benchmarks/study_coverage.py simulates more of each."""
SIMULATED = [
    pytest.param(name, marks=pytest.mark.slow) if name in ("average_precision", "calibration_error") else name
    for name in EVERY
]

# The worked example of DeLong, DeLong and Clarke-Pearson (1988): of 43 patients with ovarian cancer albumin, total
# protein, the Krebs-Goplerud score and the outcome of surgery, as the SAS/STAT user's guide prints them ("Comparing
# Receiver Operating Characteristic Curves" of PROC LOGISTIC). The event is 0; the score counts as it is printed.
OVARIAN = """
3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0  1.6 5.6 5 1  3.8 5.7 5 1
3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1  4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0
4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1  3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1
4.3 6.5 4 1  3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1  3.5 6.2 5 1
2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1  3.6 6.6 5 1
"""


def draw(
    generator: np.random.Generator, rows: int, noise_base: float, noise_head: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate labels and two models that see the truth through noise of their own, both a little overconfident."""
    truth = generator.normal(size=rows) * 1.2 - 0.8
    label = generator.random(rows) < 1 / (1 + np.exp(-truth))
    scores = [
        1 / (1 + np.exp(-(truth + 0.3 + generator.normal(size=rows) * noise))) for noise in (noise_base, noise_head)
    ]
    return label, scores[0], scores[1]


def error_of(pairs: int) -> float:
    """Return the standard error of how often one in twenty is seen in this many pairs."""
    return float(np.sqrt(0.05 * 0.95 * pairs))


# --- against published figures


@pytest.mark.parametrize(
    ("column", "auc", "z", "p", "variance"),
    [
        (0, 0.7365591397849462, 0.1127782690445276, 0.9102063472010342, 0.00909040544186226),
        (1, 0.6478494623655914, -0.7452183896579927, 0.45613970750747357, 0.010943166051776873),
    ],
    ids=["albumin", "total protein"],
)
def test_delong_gives_the_figures_of_a_published_implementation_on_the_papers_own_data(
    column: int, auc: float, z: float, p: float, variance: float
) -> None:
    """Figures: ``Delong_test`` of MLstatkit 0.1.91 (PyPI), in full precision; base is the Krebs-Goplerud score."""
    table = np.array(OVARIAN.split(), dtype=float).reshape(-1, 4)
    event = table[:, 3] == 0

    estimate = statistics.delong(event, table[:, 2], -table[:, column])

    error = (estimate.high - estimate.change) / 1.959963984540054
    assert estimate.base == pytest.approx(0.7258064516129031, rel=1e-12)
    assert estimate.head == pytest.approx(auc, rel=1e-12)
    assert error**2 == pytest.approx(variance, rel=1e-10)
    assert estimate.change / error == pytest.approx(z, rel=1e-10)
    assert estimate.p == pytest.approx(p, rel=1e-10)


@pytest.mark.parametrize("decimals", [16, 2, 1], ids=["no ties", "some ties", "many ties"])
def test_values_are_those_of_scikit_learn(decimals: int) -> None:
    from sklearn import metrics as sklearn_metrics  # here: the processes of another test import this module

    label, base, _ = draw(np.random.default_rng(1), 3000, 0.5, 0.5)
    base = base.round(decimals)
    expected = {
        "roc_auc": sklearn_metrics.roc_auc_score(label, base),
        "average_precision": sklearn_metrics.average_precision_score(label, base),
        "accuracy": sklearn_metrics.accuracy_score(label, base >= 0.5),
        "log_loss": sklearn_metrics.log_loss(label, base),
        "brier": sklearn_metrics.brier_score_loss(label, base),
    }

    assert {name: value(name, label, base) for name in expected} == pytest.approx(expected, rel=1e-12)


def test_calibration_error_is_the_weighted_gap_of_ten_bins() -> None:
    score = np.array([0.05] * 10 + [0.95] * 30)
    label = np.array([True] * 2 + [False] * 8 + [True] * 27 + [False] * 3)

    assert value("calibration_error", label, score) == pytest.approx(0.25 * 0.15 + 0.75 * 0.05)


def weigh(generator: np.random.Generator, rows: int) -> np.ndarray:
    """Draw whole weights, some of them 0."""
    return generator.integers(0, 4, rows).astype(float)


@pytest.mark.parametrize("decimals", [16, 1], ids=["no ties", "many ties"])
def test_weighted_values_are_those_of_scikit_learn(decimals: int) -> None:
    from sklearn import metrics as sklearn_metrics

    label, base, _ = draw(np.random.default_rng(1), 3000, 0.5, 0.5)
    base, weights = base.round(decimals), weigh(np.random.default_rng(2), 3000)
    if decimals == 16:
        weights *= np.random.default_rng(3).random(3000)
    by = {"sample_weight": weights}
    expected = {
        "roc_auc": sklearn_metrics.roc_auc_score(label, base, **by),
        "average_precision": sklearn_metrics.average_precision_score(label, base, **by),
        "accuracy": sklearn_metrics.accuracy_score(label, base >= 0.2, **by),
        "log_loss": sklearn_metrics.log_loss(label, base, **by),
        "brier": sklearn_metrics.brier_score_loss(label, base, **by),
    }

    found = {name: value(name, label, base, Definition(threshold=0.2, weights=weights)) for name in expected}
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_mean_over_classes_is_scikit_learns_with_balanced_weights(weighted: bool) -> None:
    from sklearn import metrics as sklearn_metrics

    label, base, _ = draw(np.random.default_rng(1), 3000, 0.5, 0.5)
    weights = weigh(np.random.default_rng(2), 3000) if weighted else np.ones(3000)
    of_class = np.where(label, weights[label].sum(), weights[~label].sum())
    balanced = {"sample_weight": weights / of_class}
    expected = {
        "accuracy": sklearn_metrics.balanced_accuracy_score(label, base >= 0.5, sample_weight=weights),
        "log_loss": sklearn_metrics.log_loss(label, base, **balanced),
        "brier": sklearn_metrics.brier_score_loss(label, base, **balanced),
    }

    definition = Definition(average="macro", weights=weights if weighted else None)
    assert {name: value(name, label, base, definition) for name in expected} == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_a_row_of_weight_three_is_three_copies_of_it_in_one_cluster(name: str) -> None:
    label, base, head = draw(np.random.default_rng(4), 400, 0.9, 0.6)
    weights = weigh(np.random.default_rng(5), 400)
    copies = np.repeat(np.arange(400), weights.astype(int))

    one = compare(name, label, base, head, np.arange(400), Definition(weights=weights))
    other = compare(name, label[copies], base[copies], head[copies], copies)

    assert (one.base, one.head, one.change) == pytest.approx((other.base, other.head, other.change), rel=1e-9)
    assert one.error == pytest.approx(other.error, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "average"),
    [*[(name, "micro") for name in EVERY], *[(name, "macro") for name in ("accuracy", "log_loss", "brier")]],
)
def test_weighted_intervals_agree_with_a_bootstrap(name: str, average: str) -> None:
    generator = np.random.default_rng(6)
    label, base, head = draw(generator, 1500, 0.9, 0.6)
    weights = generator.uniform(0.1, 1.9, 1500)

    def change(rows: np.ndarray) -> float:
        chosen = Definition(average=average, weights=weights[rows])
        return value(name, label[rows], head[rows], chosen) - value(name, label[rows], base[rows], chosen)

    drawn = [change(generator.integers(0, 1500, 1500)) for _ in range(400)]
    found = compare(name, label, base, head, None, Definition(average=average, weights=weights))
    below = 0.3 if name == "calibration_error" else 0.12  # which is corrected for the bend of the absolute value at 0
    assert 1 - below < found.error / float(np.std(drawn, ddof=1)) < 1.12


# --- against resampling


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_interval_agrees_with_a_bootstrap_of_two_thousand_resamples(name: str) -> None:
    label, base, head = draw(np.random.default_rng(3), 1000, 0.9, 0.5)
    generator = np.random.default_rng(4)
    changes = []
    for _ in range(2000):
        rows = generator.integers(0, len(label), len(label))
        changes.append(value(name, label[rows], head[rows]) - value(name, label[rows], base[rows]))

    estimate = compare(name, label, base, head)

    error = (estimate.high - estimate.low) / (2 * 1.959963984540054)
    if name == "calibration_error":  # the plain bootstrap is too wide where the absolute value bends; ours corrects it
        assert 0.85 * np.std(changes) < error < 1.02 * np.std(changes)
    else:
        assert error == pytest.approx(np.std(changes), rel=0.05)
        low, high = np.quantile(changes, [0.025, 0.975])
        assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=0.2 * error)


@pytest.mark.parametrize("name", SIMULATED)
def test_of_equal_pairs_about_one_in_twenty_is_called_better_or_worse(name: str) -> None:
    generator = np.random.default_rng(77)
    rows, pairs = ROWS.get(name, 400), PAIRS.get(name, 1000)

    called = 0
    for _ in range(pairs):
        estimate = compare(name, *draw(generator, rows, 0.7, 0.7))
        called += judge(estimate.low, estimate.high, "higher") != "noise"

    assert called == pytest.approx(0.05 * pairs, abs=2.2 * error_of(pairs))


@pytest.mark.parametrize("name", SIMULATED)
def test_the_interval_covers_a_known_difference_as_often_as_it_says(name: str) -> None:
    """The difference is known from the mean of many simulated pairs: for the calibration error, which is biased upwards
    on few rows, it is the difference to expect on this many rows."""
    generator = np.random.default_rng(12)
    rows, pairs = ROWS.get(name, 400), PAIRS.get(name, 1000)
    if name == "calibration_error":
        drawn = (draw(generator, rows, 0.9, 0.5) for _ in range(1000))
        known = np.mean([value(name, label, head) - value(name, label, base) for label, base, head in drawn])
    else:
        label, base, head = draw(generator, 1_000_000, 0.9, 0.5)
        known = value(name, label, head) - value(name, label, base)

    covered = 0
    for _ in range(pairs):
        estimate = compare(name, *draw(generator, rows, 0.9, 0.5))
        covered += estimate.low <= known <= estimate.high

    assert covered == pytest.approx(0.95 * pairs, abs=3 * error_of(pairs))


def test_benjamini_hochberg_gives_the_figures_of_the_1995_paper() -> None:
    """The fifteen p-values of their section 3.2: four are found at 0.05, where Bonferroni finds three."""
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1.0,
    ]

    adjusted = benjamini_hochberg(p[::-1])[::-1]

    assert sum(one <= 0.05 for one in adjusted) == 4
    assert adjusted[:4] == pytest.approx([0.0015, 0.003, 0.0095, 0.035625])
    assert adjusted[-1] == 1.0


@given(st.lists(st.floats(0, 1), max_size=30))
def test_adjusting_keeps_the_order_and_never_lowers_a_p_value(p: list[float]) -> None:
    adjusted = benjamini_hochberg(p)

    assert all(after >= before for before, after in zip(p, adjusted, strict=True))
    assert all(after <= 1 for after in adjusted)
    ordered = [after for _, after in sorted(zip(p, adjusted, strict=True))]
    assert ordered == sorted(ordered)


# --- rows that belong together


def together(
    generator: np.random.Generator, sizes: np.ndarray, noise_base: float = 0.7, noise_head: float = 0.7
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Simulate rows of clusters that share a part of the truth and a part of each model's error."""
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    truth = generator.normal(size=len(cluster)) + 0.7 * generator.normal(size=len(sizes))[cluster] - 0.8
    label = generator.random(len(cluster)) < 1 / (1 + np.exp(-truth))
    scores = []
    for noise in (noise_base, noise_head):
        error = noise * (0.3 * generator.normal(size=len(cluster)) + generator.normal(size=len(sizes))[cluster])
        scores.append(1 / (1 + np.exp(-(truth + error))))
    return label, scores[0], scores[1], cluster


@pytest.mark.parametrize("name", [name for name in EVERY if name != "calibration_error"])
def test_every_row_a_cluster_of_its_own_is_no_cluster(name: str) -> None:
    label, base, head = draw(np.random.default_rng(3), 1000, 0.9, 0.5)

    alone, each = compare(name, label, base, head), compare(name, label, base, head, np.arange(1000))

    assert each.error == pytest.approx(alone.error, rel=0.003)  # DeLong counts the degrees of freedom by class


@pytest.mark.parametrize("name", EVERY)
def test_rows_given_twice_are_no_more_evidence_where_the_copies_are_one_cluster(name: str) -> None:
    label, base, head = draw(np.random.default_rng(3), 1000, 0.9, 0.5)
    twice = [np.concatenate([one, one]) for one in (label, base, head)]
    rows = np.arange(1000)

    single = compare(name, label, base, head, rows).error
    paired = compare(name, *twice, np.concatenate([rows, rows])).error

    assert paired == pytest.approx(single, rel=0.02 if name == "calibration_error" else 1e-9)
    assert compare(name, *twice).error < 0.8 * single


@pytest.mark.parametrize("name", EVERY)
def test_whole_clusters_resampled_give_the_same_error(name: str) -> None:
    """Each cluster counted twice or not at all, 400 times, against the closed form."""
    generator = np.random.default_rng(5)
    label, base, head, cluster = together(generator, np.full(120, 25), 0.9, 0.5)
    changes = []
    for _ in range(400):
        rows = np.repeat(np.arange(len(label)), 2 * generator.integers(0, 2, 120)[cluster])
        changes.append(value(name, label[rows], head[rows]) - value(name, label[rows], base[rows]))

    assert compare(name, label, base, head, cluster).error == pytest.approx(np.std(changes), rel=0.12)


@pytest.mark.parametrize("name", ["roc_auc", "log_loss"])
@pytest.mark.parametrize("sizes", ["equal", "unequal"])
def test_of_equal_pairs_in_thirty_clusters_one_in_twenty_is_called_and_without_clusters_many_more(
    name: str, sizes: str
) -> None:
    generator = np.random.default_rng(8)
    sized = np.full(30, 40) if sizes == "equal" else np.arange(1, 31) * 3
    called = naive = 0
    for _ in range(400):
        label, base, head, cluster = together(generator, sized)
        try:
            one, other = compare(name, label, base, head, cluster), compare(name, label, base, head)
        except Undefined:  # a few clusters carry it all: no call is made
            continue
        called += judge(one.low, one.high, "higher") != "noise"
        naive += judge(other.low, other.high, "higher") != "noise"

    assert 4 <= called <= 36
    assert naive > 1.5 * called


def test_nine_clusters_are_too_few_and_one_that_holds_nearly_all_rows_widens_the_interval() -> None:
    label, base, head, cluster = together(np.random.default_rng(2), np.full(9, 50))
    with pytest.raises(Undefined, match="9 clusters of rows: too few"):
        compare("brier", label, base, head, cluster)

    label, base, head, _ = together(np.random.default_rng(2), np.full(12, 50))
    even = compare("brier", label, base, head, np.arange(600) // 50)
    uneven = compare("brier", label, base, head, np.minimum(11, np.arange(600) // 35))
    assert even.freedom == pytest.approx(11)
    assert uneven.freedom < 4


def test_a_design_effect_is_the_ratio_of_the_two_variances() -> None:
    label, base, head, cluster = together(np.random.default_rng(2), np.full(100, 50))

    effect = statistics.design_effect("log_loss", label, base, head, cluster)

    ratio = compare("log_loss", label, base, head, cluster).error / compare("log_loss", label, base, head).error
    assert effect == pytest.approx(ratio**2)
    assert effect > 2


# --- few rows


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, 2.2, 7.0, 40.0])
@pytest.mark.parametrize("freedom", [1.0, 2.5, 9.0, 29.0, 400.0, 1e5])
def test_the_t_distribution_is_that_of_scipy(t: float, freedom: float) -> None:
    from scipy import stats

    assert statistics.two_sided_p(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-9)
    assert statistics.t_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


def test_perfect_separation_of_few_rows_is_not_certain() -> None:
    label = np.arange(30) % 2 == 0
    with pytest.raises(Undefined, match="no spread"):
        compare("roc_auc", label, np.full(30, 0.5), np.where(label, 0.9, 0.1))


def test_an_accuracy_that_rests_on_five_rows_has_no_interval() -> None:
    label = np.zeros(2000, dtype=bool)
    head = np.full(2000, 0.1)
    head[:5] = 0.9
    with pytest.raises(Undefined, match="rests on about 5 rows"):
        compare("accuracy", label, np.full(2000, 0.1), head)


@pytest.mark.parametrize(("rows", "cluster"), [(2000, None), (2000, 50)])
def test_decisions_that_differ_on_no_row_are_no_certainty(rows: int, cluster: int | None) -> None:
    label, base, _ = draw(np.random.default_rng(5), rows, 0.9, 0.5)
    head = np.where(base < 0.5, base * 0.99, base)
    groups = None if cluster is None else np.arange(rows) % cluster

    found = compare("accuracy", label, base, head, groups)

    bound = 1 - 0.025 ** (1 / (cluster or rows))  # Clopper and Pearson for none of so many
    assert (found.change, found.p) == (0.0, 1.0)
    assert (found.low, found.high) == pytest.approx((-bound, bound))
    same = compare("roc_auc", label, base, base**3)  # the same order of rows is the same AUC
    assert (same.low, same.high) == (0.0, 0.0)


def test_small_changes_of_accuracy_are_covered_or_not_said() -> None:
    """Zero rows of 200 that differ were told as a change of exactly 0; head is 0.5 % better."""
    generator, label = np.random.default_rng(7), np.ones(200, dtype=bool)
    covered = 0
    for _ in range(400):
        head = np.where(generator.random(200) < 0.005, 0.9, 0.4)
        try:
            found = compare("accuracy", label, np.full(200, 0.41), head)
        except Undefined:
            continue
        covered += not found.low <= 0.005 <= found.high
    assert covered <= 20


def test_a_calibration_error_of_five_true_rows_has_no_interval() -> None:
    label, base, head = draw(np.random.default_rng(5), 1000, 0.9, 0.5)
    label[:] = np.arange(1000) < 5
    with pytest.raises(Undefined, match="5 rows of the rarer class"):
        compare("calibration_error", label, base, head)


def test_a_log_loss_with_certain_scores_has_no_interval() -> None:
    label, base, head = draw(np.random.default_rng(5), 500, 0.9, 0.5)
    head[3] = 1.0
    with pytest.raises(Undefined, match="1 row with a score of 0 or 1"):
        compare("log_loss", label, base, head)


# --- what has to hold whatever the data


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(EVERY), st.integers(0, 1000), st.integers(1, 3))
def test_exchanging_base_and_head_turns_the_sign_and_nothing_else(name: str, seed: int, decimals: int) -> None:
    label, base, head = draw(np.random.default_rng(seed), 200, 0.9, 0.5)
    base, head = base.round(decimals), head.round(decimals)

    try:
        there, back = compare(name, label, base, head), compare(name, label, head, base)
    except Undefined:
        with pytest.raises(Undefined):
            compare(name, label, head, base)
        return

    assert there.change == pytest.approx(-back.change, abs=1e-12)
    width = (there.high - there.low) / 2
    assert (back.high - back.low) / 2 == pytest.approx(width, rel=0.1 if name == "calibration_error" else 1e-9)


@pytest.mark.parametrize("name", EVERY)
def test_the_same_scores_are_no_change_whatever_the_metric(name: str) -> None:
    label, base, _ = draw(np.random.default_rng(5), 200, 0.9, 0.5)

    estimate = compare(name, label, base, base.copy())

    assert (estimate.change, estimate.low, estimate.high, estimate.p) == (0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("name", EVERY)
def test_the_same_rows_give_the_same_figures_every_time(name: str) -> None:
    rows = draw(np.random.default_rng(5), 300, 0.9, 0.5)

    assert compare(name, *rows) == compare(name, *rows)


@pytest.mark.parametrize(
    ("name", "label", "score", "said"),
    [
        ("roc_auc", [], [], "no rows"),
        ("roc_auc", [1] * 50, [0.5] * 50, "50 rows, all of one class: the metric is not defined"),
        ("average_precision", [0], [0.5], "1 row, all of one class"),
        ("log_loss", [0, 1] * 30, [0.5, 1.2] * 30, "the scores are not probabilities"),
        ("brier", [0, 1] * 30, [-3.0, 2.0] * 30, "the scores are not probabilities"),
        ("brier", [0, 1] * 14, [0.1, 0.2] * 14, "28 rows: too few for an interval (it takes 30)"),
        ("roc_auc", [1] * 9 + [0] * 90, [0.1] * 99, "9 rows of the rarer class: too few"),
    ],
)
def test_what_is_undefined_says_why(name: str, label: list[int], score: list[float], said: str) -> None:
    with pytest.raises(Undefined) as caught:
        compare(name, np.array(label, dtype=bool), np.array(score, dtype=float), np.array(score, dtype=float))

    assert str(caught.value).startswith(said)


def test_raw_scores_are_fine_where_only_their_order_counts() -> None:
    label, base, head = draw(np.random.default_rng(5), 300, 0.9, 0.5)

    probabilities = compare("roc_auc", label, base, head)
    margins = compare("roc_auc", label, np.log(base / (1 - base)), np.log(head / (1 - head)))

    assert (margins.low, margins.high) == pytest.approx((probabilities.low, probabilities.high))


def test_one_class_still_has_a_log_loss() -> None:
    score = np.full(50, 0.25)

    assert value("log_loss", np.zeros(50, dtype=bool), score) == pytest.approx(-np.log(0.75))


def test_a_certain_and_wrong_score_stays_finite() -> None:
    assert value("log_loss", np.array([True, False]), np.array([0.0, 0.0])) < 40


@pytest.mark.parametrize(
    ("figure", "carried"),
    [(0.1 + 0.2, 0.3), (0.123456789, 0.123457), (-1e-13, 0.0), (1234567.0, 1234570.0), (2e-9, 2e-9), (0.0, 0.0)],
)
def test_a_reported_figure_has_six_digits_and_no_dust(figure: float, carried: float) -> None:
    assert reported(figure) == carried


@pytest.mark.parametrize(
    ("low", "high", "better", "said"),
    [
        (0.1, 0.2, "higher", "better"),
        (0.1, 0.2, "lower", "worse"),
        (-0.2, -0.1, "higher", "worse"),
        (-0.2, -0.1, "lower", "better"),
        (-0.1, 0.1, "higher", "noise"),
        (0.0, 0.0, "higher", "noise"),
        (0.0, 0.1, "higher", "noise"),
    ],
)
def test_only_an_interval_without_zero_is_more_than_noise(low: float, high: float, better: str, said: str) -> None:
    assert judge(low, high, better) == said  # type: ignore[arg-type]


PRINT_ALL = """
import hashlib
import numpy as np
from lockgate.evaluation import statistics
from tests.lockgate.evaluation.test_statistics import EVERY, draw
for seed in range(3):
    label, base, head = draw(np.random.default_rng(seed), 20_000, 0.6, 0.5)
    for name in EVERY:
        one = statistics.compare(name, label, base.round(6), head.round(6))
        print(name, *(statistics.reported(x) for x in (one.base, one.head, one.change, one.low, one.high, one.p)))
numbers = np.random.default_rng(1).random((300, 300))
print(hashlib.sha256(np.log(numbers).tobytes() + (numbers @ numbers).tobytes()).hexdigest())
"""
PROCESSORS = {
    "this one": {},
    "without AVX2": {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL", "OPENBLAS_CORETYPE": "Nehalem"},
    "without AVX512": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL", "OPENBLAS_CORETYPE": "Haswell"},
    "without FMA": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA"},
}


@pytest.mark.slow
def test_reported_figures_are_the_same_on_processors_with_other_instructions() -> None:
    reports, processors = set(), set()
    for settings_of_processor in PROCESSORS.values():
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PRINT_ALL],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."]), **settings_of_processor},
            capture_output=True,
            text=True,
            check=True,
        )
        *lines, witness = done.stdout.splitlines()
        reports.add(tuple(lines))
        processors.add(witness)

    assert len(processors) > 1  # bits did move
    assert len(reports) == 1
    assert len(reports.pop()) == 3 * len(EVERY)
