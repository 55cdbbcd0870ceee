"""The reference page of the gates, written from what each says of itself: ``docs/gates.md``, which a test compares."""

from dataclasses import MISSING, fields

from lockgate.gates import KINDS
from lockgate.gates.gate import Gate

HEAD = """\
# Gates

A gate is a rule under `gates:` of `lockgate.yaml`, or under an environment's `gates:`. A pull request is judged by the
gates of its base. A gate that cannot be evaluated (a value is missing, rows of base are missing, a metrics file and its
predictions disagree) does not hold, and says why.

*Shown* means: the 95 % interval of the change on the same test rows, which respects `predictions.cluster`, says so. See
[statistics.md](statistics.md) for how it is found, and `lockgate power` for the changes that a test set can show.

This page is written from the code: `pytest --refresh-golden tests/lockgate/gates`.
"""


def reference() -> str:
    """Return the page as Markdown."""
    current = [kind for kind in KINDS.values() if not kind.replaced_by]
    older = [kind for kind in KINDS.values() if kind.replaced_by]
    parts = [HEAD, *(_section(kind) for kind in current)]
    parts.append(
        "## Older kinds\n\nThey keep their meaning and their digests, and are deprecated: a report names those that "
        "the policy uses, with the newer word. New policies use the kind named with each.\n"
    )
    parts += [_section(kind) for kind in older]
    return "\n".join(parts)


def _section(kind: type[Gate]) -> str:
    title = f"{'#' * (3 if kind.replaced_by else 2)} `{kind.kind}`"
    use = f" Deprecated: use `{kind.replaced_by}`." if kind.replaced_by else ""
    lines = [title, "", f"{kind.about}{use}", "", "```yaml", f"- {kind.example}", "```", ""]
    keys = kind.keys()
    if keys:
        lines += ["| key | meaning | default |", "|---|---|---|"]
        defaults = {one.name: one.default for one in fields(kind)}
        lines += [f"| `{name}` | {one.help} | {_default(defaults[name])} |" for name, one in keys.items()]
        lines.append("")
    return "\n".join(lines)


def _default(value: object) -> str:
    if value is MISSING:
        return "required"
    return "none" if value == () else f"`{str(value).lower() if isinstance(value, bool) else value}`"
