"""The model card of a release, in Markdown: what the model is, how good, for whom worse, from what, how to check it.

Pure. All that the repository's authors wrote is escaped as in a comment (:mod:`lockgate.rendering.escape`), so that the
card can stand as the text of a GitHub release.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lockgate.formatting import fixed, size
from lockgate.gates.gate import change_in_words
from lockgate.rendering.escape import code, text
from lockgate.result import Result, SliceChange

SLICES = 12  # rows of the table of slices: those where the model is worst
ENOUGH = 100  # test rows of a slice that is shown
ROWS = 100  # rows of any other table


@dataclass(frozen=True, slots=True)
class About:
    """What the card says beside the result. ``files`` are the model's own, path → bytes; ``level`` is of the rebuild.

    ``params`` is file → key → value as text, ``data`` path → DVC's hash of every input that no stage makes,
    ``environment`` path → SHA-256 of the locks of packages. ``previous`` is the release that it is compared with.
    """

    name: str
    version: str
    description: str
    labels: tuple[str, ...]
    commit: str
    date: str
    level: str
    previous: str | None
    files: Mapping[str, int]
    params: Mapping[str, Mapping[str, str]]
    data: Mapping[str, str]
    environment: Mapping[str, str]
    opaque: bool = False
    tolerated: str = ""


SEALED = (
    "The model file is opaque: loading it may run any code that it holds (a pickle does). Its bytes are what was "
    "released and signed; Lockgate never loads it, and neither serves it nor scores with it."
)


def card(about: About, result: Result, slices: Sequence[SliceChange]) -> str:
    """Return the model card. ``slices`` are shown by the figures of head."""
    sections = [
        _head(about),
        _metrics(about, result),
        _slices(result, slices),
        _gates(result),
        _checks(result),
        _made(about),
        _use(about),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


_LEVELS = {
    "full": "Every stage ran again from its source in a temporary clone; every output had its hash of dvc.lock.",
    "train": "The model's stage and what follows ran in a temporary clone; every output had its hash of dvc.lock.",
    "none": "Nothing ran again for this release: that dvc.lock came from this code is what its author says, unchecked.",
}


def _head(about: About) -> str:
    lines = [f"# {text(about.name)} {text(about.version)}"]
    if about.description:
        lines += ["", text(about.description)]
    if about.opaque:
        lines += ["", f"**{SEALED}**"]
    lines += [
        "",
        *_table(
            ("", ""),
            [
                ("commit", f"{code(about.commit)}, {about.date}"),
                ("model", ", ".join(f"{code(path)} ({size(length)})" for path, length in about.files.items())),
                ("rebuild", _LEVELS[about.level] + (f" But: {text(about.tolerated)}." if about.tolerated else "")),
                *([("labels", ", ".join(code(label) for label in about.labels))] if about.labels else []),
            ],
        ),
    ]
    return "\n".join(lines)


def _metrics(about: About, result: Result) -> str:
    title = "## How good it is\n\n"
    rows_of = result.comparison.rows_head
    counted = f"On {rows_of:,} test rows. " if rows_of else ""
    if about.previous is None:
        rows = [(code(one.name), _arrow(one.better), _figure(one.head)) for one in result.metrics]
        return title + counted + "The first release.\n\n" + "\n".join(_table(("metric", "better", "value"), rows, "ll"))
    compared = [
        (code(one.name), _arrow(one.better), _figure(one.base), _figure(one.head), change_in_words(one), one.judgement)
        for one in result.metrics
    ]
    lead = f"{counted}Changes since {text(about.previous)} with 95 % intervals, where rows could be paired.\n\n"
    heads = ("metric", "better", about.previous, about.version, "change", "")
    return title + lead + "\n".join(_table(tuple(text(head) for head in heads), compared, "ll"))


def _slices(result: Result, slices: Sequence[SliceChange]) -> str:
    known = [one for one in slices if one.head is not None and one.rows >= ENOUGH]
    if not known:
        return ""
    metric = known[0].metric
    sign = next((1 if one.better == "higher" else -1 for one in result.metrics if one.name == metric), 1)
    asked = [one for one in known if one.metric == metric]
    worst = sorted(asked, key=lambda one: (sign * (one.head or 0.0), one.column, one.value))
    rows = [(code(one.column), code(one.value), f"{one.rows:,}", _figure(one.head)) for one in worst[:SLICES]]
    more = f", the {SLICES} worst of {len(worst)}" if len(worst) > SLICES else ""
    lead = f"## Where it is worse\n\n{code(metric)} on slices of {ENOUGH} test rows or more{more}.\n\n"
    return lead + "\n".join(_table(("column", "value", "rows", text(metric)), rows, "ll"))


def _gates(result: Result) -> str:
    if not result.gates:
        return ""
    rows = [
        (text(gate.rule), text(gate.measured or gate.reason), "holds" if gate.passed else "FAILS")
        for gate in result.gates
    ]
    return "## Gates\n\n" + "\n".join(_table(("rule", "measured", ""), rows, "lll"))


def _checks(result: Result) -> str:
    if result.checks is None or result.checks.note:
        return ""
    failed = len(result.checks.failed)
    said = f"{result.checks.expectations:,} expectations on {result.checks.suites:,} tables, {failed:,} not met."
    rows = [(code(one.table), text(one.rule), one.severity, f"{one.failures:,}") for one in result.checks.failed]
    table = "\n\n" + "\n".join(_table(("table", "expectation", "severity", "rows"), rows, "lll")) if rows else ""
    return f"## Its data\n\n{said}{table}"


def _made(about: About) -> str:
    parts = ["## How it was made"]
    for file, values in about.params.items():
        rows = [(code(key), code(value)) for key, value in values.items()]
        parts.append(f"{code(file)}:\n\n" + "\n".join(_table(("parameter", "value"), rows, "ll")))
    inputs = [(code(path), code(digest)) for path, digest in (*about.data.items(), *about.environment.items())]
    if inputs:
        parts.append("\n".join(_table(("input", "hash"), inputs, "ll")))
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _use(about: About) -> str:
    release = f"{about.name}@{about.version}"
    return "\n".join(
        [
            "## How to check it",
            "",
            "```console",
            f"$ lockgate fetch {release} FOLDER --public-key lockgate.pub   # signature, manifest, every byte",
            f"$ lockgate rebuild {release}                                  # from its source data, hash by hash",
            "```",
        ]
    )


def _arrow(better: str) -> str:
    return "↑" if better == "higher" else "↓"


def _figure(value: float | None) -> str:
    if value is None:
        return "—"
    return fixed(value, 0 if value == int(value) and abs(value) >= 100 else 4)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]], left: str = "") -> list[str]:
    """Return a table whose first ``len(left)`` columns stand to the left, the others to the right."""
    every = list(rows)
    rule = ["---" if place < len(left) or not left else "---:" for place in range(len(head))]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *every[:ROWS])]
    lines.insert(1, f"|{'|'.join(rule)}|")
    return [*lines, *([f"\n{len(every) - ROWS:,} more are not shown."] if len(every) > ROWS else [])]
