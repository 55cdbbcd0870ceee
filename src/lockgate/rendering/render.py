"""``lockgate render``: a recorded result as text, Markdown, a page or canonical JSON.

Every format is a pure function of the result: the same bytes on every machine.
"""

from collections.abc import Callable
from dataclasses import replace

from lockgate.rendering.document import Document
from lockgate.rendering.result_document import brief, document
from lockgate.result import Result

FORMATS = ("text", "md", "html", "json")


def render(result: Result, format: str, *, timings: bool = True, color: bool = False) -> str:  # noqa: A002
    """Return ``result`` in one of :data:`FORMATS`.

    Without ``timings``, all that one machine measured (its run's seconds, transfers and log) is left out. ``color``
    is for ``text`` alone: the caller knows whether a terminal will show it.
    """
    if not timings:
        result = replace(result, execution=None)
    if format == "json":
        return result.to_json()
    if format == "text":
        from lockgate.rendering.text import render_text

        return render_text(document(result), color=color)
    return _renderer(format)(brief(result) if format == "md" else document(result))


def _renderer(format: str) -> Callable[[Document], str]:  # noqa: A002
    if format == "md":
        from lockgate.rendering.markdown import render_markdown

        return render_markdown
    if format == "html":
        from lockgate.rendering.html import render_html

        return render_html
    raise ValueError(f"no such format: {format}")
