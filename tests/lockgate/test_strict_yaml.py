import math
import re
import time
from datetime import date
from typing import Any

import pytest
from dvc.utils.serialize import ParseError, parse_yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.length import length

from lockgate.strict_yaml import YamlError, load, position


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
        ("a: 2013-10-01", {"a": date(2013, 10, 1)}),
        ("a: 1_000", {"a": 1000}),
        ("a: 0b101", {"a": 5}),
        ("a: -0o7", {"a": -7}),
        ("? [a]\n: 1\n", {("a",): 1}),
        ("a: .inf", {"a": float("inf")}),
        ("a: ~", {"a": None}),
        ("a: &x {b: 1}\nc: {<<: *x, b: 2}", {"a": {"b": 1}, "c": {"b": 2}}),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, data: Any) -> None:
    assert load(text, "f.yaml") == data


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", 5, 3),
        ("{a: 1, a: 2}", 1, 8),
        ("a: 1\nb: [1\nc: 2\n", 3, 2),
        ("a: 1\n\tb: 2\n", 2, 1),
        ("a: 1\n---\nb: 2\n", 2, 1),
        ("a: !!python/object/apply:os.system ['true']", 1, 4),
        ("? {a: 1}\n: 1\n", 1, 3),
        ("a: =", 1, 4),
        ("a: 1\nb: 2001-13-99\n", 2, 4),
        ("a: !!bool maybe", 1, 4),
        ('a: "\\ud800"', 1, 4),
        (f"a: {'9' * 5000}", 1, 4),
        ("a: &x [*x]", 1, 4),
        (b"b: 1\na: \xff", 2, None),
        ("b: 1\na: \x01", 2, None),
        ("[" * 200_000 + "]" * 200_000, 1, 101),
        ("- " * 5000 + "x", 1, 201),
    ],
)
def test_what_is_not_one_plain_document_is_refused_with_its_place(
    text: str | bytes, line: int, column: int | None
) -> None:
    with pytest.raises(YamlError) as caught:
        load(text, "f.yaml")

    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value).startswith(f"f.yaml: line {line}")


def test_both_lines_of_a_duplicate_key_are_named() -> None:
    with pytest.raises(YamlError, match=r"'c' .*lines 3 and 5"):
        load("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n", "f.yaml")


def test_six_levels_of_aliases_are_refused_at_once() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 7)]
    started = time.monotonic()

    with pytest.raises(YamlError, match="aliases"):
        load("\n".join(levels), "params.yaml")
    assert time.monotonic() - started < 2


def test_aliases_that_save_some_writing_are_read() -> None:
    text = "base: &base {lr: 0.1, depth: 3}\n" + "".join(f"m{i}: *base\n" for i in range(2000))

    assert load(text, "params.yaml")["m1999"] == {"lr": 0.1, "depth": 3}


def test_the_place_of_a_value_is_that_of_its_key_or_of_the_last_key_there_is() -> None:
    text = "a:\n  b:\n    - {c: 1}\n    - d:\n"

    assert position(text, ("a", "b", 0, "c")) == (3, 8)
    assert position(text, ("a", "b", 1, "d", "e")) == (4, 7)
    assert position(text, ("x",)) is None


SCALARS = """a b no on yes true ~ null 1_000 0b101 -0o7 0o17 010 08 1e3 1e-3 .5 1. .inf -.INF .nan 12:30 0x1F +1
2024-01-01 2024-01-01T10:00:00Z - 'x y' "t\\n" = << &a *a !!str !!int # : , [ ] { } | > --- ..."""
WORDS = st.sampled_from(SCALARS.split())
DOCUMENTS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["", "- ", "k: ", "l: "]), st.lists(WORDS, max_size=3))
)


@settings(max_examples=length(150, 5000), deadline=None)
@given(DOCUMENTS)
def test_every_document_is_read_as_dvc_reads_it_or_refused_by_both(lines: list[tuple[int, str, list[str]]]) -> None:
    text = "".join(f"{'  ' * depth}{head}{' '.join(words)}\n" for depth, head, words in lines)
    try:
        theirs = parse_yaml(text, "f.yaml")
    except (ParseError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        theirs = YamlError
    try:
        ours = load(text, "f.yaml") or {}
    except YamlError:
        ours = YamlError

    assert same(ours, theirs) or (ours is YamlError and re.search(r"&a.*\*a", text, re.DOTALL))  # may hold itself


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return all(map(same, [*one.keys(), *one.values()], [*other.keys(), *other.values()])) and len(one) == len(other)
    return type(one) is type(other) and bool(one == other)
