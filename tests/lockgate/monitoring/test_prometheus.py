"""What Prometheus is told, the rules it alerts by, and a dashboard whose every query is asked of a real one."""

import json
import subprocess
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.lockgate.monitoring.monitored import FIRST, asked, by_day, entry, policy, promise, rows
from tests.lockgate.monitoring.prometheus import found, needs_prometheus, needs_promtool
from tests.lockgate.releases import Keys
from tests.lockgate.serving_builds import TOY
from tests.lockgate.serving_harness import EXAMPLE, command, eventually, release, serving

from lockgate.monitoring.dashboard import as_text, dashboard, queries
from lockgate.monitoring.monitor import Report, monitor
from lockgate.monitoring.prometheus import as_yaml, gauges, rules
from lockgate.monitoring.reference import Reference
from lockgate.releasing.registry import Registry

pytest_plugins = ("tests.lockgate.release_fixtures",)

ABOUT = ("flight-delay", "production")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return promise(tmp_path_factory.mktemp("promise"), days=40, each=150)


@pytest.fixture(scope="module")
def report(reference: Reference) -> Report:
    tables = by_day(rows(FIRST, 49, 150, 2, blind=0.9))
    return monitor(tables, asked(datetime.fromisoformat("2026-05-01")), lambda *_: reference, [entry()])


def alarms() -> Any:
    settings = policy().alarms
    assert settings is not None
    return settings


def test_live_figures_are_text_that_prometheus_reads_and_say_which_alarms_last(report: Report) -> None:
    families = {one.name: one for one in text_string_to_metric_families(gauges(report, 1e9))}
    assert families["lockgate_monitor_time_seconds"].samples[0].value == 1e9
    live = {(one.labels["metric"], one.labels["column"]): one.value for one in families["lockgate_live_metric"].samples}
    part = report.findings[-1].parts[0]
    assert live["roc_auc", ""] == pytest.approx(next(one.figure for one in part.metrics if one.metric == "roc_auc"))
    assert any(column == "carrier" for _, column in live)
    opened = families["lockgate_alarm_open"].samples
    assert {one.labels["kind"] for one in opened if one.labels["severity"] == "page"} == {
        alarm.kind for alarm in report.pages
    }
    assert report.pages
    evidence = {
        (one.labels["kind"], one.labels["form"]): one.value for one in families["lockgate_alarm_evidence"].samples
    }
    assert evidence["volume", "absolute"] < 1


def test_a_value_with_quotes_and_line_ends_stays_one_label(report: Report) -> None:
    hostile = replace(report, model='m"} 1\nx', findings=(), judged=())
    families = list(text_string_to_metric_families(gauges(hostile, 5.0)))
    assert families[0].samples[0].labels["model"] == 'm"} 1\nx'


def test_the_bounds_of_missing_values_are_those_of_the_reference(reference: Reference) -> None:
    said = rules(alarms(), reference, *ABOUT)["groups"][0]["rules"]
    missing = [one for one in said if one["alert"] == "LockgateMissingValues"]
    wind = next(one for one in missing if "wind" in one["expr"])
    assert float(wind["expr"].rpartition(" ")[2]) == pytest.approx(0.04, abs=0.01)
    carrier = next(one for one in missing if "carrier" in one["expr"])
    assert float(carrier["expr"].rpartition(" ")[2]) == pytest.approx(0.02)
    without = rules(alarms(), None, *ABOUT)["groups"][0]["rules"]
    assert not [one for one in without if one["alert"] == "LockgateMissingValues"]


TESTS = """
rule_files: [rules.yml]
evaluation_interval: 10m
tests:
  - interval: 10m
    input_series:
      - series: 'lockgate_alarm_open{model="flight-delay",environment="production",severity="page",kind="roc_auc",of="",since="2026-11-02"}'
        values: '1x30 _x200'
      - series: 'lockgate_monitor_time_seconds{model="flight-delay",environment="production"}'
        values: '0x500'
      - series: 'lockgate_release{release="flight-delay@v1.0.0",build="b"}'
        values: '1x500'
      - series: 'lockgate_rows_total'
        values: '0+100x170 17000x330'
      - series: 'lockgate_missing_values_total{column="wind"}'
        values: '0+2x100 200+50x400'
      - series: 'lockgate_missing_values_total{column="carrier"}'
        values: '0+1x500'
    alert_rule_test:
      - {alertname: LockgateAlarm, eval_time: 1h, exp_alerts: [{exp_labels: {severity: page, kind: roc_auc, since: "2026-11-02", model: flight-delay, environment: production}, exp_annotations: {summary: "flight-delay: roc_auc  is worse than promised since 2026-11-02", description: "Run `lockgate monitor production`: it says by how much and on how many labelled rows.", runbook_url: docs/on-call.md}}]}
      - {alertname: LockgateAlarm, eval_time: 10h, exp_alerts: []}
      - {alertname: LockgateMonitorSilent, eval_time: 40h, exp_alerts: []}
      - {alertname: LockgateMissingValues, eval_time: 15h, exp_alerts: []}
      - {alertname: LockgateDown, eval_time: 80h, exp_alerts: []}
      - {alertname: LockgateNoRequests, eval_time: 20h, exp_alerts: []}
"""  # noqa: E501 - promtool's own shape
NAMES = """
  - interval: 10m
    input_series:
      - series: 'lockgate_monitor_time_seconds{model="flight-delay",environment="production"}'
        values: '0x600'
      - series: 'lockgate_rows_total'
        values: '0+100x170 17000x330'
      - series: 'lockgate_missing_values_total{column="wind"}'
        values: '0+2x100 200+50x400'
    promql_expr_test:
      - expr: count by (alertname) (ALERTS{alertstate="firing"})
        eval_time: 5h
        exp_samples: [{labels: '{alertname="LockgateDown"}', value: 1}]
      - expr: count by (alertname) (ALERTS{alertstate="firing"})
        eval_time: 24h
        exp_samples: [{labels: '{alertname="LockgateDown"}', value: 1}, {labels: '{alertname="LockgateMissingValues"}', value: 1}]
      - expr: count by (alertname) (ALERTS{alertstate="firing"})
        eval_time: 40h
        exp_samples: [{labels: '{alertname="LockgateDown"}', value: 1}, {labels: '{alertname="LockgateNoRequests"}', value: 1}]
      - expr: count by (alertname) (ALERTS{alertstate="firing"})
        eval_time: 80h
        exp_samples: [{labels: '{alertname="LockgateDown"}', value: 1}, {labels: '{alertname="LockgateMonitorSilent"}', value: 1}]
"""  # noqa: E501


@needs_promtool
def test_the_rules_are_what_promtool_takes_and_fire_when_they_should(reference: Reference, tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(as_yaml(rules(alarms(), reference, *ABOUT)))
    (tmp_path / "tests.yml").write_text(TESTS + NAMES)
    for words in (["check", "rules", "rules.yml"], ["test", "rules", "tests.yml"]):
        tool = [found("promtool") or "", *words]
        done = subprocess.run(tool, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "FAILED" not in done.stdout + done.stderr


@needs_prometheus
def test_every_query_of_the_dashboard_is_answered_by_a_prometheus_that_scraped_the_service(
    registry: Registry, keys: Keys, reference: Reference, report: Report, tmp_path: Path
) -> None:
    known = [one | ({"categories": ["a", "b"]} if one["name"] == "kind" else {}) for one in TOY["columns"]]
    release(registry, keys, tmp_path, 1, request={**TOY, "columns": known})
    live = tmp_path / "live.prom"
    live.write_text(gauges(report, time.time()))
    cache = tmp_path / "cache"
    with serving(command(registry, keys, cache, "--live-figures", str(live)), tmp_path / "log") as served:
        (tmp_path / "prometheus.yml").write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "200ms"},
                    "rule_files": ["rules.yml"],
                    "scrape_configs": [
                        {"job_name": "lockgate", "static_configs": [{"targets": [f"127.0.0.1:{served.port}"]}]}
                    ],
                }
            )
        )
        (tmp_path / "rules.yml").write_text(as_yaml(rules(alarms(), reference, *ABOUT)))
        made = dashboard(alarms(), reference, *ABOUT)
        assert json.loads(as_text(made)) == made
        port = _free_port()
        words = [
            found("prometheus") or "",
            "--config.file=prometheus.yml",
            f"--web.listen-address=127.0.0.1:{port}",
            "--storage.tsdb.path=data",
        ]
        with (tmp_path / "prometheus.log").open("wb") as log:
            process = subprocess.Popen(words, cwd=tmp_path, stdout=log, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as http:

                def asked_of(query: str) -> list[Any]:
                    served.predict([EXAMPLE, {**EXAMPLE, "kind": "new"}])  # counters have to move
                    try:
                        response = http.get("/api/v1/query", params={"query": query})
                    except httpx.HTTPError:
                        return []
                    if response.status_code == 503:  # it is starting
                        return []
                    answer = response.json()
                    assert answer["status"] == "success", f"{query}: {answer}"
                    return [one for one in answer["data"]["result"] if one["value"][1] != "NaN"]

                asked = queries(made)
                assert len(asked) > 15
                silent = [
                    title for title, query in asked if not eventually(lambda query=query: asked_of(query), process)
                ]
                assert silent == []
                fired = http.get("/api/v1/rules").json()["data"]["groups"][0]["rules"]
                assert [one["name"] for one in fired if one["health"] == "err"] == []
        finally:
            process.kill()
            process.wait()


def _free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
