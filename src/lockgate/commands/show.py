"""``lockgate show REF``: what a release is: its build, its files, the facts recorded when it was made."""

import argparse
import json
import sys
from dataclasses import asdict

from lockgate.releasing.environments import Entry
from lockgate.releasing.options import add_reader_options, parse_ref, registry_of, resolve
from lockgate.releasing.registry import Build, as_json


def as_text(entry: Entry | None, build: Build) -> str:
    """Return a release for a person to read."""
    release, manifest = build.release, build.manifest
    lines = [
        f"{release.name}@{release.version}",
        f"  released  {release.time} by {json.dumps(release.actor, ensure_ascii=True)}",
        f"  build     {release.manifest}",
    ]
    if entry is not None:
        lines.append(f"  runs in   {entry.environment} since {entry.time} (entry {entry.number})")
    lines.append("  files")
    lines += [f"    {file.size:>14,}  {file.sha256[:12]}  {file.path}" for file in manifest.files]
    if manifest.facts:
        lines.append("  facts")
        shown = json.dumps(manifest.facts, indent=2, sort_keys=True, ensure_ascii=True)
        lines += [f"    {line}" for line in shown.splitlines()]
    return "\n".join(lines) + "\n"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("ref", metavar="REF", help="a version (v1.2.0, NAME@v1.2.0) or an environment (production)")
    add_reader_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Show a release whose record, signature and manifest were verified (its files: `lockgate verify`)."""
    ref = parse_ref(arguments.ref)
    entry, build = resolve(registry_of(arguments, ref.name), ref)
    facts = {
        "release": asdict(build.release),
        "manifest": json.loads(build.manifest.to_bytes()),
        "entry": asdict(entry) if entry else None,
    }
    sys.stdout.write(as_json(facts) if arguments.json else as_text(entry, build))
    return 0
