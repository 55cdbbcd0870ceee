"""What is proposed to a repository: each file, line by line, with the reason for each line.

Nothing here reads or writes anything: from what was found, a proposal is made.
"""

import json
import math
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from lockgate import policy
from lockgate.adoption import kinds
from lockgate.adoption.found import Found, FoundMetric, FoundModel
from lockgate.adoption.pin import Pin
from lockgate.adoption.workflows import path_of
from lockgate.formatting import count
from lockgate.result import Better

MARK = "# Proposed by `lockgate init`"
WORKFLOWS = ("pull-request", "publish", "main")
REPEATS = ("repeats",)
TAG_WORKFLOWS = ("release", "promote", "withdraw")
AFTERWARDS = ("monitor", "retrain")
LOCK = "requirements.lock"
GATED = 3
"""Metrics that a gate is proposed for, at most."""
TOLERATED = 0.02
"""Share of a metric's value that it may get worse by, where nothing shows what is noise."""
_PREFERRED = ("roc_auc", "average_precision", "log_loss", "f1", "accuracy", "r2", "rmse", "mae", "loss", "auc", "brier")


Say = Callable[[str, str], None]
"""Adds a line of the policy, and the reason for it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a proposed file, and why it is there."""

    file: str
    says: str
    why: str


@dataclass(frozen=True)
class Proposal:
    """The files as they would be, the reason for each line, and what a person has to look at.

    ``files`` are whole texts by path in the project, also of those that only get lines at their end.
    """

    files: Mapping[str, str]
    lines: tuple[Line, ...]
    open: tuple[str, ...]
    policy_text: str
    declared: str = ""
    """What is added to ``dvc.yaml``, if anything is."""


def propose(  # noqa: PLR0913 - what a proposal is made of
    found: Found,
    pin: Pin | None,
    *,
    branch: str,
    directions: Mapping[str, Better],
    margins: Mapping[str, float],
    lock: str | None,
    templates: Mapping[str, str],
    project: str = "",
) -> Proposal:
    """Return what ``found`` is proposed. ``directions`` are those that a person named, ``margins`` what the test rows
    can show, ``lock`` the text of a lock that was made of the repository's requirements, ``templates`` the workflows,
    ``project`` the folder of the repository that it is in.

    What is there already is not proposed again: see :func:`lockgate.adoption.change.difference`.
    """
    lines: list[Line] = []
    opened: list[str] = []
    text = _policy(
        found, directions, margins, lock, lines, opened, releases="release" in templates, schema=_schema(pin)
    )
    files = {policy.FILE: text}
    if lock is not None:
        files[LOCK] = f"{MARK} from {found.packages.inputs[0]}; `uv pip compile` makes it anew.\n{lock}"
        lines.append(
            Line(LOCK, "every package of the stages, pinned and hashed", f"made from {found.packages.inputs[0]}")
        )
    if pin is not None:
        for name, template in templates.items():
            path = path_of(name, project)
            files[path] = rendered(template, pin, branch)
            lines.append(Line(path, _first_comment(template), f"calls Lockgate {pin.version} at one commit"))
    for path, content in found.unkept.items():
        files[path] = content.decode("utf-8", "surrogateescape")
        lines.append(
            Line(path, "the figures of the last run", "no commit had them, so there was nothing to compare with")
        )
    declared = _declaring(found, found.model) if found.model is not None and not found.model.declared else None
    if declared is not None and found.model is not None:
        files["dvc.yaml"] = _text(found, "dvc.yaml") + declared
        lines.append(
            Line("dvc.yaml", f"artifacts: {found.model.name}", "a release ships what DVC and GTO call an artifact")
        )
    for path, wanted, why in _lines_of_git(found):
        before = _text(found, path)
        missing = [one for one in wanted if one not in before.splitlines()]
        if missing:
            files[path] = f"{_ended(before)}{''.join(f'{one}{chr(10)}' for one in missing)}"
            lines += [Line(path, one, why) for one in missing]
    opened += _left_open(found)
    return Proposal(files, tuple(lines), tuple(opened), text, declared or "")


def _schema(pin: Pin | None) -> str:
    """Return where the schema of the policy is published, by which editors complete the file."""
    return f"https://raw.githubusercontent.com/{pin.repository}/{pin.commit}/docs/lockgate.schema.json" if pin else ""


def rendered(template: str, pin: Pin, branch: str) -> str:
    """Return a workflow with the pin and the default branch in their places."""
    places = {"@LOCKGATE@": pin.repository, "@COMMIT@": pin.commit, "@VERSION@": pin.version, "@BRANCH@": branch}
    return re.sub("|".join(places), lambda place: places[place[0]], template)


def chosen(found: Found, directions: Mapping[str, Better]) -> list[FoundMetric]:
    """Return the metrics whose direction is known, the most telling first: those on test rows before those on training
    rows, those with a statistic before bare numbers."""
    known = [_directed(metric, directions) for metric in found.metrics]

    def order(item: tuple[int, FoundMetric]) -> tuple[bool, bool, int, int]:
        index, metric = item
        rank = next(
            (n for n, name in enumerate(_PREFERRED) if name in (metric.statistic or metric.name)), len(_PREFERRED)
        )
        return metric.of_training, metric.statistic is None, rank, index

    return [metric for _, metric in sorted(enumerate(one for one in known if one.better), key=order)]


def undirected(found: Found, directions: Mapping[str, Better]) -> list[FoundMetric]:
    """Return the metrics whose name does not say which way is better."""
    return [metric for metric in found.metrics if _directed(metric, directions).better is None]


def gated(found: Found, directions: Mapping[str, Better]) -> list[FoundMetric]:
    """Return the metrics that a gate is proposed for."""
    return [metric for metric in chosen(found, directions) if not metric.of_training][:GATED]


def _directed(metric: FoundMetric, directions: Mapping[str, Better]) -> FoundMetric:
    from dataclasses import replace

    named = directions.get(metric.name)
    return replace(metric, better=named) if named and metric.statistic is None else metric


# --- lockgate.yaml


def _policy(  # noqa: PLR0913 - what the file is made of
    found: Found,
    directions: Mapping[str, Better],
    margins: Mapping[str, float],
    lock: str | None,
    lines: list[Line],
    opened: list[str],
    *,
    releases: bool,
    schema: str,
) -> str:
    def say(says: str, why: str) -> None:
        lines.append(Line(policy.FILE, says, why))

    parts = [f"{MARK}: what a reviewer is shown, and what must hold. It is yours to change.\n"]
    parts += [f"# yaml-language-server: $schema={schema}\n"] if schema else []
    if found.parts:
        told = ("".join(_model_among_several(one, directions, margins, lines, opened)) for one in found.parts)
        parts += ["\nmodels:\n", "\n".join(one for one in told if one)]
    else:
        described = _model_of(found)
        parts.append(f"model: {described}\n\n")
        say(f"model: {described}", _why_model(found.model))
        parts += _sections(found, directions, margins, say, opened)
    parts += _dependencies_of(found, lock, say)
    if found.unread:
        parts.append(f"\nignored: {flow_list(found.unread)}\n")
        say(f"ignored: {flow_list(found.unread)}", "no stage reads these folders: a change there is no warning")
    if releases:
        parts.append("\nenvironments:\n  staging: {}\n  production: {after: staging, rebuilt: full}\n")
        say("environments: staging, production", "a release goes to production after staging, rebuilt byte for byte")
    return "".join(parts)


def _model_among_several(
    part: Found,
    directions: Mapping[str, Better],
    margins: Mapping[str, float],
    lines: list[Line],
    opened: list[str],
) -> Iterator[str]:
    """Yield the policy of one of several models, below ``models:``."""
    name = name_among_several(part)

    def say(says: str, why: str) -> None:
        lines.append(Line(policy.FILE, f"models.{name}: {says}", why))

    file = part.state.pipeline.stages[0].file
    if not chosen(part, directions):
        opened.append(
            f"{name} is left out: of no metric of {file} is it known which way is better (--better NAME=higher)."
        )
        return
    yield f"  {scalar(name)}:\n"
    say(name, f"the pipeline of {file} has metrics and a model of its own")
    if part.model is not None and not part.model.declared:
        stem = name.rpartition(":")[2]
        place = posixpath.relpath(part.model.path, posixpath.dirname(file) or ".")
        opened.append(
            f"Add to {file}, so that {name} can be released: artifacts: {{{stem}: {{path: {place}, type: model}}}}"
        )
    if part.model is not None and part.model.is_opaque:
        yield "    opaque: true\n"
        say("opaque: true", "loading it may run code, so Lockgate never does")
    own = {key.removeprefix(f"{name}/"): value for key, value in margins.items() if key.startswith(f"{name}/")}
    for line in "".join(_sections(part, directions, own, say, opened)).splitlines():
        yield f"    {line}\n" if line else "\n"


def name_among_several(part: Found) -> str:
    """Return what one of several models is called: its artifact's name, else its folder's and its file's."""
    if part.model is None or part.model.declared:
        return part.model.name if part.model else ""
    folder = posixpath.dirname(part.state.pipeline.stages[0].file)
    return f"{folder}:{part.model.name}" if folder else part.model.name


def _sections(
    found: Found, directions: Mapping[str, Better], margins: Mapping[str, float], say: Say, opened: list[str]
) -> list[str]:
    """Return the sections of one model: metrics, predictions, plots, the seed and gates."""
    metrics = chosen(found, directions)
    parts = ["metrics:\n", *_metric_lines(metrics, say, compared=found.predictions is not None)]
    unknown = undirected(found, directions)
    parts += [f"  # {metric.name}: {_metric_flow(metric, 'higher or lower?', compared=False)}\n" for metric in unknown]
    if unknown:
        named = ", ".join(metric.name for metric in unknown[:5]) + (" …" if len(unknown) > 5 else "")
        opened.append(
            f"Which way is better is not known of {named}: run lockgate init --better NAME=higher, or "
            f"complete {policy.FILE}."
        )
    parts += _predictions_of(found, metrics, say)
    parts += _plots_of(found, say)
    if found.seed:
        parts.append(f"\ntrain: {{seed: {scalar(found.seed)}}}\n")
        say(f"train.seed: {found.seed}", "what lockgate report --seeds varies, to show how much is luck")
    parts += ["\ngates:\n", *_gate_lines(found, directions, margins, say)]
    return parts


def _model_of(found: Found) -> str:
    name = found.model.name if found.model else _repository_name(found)
    return f"{{name: {scalar(name)}, opaque: true}}" if found.model and found.model.is_opaque else scalar(name)


def _repository_name(found: Found) -> str:
    last = posixpath.basename(found.forge.repository.rstrip("/")) or "model"
    return re.sub(r"[^A-Za-z0-9_-]+", "-", last).strip("-_") or "model"


def _why_model(model: FoundModel | None) -> str:
    if model is None:
        return "no output looks like a model: the name of the repository stands for it"
    where = "the artifact of dvc.yaml" if model.declared else f"the output {model.path}"
    return f"{where}; loading it may run code, so Lockgate never does" if model.is_opaque else where


def _metric_lines(metrics: Iterable[FoundMetric], say: Say, *, compared: bool) -> Iterator[str]:
    for metric in metrics:
        flow = _metric_flow(metric, metric.better or "higher", compared=compared)
        yield f"  {scalar(metric.name)}: {flow}\n"
        why = f"now {metric.value:.6g}; {metric.better} is better"
        if metric.statistic:
            why += f"; the predictions give the same {metric.statistic}, so changes get an interval"
        say(f"{metric.name}: {flow}", f"{why}{', on training rows: shown, not gated' if metric.of_training else ''}")


def _metric_flow(metric: FoundMetric, better: str, *, compared: bool) -> str:
    flow = f"file: {scalar(metric.file)}, key: {scalar(metric.key)}, better: {better}"
    if metric.statistic:
        flow += f", statistic: {metric.statistic}"
    elif not metric.statistic and compared and metric.name in policy.ASSUMED:
        flow += ", statistic: null"
    return f"{{{flow}}}"


def _predictions_of(found: Found, metrics: list[FoundMetric], say: Say) -> Iterator[str]:
    table = found.predictions
    if table is None:
        return
    shown = next((metric.name for metric in metrics if metric.statistic), None)
    yield f"\npredictions:\n  file: {scalar(table.file)}\n  key: {flow_list(table.key)}\n"
    say(f"predictions.file: {table.file}", "rows are compared one by one, so that a change has an interval")
    say(f"predictions.key: {flow_list(table.key)}", found.prediction_columns.get("key", ""))
    for key, value in kinds.lines(table, scalar):
        yield f"  {key}: {value}\n"
        say(f"predictions.{key}: {value}", found.prediction_columns.get(key, "what the columns hold"))
    if table.cluster:
        yield f"  cluster: {flow_list(table.cluster)}\n"
        say(f"predictions.cluster: {flow_list(table.cluster)}", found.prediction_columns.get("cluster", ""))
    if table.slices and shown:
        yield f"  slices: {flow_list(table.slices)}\n  slice_metric: {scalar(shown)}\n"
        say(f"predictions.slices: {flow_list(table.slices)}", found.prediction_columns.get("slices", ""))


def _plots_of(found: Found, say: Say) -> Iterator[str]:
    if not found.plots:
        return
    yield "\nplots:\n"
    for path, x, y in found.plots:
        title = posixpath.splitext(posixpath.basename(path))[0].replace("_", " ")
        yield f"  - {{file: {scalar(path)}, title: {scalar(title)}, x: {scalar(x)}, y: {scalar(y)}}}\n"
        say(f"plots: {path}", "drawn for base and head")


def _gate_lines(
    found: Found, directions: Mapping[str, Better], margins: Mapping[str, float], say: Say
) -> Iterator[str]:
    def line(rule: str, why: str) -> str:
        say(f"gates: {rule}", why)
        return f"  - {{{rule}}}\n"

    for metric in gated(found, directions):
        if metric.statistic and metric.name in margins:
            margin = rounded_up(margins[metric.name])
            yield line(
                f"kind: no-regression, metric: {scalar(metric.name)}, margin: {margin:g}",
                f"an equally good model keeps {margin:g} four times in five on these test rows, says lockgate power",
            )
        else:
            tolerance = rounded_up(max(TOLERATED * abs(metric.value), _least(metric)))
            kind, limit, more = "no-worse", "tolerance", ""
            if metric.statistic:  # the rows may be too few for a guess: then a person looks
                kind, limit, more = "no-regression", "margin", ", unshown: look"
            yield line(
                f"kind: {kind}, metric: {scalar(metric.name)}, {limit}: {tolerance:g}{more}",
                f"about {TOLERATED:.0%} of today's value: nothing here shows what is noise, so look at it again",
            )
    yield line("kind: metrics-present", "a metric that disappears is no pass")
    if found.model is not None and found.model.bytes:
        yield line("kind: model-growth, at_most: 2", "a model twice as large is worth a look")


def _least(metric: FoundMetric) -> float:
    """Return what is tolerated at least: a share such as an accuracy or R² near 0 has no useful per cent of itself."""
    return 0.005 if metric.better == "higher" and abs(metric.value) <= 1 else 0.0 if metric.value else 0.01


def _dependencies_of(found: Found, lock: str | None, say: Say) -> Iterator[str]:
    path = LOCK if lock is not None else found.packages.lock
    if path is None:
        return
    python = found.packages.python or DEFAULT_PYTHON
    yield f'\ndependencies:\n  lock: {scalar(path)}\n  python: "{python}"\n'
    say(f"dependencies.lock: {path}", "what stages run with: in the check of a pull request, a rebuild and a release")


DEFAULT_PYTHON = "3.11"


# --- files that are there already


def _declaring(found: Found, model: FoundModel) -> str | None:
    """Return what is added to ``dvc.yaml`` to declare the model; ``None`` where it has artifacts, or no such output."""
    producer = found.state.pipeline.producers.get(model.path)
    before = _text(found, "dvc.yaml")
    if producer is None or producer.file != "dvc.yaml" or re.search(r"^artifacts\s*:", before, re.MULTILINE):
        return None
    end = "\r\n" if "\r\n" in before else "\n"
    block = [MARK, "artifacts:", f"  {scalar(model.name)}:", f"    path: {scalar(model.path)}", "    type: model", ""]
    return (end if before and not before.endswith("\n") else "") + end.join(block)


def _lines_of_git(found: Found) -> Iterator[tuple[str, tuple[str, ...], str]]:
    kept = [out.path for stage in found.state.pipeline.stages for out in stage.outs if not out.cached]
    pipeline, lock = found.state.pipeline, found.state.lock
    folders = {path for path in kept if (one := pipeline.recorded(lock, path)) is not None and one.is_folder}
    patterns = [f"{path}/**" if path in folders else path for path in kept if not re.search(r"\s", path)]
    texts = tuple(f"{pattern} merge=lockgate-output" for pattern in patterns)
    yield (
        ".gitattributes",
        ("dvc.lock merge=lockgate", *texts),
        "after lockgate setup-git, two branches merge without a conflict",
    )
    yield ".gitignore", ("/.lockgate/", "/handover/"), "what Lockgate leaves in a working tree"


def _left_open(found: Found) -> Iterator[str]:
    yield from found.notes
    if found.model is not None and found.model.others:
        others = count(found.model.others, "other output")
        yield f"That {found.model.path} is the model is a guess ({others} may be): see dvc.yaml and {policy.FILE}."
    if found.remote is None:
        yield "DVC has no default remote, so a workflow cannot get the data: dvc remote add --default NAME URL."
    elif not re.match(r"[a-z0-9+.-]+://", found.remote):
        yield f"DVC's default remote is a folder ({posixpath.basename(found.remote)}), which a workflow does not see."
    if found.predictions is None:
        yield (
            "There are no predictions on test rows to compare, so a change has no interval. A table with an id, "
            "the label (0 or 1) and the score of each test row as an output of a stage gives one."
        )
    if not found.packages.lock and not found.packages.inputs:
        yield ("Nothing says which packages the stages need: commit a requirements.txt, and run lockgate init again.")
    if found.forge.kind != "github":
        where = {"gitlab": "GitLab", "": "no forge that git knows of"}.get(found.forge.kind, found.forge.repository)
        yield (
            f"The repository is on {where}: there are workflows for GitHub alone, so none is proposed. What works on "
            "any forge: `lockgate ci pull-request --base origin/BRANCH --into handover` as a job of its pipeline, "
            "which needs no rights, and `lockgate render handover/result.json --format md`. What does not: the "
            "comment, the status, writing dvc.lock back, admission after a merge."
        )


def _text(found: Found, path: str) -> str:
    return (found.state.snapshot.read(path) or b"").decode("utf-8", "surrogateescape")


def _ended(text: str, end: str = "\n") -> str:
    return text if not text or text.endswith("\n") else text + end


def _first_comment(template: str) -> str:
    lines = []
    for line in template.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines).partition(". ")[0].rstrip(".")


# --- YAML by hand, so that comments and order are ours


def scalar(text: str) -> str:
    """Return a text as YAML reads it back in a flow mapping: plain if it may be, else quoted."""
    plain = re.fullmatch(r"[A-Za-z_][\w./-]*(:[A-Za-z_][\w./-]*)?", text) and not _WORDS.fullmatch(text)
    return text if plain else json.dumps(text, ensure_ascii=False)


_WORDS = re.compile(r"y|n|yes|no|on|off|true|false|null|nan|inf|~", re.IGNORECASE)


def flow_list(names: Iterable[str]) -> str:
    """Return a list of texts in YAML's flow form."""
    return f"[{', '.join(scalar(name) for name in names)}]"


def rounded_up(value: float) -> float:
    """Return the next number of one significant digit."""
    if value <= 0:
        return 0.0
    place = 10.0 ** math.floor(math.log10(value))
    return float(f"{math.ceil(value / place - 1e-9) * place:.12g}")
