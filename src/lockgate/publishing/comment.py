"""The comment on a pull request: the result as Markdown, and around it what only the publishing half knows.

Pure. What an author wrote goes through :mod:`lockgate.rendering.escape`; what is said of commits and files comes from
git.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from lockgate.publishing.ledger import LookAt
from lockgate.publishing.measures import NOTHING, Measuring
from lockgate.rendering import escape
from lockgate.rendering.markdown import LIMIT
from lockgate.rendering.render import comment
from lockgate.result import AnyResult, Revision

ROOM = 512
"""Characters kept free for the watermark."""
LEAST = 16_384
"""Characters that are kept for the result itself: before it is shortened further, the patch is left out."""
PATCH_LINES = 400
MOST = 8
"""Files that a warning names."""
UNSHOWN = "**Lock:** its change cannot be shown here; `lockgate run` makes the same one."


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to tell of a run: a result, or why there is none. ``head`` is the commit that it was for, ``url``
    where the run's log is, ``measuring`` are the changed files that decide, or may decide, how the change is measured.

    ``withheld`` are the outputs for which the lock is not written to the branch. ``unverified`` names what of the
    result rests on the word of the run, ``allowed`` says that the policy takes it; ``models`` are the models of both
    policies, where there are several, and ``refused`` says of each of them what its policy does not take. ``looks`` are
    what publishing it shows of test sets, one of each model.
    """

    head: str
    url: str
    measuring: Measuring = NOTHING
    result: AnyResult | None = None
    error: str = ""
    misfit: str = ""
    failure: str = ""
    withheld: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    allowed: bool = False
    looks: tuple[LookAt, ...] = ()
    models: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    def with_result(self, result: AnyResult, base: Revision, head: Revision) -> Self:
        """Add the result; what its revisions are called, and which commits they are, is ours to say."""
        return replace(self, result=result.between(base, head))

    def with_error(self, error: str) -> Self:
        """Add why the run stopped before it had a result."""
        return replace(self, error=error)

    def with_misfit(self, reason: str) -> Self:
        """Add why what the run left is not shown."""
        return replace(self, misfit=reason)

    def with_failure(self, reason: str) -> Self:
        """Add why it could not be judged at all."""
        return replace(self, failure=reason)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the lock: ``commit`` has it, or ``patch`` is for the author to take; neither if it was there."""

    commit: str | None = None
    patch: str = ""


def text(told: Told, written: Written) -> str:
    """Return the comment, with its warnings no longer than GitHub takes."""
    warning, tail = _warning(told.measuring) + _unverified(told), _tail(told, written)
    least = _length(warning) + ROOM + LEAST
    if _length(tail) + least > LIMIT:
        tail = f"{UNSHOWN}\n\n{_tail(told, replace(written, patch=''))}"
    whole = f"{warning}{_body(told, LIMIT - ROOM - _length(warning) - _length(tail))}\n{tail}"
    return whole.encode("utf-8", "backslashreplace").decode()


def _warning(measuring: Measuring) -> str:
    said = []
    if measuring.by_rule:
        said.append(f"This pull request changes what measures it: {_names(measuring.by_rule)}. Read that first.")
    if measuring.opened:
        said.append(
            f"The run opened what this pull request changes, and no stage names as a dependency: "
            f"{_names(measuring.opened)}. Read that first: stages that need it did not run again for it."
        )
    if measuring.unknown:
        said.append(
            f"Changed, and neither an input of a stage nor a file that lockgate knows: {_names(measuring.unknown)}. "
            "Whether a stage reads it is not known; the policy may say that none does (`ignored: [FOLDER]`)."
        )
    if measuring.values:
        named = ", ".join(f"{escape.code(key)} in {escape.code(file)}" for file, key in measuring.values[:MOST])
        more = f" and {len(measuring.values) - MOST:,} more" if len(measuring.values) > MOST else ""
        said.append(f"Changed values that no stage names as a parameter, so none runs again for them: {named}{more}.")
    return "> [!WARNING]\n> " + "\n>\n> ".join(said) + "\n\n" if said else ""


def _names(files: tuple[str, ...]) -> str:
    more = f" and {len(files) - MOST:,} more" if len(files) > MOST else ""
    return ", ".join(escape.code(name) for name in files[:MOST]) + more


def _unverified(told: Told) -> str:
    if not told.unverified:
        return ""
    names = ", ".join(escape.code(name) for name in told.unverified[:8])
    cure = "The policy takes it." if told.allowed else "The status is not green (`unverified: allow` in the policy)."
    return f"> [!WARNING]\n> Figures rest on the word of the run: {names} could not be computed again here. {cure}\n\n"


def _body(told: Told, limit: int) -> str:
    if told.result is not None:
        return comment(told.result, limit)
    if told.failure:
        return f"### ⚠️ This run could not be judged, so nothing of it is shown\n\n{escape.text(told.failure)}\n"
    if told.misfit:
        return f"### ⚠️ The artifact of this run failed validation, so nothing is shown\n\n{escape.text(told.misfit)}\n"
    if told.error:
        return f"### ❌ The run stopped before it had a result\n\n{escape.block(told.error, 40)}\n"
    return "### ❌ The run left no result\n"


def _tail(told: Told, written: Written) -> str:
    parts = []
    if written.commit:
        parts.append(
            f"**Lock:** the lock of this run is on this branch as {written.commit[:10]}. Pull before you push."
        )
    if told.withheld:
        named = ", ".join(escape.code(name) for name in told.withheld[:5])
        more = f" and {len(told.withheld) - 5:,} more" if len(told.withheld) > 5 else ""
        parts.append(
            f"**Lock:** not written to this branch, because this run also changed {named}{more}, which git keeps and "
            "which is too large or not of a kind to be written for you. Run `lockgate run`, and commit both."
        )
    if written.patch and escape.log(written.patch, PATCH_LINES) != written.patch.strip("\n"):
        parts.append(UNSHOWN)
    elif written.patch:
        parts.append(
            "<details>\n<summary><b>The lock of this run</b>: take it with <code>git apply</code></summary>\n\n"
            f"{escape.block(written.patch, PATCH_LINES)}\n\n</details>"
        )
    parts.append(f'<sub>Computed for {told.head[:10]}. <a href="{escape.escaped(told.url)}">Log</a></sub>')
    return "\n\n".join(parts) + "\n"


def _length(text: str) -> int:
    """Characters as the strictest counter sees them: UTF-16 code units."""
    return len(text.encode("utf-16-le", "backslashreplace")) // 2
