"""``model``: the name that a release and its tags have."""

from typing import Any

from lockgate import policy_values as values
from lockgate.policy_values import Key

KEYS = {
    "name": Key(values.artifact_name, help="the model's name, as `artifacts:` of dvc.yaml has it"),
    "opaque": Key(values.flag, False, "the model file runs code when it is loaded, so Lockgate never loads it"),
}


@values.takes({"anyOf": [values.schema_of(values.artifact_name), values.schema_of_section(KEYS)]})
def _model(place: str, value: Any) -> tuple[str, bool]:
    if not isinstance(value, dict):
        return values.artifact_name(place, value), False
    read = values.section(place, value, KEYS)
    return read["name"], read.get("opaque", False)


SECTION = Key(_model, help="the model's name, as `artifacts:` of dvc.yaml has it")
