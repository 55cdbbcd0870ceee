"""Which stages of a pipeline the seed reaches, and what their training goes by, as ``dvc.lock`` has it. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from lockgate.dvc.pipeline import MISSING, Lock, LockedStage, State, param, read_params, with_parents
from lockgate.errors import NotAskedError
from lockgate.policy import FILE

PARAMS = "params.yaml"  # where DVC looks for a parameter that names no file
SEEDS = 1_000_000_000  # seeds are drawn below it: every library takes such a number


class SeedError(NotAskedError):
    """The training cannot be repeated under other seeds."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the seed stands: the ``key`` of a params ``file``."""

    file: str
    key: str

    @classmethod
    def of(cls, named: str) -> Self:
        """Read it as DVC writes it: ``train.seed``, or ``other.yaml:train.seed``."""
        file, _, key = named.rpartition(":")
        return cls(file or PARAMS, key)

    def value(self, state: State) -> int:
        """Return the seed of a revision. Raises :class:`SeedError` if it has none, or one that is no whole number."""
        value = param(read_params(state.snapshot, self.file) or {}, self.key)
        if value is MISSING or isinstance(value, bool) or not isinstance(value, int):
            said = "does not exist" if value is MISSING else f"is {value!r}, not a whole number"
            raise SeedError(
                f"the seed '{self.key}' of {self.file} {said} in {state.snapshot.label}",
                f"Correct `train: {{seed: …}}` in {FILE}, or the parameter.",
            )
        return value

    def within(self, params: Mapping[str, Mapping[str, Any]]) -> str | None:
        """Return the key of a stage's locked parameters that holds the seed: its own, or a section."""
        keys = params.get(self.file, {})
        return next((key for key in keys if f"{self.key}.".startswith(f"{key}.")), None)


def seeded(lock: Lock, place: Place) -> tuple[LockedStage, ...]:
    """Return the stages that read the seed and those that read what they write, by name; none if no stage reads it."""
    found = {name: entry for name, entry in lock.stages.items() if place.within(entry.params) is not None}
    more = True
    while more:
        written = {path for entry in found.values() for path in entry.outs}
        new = {
            name: entry
            for name, entry in lock.stages.items()
            if name not in found and any(_touches(path, written) for path in (*entry.deps, *entry.params))
        }
        found |= new
        more = bool(new)
    return tuple(found[name] for name in sorted(found))


def content_key(lock: Lock, place: Place, *, seed: bool = True) -> str | None:
    """Return a digest of all that the stages which the seed reaches go by: commands, parameters, inputs. ``None`` if it
    reaches none. Without ``seed``, trainings that differ in the seed alone have the same digest."""
    stages = seeded(lock, place)
    if not stages:
        return None
    written = {path for entry in stages for path in entry.outs}
    told = [
        {
            "stage": entry.name,
            "cmd": entry.cmd,
            "deps": {path: record.digest for path, record in entry.deps.items() if not _touches(path, written)},
            "params": entry.params if seed else _without(place, entry.params),
            "outs": sorted(entry.outs),
        }
        for entry in stages
    ]
    text = json.dumps([place.file, place.key, told], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def locked_seed(lock: Lock, place: Place) -> Any:
    """Return the seed that the locked training had, :data:`MISSING` if no stage reads one."""
    for entry in lock.stages.values():
        key = place.within(entry.params)
        if key is not None:
            rest = place.key.removeprefix(key).lstrip(".")
            return param({key: entry.params[place.file][key]}[key], rest) if rest else entry.params[place.file][key]
    return MISSING


def seeds(key: str, count: int, own: int) -> tuple[int, ...]:
    """Return the seeds of the repeats of a training: they follow from its ``key``, and are not its ``own``."""
    return tuple(number for number, _ in zip(_drawn(key, own), range(count), strict=False))


def _drawn(key: str, own: int) -> Iterator[int]:
    seen, turn = {own}, 0
    while True:
        number = int.from_bytes(hashlib.sha256(f"{key}:{turn}".encode()).digest()[:8]) % SEEDS
        turn += 1
        if number not in seen:
            seen.add(number)
            yield number


def _touches(path: str, others: set[str]) -> bool:
    """Say whether a path is one of the others, or lies in one of them, or holds one."""
    return any(one in others for one in with_parents(path)) or any(one.startswith(f"{path}/") for one in others)


def _without(place: Place, params: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    key = place.within(params)
    if key is None:
        return dict(params)
    rest = place.key.removeprefix(key).lstrip(".")
    values = {name: value for name, value in params[place.file].items() if name != key}
    if rest:
        values[key] = _pruned(params[place.file][key], rest.split("."))
    return {**params, place.file: values}


def _pruned(value: Any, parts: list[str]) -> Any:
    if not isinstance(value, Mapping) or parts[0] not in value:
        return value
    if len(parts) == 1:
        return {key: inner for key, inner in value.items() if key != parts[0]}
    return {key: _pruned(inner, parts[1:]) if key == parts[0] else inner for key, inner in value.items()}
