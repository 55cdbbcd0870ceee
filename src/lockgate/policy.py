"""The policy, ``lockgate.yaml``: which artifact, metrics, predictions, gates and environments a repository has.

Everything is checked when the file is read, so that the rest of the program can trust it: a gate never names a metric
that the policy does not declare. What the *repository* lacks (a metrics file, a column) shows where it is
looked for.
"""

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from lockgate import policy_values as values
from lockgate.errors import NotAskedError, nearest
from lockgate.gates import CURRENT, KINDS, DataChecksPass, Gap, Gate, Improves, NoRegression
from lockgate.policy_values import FILE, Key, PolicyError
from lockgate.result import Better
from lockgate.strict_yaml import load, position

__all__ = ["FILE", "STATISTICS", "Policy", "PolicyError", "read_policy"]

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
Average = Literal["micro", "macro"]
AVERAGES: tuple[Average, ...] = ("micro", "macro")


@dataclass(frozen=True, slots=True)
class Metric:
    """A number of a metrics file. ``key`` is its dotted place in ``file``; ``statistic`` is how it can be computed anew
    from the predictions, ``None`` where it cannot: with which ``threshold`` (accuracy), in how many ``bins``
    (calibration error), with the column of ``weights`` that says how much each row counts, and whether rows or classes
    count alike (``average``).

    ``assumed``: the policy has no ``statistic:``, and the metric's name is that of one. Such a policy is older than the
    rule that nothing is guessed from a name: it is read as ever, and told to say what it means.
    """

    name: str
    file: str
    key: str
    better: Better
    statistic: Statistic | None
    threshold: float = 0.5
    bins: int = 10
    weights: str | None = None
    average: Average = "micro"
    assumed: bool = field(default=False, compare=False)


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
class Training:
    """How the luck of training is told from a change: the parameter that is the ``seed``, and how often a pull request
    repeats base's and head's training under other seeds (0: never)."""

    seed: str
    repeats: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """What ``lockgate.yaml`` says. ``train`` is about the luck of training, see docs/statistics.md.

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
    train: Training | None
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


class NoPolicy(NotAskedError):  # noqa: N818 - named for what the user reads
    """Neither base nor head has a policy."""

    def __init__(self) -> None:
        """Say what is to be written."""
        super().__init__(
            f"there is no {FILE}, so there are no rules to judge by",
            "Write one: the model's name, its metrics and the gates they have to pass.",
        )


def read_policy(text: str | bytes) -> Policy:
    """Return the policy written in ``text``.

    Raises :class:`~lockgate.strict_yaml.YamlError` if it is no unambiguous YAML, :class:`PolicyError` naming line,
    column and place of the first key that is unknown, missing, mistyped or impossible.
    """
    document = load(text, FILE) or {}
    try:
        read = values.section("", document, _POLICY)
        model, opaque = read.pop("model")
        empty = {"predictions": None, "validation": None, "plots": (), "train": None, "gates": (), "environments": ()}
        read = _with_older_seed(read)
        policy = Policy(model=model, opaque=opaque, **empty | read)
        _check(policy)
    except PolicyError as error:
        raise error.at(position(text, values.keys_of(error.place, document), FILE)) from None
    return policy


# --- nouns

_METRIC = {
    "file": Key(values.path, help="the metrics file: JSON, YAML or TOML"),
    "key": Key(values.text, help="the dotted place of the number in the file"),
    "better": Key(values.one_of("higher", "lower"), help="which way the metric is better"),
    "statistic": Key(
        values.or_nothing(values.one_of(*STATISTICS)),
        False,
        "how it can be computed anew from label and score, for intervals, slices and gates; `null`: it cannot",
    ),
    "threshold": Key(values.share, False, "accuracy: the score from which a row counts as true (default 0.5)"),
    "bins": Key(values.count, False, "calibration_error: the number of equal bins (default 10)"),
    "weights": Key(values.text, False, "the column of the predictions that says how much each row counts"),
    "average": Key(
        values.one_of(*AVERAGES),
        False,
        "log_loss, brier and accuracy: `micro` (the default), every row counts alike; `macro`, every class does",
    ),
}
_PREDICTIONS = {
    "file": Key(values.path, help="Parquet or CSV: a row for each test row"),
    "key": Key(values.list_of(values.text), help="the columns that name a row"),
    "label": Key(values.text, help="the column of what happened, 0 or 1"),
    "score": Key(values.text, help="the column of the model's score"),
    "slices": Key(values.list_of(values.text), False, "the columns to slice by"),
    "slice_metric": Key(values.text, False, "the metric that is shown for each slice"),
    "cluster": Key(values.list_of(values.text), False, "the columns whose values tell which rows were drawn together"),
    "period": Key(
        values.one_of("week", "month"), False, "the rows of one week or month of the cluster's date go together"
    ),
    "missing": Key(values.share, False, "the share of base's rows that head may lack (default 0)"),
}
_SERVING = {
    "code": Key(values.path, help="the folder of the package that loads the model"),
    "entry": Key(values.function, help="the function that loads the model file: `package.module:function`"),
    "request": Key(values.function, help="the function that says what a request looks like"),
    "samples": Key(values.path, help="the table whose rows become the sample requests of a release"),
    "unknown_categories": Key(
        values.one_of("count", "refuse"), False, "what a service does with a value that the model was not trained on"
    ),
}
_DEPENDENCIES = {
    "lock": Key(values.path, help="the lock of the packages that the stages run with"),
    "python": Key(values.python_version, help="the version of Python it is for, in quotes"),
    "build": Key(values.path, False, "a lock of what source distributions are built with"),
}
_PLOT = {
    "file": Key(values.path, help="the file of points"),
    "title": Key(values.text, help="what the curve is called"),
    "x": Key(values.text, help="the column of x"),
    "y": Key(values.text, help="the column of y"),
    "diagonal": Key(values.flag, False, "draw the line on which a good model's points lie"),
    "rows": Key(values.text, False, "the column that says how many rows stand behind a point"),
}
_COSTS = {
    "missed": Key(values.amount, help="what one missed row costs"),
    "false_alarm": Key(values.amount, help="what one false alarm costs"),
}
_OPERATING_POINT = {
    "threshold": Key(values.share, False, "the score from which a row counts as true where the model is used"),
    "positives": Key(values.text, False, "what a true row is called"),
    "costs": Key(values.noun(dict[str, float], _COSTS), False, "what an error costs; the threshold is found from it"),
}
_IMPORTANCE = {
    "file": Key(values.path, help="the file with what the model loses without each column"),
    "column": Key(values.text, help="the key that names the column"),
    "value": Key(values.text, help="the key of the loss"),
    "error": Key(values.text, False, "the key of its standard error"),
}
_TABLE = {
    "file": Key(values.path, help="a table of the pipeline"),
    "date": Key(values.text, False, "its column of dates"),
    "columns": Key(values.list_of(values.text), False, "the columns to compare (default: all of them)"),
}
_STAGES = {
    "pass": Key(values.list_of(values.variable), False, "environment variables that the commands of stages get"),
    "network": Key(values.flag, False, "whether stages reach the network: always or never"),
    "isolation": Key(
        values.one_of("required", "best-effort"), False, "whether `admit` and `release` refuse a machine without it"
    ),
}


@values.takes({"oneOf": [kind.schema() for kind in KINDS.values()]})
def _gate(place: str, value: Any) -> Gate:
    given = values.mapping(place, value)
    if "kind" not in given:
        raise PolicyError(f"{place}.kind", f"is missing: one of {', '.join(CURRENT)}")
    kind = KINDS[_kind(f"{place}.kind", given["kind"])]
    read = values.section(place, given, {"kind": Key(values.text), **kind.keys()})
    return kind(**{key: item for key, item in read.items() if key != "kind"})


def _kind(place: str, value: Any) -> str:
    if not isinstance(value, str) or value not in KINDS:
        hint = nearest(value, list(KINDS)) if isinstance(value, str) else ""
        raise PolicyError(place, f"must be one of {', '.join(CURRENT)}", value, hint)
    return value


_MODEL = {
    "name": Key(values.artifact_name, help="the model's name, as `artifacts:` of dvc.yaml has it"),
    "opaque": Key(values.flag, False, "the model file runs code when it is loaded, so Lockgate never loads it"),
}


@values.takes({"anyOf": [values.schema_of(values.artifact_name), values.schema_of_section(_MODEL)]})
def _model(place: str, value: Any) -> tuple[str, bool]:
    if not isinstance(value, dict):
        return values.artifact_name(place, value), False
    read = values.section(place, value, _MODEL)
    return read["name"], read.get("opaque", False)


def _metric(place: str, name: str, value: Any) -> Metric:
    read = values.section(place, value, _METRIC)
    assumed = "statistic" not in read and name in STATISTICS
    read.setdefault("statistic", name if assumed else None)
    statistic = read["statistic"]
    if statistic and read["better"] != STATISTICS[statistic]:
        raise PolicyError(f"{place}.better", f"{statistic} is better {STATISTICS[statistic]}", read["better"])
    for key, wanted in _BELONGS.items():
        if key in read and statistic not in wanted:
            named = " or ".join(wanted) if len(wanted) < len(STATISTICS) else "a metric that has one"
            raise PolicyError(f"{place}.{key}", f"belongs to the statistic {named} alone", read[key])
    return Metric(name, **read, assumed=assumed)


_BELONGS: dict[str, tuple[str, ...]] = {
    "threshold": ("accuracy",),
    "bins": ("calibration_error",),
    "average": ("log_loss", "brier", "accuracy"),
    "weights": tuple(STATISTICS),
}


@values.takes(values.schema_of_section(_PREDICTIONS))
def _predictions(place: str, value: Any) -> Predictions:
    read = values.section(place, value, _PREDICTIONS)
    if not read["key"]:
        raise PolicyError(f"{place}.key", "must name at least one column")
    if "period" in read and len(read.get("cluster", ())) != 1:
        raise PolicyError(f"{place}.period", "needs exactly one date column in `cluster`", read["period"])
    return Predictions(**{"slices": (), "slice_metric": None, **read})


@values.takes(values.schema_of_section(_OPERATING_POINT))
def _operating_point(place: str, value: Any) -> OperatingAt:
    """Read the threshold, or find it from the costs: a row is called true where its expected cost is smaller that way,
    from ``false_alarm / (false_alarm + missed)`` on (Elkan 2001)."""
    read = values.section(place, value, _OPERATING_POINT)
    costs = read.get("costs", {})
    both = sum(costs.values())
    if costs and not both:
        raise PolicyError(f"{place}.costs", "must not both be 0")
    if "threshold" not in read and not costs:
        raise PolicyError(f"{place}.threshold", "is missing: name the threshold, or the `costs` to find it from")
    threshold = read["threshold"] if "threshold" in read else costs["false_alarm"] / both
    return OperatingAt(threshold, read.get("positives", ""), costs.get("missed"), costs.get("false_alarm"))


_BY_VALUE = (".json", ".yaml", ".yml", ".toml", ".csv", ".tsv")
_TOLERANCE = {
    "relative": Key(values.amount, False, "numbers may differ by this share"),
    "absolute": Key(values.amount, False, "numbers may differ by this much"),
}


def _tolerance_of(place: str, path: str, value: Any) -> Tolerance:
    path = values.path(place, path)
    if PurePosixPath(path).suffix.lower() not in _BY_VALUE:
        raise PolicyError(place, f"only files of these kinds are compared by value: {', '.join(_BY_VALUE)}")
    found = Tolerance(path, **values.section(place, value, _TOLERANCE))
    if not found.relative and not found.absolute:
        raise PolicyError(place, "must have `relative:` or `absolute:`, above 0")
    return found


_ENVIRONMENT = {
    "after": Key(values.text, False, "the environment that a release has to be in before"),
    "rebuilt": Key(values.one_of("full", "none"), False, "which rebuild a release needs to enter"),
    "tolerated": Key(values.flag, False, "whether a rebuild counts in which an output was compared by value"),
    "gates": Key(values.list_of(_gate), False, "gates asked in addition to the policy's own"),
}


def _environment(place: str, name: str, value: Any) -> Environment:
    if not re.fullmatch(values.TAGGED, name):
        rule = "letters, digits, '_' and '-', with a letter or digit at both ends"
        raise PolicyError(place, f"GTO cannot tag this name: an environment's name must have {rule}")
    read = values.section(place, value or {}, _ENVIRONMENT)
    return Environment(name, **{"after": None, "rebuilt": "none", "gates": (), **read})


@values.takes({"type": "integer", "minimum": 2})
def _repeats(place: str, value: Any) -> int:
    number = values.count(place, value)
    if number < 2:
        raise PolicyError(place, "must be 2 or more: one repeat shows no spread", value)
    return number


_TRAINING = {
    "seed": Key(values.text, help="the parameter that is the seed, such as train.seed"),
    "repeats": Key(_repeats, False, "how often a pull request repeats the training of base and of head"),
}


def _with_older_seed(read: dict[str, Any]) -> dict[str, Any]:
    """Take the older key ``seed`` for ``train: {seed: …}``."""
    if "seed" not in read:
        return read
    seed = read.pop("seed")
    if "train" in read:
        raise PolicyError("seed", "stands in `train:` as well: leave the older of the two out", seed)
    return {**read, "train": Training(seed)}


def _stages(**read: Any) -> Stages:
    if "pass" in read:
        read["passed"] = read.pop("pass")
    return Stages(**read)


_REBUILD = {
    "tolerate": Key(
        values.mapping_of(_tolerance_of, values.schema_of_section(_TOLERANCE)), False, "outputs compared by value"
    ),
    "leave_out": Key(values.list_of(values.path), False, "outputs that a rebuild does not compare"),
}
_POLICY = {
    "model": Key(_model, help="the model's name, as `artifacts:` of dvc.yaml has it"),
    "metrics": Key(
        values.mapping_of(_metric, values.schema_of_section(_METRIC)), help="the numbers that are shown and judged"
    ),
    "predictions": Key(_predictions, False, "the per-row predictions that intervals and slices are found from"),
    "validation": Key(values.path, False, "the file of the data checks"),
    "plots": Key(values.list_of(values.noun(Plot, _PLOT)), False, "curves to draw"),
    "operating_point": Key(_operating_point, False, "where the model is used: the threshold, or the costs of errors"),
    "importance": Key(values.noun(ImportanceFile, _IMPORTANCE), False, "the importance of columns, to be shown"),
    "data": Key(values.list_of(values.noun(Table, _TABLE)), False, "tables to compare between base and head"),
    "train": Key(values.noun(Training, _TRAINING), False, "how the luck of training is told from a change"),
    "seed": Key(values.text, False, "the older spelling of `train: {seed: …}`"),
    "gates": Key(values.list_of(_gate), False, "the rules that have to hold: docs/gates.md"),
    "environments": Key(
        values.mapping_of(
            _environment,
            {"anyOf": [values.schema_of_section(_ENVIRONMENT), {"type": "null"}]},
            f"^{values.TAGGED}$",
        ),
        False,
        "the places that releases are promoted to, in their order",
    ),
    "lock": Key(
        values.one_of("reproduced", "claimed"), False, "whether a check computes the author's lock again, or shows it"
    ),
    "withdrawn": Key(values.one_of("warn", "refuse"), False, "what those who use a withdrawn release are to do"),
    "unverified": Key(
        values.one_of("refuse", "allow"), False, "whether figures that only the run itself computed may pass"
    ),
    "serving": Key(values.noun(Serving, _SERVING), False, "what a release carries so that it can be served"),
    "stages": Key(values.noun(_stages, _STAGES), False, "what the commands of stages get from outside"),
    "dependencies": Key(values.noun(Dependencies, _DEPENDENCIES), False, "the locked packages that stages run with"),
    "rebuild": Key(
        values.noun(lambda tolerate=(), leave_out=(): Rebuilding(tolerate, leave_out), _REBUILD),
        False,
        "outputs that differ from run to run, and how a rebuild takes them",
    ),
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of the file, as published in docs/lockgate.schema.json, by which editors complete it.

    What has to fit together (a gate names a metric that exists) is checked when the file is read.
    """
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": FILE,
        "description": "The policy of a repository: what is judged, and what has to hold.",
        **values.schema_of_section(_POLICY),
    }


def older_words(policy: Policy) -> tuple[str, ...]:
    """Say which words of the policy have newer ones, and what was taken from a name."""
    asked = [*policy.gates, *(gate for place in policy.environments for gate in place.gates)]
    newer = {gate.kind: gate.replaced_by for gate in asked if gate.replaced_by}
    named = ", ".join(f"`{kind}` (now `{word}`)" for kind, word in newer.items())
    assumed = ", ".join(f"`statistic: {metric.statistic}`" for metric in policy.metrics if metric.assumed)
    said = []
    if named:
        said.append(f"The policy uses older kinds of gates, which keep their meaning: {named}; see docs/gates.md.")
    if assumed:
        said.append(
            f"A metric's name is taken for the way it is computed, because the policy does not say it: add {assumed}."
        )
    return tuple(said)


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
