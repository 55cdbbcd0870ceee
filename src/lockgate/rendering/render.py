"""``lockgate render``: a recorded result as text, Markdown, a page or canonical JSON.

Every format is a pure function of the result: the same bytes on every machine.
"""

from dataclasses import replace

from lockgate.rendering.result_document import brief, document
from lockgate.rendering.several_document import alone, documents
from lockgate.result import AnyResult, Results

FORMATS = ("text", "md", "html", "json")


def render(result: AnyResult, format: str, *, timings: bool = True, color: bool = False) -> str:  # noqa: A002
    """Return ``result`` in one of :data:`FORMATS`.

    Without ``timings``, all that one machine measured (its run's seconds, transfers and log) is left out. ``color``
    is for ``text`` alone: the caller knows whether a terminal will show it.
    """
    if not timings:
        result = _without_timings(result)
    if format == "json":
        return result.to_json()
    if isinstance(result, Results):
        return _render_several(result, format, color=color)
    if format == "text":
        from lockgate.rendering.text import render_text

        return render_text(document(result), color=color)
    if format == "md":
        return comment(result)
    if format == "html":
        from lockgate.rendering.html import render_html

        return render_html(document(result))
    raise ValueError(f"no such format: {format}")


def comment(result: AnyResult, limit: int | None = None) -> str:
    """Return the comment on a pull request, never longer than ``limit`` characters (by default what GitHub takes)."""
    from lockgate.rendering.markdown import LIMIT, ROOM, render_markdown, render_several

    most = LIMIT - ROOM if limit is None else limit
    if not isinstance(result, Results):
        return render_markdown(brief(result), most)
    told = documents(result, short=True)
    if len(told.models) == 1 and not result.removed:
        return render_markdown(alone(result, told.models[0][1]), most)
    return render_several(told, most)


def _render_several(results: Results, format: str, *, color: bool) -> str:  # noqa: A002
    told = documents(results, short=False)
    if format == "text":
        from lockgate.rendering.text import render_text

        return "\n".join(render_text(one, color=color) for one in (told.overview, *(one for _, one in told.models)))
    if format == "md":
        return comment(results)
    if format == "html":
        from lockgate.rendering.html import render_html

        return render_html(told.overview, told.models)
    raise ValueError(f"no such format: {format}")


def _without_timings(result: AnyResult) -> AnyResult:
    if isinstance(result, Results):
        return replace(result, execution=None, models=tuple(replace(one, execution=None) for one in result.models))
    return replace(result, execution=None)
