"""Says which actions of the workflows GitHub's runners cannot run: ``act``, on a laptop, does not notice.

``python tests/action_runtimes.py`` prints one line for each and returns 1 if there is one. The table is committed:
``.github/action-runtimes.yml``.
"""

import datetime as dt
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TABLE = ".github/action-runtimes.yml"
SHOWN = ("docs/**/*.md", "README.md")
"""Where workflows are shown, to be copied."""


def files(root: Path) -> list[Path]:
    """Return the workflows and actions of a repository, and the pages that show some."""
    patterns = (".github/workflows/*.yml", ".github/actions/*/action.yml", *SHOWN)
    return sorted(path for pattern in patterns for path in root.glob(pattern))


def problems(paths: Iterable[Path], table: dict[str, Any], today: dt.date) -> list[str]:
    """Return in words what is wrong with the actions that these files name."""
    found = []
    for path in paths:
        for line, text in enumerate(path.read_text().splitlines(), 1):
            match = re.search(r"\buses: ([\w.-]+/[\w./-]+@\S+)", text)
            if match is None:
                continue
            place = f"{path}:{line}: {match[1]}"
            entry = table["actions"].get(match[1])
            if entry is None:
                found.append(f"{place} is not in {TABLE}: read `runs.using` of its action.yml and add it")
            elif entry["runtime"] not in table["runtimes"]:
                found.append(f"{place} runs on {entry['runtime']}, which {TABLE} does not list")
            elif (end := table["runtimes"][entry["runtime"]]) and end <= today:
                found.append(f"{place} runs on {entry['runtime']}, which the runners have not had since {end}")
    return found


def main() -> int:
    """Print the problems of this repository."""
    table = yaml.safe_load((ROOT / TABLE).read_text())
    found = problems(files(ROOT), table, dt.datetime.now(dt.UTC).date())
    sys.stdout.writelines(f"{line}\n" for line in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
