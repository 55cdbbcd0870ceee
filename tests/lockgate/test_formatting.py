import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.formatting import count, decimals, duration, fixed, interval, percent, probability, size

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("spread", "value", "places"),
    [
        (0.0012, 0.69, 4),
        (0.0005, 0.69, 5),
        (0.04, 0.66, 3),
        (3.0, 120.0, 1),
        (250.0, 9e4, 0),
        (None, 0.6887, 4),
        (0.0, 0.0, 4),
    ],
)
def test_digits_follow_the_interval_then_the_value(spread: float | None, value: float, places: int) -> None:
    assert decimals(spread, value) == places


@pytest.mark.parametrize(
    ("value", "places", "shown"),
    [
        (0.00613, 4, "+0.0061"),
        (-0.00312, 5, f"{MINUS}0.00312"),
        (-0.00001, 3, "0.000"),
        (1234567.8, 0, "+1,234,568"),
        (-3.2e14, 2, f"{MINUS}3.200e+14"),
        (2.5e-9, 11, "+2.500e-09"),
    ],
)
def test_a_change_has_a_sign_and_a_zero_has_none(value: float, places: int, shown: str) -> None:
    assert fixed(value, places, sign=True) == shown


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 12))
def test_every_finite_figure_is_short(value: float, places: int) -> None:
    assert len(fixed(value, places)) <= 32


def test_an_interval_shows_both_signs() -> None:
    assert interval(-0.0011, 0.0005, 4) == f"[{MINUS}0.0011, +0.0005]"


@pytest.mark.parametrize(
    ("p", "shown"), [(0.0, "< 0.001"), (0.0004, "< 0.001"), (0.0123, "0.012"), (0.41, "0.41"), (1.0, "1.00")]
)
def test_a_p_value_is_never_zero(p: float, shown: str) -> None:
    assert probability(p) == shown


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (9_950, "10 kB"),
        (61_400_000, "61 MB"),
        (999_600, "1.0 MB"),
        (10**19, "10000 PB"),
    ],
)
def test_sizes_have_two_digits_or_more(amount: int, shown: str) -> None:
    assert size(amount) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (9.4, "9.4 s"),
        (24.3, "24 s"),
        (59.7, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.6, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_round_to_what_a_person_says(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_counts_agree_with_their_noun() -> None:
    assert (count(1, "gate"), count(0, "gate"), count(80_000, "row")) == ("1 gate", "0 gates", "80,000 rows")


@pytest.mark.parametrize(
    ("share", "digits", "said"),
    [
        (1.0, 2, "100 %"),
        (0.999, 2, "100 %"),
        (0.95, 4, "95 %"),
        (0.9994, 4, "99.94 %"),
        (0.0, 2, "0 %"),
        (12.3, 2, "1200 %"),
    ],
)
def test_a_share_is_never_written_with_an_exponent(share: float, digits: int, said: str) -> None:
    assert percent(share, digits) == said
