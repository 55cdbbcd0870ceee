"""The record of scores joined with the outcomes that are known, one table a day.

A day is a day of UTC, by the time of the answer. Memory holds one day, however long the record is.
"""

from collections.abc import Collection, Iterator
from datetime import date
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pyarrow as pa

RECORDED: Final = ("id", "row", "time", "release", "build", "probability", "latency_ms", "label")
"""The columns that every table has. The others are those of the request."""


def joined(
    record_location: str,
    outcomes: str | None,
    start: date,
    end: date,
    *,
    model: str | None = None,
    schema: "pa.Schema | None" = None,
    columns: Collection[str] | None = None,
) -> "Iterator[pa.Table]":
    """Yield the scores of each day from ``start`` up to, and without, ``end``, with the outcomes that are known now.

    ``record_location`` is what ``lockgate serve --record`` takes: a folder, ``s3://…`` or a database's URL.
    ``outcomes`` is where ``lockgate outcomes add`` keeps them; ``None``: beside the record, as it does by default.
    A day without a score gives no table. Of the rows of a day the order is that of ``(time, id, row)``.

    The columns of each table, in this order:

    - ``id`` (string) and ``row`` (int32) name a score: the answer, and the place of the request in its call, from 0;
    - ``time`` (timestamp[us], of UTC, without a zone), ``release`` (``NAME@vX.Y.Z``), ``build`` (the digest);
    - ``probability`` (float64), null where the model gives another kind of answer;
    - ``latency_ms`` (float64), null where the record does not know it, because an older Lockgate wrote it;
    - ``label`` (float64; string for a model of several classes), null where no outcome is known;
    - the columns of the request, typed as :attr:`~lockgate.serving.contract.RequestSchema.arrow` says for the release
      that answered. Where the releases of a day differ in their columns, the table has all of them, null where a
      release has none. A request's column of one of the names above is called ``request_NAME``
      (:func:`request_column`).

    ``model`` keeps the scores of the releases of that name; ``None``: all of them. ``schema`` is the request's Arrow
    schema for records of before, which hold the request as JSON alone; without it the types of newer files are taken,
    else those that the JSON shows. ``columns`` keeps these columns of the request only, to read less.

    Raises :class:`~lockgate.monitoring.locations.RecordMissing` where nothing is at ``record_location``, and
    :class:`~lockgate.monitoring.locations.RecordRefused` for a file or table that is no record.
    """
    raise NotImplementedError


def request_column(name: str) -> str:
    """Return how a request's column is called in the tables of :func:`joined`: ``request_id`` for ``id``, which is a
    column of the record itself; any other keeps its name."""
    return f"request_{name}" if name in RECORDED or name == "request" else name
