"""The comment on a pull request: the result as Markdown, and around it what only the publishing half knows.

Pure. What an author wrote goes through :mod:`lockgate.rendering.escape`; what is said of commits and files comes from
git.
"""

from dataclasses import dataclass, replace
from typing import Self

from lockgate.git import Commit
from lockgate.rendering import escape
from lockgate.rendering.markdown import LIMIT
from lockgate.rendering.render import render
from lockgate.result import Result, Revision

ROOM = 512
"""Characters kept free for the watermark."""
PATCH_LINES = 400
UNSHOWN = "**Lock:** its change cannot be shown here; `lockgate run` makes the same one."


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to tell of a run: a result, or why there is none. ``machinery`` are the changed files that decide
    how the change is measured, ``url`` is where the run's log is."""

    base: Commit
    head: Commit
    url: str
    machinery: tuple[str, ...]
    result: Result | None = None
    error: str = ""
    misfit: str = ""

    def with_result(self, result: Result) -> Self:
        """Add the result; what its revisions are called, and which commits they are, is ours to say."""
        base, head = (Revision(side.label, side.commit) for side in (self.base, self.head))
        return replace(self, result=replace(result, base=base, head=head))

    def with_error(self, error: str) -> Self:
        """Add why the run stopped before it had a result."""
        return replace(self, error=error)

    def with_misfit(self, reason: str) -> Self:
        """Add why what the run left is not shown."""
        return replace(self, misfit=reason)


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the lock: ``commit`` has it, or ``patch`` is for the author to take; neither if it was there."""

    commit: str | None = None
    patch: str = ""


def text(told: Told, written: Written) -> str:
    """Return the comment, no longer than GitHub takes."""
    head, tail = _body(told), _tail(told, written)
    if _length(head) + _length(tail) > LIMIT - ROOM:
        tail = f"{UNSHOWN}\n\n{_tail(told, replace(written, patch=''))}"
    return f"{head}\n{tail}"


def _body(told: Told) -> str:
    warning = ""
    if told.machinery:
        files = ", ".join(escape.code(name) for name in told.machinery[:8])
        more = f" and {len(told.machinery) - 8:,} more" if len(told.machinery) > 8 else ""
        warning = f"> [!WARNING]\n> This pull request changes what measures it: {files}{more}. Read that first.\n\n"
    if told.result is not None:
        return warning + render(told.result, "md")
    if told.misfit:
        return (
            f"{warning}### ⚠️ What this run left does not fit, so nothing of it is shown\n\n{escape.text(told.misfit)}\n"
        )
    if told.error:
        return f"{warning}### ❌ The run stopped before it had a result\n\n{escape.block(told.error, 40)}\n"
    return f"{warning}### ❌ The run left nothing to show\n"


def _tail(told: Told, written: Written) -> str:
    parts = []
    if written.commit:
        parts.append(
            f"**Lock:** what this run came to is on this branch as {written.commit[:10]}. Pull before you push."
        )
    if written.patch and escape.log(written.patch, PATCH_LINES) != written.patch.strip("\n"):
        parts.append(UNSHOWN)
    elif written.patch:
        parts.append(
            "<details>\n<summary><b>The lock this run came to</b>: take it with <code>git apply</code></summary>\n\n"
            f"{escape.block(written.patch, PATCH_LINES)}\n\n</details>"
        )
    parts.append(f'<sub>Computed for {told.head.commit[:10]}. <a href="{escape.escaped(told.url)}">Log</a></sub>')
    return "\n\n".join(parts) + "\n"


def _length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
