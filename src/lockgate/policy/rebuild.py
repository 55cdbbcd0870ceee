"""``rebuild``: outputs that differ from run to run, and how a rebuild takes them."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from lockgate import policy_values as values
from lockgate.policy_values import Key, PolicyError

if TYPE_CHECKING:
    from lockgate.policy.document import Policy


@dataclass(frozen=True, slots=True)
class Tolerance:
    """An output that a rebuild compares by value: its numbers may be apart by so much, as ``math.isclose`` has it."""

    path: str
    relative: float = 0.0
    absolute: float = 0.0

    def __str__(self) -> str:
        """Say how far apart numbers may be."""
        parts = [
            f"{name} {value:g}" for name, value in (("relative", self.relative), ("absolute", self.absolute)) if value
        ]
        return ", ".join(parts) or "equal numbers"


@dataclass(frozen=True, slots=True)
class Rebuilding:
    """Outputs that differ from run to run, and how a rebuild takes them: compared by value, or left out."""

    tolerate: tuple[Tolerance, ...] = ()
    leave_out: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """All of them."""
        return (*(one.path for one in self.tolerate), *self.leave_out)

    def __str__(self) -> str:
        """Say which outputs a rebuild does not compare byte for byte."""
        told = [f"{one.path} is compared by value ({one})" for one in self.tolerate]
        return "; ".join([*told, *(f"{path} is left out" for path in self.leave_out)])


_BY_VALUE = (".json", ".yaml", ".yml", ".toml", ".csv", ".tsv")
TOLERANCE = {
    "relative": Key(values.amount, False, "numbers may differ by this share"),
    "absolute": Key(values.amount, False, "numbers may differ by this much"),
}


def _tolerance_of(place: str, path: str, value: Any) -> Tolerance:
    path = values.path(place, path)
    if PurePosixPath(path).suffix.lower() not in _BY_VALUE:
        raise PolicyError(place, f"only files of these kinds are compared by value: {', '.join(_BY_VALUE)}")
    found = Tolerance(path, **values.section(place, value, TOLERANCE))
    if not found.relative and not found.absolute:
        raise PolicyError(place, "must have `relative:` or `absolute:`, above 0")
    return found


KEYS = {
    "tolerate": Key(
        values.mapping_of(_tolerance_of, values.schema_of_section(TOLERANCE)), False, "outputs compared by value"
    ),
    "leave_out": Key(values.list_of(values.path), False, "outputs that a rebuild does not compare"),
}

SECTION = Key(
    values.noun(lambda tolerate=(), leave_out=(): Rebuilding(tolerate, leave_out), KEYS),
    False,
    "outputs that differ from run to run, and how a rebuild takes them",
)


def check_rebuild(policy: "Policy", model: str | None = None) -> None:
    """Raise :class:`PolicyError` where a rebuild would not compare what a gate reads, or the ``model`` (its path)."""
    read = {metric.file: "a metrics file, which gates read" for metric in policy.metrics}
    if policy.predictions:
        read |= dict.fromkeys(policy.predictions.files, "the predictions, which gates read")
    if policy.validation:
        read[policy.validation] = "the validation file, which gates read"
    if policy.serving:
        read[policy.serving.samples] = "the table that samples come from"
    if model is not None:
        read[model] = "the model"
    for path in policy.rebuild.paths:
        for other, what in read.items():
            if path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/"):
                raise PolicyError(f"rebuild: {path}", f"is or holds {what}: a rebuild compares it byte for byte")
    if len(set(policy.rebuild.paths)) < len(policy.rebuild.paths):
        raise PolicyError("rebuild", "an output is either compared by value or left out, and named once")
