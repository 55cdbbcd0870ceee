"""What every command's ``--json`` prints: one JSON object that says which schema it follows.

``{"schema": "lockgate.history/1", …}``. Within one version of a schema fields are only added. (The result of a
comparison is a format of its own, with a published JSON Schema: :mod:`lockgate.result`.)
"""

import json
import math
from collections.abc import Mapping
from typing import Any


def envelope(name: str, content: Mapping[str, Any], version: int = 1) -> str:
    """Return ``content`` as indented JSON text with its schema's id first; NaN and infinity, which JSON lacks, are
    ``null``."""
    document = {"schema": f"lockgate.{name}/{version}", **content}
    return json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
