"""Rows of a file or query are given to the model as the service gives them, or refused as the service refuses them."""

import csv
import json
import math
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.length import length

from lockgate.serving.contract import Column, RequestSchema
from lockgate.serving.inputs import Csv, File, InputRefused, Query, inputs_of, key_types, requests_of

REFUSED = "refused"
MOST = 2**53 - 1


@dataclass(frozen=True)
class Family:
    """Values that a column of a table may hold: how JSON, Parquet, CSV and SQLite write them."""

    values: st.SearchStrategy[Any]
    kinds: tuple[pa.DataType, ...]
    fits: tuple[str, ...]
    json: Callable[[Any], Any] = lambda value: value


MOMENTS = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59))  # noqa: DTZ001
FAMILIES = {
    "text": Family(st.sampled_from(["NA", "null", "07", "7", "x" * 5, "é" * 5, "x" * 6, "nan", "true", "1.0", " a"]),
                   (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())), ("string",)),
    "whole": Family(st.one_of(st.integers(-3, 130), st.sampled_from([MOST, MOST + 1, -MOST, -MOST - 1])),
                    (pa.int64(), pa.float64()), ("integer", "number")),
    "count": Family(st.integers(0, 130), (pa.uint8(), pa.uint64(), pa.int32(), pa.float32(), pa.decimal128(9, 2)),
                    ("integer", "number")),
    "real": Family(st.sampled_from([30.0, 0.5, -1.0, 1e300, 1e-300, 7.25]), (pa.float64(),), ("integer", "number")),
    "flag": Family(st.booleans(), (pa.bool_(),), ("boolean",)),
    "moment": Family(MOMENTS, (pa.timestamp("us"),), ("timestamp",), lambda one: one.isoformat()),
    "zoned": Family(MOMENTS.map(lambda one: one.replace(tzinfo=UTC)), (pa.timestamp("us", "UTC"),), ("timestamp",),
                    lambda one: one.isoformat()),
    "day": Family(st.dates(date(1970, 1, 1), date(2100, 1, 1)), (pa.date32(),), ("timestamp",),
                  lambda one: one.isoformat()),
}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    column: Column
    family: str
    kind: pa.DataType
    values: list[Any]

    @property
    def fits(self) -> bool:
        """Whether the type of the column says without doubt what its values are in JSON."""
        return self.column.type in FAMILIES[self.family].fits

    def json(self) -> Any:
        return [None if value is None else FAMILIES[self.family].json(value) for value in self.values]


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    kind = draw(st.sampled_from(["string", "integer", "number", "boolean", "timestamp"]))
    bounds = (
        draw(st.sampled_from([(None, None), (0, 120), (0.5, None)])) if kind in ("integer", "number") else (None, None)
    )
    column = Column("field", kind, draw(st.booleans()), "", *bounds, max_length=5)
    fitting = [name for name, family in FAMILIES.items() if kind in family.fits]
    family = draw(st.sampled_from(fitting * 3 + list(FAMILIES)))
    values = draw(
        st.lists(st.one_of(FAMILIES[family].values, FAMILIES[family].values, st.none()), min_size=1, max_size=4)
    )
    return Drawn(column, family, draw(st.sampled_from(FAMILIES[family].kinds)), values)


def served(one: Drawn) -> Any:
    """What the service gives to the model: the column, or a refusal."""
    schema = RequestSchema((one.column,), {})
    rows = [{} if value is None else {"field": value} for value in one.json()]
    try:
        return schema.batch(schema.many(100).validate_json(json.dumps(rows))).column("field").to_pylist()
    except ValidationError:
        return REFUSED


def scored(source: File | Query, column: Column) -> Any:
    schema = RequestSchema((column,), {})
    found: list[Any] = []
    try:
        for piece in source.pieces(["id", "field"], schema, 100):
            found += requests_of(piece, schema).column("field").to_pylist()
    except InputRefused:
        return REFUSED
    return found


@settings(max_examples=length(80, 2000), deadline=None)
@given(drawn(), st.booleans())
def test_parquet_gives_what_the_service_gives(one: Drawn, holes: bool) -> None:
    if not one.fits and one.column.type == "string" and one.family in ("moment", "zoned", "day"):
        return  # JSON has no times, so any text is text
    values = one.values
    if holes and pa.types.is_floating(one.kind):
        values = [math.nan if value is None else value for value in values]
    if one.family == "whole" and pa.types.is_floating(one.kind) and any(abs(value or 0) > MOST for value in one.values):
        return  # no float says such a number
    with tempfile.TemporaryDirectory() as folder:
        array = (
            pa.array(values, pa.string()).cast(one.kind)
            if pa.types.is_dictionary(one.kind)
            else pa.array(values, one.kind)
        )
        pq.write_table(pa.table({"id": range(len(values)), "field": array}), f"{folder}/in.parquet")

        assert scored(File(0, f"{folder}/in.parquet"), one.column) == served(one)


@settings(max_examples=length(80, 2000), deadline=None)
@given(drawn(), st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]), st.booleans())
def test_csv_gives_what_the_service_gives(one: Drawn, quoting: Any, spaced: bool) -> None:
    expected = served(one)
    texts = ["" if value is None else str(value) for value in one.json()]
    if spaced and one.column.type == "timestamp":
        texts = [text.replace("T", " ") for text in texts]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in.csv")
        with path.open("w", newline="") as file:
            file.write("id,field\n")
            for number, (text, value) in enumerate(zip(texts, one.values, strict=True)):
                quoted = quoting == csv.QUOTE_NONNUMERIC and value is not None
                file.write(f'{number},"{text}"\n' if quoted else f"{number},{text}\n")
        got = scored(File(0, str(path)), one.column)

    if one.fits or expected != REFUSED:  # a file of text cannot say that 30 is no text, or that "30" is not a number
        assert got == expected


@settings(max_examples=length(50, 1000), deadline=None)
@given(drawn())
def test_sqlite_gives_what_the_service_gives(one: Drawn) -> None:
    expected = served(one)
    with tempfile.TemporaryDirectory() as folder:
        with sqlite3.connect(f"{folder}/in.db") as connection:
            connection.execute("CREATE TABLE t (id INTEGER, field)")
            connection.executemany("INSERT INTO t VALUES (?, ?)", enumerate(one.json()))
        connection.close()
        got = scored(Query(f"sqlite:///{folder}/in.db", "SELECT * FROM t", ("id",)), one.column)

    if one.fits or expected != REFUSED:  # its true and false are 1 and 0
        assert got == expected


@pytest.mark.parametrize(
    ("column", "values", "row"),
    [
        (Column("f", "integer", maximum=120), pa.array([1, 130]), 1),
        (Column("f", "integer"), pa.array([1.0, 2.5]), 1),
        (Column("f", "integer"), pa.array([1, 2**62]), 1),
        (Column("f", "number", minimum=0), pa.array([0.0, -0.1]), 1),
        (Column("f", "number"), pa.array([0.0, math.inf]), 1),
        (Column("f", "string", max_length=3), pa.array(["abc", "abcd"]), 1),
        (Column("f", "boolean"), pa.array([1.0, 0.5]), 1),
        (Column("f", "timestamp"), pa.array(["2024-01-01T00:00", "2024-02-30T00:00"]), 1),
        (Column("f", "timestamp"), pa.array([1, 1001], pa.timestamp("ns")), 0),
        (Column("f", "number", optional=False), pa.array([1.0, math.nan]), 1),
    ],
)
def test_the_first_row_that_does_not_fit_is_named(tmp_path: Path, column: Column, values: pa.Array, row: int) -> None:
    pq.write_table(pa.table({"f": values}), tmp_path / "in.parquet")
    schema = RequestSchema((column,), {})
    [piece] = File(0, str(tmp_path / "in.parquet")).pieces(["f"], schema, 10)

    with pytest.raises(InputRefused, match=rf"f: .* in row {row} "):
        requests_of(piece, schema)


def test_words_given_as_null_are_missing_in_csv_and_quoted_ones_stay_text(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text('id,name,age\n1,NA,30\n2,"NA",NA\n3,,"NA"\n')
    columns = (Column("name", "string", optional=True), Column("age", "integer", optional=True))
    schema = RequestSchema(columns, {})
    [source] = inputs_of(str(tmp_path / "in.csv"), None, ["id"], ["NA"])
    [piece] = source.pieces(["id", "name", "age"], schema, 10)

    assert requests_of(piece, schema).to_pydict() == {"name": [None, "NA", None], "age": [30, None, None]}


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["1", "20", "-3"], pa.int64()),
        (["07", "7"], None),
        (["1.0", "2"], None),
        (["2024-01-01", "2024-12-31"], pa.date32()),
        (["2024-01-01", "2024-13-31"], None),
        (["2024-01-01 10:00:00"], pa.timestamp("s")),
        (["2024-01-01 10:00:00", "2024-01-01T10:00:00"], None),
        (["a", "b"], None),
        (["9" * 30], None),
    ],
)
def test_a_key_of_csv_files_stays_text_unless_another_type_says_the_same(
    tmp_path: Path, texts: list[str], kind: pa.DataType | None
) -> None:
    (tmp_path / "a.csv").write_text("id,x\n" + "".join(f"{text},1\n" for text in texts))

    assert key_types([File(0, str(tmp_path / "a.csv"))], ["id"]).get("id") == kind


def test_files_of_one_folder_have_one_type_of_key(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,x\n7,1\n")
    (tmp_path / "b.csv").write_text("id,x\n07,1\n")
    schema = RequestSchema((Column("x", "number"),), {})
    keys = [
        piece.keys(["id"])
        for one in inputs_of(str(tmp_path), None, ["id"])
        for piece in one.pieces(["id", "x"], schema, 9)
    ]

    assert [table.to_pylist() for table in keys] == [[{"id": "7"}], [{"id": "07"}]]
    assert Csv().missing == ()


def test_a_colon_inside_a_string_of_a_query_is_text(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "in.db") as connection:
        connection.execute("CREATE TABLE t (id INTEGER, name TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(1, "a:x"), (2, "%s b"), (3, "c\\:y")])
    connection.close()
    schema = RequestSchema((Column("name", "string"),), {})
    query = r"SELECT * FROM t WHERE name IN ('a:x', '%s b', 'c\:y') -- :z"
    [piece] = Query(f"sqlite:///{tmp_path}/in.db", query, ("id",)).pieces(["id", "name"], schema, 9)

    assert piece.table.column("name").to_pylist() == ["a:x", "%s b", "c\\:y"]


def test_a_column_of_a_query_with_values_of_several_kinds_is_refused_with_its_name(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "in.db") as connection:
        connection.execute("CREATE TABLE t (id INTEGER, x)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(1, "a"), (2, 3)])
    connection.close()
    schema = RequestSchema((Column("x", "number"),), {})

    with pytest.raises(InputRefused, match="x: "):
        list(Query(f"sqlite:///{tmp_path}/in.db", "SELECT * FROM t", ("id",)).pieces(["id", "x"], schema, 9))


def test_years_stay_within_those_of_the_service(tmp_path: Path) -> None:
    late = pa.array([int(timedelta(days=366 * 9000).total_seconds())], pa.timestamp("s"))
    pq.write_table(pa.table({"f": late}), tmp_path / "in.parquet")
    schema = RequestSchema((Column("f", "timestamp"),), {})
    [piece] = File(0, str(tmp_path / "in.parquet")).pieces(["f"], schema, 10)

    with pytest.raises(InputRefused, match="9999"):
        requests_of(piece, schema)
