"""Figures as people read them: as many digits as mean something, a true minus sign, sizes and durations in words.

Every function is pure and knows no locale, so that two machines write the same characters.
"""

from collections.abc import Collection, Iterable, Sequence
from math import floor, log10

_SIZES = ("B", "kB", "MB", "GB", "TB", "PB")


def decimals(spread: float | None, value: float | None = None) -> int:
    """Return how many decimal places to show of a figure that is known to about ``± spread``.

    Two significant digits of the spread (half an interval's width, say); without one, four of ``value`` itself.
    """
    if spread:
        return min(12, max(0, 1 - exponent(spread)))
    return min(12, max(0, 3 - exponent(value))) if value else 4


def exponent(value: float) -> int:
    """Return the power of ten of the first digit of ``value``, which is not zero: -3 for 0.0012."""
    return floor(log10(abs(value)))


def fixed(value: float, places: int, *, sign: bool = False) -> str:
    """Write ``value`` with ``places`` decimals and thousands apart; with ``sign``, a positive figure gets its plus.

    What rounds to zero has no sign, and a figure too long to read is written with an exponent.
    """
    long = abs(value) >= 1e12 or (places > 9 and 0 < abs(value) < 1e-6)
    digits = f"{abs(value):.3e}" if long else f"{abs(value):,.{places}f}"
    if not digits.strip("0.,"):
        return digits
    return ("\N{MINUS SIGN}" if value < 0 else "+" if sign else "") + digits


def interval(low: float, high: float, places: int) -> str:
    """Write an interval of a change: ``[+0.0011, +0.0035]``."""
    return f"[{fixed(low, places, sign=True)}, {fixed(high, places, sign=True)}]"


def probability(p: float) -> str:
    """Write a p-value: two significant digits, and never a bare zero."""
    return "< 0.001" if p < 0.001 else fixed(p, 3 if p < 0.1 else 2)


def percent(share: float, digits: int = 4) -> str:
    """Write a share with so many significant digits at most: ``95 %``, ``99.9 %``."""
    return f"{float(f'{100 * share:.{digits}g}'):.15g} %"  # 100 with two digits is 100, not 1e+02


_TITLES = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "ndcg": "NDCG",
    "mrr": "MRR",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "f1": "F1",
    "rmse": "RMSE",
    "mae": "MAE",
    "mse": "MSE",
    "r2": "R²",
    "quantile_loss": "quantile loss",
    "interval_width": "interval width",
    "interval_score": "interval score",
}


def title(metric: str) -> str:
    """Return a metric's name as people say it: ``ROC AUC``; a name that is not known stays as it is."""
    return _TITLES.get(metric, metric)


def count(number: int, noun: str, plural: str = "") -> str:
    """Write a number of things: ``1 gate``, ``80,000 rows``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(amount: int) -> str:
    """Write an amount of bytes in decimal units: ``512 B``, ``3.1 MB``, ``61 MB``."""
    value, unit = float(amount), 0
    while value >= 999.5 and unit < len(_SIZES) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_SIZES[unit]}" if unit and value < 9.95 else f"{value:.0f} {_SIZES[unit]}"


def duration(seconds: float) -> str:
    """Write a span of time: ``0.4 s``, ``24 s``, ``2 min 5 s``, ``1 h 3 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = ()) -> str:
    """Write lines of aligned columns under their titles; the columns named in ``right`` stand to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    aligned = [
        [cell.rjust(width) if title in right else cell.ljust(width) for cell, width, title in
         zip(line, widths, head, strict=True)]
        for line in lines
    ]  # fmt: skip
    return "".join("  ".join(line).rstrip() + "\n" for line in aligned)
