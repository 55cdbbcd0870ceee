"""docs/reference.md, made from the code: the keys of lockgate.yaml, what a reviewer reads of each gate, variables."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lockgate.gates import KINDS
from lockgate.policy import json_schema, read_policy

HEAD = """\
# Reference

Every key of `lockgate.yaml`, what a reviewer reads of each kind of gate, and the variables that Lockgate reads. This
page is made from the code by `make pages`; a test compares it.

Editors with YAML support complete the file and mark what is wrong by its [JSON Schema](lockgate.schema.json), through
the line `# yaml-language-server: $schema=…`, which `lockgate init` writes. Besides: [commands](commands.md),
[exit codes](exit-codes.md), the [schema of a result](../src/lockgate/result.schema.json),
[what a release and its store hold](releases.md#what-a-build-holds), and [what stays readable](compatibility.md).
"""
VARIABLES = {
    "LOCKGATE_STORE": "the store of releases: a folder or `s3://bucket/prefix`",
    "LOCKGATE_PUBLIC_KEY": "whom to trust: a file of public keys, or the keys themselves",
    "LOCKGATE_PRIVATE_KEY": "what signs: a file, or the key itself",
    "LOCKGATE_RECORD": "where the service records its scores",
    "LOCKGATE_OUTCOMES": "where outcomes are kept, where not beside the record of scores",
    "LOCKGATE_FORGET_KEY": "the file with the secret by which it is noted that a request was forgotten",
    "LOCKGATE_PUSH_TOKEN": "publish: a token of a GitHub App, by whose push of the lock other checks run, too",
    "LOCKGATE_RUNNER": "workflows: the label of the machines that run stages",
    "LOCKGATE_REGION": "workflows: the region of the bucket",
    "LOCKGATE_ENDPOINT": "workflows: the address of a store that is not Amazon's",
    "LOCKGATE_ADMIT": "workflows of `lockgate init`: any value lets merges be admitted where the store knows no OIDC",
    "LOCKGATE_HEARTBEAT": "workflows: the environment that gets heartbeats",
    "LOCKGATE_MONITOR": "workflows: the environment that `monitor.yml` looks after every morning",
    "LOCKGATE_RETRAIN": "workflows: any word; where it is set, `retrain.yml` trains again once a month",
    **{
        f"LOCKGATE_{role}_ROLE": f"workflows: the role that the job `{job}` becomes"
        for role, job in (
            ("PULL_REQUEST", "run"), ("READ", "rebuild"), ("MAIN", "admit"), ("RELEASE", "release"),
            ("PROMOTE", "promote"), ("HEARTBEAT", "heartbeat"), ("MONITOR", "monitor"),
        )
    },
    **{
        f"LOCKGATE_{role}_{part}": "workflows: a key of that role, for a store that knows no OIDC (a secret)"
        for role in ("PULL_REQUEST", "READ", "MAIN", "RELEASE", "PROMOTE", "HEARTBEAT", "MONITOR")
        for part in ("KEY_ID", "KEY")
    },
    "GITHUB_TOKEN, GH_TOKEN": "publish, init, doctor: the token that speaks to GitHub",
    "AWS_ENDPOINT_URL, AWS_REGION, AWS_…": "the store's address and credentials, as Amazon's tools have them",
    "XDG_CACHE_HOME": "where installed dependencies and fetched builds are kept",
    "NO_COLOR": "no colours on a terminal",
}  # fmt: skip


def reference(root: Path) -> str:
    """Return the page."""
    parts = [HEAD, *_keys(), *_gates(root), *_variables()]
    return "\n".join(parts)


def named(root: Path) -> set[str]:
    """Return every variable of Lockgate's own that the code or a workflow names."""
    files = [
        *(root / "src/lockgate").rglob("*.py"),
        *(root / "src/lockgate").rglob("*.yml"),
        *(root / ".github").rglob("*.yml"),
    ]
    return {
        name for path in files for name in re.findall(r"\bLOCKGATE_[A-Z_]*[A-Z]\b", path.read_text(encoding="utf-8"))
    }


def _keys() -> Iterator[str]:
    schema = json_schema()
    yield "## lockgate.yaml\n\n| key | value | meaning |\n|---|---|---|"
    for path, said, required in _walk(schema, ""):
        meaning = str(said.get("description", "")).replace("|", "\\|")
        yield f"| `{path}`{' *' if required else ''} | {_value(said)} | {meaning} |"
    yield "\n`*`: required. `NAME` is chosen by you. The keys of each gate are in [gates.md](gates.md).\n"


def _walk(schema: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    for key, said in schema.get("properties", {}).items():
        path = f"{prefix}{key}"
        yield path, said, key in schema.get("required", schema.get("else", {}).get("required", ()))
        yield from _inside(said, path)


def _inside(said: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    if path in ("gates", "models") or path.endswith(".gates"):
        return
    for one in (said, *said.get("anyOf", ())):
        yield from _walk(one, f"{path}.") if "properties" in one else ()
        items, others = one.get("items"), one.get("additionalProperties")
        if isinstance(items, dict) and "properties" in items:
            yield from _walk(items, f"{path}[].")
        if isinstance(others, dict):
            yield from _inside(others, f"{path}.NAME")


def _value(said: Mapping[str, Any]) -> str:
    if "enum" in said:
        return ", ".join(f"`{str(word).lower() if isinstance(word, bool) else word}`" for word in said["enum"])
    if "anyOf" in said:
        return " or ".join(dict.fromkeys(_value(one) for one in said["anyOf"]))
    kind = said.get("type")
    words = {
        "string": "text",
        "number": "number",
        "integer": "whole number",
        "boolean": "`true`, `false`",
        "null": "empty",
    }
    if kind == "array":
        items = said.get("items", {})
        return "list" if "properties" in items or "oneOf" in items else f"list of {_value(items)}"
    bounds = [f"{sign} {said[name]}" for name, sign in (("minimum", "from"), ("maximum", "to")) if name in said]
    return " ".join([words.get(str(kind), "section"), *bounds])


def _gates(root: Path) -> Iterator[str]:
    text = (root / "lockgate.yaml").read_text(encoding="utf-8")
    yield "## What a reviewer reads of a gate\n\nWith the metrics of this repository's own policy:\n"
    yield "| gate | rule as shown |\n|---|---|"
    for gate in KINDS.values():
        if not gate.replaced_by:
            asked = read_policy(
                re.sub(r"^gates:\n(?:  .*\n)+", f"gates:\n  - {gate.example}\n", text, count=1, flags=re.M)
            )
            yield f"| `{gate.example}` | {asked.gates[0].sentence(asked)} |"
    yield ""


def _variables() -> Iterator[str]:
    yield "## Environment variables\n\n| variable | meaning |\n|---|---|"
    for name, meaning in VARIABLES.items():
        yield f"| {', '.join(f'`{one}`' for one in name.split(', '))} | {meaning} |"
    yield ""
