"""Which part of the pipeline is whose, where a repository has several models.

A model's stages are those that its policy's files come from (its artifact, metrics, predictions, data checks, plots,
importance, tables and samples), with all that these stages need. A stage that several models need is each one's. A
stage that no policy names is the model's whose stages it needs, or, if it needs none of a single model, whose stages
stand in the same ``dvc.yaml``; what is of no one model, such as a stage that compares two, is the repository's.

Both sides' policies count on both sides, so that no change of a policy takes a stage away from a model unseen.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from lockgate import policy
from lockgate.dvc.pipeline import Lock, Pipeline, PipelineError, State, Tracked, with_parents
from lockgate.errors import LockgateError
from lockgate.git import Snapshot
from lockgate.policy import Models, Policy

Owners = Mapping[str, frozenset[str]]
"""Stage → the models that it is a stage of."""


class OneArtifact(LockgateError):  # noqa: N818 - named for what the user reads
    """Two models of the policy are one artifact of ``dvc.yaml``."""

    def __init__(self, one: str, other: str, path: str) -> None:
        """Name the models and the artifact's path."""
        super().__init__(
            f"the models '{one}' and '{other}' of {policy.FILE} are one artifact of dvc.yaml, {path}",
            f"Give each model an artifact of its own, or take one of them out of {policy.FILE}.",
        )


@dataclass(frozen=True)
class Scope:
    """A model, and what each side has of it. ``base`` is ``None`` where there is no base at all."""

    model: str
    base: State | None
    head: State


@dataclass(frozen=True)
class Scopes:
    """The models of both sides: those to judge, and those that head has ``removed``, artifact and all."""

    models: tuple[Scope, ...]
    removed: tuple[str, ...] = ()

    def of(self, name: str) -> Scope:
        """Return the scope of a model. Raises :class:`~lockgate.policy.NoSuchModel`."""
        for scope in self.models:
            if policy.plain(scope.model) == policy.plain(name):
                return scope
        raise policy.NoSuchModel(name, tuple(scope.model for scope in self.models))


def has_several(base: Snapshot | None, head: Snapshot) -> bool:
    """Say whether a side's policy names its models under ``models:``."""
    return any(models is not None and models.several for models in _both(base, head))


def scopes(base: State | None, head: State) -> Scopes:
    """Return each model of the two policies with its own part of the two pipelines.

    Raises :class:`OneArtifact`. Where neither policy can be read there is none.
    """
    before, after = _both(base.snapshot if base else None, head.snapshot)
    named = [*(after.names if after else ()), *(before.names if before else ())]
    names = tuple({policy.plain(name): name for name in reversed(named)}.values())[::-1]
    removed = tuple(
        name for name in names if after is not None and after.find(name) is None and not _has_artifact(head, name)
    )
    policies = {name: [found for side in (before, after) if side and (found := side.find(name))] for name in names}
    owners = _owners(head, policies)
    owners_before = _owners(base, policies) if base else {}
    judged = [
        Scope(name, _part(base, owners_before, name) if base else None, _part(head, owners, name))
        for name in names
        if name not in removed
    ]
    return Scopes(tuple(judged), removed)


def scoped(base: State | None, head: State, model: str | None) -> tuple[State | None, State]:
    """Return what each side has of a model; all of it where no model is named and there are not several.

    Raises :class:`~lockgate.policy.NoSuchModel`, :class:`~lockgate.policy.SeveralModels`.
    """
    if not has_several(base.snapshot if base else None, head.snapshot):
        if model is not None:
            _only(base, head).of(model)
        return base, head
    found = scopes(base, head)
    if model is None:
        if len(found.models) != 1:
            raise policy.SeveralModels(tuple(scope.model for scope in found.models))
        return found.models[0].base, found.models[0].head
    scope = found.of(model)
    return scope.base, scope.head


def files(of: Policy) -> tuple[str, ...]:
    """Return the files of the pipeline that a policy reads."""
    paths = [metric.file for metric in of.metrics] + [plot.file for plot in of.plots]
    paths += [*of.predictions.files] if of.predictions else []
    paths += [of.validation] if of.validation else []
    paths += [of.importance.file] if of.importance else []
    paths += [table.file for table in of.data]
    paths += [of.serving.samples] if of.serving else []
    return tuple(dict.fromkeys(paths))


def _only(base: State | None, head: State) -> Models:
    for state in (head, base):
        text = _text(state.snapshot) if state else None
        if text is not None:
            return policy.read_models(text)
    raise policy.NoPolicy


def _both(base: Snapshot | None, head: Snapshot) -> tuple[Models | None, Models | None]:
    """Return the models of both sides, ``None`` where there is no policy, or none that can be read."""
    found: list[Models | None] = []
    for snapshot in (base, head):
        found.append(None)
        with suppress(LockgateError):
            text = _text(snapshot) if snapshot else None
            found[-1] = policy.read_models(text) if text is not None else None
    return found[0], found[1]


def _text(snapshot: Snapshot) -> bytes | None:
    return snapshot.read(policy.FILE)


def _has_artifact(state: State, name: str) -> bool:
    with suppress(PipelineError):
        return state.pipeline.artifact(name) is not None
    return True


def _owners(state: State, policies: Mapping[str, list[Policy]]) -> Owners:
    """Return whose each stage is."""
    pipeline = state.pipeline
    claimed: dict[str, set[str]] = {name: set() for name in pipeline.by_name}
    taken: dict[str, str] = {}
    for model, said in policies.items():
        paths = {path for one in said for path in files(one)}
        artifact = None
        with suppress(PipelineError):
            artifact = pipeline.artifact(model)
        if artifact is not None:
            path = str(artifact[1]["path"])
            if (other := taken.setdefault(path, model)) != model:
                raise OneArtifact(other, model, path)
            paths.add(path)
        for needed in _with_upstream(pipeline, (name for path in paths for name in pipeline.writers(path))):
            claimed[needed].add(model)
    everyone = set(policies)
    found: dict[str, frozenset[str]] = {}
    for stage in pipeline.stages:  # in an order in which they can run, so that what it needs was looked at
        own = claimed[stage.name]
        if not own:
            needs = [found[name] for name in pipeline.upstream.get(stage.name, ())]
            beside = [frozenset(claimed[one.name]) for one in pipeline.stages if one.file == stage.file]
            own = _single(needs) or _single(beside) or (everyone if len(everyone) == 1 else set())
        found[stage.name] = frozenset(own)
    return found


def _single(groups: Iterable[frozenset[str]]) -> set[str]:
    """Return the one model that alone has some of the stages, empty if there is none or several have."""
    alone = {model for group in groups if len(group) == 1 for model in group}
    return alone if len(alone) == 1 else set()


def _with_upstream(pipeline: Pipeline, names: Iterable[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += pipeline.upstream.get(name, ())
    return found


def _part(state: State, owners: Owners, model: str) -> State:
    """Return the state with the stages, locks and tracked data of one model."""
    names = {name for name, models in owners.items() if model in models}
    pipeline = state.pipeline
    stages = tuple(stage for stage in pipeline.stages if stage.name in names)
    needed = {path for stage in stages for path in stage.deps}
    named = set(files(found)) if (found := _own(state, model)) else set()
    own = replace(
        pipeline,
        stages=stages,
        tracked=tuple(item for item in pipeline.tracked if any(_touches(item, path) for path in needed | named)),
        upstream={
            name: tuple(one for one in upstream if one in names)
            for name, upstream in pipeline.upstream.items()
            if name in names
        },
    )
    lock = Lock({name: entry for name, entry in state.lock.stages.items() if name in names})
    return State(state.snapshot, own, lock, model)


def _own(state: State, model: str) -> Policy | None:
    with suppress(LockgateError):
        text = _text(state.snapshot)
        return policy.read_models(text).find(model) if text is not None else None
    return None


def _touches(item: Tracked, path: str) -> bool:
    return any(out.path in with_parents(path) or out.path.startswith(f"{path}/") for out in item.outs)


def stage_names(found: Scopes) -> Iterator[str]:
    """Yield the stages that are some model's, of either side."""
    for scope in found.models:
        for state in (scope.base, scope.head):
            yield from (stage.name for stage in state.pipeline.stages) if state else ()
