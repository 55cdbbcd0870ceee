from pathlib import Path

import pytest

from flight_delay.errors import StageError
from flight_delay.expectations import TYPES, Expectation, read_suite, read_suites

SUITES = Path(__file__).parents[2] / "expectations"

AIRLINES = """\
key: [carrier]
table:
  - {rows_at_least: 1, severity: critical}
columns:
  carrier:
    - {type: string, severity: critical}
    - {matches: '^[0-9A-Z]{2}$', severity: warning}
  name:
    - {type: string, severity: critical}
"""

BROKEN = {
    "rule": ("matches:", "mathces:", "line 7: unknown rule 'mathces'; did you mean 'matches'?"),
    "column": ("  name:", "  nmae:", "line 8: unknown column 'nmae'; did you mean 'name'?"),
    "severity": ("warning", "wraning", "line 7: carrier: unknown severity 'wraning'; did you mean 'warning'?"),
    "no severity": (", severity: warning", "", "line 5: carrier: matches lacks its severity, critical or warning."),
    "top key": ("table:", "tabel:", "line 2: unknown key 'tabel'; did you mean 'table'?"),
    "top key missing": ("key: [carrier]\n", "", "'key' is missing."),
    "a month for a table without": (
        "key:",
        "first_month: 2013-01\nkey:",
        "line 1: unknown key 'first_month'; known are",
    ),
    "key of another table": ("[carrier]", "[tailnum]", "line 1: key: expected a list of columns of airlines"),
    "type": (
        "type: string, sev",
        "type: strnig, sev",
        "line 6: carrier: type: expected a type, found 'strnig'; did you",
    ),
    "no type": (
        "    - {type: string, severity: critical}\n    - {m",
        "    - {m",
        "'carrier' is missing or has no type.",
    ),
    "column left out": (
        "  name:\n    - {type: string, severity: critical}\n",
        "",
        "line 4: columns: 'name' is missing or has no type.",
    ),
    "regular expression": ("'^[0-9A-Z]{2}$'", "'^[0-9'", "line 7: carrier: matches: expected a regular expression"),
    "two rules": ("severity: warning", "present: true, severity: warning", "one rule, found matches and present."),
    "no rule": ("matches: '^[0-9A-Z]{2}$', ", "", "line 5: carrier: an expectation has one rule, found none."),
    "rule twice": (
        "  name:",
        "    - {matches: '^[0-9A-Z]{2}$', severity: warning}\n  name:",
        "line 5: carrier: the rule 'matches ^[0-9A-Z]{2}$' stands twice.",
    ),
    "rule of a table on a column": ("matches: '^[0-9A-Z]{2}$'", "unique: [carrier]", "line 7: unknown rule 'unique'"),
    "rule of numbers on text": (
        "matches: '^[0-9A-Z]{2}$'",
        "between: [0, 1]",
        "line 5: carrier: between is for a number column, not for string.",
    ),
    "rule of months on a table without": (
        "matches: '^[0-9A-Z]{2}$'",
        "present_each_month: 0.5",
        "line 7: carrier: present_each_month is for tables that grow by a month: flights, weather, requests.",
    ),
    "column that it is compared with": (
        "matches: '^[0-9A-Z]{2}$'",
        "at_most_column: nmae",
        "line 7: carrier: at_most_column: expected another of its columns, found 'nmae'; did you mean 'name'?",
    ),
    "range": ("matches: '^[0-9A-Z]{2}$'", "between: [9, 1]", "line 7: carrier: between: expected [least, most]"),
    "share": (
        "matches: '^[0-9A-Z]{2}$'",
        "share: 1.5, present: true",
        "line 7: carrier: share: expected a number above 0",
    ),
    "modifier": ("matches:", "on: [name], matches:", "line 7: carrier: matches knows no 'on'."),
    "tied column": (
        "matches: '^[0-9A-Z]{2}$'",
        "in_column: flights.carier",
        "line 7: carrier: in_column: expected a column of a table, like airlines.carrier, found 'flights.carier'; "
        "did you mean 'flights.carrier'?",
    ),
    "exceptions": (
        "matches: '^[0-9A-Z]{2}$'",
        "in_column: flights.carrier, except: XX",
        "line 7: carrier: except: expected",
    ),
    "tied table": (
        "rows_at_least: 1",
        "found_in: flihgts",
        "line 3: table: found_in: expected a table, found 'flihgts'; did",
    ),
    "tie": (
        "rows_at_least: 1",
        "found_in: flights, on: [name]",
        "line 3: table: on: expected a list of columns of both",
    ),
    "mild shape": ("1, severity: critical", "1, severity: warning", "line 2: table: rows_at_least is always critical"),
    "no list": (
        "table:\n  - {rows_at_least: 1, severity: critical}",
        "table: []",
        "line 2: table: expected a list like",
    ),
    "columns no map": (AIRLINES.partition("columns:")[2], " all\n", "line 4: columns: expected a list of expectations"),
    "not YAML": ("matches:", "matches: {", "airlines.yaml, line "),
    "key twice": ("  name:", "  carrier:", "airlines.yaml: key 'carrier' stands twice, on lines 5 and 8."),
    "empty file": (AIRLINES, "", "airlines.yaml: expected key, table and columns."),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_suite_is_refused_in_one_line_with_its_place_and_the_nearest_word(name: str, tmp_path: Path) -> None:
    right, wrong, said = BROKEN[name]
    assert right in AIRLINES
    path = tmp_path / "airlines.yaml"
    path.write_text(AIRLINES.replace(right, wrong, 1))
    with pytest.raises(StageError) as refusal:
        read_suite(path, "airlines")
    message = str(refusal.value)
    assert message.startswith(str(path))
    assert said in message
    assert "\n" not in message
    assert message[-1] in ".?"


def test_a_word_in_a_comment_is_not_taken_for_the_place(tmp_path: Path) -> None:
    path = tmp_path / "airlines.yaml"
    path.write_text("# wraning: see docs\n" + AIRLINES.replace("warning", "wraning"))
    with pytest.raises(StageError, match=r"airlines\.yaml, line 8: carrier: unknown severity"):
        read_suite(path, "airlines")


def test_first_month_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weather.yaml"
    path.write_text((SUITES / "weather.yaml").read_text().replace("2013-01", "2013-13", 1))
    with pytest.raises(StageError, match=r"line 4: first_month: expected a month, like 2013-01, found '2013-13'\."):
        read_suite(path, "weather")


def test_a_suite_for_no_table_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "flihgts.yaml").write_text("")
    with pytest.raises(StageError, match="there is no table 'flihgts'; did you mean 'flights'"):
        read_suites(tmp_path)


def test_a_table_without_a_suite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"flights\.yaml: there is no such file"):
        read_suites(tmp_path)


def test_every_table_has_a_suite_and_every_suite_has_both_severities() -> None:
    suites = read_suites(SUITES)
    assert list(suites) == list(TYPES)
    for suite in suites.values():
        assert {e.severity for e in suite.expectations} == {"critical", "warning"}


@pytest.mark.parametrize(
    ("rule", "argument", "words"),
    [
        ("between", (0, None), "is at least 0"),
        ("between", (None, 2400), "is at most 2,400"),
        ("between", (-60, 100), "is between -60 and 100"),
        ("rows_each_month", (20000, 40000), "has between 20,000 and 40,000 rows in each month"),
        ("present_each_month", 0.9, "is present in at least 0.9 of each month's rows"),
        ("rows_at_least", 1, "has at least 1 row"),
        ("at_most_column", "origin_due", "is at most origin_due"),
        ("in", ("EWR", "JFK"), "is one of EWR, JFK"),
    ],
)
def test_a_rule_reads_as_words(rule: str, argument: object, words: str) -> None:
    assert Expectation("flights", "", rule, argument, "critical").words == words


def test_share_exceptions_and_tie_are_part_of_the_words() -> None:
    known = Expectation("flights", "dest", "in_column", "airports.faa", "warning", exceptions=("BQN", "SJU"))
    assert known.words == "is in airports.faa, or one of BQN, SJU"
    tie = Expectation("flights", "", "found_in", "weather", "warning", share=0.98, on=("origin", "time_hour"))
    assert tie.words == "each row has its match in weather by origin and time_hour, in at least 0.98 of the rows"
