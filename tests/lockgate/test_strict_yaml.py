from typing import Any

import pytest

from lockgate.strict_yaml import YamlError, load


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("", None),
        ("a: no", {"a": "no"}),
        ("a: on", {"a": "on"}),
        ("a: true", {"a": True}),
        ("a: 1e-3", {"a": 0.001}),
        ("a: 010", {"a": 10}),
        ("a: 0x10", {"a": 16}),
        ("a: 12:30", {"a": "12:30"}),
        ("a: 2013-10-01", {"a": "2013-10-01"}),
        ("a: .inf", {"a": float("inf")}),
        ("a: ~", {"a": None}),
        ("a: &x {b: 1}\nc: {<<: *x, b: 2}", {"a": {"b": 1}, "c": {"b": 2}}),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, data: Any) -> None:
    assert load(text, "f.yaml") == data


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "f.yaml: 'c' stands twice in one mapping: lines 3 and 5"),
        ("{a: 1, a: 2}", "f.yaml: 'a' stands twice in one mapping: lines 1 and 1"),
        ("a: 1\nb: [1\nc: 2\n", "f.yaml: line 3, column 2: "),
        ("a: 1\n\tb: 2\n", "f.yaml: line 2, column 1: found a tab character"),
        ("a: 1\n---\nb: 2\n", "f.yaml: line 2, column 1: but found another document"),
        ("a: !!python/object/apply:os.system ['true']", "f.yaml: line 1, column 4: could not determine a constructor"),
        ("? [a]\n: 1\n", "f.yaml: line 1, column 3: found unhashable key"),
        (b"a: \xff", "f.yaml: byte 3 is not UTF-8"),
        ("a: \x01", "f.yaml: character 3 is not allowed in YAML"),
        ("[" * 200_000 + "]" * 200_000, "f.yaml: line 1: nested more than 100 levels deep"),
    ],
)
def test_what_is_not_one_plain_document_is_refused_with_its_place(text: str | bytes, said: str) -> None:
    with pytest.raises(YamlError) as caught:
        load(text, "f.yaml")

    assert str(caught.value).startswith(said)
