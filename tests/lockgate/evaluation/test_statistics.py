import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from lockgate.evaluation import statistics
from lockgate.evaluation.statistics import Undefined, benjamini_hochberg, compare, judge, reported, value

EVERY = ("roc_auc", "average_precision", "accuracy", "log_loss", "brier", "calibration_error")

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


# --- against resampling


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY)
def test_every_interval_agrees_with_a_bootstrap_of_ten_thousand_resamples(name: str) -> None:
    label, base, head = draw(np.random.default_rng(3), 1000, 0.9, 0.5)
    generator = np.random.default_rng(4)
    changes = []
    for _ in range(10_000):
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
def test_of_a_thousand_equal_pairs_about_one_in_twenty_is_called_better_or_worse(name: str) -> None:
    generator = np.random.default_rng(77)
    rows = 4000 if name == "calibration_error" else 400

    called = 0
    for _ in range(1000):
        estimate = compare(name, *draw(generator, rows, 0.7, 0.7))
        called += judge(estimate.low, estimate.high, "higher") != "noise"

    assert 35 <= called <= 65


@pytest.mark.parametrize("name", SIMULATED)
def test_the_interval_covers_a_known_difference_as_often_as_it_says(name: str) -> None:
    """The difference is known from the mean of many simulated pairs: for the calibration error, which is biased upwards
    on few rows, it is the difference to expect on this many rows."""
    generator = np.random.default_rng(12)
    rows = 4000 if name == "calibration_error" else 400
    if name == "calibration_error":
        pairs = [draw(generator, rows, 0.9, 0.5) for _ in range(1000)]
        known = np.mean([value(name, label, head) - value(name, label, base) for label, base, head in pairs])
    else:
        label, base, head = draw(generator, 1_000_000, 0.9, 0.5)
        known = value(name, label, head) - value(name, label, base)

    covered = 0
    for _ in range(1000):
        estimate = compare(name, *draw(generator, rows, 0.9, 0.5))
        covered += estimate.low <= known <= estimate.high

    assert 930 <= covered <= 970


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


# --- what has to hold whatever the data


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(EVERY), st.integers(0, 1000), st.integers(1, 3))
def test_exchanging_base_and_head_turns_the_sign_and_nothing_else(name: str, seed: int, decimals: int) -> None:
    label, base, head = draw(np.random.default_rng(seed), 200, 0.9, 0.5)
    base, head = base.round(decimals), head.round(decimals)

    there, back = compare(name, label, base, head), compare(name, label, head, base)

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


def test_more_rows_than_are_resampled_give_the_same_error_scaled() -> None:
    label, base, head = draw(np.random.default_rng(6), 4 * statistics.RESAMPLED, 0.9, 0.5)
    part = slice(0, statistics.RESAMPLED)

    whole = compare("average_precision", label, base, head)
    quarter = compare("average_precision", label[part], base[part], head[part])

    assert whole.high - whole.low == pytest.approx((quarter.high - quarter.low) / 2, rel=0.12)


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
