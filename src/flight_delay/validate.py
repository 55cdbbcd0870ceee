"""Stage ``validate``: raw tables + ``expectations/`` → ``reports/validation.json``.

Where the raw tables are right, the rows that ``prepare`` will write are made of them and judged too, before they are
written: by the same code from the same files, so they are the same rows.

The suites are compiled to Great Expectations, which judges; this module gives it what to judge and says in words what
it found. A critical expectation that fails stops the pipeline and nothing is written; a warning is reported.

Each table is judged as up to three frames. ``shape``: one row, the number of rows and the type of each column.
``rows``: the table itself, with a derived column where a rule looks at several columns or tables. ``months``: one row
per expected month, its number of rows and the share present of each column. The report holds counts and values of the
data alone, and no figure that Great Expectations computed by division, so it has the same bytes on every machine.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfoNotFoundError

import pandas as pd
import pyarrow as pa

from flight_delay.errors import StageError, run_stage
from flight_delay.expectations import REQUESTS, SHAPE_RULES, TYPES, Expectation, Suite, read_suites
from flight_delay.files import read_table, write_json
from flight_delay.params import load_params
from flight_delay.paths import RAW, REPORTS
from flight_delay.prepare import prepare

REPORT = REPORTS / "validation.json"
EXAMPLES = 5
AT_ONCE = 25  # expectations judged together, so that they are on few columns
LOOKED_THROUGH = 100  # offending rows among which examples with different values are sought

ROWS = "number of rows"  # a column of `shape` and `months`; no table has one of that name

Tables = Mapping[str, pa.Table]
FrameName = Literal["shape", "rows", "months"]


@dataclass(frozen=True)
class Outcome:
    """What became of one expectation. ``failures`` counts what does not hold (rows, months or columns); 0 if it does.

    ``examples`` shows some of it, each with the key of its row or its month.
    """

    expectation: Expectation
    success: bool
    failures: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """What Great Expectations is given: an expectation of its own, on a frame, perhaps with a derived column."""

    frame: FrameName
    name: str  # of Great Expectations' class
    arguments: dict[str, Any]
    derived: "pd.Series[Any] | None" = None


def check_shape(suite: Suite, table: pa.Table, through: str) -> list[Outcome]:
    """Judge what the other rules take for granted: rows, columns and their types."""
    chosen = [e for e in suite.expectations if e.rule in SHAPE_RULES]
    return _check(suite, chosen, {suite.table: table}, through)


def check_content(suite: Suite, tables: Tables, through: str) -> list[Outcome]:
    """Judge everything else of a table whose shape is right; ``tables`` holds those it is tied to as well."""
    chosen = [e for e in suite.expectations if e.rule not in SHAPE_RULES]
    return _check(suite, chosen, tables, through)


def validate(suites: Mapping[str, Suite], tables: Tables, through: str) -> list[Outcome]:
    """Judge all tables, up to and including the month ``through``, and return what became of each expectation.

    Raises :class:`StageError` with all critical expectations that fail; those on contents are only looked at once
    every table has its shape.
    """
    shape = [outcome for suite in suites.values() for outcome in check_shape(suite, tables[suite.table], through)]
    refuse_critical(shape)
    content = [outcome for suite in suites.values() for outcome in check_content(suite, tables, through)]
    refuse_critical(content)
    return shape + content


def validate_all(suites: Mapping[str, Suite], raw: Tables, through: str, lead: int) -> list[Outcome]:
    """Judge the raw tables, then what ``prepare`` makes of them. Raises as :func:`validate`, for the raw ones first."""
    on_raw = {name: suite for name, suite in suites.items() if name != REQUESTS}
    outcomes = validate(on_raw, raw, through)
    rows = prepare(raw["flights"].to_pandas(), raw["weather"].to_pandas(), lead)
    return outcomes + validate({REQUESTS: suites[REQUESTS]}, {**raw, REQUESTS: as_written(rows)}, through)


def as_written(rows: pd.DataFrame) -> pa.Table:
    """Return a frame as a table with the types that its Parquet file gives back, which knows no seconds."""
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    kinds = [pa.timestamp("ms") if pa.types.is_timestamp(field.type) else field.type for field in table.schema]
    return table.cast(pa.schema(list(zip(table.column_names, kinds, strict=True))))


def refuse_critical(outcomes: Iterable[Outcome]) -> None:
    """Raise :class:`StageError` if a critical expectation failed, with table, column, rule and some offending rows."""
    failed = [o for o in outcomes if not o.success and o.expectation.severity == "critical"]
    if failed:
        many = f"{len(failed)} critical expectations" if len(failed) > 1 else "a critical expectation"
        what = "prepared rows fail" if failed[0].expectation.table == REQUESTS else "raw data fails"
        raise StageError(
            f"the {what} {many}. No output was changed.\n"
            + "\n".join(describe(outcome) for outcome in failed)
            + "\nIf the data is right, change the rule in the expectations of its table."
        )


def describe(outcome: Outcome) -> str:
    """Return an expectation that failed as text: a line with table, column and rule, then one for each example."""
    e = outcome.expectation
    what = {"rows_each_month": "month", "present_each_month": "month", "type": "column", "no_other_columns": "column"}
    noun = what.get(e.rule, "row")
    count = f" ({_many(outcome.failures, noun)} not)" if e.rule != "rows_at_least" else ""
    place = f"{e.table}, {e.column}" if e.column else e.table
    return "\n".join([f"  {place}: {e.words}{count}", *(f"    {example}" for example in outcome.examples)])


def report(suites: Mapping[str, Suite], outcomes: Iterable[Outcome]) -> dict[str, Any]:
    """Return the content of ``reports/validation.json``: the tables and, in the order of their suites, each result."""
    found = {outcome.expectation: outcome for outcome in outcomes}
    tables = []
    for suite in suites.values():
        results = [
            {
                "rule": e.words,
                "column": e.column,
                "severity": e.severity,
                "success": found[e].success,
                "failures": found[e].failures,
                "examples": list(found[e].examples),
            }
            for e in suite.expectations
        ]
        tables.append({"table": suite.table, "expectations": len(results), "results": results})
    critical = [o for o in found.values() if not o.success and o.expectation.severity == "critical"]
    return {"success": not critical, "tables": tables}


def main() -> None:
    """Judge ``data/raw/`` and what is prepared of it, write the report, and say the warnings on stdout.

    Where a critical expectation fails, nothing is written.
    """
    params = load_params()
    suites = read_suites(Path(params.validate_.expectations))
    raw = {name: read_table(RAW / f"{name}.parquet") for name in suites if name != REQUESTS}
    outcomes = validate_all(suites, raw, params.ingest.through, params.prepare.lead_minutes)
    write_json(REPORT, report(suites, outcomes))
    warnings = [outcome for outcome in outcomes if not outcome.success]
    sys.stdout.write(
        f"validate: {len(outcomes)} expectations on {len(suites)} tables, {_many(len(warnings), 'warning')}\n"
    )
    for warning in warnings:
        sys.stdout.write(f"{describe(warning)}\n")


def _check(suite: Suite, chosen: list[Expectation], tables: Tables, through: str) -> list[Outcome]:
    months = _months(suite, through)
    rows = _wide(tables[suite.table].to_pandas())
    judged = {e: _COMPILE[e.rule](e, rows, tables, months) for e in chosen}
    derived = {_derived(e): j.derived for e, j in judged.items() if j.derived is not None}
    frames: dict[FrameName, Callable[[], pd.DataFrame]] = {
        "shape": lambda: _shape(suite, tables[suite.table]),
        "rows": lambda: rows.assign(**derived),
        "months": lambda: _by_month(rows, months),
    }
    outcomes = {}
    for name, make in frames.items():
        on_frame = {e: j for e, j in judged.items() if j.frame == name}
        if on_frame:
            frame = make()
            found: dict[Expectation, tuple[bool, int, list[Any]]] = {}
            for some in _batches(list(on_frame), AT_ONCE):
                on_some = {e: on_frame[e] for e in some}
                found |= _judge(_looked_at(frame, on_some), on_some)
            for e, (success, failures, places) in found.items():
                examples = () if success else _examples(e, suite, name, frame, places)
                outcomes[e] = Outcome(e, success, failures, examples)
    return [outcomes[e] for e in chosen]


def _batches(chosen: list[Expectation], size: int) -> Iterator[list[Expectation]]:
    for start in range(0, len(chosen), size):
        yield chosen[start : start + size]


def _looked_at(frame: pd.DataFrame, judged: Mapping[Expectation, Judged]) -> pd.DataFrame:
    """Return the columns that are judged. For each rule Great Expectations copies all rows that have a value, whole."""
    if any("column_set" in j.arguments for j in judged.values()):
        return frame
    used = [name for j in judged.values() for name in j.arguments.get("column_list", [j.arguments.get("column")])]
    return frame[list(dict.fromkeys(used))]


def _wide(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the same numbers in 64 bits: Great Expectations goes through narrower ones in Python, one by one."""
    narrow = rows.select_dtypes("integer").columns
    return rows.astype(dict.fromkeys(narrow, "int64"))


@cache
def _frames() -> Any:
    """Return what Great Expectations takes frames through: a context in memory, telemetry and progress bars off."""
    import great_expectations as gx  # takes seconds
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(enable=False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("raw").add_dataframe_asset("frame")
    return asset.add_batch_definition_whole_dataframe("all")


def _judge(frame: pd.DataFrame, judged: Mapping[Expectation, Judged]) -> dict[Expectation, tuple[bool, int, list[Any]]]:
    """Let Great Expectations judge ``frame``: for each expectation success, failures and where some of them are.

    It is asked first what holds, then about what does not: gathering details takes longer than judging. "Where" is a
    label of the frame's index, or a column for rules on columns.
    """
    import great_expectations as gx

    batch = _frames().get_batch({"dataframe": frame})

    def ask(chosen: list[Expectation], result_format: str) -> Iterator[tuple[Expectation, Any]]:
        compiled = [
            getattr(gx.expectations, judged[e].name)(**judged[e].arguments, severity=e.severity, meta={"position": n})
            for n, e in enumerate(chosen)
        ]
        form = {"result_format": result_format, "partial_unexpected_count": LOOKED_THROUGH}
        for result in batch.validate(
            gx.ExpectationSuite(name="suite", expectations=compiled), result_format=form
        ).results:
            expectation = chosen[result.expectation_config.meta["position"]]
            if result.exception_info.get("raised_exception", True):
                raise RuntimeError(f"{expectation}: {result.exception_info}")
            yield expectation, result

    outcomes: dict[Expectation, tuple[bool, int, list[Any]]] = {
        e: (bool(result.success), 0, []) for e, result in ask(list(judged), "BOOLEAN_ONLY")
    }
    failed = [e for e, (success, _, _) in outcomes.items() if not success]
    for e, result in ask(failed, "SUMMARY") if failed else ():
        found = result.result
        columns = found.get("details", {}).get("mismatched", {}).get("unexpected", [])
        places = found.get("partial_unexpected_index_list", columns)
        outcomes[e] = (False, int(found.get("unexpected_count", len(columns) or 1)), places)
    return outcomes


def _shape(suite: Suite, table: pa.Table) -> pd.DataFrame:
    """Return one row: the number of rows and the type of each column, ``absent`` if only the suite names it."""
    absent = {e.column: "absent" for e in suite.expectations if e.column}
    return pd.DataFrame([{ROWS: table.num_rows} | absent | {field.name: str(field.type) for field in table.schema}])


def _months(suite: Suite, through: str) -> list[str]:
    if suite.first_month > through:
        raise StageError(
            f"expectations of {suite.table}: first_month ({suite.first_month}) is after ingest.through ({through})."
        )
    return list(pd.period_range(suite.first_month, through, freq="M").astype(str)) if suite.first_month else []


def _by_month(rows: pd.DataFrame, months: list[str]) -> pd.DataFrame:
    """Return one row per expected month: ``rows``, and the share present of each column (missing without rows)."""
    by_month = rows.groupby(_month_number(rows))
    counts = by_month.size().rename(ROWS).to_frame()
    shares = by_month.count().div(counts[ROWS], axis=0)
    numbers = [int(month.replace("-", "")) for month in months]
    frame = shares.join(counts).reindex(numbers).fillna({ROWS: 0}).astype({ROWS: int})
    return frame.set_axis(months, axis=0)


def _month_number(rows: pd.DataFrame) -> "pd.Series[Any]":
    if "date" in rows:
        year, month = rows["date"].dt.year, rows["date"].dt.month
    else:
        year, month = rows["year"], rows["month"]
    number: pd.Series[Any] = year.astype("float64") * 100 + month  # 201301; missing where either is
    return number


def _rows_at_least(e: Expectation, *_: Any) -> Judged:
    return Judged("shape", "ExpectColumnValuesToBeBetween", {"column": ROWS, "min_value": e.argument})


def _type(e: Expectation, *_: Any) -> Judged:
    return Judged("shape", "ExpectColumnValuesToBeInSet", {"column": e.column, "value_set": [e.argument]})


def _no_other_columns(e: Expectation, *_: Any) -> Judged:
    known = [ROWS, *TYPES[e.table]]
    return Judged("shape", "ExpectTableColumnsToMatchSet", {"column_set": known, "exact_match": True})


def _unique(e: Expectation, *_: Any) -> Judged:
    if len(e.argument) == 1:
        return Judged("rows", "ExpectColumnValuesToBeUnique", {"column": e.argument[0]})
    return Judged("rows", "ExpectCompoundColumnsToBeUnique", {"column_list": list(e.argument)})


def _rows_each_month(e: Expectation, *_: Any) -> Judged:
    low, high = e.argument
    return Judged("months", "ExpectColumnValuesToBeBetween", {"column": ROWS, "min_value": low, "max_value": high})


def _present_each_month(e: Expectation, *_: Any) -> Judged:
    return Judged("months", "ExpectColumnValuesToBeBetween", {"column": e.column, "min_value": e.argument})


def _no_other_months(e: Expectation, rows: pd.DataFrame, _tables: Tables, months: list[str]) -> Judged:
    first, last = (int(month.replace("-", "")) for month in (months[0], months[-1]))
    arguments = {"column": _derived(e), "min_value": first, "max_value": last}
    return Judged("rows", "ExpectColumnValuesToBeBetween", arguments, _month_number(rows))


def _present(e: Expectation, *_: Any) -> Judged:
    return Judged("rows", "ExpectColumnValuesToNotBeNull", {"column": e.column, "mostly": e.share})


def _between(e: Expectation, *_: Any) -> Judged:
    low, high = e.argument
    arguments = {"column": e.column, "min_value": low, "max_value": high, "mostly": e.share}
    return Judged("rows", "ExpectColumnValuesToBeBetween", arguments)


def _in(e: Expectation, *_: Any) -> Judged:
    arguments = {"column": e.column, "value_set": list(e.argument), "mostly": e.share}
    return Judged("rows", "ExpectColumnValuesToBeInSet", arguments)


def _matches(e: Expectation, *_: Any) -> Judged:
    arguments = {"column": e.column, "regex": e.argument, "mostly": e.share}
    return Judged("rows", "ExpectColumnValuesToMatchRegex", arguments)


def _in_column(e: Expectation, rows: pd.DataFrame, tables: Tables, _months: list[str]) -> Judged:
    table, column = e.argument.split(".")
    known = {*tables[table][column].to_pylist(), *e.exceptions}
    return _holds(e, rows[e.column].isin(known), rows[[e.column]])


def _at_most_column(e: Expectation, rows: pd.DataFrame, *_: Any) -> Judged:
    return _holds(e, rows[e.column] <= rows[e.argument], rows[[e.column, e.argument]])


def _found_in(e: Expectation, rows: pd.DataFrame, tables: Tables, _months: list[str]) -> Judged:
    on = list(e.on)
    others = tables[e.argument].select(on).to_pandas().drop_duplicates()
    matched = rows[on].merge(others, on=on, how="left", indicator=True)["_merge"] == "both"
    return _holds(e, matched.set_axis(rows.index), rows[on])


def _clock(e: Expectation, rows: pd.DataFrame, *_: Any) -> Judged:
    arguments = {"column": _derived(e), "min_value": 0, "max_value": 59}
    return Judged("rows", "ExpectColumnValuesToBeBetween", arguments, rows[e.column] % 100)


def _hour_in(e: Expectation, rows: pd.DataFrame, *_: Any) -> Judged:
    parts = rows[["year", "month", "day", "hour"]]
    named = pd.to_datetime(parts, errors="coerce")  # a date that does not exist equals no hour
    try:
        local = rows[e.column].dt.tz_convert(e.argument).dt.tz_localize(None)
    except ZoneInfoNotFoundError as error:
        raise StageError(
            f"expectations of {e.table}, {e.column}: no time zone '{e.argument}' on this machine; "
            "see the name, or install tzdata."
        ) from error
    return _holds(e, named == local, rows[[*parts.columns, e.column]])


def _holds(e: Expectation, truth: "pd.Series[Any]", looked_at: pd.DataFrame) -> Judged:
    """Judge a truth found row by row; rows that lack one of the values it rests on are left to other rules."""
    derived = truth.astype("float64").where(looked_at.notna().all(axis=1))
    arguments = {"column": _derived(e), "value_set": [1.0], "mostly": e.share}
    return Judged("rows", "ExpectColumnValuesToBeInSet", arguments, derived)


def _derived(e: Expectation) -> str:
    return f"{e.rule} {e.column} {e.argument}"


_COMPILE: dict[str, Callable[..., Judged]] = {
    "rows_at_least": _rows_at_least,
    "type": _type,
    "no_other_columns": _no_other_columns,
    "unique": _unique,
    "rows_each_month": _rows_each_month,
    "no_other_months": _no_other_months,
    "found_in": _found_in,
    "present": _present,
    "present_each_month": _present_each_month,
    "between": _between,
    "in": _in,
    "in_column": _in_column,
    "at_most_column": _at_most_column,
    "matches": _matches,
    "clock": _clock,
    "hour_in": _hour_in,
}


def _examples(
    e: Expectation, suite: Suite, frame_name: FrameName, frame: pd.DataFrame, places: list[Any]
) -> tuple[str, ...]:
    """Return up to :data:`EXAMPLES` of the places that offend, in the order of the table, each value shown once."""
    if e.rule == "rows_at_least":
        return (f"{frame[ROWS].iloc[0]:,} rows",)
    if e.rule == "no_other_columns":
        return tuple(f"{column} ({_text(frame.loc[0, column])})" for column in sorted(places)[:EXAMPLES])
    if frame_name == "shape":
        return (f"found {_text(frame.loc[0, e.column])}",)
    if e.rule == "rows_each_month":
        return tuple(f"{month}: {rows:,} rows" for month, rows in frame[ROWS].loc[places].head(EXAMPLES).items())
    if frame_name == "months":
        shares = frame[e.column].loc[places].head(EXAMPLES)
        return tuple(f"{month}: {share:.1%} present" for month, share in shares.items())
    looked_at = [e.column] if e.column else list(e.on)
    if e.rule == "at_most_column":
        looked_at += [e.argument]
    if e.rule == "hour_in":
        looked_at += ["year", "month", "day", "hour"]
    columns = list(dict.fromkeys([*looked_at, *suite.key]))
    offending = frame.loc[places, columns]
    distinct = offending.drop_duplicates(looked_at or columns)
    chosen = distinct if len(distinct) >= EXAMPLES else pd.concat([distinct, offending]).drop_duplicates()
    return tuple(
        ", ".join(f"{column}={_text(value)}" for column, value in zip(columns, row, strict=True))
        for row in chosen.head(EXAMPLES).itertuples(index=False, name=None)
    )


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _text(value: Any) -> str:
    if pd.isna(value):
        return "missing"
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d %H:%M UTC" if value.tzinfo else "%Y-%m-%d %H:%M")
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


if __name__ == "__main__":
    sys.exit(run_stage(main))
