"""What can go wrong, in the user's words.

Every error that a user can cause or repair derives from :class:`LockgateError`. ``str(error)`` is the fact: what
happened and where. ``error.advice`` is what to do next. Exactly one ``except`` (in :func:`lockgate.cli.main`)
turns them into a line on stderr and an exit code; anything else keeps its traceback.

The exit code tells a script what kind of answer it got (docs/exit-codes.md): 0 done, 1 the answer is no, 2 wrong usage,
3 the question could not be asked. Each class says which one it is.
"""

from collections.abc import Iterable
from difflib import get_close_matches

DONE, NO, USAGE, NOT_ASKED = 0, 1, 2, 3


class LockgateError(Exception):
    """The answer is no: a gate fails, something differs, a file or a release is refused. Exit code 1."""

    exit_code = NO

    def __init__(self, fact: str, advice: str = "") -> None:
        super().__init__(fact)
        self.advice = advice


class UsageError(LockgateError):
    """The command line asks for something that does not exist or does not fit: exit code 2."""

    exit_code = USAGE


class NotAskedError(LockgateError):
    """The question could not be asked: no repository, a store out of reach, a file or program missing. Exit code 3."""

    exit_code = NOT_ASKED


def nearest(word: str, known: Iterable[str]) -> str:
    """Say which of ``known`` was probably meant by ``word``: a clause for an error message, empty if none is near."""
    near = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else ""


def causes(error: BaseException) -> list[BaseException]:
    """Return what led to an error, the nearest cause first. A cause hidden by ``from None`` stays hidden: its text may
    hold what was signed or a secret."""
    found: list[BaseException] = []
    while True:
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None or cause in found:
            return found
        found.append(cause)
        error = cause
