"""HTML elements as values: children must be :data:`Html` already, attributes are escaped here.

What stands by itself ends its line, so that a page's source can be read and compared.
"""

from lockgate.rendering.escape import Html, escaped

VOID = frozenset({"input", "link", "meta"})
INLINE = frozenset(
    {"a", "button", "circle", "code", "h1", "h2", "line", "path", "rect", "span", "strong", "td", "text", "th"}
)


def tag(name: str, /, *children: Html, **attributes: str | bool | None) -> Html:
    """Return one element. ``class_`` is ``class``, an underscore is a hyphen; ``None`` and ``False`` are left out."""
    drawn = "".join(
        _attribute(key, value) for key, value in attributes.items() if value is not None and value is not False
    )
    if name in VOID:
        return Html(f"<{name}{drawn}>\n")
    return Html(f"<{name}{drawn}>{''.join(children)}</{name}>" + ("" if name in INLINE else "\n"))


def _attribute(key: str, value: str | bool) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escaped(str(value))}"'
