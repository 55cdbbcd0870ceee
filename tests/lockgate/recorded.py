"""What the tests of outcomes and of the record share: a release in an environment, and scores of it on record."""

from datetime import date
from pathlib import Path
from typing import Any

from lockgate.serving.contract import read_contract
from lockgate.serving.described import described
from lockgate.serving.sinks import sink_of

POLICY = """\
model: flight-delay
metrics: {roc_auc: {file: m.json, key: a, better: higher, statistic: roc_auc}}
predictions: {file: p.parquet, key: [date, count], label: late, score: p}
serving:
  {code: s, entry: "m:load", request: "m:schema", samples: r.parquet, key: [{date: when}, count], retention: 400d}
outcomes: {after: 2d}
"""
BUILD = "b" * 64


ANCIENT, PAST = date(2020, 3, 1), date(2020, 3, 2)


def fill(where: str, home: Path, days: tuple[date, ...] = (ANCIENT, PAST), each: int = 10, journal: str = "1") -> None:
    """Record ``each`` scores a day of the requests (day, 0 … each - 1)."""
    told = described(home / "toy", read_contract(home / "toy").request)
    rows: list[Any] = []
    for day in days:
        for number in range(each):
            request = f'{{"x":1.5,"when":"{day}T08:00:00","count":{number}}}'
            names = (f"{day}-{number}", 0, f"{day}T06:00:{number:02d}.000000+00:00", "flight-delay@v7.0.0", BUILD)
            rows.append((*names, 0.25, request, 1.0))
    sink_of(where).deliver(journal, rows, {BUILD: told})
