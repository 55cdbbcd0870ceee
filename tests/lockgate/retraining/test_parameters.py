"""Parameters that move on, in files of which nothing else may change."""

from datetime import date

import pytest

from lockgate.git import Overlay, Workspace
from lockgate.retraining.parameters import ParameterError, following, moved, replaced

TEXT = """\
# Every knob.
ingest:
  through: 2013-12          # the last month to take
  from: "2013-01"
  day: 2013-12-31
  'odd key': 'it''s 2013-12'
  files: {flights: {name: flights.csv.zip, through: 2013-11}}
  number: 007
train: &same
  seed: 0
  last: 2013-12-31
other: *same
"""


@pytest.mark.parametrize(
    ("value", "rule", "after"),
    [
        ("2013-12", "next month", "2014-01"),
        ("2013-12", "next year", "2014-12"),
        ("2013-12-31", "next month", "2014-01-31"),
        ("2014-01-31", "next month", "2014-02-28"),
        ("2014-02-28", "next month", "2014-03-31"),
        ("2014-01-30", "next month", "2014-02-28"),
        ("2016-02-29", "next year", "2017-02-28"),
        (date(2013, 12, 31), "next day", date(2014, 1, 1)),
        (date(2013, 12, 31), "next week", date(2014, 1, 7)),
        (7, "next number", 8),
        ("2013-12", "2013-08", "2013-08"),
        (1, "2", 2),
    ],
)
def test_a_value_is_followed_by_one_of_its_own_kind(value: object, rule: str, after: object) -> None:
    assert following(value, rule, "'x'") == after


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("December", "next month"),
        ("2013-13", "next month"),
        (True, "next number"),
        ("7", "next number"),
        (2013, "next month"),
        ("2013-12", "next week"),
        ("9999-12", "next month"),
        (date(9999, 12, 31), "next day"),
    ],
)
def test_a_value_that_the_rule_does_not_fit_is_refused_by_name(value: object, rule: str) -> None:
    with pytest.raises(ParameterError, match=r"'ingest\.through' of params\.yaml"):
        following(value, rule, "'ingest.through' of params.yaml")


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("ingest.through", "2014-01", "  through: 2014-01          # the last month to take"),
        ("ingest.from", "2013-02", '  from: "2013-02"'),
        ("ingest.day", date(2014, 1, 31), "  day: 2014-01-31"),
        ("ingest.odd key", "it's 2014-01", "  'odd key': 'it''s 2014-01'"),
        ("ingest.files.flights.through", "2013-12",
         "  files: {flights: {name: flights.csv.zip, through: 2013-12}}"),
        ("ingest.number", 8, "  number: 8"),
        ("train.seed", 1, "  seed: 1"),
        ("ingest.through", "yes: no", '  through: "yes: no"          # the last month to take'),
        ("ingest.through", "12", '  through: "12"          # the last month to take'),
    ],
)  # fmt: skip
def test_one_line_of_the_file_changes_and_no_other_byte(key: str, value: object, line: str) -> None:
    after = replaced(TEXT.encode(), "params.yaml", key, value).decode()
    changed = [new for old, new in zip(TEXT.splitlines(), after.splitlines(), strict=True) if old != new]
    assert changed == [line]


def test_json_and_toml_keep_their_form() -> None:
    assert replaced(b'{"a": {"b": "2013-12"},\n "c": 1}', "p.json", "a.b", "2014-01") == (
        b'{"a": {"b": "2014-01"},\n "c": 1}'
    )
    assert replaced(b"# why\n[a]\nb = '2013-12'  # here\n", "p.toml", "a.b", "2014-01") == (
        b'# why\n[a]\nb = "2014-01"  # here\n'
    )


def test_what_cannot_be_replaced_where_it_stands_is_refused_and_nothing_is_returned(tmp_path) -> None:
    files = Overlay(Workspace(tmp_path), {"params.yaml": TEXT.encode(), "p.py": b"X = 1\n"})
    for moves, said in (
        ({"ingest.thruogh": "next month"}, "ingest.through"),
        ({"other.seed": "next number"}, "where it stands"),
        ({"ingest.files": "2"}, "where it stands"),
        ({"nowhere.yaml:a": "next month"}, "nowhere.yaml"),
        ({"ingest.through": "next month", "ingest.missing": "next month"}, "ingest.missing"),
    ):
        with pytest.raises(ParameterError) as refused:
            moved(files, moves)
        assert said in f"{refused.value} {refused.value.advice}"


def test_several_parameters_of_one_file_move_together(tmp_path) -> None:
    files = Overlay(Workspace(tmp_path), {"params.yaml": TEXT.encode()})
    written, told = moved(files, {"ingest.through": "next month", "train.last": "next month"})
    assert [(one.key, one.before, one.after) for one in told] == [
        ("ingest.through", "2013-12", "2014-01"),
        ("train.last", "2013-12-31", "2014-01-31"),
    ]
    assert b"last: 2014-01-31" in written["params.yaml"]
    assert b"through: 2014-01 " in written["params.yaml"]
