"""What a monitor finds of one window: the nouns of a finding, as it is shown, printed as JSON and kept in the store."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from lockgate.monitoring.drift import Drift
from lockgate.monitoring.quality import EXCESS, CalibrationBin, Estimated, Live

Verdict = Literal["calm", "look", "alarm", "not judged"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """How much was asked, and how quickly it was answered.

    ``days`` are days with the number of their scores; ``hours`` the scores by hour of the day, UTC. ``longest_gap`` is
    in seconds, latencies in milliseconds (``None``: the record does not know them). Of the record's own faults,
    ``wrong_labels`` outcomes were neither 0 nor 1, ``repeated`` scores were recorded twice, and ``no_score`` answers
    were no probability; none of them counts.
    """

    days: tuple[tuple[str, int], ...]
    hours: tuple[int, ...]
    longest_gap: float
    latency_median: float | None
    latency_p99: float | None
    wrong_labels: int
    repeated: int
    no_score: int


@dataclass(frozen=True, slots=True)
class Expected:
    """An expectation of the raw tables, asked of the recorded requests of the window: how many of ``rows`` do not meet
    it, and whether that is within the share that the suite allows."""

    column: str
    rule: str
    severity: str
    rows: int
    failures: int
    success: bool
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Skew:
    """A column of recorded requests beside the same rows of the training table: on how many of ``rows`` they differ."""

    column: str
    rows: int
    differ: int
    example: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """What one release did in a window. ``first`` and ``last`` are the times of its scores; ``expected`` and ``skew``
    are empty where they were not asked for."""

    release: str
    build: str
    rows: int
    labelled: int
    first: str
    last: str
    promised: bool
    metrics: tuple[Live, ...]
    slices: tuple[Live, ...]
    calibration: tuple[CalibrationBin, ...]
    estimates: tuple[Estimated, ...]
    drift: tuple[Drift, ...]
    traffic: Traffic
    expected: tuple[Expected, ...] = ()
    skew: tuple[Skew, ...] = ()

    @property
    def worse(self) -> tuple[Live, ...]:
        """The live metrics of all rows that are worse than promised."""
        return tuple(one for one in self.metrics if one.found == "worse")

    @property
    def weather(self) -> bool:
        """Whether the loss is worse than promised and would be for every model: it is not beside the release's fixed
        baseline on the same rows, and the model ranks and is calibrated as promised."""
        worse = {one.metric for one in self.worse}
        relative = next((one for one in self.metrics if one.metric == EXCESS), None)
        return bool(worse) and worse <= {"log_loss", "brier"} and relative is not None and relative.found != "unknown"


@dataclass(frozen=True, slots=True)
class Raised:
    """An alarm that was on in a window, by what does not change any more: what it is about, since when it was worse,
    and on which day it was raised."""

    kind: str
    form: str
    severity: str
    of: str
    release: str
    since: str
    raised: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one window. ``mature`` says whether its outcomes had the time that the policy gives them;
    quality is judged only then.

    ``verdict``: ``alarm``, an alarm that pages was on; ``look``, a metric is worse than promised beyond the luck of
    these rows, for this model and not for every one, and no alarm is on (yet); ``calm``, neither; ``not judged``, there
    is no mature outcome to judge by.
    """

    model: str
    environment: str
    kind: str
    window: str
    name: str
    start: str
    end: str
    mature: bool
    verdict: Verdict
    parts: tuple[Part, ...]
    alarms: tuple[Raised, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Scores of all releases."""
        return sum(part.rows for part in self.parts)

    @property
    def labelled(self) -> int:
        """Scores with an outcome."""
        return sum(part.labelled for part in self.parts)

    def told(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return {**asdict(self), "rows": self.rows, "labelled": self.labelled}
