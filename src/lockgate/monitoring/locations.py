"""Where the record of scores and the outcomes of an environment are."""

from lockgate.errors import LockgateError, NotAskedError


class RecordMissing(NotAskedError):  # noqa: N818 - named for what the user reads
    """There is no record of scores."""

    def __init__(self, place: str) -> None:
        """Name the place."""
        super().__init__(
            f"there is no record of scores at {place}", "Name the one of `lockgate serve`: --record WHERE."
        )


class RecordRefused(LockgateError):  # noqa: N818
    """What is there is no record of scores."""

    def __init__(self, place: str, finding: str) -> None:
        """Name the file or table, and what is wrong with it."""
        super().__init__(f"{place} {finding}", "A record of scores is what `lockgate serve --record` writes.")
