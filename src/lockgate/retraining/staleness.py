"""How fast does a model age? Models of different ages, compared on the same test rows, pair by pair.

Age and season are confounded where each model is tested on rows of its own, so all of them are compared on the rows
that they share, each with the freshest one: paired differences with the policy's clusters (docs/statistics.md). What is
seen holds for these test rows alone: whether another month would show the same, one month cannot say.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from lockgate.dependencies.commit import Choice, locked_by
from lockgate.dvc.copy import shared_copy
from lockgate.dvc.objects import Cache, CommitFiles
from lockgate.dvc.pipeline import read_pipeline
from lockgate.dvc.stages import Progress, Sandbox, run_stages
from lockgate.errors import NotAskedError
from lockgate.evaluation.rescored import judge_files
from lockgate.files import write_whole
from lockgate.git import Commit
from lockgate.policy import FILE, Policy, Staleness
from lockgate.result import Comparison, MetricChange
from lockgate.retraining.parameters import PARAMS, ParameterError, replaced
from lockgate.strict_yaml import load

KEPT = "lockgate/staleness"
"""The folder beside DVC's objects in the cache, with what came of each model."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model of one age: the value of the parameter, and the digest of its predictions in the project's cache."""

    age: Any
    predictions: str
    seconds: float
    known: bool = False


@dataclass(frozen=True, slots=True)
class Aged:
    """A model against the freshest one on the rows that all share: the change of each metric is old minus fresh."""

    age: Any
    steps: int
    comparison: Comparison
    metrics: tuple[MetricChange, ...]


@dataclass(frozen=True, slots=True)
class Curve:
    """The staleness curve. ``suggested`` is how many steps pass before a model is shown to be worse than a fresh one in
    ``metric`` by more than ``margin``; ``None`` if none of them is."""

    parameter: str
    unit: str
    fresh: Any
    aged: tuple[Aged, ...]
    models: tuple[Model, ...]
    metric: str
    margin: float
    suggested: int | None


class StaleError(NotAskedError):
    """The curve cannot be made."""


def measure(
    root: Path,
    policy: Policy,
    at: Commit,
    asked: Staleness,
    *,
    jobs: int = 1,
    dependencies: Choice = "current",
    tell: Callable[[str], None] = lambda _: None,
) -> Curve:
    """Train a model of each age from the commit ``at`` and compare them. Models that are known are not trained again.

    ``jobs`` of them are trained at once, each in a copy of its own. Raises :class:`StaleError`,
    :class:`~lockgate.retraining.parameters.ParameterError`, and what reading the pipeline raises.
    """
    if policy.predictions is None:
        raise StaleError(f"{FILE} names no predictions, so models cannot be compared on the same rows")
    packages = None
    if dependencies == "locked" and (locked := locked_by(at)):
        packages = locked.install(tell=tell).folder
    kept = _Kept.of(root, policy, at, asked)
    found = {age: one for age in asked.ages if (one := kept.read(age))}
    if found:
        tell(f"{len(found):,} of {len(asked.ages):,} models are known from before")
    missing = [age for age in asked.ages if age not in found]
    if missing:
        sandbox = replace(Sandbox.by_policy(policy.stages, proving=False), dependencies=packages)
        for one in _Trainer(root, policy, at, asked, sandbox, tell).train_all(missing, jobs):
            kept.write(one)
            found[one.age] = one
    return curve(root, policy, asked, tuple(found[age] for age in asked.ages))


def curve(root: Path, policy: Policy, asked: Staleness, models: Sequence[Model]) -> Curve:
    """Compare each model with the first one on the rows that all share."""
    what = policy.predictions
    assert what is not None  # noqa: S101 - models were made from it
    cache = Cache.of(root)
    paths = [cache.path(one.predictions) for one in models]
    judging = replace(policy, predictions=replace(what, missing=1.0, slices=(), slice_metric=None), gates=())
    aged = []
    for steps, (one, path) in enumerate(zip(models[1:], paths[1:], strict=True), 1):
        judged = judge_files(judging, paths[0], path)
        aged.append(Aged(one.age, steps, judged.comparison, judged.metrics))
    asked_for = policy.retrain.metric if policy.retrain is not None else None
    metric = asked_for or policy.metrics[0].name
    margin = _margin(policy, metric)
    worse = [one.steps for one in aged if _is_worse(one, metric, margin)]
    return Curve(
        asked.parameter, asked.unit, models[0].age, tuple(aged), tuple(models), metric, margin,
        min(worse) if worse else None,
    )  # fmt: skip


def _margin(policy: Policy, metric: str) -> float:
    """Return what the policy's own gate allows a metric to fall by, 0 if it has none."""
    margins = [float(getattr(gate, "margin", 0.0)) for gate in policy.gates if getattr(gate, "metric", "") == metric]
    return min((one for one in margins if one > 0), default=0.0)


def _is_worse(one: Aged, metric: str, margin: float) -> bool:
    change = next((change for change in one.metrics if change.name == metric), None)
    if change is None or change.low is None or change.high is None:
        return False
    return change.low > margin if change.better == "lower" else change.high < -margin


# --- training


@dataclass(frozen=True)
class _Trainer:
    """Trains models of different ages from the commit ``at``."""

    root: Path
    policy: Policy
    at: Commit
    asked: Staleness
    sandbox: Sandbox
    tell: Callable[[str], None]

    def train_all(self, ages: Sequence[Any], jobs: int) -> Iterator[Model]:
        """Train so many at once; each worker keeps its copy, so that what the ages share is done once in it."""
        waiting: SimpleQueue[Any] = SimpleQueue()
        for age in ages:
            waiting.put(age)

        def work(_: int) -> list[Model]:
            done = []
            with shared_copy(self.root, self.at, "staleness") as copy, suppress(Empty):  # another took the last one
                while True:
                    done.append(self.train(copy, waiting.get_nowait()))
            return done

        jobs = max(1, min(jobs, len(ages)))
        if jobs == 1:
            yield from work(0)
            return
        with ThreadPoolExecutor(jobs) as pool:
            for models in pool.map(work, range(jobs)):
                yield from models

    def train(self, copy: Path, age: Any) -> Model:
        """Train one model in ``copy``. Raises :class:`StaleError` if that fails or leaves no predictions."""
        called = f"{self.asked.parameter} = {age}"
        seconds = [0.0]
        printed: list[str] = []

        def follow(step: Progress) -> None:
            if step.event == "ended" and step.status == "ran":
                seconds[0] += step.seconds
                self.tell(f"  {called}: {step.stage}: {step.seconds:.1f} s")

        self.tell(called)
        for path, content in _parameters(self.at, self.asked, age).items():
            write_whole(copy / path, content)
        done = run_stages(copy, sandbox=self.sandbox, complete=True, on_progress=follow, on_output=printed.append)
        if not done.ok:
            stage = f"stage '{done.failed.stage}'" if done.failed and done.failed.stage else "the pipeline"
            end = "".join(f"\n  | {line}" for line in printed[-10:])
            raise StaleError(
                f"{stage} failed with {called}; the end of its log:{end}",
                "Correct the ages or the parameters of `staleness:`; what is done is kept.",
            )
        assert self.policy.predictions is not None  # noqa: S101 - said before
        file = copy / self.policy.predictions.file
        if not file.is_file():
            raise StaleError(f"{self.policy.predictions.file} was not written with {called}")
        return Model(age, Cache.of(self.root).keep(file), seconds[0])


def _parameters(at: Commit, asked: Staleness, age: Any) -> dict[str, bytes]:
    """Return the parameter files of one age."""
    files: dict[str, bytes] = {}
    for named, value in (*asked.given, (asked.parameter, age)):
        file, _, key = named.rpartition(":")
        file = file or PARAMS
        content = files.get(file) or at.read(file)
        if content is None:
            raise ParameterError(f"there is no {file} in {at.label}", f"Correct `staleness:` in {FILE}.")
        files[file] = replaced(content, file, key, value)
    return files


class _Kept:
    """What came of training, in a file a model, under a digest of all that the pipeline goes by."""

    def __init__(self, folder: Path, cache: Cache, at: Commit, asked: Staleness) -> None:
        self.folder, self.cache, self.at, self.asked = folder, cache, at, asked

    @classmethod
    def of(cls, root: Path, policy: Policy, at: Commit, asked: Staleness) -> "_Kept":
        pipeline, files = read_pipeline(at), CommitFiles(at)
        sources = sorted({dep for stage in pipeline.stages for dep in stage.deps if not pipeline.writers(dep)})
        told = {
            "stages": [[stage.name, stage.command, [out.path for out in stage.outs]] for stage in pipeline.stages],
            "sources": [[dep, files.digest(dep)] for dep in sources],
            "tracked": sorted([record.path, record.digest] for record in pipeline.data.values()),
            "predictions": policy.predictions.file if policy.predictions else None,
        }
        cache = Cache.of(root)
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return cls(cache.folder / KEPT / digest, cache, at, asked)

    def _file(self, age: Any) -> Path:
        content = {
            path: load(text, path) if path.endswith((".yaml", ".yml", ".json")) else text.decode("utf-8", "replace")
            for path, text in _parameters(self.at, self.asked, age).items()
        }
        text = json.dumps(content, sort_keys=True, default=str)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"

    def read(self, age: Any) -> Model | None:
        """Return a model that is known and whose predictions are still in the cache."""
        try:
            told: Any = json.loads(self._file(age).read_bytes())
            one = Model(age, str(told["predictions"]), float(told["seconds"]), known=True)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return one if self.cache.path(one.predictions).is_file() else None

    def write(self, one: Model) -> None:
        """Keep a model."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._file(one.age), json.dumps({"predictions": one.predictions, "seconds": one.seconds}))


def as_facts(found: Curve) -> Mapping[str, Any]:
    """Return the curve as JSON takes it."""
    return {
        "parameter": found.parameter,
        "unit": found.unit,
        "fresh": found.fresh,
        "metric": found.metric,
        "margin": found.margin,
        "suggested": found.suggested,
        "aged": [
            {
                "age": one.age,
                "steps": one.steps,
                "rows": one.comparison.rows_shared,
                "metrics": [
                    {
                        "name": change.name,
                        "fresh": change.base,
                        "aged": change.head,
                        "change": change.change,
                        "low": change.low,
                        "high": change.high,
                        "judgement": change.judgement,
                    }
                    for change in one.metrics
                ],
            }
            for one in found.aged
        ],
        "models": [{"age": one.age, "seconds": round(one.seconds, 3), "known": one.known} for one in found.models],
    }
