"""Expected failures of a stage, and the one place that turns them into a message and an exit code."""

import sys
from collections.abc import Callable
from difflib import get_close_matches

from flight_delay import environment


class StageError(Exception):
    """A failure that the user can repair: what happened, where, and what to do next, in one message."""


class NotThereYet(StageError):  # noqa: N818 - named for what the user reads
    """Data that are not there yet, which is nobody's fault: the stage ends with :data:`TRY_LATER`."""


TRY_LATER = 75
"""EX_TEMPFAIL of sysexits.h: by this exit code `lockgate retrain` knows that there is nothing to retrain on yet."""


def run_stage(main: Callable[[], None]) -> int:
    """Run a stage's ``main``. Return 0, or after one message on stderr 1 (:data:`TRY_LATER` where data are not there
    yet); a programming error keeps its traceback."""
    environment.warn()
    try:
        main()
    except StageError as error:
        sys.stderr.write(f"error: {error}\n")
        return TRY_LATER if isinstance(error, NotThereYet) else 1
    except OSError as error:  # disk full, no permission: the outputs of the last good run still stand
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"error: {place}{error.strerror or error}. No output was changed.\n")
        return 1
    return 0


def nearest(word: str, known: list[str]) -> str:
    """Return a clause that names the known word probably meant, or the known words where none is near."""
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean '{near[0]}'?" if near else f"known are {', '.join(sorted(known))}"
