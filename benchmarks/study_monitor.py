"""How much memory ``lockgate monitor`` takes as its record grows from a million scores to ten, a million a day.

Writes ``docs/studies/monitor.json``. Fails where ten times the rows take more than 1.15 times the memory.
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.bench_monitor import ROWS, make, measured, monitor_command

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "studies" / "monitor.json"
DAYS = (1, 3, 10)
MOST = 1.15
PLACE = "--window"


def main() -> int:
    """Measure, write the figures, return 1 where memory grows with the rows."""
    found = []
    for days in DAYS:
        with tempfile.TemporaryDirectory() as place:
            make(Path(place), ROWS, days)
            for window in ("day", "week"):
                command = monitor_command(days)
                command[command.index(PLACE) + 1] = window
                seconds, megabytes = measured(Path(place), command)
                found.append(
                    {"rows": ROWS * days, "window": window, "seconds": round(seconds, 1), "megabytes": round(megabytes)}
                )
                print(found[-1], flush=True)
    FIGURES.write_text(json.dumps({"a day": ROWS, "runs": found}, indent=1) + "\n")
    by_window = {window: [one["megabytes"] for one in found if one["window"] == window] for window in ("day", "week")}
    return int(any(several[-1] > MOST * several[0] for several in by_window.values()))


if __name__ == "__main__":
    sys.exit(main())
