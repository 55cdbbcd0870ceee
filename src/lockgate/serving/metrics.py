"""What Prometheus is told of the service."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lockgate.serving.service import Service

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_SCORES = 20  # equal bins
_MANY = 64  # rows from which numpy counts them sooner
_LIVE = ("lockgate_live_", "lockgate_alarm_", "lockgate_monitor_")
_LARGEST = 1 << 20  # bytes of a file of live figures


class Metrics:
    """Counters of one service, in a registry of their own. Gauges are read from the service when they are asked for.

    ``live`` is the file that ``lockgate monitor --prometheus`` writes: its figures are told with the service's own.
    """

    def __init__(self, service: "Service") -> None:
        """Register everything."""
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry = CollectorRegistry()
        add: Any = {"registry": self.registry}
        self.requests = Counter("lockgate_requests", "Answers by path and status", ["path", "status"], **add)
        self.seconds = Histogram("lockgate_predict_seconds", "Time to an answer", buckets=_SECONDS, **add)
        self.rows = Counter("lockgate_rows", "Requests scored", **add)
        self.swaps = Counter("lockgate_swaps", "Releases brought in", ["outcome"], **add)
        self.unknown = Counter("lockgate_unknown_categories", "Values that the model never saw", ["column"], **add)
        self.missing = Counter("lockgate_missing_values", "Values that a request lacked", ["column"], **add)
        self.live: Path | None = None
        self._scores = [0] * _SCORES
        self._scores_sum = 0.0
        self.registry.register(_Gauges(service))

    def scored(self, rows: Sequence[Mapping[str, Any]], scores: Sequence[float], optional: Collection[str]) -> None:
        """Count scores by bin, and the values that are missing in the columns that may be."""
        if len(scores) < _MANY:
            for score in scores:
                self._scores[min(int(score * _SCORES), _SCORES - 1)] += 1
        else:
            import numpy as np

            places = np.minimum((np.asarray(scores) * _SCORES).astype(np.int64), _SCORES - 1)
            self._scores = (np.asarray(self._scores) + np.bincount(places, minlength=_SCORES)).tolist()
        self._scores_sum += sum(scores)
        if len(rows) == 1:
            [row] = rows
            for column in [column for column in optional if row.get(column) is None]:
                self.missing.labels(column).inc()
            return
        for column in optional:
            missing = [row.get(column) for row in rows].count(None)
            if missing:
                self.missing.labels(column).inc(missing)

    def histogram(self) -> "Iterator[Any]":
        """Yield the scores so far."""
        from prometheus_client.core import HistogramMetricFamily

        buckets, sofar = [], 0
        for number, count in enumerate(self._scores, 1):
            sofar += count
            buckets.append((f"{number / _SCORES:g}" if number < _SCORES else "+Inf", sofar))
        yield HistogramMetricFamily("lockgate_score", "Scores given", buckets=buckets, sum_value=self._scores_sum)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry) + self._live()

    def _live(self) -> bytes:
        """Return the live figures, as the monitor left them; a file that is none of its own is left out."""
        if self.live is None:
            return b""
        try:
            with self.live.open("rb") as file:
                text = file.read(_LARGEST + 1)
        except OSError:
            return b""
        names = [line.split()[2] if line[:1] == b"#" and len(line.split()) > 2 else line for line in text.splitlines()]
        if len(text) > _LARGEST or not all(name.startswith(tuple(one.encode() for one in _LIVE)) for name in names):
            return b""
        return text


class _Gauges:
    def __init__(self, service: "Service") -> None:
        self.service = service

    def collect(self) -> "Iterator[Any]":
        """Yield what is true now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        service, found = self.service, self.service.current.found
        info = GaugeMetricFamily("lockgate_release", "What answers now", labels=["release", "build"])
        info.add_metric([found.release, found.digest], 1)
        yield info
        yield GaugeMetricFamily("lockgate_entry", "Entry of the environment's log that answers", value=found.number)
        problem = GaugeMetricFamily("lockgate_problem", "1: the store, or the newest release, is not as it should be")
        problem = GaugeMetricFamily("lockgate_problem", problem.documentation, labels=["with"])
        for what in ("store", "release", "withdrawn"):
            problem.add_metric([what], float(what in service.problems))
        yield problem
        yield from service.metrics.histogram()
        yield GaugeMetricFamily("lockgate_held_bytes", "Bodies being read or answered", value=service.held)
        restarts = service.restarts
        yield CounterMetricFamily("lockgate_model_restarts", "Deaths of the model's process", value=restarts)
        if service.recorder is not None:
            yield GaugeMetricFamily("lockgate_record_bytes", "Scores not yet delivered", value=service.recorder.size)
            refused = service.recorder.refused
            yield CounterMetricFamily("lockgate_record_refused", "Requests refused: record full", value=refused)

    def describe(self) -> "Iterator[Any]":
        """Yield nothing: there is nothing to collect before the service began."""
        yield from ()
