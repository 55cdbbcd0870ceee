"""The JSON Schema of what ``lockgate monitor --json`` prints: docs/monitor.schema.json, made from the classes."""

from dataclasses import dataclass
from typing import Any, Literal

from lockgate.monitoring.alarms import Alarm
from lockgate.monitoring.finding import Finding
from lockgate.monitoring.windows import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldAlarm(Alarm):
    """An alarm of the release ``release``; ``open`` while it lasts."""

    release: str


@dataclass(frozen=True, slots=True)
class Told:
    """What a monitor says of an environment. ``verdict`` is ``alarm`` while an alarm that pages is on."""

    model: str
    environment: str
    window: Kind
    now: str
    verdict: Literal["calm", "alarm"]
    findings: tuple[Finding, ...]
    alarms: tuple[ToldAlarm, ...]
    notes: tuple[str, ...]


def json_schema() -> dict[str, Any]:
    """Return the schema. Within its version, fields are only added."""
    from pydantic import TypeAdapter

    found: dict[str, Any] = TypeAdapter(Told).json_schema()
    whole = {"type": "integer", "minimum": 0}
    for name, more in (("Finding", {"rows": whole, "labelled": whole}), ("ToldAlarm", {"open": {"type": "boolean"}})):
        one = found["$defs"][name]
        one["properties"] |= more
        one["required"] = [*one["required"], *more]
    found["properties"] = {"schema": {"const": "lockgate.monitor/1"}, **found["properties"]}
    found["required"] = ["schema", *found["required"]]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **found,
        "title": "What a monitor says (lockgate.monitor/1)",
    }
