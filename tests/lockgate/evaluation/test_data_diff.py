"""Tables of the policy that differ between base and head: rows, days, and the columns that moved."""

import datetime as dt
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.lockgate import modelled

from lockgate.dvc.pipeline import Lock, Pipeline, Recorded, State, Tracked
from lockgate.evaluation import data_diff
from lockgate.policy import Table
from lockgate.result import DataDiff, Importance

PATH = "data/train.parquet"
POLICY = replace(modelled.policy(), data=(Table(PATH, "day"),))


def spread(rows: int = 1000) -> Any:
    return np.random.default_rng(1).normal(size=rows)


def table(rows: int = 1000, shift: float = 0.0, **columns: Any) -> bytes:
    first = dt.date(2013, 1, 1)
    content = {
        "day": [first + dt.timedelta(days=i % 59) for i in range(rows)],
        "wind": spread(rows) + shift,
        "carrier": np.where(spread(rows) > shift, "AA", "UA"),
        "few": np.arange(rows) % 3,
        **columns,
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: column for name, column in content.items() if column is not None}), sink)
    return sink.getvalue().to_pybytes()


def diff(base: bytes | None, head: bytes | None, *importance: str, table: Table = POLICY.data[0]) -> DataDiff:
    contents = {"base": base, "head": head}
    states = [_state(side, content) for side, content in contents.items()]
    policy = replace(POLICY, data=(table,))
    columns = [Importance(name, "lost", 0.1, 0.1) for name in importance]
    (found,) = data_diff.data_diff(policy, *states, lambda state, _: contents[state.snapshot.label], columns)
    return found


class Named:
    """A snapshot of which only the name is asked."""

    commit = None

    def __init__(self, label: str) -> None:
        self.label = label

    def read(self, _path: str) -> bytes | None:
        return None


def _state(side: str, content: bytes | None) -> State:
    outs = (Recorded(PATH, f"{side}{len(content)}", size=len(content)),) if content else ()
    return State(Named(side), Pipeline(tracked=(Tracked("data/train.parquet.dvc", outs),)), Lock())  # type: ignore[arg-type]


def test_rows_days_and_the_columns_that_moved_are_told() -> None:
    found = diff(table(), table(1500, 0.8))

    assert (found.rows_base, found.rows_head) == (1000, 1500)
    assert (found.first_base, found.last_base) == ("2013-01-01", "2013-02-28")
    assert [one.column for one in found.columns] == ["wind", "carrier", "few"]
    wind, carrier, few = found.columns
    assert wind.stability > 0.25  # the usual sign of a large shift
    assert few.stability < 0.01
    assert (carrier.before, carrier.after) == ("UA: 51.2 %", "UA: 80.3 %")
    assert (wind.before, wind.after) == tuple(
        f"median {np.median(side):.4g}" for side in (spread(), spread(1500) + 0.8)
    )


def test_stability_is_the_sum_over_deciles_of_base() -> None:
    base, head = table(), table(shift=0.8)
    (wind,) = diff(base, head, "wind").columns
    edges = np.quantile(pq.read_table(pa.BufferReader(base))["wind"], np.arange(1, 10) / 10)
    shares = [
        (np.bincount(np.searchsorted(edges, pq.read_table(pa.BufferReader(side))["wind"], side="right"), minlength=10)
         + 0.5) / 1005.5 for side in (base, head)
    ]  # fmt: skip

    assert wind.stability == pytest.approx(float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum()), 1e-2)


def test_of_a_time_the_hour_of_the_day_is_compared_and_of_a_date_nothing() -> None:
    def at(hour: int, month: int) -> list[dt.datetime]:
        first = dt.datetime(2013, month, 1, hour, tzinfo=dt.UTC)
        return [first + dt.timedelta(minutes=7 * i) for i in range(50)] * 20

    base, head = table(when=at(3, 1)), table(when=at(5, 9))
    named = Table(PATH, None, ("when", "day"))
    (found,) = diff(base, head, table=named).columns

    assert (found.column, found.before, found.after) == ("when", "median 05:52", "median 07:52")


def test_the_columns_that_the_model_needs_are_asked_and_no_others() -> None:
    assert [one.column for one in diff(table(), table(shift=0.8), "few", "wind", "gone").columns] == ["wind", "few"]
    named = Table(PATH, None, ("carrier",))
    assert [one.column for one in diff(table(), table(shift=0.8), "few", table=named).columns] == ["carrier"]


@pytest.mark.parametrize(
    ("base", "head", "said"),
    [
        (table(), None, "there is no data/train.parquet of head"),
        (table(), b"PAR1 nothing PAR1", "data/train.parquet of head cannot be read"),
        (table(wind=None), table(), "wind is only in head"),
        (table(), table(day=None), "data/train.parquet of head has no column 'day'"),
        (table(), table(rows=0), ""),
        (table(), table(wind=[None] * 1000), ""),
        (table(), table(wind=[[1]] * 1000, few=["x"] * 1000), ""),
    ],
)
def test_a_table_that_cannot_be_compared_is_told_in_words(base: bytes, head: bytes | None, said: str) -> None:
    assert said in diff(base, head).note


def test_tables_that_are_too_large_together_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = len(table()) + len(table(900))
    monkeypatch.setattr(data_diff, "LARGEST", whole + 10)
    policy = replace(POLICY, data=(POLICY.data[0], Table(f"{PATH}2"), Table(f"{PATH}3")))
    states = [_state(side, content) for side, content in (("base", table()), ("head", table(900)))]

    first, *others = data_diff.differing(policy, *states)

    assert first == (POLICY.data[0], "")
    assert others == []  # neither side has them
    monkeypatch.setattr(data_diff, "LARGEST", whole - 1)
    found = diff(table(), table(900))
    assert (found.rows_base, found.columns) == (None, ())
    assert "on both sides: all tables together may have" in found.note


def test_a_table_that_is_the_same_is_not_told() -> None:
    states = [_state("same", table())] * 2

    assert data_diff.data_diff(POLICY, *states, lambda *_: None, ()) == ()
