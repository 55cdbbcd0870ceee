"""``lockgate verify REF``: verify all that the store holds of a release or environment, and compare git's tags."""

import argparse
import sys
from pathlib import Path

from lockgate.envelope import envelope
from lockgate.errors import UsageError
from lockgate.releasing.environments import Environment
from lockgate.releasing.heartbeats import check_fresh, parse_age
from lockgate.releasing.manifest import tag_name
from lockgate.releasing.options import StderrProgress, add_reader_options, parse_ref, registry_of, resolve_to_use
from lockgate.releasing.verification import check_tags, read_tags

EXAMPLES = """\
examples:
  lockgate verify production                 the release that runs there, and the whole log of promotions
  lockgate verify v1.2.0
  lockgate verify production --no-git        without comparing this repository's tags
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("ref", metavar="REF", help="a version (v1.2.0, NAME@v1.2.0) or an environment (production)")
    parser.add_argument("--no-git", action="store_true", help="do not compare with the tags of the repository here")
    parser.add_argument(
        "--max-age", type=parse_age, metavar="AGE", help="refuse a log without a heartbeat this young, such as 26h"
    )
    add_reader_options(parser)


def main(arguments: argparse.Namespace) -> int:
    """Verify signatures, manifest, every file, the whole log and git's tags."""
    ref = parse_ref(arguments.ref)
    registry = registry_of(arguments, ref.name)
    log = Environment(registry, ref.environment).verify() if ref.environment else []
    if arguments.max_age is not None:
        if ref.environment is None:
            raise UsageError(f"--max-age is of an environment's log, {arguments.ref} is a version", "Leave it out.")
        check_fresh(registry, ref.environment, log[-1] if log else None, arguments.max_age)
    entry, build = resolve_to_use(registry, ref)
    tags = {} if arguments.no_git else read_tags(Path.cwd())
    check_tags(build, entry, log, tags)
    registry.verify_files(build, StderrProgress())
    release = build.release
    ours = [tag for tag in tags if tag.startswith((f"{tag_name(release.name)}@", f"{tag_name(release.name)}#"))]
    facts = {
        "release": f"{release.name}@{release.version}",
        "build": release.manifest,
        "files": len(build.manifest.files),
        "bytes": sum(file.size for file in build.manifest.files),
        "entries": len(log),
        "tags": len(ours),
        "verified": True,
    }
    total = f"{facts['bytes']:,} bytes"
    text = f"{facts['release']}: the signature, the manifest and {facts['files']} files are valid ({total})\n"
    if ref.environment:
        text += f"{ref.environment}: {len(log)} entries, the chain is unbroken\n"
    text += (
        f"git: {len(ours)} tags of {release.name} agree\n" if ours else "git: there are no tags here to compare with\n"
    )
    sys.stdout.write(envelope("verify", facts) if arguments.json else text)
    return 0
