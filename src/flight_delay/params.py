"""``params.yaml``: read once, checked in one place, frozen.

A wrong key or value ends in one line that names file, key, value and the nearest valid key. The reader is the one
DVC uses (YAML 1.2, ``ruamel.yaml``), so that what a stage sees is what DVC hashed.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError

from flight_delay.errors import StageError, nearest
from flight_delay.tables import RAW_TABLES

PARAMS_FILE = Path("params.yaml")


def _month(text: str) -> str:
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
        raise ValueError("expected a month, like 2013-09")
    return text


Month = Annotated[str, AfterValidator(_month)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class Section(BaseModel):
    """A frozen section of ``params.yaml``: strict types, no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SourceFile(Section):
    """A file of the source: its name there and the SHA-256 it must have."""

    name: Annotated[str, Field(min_length=1)]
    sha256: Digest


class Ingest(Section):
    """Which raw data: where it comes from, up to which month, and the digests it must have."""

    source: Annotated[str, Field(min_length=1)]
    through: Month
    files: dict[str, SourceFile]

    @model_validator(mode="after")
    def _every_table(self) -> Self:
        missing = [table for table in RAW_TABLES if table not in self.files]
        unknown = [table for table in self.files if table not in RAW_TABLES]
        if unknown:
            raise ValueError(f"unknown table '{unknown[0]}' in files; {nearest(unknown[0], list(RAW_TABLES))}")
        if missing:
            raise ValueError(f"files lacks the table '{missing[0]}'")
        return self


class Validate(Section):
    """Which expectations the raw data must meet."""

    expectations: Annotated[str, Field(min_length=1)]


class Window(Section):
    """Months from ``first`` to ``last``, both included."""

    first: Month
    last: Month

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"first ({self.first}) is after last ({self.last})")
        return self


class Prepare(Section):
    """The two windows. ``test.last: latest`` follows ``ingest.through``."""

    train: Window
    test: "TestWindow"


class TestWindow(Section):
    """The months a model is judged on; ``last`` may be ``latest``: the last month ingested."""

    __test__ = False  # not a pytest class
    first: Month
    last: Literal["latest"] | Month


class Train(Section):
    """Knobs of the boosted trees; the names and meanings are scikit-learn's."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    learning_rate: Share
    max_iter: Annotated[int, Field(ge=1, le=10_000)]
    max_leaf_nodes: Annotated[int, Field(ge=2, le=10_000)]
    min_samples_leaf: Annotated[int, Field(ge=1)]
    l2_regularization: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    max_features: Share


class Evaluate(Section):
    """How the model is judged."""

    seed: Annotated[int, Field(ge=0, lt=2**32)]
    calibration_bins: Annotated[int, Field(ge=2, le=1000)]
    importance_rows: Annotated[int, Field(ge=1)]
    importance_repeats: Annotated[int, Field(ge=1, le=100)]


class Params(Section):
    """All of ``params.yaml``."""

    ingest: Ingest
    validate_: Annotated[Validate, Field(alias="validate")]
    prepare: Prepare
    train: Train
    evaluate: Evaluate

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        train, test, through = self.prepare.train, self.test_window, self.ingest.through
        if test.first <= train.last:
            raise ValueError(
                f"prepare.test.first ({test.first}) must come after prepare.train.last ({train.last}): "
                "a model is judged on months it has not seen"
            )
        if test.first > test.last:
            raise ValueError(f"prepare.test.first ({test.first}) is after prepare.test.last ({test.last})")
        if test.last > through:
            raise ValueError(f"prepare.test.last ({test.last}) is after ingest.through ({through})")
        return self

    @property
    def test_window(self) -> Window:
        """The months to judge on, with ``latest`` resolved."""
        test = self.prepare.test
        last = self.ingest.through if test.last == "latest" else test.last
        return Window.model_construct(first=test.first, last=last)


def load_params(path: Path = PARAMS_FILE) -> Params:
    """Read and check the whole file. Raises :class:`StageError` with one line for the first thing that is wrong."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise StageError(f"{path}: expected sections {', '.join(_keys(Params))}, found {type(content).__name__}.")
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise StageError(f"{path}: {_sentence(content, error)}") from error


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file. Raises :class:`StageError` with line and column; a key twice is an error, with both."""
    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StageError(f"{path}: there is no such file.") from error
    except UnicodeDecodeError as error:
        raise StageError(f"{path}: byte {error.start} is not UTF-8.") from error
    except DuplicateKeyError as error:
        lines = sorted({mark.line + 1 for mark in (error.context_mark, error.problem_mark) if mark})
        again = error.problem_mark.line + 1 if error.problem_mark else lines[-1]
        key = re.search(r'duplicate key "(.*?)"', str(error.problem))
        first = _line_of(path, key.group(1) if key else "", again, error.problem_mark.column if error.problem_mark else 0)
        raise StageError(
            f"{path}: key '{key.group(1) if key else '?'}' stands twice, on lines {first} and {again}."
        ) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise StageError(f"{path}{where}: {error.problem or error.context}.") from error


def _line_of(path: Path, key: str, before: int, column: int) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()[: before - 1]
    found = [n for n, line in enumerate(lines, 1) if re.match(rf"^.{{{column}}}[\"']?{re.escape(key)}[\"']?\s*:", line)]
    return found[-1] if found else before


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _sentence(content: dict[str, Any], error: ValidationError) -> str:
    """Say the first complaint in one line: key, value, what was expected, the nearest valid key."""
    first = error.errors(include_url=False)[0]
    location = [str(part) for part in first["loc"] if part not in ("literal['latest']", "function-after[_month(), str]")]
    key = ".".join(location)
    if first["type"] == "extra_forbidden":
        model: type[BaseModel] = Params
        for part in location[:-1]:
            field = next((f for n, f in model.model_fields.items() if part == (f.alias or n)), None)
            annotation = field.annotation if field else SourceFile
            model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else SourceFile
        return f"unknown key '{key}'; {nearest(location[-1], _keys(model))}"
    if first["type"] == "missing":
        return f"'{key}' is missing."
    message = first["msg"].removeprefix("Value error, ")
    if not location:
        return f"{message}."
    value = content
    for part in location:
        value = value.get(part, "") if isinstance(value, dict) else value
    shown = "" if isinstance(value, dict) else f" is {value!r}"
    return f"'{key}'{shown}: {message[0].lower()}{message[1:]}."
