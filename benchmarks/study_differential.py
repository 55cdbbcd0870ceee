"""Generated DVC repositories and edits, many of them: is ``lockgate plan`` what DVC says, does an honest run fit?

``python -m benchmarks.study_differential --minutes 10`` draws until the time is over and prints how many repositories,
edits and comparisons there were, and each that came out otherwise with what was drawn, so that it can be repeated with
``--only FEATURE,FEATURE:EDIT,EDIT``. Exit code 1 if anything came out otherwise.
"""

import argparse
import os
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path

from tests.lockgate.generated import EDITS, Drawn, check, check_honest_run


def main() -> int:
    """Draw and compare until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long to draw (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="what to draw from (default: 1)")
    parser.add_argument("--only", help="one repository, as a failure is printed")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ.update(GIT_CONFIG_NOSYSTEM="1", DVC_NO_ANALYTICS="1")
    for who in ("AUTHOR", "COMMITTER"):
        os.environ.update({f"GIT_{who}_NAME": "study", f"GIT_{who}_EMAIL": "study@example.org"})
    draw, ends = random.Random(arguments.seed), time.monotonic() + 60 * arguments.minutes
    repositories = edits = compared = runs = 0
    failures = []
    while time.monotonic() < ends:
        what = _named(arguments.only) if arguments.only else _drawn(draw)
        for law in (check, check_honest_run):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    compared += law(Path(folder), what) or 0
                    runs += law is check_honest_run
                except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
                    failures.append(f"{','.join(what.features)}:{','.join(what.edits)}")
                    print(f"{failures[-1]}\n  {law.__name__}: {type(error).__name__}: {str(error)[:600]}", flush=True)
                finally:
                    os.chdir("/")
        repositories, edits = repositories + 1, edits + len(what.edits)
        if arguments.only:
            break
    print(
        f"{repositories} repositories, {edits} edits, {compared} plans compared, {runs} honest runs that fit; "
        f"{len(failures)} came out otherwise (seed {arguments.seed})"
    )
    return 1 if failures else 0


def _drawn(draw: random.Random) -> Drawn:
    names = draw.sample(sorted(EDITS), draw.randint(1, 4))
    possible = [edit for name in names for edit in EDITS[name]]
    return Drawn(tuple(names), tuple(draw.sample(possible, min(len(possible), draw.randint(1, 3)))))


def _named(text: str) -> Drawn:
    features, _, edits = text.partition(":")
    return Drawn(tuple(features.split(",")), tuple(edit for edit in edits.split(",") if edit))


if __name__ == "__main__":
    sys.exit(main())
