import pytest

from lockgate.evaluation.metric_files import Unreadable, curve, document, importance
from lockgate.policy import ImportanceFile, Plot


@pytest.mark.parametrize("file", ["metrics.csv", "metrics.parquet", "metrics.tsv", "m.jsonl"])
def test_a_table_is_no_metrics_file_and_the_formats_that_are_read_are_named(file: str) -> None:
    with pytest.raises(Unreadable, match=r"JSON, YAML and TOML"):
        document(b"roc_auc\n0.7\n", file)


@pytest.mark.parametrize(
    ("file", "data"),
    [("m.json", b'{"a": 1000}'), ("m.yaml", b"a: 1_000"), ("m.toml", b"a = 1_000"), ("m", b'{"a": 1000}')],
)
def test_a_metrics_file_is_read_by_its_ending(file: str, data: bytes) -> None:
    assert document(data, file) == {"a": 1000}


WHAT = ImportanceFile("i.json", "column", "lost", "error")
HEAD = b'[{"column": "wind", "lost": 0.1, "error": 0.02}, {"column": "rain", "lost": 0.3}, {"column": 3, "lost": 1}]'
BASE = b"column,lost,error\nwind,0.2,0.01\ngone,0.25,nan\nbad,x,\n"


def test_importance_is_told_of_both_sides_and_the_largest_loss_comes_first() -> None:
    found = importance(
        WHAT, b'[{"column": "wind", "lost": 0.2, "error": 0.01}, {"column": "gone", "lost": 0.25}]', HEAD
    )

    assert [(one.column, one.base, one.head, one.error_base, one.error_head) for one in found] == [
        ("rain", None, 0.3, None, None),
        ("gone", 0.25, None, None, None),
        ("wind", 0.2, 0.1, 0.01, 0.02),
    ]


@pytest.mark.parametrize("data", [None, b"", b"[]", b"{", b'{"a": 1}', b"\xff", b'[{"column": "wind", "lost": "NaN"}]'])
def test_a_file_without_importance_gives_none(data: bytes | None) -> None:
    assert importance(WHAT, data, data) == ()


def test_importance_in_csv_leaves_out_what_is_no_number() -> None:
    found = importance(ImportanceFile("i.csv", "column", "lost", "error"), None, BASE)

    assert [(one.column, one.head, one.error_head) for one in found] == [("gone", 0.25, None), ("wind", 0.2, 0.01)]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b'[{"x": 0, "y": 0, "n": 5}, {"x": 1, "y": 1, "n": 7}]', (5.0, 7.0)),
        (b'[{"x": 0, "y": 0, "n": 5}, {"x": NaN, "y": 1, "n": 7}]', (5.0,)),
        (b'[{"x": 0, "y": 0, "n": 5}, {"x": 1, "y": 1}]', ()),
        (b'[{"x": 0, "y": 0, "n": "?"}]', ()),
    ],
)
def test_the_rows_behind_each_point_are_told_if_the_file_says_them_of_all(data: bytes, rows: tuple[float, ...]) -> None:
    drawn = curve(Plot("p.json", "P", "x", "y", diagonal=True, rows="n"), None, data, has_base=False)

    assert (drawn.diagonal, drawn.rows_base, drawn.rows_head) == (True, (), rows)
