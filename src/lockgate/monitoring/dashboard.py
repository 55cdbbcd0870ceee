"""A Grafana dashboard, made from the policy and the release's reference."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from lockgate.monitoring.reference import Reference
from lockgate.policy.alarms import AlarmSettings

WIDTH, HEIGHT = 12, 8
SOURCE = {"type": "prometheus", "uid": "${source}"}


def dashboard(settings: AlarmSettings, reference: Reference | None, model: str, environment: str) -> dict[str, Any]:
    """Return the dashboard, as Grafana imports it: quality first, then requests, then the service."""
    chosen = f'model="{model}",environment="{environment}"'
    whole = f'{chosen},column=""'
    panels = [
        _panel(
            "Alarms that page (0: calm)",
            "stat",
            [(f'sum(lockgate_alarm_open{{{chosen},severity="page"}}) or vector(0)', "alarms")],
            "Each has a line in `lockgate monitor`, and all share one issue.",
        ),
        _panel(
            "Evidence, as a share of what raises an alarm",
            "timeseries",
            [(f"lockgate_alarm_evidence{{{chosen}}}", "{{kind}} {{form}}")],
            f"Kinds: {', '.join(settings.on)}; {settings.budget:g} false alarms a year in all. From 1 on there is one.",
            steps=[(0.5, "orange"), (1.0, "red")],
        ),
    ]
    metrics = [one.metric for one in reference.metrics if one.column is None] if reference else []
    panels += [
        _panel(
            f"{metric}: live, and as promised",
            "timeseries",
            [
                (f'lockgate_live_metric{{{whole},metric="{metric}"}}', "live {{release}}"),
                (f'lockgate_live_promised{{{whole},metric="{metric}"}}', "promised {{release}}"),
            ],
            "On the newest mature window. A single window that is worse is no alarm: days are alike in luck.",
        )
        for metric in dict.fromkeys(metrics or ["roc_auc", "log_loss", "calibration_error"])
    ]
    panels += [
        _panel(
            "Scores, share by bin",
            "heatmap",
            [("sum by (le) (increase(lockgate_score_bucket[1h]))", "{{le}}")],
            "Scores move with the requests; that alone is no damage.",
        ),
        _panel(
            "Mean score" + (f" (on the reference {_mean(reference):.3f})" if _mean(reference) else ""),
            "timeseries",
            [("sum(increase(lockgate_score_sum[6h])) / sum(increase(lockgate_score_count[6h]))", "mean score")],
            "",
        ),
        _panel("Requests scored a second", "timeseries", [("sum(rate(lockgate_rows_total[10m]))", "rows")], ""),
        _panel(
            "Missing values, share of the requests",
            "timeseries",
            [
                (
                    "sum by (column) (increase(lockgate_missing_values_total[6h])) / "
                    "scalar(sum(increase(lockgate_rows_total[6h])))",
                    "{{column}}",
                )
            ],
            _usual(reference),
        ),
        _panel(
            "Values that the model never saw, share of the requests",
            "timeseries",
            [
                (
                    "sum by (column) (increase(lockgate_unknown_categories_total[6h])) / "
                    "scalar(sum(increase(lockgate_rows_total[6h])))",
                    "{{column}}",
                )
            ],
            "",
        ),
        _panel(
            "Latency",
            "timeseries",
            [
                (f"histogram_quantile({share}, sum by (le) (rate(lockgate_predict_seconds_bucket[10m])))", name)
                for share, name in ((0.5, "median"), (0.99, "99 of 100"))
            ],
            "",
            unit="s",
        ),
        _panel(
            "Answers by status",
            "timeseries",
            [("sum by (status) (rate(lockgate_requests_total[10m]))", "{{status}}")],
            "",
        ),
        _panel("What answers", "table", [("max by (release, build) (lockgate_release)", "{{release}}")], ""),
        _panel(
            "Problems of the service (0: none)",
            "timeseries",
            [("max by (with) (lockgate_problem)", "{{with}}"), ("sum(lockgate_model_restarts_total)", "restarts")],
            "/readyz says what is wrong.",
        ),
    ]
    return {
        "title": f"{model} in {environment}",
        "uid": _uid(model, environment),
        "tags": ["lockgate"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "5m",
        "time": {"from": "now-30d", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "annotations": {"list": []},
        "panels": list(_placed(panels)),
    }


def queries(made: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the title of each panel of a dashboard with each of its queries."""
    return [(panel["title"], target["expr"]) for panel in made["panels"] for target in panel["targets"]]


def as_text(made: dict[str, Any]) -> str:
    """Return the dashboard as the text of a file."""
    return json.dumps(made, indent=2) + "\n"


def _panel(
    title: str,
    kind: str,
    asked: Sequence[tuple[str, str]],
    description: str,
    *,
    unit: str = "short",
    steps: Sequence[tuple[float, str]] = (),
) -> dict[str, Any]:
    thresholds = {
        "mode": "absolute",
        "steps": [{"value": None, "color": "green"}, *({"value": value, "color": color} for value, color in steps)],
    }
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": unit, "thresholds": thresholds}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "expr": query,
                "legendFormat": legend,
                **({"format": "heatmap"} if kind == "heatmap" else {}),
                **({"format": "table", "instant": True} if kind == "table" else {}),
            }
            for place, (query, legend) in enumerate(asked)
        ],
    }


def _placed(panels: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, panel in enumerate(panels):
        place = {"h": HEIGHT, "w": WIDTH, "x": number % 2 * WIDTH, "y": number // 2 * HEIGHT}
        yield {"id": number + 1, "gridPos": place, **panel}


def _mean(reference: Reference | None) -> float:
    if reference is None:
        return 0.0
    rows, scores = sum(reference.clusters.rows), sum(reference.clusters.scores)
    return scores / rows if rows else 0.0


def _usual(reference: Reference | None) -> str:
    if reference is None:
        return ""
    shares = [(one.name, one.missing / one.rows) for one in reference.columns if one.rows and one.missing]
    return "; ".join(f"{name}: {share:.1%} on the reference" for name, share in sorted(shares, key=lambda x: -x[1])[:8])


def _uid(model: str, environment: str) -> str:
    from hashlib import sha256

    return sha256(f"lockgate {model} {environment}".encode()).hexdigest()[:20]
