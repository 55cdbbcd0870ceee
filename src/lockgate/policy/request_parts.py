"""Columns of a request, or a part of one of its timestamps: what keys and baselines are made of."""

from dataclasses import dataclass
from typing import Any, Literal

from lockgate import policy_values as values
from lockgate.errors import nearest
from lockgate.policy_values import PolicyError

Part = Literal["date", "hour", "weekday", "month"]
PARTS: tuple[Part, ...] = ("date", "hour", "weekday", "month")


@dataclass(frozen=True, slots=True)
class RequestPart:
    """A ``column`` of the request, or the ``part`` of a timestamp that it holds: its date, its hour (0 to 23), its
    weekday (0 is Monday) or its month (1 to 12)."""

    column: str
    part: Part | None = None

    @property
    def name(self) -> str:
        """What the column is called in a key: its own name, or that of the part (``date``)."""
        return self.part or self.column

    def __str__(self) -> str:
        """Say what it is, as a message does."""
        return f"{self.part} of {self.column}" if self.part else self.column

    def told(self) -> str | dict[str, str]:
        """Return what the policy writes: the name of the column, or ``{part: column}``."""
        return {self.part: self.column} if self.part else self.column


@values.takes(
    {
        "anyOf": [
            values.schema_of(values.text),
            {
                "type": "object",
                "properties": {part: values.schema_of(values.text) for part in PARTS},
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            },
        ]
    }
)
def request_part(place: str, value: Any) -> RequestPart:
    """Read the name of a column, or ``{date: COLUMN}``."""
    if not isinstance(value, dict):
        return RequestPart(values.text(place, value))
    given = values.mapping(place, value)
    for word in PARTS:
        if list(given) == [word]:
            return RequestPart(values.text(f"{place}.{word}", given[word]), word)
    hint = nearest(next(iter(given), ""), list(PARTS))
    raise PolicyError(place, f"must be a column, or one of {', '.join(PARTS)} with a column", value, hint)


_list = values.list_of(request_part)


@values.takes(values.schema_of(_list))
def request_parts(place: str, value: Any) -> tuple[RequestPart, ...]:
    """Read a list of them, no two of one name."""
    found = _list(place, value)
    for index, one in enumerate(found):
        if one.name in [other.name for other in found[:index]]:
            raise PolicyError(f"{place}[{index}]", f"is a second column of the name {one.name}")
    return found
