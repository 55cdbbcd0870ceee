"""The page that a browser gets at ``/`` and ``/docs``: what answers, what a request looks like, where to ask.

One HTML document with nothing to load: it works without the internet. Everything of the release is escaped.
"""

import json
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockgate.serving.contract import Column
    from lockgate.serving.service import Serving

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_PATHS = {
    "POST /v1/predict": "score one request, or a list of several",
    "GET /v1/model": "what answers: release, digests, request schema, card",
    "GET /readyz": "whether requests are answered, and what is wrong",
    "GET /healthz": "whether the process lives",
    "GET /metrics": "for Prometheus",
    "GET /openapi.json": "the interface, for programs",
}
_STYLE = """\
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1b1f24;
  background: #fff }
code, pre { font: 14px/1.45 ui-monospace, monospace; background: #f3f4f6; border-radius: 4px }
code { padding: .1em .3em } pre { padding: 1em; overflow-x: auto; white-space: pre-wrap }
table { border-collapse: collapse }
th, td { text-align: left; padding: .3em 1em .3em 0; border-bottom: 1px solid #d0d7de; vertical-align: top }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117 } code, pre { background: #21262d }
  th, td { border-color: #30363d } }
"""


def describe(serving: "Serving", card: str) -> str:
    """Return the page of a release."""
    found, request = serving.found, serving.loadable.contract.request
    example = json.dumps(dict(request.example), indent=2, ensure_ascii=False)
    body = json.dumps(dict(request.example), ensure_ascii=True).replace("'", "\\u0027")
    where = f", which {found.entry.environment} runs (entry {found.number})" if found.entry else ""
    paths = "".join(f"<tr><td>{_asked(path)}</td><td>{escape(what)}</td></tr>" for path, what in _PATHS.items())
    call = f"curl http://HOST:PORT/v1/predict -H 'Content-Type: application/json' -d '{body}'"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(found.release)}</title><style>{_STYLE}</style></head><body><main>
<h1>{escape(found.release)}</h1>
<p>This service answers with <strong>{escape(found.release)}</strong>{escape(where)}, build
<code>{escape(found.digest[:12])}</code>.</p>
<h2>Where to ask</h2><table><tbody>{paths}</tbody></table>
<h2>A request</h2><pre>{escape(example)}</pre><pre>{escape(call)}</pre>
<table><thead><tr><th>field</th><th>type</th><th></th></tr></thead>
<tbody>{"".join(_row(column) for column in request.columns)}</tbody></table>
{f"<h2>The model card</h2><pre>{escape(card)}</pre>" if card else ""}
</main></body></html>
"""


def _asked(path: str) -> str:
    method, _, where = path.partition(" ")
    return (
        f'{method} <a href="{where}"><code>{where}</code></a>' if method == "GET" else f"{method} <code>{where}</code>"
    )


def _row(column: "Column") -> str:
    kind = f"{column.type}{', optional' if column.optional else ''}"
    return f"<tr><td><code>{escape(column.name)}</code></td><td>{kind}</td><td>{'; '.join(_said(column))}</td></tr>"


def _said(column: "Column") -> Iterator[str]:
    if column.description:
        yield escape(column.description)
    if column.minimum is not None:
        yield f"at least {column.minimum:g}"
    if column.maximum is not None:
        yield f"at most {column.maximum:g}"
    if column.categories:
        shown = ", ".join(column.categories[:20])
        yield escape(f"known values: {shown}{' …' if len(column.categories) > 20 else ''}")
