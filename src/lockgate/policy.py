"""The policy, ``lockgate.yaml``: which artifact, metrics, predictions, gates and environments a repository has.

Everything is checked when the file is read, so that the rest of the program can trust it: a gate never names a metric
that the policy does not declare. What the *repository* lacks (a metrics file, a column) shows where it is
looked for.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, TypeVar

from lockgate.errors import LockgateError, NotAskedError, nearest
from lockgate.gates import KINDS, DataChecksPass, Gap, Gate, Improves, NoRegression
from lockgate.result import Better
from lockgate.strict_yaml import load

FILE = "lockgate.yaml"

Statistic = Literal["roc_auc", "average_precision", "log_loss", "brier", "calibration_error", "accuracy"]
# what can be computed anew from labels and scores, and which way each is better
STATISTICS: dict[Statistic, Better] = {
    "roc_auc": "higher",
    "average_precision": "higher",
    "accuracy": "higher",
    "log_loss": "lower",
    "brier": "lower",
    "calibration_error": "lower",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of a metrics file. ``key`` is its dotted place in ``file``; ``statistic`` is how it can be computed anew
    from the predictions, ``None`` where it cannot: with which ``threshold`` (accuracy), in how many ``bins``
    (calibration error)."""

    name: str
    file: str
    key: str
    better: Better
    statistic: Statistic | None
    threshold: float = 0.5
    bins: int = 10


@dataclass(frozen=True, slots=True)
class Predictions:
    """The per-row predictions on the test rows: the columns that name a row, its label (0 or 1), its score and the
    columns to slice by. ``slice_metric`` is the metric shown for each slice.

    Rows with the same values in the columns ``cluster`` were drawn together (the flights of one day); with ``period``,
    rows of the same week or month of that one date column. ``missing`` is the share of base's rows that head may lack
    before the gates that compare refuse to judge.
    """

    file: str
    key: tuple[str, ...]
    label: str
    score: str
    slices: tuple[str, ...]
    slice_metric: str | None
    cluster: tuple[str, ...] = ()
    period: Literal["week", "month"] | None = None
    missing: float = 0.0


@dataclass(frozen=True, slots=True)
class Plot:
    """A curve to draw: the columns ``x`` and ``y`` of a file of points. ``diagonal`` draws the line on which a good
    model's points lie, ``rows`` is the column that says how many rows stand behind a point."""

    file: str
    title: str
    x: str
    y: str
    diagonal: bool = False
    rows: str | None = None


@dataclass(frozen=True, slots=True)
class OperatingAt:
    """The threshold from which a score counts as true where the model is used, what a true row is called, and what one
    missed row and one false alarm cost, where that is known."""

    threshold: float
    positives: str = ""
    missed: float | None = None
    false_alarm: float | None = None


@dataclass(frozen=True, slots=True)
class ImportanceFile:
    """A file with what the model loses without each column: which keys name the column, the loss and, if there is one,
    its standard error."""

    file: str
    column: str
    value: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the pipeline to compare between base and head: its column of dates, and the ``columns`` to compare
    (none named: all of them)."""

    file: str
    date: str | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Environment:
    """A place releases are promoted to. ``after`` is the environment a release has to be in before; ``rebuilt`` says
    what rebuild a release needs to enter, and ``tolerated`` whether one counts in which an output was compared by
    value or left out; ``gates`` are asked in addition to the policy's own."""

    name: str
    after: str | None
    rebuilt: Literal["full", "none"]
    gates: tuple[Gate, ...]
    tolerated: bool = False


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


@dataclass(frozen=True, slots=True)
class Serving:
    """What a release carries so that it can be served: the wheel of the project in the folder ``code``.

    ``entry`` (``package.module:function``) loads the model file, ``request`` says what a request looks like; rows of
    the table ``samples`` become the sample requests whose answers are recorded. ``unknown_categories`` says what a
    service does with a value that the model was not trained on. See docs/serving.md.
    """

    code: str
    entry: str
    request: str
    samples: str
    unknown_categories: Literal["count", "refuse"] = "count"


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The locked packages that a commit's stages run with: the file ``lock``, and the version of ``python`` it is for.

    ``build`` is a lock that pins what source distributions are built with, where ``lock`` itself does not.
    """

    lock: str
    python: str
    build: str | None = None


@dataclass(frozen=True, slots=True)
class Stages:
    """What the commands of stages get from outside; docs/isolation.md says what they get without it.

    ``passed`` are environment variables. ``network`` is ``True``: always; ``False``: never; ``None``: with ``run`` and
    in pull requests, but not where something is rebuilt. With ``isolation`` ``required``, ``admit`` and ``release`` run
    no stage that this machine cannot isolate.
    """

    passed: tuple[str, ...] = ()
    network: bool | None = None
    isolation: Literal["required", "best-effort"] = "required"


@dataclass(frozen=True, slots=True)
class Policy:
    """What ``lockgate.yaml`` says. ``seed`` is the parameter that ``lockgate report --seeds`` varies.

    ``lock`` says what a pull request's check does with the lock that its author brings: compute it again, or (where
    that is too dear) show it as claimed. ``withdrawn`` says what those who use a withdrawn release are to do.
    ``unverified`` says whether a pull request may pass on figures that only its own run could compute.

    ``opaque`` (``model: {name: …, opaque: true}``) says that the model file is a pickle, or something else that runs
    code when it is loaded: it is released and signed as it is, and nothing of Lockgate ever loads it.
    """

    model: str
    metrics: tuple[Metric, ...]
    predictions: Predictions | None
    validation: str | None
    plots: tuple[Plot, ...]
    seed: str | None
    gates: tuple[Gate, ...]
    environments: tuple[Environment, ...]
    lock: Literal["reproduced", "claimed"] = "reproduced"
    serving: Serving | None = None
    dependencies: Dependencies | None = None
    withdrawn: Literal["warn", "refuse"] = "warn"
    opaque: bool = False
    rebuild: Rebuilding = Rebuilding()
    stages: Stages = Stages()
    unverified: Literal["refuse", "allow"] = "refuse"
    operating_point: OperatingAt | None = None
    importance: ImportanceFile | None = None
    data: tuple[Table, ...] = ()

    def metric(self, name: str) -> Metric:
        """Return the metric of that name. Raises ``KeyError``: gates only name metrics that exist."""
        return {metric.name: metric for metric in self.metrics}[name]


_NO_VALUE = object()


class NoPolicy(NotAskedError):  # noqa: N818 - named for what the user reads
    """Neither base nor head has a policy."""

    def __init__(self) -> None:
        """Say what is to be written."""
        super().__init__(
            f"there is no {FILE}, so there are no rules to judge by",
            "Write one: the model's name, its metrics and the gates they have to pass.",
        )


class PolicyError(LockgateError):
    """A policy that says something unknown, incomplete or impossible."""

    def __init__(self, place: str, problem: str, value: Any = _NO_VALUE, hint: str = "") -> None:
        """Name the key (``place``), what is wrong, the value that stands there and what was probably meant."""
        shown = "" if value is _NO_VALUE else f" (it is {_shown(value)})"
        super().__init__(
            f"{FILE}: {place + ': ' if place else ''}{problem}{shown}{'; ' + hint if hint else ''}",
            f"Correct {FILE}; nothing was judged.",
        )


def read_policy(text: str | bytes) -> Policy:
    """Return the policy written in ``text``.

    Raises :class:`~lockgate.strict_yaml.YamlError` if it is no unambiguous YAML, :class:`PolicyError` naming the first
    key that is unknown, missing, mistyped or impossible.
    """
    top = _section("", load(text, FILE) or {}, _POLICY)
    policy = Policy(
        model=top["model"][0],
        metrics=tuple(_metric(name, value) for name, value in top["metrics"].items()),
        predictions=top.get("predictions"),
        validation=top.get("validation"),
        plots=top.get("plots", ()),
        seed=top.get("seed"),
        gates=top.get("gates", ()),
        environments=tuple(_environment(name, value) for name, value in top.get("environments", {}).items()),
        lock=top.get("lock", "reproduced"),
        serving=top.get("serving"),
        dependencies=top.get("dependencies"),
        withdrawn=top.get("withdrawn", "warn"),
        opaque=top["model"][1],
        rebuild=top.get("rebuild", Rebuilding()),
        stages=top.get("stages", Stages()),
        operating_point=top.get("operating_point"),
        importance=top.get("importance"),
        data=top.get("data", ()),
    )
    _check(policy)
    return policy


# --- values: each reader takes the place (for the message) and the YAML value, and returns the checked value

T = TypeVar("T")
Reader = Callable[[str, Any], T]


@dataclass(frozen=True, slots=True)
class _Key:
    read: Reader[Any]
    required: bool = True


def _shown(value: Any) -> str:
    text = "empty" if value is None else f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


_TAGGED = r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?"  # what GTO takes as a name, without its '/'


def _text(place: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(place, "must be text", value)
    return value


def _path(place: str, value: Any) -> str:
    path = PurePosixPath(_text(place, value))
    if path.is_absolute() or ".." in path.parts or "\\" in value:
        raise PolicyError(place, "must be a path inside the repository, with '/'", value)
    return str(path)


def _number(place: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PolicyError(place, "must be a finite number", value)
    return float(value)


def _tolerance(place: str, value: Any) -> float:
    number = _number(place, value)
    if number < 0:
        raise PolicyError(place, "must be 0 or more", value)
    return number


def _share(place: str, value: Any) -> float:
    number = _number(place, value)
    if not 0 <= number <= 1:
        raise PolicyError(place, "must be between 0 and 1", value)
    return number


def _count(place: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PolicyError(place, "must be a whole number from 1", value)
    return value


_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def _bytes(place: str, value: Any) -> int:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+)", value) if isinstance(value, str) else None
    if match is None or match[2] not in _UNITS or float(match[1]) == 0:
        raise PolicyError(place, f"must be a size such as '20 MB' (units: {', '.join(_UNITS)})", value)
    return round(float(match[1]) * _UNITS[match[2]])


def _one_of(*words: str) -> Reader[str]:
    def read(place: str, value: Any) -> str:
        if value not in words:
            hint = nearest(value, list(words)) if isinstance(value, str) else ""
            raise PolicyError(place, f"must be one of {', '.join(words)}", value, hint)
        return str(value)

    return read


def _flag(place: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise PolicyError(place, "must be true or false", value)
    return value


_WITHHELD = re.compile(
    "HOME|PATH|SSH_AUTH_SOCK|GH_TOKEN|GITHUB_TOKEN|GITLAB_TOKEN|CI_JOB_TOKEN|REPO_TOKEN|DVC_STUDIO_TOKEN|"
    "GOOGLE_APPLICATION_CREDENTIALS|(AWS|AZURE|ACTIONS|LOCKGATE)_.*"
)
"""Variables that no stage gets: keys of a store and tokens of a forge, and the two that lockgate sets."""


def _variable(place: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_]\w*", value, re.ASCII):
        raise PolicyError(place, "must be the name of an environment variable", value)
    if _WITHHELD.fullmatch(value):
        hint = "lockgate sets it" if value in ("HOME", "PATH") else "give the stage a key of its own by another name"
        raise PolicyError(place, "is never passed to a stage", value, hint)
    return value


def _function(place: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", value, re.ASCII):
        raise PolicyError(place, "must name a function as package.module:function", value)
    return value


def _artifact_name(place: str, value: Any) -> str:
    """Return the name of an artifact, which GTO's tags have to be able to write: ``model`` or ``folder:model``."""
    if not re.fullmatch(rf"([A-Za-z0-9_-][A-Za-z0-9._/-]*:)?{_TAGGED}", _text(place, value)):
        rule = "letters, digits, '_' and '-', with a letter or digit at both ends; its folder may come before a ':'"
        raise PolicyError(place, f"GTO cannot tag this name: it must have {rule}", value)
    return str(value)


def _python_version(place: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"3\.[0-9]+(\.[0-9]+)?", value):
        raise PolicyError(place, "must be a version of Python in quotes, such as '3.11'", value)
    return value


def _list(read: Reader[T]) -> Reader[tuple[T, ...]]:
    def read_all(place: str, value: Any) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise PolicyError(place, "must be a list", value)
        items = tuple(read(f"{place}[{index}]", item) for index, item in enumerate(value))
        if len(set(items)) < len(items):
            double = next(index for index, item in enumerate(items) if item in items[:index])
            raise PolicyError(f"{place}[{double}]", "is a duplicate entry")
        return items

    return read_all


def _mapping(place: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PolicyError(place, "must be a mapping", value)
    for key in value:
        if not isinstance(key, str) or not key.strip():
            raise PolicyError(place, "its keys must be text", f"{key}")
    return value


def _section(place: str, value: Any, keys: Mapping[str, _Key]) -> dict[str, Any]:
    section = _mapping(place, value)
    prefix = f"{place}." if place else ""
    for key, given in section.items():
        if key not in keys:
            raise PolicyError(prefix + key, "unknown key", given, nearest(key, list(keys)))
    for key, rule in keys.items():
        if rule.required and key not in section:
            raise PolicyError(prefix + key, "is missing")
    return {key: rule.read(prefix + key, section[key]) for key, rule in keys.items() if key in section}


# --- nouns

_METRIC = {
    "threshold": _Key(_share, False),
    "bins": _Key(_count, False),
    "file": _Key(_path),
    "key": _Key(_text),
    "better": _Key(_one_of("higher", "lower")),
    "statistic": _Key(lambda place, value: None if value is None else _one_of(*STATISTICS)(place, value), False),
}
_PREDICTIONS = {
    "file": _Key(_path),
    "key": _Key(_list(_text)),
    "label": _Key(_text),
    "score": _Key(_text),
    "slices": _Key(_list(_text), False),
    "slice_metric": _Key(_text, False),
    "cluster": _Key(_list(_text), False),
    "period": _Key(_one_of("week", "month"), False),
    "missing": _Key(_share, False),
}
_SERVING = {"code": _Key(_path), "entry": _Key(_function), "request": _Key(_function), "samples": _Key(_path)}
_SERVING["unknown_categories"] = _Key(_one_of("count", "refuse"), False)
_DEPENDENCIES = {"lock": _Key(_path), "python": _Key(_python_version), "build": _Key(_path, False)}
_PLOT = {"file": _Key(_path), "title": _Key(_text), "x": _Key(_text), "y": _Key(_text)}
_PLOT |= {"diagonal": _Key(_flag, False), "rows": _Key(_text, False)}
_OPERATING_POINT = {"threshold": _Key(_share, False), "positives": _Key(_text, False), "costs": _Key(_mapping, False)}
_COSTS = {"missed": _Key(_tolerance), "false_alarm": _Key(_tolerance)}
_IMPORTANCE = {"file": _Key(_path), "column": _Key(_text), "value": _Key(_text), "error": _Key(_text, False)}
_TABLE = {"file": _Key(_path), "date": _Key(_text, False), "columns": _Key(_list(_text), False)}
_STAGES = {
    "pass": _Key(_list(_variable), False),
    "network": _Key(_flag, False),
    "isolation": _Key(_one_of("required", "best-effort"), False),
}
_GATE_KEYS: dict[str, Reader[Any]] = {
    "metric": _text,
    "number": _number,
    "amount": _tolerance,
    "count": _count,
    "bytes": _bytes,
    "columns": _list(_text),
    "flag": _flag,
    "unshown": _one_of("fail", "look"),
}


def _gate(place: str, value: Any) -> Gate:
    given = _mapping(place, value)
    if "kind" not in given:
        raise PolicyError(f"{place}.kind", "is missing")
    noun = KINDS[_one_of(*KINDS)(f"{place}.kind", given["kind"])]
    keys = {name: _Key(_GATE_KEYS[how], default is MISSING) for name, (how, _, default) in noun.keys().items()}
    read = _section(place, given, {"kind": _Key(_text), **keys})
    return noun(**{key: item for key, item in read.items() if key != "kind"})


def _model(place: str, value: Any) -> tuple[str, bool]:
    if not isinstance(value, dict):
        return _artifact_name(place, value), False
    read = _section(place, value, {"name": _Key(_artifact_name), "opaque": _Key(_flag, False)})
    return read["name"], read.get("opaque", False)


def _metric(name: str, value: Any) -> Metric:
    read = _section(f"metrics.{name}", value, _METRIC)
    read.setdefault("statistic", name if name in STATISTICS else None)
    statistic = read["statistic"]
    if statistic and read["better"] != STATISTICS[statistic]:
        raise PolicyError(f"metrics.{name}.better", f"{statistic} is better {STATISTICS[statistic]}", read["better"])
    for key, wanted in (("threshold", "accuracy"), ("bins", "calibration_error")):
        if key in read and statistic != wanted:
            raise PolicyError(f"metrics.{name}.{key}", f"belongs to the statistic {wanted} alone", read[key])
    return Metric(name, **read)


def _predictions(place: str, value: Any) -> Predictions:
    read = _section(place, value, _PREDICTIONS)
    if not read["key"]:
        raise PolicyError(f"{place}.key", "must name at least one column")
    if "period" in read and len(read.get("cluster", ())) != 1:
        raise PolicyError(f"{place}.period", "needs exactly one date column in `cluster`", read["period"])
    return Predictions(**{"slices": (), "slice_metric": None, **read})


def _operating_point(place: str, value: Any) -> OperatingAt:
    """Read the threshold, or find it from the costs: a row is called true where its expected cost is smaller that way,
    from ``false_alarm / (false_alarm + missed)`` on (Elkan 2001)."""
    read = _section(place, value, _OPERATING_POINT)
    costs = _section(f"{place}.costs", read["costs"], _COSTS) if "costs" in read else {}
    both = sum(costs.values())
    if costs and not both:
        raise PolicyError(f"{place}.costs", "must not both be 0")
    if "threshold" not in read and not costs:
        raise PolicyError(f"{place}.threshold", "is missing: name the threshold, or the `costs` to find it from")
    threshold = read["threshold"] if "threshold" in read else costs["false_alarm"] / both
    return OperatingAt(threshold, read.get("positives", ""), costs.get("missed"), costs.get("false_alarm"))


def _tolerance_of(place: str, path: str, value: Any) -> Tolerance:
    path = _path(place, path)
    if PurePosixPath(path).suffix.lower() not in _BY_VALUE:
        raise PolicyError(place, f"only files of these kinds are compared by value: {', '.join(_BY_VALUE)}")
    keys = {"relative": _Key(_tolerance, False), "absolute": _Key(_tolerance, False)}
    found = Tolerance(path, **_section(place, value, keys))
    if not found.relative and not found.absolute:
        raise PolicyError(place, "must have `relative:` or `absolute:`, above 0")
    return found


_BY_VALUE = (".json", ".yaml", ".yml", ".toml", ".csv", ".tsv")


def _rebuilding(place: str, value: Any) -> Rebuilding:
    read = _section(place, value, {"tolerate": _Key(_mapping, False), "leave_out": _Key(_list(_path), False)})
    items = read.get("tolerate", {}).items()
    tolerate = tuple(_tolerance_of(f"{place}.tolerate.{path}", path, item) for path, item in items)
    return Rebuilding(tolerate, read.get("leave_out", ()))


def _environment(name: str, value: Any) -> Environment:
    place = f"environments.{name}"
    if not re.fullmatch(_TAGGED, name):
        rule = "letters, digits, '_' and '-', with a letter or digit at both ends"
        raise PolicyError(place, f"GTO cannot tag this name: an environment's name must have {rule}")
    keys = {
        "after": _Key(_text, False),
        "rebuilt": _Key(_one_of("full", "none"), False),
        "tolerated": _Key(_flag, False),
        "gates": _Key(_list(_gate), False),
    }
    return Environment(name, **{"after": None, "rebuilt": "none", "gates": (), **_section(place, value or {}, keys)})


def _stages(place: str, value: Any) -> Stages:
    read = _section(place, value, _STAGES)
    if "pass" in read:
        read["passed"] = read.pop("pass")
    return Stages(**read)


_POLICY = {
    "model": _Key(_model),
    "rebuild": _Key(_rebuilding, False),
    "metrics": _Key(_mapping),
    "predictions": _Key(_predictions, False),
    "validation": _Key(_path, False),
    "plots": _Key(_list(lambda place, value: Plot(**_section(place, value, _PLOT))), False),
    "operating_point": _Key(_operating_point, False),
    "importance": _Key(lambda place, value: ImportanceFile(**_section(place, value, _IMPORTANCE)), False),
    "data": _Key(_list(lambda place, value: Table(**_section(place, value, _TABLE))), False),
    "seed": _Key(_text, False),
    "gates": _Key(_list(_gate), False),
    "environments": _Key(_mapping, False),
    "lock": _Key(_one_of("reproduced", "claimed"), False),
    "withdrawn": _Key(_one_of("warn", "refuse"), False),
    "unverified": _Key(_one_of("refuse", "allow"), False),
    "serving": _Key(lambda place, value: Serving(**_section(place, value, _SERVING)), False),
    "stages": _Key(_stages, False),
    "dependencies": _Key(lambda place, value: Dependencies(**_section(place, value, _DEPENDENCIES)), False),
}


# --- what has to fit together


def _check(policy: Policy) -> None:
    if not policy.metrics:
        raise PolicyError("metrics", "must name at least one metric")
    if policy.opaque and policy.serving is not None:
        raise PolicyError("serving", "an opaque model is never loaded, so it cannot be served: leave one of them out")
    names = [metric.name for metric in policy.metrics]
    predictions = policy.predictions
    if policy.operating_point and not predictions:
        raise PolicyError("operating_point", "needs `predictions:`, the rows that the threshold sorts")
    if predictions and predictions.slices and predictions.slice_metric is None:
        raise PolicyError("predictions.slice_metric", "is missing: the metric to show for each slice")
    if predictions and predictions.slice_metric is not None:
        _check_metric(policy, "predictions.slice_metric", predictions.slice_metric, statistic=True)
    check_rebuild(policy)
    _check_gates(policy, "gates", policy.gates)
    before: list[str] = []
    for environment in policy.environments:
        place = f"environments.{environment.name}"
        if environment.after is not None and environment.after not in before:
            hint = nearest(environment.after, before)
            raise PolicyError(
                f"{place}.after", "must name an environment that is listed before this one", environment.after, hint
            )
        before.append(environment.name)
        _check_gates(policy, f"{place}.gates", environment.gates)
    if len({(metric.file, metric.key) for metric in policy.metrics}) < len(names):
        raise PolicyError("metrics", "two metrics have the same key of the same file")


def check_rebuild(policy: Policy, model: str | None = None) -> None:
    """Raise :class:`PolicyError` where a rebuild would not compare what a gate reads, or the ``model`` (its path)."""
    read = {metric.file: "a metrics file, which gates read" for metric in policy.metrics}
    if policy.predictions:
        read[policy.predictions.file] = "the predictions, which gates read"
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


def _check_gates(policy: Policy, place: str, gates: tuple[Gate, ...]) -> None:
    columns = list(policy.predictions.slices) if policy.predictions else []
    for index, gate in enumerate(gates):
        here = f"{place}[{index}]"
        metric, sliced = getattr(gate, "metric", None), gate.sliced_metric() is not None
        if metric is not None:
            shown = sliced or isinstance(gate, NoRegression | Improves)  # only an interval shows it
            _check_metric(policy, f"{here}.metric", metric, statistic=shown)
        if isinstance(gate, DataChecksPass) and policy.validation is None:
            raise PolicyError(here, "data checks need `validation:`, the file that holds them")
        if sliced and not columns:
            raise PolicyError(here, "slices need `predictions:` with `slices:`, the columns to slice by")
        for key in ("columns", "slices"):
            for column in getattr(gate, key, ()):
                if column not in columns:
                    raise PolicyError(f"{here}.{key}", "not a slice column", column, nearest(column, columns))
        if isinstance(gate, Gap) and not gate.slices:
            raise PolicyError(f"{here}.slices", "must name at least one slice column")


def _check_metric(policy: Policy, place: str, name: str, *, statistic: bool) -> None:
    names = [metric.name for metric in policy.metrics]
    if name not in names:
        raise PolicyError(place, "no such metric under `metrics:`", name, nearest(name, names))
    if statistic and policy.metric(name).statistic is None:
        raise PolicyError(place, "has no `statistic:` by which it could be computed anew", name)
