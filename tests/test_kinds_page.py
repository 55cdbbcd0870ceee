"""docs/kinds.md: its policies are read, and its figures are those of the study."""

import json
import re
from pathlib import Path

import pytest

from lockgate.policy import OF_KIND, read_policy

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "kinds.md").read_text(encoding="utf-8")
POLICIES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_has_a_policy_of_each_kind_and_each_can_be_read() -> None:
    read = [read_policy(text) for text in POLICIES]

    assert {one.predictions.kind for one in read if one.predictions} == set(OF_KIND)


def test_the_page_names_every_statistic_of_each_kind() -> None:
    rows = {line.split("|")[1].strip(" `"): line for line in PAGE.splitlines() if line.startswith("| `")}

    for kind, statistics in OF_KIND.items():
        named = set(re.findall(r"`(\w+)`", rows[kind]))
        assert set(statistics) - named <= {"mean"}, kind


@pytest.mark.parametrize("setting", ["30 clusters", "92 clusters", "200 rows", "1,000 rows", "5,000 rows"])
def test_coverage_is_what_the_simulation_found(setting: str) -> None:
    rows = json.loads((DOCS / "studies/kinds.json").read_bytes())["rows"]
    chosen = [row for row in rows if row["setting"].replace("unequal ", "") == setting]
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {setting}")]

    for figure in ("covered", "called"):
        values = [row[figure] for row in chosen]
        assert f"| {100 * min(values):.1f} to {100 * max(values):.1f} % |" in line
    assert f"| at most {100 * max(row['cannot_say'] for row in chosen):.0f} % |" in line
