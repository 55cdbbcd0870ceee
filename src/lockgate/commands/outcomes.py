"""``lockgate outcomes``: add what really happened to scored requests, say how much of it is known, write it out.

Outcomes come late, in pieces, repeated and corrected. An addition is kept for good; of several outcomes of one request
the last one counts. They name a request by its key, which the policy of the release says (``serving.key``), or by the
``id`` of the service's answer.
"""

import argparse
import sys
from dataclasses import asdict
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from lockgate.envelope import envelope
from lockgate.errors import LockgateError, NotAskedError, UsageError
from lockgate.formatting import count, percent, table
from lockgate.monitoring.environment import (
    NotServed,
    Places,
    Served,
    add_environment_options,
    add_scheduler_option,
    places_of,
    served_of,
    spare_memory,
)
from lockgate.monitoring.locations import without_password
from lockgate.serving.options import ServiceMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lockgate.monitoring.outcomes import Added, DayCount

WEEK = 7
EXAMPLES = """\
examples:
  lockgate outcomes add production arrivals.parquet --record s3://scores/production
  lockgate outcomes add production postgresql+psycopg://me@db/ops \\
    --query "select date, carrier, flight, origin, late from arrivals where date >= current_date - 3"
  lockgate outcomes status production                 how many scores of each day have an outcome
  lockgate outcomes join production training/         write scores and outcomes, a folder a day

docs/outcomes.md says what is read, and what counts where outcomes contradict each other.
"""


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a date such as 2026-11-25") from None


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("action", choices=("add", "status", "join"), help="add outcomes, count them, or write them out")
    parser.add_argument("environment", metavar="ENVIRONMENT", help="the environment whose scores they belong to")
    parser.add_argument(
        "place",
        metavar="PLACE",
        nargs="?",
        help="add: a .parquet or .csv file, a folder of them, s3://…, or a database's URL; join: the folder to write",
    )
    add = parser.add_argument_group("adding")
    add.add_argument("--query", metavar="SQL", help="the query that reads outcomes from a database")
    add.add_argument("--label", metavar="COLUMN", help="the column of what happened (default: as the policy calls it)")
    add.add_argument(
        "--last-counts",
        action="store_true",
        help="where the input contradicts itself, its last row of a request is right (default: it is refused)",
    )
    add.add_argument("--early", action="store_true", help="take outcomes although none of their requests is scored yet")
    add.add_argument("--dry-run", action="store_true", help="only say what would be added")
    days = parser.add_argument_group("status and join")
    days.add_argument("--from", dest="start", type=_day, metavar="DATE", help="the first day (default: the record's)")
    days.add_argument("--to", dest="end", type=_day, metavar="DATE", help="the last day (default: the record's)")
    add_environment_options(parser)
    add_scheduler_option(parser)


def main(arguments: argparse.Namespace) -> int:
    """Do what is asked."""
    try:
        import sqlalchemy
    except ImportError as error:
        raise ServiceMissing(str(error.name)) from None
    places = places_of(arguments)
    spare_memory()
    try:
        if arguments.action == "add":
            return _add(arguments, places, served_of(arguments))
        if arguments.action == "join":
            return _join(arguments, places, served_of(arguments))
        return _status(arguments, places, served_of(arguments))
    except sqlalchemy.exc.SQLAlchemyError as error:
        said = str(getattr(error, "orig", error)).splitlines()[0]
        raise NotAskedError(f"the database refused: {said}", "Check the URL, the credentials and the query.") from None
    except OSError as error:
        raise NotAskedError(f"the record or the outcomes cannot be reached: {_first(error)}") from None


def _first(error: OSError) -> str:
    return error.strerror or (str(error).splitlines() or [type(error).__name__])[0]


def _place(arguments: argparse.Namespace, what: str) -> str:
    if not arguments.place:
        raise UsageError(f"{what} is missing", "`lockgate outcomes --help` shows how it is used.")
    return str(arguments.place)


# --- add


def _add(arguments: argparse.Namespace, places: Places, served: Served) -> int:
    from lockgate.monitoring import outcomes
    from lockgate.monitoring.outcome_input import Wanted, read_outcomes

    predictions = served.policy.predictions
    if predictions is None:
        raise NotServed(served.release, "says nothing of predictions, so of no label either")
    where = _place(arguments, "the file or database with the outcomes")
    label = arguments.label or served.policy.outcomes.label or predictions.label
    wanted = Wanted(served.name, served.described, label, predictions, last=arguments.last_counts)
    read = read_outcomes(where, arguments.query, wanted)
    source = without_password(where)
    done = outcomes.add(
        places, served.name, read, served.described, source, early=arguments.early, dry_run=arguments.dry_run
    )
    week = _last_week(places, served)
    if arguments.json:
        facts: dict[str, Any] = {"model": served.name, "source": source, "rows": read.rows}
        facts |= {"unlabelled": read.unlabelled, "repeated": read.repeated, "conflicting": read.conflicting}
        facts |= {**asdict(done), "before": done.before.isoformat() if done.before else None}
        facts |= {"dry_run": arguments.dry_run, "days": [_told(one) for one in week]}
        sys.stdout.write(envelope("outcomes-add", facts))
        return 0
    lines = [*_of_input(read), _of_addition(done, dry_run=arguments.dry_run), *_of_scores(done)]
    lines += [_of_week(week)] if week else []
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _of_input(read: Any) -> list[str]:
    lines = [f"{count(read.rows, 'row')} read from the input, of {count(read.table.num_rows, 'request')}"]
    if read.unlabelled:
        lines.append(f"  {read.unlabelled:,} without an outcome yet, left out")
    if read.repeated:
        lines.append(f"  {read.repeated:,} that say the same again")
    if read.conflicting:
        lines.append(f"  {read.conflicting:,} that a later row of the input contradicts, left out")
    return lines


def _of_addition(done: "Added", *, dry_run: bool) -> str:
    if done.before is not None:
        return f"nothing to do: the same outcomes were added at {done.before.isoformat(timespec='seconds')}"
    if not done.new and not done.corrected:
        return "nothing to do: all of them are known as they are"
    verb = "would be added" if dry_run else "added"
    added = f"{done.new + done.corrected:,} {verb} ({done.new:,} new, {done.corrected:,} corrected)"
    return f"{added}, {done.known:,} known as they are"


def _of_scores(done: "Added") -> list[str]:
    if not done.unscored:
        return []
    return [f"{count(done.unscored, 'request')} of them not on record: they count once a score of theirs comes"]


# --- how much is known


def _last_week(places: Places, served: Served) -> "list[DayCount]":
    """Return the last seven days whose outcomes are due, or, before there are any, the last seven."""
    from datetime import UTC, datetime

    from lockgate.monitoring.locations import RecordMissing
    from lockgate.monitoring.outcomes import coverage, days_between, is_mature

    after = served.policy.outcomes.after
    try:
        days = days_between(places.record, None, None)
    except RecordMissing:
        return []
    now = datetime.now(UTC)
    mature = [day for day in days if is_mature(day, after, now)] or days
    if mature:
        mature = [day for day in mature if day > mature[-1] - timedelta(days=WEEK)]
    return coverage(places, served.name, mature, after)


def _of_week(week: "Sequence[DayCount]") -> str:
    scores, known = sum(one.scores for one in week), sum(one.known for one in week)
    span = week[0].day.isoformat()
    span = span if len(week) == 1 else f"{span} to {week[-1].day.isoformat()}"
    return f"{percent(known / scores, 2)} of the {count(scores, 'score')} of {span} have an outcome"


def _status(arguments: argparse.Namespace, places: Places, served: Served) -> int:
    from lockgate.monitoring.outcomes import coverage

    found = coverage(places, served.name, _days(arguments, places), served.policy.outcomes.after)
    if arguments.json:
        after = served.policy.outcomes.after.total_seconds()
        facts = {"model": served.name, "after_seconds": after, "days": [_told(one) for one in found]}
        sys.stdout.write(envelope("outcomes-status", facts))
        return 0
    if not found:
        sys.stdout.write(f"no score of {served.name} is on record for these days\n")
        return 0
    rows = [
        (one.day.isoformat(), f"{one.scores:,}", f"{one.known:,}", percent(one.known / one.scores, 2), _due(one))
        for one in found
    ]
    head = ("day (UTC)", "scores", "with outcome", "share", "")
    sys.stdout.write(table(head, rows, right={"scores", "with outcome", "share"}))
    if due := [one for one in found if one.mature][-WEEK:]:
        sys.stdout.write(_of_week(due) + "\n")
    return 0


def _due(one: "DayCount") -> str:
    return "" if one.mature else "outcomes are not due yet"


def _days(arguments: argparse.Namespace, places: Places) -> list[date]:
    from lockgate.monitoring.outcomes import days_between

    end = arguments.end + timedelta(days=1) if arguments.end is not None else None
    return days_between(places.record, arguments.start, end)


def _told(one: "DayCount") -> dict[str, Any]:
    return {**asdict(one), "day": one.day.isoformat()}


def _join(arguments: argparse.Namespace, places: Places, served: Served) -> int:
    from lockgate.monitoring.outcomes import write_days
    from lockgate.serving.sinks import is_database

    target = _place(arguments, "the folder to write")
    if is_database(target):
        raise UsageError("joined rows are written to a folder", "Name a folder, or s3://bucket/prefix.")
    if target.rstrip("/") == places.record.rstrip("/"):
        raise LockgateError(f"{target} is the record itself", "Name another folder: the record is not written over.")
    rows, known = write_days(places, served.name, _days(arguments, places), target)
    if arguments.json:
        facts = {"model": served.name, "folder": target, "rows": rows, "known": known}
        sys.stdout.write(envelope("outcomes-join", facts))
        return 0
    sys.stdout.write(f"{count(rows, 'score')}, {known:,} of them with an outcome, written to {target}\n")
    return 0
