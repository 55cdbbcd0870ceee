"""``lockgate score REF INPUT OUTPUT``: score a file, folder or query; safe to interrupt and run again."""

import argparse
import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lockgate.envelope import envelope
from lockgate.errors import NotAskedError, UsageError
from lockgate.releasing.options import add_reader_options, parse_ref
from lockgate.serving.one_file import pieces_of, write_file
from lockgate.serving.options import (
    ServiceMissing,
    add_cache_option,
    add_dependencies_option,
    interpreters_of,
    source_of,
)
from lockgate.serving.source import Found, Source

if TYPE_CHECKING:
    from lockgate.serving.batch import Count

ROWS = 65_536
EXAMPLES = """\
examples:
  lockgate score production flights.parquet scores/
  lockgate score v1.2.0 requests/ scores/ --key date,carrier,flight,origin --processes 4
  lockgate score production sqlite:///requests.db sqlite:///scores.db --query "select * from requests" \\
    --key id --table scores

It can be interrupted and run again: what is scored already is not scored twice.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("ref", metavar="REF", help="a version (v1.2.0, NAME@v1.2.0) or an environment (production)")
    parser.add_argument("input", metavar="INPUT", help="a .parquet or .csv file, a folder of them, or a database's URL")
    parser.add_argument("output", metavar="OUTPUT", help="a folder, a .csv or .parquet file, or a database's URL")
    parser.add_argument(
        "--key",
        default="",
        metavar="COLUMNS",
        help="the columns that identify a row: COLUMN,COLUMN (default for files: file,row)",
    )
    parser.add_argument(
        "--null", action="append", default=[], metavar="TEXT", help="in CSV, this is missing too (again for more words)"
    )
    parser.add_argument("--query", metavar="SQL", help="the query that reads requests from a database")
    parser.add_argument("--table", metavar="NAME", help="the table of a database to write scores to")
    parser.add_argument(
        "--rows",
        type=int,
        default=ROWS,
        metavar="N",
        help="rows that are scored and written at once (default: %(default)s)",
    )
    parser.add_argument(
        "--one-file", action="store_true", help="write OUTPUT as one .csv or .parquet file, not as a folder of parts"
    )
    parser.add_argument("--processes", type=int, metavar="N", help="processes of the model (default: one a processor)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="score on the workers of this Dask cluster")
    parser.add_argument("--time", metavar="ISO", help="write this as the time of scoring (default: now)")
    add_reader_options(parser)
    add_cache_option(parser)
    add_dependencies_option(parser)


def main(arguments: argparse.Namespace) -> int:
    """Score what is not scored yet."""
    try:
        import sqlalchemy
    except ImportError as error:
        raise ServiceMissing(str(error.name)) from None
    source = source_of(arguments, parse_ref(arguments.ref))
    found = source.newest()
    if found.withdrawal is not None:
        sys.stderr.write(f"lockgate: warning: {found.withdrawal}\n")
    try:
        done = _score(arguments, source, found)
    except sqlalchemy.exc.SQLAlchemyError as error:
        said = str(getattr(error, "orig", error)).splitlines()[0]
        raise NotAskedError(f"the database refused: {said}", _DATABASE) from None
    if pieces := _pieces(arguments):
        write_file(pieces, arguments.output)
    facts = {"release": found.release, "build": found.digest, "scored": done.scored, "there_before": done.there}
    kind = "" if pieces or "://" in arguments.output else "the folder "
    where = kind + _without_password(arguments.output)
    text = f"{done.scored:,} rows scored with {found.release}, {done.there:,} were scored before; all are in {where}\n"
    sys.stdout.write(envelope("score", facts) if arguments.json else text)
    return 0


def _pieces(arguments: argparse.Namespace) -> str | None:
    """Return the folder of the parts where one file is asked for. Raises :class:`UsageError` if it cannot be one."""
    if not arguments.one_file:
        return None
    pieces = pieces_of(arguments.output)
    if pieces is None:
        raise UsageError(
            f"{arguments.output} cannot be one file of scores",
            "--one-file writes a local .csv or .parquet file; a folder of that name must not be there.",
        )
    return pieces


_DATABASE = "Check the URL, the credentials and the query."


def _without_password(place: str) -> str:
    """Return a folder or a database's URL as it may be printed."""
    scheme, found, rest = place.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else place


def _score(arguments: argparse.Namespace, source: Source, found: Found) -> "Count":
    from lockgate.serving.batch import ClusterJob, Trust, score_here, score_there
    from lockgate.serving.inputs import File, inputs_of
    from lockgate.serving.outputs import Job, ParquetOutput, output_of
    from lockgate.serving.process import unpack

    key = tuple(name for name in arguments.key.split(",") if name)
    inputs = inputs_of(arguments.input, arguments.query, key, arguments.null)
    output = output_of(_pieces(arguments) or arguments.output, arguments.table)
    when = arguments.time or datetime.now(UTC).isoformat(timespec="seconds")
    job = Job(found.release, found.digest, key or ("file", "row"), arguments.rows)
    shown = _Progress()
    if not arguments.scheduler:
        folder = source.bring(found)
        own = interpreters_of(arguments, source).of(found.build, folder)
        loadable = unpack(found.release, folder, own.executable if own is not None else None)
        try:
            return score_here(
                inputs,
                loadable,
                job,
                output,
                when,
                processes=arguments.processes or os.cpu_count() or 1,
                progress=shown,
            )
        finally:
            loadable.discard()
    files = [one for one in inputs if isinstance(one, File)]
    if len(files) != len(inputs) or not isinstance(output, ParquetOutput):
        raise UsageError(
            "a Dask cluster scores files only, into a folder", "Name files and a folder that all workers can reach."
        )
    output.prepare(job)
    version, trust = found.build.release.version, Trust.of(source.verifier)
    cluster_job = ClusterJob(
        source.url, source.name, version, trust, str(source.cache), job, output, when, arguments.dependencies
    )
    return score_there(arguments.scheduler, files, cluster_job, shown)


class _Progress:
    """A line that changes on a terminal."""

    def __call__(self, count: "Count") -> None:
        """Show how many rows are done."""
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{count.scored + count.there:,} rows")
            sys.stderr.flush()
