"""How much of what can be drawn without end is drawn: little in ``make test``, much in ``make study``."""

import os

VARIABLE = "LOCKGATE_TEST_LENGTH"


def length(short: int, long: int) -> int:
    """Return how many examples, seeds or steps to take: ``long`` in a study (``benchmarks/study_tests.py``)."""
    return long if os.environ.get(VARIABLE) == "long" else short
