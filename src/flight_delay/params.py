"""``params.yaml``: read once, checked in one place, frozen.

A wrong key or value ends in one line that names file, key, value and the nearest valid key. The reader is the one
DVC uses (YAML 1.2, ``ruamel.yaml``), so that what a stage sees is what DVC hashed.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node
from ruamel.yaml.reader import ReaderError

from flight_delay.errors import StageError, nearest

PARAMS_FILE = Path("params.yaml")


def _month(value: Any) -> Any:
    if not (isinstance(value, str) and re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", value)):
        raise ValueError("expected a month, like 2013-09")
    return value


def _hours(value: Any) -> Any:
    if not (isinstance(value, str) and re.fullmatch(r"([1-9]|1\d|2[0-4])h", value)):
        raise ValueError("expected hours from 1h to 24h, like 3h")
    return value


Month = Annotated[str, BeforeValidator(_month)]
Hours = Annotated[str, BeforeValidator(_hours)]
Months = Annotated[int, Field(ge=1, le=120)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Cost = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class Section(BaseModel):
    """A frozen section of ``params.yaml``: strict types, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SourceFile(Section):
    """A file of the source: its name there and the SHA-256 it must have."""

    name: Annotated[str, Field(min_length=1)]
    sha256: Digest


class Files(Section):
    """The file of each raw table."""

    flights: SourceFile
    weather: SourceFile
    planes: SourceFile
    airports: SourceFile
    airlines: SourceFile

    def of(self, table: str) -> SourceFile:
        """Return the file of a table, by the table's name."""
        file: SourceFile = getattr(self, table)
        return file


class Ingest(Section):
    """Which raw data: where it comes from, up to which month, and the digests it must have."""

    source: Annotated[str, Field(min_length=1)]
    through: Month
    files: Files


class Validate(Section):
    """Which expectations the raw data must meet."""

    expectations: Annotated[str, Field(min_length=1)]


class Window(Section):
    """Months from ``first`` to ``last``, both included."""

    first: Month
    last: Month


class WindowLength(Section):
    """How many months a window has. Where it lies follows from ``ingest.through``."""

    months: Months


class Prepare(Section):
    """When a flight is asked about, and the two windows: the last months to test on, those before to train on."""

    lead: Hours
    train: WindowLength
    test: WindowLength

    @property
    def lead_minutes(self) -> int:
        """How long before its scheduled departure a flight is asked about, in minutes."""
        return 60 * int(self.lead.removesuffix("h"))


class Train(Section):
    """Knobs of the boosted trees; the names and meanings are scikit-learn's."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    learning_rate: Share
    max_iter: Annotated[int, Field(ge=1, le=10_000)]
    max_leaf_nodes: Annotated[int, Field(ge=2, le=10_000)]
    min_samples_leaf: Annotated[int, Field(ge=1)]
    l2_regularization: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_features: Share


class Costs(Section):
    """What a mistake costs, in one unit of your own: a late flight that nobody was warned of, a warning for nothing."""

    missed: Cost
    false_alarm: Cost


class Evaluate(Section):
    """How the model is judged."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    calibration_bins: Annotated[int, Field(ge=2, le=1000)]
    importance_rows: Annotated[int, Field(ge=1)]
    importance_repeats: Annotated[int, Field(ge=2, le=100)]
    costs: Costs


class Params(Section):
    """All of ``params.yaml``."""

    ingest: Ingest
    validate_: Annotated[Validate, Field(alias="validate")]
    prepare: Prepare
    train: Train
    evaluate: Evaluate


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check the whole file. Raises :class:`StageError` with one line for the first thing that is wrong."""
    content = read_yaml(path)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise StageError(f"{path}: {_sentence(error)}") from error


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file. Raises :class:`StageError` with line and column; a key twice is an error, with both."""
    try:
        text = path.read_text(encoding="utf-8")
        return _reader().load(text)
    except FileNotFoundError as error:
        raise StageError(f"{path}: there is no such file.") from error
    except UnicodeDecodeError as error:
        raise StageError(f"{path}: byte {error.start} is not UTF-8.") from error
    except DuplicateKeyError as error:
        key, first, again = next(_duplicates(_reader().compose(text)))
        raise StageError(f"{path}: key '{key}' stands twice, on lines {first} and {again}.") from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise StageError(f"{path}{where}: {error.problem or error.context}.") from error
    except ReaderError as error:
        line, column = text.count("\n", 0, error.position) + 1, error.position - text.rfind("\n", 0, error.position)
        raise StageError(f"{path}, line {line}, column {column}: a character that is not allowed.") from error
    except ValueError as error:
        raise StageError(f"{path}: a date that does not exist: {error}.") from error


def _reader() -> YAML:
    return YAML(typ="safe", pure=True)


def _duplicates(node: Node) -> Iterator[tuple[str, int, int]]:
    """Yield each key that stands twice in a mapping, with both lines."""
    lines: dict[str, int] = {}
    for child in node.value if not isinstance(node.value, str) else ():
        key, value = child if isinstance(node, MappingNode) else (None, child)
        if key is not None:
            line = key.start_mark.line + 1
            if key.value in lines:
                yield key.value, lines[key.value], line
            lines[key.value] = line
        yield from _duplicates(value)


def _keys(section: type[BaseModel]) -> dict[str, Any]:
    """Return the keys of a section of the file, each with the type of its value."""
    return {field.alias or name: field.annotation for name, field in section.model_fields.items()}


def _sentence(error: ValidationError) -> str:
    """Say one complaint in one line: key, value, what was expected, the nearest valid key.

    A key that is unknown comes first: where one is misspelt, that another is missing only follows from it.
    """
    complaints = error.errors(include_url=False)
    first = next((c for c in complaints if c["type"] == "extra_forbidden"), complaints[0])
    *parents, last = [str(part) for part in first["loc"]] or [""]
    section: Any = Params
    for part in parents:
        section = _keys(section)[part]
    key, value = ".".join([*parents, last]), first["input"]
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}'; {nearest(last, list(_keys(section)))}"
    if first["type"] == "missing":
        return f"'{key}' is missing."
    if first["type"] == "model_type":
        keys = ", ".join(_keys(_keys(section)[last] if key else Params))
        return f"{f'{key!r}' if key else 'the file'} is {_shown(value)}: expected the keys {keys}."
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ").removeprefix("String ")
    if isinstance(value, dict):
        return f"'{key}': {message}." if key else f"{message}."
    return f"'{key}' is {_shown(value)}: {message[0].lower()}{message[1:]}."


def _shown(value: Any) -> str:
    """Return a value as it would stand in YAML, on one line."""
    if value is None:
        return "empty"
    return repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
