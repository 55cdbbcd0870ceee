"""The expectations of the raw tables that apply to a request, asked of recorded requests, by Great Expectations.

A suite is a YAML file as those of ``expectations/`` (rules by column, each with its severity), or a suite that Great
Expectations itself wrote (JSON). What one value decides can be asked of a request: whether it is there, between bounds,
one of a set, of a form. What a whole table decides (its rows, what is unique in it, shares by month) cannot, and is
left out. A rule is asked of the distinct values of a column, so that a million rows cost no more than their values.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate.errors import NotAskedError
from lockgate.monitoring.finding import Expected
from lockgate.monitoring.joined import request_column
from lockgate.strict_yaml import load

if TYPE_CHECKING:
    import pyarrow as pa

EXAMPLES = 3
PRESENT = "ExpectColumnValuesToNotBeNull"
_NAMES: dict[str, tuple[str, Callable[[Any], dict[str, Any]], Callable[[Any], str]]] = {
    "present": (PRESENT, lambda _: {}, lambda _: "is there"),
    "between": (
        "ExpectColumnValuesToBeBetween",
        lambda ends: {"min_value": ends[0], "max_value": ends[1]},
        lambda ends: f"lies between {ends[0]} and {ends[1]}",
    ),
    "in": (
        "ExpectColumnValuesToBeInSet",
        lambda values: {"value_set": list(values)},
        lambda values: "is one of " + ", ".join(map(str, values[:6])) + (" and others" if len(values) > 6 else ""),
    ),
    "matches": (
        "ExpectColumnValuesToMatchRegex",
        lambda form: {"regex": form},
        lambda form: f"has the form {form}",
    ),
}
_OWN: dict[str, tuple[str, Callable[[Mapping[str, Any]], Any]]] = {
    "expect_column_values_to_not_be_null": ("present", lambda _: True),
    "expect_column_values_to_be_between": ("between", lambda said: [said.get("min_value"), said.get("max_value")]),
    "expect_column_values_to_be_in_set": ("in", lambda said: list(said["value_set"])),
    "expect_column_values_to_match_regex": ("matches", lambda said: said["regex"]),
}


class SuiteRefused(NotAskedError):  # noqa: N818 - named for what the user reads
    """A suite of expectations cannot be read, or there is nothing to ask it with."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule about the values of a column; at least ``share`` of them are to meet it."""

    column: str
    rule: str
    argument: Any
    severity: str
    share: float = 1.0

    @property
    def words(self) -> str:
        """What it asks."""
        said = _NAMES[self.rule][2](self.argument)
        return said if self.share >= 1 else f"{said} in {self.share:.0%} of the rows"


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Return the rules of a suite that can be asked of a request. Raises :class:`SuiteRefused`."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise SuiteRefused(f"cannot read {path}: {error.strerror}", "Name a suite with --expectations.") from None
    try:
        if path.suffix == ".json":
            return tuple(_of_gx(json.loads(text)))
        return tuple(_of_columns((load(text, str(path)) or {})["columns"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SuiteRefused(
            f"{path} is no suite of expectations ({type(error).__name__}: {error})",
            "It needs `columns:`, each with a list of rules; or write the suite with Great Expectations, as JSON.",
        ) from None


def asker(rules: Sequence[Rule]) -> "Callable[[pa.Table], list[Expected]]":
    """Return what asks the rules of a table of recorded requests. Raises :class:`SuiteRefused` where Great
    Expectations is not installed."""
    try:
        import great_expectations as gx
        from great_expectations.data_context.types.base import ProgressBarsConfig
    except ImportError:
        raise SuiteRefused(
            "the expectations were not asked: Great Expectations is not installed here",
            "Install it (`uv pip install great-expectations`), or leave --expectations out.",
        ) from None
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(enable=False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("record").add_dataframe_asset("values")
    batches = asset.add_batch_definition_whole_dataframe("all")

    def ask(table: "pa.Table") -> list[Expected]:
        found: dict[Rule, Expected] = {}
        for column in dict.fromkeys(rule.column for rule in rules):
            mine = [rule for rule in rules if rule.column == column]
            name = request_column(column)
            if name in table.column_names:
                found |= _asked(mine, table[name], batches)
        return [
            found.get(rule) or Expected(rule.column, rule.words, rule.severity, 0, 0, success=True) for rule in rules
        ]

    return ask


def _asked(rules: Sequence[Rule], values: Any, batches: Any) -> dict[Rule, Expected]:
    """Ask rules about one column of its distinct values."""
    import great_expectations as gx
    import pandas as pd
    import pyarrow.compute as pc

    counted = pc.value_counts(values.combine_chunks())
    rows = counted.field("counts").to_numpy()
    frame = pd.DataFrame({"value": counted.field("values").to_pandas()})
    batch = batches.get_batch({"dataframe": frame})
    suite = gx.ExpectationSuite(name="requests")
    for number, rule in enumerate(rules):
        kind, arguments, _ = _NAMES[rule.rule]
        suite.add_expectation(
            getattr(gx.expectations, kind)(column="value", meta={"position": number}, **arguments(rule.argument))
        )
    form = {"result_format": "COMPLETE", "unexpected_index_column_names": []}
    found: dict[Rule, Expected] = {}
    for result in batch.validate(suite, result_format=form).results:
        rule = rules[result.expectation_config.meta["position"]]
        if result.exception_info.get("raised_exception", True):
            raise SuiteRefused(f"{rule.column}: '{rule.words}' could not be asked", "Correct the suite.")
        places = [] if result.success else list(result.result.get("unexpected_index_list") or ())
        failures = int(rows[places].sum()) if places else 0
        asked = int(rows.sum()) if rule.rule == "present" else int(rows[frame["value"].notna().to_numpy()].sum())
        shown = tuple(str(value) for value in frame["value"].iloc[places[:EXAMPLES]])
        allowed = failures <= (1 - rule.share) * asked + 1e-9
        found[rule] = Expected(rule.column, rule.words, rule.severity, asked, failures, allowed, shown)
    return found


def _of_columns(columns: Mapping[str, Any]) -> list[Rule]:
    found = []
    for column, rules in columns.items():
        for said in rules or ():
            name = next((key for key in said if key in _NAMES), None)
            if name is not None:
                share = float(said.get("share", 1.0))
                found.append(Rule(str(column), name, _frozen(said[name]), str(said.get("severity", "critical")), share))
    return found


def _of_gx(suite: Mapping[str, Any]) -> list[Rule]:
    found = []
    for said in suite["expectations"]:
        known = _OWN.get(str(said.get("type") or said.get("expectation_type")))
        if known is not None:
            name, argument = known
            kwargs = said["kwargs"]
            share = float(kwargs.get("mostly") or 1.0)
            severity = str(said.get("severity") or "critical")
            found.append(Rule(str(kwargs["column"]), name, _frozen(argument(kwargs)), severity, share))
    return found


def _frozen(argument: Any) -> Any:
    return tuple(argument) if isinstance(argument, list) else argument
