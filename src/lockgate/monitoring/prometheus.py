"""What Prometheus gets from the monitor: live figures as gauges, and the rules by which it alerts.

The alarms with a budget are judged by :mod:`lockgate.monitoring.alarms`, on days and outcomes, and Prometheus passes
them on (``lockgate_alarm_open``). The other rules are about the service of this hour: that it answers, that it is asked
at all, and that requests do not lack what they had on the reference. They state facts and count no budget.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lockgate.monitoring.reference import Reference
from lockgate.policy.alarms import AlarmSettings

if TYPE_CHECKING:
    from lockgate.monitoring.monitor import Report

FEWEST_ROWS = 500  # requests of a window, below which a share says little
SLOWEST = 0.5  # seconds
MONITOR_SILENT = 2 * 86400
DOCS = "docs/on-call.md"


def gauges(report: "Report", now: float) -> str:
    """Return what the newest windows and the alarms say, in Prometheus' text format. ``now`` is in seconds (Unix)."""
    about = {"model": report.model, "environment": report.environment}
    lines: list[str] = []

    def family(name: str, help_text: str, samples: "Sequence[tuple[Mapping[str, str], float]]") -> None:
        lines.append(f"# HELP {name} {help_text}")
        lines.append(f"# TYPE {name} gauge")
        lines.extend(f"{name}{_labels({**about, **labels})} {value:.9g}" for labels, value in samples)

    family("lockgate_monitor_time_seconds", "When the monitor looked last", [({}, now)])
    judged = [one for one in report.findings if one.mature and one.labelled]
    newest = judged[-1] if judged else None
    live, promised, rows = [], [], []
    for part in newest.parts if newest else ():
        labels = {"release": part.release}
        rows.append((labels, float(part.labelled)))
        for one in (*part.metrics, *part.slices):
            named = {**labels, "metric": one.metric, "column": one.column or "", "value": one.value or ""}
            if one.figure is not None:
                live.append((named, one.figure))
            if one.promised is not None and one.column is None:
                promised.append((named, one.promised))
    family("lockgate_live_rows", "Labelled rows of the newest mature window", rows)
    family("lockgate_live_metric", "A metric on the newest mature window", live)
    family("lockgate_live_promised", "The same metric as the release promised it", promised)
    ratios, open_alarms = [], []
    for release, judgement in report.judged[-1:]:
        for watch in judgement.watches:
            said = {"release": release, "kind": watch.kind, "form": watch.form}
            ratios.append((said, watch.ratios[-1] if watch.ratios else 0.0))
        for alarm in judgement.alarms:
            if alarm.open:
                named = {"kind": alarm.kind, "form": alarm.form, "severity": alarm.severity, "of": alarm.of}
                open_alarms.append(({"release": release, **named, "since": alarm.since.isoformat()}, 1.0))
    family("lockgate_alarm_evidence", "Evidence as a share of what raises an alarm", ratios)
    family("lockgate_alarm_open", "Alarms that last", open_alarms)
    return "\n".join(lines) + "\n"


def rules(settings: AlarmSettings, reference: Reference | None, model: str, environment: str) -> dict[str, Any]:
    """Return the file of alerting rules, as Prometheus reads it."""
    chosen = f'model="{model}",environment="{environment}"'

    def rule(name: str, query: str, lasts: str, severity: str, summary: str, first: str) -> dict[str, Any]:
        return {
            "alert": name,
            "expr": query,
            "for": lasts,
            "labels": {"severity": severity, "model": model, "environment": environment},
            "annotations": {"summary": f"{model}: {summary}", "description": first, "runbook_url": DOCS},
        }

    found = [
        rule(
            "LockgateAlarm",
            f'max by (kind, of, since) (lockgate_alarm_open{{{chosen},severity="page"}}) > 0',
            "0m",
            "page",
            "{{ $labels.kind }} {{ $labels.of }} is worse than promised since {{ $labels.since }}",
            f"Run `lockgate monitor {environment}`: it says by how much and on how many labelled rows.",
        ),
        rule(
            "LockgateMonitorSilent",
            f"time() - max(lockgate_monitor_time_seconds{{{chosen}}}) > {MONITOR_SILENT} "
            f"or absent(lockgate_monitor_time_seconds{{{chosen}}})",
            "1h",
            "ticket",
            "the monitor has not looked for two days",
            "Look at the job that runs `lockgate monitor`: while it is silent, nobody sees decay.",
        ),
        rule(
            "LockgateDown",
            f'absent(lockgate_release{{release=~"{model}@.+"}})',
            "5m",
            "page",
            "no service of it answers Prometheus",
            "Is `lockgate serve` running? Its log says why not.",
        ),
        rule(
            "LockgateProblem",
            "max by (with) (lockgate_problem) > 0",
            "15m",
            "ticket",
            "{{ $labels.with }} is not as it should be",
            "The service's /readyz says what is wrong; it goes on with what it verified before.",
        ),
        rule(
            "LockgateFailures",
            'sum(rate(lockgate_requests_total{status=~"5.."}[10m])) / sum(rate(lockgate_requests_total[10m])) > 0.01',
            "10m",
            "page",
            "more than 1 % of the requests fail",
            "Look at the service's log; `lockgate_model_restarts_total` counts deaths of the model's process.",
        ),
        rule(
            "LockgateSlow",
            f"histogram_quantile(0.99, sum by (le) (rate(lockgate_predict_seconds_bucket[10m]))) > {SLOWEST:g}",
            "15m",
            "ticket",
            f"one request in a hundred takes more than {SLOWEST:g} s",
            "More rows a request, or another program on the machine? The panel of latency shows since when.",
        ),
        rule(
            "LockgateRecordRefuses",
            "sum(increase(lockgate_record_refused_total[15m])) > 0",
            "0m",
            "page",
            "requests are refused because their scores cannot be recorded",
            "The table or folder of the record is out of reach or full.",
        ),
    ]
    if "volume" in settings.on:
        found.append(
            rule(
                "LockgateNoRequests",
                "sum(increase(lockgate_rows_total[1h])) == 0 and sum(increase(lockgate_rows_total[1d] offset 1d)) > "
                f"{FEWEST_ROWS}",
                "1h",
                "page",
                "nobody has asked for two hours, and yesterday there were requests",
                "Ask whoever sends the requests.",
            )
        )
    if "schema" in settings.on and reference is not None:
        found += list(_columns(settings.margin("schema"), reference, rule))
    return {"groups": [{"name": f"lockgate {model} {environment}", "rules": found}]}


def _columns(margin: float, reference: Reference, rule: Any) -> Iterator[dict[str, Any]]:
    """Yield the rules on missing and unknown values, columns with the same bound in one."""
    enough = f"scalar(sum(increase(lockgate_rows_total[6h])) > {FEWEST_ROWS})"
    bounds: dict[float, list[str]] = defaultdict(list)
    for column in reference.columns:
        expected = column.missing / column.rows if column.rows else 0.0
        bound = expected + max(margin, 3.0 * column.missing_error)
        if bound < 1.0:
            bounds[round(bound, 3)].append(column.name)
    for bound, names in sorted(bounds.items()):
        made = rule(
            "LockgateMissingValues",
            f"sum by (column) (increase(lockgate_missing_values_total{_of(names)}[6h])) / {enough} > {bound:g}",
            "1h",
            "page",
            "`{{ $labels.column }}` is missing in {{ $value | humanizePercentage }} of the requests of six hours; up "
            f"to {bound:.1%} is usual",
            "Ask whoever sends the requests what they changed.",
        )
        made["labels"]["bound"] = f"{bound:g}"  # no two rules have the same name and labels
        yield made
    yield rule(
        "LockgateUnknownCategories",
        f"sum by (column) (increase(lockgate_unknown_categories_total[6h])) / {enough} > {margin:g}",
        "1h",
        "page",
        "`{{ $labels.column }}` has a value that the model never saw in {{ $value | humanizePercentage }} of the "
        "requests of six hours",
        "A new category, or another spelling of an old one? The record of scores has the values.",
    )


def _of(names: Sequence[str]) -> str:
    return "{column=~" + json.dumps("|".join(names)) + "}"


def _labels(labels: Mapping[str, str]) -> str:
    def quoted(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    return "{" + ",".join(f'{name}="{quoted(value)}"' for name, value in labels.items()) + "}"


def as_yaml(content: Mapping[str, Any]) -> str:
    """Return the rules as YAML, with the keys in their order."""
    from io import StringIO

    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 1 << 20
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = StringIO()
    yaml.dump(content, stream)
    made = "# Made by `lockgate monitor --rules` from policy and reference: make it again, do not edit.\n"
    return made + stream.getvalue()
