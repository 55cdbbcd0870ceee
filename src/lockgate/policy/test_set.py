"""``test_set``: how often the figures of one test set may be looked at."""

from dataclasses import dataclass
from typing import Any

from lockgate import policy_values as values
from lockgate.policy_values import Key, PolicyError

LOOKS, CONFIDENCE = 50, 0.95
"""What a policy that only says ``test_set: {}`` plans, and from which look on one that says nothing is warned."""


@dataclass(frozen=True, slots=True)
class TestSet:
    """How many comparisons on one test set are planned (``looks``), and the ``confidence`` of all of them together.

    ``refreshed_by`` is the parameter whose new value brings other test rows, written as DVC writes parameters.
    """

    __test__ = False  # for pytest, which would take it for tests

    looks: int = LOOKS
    confidence: float = CONFIDENCE
    refreshed_by: str = ""

    @property
    def of_one(self) -> float:
        """The confidence of each interval: what may go wrong is spent in equal parts (Bonferroni)."""
        return 1 - (1 - self.confidence) / self.looks


@values.takes({"type": "number", "exclusiveMinimum": 0.5, "exclusiveMaximum": 1})
def _confidence(place: str, value: Any) -> float:
    found = values.number(place, value)
    if not 0.5 < found < 1:
        raise PolicyError(place, "must be above 0.5 and below 1, such as 0.95", value)
    return found


@values.takes({"type": "integer", "minimum": 1, "maximum": 100_000})
def _looks(place: str, value: Any) -> int:
    found = values.count(place, value)
    if found > 100_000:
        raise PolicyError(place, "must be at most 100000: no test set stands more comparisons", value)
    return found


KEYS = {
    "looks": Key(_looks, False, f"how many comparisons on one test set are planned (default {LOOKS})"),
    "confidence": Key(_confidence, False, f"the confidence of all of them together (default {CONFIDENCE})"),
    "refreshed_by": Key(values.text, False, "the parameter whose new value brings other test rows"),
}
SECTION = Key(values.noun(TestSet, KEYS), False, "how often one test set may be looked at: docs/statistics.md")
