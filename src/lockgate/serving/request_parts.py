"""The columns of a request, and parts of its timestamps, as values of a table."""

from typing import TYPE_CHECKING, Any

from lockgate.errors import LockgateError

if TYPE_CHECKING:
    import pyarrow as pa

    from lockgate.policy import RequestPart


class PartRefused(LockgateError):  # noqa: N818 - named for what the user reads
    """A request has no such column, or it is no timestamp."""

    def __init__(self, key: str, part: "RequestPart", finding: str) -> None:
        """Name the key of the policy, the part and what is wrong."""
        super().__init__(f"lockgate.yaml: {key} names {part}, but {finding}", "Correct the key, or the request.")


def check_part(key: str, part: "RequestPart", schema: "pa.Schema") -> None:
    """Raise :class:`PartRefused`, naming the policy's ``key``, unless a request of ``schema`` has this part."""
    import pyarrow as pa

    if part.column not in schema.names:
        raise PartRefused(key, part, f"a request has no column {part.column}")
    kind = schema.field(part.column).type
    if part.part is not None and not pa.types.is_timestamp(kind):
        raise PartRefused(key, part, f"{part.column} is {kind}, not a timestamp")
    if part.part is None and pa.types.is_floating(kind):
        raise PartRefused(key, part, f"{part.column} is a number with a fraction, by which nothing is named")


def part_of(part: "RequestPart", column: Any) -> Any:
    """Return the part of a column (an Arrow array): a date32, or int64 for hours, weekdays and months."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if part.part is None:
        return column
    if part.part == "date":
        return column.cast(pa.timestamp("us")).cast(pa.date32(), safe=False)
    ask = {"hour": pc.hour, "weekday": pc.day_of_week, "month": pc.month}
    return ask[part.part](column)
