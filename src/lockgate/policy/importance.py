"""``importance``: what the model loses without each column, to be shown."""

from dataclasses import dataclass

from lockgate import policy_values as values
from lockgate.policy_values import Key


@dataclass(frozen=True, slots=True)
class ImportanceFile:
    """A file with what the model loses without each column: which keys name the column, the loss and, if there is one,
    its standard error."""

    file: str
    column: str
    value: str
    error: str | None = None


KEYS = {
    "file": Key(values.path, help="the file with what the model loses without each column"),
    "column": Key(values.text, help="the key that names the column"),
    "value": Key(values.text, help="the key of the loss"),
    "error": Key(values.text, False, "the key of its standard error"),
}

SECTION = Key(values.noun(ImportanceFile, KEYS), False, "the importance of columns, to be shown")
