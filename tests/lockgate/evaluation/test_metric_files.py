import pytest

from lockgate.evaluation.metric_files import Unreadable, document


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
