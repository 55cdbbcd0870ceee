"""``lockgate monitor ENVIRONMENT``: does what serves still do what its release promised?"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate.envelope import envelope
from lockgate.errors import DONE, NO, NotAskedError, UsageError
from lockgate.files import progress, write_whole
from lockgate.monitoring.environment import add_places_options
from lockgate.releasing.environments import Entry, Environment, NeverPromoted, environments
from lockgate.releasing.options import actor_of, add_reader_options, parse_environment, registry_of, signer_of
from lockgate.releasing.registry import Actor, NoSuchRelease, Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from lockgate.forge.port import Forge
    from lockgate.monitoring.monitor import Asked, Report
    from lockgate.monitoring.reference import Reference
    from lockgate.policy import Policy

EXAMPLES = """\
examples:
  lockgate monitor production --record scores/                 week by week since the release was promoted
  lockgate monitor production --window day --since 2026-11-01
  lockgate monitor production --html monitor.html              one page with pictures over time
  lockgate monitor production --keep --summary summary.md      what a job on a schedule does
  lockgate monitor production --json | jq -r '.findings[-1].verdict'
  lockgate monitor production --until 2026-11-01T06:00         what was known then
  lockgate monitor production --issue --prometheus live.prom   tell people, and Prometheus
  lockgate monitor production --rules alerts.yml --dashboard dashboard.json
  lockgate monitor production --replay                         which alarms this history would have given

Exit codes: 0 calm (or too early to say), 1 an alarm is on, 3 it could not be asked. docs/on-call.md says what each
finding means and what to do first.
"""
LONGEST = timedelta(days=400)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("environment", metavar="ENVIRONMENT", help="production, or NAME#production")
    add_places_options(parser)
    parser.add_argument(
        "--window",
        choices=("day", "week", "rows"),
        default="week",
        help="what is judged at once: days, weeks from Monday, or --rows scores (default: %(default)s)",
    )
    parser.add_argument("--rows", type=int, metavar="N", help="the size of windows of rows")
    parser.add_argument(
        "--since",
        type=_day,
        metavar="DATE",
        help="the first day (default: that of the first promotion of the release that runs now, at most 400 days ago)",
    )
    parser.add_argument(
        "--until", type=_moment, metavar="TIME", help="judge what was over at this time, UTC (default: now)"
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page with pictures over time")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="append what is told to FILE, as Markdown")
    parser.add_argument(
        "--keep", action="store_true", help="sign the finding of each mature window and keep it in the store"
    )
    parser.add_argument(
        "--expectations",
        type=Path,
        metavar="SUITE",
        help="ask the rules of this suite of recorded requests, too (needs Great Expectations)",
    )
    parser.add_argument(
        "--replay",
        action="store_true",
        help="before alarms are switched on: tell which ones this history would have given, how many false ones a year "
        "it allows to exclude, and how soon a drop would be seen; without a record, by the release's test rows",
    )
    people = parser.add_argument_group("where people look: docs/alarms.md")
    people.add_argument("--prometheus", type=Path, metavar="FILE", help="write live figures and alarms for Prometheus")
    people.add_argument(
        "--issue",
        action="store_true",
        help="have one issue on the forge say which alarms last, closed when none does ($GITHUB_API_URL, "
        "$GITHUB_REPOSITORY, $GITHUB_TOKEN); what is new goes to the policy's webhook",
    )
    people.add_argument(
        "--told", type=Path, metavar="FILE", help="without a forge: remember in FILE what the webhook was told"
    )
    people.add_argument(
        "--rules", type=Path, metavar="FILE", help="write Prometheus' alert rules, and look at no record"
    )
    people.add_argument(
        "--dashboard", type=Path, metavar="FILE", help="write a Grafana dashboard, and look at no record"
    )
    parser.add_argument(
        "--training",
        type=Path,
        metavar="TABLE",
        help="compare recorded requests with the rows of this Parquet file that have the same key",
    )
    add_reader_options(parser)
    parser.add_argument(
        "--private-key", type=Path, metavar="PEM", help="with --keep: sign with this (default: $LOCKGATE_PRIVATE_KEY)"
    )
    parser.add_argument("--keyless", action="store_true", help="with --keep: sign as the workflow that runs")
    parser.add_argument("--actor", help="with --keep: who does this (default: $GITHUB_ACTOR, else the login name)")


def main(arguments: argparse.Namespace) -> int:
    """Judge the windows; tell, draw and keep what was found."""
    from lockgate.monitoring.joined import joined
    from lockgate.monitoring.monitor import monitor

    if (arguments.window == "rows") != (arguments.rows is not None) or (arguments.rows or 1) < 1:
        raise UsageError("--window rows and --rows N belong together", "Write --window rows --rows 50000, say.")
    generated = arguments.rules or arguments.dashboard
    if not arguments.record and not arguments.replay and not generated:
        raise UsageError("there is no record to look at", "Name it: --record WHERE, or $LOCKGATE_RECORD.")
    model, environment = parse_environment(arguments.environment)
    registry = registry_of(arguments, model)
    signer = signer_of(arguments) if arguments.keep else None
    log = Environment(registry, environment).history()
    if not log:
        raise NeverPromoted(registry.name, environment, environments(registry))
    asked = _asked(arguments, registry.name, environment, log)
    if generated:
        return _generate(arguments, registry, asked, log)
    if arguments.replay:
        return _replay(arguments, registry, asked, log)
    last = asked.now.date() + timedelta(days=366)  # what a wrong clock put into the future is looked for as well
    tables = joined(arguments.record, arguments.outcomes, asked.since, last, model=registry.name)
    report = monitor(_told(tables), asked, _references(registry), log)
    if not report.findings and not report.notes:
        raise NotAskedError(
            f"the record has no score of {registry.name} since {asked.since}",
            "Is it the record of `lockgate serve --record`? An earlier first day: --since DATE.",
        )
    if signer is not None:
        _keep(registry, report, signer, Actor.now(actor_of(arguments)))
    _show(report, arguments)
    _tell(report, arguments, asked)
    return NO if report.pages else DONE


def _promised(registry: Registry, log: "list[Entry]") -> "tuple[str, Reference | None]":
    """Return the version that serves, and what it promised."""
    version = log[-1].version
    build = registry.release(version).release.manifest
    return version, _references(registry)(f"{registry.name}@{version}", build)


def _generate(arguments: argparse.Namespace, registry: Registry, asked: "Asked", log: "list[Entry]") -> int:
    from lockgate.monitoring import dashboard, prometheus
    from lockgate.policy import AlarmSettings

    settings = asked.alarms or AlarmSettings()
    version, promised = _promised(registry, log)
    if promised is None:
        progress(f"{registry.name}@{version} carries no reference.json: what columns usually lack is not known")
    about = (settings, promised, registry.name, asked.environment)
    if arguments.rules is not None:
        write_whole(arguments.rules, prometheus.as_yaml(prometheus.rules(*about)))
        progress(f"wrote {arguments.rules}")
    if arguments.dashboard is not None:
        write_whole(arguments.dashboard, dashboard.as_text(dashboard.dashboard(*about)))
        progress(f"wrote {arguments.dashboard}")
    return DONE


def _tell(report: "Report", arguments: argparse.Namespace, asked: "Asked") -> None:
    """Tell Prometheus, the forge and the webhook."""
    from lockgate.monitoring import announce, prometheus

    if arguments.prometheus is not None:
        write_whole(arguments.prometheus, prometheus.gauges(report, datetime.now(UTC).timestamp()))
    if not arguments.issue and arguments.told is None:
        return
    pages, about = report.pages, (report.model, report.environment)
    forge = _forge() if arguments.issue else None
    new = (
        announce.untold(forge, *about, pages)
        if forge is not None
        else announce.change(announce.read_told(arguments.told), pages)
    )
    variable = asked.alarms.webhook if asked.alarms is not None else None
    webhook = os.environ.get(variable, "") if variable else ""
    if new and webhook:
        announce.send(webhook, new, *about)  # before it is noted as told: rather twice than never
    if forge is not None:
        address = announce.keep_issue(forge, *about, pages)
        if address:
            progress(f"{'open' if pages else 'closed'}: {address}")
    if arguments.told is not None:
        write_whole(arguments.told, announce.as_told(pages))


def _forge() -> "Forge":
    from lockgate.forge.github import GitHub

    named = ("GITHUB_API_URL", "GITHUB_REPOSITORY", "GITHUB_TOKEN")
    found = [os.environ.get(name, "") for name in named]
    if not all(found):
        raise UsageError(
            f"--issue needs ${', $'.join(name for name, value in zip(named, found, strict=True) if not value)}",
            "A workflow's job has them; elsewhere, use --told FILE for the webhook alone.",
        )
    return GitHub(*found)


def _replay(arguments: argparse.Namespace, registry: Registry, asked: "Asked", log: "list[Entry]") -> int:
    from lockgate.monitoring.joined import joined
    from lockgate.monitoring.monitor import replayed
    from lockgate.monitoring.replay import as_json as replay_json
    from lockgate.monitoring.replay import replay_of_reference, text_of
    from lockgate.policy import AlarmSettings

    settings = asked.alarms
    if settings is None:
        settings = AlarmSettings()
        progress("the policy has no `alarms:`; replayed is `alarms: {budget: 2 per year}`")
    if arguments.record:
        references = _references(registry)
        last = asked.now.date() + timedelta(days=1)
        tables = joined(arguments.record, arguments.outcomes, asked.since, last, model=registry.name)
        found = replayed(_told(tables), asked, references, log, settings)
        if not found:
            raise NotAskedError(f"the record has no mature day of {registry.name} since {asked.since}")
    else:
        version, promised = _promised(registry, log)
        if promised is None:
            raise NotAskedError(
                f"{registry.name}@{version} carries no reference.json, and no record was named",
                "Name the record: --record WHERE; or make a release with this Lockgate.",
            )
        found = [(f"{registry.name}@{version}", replay_of_reference(settings, promised))]
    if arguments.json:
        told = [{"release": release, **replay_json(one)} for release, one in found]
        sys.stdout.write(envelope("monitor-replay", {"replays": told}))
    else:
        sys.stdout.write("\n".join(f"{release}\n{text_of(one)}" for release, one in found))
    return NO if any(one.refuted for _, one in found) else DONE


def _asked(arguments: argparse.Namespace, model: str, environment: str, log: "list[Entry]") -> "Asked":
    from lockgate.monitoring.expectations import asker, read_rules
    from lockgate.monitoring.monitor import Asked
    from lockgate.monitoring.skew import comparer
    from lockgate.policy import RequestPart

    now = arguments.until or datetime.now(UTC).replace(tzinfo=None)
    policy = _policy(model)
    predictions = policy.predictions if policy is not None else None
    serving = policy.serving if policy is not None else None
    expect = asker(read_rules(arguments.expectations)) if arguments.expectations is not None else None
    skew = comparer(arguments.training, serving.key if serving else ()) if arguments.training is not None else None
    return Asked(
        model=model,
        environment=environment,
        kind=arguments.window,
        since=_whole_window(arguments.since or _since(log, now), arguments.window),
        now=now,
        rows=arguments.rows or 0,
        after=policy.outcomes.after if policy is not None else timedelta(),
        slices=predictions.slices if predictions is not None else (),
        clusters=tuple(RequestPart(column) for column in predictions.cluster) if predictions is not None else (),
        alone=predictions is not None and not predictions.cluster,
        alarms=policy.alarms if policy is not None else None,
        importances=_importances(policy),
        expect=expect,
        skew=skew,
    )


def _policy(model: str) -> "Policy | None":
    """Return the policy that lies here, if it is that of the model."""
    from lockgate.policy import FILE, read_models

    try:
        models = read_models(Path(FILE).read_bytes())
    except FileNotFoundError:
        progress(f"there is no {FILE} here: no slices, no clusters but days, no alarms")
        return None
    policy = models.find(model)
    if policy is None:
        progress(f"the {FILE} here is of {', '.join(models.names)}, not of {model}: it is not used")
    return policy


def _importances(policy: "Policy | None") -> dict[str, float]:
    """Return what the policy's file of importances says of columns, as far as it is here; none without one."""
    if policy is None or policy.importance is None:
        return {}
    told = policy.importance
    try:
        rows = json.loads(Path(told.file).read_bytes())
        return {str(row[told.column]): float(row[told.value]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _since(log: "list[Entry]", now: datetime) -> date:
    """Return the day on which the release that runs was promoted first."""
    from lockgate.monitoring.monitor import utc

    promoted = [entry for entry in log if entry.action in ("promote", "rollback")]
    known = [utc(entry.time) for entry in promoted if entry.version == promoted[-1].version] if promoted else []
    return max(min(known, default=now), now - LONGEST).date()


def _whole_window(first: date, window: str) -> date:
    """Return the first day of the window that a day lies in: half a week would be judged as another week."""
    return first - timedelta(days=first.weekday()) if window == "week" else first


def _references(registry: Registry) -> "Callable[[str, str], Reference | None]":
    """Return what finds the promise of a release in the store."""
    from lockgate.monitoring.reference import FILE, read_reference

    def find(release: str, build: str) -> "Reference | None":
        try:
            found = registry.release(release.rpartition("@")[2])
        except NoSuchRelease:
            return None
        if found.release.manifest != build:
            progress(f"{release} in the record is build {build[:12]}, in the store {found.release.manifest[:12]}")
            return None
        file = next((one for one in found.manifest.files if one.path == FILE), None)
        return read_reference(b"".join(registry.stream(found.manifest, file))) if file is not None else None

    return find


def _told(tables: "Iterator[pa.Table]") -> "Iterator[pa.Table]":
    """Say now and then how far it is. No table is held while the next one is read, as `enumerate` would do."""
    numbers = count(1)
    for table in tables:
        if (number := next(numbers)) % 50 == 0:
            progress(f"{number} days read")
        yield table
        del table


def _keep(registry: Registry, report: "Report", signer: Any, actor: Actor) -> None:
    from lockgate.monitoring.kept import keep

    for finding in report.findings:
        if finding.mature:
            made, new = keep(registry, finding, signer, actor)
            if new:
                progress(f"kept what was found of {finding.window} (number {made.number})")


def _show(report: "Report", arguments: argparse.Namespace) -> None:
    from lockgate.monitoring.document import brief, document, plain

    whole = document(report)
    if arguments.html is not None:
        from lockgate.rendering.html import render_html

        write_whole(arguments.html, render_html(whole))
        progress(f"wrote {arguments.html}")
    if arguments.summary is not None:
        from lockgate.rendering.markdown import render_markdown

        try:
            with arguments.summary.open("a", encoding="utf-8") as file:
                file.write(render_markdown(brief(report)) + "\n")
        except OSError as error:
            raise NotAskedError(f"cannot write {arguments.summary}: {error.strerror}") from None
    if arguments.json:
        sys.stdout.write(envelope("monitor", as_json(report)))
    else:
        from lockgate.rendering.text import render_text

        sys.stdout.write(render_text(plain(report), color=sys.stdout.isatty()))


def as_json(report: "Report") -> dict[str, Any]:
    """Return what ``--json`` prints; docs/monitor.schema.json describes it."""
    alarms = [
        {"release": release, "open": alarm.open, **{key: _plain(value) for key, value in asdict(alarm).items()}}
        for release, judgement in report.judged
        for alarm in judgement.alarms
    ]
    return {
        "model": report.model,
        "environment": report.environment,
        "window": report.kind,
        "now": report.now,
        "verdict": "alarm" if report.pages else "calm",
        "findings": [finding.told() for finding in report.findings],
        "alarms": alarms,
        "notes": list(report.notes),
    }


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no date such as 2026-11-16") from None


def _moment(text: str) -> datetime:
    from lockgate.monitoring.monitor import utc

    try:
        return utc(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no time such as 2026-11-16T06:00") from None
