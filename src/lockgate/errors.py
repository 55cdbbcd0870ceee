"""What can go wrong, said in the user's words.

Every error that a user can cause or repair derives from :class:`LockgateError`. ``str(error)`` is the fact: what
happened and where. ``error.advice`` is what to do next. Exactly one ``except`` (in :func:`lockgate.cli.main`)
turns them into a line on stderr and an exit code; anything else keeps its traceback.
"""

from difflib import get_close_matches


class LockgateError(Exception):
    """An expected failure: exit code 1, one clear message."""

    exit_code = 1

    def __init__(self, fact: str, advice: str = "") -> None:
        super().__init__(fact)
        self.advice = advice


class UsageError(LockgateError):
    """The command line asks for something that does not exist or does not fit: exit code 2."""

    exit_code = 2


def nearest(word: str, known: "list[str]") -> str:
    """Say which of ``known`` was probably meant by ``word``: a clause for an error message, empty if none is near."""
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else ""
