"""What a build promises whoever scores with it: ``serving.json`` and the files it names. See docs/serving.md.

Lockgate knows no model. The build says which function of which wheel loads which file, what a request looks like, and
what the model answered to some sample requests when it was released. From the columns of a request follow, for each
release anew, the Arrow schema in which the model gets its requests, the strict parser of what arrives as JSON, and the
schema that OpenAPI shows.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal

from lockgate.errors import LockgateError
from lockgate.serving.answers import Answer, AnswerError

if TYPE_CHECKING:
    import pyarrow as pa
    from pydantic import TypeAdapter

SERVING: Final = "serving.json"
SCHEMA: Final = "lockgate.serving/1"
TOLERANCE: Final = 1e-9
"""How far a sample's answer may be off, of large numbers the share: processors differ in the last bits of exp."""

_TIMESTAMP = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?$"
_ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_EXACT = 2**53 - 1  # up to here every JSON library reads an integer as it was written


class ContractError(LockgateError):
    """A build does not say how it is to be served, or not in a way that can be believed."""

    def __init__(self, place: str, finding: str) -> None:
        """Name the file and what is wrong with it."""
        super().__init__(f"{place} {finding}", "A release that can be served has what docs/serving.md lists.")


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a request. An optional one may be left out or null: the model knows a missing value.

    A ``timestamp`` is ISO 8601 without an offset. Bounds are inclusive; an ``integer`` is one that JSON can carry.
    ``categories`` are the values of a ``string`` that the model was trained on; others are counted, or refused where
    the policy says so.
    """

    name: str
    type: Literal["string", "integer", "number", "boolean", "timestamp"]
    optional: bool = False
    description: str = ""
    minimum: float | None = None
    maximum: float | None = None
    max_length: int = 1000
    categories: tuple[str, ...] = ()

    @property
    def whole_bounds(self) -> tuple[int, int]:
        """The least and the greatest whole number that the column takes."""
        low = -_EXACT if self.minimum is None else math.ceil(self.minimum)
        high = _EXACT if self.maximum is None else math.floor(self.maximum)
        return max(-_EXACT, low), min(_EXACT, high)


@dataclass(frozen=True)
class RequestSchema:
    """The columns of a request, in the order in which the model gets them, and an example of one."""

    columns: tuple[Column, ...]
    example: Mapping[str, Any]
    answer: Answer = field(default_factory=Answer)

    @cached_property
    def arrow(self) -> "pa.Schema":
        """The schema of the record batches that the model is given."""
        import pyarrow as pa

        types = {
            "string": pa.string(),
            "integer": pa.int64(),
            "number": pa.float64(),
            "boolean": pa.bool_(),
            "timestamp": pa.timestamp("us"),
        }
        return pa.schema([pa.field(c.name, types[c.type], nullable=c.optional) for c in self.columns])

    @cached_property
    def one(self) -> "TypeAdapter[dict[str, Any]]":
        """The strict parser of one request: an unknown field, a wrong type, NaN or a bound overstepped is an error."""
        from pydantic import TypeAdapter

        return TypeAdapter(_typed_dict(self.columns))

    @cached_property
    def one_of_any(self) -> "TypeAdapter[dict[str, Any]]":
        """The same, but for unknown fields, which are left out."""
        from pydantic import TypeAdapter

        return TypeAdapter(_typed_dict(self.columns, unknown="ignore"))

    def many(
        self, most: int, *, unknown: Literal["forbid", "ignore"] = "forbid"
    ) -> "TypeAdapter[list[dict[str, Any]]]":
        """Return the same for 1 to ``most`` requests; it stops at the first that is wrong."""
        from typing import Annotated

        from pydantic import FailFast, Field, TypeAdapter

        item: Any = _typed_dict(self.columns, unknown)
        return TypeAdapter(Annotated[list[item], Field(min_length=1, max_length=most), FailFast()])

    def batch(self, requests: Sequence[Mapping[str, Any]]) -> "pa.RecordBatch":
        """Return parsed requests as the model is given them."""
        import pyarrow as pa

        return pa.RecordBatch.from_pylist(requests, schema=self.arrow)

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of one request."""
        schema: dict[str, Any] = self.one.json_schema()
        return {**schema, "title": "Request", "examples": [dict(self.example)]}


@dataclass(frozen=True, slots=True)
class Samples:
    """Requests with what the model answered when it was released: so many numbers for each."""

    requests: tuple[Mapping[str, Any], ...]
    answers: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Contract:
    """All that a service needs to know of a build: paths relative to its folder, the function that loads the model."""

    wheel: str
    entry: str
    model: str
    request: RequestSchema
    samples: Samples
    card: str | None
    lock: str | None


def read_contract(folder: Path) -> Contract:
    """Return what the build in ``folder`` promises. Raises :class:`ContractError` naming the file that is not right.

    Samples are parsed as any request is: one that the schema would refuse is an error here.
    """
    place = folder / SERVING
    said = _json(place)
    if not isinstance(said, dict) or said.get("schema") != SCHEMA:
        raise ContractError(str(place), f"is not a {SCHEMA} file")
    unknown = said.keys() - {"schema", "wheel", "entry", "model", "request", "samples", "card", "lock"}
    if unknown:
        raise ContractError(str(place), f"has unknown keys: {', '.join(sorted(unknown))}")
    paths = {key: _path(folder, said, key) for key in ("wheel", "model", "request", "samples")}
    more = {key: _path(folder, said, key) if said.get(key) else None for key in ("card", "lock")}
    entry = said.get("entry")
    if not isinstance(entry, str) or not _ENTRY.fullmatch(entry):
        raise ContractError(str(place), "names no entry of the form package.module:function")
    request = _request(folder / paths["request"])
    samples = _samples(folder / paths["samples"], request)
    return Contract(paths["wheel"], entry, paths["model"], request, samples, more["card"], more["lock"])


def _request(place: Path) -> RequestSchema:
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    said = _json(place)
    try:
        columns = TypeAdapter(
            tuple[Column, ...], config=ConfigDict(extra="forbid", allow_inf_nan=False)
        ).validate_python(said["columns"])
        request = RequestSchema(columns, said["example"], Answer.of(said.get("answer")))
        request.one.validate_json(json.dumps(request.example))
    except ValidationError as error:
        raise ContractError(str(place), f"is not a schema of a request: {first_of(error)}") from None
    except (KeyError, TypeError) as error:
        raise ContractError(str(place), f"is not a schema of a request: {error!r}") from None
    except AnswerError as error:
        raise ContractError(str(place), f"is not a schema of a request: {error}") from None
    if not columns or len({column.name for column in columns}) != len(columns):
        raise ContractError(str(place), "names no column, or one twice")
    return request


def _samples(place: Path, request: RequestSchema) -> Samples:
    from pydantic import ValidationError

    said = _json(place)
    try:
        requests = request.many(10_000).validate_json(json.dumps(said["requests"]))
        told = [[p] for p in said["probabilities"]] if "probabilities" in said else said["answers"]
        answers = tuple(tuple(float(value) for value in one) for one in told)
    except ValidationError as error:
        raise ContractError(str(place), f"has a sample that its own schema refuses: {first_of(error)}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ContractError(str(place), f"holds no samples: {error!r}") from None
    if len(requests) != len(answers):
        raise ContractError(str(place), "does not have one answer for each request")
    for number, one in enumerate(answers):
        if problem := request.answer.problem(one):
            raise ContractError(str(place), f"does not have one answer for each request: number {number} {problem}")
    return Samples(tuple(requests), answers)


def first_of(error: Any) -> str:
    """Return the first finding of a ``ValidationError`` as ``place: what is wrong``; no value of the input is shown."""
    found = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in found["loc"])
    return f"{where}: {found['msg']}" if where else str(found["msg"])


def _json(place: Path) -> Any:
    try:
        return json.loads(place.read_bytes())
    except FileNotFoundError:
        raise ContractError(str(place), "is missing") from None
    except (ValueError, RecursionError):
        raise ContractError(str(place), "is not JSON") from None


def _path(folder: Path, said: Mapping[str, Any], key: str) -> str:
    path = said.get(key)
    inside = isinstance(path, str) and not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts
    if not inside or not (folder / str(path)).is_file():
        raise ContractError(str(folder / SERVING), f"names as {key} no file of the build: {path!r}")
    return str(path)


def _typed_dict(columns: Sequence[Column], unknown: Literal["forbid", "ignore"] = "forbid") -> Any:
    from typing import NotRequired

    from pydantic import ConfigDict, with_config
    from typing_extensions import TypedDict  # pydantic asks for this one before Python 3.12

    fields: dict[str, Any] = {}
    for column in columns:
        kind = _annotation(column)
        fields[column.name] = NotRequired[kind | None] if column.optional else kind
    make: Any = TypedDict  # a type checker wants to see the fields written out
    typed = make("Request", fields)
    return with_config(ConfigDict(extra=unknown, strict=True, allow_inf_nan=False))(typed)


def _annotation(column: Column) -> Any:
    from typing import Annotated

    from pydantic import BeforeValidator, Field, NaiveDatetime, WithJsonSchema

    note: dict[str, Any] = {"description": column.description} if column.description else {}
    bounds: dict[str, Any] = {"ge": column.minimum, "le": column.maximum}
    if column.type == "string":
        return Annotated[str, Field(max_length=column.max_length, **note)]
    if column.type == "number":
        return Annotated[float, Field(**bounds, **note)]
    if column.type == "integer":
        low, high = column.whole_bounds
        return Annotated[int, Field(ge=low, le=high, **note), BeforeValidator(_whole)]
    if column.type == "boolean":
        return Annotated[bool, Field(**note)]
    shown = {"type": "string", "pattern": _TIMESTAMP, "examples": ["2013-10-01T05:17:00"], **note}
    return Annotated[NaiveDatetime, BeforeValidator(_moment), WithJsonSchema(shown)]


def _moment(value: Any) -> datetime:
    """Return the time that ISO 8601 text says. Nothing else is one: a number could be seconds or milliseconds."""
    if isinstance(value, str) and re.fullmatch(_TIMESTAMP, value):
        return datetime.fromisoformat(value)
    raise ValueError("write a time as 2013-10-01T05:17:00, without an offset")


def _whole(value: Any) -> Any:
    """Take 5.0 for 5, as JSON Schema does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
