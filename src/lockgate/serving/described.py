"""What the record of scores knows of a build: the columns of its requests, and which of them are a key.

The record holds each request as JSON, as it always did, and beside it as columns of their types, so that it can be
asked without taking text apart, and joined with what really happened.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lockgate import policy
from lockgate.errors import LockgateError
from lockgate.policy import RequestPart
from lockgate.serving.contract import Column, RequestSchema
from lockgate.serving.request_parts import PartRefused, check_part, part_of

if TYPE_CHECKING:
    import pyarrow as pa

RECORDED: Final = ("id", "row", "time", "release", "build", "probability", "latency_ms", "label", "request", "answer")
"""Names of the record itself, which a column of a request cannot have there."""


def request_column(name: str) -> str:
    """Return how a request's column is called in the record: ``request_id`` for ``id``, which is a column of the record
    itself; any other keeps its name."""
    plain = name
    while plain.startswith("request_"):
        plain = plain.removeprefix("request_")
    return f"request_{name}" if plain in RECORDED else name


@dataclass(frozen=True)
class Described:
    """The ``columns`` of a build's requests, the ``key`` by which one is known again, and how long it is kept."""

    columns: tuple[Column, ...]
    key: tuple[RequestPart, ...] = ()
    retention: timedelta | None = None

    @cached_property
    def schema(self) -> "pa.Schema":
        """The Arrow schema of a request's columns in the record, each of which may be missing."""
        import pyarrow as pa

        arrow = RequestSchema(self.columns, {}).arrow
        return pa.schema([pa.field(request_column(one.name), one.type) for one in arrow])

    def key_schema(self) -> "pa.Schema":
        """The columns of the key, as outcomes have to have them."""
        import pyarrow as pa

        arrow = RequestSchema(self.columns, {}).arrow
        fields = []
        for part in self.key:
            kind = arrow.field(part.column).type
            kind = kind if part.part is None else pa.date32() if part.part == "date" else pa.int64()
            fields.append(pa.field(part.name, kind))
        return pa.schema(fields)

    def typed(self, requests: Sequence[str]) -> "pa.Table":
        """Return requests, each JSON text, as columns: those of :attr:`schema`, then the parts of timestamps that
        belong to the key and are no columns themselves. What does not fit its type is missing."""
        import pyarrow as pa

        names = [column.name for column in self.columns]
        table = _parsed(requests, pa.schema(zip(names, self.schema.types, strict=True)))
        table = table.rename_columns(list(self.schema.names))
        for part in self.key:
            if part.part is not None:
                table = table.append_column(part.name, part_of(part, table.column(request_column(part.column))))
        return table

    def keys(self, typed: "pa.Table") -> "pa.Table":
        """Return the key's columns of a table of the record, by the names that outcomes have."""
        import pyarrow as pa

        stored = [request_column(part.column) if part.part is None else part.name for part in self.key]
        return pa.table([typed.column(name) for name in stored], names=[part.name for part in self.key])

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON writes it."""
        return {"columns": [asdict(one) for one in self.columns], "key": [part.told() for part in self.key]}

    @classmethod
    def from_json(cls, told: Any) -> "Described":
        """Return what :meth:`to_json` wrote. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
        columns = tuple(Column(**{**one, "categories": tuple(one["categories"])}) for one in told["columns"])
        return cls(columns, tuple(_part(one) for one in told["key"]))


def described(folder: Path, request: RequestSchema, release: str = "") -> Described:
    """Return what the record keeps of the build of ``release`` in ``folder``: its policy names the key, if there is
    one.

    Raises :class:`~lockgate.serving.request_parts.PartRefused` for a key that the request does not have.
    """
    try:
        models = policy.read_models((folder / policy.FILE).read_bytes())
        serving = models.belonging_to(release.partition("@")[0]).serving
    except (OSError, LockgateError):
        serving = None
    found = Described(request.columns)
    if serving is not None:
        check_key(serving.key, request)
        found = Described(request.columns, serving.key, serving.retention)
    return found


def check_key(key: Sequence[RequestPart], request: RequestSchema) -> None:
    """Raise :class:`~lockgate.serving.request_parts.PartRefused` for a key that a request does not have."""
    for part in key:
        check_part("serving.key", part, request.arrow)
        if part.part is not None and part.part in request.arrow.names:
            raise PartRefused("serving.key", part, f"a request has a column {part.part} itself")


def _part(told: Any) -> RequestPart:
    if isinstance(told, dict):
        [(part, column)] = told.items()
        return RequestPart(column, part)
    return RequestPart(told)


def _parsed(requests: Sequence[str], schema: "pa.Schema") -> "pa.Table":
    """Return JSON objects as a table of ``schema``: by Arrow's own parser, which holds up no other thread, or value by
    value where one does not fit."""
    import pyarrow as pa
    from pyarrow import json as arrow_json

    text = "\n".join(requests).encode()
    if text:
        try:
            return arrow_json.read_json(
                pa.BufferReader(text),
                read_options=arrow_json.ReadOptions(use_threads=False, block_size=len(text) + 1),
                parse_options=arrow_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
            ).select(schema.names)
        except pa.ArrowException:
            pass
    rows = [json.loads(one) for one in requests]
    columns = [pa.array([_fitting(row.get(field.name), field.type) for row in rows], field.type) for field in schema]
    return pa.table(columns, schema=schema)


def _fitting(value: Any, kind: "pa.DataType") -> Any:
    import pyarrow as pa

    try:
        if value is None or (isinstance(value, bool) != pa.types.is_boolean(kind)):
            return None
        if pa.types.is_timestamp(kind):
            return datetime.fromisoformat(value).replace(tzinfo=None)
        if pa.types.is_integer(kind) and value != int(value):
            return None
        return pa.scalar(value, kind).as_py()
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None


def key_text(values: Sequence[Any]) -> str:
    """Return the one spelling of a key's values: JSON, dates and times as ISO 8601."""
    told = [one.isoformat() if isinstance(one, date | datetime) else one for one in values]
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))
