"""What a DVC repository has that a policy can be made of: metrics, predictions, a model, plots, a seed, a lock.

Everything is read from one snapshot; files that DVC keeps come from its cache or its remote. What cannot be read is
told in :attr:`Found.notes`, and the proposal does without it.
"""

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lockgate import git
from lockgate.adoption.tables import Table, predictions_in
from lockgate.dependencies.lock import read_lock
from lockgate.dvc.objects import DvcError, content_digest, remotes
from lockgate.dvc.pipeline import Output, Stage, State, read_params, read_state
from lockgate.errors import LockgateError
from lockgate.evaluation.findings import read
from lockgate.evaluation.metric_files import Unreadable, document
from lockgate.git import Snapshot
from lockgate.policy import STATISTICS, Predictions, Statistic
from lockgate.result import Better

HIGHER = re.compile(
    r"(.*_)?(auc|aucroc|auroc|roc|accuracy|acc|precision|recall|f1|f1score|f_?beta|ap|map\d*|avg_prec|r2|score|ndcg|mrr|bleu"
    r"|rouge\w*|iou|miou|dice|mcc|kappa|specificity|sensitivity|hit_?rate|tpr|tnr|correct|correlation|coverage|gini|lift)"
    r"(_at_?\d+|_?\d+|_(test|val|valid|macro|micro|weighted|mean|score|top_?\d+))*"
)
LOWER = re.compile(
    r"(.*_)?(loss|error|err|mae|mse|rmse|rmsle|mape|smape|medae|brier|ece|nll|perplexity|ppl|wer|cer|fpr|fnr|deviance|bias"
    r"|logloss|crossentropy|cross_entropy)(_(test|val|valid|mean|score))*"
)
TRAINING = re.compile(r"(^|[.:_/-])train(ing)?([._/-]|$)", re.IGNORECASE)
TESTED = re.compile(r"(^|[._/-])(test|val|valid|validation|eval|holdout|dev)([._/-]|$)", re.IGNORECASE)
NO_MEASURE = re.compile(
    r"(thresholds?|weights?|cutoffs?|limits?|targets?|baselines?|std|var|sd|se|ci|lower|upper|low|high|min|max|id)"
)
"""Words that make of a metric's name the name of something else."""
COUNTED = re.compile(r"(.*_)?(n|count|rows|samples|size|step|steps|epoch|epochs|time|seconds|duration|seed|iteration)")
SEED = re.compile(r"(.*[._])?(seed|random_seed|random_state)")
MODEL = re.compile(
    r".*\.(skops|onnx|safetensors|pkl|pickle|joblib|pt|pth|ckpt|h5|hdf5|keras|cbm|ubj|bst|xgb|model|tflite)"
)
OPAQUE = re.compile(r".*\.(pkl|pickle|joblib|pt|pth|ckpt|model)")
PREDICTED = re.compile(r".*(predict|pred|score|proba|probs|output|eval).*\.(csv|parquet)", re.IGNORECASE)
MEASURED = re.compile(r".*(metric|score|eval|result|report).*\.(json|ya?ml|toml)", re.IGNORECASE)
REQUIREMENTS = re.compile(r"(.*/)?(requirements([-_.]?\w+)?\.(txt|lock)|[\w.-]*\.lock)")
FOR_PEOPLE = re.compile(r"notebooks?|nbs?|tests?|docs?|examples?|references", re.IGNORECASE)
LARGEST = 200_000_000
"""Bytes of a predictions file that is still looked into."""


@dataclass(frozen=True, slots=True)
class FoundMetric:
    """A number of a metrics file. ``better`` is ``None`` where its name does not say which way is better."""

    name: str
    file: str
    key: str
    value: float
    better: Better | None
    statistic: Statistic | None = None

    @property
    def of_training(self) -> bool:
        """Whether it was measured on the rows that the model was trained on, by its name, or else by its file's."""
        return TRAINING.search(f":{self.key}") is not None or (
            TRAINING.search(self.file) is not None and TESTED.search(self.key) is None
        )


@dataclass(frozen=True, slots=True)
class FoundModel:
    """The model: the name of its artifact, its path, and whether ``dvc.yaml`` declares it; where that is a guess,
    ``others`` is the number of outputs that might have been meant."""

    name: str
    path: str
    declared: bool
    bytes: int | None = None
    others: int = 0

    @property
    def is_opaque(self) -> bool:
        """Whether loading the file may run code that it holds."""
        return OPAQUE.fullmatch(self.path) is not None


@dataclass(frozen=True, slots=True)
class FoundPackages:
    """How the repository says which packages its stages need: ``lock`` has hashes and can be installed from as it is,
    ``inputs`` are files that a lock can be made from. ``python`` is the version that is asked for."""

    lock: str | None = None
    inputs: tuple[str, ...] = ()
    python: str | None = None


@dataclass(frozen=True, slots=True)
class FoundForge:
    """Where the repository is: ``kind`` is ``github``, ``gitlab``, ``other`` or empty without a remote of git's."""

    kind: str = ""
    server: str = ""
    repository: str = ""


@dataclass(frozen=True)
class Found:
    """All of it. ``remote`` is DVC's default remote; ``notes`` say what could not be read, and ``missed`` is the first
    file of metrics that could not be had from where DVC keeps it, as the error says."""

    state: State
    metrics: tuple[FoundMetric, ...]
    predictions: Predictions | None
    model: FoundModel | None
    plots: tuple[tuple[str, str, str], ...]
    seed: str | None
    packages: FoundPackages
    forge: FoundForge
    remote: str | None
    notes: tuple[str, ...] = ()
    missed: LockgateError | None = None
    parts: tuple["Found", ...] = ()
    """What each of several pipelines has that stand in a ``dvc.yaml`` of their own and measure a model of their own."""
    prediction_columns: Mapping[str, str] = field(default_factory=dict)
    """What was taken from the predictions file and why, by the key of the policy."""
    unread: tuple[str, ...] = ()
    """Folders for people and for tests, by their names, that no stage reads or writes."""
    unkept: Mapping[str, bytes] = field(default_factory=dict)
    """Files of metrics that the lock leaves to git and that no commit has, as the working tree has them: those of the
    run that the lock records."""


def look(root: Path, snapshot: Snapshot) -> Found:
    """Return what ``snapshot`` has. Raises :class:`LockgateError` where its pipeline cannot be read."""
    state = read_state(snapshot)
    whole = _look(root, state)
    parts = tuple(_look(root, part) for part in _parts(state))
    if len(parts) < 2 or not all(part.metrics and part.model for part in parts):
        return whole
    names = {metric.name: metric for part in parts for metric in part.metrics}
    predictions = next((part.predictions for part in parts if part.predictions), None)
    return replace(whole, metrics=tuple(names.values()), predictions=predictions, model=None, parts=parts)


def _parts(state: State) -> Iterator[State]:
    """Yield the pipeline of each ``dvc.yaml`` that measures something, as far as it stands there."""
    pipeline = state.pipeline
    for file in dict.fromkeys(stage.file for stage in pipeline.stages):
        stages = tuple(stage for stage in pipeline.stages if stage.file == file)
        outs = {out.path for stage in stages for out in stage.outs}
        measured = [path for path in _metric_files(state) if path in outs]
        if measured:
            artifacts = {name: one for name, one in pipeline.artifacts.items() if one.get("path") in outs}
            own = replace(pipeline, stages=stages, metrics=tuple(measured), artifacts=artifacts)
            yield replace(state, pipeline=own)


def _look(root: Path, state: State) -> Found:
    snapshot = state.snapshot
    notes: list[str] = []
    missed: list[LockgateError] = []
    unkept: dict[str, bytes] = {}
    metrics = tuple(_metrics(root, state, notes, missed, unkept))
    table = _predictions(root, state, metrics, notes)
    if table is not None:
        metrics = tuple(table.recognise(metric) for metric in metrics)
    model = _model(state)
    return Found(
        state=state,
        metrics=metrics,
        predictions=table.predictions if table else None,
        prediction_columns=table.reasons if table else {},
        model=model,
        plots=tuple(_plots(root, state)),
        seed=_seed(state, model),
        packages=_packages_around(root, snapshot),
        forge=forge_of(root),
        remote=_default_remote(root, notes),
        notes=tuple(notes),
        missed=missed[0] if missed else None,
        unread=tuple(_unread(state)),
        unkept=unkept,
    )


def direction(name: str) -> Better | None:
    """Return which way a metric of this name is better, ``None`` where the name does not say."""
    plain = re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")
    if known := next((better for name, better in STATISTICS.items() if name == plain), None):
        return known
    for words in (plain, _first_words(plain)):
        if LOWER.fullmatch(words):
            return "lower"
        if HIGHER.fullmatch(words):
            return "higher"
    return None


def _first_words(plain: str) -> str:
    """Return the longest beginning of a name that is a metric's, where what follows only says of what: the ``accuracy``
    of ``accuracy_full_data``. Empty where there is none."""
    words = plain.split("_")
    if any(NO_MEASURE.fullmatch(word) for word in words):
        return ""
    beginnings = ("_".join(words[:end]) for end in range(len(words) - 1, 0, -1))
    return next((one for one in beginnings if LOWER.fullmatch(one) or HIGHER.fullmatch(one)), "")


def forge_of(root: Path) -> FoundForge:
    """Return where git's remote says that the repository is."""
    names = git.git(root, "remote").split()
    if not names:
        return FoundForge()
    name = "origin" if "origin" in names else names[0]
    return read_address(git.git(root, "config", "--get", f"remote.{name}.url").strip())


def read_address(address: str) -> FoundForge:
    """Return what the address of a remote says: ``https://HOST/OWNER/NAME.git``, ``git@HOST:OWNER/NAME``, a path."""
    found = re.fullmatch(
        r"(?:https?://(?:[^@/]+@)?|(?:ssh|git)://(?:[^@/]+@)?|[\w.-]+@)([\w.-]+(?::\d+)?)[:/]+(.+?)(?:\.git)?/?",
        address,
    )
    if found is None:
        return FoundForge("other", "", address)
    host, path = found[1], found[2]
    kind = "github" if re.match(r"(.*\.)?github\.", host) else "gitlab" if "gitlab" in host else "other"
    return FoundForge(kind, f"https://{host}", path)


# --- metrics


def _metrics(
    root: Path, state: State, notes: list[str], missed: list[LockgateError], unkept: dict[str, bytes]
) -> Iterator[FoundMetric]:
    taken: set[str] = set()
    settings = _settings(state)
    for path in _metric_files(state):
        try:
            content = read(root, state, path)
            if content is None and (content := _left_here(root, state, path)) is not None:
                unkept[path] = content
            if content is None:
                notes.append(f"{path} is a metrics file, but {_why_absent(root, state, path)}")
                continue
            values = list(_figures(document(content, path)))
        except (DvcError, Unreadable) as error:
            notes.append(f"{path} is a metrics file, but it cannot be read: {error}")
            missed += [error] if isinstance(error, DvcError) else []
            continue
        for key, value in values:
            last = key.rpartition(".")[2]
            if COUNTED.fullmatch(last.lower()) or value in settings.get(last, ()):
                continue
            name = _name(key, path, taken)
            taken.add(name)
            yield FoundMetric(
                name, path, key, value, direction(key.rpartition(".")[2]) or direction(key) or _outer(key)
            )


def _settings(state: State) -> Mapping[str, set[float]]:
    """Return the numbers of the files of parameters, by the last word of their keys: a file of metrics that repeats one
    says what a model was made with, not how good it is."""
    found: dict[str, set[float]] = {}
    for file in dict.fromkeys(["params.yaml", *(one.file for stage in state.pipeline.stages for one in stage.params)]):
        try:
            values = list(_figures(read_params(state.snapshot, file) or {}))
        except LockgateError:
            continue
        for key, value in values:
            found.setdefault(key.rpartition(".")[2], set()).add(value)
    return found


def _left_here(root: Path, state: State, path: str) -> bytes | None:
    """Return what the working tree has of an output that is left to git, if it is what the lock records."""
    record = state.pipeline.recorded(state.lock, path)
    try:
        content = (root / path).read_bytes() if record is not None and not (root / path).is_symlink() else None
    except OSError:
        return None
    if content is None or record is None or content_digest(content, legacy=record.legacy) != record.digest:
        return None
    return content


def _why_absent(root: Path, state: State, path: str) -> str:
    """Return why no commit has a file that is left to git, and what to do about it."""
    again = f"run the pipeline (`dvc repro`), `git add -f {path} dvc.lock`, commit, and run this again."
    out = next((out for stage in state.pipeline.stages for out in stage.outs if out.path == path), None)
    if out is not None and out.cached:
        return "the lock records none: run the pipeline (`dvc repro`), `dvc push`, commit dvc.lock, and run this again."
    rule = git.ignored_by(root, path)
    return f"no commit has it, because git ignores it ({rule}): {again}" if rule else f"no commit has it: {again}"


def _outer(key: str) -> Better | None:
    """Return the direction that an outer name gives: ``avg_prec.test``, ``model.loss.value``."""
    return next((found for part in reversed(key.split(".")) if (found := direction(part))), None)


def _metric_files(state: State) -> list[str]:
    declared = [out.path for stage in state.pipeline.stages for out in stage.outs if out.kind == "metric"]
    named = [path for path in (*declared, *state.pipeline.metrics) if posixpath.splitext(path)[1]]
    if not named:  # many a pipeline writes its metrics as an output like any other
        outs = [out.path for stage in state.pipeline.stages for out in stage.outs if out.kind == "output"]
        named = [path for path in outs if MEASURED.fullmatch(posixpath.basename(path))]
    return list(dict.fromkeys(named))


def _figures(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _figures(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, int | float) and not isinstance(value, bool) and value == value and abs(value) < 1e308:  # noqa: PLR0124
        yield key, float(value)


def _name(key: str, path: str, taken: set[str]) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "_", key).strip("_").lower() or "metric"
    if name in taken:
        stem = re.sub(r"[^A-Za-z0-9]+", "_", posixpath.splitext(path)[0]).strip("_").lower()
        name = f"{stem}_{name}"
    while name in taken:
        name += "_2"
    return name


# --- predictions


def _predictions(root: Path, state: State, metrics: tuple[FoundMetric, ...], notes: list[str]) -> Table | None:
    outs = [(_likely(stage, out), out) for stage in state.pipeline.stages for out in stage.outs]
    for _, out in sorted(outs, key=lambda item: item[0]):
        if not PREDICTED.fullmatch(out.path):
            continue
        record = state.pipeline.recorded(state.lock, out.path)
        if record is not None and (record.size or 0) > LARGEST:
            notes.append(
                f"{out.path} may hold predictions, but it is too large to look into: name its columns yourself."
            )
            continue
        try:
            content = read(root, state, out.path)
        except DvcError as error:
            notes.append(f"{out.path} may hold predictions, but it cannot be had: {error}")
            continue
        if content is None:
            continue
        table = predictions_in(out.path, content)
        if isinstance(table, str):
            notes.append(f"{out.path} was looked at for predictions: {table}.")
        else:
            return table if metrics else table.without_slices()
    return None


def _likely(stage: Stage, out: Output) -> tuple[int, str]:
    name = posixpath.basename(out.path).lower()
    return (0 if "predict" in name else 1 if "test" in name or "eval" in stage.name else 2, out.path)


# --- model, plots, seed, packages


def _model(state: State) -> FoundModel | None:
    pipeline = state.pipeline
    declared = {name: one for name, one in pipeline.artifacts.items() if one.get("path")}
    models = {name: one for name, one in declared.items() if one.get("type") == "model"} or declared
    if models:
        name, one = next(iter(models.items()))
        path = str(one["path"])
        record = pipeline.recorded(state.lock, path)
        return FoundModel(name, path, declared=True, bytes=record.size if record else None)
    outs = [out for stage in pipeline.stages for out in stage.outs if out.kind == "output"]
    found = [out for out in outs if MODEL.fullmatch(out.path.lower()) or _IN_MODELS.search(out.path.lower())]
    if not found:
        return None
    path = min(found, key=lambda out: _unlike_a_model(pipeline.producers[out.path], out)).path
    stem = posixpath.basename(path).partition(".")[0]
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_") or "model"
    record = pipeline.recorded(state.lock, path)
    return FoundModel(name, path, declared=False, bytes=record.size if record else None, others=len(found) - 1)


_IN_MODELS = re.compile(r"(^|/)models?([/._-]|$)")


def _unlike_a_model(stage: Stage, out: Output) -> tuple[bool, bool, bool]:
    name = posixpath.basename(out.path).lower()
    said = re.search(r"model|clf|classif|regress|net|weights|checkpoint|estimator|predictor|pipeline", name)
    other = re.search(r"imp|scaler|encod|vectori|featur|split|transform|preproc|data|token|(^|_)[xy]_|train|test", name)
    return said is None, other is not None, "train" not in stage.name and "fit" not in stage.name


def _plots(root: Path, state: State) -> Iterator[tuple[str, str, str]]:
    """Yield file, x and y of plots of JSON points that declare both columns."""
    from lockgate.evaluation.metric_files import points
    from lockgate.policy import Plot

    for path, x, y in _declared_plots(state):
        try:
            content = read(root, state, path)
            if content is not None and points(Plot(path, path, x, y), content):
                yield path, x, y
        except (DvcError, Unreadable):
            continue


def _declared_plots(state: State) -> Iterator[tuple[str, str, str]]:
    from lockgate.dvc.documents import join
    from lockgate.strict_yaml import load

    for file in dict.fromkeys([*(stage.file for stage in state.pipeline.stages), "dvc.yaml"]):
        content = state.snapshot.read(file)
        if content is None:
            continue
        top = load(content, file) or {}
        folder = posixpath.dirname(file)
        stages = top.get("stages")
        each = stages.values() if isinstance(stages, dict) else ()
        items = [top.get("plots"), *(one.get("plots") for one in each if isinstance(one, dict))]
        for path, said in _plot_items(items):
            x, y = said.get("x"), said.get("y")
            if isinstance(x, str) and isinstance(y, str):
                yield join(folder, path), x, y


def _plot_items(items: list[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for item in items:
        listed = item if isinstance(item, list) else [item]
        for one in listed:
            if isinstance(one, dict):
                yield from ((str(path), said) for path, said in one.items() if isinstance(said, dict))


def _unread(state: State) -> Iterator[str]:
    """Yield the folders at the project's top whose names say that they are for people or tests, and that no stage has
    to do with."""
    stages = state.pipeline.stages
    used = {"", *state.pipeline.data, *(dep for stage in stages for dep in stage.deps)}
    used |= {out.path for stage in stages for out in stage.outs} | {
        one.file for stage in stages for one in stage.params
    }
    commands = " ".join(str(stage.cmd) for stage in stages)
    for name in sorted({path.partition("/")[0] for path in state.snapshot.list() if "/" in path}):
        inside = any(path == name or path.startswith(f"{name}/") for path in used)
        if FOR_PEOPLE.fullmatch(name) and not inside and "." not in used and f"{name}/" not in commands:
            yield name


def _seed(state: State, model: FoundModel | None) -> str | None:
    """Return the parameter that the policy's ``seed`` may name: a whole number that a stage depends on; of several
    that of the training, for another decides what data there are."""
    stages = state.pipeline.stages
    maker = state.pipeline.producers.get(model.path) if model is not None else None
    for stage in sorted(stages, key=lambda one: (one is not maker, "train" not in one.name and "fit" not in one.name)):
        for params in stage.params:
            values = read_params(state.snapshot, params.file) or {}
            for key, value in _figures(values):
                used = not params.keys or any(key == one or key.startswith(f"{one}.") for one in params.keys)
                if used and SEED.fullmatch(key) and value == int(value):
                    return key if params.file == "params.yaml" else f"{params.file}:{key}"
    return None


def _packages_around(root: Path, snapshot: Snapshot) -> FoundPackages:
    """Return the packages of the project; of one in a folder that names none, those that the folders above it name."""
    found = _packages(snapshot)
    depth = git.git(root, "rev-parse", "--show-prefix").count("/")
    above = [f"{'../' * up}{name}" for up in range(1, depth + 1) for name in ("requirements.txt", "pyproject.toml")]
    for path in above if not (found.lock or found.inputs) else ():
        if (path.endswith(".txt") and snapshot.read(path) is not None) or _has_dependencies(snapshot, path):
            return FoundPackages(None, (path,), found.python or _python(snapshot, posixpath.dirname(path)))
    return found


def _packages(snapshot: Snapshot) -> FoundPackages:
    names = snapshot.list(".txt", ".lock", "pyproject.toml", ".python-version")
    found = [name for name in names if REQUIREMENTS.fullmatch(name) and posixpath.basename(name) != "dvc.lock"]
    found.sort(key=lambda name: (not name.endswith("requirements.txt"), name.count("/"), name))
    for name in sorted(found, key=lambda name: (re.search(r"dev|test|doc|lint", name) is not None, name.count("/"))):
        lock = read_lock((snapshot.read(name) or b"").decode("utf-8", "replace"), name)
        try:
            lock.requirements()
        except LockgateError:
            continue
        return FoundPackages(name, (), _python(snapshot))
    texts = [name for name in found if name.endswith(".txt") and not re.search(r"dev|test|doc|lint", name)]
    inputs = texts[:1] or (["pyproject.toml"] if _has_dependencies(snapshot) else [])
    return FoundPackages(None, tuple(inputs), _python(snapshot))


def _project(snapshot: Snapshot, path: str) -> Mapping[str, Any]:
    import tomllib

    try:
        content = tomllib.loads((snapshot.read(path) or b"").decode())
    except ValueError:
        return {}
    found = content.get("project")
    return found if isinstance(found, dict) else {}


def _has_dependencies(snapshot: Snapshot, path: str = "pyproject.toml") -> bool:
    return bool(_project(snapshot, path).get("dependencies"))


def _python(snapshot: Snapshot, folder: str = "") -> str | None:
    pinned = (snapshot.read(posixpath.join(folder, ".python-version")) or b"").decode("utf-8", "replace")
    if found := re.match(r"\s*(3\.\d+)", pinned):
        return found[1]
    project = _project(snapshot, posixpath.join(folder, "pyproject.toml"))
    asked = re.search(r"3\.\d+", str(project.get("requires-python", "")))
    return asked[0] if asked else None


def _default_remote(root: Path, notes: list[str]) -> str | None:
    """Return the address of DVC's default remote."""
    try:
        return remotes(root).get("")
    except Exception as error:  # noqa: BLE001 - DVC's own complaints about its configuration, of many classes
        notes.append(f"DVC's remotes cannot be read: {error}")
        return None
