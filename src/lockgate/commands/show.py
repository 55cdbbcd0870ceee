"""``lockgate show REF``: one release as a page: where it runs, its metrics and gates, how it was made, its files."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from lockgate.envelope import envelope
from lockgate.formatting import count, size, table
from lockgate.releasing.environments import Entry
from lockgate.releasing.listing import running
from lockgate.releasing.manifest import OPAQUE
from lockgate.releasing.options import add_reader_options, parse_ref, registry_of, resolve
from lockgate.releasing.registry import Build
from lockgate.releasing.withdrawal import Withdrawal, withdrawal_of
from lockgate.rendering.escape import visible

EXAMPLES = """\
examples:
  lockgate show production           the release that runs there
  lockgate show v1.2.0
  lockgate show v1.2.0 --json | jq .manifest.facts.params
"""
_LEVELS = {
    "full": "every stage ran again in a fresh clone, and every output had its hash of dvc.lock",
    "train": "the model's stage and what follows ran again in a fresh clone, with the hashes of dvc.lock",
    "none": "nothing ran again: dvc.lock was taken as it is",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("ref", metavar="REF", help="a version (v1.2.0, NAME@v1.2.0) or an environment (production)")
    add_reader_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Show a release whose record, signature and manifest were verified (its files: `lockgate verify`)."""
    ref = parse_ref(arguments.ref)
    registry = registry_of(arguments, ref.name)
    entry, build = resolve(registry, ref)
    withdrawal = withdrawal_of(registry, build.release.version)
    if arguments.json:
        facts = {
            "release": asdict(build.release),
            "manifest": json.loads(build.manifest.to_bytes()),
            "entry": asdict(entry) if entry else None,
            "withdrawal": asdict(withdrawal) if withdrawal else None,
        }
        sys.stdout.write(envelope("show", facts))
    else:
        sys.stdout.write(as_text(entry, build, running(registry, build.release.version), withdrawal))
    return 0


def as_text(entry: Entry | None, build: Build, environments: list[str], withdrawal: Withdrawal | None = None) -> str:
    """Return a release as a page for a person to read."""
    release, facts = build.release, build.manifest.facts
    base = facts.get("base")
    rows = [
        ("released", f"{release.time} by {release.actor}"),
        ("commit", str(facts.get("commit") or "-")),
        ("build", release.manifest),
        ("runs in", ", ".join(environments) or "no environment"),
        ("rebuild", _rebuild(facts.get("rebuild"))),
        ("compared with", str(base.get("version")) if isinstance(base, Mapping) else "no earlier release"),
    ]
    if facts.get(OPAQUE) is True:
        rows.append(("model", "opaque: loading it may run any code that it holds; Lockgate never does"))
    if withdrawal is not None:
        rows.insert(0, ("WITHDRAWN", f"{withdrawal.time} by {withdrawal.actor}: {withdrawal.reason}"))
    if entry is not None:
        why = f": {entry.reason}" if entry.reason else ""
        rows.append(("promoted", f"{entry.time} by {entry.actor} (entry {entry.number}){why}"))
    parts = [f"{release.name}@{release.version}\n" + "".join(f"  {name:14}{visible(text)}\n" for name, text in rows)]
    parts += [f"{title}\n{_indented(text)}" for title, text in _tables(facts) if text]
    total = sum(file.size for file in build.manifest.files)
    files = [(visible(file.path), size(file.size), file.sha256[:12]) for file in build.manifest.files]
    title = f"files: {count(len(files), 'file')}, {size(total)}"
    parts.append(f"{title}\n" + _indented(table(("path", "size", "sha-256"), files, right={"size"})))
    parts.append(f"`lockgate verify {release.name}@{release.version}` reads every byte of them.\n")
    return "\n".join(parts)


def _tables(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    metrics = [(visible(str(name)), visible(str(value))) for name, value in _items(facts.get("metrics"))]
    yield "metrics", table(("metric", "value"), metrics, right={"value"}) if metrics else ""
    gates = [_gate(gate) for gate in facts.get("gates") or () if isinstance(gate, Mapping)]
    yield "gates", table(("", "gate", "measured", "for"), gates) if gates else ""
    params = [
        (visible(f"{file}:{key}"), visible(value))
        for file, values in _items(facts.get("params"))
        for key, value in _leaves(values)
    ]
    yield "parameters", table(("parameter", "value"), params) if params else ""
    inputs = [
        (visible(str(path)), visible(str(digest)))
        for name in ("data", "environment")
        for path, digest in _items(facts.get(name))
    ]
    yield "source data and locked packages", table(("file", "hash"), inputs) if inputs else ""


def _gate(gate: Mapping[str, Any]) -> tuple[str, ...]:
    said = gate.get("measured") or gate.get("reason") or ""
    holds = "holds" if gate.get("passed") is True else "FAILS"
    return holds, visible(str(gate.get("rule"))), visible(str(said)), visible(str(gate.get("environment") or "release"))


def _rebuild(rebuild: Any) -> str:
    level = str(rebuild.get("level", "none")) if isinstance(rebuild, Mapping) else "none"
    told = rebuild if isinstance(rebuild, Mapping) else {}
    loose = [f"{path} ({how})" for path, how in _items(told.get("tolerated"))]
    loose += [f"{path} (left out)" for path in told.get("left_out", ())]
    note = f"; not compared byte for byte: {', '.join(loose)}" if loose else ""
    return f"{level}: {_LEVELS.get(level, 'a level that this version does not know')}{visible(note)}"


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if not isinstance(value, Mapping):
        yield prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return
    for key, inner in value.items():
        yield from _leaves(inner, f"{prefix}.{key}" if prefix else str(key))


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())
