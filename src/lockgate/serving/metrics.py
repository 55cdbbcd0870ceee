"""What Prometheus is told of the service."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lockgate.serving.service import Service

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Metrics:
    """Counters of one service, in a registry of their own. Gauges are read from the service when they are asked for."""

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
        self.registry.register(_Gauges(service))

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)


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
