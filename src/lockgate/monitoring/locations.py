"""Where the record of scores and the outcomes of an environment are."""

from lockgate.errors import LockgateError, NotAskedError
from lockgate.serving.sinks import is_database

OUTCOMES = "outcomes"  # the folder beside the days of a record


class RecordMissing(NotAskedError):  # noqa: N818 - named for what the user reads
    """There is no record of scores."""

    def __init__(self, place: str) -> None:
        """Name the place."""
        super().__init__(
            f"there is no record of scores at {without_password(place)}",
            "Name the one of `lockgate serve`: --record WHERE, or $LOCKGATE_RECORD.",
        )


class RecordRefused(LockgateError):  # noqa: N818
    """What is there is no record of scores."""

    def __init__(self, place: str, finding: str) -> None:
        """Name the file or table, and what is wrong with it."""
        super().__init__(
            f"{without_password(place)} {finding}", "A record of scores is what `lockgate serve --record` writes."
        )


def outcomes_beside(record: str) -> str:
    """Return where the outcomes of a record are unless something else is said: a folder in it, or the same database."""
    return record if is_database(record) else f"{record.rstrip('/')}/{OUTCOMES}"


def without_password(place: str) -> str:
    """Return a folder or a URL as it may be printed."""
    scheme, found, rest = place.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else place
