"""``lockgate verify REF``: check everything the store says of a release or an environment, and that git agrees."""

import argparse
import sys
from pathlib import Path

from lockgate.releasing.environments import Environment
from lockgate.releasing.options import StderrProgress, add_reader_options, parse_ref, registry_of, resolve
from lockgate.releasing.registry import as_json
from lockgate.releasing.verification import check_tags, read_tags


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("ref", metavar="REF", help="a version (v1.2.0, NAME@v1.2.0) or an environment (production)")
    parser.add_argument("--no-git", action="store_true", help="do not compare with the tags of the repository here")
    add_reader_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Verify signatures, manifest, every file, the whole log and git's tags."""
    ref = parse_ref(arguments.ref)
    registry = registry_of(arguments, ref.name)
    log = Environment(registry, ref.environment).verify() if ref.environment else []
    entry, build = resolve(registry, ref)
    tags = {} if arguments.no_git else read_tags(Path.cwd())
    check_tags(build, entry, log, tags)
    registry.verify_files(build, StderrProgress())
    release = build.release
    ours = [tag for tag in tags if tag.startswith((f"{release.name}@", f"{release.name}#"))]
    facts = {
        "release": f"{release.name}@{release.version}",
        "build": release.manifest,
        "files": len(build.manifest.files),
        "bytes": sum(file.size for file in build.manifest.files),
        "entries": len(log),
        "tags": len(ours),
        "verified": True,
    }
    text = f"{facts['release']}: signature, manifest and {facts['files']} files hold ({facts['bytes']:,} bytes)\n"
    if ref.environment:
        text += f"{ref.environment}: {len(log)} entries, an unbroken chain\n"
    text += f"git: {len(ours)} tags of {release.name} agree\n" if ours else "git: no tags here to compare with\n"
    sys.stdout.write(as_json(facts) if arguments.json else text)
    return 0
